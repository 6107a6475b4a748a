//! What is wrong with a file: a finding, with its place and the way out.

use serde::Serialize;

/// A place in a text; both count from one. `Pos::NONE` is the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    pub line: usize,
    pub column: usize,
}

impl Pos {
    pub const NONE: Self = Self { line: 0, column: 0 };

    pub fn new(line: usize, column: usize) -> Self {
        Self { line, column }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
    /// A warning that the runbook accepts, with its reason.
    Accepted,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Accepted => "accepted",
        }
    }
}

/// One finding of lint: a stable code, where, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: &'static str,
    pub severity: Severity,
    pub at: Pos,
    /// What it is about, as `accept` names it: a step, a procedure, a system, a severity.
    pub place: String,
    pub message: String,
    pub help: String,
}

impl Finding {
    pub fn error(code: &'static str, at: Pos, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            at,
            place: String::new(),
            message: short(message.into()),
            help: String::new(),
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = short(help.into());
        self
    }

    /// The finding as compilers print it: place, line, marker, help.
    ///
    /// ```text
    /// error[unknown-key]: `titel` is not a key of a step
    ///   --> drill.yaml:12:9
    ///    |
    /// 12 |       - titel: Restore
    ///    |         ^
    ///    = did you mean `title`?
    /// ```
    pub fn render(&self, file: &str, source: &str) -> String {
        let kind = self.severity.as_str();
        let mut out = format!("{kind}[{}]: {}\n", self.code, self.message);
        if self.at == Pos::NONE {
            out.push_str(&format!("  --> {file}\n"));
        } else {
            let number = self.at.line.to_string();
            let pad = " ".repeat(number.len());
            out.push_str(&format!(
                "{pad} --> {file}:{}:{}\n",
                self.at.line, self.at.column
            ));
            if let Some(line) = source.lines().nth(self.at.line - 1) {
                let (shown, column) = window(line, self.at.column);
                out.push_str(&format!("{pad} |\n{number} | {shown}\n"));
                out.push_str(&format!("{pad} | {}^\n", " ".repeat(column - 1)));
            }
        }
        if !self.help.is_empty() {
            out.push_str(&format!("  = {}\n", self.help));
        }
        if self.severity == Severity::Warning && !self.place.is_empty() {
            out.push_str(&format!(
                "  = about `{}`, as `accept` calls it\n",
                self.place
            ));
        }
        out
    }
}

/// A message quotes what is wrong, and that may be a whole file on one line.
fn short(text: String) -> String {
    const LONGEST: usize = 1_000;
    if text.len() <= LONGEST {
        return text;
    }
    let mut cut: String = text.chars().take(LONGEST / 4).collect();
    cut.push('…');
    cut
}

/// A line cut to what fits a terminal around the column, with the column in the cut.
fn window(line: &str, column: usize) -> (String, usize) {
    const WIDE: usize = 160;
    let from = if column > WIDE { column - WIDE / 2 } else { 0 };
    let shown: String = line.chars().skip(from).take(WIDE).collect();
    let shown = super::text::Clean::line(&shown).to_string();
    (shown, column.saturating_sub(from).max(1))
}

/// Nobody mistypes a longer word than this, and comparing costs the square of the length.
const LONGEST_WORD: usize = 64;

/// The nearest of `names` to `word`, when it is near enough to be a slip.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let allowed = |name: &str| (name.len().max(word.len()) / 3).max(1);
    names
        .into_iter()
        .filter(|name| name.len() <= 2 * LONGEST_WORD)
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= allowed(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or what there is to choose from.
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(word, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => one_of(&names),
    }
}

/// What there is to choose from.
pub fn one_of(names: &[&str]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = names.iter().take(24).map(|n| format!("`{n}`")).collect();
    format!("one of {}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_the_line_and_points_at_the_column() {
        let finding = Finding::error("unknown-key", Pos::new(2, 3), "`titel` is not a key")
            .help(did_you_mean("titel", ["title", "id"]));
        let shown = finding.render("a.yaml", "a: 1\n  titel: x\n");
        assert!(
            shown.contains("a.yaml:2:3\n  |\n2 |   titel: x\n  |   ^\n  = did you mean `title`?"),
            "{shown}"
        );
    }

    #[test]
    fn far_words_are_not_suggested() {
        assert_eq!(nearest("zebra", ["title", "id"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["title", "id"]), None);
    }

    #[test]
    fn what_quotes_a_whole_file_is_cut() {
        let finding = Finding::error("wrong-type", Pos::NONE, "é".repeat(100_000));
        assert!(finding.help("x".repeat(100_000)).message.len() < 1_000);
    }
}
