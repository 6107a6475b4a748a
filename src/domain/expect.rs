//! What must hold: the small language of `expect`, and the verdict on what was seen.

use super::units;
use chrono::{DateTime, Utc};
use regex::Regex;

/// How *seen* is compared with *expected*.
#[derive(Clone, Debug)]
pub enum Expect {
    Compare(Op, String),
    Between(String, String),
    /// Percent, and of what.
    Within(f64, String),
    Matches(Box<Regex>),
    Equals(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Eq,
    Ne,
    Le,
    Ge,
    Lt,
    Gt,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadExpect {
    #[error("`{0}` is not a comparison")]
    Operator(String),
    #[error("`{0}` compares with nothing")]
    Empty(String),
    #[error("`between` needs two values, as in `between 3 5`")]
    Between,
    #[error("`within` reads as in `within 5% of 412`")]
    Within,
    #[error("not a regular expression: {0}")]
    Regex(String),
}

/// Does it hold? The third answer is a comparison that has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    Holds,
    Fails,
    CannotCompare,
}

impl Expect {
    /// Reads an expectation; its `${…}` are already replaced, or are compared as written.
    pub fn parse(text: &str) -> Result<Self, BadExpect> {
        let text = text.trim();
        for (sign, op) in [
            ("==", Op::Eq),
            ("!=", Op::Ne),
            ("<=", Op::Le),
            (">=", Op::Ge),
        ] {
            if let Some(rest) = text.strip_prefix(sign) {
                return compare(op, rest, text);
            }
        }
        if ["=>", "=<", "<>", "><"].iter().any(|s| text.starts_with(s)) || text.starts_with('=') {
            return Err(BadExpect::Operator(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix('<') {
            return compare(Op::Lt, rest, text);
        }
        if let Some(rest) = text.strip_prefix('>') {
            return compare(Op::Gt, rest, text);
        }
        if let Some(rest) = text.strip_prefix("between ") {
            let words: Vec<&str> = rest.split_whitespace().collect();
            return match words[..] {
                ["and", _] | [_, "and"] => Err(BadExpect::Between),
                [low, high] => Ok(Self::Between(low.to_owned(), high.to_owned())),
                [low, "and", high] => Ok(Self::Between(low.to_owned(), high.to_owned())),
                _ => Err(BadExpect::Between),
            };
        }
        if let Some(rest) = text.strip_prefix("within ") {
            let (percent, of) = rest.split_once("% of ").ok_or(BadExpect::Within)?;
            let percent: f64 = percent.trim().parse().map_err(|_| BadExpect::Within)?;
            if of.trim().is_empty() || !(0.0..=1000.0).contains(&percent) {
                return Err(BadExpect::Within);
            }
            return Ok(Self::Within(percent, of.trim().to_owned()));
        }
        if text.len() >= 2 && text.starts_with('/') && text.ends_with('/') {
            let regex = Regex::new(&text[1..text.len() - 1])
                .map_err(|e| BadExpect::Regex(first_line(&e.to_string())))?;
            return Ok(Self::Matches(Box::new(regex)));
        }
        Ok(Self::Equals(text.to_owned()))
    }

    /// Holds it for what was seen? Numbers first, then moments, durations, then text for `==`/`!=`.
    pub fn judge(&self, seen: &str) -> Comparison {
        let seen = seen.trim();
        match self {
            Self::Equals(text) => yes(seen == text),
            Self::Matches(regex) => yes(regex.is_match(seen)),
            Self::Compare(op, other) => match order(seen, other) {
                Some(ordering) => yes(op.admits(ordering)),
                None => match op {
                    Op::Eq => yes(seen == other),
                    Op::Ne => yes(seen != other),
                    Op::Le | Op::Ge | Op::Lt | Op::Gt => Comparison::CannotCompare,
                },
            },
            Self::Between(low, high) => match (order(seen, low), order(seen, high)) {
                (Some(a), Some(b)) => yes(a.is_ge() && b.is_le()),
                _ => Comparison::CannotCompare,
            },
            Self::Within(percent, of) => match (number(seen), number(of)) {
                (Some(a), Some(b)) => yes((a - b).abs() <= b.abs() * percent / 100.0 + 1e-9),
                _ => Comparison::CannotCompare,
            },
        }
    }
}

impl Expect {
    /// Why no result can hold this expectation, if that is so.
    pub fn cannot_hold(&self) -> Option<String> {
        match self {
            Self::Between(low, high) if order(low, high).is_some_and(std::cmp::Ordering::is_gt) => {
                Some(format!("nothing lies between {low} and {high}"))
            }
            Self::Between(..)
            | Self::Matches(_)
            | Self::Compare(..)
            | Self::Within(..)
            | Self::Equals(_) => None,
        }
    }

    /// Why no result can fail this expectation, if that is so.
    pub fn cannot_fail(&self, counts: bool) -> Option<&'static str> {
        match self {
            Self::Matches(regex) => {
                let always = every_sort().iter().all(|t| regex.is_match(t));
                always.then_some("the expression matches every text")
            }
            Self::Compare(Op::Ge, n) if counts && number(n).is_some_and(|n| n <= 0.0) => {
                Some("a count is never below zero")
            }
            Self::Compare(Op::Gt, n) if counts && number(n).is_some_and(|n| n < 0.0) => {
                Some("a count is never below zero")
            }
            Self::Compare(Op::Ne, n) if counts && number(n).is_some_and(|n| n < 0.0) => {
                Some("a count is never below zero")
            }
            Self::Compare(..) | Self::Between(..) | Self::Within(..) | Self::Equals(_) => None,
        }
    }
}

impl Op {
    fn admits(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Le => ordering.is_le(),
            Self::Ge => ordering.is_ge(),
            Self::Lt => ordering.is_lt(),
            Self::Gt => ordering.is_gt(),
        }
    }
}

fn compare(op: Op, rest: &str, whole: &str) -> Result<Expect, BadExpect> {
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(BadExpect::Empty(whole.to_owned()));
    }
    if rest.starts_with(['=', '<', '>', '!']) {
        return Err(BadExpect::Operator(whole.to_owned()));
    }
    Ok(Expect::Compare(op, rest.to_owned()))
}

fn yes(holds: bool) -> Comparison {
    if holds {
        Comparison::Holds
    } else {
        Comparison::Fails
    }
}

fn number(text: &str) -> Option<f64> {
    let looks = text
        .trim_start_matches(['-', '+'])
        .starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse::<f64>().ok().filter(|n| looks && n.is_finite())
}

fn order(a: &str, b: &str) -> Option<std::cmp::Ordering> {
    if let (Ok(a), Ok(b)) = (a.parse::<i128>(), b.parse::<i128>()) {
        return Some(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a.partial_cmp(&b);
    }
    if let (Some(a), Some(b)) = (moment(a), moment(b)) {
        return Some(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (units::duration(a), units::duration(b)) {
        return Some(a.cmp(&b));
    }
    None
}

/// A moment as RFC 3339 writes it, or as PostgreSQL prints it.
pub fn moment(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.with_timezone(&Utc));
    }
    ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(text, format).ok())
        .map(|at| at.with_timezone(&Utc))
}

/// Texts of every sort on one line, good and bad: an expression that matches them all says nothing.
fn every_sort() -> [String; 9] {
    let printable: String = (' '..='~').collect();
    [
        String::new(),
        "x".to_owned(),
        "0".to_owned(),
        "-1".to_owned(),
        "ERROR".to_owned(),
        "connection refused (os error 111)".to_owned(),
        "é☃".to_owned(),
        printable.clone(),
        printable.repeat(60),
    ]
}

fn first_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .rfind(|l| !l.is_empty() && !l.starts_with('^'))
        .unwrap_or("")
        .trim_start_matches("error: ")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(expect: &str, seen: &str) -> Comparison {
        Expect::parse(expect).expect(expect).judge(seen)
    }

    #[test]
    fn each_form_holds_and_fails() {
        for (expect, holds, fails) in [
            ("> 0", "412", "0"),
            (">= 3", "3", "2.5"),
            ("!= 5", "4", "5.0"),
            ("== t", "t", "f"),
            ("between 3 5", "4", "6"),
            ("within 5% of 412", "400", "300"),
            ("/ok|fine/", "all fine", "bad"),
            ("t", " t\n", "tt"),
            (
                "> 2026-03-10T14:30:00Z",
                "2026-03-10 14:30:01+00",
                "2026-03-10 14:29:59.5+00",
            ),
            ("< 10m", "90s", "11m"),
            ("> 9007199254740993", "9007199254740994", "9007199254740993"),
        ] {
            assert_eq!(judge(expect, holds), Comparison::Holds, "{expect} {holds}");
            assert_eq!(judge(expect, fails), Comparison::Fails, "{expect} {fails}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        assert_eq!(judge("> 0", "permission denied"), Comparison::CannotCompare);
        assert_eq!(judge("> 0", ""), Comparison::CannotCompare);
        assert_eq!(judge("within 5% of x", "3"), Comparison::CannotCompare);
    }

    #[test]
    fn slips_are_errors() {
        for slip in [
            "=> 0",
            "=< 3",
            "<> 4",
            ">",
            "= 3",
            "between 3",
            "between 3 and",
            "between and 3",
            "within 5 of 3",
            "/(/",
            "> = 3",
        ] {
            assert!(Expect::parse(slip).is_err(), "{slip}");
        }
    }

    #[test]
    fn expectations_without_a_failing_result_are_found() {
        for (expect, counts) in [
            (">= 0", true),
            ("> -1", true),
            ("/.*/", false),
            ("/^.*$/", false),
            ("/.+?|^$/", false),
            ("//", false),
            ("/a?/", false),
            ("/(?s)^.*/", false),
        ] {
            let read = Expect::parse(expect).expect(expect);
            assert!(read.cannot_fail(counts).is_some(), "{expect}");
        }
        for (expect, counts) in [
            ("> 0", true),
            (">= 0", false),
            ("/./", false),
            ("/^$/", false),
            ("/^[^@]*$/", false),
            ("/^[ -~]*$/", false),
            ("/^.{0,200}$/", false),
            ("/^(?i:ok|pass)$/", false),
        ] {
            let read = Expect::parse(expect).expect(expect);
            assert!(read.cannot_fail(counts).is_none(), "{expect}");
        }
    }

    #[test]
    fn expectations_without_a_holding_result_are_found() {
        for (expect, impossible) in [
            ("between 5 3", true),
            ("between 1h and 1m", true),
            ("between 3 5", false),
            ("between 3 3", false),
            ("between low high", false),
        ] {
            let read = Expect::parse(expect).expect(expect);
            assert_eq!(read.cannot_hold().is_some(), impossible, "{expect}");
        }
    }
}
