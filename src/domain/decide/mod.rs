//! What should happen next: wishes and reports in, events or a refusal out. No clock, no IO.

mod start;

pub use start::{may_start, missing_values, start};

use super::{
    event::{
        AttemptKind, Cause, CheckResult, Ending, Event, Identity, Mode, Outcome, PinnedBy,
        PlanStep, Revealed, Targets,
    },
    expect,
    incident::{Incident, IncidentState, PlannedStep},
    plan::{self, Chosen, PlanError},
    runbook::{Runbook, find_step},
    text::Clean,
};
use chrono::{DateTime, Utc};

/// A person's wish.
#[derive(Clone, Debug)]
pub enum Command {
    DeclareSeverity {
        severity: String,
    },
    SetBegan {
        began_at: DateTime<Utc>,
        source: String,
    },
    /// A plain value, already accepted by its type.
    SetValue {
        name: String,
        value: String,
        source: String,
    },
    /// A secret that the vault has taken.
    HoldSecret {
        name: String,
        source: String,
        fingerprint: String,
    },
    Answer {
        question: String,
        answer: String,
        evidence: Vec<CheckResult>,
    },
    Plan {
        go: Vec<Chosen>,
    },
    Stop {
        step: String,
    },
    Skip {
        step: String,
        reason: String,
    },
    Note {
        text: String,
    },
    /// Was a suggested cause the right one?
    JudgeCause {
        step: String,
        n: u32,
        row: String,
        right: bool,
    },
    /// What whoever is on call was told.
    GiveAlarm {
        text: String,
    },
    /// A drill is over.
    Reveal(Box<Revealed>),
    AcceptIdentity {
        system: String,
    },
    /// The people who are not here have been told.
    TellUpdate {
        text: String,
    },
    /// A thing of the on-hand list is there, or is not.
    TickOnHand {
        item: String,
        have: bool,
    },
    Close {
        reason: String,
    },
    TakeControl {
        how: String,
    },
}

/// A start that a person wishes, and what the edge found when it looked before.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub step: String,
    pub undo: bool,
    /// What was typed where `confirm` asks for it.
    pub typed: Option<String>,
    /// Why it should run before its turn, or once more.
    pub reason: Option<String>,
    /// What the person saw, for a manual step.
    pub saw: Option<String>,
    /// Start even though `unless` holds.
    pub anyway: bool,
    /// Tries still to come after this one; `None`: as many as the step asks for.
    pub tries_left: Option<u32>,
}

/// What the edge found before a start.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    pub identities: Vec<(String, IdentityRead)>,
    pub unless: Option<CheckResult>,
    /// The resolved command, secrets masked.
    pub command: String,
    /// What has to be typed, resolved.
    pub confirm: Option<String>,
}

#[derive(Clone, Debug)]
pub enum IdentityRead {
    Is(Identity),
    /// Why, and where it was looked for.
    NoAnswer(String, Option<String>),
}

/// What the edge saw.
#[derive(Clone, Debug)]
pub enum Report {
    Ended {
        step: String,
        n: u32,
        ending: Ending,
        /// `set:` of the step, resolved.
        set: Vec<(String, String)>,
    },
    Unsupervised {
        step: String,
        n: u32,
    },
    Causes {
        step: String,
        n: u32,
        causes: Vec<Cause>,
    },
    Probed {
        step: String,
        row: String,
        check: CheckResult,
    },
    Identity {
        system: String,
        identity: Identity,
        /// Accepted beforehand, or known from a site.
        by: PinnedBy,
    },
    /// `None`: the new target does not answer yet.
    Moved {
        system: String,
        identity: Option<Identity>,
        step: String,
    },
    Recovery {
        checks: Vec<CheckResult>,
    },
    Repaired {
        bytes: u64,
        kept: String,
    },
}

/// Why not. A refusal is an answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no step is called `{0}`")]
    UnknownStep(String),
    #[error("no severity is called `{0}`; there are {1}")]
    UnknownSeverity(String, String),
    #[error("the incident is closed; only notes can be added")]
    Closed,
    #[error("`{0}` is running already")]
    Running(String),
    #[error("`{0}` still runs without its supervisor; stop it, or wait for it to end")]
    Unsupervised(String),
    #[error("`{0}` is not running")]
    NotRunning(String),
    #[error("`{step}` waits for {for_}: give a reason to run it before its turn")]
    OutOfOrder { step: String, for_: String },
    #[error("`{0}` has succeeded already: give a reason to run it once more")]
    Again(String),
    #[error("it is not known how `{0}` ended: look at it, then give a reason to run it once more")]
    EndUnknown(String),
    #[error("these values are missing: {0}")]
    MissingValues(String),
    #[error("type `{0}` to confirm what will be destroyed")]
    Confirm(String),
    #[error("this is not the `{0}` that the site recorded: its fingerprint is another one")]
    AnotherSecret(String),
    #[error("`{0}` has no undo")]
    NoUndo(String),
    #[error("say what you saw: `{0}` is done when a person says so")]
    Saw(String),
    #[error("a reason is needed")]
    Reason,
    #[error("{reason}")]
    WrongTarget { system: String, reason: String },
    #[error("{reason}")]
    NoAnswer { system: String, reason: String },
    #[error("the new target of `{system}` waits to be confirmed: {fingerprint}")]
    UnconfirmedTarget { system: String, fingerprint: String },
    #[error("no new target of `{0}` waits to be confirmed")]
    NothingProposed(String),
    /// Nothing is done that cannot be recorded first.
    #[error("this cannot be recorded, so it is not done: {0}")]
    CannotRecord(String),
    #[error("the sandbox of this drill has ended: nothing of it can be reached any more")]
    SandboxGone,
    #[error("the engine has ended")]
    Gone,
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// A wish becomes events, or is refused.
pub fn decide(
    incident: &Incident,
    runbook: &Runbook,
    wish: Command,
) -> Result<Vec<Event>, Refusal> {
    if incident.state() == IncidentState::Closed
        && !matches!(
            wish,
            Command::Note { .. } | Command::TakeControl { .. } | Command::Reveal(_)
        )
    {
        return Err(Refusal::Closed);
    }
    match wish {
        Command::DeclareSeverity { severity } => {
            let row = runbook.severity(&severity).ok_or_else(|| {
                let ids: Vec<&str> = runbook
                    .severities
                    .iter()
                    .map(|s| s.id.text.as_str())
                    .collect();
                Refusal::UnknownSeverity(Clean::line(&severity).into_string(), ids.join(", "))
            })?;
            Ok(vec![Event::SeverityDeclared {
                title: Clean::line(&row.title),
                objectives: Targets {
                    rto_s: row.rto.map(|d| d.as_secs()),
                    rpo_s: row.rpo.map(|d| d.as_secs()),
                },
                escalate: row.escalate.as_deref().map(Clean::from),
                severity,
            }])
        }
        Command::SetBegan { began_at, source } => Ok(vec![Event::BeganAtSet {
            began_at,
            source: Clean::line(&source),
        }]),
        Command::SetValue {
            name,
            value,
            source,
        } => Ok(vec![Event::ValueSet {
            name,
            value: Some(Clean::new(&value)),
            secret: false,
            source,
            fingerprint: None,
        }]),
        Command::HoldSecret {
            name,
            source,
            fingerprint,
        } => Ok(vec![Event::ValueSet {
            name,
            value: None,
            secret: true,
            source,
            fingerprint: Some(fingerprint),
        }]),
        Command::Answer {
            question,
            answer,
            evidence,
        } => Ok(vec![Event::Answered {
            question: Clean::line(&question),
            answer: Clean::line(&answer),
            evidence,
        }]),
        Command::Plan { go } => {
            let before: Vec<PlanStep> = incident.steps.iter().map(|s| s.plan.clone()).collect();
            let steps = plan::lay_out(runbook, &go, &before)?;
            Ok(vec![Event::Planned {
                go: go.iter().map(Chosen::name).collect(),
                steps,
            }])
        }
        Command::Stop { step } => {
            let planned = planned(incident, &step)?;
            let running = planned.running();
            let attempt = running.ok_or(Refusal::NotRunning(planned.plan.step.clone()))?;
            Ok(vec![Event::AttemptStopAsked {
                step: planned.plan.step.clone(),
                n: attempt.n,
            }])
        }
        Command::Skip { step, reason } => {
            let planned = planned(incident, &step)?;
            if planned.running().is_some() {
                return Err(Refusal::Running(planned.plan.step.clone()));
            }
            if reason.trim().is_empty() {
                return Err(Refusal::Reason);
            }
            Ok(vec![Event::StepSkipped {
                step: planned.plan.step.clone(),
                reason: Clean::new(reason.trim()),
                checks: Vec::new(),
            }])
        }
        Command::JudgeCause {
            step,
            n,
            row,
            right,
        } => Ok(vec![Event::CauseJudged {
            step,
            n,
            row,
            right,
        }]),
        Command::GiveAlarm { text } => Ok(vec![Event::AlarmGiven {
            text: Clean::line(text.trim()),
        }]),
        Command::Reveal(revealed) => match (incident.mode, &incident.revealed) {
            (Mode::Drill, None) => Ok(vec![Event::DrillRevealed(*revealed)]),
            (Mode::Drill, Some(_)) | (Mode::Live, _) => Ok(Vec::new()),
        },
        Command::Note { text } => {
            if text.trim().is_empty() {
                return Err(Refusal::Reason);
            }
            Ok(vec![Event::NoteAdded {
                text: Clean::new(text.trim()),
            }])
        }
        Command::AcceptIdentity { system } => {
            let pin = incident.pins.get(&system);
            let proposed = pin.and_then(|p| p.proposed.as_ref());
            let identity = match (proposed, pin.and_then(|p| p.identity.as_ref())) {
                (Some((identity, _)), _) => identity.clone(),
                (None, Some(identity)) => identity.clone(),
                (None, None) => return Err(Refusal::NothingProposed(system)),
            };
            Ok(vec![Event::IdentityPinned {
                system,
                identity,
                by: PinnedBy::Person,
            }])
        }
        Command::TellUpdate { text } => Ok(vec![Event::UpdateSent {
            text: Clean::new(text.trim()),
        }]),
        Command::TickOnHand { item, have } => match incident.on_hand.get(&item) {
            Some(known) if *known == have => Ok(Vec::new()),
            Some(_) | None => Ok(vec![Event::OnHandTicked { item, have }]),
        },
        Command::Close { reason } => {
            if let Some((step, _)) = incident.running().next() {
                return Err(Refusal::Running(step.to_owned()));
            }
            Ok(vec![Event::Closed {
                reason: Clean::new(reason.trim()),
            }])
        }
        Command::TakeControl { how } => Ok(vec![Event::ControlTaken {
            how: Clean::line(&how),
        }]),
    }
}

/// What was seen becomes facts. What is already known, or makes no sense, becomes nothing.
pub fn take(
    incident: &Incident,
    runbook: &Runbook,
    report: Report,
    now: DateTime<Utc>,
) -> Vec<Event> {
    match report {
        Report::Ended {
            step,
            n,
            ending,
            set,
        } => ended(incident, runbook, step, n, ending, set),
        Report::Unsupervised { step, n } => match incident.attempt(&step, n) {
            Some(a) if a.is_running() && !a.unsupervised => {
                vec![Event::AttemptUnsupervised { step, n }]
            }
            Some(_) | None => Vec::new(),
        },
        Report::Causes { step, n, causes } => match incident.attempt(&step, n) {
            Some(a) if a.causes.is_none() => vec![Event::CausesFound { step, n, causes }],
            Some(_) | None => Vec::new(),
        },
        Report::Probed { step, row, check } => vec![Event::ProbeRan { step, row, check }],
        Report::Identity {
            system,
            identity,
            by,
        } => {
            let known = incident.pins.get(&system).and_then(|p| p.identity.as_ref());
            if known.is_some() {
                return Vec::new();
            }
            match incident.recorded.get(&system) {
                Some(recorded) if !recorded.is(&identity) => {
                    let step = String::new();
                    vec![start::not_recorded(system, recorded, identity, step).1]
                }
                recorded => vec![Event::IdentityPinned {
                    system,
                    identity,
                    by: recorded.map_or(by, |_| PinnedBy::Site),
                }],
            }
        }
        Report::Moved {
            system,
            identity,
            step,
        } => {
            let old = incident.pins.get(&system).and_then(|p| p.identity.clone());
            let Some(identity) = identity else {
                return vec![Event::TargetMoved { system, step }];
            };
            if old.as_ref().is_some_and(|old| old.same(&identity)) {
                return Vec::new();
            }
            vec![Event::IdentityProposed {
                system,
                old,
                new: identity,
                step,
            }]
        }
        Report::Recovery { checks } => {
            let prevented = !incident.prevents_recovery().is_empty();
            let unconfirmed = incident
                .pins
                .values()
                .any(|p| p.proposed.is_some() || p.moved.is_some());
            let all = !checks.is_empty() && checks.iter().all(|c| c.passed);
            let holds = all && !prevented && !unconfirmed;
            let mut events = vec![Event::RecoveryChecked { checks, holds }];
            if holds && incident.recovered_at.is_none() {
                events.push(Event::Recovered { at: now });
            }
            events
        }
        Report::Repaired { bytes, kept } => vec![Event::JournalRepaired {
            bytes,
            kept: Clean::line(&kept),
        }],
    }
}

fn ended(
    incident: &Incident,
    runbook: &Runbook,
    step: String,
    n: u32,
    mut ending: Ending,
    set: Vec<(String, String)>,
) -> Vec<Event> {
    let Some(attempt) = incident.attempt(&step, n).filter(|a| a.is_running()) else {
        return Vec::new();
    };
    let kind = attempt.kind;
    let mut events = Vec::new();
    if ending.outcome == Outcome::Succeeded && kind == AttemptKind::Run {
        match came_of(runbook, &step, &ending, set) {
            Ok(came) => events = came,
            Err(why) => {
                ending.outcome = Outcome::Failed;
                ending.reason = Some(Clean::line(&why));
            }
        }
    }
    // The ending comes last: whoever sees it finds the values that came of it.
    events.push(Event::AttemptEnded {
        step,
        n,
        kind,
        ending,
    });
    events
}

/// The values and the moment that came of a step; a value that its type refuses fails the step.
fn came_of(
    runbook: &Runbook,
    step: &str,
    ending: &Ending,
    set: Vec<(String, String)>,
) -> Result<Vec<Event>, String> {
    let captured = ending.captured.iter().map(|(name, value)| {
        let source = "captured".to_owned();
        (name.clone(), value.to_string(), source)
    });
    let set = set
        .into_iter()
        .map(|(name, value)| (name, value, format!("set by {step}")));
    let mut events = Vec::new();
    for (name, value, source) in captured.chain(set) {
        let value = runbook
            .variable(&name)
            .accept(&value)
            .map_err(|why| format!("`{name}` ({source}): {why}"))?;
        events.push(Event::ValueSet {
            name,
            value: Some(Clean::new(&value)),
            secret: false,
            source,
            fingerprint: None,
        });
    }
    let written = runbook.step(step);
    if let Some((written, store)) = written.and_then(|s| Some((s, s.measures.as_ref()?))) {
        let is_moment =
            |name: &str| runbook.variable(name).kind == super::runbook::VarType::Timestamp;
        let names: Vec<&str> = written
            .capture
            .iter()
            .map(|(n, _)| n.text.as_str())
            .collect();
        let name = names.iter().find(|n| is_moment(n)).or(names.first());
        let text = name
            .and_then(|n| ending.captured.get(*n))
            .map_or("", Clean::as_str);
        let at = expect::moment(text)
            .ok_or_else(|| format!("measured `{text}`, which is not a moment with a zone"))?;
        events.push(Event::MomentMeasured {
            store: store.text.clone(),
            at,
            step: step.to_owned(),
        });
    }
    Ok(events)
}

fn planned<'i>(incident: &'i Incident, name: &str) -> Result<&'i PlannedStep, Refusal> {
    let names = incident.steps.iter().map(|s| s.plan.step.as_str());
    let full = find_step(names, name).map_err(|e| {
        Refusal::UnknownStep(match e {
            super::runbook::NameError::Unknown(name) => name,
            several @ super::runbook::NameError::Several(..) => several.to_string(),
        })
    })?;
    incident
        .step(full)
        .ok_or_else(|| Refusal::UnknownStep(full.to_owned()))
}
