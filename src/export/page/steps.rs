//! The steps of the page: why, what to run, what one should see, how to take it back.

use super::{Done, by_hand, cell, code, fenced, named, short};
use crate::domain::{
    native::Native,
    runbook::{Action, Capture, Check, Danger, Procedure, Runbook, Script, Step, Undo},
};
use std::fmt::Write as _;

/// `§1 PostgreSQL recovery`
pub(super) fn heading(procedure: &Procedure) -> String {
    match &procedure.section {
        Some(section) if section.starts_with('§') => format!("{section} {}", procedure.title),
        Some(section) => format!("{section}: {}", procedure.title),
        None => procedure.title.clone(),
    }
}

/// What a failure row's `go` leads to, in words.
pub(super) fn title_of(runbook: &Runbook, name: &str) -> String {
    if let Some(procedure) = runbook.procedure(name.split('/').next().unwrap_or_default())
        && (!name.contains('/')
            || procedure
                .path(name.split_once('/').map(|(_, p)| p))
                .is_some())
    {
        return format!("“{}”", heading(procedure));
    }
    let found = runbook
        .steps()
        .find(|(full, _)| crate::domain::runbook::names_step(full, name));
    match found {
        Some((_, step)) => format!("“{}”", step.title),
        None => name.to_owned(),
    }
}

pub(super) fn procedures(runbook: &Runbook, out: &mut String) -> Done {
    for procedure in &runbook.procedures {
        writeln!(out, "## {}\n", heading(procedure))?;
        if let Some(summary) = &procedure.summary {
            writeln!(out, "{summary}\n")?;
        }
        needs(procedure, out)?;
        let id = &procedure.id.text;
        near(runbook, id, out)?;
        let several = procedure.paths.len() > 1;
        if several {
            writeln!(out, "There is more than one way:\n")?;
            for path in &procedure.paths {
                let when = path
                    .when
                    .as_ref()
                    .map(|w| format!(": {w}"))
                    .unwrap_or_default();
                writeln!(
                    out,
                    "- [{}](#{}){when}",
                    path.title,
                    super::anchor(&path.title)
                )?;
            }
            writeln!(out)?;
        }
        for path in &procedure.paths {
            if several {
                writeln!(out, "### {}\n", path.title)?;
                if let Some(when) = &path.when {
                    writeln!(out, "*{when}*\n")?;
                }
                if let Some(path) = &path.id {
                    near(runbook, &format!("{id}/{path}"), out)?;
                }
            }
            list(runbook, id, path.id.as_deref(), &path.steps, 1, out)?;
        }
        if !procedure.then.is_empty() {
            if several {
                writeln!(out, "### Then, whichever way it was\n")?;
            }
            let before = procedure.paths.first().map_or(0, |p| p.steps.len());
            let first = if several { 1 } else { before + 1 };
            list(runbook, id, None, &procedure.then, first, out)?;
        }
    }
    Ok(())
}

fn needs(procedure: &Procedure, out: &mut String) -> Done {
    let mut parts: Vec<String> = Vec::new();
    if !procedure.needs.tools.is_empty() {
        let tools: Vec<String> = procedure.needs.tools.iter().map(|t| code(t)).collect();
        parts.push(format!("the tools {}", tools.join(", ")));
    }
    let systems = |names: &[crate::domain::runbook::Name]| {
        names
            .iter()
            .map(|n| n.text.clone())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if !procedure.needs.systems.is_empty() {
        parts.push(format!(
            "that these answer: {}",
            systems(&procedure.needs.systems)
        ));
    }
    if !parts.is_empty() {
        writeln!(out, "Needs {}.\n", parts.join("; "))?;
    }
    if !procedure.recovers.is_empty() {
        writeln!(out, "Brings back: {}.\n", systems(&procedure.recovers))?;
    }
    Ok(())
}

/// What people should know here.
fn near(runbook: &Runbook, name: &str, out: &mut String) -> Done {
    let here = runbook
        .reference
        .iter()
        .filter(|r| r.near.as_ref().is_some_and(|n| n.text == name));
    for reference in here {
        writeln!(
            out,
            "> **{}.** {}\n",
            reference.title,
            cell(&reference.text)
        )?;
    }
    Ok(())
}

fn list(
    runbook: &Runbook,
    procedure: &str,
    path: Option<&str>,
    steps: &[Step],
    first: usize,
    out: &mut String,
) -> Done {
    for (number, step) in (first..).zip(steps) {
        let full = named(procedure, path, &step.id.text);
        one(runbook, &full, Some(number), step, out)?;
    }
    Ok(())
}

fn one(
    runbook: &Runbook,
    full: &str,
    number: Option<usize>,
    step: &Step,
    out: &mut String,
) -> Done {
    let number = number.map(|n| format!("{n}. ")).unwrap_or_default();
    writeln!(out, "#### {number}{}\n", step.title)?;
    let phase = step.phase.as_ref().and_then(|p| {
        let found = runbook.phases.iter().find(|one| one.id == *p);
        found.map(|one| one.title.clone())
    });
    let budget = step.budget.map(|b| format!("at most {}", short(Some(b))));
    let when: Vec<String> = phase.into_iter().chain(budget).collect();
    if !when.is_empty() {
        writeln!(out, "*{}*\n", when.join(", "))?;
    }
    if let Some(why) = &step.why {
        writeln!(out, "{why}\n")?;
    }
    near(runbook, full, out)?;
    marks(runbook, step, out)?;
    if let Some(unless) = &step.unless {
        holds(
            runbook,
            "It is already done, and can be left out, when:",
            std::slice::from_ref(unless),
            out,
        )?;
    }
    action(runbook, step, out)?;
    captured(step, out)?;
    if let Some(expect) = &step.expect {
        writeln!(out, "You should see: {expect}\n")?;
    }
    holds(runbook, "It is done when:", &step.verify, out)?;
    if let Some(progress) = &step.progress {
        holds(
            runbook,
            "Meanwhile, to see how far it is:",
            std::slice::from_ref(progress),
            out,
        )?;
    }
    for (name, value) in &step.set {
        writeln!(
            out,
            "From here on: `export {}={}`\n",
            name.text.to_ascii_uppercase(),
            by_hand::shell(value)
        )?;
    }
    match &step.undo {
        Some(Undo::Run(script)) => {
            writeln!(out, "To take it back:\n")?;
            script_text(script, out)?;
        }
        Some(Undo::Kubernetes(words)) => {
            writeln!(out, "To take it back:\n")?;
            native(runbook, words, out)?;
        }
        None => {}
    }
    Ok(())
}

fn marks(runbook: &Runbook, step: &Step, out: &mut String) -> Done {
    if step.danger == Danger::Destroy {
        let typed = step.confirm.as_deref().unwrap_or_default();
        writeln!(
            out,
            "**This destroys something.** Read aloud what it is before you run it: {}\n",
            code(&by_hand::shell(typed))
        )?;
    }
    if step.fences {
        writeln!(out, "It stops what still writes.\n")?;
    }
    if step.preserves {
        writeln!(
            out,
            "It keeps the broken state, so that nothing is lost that could still be needed.\n"
        )?;
    }
    if !step.replaces.is_empty() {
        let names: Vec<&str> = step.replaces.iter().map(|n| n.text.as_str()).collect();
        writeln!(
            out,
            "**This moves {}.** Compare old and new target before you go on.\n",
            names.join(", ")
        )?;
    }
    if let Some(after) = &step.after {
        let names: Vec<String> = after.iter().map(|n| title_of(runbook, &n.text)).collect();
        match names[..] {
            [] => writeln!(out, "It can start at once.\n")?,
            _ => writeln!(
                out,
                "It can start when this is done: {}.\n",
                names.join(", ")
            )?,
        }
    }
    Ok(())
}

fn action(runbook: &Runbook, step: &Step, out: &mut String) -> Done {
    match &step.action {
        Action::Run(script) => script_text(script, out),
        Action::Kubernetes(words) => native(runbook, words, out),
        Action::Check(check) => holds(runbook, "Look:", std::slice::from_ref(check), out),
        Action::Manual(text) => writeln!(out, "{text}\n"),
        Action::Include(include) => {
            let title = match runbook.procedure(&include.of.text) {
                Some(procedure) => heading(procedure),
                None => include.of.text.clone(),
            };
            let steps: Vec<String> = include
                .steps
                .iter()
                .map(|s| title_of(runbook, &format!("{}/{}", include.of.text, s.text)))
                .collect();
            let which = match steps[..] {
                [] => String::new(),
                _ => format!(", of it {}", steps.join(", ")),
            };
            writeln!(out, "Do [{title}](#{}){which}.\n", super::anchor(&title))
        }
    }
}

fn script_text(script: &Script, out: &mut String) -> Done {
    if !script.env.is_empty() {
        writeln!(out, "For this command only:\n")?;
        let lines: Vec<String> = script
            .env
            .iter()
            .map(|(name, value)| format!("export {}=\"{}\"", name.text, by_hand::shell(value)))
            .collect();
        fenced("bash", &lines.join("\n"), out)?;
    }
    let kind = script.shell_name().unwrap_or("text");
    fenced(kind, &script.text, out)
}

fn native(runbook: &Runbook, words: &serde_json::Value, out: &mut String) -> Done {
    let system = runbook
        .systems
        .get(words["system"].as_str().unwrap_or_default());
    let text = match Native::read(words) {
        Ok(native) => native.kubectl(system),
        Err(_) => serde_json::to_string_pretty(words).unwrap_or_default(),
    };
    fenced("bash", &by_hand::shell(&text), out)
}

fn captured(step: &Step, out: &mut String) -> Done {
    for (name, how) in &step.capture {
        let name = name.text.to_ascii_uppercase();
        let what = match how {
            Capture::LastLine => "its last line".to_owned(),
            Capture::All => "all that it prints".to_owned(),
            Capture::Regex(regex) => format!("what {} finds in it", code(regex)),
            Capture::Json(pointer) => format!("the field {} of it", code(pointer)),
            Capture::Object { object, json } => {
                format!(
                    "the field {} of {}",
                    code(json),
                    code(&by_hand::shell(object))
                )
            }
            Capture::Seen => "what is seen".to_owned(),
        };
        writeln!(out, "Keep {what} as `{name}`.\n")?;
    }
    if let Some(store) = &step.measures {
        writeln!(
            out,
            "That is the moment to which {store} was recovered: the RPO is counted from it.\n"
        )?;
    }
    Ok(())
}

fn holds(runbook: &Runbook, title: &str, checks: &[Check], out: &mut String) -> Done {
    if checks.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}\n")?;
    for check in checks {
        by_hand::point(runbook, check, "", "", out)?;
    }
    writeln!(out)
}

pub(super) fn recovered(runbook: &Runbook, out: &mut String) -> Done {
    writeln!(
        out,
        "## Recovered\n\nAfter any recovery, all of this, in this order.\n"
    )?;
    list(runbook, "recovered", None, &runbook.recovered.steps, 1, out)?;
    holds(
        runbook,
        "**The platform has recovered, and the clock stops, when all of these hold at the same time:**",
        &runbook.recovered.when,
        out,
    )
}

pub(super) fn prepare(runbook: &Runbook, out: &mut String) -> Done {
    if runbook.prepare.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "## Before an incident\n\nDone in peace time, so that there is something to recover from.\n"
    )?;
    for step in &runbook.prepare {
        one(runbook, &format!("prepare/{}", step.id), None, step, out)?;
    }
    Ok(())
}
