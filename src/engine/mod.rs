//! The engine: sole owner of an incident. Everyone else proposes; it decides, writes, applies, acts.
//!
//! ```text
//!  ask ──► decide ──► write ──► apply ──► act
//!   ▲      (pure)    (fsync)    (pure)   (edge)
//!   │                             │         │
//!  keys                         draw     reports ──► ask …
//! ```

mod act;
mod along;
mod causes;
mod given;
mod handle;
mod identity;
mod open;
mod sight;
mod vault;

pub use along::{AllLive, Live};
pub use given::{Given, Sources, Value, age_of, baseline_values};
pub use handle::{Armed, Handle, Started};
pub use open::{OpenError, Opening, SiteFile, reopen};
pub use sight::shown_command;
pub use vault::Vault;

use crate::{
    checks::Scope,
    clock,
    domain::{
        decide::{self, Command, Refusal, Report, Sight, Start},
        event::{Cause, CheckResult, Effect, Entry, Event, Outcome, PinnedBy},
        incident::Incident,
        redact::{Redactor, Sealed},
        runbook::Runbook,
        site::Baseline,
        text::Clean,
    },
    journal::Journal,
    store::{IncidentDir, WriteLock},
    supervisor::spec::ToAttempt,
};
use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// What is asked of the engine. One channel, one order.
pub(crate) enum Ask {
    Wish(Command, oneshot::Sender<Result<(), Refusal>>),
    Secret {
        name: String,
        value: String,
        source: String,
        done: Option<oneshot::Sender<Result<(), Refusal>>>,
    },
    Start(Start, oneshot::Sender<Result<Started, Refusal>>),
    /// The edge has looked before a start.
    Sighted(Start, Sight, oneshot::Sender<Result<Started, Refusal>>),
    Report(Report),
    /// The end of a step that moved targets, with who they are now.
    Moved(Report, Vec<Report>),
    /// What a log says; `None` where there is nothing to say.
    LookedUp {
        step: String,
        n: u32,
        causes: Option<Vec<Cause>>,
    },
    /// Everything asked before has been taken in, and every log looked up; the summary is kept.
    Settle(oneshot::Sender<()>),
    ToAttempt(String, ToAttempt),
    /// Read-only looks, for triage, hints and probes.
    Look(Look, mpsc::Sender<CheckResult>),
    PinAll(oneshot::Sender<()>),
    CheckRecovery(oneshot::Sender<()>),
    RunProbe {
        step: String,
        row: String,
    },
}

/// What is looked at.
pub enum Look {
    Systems(Vec<String>),
    Checks(Vec<crate::domain::runbook::Check>),
    /// Whether every cluster allows what the plan needs.
    Rights,
    /// What a native action would change, before anybody starts it.
    Preview {
        step: String,
        undo: bool,
    },
}

/// Engine, alone in its task.
pub(crate) struct Engine {
    dir: IncidentDir,
    _lock: WriteLock,
    journal: Journal,
    incident: Incident,
    runbook: Arc<Runbook>,
    /// SHA-256 of the secrets that the site recorded, by name.
    recorded_secrets: HashMap<String, String>,
    baselines: Vec<Baseline>,
    /// Names that no command may inherit: secrets came from them.
    hidden: Vec<String>,
    vault: Vault,
    redactor: Arc<Redactor>,
    who: Clean,
    /// Where scripts run: the folder of the runbook's file.
    workdir: PathBuf,
    program: PathBuf,
    tell: mpsc::WeakSender<Ask>,
    asks: mpsc::Receiver<Ask>,
    view: watch::Sender<Arc<Incident>>,
    lines: Option<mpsc::UnboundedSender<String>>,
    /// Steps between the wish to start and the decision.
    starting: BTreeSet<String>,
    /// Lines to attempts that run.
    attempts: HashMap<(String, u32), mpsc::Sender<ToAttempt>>,
    summarized: Option<std::time::Instant>,
    progress: watch::Sender<Option<(String, CheckResult)>>,
    live: watch::Sender<along::AllLive>,
    /// How many logs are being looked up, and who waits for the end of that.
    looking: usize,
    settling: Vec<oneshot::Sender<()>>,
    /// The runbook's failure rows, made ready for the search when they are first asked.
    rules: Arc<along::LazyRules>,
}

impl Engine {
    /// Serves until every handle is gone.
    async fn serve(mut self) {
        while let Some(ask) = self.asks.recv().await {
            self.take(ask).await;
        }
        self.dir.keep_summary(&self.incident, self.journal.len());
    }

    async fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Wish(command, reply) => {
                let answer = self.wish(command);
                let _ = reply.send(answer);
            }
            Ask::Secret {
                name,
                value,
                source,
                done,
            } => {
                let answer = self.hold_secret(&name, value, &source);
                if let Some(done) = done {
                    let _ = done.send(answer);
                }
            }
            Ask::Start(start, reply) => self.start(start, reply),
            Ask::Sighted(start, sight, reply) => {
                self.starting.remove(&start.step);
                let answer = self.sighted(&start, &sight).await;
                let _ = reply.send(answer);
            }
            Ask::LookedUp { step, n, causes } => {
                self.looking -= 1;
                if let Some(causes) = causes {
                    self.report(Report::Causes { step, n, causes });
                }
                self.settle();
            }
            Ask::Report(report) => self.report(report),
            Ask::Moved(ended, moved) => self.moved(ended, moved),
            Ask::Settle(done) => {
                self.settling.push(done);
                self.settle();
            }
            Ask::ToAttempt(step, message) => self.tell_attempt(&step, message),
            Ask::Look(look, results) => self.look(look, results),
            Ask::PinAll(done) => self.pin_all(done),
            Ask::CheckRecovery(done) => self.check_recovery(done),
            Ask::RunProbe { step, row } => self.run_probe(step, row),
        }
    }

    fn wish(&mut self, command: Command) -> Result<(), Refusal> {
        let began = matches!(command, Command::SetBegan { .. });
        let events = decide::decide(&self.incident, &self.runbook, command)?;
        self.commit(events)?;
        if began {
            self.take_baselines()?;
        }
        Ok(())
    }

    /// Once it is known when the incident began: the values of peace time from before that.
    fn take_baselines(&mut self) -> Result<(), Refusal> {
        let Some((began, _)) = self.incident.began_at else {
            return Ok(());
        };
        let values = baseline_values(&self.runbook, &self.baselines, began, |name| {
            let held = self.incident.values.get(name);
            held.is_none_or(|h| given::is_baseline(&h.source))
        });
        for value in values {
            let held = self.incident.values.get(&value.name);
            if held.is_none_or(|h| h.source != value.source) {
                let Value {
                    name,
                    value,
                    source,
                    ..
                } = value;
                self.wish(Command::SetValue {
                    name,
                    value,
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// Fills in the defaults that follow from the values that are held now.
    fn follow_defaults(&mut self) -> Result<(), Refusal> {
        for value in given::following(&self.runbook, &self.incident.values) {
            self.wish(Command::SetValue {
                name: value.name,
                value: value.value,
                source: value.source,
            })?;
        }
        Ok(())
    }

    /// Is this another secret than the one that the site recorded?
    fn is_another(&self, name: &str, value: &str) -> bool {
        let recorded = self.recorded_secrets.get(name);
        recorded.is_some_and(|sha| *sha != crate::store::sha256(value.as_bytes()))
    }

    fn hold_secret(&mut self, name: &str, value: String, source: &str) -> Result<(), Refusal> {
        if self.is_another(name, &value) {
            return Err(Refusal::AnotherSecret(name.to_owned()));
        }
        let fingerprint = self.vault.hold(name, value);
        self.redactor = Arc::new(self.vault.redactor());
        self.wish(Command::HoldSecret {
            name: name.to_owned(),
            source: source.to_owned(),
            fingerprint,
        })
    }

    /// Writes the events together, applies them, and only then acts on what follows from them.
    fn commit(&mut self, events: Vec<Event>) -> Result<(), Refusal> {
        if events.is_empty() {
            return Ok(());
        }
        let first = self.journal.next_seq();
        let (at, boot_ms) = (clock::now(), clock::boot_ms());
        let sealed: Vec<Sealed> = (first..)
            .zip(events)
            .map(|(seq, event)| {
                self.redactor.seal(&Entry {
                    v: 1,
                    seq,
                    at,
                    boot_ms,
                    who: self.who.clone(),
                    event,
                })
            })
            .collect();
        let lines = self
            .journal
            .append_all(&sealed)
            .map_err(|e| Refusal::CannotRecord(e.to_string()))?;
        for (sealed, line) in sealed.iter().zip(lines) {
            self.incident.apply(sealed.entry());
            if let Some(lines) = &self.lines {
                let _ = lines.send(line);
            }
        }
        self.view.send_replace(Arc::new(self.incident.clone()));
        self.summarize();
        if sealed.iter().any(|s| s.entry().event.holds_values()) {
            self.follow_defaults()?;
        }
        for effect in sealed.iter().filter_map(|s| s.entry().event.effect()) {
            self.act(effect);
        }
        Ok(())
    }

    fn settle(&mut self) {
        if self.looking > 0 || self.settling.is_empty() {
            return;
        }
        self.dir.keep_summary(&self.incident, self.journal.len());
        for done in self.settling.drain(..) {
            let _ = done.send(());
        }
    }

    fn summarize(&mut self) {
        let due = self
            .summarized
            .is_none_or(|at| at.elapsed() > Duration::from_secs(1));
        if due {
            self.dir.keep_summary(&self.incident, self.journal.len());
            self.summarized = Some(std::time::Instant::now());
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { step, n } => self.launch(&step, n),
            Effect::Stop { step, n } => self.stop(&step, n),
            Effect::LookUp { step, n } => self.look_up(&step, n),
        }
    }

    fn report(&mut self, report: Report) {
        if let Report::Ended {
            step, ending, set, ..
        } = &report
        {
            let replaces = self.replaced_by(step, ending.outcome);
            if !replaces.is_empty() {
                let mut scope = self.scope();
                let captured = ending
                    .captured
                    .iter()
                    .map(|(n, v)| (n.clone(), v.to_string()));
                scope.values.plain.extend(captured);
                scope.values.plain.extend(set.iter().cloned());
                self.read_moved(scope, replaces, report);
                return;
            }
        }
        let moved = match &report {
            Report::Moved { system, .. } => Some(system.clone()),
            _ => None,
        };
        let news = self.record(report);
        if let Some(system) = moved.filter(|_| news) {
            self.accept_beforehand(&system);
        }
    }

    /// Takes a report in; true when it was news.
    fn record(&mut self, report: Report) -> bool {
        let ended = match &report {
            Report::Ended {
                step, n, ending, ..
            } => Some((step.clone(), *n, ending.outcome)),
            _ => None,
        };
        let events = decide::take(&self.incident, &self.runbook, report, clock::now());
        let news = !events.is_empty();
        if let Err(refusal) = self.commit(events) {
            tracing::error!(%refusal, "a report could not be recorded");
            return false;
        }
        if let Some((step, n, outcome)) = ended.filter(|_| news) {
            self.attempts.remove(&(step.clone(), n));
            self.after(&step, n, outcome);
        }
        news
    }

    /// The systems that a step has moved, when it did.
    fn replaced_by(&self, step: &str, outcome: Outcome) -> Vec<String> {
        let is_undo = self
            .incident
            .step(step)
            .and_then(|s| s.running())
            .is_none_or(|a| a.kind == crate::domain::event::AttemptKind::Undo);
        match self.runbook.step(step) {
            Some(written) if outcome == Outcome::Succeeded && !is_undo => {
                written.replaces.iter().map(|s| s.text.clone()).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// The end of a step and its new targets are recorded together: nothing starts in between.
    fn moved(&mut self, ended: Report, moved: Vec<Report>) {
        if !self.record(ended) {
            return;
        }
        for report in moved {
            let Report::Moved { system, .. } = &report else {
                continue;
            };
            let system = system.clone();
            if self.record(report) {
                self.accept_beforehand(&system);
            }
        }
    }

    /// What follows the end of an attempt: the next of the tries that were asked for.
    fn after(&mut self, step: &str, n: u32, outcome: Outcome) {
        let Some(written) = self.runbook.step(step) else {
            return;
        };
        match outcome {
            Outcome::Failed | Outcome::TimedOut => {
                let every = written.every.unwrap_or(Duration::from_secs(5));
                let attempt = self.incident.attempt(step, n);
                let tries = attempt
                    .filter(|a| !a.stop_asked)
                    .map_or(0, |a| a.tries_left);
                if tries > 0 {
                    self.try_again(step, tries - 1, every);
                }
            }
            Outcome::Succeeded | Outcome::Cancelled | Outcome::Unknown => {}
        }
    }

    /// A new target that somebody accepted before it was there.
    fn accept_beforehand(&mut self, system: &str) -> bool {
        let pin = self.incident.pins.get(system);
        let Some((new, _)) = pin.and_then(|p| p.proposed.clone()) else {
            return false;
        };
        let old = pin.and_then(|p| p.identity.as_ref());
        // Who named the system has not named another login to it.
        let login = old.is_some_and(|old| old.as_another(&new));
        let fits = |said: &str| match login {
            true => said == new.as_user(),
            false => new.is_accepted_as(said),
        };
        let accepted = self
            .incident
            .accepted
            .iter()
            .any(|(s, fingerprint)| s == system && fits(fingerprint));
        if accepted {
            let event = Event::IdentityPinned {
                system: system.to_owned(),
                identity: new,
                by: PinnedBy::Person,
            };
            if let Err(refusal) = self.commit(vec![event]) {
                tracing::error!(%refusal, "the new target could not be recorded");
                return false;
            }
        }
        accepted
    }

    fn scope(&self) -> Scope {
        let mut scope = sight::scope(&self.runbook, &self.incident, &self.vault, &self.workdir);
        scope.hidden.clone_from(&self.hidden);
        scope
    }
}
