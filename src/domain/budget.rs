//! Elapsed against budget: of a step, of a phase, and of the way to recovery.

use super::incident::{Incident, StepState, seconds};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// When those who are not here are to be told next; `None` once there is nothing to tell.
pub fn update_due(incident: &Incident, every: std::time::Duration) -> Option<DateTime<Utc>> {
    if incident.recovered_at.is_some() || incident.closed.is_some() {
        return None;
    }
    let last = incident
        .updates
        .last()
        .map_or(incident.opened_at, |(at, _)| *at);
    Some(last + chrono::TimeDelta::from_std(every).ok()?)
}

/// What a phase has used of its budget.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseUse {
    pub id: String,
    pub title: String,
    pub budget_s: Option<u64>,
    pub used_s: f64,
    pub started: bool,
    pub done: bool,
    pub running: bool,
}

/// The whole incident against its RTO.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    pub elapsed_s: f64,
    pub rto_s: Option<u64>,
    /// When recovery can be expected, counted from the beginning: elapsed, plus what is left on the
    /// longest way through the steps at their budgets.
    pub projected_s: Option<f64>,
}

impl Pace {
    /// Seconds to spare, negative when this way can no longer make it.
    pub fn spare_s(&self) -> Option<f64> {
        Some(self.rto_s? as f64 - self.projected_s?)
    }
}

pub fn pace(incident: &Incident, now: DateTime<Utc>) -> Pace {
    let end = incident.recovered_at.unwrap_or(now);
    let elapsed_s = seconds(end - incident.began());
    let projected_s = match incident.recovered_at {
        Some(_) => Some(elapsed_s),
        None if incident.steps.is_empty() => None,
        None => Some(elapsed_s + remaining_s(incident, now)),
    };
    Pace {
        elapsed_s,
        rto_s: incident.objectives().rto_s,
        projected_s,
    }
}

/// What is left on the longest chain of steps that are not done.
fn remaining_s(incident: &Incident, now: DateTime<Utc>) -> f64 {
    let mut memo: BTreeMap<&str, f64> = BTreeMap::new();
    // Steps stand after what they wait for, but for `after` that names a later step: two passes do.
    for _ in 0..2 {
        for step in &incident.steps {
            let own = match step.state() {
                StepState::Succeeded | StepState::Skipped => 0.0,
                StepState::Running => {
                    let budget = step.plan.budget_s.unwrap_or(0) as f64;
                    let used = step.running().map_or(0.0, |a| seconds(now - a.started_at));
                    (budget - used).max(0.0)
                }
                StepState::Pending
                | StepState::Unverified
                | StepState::Failed
                | StepState::Unknown => step.plan.budget_s.unwrap_or(0) as f64,
            };
            let before = step
                .plan
                .after
                .iter()
                .filter_map(|name| memo.get(name.as_str()))
                .fold(0.0, |a: f64, b| a.max(*b));
            memo.insert(&step.plan.step, own + before);
        }
    }
    memo.values().fold(0.0, |a, b| a.max(*b))
}

/// Each phase: wall time from its first attempt to its last, or until now while something runs. The
/// first phase, where no step names it, is the time until there was a plan.
pub fn phases(incident: &Incident, now: DateTime<Utc>) -> Vec<PhaseUse> {
    incident
        .phases
        .iter()
        .enumerate()
        .map(|(i, phase)| {
            let steps: Vec<_> = incident
                .steps
                .iter()
                .filter(|s| s.plan.phase.as_deref() == Some(phase.id.as_str()))
                .collect();
            let title = phase.title.to_string();
            let (id, budget_s) = (phase.id.clone(), phase.budget_s);
            if steps.is_empty() {
                let first = i == 0;
                let end = incident.planned_at.unwrap_or(now);
                return PhaseUse {
                    id,
                    title,
                    budget_s,
                    used_s: if first {
                        seconds(end - incident.began())
                    } else {
                        0.0
                    },
                    started: first,
                    done: first && incident.planned_at.is_some(),
                    running: first && incident.planned_at.is_none(),
                };
            }
            let begins = steps
                .iter()
                .filter_map(|s| s.attempts.first().map(|a| a.started_at))
                .min();
            let running = steps.iter().any(|s| s.state() == StepState::Running);
            let done = steps.iter().all(|s| s.state().is_done());
            let last = steps
                .iter()
                .flat_map(|s| &s.attempts)
                .filter_map(|a| a.ending.as_ref().and_then(|e| e.ended_at))
                .max();
            let until = if done { last.unwrap_or(now) } else { now };
            PhaseUse {
                id,
                title,
                budget_s,
                used_s: begins.map_or(0.0, |b| seconds(until - b)),
                started: begins.is_some(),
                done,
                running,
            }
        })
        .collect()
}
