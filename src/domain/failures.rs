//! The look-up: which rows of the failure tables match what a step printed, best first.
//!
//! Nothing is guessed: a row matches by its signatures, and every part of its score can be shown.

pub mod library;
pub mod live;
pub mod rules;
pub mod scan;
pub mod search;
pub mod signature;

use super::{event::Cause, event::Line, runbook::names_step, text::Clean};
use rules::{Rule, RuleSet, Sure};
use scan::{Hit, Hits, scan};
use std::borrow::Cow;

/// How far apart lines may be that belong together: an error and its hint.
const NEAR: u64 = 40;
/// A command that fails ends with what it says of it: so near to the end its own words are looked for.
const LAST: u64 = 8;
/// How many lines are shown as proof.
const SHOWN: usize = 6;

/// What a failed attempt left behind, as far as a row can match it.
#[derive(Clone, Copy, Default)]
pub struct Evidence<'a> {
    pub step: &'a str,
    pub tool: Option<&'a str>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

/// Counts the matches of every row while the log streams by; lines need not be kept.
pub struct LookUp<'r> {
    sets: Vec<(&'r RuleSet, Hits)>,
    lines: u64,
}

/// A row that matches, and why it stands where it stands.
pub struct Judged<'r> {
    pub rule: &'r Rule,
    pub score: f64,
    pub parts: Vec<(&'static str, f64)>,
    /// The lines that prove it; without a number what a check saw.
    pub lines: Vec<(Option<u64>, Clean)>,
    /// On how many lines the commonest of its signatures stands.
    pub times: u64,
}

impl<'r> LookUp<'r> {
    /// The sets in their order: the runbook's own first.
    pub fn new(sets: impl IntoIterator<Item = &'r RuleSet>) -> Self {
        let sets = sets.into_iter().map(|set| (set, Hits::default())).collect();
        Self { sets, lines: 0 }
    }

    /// Whole lines of the log, as they were printed.
    pub fn block(&mut self, block: &[u8]) {
        for (set, hits) in &mut self.sets {
            hits.merge(scan(set, block));
            self.lines = hits.lines;
        }
    }

    /// What was found elsewhere in the lines that follow: one for each set.
    pub fn found(&mut self, found: Vec<Hits>) {
        for ((_, hits), found) in self.sets.iter_mut().zip(found) {
            hits.merge(found);
            self.lines = hits.lines;
        }
    }

    /// One line of the log.
    pub fn line(&mut self, line: &Clean) {
        self.block(format!("{line}\n").as_bytes());
    }

    /// What else was seen (a failing check's *seen*): matched, but without a line number.
    pub fn seen(&mut self, text: &Clean) {
        let line = Clean::line(text.as_str());
        let lines = format!("{text}\n{line}\n");
        for (set, hits) in &mut self.sets {
            hits.beside(scan(set, lines.as_bytes()), &line);
        }
    }

    /// The rows that match, best first.
    pub fn causes(&self, evidence: &Evidence<'_>) -> Vec<Cause> {
        self.judged(evidence)
            .into_iter()
            .map(Judged::into_cause)
            .collect()
    }

    /// The same, with what each score is made of.
    pub fn judged(&self, evidence: &Evidence<'_>) -> Vec<Judged<'r>> {
        let mut all: Vec<Judged<'r>> = Vec::new();
        for (set, hits) in &self.sets {
            let rules = 0..set.rules().len();
            all.extend(rules.filter_map(|rule| self.judge(set, hits, rule, evidence)));
        }
        // The tool's own words stand there where no line is known for more, and once: of the most special row.
        let says = |j: &Judged<'_>| j.rule.sure == Sure::Said;
        let said = all.iter().position(says).map(|at| all.remove(at));
        all.retain(|j| !says(j));
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        let of_code = |j: &Judged<'_>| j.rule.sure > Sure::Consequence && j.lines.is_empty();
        let known = all.iter().filter(|j| j.rule.sure > Sure::Consequence);
        if let Some(said) = said.filter(|_| known.clone().all(of_code)) {
            // What a signal or a code says for certain stays before it.
            all.insert(known.count(), said);
        }
        all
    }

    fn judge(
        &self,
        set: &'r RuleSet,
        hits: &Hits,
        number: usize,
        evidence: &Evidence<'_>,
    ) -> Option<Judged<'r>> {
        let rule = &set.rules()[number];
        let [output, all, unless, healed] = set.numbers(number);
        if unless.into_iter().any(|s| hits.get(s).is_some()) {
            return None;
        }
        let healed = healed.filter_map(|s| hits.get(s)?.numbers.last()).max();
        // A wait that ended well: what failed before it is over.
        let is_over = |hit: &&Hit| hit.numbers.last().is_some_and(|n| Some(n) < healed);
        let standing = |signature| hits.get(signature).filter(|hit| !is_over(hit));
        let mut found: Vec<&Hit> = output.filter_map(standing).collect();
        let mut distinct = found.len();
        let together: Option<Vec<&Hit>> = all.map(standing).collect();
        if let Some(together) = together.filter(|t| !t.is_empty() && near(t)) {
            distinct += 1;
            found.extend(together);
        }
        let code = evidence
            .exit_code
            .or(evidence.signal.map(|s| 128 + s))
            .map(i64::from);
        if rule.sure == Sure::Said {
            let latest = found.iter().filter_map(|hit| hit.numbers.last()).max();
            if code == Some(0) || latest.is_some_and(|n| n + LAST <= self.lines) {
                return None;
            }
        }
        let exit = code.is_some_and(|code| rule.exit.contains(&code));
        let tool = evidence
            .tool
            .is_some_and(|tool| rule.tools.iter().any(|t| t == tool));
        let step = rule.step.iter().any(|name| names_step(evidence.step, name));
        let mut parts = Vec::new();
        let silent = rule.output.is_empty() && rule.all.is_empty();
        if rule.own && (silent || !found.is_empty()) {
            parts.push(("a row of this runbook", 100.0));
        }
        if found.is_empty() {
            // By its signatures alone, or by its code where that means something without them; a row with
            // signatures is not suggested by its step, which every failure of that step would do.
            let by_step = step && silent;
            let by_code = exit && (rule.own || tool || code.is_some_and(|c| c >= 124));
            if !by_step && !by_code {
                return None;
            }
            parts.push((
                "no line of it, but its step or exit code",
                rule.sure.score() / 4.0,
            ));
        } else {
            parts.push((rule.sure.as_str(), rule.sure.score()));
            if rule.own {
                // Whoever wrote them chose each signature for this platform: their number decides.
                let each = |hit: &&Hit| 10.0 + 5.0 / hit.count.max(1) as f64;
                parts.push(("its signatures", found.iter().map(each).sum()));
            } else {
                let rarest = found.iter().map(|h| h.count).min().unwrap_or(1).max(1);
                let more = distinct.saturating_sub(1).min(2) as f64;
                parts.push(("more than one signature", 5.0 * more));
                let longest = found.iter().map(|h| h.longest).max().unwrap_or(0);
                let explained = longest.min(40) as f64 / 4.0;
                parts.push(("how much of the line it explains", explained));
                parts.push(("how rare the line is", 5.0 / rarest as f64));
                let latest = found.iter().filter_map(|h| h.numbers.last()).max();
                let latest = latest.map_or(1.0, |n| *n as f64 / self.lines.max(1) as f64);
                parts.push(("how late in the log", 10.0 * latest));
            }
        }
        if tool {
            parts.push(("its tool", 20.0));
        }
        if step {
            parts.push(("its step", 4.0));
        }
        if exit {
            parts.push(("its exit code", if rule.own { 3.0 } else { 10.0 }));
        }
        parts.retain(|(_, score)| *score != 0.0);
        Some(Judged {
            rule,
            score: parts.iter().map(|(_, score)| score).sum(),
            parts,
            lines: proof(&found),
            times: found.iter().map(|h| h.count).max().unwrap_or(0),
        })
    }
}

/// Do all of these stand near each other somewhere?
fn near(hits: &[&Hit]) -> bool {
    let Some((one, others)) = hits.split_first() else {
        return false;
    };
    one.numbers.iter().any(|n| {
        others
            .iter()
            .all(|hit| hit.numbers.iter().any(|m| n.abs_diff(*m) <= NEAR))
    })
}

/// The lines that prove it, in their order, the last ones where there are many.
fn proof(hits: &[&Hit]) -> Vec<(Option<u64>, Clean)> {
    let mut lines: Vec<&(u64, Clean)> = hits.iter().flat_map(|h| h.lines()).collect();
    lines.sort_by_key(|(n, _)| *n);
    lines.dedup_by_key(|(n, text)| (*n, text.clone()));
    let from = lines.len().saturating_sub(SHOWN);
    lines[from..]
        .iter()
        .map(|(n, text)| ((*n > 0).then_some(*n), text.clone()))
        .collect()
}

impl Judged<'_> {
    /// The cause that its row names, with the tool's own words where it repeats them.
    pub fn cause(&self) -> Cow<'_, str> {
        self.rule
            .cause_of(self.lines.iter().map(|(_, text)| text.as_str()))
    }

    pub fn into_cause(self) -> Cause {
        let rule = self.rule;
        let last = self.lines.last().cloned();
        Cause {
            row: rule.id.clone(),
            cause: Clean::new(&self.cause()),
            fix: Clean::new(&rule.fix),
            source: Clean::line(&rule.source),
            line: last.as_ref().and_then(|(n, _)| *n),
            text: last.map(|(_, text)| text),
            go: rule.go.clone(),
            probe: rule.looks_at().map(|p| Clean::line(&p)),
            tool: rule.tools.first().cloned(),
            lines: self
                .lines
                .into_iter()
                .filter_map(|(n, text)| Some(Line { n: n?, text }))
                .collect(),
            score: self.score,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::runbook::{FailureRow, Match, Name};
    use regex::Regex;

    fn row(id: &str, output: &[&str], exit: &[i64], step: &[&str]) -> FailureRow {
        FailureRow {
            id: Name::new(id),
            symptom: String::new(),
            cause: id.to_owned(),
            fix: String::new(),
            matches: Match {
                output: output
                    .iter()
                    .map(|o| Regex::new(o).expect("valid"))
                    .collect(),
                exit: exit.to_vec(),
                step: step.iter().map(|s| Name::new(*s)).collect(),
            },
            probe: None,
            go: None,
            source: String::new(),
        }
    }

    fn of_library(keys: &str) -> RuleSet {
        let text = format!(
            "tool: x\nfailures:\n  - {{ id: lib, symptom: s, cause: c, fix: f, source: o, sure: certain, match: {{ {keys} }} }}\n"
        );
        RuleSet::new(library::read(text.as_bytes()).expect("a row"))
    }

    #[test]
    fn a_row_of_the_runbook_without_signatures_stands_before_the_library() {
        let own = RuleSet::of_runbook(&[
            row("by-step", &[], &[], &["restore"]),
            row("by-code", &["xyz"], &[1], &[]),
        ]);
        let library = of_library("output: ['no backup']");
        let mut look_up = LookUp::new([&own, &library]);
        look_up.line(&Clean::line("there is no backup"));
        let evidence = Evidence {
            step: "postgres/restore",
            exit_code: Some(1),
            ..Evidence::default()
        };
        let rows: Vec<String> = look_up
            .causes(&evidence)
            .into_iter()
            .map(|c| c.row)
            .collect();
        // The code alone of a row that has signatures says little: it is no reason to come first.
        assert_eq!(rows, ["by-step", "lib", "by-code"]);
    }

    #[test]
    fn what_ended_well_later_is_no_cause_and_what_fails_after_it_is() {
        let set = of_library("output: ['refused'], healed: ['is up']");
        let named = |log: &str| {
            let mut look_up = LookUp::new([&set]);
            look_up.block(log.as_bytes());
            !look_up.causes(&Evidence::default()).is_empty()
        };
        assert!(named("refused\nrefused\n"));
        assert!(!named("refused\nrefused\nis up\n"));
        assert!(named("refused\nis up\nrefused\n"));
    }

    #[test]
    fn what_a_tool_says_is_repeated_where_no_row_knows_more_and_it_failed() {
        let set = {
            let keys = |id: &str, cause: &str, sure: &str, output: &str| {
                format!(
                    "  - {{ id: {id}, symptom: s, cause: '{cause}', fix: f, source: o, sure: {sure}, match: {{ output: ['{output}'] }} }}\n"
                )
            };
            let text = [
                "tool: x\nfailures:\n".to_owned(),
                keys("known", "known", "possible", "disk full"),
                keys("broke", "broke", "consequence", "it broke"),
                keys("says", "It says: ${said}", "said", "ERROR: (?P<said>.+)"),
                keys("ends", "It ends: ${said}", "said", "(?P<said>ERROR.+)"),
            ];
            RuleSet::new(library::read(text.concat().as_bytes()).expect("rows"))
        };
        let named = |log: &str, exit_code| {
            let mut look_up = LookUp::new([&set]);
            look_up.block(log.as_bytes());
            let evidence = Evidence {
                exit_code,
                ..Evidence::default()
            };
            let causes = look_up.causes(&evidence);
            causes
                .iter()
                .map(|c| c.cause.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        let log = "ERROR: no frob.\n";
        assert_eq!(named(log, Some(1)), ["It says: no frob"]);
        assert_eq!(
            named("ERROR: no frob\nit broke\n", None),
            ["It says: no frob", "broke"]
        );
        assert_eq!(named("ERROR: no frob\ndisk full\n", Some(1)), ["known"]);
        // A command that ended well has said it of something else; so has one that went on for long.
        assert!(named(log, Some(0)).is_empty());
        assert!(named(&format!("{log}{}", "fine\n".repeat(8)), Some(1)).is_empty());
    }

    fn causes(
        rows: &[FailureRow],
        log: &[&str],
        step: &str,
        exit: i32,
    ) -> Vec<(String, Option<u64>)> {
        let rules = RuleSet::of_runbook(rows);
        let mut look_up = LookUp::new([&rules]);
        for line in log {
            look_up.line(&Clean::line(line));
        }
        let evidence = Evidence {
            step,
            exit_code: Some(exit),
            ..Evidence::default()
        };
        let found = look_up.causes(&evidence);
        found.into_iter().map(|c| (c.row, c.line)).collect()
    }

    #[test]
    fn more_and_rarer_signatures_rank_higher() {
        let rows = [
            row("generic", &["(?i)error"], &[], &[]),
            row("exact", &["no backup", "ERROR: \\[075\\]"], &[], &[]),
            row("other", &["disk full"], &[75], &[]),
        ];
        let log = ["error one", "ERROR: [075]: x", "error two, no backup"];
        let found = causes(&rows, &log, "postgres/restore", 75);
        assert_eq!(found[0], ("exact".to_owned(), Some(3)));
        assert_eq!(found[1].0, "generic");
        assert_eq!(found[2], ("other".to_owned(), None));
    }

    #[test]
    fn a_row_with_signatures_is_not_suggested_by_its_step_alone() {
        let rows = [
            row("sig", &["xyz"], &[], &["restore"]),
            row("step", &[], &[], &["restore"]),
        ];
        assert_eq!(
            causes(&rows, &["fine"], "postgres/restore", 1),
            [("step".to_owned(), None)]
        );
        assert!(causes(&rows, &["fine"], "postgres/verify", 1).is_empty());
    }
}
