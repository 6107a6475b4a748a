//! Finding and reading runbooks: bytes are read once, hashed and parsed; `lint` and `trust`.

use super::{Exit, Failure, say, settings::Settings};
use crate::{
    domain::{
        event::{Mode, World},
        finding::{Finding, Pos, Severity},
        runbook::{Runbook, kinds::CheckKind, kinds::command},
        text::Clean,
    },
    engine::{OpenError, Opening},
    store::{Store, StoreError, sha256},
};
use serde_json::json;
use std::{
    collections::HashMap,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The runbooks that come along.
pub(super) const SHIPPED: [(&str, &[u8]); 1] = [(
    "arbitex",
    include_bytes!("../../assets/runbooks/arbitex.yaml"),
)];

/// A runbook as it was found.
pub(super) struct Found {
    pub bytes: Vec<u8>,
    pub sha256: String,
    /// `None` for a shipped one.
    pub file: Option<PathBuf>,
    /// What people call it: the file as they gave it.
    pub shown: String,
}

impl Found {
    pub(super) fn read(name: &str) -> Result<Self, Failure> {
        let is_name = !name.contains('/') && !Path::new(name).exists();
        if let Some((id, bytes)) = SHIPPED.iter().find(|(id, _)| is_name && *id == name) {
            return Ok(Self {
                bytes: bytes.to_vec(),
                sha256: sha256(bytes),
                file: None,
                shown: format!("{id} (shipped)"),
            });
        }
        let path = Path::new(name);
        let bytes = read_some(path).map_err(|e| {
            let shipped: Vec<&str> = SHIPPED.iter().map(|(id, _)| *id).collect();
            Failure::usage(
                format!("the runbook {}: {e}", Clean::line(name)),
                format!("give a file, or a shipped one: {}", shipped.join(", ")),
            )
        })?;
        Ok(Self {
            sha256: sha256(&bytes),
            bytes,
            file: Some(path.canonicalize().unwrap_or_else(|_| path.to_owned())),
            shown: Clean::line(name).into_string(),
        })
    }

    /// Remembers that a person trusts these bytes.
    pub(super) fn trust(&self, store: &Store) -> Result<(), Failure> {
        let path = self
            .file
            .as_deref()
            .map(|p| p.display().to_string())
            .unwrap_or_default();
        store
            .trust(&self.sha256, &path, &crate::who())
            .map_err(|e| Failure::new(Exit::Failed, format!("trust cannot be kept: {e}"), ""))
    }

    /// A live incident of this runbook, not yet opened.
    pub(super) fn opening(&self, runbook: Runbook) -> Opening<'_> {
        Opening {
            bytes: &self.bytes,
            sha256: self.sha256.clone(),
            file: self.file.clone(),
            runbook,
            mode: Mode::Live,
            world: World::Live,
        }
    }

    /// Every finding, those that need a shell included.
    fn findings(&self) -> (Option<Runbook>, Vec<Finding>) {
        match Runbook::read(&self.bytes) {
            Err(findings) => (None, findings),
            Ok((runbook, mut findings)) => {
                findings.extend(shell_syntax(&runbook));
                findings.sort_by_key(|f| f.at);
                (Some(runbook), findings)
            }
        }
    }

    /// The runbook, when nothing is wrong with it.
    pub(super) fn runbook(&self) -> Result<Runbook, Failure> {
        let (runbook, findings) = self.findings();
        let errors = findings
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .count();
        match runbook {
            Some(runbook) if errors == 0 => Ok(runbook),
            _ => {
                let source = String::from_utf8_lossy(&self.bytes);
                let shown: Vec<String> = findings
                    .iter()
                    .take(20)
                    .map(|f| f.render(&self.shown, &source))
                    .collect();
                Err(Failure::usage(
                    format!("{} has {errors} errors\n\n{}", self.shown, shown.join("\n")),
                    format!("mend them, then: blackstart lint {}", self.shown),
                ))
            }
        }
    }

    /// A runbook by path runs and probes only when somebody has trusted these very bytes.
    pub(super) fn must_be_trusted(&self, store: &Store) -> Result<(), Failure> {
        if self.file.is_none() || store.is_trusted(&self.sha256) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::PersonNeeded,
            format!(
                "{} is not trusted: nothing in it was run or probed",
                self.shown
            ),
            format!("read it, then: blackstart trust {}", self.shown),
        ))
    }

    pub(super) fn is_trusted(&self, store: &Store) -> bool {
        self.file.is_none() || store.is_trusted(&self.sha256)
    }
}

/// At most a byte more than a runbook may have: a huge file, or a pipe without end, is not read whole.
fn read_some(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(std::io::Error::other("this is a folder"));
    }
    let mut bytes = Vec::new();
    let most = crate::domain::yaml::MAX_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `bash -n` on every script that bash or sh will read, each text once.
fn shell_syntax(runbook: &Runbook) -> Vec<Finding> {
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
    let mut child = Command::new("bash")
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

pub(super) fn lint(files: &[String], as_json: bool, strict: bool) -> Result<Exit, Failure> {
    let mut all = Vec::new();
    let mut worst = Exit::Done;
    for name in files {
        let found = Found::read(name)?;
        let (_, findings) = found.findings();
        let source = String::from_utf8_lossy(&found.bytes);
        for finding in &findings {
            if finding.severity == Severity::Error || strict {
                worst = Exit::Usage;
            }
            if as_json {
                all.push(json!({
                    "code": finding.code,
                    "severity": finding.severity,
                    "file": found.shown,
                    "line": finding.at.line,
                    "column": finding.at.column,
                    "message": Clean::line(&finding.message),
                    "help": Clean::line(&finding.help),
                }));
            } else {
                say(Clean::new(&finding.render(&found.shown, &source)).as_str());
            }
        }
        if !as_json && findings.is_empty() {
            say(&format!("{}: no findings", found.shown));
        }
    }
    if as_json {
        super::say_json(&serde_json::Value::Array(all));
    }
    Ok(worst)
}

pub(super) fn trust(settings: &Settings, file: &str, as_json: bool) -> Result<Exit, Failure> {
    let found = Found::read(file)?;
    let runbook = found.runbook()?;
    let store = settings.store()?;
    found.trust(&store)?;
    if as_json {
        super::say_json(&json!({"file": found.shown, "id": runbook.id, "sha256": found.sha256}));
    } else {
        say(&format!(
            "{} is trusted as it is now (sha256 {})",
            found.shown, found.sha256
        ));
    }
    Ok(Exit::Done)
}

/// An error of opening, and what to do about it.
pub(crate) fn open_error(error: &OpenError) -> Failure {
    match error {
        OpenError::Store(e) => store_error(e),
        OpenError::Record(_) => Failure::new(
            Exit::Failed,
            error.to_string(),
            "is the disk full, or mounted read-only? another place: --state-dir DIR",
        ),
        OpenError::Random => Failure::new(Exit::Failed, error.to_string(), ""),
    }
}

pub(super) fn store_error(error: &StoreError) -> Failure {
    let what = error.to_string();
    match error {
        StoreError::NotFound(_) | StoreError::Several(..) => {
            Failure::usage(what, "blackstart list")
        }
        StoreError::Locked { id, .. } => Failure::new(
            Exit::PersonNeeded,
            what,
            format!("look without writing: blackstart show {id}"),
        ),
        StoreError::Journal { id, .. } => Failure::new(
            Exit::Failed,
            what,
            format!(
                "blackstart verify {id}; the entries before it can be read with `jq . journal.jsonl`"
            ),
        ),
        StoreError::Runbook(_) | StoreError::Folder { .. } => Failure::new(Exit::Failed, what, ""),
    }
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
