//! Numbers that cannot all be true: budgets against the RTO, backups against the RPO.

use super::Found;
use crate::domain::{
    event::PlanStep,
    finding::Pos,
    plan::{Chosen, lay_out},
    runbook::{Action, Backup, Runbook},
    units,
};
use regex::Regex;
use std::{collections::HashMap, sync::LazyLock, time::Duration};

pub(super) fn find(runbook: &Runbook, found: &mut Found) {
    phases(runbook, found);
    paths(runbook, found);
    backups(runbook, found);
    prose(runbook, found);
}

/// An objective, and whose it is: a severity, or the runbook.
struct Goal<'a> {
    whose: String,
    place: &'a str,
    at: Pos,
    rto: Option<Duration>,
    rpo: Option<Duration>,
}

fn goals(runbook: &Runbook) -> Vec<Goal<'_>> {
    let severities = runbook.severities.iter().map(|s| Goal {
        whose: s.id.text.clone(),
        place: &s.id.text,
        at: s.id.at,
        rto: s.rto.or(runbook.objectives.rto),
        rpo: s.rpo.or(runbook.objectives.rpo),
    });
    let mut all: Vec<Goal<'_>> = severities.collect();
    if all.is_empty() {
        all.push(Goal {
            whose: "the runbook".to_owned(),
            place: "objectives",
            at: runbook.phases.first().map_or(Pos::NONE, |p| p.id.at),
            rto: runbook.objectives.rto,
            rpo: runbook.objectives.rpo,
        });
    }
    all
}

fn short(duration: Duration) -> String {
    units::short(duration.as_secs())
}

/// The phases together, against each RTO.
fn phases(runbook: &Runbook, found: &mut Found) {
    let sum: Duration = runbook.phases.iter().filter_map(|p| p.budget).sum();
    for goal in goals(runbook) {
        if let Some(rto) = goal.rto
            && sum > rto
        {
            found.warn(
                "phase-sum",
                goal.place,
                goal.at,
                format!(
                    "the phases add up to {}, and {} has an RTO of {}",
                    short(sum),
                    goal.whose,
                    short(rto)
                ),
                "shorten a phase, or say which way is meant for this severity and `accept` this",
            );
        }
    }
}

/// Every way through every procedure, against each RTO; and its steps, against their phases.
fn paths(runbook: &Runbook, found: &mut Found) {
    for procedure in &runbook.procedures {
        for path in &procedure.paths {
            let chosen = Chosen {
                procedure: procedure.id.text.clone(),
                path: path.id.clone(),
            };
            let name = chosen.name();
            let steps = plan_of(runbook, chosen);
            let longest = critical(&steps);
            let late: Vec<Goal<'_>> = goals(runbook)
                .into_iter()
                .filter(|g| g.rto.is_some_and(|rto| longest > rto))
                .collect();
            for goal in late {
                found.warn(
                    "budget-over-rto",
                    &name,
                    path.at,
                    format!(
                        "the longest way through `{name}` takes {}, and {} has an RTO of {}",
                        short(longest),
                        goal.whose,
                        short(goal.rto.unwrap_or_default())
                    ),
                    "shorten budgets, let steps run beside each other (`after`), or `accept` it with the reason",
                );
            }
            for phase in &runbook.phases {
                let Some(budget) = phase.budget else { continue };
                let of_phase: Vec<PlanStep> = steps
                    .iter()
                    .map(|s| PlanStep {
                        budget_s: s
                            .budget_s
                            .filter(|_| s.phase.as_deref() == Some(phase.id.text.as_str())),
                        ..s.clone()
                    })
                    .collect();
                let used = critical(&of_phase);
                if used > budget {
                    found.warn(
                        "phase-sum",
                        &name,
                        path.at,
                        format!(
                            "the steps of `{name}` in the phase `{}` take {}, and the phase has {}",
                            phase.id,
                            short(used),
                            short(budget)
                        ),
                        "shorten budgets, or give the phase what it needs",
                    );
                }
            }
        }
    }
}

/// The plan of one choice; where it cannot be laid out alone, its own steps one after the other.
fn plan_of(runbook: &Runbook, chosen: Chosen) -> Vec<PlanStep> {
    let own = || {
        let procedure = runbook.procedure(&chosen.procedure)?;
        let path = procedure.path(chosen.path.as_deref())?;
        let steps = path.steps.iter().chain(&procedure.then);
        let steps = steps.filter(|s| !matches!(s.action, Action::Include(_)));
        let mut before: Option<String> = None;
        let line = steps.enumerate().map(|(number, step)| PlanStep {
            number: number + 1,
            id: step.id.text.clone(),
            procedure: chosen.procedure.clone(),
            path: chosen.path.clone(),
            title: Default::default(),
            phase: step.phase.as_ref().map(|p| p.text.clone()),
            budget_s: step.budget.map(|b| b.as_secs()),
            after: before.replace(step.id.text.clone()).into_iter().collect(),
            kind: String::new(),
            danger: String::new(),
            step: step.id.text.clone(),
        });
        Some(line.collect::<Vec<_>>())
    };
    lay_out(runbook, std::slice::from_ref(&chosen), &[])
        .ok()
        .or_else(own)
        .unwrap_or_default()
}

/// The longest way through steps at their budgets.
fn critical(steps: &[PlanStep]) -> Duration {
    critical_path(steps).1
}

/// The steps of the longest way, and how long it takes.
pub fn critical_path(steps: &[PlanStep]) -> (Vec<String>, Duration) {
    let mut ends: HashMap<&str, (u64, Option<&str>)> = HashMap::new();
    // A step may stand before what it waits for: as many rounds as there are steps are enough.
    for _ in 0..steps.len() {
        let mut changed = false;
        for step in steps {
            let own = step.budget_s.unwrap_or(0);
            let before = step
                .after
                .iter()
                .filter_map(|a| ends.get(a.as_str()).map(|(end, _)| (*end, a.as_str())))
                .max();
            let next = (
                own + before.map_or(0, |(end, _)| end),
                before.map(|(_, name)| name),
            );
            changed |= ends.insert(&step.step, next) != Some(next);
        }
        if !changed {
            break;
        }
    }
    let last = steps
        .iter()
        .map(|s| s.step.as_str())
        .max_by_key(|s| ends.get(s).map_or(0, |(end, _)| *end));
    let total = last.and_then(|l| ends.get(l)).map_or(0, |(end, _)| *end);
    let mut way = Vec::new();
    let mut at = last;
    while let Some(name) = at
        && way.len() < steps.len()
    {
        way.push(name.to_owned());
        at = ends.get(name).and_then(|(_, before)| *before);
    }
    way.reverse();
    (way, Duration::from_secs(total))
}

fn backups(runbook: &Runbook, found: &mut Found) {
    for backup in &runbook.backups {
        let covers = backup.covers.or(backup.every);
        let missed: Vec<Goal<'_>> = goals(runbook)
            .into_iter()
            .filter(|g| matches!((covers, g.rpo), (Some(c), Some(rpo)) if c > rpo))
            .collect();
        for goal in missed {
            found.warn(
                "backup-over-rpo",
                &backup.of.text,
                backup.of.at,
                format!(
                    "`{}` may lose {}, and {} has an RPO of {}",
                    backup.method,
                    short(covers.unwrap_or_default()),
                    goal.whose,
                    short(goal.rpo.unwrap_or_default())
                ),
                "back up more often, or `accept` it with the way that keeps this RPO",
            );
        }
        numbers(backup, found);
    }
}

static COUNT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(\d+)\s+(?:[a-z-]+\s+)?(?:snapshots?|dumps?|backups?|copies|files|points|generations?|versions?)\b")
        .expect("a constant")
});
static KEEP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(\d+)[\s-]*(h|hours?|d|days?|w|weeks?)\b").expect("a constant")
});
static EVERY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\bevery\s+(\d+)?\s*(m|min|minutes?|h|hours?|d|days?)\b|\b(hourly|daily)\b")
        .expect("a constant")
});

fn seconds(number: u64, unit: &str) -> u64 {
    let of = match unit.to_ascii_lowercase().as_bytes().first() {
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'w') => 604_800,
        _ => 86_400,
    };
    number.saturating_mul(of)
}

fn count_in(text: &str) -> Option<u64> {
    COUNT.captures(text)?.get(1)?.as_str().parse().ok()
}

fn keep_in(text: &str) -> Option<u64> {
    // The longest time that stands there: "every 2 h, 7 days".
    let found = KEEP.captures_iter(text);
    found
        .filter_map(|c| Some(seconds(c[1].parse().ok()?, &c[2])))
        .max()
}

fn every_in(text: &str) -> Option<u64> {
    let found = EVERY.captures(text)?;
    match (found.get(2), found.get(3)) {
        (Some(unit), _) => {
            let number = found.get(1).map_or(Ok(1), |n| n.as_str().parse());
            Some(seconds(number.ok()?, unit.as_str()))
        }
        (None, Some(word)) => Some(if word.as_str().eq_ignore_ascii_case("hourly") {
            3_600
        } else {
            86_400
        }),
        (None, None) => None,
    }
}

fn numbers(backup: &Backup, found: &mut Found) {
    let keep = backup.keep.as_deref().unwrap_or_default();
    let stated = backup
        .count
        .and_then(|c| u64::try_from(c).ok())
        .or_else(|| count_in(keep))
        .or_else(|| count_in(&backup.method));
    let (Some(every), Some(stated)) = (backup.every, stated) else {
        return;
    };
    let kept = units::duration(keep)
        .map(|d| d.as_secs())
        .ok()
        .or_else(|| keep_in(keep));
    if let Some(kept) = kept {
        contradiction(
            &backup.of.text,
            backup.of.at,
            every.as_secs(),
            kept,
            stated,
            found,
        );
    }
}

fn contradiction(place: &str, at: Pos, every: u64, kept: u64, stated: u64, found: &mut Found) {
    if every == 0 || kept < every {
        return;
    }
    let made = kept / every;
    // "3 copies in 2 regions" counts something else.
    if made.abs_diff(stated) > 1 && stated >= 5 {
        found.warn(
            "contradicting-numbers",
            place,
            at,
            format!(
                "one every {} for {} makes {made}, and {stated} are stated",
                units::short(every),
                days(kept)
            ),
            "find out which number is true; what is kept decides how far back one can go",
        );
    }
}

fn days(seconds: u64) -> String {
    if seconds.is_multiple_of(86_400) {
        format!("{} days", seconds / 86_400)
    } else {
        units::short(seconds)
    }
}

/// The same contradiction in what people read: "every 2 h, kept for 7 days (168 snapshots)".
fn prose(runbook: &Runbook, found: &mut Found) {
    let references = runbook
        .reference
        .iter()
        .map(|r| (r.title.as_str(), r.at, r.text.as_str()));
    let manual = runbook
        .steps()
        .map(|(_, s)| s)
        .chain(&runbook.prepare)
        .filter_map(|s| match &s.action {
            Action::Manual(text) => Some((s.id.text.as_str(), s.text_at, text.as_str())),
            Action::Run(_) | Action::Kubernetes(_) | Action::Check(_) | Action::Include(_) => None,
        });
    let whys = runbook
        .steps()
        .map(|(_, s)| s)
        .chain(&runbook.prepare)
        .flat_map(|s| {
            let texts = [s.why.as_deref(), s.expect.as_deref()];
            texts
                .into_iter()
                .flatten()
                .map(move |t| (s.id.text.as_str(), s.at, t))
        });
    for (place, at, text) in references.chain(manual).chain(whys) {
        for line in text.lines() {
            if let (Some(every), Some(kept), Some(stated)) =
                (every_in(line), keep_in(line), count_in(line))
            {
                contradiction(place, at, every, kept, stated, found);
            }
        }
    }
}
