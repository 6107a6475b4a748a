//! What can happen in an incident. An event is a fact, past tense; what is to be done follows from it.

use super::{
    site::{Recorded, SiteKind},
    text::Clean,
};
use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Live,
    Drill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    Live,
    Rehearsal,
    Simulated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptKind {
    Run,
    Undo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Succeeded,
    Failed,
    TimedOut,
    Cancelled,
    Unknown,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Holds,
    DoesNotHold,
    CannotTell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckPhase {
    Check,
    Verify,
    Unless,
    Probe,
}

/// What one check expected and saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    pub what: Clean,
    pub phase: CheckPhase,
    pub verdict: Verdict,
    pub expected: Clean,
    pub seen: Clean,
    pub passed: bool,
    pub elapsed_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// How to fix our side, where the check could not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<Clean>,
}

/// Who a system is: what stays the same when its address is borrowed by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Where it answers: `host:port`.
    pub endpoint: String,
    /// What it says it is: a PostgreSQL's `system_identifier`; nothing for a Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    /// SHA-256 of its certificate, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Told, not compared: the timeline of a PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Clean>,
    /// As whom we speak to it, where it can say so: a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Clean>,
}

impl Identity {
    /// The same system, spoken to as somebody else.
    pub fn as_another(&self, other: &Self) -> bool {
        let users = (&self.user, &other.user);
        self.same(other) && matches!(users, (Some(a), Some(b)) if a != b)
    }

    /// The form in which a person accepts that it is spoken to as somebody else.
    pub fn as_user(&self) -> String {
        let user = self.user.as_ref().map_or("nobody", |u| u.as_str());
        format!("{} as {user}", self.fingerprint())
    }

    /// The same system? Notes are not compared.
    pub fn same(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.own == other.own
            && self.certificate == other.certificate
    }

    /// The form in which a person accepts it: `host:port/identifier`.
    pub fn fingerprint(&self) -> String {
        match &self.own {
            Some(own) => format!("{}/{own}", self.endpoint),
            None => self.endpoint.clone(),
        }
    }

    /// Is this what somebody accepted beforehand: the whole fingerprint, its endpoint, or its own id?
    pub fn is_accepted_as(&self, accepted: &str) -> bool {
        accepted == self.fingerprint()
            || accepted == self.endpoint
            || self.own.as_deref() == Some(accepted)
            || self.certificate.as_deref() == Some(accepted)
    }
}

/// How an identity came to be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinnedBy {
    /// Recorded when it was first reached; nobody has confirmed it.
    FirstContact,
    /// A person compared and accepted it.
    Person,
    /// It equals what the site recorded in peace time.
    Site,
}

/// A step as it stands in a plan: enough to show and export it without the runbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanStep {
    pub number: usize,
    /// `procedure/step` or `procedure/path/step`.
    pub step: String,
    pub id: String,
    pub procedure: String,
    pub path: Option<String>,
    pub title: Clean,
    pub phase: Option<String>,
    pub budget_s: Option<u64>,
    /// Full names of what must be done before.
    pub after: Vec<String>,
    pub kind: String,
    pub danger: String,
}

/// A likely cause: a failure row that matched, and the line that made it match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    pub row: String,
    pub cause: Clean,
    pub fix: Clean,
    pub source: Clean,
    /// The line of the attempt's log, counted from one.
    pub line: Option<u64>,
    pub text: Option<Clean>,
    pub go: Option<String>,
    pub probe: Option<Clean>,
    /// Whose output it is, for a row of the library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// All lines that prove it, as far as they are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    pub score: f64,
}

/// A line of an attempt's log, counted from one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub n: u64,
    pub text: Clean,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunbookRef {
    pub id: String,
    pub title: Clean,
    pub sha256: String,
    pub file: Option<Clean>,
}

/// How an attempt ended, as its own record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub outcome: Outcome,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Did its `verify` run? Exit 0 without it is *unverified*.
    pub verified: bool,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub elapsed_s: f64,
    #[serde(default)]
    pub checks: Vec<CheckResult>,
    /// Captured plain values.
    #[serde(default)]
    pub captured: IndexMap<String, Clean>,
    /// Names of captured secrets.
    #[serde(default)]
    pub captured_secrets: Vec<String>,
    #[serde(default)]
    pub leaky: bool,
    #[serde(default)]
    pub lost_bytes: u64,
    /// In words, where there is more to say than the outcome.
    pub reason: Option<Clean>,
}

impl Ending {
    /// An ending of which nothing else is known.
    pub fn bare(outcome: Outcome, reason: &str) -> Self {
        Self {
            outcome,
            exit_code: None,
            signal: None,
            verified: false,
            started_at: None,
            ended_at: None,
            elapsed_s: 0.0,
            checks: Vec::new(),
            captured: IndexMap::new(),
            captured_secrets: Vec::new(),
            leaky: false,
            lost_bytes: 0,
            reason: Some(Clean::line(reason)),
        }
    }
}

/// A fact. The journal is a list of these; nothing else is ever recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    Opened {
        id: String,
        mode: Mode,
        world: World,
        runbook: RunbookRef,
        objectives: Targets,
        phases: Vec<PhaseRef>,
    },
    /// A system is reached with less than full verification, because the runbook says so.
    TlsWeakened {
        system: String,
        mode: String,
    },
    SeverityDeclared {
        severity: String,
        title: Clean,
        objectives: Targets,
        escalate: Option<Clean>,
    },
    BeganAtSet {
        began_at: DateTime<Utc>,
        source: Clean,
    },
    ValueSet {
        name: String,
        /// `None` for a secret.
        value: Option<Clean>,
        secret: bool,
        source: String,
        /// HMAC of a secret under the incident's key: tells a changed one, reveals nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<String>,
    },
    Answered {
        question: Clean,
        answer: Clean,
        evidence: Vec<CheckResult>,
    },
    Planned {
        go: Vec<String>,
        steps: Vec<PlanStep>,
    },
    IdentityPinned {
        system: String,
        identity: Identity,
        by: PinnedBy,
    },
    /// Where this is, and who each system has to be: recorded in peace time.
    SiteChosen {
        site: String,
        kind: SiteKind,
        sha256: String,
        recorded: IndexMap<String, Recorded>,
    },
    /// The people who are not here were told.
    UpdateSent {
        text: Clean,
    },
    /// A person says whether a thing of the on-hand list is there.
    OnHandTicked {
        item: String,
        have: bool,
    },
    /// A person named, before it could be seen, whom a system may turn out to be.
    AcceptedBeforehand {
        system: String,
        fingerprint: String,
    },
    /// A step moved the target to where nothing answers yet: whoever does is to be confirmed.
    TargetMoved {
        system: String,
        step: String,
    },
    /// A step moved the target: old and new, waiting for a person.
    IdentityProposed {
        system: String,
        old: Option<Identity>,
        new: Identity,
        step: String,
    },
    TargetRefused {
        system: String,
        pinned: Identity,
        seen: Option<Identity>,
        step: String,
        reason: Clean,
    },
    AttemptStarted {
        step: String,
        n: u32,
        kind: AttemptKind,
        /// The attempt's folder below the incident's.
        dir: String,
        /// What exactly will run, secrets masked.
        command: Clean,
        /// The expected name that was typed, for what destroys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirmed: Option<Clean>,
        /// Why it was started before its turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        out_of_order: Option<Clean>,
        /// What the person said they saw, for a manual step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        saw: Option<Clean>,
        /// Tries that this one start asked for and that are still to come.
        #[serde(default)]
        tries_left: u32,
    },
    AttemptStopAsked {
        step: String,
        n: u32,
    },
    /// The supervisor is gone, the command still runs.
    AttemptUnsupervised {
        step: String,
        n: u32,
    },
    AttemptEnded {
        step: String,
        n: u32,
        kind: AttemptKind,
        #[serde(flatten)]
        ending: Ending,
    },
    CausesFound {
        step: String,
        n: u32,
        /// Best first; empty: no row matches, and one should be written.
        causes: Vec<Cause>,
    },
    ProbeRan {
        step: String,
        row: String,
        check: CheckResult,
    },
    /// A person says whether a suggested cause was the right one.
    CauseJudged {
        step: String,
        n: u32,
        row: String,
        right: bool,
    },
    StepSkipped {
        step: String,
        reason: Clean,
        checks: Vec<CheckResult>,
    },
    /// The moment that a store was recovered to.
    MomentMeasured {
        store: String,
        at: DateTime<Utc>,
        step: String,
    },
    NoteAdded {
        text: Clean,
    },
    /// What whoever is on call was told when it began.
    AlarmGiven {
        text: Clean,
    },
    RecoveryChecked {
        checks: Vec<CheckResult>,
        holds: bool,
    },
    Recovered {
        at: DateTime<Utc>,
    },
    Closed {
        reason: Clean,
    },
    /// The drill is over: what had been broken, and what would have been right.
    DrillRevealed(Revealed),
    /// A cockpit took the pen: at the start, and after every reopening.
    ControlTaken {
        how: Clean,
    },
    JournalRepaired {
        bytes: u64,
        kept: Clean,
    },
    /// Written by a newer version: kept, shown as such, without effect.
    #[serde(other)]
    Unknown,
}

/// What a drill hid until its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revealed {
    pub scenario: String,
    pub title: Clean,
    pub seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twist: Option<Clean>,
    /// The answers of triage that were right, in order.
    pub answers: Vec<Clean>,
    /// The procedures of a good way.
    pub go: Vec<String>,
    pub severity: String,
    /// What was removed with the sandbox.
    pub cleaned: Clean,
}

/// Time objectives in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    pub rto_s: Option<u64>,
    pub rpo_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRef {
    pub id: String,
    pub title: Clean,
    pub budget_s: Option<u64>,
}

/// An order to the edge. It exists only because its event was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Launch { step: String, n: u32 },
    Stop { step: String, n: u32 },
    LookUp { step: String, n: u32 },
}

impl Event {
    /// What is to be done now that this is written.
    pub fn effect(&self) -> Option<Effect> {
        match self {
            Self::AttemptStarted { step, n, .. } => Some(Effect::Launch {
                step: step.clone(),
                n: *n,
            }),
            Self::AttemptStopAsked { step, n } => Some(Effect::Stop {
                step: step.clone(),
                n: *n,
            }),
            Self::AttemptEnded {
                step, n, ending, ..
            } => match ending.outcome {
                Outcome::Failed | Outcome::TimedOut | Outcome::Succeeded => Some(Effect::LookUp {
                    step: step.clone(),
                    n: *n,
                }),
                Outcome::Cancelled | Outcome::Unknown => None,
            },
            Self::Opened { .. }
            | Self::TlsWeakened { .. }
            | Self::SeverityDeclared { .. }
            | Self::BeganAtSet { .. }
            | Self::ValueSet { .. }
            | Self::Answered { .. }
            | Self::Planned { .. }
            | Self::IdentityPinned { .. }
            | Self::AcceptedBeforehand { .. }
            | Self::SiteChosen { .. }
            | Self::UpdateSent { .. }
            | Self::OnHandTicked { .. }
            | Self::TargetMoved { .. }
            | Self::IdentityProposed { .. }
            | Self::TargetRefused { .. }
            | Self::AttemptUnsupervised { .. }
            | Self::CausesFound { .. }
            | Self::ProbeRan { .. }
            | Self::CauseJudged { .. }
            | Self::StepSkipped { .. }
            | Self::MomentMeasured { .. }
            | Self::NoteAdded { .. }
            | Self::AlarmGiven { .. }
            | Self::RecoveryChecked { .. }
            | Self::Recovered { .. }
            | Self::Closed { .. }
            | Self::DrillRevealed(_)
            | Self::ControlTaken { .. }
            | Self::JournalRepaired { .. }
            | Self::Unknown => None,
        }
    }

    /// Does it bring values that others may be made of?
    pub fn holds_values(&self) -> bool {
        match self {
            Self::ValueSet { secret, .. } => !secret,
            Self::AttemptEnded { ending, .. } => !ending.captured.is_empty(),
            _ => false,
        }
    }
}

/// One journal entry without its hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub v: u32,
    pub seq: u64,
    pub at: DateTime<Utc>,
    pub boot_ms: u64,
    pub who: Clean,
    pub event: Event,
}
