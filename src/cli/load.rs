//! Finding and reading runbooks: bytes are read once, hashed and parsed; `trust`.

use super::{Exit, Failure, say, settings::Settings, sites};
use crate::{
    domain::{
        event::{Mode, World},
        finding::{Finding, Severity},
        lint::warnings,
        runbook::Runbook,
        site::{Site, SiteKind},
        text::Clean,
    },
    engine::{OpenError, Opening, SiteFile},
    store::{Store, StoreError, sha256},
};
use serde_json::json;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// The runbooks that come along.
pub(super) const SHIPPED: [(&str, &[u8]); 2] = [
    (
        "arbitex",
        include_bytes!("../../assets/runbooks/arbitex.yaml"),
    ),
    (
        "ampora",
        include_bytes!("../../assets/runbooks/ampora.yaml"),
    ),
];

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
        let own = is_name.then(|| own_runbook(name)).flatten();
        let path = own.as_deref().unwrap_or(Path::new(name));
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
        keep_trust(store, &self.sha256, &path)
    }

    /// A live incident of this runbook, not yet opened.
    pub(super) fn opening(&self, runbook: Runbook, site: Option<SiteFile>) -> Opening<'_> {
        // At a rehearsal nothing counts as live, on screen or in any file.
        let (mode, world) = match site.as_ref().map(|s| s.site.kind) {
            Some(SiteKind::Rehearsal) => (Mode::Drill, World::Rehearsal),
            Some(SiteKind::Sandbox) => (Mode::Drill, World::Simulated),
            Some(SiteKind::Live) | None => (Mode::Live, World::Live),
        };
        Opening {
            bytes: &self.bytes,
            sha256: self.sha256.clone(),
            file: self.file.clone(),
            runbook,
            mode,
            world,
            site,
        }
    }

    /// Warnings, one line each, for who opens it: they stand at "Ready?" as well.
    pub(super) fn warn(&self, runbook: &Runbook) {
        let warnings = warnings(runbook);
        let shown = warnings.iter().filter(|f| f.severity == Severity::Warning);
        for finding in shown {
            let text = format!(
                "{}:{}: warning[{}]: {}\n",
                self.shown,
                finding.at.line,
                finding.code,
                Clean::line(&finding.message)
            );
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
    }

    /// Every finding, those that need a shell included.
    pub(super) fn findings(&self) -> (Option<Runbook>, Vec<Finding>) {
        if Site::is_one(&self.bytes) {
            return (None, self.site_findings());
        }
        let (runbook, mut findings) = Runbook::examine(&self.bytes);
        if let Some(runbook) = &runbook {
            findings.extend(super::lint::shell_syntax(runbook));
            findings.extend(warnings(runbook));
            findings.sort_by_key(|f| f.at);
        }
        (runbook, findings)
    }

    /// What is wrong with a site, with its runbook where that is found.
    fn site_findings(&self) -> Vec<Finding> {
        let site = match Site::read(&self.bytes) {
            Ok(site) => site,
            Err(findings) => return findings,
        };
        let beside = self.file.as_deref().and_then(Path::parent);
        let Some(name) = site.runbook.clone() else {
            return Vec::new();
        };
        let path = beside.map(|f| f.join(&name)).filter(|p| p.is_file());
        let name = path.map_or(name, |p| p.to_string_lossy().into_owned());
        let runbook = Self::read(&name)
            .ok()
            .and_then(|found| Runbook::examine(&found.bytes).0);
        runbook.map(|r| site.against(&r)).unwrap_or_default()
    }

    /// The runbook, when nothing is wrong with it.
    pub(super) fn runbook(&self) -> Result<Runbook, Failure> {
        if Site::is_one(&self.bytes) {
            return Err(Failure::usage(
                format!("{} is a site, not a runbook", self.shown),
                "name the runbook, and the site with --site",
            ));
        }
        let (runbook, mut findings) = self.findings();
        findings.retain(|f| f.severity == Severity::Error);
        let errors = findings.len();
        match runbook {
            Some(runbook) if errors == 0 => Ok(runbook),
            _ => {
                let source = String::from_utf8_lossy(&self.bytes);
                let shown = render_all(&findings, &self.shown, &source);
                Err(Failure::usage(
                    format!("{} has {errors} errors\n\n{shown}", self.shown),
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

/// Remembers that a person trusts these bytes, of a runbook or of a site with steps.
pub(super) fn keep_trust(store: &Store, sha256: &str, path: &str) -> Result<(), Failure> {
    store
        .trust(sha256, path, &crate::who())
        .map_err(|e| Failure::new(Exit::Failed, format!("trust cannot be kept: {e}"), ""))
}

/// A runbook in the config folder, by its name.
fn own_runbook(name: &str) -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "blackstart")?;
    let folder = dirs.config_dir().join("runbooks");
    let files = ["yaml", "yml"].map(|ending| folder.join(format!("{name}.{ending}")));
    files.into_iter().find(|p| p.is_file())
}

/// The first findings, as compilers print them.
pub(super) fn render_all(findings: &[Finding], shown: &str, source: &str) -> String {
    let all: Vec<String> = findings
        .iter()
        .take(20)
        .map(|f| f.render(shown, source))
        .collect();
    all.join("\n")
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

pub(super) fn trust(settings: &Settings, file: &str, as_json: bool) -> Result<Exit, Failure> {
    let found = Found::read(file)?;
    // A rehearsal site has steps of its own.
    let id = match Site::is_one(&found.bytes) {
        true => sites::find(settings, file)?.file.site.name,
        false => found.runbook()?.id,
    };
    let store = settings.store()?;
    found.trust(&store)?;
    if as_json {
        super::say_json(&json!({"file": found.shown, "id": id, "sha256": found.sha256}));
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
        OpenError::Record(why) if why.contains("is closed") => Failure::new(
            Exit::Failed,
            why.clone(),
            "blackstart note INCIDENT TEXT adds a note",
        ),
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
