//! `blackstart lint`: what is wrong with runbooks, and what will hurt.

mod shell;
mod tools;

use super::{Exit, Failure, load::Found, say};
use crate::domain::{
    finding::{Finding, Severity},
    text::Clean,
};
use serde_json::json;
pub(super) use shell::shell_syntax;

/// What `lint` was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub json: bool,
    /// Warnings count as errors.
    pub strict: bool,
    /// Ask the installed tools which options they have.
    pub tools: bool,
}

pub(super) fn lint(files: &[String], wanted: Wanted) -> Result<Exit, Failure> {
    let mut all = Vec::new();
    let mut worst = Exit::Done;
    let (mut errors, mut warnings, mut accepted) = (0, 0, 0);
    for name in files {
        let found = Found::read(name)?;
        let (runbook, mut findings) = found.findings();
        if let Some(runbook) = runbook.as_ref().filter(|_| wanted.tools) {
            let asked = tools::unknown_options(runbook);
            for missing in &asked.missing {
                let text = format!(
                    "blackstart: {missing} is not installed here: its options were not looked at\n"
                );
                let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            }
            tools::merge(&mut findings, asked.findings);
        }
        let source = String::from_utf8_lossy(&found.bytes);
        for finding in &findings {
            match finding.severity {
                Severity::Error => {
                    errors += 1;
                    worst = Exit::Usage;
                }
                Severity::Warning => {
                    warnings += 1;
                    if wanted.strict {
                        worst = Exit::Usage;
                    }
                }
                Severity::Accepted => accepted += 1,
            }
            if wanted.json {
                all.push(as_json(&found.shown, finding));
            } else {
                say(Clean::new(&finding.render(&found.shown, &source)).as_str());
            }
        }
        if !wanted.json && findings.is_empty() {
            say(&format!("{}: no findings", found.shown));
        }
    }
    if wanted.json {
        super::say_json(&serde_json::Value::Array(all));
    } else if errors + warnings + accepted > 0 {
        say(&format!(
            "{errors} errors, {warnings} warnings, {accepted} accepted"
        ));
    }
    Ok(worst)
}

fn as_json(file: &str, finding: &Finding) -> serde_json::Value {
    json!({
        "code": finding.code,
        "severity": finding.severity,
        "file": file,
        "line": finding.at.line,
        "column": finding.at.column,
        "message": Clean::line(&finding.message),
        "help": Clean::line(&finding.help),
    })
}
