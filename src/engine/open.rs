//! Opening an incident, new or again: the lock, the journal, the values that are known beforehand.

use super::{
    Engine, Handle, Vault, along,
    given::{Given, Value},
};
use crate::{
    clock,
    domain::{
        decide::{self, Command, Report},
        event::{Entry, Event, Mode, PhaseRef, RunbookRef, Targets, World},
        incident::Incident,
        runbook::Runbook,
        site::Site,
        text::Clean,
    },
    private,
    store::{IncidentDir, Store, StoreError},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the incident cannot be recorded: {0}")]
    Record(String),
    #[error("this machine gives no random numbers")]
    Random,
}

/// What a new incident is opened with.
pub struct Opening<'a> {
    pub runbook: Runbook,
    /// The bytes that were hashed and parsed.
    pub bytes: &'a [u8],
    pub sha256: String,
    /// Where the file is; its folder is where scripts run.
    pub file: Option<PathBuf>,
    pub mode: Mode,
    pub world: World,
    pub site: Option<SiteFile>,
}

/// A site as it was read: the incident keeps its own copy.
#[derive(Clone, Debug)]
pub struct SiteFile {
    pub site: Site,
    pub bytes: Vec<u8>,
    pub sha256: String,
}

impl Opening<'_> {
    /// Makes the incident. Its first entries are written when this returns.
    pub fn open(self, store: &Store, given: Given) -> Result<Handle, OpenError> {
        let dir = store.create(&self.runbook.id, self.bytes)?;
        let opened = Event::Opened {
            id: dir.id.clone(),
            mode: self.mode,
            world: self.world,
            runbook: RunbookRef {
                id: self.runbook.id.clone(),
                title: Clean::line(&self.runbook.title),
                sha256: self.sha256,
                file: self
                    .file
                    .as_deref()
                    .map(|f| Clean::line(&f.to_string_lossy())),
            },
            objectives: Targets {
                rto_s: self.runbook.objectives.rto.map(|d| d.as_secs()),
                rpo_s: self.runbook.objectives.rpo.map(|d| d.as_secs()),
            },
            phases: self
                .runbook
                .phases
                .iter()
                .map(|p| PhaseRef {
                    id: p.id.text.clone(),
                    title: Clean::line(&p.title),
                    budget_s: p.budget.map(|d| d.as_secs()),
                })
                .collect(),
        };
        let weakened = self.runbook.systems.values().filter_map(|system| {
            let mode = system.fields.get("tls").filter(|m| *m != "verify-full")?;
            Some(Event::TlsWeakened {
                system: system.name.text.clone(),
                mode: mode.clone(),
            })
        });
        let chosen = self.site.as_ref().map(|file| Event::SiteChosen {
            site: file.site.name.clone(),
            kind: file.site.kind,
            sha256: file.sha256.clone(),
            recorded: file.site.identity.clone(),
        });
        if let Some(file) = &self.site {
            dir.keep_site(&file.bytes)?;
        }
        let first = std::iter::once(opened).chain(chosen).chain(weakened);
        let first = first.collect();
        begin(dir, self.runbook, given, first, self.site)
    }
}

/// Opens an incident again: what an earlier cockpit left running is adopted.
pub fn reopen(dir: IncidentDir, given: Given) -> Result<Handle, OpenError> {
    let sha = dir.load()?.incident.runbook.sha256;
    let runbook = dir.runbook(&sha)?;
    let site = dir.site_bytes().and_then(|bytes| {
        Some(SiteFile {
            site: Site::read(&bytes).ok()?,
            sha256: crate::store::sha256(&bytes),
            bytes,
        })
    });
    begin(dir, runbook, given, Vec::new(), site)
}

fn begin(
    dir: IncidentDir,
    runbook: Runbook,
    given: Given,
    first: Vec<Event>,
    site: Option<SiteFile>,
) -> Result<Handle, OpenError> {
    let lock = dir.lock()?;
    let (journal, contents, torn) = dir.open_journal()?;
    let incident = Incident::replay(&contents.entries);
    let vault = Vault::new(incident_key(&dir.path)?);
    let redactor = Arc::new(vault.redactor());
    let runbook = Arc::new(runbook);
    let (tell, asks) = mpsc::channel(256);
    let (view, seen) = watch::channel(Arc::new(incident.clone()));
    let (progress, progress_seen) = watch::channel(None);
    let (live, live_seen) = watch::channel(along::AllLive::new());
    let mut engine = Engine {
        workdir: workdir(&dir, &incident, &first),
        // Ourselves, even when the file was replaced by a newer one since we started.
        program: PathBuf::from("/proc/self/exe"),
        _lock: lock,
        journal,
        incident,
        runbook: runbook.clone(),
        recorded_secrets: recorded_secrets(site.as_ref()),
        baselines: given.baselines,
        hidden: hidden(&runbook, site.as_ref()),
        vault,
        redactor,
        who: Clean::line(&crate::who()),
        tell: tell.downgrade(),
        asks,
        view,
        lines: given.lines,
        starting: Default::default(),
        attempts: HashMap::new(),
        summarized: None,
        progress,
        live,
        looking: 0,
        settling: Vec::new(),
        rules: along::rules(&runbook),
        dir: dir.clone(),
    };
    let record = |e: decide::Refusal| OpenError::Record(e.to_string());
    let mut events = first;
    if let Some(kept) = torn {
        let bytes = contents.torn.len() as u64;
        let report = Report::Repaired { bytes, kept };
        events.extend(decide::take(
            &engine.incident,
            &runbook,
            report,
            clock::now(),
        ));
    }
    let how = match engine.incident.seq {
        0 => format!("opened by pid {}", std::process::id()),
        _ => format!("reopened by pid {}", std::process::id()),
    };
    let mut wishes = vec![Command::TakeControl { how }];
    let closed = engine.incident.closed.is_some();
    let taken: Vec<Command> = given
        .values
        .into_iter()
        .filter_map(|value| engine.taking(value))
        .collect();
    // A closed incident takes notes only; a secret that a note quotes is masked all the same.
    wishes.extend(taken.into_iter().filter(|_| !closed));
    wishes.extend(given.wishes);
    events.extend(given.accepted.into_iter().map(|(system, fingerprint)| {
        Event::AcceptedBeforehand {
            system,
            fingerprint,
        }
    }));
    engine.begin_with(events, wishes).map_err(record)?;
    engine.take_baselines().map_err(record)?;
    let running: Vec<(String, u32)> = engine
        .incident
        .running()
        .map(|(step, a)| (step.to_owned(), a.n))
        .collect();
    // What ended while nobody watched is told first, in one go; what still runs is watched.
    for (step, n) in running {
        let attempt = engine.incident.attempt(&step, n);
        let folder = attempt.map(|a| dir.path.join(&a.dir)).unwrap_or_default();
        match crate::store::report_of(&step, n, crate::supervisor::fate(&folder)) {
            Some(report @ Report::Ended { .. }) => engine.report(report),
            Some(report) => {
                engine.report(report);
                engine.adopt(&step, n);
            }
            None => engine.adopt(&step, n),
        }
    }
    engine.recall_look_ups();
    tokio::spawn(engine.serve());
    Ok(Handle {
        tell,
        view: seen,
        progress: progress_seen,
        live: live_seen,
        runbook,
        dir,
    })
}

impl Engine {
    /// The wish that takes a value in; `None` when it is what is held already.
    fn taking(&mut self, value: Value) -> Option<Command> {
        let Value {
            name,
            value,
            secret,
            source,
        } = value;
        if secret {
            if self.is_another(&name, &value) {
                return Some(Command::Note {
                    text: format!(
                        "{name} ({source}) was refused: it is not the secret that the site recorded"
                    ),
                });
            }
            let fingerprint = self.vault.hold(&name, value);
            self.redactor = Arc::new(self.vault.redactor());
            return Some(Command::HoldSecret {
                name,
                source,
                fingerprint,
            });
        }
        let held = self
            .incident
            .values
            .get(&name)
            .and_then(|h| h.value.as_deref());
        (held != Some(value.as_str())).then_some(Command::SetValue {
            name,
            value,
            source,
        })
    }

    /// Decides each wish on what the ones before it made, and writes all of it together.
    fn begin_with(
        &mut self,
        events: Vec<Event>,
        wishes: Vec<Command>,
    ) -> Result<(), decide::Refusal> {
        let mut imagined = self.incident.clone();
        let imagine = |imagined: &mut Incident, event: &Event| {
            imagined.apply(&Entry {
                v: 1,
                seq: imagined.seq + 1,
                at: clock::now(),
                boot_ms: 0,
                who: self.who.clone(),
                event: event.clone(),
            });
        };
        let mut all = events;
        for event in &all {
            imagine(&mut imagined, event);
        }
        for wish in wishes {
            for event in decide::decide(&imagined, &self.runbook, wish)? {
                imagine(&mut imagined, &event);
                all.push(event);
            }
        }
        self.commit(all)
    }

    /// An attempt whose look-up died with an earlier cockpit is looked up now.
    fn recall_look_ups(&mut self) {
        let missing: Vec<(String, u32)> = self
            .incident
            .steps
            .iter()
            .filter_map(|s| Some((s.plan.step.clone(), s.attempts.last()?)))
            .filter(|(_, a)| a.wants_look_up())
            .map(|(step, a)| (step, a.n))
            .collect();
        for (step, n) in missing {
            self.look_up(&step, n);
        }
    }
}

/// Scripts run in the folder of the runbook's file; those of an embedded runbook in the incident's.
fn workdir(dir: &IncidentDir, incident: &Incident, first: &[Event]) -> PathBuf {
    let file = match first.first() {
        Some(Event::Opened { runbook, .. }) => runbook.file.clone(),
        _ => incident.runbook.file.clone(),
    };
    file.and_then(|f| Path::new(f.as_str()).parent().map(Path::to_owned))
        .filter(|folder| folder.is_dir())
        .unwrap_or_else(|| dir.path.clone())
}

/// Names from which secrets are taken.
fn hidden(runbook: &Runbook, site: Option<&SiteFile>) -> Vec<String> {
    let secrets = site.into_iter().flat_map(|file| file.site.secrets.values());
    let mut all = super::sight::hidden_env(runbook);
    all.extend(secrets.filter_map(|s| s.env.clone()));
    all
}

/// SHA-256 of the secrets that the site knows, by name.
fn recorded_secrets(site: Option<&SiteFile>) -> HashMap<String, String> {
    let secrets = site.into_iter().flat_map(|file| &file.site.secrets);
    secrets
        .filter_map(|(name, source)| Some((name.clone(), source.sha256.clone()?)))
        .collect()
}

/// The key under which this incident compares secrets; made once.
fn incident_key(dir: &Path) -> Result<[u8; 32], OpenError> {
    let path = dir.join("key");
    if let Some(key) = std::fs::read(&path).ok().and_then(|b| b.try_into().ok()) {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| OpenError::Random)?;
    private::replace_lazily(&path, &key).map_err(|source| StoreError::Folder {
        path: path.display().to_string(),
        source,
    })?;
    Ok(key)
}
