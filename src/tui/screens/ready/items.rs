//! The rows of "Ready?", computed anew from what is known.

use super::Ready;
use crate::{
    checks::rights::BETWEEN,
    domain::{
        budget,
        event::{CheckResult, PinnedBy, Verdict},
        plan,
        runbook::{Needed, Reference, Step},
        units,
    },
    tui::{
        screens::{View, know},
        theme::{Mark, Role},
        widgets::{evidence, text},
    },
};
use ratatui::text::{Line, Span};
use std::{collections::BTreeSet, path::PathBuf};

/// One row.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Item {
    Head(&'static str),
    Value(String),
    Tool(usize),
    OnHand(usize),
    System(String),
    Target(String),
    Fact(Mark, String),
    GoOn,
}

/// Every row, in the order in which it is drawn.
pub(super) fn items(ready: &Ready, at: &View) -> Vec<Item> {
    let mut all = Vec::new();
    let mut section = |head: &'static str, rows: Vec<Item>| {
        if !rows.is_empty() {
            all.push(Item::Head(head));
            all.extend(rows);
        }
    };
    section("Values", values(at).into_iter().map(Item::Value).collect());
    section("Tools", (0..ready.tools.len()).map(Item::Tool).collect());
    section(
        "On hand",
        (0..ready.on_hand.len()).map(Item::OnHand).collect(),
    );
    section(
        "Systems",
        systems(at).into_iter().map(Item::System).collect(),
    );
    let rights = ready.allowed.iter().flat_map(rights);
    section("Rights", rights.collect());
    let pinned = at.incident.pins.keys();
    let recorded = at.incident.recorded.keys();
    let recorded = recorded.filter(|name| !at.incident.pins.contains_key(*name));
    let targets = pinned.chain(recorded).cloned();
    section("Targets", targets.map(Item::Target).collect());
    section("Time and data", facts(at));
    let read = at
        .runbook
        .reference
        .iter()
        .filter(|r| concerns(at, r))
        .map(|r| Item::Fact(Mark::Pending, format!("{}: {}", r.title, r.text)));
    section("To read", read.collect());
    let people = at.runbook.contacts.iter().map(|c| {
        Item::Fact(
            Mark::Pending,
            format!("{} · {} · {}", c.who, c.role, c.channel),
        )
    });
    section("People", people.collect());
    let warned = ready
        .warnings
        .iter()
        .map(|w| Item::Fact(Mark::Danger, w.clone()));
    section("Warnings about the runbook", warned.collect());
    all.push(Item::GoOn);
    all
}

/// What a cluster allows; of what it does not, a row each.
fn rights(seen: &CheckResult) -> Vec<Item> {
    let system = seen.system.as_deref().unwrap_or_default();
    let text = seen.seen.as_str();
    match seen.verdict {
        Verdict::Holds => vec![Item::Fact(Mark::Good, format!("{system}: {text}"))],
        Verdict::DoesNotHold => text
            .split(BETWEEN)
            .map(|right| Item::Fact(Mark::Bad, format!("{system}: MAY NOT {right}")))
            .collect(),
        Verdict::CannotTell => {
            let words = format!("{system}: cannot be asked ({text})");
            vec![Item::Fact(Mark::Unknown, words)]
        }
    }
}

/// The steps of the plan as the runbook has them, each with its procedure.
fn steps(at: &View) -> Vec<(&Step, &str)> {
    at.incident
        .steps
        .iter()
        .filter_map(|s| Some((at.runbook.step(&s.plan.step)?, s.plan.procedure.as_str())))
        .collect()
}

/// The values that the plan needs: those the runbook declares in its order, then captured ones.
fn values(at: &View) -> Vec<String> {
    let mut needed: BTreeSet<String> = BTreeSet::new();
    for (step, _) in steps(at) {
        needed.extend(plan::needs(&at.runbook, step));
    }
    let declared = at.runbook.variables.keys().filter(|n| needed.contains(*n));
    let mut names: Vec<String> = declared.cloned().collect();
    names.extend(
        needed
            .into_iter()
            .filter(|n| !at.runbook.variables.contains_key(n)),
    );
    names
}

/// The systems that the plan looks at or changes.
pub(super) fn systems(at: &View) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (step, procedure) in steps(at) {
        names.extend(step.systems().into_iter().map(|n| n.text.clone()));
        names.extend(plan::targets(&at.runbook, procedure, step));
        if let Some(procedure) = at.runbook.procedure(procedure) {
            names.extend(procedure.needs.systems.iter().map(|n| n.text.clone()));
        }
    }
    let mut seen = BTreeSet::new();
    names.retain(|n| seen.insert(n.clone()));
    names
}

/// The tools that the planned procedures need, and where on the PATH they are.
pub(super) fn tools(at: &View) -> Vec<(String, Option<PathBuf>)> {
    let mut names: Vec<String> = Vec::new();
    for (_, procedure) in steps(at) {
        if let Some(procedure) = at.runbook.procedure(procedure) {
            names.extend(procedure.needs.tools.iter().cloned());
        }
    }
    let mut seen = BTreeSet::new();
    names.retain(|n| seen.insert(n.clone()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .into_iter()
        .map(|name| {
            let found = folders.iter().map(|f| f.join(&name)).find(|p| p.is_file());
            (name, found)
        })
        .collect()
}

/// Is a value captured by a step of the plan, and so not to be given before?
fn is_captured(at: &View, name: &str) -> bool {
    let planned: BTreeSet<&str> = at
        .incident
        .steps
        .iter()
        .map(|s| s.plan.step.as_str())
        .collect();
    at.runbook
        .steps()
        .filter(|(full, _)| planned.contains(full.as_str()))
        .any(|(_, step)| step.capture.iter().any(|(n, _)| n.text == name))
}

/// Is a reference about the whole runbook, or about what is planned?
fn concerns(at: &View, reference: &Reference) -> bool {
    let Some(near) = reference.near.as_ref() else {
        return true;
    };
    let planned = at.incident.steps.iter();
    let mut names = planned.map(|s| s.plan.step.as_str());
    names.any(|step| step == near.text || step.starts_with(&format!("{near}/")))
}

/// Does the plan fit the objectives?
fn facts(at: &View) -> Vec<Item> {
    let incident = &at.incident;
    let objectives = incident.objectives();
    let open = incident.steps.iter().filter(|s| !s.state().is_done());
    let sum: u64 = open.filter_map(|s| s.plan.budget_s).sum();
    let pace = budget::pace(incident, at.now);
    let elapsed = units::short(pace.elapsed_s as u64 / 60 * 60);
    let mut facts = Vec::new();
    let longest = (pace.projected_s.unwrap_or(0.0) - pace.elapsed_s).max(0.0) as u64;
    let words = format!(
        "budgets {}, one after another on the longest way {}, elapsed {elapsed}",
        units::short(sum),
        units::short(longest)
    );
    match (pace.spare_s(), objectives.rto_s) {
        (Some(spare), Some(rto)) if spare >= 0.0 => {
            let spare = units::short(spare as u64 / 60 * 60);
            let fits = format!("{words}, RTO {}: {spare} to spare", units::short(rto));
            facts.push(Item::Fact(Mark::Good, fits));
        }
        (Some(late), Some(rto)) => {
            let late = units::short((-late) as u64);
            let not = format!("{words}, RTO {}: LATE by {late}", units::short(rto));
            facts.push(Item::Fact(Mark::Bad, not));
        }
        (_, _) => facts.push(Item::Fact(Mark::Pending, format!("{words}, no RTO is set"))),
    }
    for backup in &at.runbook.backups {
        let Some(cadence) = backup.covers.or(backup.every) else {
            continue;
        };
        let cadence = cadence.as_secs();
        let words = format!(
            "{} (up to {} lost)",
            know::backup_words(backup),
            units::short(cadence)
        );
        facts.push(match objectives.rpo_s {
            Some(rpo) if cadence <= rpo => {
                Item::Fact(Mark::Good, format!("{words}, RPO {}", units::short(rpo)))
            }
            Some(rpo) => Item::Fact(
                Mark::Bad,
                format!("{words}: that cannot keep the RPO of {}", units::short(rpo)),
            ),
            None => Item::Fact(Mark::Pending, words),
        });
    }
    facts
}

impl Item {
    /// A value that has to be given before the plan can run.
    pub(super) fn is_missing(&self, at: &View) -> bool {
        match self {
            Self::Value(name) => {
                !at.incident.values.contains_key(name)
                    && at.runbook.variable(name).needed == Needed::Plan
                    && !is_captured(at, name)
            }
            Self::Head(_)
            | Self::Tool(_)
            | Self::OnHand(_)
            | Self::System(_)
            | Self::Target(_)
            | Self::Fact(..)
            | Self::GoOn => false,
        }
    }

    pub(super) fn line(&self, ready: &Ready, at: &View, cells: usize) -> Line<'static> {
        let theme = at.theme;
        match self {
            Self::Head(words) => Line::styled(format!(" {words}"), theme.style(Role::Strong)),
            Self::Value(name) => {
                let (mark, words, source) = value(self, name, at);
                fact(mark, name, &words, &source, cells, at)
            }
            Self::Tool(i) => match ready.tools.get(*i) {
                Some((name, Some(found))) => fact(
                    Mark::Good,
                    name,
                    &found.display().to_string(),
                    "",
                    cells,
                    at,
                ),
                Some((name, None)) => fact(Mark::Bad, name, "is not on the PATH", "", cells, at),
                None => Line::raw(""),
            },
            Self::OnHand(i) => {
                let Some(item) = ready.on_hand.get(*i) else {
                    return Line::raw("");
                };
                let (mark, seen) = match (&item.seen, item.token, item.ticked) {
                    (Some(seen), _, _) => (evidence::mark(seen), seen.seen.to_string()),
                    (None, Some(_), _) => (Mark::Pending, "looking".to_owned()),
                    (None, None, true) => (Mark::Ticked, String::new()),
                    (None, None, false) => (Mark::Unticked, String::new()),
                };
                let words = [
                    Span::styled(format!("  {} ", theme.sign(mark)), theme.mark(mark)),
                    Span::raw(text::fit(&item.item, cells.saturating_sub(5), theme)),
                    Span::styled(
                        format!("  {}", text::plain(&seen)),
                        theme.style(Role::Faint),
                    ),
                ];
                Line::from(words.to_vec())
            }
            Self::System(name) => match ready
                .probes
                .iter()
                .find(|p| p.system.as_ref() == Some(name))
            {
                Some(probe) => {
                    let took = format!("{} ms", probe.elapsed_ms);
                    let seen = match &probe.help {
                        Some(help) => format!("{} — {help}", probe.seen),
                        None => probe.seen.to_string(),
                    };
                    fact(evidence::mark(probe), name, &seen, &took, cells, at)
                }
                None => fact(Mark::Pending, name, "looking", "", cells, at),
            },
            Self::Target(system) => {
                let (mark, words, how) = target(system, at);
                fact(mark, system, &words, &how, cells, at)
            }
            Self::Fact(mark, words) => fact(*mark, "", words, "", cells, at),
            Self::GoOn => {
                let here = theme.sign(Mark::Here);
                let words = format!(" {here} Go on to the checklist");
                Line::styled(words, theme.style(Role::Strong))
            }
        }
    }
}

/// ` ✓ name         words                                  how `
fn fact(mark: Mark, name: &str, words: &str, how: &str, cells: usize, at: &View) -> Line<'static> {
    let theme = at.theme;
    let mut left = vec![(
        0,
        Span::styled(format!("  {} ", theme.sign(mark)), theme.mark(mark)),
    )];
    let mut used = 4 + text::width(how) + 2;
    if !name.is_empty() {
        let width = (cells / 4).clamp(8, 22);
        used += width + 1;
        left.push((0, Span::raw(format!("{} ", text::pad(name, width, theme)))));
    }
    left.push((
        0,
        Span::raw(text::fit(words, cells.saturating_sub(used), theme)),
    ));
    let right = if how.is_empty() {
        Vec::new()
    } else {
        vec![Span::styled(format!("{how} "), theme.style(Role::Faint))]
    };
    text::row(left, right, cells)
}

fn value(item: &Item, name: &str, at: &View) -> (Mark, String, String) {
    match at.incident.values.get(name) {
        Some(held) if held.secret => (Mark::Good, "held, a secret".to_owned(), held.source.clone()),
        Some(held) => {
            let value = held.value.clone().unwrap_or_default();
            (Mark::Good, value, held.source.clone())
        }
        None if item.is_missing(at) => (Mark::Bad, "MISSING".to_owned(), String::new()),
        None if is_captured(at, name) => {
            (Mark::Pending, "comes from a step".to_owned(), String::new())
        }
        None => (
            Mark::Pending,
            "asked when its step comes".to_owned(),
            String::new(),
        ),
    }
}

fn target(system: &str, at: &View) -> (Mark, String, String) {
    let Some(pin) = at.incident.pins.get(system) else {
        return match (at.incident.wrong_place(), at.incident.recorded.get(system)) {
            (Some((wrong, reason)), _) if wrong == system => (
                Mark::Bad,
                reason.to_string(),
                "NOT THE RECORDED ONE".to_owned(),
            ),
            (_, Some(recorded)) => {
                let words = format!("recorded as {}", recorded.fingerprint());
                (Mark::Unknown, words, "not reached yet".to_owned())
            }
            (_, None) => (Mark::Unknown, "not reached yet".to_owned(), String::new()),
        };
    };
    let pinned = pin.identity.as_ref().map(|i| i.fingerprint());
    if let Some((new, _)) = &pin.proposed {
        return (
            Mark::Danger,
            new.fingerprint(),
            "NEW, waits to be confirmed".to_owned(),
        );
    }
    if let Some(step) = &pin.moved {
        let how = "confirmed once it answers".to_owned();
        return (Mark::Danger, format!("moved by {step}"), how);
    }
    match (pinned, pin.by) {
        (None, _) => (Mark::Unknown, "not reached yet".to_owned(), String::new()),
        (Some(name), PinnedBy::FirstContact) => {
            (Mark::Unverified, name, "nobody confirmed it".to_owned())
        }
        (Some(name), PinnedBy::Person) => (Mark::Good, name, "confirmed".to_owned()),
        (Some(name), PinnedBy::Site) => (Mark::Good, name, "as recorded in peace".to_owned()),
    }
}
