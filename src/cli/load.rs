//! Finding and reading runbooks: bytes are read once, hashed and parsed; `lint` and `trust`.

use super::{Exit, Failure, say, settings::Settings};
use crate::{
    domain::{
        finding::{Finding, Pos, Severity},
        runbook::{Runbook, Script, kinds::CheckKind, kinds::command},
        text::Clean,
    },
    engine::OpenError,
    store::{Store, StoreError, sha256},
};
use serde_json::json;
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
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

    fn folder(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent)
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

/// `bash -n` on every script that bash will run.
fn shell_syntax(runbook: &Runbook) -> Vec<Finding> {
    let mut out = Vec::new();
    let steps = runbook.steps().map(|(_, s)| s).chain(&runbook.prepare);
    for step in steps {
        for script in step.scripts() {
            if script
                .shell
                .as_ref()
                .is_none_or(|s| s.first().is_some_and(|p| p == "bash"))
            {
                out.extend(bash_n(script));
            }
        }
        for check in step.checks() {
            if let CheckKind::Command(command::Words {
                run: command::Run::Script { text, at },
                ..
            }) = &check.what
            {
                out.extend(bash_n_text(text, *at));
            }
        }
    }
    out
}

fn bash_n(script: &Script) -> Option<Finding> {
    bash_n_text(&script.text, script.at)
}

fn bash_n_text(text: &str, at: Pos) -> Option<Finding> {
    let mut child = Command::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C")
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(text.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    if output.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("bash refuses it");
    let line: usize = first
        .split("line ")
        .nth(1)
        .and_then(|rest| rest.split(':').next()?.trim().parse().ok())
        .unwrap_or(1);
    let what = first.rsplit_once(": ").map_or(first, |(_, what)| what);
    let place = Pos::new(at.line + line - 1, at.column);
    Some(
        Finding::error(
            "shell-syntax",
            place,
            format!("bash cannot read this script: {what}"),
        )
        .help("look at quotes, `do`/`done` and `then`/`fi`"),
    )
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
    let path = found
        .file
        .as_deref()
        .map(|p| p.display().to_string())
        .unwrap_or_default();
    store
        .trust(&found.sha256, &path, &crate::who())
        .map_err(|e| Failure::new(Exit::Failed, format!("this cannot be kept: {e}"), ""))?;
    if as_json {
        super::say_json(&json!({"file": found.shown, "id": runbook.id, "sha256": found.sha256}));
    } else {
        say(&format!(
            "{} is trusted as it is now (sha256 {})",
            found.shown, found.sha256
        ));
    }
    debug_assert!(found.file.is_none() || found.folder().is_some());
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
