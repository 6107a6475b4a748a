//! The page of a runbook for the wiki: everything that runs, so that who has only the page can do it
//! by hand.
//!
//! ```text
//!  title, targets ─ what is broken? ─ severities ─ people ─ phases ─ backups ─ on hand ─ values
//!  ─ each procedure: ways, steps (why, command, what must hold, undo) ─ recovered ─ failures
//!  ─ before an incident ─ to know ─ words
//! ```

pub mod by_hand;
mod steps;

use crate::domain::{
    runbook::{
        Choice, Needed, Question, Runbook, System, SystemKind, VarType, Variable, full_name,
        triage::Next,
    },
    units,
};
use std::{fmt::Write as _, time::Duration};

type Done = std::fmt::Result;

/// The Markdown page of a runbook.
pub fn page(runbook: &Runbook) -> String {
    let mut out = String::new();
    let result = head(runbook, &mut out)
        .and_then(|()| triage(runbook, &mut out))
        .and_then(|()| severities(runbook, &mut out))
        .and_then(|()| people(runbook, &mut out))
        .and_then(|()| phases(runbook, &mut out))
        .and_then(|()| backups(runbook, &mut out))
        .and_then(|()| on_hand(runbook, &mut out))
        .and_then(|()| values(runbook, &mut out))
        .and_then(|()| systems(runbook, &mut out))
        .and_then(|()| steps::procedures(runbook, &mut out))
        .and_then(|()| steps::recovered(runbook, &mut out))
        .and_then(|()| failures(runbook, &mut out))
        .and_then(|()| steps::prepare(runbook, &mut out))
        .and_then(|()| references(runbook, &mut out))
        .and_then(|()| words(runbook, &mut out));
    result.expect("writing to a string does not fail");
    single_spaced(&out)
}

/// No more than one empty line in a row, but in code, which stays as it is.
fn single_spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut fence: Option<&str> = None;
    let mut empty = false;
    for line in text.trim_end().lines() {
        let bare = line.trim_start();
        let ticks = &bare[..bare.len() - bare.trim_start_matches('`').len()];
        match fence {
            Some(open) if bare == open => fence = None,
            None if ticks.len() >= 3 => fence = Some(ticks),
            Some(_) | None => {}
        }
        if fence.is_none() && line.is_empty() && empty {
            continue;
        }
        empty = line.is_empty();
        out.push_str(line);
        out.push('\n');
    }
    out
}

fn short(duration: Option<Duration>) -> String {
    duration.map_or("–".to_owned(), |d| units::short(d.as_secs()))
}

/// A text inside a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// Code inside a line, with as many backticks as it needs.
fn code(text: &str) -> String {
    let text = text.trim();
    let most = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(most + 1);
    let pad = if most > 0 { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

fn fenced(kind: &str, text: &str, out: &mut String) -> Done {
    let most = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((most + 1).max(3));
    writeln!(out, "{fence}{kind}\n{}\n{fence}\n", text.trim_end())
}

/// Where a heading of this text is found.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn head(runbook: &Runbook, out: &mut String) -> Done {
    writeln!(out, "# {}\n", runbook.title)?;
    if !runbook.summary.is_empty() {
        writeln!(out, "{}\n", runbook.summary)?;
    }
    let (rto, rpo) = (runbook.objectives.rto, runbook.objectives.rpo);
    if rto.is_some() || rpo.is_some() {
        writeln!(
            out,
            "| | target |\n|---|---|\n| RTO, how long it may be away | {} |\n| RPO, how much of the newest data may be lost | {} |\n",
            short(rto),
            short(rpo)
        )?;
    }
    writeln!(
        out,
        "This page is made from the runbook `{0}`. `blackstart open {0}` leads through it, runs each step live and keeps the clocks. Who has only this page sets the [values](#values) in a shell and runs the commands in their order: `bash -Eeuo pipefail FILE`. Every command ends with an error when it fails; then look at [what failed](#when-a-step-fails) before going on.\n",
        runbook.id
    )
}

fn triage(runbook: &Runbook, out: &mut String) -> Done {
    let Some(question) = &runbook.triage else {
        return Ok(());
    };
    writeln!(out, "## What is broken?\n")?;
    ask(runbook, question, 0, out)?;
    writeln!(out)
}

fn ask(runbook: &Runbook, question: &Question, depth: usize, out: &mut String) -> Done {
    let pad = "  ".repeat(depth);
    writeln!(
        out,
        "{pad}{}**{}**",
        if depth > 0 { "- " } else { "" },
        question.ask
    )?;
    let more = [
        ("Look at", &question.look),
        ("When unsure", &question.unsure),
    ];
    for (what, text) in more {
        if let Some(text) = text {
            let pad = if depth > 0 {
                format!("{pad}  ")
            } else {
                String::new()
            };
            writeln!(out, "\n{pad}*{what}:* {}", cell(text))?;
        }
    }
    writeln!(out)?;
    for choice in &question.choices {
        answer(runbook, choice, depth, out)?;
    }
    Ok(())
}

fn answer(runbook: &Runbook, choice: &Choice, depth: usize, out: &mut String) -> Done {
    let pad = "  ".repeat(depth + usize::from(depth > 0));
    let link = |name: &str| {
        let (id, path) = name
            .split_once('/')
            .map_or((name, None), |(i, p)| (i, Some(p)));
        match runbook.procedure(id) {
            Some(procedure) => {
                let heading = steps::heading(procedure);
                let way = path
                    .and_then(|p| procedure.path(Some(p)))
                    .map(|p| format!(" ({})", p.title))
                    .unwrap_or_default();
                format!("[{heading}](#{}){way}", anchor(&heading))
            }
            None => name.to_owned(),
        }
    };
    match &choice.next {
        Next::Ask(question) => {
            writeln!(out, "{pad}- {}", choice.answer)?;
            evidence(runbook, choice, &pad, out)?;
            ask(runbook, question, depth + 1, out)
        }
        Next::Go(names) => {
            let to: Vec<String> = names.iter().map(|n| link(&n.text)).collect();
            writeln!(out, "{pad}- {} → {}", choice.answer, to.join(", then "))?;
            evidence(runbook, choice, &pad, out)
        }
        Next::Pick(names) => {
            let to: Vec<String> = names.iter().map(|n| link(&n.text)).collect();
            writeln!(
                out,
                "{pad}- {} → those that are, in this order: {}",
                choice.answer,
                to.join(", ")
            )?;
            evidence(runbook, choice, &pad, out)
        }
    }
}

fn evidence(runbook: &Runbook, choice: &Choice, pad: &str, out: &mut String) -> Done {
    for name in &choice.suspect {
        if let Some(system) = runbook.systems.get(&name.text) {
            writeln!(
                out,
                "{pad}  - unless {} succeeds",
                code(&by_hand::answers(&runbook.systems, system))
            )?;
        }
    }
    for check in &choice.evidence {
        by_hand::point(runbook, check, &format!("{pad}  "), "unless ", out)?;
    }
    Ok(())
}

fn severities(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.severities.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## Severities\n\n| | definition | RTO | RPO | escalation |\n|---|---|---|---|---|"
    )?;
    for row in &runbook.severities {
        let when = if row.when.is_empty() {
            String::new()
        } else {
            format!(": {}", row.when)
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            row.id,
            cell(&format!("{}{when}", row.title)),
            short(row.rto.or(runbook.objectives.rto)),
            short(row.rpo.or(runbook.objectives.rpo)),
            cell(row.escalate.as_deref().unwrap_or("–"))
        )?;
    }
    writeln!(out)
}

fn people(runbook: &Runbook, out: &mut String) -> Done {
    if !runbook.contacts.is_empty() {
        writeln!(
            out,
            "## Contacts\n\n| who | role | channel |\n|---|---|---|"
        )?;
        for contact in &runbook.contacts {
            writeln!(
                out,
                "| {} | {} | {} |",
                cell(&contact.who),
                cell(&contact.role),
                cell(&contact.channel)
            )?;
        }
        writeln!(out)?;
    }
    if let Some(updates) = &runbook.updates {
        writeln!(
            out,
            "## Telling the others\n\nAn update goes out every {}, also when there is nothing new:\n",
            short(updates.every)
        )?;
        fenced("text", &updates.template, out)?;
    }
    Ok(())
}

fn phases(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.phases.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## Phases\n\n| phase | target | together |\n|---|---|---|"
    )?;
    let mut together = Duration::ZERO;
    for phase in &runbook.phases {
        together += phase.budget.unwrap_or_default();
        writeln!(
            out,
            "| {} | {} | {} |",
            cell(&phase.title),
            short(phase.budget),
            short(Some(together))
        )?;
    }
    writeln!(out)
}

fn backups(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.backups.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## What there is to restore from\n\n| of | method | every | kept | what is lost at most |\n|---|---|---|---|---|"
    )?;
    for backup in &runbook.backups {
        let count = backup.count.map(|c| format!(" ({c})")).unwrap_or_default();
        let place = backup
            .where_
            .as_ref()
            .map(|w| format!(", in {}", by_hand::shell(w)))
            .unwrap_or_default();
        writeln!(
            out,
            "| {} | {} | {} | {}{count} | {} |",
            backup.of,
            cell(&format!("{}{place}", backup.method)),
            short(backup.every),
            cell(backup.keep.as_deref().unwrap_or("–")),
            short(backup.covers.or(backup.every).filter(|d| !d.is_zero()))
        )?;
    }
    writeln!(out)
}

fn on_hand(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.on_hand.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## What one needs on hand\n\nWhat is missing here is found first; nothing else can begin.\n"
    )?;
    for item in &runbook.on_hand {
        writeln!(out, "- [ ] {}", item.item)?;
        if let Some(check) = &item.check {
            by_hand::point(runbook, check, "  ", "", out)?;
        }
    }
    writeln!(out)
}

fn values(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.variables.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## Values\n\nThe commands read them as environment variables (`export NAME=…`); where a text speaks of `keep_dir`, that is `KEEP_DIR`. Secrets are read without an echo: `read -rs NAME; export NAME`. What a step says to keep is exported in the same way, and so are the other forms of a moment: `export TARGET_SQL=\"$(date -u -d \"$TARGET\" '+%F %T+00')\" TARGET_EPOCH=\"$(date -d \"$TARGET\" +%s)\"` for `TARGET`.\n\n| variable | what it is | value, or where it comes from |\n|---|---|---|"
    )?;
    for variable in runbook.variables.values() {
        let ask = variable.ask.as_deref().unwrap_or(variable.type_name());
        let help = variable
            .help
            .as_deref()
            .map(|h| format!(" {h}"))
            .unwrap_or_default();
        writeln!(
            out,
            "| `{}` | {} | {} |",
            variable.name.text.to_ascii_uppercase(),
            cell(&format!("{ask}{help}")),
            source(variable)
        )?;
    }
    writeln!(out)?;
    for variable in runbook.variables.values().filter(|v| !v.hint.is_empty()) {
        writeln!(
            out,
            "To find `{}`:\n",
            variable.name.text.to_ascii_uppercase()
        )?;
        for check in &variable.hint {
            by_hand::point(runbook, check, "", "", out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn source(variable: &Variable) -> String {
    let mut all: Vec<String> = Vec::new();
    if variable.is_secret() {
        all.push("secret".to_owned());
    }
    if let Some(default) = &variable.default {
        all.push(code(&by_hand::shell(default)));
    }
    if let Some(example) = &variable.example {
        all.push(format!("for instance {}", code(example)));
    }
    if !variable.choices.is_empty() {
        all.push(format!("one of {}", variable.choices.join(", ")));
    }
    if let Some(env) = variable
        .env
        .as_ref()
        .filter(|e| **e != variable.name.text.to_ascii_uppercase())
    {
        all.push(format!("from `{env}`"));
    }
    if variable.kind == VarType::Timestamp {
        let name = variable.name.text.to_ascii_uppercase();
        all.push(format!(
            "also as `{name}_SQL` (`2026-03-10 14:30:00+00`) and `{name}_EPOCH` (seconds)"
        ));
    }
    if variable.from_baseline {
        all.push("recorded in peace time".to_owned());
    }
    if variable.needed == Needed::Step {
        all.push("known when its step comes".to_owned());
    }
    cell(&all.join("; "))
}

fn systems(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.systems.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## Systems\n\n| name | what | where | does it answer? |\n|---|---|---|---|"
    )?;
    for system in runbook.systems.values() {
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            system.name,
            system.kind.as_str(),
            cell(&place(system)),
            cell(&code(&by_hand::answers(&runbook.systems, system)))
        )?;
    }
    writeln!(out)
}

fn place(system: &System) -> String {
    let field = |key: &str| system.fields.get(key).map(|t| by_hand::shell(t));
    let text = match system.kind {
        SystemKind::Postgres => [field("host"), field("dbname")],
        SystemKind::Redis => [field("host"), field("port")],
        SystemKind::Http => [field("base"), field("connect_to")],
        SystemKind::Kubernetes => [field("context"), field("namespace")],
        SystemKind::Azure => [field("tenant"), field("subscription")],
        SystemKind::Aws => [field("account"), field("region")],
    };
    let parts: Vec<String> = text.into_iter().flatten().map(|t| code(&t)).collect();
    parts.join(", ")
}

fn failures(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.failures.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## When a step fails\n\n| symptom | likely cause | fix |\n|---|---|---|"
    )?;
    for row in &runbook.failures {
        let go = row
            .go
            .as_ref()
            .map(|g| format!(" Go to {}.", steps::title_of(runbook, &g.text)));
        writeln!(
            out,
            "| {} | {} | {} |",
            cell(&row.symptom),
            cell(&row.cause),
            cell(&format!(
                "{}{}",
                full_stop(&row.fix),
                go.unwrap_or_default()
            ))
        )?;
    }
    writeln!(out)
}

fn full_stop(text: &str) -> String {
    let text = text.trim_end();
    match text.ends_with(['.', '!', '?', ':']) {
        true => format!("{text} "),
        false => format!("{text}. "),
    }
}

fn references(runbook: &Runbook, out: &mut String) -> Done {
    // What belongs to a procedure or a step stands there.
    let placed = |name: &str| {
        let is_step = runbook.steps().any(|(full, _)| full == name);
        let (id, path) = name
            .split_once('/')
            .map_or((name, None), |(i, p)| (i, Some(p)));
        let procedure = runbook.procedure(id);
        is_step || procedure.is_some_and(|p| path.is_none() || p.path(path).is_some())
    };
    let elsewhere: Vec<_> = runbook
        .reference
        .iter()
        .filter(|r| !r.near.as_ref().is_some_and(|n| placed(&n.text)))
        .collect();
    if elsewhere.is_empty() {
        return Ok(());
    }
    writeln!(out, "## To know\n")?;
    for reference in elsewhere {
        writeln!(out, "### {}\n\n{}\n", reference.title, reference.text)?;
    }
    Ok(())
}

fn words(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.words.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Words\n\n| word | meaning |\n|---|---|")?;
    for (word, meaning) in &runbook.words {
        writeln!(out, "| {} | {} |", cell(&word.text), cell(meaning))?;
    }
    writeln!(out)
}

/// The full name under which a step of a list is known.
fn named(procedure: &str, path: Option<&str>, step: &str) -> String {
    full_name(procedure, path, step)
}
