//! Incidents from outside: list, show, note, close, export, verify.

use super::{
    Exit, Failure, headless::environment, load::store_error, runtime, say, say_json,
    settings::Settings,
};
use crate::{
    clock,
    domain::{
        decide::{Command, Refusal},
        drill::{Earlier, debrief},
        event::{Mode, Revealed},
        incident::{Attempt, Incident, IncidentState, StepState},
        site::Site,
        text::Clean,
        units,
    },
    engine::{Given, Handle, Sources, reopen},
    export::{self, Source, json::summary, timeline},
    journal::{self, JournalError},
    store::{IncidentDir, Loaded, Store},
};
use serde_json::json;

pub(super) fn list(settings: &Settings, as_json: bool) -> Result<Exit, Failure> {
    let store = settings.store_to_look()?;
    let mut rows = Vec::new();
    for summary in store.summaries() {
        match summary {
            Ok(s) => {
                if as_json {
                    rows.push(json!({
                        "id": s.id, "mode": s.mode, "runbook": s.runbook, "severity": s.severity,
                        "state": s.state, "began_at": s.began_at, "running": s.running,
                    }));
                } else {
                    let state = match s.state {
                        IncidentState::Open => "open",
                        IncidentState::Recovered => "recovered",
                        IncidentState::Closed => "closed",
                    };
                    let running = match s.running.is_empty() {
                        true => String::new(),
                        false => format!("  running: {}", s.running.join(", ")),
                    };
                    let severity = s.severity.as_deref().unwrap_or("-");
                    say(&format!(
                        "{}  {state:<9}  {severity:<3}  {}/{} steps{running}",
                        s.id, s.steps_done, s.steps
                    ));
                }
            }
            Err((id, e)) => {
                let failure = store_error(&e);
                if as_json {
                    rows.push(json!({"id": id, "state": "damaged", "error": failure.what}));
                } else {
                    say(&format!("{id}  damaged: {}", Clean::line(&failure.what)));
                }
            }
        }
    }
    if as_json {
        say_json(&serde_json::Value::Array(rows));
    } else if store.ids().is_empty() {
        say("no incidents yet");
    }
    Ok(Exit::Done)
}

fn load(settings: &Settings, id: &str) -> Result<(IncidentDir, Loaded), Failure> {
    let store = settings.store_to_look()?;
    let dir = find(&store, id)?;
    let loaded = dir.load().map_err(|e| store_error(&e))?;
    Ok((dir, loaded))
}

fn find(store: &Store, id: &str) -> Result<IncidentDir, Failure> {
    store.find(id).map_err(|e| store_error(&e))
}

pub(super) fn show(settings: &Settings, id: &str, as_json: bool) -> Result<Exit, Failure> {
    let (dir, loaded) = load(settings, id)?;
    if as_json {
        say_json(&summary(&loaded.incident, &dir.path, &loaded.head));
        return Ok(Exit::Done);
    }
    say(&picture(&loaded.incident));
    say(&format!("files: {}", dir.path.display()));
    Ok(Exit::Done)
}

/// Where are we? In as few lines as it takes.
pub(super) fn picture(incident: &Incident) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    let state = match incident.state() {
        IncidentState::Open => "open",
        IncidentState::Recovered => "recovered",
        IncidentState::Closed => "closed",
    };
    line(format!(
        "{}  {state}  {}",
        incident.id, incident.runbook.title
    ));
    let objectives = incident.objectives();
    let shown = |s: Option<u64>| s.map_or("–".to_owned(), units::short);
    let pace = crate::domain::budget::pace(incident, clock::now());
    line(format!(
        "RTO {} elapsed {}   RPO {} measured {}",
        shown(objectives.rto_s),
        units::clock(pace.elapsed_s),
        shown(objectives.rpo_s),
        shown(incident.rpo_measured_s()),
    ));
    for step in &incident.steps {
        let took = step
            .elapsed_s(clock::now())
            .map_or("–".to_owned(), units::clock);
        let budget = shown(step.plan.budget_s);
        let mut text = format!(
            "{:>3}  {:<10} {took:>8}/{budget:<6} {}",
            step.plan.number,
            step.state().as_str(),
            step.plan.title
        );
        if let Some(reason) = step.reason() {
            text.push_str(&format!("  ({})", Clean::line(&reason)));
        }
        line(text);
        let last = step.attempts.last();
        let doubted = last.is_some_and(Attempt::is_doubted);
        if doubted {
            line("       it ended with 0, and its output says that it failed:".to_owned());
        }
        if doubted || matches!(step.state(), StepState::Failed) {
            let causes = last.and_then(|a| a.causes.as_ref());
            for cause in causes.into_iter().flatten().take(3) {
                line(format!(
                    "       likely cause: {}",
                    Clean::line(cause.cause.as_str())
                ));
                line(format!("       fix: {}", Clean::line(cause.fix.as_str())));
            }
            if last.is_some_and(Attempt::is_unmatched) {
                line("       no row of the failure table matches".to_owned());
            }
        }
    }
    if let Some((_, checks, false)) = &incident.recovery {
        for check in checks.iter().filter(|c| !c.passed) {
            line(format!("not recovered: {}", timeline::saw(check)));
        }
    }
    out
}

/// Takes the pen for one wish.
fn write_once(
    settings: &Settings,
    id: &str,
    wish: Command,
) -> Result<(IncidentDir, Loaded), Failure> {
    let store = settings.store()?;
    let dir = find(&store, id)?;
    let loaded = dir.load().map_err(|e| store_error(&e))?;
    let secrets = secrets_of(&dir, &loaded)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let given = Given {
            values: secrets,
            ..Given::default()
        };
        let handle: Handle = reopen(dir.clone(), given).map_err(|e| super::open_error(&e))?;
        handle.wish(wish).await.map_err(|refusal| match refusal {
            Refusal::Running(step) => Failure::new(
                Exit::PersonNeeded,
                format!("`{step}` is still running"),
                format!("wait for it: blackstart resume {id} --headless"),
            ),
            other => Failure::new(Exit::Failed, other.to_string(), ""),
        })?;
        handle.settle().await;
        Ok::<(), Failure>(())
    })?;
    let loaded = dir.load().map_err(|e| store_error(&e))?;
    Ok((dir, loaded))
}

/// The secrets that this shell's environment holds: a note that quotes one is masked.
pub(super) fn secrets_of(
    dir: &IncidentDir,
    loaded: &Loaded,
) -> Result<Vec<crate::engine::Value>, Failure> {
    let runbook = dir
        .runbook(&loaded.incident.runbook.sha256)
        .map_err(|e| store_error(&e))?;
    let site = dir.site_bytes().and_then(|bytes| Site::read(&bytes).ok());
    let sources = Sources {
        set: &[],
        environment: &environment,
        site: site.as_ref(),
        defaults: false,
    };
    let values = sources.resolve(&runbook).unwrap_or_default();
    Ok(values.into_iter().filter(|v| v.secret).collect())
}

pub(super) fn note(
    settings: &Settings,
    id: &str,
    text: &str,
    as_json: bool,
) -> Result<Exit, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::usage(
            "the note is empty",
            "blackstart note INCIDENT what happened",
        ));
    }
    let wish = Command::Note {
        text: text.to_owned(),
    };
    let (_, loaded) = write_once(settings, id, wish)?;
    if let Some(note) = loaded.incident.notes.last() {
        if as_json {
            say_json(&json!({"at": note.at, "who": note.who, "text": note.text}));
        } else {
            say(&format!("noted: {}", note.text));
        }
    }
    Ok(Exit::Done)
}

/// Tells what a drill hid, and looks back on it in a few lines.
pub(super) fn reveal(settings: &Settings, id: &str, revealed: Revealed) -> Result<String, Failure> {
    let (_, loaded) = write_once(settings, id, Command::Reveal(Box::new(revealed)))?;
    let earlier = earlier(&settings.store_to_look()?);
    let debrief = debrief(&loaded.incident, &loaded.entries, &earlier);
    let brief = export::drill::brief(&loaded.incident, &debrief);
    Ok(crate::offered::in_place(&brief).into_owned())
}

pub(super) fn close(
    settings: &Settings,
    id: &str,
    reason: &str,
    as_json: bool,
) -> Result<Exit, Failure> {
    let wish = Command::Close {
        reason: reason.to_owned(),
    };
    let (dir, loaded) = write_once(settings, id, wish)?;
    if as_json {
        say_json(&summary(&loaded.incident, &dir.path, &loaded.head));
    } else {
        say(&format!(
            "{} is closed; journal head {}",
            dir.id, loaded.head
        ));
    }
    Ok(Exit::Done)
}

/// Every drill that there is, for comparison; one that cannot be read is left out.
pub(super) fn drills(store: &Store) -> Vec<Incident> {
    let all = store
        .summaries()
        .into_iter()
        .flatten()
        .filter(|s| s.mode == Mode::Drill);
    all.filter_map(|s| Some(store.find(&s.id).ok()?.load().ok()?.incident))
        .collect()
}

fn earlier(store: &Store) -> Vec<Earlier> {
    drills(store).iter().map(Earlier::of).collect()
}

pub(super) fn export(settings: &Settings, id: &str, format: &str) -> Result<Exit, Failure> {
    let Some(write) = export::format(format) else {
        let known: Vec<&str> = export::FORMATS.iter().map(|(n, _)| *n).collect();
        return Err(Failure::usage(
            format!("`{}` is not a format", Clean::line(format)),
            format!("--format {}", known.join(" or --format ")),
        ));
    };
    let (dir, loaded) = load(settings, id)?;
    let earlier = match loaded.incident.mode {
        Mode::Drill => earlier(&settings.store_to_look()?),
        Mode::Live => Vec::new(),
    };
    let source = Source {
        loaded: &loaded,
        dir: &dir.path,
        now: clock::now(),
        earlier: &earlier,
    };
    say(write(&source).trim_end());
    Ok(Exit::Done)
}

pub(super) fn verify(settings: &Settings, id: &str, as_json: bool) -> Result<Exit, Failure> {
    let store = settings.store_to_look()?;
    let dir = find(&store, id)?;
    let bytes = std::fs::read(dir.journal_path())
        .map_err(|e| Failure::new(Exit::Failed, format!("the journal cannot be read: {e}"), ""))?;
    let opened = |contents: &journal::Contents| {
        use crate::domain::event::Event;
        matches!(
            contents.entries.first().map(|e| &e.event),
            Some(Event::Opened { .. })
        )
    };
    let read = journal::read(&bytes).and_then(|contents| match opened(&contents) {
        true => Ok(contents),
        false => Err(JournalError::Damaged {
            line: 1,
            what: "it does not begin with the opening of an incident".to_owned(),
        }),
    });
    match read {
        Ok(contents) => {
            let torn = contents.torn.len();
            if as_json {
                say_json(&json!({
                    "whole": true, "entries": contents.entries.len(), "head": contents.head,
                    "torn_bytes": torn, "damage": null,
                }));
            } else {
                say(&format!(
                    "whole: {} entries, head {}",
                    contents.entries.len(),
                    contents.head
                ));
                if torn > 0 {
                    say(&format!(
                        "a torn last line of {torn} bytes was never acknowledged"
                    ));
                }
            }
            Ok(Exit::Done)
        }
        Err(JournalError::Damaged { line, what }) => {
            if as_json {
                say_json(&json!({
                    "whole": false, "entries": line - 1, "head": null, "torn_bytes": 0,
                    "damage": {"line": line, "what": what},
                }));
            } else {
                say(&format!(
                    "DAMAGED at line {line}: {what}; the {} entries before it are whole",
                    line - 1
                ));
            }
            Ok(Exit::Failed)
        }
        Err(JournalError::Io(e)) => Err(Failure::new(Exit::Failed, e.to_string(), "")),
    }
}
