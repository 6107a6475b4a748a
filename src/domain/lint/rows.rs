//! Signatures of failure rows that say too much, nothing, or what another row says already.

use super::Found;
use crate::domain::runbook::{FailureRow, Runbook};
use regex_syntax::hir::{Hir, HirKind, Look};
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
            }
        }
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
