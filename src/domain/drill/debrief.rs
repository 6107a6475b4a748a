//! What can be learnt from a drill: what was right, what it cost, and which steps were slow.

use crate::domain::{
    event::{AttemptKind, Entry, Event, Outcome, World},
    incident::{Incident, PlannedStep, seconds},
    text::Clean,
};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// An answer of triage beside what was broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answered {
    pub question: Clean,
    pub given: Clean,
    /// `None` where the scenario has no answer for it.
    pub right: Option<bool>,
}

/// A step's time against its budget and its past.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed {
    pub step: String,
    pub title: Clean,
    pub elapsed_s: f64,
    pub budget_s: Option<u64>,
    /// Times of earlier drills in the same kind of world, oldest first.
    pub earlier_s: Vec<f64>,
}

/// Something that was tried and did not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WrongTurn {
    pub step: String,
    pub outcome: Outcome,
    /// From its start until the next attempt of the same step began, or until it ended.
    pub cost_s: f64,
    /// The likeliest cause that was shown; `None`: no row matched.
    pub cause: Option<Clean>,
}

/// A failure that no row of the failure table knows, and the row that somebody should write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unmatched {
    pub step: String,
    pub reason: Option<Clean>,
    pub row: String,
}

/// A drill, looked back on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Debrief {
    pub broken: Option<Clean>,
    pub twist: Option<Clean>,
    pub answers: Vec<Answered>,
    /// Did the plan hold the procedures of the good way?
    pub plan_right: Option<bool>,
    pub severity_right: Option<bool>,
    /// While an attempt ran, and while a person read, decided and typed.
    pub machine_s: f64,
    pub human_s: f64,
    pub steps: Vec<Timed>,
    pub wrong_turns: Vec<WrongTurn>,
    pub unmatched: Vec<Unmatched>,
    pub skipped: Vec<(String, Clean)>,
}

/// An earlier drill, as far as it is compared with.
#[derive(Clone, Debug)]
pub struct Earlier {
    pub opened_at: DateTime<Utc>,
    pub world: World,
    pub runbook: String,
    pub steps: Vec<(String, f64)>,
}

impl Earlier {
    /// What is compared of an incident: its steps that succeeded.
    pub fn of(incident: &Incident) -> Self {
        Self {
            opened_at: incident.opened_at,
            world: incident.world,
            runbook: incident.runbook.id.clone(),
            steps: incident
                .steps
                .iter()
                .filter_map(|s| Some((s.plan.step.clone(), took(s)?)))
                .collect(),
        }
    }
}

/// How long the attempt took that succeeded.
pub fn took(step: &PlannedStep) -> Option<f64> {
    let runs = step.attempts.iter().filter(|a| a.kind == AttemptKind::Run);
    let good = runs
        .filter_map(|a| a.ending.as_ref())
        .rfind(|e| e.outcome == Outcome::Succeeded);
    good.map(|e| e.elapsed_s)
}

/// Looks back on a drill; `earlier` are drills of any kind, of which those are compared with that fit.
pub fn debrief(incident: &Incident, entries: &[Entry], earlier: &[Earlier]) -> Debrief {
    let revealed = incident.revealed.as_ref();
    let (machine_s, human_s) = times(incident, entries);
    let fits = |e: &&Earlier| {
        e.world == incident.world
            && e.runbook == incident.runbook.id
            && e.opened_at < incident.opened_at
    };
    let timed = |s: &PlannedStep| {
        let past = earlier.iter().filter(fits);
        let past = past.filter_map(|e| e.steps.iter().find(|(name, _)| *name == s.plan.step));
        Some(Timed {
            step: s.plan.step.clone(),
            title: s.plan.title.clone(),
            elapsed_s: took(s)?,
            budget_s: s.plan.budget_s,
            earlier_s: past.map(|(_, t)| *t).collect(),
        })
    };
    Debrief {
        broken: revealed.map(|r| r.title.clone()),
        twist: revealed.and_then(|r| r.twist.clone()),
        answers: answers(incident),
        plan_right: revealed.map(|r| {
            let planned = |go: &String| {
                incident
                    .go
                    .iter()
                    .any(|p| p == go || p.split('/').next() == Some(go.as_str()))
            };
            r.go.iter().all(planned)
        }),
        severity_right: revealed.and_then(|r| Some(incident.severity.as_ref()?.0 == r.severity)),
        machine_s,
        human_s,
        steps: incident.steps.iter().filter_map(timed).collect(),
        wrong_turns: wrong_turns(incident),
        unmatched: unmatched(incident),
        skipped: incident
            .steps
            .iter()
            .filter_map(|s| Some((s.plan.step.clone(), s.skipped.as_ref()?.0.clone())))
            .collect(),
    }
}

fn answers(incident: &Incident) -> Vec<Answered> {
    let right: Vec<&Clean> = incident.revealed.iter().flat_map(|r| &r.answers).collect();
    let mut out: Vec<Answered> = Vec::new();
    for answer in &incident.answers {
        let judged = out.iter().filter(|a| a.right == Some(true)).count() < right.len();
        let good = judged.then(|| right.contains(&&answer.answer));
        // What comes after the tree is a way, and the plan is judged for that. Who goes back and answers again has changed their mind: the last one counts.
        out.retain(|a| a.question != answer.question);
        out.push(Answered {
            question: answer.question.clone(),
            given: answer.answer.clone(),
            right: good,
        });
    }
    out
}

/// The union of all times in which something ran, and what is left of the time from opening to the end.
fn times(incident: &Incident, entries: &[Entry]) -> (f64, f64) {
    let recovered = incident.recovered_at;
    let last = entries.iter().rfind(|e| {
        !matches!(
            e.event,
            Event::DrillRevealed(_) | Event::ControlTaken { .. } | Event::Closed { .. }
        )
    });
    let end = recovered.or(last.map(|e| e.at)).unwrap_or(incident.last_at);
    let mut spans: Vec<(DateTime<Utc>, DateTime<Utc>)> = incident
        .steps
        .iter()
        .filter(|s| s.plan.kind != "manual")
        .flat_map(|s| &s.attempts)
        .map(|a| {
            (
                a.started_at,
                a.ending.as_ref().and_then(|e| e.ended_at).unwrap_or(end),
            )
        })
        .collect();
    spans.sort();
    let mut machine = 0.0;
    let mut until = incident.opened_at;
    for (from, to) in spans {
        let from = from.max(until);
        let to = to.min(end);
        if to > from {
            machine += seconds(to - from);
            until = to;
        }
    }
    (
        machine,
        (seconds(end - incident.opened_at) - machine).max(0.0),
    )
}

fn wrong_turns(incident: &Incident) -> Vec<WrongTurn> {
    let mut out = Vec::new();
    for step in &incident.steps {
        for (i, attempt) in step.attempts.iter().enumerate() {
            let Some(ending) = &attempt.ending else {
                continue;
            };
            if ending.outcome == Outcome::Succeeded {
                continue;
            }
            let next = step
                .attempts
                .get(i + 1)
                .map(|a| seconds(a.started_at - attempt.started_at));
            out.push(WrongTurn {
                step: step.plan.step.clone(),
                outcome: ending.outcome,
                cost_s: next.unwrap_or(ending.elapsed_s).max(0.0),
                cause: attempt
                    .causes
                    .iter()
                    .flatten()
                    .next()
                    .map(|c| c.cause.clone()),
            });
        }
    }
    out
}

fn unmatched(incident: &Incident) -> Vec<Unmatched> {
    let mut out = Vec::new();
    for step in &incident.steps {
        for attempt in &step.attempts {
            let failed = attempt
                .ending
                .as_ref()
                .filter(|e| matches!(e.outcome, Outcome::Failed | Outcome::TimedOut));
            let Some(ending) = failed else {
                continue;
            };
            if attempt.is_unmatched() {
                out.push(Unmatched {
                    step: step.plan.step.clone(),
                    reason: ending.reason.clone(),
                    row: draft(step, ending.reason.as_ref(), ending.exit_code),
                });
            }
        }
    }
    out
}

/// A row to paste into the runbook, and to finish.
fn draft(step: &PlannedStep, reason: Option<&Clean>, exit: Option<i32>) -> String {
    let symptom = reason.map_or("what one sees", |r| r.as_str());
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let exit = exit
        .filter(|c| *c > 1)
        .map(|c| format!(", exit: [{c}]"))
        .unwrap_or_default();
    format!(
        "- id: {}-fails\n  symptom: {}\n  cause: \n  fix: \n  match: {{ step: [{}]{exit} }}\n  source: drill {}\n",
        step.plan.id,
        quoted(symptom),
        step.plan.id,
        step.attempts
            .last()
            .map(|a| a.started_at.format("%Y-%m-%d").to_string())
            .unwrap_or_default(),
    )
}
