//! Finding a row by what somebody sees, in their own words: words may be misspelt, inflected or missing.

use super::{
    library::library,
    rules::{Rule, Sure},
};
use crate::domain::runbook::FailureRow;
use std::collections::{HashMap, HashSet};

/// All rows there are: the runbook's own, then the library's.
pub struct Table {
    own: Vec<Rule>,
    /// Each entry's words, and how much each weighs there.
    words: Vec<HashMap<String, f64>>,
    /// On how many rows a word stands.
    spread: HashMap<String, usize>,
}

impl Table {
    pub fn of(rows: &[FailureRow]) -> Self {
        let own: Vec<Rule> = rows.iter().map(Rule::of_runbook).collect();
        let mut spread: HashMap<String, usize> = HashMap::new();
        // Those that repeat a tool's words say nothing before it has said any; they are the last ones.
        let shipped = library().rules().iter();
        let words = own
            .iter()
            .chain(shipped.filter(|rule| rule.sure != Sure::Said))
            .map(|rule| {
                let mut all: HashMap<String, f64> = HashMap::new();
                for (weight, text) in fields(rule) {
                    for word in split(&text) {
                        let known = all.entry(word).or_default();
                        *known = known.max(weight);
                    }
                }
                for word in all.keys() {
                    *spread.entry(word.clone()).or_default() += 1;
                }
                all
            })
            .collect();
        Self { own, words, spread }
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub fn row(&self, place: usize) -> &Rule {
        let shipped = library().rules();
        match place.checked_sub(self.own.len()) {
            Some(place) => &shipped[place],
            None => &self.own[place],
        }
    }

    /// The places of the rows that fit what was typed, best first; all of them, in their order, when nothing was.
    pub fn search(&self, typed: &str) -> Vec<usize> {
        let mut typed: Vec<String> = split(typed).collect();
        typed.dedup();
        if typed.is_empty() {
            return (0..self.len()).collect();
        }
        // Each word is compared once with every word that there is.
        let known: Vec<(f64, HashMap<&str, f64>)> = typed
            .iter()
            .map(|word| {
                let like = self.like(word);
                // A word that stands nowhere says nothing for or against a row.
                let part = if like.is_empty() { 0.2 } else { 1.0 };
                // A slip weighs what the word weighs that it stands for.
                let meant = like.iter().max_by(|a, b| a.1.total_cmp(b.1));
                let meant = meant.map_or(word.as_str(), |(word, _)| *word);
                (self.weight(meant) * part, like)
            })
            .collect();
        let all: f64 = known.iter().map(|(weight, _)| weight).sum();
        let tools = library().rules().iter().flat_map(|rule| &rule.tools);
        let tools: HashSet<&String> = tools.collect();
        let named: Vec<&String> = typed.iter().filter(|w| tools.contains(w)).collect();
        let mut found: Vec<(f64, usize)> = self
            .words
            .iter()
            .enumerate()
            .filter_map(|(at, words)| {
                let (mut score, mut said) = (0.0, 0.0);
                for (weight, like) in &known {
                    let best = words
                        .iter()
                        .filter_map(|(word, of)| Some((like.get(word.as_str())?, of)))
                        .map(|(like, of)| (like * of, *like))
                        .max_by(|a, b| a.0.total_cmp(&b.0));
                    if let Some((scored, like)) = best {
                        score += weight * scored;
                        said += weight * like;
                    }
                }
                let own = if self.row(at).own { 1.3 } else { 1.0 };
                let of_tool = self.fits(at, &named);
                (said >= 0.4 * all && score > 0.0).then_some((score * own * of_tool, at))
            })
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().map(|(_, at)| at).collect()
    }

    /// Who names a tool means what that tool says.
    fn fits(&self, at: usize, named: &[&String]) -> f64 {
        let of = &self.row(at).tools;
        match (named, of.as_slice()) {
            ([], _) | (_, []) => 1.0,
            _ if of.iter().any(|tool| named.contains(&tool)) => 1.5,
            _ => 0.5,
        }
    }

    /// Rare words say more. One that stands nowhere may be a slip, or ours not to know.
    fn weight(&self, word: &str) -> f64 {
        let rows = self.len() as f64;
        let on = self.spread.get(word).copied().unwrap_or(20) as f64;
        (rows / on).ln().max(0.3)
    }

    /// Words that this one may stand for, and how well.
    fn like(&self, word: &str) -> HashMap<&str, f64> {
        let mut found = HashMap::new();
        for known in self.spread.keys() {
            let like = likeness(word, known);
            if like > 0.0 {
                found.insert(known.as_str(), like);
            }
        }
        found
    }
}

/// What a row says, the symptom weighing most.
fn fields(rule: &Rule) -> [(f64, String); 4] {
    let [symptom, cause, fix] = [&rule.symptom, &rule.cause, &rule.fix].map(String::clone);
    let name = format!("{} {}", rule.id, rule.tools.join(" "));
    [(3.0, symptom), (2.0, cause), (1.0, fix), (2.0, name)]
}

fn likeness(typed: &str, known: &str) -> f64 {
    if typed == known {
        return 1.0;
    }
    let (short, long) = (typed.len().min(known.len()), typed.len().max(known.len()));
    let same = typed
        .bytes()
        .zip(known.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    if same >= 3 && same == typed.len() {
        return 0.8;
    }
    // restore, restored, restoring
    if same >= 4 && same * 10 >= long * 6 && long - same <= 4 {
        return 0.8;
    }
    if short >= 4 && known.contains(typed) {
        return 0.7;
    }
    let slips = if typed.len() >= 7 { 2 } else { 1 };
    if typed.len() >= 4 && long - short <= slips && strsim::osa_distance(typed, known) <= slips {
        return 0.6;
    }
    0.0
}

/// Small words that say nothing of a failure.
const SMALL: &[&str] = &[
    "the", "a", "an", "is", "are", "was", "it", "its", "my", "our", "of", "to", "in", "on", "at",
    "and", "or", "for", "with", "by", "as", "be", "has", "have", "this", "that", "i", "we", "but",
    "there", "does", "do", "did", "when", "after", "from", "any", "all", "some",
];

fn split(text: &str) -> impl Iterator<Item = String> {
    let small: HashSet<&str> = SMALL.iter().copied().collect();
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 1 && !small.contains(word))
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(typed: &str) -> Vec<String> {
        let table = Table::of(&[]);
        let rows = table.search(typed).into_iter().take(5);
        rows.map(|at| table.row(at))
            .map(|e| format!("{} {}", e.symptom, e.cause).to_lowercase())
            .collect()
    }

    #[track_caller]
    fn among_first(typed: &str, word: &str) {
        let found = found(typed);
        assert!(
            found.iter().any(|text| text.contains(word)),
            "{typed}: {found:#?}"
        );
    }

    #[test]
    fn a_symptom_in_ones_own_words_finds_its_row() {
        among_first("disk is full", "full");
        among_first("wrong passwrd for postgres", "password");
        among_first("pod keeps restarting crash loop", "crash");
        among_first("claim hangs in terminating", "finalizer");
        among_first("certifcate expired", "expired");
        among_first("host key changed ssh", "host key");
        assert!(found("xyzzyplugh frobnicated").is_empty());
    }

    #[test]
    fn nothing_typed_shows_everything() {
        let table = Table::of(&[]);
        assert_eq!(table.search(" the ").len(), table.len());
        assert!(table.len() >= 150);
    }
}
