//! The full-screen cockpit: what the terminal is given, and what is said when it is given back.

use super::{
    Exit, Failure, drill,
    given::ResumeArgs,
    headless::{environment, which},
    incidents::secrets_of,
    load::{Found, SHIPPED, store_error},
    pairs, runtime,
    settings::Settings,
    sites::{self, Place},
};
use crate::{
    checks,
    domain::{
        runbook::{Runbook, SystemKind},
        site::Site,
        text::Clean,
        yaml,
    },
    engine::{Given, Handle, Sources, Value, reopen},
    offered::in_place,
    store::Store,
    systems::kubernetes::{self, Login},
    tui::{self, Cockpit, Ended, Opener, RunbookOffer, StartAt},
};
use std::{collections::HashSet, io::IsTerminal, path::PathBuf, time::Duration};

pub(super) fn home(settings: &Settings) -> Result<Exit, Failure> {
    show(settings, &[], |_| Ok(StartAt::Home))
}

pub(super) fn open(
    settings: &Settings,
    runbook: Option<&str>,
    site: Option<&str>,
    set: &[String],
) -> Result<Exit, Failure> {
    let set = pairs("--set", set)?;
    let place = site.map(|s| sites::find(settings, s)).transpose()?;
    let of_site = place.as_ref().and_then(sites::Place::runbook_name);
    let Some(name) = runbook.map(str::to_owned).or(of_site) else {
        return match place {
            None => show(settings, &set, |_| Ok(StartAt::Home)),
            Some(_) => Err(Failure::usage(
                "the site does not say for which runbook it is",
                "add `runbook: ID` to its file, or name one: blackstart open RUNBOOK --site NAME",
            )),
        };
    };
    // Before the screen is taken: they stay on the normal screen, and stand at "Ready?".
    if let Ok(found) = Found::read(&name)
        && let Ok(runbook) = found.runbook()
    {
        found.warn(&runbook);
        sign_in(&runbook, place.as_ref().map(|p| &p.file.site), &set)?;
    }
    show(settings, &set, |door| {
        door.begin(&name, place.as_ref()).map(StartAt::Incident)
    })
}

pub(super) fn resume(settings: &Settings, args: &ResumeArgs) -> Result<Exit, Failure> {
    let set = pairs("--set", &args.given.set)?;
    let store = settings.store()?;
    let dir = which(&store, args.incident.as_deref())?;
    let id = dir.id.clone();
    if dir.speaks_of("kubernetes")
        && let Ok(loaded) = dir.load()
        && let Ok(runbook) = dir.runbook(&loaded.incident.runbook.sha256)
    {
        let held = loaded.incident.values.iter();
        let held = held.filter_map(|(name, held)| Some((name.clone(), held.value.clone()?)));
        sign_in(&runbook, None, &held.collect::<Vec<_>>())?;
    }
    show(settings, &set, |door| {
        door.again(&id).map(StartAt::Incident)
    })
}

/// How long a credential plugin may take to give a token without asking.
const QUIETLY: Duration = Duration::from_secs(3);

/// Credential plugins that want somebody to sign in do so here, on the normal screen: later they get no
/// terminal.
fn sign_in(
    runbook: &Runbook,
    site: Option<&Site>,
    set: &[(String, String)],
) -> Result<(), Failure> {
    let clusters = runbook.systems.values();
    let clusters = clusters.filter(|s| s.kind == SystemKind::Kubernetes);
    let clusters: Vec<&str> = clusters.map(|s| s.name.text.as_str()).collect();
    if clusters.is_empty() || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let declared = |(name, _): &&(String, String)| runbook.variables.contains_key(name);
    let set: Vec<(String, String)> = set.iter().filter(declared).cloned().collect();
    // A value that does not fit is said when the incident is opened.
    let Ok((scope, _)) = sites::scope(runbook, site, &set) else {
        return Ok(());
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut seen = HashSet::new();
        for name in clusters {
            let Ok(system) = checks::system(&scope, name) else {
                continue;
            };
            let context = (
                system.fields.get("kubeconfig"),
                system.fields.get("context"),
            );
            if !seen.insert(format!("{context:?}")) {
                continue;
            }
            let Login::Wanted(why) = kubernetes::login(&system, QUIETLY).await else {
                continue;
            };
            super::say(&format!("{name}: {why}"));
            super::say("signing in before the screen is taken; Ctrl-C goes on without");
            // From here on Ctrl-C ends the plugin, and not us.
            let interrupted = tokio::spawn(tokio::signal::ctrl_c());
            if kubernetes::sign_in(&system) {
                super::say(&format!("{name}: signed in"));
            } else {
                super::say(&format!(
                    "{name}: not signed in; it will read `cannot tell`"
                ));
            }
            interrupted.abort();
        }
    });
    Ok(())
}

/// Opens incidents for the cockpit, as the command line would.
struct Door {
    store: Store,
    config_dir: Option<PathBuf>,
    set: Vec<(String, String)>,
}

impl Door {
    fn begin(&self, name: &str, place: Option<&Place>) -> Result<Handle, Failure> {
        let found = Found::read(name)?;
        let mut runbook = found.runbook()?;
        found.must_be_trusted(&self.store)?;
        if let Some(place) = place {
            place.must_fit(&found, &runbook)?;
            drill::must_be_inside(place)?;
            place.around(&self.store, &mut runbook)?;
        }
        let site = place.map(|p| &p.file.site);
        let values = self.values(&runbook, site, true)?;
        sites::secrets_fit(site, &values)?;
        let baselines = sites::baselines(&self.store, &runbook, site);
        let opening = found.opening(runbook, place.map(|p| p.file.clone()));
        let given = Given {
            values,
            baselines,
            wishes: drill::alarm().into_iter().collect(),
            ..Given::default()
        };
        opening
            .open(&self.store, given)
            .map_err(|e| super::open_error(&e))
    }

    fn again(&self, id: &str) -> Result<Handle, Failure> {
        let dir = self.store.find(id).map_err(|e| store_error(&e))?;
        let loaded = dir.load().map_err(|e| store_error(&e))?;
        let mut values = secrets_of(&dir, &loaded)?;
        if !self.set.is_empty() {
            let runbook = dir
                .runbook(&loaded.incident.runbook.sha256)
                .map_err(|e| store_error(&e))?;
            let set = self.values(&runbook, None, false)?;
            values.extend(set.into_iter().filter(|v| v.source == "set"));
        }
        let site = dir.site_bytes().and_then(|bytes| Site::read(&bytes).ok());
        let baselines = match dir.runbook(&loaded.incident.runbook.sha256) {
            Ok(runbook) => sites::baselines(&self.store, &runbook, site.as_ref()),
            Err(_) => Vec::new(),
        };
        let given = Given {
            values,
            baselines,
            ..Given::default()
        };
        reopen(dir, given).map_err(|e| super::open_error(&e))
    }

    fn values(
        &self,
        runbook: &Runbook,
        site: Option<&Site>,
        defaults: bool,
    ) -> Result<Vec<Value>, Failure> {
        let sources = Sources {
            set: &self.set,
            environment: &environment,
            site,
            defaults,
        };
        sources
            .resolve(runbook)
            .map_err(|why| Failure::usage(why, "see `variables:` of the runbook"))
    }

    /// Runbooks in the config folder.
    fn own(&self) -> Vec<PathBuf> {
        let folder = self.config_dir.as_ref().map(|d| d.join("runbooks"));
        let entries = folder.and_then(|f| std::fs::read_dir(f).ok());
        let mut files: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
            .collect();
        files.sort();
        files
    }
}

fn said(failure: Failure) -> String {
    let text = match failure.next.is_empty() {
        true => failure.what,
        false => format!("{} — {}", failure.what, failure.next),
    };
    Clean::new(&text).into_string()
}

impl Opener for Door {
    fn runbooks(&self) -> Vec<RunbookOffer> {
        let shipped = SHIPPED.iter().map(|(id, _)| (*id).to_owned());
        let own = self
            .own()
            .into_iter()
            .map(|p| p.to_string_lossy().into_owned());
        shipped
            .chain(own)
            .filter_map(|name| self.offer(&name))
            .collect()
    }

    fn about(&self, runbook: &str) -> Vec<String> {
        let Ok(runbook) = Found::read(runbook).and_then(|found| found.runbook()) else {
            return Vec::new();
        };
        tui::about(&runbook, &sites::baselines(&self.store, &runbook, None))
    }

    fn open(&self, runbook: &str) -> Result<Handle, String> {
        self.begin(runbook, None).map_err(said)
    }

    fn resume(&self, id: &str) -> Result<Handle, String> {
        self.again(id).map_err(said)
    }

    fn is_elsewhere(&self, id: &str) -> bool {
        let dir = self.store.find(id).ok();
        let loaded = dir.and_then(|dir| dir.load().ok());
        loaded.is_some_and(|loaded| drill::is_elsewhere(&loaded.incident))
    }
}

impl Door {
    /// Only the head of the file is read for it: the first frame does not wait for a whole runbook.
    fn offer(&self, name: &str) -> Option<RunbookOffer> {
        let found = Found::read(name).ok()?;
        let head = yaml::read(head(&found.bytes)).ok();
        let text = |key: &str| {
            let node = head.as_ref().and_then(|h| h.get(key));
            node.and_then(|n| n.scalar())
                .map(|t| Clean::new(t.trim()).into_string())
        };
        let is_shipped = found.file.is_none();
        Some(RunbookOffer {
            id: if is_shipped {
                text("id").unwrap_or_else(|| name.to_owned())
            } else {
                name.to_owned()
            },
            title: text("title").unwrap_or_else(|| format!("{name}: blackstart lint says why")),
            summary: text("summary").unwrap_or_default(),
            trusted: found.is_trusted(&self.store),
            file: found.file.map(|f| f.to_string_lossy().into_owned()),
        })
    }
}

/// The lines before the first key that says more than what a runbook is called.
fn head(bytes: &[u8]) -> &[u8] {
    let names = ["blackstart:", "id:", "title:", "summary:"];
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let is_key = line.first().is_some_and(u8::is_ascii_alphabetic);
        if is_key && !names.iter().any(|n| line.starts_with(n.as_bytes())) {
            break;
        }
        at += line.len();
    }
    &bytes[..at]
}

fn show(
    settings: &Settings,
    set: &[(String, String)],
    start: impl FnOnce(&Door) -> Result<StartAt, Failure>,
) -> Result<Exit, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "the cockpit needs a terminal",
            "without one: blackstart run RUNBOOK --go PROCEDURE, blackstart show INCIDENT",
        ));
    }
    let store = settings.store()?;
    let door = Door {
        store: store.clone(),
        config_dir: settings.config_dir.clone(),
        set: set.to_vec(),
    };
    let root = store.root().to_owned();
    let _log = crate::trace::start(&root);
    let runtime = runtime()?;
    let ended: Result<Ended, Failure> = runtime.block_on(async {
        let start = start(&door)?;
        let cockpit = Cockpit {
            store,
            start,
            settings: tui::Settings {
                mono: settings.mono,
                ascii: settings.ascii,
                keys: settings.keys.clone(),
            },
            open: Box::new(door),
        };
        tui::run(cockpit).await.map_err(|e| {
            Failure::new(
                Exit::Failed,
                format!("{e:#}"),
                "without a terminal: blackstart run",
            )
        })
    });
    // A search or a look-up that is still reading must not keep us; a look-up is made good later.
    runtime.shutdown_background();
    match ended? {
        Ended::Enter(incident) => Err(drill::enter(settings, &root, &incident)),
        // What goes on, and how to come back: said on the normal screen.
        Ended::Quit { running, incident } => {
            if !running.is_empty() {
                super::say(&format!("{} goes on running", running.join(", ")));
            }
            if let Some(id) = incident {
                super::say(&in_place(&format!("blackstart resume {id}")));
            }
            Ok(Exit::Done)
        }
        Ended::Hangup | Ended::Signal(_) => Ok(Exit::PersonNeeded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_shipped_runbook_says_what_it_is_called() {
        for (id, bytes) in SHIPPED {
            let (runbook, _) = Runbook::read(bytes).expect("lint is part of the tests");
            let head = yaml::read(head(bytes)).expect("a mapping");
            let text = |key| head.get(key).and_then(|n| n.scalar()).map(str::trim);
            assert_eq!(text("id"), Some(id));
            assert_eq!(text("title"), Some(runbook.title.as_str()));
            assert_eq!(text("summary"), Some(runbook.summary.as_str()));
        }
    }
}
