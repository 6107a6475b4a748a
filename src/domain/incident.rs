//! The fold: an incident is what its entries say. `apply` is total and idempotent.

use super::{
    event::{
        AttemptKind, Cause, CheckResult, Ending, Entry, Event, Identity, Mode, Outcome, PhaseRef,
        PinnedBy, PlanStep, RunbookRef, Targets, World,
    },
    text::Clean,
};
use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentState {
    Open,
    Recovered,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    Pending,
    Running,
    Unverified,
    Succeeded,
    Failed,
    Skipped,
    Unknown,
}

impl StepState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Unverified => "unverified",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }

    /// May what comes after it begin?
    pub fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }
}

/// A value that is held: of a secret only that, and its fingerprint.
#[derive(Clone, Debug)]
pub struct Held {
    pub value: Option<String>,
    pub secret: bool,
    pub source: String,
    pub fingerprint: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub n: u32,
    pub kind: AttemptKind,
    pub dir: String,
    pub command: Clean,
    pub started_at: DateTime<Utc>,
    pub started_boot_ms: u64,
    pub saw: Option<Clean>,
    pub confirmed: Option<Clean>,
    pub out_of_order: Option<Clean>,
    pub tries_left: u32,
    pub stop_asked: bool,
    pub unsupervised: bool,
    pub ending: Option<Ending>,
    /// `None` until the look-up is done; empty: no row matches.
    pub causes: Option<Vec<Cause>>,
    pub probes: Vec<(String, CheckResult)>,
}

impl Attempt {
    pub fn is_running(&self) -> bool {
        self.ending.is_none()
    }
}

#[derive(Clone, Debug)]
pub struct PlannedStep {
    pub plan: PlanStep,
    pub attempts: Vec<Attempt>,
    pub skipped: Option<(Clean, Vec<CheckResult>)>,
    /// Captured secrets that died with a cockpit: the step reads *fetch again*.
    pub fetch_again: bool,
}

impl PlannedStep {
    pub fn state(&self) -> StepState {
        let Some(last) = self.attempts.last() else {
            return if self.skipped.is_some() {
                StepState::Skipped
            } else {
                StepState::Pending
            };
        };
        let Some(ending) = &last.ending else {
            return StepState::Running;
        };
        if self.skipped.is_some() {
            return StepState::Skipped;
        }
        match (last.kind, ending.outcome) {
            (AttemptKind::Undo, Outcome::Succeeded) => StepState::Pending,
            (AttemptKind::Run, Outcome::Succeeded) if !ending.verified => StepState::Unverified,
            (AttemptKind::Run, Outcome::Succeeded) => StepState::Succeeded,
            (_, Outcome::Failed | Outcome::TimedOut | Outcome::Cancelled) => StepState::Failed,
            (_, Outcome::Unknown) => StepState::Unknown,
        }
    }

    /// In words, where the state alone does not tell.
    pub fn reason(&self) -> Option<String> {
        let last = self.attempts.last();
        if let Some((reason, _)) = &self.skipped
            && last.is_none_or(|a| a.ending.is_some())
        {
            return Some(reason.to_string());
        }
        let last = last?;
        if last.unsupervised && last.ending.is_none() {
            return Some("running without supervisor".to_owned());
        }
        if self.fetch_again && self.state() == StepState::Succeeded {
            return Some("fetch again: its secret was only in memory".to_owned());
        }
        last.ending.as_ref()?.reason.as_ref().map(Clean::to_string)
    }

    pub fn running(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|a| a.is_running())
    }

    /// Seconds spent on it: the sum over its attempts.
    pub fn elapsed_s(&self, now: DateTime<Utc>) -> Option<f64> {
        if self.attempts.is_empty() {
            return None;
        }
        Some(
            self.attempts
                .iter()
                .map(|a| match &a.ending {
                    Some(ending) => ending.elapsed_s,
                    None => seconds(now - a.started_at),
                })
                .sum(),
        )
    }
}

/// A system's pinned identity, and a new one that waits for a person.
#[derive(Clone, Debug)]
pub struct Pin {
    pub identity: Option<Identity>,
    pub by: PinnedBy,
    pub proposed: Option<(Identity, String)>,
    /// The step that moved it to where nobody has been met yet.
    pub moved: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Note {
    pub at: DateTime<Utc>,
    pub who: Clean,
    pub text: Clean,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub at: DateTime<Utc>,
    pub question: Clean,
    pub answer: Clean,
    pub evidence: Vec<CheckResult>,
}

/// Everything that is known about an incident; derived from its journal alone.
#[derive(Clone, Debug)]
pub struct Incident {
    pub id: String,
    pub seq: u64,
    pub mode: Mode,
    pub world: World,
    pub runbook: RunbookRef,
    pub base_objectives: Targets,
    pub phases: Vec<PhaseRef>,
    pub severity: Option<(String, Clean, Targets)>,
    pub escalate: Option<Clean>,
    pub opened_at: DateTime<Utc>,
    pub opened_by: Clean,
    pub began_at: Option<(DateTime<Utc>, Clean)>,
    pub values: IndexMap<String, Held>,
    pub answers: Vec<Answer>,
    pub go: Vec<String>,
    pub steps: Vec<PlannedStep>,
    pub pins: IndexMap<String, Pin>,
    /// Fingerprints accepted beforehand, by system.
    pub accepted: Vec<(String, String)>,
    pub moments: IndexMap<String, DateTime<Utc>>,
    pub notes: Vec<Note>,
    pub recovery: Option<(DateTime<Utc>, Vec<CheckResult>, bool)>,
    pub recovered_at: Option<DateTime<Utc>>,
    pub closed: Option<(DateTime<Utc>, Clean)>,
    pub planned_at: Option<DateTime<Utc>>,
    /// The last thing that was refused because of the target.
    pub refused: Option<(String, Clean)>,
    pub last_at: DateTime<Utc>,
}

impl Default for Incident {
    fn default() -> Self {
        Self {
            id: String::new(),
            seq: 0,
            mode: Mode::Live,
            world: World::Live,
            runbook: RunbookRef {
                id: String::new(),
                title: Clean::default(),
                sha256: String::new(),
                file: None,
            },
            base_objectives: Targets::default(),
            phases: Vec::new(),
            severity: None,
            escalate: None,
            opened_at: DateTime::UNIX_EPOCH,
            opened_by: Clean::default(),
            began_at: None,
            values: IndexMap::new(),
            answers: Vec::new(),
            go: Vec::new(),
            steps: Vec::new(),
            pins: IndexMap::new(),
            accepted: Vec::new(),
            moments: IndexMap::new(),
            notes: Vec::new(),
            recovery: None,
            recovered_at: None,
            closed: None,
            planned_at: None,
            refused: None,
            last_at: DateTime::UNIX_EPOCH,
        }
    }
}

impl Incident {
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut incident = Self::default();
        for entry in entries {
            incident.apply(entry);
        }
        incident
    }

    /// Takes an entry in. One that was taken already, or that makes no sense, changes nothing.
    pub fn apply(&mut self, entry: &Entry) {
        if entry.seq <= self.seq {
            return;
        }
        self.seq = entry.seq;
        self.last_at = entry.at;
        match &entry.event {
            Event::Opened {
                id,
                mode,
                world,
                runbook,
                objectives,
                phases,
            } => {
                self.id.clone_from(id);
                self.mode = *mode;
                self.world = *world;
                self.runbook = runbook.clone();
                self.base_objectives = *objectives;
                self.phases.clone_from(phases);
                self.opened_at = entry.at;
                self.opened_by = entry.who.clone();
            }
            Event::SeverityDeclared {
                severity,
                title,
                objectives,
                escalate,
            } => {
                self.severity = Some((severity.clone(), title.clone(), *objectives));
                self.escalate.clone_from(escalate);
            }
            Event::BeganAtSet { began_at, source } => {
                self.began_at = Some((*began_at, source.clone()));
            }
            Event::ValueSet {
                name,
                value,
                secret,
                source,
                fingerprint,
            } => {
                let held = Held {
                    value: value.as_ref().map(Clean::to_string),
                    secret: *secret,
                    source: source.clone(),
                    fingerprint: fingerprint.clone(),
                };
                self.values.insert(name.clone(), held);
            }
            Event::Answered {
                question,
                answer,
                evidence,
            } => self.answers.push(Answer {
                at: entry.at,
                question: question.clone(),
                answer: answer.clone(),
                evidence: evidence.clone(),
            }),
            Event::Planned { go, steps } => self.plan(go, steps, entry.at),
            Event::IdentityPinned {
                system,
                identity,
                by,
            } => {
                let pin = Pin {
                    identity: Some(identity.clone()),
                    by: *by,
                    proposed: None,
                    moved: None,
                };
                self.pins.insert(system.clone(), pin);
            }
            Event::AcceptedBeforehand {
                system,
                fingerprint,
            } => self.accepted.push((system.clone(), fingerprint.clone())),
            Event::IdentityProposed {
                system,
                old,
                new,
                step,
            } => {
                let pin = self.pins.entry(system.clone()).or_insert_with(|| Pin {
                    identity: old.clone(),
                    by: PinnedBy::FirstContact,
                    proposed: None,
                    moved: None,
                });
                pin.moved = None;
                pin.proposed = Some((new.clone(), step.clone()));
            }
            Event::TargetMoved { system, step } => {
                let pin = Pin {
                    identity: None,
                    by: PinnedBy::FirstContact,
                    proposed: None,
                    moved: Some(step.clone()),
                };
                self.pins.insert(system.clone(), pin);
            }
            Event::TargetRefused { system, reason, .. } => {
                self.refused = Some((system.clone(), reason.clone()));
            }
            Event::AttemptStarted {
                step,
                n,
                kind,
                dir,
                command,
                confirmed,
                out_of_order,
                saw,
                tries_left,
            } => {
                self.refused = None;
                let (at, boot_ms) = (entry.at, entry.boot_ms);
                if let Some(planned) = self.step_mut(step) {
                    planned.skipped = None;
                    planned.fetch_again = false;
                    planned.attempts.push(Attempt {
                        n: *n,
                        kind: *kind,
                        dir: dir.clone(),
                        command: command.clone(),
                        started_at: at,
                        started_boot_ms: boot_ms,
                        saw: saw.clone(),
                        confirmed: confirmed.clone(),
                        out_of_order: out_of_order.clone(),
                        tries_left: *tries_left,
                        stop_asked: false,
                        unsupervised: false,
                        ending: None,
                        causes: None,
                        probes: Vec::new(),
                    });
                }
            }
            Event::AttemptStopAsked { step, n } => {
                if let Some(attempt) = self.attempt_mut(step, *n) {
                    attempt.stop_asked = true;
                }
            }
            Event::AttemptUnsupervised { step, n } => {
                if let Some(attempt) = self.attempt_mut(step, *n) {
                    attempt.unsupervised = true;
                }
            }
            Event::AttemptEnded {
                step, n, ending, ..
            } => {
                let lost = ending
                    .captured_secrets
                    .iter()
                    .any(|name| !self.values.contains_key(name));
                if let Some(planned) = self.step_mut(step) {
                    planned.fetch_again = lost;
                }
                if let Some(attempt) = self.attempt_mut(step, *n) {
                    attempt.ending = Some(ending.clone());
                }
            }
            Event::CausesFound { step, n, causes } => {
                if let Some(attempt) = self.attempt_mut(step, *n) {
                    attempt.causes = Some(causes.clone());
                }
            }
            Event::ProbeRan { step, row, check } => {
                if let Some(attempt) = self.step_mut(step).and_then(|s| s.attempts.last_mut()) {
                    attempt.probes.push((row.clone(), check.clone()));
                }
            }
            Event::StepSkipped {
                step,
                reason,
                checks,
            } => {
                if let Some(planned) = self.step_mut(step) {
                    planned.skipped = Some((reason.clone(), checks.clone()));
                }
            }
            Event::MomentMeasured { store, at, .. } => {
                self.moments.insert(store.clone(), *at);
            }
            Event::NoteAdded { text } => self.notes.push(Note {
                at: entry.at,
                who: entry.who.clone(),
                text: text.clone(),
            }),
            Event::RecoveryChecked { checks, holds } => {
                self.recovery = Some((entry.at, checks.clone(), *holds));
            }
            Event::Recovered { at } => {
                self.recovered_at.get_or_insert(*at);
            }
            Event::Closed { reason } => {
                self.closed.get_or_insert((entry.at, reason.clone()));
            }
            Event::ControlTaken { .. } => self.forget_secrets(),
            Event::TlsWeakened { .. } | Event::JournalRepaired { .. } | Event::Unknown => {}
        }
    }

    /// Secrets lived in the memory of whoever held the pen before.
    fn forget_secrets(&mut self) {
        for (name, held) in &mut self.values {
            if !held.secret {
                continue;
            }
            if held.source == "captured" {
                for step in &mut self.steps {
                    let fetched = step.attempts.iter().any(|a| {
                        a.ending
                            .as_ref()
                            .is_some_and(|e| e.captured_secrets.iter().any(|c| c == name))
                    });
                    step.fetch_again |= fetched;
                }
            }
        }
        self.values.retain(|_, held| !held.secret);
    }

    fn plan(&mut self, go: &[String], steps: &[PlanStep], at: DateTime<Utc>) {
        self.go = go.to_vec();
        self.planned_at.get_or_insert(at);
        let mut old = std::mem::take(&mut self.steps);
        for plan in steps {
            let kept = old.iter().position(|s| s.plan.step == plan.step);
            let mut step = match kept {
                Some(i) => old.remove(i),
                None => PlannedStep {
                    plan: plan.clone(),
                    attempts: Vec::new(),
                    skipped: None,
                    fetch_again: false,
                },
            };
            step.plan = plan.clone();
            self.steps.push(step);
        }
        // What has run is never forgotten, even when a new plan does without it.
        old.retain(|s| !s.attempts.is_empty() || s.skipped.is_some());
        self.steps.append(&mut old);
    }

    pub fn step(&self, name: &str) -> Option<&PlannedStep> {
        self.steps.iter().find(|s| s.plan.step == name)
    }

    fn step_mut(&mut self, name: &str) -> Option<&mut PlannedStep> {
        self.steps.iter_mut().find(|s| s.plan.step == name)
    }

    fn attempt_mut(&mut self, step: &str, n: u32) -> Option<&mut Attempt> {
        self.step_mut(step)?.attempts.iter_mut().find(|a| a.n == n)
    }

    pub fn attempt(&self, step: &str, n: u32) -> Option<&Attempt> {
        self.step(step)?.attempts.iter().find(|a| a.n == n)
    }

    pub fn state(&self) -> IncidentState {
        if self.closed.is_some() {
            IncidentState::Closed
        } else if self.recovered_at.is_some() {
            IncidentState::Recovered
        } else {
            IncidentState::Open
        }
    }

    /// The severity's objectives, else the runbook's.
    pub fn objectives(&self) -> Targets {
        let chosen = self
            .severity
            .as_ref()
            .map(|(_, _, t)| *t)
            .unwrap_or_default();
        Targets {
            rto_s: chosen.rto_s.or(self.base_objectives.rto_s),
            rpo_s: chosen.rpo_s.or(self.base_objectives.rpo_s),
        }
    }

    pub fn began(&self) -> DateTime<Utc> {
        self.began_at.as_ref().map_or(self.opened_at, |(at, _)| *at)
    }

    /// Seconds from the beginning to recovery, once recovered.
    pub fn rto_actual_s(&self) -> Option<u64> {
        let at = self.recovered_at?;
        Some(seconds(at - self.began()) as u64)
    }

    /// What was lost in each store, in seconds.
    pub fn losses(&self) -> IndexMap<String, u64> {
        let began = self.began();
        self.moments
            .iter()
            .map(|(store, at)| (store.clone(), seconds(began - *at) as u64))
            .collect()
    }

    pub fn rpo_measured_s(&self) -> Option<u64> {
        self.losses().values().copied().max()
    }

    /// Every running attempt, with the name of its step.
    pub fn running(&self) -> impl Iterator<Item = (&str, &Attempt)> {
        self.steps
            .iter()
            .filter_map(|s| Some((s.plan.step.as_str(), s.running()?)))
    }

    /// The steps that must be done before this one and are not.
    pub fn waits_for<'s>(&self, step: &'s PlannedStep) -> Vec<&'s str> {
        step.plan
            .after
            .iter()
            .filter(|name| self.step(name).is_some_and(|s| !s.state().is_done()))
            .map(String::as_str)
            .collect()
    }

    /// The first step that could be started now.
    pub fn next_step(&self) -> Option<&PlannedStep> {
        self.steps
            .iter()
            .find(|s| s.state() == StepState::Pending && self.waits_for(s).is_empty())
    }

    /// Steps that keep the platform from being called recovered.
    pub fn prevents_recovery(&self) -> Vec<(&str, StepState)> {
        self.steps
            .iter()
            .map(|s| (s.plan.step.as_str(), s.state()))
            .filter(|(_, state)| match state {
                StepState::Failed
                | StepState::Unknown
                | StepState::Unverified
                | StepState::Running => true,
                StepState::Pending | StepState::Succeeded | StepState::Skipped => false,
            })
            .collect()
    }
}

/// Whole seconds with fraction, never below zero: clocks may step back.
pub fn seconds(duration: chrono::TimeDelta) -> f64 {
    (duration.num_milliseconds() as f64 / 1000.0).max(0.0)
}
