//! The edge: starting and adopting attempts, looking, looking up. Each returns at once; what it finds
//! comes back as a report.

use super::{
    Ask, Engine, Look, Started, along,
    identity::{IDENTITY, first_contact, new_identity, read_identity},
    sight,
};
use crate::{
    actions, checks,
    domain::{
        decide::{self, IdentityRead, Refusal, Report, Sight, Start},
        event::{AttemptKind, CheckPhase, CheckResult, Ending, Outcome},
        native, plan,
        runbook::Danger,
    },
    store::report_of,
    supervisor::{
        self, Fate, LaunchError,
        adopt::stop_unsupervised,
        launch::Line,
        spec::{FromAttempt, ToAttempt},
    },
};
use futures::future::join_all;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

impl Engine {
    /// A wish to start: refused at once, or looked at first (who the targets are, whether it is
    /// already done), then decided.
    pub(super) fn start(&mut self, start: Start, reply: oneshot::Sender<Result<Started, Refusal>>) {
        let mut start = start;
        let may = decide::may_start(&self.incident, &self.runbook, &start);
        let may = match sight::sandbox_gone(&self.incident).map_or(may, Err) {
            Ok(planned) => planned,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        let (name, procedure) = (may.plan.step.clone(), may.plan.procedure.clone());
        start.step.clone_from(&name);
        if !self.starting.insert(name.clone()) {
            let _ = reply.send(Err(Refusal::Running(name)));
            return;
        }
        let (Some(step), Some(tell)) = (self.runbook.step(&name).cloned(), self.tell.upgrade())
        else {
            let _ = reply.send(Err(Refusal::Gone));
            return;
        };
        if !start.undo {
            start
                .tries_left
                .get_or_insert(step.attempts.saturating_sub(1));
        }
        let scope = self.scope();
        let values = sight::shown_values(&self.incident);
        let command = sight::shown_command(&self.runbook, &values, &step, start.undo);
        let confirm = step.confirm.as_deref().map(|c| scope.values.masked(c));
        let targets = if step.danger == Danger::None && !start.undo {
            Vec::new()
        } else {
            plan::targets(&self.runbook, &procedure, &step)
        };
        let redactor = self.redactor.clone();
        tokio::spawn(async move {
            let identities = join_all(targets.iter().map(|name| async {
                let read = read_identity(&scope, name).await;
                read.map(|read| (name.clone(), read))
            }));
            let unless = async {
                match step
                    .unless
                    .as_ref()
                    .filter(|_| !start.undo && !start.anyway)
                {
                    Some(check) => {
                        let mut once = check.clone();
                        once.within = None;
                        Some(checks::run(&once, CheckPhase::Unless, &scope, &redactor).await)
                    }
                    None => None,
                }
            };
            let (identities, unless) = tokio::join!(identities, unless);
            let sight = Sight {
                identities: identities.into_iter().flatten().collect(),
                unless,
                command,
                confirm,
            };
            let _ = tell.send(Ask::Sighted(start, sight, reply)).await;
        });
    }

    pub(super) async fn sighted(
        &mut self,
        start: &Start,
        sight: &Sight,
    ) -> Result<Started, Refusal> {
        let refused = self.refused_beforehand(sight);
        let decided = match refused {
            Some(refusal) => Err((refusal, Vec::new())),
            None => decide::start(&self.incident, &self.runbook, start, sight),
        };
        match decided {
            Ok(events) => {
                self.commit(events)?;
                let planned = self.incident.step(&start.step);
                Ok(match planned.and_then(|p| p.running()) {
                    Some(attempt) => Started::Attempt(attempt.n),
                    None => Started::AlreadyDone,
                })
            }
            Err((refusal, events)) => {
                self.commit(events)?;
                if let Refusal::UnconfirmedTarget { system, .. } = &refusal
                    && self.accept_beforehand(system)
                {
                    // Somebody named this very target before it could be met.
                    return Box::pin(self.sighted(start, sight)).await;
                }
                Err(refusal)
            }
        }
    }

    /// Somebody named the fingerprint that a system must have, and at first contact it has another.
    fn refused_beforehand(&self, sight: &Sight) -> Option<Refusal> {
        for (system, read) in &sight.identities {
            let IdentityRead::Is(seen) = read else {
                continue;
            };
            let known = self
                .incident
                .pins
                .get(system)
                .is_some_and(|p| p.identity.is_some());
            let mut named = self
                .incident
                .accepted
                .iter()
                .filter(|(s, _)| s == system)
                .peekable();
            if known || named.peek().is_none() || self.moves(system) {
                continue;
            }
            if !named.any(|(_, fingerprint)| seen.is_accepted_as(fingerprint)) {
                return Some(Refusal::WrongTarget {
                    system: system.clone(),
                    reason: format!(
                        "`{system}` is {}, which is not what was accepted",
                        seen.fingerprint()
                    ),
                });
            }
        }
        None
    }

    /// Does a step of the plan move this system?
    fn moves(&self, system: &str) -> bool {
        self.incident.steps.iter().any(|s| {
            let written = self.runbook.step(&s.plan.step);
            written.is_some_and(|w| w.replaces.iter().any(|n| n.text == system))
        })
    }

    /// The attempt is written; now it is started.
    pub(super) fn launch(&mut self, step: &str, n: u32) {
        let (Some(attempt), Some(written), Some(tell)) = (
            self.incident.attempt(step, n),
            self.runbook.step(step),
            self.tell.upgrade(),
        ) else {
            return;
        };
        let dir = self.dir.path.join(&attempt.dir);
        let undo = attempt.kind == AttemptKind::Undo;
        let spec = sight::spec(
            &self.runbook,
            &self.incident,
            &self.vault,
            written,
            undo,
            dir.clone(),
            &self.workdir,
            (120, 40),
            &self.recorded_secrets,
        );
        let hidden = self.hidden.clone();
        let program = self.program.clone();
        let (wish, wishes) = mpsc::channel(64);
        self.attempts.insert((step.to_owned(), n), wish);
        let (step, progress) = (step.to_owned(), self.progress.clone());
        let along = self.read_along(&step, &dir);
        tokio::spawn(async move {
            let _along = along;
            let launched =
                tokio::task::spawn_blocking(move || supervisor::launch(&program, &spec, &hidden))
                    .await;
            if let Ok(Err(e @ (LaunchError::Folder(_) | LaunchError::Spawn(_)))) = launched {
                let report = Report::Ended {
                    step,
                    n,
                    ending: Ending::bare(Outcome::Failed, &e.to_string()),
                    set: Vec::new(),
                };
                let _ = tell.send(Ask::Report(report)).await;
                return;
            }
            watch_attempt(step, n, dir, wishes, tell, progress).await;
        });
    }

    /// An attempt of an earlier cockpit: watched as if it were ours.
    pub(super) fn adopt(&mut self, step: &str, n: u32) {
        let (Some(attempt), Some(tell)) = (self.incident.attempt(step, n), self.tell.upgrade())
        else {
            return;
        };
        let dir = self.dir.path.join(&attempt.dir);
        let (wish, wishes) = mpsc::channel(64);
        self.attempts.insert((step.to_owned(), n), wish);
        let progress = self.progress.clone();
        let along = self.read_along(step, &dir);
        let step = step.to_owned();
        tokio::spawn(async move {
            let _along = along;
            watch_attempt(step, n, dir, wishes, tell, progress).await;
        });
    }

    fn read_along(&self, step: &str, dir: &Path) -> along::Stop {
        let (rules, told) = (self.rules.clone(), self.live.clone());
        along::read_along(step.to_owned(), dir, rules, told)
    }

    pub(super) fn tell_attempt(&mut self, step: &str, message: ToAttempt) {
        let running = self
            .incident
            .step(step)
            .and_then(|s| s.running())
            .map(|a| a.n);
        if let Some(line) = running.and_then(|n| self.attempts.get(&(step.to_owned(), n))) {
            let _ = line.try_send(message);
        }
    }

    pub(super) fn stop(&mut self, step: &str, n: u32) {
        let Some(attempt) = self.incident.attempt(step, n) else {
            return;
        };
        if attempt.unsupervised {
            let dir = self.dir.path.join(&attempt.dir);
            if let Err(e) = stop_unsupervised(&dir, rustix::process::Signal::TERM) {
                tracing::warn!(%e, step, "the command without supervisor could not be stopped");
            }
            return;
        }
        self.tell_attempt(step, ToAttempt::Stop);
    }

    /// Looks, all at once; each answer is told as it comes.
    pub(super) fn look(&mut self, look: Look, results: mpsc::Sender<CheckResult>) {
        let (scope, redactor) = (self.scope(), self.redactor.clone());
        let spawn = |look: futures::future::BoxFuture<'static, CheckResult>| {
            let results = results.clone();
            tokio::spawn(async move {
                let _ = results.send(look.await).await;
            });
        };
        match look {
            Look::Systems(names) => {
                for name in names {
                    let (scope, redactor) = (scope.clone(), redactor.clone());
                    spawn(Box::pin(async move {
                        checks::probe(&name, &scope, &redactor).await
                    }));
                }
            }
            Look::Rights => {
                let values = sight::shown_values(&self.incident);
                let steps: Vec<&str> = self
                    .incident
                    .steps
                    .iter()
                    .filter(|s| !s.state().is_done())
                    .map(|s| s.plan.step.as_str())
                    .collect();
                let fill = |words: &serde_json::Value| values.masked_json(words);
                for (name, rights) in native::of_plan(&self.runbook, &steps, &fill) {
                    let (scope, redactor) = (scope.clone(), redactor.clone());
                    spawn(Box::pin(async move {
                        checks::rights::allowed(&name, &rights, &scope, &redactor).await
                    }));
                }
            }
            Look::Preview { step, undo } => {
                let words = self
                    .runbook
                    .step(&step)
                    .and_then(|s| s.native(undo))
                    .cloned();
                let Some(words) = words else { return };
                let name = words["system"].as_str().unwrap_or_default();
                let (Ok(system), Ok(words)) =
                    (checks::system(&scope, name), scope.values.json(&words))
                else {
                    return;
                };
                let workdir = self.workdir.clone();
                spawn(Box::pin(async move {
                    let values = &scope.values;
                    actions::preview(&system, &words, values, &workdir, &redactor).await
                }));
            }
            Look::Checks(checks) => {
                for mut check in checks {
                    check.within = None;
                    check.timeout = Some(check.timeout.unwrap_or(IDENTITY).min(IDENTITY));
                    let (scope, redactor) = (scope.clone(), redactor.clone());
                    spawn(Box::pin(async move {
                        checks::run(&check, CheckPhase::Probe, &scope, &redactor).await
                    }));
                }
            }
        }
    }

    /// First contact with every target of the plan.
    pub(super) fn pin_all(&mut self, done: oneshot::Sender<()>) {
        let mut names: Vec<String> = Vec::new();
        for planned in &self.incident.steps {
            if let Some(step) = self.runbook.step(&planned.plan.step) {
                names.extend(plan::targets(&self.runbook, &planned.plan.procedure, step));
            }
        }
        names.sort();
        names.dedup();
        let moving: Vec<String> = names.iter().filter(|n| self.moves(n)).cloned().collect();
        names.retain(|n| {
            self.incident
                .pins
                .get(n)
                .is_none_or(|p| p.identity.is_none())
        });
        let Some(tell) = self.tell.upgrade() else {
            return;
        };
        let (scope, accepted) = (self.scope(), self.incident.accepted.clone());
        tokio::spawn(async move {
            let reads = join_all(names.iter().map(|name| async {
                match read_identity(&scope, name).await? {
                    IdentityRead::Is(identity) => Some((name.clone(), identity)),
                    IdentityRead::NoAnswer(..) => None,
                }
            }));
            for (system, identity) in reads.await.into_iter().flatten() {
                // Whoever named another leaves it to the first change to be refused.
                let named = accepted.iter().any(|(s, _)| *s == system);
                let fits = accepted
                    .iter()
                    .any(|(s, f)| *s == system && identity.is_accepted_as(f));
                if named && !fits && !moving.contains(&system) {
                    continue;
                }
                let by = first_contact(&accepted, &system, &identity);
                let report = Report::Identity {
                    system,
                    identity,
                    by,
                };
                let _ = tell.send(Ask::Report(report)).await;
            }
            let _ = done.send(());
        });
    }

    /// Who the replaced systems are now, under the values that the step set; then its end is taken in.
    pub(super) fn read_moved(
        &mut self,
        scope: checks::Scope,
        replaces: Vec<String>,
        ended: Report,
    ) {
        let Some(tell) = self.tell.upgrade() else {
            return;
        };
        let step = match &ended {
            Report::Ended { step, .. } => step.clone(),
            _ => String::new(),
        };
        tokio::spawn(async move {
            let reads = join_all(replaces.into_iter().map(|system| async {
                let identity = new_identity(&scope, &system).await;
                Report::Moved {
                    system,
                    identity,
                    step: step.clone(),
                }
            }));
            let moved = reads.await;
            let _ = tell.send(Ask::Moved(ended, moved)).await;
        });
    }

    /// The next of the tries that one start asked for; none after a reopening, since this is memory.
    pub(super) fn try_again(&mut self, step: &str, tries_left: u32, every: Duration) {
        let Some(tell) = self.tell.upgrade() else {
            return;
        };
        let start = Start {
            step: step.to_owned(),
            reason: Some("the next of the tries that were asked for".to_owned()),
            tries_left: Some(tries_left),
            ..Start::default()
        };
        let weak = tell.downgrade();
        tokio::spawn(async move {
            tokio::time::sleep(every).await;
            let Some(tell) = weak.upgrade() else { return };
            let (reply, answer) = oneshot::channel();
            let _ = tell.send(Ask::Start(start, reply)).await;
            drop(tell);
            let _ = answer.await;
        });
    }

    /// All of `recovered.when` in one pass.
    pub(super) fn check_recovery(&mut self, done: oneshot::Sender<()>) {
        let Some(tell) = self.tell.upgrade() else {
            return;
        };
        let (scope, redactor) = (self.scope(), self.redactor.clone());
        let when = self.runbook.recovered.when.clone();
        let moved: Vec<(String, String)> = self
            .incident
            .pins
            .iter()
            .filter_map(|(system, pin)| Some((system.clone(), pin.moved.clone()?)))
            .collect();
        tokio::spawn(async move {
            // A target that nobody has met since it was moved is met now.
            for (system, step) in moved {
                if let Some(identity) = new_identity(&scope, &system).await {
                    let identity = Some(identity);
                    let report = Report::Moved {
                        system,
                        identity,
                        step,
                    };
                    let _ = tell.send(Ask::Report(report)).await;
                }
            }
            let looks = when
                .iter()
                .map(|check| checks::run(check, CheckPhase::Verify, &scope, &redactor));
            let checks = join_all(looks).await;
            let _ = tell.send(Ask::Report(Report::Recovery { checks })).await;
            let _ = done.send(());
        });
    }
}

/// Follows an attempt until its fate is known. The end of the line is only a hint; the folder tells.
async fn watch_attempt(
    step: String,
    n: u32,
    dir: PathBuf,
    mut wishes: mpsc::Receiver<ToAttempt>,
    tell: mpsc::Sender<Ask>,
    progress: watch::Sender<Option<(String, CheckResult)>>,
) {
    let tell_weak = tell.downgrade();
    drop(tell);
    loop {
        if let Ok(mut line) = Line::connect(&dir).await {
            loop {
                tokio::select! {
                    message = line.next() => match message {
                        Some(FromAttempt::Secret { name, value }) => {
                            let Some(tell) = tell_weak.upgrade() else { return };
                            let source = "captured".to_owned();
                            let _ = tell.send(Ask::Secret { name, value, source, done: None }).await;
                        }
                        Some(FromAttempt::Progress(check)) => {
                            progress.send_replace(Some((step.clone(), check)));
                        }
                        None => break,
                    },
                    wish = wishes.recv() => match wish {
                        Some(wish) => {
                            let _ = line.tell(&wish).await;
                        }
                        None => return,
                    },
                }
            }
        }
        let fate = supervisor::fate(&dir);
        let over = !matches!(fate, Fate::Running | Fate::Unsupervised);
        if let Some(report) = report_of(&step, n, fate) {
            let Some(tell) = tell_weak.upgrade() else {
                return;
            };
            if tell.send(Ask::Report(report)).await.is_err() {
                return;
            }
        }
        if over {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
