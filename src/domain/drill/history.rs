//! Every step's times over all drills: what gets slower, what was never exercised, which drill is overdue.

use crate::domain::{
    event::{Mode, World},
    incident::Incident,
    runbook::{Action, Runbook},
};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// How often a runbook is to be rehearsed, where nobody says otherwise.
pub const QUARTER: chrono::TimeDelta = chrono::TimeDelta::days(91);

/// Where the times of a step go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trend {
    /// Too few times to tell.
    Unknown,
    Faster,
    Steady,
    Slower,
}

/// One step over all drills.
#[derive(Clone, Debug, Serialize)]
pub struct StepHistory {
    pub step: String,
    pub budget_s: Option<u64>,
    /// When, in which kind of world, and how long; oldest first.
    pub times: Vec<(DateTime<Utc>, World, f64)>,
    pub trend: Trend,
}

#[derive(Clone, Debug, Serialize)]
pub struct History {
    pub runbook: String,
    pub drills: usize,
    pub last_drill: Option<DateTime<Utc>>,
    pub overdue: bool,
    pub steps: Vec<StepHistory>,
    /// Steps of the runbook that no drill has ever finished.
    pub never: Vec<String>,
}

/// Looks through the drills of one runbook.
pub fn history(
    runbook: &Runbook,
    incidents: &[Incident],
    now: DateTime<Utc>,
    every: chrono::TimeDelta,
) -> History {
    let mut drills: Vec<&Incident> = incidents
        .iter()
        .filter(|i| i.mode == Mode::Drill && i.runbook.id == runbook.id && !i.steps.is_empty())
        .collect();
    drills.sort_by_key(|i| i.opened_at);
    let last_drill = drills.last().map(|i| i.opened_at);
    // What only stands for the steps of another procedure is not exercised itself.
    let own = runbook
        .steps()
        .filter(|(_, step)| !matches!(step.action, Action::Include(_)));
    let names: Vec<String> = own.map(|(name, _)| name).collect();
    let mut steps = Vec::new();
    let mut never = Vec::new();
    for name in names {
        let mut times = Vec::new();
        for drill in &drills {
            let found = drill.steps.iter().find(|s| s.plan.step == name);
            if let Some(took) = found.and_then(super::took) {
                times.push((drill.opened_at, drill.world, took));
            }
        }
        match times.is_empty() {
            true => never.push(name),
            false => steps.push(StepHistory {
                budget_s: runbook
                    .step(&name)
                    .and_then(|s| s.budget)
                    .map(|b| b.as_secs()),
                trend: trend(&times),
                step: name,
                times,
            }),
        }
    }
    History {
        runbook: runbook.id.clone(),
        drills: drills.len(),
        overdue: last_drill.is_none_or(|at| now - at > every),
        last_drill,
        steps,
        never,
    }
}

/// The newest time against the middle of those before it, of the same kind of world.
fn trend(times: &[(DateTime<Utc>, World, f64)]) -> Trend {
    let Some((_, world, newest)) = times.last() else {
        return Trend::Unknown;
    };
    let mut before: Vec<f64> = times[..times.len() - 1]
        .iter()
        .filter(|(_, w, _)| w == world)
        .map(|(_, _, t)| *t)
        .collect();
    if before.len() < 2 {
        return Trend::Unknown;
    }
    before.sort_by(f64::total_cmp);
    let middle = before[before.len() / 2];
    // Less than a second of difference is noise.
    match newest - middle {
        d if d > (middle * 0.25).max(1.0) => Trend::Slower,
        d if d < -(middle * 0.25).max(1.0) => Trend::Faster,
        _ => Trend::Steady,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(all: &[f64]) -> Vec<(DateTime<Utc>, World, f64)> {
        all.iter()
            .map(|t| (DateTime::UNIX_EPOCH, World::Simulated, *t))
            .collect()
    }

    #[test]
    fn a_step_that_takes_half_as_long_again_gets_slower() {
        assert_eq!(trend(&times(&[60.0, 62.0, 95.0])), Trend::Slower);
        assert_eq!(trend(&times(&[60.0, 62.0, 40.0])), Trend::Faster);
        assert_eq!(trend(&times(&[60.0, 62.0, 64.0])), Trend::Steady);
    }

    #[test]
    fn one_time_before_tells_nothing() {
        assert_eq!(trend(&times(&[60.0, 95.0])), Trend::Unknown);
    }

    #[test]
    fn a_simulated_time_is_not_compared_with_a_rehearsed_one() {
        let mut all = times(&[60.0, 62.0]);
        all.push((DateTime::UNIX_EPOCH, World::Rehearsal, 900.0));
        assert_eq!(trend(&all), Trend::Unknown);
    }
}
