//! The look-up: which rows of the failure table match what a step printed, best first.

use super::{
    event::Cause,
    runbook::{FailureRow, names_step},
    text::Clean,
};

/// What a failed attempt left behind, as far as a row can match it.
pub struct Evidence<'a> {
    pub step: &'a str,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

/// Counts the matches of every row while the log streams by; lines need not be kept.
pub struct LookUp<'r> {
    rows: &'r [FailureRow],
    /// Per row and signature: how many lines matched, and the last one that did.
    hits: Vec<Vec<Hit>>,
    lines: u64,
}

#[derive(Clone, Default)]
struct Hit {
    count: u64,
    last: Option<(u64, Clean)>,
}

impl<'r> LookUp<'r> {
    pub fn new(rows: &'r [FailureRow]) -> Self {
        let hits = rows
            .iter()
            .map(|row| vec![Hit::default(); row.matches.output.len()])
            .collect();
        Self {
            rows,
            hits,
            lines: 0,
        }
    }

    /// One line of the log, cleaned.
    pub fn line(&mut self, line: &Clean) {
        self.lines += 1;
        for (row, hits) in self.rows.iter().zip(&mut self.hits) {
            for (regex, hit) in row.matches.output.iter().zip(hits) {
                if regex.is_match(line.as_str()) {
                    hit.count += 1;
                    hit.last = Some((self.lines, line.clone()));
                }
            }
        }
    }

    /// What else was seen (a failing check's *seen*): matched, but without a line number.
    pub fn seen(&mut self, text: &Clean) {
        for (row, hits) in self.rows.iter().zip(&mut self.hits) {
            for (regex, hit) in row.matches.output.iter().zip(hits) {
                if regex.is_match(text.as_str()) {
                    hit.count += 1;
                    hit.last.get_or_insert((0, Clean::line(text.as_str())));
                }
            }
        }
    }

    /// The rows that match, best first: more and rarer signatures, then step and exit code.
    pub fn causes(&self, evidence: &Evidence<'_>) -> Vec<Cause> {
        let mut causes: Vec<Cause> = self
            .rows
            .iter()
            .zip(&self.hits)
            .filter_map(|(row, hits)| self.judge(row, hits, evidence))
            .collect();
        causes.sort_by(|a, b| b.score.total_cmp(&a.score));
        causes
    }

    fn judge(&self, row: &FailureRow, hits: &[Hit], evidence: &Evidence<'_>) -> Option<Cause> {
        let mut score = 0.0;
        let mut best: Option<&(u64, Clean)> = None;
        for hit in hits.iter().filter(|h| h.count > 0) {
            // A signature on one line says more than one that is on every line.
            score += 10.0 + 5.0 / (hit.count as f64);
            let (here, there) = (hit.last.as_ref(), best.map_or(0, |(n, _)| *n));
            if best.is_none() || here.is_some_and(|(n, _)| *n >= there) {
                best = here;
            }
        }
        let step = row
            .matches
            .step
            .iter()
            .any(|name| names_step(evidence.step, &name.text));
        let code = evidence
            .exit_code
            .or(evidence.signal.map(|s| 128 + s))
            .map(i64::from);
        let exit = code.is_some_and(|code| row.matches.exit.contains(&code));
        // A row with signatures is not suggested by its step alone: every failure of that step
        // would name it.
        let by_step_only = step && !exit && score == 0.0 && !row.matches.output.is_empty();
        if step && !by_step_only {
            score += 4.0;
        }
        if exit {
            score += 3.0;
        }
        if score == 0.0 {
            return None;
        }
        Some(Cause {
            row: row.id.text.clone(),
            cause: Clean::new(&row.cause),
            fix: Clean::new(&row.fix),
            source: Clean::line(&row.source),
            line: best.map(|(n, _)| *n).filter(|n| *n > 0),
            text: best.map(|(_, text)| text.clone()),
            go: row.go.as_ref().map(|g| g.text.clone()),
            probe: row.probe.as_ref().map(|p| Clean::line(&p.label())),
            score,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::runbook::{Match, Name};
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

    fn causes(
        rows: &[FailureRow],
        log: &[&str],
        step: &str,
        exit: i32,
    ) -> Vec<(String, Option<u64>)> {
        let mut look_up = LookUp::new(rows);
        for line in log {
            look_up.line(&Clean::line(line));
        }
        let evidence = Evidence {
            step,
            exit_code: Some(exit),
            signal: None,
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
