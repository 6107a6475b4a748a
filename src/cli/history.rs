//! `blackstart history`: every step's times over all drills, what is overdue, what was never exercised.

use super::{
    Exit, Failure, incidents,
    load::{Found, SHIPPED},
    say, say_json,
    settings::Settings,
};
use crate::{
    clock,
    domain::{
        drill::{History, QUARTER, Trend, history as look},
        event::World,
        units,
    },
};

pub(super) fn history(
    settings: &Settings,
    runbook: Option<&str>,
    every: Option<&str>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let every = match every {
        None => QUARTER,
        Some(text) => {
            let read = units::duration(text)
                .ok()
                .and_then(|d| chrono::TimeDelta::from_std(d).ok());
            read.ok_or_else(|| {
                Failure::usage(
                    format!("--every {text}: this is not a duration"),
                    "--every 30d",
                )
            })?
        }
    };
    let drills = incidents::drills(&settings.store_to_look()?);
    let names: Vec<String> = match runbook {
        Some(name) => vec![name.to_owned()],
        None => SHIPPED.iter().map(|(id, _)| (*id).to_owned()).collect(),
    };
    let mut all = Vec::new();
    for name in &names {
        let runbook = Found::read(name)?.runbook()?;
        all.push(look(&runbook, &drills, clock::now(), every));
    }
    match as_json {
        true => say_json(&serde_json::json!(all)),
        false => all.iter().for_each(tell),
    }
    // For cron: the answer is no when a drill is overdue.
    Ok(match all.iter().any(|h| h.overdue) {
        true => Exit::Failed,
        false => Exit::Done,
    })
}

fn tell(history: &History) {
    let last = history.last_drill.map_or("never".to_owned(), |at| {
        at.format("%Y-%m-%d %H:%MZ").to_string()
    });
    let overdue = if history.overdue { "  OVERDUE" } else { "" };
    say(&format!(
        "{}: {} drills, the last one {last}{overdue}",
        history.runbook, history.drills
    ));
    let width = history
        .steps
        .iter()
        .map(|s| s.step.chars().count())
        .max()
        .unwrap_or(0);
    for step in &history.steps {
        let newest = step.times.iter().rev().take(5).rev();
        let times: Vec<String> = newest
            .map(|(_, world, t)| format!("{}{}", units::clock(*t), mark(*world)))
            .collect();
        let budget = step.budget_s.map_or("–".to_owned(), units::short);
        let trend = match step.trend {
            Trend::Unknown | Trend::Steady => "",
            Trend::Faster => "  faster",
            Trend::Slower => "  SLOWER",
        };
        say(&format!(
            "  {:<width$}  budget {budget:<6} {}{trend}",
            step.step,
            times.join(" ")
        ));
    }
    if !history.steps.is_empty() {
        say("  times of a sandbox are marked s, those of a rehearsal r");
    }
    if !history.never.is_empty() {
        say(&format!(
            "  never exercised: {} of {} steps",
            history.never.len(),
            history.never.len() + history.steps.len()
        ));
        for step in &history.never {
            say(&format!("    {step}"));
        }
    }
}

fn mark(world: World) -> &'static str {
    match world {
        World::Simulated => "s",
        World::Rehearsal => "r",
        World::Live => "",
    }
}
