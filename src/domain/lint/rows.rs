//! Signatures of failure rows that say too much, nothing, or what another row says already.

use super::Found;
use crate::domain::{
    failures::{Evidence, LookUp, rules::RuleSet},
    runbook::{FailureRow, Runbook},
    text::Clean,
};
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use std::collections::HashMap;

/// What commands print that did what they should.
const SUCCESSES: &[&str] = &[
    "P00   INFO: restore command end: completed successfully (2613ms)",
    "P00   INFO: backup command end: completed successfully (8123ms)",
    "WAL segment 000000010000000000000004 successfully archived",
    "stanza: main  status: ok",
    "pg_dump: last built-in OID is 16383",
    "pg_restore: processing data for table \"public.tenants\"",
    "server started",
    "waiting for server to start.... done",
    "database system is ready to accept connections",
    "LOG:  recovery stopping before commit of transaction 741, time 2026-03-10 14:31:00+00",
    "LOG:  last completed transaction was at log time 2026-03-10 14:30:58+00",
    "LOG:  archive recovery complete",
    "LOG:  checkpoint complete: wrote 42 buffers (0.3%); 0 WAL file(s) added",
    "INSERT 0 1",
    "COPY 412",
    "(1 row)",
    "PONG",
    "Ready to accept connections tcp",
    "deployment \"api\" successfully rolled out",
    "deployment.apps/api restarted",
    "persistentvolumeclaim/data created",
    "pod/api-7d9f8b6c5-x2x4q condition met",
    "NAME   READY   STATUS    RESTARTS   AGE",
    "api-7d9f8b6c5-x2x4q   1/1   Running   0   5m",
    "STATUS: deployed",
    "Release \"api\" has been upgraded. Happy Helming!",
    "  \"provisioningState\": \"Succeeded\",",
    "HTTP/1.1 200 OK",
    "{\"status\":\"ok\",\"database\":\"healthy\"}",
    "0 errors, 0 warnings",
    "0 failed, 12 passed",
    "no errors found",
    "exit code 0",
    "done",
    "OK",
];

pub(super) fn find(runbook: &Runbook, found: &mut Found) {
    let mut known: HashMap<String, &FailureRow> = HashMap::new();
    let rules = RuleSet::of_runbook(&runbook.failures);
    for row in &runbook.failures {
        let place = format!("failures/{}", row.id);
        for signature in &row.matches.output {
            let text = signature.as_str();
            if let Some(line) = SUCCESSES.iter().find(|line| signature.is_match(line)) {
                found.warn(
                    "row-on-success",
                    &place,
                    row.id.at,
                    format!("`{text}` matches what succeeds, too: `{}`", line.trim()),
                    "name the words that only the failure prints",
                );
            }
            if regex_syntax::parse(text).is_ok_and(|hir| is_impossible(&hir)) {
                found.warn(
                    "row-never",
                    &place,
                    row.id.at,
                    format!("`{text}` can never match: lines are compared one at a time"),
                    "write one signature for each line",
                );
            }
            let other = known.insert(text.trim_start_matches("(?i)").to_lowercase(), row);
            if let Some(other) =
                other.filter(|o| o.id != row.id && o.matches.step == row.matches.step)
            {
                found.warn(
                    "row-swallowed",
                    &place,
                    row.id.at,
                    format!(
                        "`{text}` stands in the row `{}` as well: nothing tells the two apart",
                        other.id
                    ),
                    "give one of them a probe, its step, or words of its own",
                );
            } else if let Some(other) = swallower(&rules, row, text) {
                found.warn(
                    "row-swallowed",
                    &place,
                    row.id.at,
                    format!("what `{text}` matches is answered by the row `{other}` first"),
                    "put this row before that one, or name more of the line here",
                );
            }
        }
    }
}

/// The row that comes before this one on every line that is made of this one's own words: by its score, or,
/// where that is the same, by its place.
fn swallower<'r>(rules: &'r RuleSet, row: &FailureRow, signature: &str) -> Option<&'r str> {
    let lines = regex_syntax::parse(signature).map_or(Vec::new(), |hir| examples(&hir));
    let of_row = &row.matches;
    let steps: Vec<&str> = match of_row.step.is_empty() {
        true => vec![""],
        false => of_row.step.iter().map(|s| &*s.text).collect(),
    };
    let codes: Vec<Option<i32>> = match of_row.exit.is_empty() {
        true => vec![None],
        false => of_row
            .exit
            .iter()
            .map(|code| i32::try_from(*code).ok())
            .collect(),
    };
    let evidence = steps.iter().flat_map(|step| {
        codes.iter().map(|exit_code| Evidence {
            step,
            exit_code: *exit_code,
            ..Evidence::default()
        })
    });
    let evidence: Vec<Evidence<'_>> = evidence.collect();
    // Who answers at every step and code of the row, it never does.
    let first = |line: String| {
        let mut found = LookUp::new([rules]);
        found.line(&Clean::line(&line));
        let mut answers = evidence.iter().map(|evidence| {
            let judged = found.judged(evidence);
            let own = judged.iter().position(|j| j.rule.id == row.id.text)?;
            let best = judged.first().filter(|_| own > 0)?;
            Some(best.rule.id.as_str())
        });
        let other = answers.next()??;
        answers.all(|answer| answer.is_some()).then_some(other)
    };
    let mut all = lines.into_iter().map(first);
    let other = all.next()??;
    all.all(|one| one.is_some()).then_some(other)
}

/// Texts that an expression matches: one of each of its alternatives, and not more than a few.
fn examples(hir: &Hir) -> Vec<String> {
    const MOST: usize = 16;
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => {
            let ranges: Vec<(char, char)> = match class {
                Class::Unicode(class) => class.iter().map(|r| (r.start(), r.end())).collect(),
                Class::Bytes(class) => class
                    .iter()
                    .map(|r| (char::from(r.start()), char::from(r.end())))
                    .collect(),
            };
            let holds = |c: &char| ranges.iter().any(|(from, to)| (from..=to).contains(&c));
            // A letter where one will do.
            let plain = ['x', 'X', '7', ' ', '-'].into_iter().find(holds);
            let any = plain.or_else(|| ranges.first().map(|(from, _)| *from));
            any.map(|c| vec![c.to_string()]).unwrap_or_default()
        }
        HirKind::Capture(capture) => examples(&capture.sub),
        HirKind::Repetition(repetition) => {
            let times = usize::try_from(repetition.min).unwrap_or(1).min(MOST);
            let once = examples(&repetition.sub);
            once.into_iter().map(|text| text.repeat(times)).collect()
        }
        HirKind::Alternation(parts) => parts.iter().flat_map(examples).take(MOST).collect(),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |heads, part| {
            let tails = examples(part);
            let joined = heads
                .iter()
                .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")));
            joined.take(MOST).collect()
        }),
    }
}

/// A line break, or text beyond the end of a line.
fn is_impossible(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Capture(capture) => is_impossible(&capture.sub),
        HirKind::Repetition(repetition) => repetition.min > 0 && is_impossible(&repetition.sub),
        HirKind::Alternation(parts) => parts.iter().all(is_impossible),
        HirKind::Concat(parts) => {
            let consumes = |hir: &Hir| hir.properties().minimum_len().is_some_and(|n| n > 0);
            let beyond = |i: usize| match parts[i].kind() {
                HirKind::Look(Look::End) => parts[i + 1..].iter().any(consumes),
                HirKind::Look(Look::Start) => parts[..i].iter().any(consumes),
                _ => false,
            };
            parts.iter().any(is_impossible) || (0..parts.len()).any(beyond)
        }
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}
