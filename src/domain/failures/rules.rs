//! Rows made ready for the search.

use super::signature::Signature;
use crate::domain::runbook::{Check, FailureRow};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::{borrow::Cow, collections::HashMap, sync::OnceLock};

/// Stands in a cause for what the group `said` of its signature has matched.
const SAID: &str = "${said}";

/// How much the line itself says about the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sure {
    /// Nothing beside the tool's own words, which the row repeats: for messages that no other row knows.
    Said,
    /// Only that something failed: whatever else is found explains it.
    Consequence,
    Possible,
    Likely,
    /// It names one root cause.
    Certain,
}

impl Sure {
    pub const WORDS: [(&'static str, Self); 5] = [
        ("certain", Self::Certain),
        ("likely", Self::Likely),
        ("possible", Self::Possible),
        ("consequence", Self::Consequence),
        ("said", Self::Said),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
            Self::Consequence => "consequence",
            Self::Said => "said",
        }
    }

    pub fn score(self) -> f64 {
        match self {
            Self::Certain => 60.0,
            Self::Likely => 40.0,
            Self::Possible => 20.0,
            Self::Consequence => 8.0,
            Self::Said => 30.0,
        }
    }
}

/// A failure row, of a runbook or of the library.
pub struct Rule {
    pub id: String,
    pub symptom: String,
    pub cause: String,
    pub fix: String,
    pub source: String,
    /// The tools whose output it is; none for a row of a runbook.
    pub tools: Vec<String>,
    pub sure: Sure,
    /// Any of these.
    pub output: Vec<Signature>,
    /// All of these, near each other.
    pub all: Vec<Signature>,
    /// None of these.
    pub unless: Vec<Signature>,
    /// None of these on a later line than what matches.
    pub healed: Vec<Signature>,
    pub exit: Vec<i64>,
    pub step: Vec<String>,
    pub probe: Option<Check>,
    pub go: Option<String>,
    /// Of the runbook rather than of the library?
    pub own: bool,
}

impl Rule {
    pub fn of_runbook(row: &FailureRow) -> Self {
        let output = row.matches.output.iter();
        Self {
            id: row.id.text.clone(),
            symptom: row.symptom.clone(),
            cause: row.cause.clone(),
            fix: row.fix.clone(),
            source: row.source.clone(),
            tools: Vec::new(),
            sure: Sure::Likely,
            output: output
                .filter_map(|regex| Signature::new(regex.as_str()).ok())
                .collect(),
            all: Vec::new(),
            unless: Vec::new(),
            healed: Vec::new(),
            exit: row.matches.exit.clone(),
            step: row.matches.step.iter().map(|s| s.text.clone()).collect(),
            probe: row.probe.clone(),
            go: row.go.as_ref().map(|g| g.text.clone()),
            own: true,
        }
    }

    /// Its cause, with what the tool itself said in the place of `${said}`.
    pub fn cause_of<'l>(&self, lines: impl Iterator<Item = &'l str>) -> Cow<'_, str> {
        if !self.cause.contains(SAID) {
            return Cow::Borrowed(&self.cause);
        }
        let said_on = |line: &'l str| {
            let mut signatures = self.output.iter().chain(&self.all);
            signatures.find_map(|s| Some(s.regex().captures(line)?.name("said")?.as_str()))
        };
        let said = lines.filter_map(said_on).last().unwrap_or_default();
        Cow::Owned(self.cause.replace(SAID, said.trim_end_matches(['.', ' '])))
    }

    /// What its probe looks at, in words.
    pub fn looks_at(&self) -> Option<String> {
        self.probe.as_ref().map(Check::label)
    }

    fn signatures(&self) -> impl Iterator<Item = &Signature> {
        let by_place = self.output.iter().chain(&self.all).chain(&self.unless);
        by_place.chain(&self.healed)
    }
}

/// Rows, and one search for all their signatures.
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Where a signature stands: its rule, and its place among that rule's.
    places: Vec<(usize, usize)>,
    /// The first signature of each rule.
    firsts: Vec<usize>,
    /// Ready at once, and small.
    finder: AhoCorasick,
    /// Half as quick again, once it is made: for logs of hundreds of megabytes.
    quicker: OnceLock<AhoCorasick>,
    needles: Vec<String>,
    of_needle: Vec<Vec<usize>>,
    always: Vec<usize>,
}

impl RuleSet {
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut places = Vec::new();
        let mut firsts = Vec::new();
        let mut needles: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut always = Vec::new();
        for (r, rule) in rules.iter().enumerate() {
            firsts.push(places.len());
            for (s, signature) in rule.signatures().enumerate() {
                let number = places.len();
                places.push((r, s));
                match &signature.needles {
                    Some(texts) => {
                        for text in texts {
                            needles.entry(text).or_default().push(number);
                        }
                    }
                    None => always.push(number),
                }
            }
        }
        let mut needles: Vec<(&str, Vec<usize>)> = needles.into_iter().collect();
        needles.sort_unstable();
        let (needles, of_needle): (Vec<String>, _) = needles
            .into_iter()
            .map(|(text, numbers)| (text.to_owned(), numbers))
            .unzip();
        let finder = finder(&needles, AhoCorasickKind::ContiguousNFA);
        Self {
            rules,
            places,
            firsts,
            finder,
            quicker: OnceLock::new(),
            needles,
            of_needle,
            always,
        }
    }

    pub fn of_runbook(rows: &[FailureRow]) -> Self {
        Self::new(rows.iter().map(Rule::of_runbook).collect())
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The numbers of a rule's signatures: any of, all of, none of, none of later.
    pub fn numbers(&self, rule: usize) -> [std::ops::Range<usize>; 4] {
        let (first, of) = (self.firsts[rule], &self.rules[rule]);
        let second = first + of.output.len();
        let third = second + of.all.len();
        let fourth = third + of.unless.len();
        let end = fourth + of.healed.len();
        [first..second, second..third, third..fourth, fourth..end]
    }

    /// There is much to search: worth a tenth of a second beforehand.
    pub fn hurry(&self) {
        self.quicker
            .get_or_init(|| finder(&self.needles, AhoCorasickKind::DFA));
    }

    pub(super) fn finder(&self) -> &AhoCorasick {
        self.quicker.get().unwrap_or(&self.finder)
    }

    pub(super) fn of_needle(&self, needle: usize) -> &[usize] {
        &self.of_needle[needle]
    }

    /// How many there are.
    pub(super) fn signatures(&self) -> usize {
        self.places.len()
    }

    pub(super) fn always(&self) -> &[usize] {
        &self.always
    }

    pub(super) fn signature(&self, number: usize) -> &Signature {
        let (rule, place) = self.places[number];
        let rule = &self.rules[rule];
        let mut all = rule.signatures();
        all.nth(place).expect("it was counted")
    }
}

fn finder(needles: &[String], kind: AhoCorasickKind) -> AhoCorasick {
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .kind(Some(kind))
        .build(needles)
        .expect("texts of signatures are few and short")
}
