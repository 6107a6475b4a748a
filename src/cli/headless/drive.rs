//! An incident driven through its plan, told as it goes.

use super::{Said, refused};
use crate::{
    cli::{Exit, Failure, given::ResumeArgs, incidents, say},
    domain::{
        decide::{Command, Refusal, Start},
        event::{Entry, Outcome},
        incident::{Attempt, Incident, PlannedStep, StepState},
        plan::{self, Chosen},
        runbook::find_step,
        site::{PROOF, TEAR_DOWN},
        text::Clean,
    },
    engine::Handle,
    export::{json::summary, timeline},
    offered::in_place,
};
use serde_json::json;
use std::sync::Arc;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Drives an incident through its plan, printing as it goes.
pub(super) struct Drive {
    handle: Handle,
    said: Said,
    /// Is a rehearsal removed however it ends?
    removes: bool,
    /// An empty line asks the printer to say that it has printed what came before.
    lines: mpsc::UnboundedSender<String>,
    printed: Arc<tokio::sync::Notify>,
}

impl Drive {
    pub(super) fn new(
        handle: Handle,
        said: Said,
        removes: bool,
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
                let entry: Option<Entry> = serde_json::from_str(&line).ok();
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
            removes,
            lines,
            printed,
        }
    }

    /// What `resume --headless` asks for: wait, plan, skip, retry, and only then go on.
    pub(super) async fn again(
        &mut self,
        args: &ResumeArgs,
        go: Option<Vec<Chosen>>,
        skips: &[(String, String)],
    ) -> Result<Exit, Failure> {
        self.wait_for_all(None).await?;
        if let Some(go) = go {
            let planned = self.handle.wish(Command::Plan { go }).await;
            planned.map_err(|r| refused("--go", &r))?;
        }
        self.leave_out(skips).await?;
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

    pub(super) async fn leave_out(&self, skips: &[(String, String)]) -> Result<(), Failure> {
        for (step, reason) in skips {
            let wish = Command::Skip {
                step: step.clone(),
                reason: reason.clone(),
            };
            let skipped = self.handle.wish(wish).await;
            skipped.map_err(|r| refused(step, &r))?;
        }
        Ok(())
    }

    /// Who the targets of the plan are, before anything is done to them.
    pub(super) async fn first_contact(&self) {
        self.handle.pin_all().await;
        self.handle.settle().await;
    }

    /// Starts every step whose turn has come, one after the other, until the end or until a person is
    /// needed.
    pub(super) async fn go_on(&mut self, fresh: bool) -> Result<Exit, Failure> {
        if self.handle.incident().steps.is_empty() {
            self.tell("this incident has no plan yet: choose what to recover in the cockpit");
            return self.end(Exit::PersonNeeded).await;
        }
        // Somebody else answers where the site's systems should be: nothing at all is started.
        if let Some((system, reason)) = self.handle.incident().refused.clone().filter(|_| fresh) {
            self.tell(&format!(
                "{reason}\n  → look again: blackstart site check NAME; is `{system}` the right one?"
            ));
            return self.end(Exit::WrongTarget).await;
        }
        loop {
            self.wait_for_all(None).await?;
            let incident = self.handle.incident();
            if incident.recovered_at.is_some() && !fresh {
                return self.end(verdict(&incident)).await;
            }
            if let Some(exit) = self.halted(&incident).await {
                return self.end(exit).await;
            }
            let Some(next) = incident.next_step() else {
                break;
            };
            // Before what was rehearsed is removed, it is asked whether it had recovered.
            if next.plan.procedure == TEAR_DOWN && incident.recovery.is_none() {
                self.handle.check_recovery().await;
            }
            let next = next.plan.step.clone();
            let exit = self.start(&next, None).await?;
            if exit != Exit::Done {
                return self.end(exit).await;
            }
        }
        if self.handle.runbook().rehearsal {
            return self.end(verdict(&self.handle.incident())).await;
        }
        self.recover().await
    }

    /// Says how it stands, once what is left of a rehearsal is removed, where that was asked for: that
    /// something had failed stays its result.
    async fn end(&mut self, ended: Exit) -> Result<Exit, Failure> {
        if !self.removes {
            return self.finish(ended).await;
        }
        let incident = self.handle.incident();
        // Where the proof has failed nothing was made.
        let proved = |s: &&PlannedStep| s.plan.procedure != PROOF || s.state().is_done();
        let left = incident
            .steps
            .iter()
            .take_while(proved)
            .filter(|s| s.plan.procedure == TEAR_DOWN && s.state() == StepState::Pending);
        let left: Vec<String> = left.map(|s| s.plan.step.clone()).collect();
        for step in left {
            let exit = self.start(&step, None).await?;
            if exit != Exit::Done {
                return self.finish(exit).await;
            }
        }
        self.finish(ended).await
    }

    /// Does a step that is still to come need what this one had fetched?
    fn is_wanted(&self, incident: &Incident, fetched: &PlannedStep) -> bool {
        let runbook = self.handle.runbook();
        let Some(step) = runbook.step(&fetched.plan.step) else {
            return true;
        };
        let left = incident.steps.iter().filter(|s| !s.state().is_done());
        let mut left = left.filter_map(|s| runbook.step(&s.plan.step));
        left.any(|later| {
            let needs = plan::needs(&runbook, later);
            step.capture
                .iter()
                .any(|(name, _)| needs.contains(&name.text))
        })
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
                StepState::Succeeded if step.fetch_again && self.is_wanted(incident, step) => {
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
            let id = &self.handle.dir().id;
            let next = match failure.next.is_empty() {
                true => {
                    format!("when that is settled: blackstart resume {id} --headless --continue")
                }
                false => failure.next,
            };
            self.tell(&format!("{}\n  → {next}", failure.what));
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
            say(&in_place(&format!("blackstart show {}", incident.id)));
        }
        Ok(exit)
    }

    /// Returns when every entry so far is printed.
    pub(super) async fn flush(&self) {
        if self.lines.send(String::new()).is_ok() {
            self.printed.notified().await;
        }
    }

    fn complain(&self, step: &PlannedStep) {
        let reason = step.reason().unwrap_or_default();
        self.tell(&format!("{} failed: {reason}", step.plan.step));
        let last = step.attempts.last();
        let best = last.and_then(|a| a.causes.as_ref()?.first());
        if let Some(best) = best {
            self.tell(&format!(
                "  likely cause: {}\n  fix: {}",
                best.cause, best.fix
            ));
        }
        if last.is_some_and(Attempt::is_unmatched) {
            self.tell("  no row of the failure table matches: one should be written");
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
        let text = format!("{}\n", Clean::new(&in_place(text)));
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
