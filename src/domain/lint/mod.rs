//! What is not wrong but will hurt: the warnings of lint. Errors are found while a file is read; what
//! stands here needs a runbook that could be read, and knows no platform, only tools and formats.
//!
//! ```text
//!  Runbook ─► views (every script and command, read once) ─► rules ─► findings ─► `accept` ─► sorted
//! ```

mod clocks;
mod hangs;
mod lies;
mod options;
mod order;
mod rows;
mod secrets;
mod structure;
mod view;

pub use clocks::critical_path;
pub use options::{Asked, asked, unknown_in};

use super::{
    finding::{Finding, Pos, Severity},
    runbook::Runbook,
};
use view::View;

/// Every code that a warning can have, in the order of the format's text.
pub const WARNINGS: [&str; 26] = [
    "unreachable",
    "no-verify",
    "no-budget",
    "budget-over-rto",
    "phase-sum",
    "backup-over-rpo",
    "contradicting-numbers",
    "weak-tls",
    "secret-argument",
    "secret-printed",
    "token-argument",
    "password-in-url",
    "sql-by-string",
    "fixed-date",
    "exit-code-lies",
    "dump-not-atomic",
    "may-hang",
    "atomic-before-dependency",
    "order",
    "no-fence",
    "no-preserve",
    "tool-not-listed",
    "unknown-option",
    "row-on-success",
    "row-never",
    "row-swallowed",
];

/// All warnings about a runbook, accepted ones as `Accepted`, in the order of the file.
pub fn warnings(runbook: &Runbook) -> Vec<Finding> {
    let views = view::all(runbook);
    let mut found = Found::default();
    structure::find(runbook, &views, &mut found);
    clocks::find(runbook, &mut found);
    order::find(runbook, &views, &mut found);
    for view in &views {
        secrets::find(runbook, view, &mut found);
        lies::find(&views, view, &mut found);
        hangs::find(view, &mut found);
        hangs::writes(view, &mut found);
        options::find(view, &mut found);
    }
    rows::find(runbook, &mut found);
    secrets::in_fields(runbook, &mut found);
    hangs::dates_in_fields(runbook, &mut found);
    let mut findings = found.findings;
    for finding in &mut findings {
        accept(runbook, finding);
    }
    findings.sort_by_key(|f| f.at);
    let mut seen = std::collections::BTreeSet::new();
    findings.retain(|f| seen.insert((f.at, f.code, f.message.clone())));
    findings
}

/// A finding that somebody has looked at is listed with the reason, and no longer a warning.
fn accept(runbook: &Runbook, finding: &mut Finding) {
    let accepted = runbook
        .accept
        .iter()
        .find(|a| a.code == finding.code && stands_for(&a.at, &finding.place));
    if let Some(accepted) = accepted {
        finding.severity = Severity::Accepted;
        finding.help = format!("accepted: {}", accepted.reason);
    }
}

/// `postgres/dump` stands for itself, for `dump` where it is unique, and for every step below it.
fn stands_for(at: &str, place: &str) -> bool {
    let (at, place) = (format!("/{at}/"), format!("/{place}/"));
    !at.trim_matches('/').is_empty() && place.contains(&at)
}

/// Collects warnings; nobody reads more than a few hundred.
#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
}

impl Found {
    const MOST: usize = 300;

    fn warn(
        &mut self,
        code: &'static str,
        place: &str,
        at: Pos,
        message: impl Into<String>,
        help: &str,
    ) {
        // A check that may write is an error where it is certain, and a warning where it is likely.
        debug_assert!(
            code == "write-in-check" || WARNINGS.contains(&code),
            "{code}"
        );
        if self.findings.len() < Self::MOST {
            let finding = Finding::error(code, at, message).help(help);
            self.findings.push(Finding {
                severity: Severity::Warning,
                place: place.to_owned(),
                ..finding
            });
        }
    }

    /// A warning about a call in a script.
    fn call(
        &mut self,
        code: &'static str,
        view: &View<'_>,
        byte: usize,
        message: impl Into<String>,
        help: &str,
    ) {
        self.warn(code, &view.place, view.at(byte), message, help);
    }
}
