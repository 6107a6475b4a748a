//! The record of a drill: what somebody who audits recovery asks for, made from the journal alone.
//!
//! What it has to hold: ISO 22301:2019 8.5, SOC 2 A1.3, NIST SP 800-84.

use super::Source;
use crate::domain::{
    drill::{Debrief, Earlier, Timed, debrief},
    event::{Mode, World},
    incident::{Incident, IncidentState},
    site::{PROOF, TEAR_DOWN},
    text::Clean,
    units,
};
use std::fmt::Write as _;

/// Everything but the timeline, which stands below it. Empty for what was no drill.
pub fn record(source: &Source<'_>, earlier: &[Earlier]) -> String {
    let incident = source.incident();
    if incident.mode != Mode::Drill {
        return String::new();
    }
    let debrief = debrief(incident, &source.loaded.entries, earlier);
    let mut out = String::new();
    let done = identity(incident, source, &mut out)
        .and_then(|()| looked_back(incident, &debrief, &mut out))
        .and_then(|()| times(&debrief, &mut out))
        .and_then(|()| integrity(incident, &mut out))
        .and_then(|()| deviations(&debrief, &mut out))
        .and_then(|()| actions(&debrief, &mut out))
        .and_then(|()| attestation(incident, &mut out));
    done.expect("writing to a string does not fail");
    out
}

/// A drill in a few lines, for the end of it.
pub fn brief(incident: &Incident, debrief: &Debrief) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(Clean::line(&text).as_str());
        out.push('\n');
    };
    line(format!(
        "DRILL {}: {}",
        incident.id,
        if incident.recovered_at.is_some() {
            "recovered"
        } else {
            "not recovered"
        }
    ));
    if let Some(broken) = &debrief.broken {
        line(format!("what was broken: {broken}"));
    }
    let word = |right: Option<bool>| match right {
        Some(true) => "right",
        Some(false) => "NOT RIGHT",
        None => "not judged",
    };
    for answer in &debrief.answers {
        line(format!("answer: {} {}", answer.given, word(answer.right)));
    }
    line(format!(
        "plan: {} {}",
        incident.go.join(", "),
        word(debrief.plan_right)
    ));
    let shown = |s: Option<u64>| s.map_or("not known".to_owned(), units::short);
    let objectives = incident.objectives();
    line(format!(
        "RTO {} of {}, RPO {} of {}",
        shown(incident.rto_actual_s()),
        shown(objectives.rto_s),
        shown(incident.rpo_measured_s()),
        shown(objectives.rpo_s)
    ));
    line(format!(
        "machines worked {}, people read and decided {}",
        units::clock(debrief.machine_s),
        units::clock(debrief.human_s)
    ));
    for turn in &debrief.wrong_turns {
        let cause = turn.cause.as_ref().map_or("no row matches", Clean::as_str);
        line(format!(
            "wrong turn: {} {} ({}): {cause}",
            turn.step,
            turn.outcome.as_str(),
            units::clock(turn.cost_s)
        ));
    }
    line(format!(
        "the record: blackstart export {} --format markdown",
        incident.id
    ));
    out
}

type Done = std::fmt::Result;

fn cell(text: &str) -> String {
    Clean::line(text).into_string().replace('|', "\\|")
}

fn identity(incident: &Incident, source: &Source<'_>, out: &mut String) -> Done {
    let world = match incident.world {
        World::Simulated => {
            "simulated: a sandbox in a network of its own, from which nothing else can be reached"
        }
        World::Rehearsal => {
            "rehearsal: real backups in a scratch place, named as such in the site's file"
        }
        World::Live => "live",
    };
    let people: std::collections::BTreeSet<&str> = source
        .loaded
        .entries
        .iter()
        .map(|e| e.who.as_str())
        .collect();
    writeln!(out, "## Drill record\n")?;
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(out, "| Drill | {} |", incident.id)?;
    writeln!(
        out,
        "| Runbook | {} (sha256 {}) |",
        cell(incident.runbook.title.as_str()),
        incident.runbook.sha256
    )?;
    writeln!(out, "| World | {world} |")?;
    if let Some(site) = &incident.site {
        writeln!(
            out,
            "| Site | {} ({}), sha256 {} |",
            cell(&site.name),
            site.kind.as_str(),
            site.sha256
        )?;
    }
    for (system, pin) in &incident.pins {
        if let Some(identity) = &pin.identity {
            writeln!(
                out,
                "| Not production: {system} | {} |",
                cell(&identity.fingerprint())
            )?;
        }
    }
    let people: Vec<&str> = people.into_iter().collect();
    writeln!(out, "| People | {} |", cell(&people.join(", ")))?;
    if let Some(revealed) = &incident.revealed {
        writeln!(
            out,
            "| Scenario | {} (seed {}) |",
            revealed.scenario, revealed.seed
        )?;
        writeln!(out, "| Clean-up | {} |", cell(revealed.cleaned.as_str()))?;
    }
    for (what, procedure) in [("Proof", PROOF), ("Clean-up", TEAR_DOWN)] {
        for step in incident
            .steps
            .iter()
            .filter(|s| s.plan.procedure == procedure)
        {
            let state = step.state().as_str();
            writeln!(
                out,
                "| {what} | {} {state}: {} |",
                step.plan.step,
                cell(step.plan.title.as_str())
            )?;
        }
    }
    let result = match (incident.state(), incident.recovered_at) {
        (_, Some(_)) => "recovered",
        (IncidentState::Closed, None) => "not recovered",
        (IncidentState::Open | IncidentState::Recovered, None) => "still open",
    };
    writeln!(out, "| Result | {result} |\n")
}

fn looked_back(incident: &Incident, debrief: &Debrief, out: &mut String) -> Done {
    writeln!(out, "### Debrief\n")?;
    match &debrief.broken {
        Some(broken) => writeln!(out, "What was broken: **{broken}**")?,
        None => writeln!(out, "What was broken is told when the drill is over.")?,
    }
    if let Some(twist) = &debrief.twist {
        writeln!(out, "\nWhat people fall for: {twist}")?;
    }
    writeln!(out)?;
    let verdict = |right: Option<bool>| match right {
        Some(true) => "right",
        Some(false) => "**not right**",
        None => "not judged",
    };
    for answer in &debrief.answers {
        writeln!(
            out,
            "- {} {}: {}",
            answer.question,
            answer.given,
            verdict(answer.right)
        )?;
    }
    writeln!(
        out,
        "- Severity {}: {}",
        incident.severity.as_ref().map_or("none", |s| s.0.as_str()),
        verdict(debrief.severity_right)
    )?;
    writeln!(
        out,
        "- Plan ({}): {}",
        incident.go.join(", "),
        verdict(debrief.plan_right)
    )?;
    writeln!(
        out,
        "- Machines worked {}, people read and decided {}.\n",
        units::clock(debrief.machine_s),
        units::clock(debrief.human_s)
    )
}

/// One step as a bar: how much of its budget it took, `!` where it took more.
pub fn bar(timed: &Timed) -> String {
    const WIDTH: usize = 20;
    let Some(budget) = timed.budget_s.filter(|b| *b > 0) else {
        return " ".repeat(WIDTH);
    };
    let part = timed.elapsed_s / budget as f64;
    if part > 1.0 {
        return format!("{}!", "#".repeat(WIDTH - 1));
    }
    // Something that ran is seen.
    let full = ((part * WIDTH as f64).round() as usize).clamp(1, WIDTH);
    format!("{}{}", "#".repeat(full), "·".repeat(WIDTH - full))
}

fn times(debrief: &Debrief, out: &mut String) -> Done {
    if debrief.steps.is_empty() {
        return Ok(());
    }
    writeln!(out, "### Elapsed against budget\n\n```")?;
    let width = debrief
        .steps
        .iter()
        .map(|s| s.step.chars().count())
        .max()
        .unwrap_or(0);
    for step in &debrief.steps {
        let budget = step.budget_s.map_or("–".to_owned(), units::short);
        let mut earlier: Vec<String> = step
            .earlier_s
            .iter()
            .rev()
            .take(4)
            .map(|s| units::clock(*s))
            .collect();
        earlier.reverse();
        let earlier = if earlier.is_empty() {
            String::new()
        } else {
            format!("   earlier {}", earlier.join(" "))
        };
        writeln!(
            out,
            "{:<width$}  {:>8} of {budget:<6} {}{earlier}",
            step.step,
            units::clock(step.elapsed_s),
            bar(step)
        )?;
    }
    writeln!(out, "```\n")
}

fn integrity(incident: &Incident, out: &mut String) -> Done {
    let checks = incident.steps.iter().flat_map(|s| {
        let last = s.attempts.last().and_then(|a| a.ending.as_ref());
        last.into_iter()
            .flat_map(|e| &e.checks)
            .map(move |c| (&s.plan.step, c))
    });
    writeln!(
        out,
        "### What was checked\n\n| step | check | expected | seen | holds |\n|---|---|---|---|---|"
    )?;
    for (step, check) in checks {
        let holds = if check.passed { "yes" } else { "**no**" };
        writeln!(
            out,
            "| {step} | {} | {} | {} | {holds} |",
            cell(check.what.as_str()),
            cell(check.expected.as_str()),
            cell(check.seen.as_str())
        )?;
    }
    writeln!(out)
}

fn deviations(debrief: &Debrief, out: &mut String) -> Done {
    writeln!(out, "### Deviations\n")?;
    if debrief.wrong_turns.is_empty() && debrief.skipped.is_empty() {
        writeln!(out, "None: every step that ran held at its first attempt.")?;
    }
    for turn in &debrief.wrong_turns {
        let cause = turn.cause.as_ref().map_or(
            "no row of the failure table matches".to_owned(),
            Clean::to_string,
        );
        writeln!(
            out,
            "- `{}` {}, which cost {}: {cause}",
            turn.step,
            turn.outcome.as_str(),
            units::clock(turn.cost_s)
        )?;
    }
    for (step, reason) in &debrief.skipped {
        writeln!(out, "- `{step}` was left out: {reason}")?;
    }
    writeln!(out)
}

fn actions(debrief: &Debrief, out: &mut String) -> Done {
    writeln!(out, "### Actions\n")?;
    let slow: Vec<&Timed> = debrief
        .steps
        .iter()
        .filter(|s| s.budget_s.is_some_and(|b| s.elapsed_s > b as f64))
        .collect();
    if slow.is_empty() && debrief.unmatched.is_empty() {
        writeln!(out, "None follows from the times and the failure table.")?;
    }
    for step in slow {
        writeln!(
            out,
            "- `{}` took longer than its budget: make it quicker, or the budget honest.",
            step.step
        )?;
    }
    for row in &debrief.unmatched {
        writeln!(
            out,
            "- `{}` failed in a way that no row knows. A row to finish:\n\n```yaml\n{}```",
            row.step, row.row
        )?;
    }
    writeln!(out)
}

fn attestation(incident: &Incident, out: &mut String) -> Done {
    writeln!(
        out,
        "### Attestation\n\nThis record was made from the journal of {} without changes. Whoever led the drill signs that it took place as described.\n\nName, role, date: ______________________________\n",
        incident.id
    )
}
