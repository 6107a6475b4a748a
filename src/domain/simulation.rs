//! The pure core under random wishes, reports and crashes: no invented outcome, nothing run twice
//! without being asked, and a replay that always ends where the fold was.

use super::{
    decide::{self, Command, Refusal, Report, Sight, Start},
    event::{Ending, Entry, Event, Mode, Outcome, RunbookRef, Targets, World},
    incident::{Incident, StepState},
    plan::Chosen,
    runbook::Runbook,
    text::Clean,
};
use chrono::{DateTime, TimeDelta, Utc};
use indexmap::IndexMap;
use proptest::prelude::*;

const RUNBOOK: &str = "
blackstart: 1
id: sim
title: Simulation
procedures:
  - id: p
    steps:
      - { id: a, title: A, run: 'true' }
      - { id: b, title: B, run: 'true', after: [a] }
      - { id: c, title: C, run: 'true', after: [a] }
      - { id: d, title: D, manual: look, after: [b, c] }
recovered:
  when: [ { file: /, exists: true } ]
";

#[derive(Clone, Debug)]
enum Move {
    Start {
        step: usize,
        reason: bool,
    },
    End {
        step: usize,
        outcome: Outcome,
    },
    /// The supervisor is gone; then the command is.
    Unsupervise {
        step: usize,
    },
    Skip {
        step: usize,
    },
    /// The cockpit dies: everything is replayed from what was written.
    Crash,
    Recover,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = 0usize..4;
    let outcome = prop::sample::select(vec![
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::Unknown,
    ]);
    let one = prop_oneof![
        4 => (step.clone(), any::<bool>()).prop_map(|(step, reason)| Move::Start { step, reason }),
        4 => (step.clone(), outcome).prop_map(|(step, outcome)| Move::End { step, outcome }),
        1 => step.clone().prop_map(|step| Move::Unsupervise { step }),
        1 => step.prop_map(|step| Move::Skip { step }),
        1 => Just(Move::Crash),
        1 => Just(Move::Recover),
    ];
    prop::collection::vec(one, 0..60)
}

struct Simulated {
    runbook: Runbook,
    journal: Vec<Entry>,
    incident: Incident,
}

impl Simulated {
    fn new() -> Self {
        let (runbook, _) = Runbook::read(RUNBOOK.as_bytes()).expect("valid");
        let mut world = Self {
            runbook,
            journal: Vec::new(),
            incident: Incident::default(),
        };
        world.write(vec![Event::Opened {
            id: "sim".into(),
            mode: Mode::Live,
            world: World::Live,
            runbook: RunbookRef {
                id: "sim".into(),
                title: "Simulation".into(),
                sha256: String::new(),
                file: None,
            },
            objectives: Targets::default(),
            phases: Vec::new(),
        }]);
        let plan = Command::Plan {
            go: vec![Chosen::parse("p")],
        };
        let events = decide::decide(&world.incident, &world.runbook, plan).expect("a plan");
        world.write(events);
        world
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(self.journal.len() as i64)
    }

    fn write(&mut self, events: Vec<Event>) {
        for event in events {
            let entry = Entry {
                v: 1,
                seq: self.journal.len() as u64 + 1,
                at: self.now(),
                boot_ms: 0,
                who: Clean::default(),
                event,
            };
            self.incident.apply(&entry);
            // A second time changes nothing.
            self.incident.apply(&entry);
            self.journal.push(entry);
        }
    }

    fn name(&self, step: usize) -> String {
        self.incident.steps[step].plan.step.clone()
    }

    fn state(&self, step: usize) -> StepState {
        self.incident.steps[step].state()
    }

    fn make(&mut self, next: &Move) -> Result<(), TestCaseError> {
        match next {
            Move::Start { step, reason } => {
                let before = self.state(*step);
                let waits = !self
                    .incident
                    .waits_for(&self.incident.steps[*step])
                    .is_empty();
                let start = Start {
                    step: self.name(*step),
                    saw: Some("as it should be".into()),
                    reason: reason.then(|| "asked".into()),
                    ..Start::default()
                };
                let decided =
                    decide::start(&self.incident, &self.runbook, &start, &Sight::default());
                match decided {
                    Ok(events) => {
                        prop_assert_ne!(before, StepState::Running, "started over itself");
                        let asked_again =
                            matches!(before, StepState::Succeeded | StepState::Unknown) || waits;
                        prop_assert!(!asked_again || *reason, "{before:?} started unasked");
                        self.write(events);
                    }
                    Err((refusal, events)) => {
                        prop_assert!(events.is_empty());
                        prop_assert!(!matches!(refusal, Refusal::UnknownStep(_)));
                    }
                }
            }
            Move::End { step, outcome } => {
                let last = self.incident.steps[*step].attempts.last();
                let n = last.map_or(1, |a| a.n);
                let running = last.is_some_and(|a| a.is_running());
                let report = Report::Ended {
                    step: self.name(*step),
                    n,
                    ending: ending(*outcome),
                    set: Vec::new(),
                };
                let events = decide::take(&self.incident, &self.runbook, report, self.now());
                prop_assert_eq!(running, !events.is_empty(), "an ending without an attempt");
                self.write(events);
                if running {
                    let told = match outcome {
                        Outcome::Succeeded => StepState::Succeeded,
                        Outcome::Unknown => StepState::Unknown,
                        Outcome::Failed | Outcome::TimedOut | Outcome::Cancelled => {
                            StepState::Failed
                        }
                    };
                    prop_assert_eq!(self.state(*step), told);
                }
            }
            Move::Unsupervise { step } => {
                let n = self.incident.steps[*step]
                    .attempts
                    .last()
                    .map_or(1, |a| a.n);
                let report = Report::Unsupervised {
                    step: self.name(*step),
                    n,
                };
                let events = decide::take(&self.incident, &self.runbook, report, self.now());
                self.write(events);
            }
            Move::Skip { step } => {
                let wish = Command::Skip {
                    step: self.name(*step),
                    reason: "not needed".into(),
                };
                if let Ok(events) = decide::decide(&self.incident, &self.runbook, wish) {
                    self.write(events);
                }
            }
            Move::Crash => {
                let states: Vec<StepState> = (0..4).map(|i| self.state(i)).collect();
                self.incident = Incident::replay(&self.journal);
                let after: Vec<StepState> = (0..4).map(|i| self.state(i)).collect();
                prop_assert_eq!(states, after);
            }
            Move::Recover => {
                let bad = !self.incident.prevents_recovery().is_empty();
                let before = self.incident.recovered_at;
                let checks = vec![holding()];
                let report = Report::Recovery { checks };
                let events = decide::take(&self.incident, &self.runbook, report, self.now());
                self.write(events);
                prop_assert!(!bad || self.incident.recovered_at == before);
            }
        }
        Ok(())
    }
}

fn holding() -> super::event::CheckResult {
    super::event::CheckResult {
        what: "file /".into(),
        phase: super::event::CheckPhase::Verify,
        verdict: super::event::Verdict::Holds,
        expected: "exists".into(),
        seen: "exists".into(),
        passed: true,
        elapsed_ms: 0,
        system: None,
        help: None,
    }
}

fn ending(outcome: Outcome) -> Ending {
    Ending {
        outcome,
        exit_code: None,
        signal: None,
        verified: true,
        started_at: None,
        ended_at: None,
        elapsed_s: 1.0,
        checks: Vec::new(),
        captured: IndexMap::new(),
        captured_secrets: Vec::new(),
        leaky: false,
        lost_bytes: 0,
        reason: None,
    }
}

proptest! {
    #[test]
    fn no_outcome_is_invented_and_nothing_runs_unasked(all in moves()) {
        let mut world = Simulated::new();
        for next in &all {
            world.make(next)?;
        }
    }

    /// Entries of any order, doubled or missing, never make the fold fail.
    #[test]
    fn the_fold_is_total(all in moves(), picks in prop::collection::vec(any::<prop::sample::Index>(), 0..80)) {
        let mut world = Simulated::new();
        for next in &all {
            world.make(next)?;
        }
        let mut incident = Incident::default();
        for (i, pick) in picks.iter().enumerate() {
            let mut entry = world.journal[pick.index(world.journal.len())].clone();
            entry.seq = i as u64 + 1;
            incident.apply(&entry);
        }
        prop_assert!(incident.steps.iter().all(|s| s.attempts.iter().filter(|a| a.is_running()).count() <= s.attempts.len()));
    }
}
