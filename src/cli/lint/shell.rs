//! What bash has to say about the scripts of a runbook: `bash -n`, which reads and runs nothing.

use crate::domain::{
    finding::{Finding, Pos, Severity},
    runbook::{Runbook, kinds::CheckKind, kinds::command},
};
use std::{
    collections::HashMap,
    io::Write,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// `bash -n` on every script that bash or sh will read, each text once.
pub(crate) fn shell_syntax(runbook: &Runbook) -> Vec<Finding> {
    /// Who has this many mends these first.
    const MOST: usize = 20;
    const MOST_SCRIPTS: usize = 2_000;
    let mut places: HashMap<&str, Vec<Pos>> = HashMap::new();
    let mut texts: Vec<&str> = Vec::new();
    for (text, at) in shell_scripts(runbook) {
        let known = places.entry(text).or_default();
        if known.is_empty() {
            texts.push(text);
        }
        if !known.contains(&at) && known.len() < MOST {
            known.push(at);
        }
    }
    let (all, looked_at) = (texts.len(), texts.len().min(MOST_SCRIPTS));
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, usize, String)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(looked_at) {
            scope.spawn(|| {
                // Taken in order, so that the first errors are always the same ones.
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let enough = match found.lock() {
                        Ok(found) => found.len() >= MOST,
                        Err(_) => true,
                    };
                    let Some(text) = texts.get(number).filter(|_| number < looked_at && !enough)
                    else {
                        return;
                    };
                    if let Some((line, what)) = bash_n(text)
                        && let Ok(mut found) = found.lock()
                    {
                        found.push((number, line, what));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort();
    let mut out = Vec::new();
    for (number, line, what) in found.into_iter().take(MOST) {
        for at in places.get(texts[number]).into_iter().flatten() {
            out.push(
                Finding::error(
                    "shell-syntax",
                    Pos::new(at.line + line - 1, at.column),
                    format!("bash cannot read this script: {what}"),
                )
                .help("look at quotes, `do`/`done` and `then`/`fi`"),
            );
        }
    }
    out.truncate(MOST);
    if all > looked_at && out.is_empty() {
        out.push(Finding {
            severity: Severity::Warning,
            ..Finding::error(
                "shell-syntax",
                Pos::NONE,
                format!("only the first {looked_at} of {all} scripts were read by bash"),
            )
        });
    }
    out
}

/// Every script that bash or sh reads, wherever it stands.
fn shell_scripts(runbook: &Runbook) -> Vec<(&str, Pos)> {
    let mut all: Vec<(&str, Pos)> = Vec::new();
    for step in runbook
        .steps()
        .map(|(_, step)| step)
        .chain(&runbook.prepare)
    {
        for script in step.scripts() {
            if matches!(script.shell_name(), Some("bash" | "sh")) {
                all.push((script.text.as_str(), script.at));
            }
        }
    }
    for check in runbook.checks() {
        if let CheckKind::Command(command::Words {
            run: command::Run::Script { text, at },
            ..
        }) = &check.what
        {
            all.push((text.as_str(), *at));
        }
    }
    all
}

/// What bash has against a script: the line, counted from one, and why.
fn bash_n(text: &str) -> Option<(usize, String)> {
    let mut bash = Command::new("bash");
    // Read before it runs, a script cannot switch its own patterns on.
    if text.contains("extglob") {
        bash.args(["-O", "extglob"]);
    }
    let mut child = bash
        .arg("-n")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C")
        .spawn()
        .ok()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Bash stops reading at the first error: what it did not want is not missed.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().ok()?;
    if output.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said
        .lines()
        .find(|line| !line.contains(": warning: "))
        .unwrap_or("bash refuses it");
    let line: usize = first
        .split("line ")
        .nth(1)
        .and_then(|rest| rest.split(':').next()?.trim().parse().ok())
        .unwrap_or(1);
    let what = first.rsplit_once(": ").map_or(first, |(_, what)| what);
    // What is missing at the end is said of the line behind the last one.
    let last = text.lines().count().max(1);
    Some((line.clamp(1, last), what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell_findings(text: &str) -> Vec<Finding> {
        let (runbook, _) = Runbook::read(text.as_bytes()).expect("valid but for its scripts");
        let mut found = shell_syntax(&runbook);
        found.sort_by_key(|f| f.at);
        found
    }

    #[test]
    fn bash_reads_every_script_wherever_it_stands() {
        let text = r"blackstart: 1
id: a
title: A
variables:
  v: { hint: { script: 'if 1' } }
on_hand: [ { item: x, check: { script: 'if 2' } } ]
prepare: [ { id: p, title: P, run: 'if 3' } ]
triage: { ask: Q, choices: [ { answer: A, evidence: { script: 'if 4' }, go: [m] } ] }
procedures:
  - id: m
    steps:
      - { id: a, title: A, run: 'if 5', undo: 'if 6', verify: { script: 'if 7' } }
      - { id: b, title: B, shell: /bin/bash, run: 'if 8' }
      - { id: c, title: C, shell: sh, run: 'if 9' }
      - { id: d, title: D, shell: python3, run: 'if 10' }
      - id: e
        title: E
        run: |
          true
          fi
recovered: { when: { script: 'if 11' } }
failures: [ { cause: c, probe: { script: 'if 12' } } ]
";
        let lines: Vec<usize> = shell_findings(text).iter().map(|f| f.at.line).collect();
        assert_eq!(lines, [5, 6, 7, 8, 12, 12, 12, 13, 14, 20, 21, 22]);
    }

    #[test]
    fn thousands_of_scripts_and_errors_come_to_an_end() {
        let with = |run: &dyn Fn(usize) -> String, count: usize| {
            let steps: String = (0..count)
                .map(|i| format!("      - {{ id: s{i}, title: T, run: '{}' }}\n", run(i)))
                .collect();
            shell_findings(&format!(
                "blackstart: 1\nid: a\ntitle: A\nprocedures:\n  - id: m\n    steps:\n{steps}recovered: {{ when: {{ file: / }} }}\n"
            ))
        };
        assert!(with(&|_| "true".to_owned(), 3_000).is_empty());
        let wrong = with(&|i| format!("if {i}"), 100);
        let lines: Vec<usize> = wrong.iter().map(|f| f.at.line).collect();
        let first: Vec<usize> = (7..27).collect();
        assert_eq!(lines, first);
    }

    #[test]
    fn an_error_at_the_beginning_of_a_long_script_is_seen() {
        let long = format!("true\nfi\n{}", "echo hello\n".repeat(50_000));
        assert_eq!(bash_n(&long).map(|(line, _)| line), Some(2));
        assert_eq!(bash_n("if true; then").map(|(line, _)| line), Some(1));
        assert_eq!(bash_n("cat <<X\n"), None);
    }
}
