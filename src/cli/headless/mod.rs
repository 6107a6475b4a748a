//! Recovery without a terminal: `run` and `resume --headless`. The same engine, the same journal.

mod beforehand;
mod drive;

use beforehand::missing;
use drive::Drive;

use super::{
    Exit, Failure, drill,
    given::{GivenArgs, ResumeArgs, RunArgs},
    load::{Found, store_error},
    pairs, runtime,
    settings::Settings,
    sites,
};
use crate::{
    clock,
    domain::{
        decide::{Command, Refusal},
        event::PlanStep,
        incident::{Incident, IncidentState, StepState},
        plan::{self, Chosen, PlanError},
        runbook::{Runbook, find_step},
        site::Site,
        text::Clean,
        units,
    },
    engine::{Given, Sources, Value, baseline_values, reopen},
    store::{IncidentDir, Store},
};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What was said beforehand in place of a person.
struct Said {
    approve: Vec<(String, String)>,
    confirm: Vec<String>,
    accept: Vec<(String, String)>,
    json: bool,
}

impl Said {
    fn read(args: &GivenArgs) -> Result<Self, Failure> {
        Ok(Self {
            approve: pairs("--approve", &args.approve)?,
            confirm: args.confirm.clone(),
            accept: pairs("--accept-identity", &args.accept_identity)?,
            json: args.json,
        })
    }

    fn approval(&self, step: &str) -> Option<&str> {
        let named = self.approve.iter().find(|(s, _)| names(step, s));
        named.map(|(_, name)| name.as_str())
    }

    fn confirms(&self, step: &str) -> bool {
        self.confirm.iter().any(|s| names(step, s))
    }
}

/// What a person would be asked for by a plan, when nothing was said beforehand.
pub(super) fn missing_of(runbook: &Runbook, steps: &[&str], values: &[Value]) -> Vec<String> {
    let said = Said {
        approve: Vec::new(),
        confirm: Vec::new(),
        accept: Vec::new(),
        json: false,
    };
    missing(runbook, steps, values, &said)
}

fn names(full: &str, ending: &str) -> bool {
    crate::domain::runbook::names_step(full, ending)
}

pub(super) fn run(settings: &Settings, args: &RunArgs) -> Result<Exit, Failure> {
    let found = Found::read(&args.runbook)?;
    let mut runbook = found.runbook()?;
    found.warn(&runbook);
    let place = args
        .site
        .as_deref()
        .map(|s| sites::find(settings, s))
        .transpose()?;
    if let Some(place) = &place {
        place.must_fit(&found, &runbook)?;
        drill::must_be_inside(place)?;
    }
    let site = place.as_ref().map(|p| &p.file.site);
    let store = settings.store()?;
    if args.trust {
        found.trust(&store)?;
    }
    found.must_be_trusted(&store)?;
    if let Some(place) = &place {
        if args.trust && place.file.site.rehearsal.is_some() {
            place.trust(&store)?;
        }
        place.around(&store, &mut runbook)?;
    }
    let said = Said::read(&args.given)?;
    let go: Vec<Chosen> = args.go.iter().map(|g| Chosen::parse(g)).collect();
    let skips = pairs("--skip", &args.skip)?;
    let planned = plan::lay_out(&runbook, &go, &[]).map_err(|e| plan_failure(&e))?;
    let severity = args.severity.as_deref();
    if let Some(id) = severity.filter(|id| runbook.severity(id).is_none()) {
        let ids: Vec<&str> = runbook
            .severities
            .iter()
            .map(|s| s.id.text.as_str())
            .collect();
        return Err(Failure::usage(
            format!("no severity is called `{}`", Clean::line(id)),
            format!("--severity {}", ids.join(" or --severity ")),
        ));
    }
    let since = args.since.as_deref().map(parse_since).transpose()?;
    let set = pairs("--set", &args.given.set)?;
    let sources = Sources {
        set: &set,
        environment: &environment,
        site,
        defaults: true,
    };
    let mut values = sources
        .resolve(&runbook)
        .map_err(|why| Failure::usage(why, "see `variables:` of the runbook"))?;
    sites::secrets_fit(site, &values)?;
    let baselines = sites::baselines(&store, &runbook, site);
    let began = since.as_ref().map_or_else(clock::now, |(at, _)| *at);
    let known = |name: &str| !values.iter().any(|v| v.name == name);
    let of_peace = baseline_values(&runbook, &baselines, began, known);
    values.extend(of_peace);
    let steps: Vec<&str> = planned.iter().map(|s| s.step.as_str()).collect();
    for (option, names) in [
        (
            "--approve",
            said.approve.iter().map(|(s, _)| s).collect::<Vec<_>>(),
        ),
        ("--confirm", said.confirm.iter().collect()),
        ("--skip", skips.iter().map(|(s, _)| s).collect()),
    ] {
        for name in names {
            find_step(steps.iter().copied(), name).map_err(|e| {
                Failure::usage(format!("{option} {name}: {e}"), "name a step of the plan")
            })?;
        }
    }
    for (system, _) in &said.accept {
        if !runbook.systems.contains_key(system) {
            let names = runbook.systems.keys().map(String::as_str);
            let help = crate::domain::finding::did_you_mean(system, names);
            return Err(Failure::usage(
                format!("--accept-identity: no system is called `{system}`"),
                help,
            ));
        }
    }
    let stays = |step: &&str| !skips.iter().any(|(name, _)| names(step, name));
    let steps: Vec<&str> = steps.into_iter().filter(stays).collect();
    let mut missing = missing(&runbook, &steps, &values, &said);
    let runtime = runtime()?;
    if missing.is_empty() {
        let (scope, _) = sites::scope(&runbook, site, &set)?;
        missing = runtime.block_on(beforehand::rights(&runbook, &steps, &scope, &values));
    }
    if !missing.is_empty() {
        return Err(Failure::new(
            Exit::PersonNeeded,
            format!(
                "nothing was started: a person is needed for\n  {}",
                missing.join("\n  ")
            ),
            "give all of them and run it again",
        ));
    }
    runtime.block_on(async {
        let (lines, written) = mpsc::unbounded_channel();
        let opening = found.opening(runbook, place.map(|p| p.file));
        let given = Given {
            values,
            accepted: said.accept.clone(),
            wishes: drill::alarm()
                .into_iter()
                .chain(wishes(severity, since, go))
                .collect(),
            lines: Some(lines.clone()),
            baselines,
        };
        let handle = opening
            .open(&store, given)
            .map_err(|e| super::open_error(&e))?;
        let mut drive = Drive::new(handle, said, args.tear_down, lines, written);
        drive.first_contact().await;
        let driven = match drive.leave_out(&skips).await {
            Ok(()) => drive.go_on(true).await,
            Err(refused) => Err(refused),
        };
        drive.flush().await;
        driven
    })
}

/// What is known from the start.
fn wishes(
    severity: Option<&str>,
    since: Option<(DateTime<Utc>, String)>,
    go: Vec<Chosen>,
) -> Vec<Command> {
    let severity = severity.map(|severity| Command::DeclareSeverity {
        severity: severity.to_owned(),
    });
    let (began_at, source) = since.unwrap_or_else(|| {
        (
            clock::now(),
            "when it was opened: --since was not given".to_owned(),
        )
    });
    severity
        .into_iter()
        .chain([Command::SetBegan { began_at, source }, Command::Plan { go }])
        .collect()
}

pub(super) fn plan_failure(error: &PlanError) -> Failure {
    let near = |word: &str, all: &str| crate::domain::finding::did_you_mean(word, all.split(", "));
    let next = match error {
        PlanError::UnknownProcedure(name, all) => near(name, all),
        PlanError::UnknownPath(procedure, path, all) => near(&format!("{procedure}/{path}"), all),
        PlanError::NoPaths(procedure, _) => format!("--go {procedure}"),
        PlanError::PathNeeded(_, all) => format!("choose: --go {all}"),
        PlanError::Twice(_, first, second) => format!("--go {first} or --go {second}"),
        PlanError::WaitsForNothing(_, end) => format!("add the procedure of `{end}` with --go"),
        PlanError::Circle(_) => "blackstart lint names circles".to_owned(),
        PlanError::Empty => "--go PROCEDURE".to_owned(),
    };
    Failure::usage(error.to_string(), next)
}

/// `now`, `25m` (ago), or a moment with a zone.
fn parse_since(text: &str) -> Result<(DateTime<Utc>, String), Failure> {
    let text = text.trim();
    if text == "now" {
        return Ok((clock::now(), "now, as chosen".to_owned()));
    }
    let ago = text.strip_suffix("ago").unwrap_or(text).trim();
    let future = || {
        Failure::usage(
            format!("--since {}: this is in the future", Clean::line(text)),
            "--since now, if it has just begun",
        )
    };
    if let Ok(ago) = units::duration(ago) {
        let at = clock::now() - chrono::TimeDelta::from_std(ago).unwrap_or_default();
        return Ok((at, format!("{text} before it was opened")));
    }
    crate::domain::expect::moment(text)
        .map(|at| match at > clock::now() {
            true => Err(future()),
            false => Ok((at, "given".to_owned())),
        })
        .unwrap_or_else(|| {
            Err(Failure::usage(
                format!("--since {}: this is not a moment", Clean::line(text)),
                "--since 2026-03-10T14:30:00Z, --since 25m, or --since now",
            ))
        })
}

pub(super) fn resume(settings: &Settings, args: &ResumeArgs) -> Result<Exit, Failure> {
    let store = settings.store()?;
    let dir = which(&store, args.incident.as_deref())?;
    let said = Said::read(&args.given)?;
    let loaded = dir.load().map_err(|e| store_error(&e))?;
    let runbook = dir
        .runbook(&loaded.incident.runbook.sha256)
        .map_err(|e| store_error(&e))?;
    let set = pairs("--set", &args.given.set)?;
    let skips = pairs("--skip", &args.skip)?;
    let go = (!args.go.is_empty()).then(|| {
        let more = args.go.iter().map(|g| Chosen::parse(g));
        Chosen::with(&loaded.incident.go, more)
    });
    let steps = to_come(&runbook, &loaded.incident, go.as_deref())?;
    for name in args.retry.iter().chain(skips.iter().map(|(s, _)| s)) {
        find_step(steps.iter().map(String::as_str), name)
            .map_err(|e| Failure::usage(e.to_string(), format!("blackstart show {}", dir.id)))?;
    }
    let site = dir.site_bytes().and_then(|bytes| Site::read(&bytes).ok());
    let sources = Sources {
        set: &set,
        environment: &environment,
        site: site.as_ref(),
        defaults: false,
    };
    let mut values = sources
        .resolve(&runbook)
        .map_err(|why| Failure::usage(why, "see `variables:` of the runbook"))?;
    // What was chosen at the opening holds; only corrections and secrets are given anew.
    values.retain(|v| v.secret || v.source == "set");
    let runtime = runtime()?;
    runtime.block_on(async {
        let (lines, written) = mpsc::unbounded_channel();
        let given = Given {
            values,
            accepted: said.accept.clone(),
            lines: Some(lines.clone()),
            ..Given::default()
        };
        let handle = reopen(dir, given).map_err(|e| super::open_error(&e))?;
        let mut drive = Drive::new(handle, said, false, lines, written);
        let driven = drive.again(args, go, &skips).await;
        drive.flush().await;
        driven
    })
}

/// The names of the steps of an incident, once its plan goes by `go`. What was tried stays; what was not gives
/// way.
fn to_come(
    runbook: &Runbook,
    incident: &Incident,
    go: Option<&[Chosen]>,
) -> Result<BTreeSet<String>, Failure> {
    let steps = incident.steps.iter();
    let Some(go) = go else {
        return Ok(steps.map(|s| s.plan.step.clone()).collect());
    };
    if let Some(at) = incident.recovered_at {
        let at = at.format("%Y-%m-%d %H:%M:%SZ");
        return Err(Failure::usage(
            format!("the platform has recovered at {at}: what is done now is another incident"),
            "blackstart run RUNBOOK --go PROCEDURE",
        ));
    }
    let before: Vec<PlanStep> = steps.clone().map(|s| s.plan.clone()).collect();
    let planned = plan::lay_out(runbook, go, &before).map_err(|e| plan_failure(&e))?;
    let tried = steps.filter(|s| s.state() != StepState::Pending);
    let tried = tried.map(|s| s.plan.step.clone());
    Ok(planned.into_iter().map(|s| s.step).chain(tried).collect())
}

/// The incident that is meant: the named one, or the only open one.
pub(super) fn which(store: &Store, name: Option<&str>) -> Result<IncidentDir, Failure> {
    if let Some(name) = name {
        return store.find(name).map_err(|e| store_error(&e));
    }
    let open: Vec<String> = store
        .summaries()
        .into_iter()
        .flatten()
        .filter(|s| s.state == IncidentState::Open)
        .map(|s| s.id)
        .collect();
    match &open[..] {
        [one] => store.find(one).map_err(|e| store_error(&e)),
        [] => Err(Failure::usage("no incident is open", "blackstart list")),
        several => Err(Failure::usage(
            format!(
                "{} incidents are open: {}",
                several.len(),
                several.join(", ")
            ),
            format!("say which: blackstart resume {}", several[0]),
        )),
    }
}

fn refused(step: &str, refusal: &Refusal) -> Failure {
    let exit = match refusal {
        Refusal::WrongTarget { .. } => Exit::WrongTarget,
        Refusal::UnknownStep(_) | Refusal::UnknownSeverity(..) | Refusal::Plan(_) => Exit::Usage,
        Refusal::CannotRecord(_) | Refusal::Gone | Refusal::SandboxGone => Exit::Failed,
        Refusal::Closed
        | Refusal::Running(_)
        | Refusal::Unsupervised(_)
        | Refusal::NotRunning(_)
        | Refusal::OutOfOrder { .. }
        | Refusal::Again(_)
        | Refusal::EndUnknown(_)
        | Refusal::MissingValues(_)
        | Refusal::Confirm(_)
        | Refusal::NoUndo(_)
        | Refusal::Saw(_)
        | Refusal::Reason
        | Refusal::NoAnswer { .. }
        | Refusal::UnconfirmedTarget { .. }
        | Refusal::AnotherSecret(_)
        | Refusal::NothingProposed(_) => Exit::PersonNeeded,
    };
    let next = match refusal {
        Refusal::UnconfirmedTarget {
            system,
            fingerprint,
        } => format!("compare it, then: resume … --accept-identity {system}={fingerprint}"),
        Refusal::MissingValues(names) => {
            let each = names.split(", ").map(|name| format!(" --set {name}=…"));
            format!("give them:{}", each.collect::<String>())
        }
        _ => String::new(),
    };
    Failure::new(exit, format!("{step}: {refusal}"), next)
}
