//! The state folder: incidents as plain files, private, readable without this program.
//!
//! ```text
//! <state>/
//!   incidents/<id>/
//!     journal.jsonl   the incident
//!     runbook.yaml    the runbook as it was when the incident was opened
//!     site.yaml       the site, where one was named
//!     summary.json    derived, for the home screen
//!     lock            held by whoever writes
//!     steps/NN-id-aN/ one attempt each: output.log, exit.json …
//!   baselines/        values of peace time, one line each time they were taken
//!   trusted           runbooks by hash
//! ```

mod baselines;

use crate::{
    clock,
    domain::{
        decide::{self, Report},
        event::{AttemptKind, Ending, Entry, Event, Outcome},
        incident::{Incident, IncidentState},
        runbook::Runbook,
        site::Site,
        text::Clean,
    },
    journal::{self, Contents, Journal, JournalError},
    private::{self, Open},
    supervisor::{Fate, fate},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state folder {path}: {source}")]
    Folder { path: String, source: io::Error },
    #[error("no incident is called `{0}`")]
    NotFound(String),
    #[error("`{0}` could be {1}")]
    Several(String, String),
    #[error("`{id}` is open in another cockpit ({who})")]
    Locked { id: String, who: String },
    #[error("incident `{id}`: {source}")]
    Journal { id: String, source: JournalError },
    #[error("the runbook of incident `{0}` is missing or was changed")]
    Runbook(String),
}

/// Where incidents are kept.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// One incident's folder.
#[derive(Clone, Debug)]
pub struct IncidentDir {
    pub id: String,
    pub path: PathBuf,
}

/// What the home screen shows without reading a journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub id: String,
    pub mode: crate::domain::event::Mode,
    pub runbook: String,
    pub title: Clean,
    pub severity: Option<String>,
    pub state: IncidentState,
    pub began_at: chrono::DateTime<chrono::Utc>,
    pub running: Vec<String>,
    /// Where the running attempts are, to see whether they still run.
    pub running_dirs: Vec<String>,
    pub steps_done: usize,
    pub steps: usize,
    pub recovered_at: Option<chrono::DateTime<chrono::Utc>>,
    /// The journal's length that this was made from.
    pub journal_len: u64,
}

/// The right to write an incident, held as long as this lives.
pub struct WriteLock {
    _file: File,
}

/// An incident as it was read, with the hash that stands for its journal.
pub struct Loaded {
    pub incident: Incident,
    pub entries: Vec<Entry>,
    pub head: String,
    pub torn: usize,
}

impl Store {
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let wrong = |source| StoreError::Folder {
            path: root.display().to_string(),
            source,
        };
        private::create_dir(root).map_err(wrong)?;
        private::create_dir(&root.join("incidents")).map_err(wrong)?;
        let root = root.canonicalize().map_err(wrong)?;
        Ok(Self { root })
    }

    /// The same for looking only: nothing is made, and a folder that is missing holds no incidents.
    pub fn look(root: &Path) -> Self {
        Self {
            root: root.canonicalize().unwrap_or_else(|_| root.to_owned()),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folder of a new incident.
    pub fn create(&self, runbook: &str, bytes: &[u8]) -> Result<IncidentDir, StoreError> {
        let mut random = [0u8; 3];
        let _ = getrandom::fill(&mut random);
        let id = format!(
            "{}-{runbook}-{}",
            clock::now().format("%Y%m%d-%H%M%S%.3f"),
            journal::hex(&random)
        );
        let path = self.root.join("incidents").join(&id);
        let wrong = |source| StoreError::Folder {
            path: path.display().to_string(),
            source,
        };
        private::create_dir(&path).map_err(wrong)?;
        private::create_dir(&path.join("steps")).map_err(wrong)?;
        private::replace(&path.join("runbook.yaml"), bytes).map_err(wrong)?;
        private::sync_dir_of(&path).map_err(wrong)?;
        Ok(IncidentDir { id, path })
    }

    /// The folder of an incident, by its id or a unique part of it.
    pub fn find(&self, id: &str) -> Result<IncidentDir, StoreError> {
        let all = self.ids();
        let exact = all.iter().find(|known| *known == id);
        let hits: Vec<&String> = match exact {
            Some(exact) => vec![exact],
            None => all
                .iter()
                .filter(|known| !id.is_empty() && known.contains(id))
                .collect(),
        };
        match hits[..] {
            [one] => Ok(self.dir(one)),
            [] => Err(StoreError::NotFound(Clean::line(id).into_string())),
            _ => {
                let names: Vec<&str> = hits.iter().take(5).map(|s| s.as_str()).collect();
                Err(StoreError::Several(
                    Clean::line(id).into_string(),
                    names.join(", "),
                ))
            }
        }
    }

    fn dir(&self, id: &str) -> IncidentDir {
        IncidentDir {
            id: id.to_owned(),
            path: self.root.join("incidents").join(id),
        }
    }

    /// Every incident's id, newest first.
    pub fn ids(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.join("incidents")) else {
            return Vec::new();
        };
        let mut ids: Vec<String> = entries
            .flatten()
            // One without a first entry was never acknowledged to anybody.
            .filter(|e| {
                let journal = std::fs::metadata(e.path().join("journal.jsonl"));
                journal.is_ok_and(|m| m.len() > 0)
            })
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    }

    /// Summaries, newest first; a damaged incident is told apart, never hidden.
    pub fn summaries(&self) -> Vec<Result<Summary, (String, StoreError)>> {
        self.ids()
            .iter()
            .map(|id| {
                let dir = self.dir(id);
                dir.summary().map_err(|e| (id.clone(), e))
            })
            .collect()
    }

    fn trusted_path(&self) -> PathBuf {
        self.root.join("trusted")
    }

    pub fn is_trusted(&self, sha256: &str) -> bool {
        std::fs::read_to_string(self.trusted_path())
            .is_ok_and(|text| text.lines().any(|l| l.split(' ').next() == Some(sha256)))
    }

    /// Remembers that a person trusts these bytes.
    pub fn trust(&self, sha256: &str, file: &str, who: &str) -> io::Result<()> {
        if self.is_trusted(sha256) {
            return Ok(());
        }
        let mut list = private::open(&self.trusted_path(), Open::Append)?;
        let at = clock::now().to_rfc3339();
        writeln!(list, "{sha256} {at} {who} {}", Clean::line(file))?;
        list.sync_all()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    journal::hex(&Sha256::digest(bytes))
}

impl IncidentDir {
    pub fn journal_path(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    fn wrong(&self, source: JournalError) -> StoreError {
        StoreError::Journal {
            id: self.id.clone(),
            source,
        }
    }

    /// The runbook that this incident runs: its own copy, compared with the hash it was opened with.
    pub fn runbook(&self, sha: &str) -> Result<Runbook, StoreError> {
        let bytes = std::fs::read(self.path.join("runbook.yaml"))
            .map_err(|_| StoreError::Runbook(self.id.clone()))?;
        if sha256(&bytes) != sha {
            return Err(StoreError::Runbook(self.id.clone()));
        }
        let (mut runbook, _) =
            Runbook::read(&bytes).map_err(|_| StoreError::Runbook(self.id.clone()))?;
        if let Some(Ok(site)) = self.site_bytes().map(|bytes| Site::read(&bytes)) {
            site.around(&mut runbook);
        }
        Ok(runbook)
    }

    /// Does its runbook have this word anywhere? Cheaper than the journal and the runbook themselves.
    pub fn speaks_of(&self, word: &str) -> bool {
        let text = std::fs::read_to_string(self.path.join("runbook.yaml"));
        text.is_ok_and(|text| text.contains(word))
    }

    /// Keeps the site as it was when the incident was opened.
    pub fn keep_site(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join("site.yaml");
        private::replace(&path, bytes).map_err(|source| StoreError::Folder {
            path: path.display().to_string(),
            source,
        })
    }

    /// The bytes of the site that this incident keeps.
    pub fn site_bytes(&self) -> Option<Vec<u8>> {
        std::fs::read(self.path.join("site.yaml")).ok()
    }

    /// Reads without writing; attempts whose cockpit died are told from their own files.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let bytes =
            std::fs::read(self.journal_path()).map_err(|e| self.wrong(JournalError::Io(e)))?;
        let contents = journal::read(&bytes).map_err(|e| self.wrong(e))?;
        Ok(self.reconciled(contents))
    }

    fn reconciled(&self, contents: Contents) -> Loaded {
        let mut incident = Incident::replay(&contents.entries);
        let running: Vec<(String, u32, String, AttemptKind)> = incident
            .running()
            .map(|(step, a)| (step.to_owned(), a.n, a.dir.clone(), a.kind))
            .collect();
        if !running.is_empty() {
            let runbook = self.runbook(&incident.runbook.sha256).ok();
            for (step, n, dir, kind) in running {
                self.tell_truth(&mut incident, runbook.as_ref(), &step, n, &dir, kind);
            }
        }
        Loaded {
            incident,
            head: contents.head,
            torn: contents.torn.len(),
            entries: contents.entries,
        }
    }

    fn tell_truth(
        &self,
        incident: &mut Incident,
        runbook: Option<&Runbook>,
        step: &str,
        n: u32,
        dir: &str,
        kind: AttemptKind,
    ) {
        let (step, fate) = (step.to_owned(), fate(&self.path.join(dir)));
        let now = clock::now();
        let events = match (report_of(&step, n, fate), runbook) {
            (None, _) => Vec::new(),
            (Some(report), Some(runbook)) => decide::take(incident, runbook, report, now),
            (Some(Report::Ended { ending, .. }), None) => vec![Event::AttemptEnded {
                step,
                n,
                kind,
                ending,
            }],
            (Some(_), None) => vec![Event::AttemptUnsupervised { step, n }],
        };
        for event in events {
            let entry = Entry {
                v: 1,
                seq: incident.seq + 1,
                at: now,
                boot_ms: 0,
                who: Clean::default(),
                event,
            };
            incident.apply(&entry);
        }
    }

    /// Takes the right to write, or says who has it.
    pub fn lock(&self) -> Result<WriteLock, StoreError> {
        let path = self.path.join("lock");
        let wrong = |source| StoreError::Folder {
            path: path.display().to_string(),
            source,
        };
        let mut file = private::open(&path, Open::Append).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(wrong)?;
                let who = format!("{} pid {}", crate::who(), std::process::id());
                file.write_all(who.as_bytes()).map_err(wrong)?;
                Ok(WriteLock { _file: file })
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let who = std::fs::read_to_string(&path).unwrap_or_default();
                Err(StoreError::Locked {
                    id: self.id.clone(),
                    who: Clean::line(who.trim()).into_string(),
                })
            }
            Err(std::fs::TryLockError::Error(e)) => Err(wrong(e)),
        }
    }

    pub fn open_journal(&self) -> Result<(Journal, Contents, Option<String>), StoreError> {
        Journal::open_file(&self.journal_path()).map_err(|e| self.wrong(e))
    }

    fn summary(&self) -> Result<Summary, StoreError> {
        let len = std::fs::metadata(self.journal_path()).map_or(0, |m| m.len());
        let kept = std::fs::read(self.path.join("summary.json")).ok();
        let kept: Option<Summary> = kept.and_then(|b| serde_json::from_slice(&b).ok());
        let current = kept.filter(|s| s.journal_len == len);
        // What ran when it was made may have ended since: then the truth is in the folder.
        let stale = current.as_ref().is_some_and(|s| {
            s.running_dirs
                .iter()
                .any(|d| !matches!(fate(&self.path.join(d)), Fate::Running))
        });
        match current {
            Some(summary) if !stale => Ok(summary),
            Some(_) | None => Ok(summarize(&self.load()?.incident, len)),
        }
    }

    /// Keeps the summary for the home screen; it can always be made again.
    pub fn keep_summary(&self, incident: &Incident, journal_len: u64) {
        let summary = summarize(incident, journal_len);
        if let Ok(bytes) = serde_json::to_vec(&summary) {
            let _ = private::replace_lazily(&self.path.join("summary.json"), &bytes);
        }
    }
}

pub fn summarize(incident: &Incident, journal_len: u64) -> Summary {
    Summary {
        id: incident.id.clone(),
        mode: incident.mode,
        runbook: incident.runbook.id.clone(),
        title: incident.runbook.title.clone(),
        severity: incident.severity.as_ref().map(|(id, ..)| id.clone()),
        state: incident.state(),
        began_at: incident.began(),
        running: incident
            .running()
            .map(|(step, _)| step.to_owned())
            .collect(),
        running_dirs: incident.running().map(|(_, a)| a.dir.clone()).collect(),
        steps_done: incident
            .steps
            .iter()
            .filter(|s| s.state().is_done())
            .count(),
        steps: incident.steps.len(),
        recovered_at: incident.recovered_at,
        journal_len,
    }
}

/// What the fate of an attempt says, as a report; `None` while it runs.
pub fn report_of(step: &str, n: u32, fate: Fate) -> Option<Report> {
    let step = step.to_owned();
    match fate {
        Fate::Running => None,
        Fate::Unsupervised => Some(Report::Unsupervised { step, n }),
        Fate::Ended(exit) => Some(Report::Ended {
            step,
            n,
            ending: exit.ending,
            set: exit.set,
        }),
        Fate::Lost(why) => Some(Report::Ended {
            step,
            n,
            ending: Ending::bare(Outcome::Unknown, why),
            set: Vec::new(),
        }),
    }
}
