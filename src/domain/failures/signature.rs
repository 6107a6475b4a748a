//! A signature of a failure row: a regular expression, and the plain texts without one of which it cannot
//! match. Those are searched for all at once; the expression itself is only asked where one of them stands.

use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};
use std::sync::OnceLock;

/// Shorter texts stand on too many lines to be of use.
const SHORTEST: usize = 3;
/// More texts than this for one signature cost more than they spare.
const MOST: usize = 64;

pub struct Signature {
    text: String,
    regex: OnceLock<Regex>,
    /// In small letters. `None`: every line has to be asked.
    pub needles: Option<Vec<String>>,
}

impl Signature {
    /// `Err` says what is wrong with the expression.
    pub fn new(text: &str) -> Result<Self, String> {
        let hir = regex_syntax::parse(text).map_err(|e| e.to_string())?;
        Ok(Self {
            text: text.to_owned(),
            regex: OnceLock::new(),
            needles: needles(&hir),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Compiled when it is first asked: most signatures never are.
    pub fn regex(&self) -> &Regex {
        self.regex.get_or_init(|| {
            Regex::new(&self.text).expect("an expression that was parsed is compiled")
        })
    }
}

/// Texts of which one has to stand wherever the expression matches.
fn needles(hir: &Hir) -> Option<Vec<String>> {
    let found = best(hir)?;
    let usable =
        !found.is_empty() && found.len() <= MOST && found.iter().all(|text| text.len() >= SHORTEST);
    usable.then_some(found)
}

fn best(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![fold(std::str::from_utf8(&literal.0).ok()?)]),
        HirKind::Class(class) => letter(class).map(|c| vec![c.to_string()]),
        HirKind::Capture(capture) => best(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => best(&repetition.sub),
        HirKind::Concat(parts) => best_of_run(parts),
        HirKind::Alternation(parts) => {
            let all: Option<Vec<Vec<String>>> = parts.iter().map(best).collect();
            Some(all?.into_iter().flatten().collect())
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// Letters beside each other are one text; of all texts and alternatives the one that is met least.
fn best_of_run(parts: &[Hir]) -> Option<Vec<String>> {
    let mut candidates: Vec<Vec<String>> = Vec::new();
    let mut run = String::new();
    for part in parts {
        if let Some(text) = exact(part) {
            run.push_str(&text);
            continue;
        }
        if !run.is_empty() {
            candidates.push(vec![std::mem::take(&mut run)]);
        }
        if !matches!(part.kind(), HirKind::Look(_)) {
            candidates.extend(best(part));
        }
    }
    if !run.is_empty() {
        candidates.push(vec![run]);
    }
    candidates.into_iter().max_by_key(|texts| {
        let shortest = texts.iter().map(String::len).min().unwrap_or(0);
        (shortest.min(12), usize::MAX - texts.len(), shortest)
    })
}

/// The one text that this can be.
fn exact(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(fold(std::str::from_utf8(&literal.0).ok()?)),
        HirKind::Class(class) => letter(class).map(String::from),
        HirKind::Capture(capture) => exact(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(exact).collect(),
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => {
            None
        }
    }
}

/// The letter that a class such as `[Aa]` stands for.
fn letter(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else {
        return None;
    };
    let mut found = None;
    for range in class.iter() {
        if range.len() > 2 {
            return None;
        }
        for c in range.start()..=range.end() {
            // The sign of Kelvin and the long s, which are letters of the same fold.
            let c = match c {
                '\u{212a}' => 'k',
                '\u{17f}' => 's',
                c => c.to_ascii_lowercase(),
            };
            if found.is_some_and(|f| f != c) {
                return None;
            }
            found = Some(c);
        }
    }
    found
}

fn fold(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    text.replace(['\n', '\t', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Vec<String>> {
        Signature::new(text).expect("valid").needles
    }

    #[test]
    fn the_least_common_text_is_searched_for() {
        let one = |text: &str| Some(vec![text.to_owned()]);
        assert_eq!(
            of(r"(?i)ERROR: .{0,80} No space left on device"),
            one(" no space left on device")
        );
        assert_eq!(of(r"curl: \(28\)"), one("curl: (28)"));
        assert_eq!(
            of("(?i)mac (check|verification) failed"),
            Some(vec!["check".to_owned(), "verification".to_owned()])
        );
        assert_eq!(of("(?i)skok"), one("skok"));
    }

    #[test]
    fn an_expression_that_may_match_without_any_text_has_none() {
        assert_eq!(of(r"\d+"), None);
        assert_eq!(of(r"(error)?x*"), None);
        assert_eq!(of("(error|e.*)"), None);
        assert!(Signature::new("(").is_err());
    }
}
