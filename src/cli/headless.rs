//! Recovery without a terminal: `run` and `resume --headless`. The same engine, the same journal.

use super::{
    Exit, Failure, GivenArgs, ResumeArgs, RunArgs, incidents,
    load::{Found, store_error},
    pairs, runtime, say,
    settings::Settings,
};
use crate::{
    clock,
    domain::{
        decide::{Command, Refusal, Start},
        event::{Mode, Outcome, World},
        incident::{Incident, IncidentState, PlannedStep, StepState},
        plan::{self, Chosen, PlanError},
        runbook::{Action, Danger, Needed, Runbook, find_step},
        text::Clean,
        units,
    },
    engine::{Given, Handle, Opening, Value, reopen},
    export::{json::summary, timeline},
    store::{IncidentDir, Store},
};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

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

fn names(full: &str, ending: &str) -> bool {
    crate::domain::runbook::names_step(full, ending)
}

pub(super) fn run(settings: &Settings, args: &RunArgs) -> Result<Exit, Failure> {
    let found = Found::read(&args.runbook)?;
    let runbook = found.runbook()?;
    let store = settings.store()?;
    if args.trust {
        let path = found
            .file
            .as_deref()
            .map(|p| p.display().to_string())
            .unwrap_or_default();
        store
            .trust(&found.sha256, &path, &crate::who())
            .map_err(|e| Failure::new(Exit::Failed, format!("trust cannot be kept: {e}"), ""))?;
    }
    found.must_be_trusted(&store)?;
    let said = Said::read(&args.given)?;
    let go: Vec<Chosen> = args.go.iter().map(|g| Chosen::parse(g)).collect();
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
    let values = Given::resolve(&runbook, &set, environment, true)
        .map_err(|why| Failure::usage(why, "see `variables:` of the runbook"))?;
    let steps: Vec<&str> = planned.iter().map(|s| s.step.as_str()).collect();
    for (option, names) in [
        (
            "--approve",
            said.approve.iter().map(|(s, _)| s).collect::<Vec<_>>(),
        ),
        ("--confirm", said.confirm.iter().collect()),
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
    let missing = missing(&runbook, &steps, &values, &said);
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
    let runtime = runtime()?;
    runtime.block_on(async {
        let (lines, written) = mpsc::unbounded_channel();
        let opening = Opening {
            bytes: &found.bytes,
            sha256: found.sha256.clone(),
            file: found.file.clone(),
            runbook,
            mode: Mode::Live,
            world: World::Live,
        };
        let given = Given {
            values,
            accepted: said.accept.clone(),
            lines: Some(lines.clone()),
        };
        let handle = opening
            .open(&store, given)
            .map_err(|e| super::open_error(&e))?;
        let mut drive = Drive::new(handle, said, lines, written);
        drive.begin(severity, since, go).await?;
        let driven = drive.go_on(true).await;
        drive.flush().await;
        driven
    })
}

fn plan_failure(error: &PlanError) -> Failure {
    let near = |word: &str, all: &str| crate::domain::finding::did_you_mean(word, all.split(", "));
    let next = match error {
        PlanError::UnknownProcedure(name, all) => near(name, all),
        PlanError::UnknownPath(procedure, path, all) => near(&format!("{procedure}/{path}"), all),
        PlanError::PathNeeded(_, all) => format!("choose: --go {all}"),
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
    if let Ok(ago) = units::duration(ago) {
        let at = clock::now() - chrono::TimeDelta::from_std(ago).unwrap_or_default();
        return Ok((at, format!("{text} before it was opened")));
    }
    crate::domain::expect::moment(text)
        .map(|at| (at, "given".to_owned()))
        .ok_or_else(|| {
            Failure::usage(
                format!("--since {}: this is not a moment", Clean::line(text)),
                "--since 2026-03-10T14:30:00Z, --since 25m, or --since now",
            )
        })
}

/// Everything that a person would be asked for, named before anything starts.
fn missing(runbook: &Runbook, steps: &[&str], values: &[Value], said: &Said) -> Vec<String> {
    let mut held: BTreeSet<String> = values.iter().map(|v| v.name.clone()).collect();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut out = Vec::new();
    for name in steps {
        let Some(step) = runbook.step(name) else {
            continue;
        };
        for value in plan::needs(runbook, step) {
            if !held.contains(&value) && asked.insert(value.clone()) {
                out.push(how_to_give(runbook, &value));
            }
        }
        held.extend(step.capture.iter().map(|(n, _)| n.text.clone()));
        held.extend(step.set.iter().map(|(n, _)| n.text.clone()));
        if step.danger == Danger::Destroy {
            let typed = step.confirm.as_deref().unwrap_or("NAME");
            let known = crate::domain::template::fill(typed, |n| {
                let value = values.iter().find(|v| v.name == n && !v.secret);
                value.map(|v| v.value.clone())
            });
            let wanted = known.unwrap_or_else(|_| typed.to_owned());
            // What only a captured value can tell is compared when its step comes.
            let fits = |given: &str| given.trim() == wanted.trim() || wanted.contains("${");
            if !said.approval(name).is_some_and(fits) {
                out.push(format!(
                    "`{name}` destroys something: --approve {name}={wanted}"
                ));
            }
        }
        if matches!(step.action, Action::Manual(_)) && !said.confirms(name) {
            out.push(format!("`{name}` is done by a person: --confirm {name}"));
        }
        for system in &step.replaces {
            let address = new_address(runbook, step, &system.text, values);
            let named = said.accept.iter().filter(|(s, _)| *s == system.text);
            if !named
                .into_iter()
                .any(|(_, accepted)| may_be(accepted, address.as_deref()))
            {
                let shown = address.unwrap_or_else(|| "HOST:PORT".to_owned());
                out.push(format!(
                    "`{name}` moves `{system}`: --accept-identity {system}={shown}"
                ));
            }
        }
    }
    for check in &runbook.recovered.when {
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for (text, _) in check.templates() {
            needed.extend(
                crate::domain::template::names(text)
                    .into_iter()
                    .map(str::to_owned),
            );
        }
        if let Some(system) = check.system() {
            needed.extend(plan::system_needs(runbook, &system.text));
        }
        for value in needed {
            if !held.contains(&value) && asked.insert(value.clone()) {
                out.push(how_to_give(runbook, &value));
            }
        }
    }
    out
}

fn how_to_give(runbook: &Runbook, name: &str) -> String {
    let variable = runbook.variable(name);
    let what = variable
        .ask
        .clone()
        .unwrap_or_else(|| variable.type_name().to_owned());
    let example = variable.example.as_deref().unwrap_or("VALUE");
    match (&variable.env, variable.is_secret()) {
        (Some(env), true) => format!("the secret `{name}` ({what}): set {env} in the environment"),
        (None, true) => format!(
            "the secret `{name}` ({what}): it has no `env:`, so it can only be typed in the cockpit"
        ),
        (_, false) => {
            let when = match variable.needed {
                Needed::Plan => "",
                Needed::Step => ", needed when its step comes",
            };
            format!("the value `{name}` ({what}{when}): --set {name}={example}")
        }
    }
}

/// Can what was accepted be the target at this address?
fn may_be(accepted: &str, address: Option<&str>) -> bool {
    match address {
        Some(address) if accepted.contains(':') => accepted.split('/').next() == Some(address),
        // An identifier alone, or an address that nobody knows yet.
        Some(_) | None => true,
    }
}

/// Where the new target will be, when that is known before it is there.
fn new_address(
    runbook: &Runbook,
    step: &crate::domain::runbook::Step,
    system: &str,
    values: &[Value],
) -> Option<String> {
    let plain = |name: &str| {
        let value = values.iter().find(|v| v.name == name && !v.secret);
        value.map(|v| v.value.clone())
    };
    let known = |name: &str| match step.set.iter().find(|(n, _)| n.text == name) {
        Some((_, text)) => crate::domain::template::fill(text, plain).ok(),
        None => plain(name),
    };
    let system = runbook.systems.get(system)?;
    let field = |key: &str, otherwise: &str| {
        let text = system.fields.get(key).map_or(otherwise, String::as_str);
        crate::domain::template::fill(text, known).ok()
    };
    let port = match system.kind {
        crate::domain::runbook::SystemKind::Redis => "6379",
        _ => "5432",
    };
    Some(format!(
        "{}:{}",
        field("host", "localhost")?,
        field("port", port)?
    ))
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
    let steps: Vec<&str> = loaded
        .incident
        .steps
        .iter()
        .map(|s| s.plan.step.as_str())
        .collect();
    for name in args.retry.iter().chain(skips.iter().map(|(s, _)| s)) {
        find_step(steps.iter().copied(), name)
            .map_err(|e| Failure::usage(e.to_string(), format!("blackstart show {}", dir.id)))?;
    }
    let mut values = Given::resolve(&runbook, &set, environment, false)
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
        };
        let handle = reopen(dir, given).map_err(|e| super::open_error(&e))?;
        let mut drive = Drive::new(handle, said, lines, written);
        let driven = drive.again(args, &skips).await;
        drive.flush().await;
        driven
    })
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
        Refusal::NoHands(_) | Refusal::CannotRecord(_) | Refusal::Gone => Exit::Failed,
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
        | Refusal::NothingProposed(_) => Exit::PersonNeeded,
    };
    let next = match refusal {
        Refusal::UnconfirmedTarget {
            system,
            fingerprint,
        } => format!("compare it, then: resume … --accept-identity {system}={fingerprint}"),
        Refusal::MissingValues(names) => format!("give them: --set {names}=…"),
        _ => String::new(),
    };
    Failure::new(exit, format!("{step}: {refusal}"), next)
}

/// Drives an incident through its plan, printing as it goes.
struct Drive {
    handle: Handle,
    said: Said,
    /// An empty line asks the printer to say that it has printed what came before.
    lines: mpsc::UnboundedSender<String>,
    printed: Arc<tokio::sync::Notify>,
}

impl Drive {
    fn new(
        handle: Handle,
        said: Said,
        lines: mpsc::UnboundedSender<String>,
        mut written: mpsc::UnboundedReceiver<String>,
    ) -> Self {
        let json = said.json;
        let printed = Arc::new(tokio::sync::Notify::new());
        let done = printed.clone();
        tokio::spawn(async move {
            while let Some(line) = written.recv().await {
                if line.is_empty() {
                    done.notify_one();
                    continue;
                }
                if json {
                    say(&line);
                    continue;
                }
                let entry: Option<crate::domain::event::Entry> = serde_json::from_str(&line).ok();
                if let Some(entry) = entry {
                    let at = entry.at.format("%H:%M:%SZ");
                    say(&format!(
                        "{at} {}",
                        Clean::line(&timeline::describe(&entry.event))
                    ));
                }
            }
        });
        Self {
            handle,
            said,
            lines,
            printed,
        }
    }

    /// What `resume --headless` asks for: wait, skip, retry, and only then go on.
    async fn again(
        &mut self,
        args: &ResumeArgs,
        skips: &[(String, String)],
    ) -> Result<Exit, Failure> {
        self.wait_for_all(None).await?;
        for (step, reason) in skips {
            let wish = Command::Skip {
                step: step.clone(),
                reason: reason.clone(),
            };
            let skipped = self.handle.wish(wish).await;
            skipped.map_err(|r| refused(step, &r))?;
        }
        for step in &args.retry {
            let exit = self.start(step, Some("asked for with --retry")).await?;
            if exit != Exit::Done {
                return self.finish(exit).await;
            }
        }
        if args.go_on {
            return self.go_on(false).await;
        }
        self.as_it_stands().await
    }

    async fn begin(
        &self,
        severity: Option<&str>,
        since: Option<(DateTime<Utc>, String)>,
        go: Vec<Chosen>,
    ) -> Result<(), Failure> {
        let mut wishes = Vec::new();
        if let Some(severity) = severity {
            wishes.push(Command::DeclareSeverity {
                severity: severity.to_owned(),
            });
        }
        let (began_at, source) = since.unwrap_or_else(|| {
            (
                self.handle.incident().opened_at,
                "when it was opened: --since was not given".to_owned(),
            )
        });
        wishes.push(Command::SetBegan { began_at, source });
        wishes.push(Command::Plan { go });
        for wish in wishes {
            let granted = self.handle.wish(wish).await;
            granted.map_err(|r| refused("the plan", &r))?;
        }
        self.handle.pin_all().await;
        self.handle.settle().await;
        Ok(())
    }

    /// Starts every step whose turn has come, one after the other, until the end or until a person is
    /// needed.
    async fn go_on(&mut self, fresh: bool) -> Result<Exit, Failure> {
        loop {
            self.wait_for_all(None).await?;
            let incident = self.handle.incident();
            if incident.recovered_at.is_some() && !fresh {
                return self.finish(verdict(&incident)).await;
            }
            if let Some(exit) = self.halted(&incident).await {
                return self.finish(exit).await;
            }
            let Some(next) = incident.next_step().map(|s| s.plan.step.clone()) else {
                break;
            };
            let exit = self.start(&next, None).await?;
            if exit != Exit::Done {
                return self.finish(exit).await;
            }
        }
        self.recover().await
    }

    /// Something that keeps the plan from going on.
    async fn halted(&self, incident: &Incident) -> Option<Exit> {
        for step in &incident.steps {
            match step.state() {
                StepState::Failed => {
                    self.complain(step);
                    return Some(Exit::Failed);
                }
                StepState::Unknown | StepState::Unverified => {
                    self.tell(&format!(
                        "{}: {}; look at it, then: blackstart resume {} --headless --continue --retry {}",
                        step.plan.step,
                        step.reason().unwrap_or_else(|| step.state().as_str().to_owned()),
                        incident.id,
                        step.plan.step,
                    ));
                    return Some(Exit::PersonNeeded);
                }
                StepState::Succeeded if step.fetch_again => {
                    self.tell(&format!(
                        "{}: fetch again: its secret was only in memory: --retry {}",
                        step.plan.step, step.plan.step
                    ));
                    return Some(Exit::PersonNeeded);
                }
                StepState::Running => {
                    self.tell(&format!(
                        "{} is running without supervisor: how it ends will not be known; wait for it, or stop it in the cockpit",
                        step.plan.step
                    ));
                    return Some(Exit::PersonNeeded);
                }
                StepState::Pending | StepState::Succeeded | StepState::Skipped => {}
            }
        }
        None
    }

    /// Starts a step and waits until it has ended, with every try that its runbook asks for.
    async fn start(&mut self, step: &str, reason: Option<&str>) -> Result<Exit, Failure> {
        let incident = self.handle.incident();
        let all = incident.steps.iter().map(|s| s.plan.step.as_str());
        let full = find_step(all, step)
            .map_err(|e| Failure::usage(e.to_string(), ""))?
            .to_owned();
        let start = Start {
            typed: self.said.approval(&full).map(str::to_owned),
            saw: self
                .said
                .confirms(&full)
                .then(|| "confirmed on the command line".to_owned()),
            reason: reason.map(str::to_owned),
            step: full.clone(),
            ..Start::default()
        };
        let started = tokio::select! {
            started = self.handle.start(start) => started,
            () = interrupted() => return Err(self.interrupted()),
        };
        if let Err(refusal) = started {
            let failure = refused(&full, &refusal);
            let exit = self.exit_of(&refusal, failure.exit);
            self.tell(&format!("{}\n  → {}", failure.what, failure.next));
            return Ok(exit);
        }
        self.wait_for_all(Some(&full)).await?;
        let incident = self.handle.incident();
        let Some(step) = incident.step(&full) else {
            return Ok(Exit::Failed);
        };
        Ok(match step.state() {
            StepState::Succeeded | StepState::Skipped => Exit::Done,
            StepState::Failed => {
                self.complain(step);
                Exit::Failed
            }
            StepState::Pending
            | StepState::Running
            | StepState::Unverified
            | StepState::Unknown => Exit::PersonNeeded,
        })
    }

    /// A target that somebody named beforehand and that is another is the wrong one.
    fn exit_of(&self, refusal: &Refusal, otherwise: Exit) -> Exit {
        match refusal {
            Refusal::UnconfirmedTarget { system, .. }
                if self.said.accept.iter().any(|(s, _)| s == system) =>
            {
                Exit::WrongTarget
            }
            _ => otherwise,
        }
    }

    /// Waits until nothing runs and nothing is still to be tried or looked up.
    async fn wait_for_all(&mut self, started: Option<&str>) -> Result<(), Failure> {
        let mut watch = self.handle.watch();
        let mut hup = interrupts();
        loop {
            let incident = watch.borrow_and_update().clone();
            let pending = incident.steps.iter().find(|s| unsettled(s, started));
            if pending.is_none() {
                return Ok(());
            }
            tokio::select! {
                changed = watch.changed() => {
                    changed.map_err(|_| Failure::new(Exit::Failed, "the engine has ended", ""))?;
                }
                () = hup.any() => return Err(self.interrupted()),
            }
        }
    }

    fn interrupted(&self) -> Failure {
        let id = self.handle.dir().id.clone();
        let runs: Vec<String> = self
            .handle
            .incident()
            .running()
            .map(|(step, _)| step.to_owned())
            .collect();
        let goes_on = match runs.is_empty() {
            true => "nothing was running".to_owned(),
            false => format!("{} goes on running", runs.join(", ")),
        };
        Failure::new(
            Exit::PersonNeeded,
            format!("interrupted; {goes_on}"),
            format!("blackstart resume {id} --headless --continue"),
        )
    }

    async fn recover(&self) -> Result<Exit, Failure> {
        let incident = self.handle.incident();
        let unconfirmed: Vec<_> = incident
            .pins
            .iter()
            .filter_map(|(s, p)| Some((s, p.proposed.as_ref()?)))
            .collect();
        if let Some((system, (new, _))) = unconfirmed.first() {
            let refusal = Refusal::UnconfirmedTarget {
                system: (*system).clone(),
                fingerprint: new.fingerprint(),
            };
            let failure = refused("recovery", &refusal);
            self.tell(&format!("{}\n  → {}", failure.what, failure.next));
            return self.finish(self.exit_of(&refusal, failure.exit)).await;
        }
        let mut hup = interrupts();
        tokio::select! {
            () = self.handle.check_recovery() => {}
            () = hup.any() => return Err(self.interrupted()),
        }
        let incident = self.handle.incident();
        self.finish(verdict(&incident)).await
    }

    /// Without `--continue`: what was waited for decides.
    async fn as_it_stands(&self) -> Result<Exit, Failure> {
        let incident = self.handle.incident();
        if let Some(exit) = self.halted(&incident).await {
            return self.finish(exit).await;
        }
        let left = incident
            .steps
            .iter()
            .filter(|s| !s.state().is_done())
            .count();
        if left > 0 {
            self.tell(&format!(
                "{left} steps are left: blackstart resume {} --headless --continue",
                incident.id
            ));
        }
        let exit = match incident.recovered_at {
            Some(_) => verdict(&incident),
            None => Exit::Done,
        };
        self.finish(exit).await
    }

    /// Says how it stands and lets go of the incident.
    async fn finish(&self, exit: Exit) -> Result<Exit, Failure> {
        self.handle.settle().await;
        let incident = self.handle.incident();
        self.flush().await;
        let dir = self.handle.dir();
        if self.said.json {
            let head = dir.load().map(|l| l.head).unwrap_or_default();
            say(&json!({"summary": summary(&incident, &dir.path, &head)}).to_string());
        } else {
            say(&incidents::picture(&incident));
            say(&format!("blackstart show {}", incident.id));
        }
        Ok(exit)
    }

    /// Returns when every entry so far is printed.
    async fn flush(&self) {
        if self.lines.send(String::new()).is_ok() {
            self.printed.notified().await;
        }
    }

    fn complain(&self, step: &PlannedStep) {
        let reason = step.reason().unwrap_or_default();
        self.tell(&format!("{} failed: {reason}", step.plan.step));
        let causes = step.attempts.last().and_then(|a| a.causes.as_ref());
        match causes.map(|c| c.first()) {
            Some(Some(best)) => {
                self.tell(&format!(
                    "  likely cause: {}\n  fix: {}",
                    best.cause, best.fix
                ));
            }
            Some(None) => self.tell("  no row of the failure table matches: one should be written"),
            None => {}
        }
        let id = &self.handle.dir().id;
        self.tell(&format!(
            "  → blackstart resume {id} --headless --continue --retry {}",
            step.plan.step
        ));
    }

    /// To stderr: stdout is for what programs read.
    fn tell(&self, text: &str) {
        use std::io::Write;
        let text = format!("{}\n", Clean::new(text));
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// Still running; or failed with a look-up to come; or with tries to come that this process asked for.
fn unsettled(step: &PlannedStep, started: Option<&str>) -> bool {
    let Some(last) = step.attempts.last() else {
        return false;
    };
    let Some(ending) = &last.ending else {
        // Nobody can tell how a command without supervisor will end, so it is not waited for.
        return !last.unsupervised;
    };
    let failed = matches!(ending.outcome, Outcome::Failed | Outcome::TimedOut);
    let tries = started == Some(step.plan.step.as_str()) && last.tries_left > 0 && !last.stop_asked;
    failed && (last.causes.is_none() || tries)
}

fn verdict(incident: &Incident) -> Exit {
    match (incident.rto_actual_s(), incident.objectives().rto_s) {
        (None, _) => Exit::Failed,
        (Some(actual), Some(target)) if actual > target => Exit::OutsideRto,
        (Some(_), _) => Exit::Done,
    }
}

/// INT, TERM and HUP, listened to as long as this lives.
struct Interrupts(Vec<tokio::signal::unix::Signal>);

fn interrupts() -> Interrupts {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    Interrupts(kinds.into_iter().filter_map(|k| signal(k).ok()).collect())
}

impl Interrupts {
    async fn any(&mut self) {
        let all = self.0.iter_mut().map(|s| Box::pin(s.recv()));
        let _ = futures::future::select_all(all).await;
    }
}

async fn interrupted() {
    interrupts().any().await;
}
