//! What an incident is made of: its steps, their attempts, values, targets, notes.

use crate::domain::{
    event::{
        AttemptKind, Cause, CheckPhase, CheckResult, Ending, Identity, Outcome, PinnedBy, PlanStep,
        Verdict,
    },
    failures::library::only_repeats,
    site::SiteKind,
    text::Clean,
};
use chrono::{DateTime, Utc};
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
    /// What people said of the causes that were suggested.
    pub judged: Vec<(String, bool)>,
}

impl Attempt {
    /// What a person, else a probe, said of a cause: was it this one?
    pub fn verdict(&self, row: &str) -> Option<bool> {
        let judged = self.judged.iter().rev().find(|(r, _)| r == row);
        let probed = || {
            let (_, check) = self.probes.iter().rev().find(|(r, _)| r == row)?;
            match check.verdict {
                Verdict::Holds => Some(true),
                Verdict::DoesNotHold => Some(false),
                Verdict::CannotTell => None,
            }
        };
        judged.map(|(_, right)| *right).or_else(probed)
    }

    /// What was confirmed comes first, what was excluded last; the order among equals stays.
    pub fn rank_again(&mut self) {
        let Some(mut causes) = self.causes.take() else {
            return;
        };
        causes.sort_by_key(|cause| match self.verdict(&cause.row) {
            Some(true) => 0,
            None => 1,
            Some(false) => 2,
        });
        self.causes = Some(causes);
    }
}

impl Attempt {
    pub fn is_running(&self) -> bool {
        self.ending.is_none()
    }

    /// It ended with 0, nothing verified it, and its output says that it failed.
    pub fn is_doubted(&self) -> bool {
        let succeeded = |e: &Ending| e.outcome == Outcome::Succeeded;
        self.ending.as_ref().is_some_and(succeeded)
            && self.causes.as_ref().is_some_and(|all| !all.is_empty())
    }

    /// It was looked up, and no row knows it; the tool's own words may be repeated.
    pub fn is_unmatched(&self) -> bool {
        let causes = self.causes.as_ref();
        causes.is_some_and(|all| all.is_empty() || all.iter().any(|c| only_repeats(&c.row)))
    }

    /// Is there something in its output that nobody has looked up?
    pub fn wants_look_up(&self) -> bool {
        let wants = |e: &Ending| match e.outcome {
            Outcome::Failed | Outcome::TimedOut => true,
            Outcome::Succeeded => {
                let verified = e.checks.iter().any(|c| c.phase == CheckPhase::Verify);
                self.kind == AttemptKind::Run && !verified
            }
            Outcome::Cancelled | Outcome::Unknown => false,
        };
        self.causes.is_none() && self.ending.as_ref().is_some_and(wants)
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
                    None => super::seconds(now - a.started_at),
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

/// Where the incident is, as a file of peace time says.
#[derive(Clone, Debug)]
pub struct SiteRef {
    pub name: String,
    pub kind: SiteKind,
    pub sha256: String,
}
