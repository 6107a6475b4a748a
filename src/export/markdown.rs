//! The timeline for people who were not there.

use super::{Source, timeline};
use crate::domain::{
    budget,
    event::{Mode, Verdict},
    incident::{Incident, IncidentState},
    text::Clean,
    units,
};
use chrono::{DateTime, Utc};
use std::fmt::Write as _;

pub fn write(source: &Source<'_>) -> String {
    let incident = source.incident();
    let mut out = String::new();
    let result = head(incident, source, &mut out)
        .and_then(|()| targets(incident, &mut out))
        .and_then(|()| out.write_str(&super::drill::record(source, source.earlier)))
        .and_then(|()| phases(incident, source.now, &mut out))
        .and_then(|()| decisions(incident, &mut out))
        .and_then(|()| steps(incident, &mut out))
        .and_then(|()| recovery(incident, &mut out))
        .and_then(|()| notes(incident, &mut out))
        .and_then(|()| entries(source, &mut out));
    result.expect("writing to a string does not fail");
    out
}

type Done = std::fmt::Result;

fn head(incident: &Incident, source: &Source<'_>, out: &mut String) -> Done {
    let mode = match incident.mode {
        Mode::Live => "Incident",
        Mode::Drill => "DRILL",
    };
    let state = match incident.state() {
        IncidentState::Open => "open",
        IncidentState::Recovered => "recovered",
        IncidentState::Closed => "closed",
    };
    writeln!(
        out,
        "# {mode} {}: {}\n",
        incident.id,
        cell(incident.runbook.title.as_str())
    )?;
    writeln!(out, "- State: **{state}** (written {})", moment(source.now))?;
    if let Some((id, title, _)) = &incident.severity {
        writeln!(out, "- Severity: {id}, {title}")?;
    }
    if let Some(escalate) = &incident.escalate {
        writeln!(out, "- Escalation: {escalate}")?;
    }
    writeln!(out, "- Opened by: {}", incident.opened_by)?;
    writeln!(
        out,
        "- Runbook: {} (sha256 {})",
        incident.runbook.id, incident.runbook.sha256
    )?;
    for (system, pin) in &incident.pins {
        if let Some(identity) = &pin.identity {
            writeln!(out, "- Target {system}: {}", identity.fingerprint())?;
        }
    }
    writeln!(out, "- Journal head: `{}`\n", source.loaded.head)?;
    writeln!(
        out,
        "## Milestones\n\n| what | when (UTC) | after the beginning |\n|---|---|---|"
    )?;
    for (what, at) in timeline::milestones(incident) {
        let after = (at - incident.began()).num_seconds();
        let sign = if after < 0 { "-" } else { "+" };
        let after = units::clock(after.abs() as f64);
        writeln!(out, "| {what} | {} | {sign}{after} |", moment(at))?;
    }
    writeln!(out)
}

fn targets(incident: &Incident, out: &mut String) -> Done {
    let objectives = incident.objectives();
    let rows = [
        (
            "RTO (time to recover)",
            objectives.rto_s,
            incident.rto_actual_s(),
        ),
        (
            "RPO (data lost)",
            objectives.rpo_s,
            incident.rpo_measured_s(),
        ),
    ];
    writeln!(
        out,
        "## Targets and actuals\n\n| objective | target | actual | verdict |\n|---|---|---|---|"
    )?;
    for (what, target, actual) in rows {
        let shown = |s: Option<u64>| s.map_or("not known".to_owned(), units::short);
        let verdict = match (target, actual) {
            (Some(target), Some(actual)) if actual <= target => "met",
            (Some(_), Some(_)) => "**missed**",
            _ => "not known",
        };
        writeln!(
            out,
            "| {what} | {} | {} | {verdict} |",
            shown(target),
            shown(actual)
        )?;
    }
    for (store, lost) in incident.losses() {
        writeln!(out, "\nLost in {store}: {}.", units::short(lost))?;
    }
    writeln!(out)
}

fn phases(incident: &Incident, now: DateTime<Utc>, out: &mut String) -> Done {
    if incident.phases.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Phases\n\n| phase | took | budget |\n|---|---|---|")?;
    let until = incident.recovered_at.unwrap_or(now);
    for phase in budget::phases(incident, until) {
        let took = if phase.started {
            units::clock(phase.used_s)
        } else {
            "–".to_owned()
        };
        let budget = phase.budget_s.map_or("–".to_owned(), units::short);
        writeln!(out, "| {} | {took} | {budget} |", cell(&phase.title))?;
    }
    writeln!(out)
}

fn decisions(incident: &Incident, out: &mut String) -> Done {
    if incident.answers.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Decisions\n")?;
    for answer in &incident.answers {
        writeln!(
            out,
            "- {} {} **{}**",
            moment(answer.at),
            answer.question,
            answer.answer
        )?;
        for check in &answer.evidence {
            let verdict = match check.verdict {
                Verdict::Holds => "up",
                Verdict::DoesNotHold => "down",
                Verdict::CannotTell => "cannot tell",
            };
            writeln!(
                out,
                "  - {}: {verdict}: {}",
                check.what,
                line(check.seen.as_str())
            )?;
        }
    }
    writeln!(out)
}

fn steps(incident: &Incident, out: &mut String) -> Done {
    if incident.steps.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## Steps\n\n| # | step | state | took | budget |\n|---|---|---|---|---|"
    )?;
    for step in &incident.steps {
        let took = step
            .elapsed_s(incident.last_at)
            .map_or("–".to_owned(), units::clock);
        let budget = step.plan.budget_s.map_or("–".to_owned(), units::short);
        let title = cell(step.plan.title.as_str());
        let state = step.state().as_str();
        writeln!(
            out,
            "| {} | {title} | {state} | {took} | {budget} |",
            step.plan.number
        )?;
    }
    for step in &incident.steps {
        if step.attempts.is_empty() && step.skipped.is_none() {
            continue;
        }
        writeln!(
            out,
            "\n### {}. {} (`{}`)\n",
            step.plan.number, step.plan.title, step.plan.step
        )?;
        if let Some((reason, _)) = &step.skipped {
            writeln!(out, "Skipped: {reason}\n")?;
        }
        for attempt in &step.attempts {
            let undo = match attempt.kind {
                crate::domain::event::AttemptKind::Run => "Attempt",
                crate::domain::event::AttemptKind::Undo => "Undo, attempt",
            };
            write!(
                out,
                "{undo} {}, started {}: ",
                attempt.n,
                moment(attempt.started_at)
            )?;
            match &attempt.ending {
                None => writeln!(out, "still running.\n")?,
                Some(ending) => {
                    let code = match (ending.exit_code, ending.signal) {
                        (Some(code), _) => format!(", exit {code}"),
                        (None, Some(signal)) => format!(", signal {signal}"),
                        (None, None) => String::new(),
                    };
                    let took = units::clock(ending.elapsed_s);
                    writeln!(out, "**{}**{code}, {took}.", ending.outcome.as_str())?;
                    if let Some(reason) = &ending.reason {
                        writeln!(out, "{}", line(reason.as_str()))?;
                    }
                    writeln!(out)?;
                    for check in &ending.checks {
                        writeln!(out, "- {}", line(&timeline::saw(check)))?;
                    }
                }
            }
            fenced(attempt.command.as_str(), out)?;
            for cause in attempt.causes.iter().flatten() {
                writeln!(out, "- Likely cause: {} Fix: {}", cause.cause, cause.fix)?;
                if let (Some(n), Some(text)) = (cause.line, &cause.text) {
                    writeln!(out, "  (line {n}: {})", line(text.as_str()))?;
                }
            }
            if attempt.is_unmatched() {
                writeln!(
                    out,
                    "- No row of the failure table matches: one should be written."
                )?;
            }
            writeln!(out, "\nLog: `{}/{}`\n", attempt.dir, crate::logs::LOG)?;
        }
    }
    writeln!(out)
}

fn recovery(incident: &Incident, out: &mut String) -> Done {
    let Some((at, checks, holds)) = &incident.recovery else {
        return Ok(());
    };
    let verdict = if *holds { "holds" } else { "does not hold" };
    writeln!(out, "## Recovery\n\nChecked {}: {verdict}.\n", moment(*at))?;
    for check in checks {
        writeln!(out, "- {}", line(&timeline::saw(check)))?;
    }
    writeln!(out)
}

fn notes(incident: &Incident, out: &mut String) -> Done {
    if incident.notes.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Notes\n")?;
    for note in &incident.notes {
        writeln!(
            out,
            "- {} {}: {}",
            moment(note.at),
            note.who,
            line(note.text.as_str())
        )?;
    }
    writeln!(out)
}

fn entries(source: &Source<'_>, out: &mut String) -> Done {
    writeln!(
        out,
        "## Timeline\n\n| when (UTC) | who | what |\n|---|---|---|"
    )?;
    for entry in &source.loaded.entries {
        let what = cell(&line(&timeline::describe(&entry.event)));
        writeln!(
            out,
            "| {} | {} | {what} |",
            moment(entry.at),
            cell(entry.who.as_str())
        )?;
    }
    Ok(())
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn line(text: &str) -> String {
    Clean::line(text).into_string()
}

/// A text inside a table.
fn cell(text: &str) -> String {
    line(text).replace('|', "\\|")
}

/// Fenced with more backticks than stand in the text.
fn fenced(text: &str, out: &mut String) -> Done {
    let most = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((most + 1).max(3));
    writeln!(out, "{fence}\n{text}\n{fence}\n")
}
