//! The fold: an incident is what its entries say. `apply` is total and idempotent.

mod parts;

pub use parts::{Answer, Attempt, Held, IncidentState, Note, Pin, PlannedStep, SiteRef, StepState};

use super::{
    event::{
        CheckResult, Entry, Event, Mode, PhaseRef, PinnedBy, PlanStep, Revealed, RunbookRef,
        Targets, World,
    },
    site::{Recorded, TEAR_DOWN},
    text::Clean,
};
use chrono::{DateTime, Utc};
use indexmap::IndexMap;

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
    pub site: Option<SiteRef>,
    /// Who each system has to be, as the site recorded it in peace time.
    pub recorded: IndexMap<String, Recorded>,
    /// When the people who are not here were told, and what.
    pub updates: Vec<(DateTime<Utc>, Clean)>,
    /// What is on hand and what is missing, as a person said.
    pub on_hand: IndexMap<String, bool>,
    /// Fingerprints accepted beforehand, by system.
    pub accepted: Vec<(String, String)>,
    pub moments: IndexMap<String, DateTime<Utc>>,
    pub notes: Vec<Note>,
    pub recovery: Option<(DateTime<Utc>, Vec<CheckResult>, bool)>,
    pub recovered_at: Option<DateTime<Utc>>,
    pub closed: Option<(DateTime<Utc>, Clean)>,
    /// What whoever is on call was told.
    pub alarm: Option<Clean>,
    /// What a drill hid, once it is over.
    pub revealed: Option<Revealed>,
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
            site: None,
            recorded: IndexMap::new(),
            updates: Vec::new(),
            on_hand: IndexMap::new(),
            accepted: Vec::new(),
            moments: IndexMap::new(),
            notes: Vec::new(),
            recovery: None,
            recovered_at: None,
            closed: None,
            alarm: None,
            revealed: None,
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
            Event::SiteChosen {
                site,
                kind,
                sha256,
                recorded,
            } => {
                self.recorded.clone_from(recorded);
                self.site = Some(SiteRef {
                    name: site.clone(),
                    kind: *kind,
                    sha256: sha256.clone(),
                });
            }
            Event::UpdateSent { text } => self.updates.push((entry.at, text.clone())),
            Event::OnHandTicked { item, have } => {
                self.on_hand.insert(item.clone(), *have);
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
                        judged: Vec::new(),
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
                    attempt.rank_again();
                }
            }
            Event::CauseJudged {
                step,
                n,
                row,
                right,
            } => {
                if let Some(attempt) = self.attempt_mut(step, *n) {
                    attempt.judged.push((row.clone(), *right));
                    attempt.rank_again();
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
            Event::AlarmGiven { text } => self.alarm = Some(text.clone()),
            Event::DrillRevealed(revealed) => self.revealed = Some(revealed.clone()),
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

    /// The system behind whose address somebody else answers than the site recorded.
    pub fn wrong_place(&self) -> Option<(&str, &Clean)> {
        let (system, reason) = self.refused.as_ref()?;
        let unmet = self.pins.get(system).is_none_or(|p| p.identity.is_none());
        (unmet && self.recorded.contains_key(system)).then_some((system.as_str(), reason))
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

    /// The first step that could be started now. What removes a scratch place is never next while something
    /// in it is running or has failed: that is for a person to say.
    pub fn next_step(&self) -> Option<&PlannedStep> {
        let next = self
            .steps
            .iter()
            .find(|s| s.state() == StepState::Pending && self.waits_for(s).is_empty())?;
        let early = next.plan.procedure == TEAR_DOWN
            && self
                .steps
                .iter()
                .any(|s| s.plan.procedure != TEAR_DOWN && !s.state().is_done());
        (!early).then_some(next)
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
