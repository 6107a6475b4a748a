//! A signature of a failure row: a regular expression, and the plain texts without one of which it cannot
//! match. Those are searched for all at once; the expression itself is only asked where one of them stands.

use memchr::memmem::Finder;
use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};
use std::sync::OnceLock;

/// Shorter texts stand on too many lines to be of use.
const SHORTEST: usize = 2;
/// More texts than this for one signature cost more than they spare.
const MOST: usize = 64;
/// What stands on any line of some log: searched for only where there is nothing better.
const COMMON: &str = "https:// http/1.1 status code error failed failure warning info debug restore restored \
    postgresql checksum connection server database file message reason version command request response \
    timeout cluster kubernetes default system time date user name path type host port access denied";

/// Texts of which one has to stand where an expression matches. In small letters.
pub type Texts = Vec<String>;

pub struct Signature {
    text: String,
    regex: OnceLock<Regex>,
    /// What is searched for. `None`: every line has to be asked.
    pub needles: Option<Texts>,
    /// What else has to stand there: tells most lines apart without asking the expression.
    also: Vec<Texts>,
    finders: OnceLock<Vec<Vec<Finder<'static>>>>,
}

impl Signature {
    /// `Err` says what is wrong with the expression.
    pub fn new(text: &str) -> Result<Self, String> {
        let hir = regex_syntax::parse(text).map_err(|e| e.to_string())?;
        let mut all = required(&hir);
        all.retain(|texts| texts.len() <= MOST && texts.iter().all(|text| text.len() >= SHORTEST));
        let rarest = (0..all.len()).max_by_key(|i| (rarity(&all[*i]), usize::MAX - i));
        let needles = rarest.map(|i| all.remove(i));
        all.sort_by_key(|texts| std::cmp::Reverse(rarity(texts)));
        Ok(Self {
            text: text.to_owned(),
            regex: OnceLock::new(),
            needles,
            also: all,
            finders: OnceLock::new(),
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

    /// Can it match in this text, in small letters?
    pub fn may_match(&self, folded: &[u8]) -> bool {
        let finders = self.finders.get_or_init(|| {
            let finder = |text: &String| Finder::new(text).into_owned();
            let all = self.also.iter();
            all.map(|texts| texts.iter().map(finder).collect())
                .collect()
        });
        let stands = |finder: &Finder<'_>| finder.find(folded).is_some();
        finders.iter().all(|texts| texts.iter().any(stands))
    }
}

/// How seldom the commonest of these is met.
fn rarity(texts: &[String]) -> usize {
    let one = |text: &String| {
        let word = text.trim();
        let common = COMMON.contains(word) || COMMON.split(' ').any(|c| word.starts_with(c));
        match common {
            true => text.len().min(12) / 4,
            false => text.len().min(12),
        }
    };
    texts.iter().map(one).min().unwrap_or(0)
}

/// Sets of texts: of each set one stands wherever the expression matches.
fn required(hir: &Hir) -> Vec<Texts> {
    match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) => {
            exact(hir).map(|text| vec![vec![text]]).unwrap_or_default()
        }
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => of_run(parts),
        HirKind::Alternation(parts) => {
            let best = |part: &Hir| required(part).into_iter().max_by_key(|texts| rarity(texts));
            let all: Option<Vec<Texts>> = parts.iter().map(best).collect();
            all.map(|all| vec![all.into_iter().flatten().collect()])
                .unwrap_or_default()
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => Vec::new(),
    }
}

/// Letters beside each other are one text.
fn of_run(parts: &[Hir]) -> Vec<Texts> {
    let mut all = Vec::new();
    let mut run = String::new();
    for part in parts {
        if let Some(text) = exact(part) {
            run.push_str(&text);
            continue;
        }
        // Where a word ends, a text goes on.
        if matches!(part.kind(), HirKind::Look(_)) {
            continue;
        }
        if !run.is_empty() {
            all.push(vec![std::mem::take(&mut run)]);
        }
        all.extend(required(part));
    }
    if !run.is_empty() {
        all.push(vec![run]);
    }
    all
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
        assert_eq!(of("(?i)mac (check|verification) failed"), one("mac "));
        assert_eq!(of("(?i)skok"), one("skok"));
    }

    #[test]
    fn an_expression_that_may_match_without_any_text_has_none() {
        assert_eq!(of(r"\d+"), None);
        assert_eq!(of(r"(error)?x*"), None);
        assert_eq!(of("(error|e.*)"), None);
        let http = Signature::new(r"(?i)\bHTTP/[\d.]+ 401\b").expect("valid");
        assert_eq!(http.needles, Some(vec![" 401".to_owned()]));
        assert!(http.may_match(b"http/1.1 401") && !http.may_match(b"ftp 401"));
        assert!(Signature::new("(").is_err());
    }
}
