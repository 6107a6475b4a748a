//! The faults that show only when the whole file is known: names that mean nothing, circles, dead
//! ends, secrets where they would be written down.

mod after;
mod circles;
mod known;
mod steps;
#[cfg(test)]
mod tests;

use super::{
    Runbook,
    parts::{FailureRow, Procedure},
    reader::{Later, Name, Reader},
    triage::Next,
};
use crate::domain::finding::Pos;
use known::{Known, unknown};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn find(r: &mut Reader, runbook: &Runbook) {
    let known = Known::of(runbook);
    duplicates(r, runbook);
    for system in runbook.systems.values() {
        for (text, secret_ok) in system.templates() {
            known.template(r, text, secret_ok, system.name.at);
        }
    }
    for later in r.remembered() {
        match later {
            Later::System(name, kind) => known.system_of_kind(r, &name, kind),
            Later::Text(text, secret_ok) => known.template(r, &text.text, secret_ok, text.at),
        }
    }
    for variable in runbook.variables.values() {
        for check in &variable.hint {
            known.check(r, check);
        }
        if let Some(default) = &variable.default {
            known.template(r, default, false, variable.name.at);
        }
    }
    for item in runbook.on_hand.iter().filter_map(|i| i.check.as_ref()) {
        known.check(r, item);
    }
    for backup in &runbook.backups {
        known.system(r, &backup.of);
    }
    for reference in &runbook.reference {
        if let Some(near) = &reference.near {
            nearby(r, &known, near);
        }
    }
    for procedure in &runbook.procedures {
        procedure_faults(r, &known, procedure);
    }
    for step in runbook.recovered.steps.iter().chain(&runbook.prepare) {
        steps::faults(r, &known, step);
    }
    for check in &runbook.recovered.when {
        check.must_be_able_to_fail(r);
        known.check(r, check);
    }
    after::faults(r, &known);
    circles::of_includes(r, &known);
    circles::of_defaults(r, runbook);
    triage_faults(r, &known, runbook);
    for row in &runbook.failures {
        row_faults(r, &known, row);
    }
}

fn duplicates(r: &mut Reader, runbook: &Runbook) {
    let ids = |r: &mut Reader, names: Vec<&Name>, what: &str| {
        let mut seen: BTreeMap<&str, Pos> = BTreeMap::new();
        for name in names {
            if name.text.is_empty() {
                continue;
            }
            if let Some(first) = seen.insert(&name.text, name.at) {
                r.error(
                    "duplicate-id",
                    name.at,
                    format!("the {what} `{name}` stands here a second time"),
                    &format!("the first is on line {}", first.line),
                );
            }
        }
    };
    ids(
        r,
        runbook.procedures.iter().map(|p| &p.id).collect(),
        "procedure",
    );
    ids(
        r,
        runbook.severities.iter().map(|s| &s.id).collect(),
        "severity",
    );
    ids(r, runbook.phases.iter().map(|p| &p.id).collect(), "phase");
    ids(
        r,
        runbook.failures.iter().map(|f| &f.id).collect(),
        "failure row",
    );
    for procedure in &runbook.procedures {
        let mut seen = BTreeSet::new();
        for path in &procedure.paths {
            if let Some(id) = path.id.as_deref().filter(|id| !id.is_empty())
                && !seen.insert(id)
            {
                r.error(
                    "duplicate-id",
                    path.at,
                    format!("the path `{id}` stands here a second time"),
                    "paths of a procedure have ids of their own",
                );
            }
        }
        // Without a path between them, both are called `procedure/step`.
        let unnamed = procedure.paths.iter().filter(|p| p.id.is_none());
        let steps: BTreeSet<&str> = unnamed
            .flat_map(|p| &p.steps)
            .map(|s| s.id.text.as_str())
            .filter(|id| !id.is_empty())
            .collect();
        for step in &procedure.then {
            if steps.contains(step.id.text.as_str()) {
                r.error(
                    "duplicate-id",
                    step.id.at,
                    format!("`{}` is already a step under `steps`", step.id),
                    "what stands under `then` needs another id: both have the same full name",
                );
            }
        }
    }
}

fn procedure_faults(r: &mut Reader, known: &Known<'_>, procedure: &Procedure) {
    for name in procedure.needs.systems.iter().chain(&procedure.recovers) {
        known.system(r, name);
    }
    for path in &procedure.paths {
        if path.steps.is_empty() {
            r.error(
                "dead-end",
                path.at,
                format!("`{}` has a path without steps", procedure.id),
                "add steps, or remove the path",
            );
        }
        for step in &path.steps {
            steps::faults(r, known, step);
        }
    }
    for step in &procedure.then {
        steps::faults(r, known, step);
    }
}

/// A reference is shown near a procedure, one of its paths, a step or a system.
fn nearby(r: &mut Reader, known: &Known<'_>, near: &Name) {
    let is_there = known.leads_somewhere(&near.text) || known.is_system(&near.text);
    if !is_there {
        let names = known.procedures().chain(known.steps());
        unknown(r, near, "procedure or step", names);
    }
}

fn triage_faults(r: &mut Reader, known: &Known<'_>, runbook: &Runbook) {
    let Some(triage) = &runbook.triage else {
        return;
    };
    for choice in triage.all_choices() {
        for name in &choice.suspect {
            known.system(r, name);
        }
        for check in &choice.evidence {
            known.check(r, check);
        }
        match &choice.next {
            Next::Go(names) | Next::Pick(names) => {
                for name in names {
                    known.procedure(r, name);
                }
            }
            Next::Ask(_) => {}
        }
    }
}

fn row_faults(r: &mut Reader, known: &Known<'_>, row: &FailureRow) {
    if let Some(probe) = &row.probe {
        known.check(r, probe);
    }
    for name in &row.matches.step {
        if known.matching(&name.text).is_empty() {
            unknown(r, name, "step", known.steps());
        }
    }
    if let Some(go) = &row.go
        && !known.leads_somewhere(&go.text)
    {
        let names = known.procedures().chain(known.steps());
        unknown(r, go, "step or procedure", names);
    }
}
