//! The faults that show only when the whole file is known: names that mean nothing, circles, dead
//! ends, secrets where they would be written down.

use super::{
    Runbook,
    check::Check,
    find_step,
    kinds::{CheckKind, command},
    parts::{FailureRow, Path, Procedure},
    reader::{Name, Reader},
    scripts,
    step::{Action, Capture, Danger, Include, Script, Step},
    triage::Next,
};
use crate::domain::{
    finding::{Pos, did_you_mean},
    template,
};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn find(r: &mut Reader, runbook: &Runbook) {
    let known = Known::of(runbook);
    duplicates(r, runbook);
    for system in runbook.systems.values() {
        for (text, secret_ok) in system.templates() {
            known.template(r, text, secret_ok, system.name.at);
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
    for procedure in &runbook.procedures {
        procedure_faults(r, &known, procedure);
    }
    step_list(r, &known, &runbook.recovered.steps, &[]);
    step_list(r, &known, &runbook.prepare, &[]);
    for check in &runbook.recovered.when {
        known.check(r, check);
    }
    includes_in_circles(r, runbook);
    triage_faults(r, &known, runbook);
    for row in &runbook.failures {
        row_faults(r, &known, row);
    }
}

/// Every name that may be used.
struct Known<'a> {
    runbook: &'a Runbook,
    systems: Vec<&'a str>,
    values: BTreeSet<&'a str>,
    secrets: BTreeSet<&'a str>,
    steps: Vec<String>,
}

impl<'a> Known<'a> {
    fn of(runbook: &'a Runbook) -> Self {
        let mut values: BTreeSet<&str> = runbook.variables.keys().map(String::as_str).collect();
        let all_steps = runbook.steps().map(|(_, s)| s).chain(&runbook.prepare);
        for step in all_steps {
            values.extend(step.capture.iter().map(|(n, _)| n.text.as_str()));
        }
        let secrets = runbook
            .variables
            .values()
            .filter(|v| v.is_secret())
            .map(|v| v.name.text.as_str())
            .collect();
        Self {
            runbook,
            systems: runbook.systems.keys().map(String::as_str).collect(),
            values,
            secrets,
            steps: runbook.steps().map(|(name, _)| name).collect(),
        }
    }

    fn system(&self, r: &mut Reader, name: &Name) {
        if !name.text.is_empty() && !self.systems.contains(&name.text.as_str()) {
            unknown(r, name, "system", self.systems.iter().copied());
        }
    }

    fn procedure(&self, r: &mut Reader, name: &Name) {
        let (id, path) = match name.text.split_once('/') {
            Some((id, path)) => (id, Some(path)),
            None => (name.text.as_str(), None),
        };
        let ids = || self.runbook.procedures.iter().map(|p| p.id.text.as_str());
        match (self.runbook.procedure(id), path) {
            (None, _) => unknown(r, name, "procedure", ids()),
            (Some(p), Some(path)) if p.path(Some(path)).is_none() => {
                let paths = p.paths.iter().filter_map(|p| p.id.as_deref());
                unknown(r, name, "path", paths);
            }
            (Some(_), _) => {}
        }
    }

    fn template(&self, r: &mut Reader, text: &str, secret_ok: bool, at: Pos) {
        for name in template::names(text) {
            if self.secrets.contains(name) && !secret_ok {
                r.error(
                    "secret-in-text",
                    at,
                    format!("`${{{name}}}` is a secret and would be written down here"),
                    "secrets may stand in password, bearer, headers, params, env and secret",
                );
            } else if !self.values.contains(name) {
                r.error(
                    "unknown-name",
                    at,
                    format!("no variable is called `{name}`"),
                    &did_you_mean(name, self.values.iter().copied()),
                );
            }
        }
    }

    fn check(&self, r: &mut Reader, check: &Check) {
        if let Some(name) = check.system() {
            self.system(r, name);
            let wanted = match &check.what {
                CheckKind::Postgres(_) => Some("postgres"),
                CheckKind::Redis(_) => Some("redis"),
                CheckKind::Http(_) => Some("http"),
                CheckKind::Kubernetes(_) => Some("kubernetes"),
                CheckKind::Command(_)
                | CheckKind::Tcp(_)
                | CheckKind::Tls(_)
                | CheckKind::Dns(_)
                | CheckKind::File(_) => None,
            };
            let kind = self
                .runbook
                .systems
                .get(&name.text)
                .map(|s| s.kind.as_str());
            if let (Some(wanted), Some(kind)) = (wanted, kind)
                && wanted != kind
            {
                r.error(
                    "wrong-type",
                    name.at,
                    format!("`{name}` is a {kind} system, but this is a {wanted} check"),
                    &format!("use `{kind}: {name}`, or another system"),
                );
            }
        }
        for (text, secret_ok) in check.templates() {
            self.template(r, text, secret_ok, check.at);
        }
        if let CheckKind::Command(command::Words {
            run: command::Run::Script { text, at },
            ..
        }) = &check.what
        {
            self.script_text(r, text, *at);
        }
    }

    /// Scripts get values through the environment only.
    fn script_text(&self, r: &mut Reader, text: &str, at: Pos) {
        for reference in scripts::references(text, at) {
            if self.values.contains(reference.name) && !assigns(text, reference.name) {
                let shown = if reference.braces {
                    format!("${{{}}}", reference.name)
                } else {
                    format!("${}", reference.name)
                };
                r.error(
                    "lower-case-in-script",
                    reference.at,
                    format!(
                        "`{shown}` is empty here: scripts get variables by their upper-cased names"
                    ),
                    &format!("did you mean `${}`?", reference.name.to_ascii_uppercase()),
                );
            }
        }
        for (text, at) in scripts::placeholders(text, at) {
            r.error(
                "placeholder",
                at,
                format!("`{text}` was never filled in; bash reads it as a redirection"),
                "make it a variable, or capture it in an earlier step",
            );
        }
    }

    fn script(&self, r: &mut Reader, script: &Script) {
        // Another interpreter has other rules for `$`.
        let program = script.shell.as_ref().and_then(|s| s.first());
        let name = program.map_or("bash", |p| p.rsplit('/').next().unwrap_or(p));
        if !["bash", "sh", "dash", "ksh", "zsh", "env"].contains(&name) {
            return;
        }
        self.script_text(r, &script.text, script.at);
    }
}

/// Does the script give the name a value of its own?
fn assigns(text: &str, name: &str) -> bool {
    let name = regex::escape(name);
    let ways = [
        format!(r"(?m)(?:^|[\s;&|(]){name}(?:\+?=|\[)"),
        format!(r"\bfor\s+{name}\s+in\b"),
        format!(r"\b(?:read|mapfile|readarray|local|declare|typeset|readonly)\b[^\n;|]*\b{name}\b"),
        format!(r"\bprintf\s+-v\s+{name}\b"),
    ];
    ways.iter()
        .any(|way| Regex::new(way).is_ok_and(|way| way.is_match(text)))
}

fn unknown<'a>(r: &mut Reader, name: &Name, what: &str, names: impl IntoIterator<Item = &'a str>) {
    let shown = crate::domain::text::Clean::line(&name.text);
    r.error(
        "unknown-name",
        name.at,
        format!("no {what} is called `{shown}`"),
        &did_you_mean(&name.text, names),
    );
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
        step_list(r, known, &path.steps, &[]);
    }
    let before: Vec<&Step> = procedure
        .paths
        .iter()
        .flat_map(|p: &Path| &p.steps)
        .collect();
    step_list(r, known, &procedure.then, &before);
}

/// The faults of a list of steps; `before` are steps that its `after` may also name.
fn step_list(r: &mut Reader, known: &Known<'_>, steps: &[Step], before: &[&Step]) {
    for step in steps {
        step_faults(r, known, step);
        for name in step.after.iter().flatten() {
            let in_list = steps
                .iter()
                .chain(before.iter().copied())
                .any(|s| super::names_step(&name.text, &s.id.text) || s.id == *name);
            if !in_list && find_step(known.steps.iter().map(String::as_str), &name.text).is_err() {
                unknown(r, name, "step", steps.iter().map(|s| s.id.text.as_str()));
            }
        }
    }
    after_in_circles(r, steps);
}

fn step_faults(r: &mut Reader, known: &Known<'_>, step: &Step) {
    for check in step.checks() {
        known.check(r, check);
    }
    for name in step
        .replaces
        .iter()
        .chain(&step.recovers)
        .chain(&step.measures)
    {
        known.system(r, name);
    }
    for name in &step.uses {
        if !known.values.contains(name.text.as_str()) {
            unknown(r, name, "variable", known.values.iter().copied());
        }
    }
    if let Some(phase) = &step.phase {
        let phases = || known.runbook.phases.iter().map(|p| p.id.text.as_str());
        if !phases().any(|p| p == phase.text) {
            unknown(r, phase, "phase", phases());
        }
    }
    for (name, _) in &step.set {
        if !known.values.contains(name.text.as_str()) {
            unknown(r, name, "variable", known.values.iter().copied());
        }
    }
    for (text, secret_ok) in step.own_templates() {
        known.template(r, text, secret_ok, step.at);
    }
    for script in step.scripts() {
        known.script(r, script);
        for (name, value) in &script.env {
            let word = name.text.to_ascii_uppercase();
            if ["PASSWORD", "SECRET", "TOKEN"]
                .iter()
                .any(|w| word.contains(w))
                && !value.contains("${")
                && !value.is_empty()
            {
                r.error(
                    "secret-in-text",
                    name.at,
                    format!("`{name}` holds a secret in the clear"),
                    "declare a variable of `type: secret` and write `${name}` here",
                );
            }
        }
    }
    for (name, capture) in &step.capture {
        capture_faults(r, known, step, name, capture);
    }
    if let Action::Include(include) = &step.action {
        known.procedure(r, &include.of);
        if let Some(procedure) = known.runbook.procedure(&include.of.text) {
            if let Some(path) = &include.path
                && procedure.path(Some(&path.text)).is_none()
            {
                unknown(
                    r,
                    path,
                    "path",
                    procedure.paths.iter().filter_map(|p| p.id.as_deref()),
                );
            }
            for name in &include.steps {
                let ids = || {
                    procedure
                        .paths
                        .iter()
                        .flat_map(|p| &p.steps)
                        .map(|s| s.id.text.as_str())
                };
                if !ids().any(|id| id == name.text) {
                    unknown(r, name, "step", ids());
                }
            }
        }
    }
}

fn capture_faults(r: &mut Reader, known: &Known<'_>, step: &Step, name: &Name, capture: &Capture) {
    let secret = known.secrets.contains(name.text.as_str());
    let tty = step.script().is_some_and(|s| s.tty);
    if secret && (step.danger != Danger::None || tty) {
        let why = if tty {
            "a terminal would echo it"
        } else {
            "its output is withheld, so nobody could follow a change"
        };
        r.error(
            "secret-in-text",
            name.at,
            format!("`{name}` is a secret: {why}"),
            "fetch it in a step of its own with `danger: none` and without `tty`",
        );
    }
    if super::variable::is_reserved(&name.text) {
        r.error(
            "reserved-name",
            name.at,
            format!("`{name}` would change how programs run"),
            "capture it under another name",
        );
    }
    let is_check = matches!(step.action, Action::Check(_));
    if matches!(capture, Capture::Seen) && !is_check && step.verify.is_empty() {
        r.error(
            "wrong-type",
            name.at,
            "`seen` is what a check saw, and this step has none",
            "use last-line, all, { regex } or { json }",
        );
    }
}

/// Follows `after` (the step above where there is none) and reports a step that waits for itself.
fn after_in_circles(r: &mut Reader, steps: &[Step]) {
    let index: BTreeMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(i, s)| (s.id.text.as_str(), i))
        .collect();
    let next = |i: usize| -> Vec<usize> {
        match &steps[i].after {
            Some(names) => names
                .iter()
                // A longer name may be a step of another list: the plan looks at those.
                .filter_map(|n| index.get(n.text.as_str()).copied())
                .collect(),
            None => i.checked_sub(1).into_iter().collect(),
        }
    };
    for (i, step) in steps.iter().enumerate() {
        let mut seen = BTreeSet::new();
        let mut stack = next(i);
        while let Some(j) = stack.pop() {
            if j == i {
                let at = step.after.iter().flatten().next().map_or(step.at, |n| n.at);
                r.error(
                    "cycle",
                    at,
                    format!("`{}` waits for itself", step.id),
                    "one of the steps it waits for waits for it: change an `after`",
                );
                return;
            }
            if seen.insert(j) {
                stack.extend(next(j));
            }
        }
    }
}

/// Follows each `include` into the path and the steps that it names.
fn includes_in_circles(r: &mut Reader, runbook: &Runbook) {
    type Place<'r> = (&'r str, Option<&'r str>);
    let lists: Vec<(Place<'_>, &[Step])> = runbook
        .procedures
        .iter()
        .flat_map(|p| {
            let paths = p
                .paths
                .iter()
                .map(|path| ((p.id.text.as_str(), path.id.as_deref()), &path.steps[..]));
            paths.chain([((p.id.text.as_str(), Some("then")), &p.then[..])])
        })
        .collect();
    let inside = |place: Place<'_>, only: &[Name]| -> Vec<&Include> {
        lists
            .iter()
            .filter(|(list, _)| list.0 == place.0 && (place.1.is_none() || list.1 == place.1))
            .flat_map(|(_, steps)| steps.iter())
            .filter(|s| only.is_empty() || only.contains(&s.id))
            .filter_map(|s| match &s.action {
                Action::Include(include) => Some(include),
                Action::Run(_) | Action::Kubernetes(_) | Action::Check(_) | Action::Manual(_) => {
                    None
                }
            })
            .collect()
    };
    for (list, _) in &lists {
        let mut seen: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut stack = inside(*list, &[]);
        let own: Vec<Pos> = stack.iter().map(|i| i.at).collect();
        let mut first = true;
        while let Some(include) = stack.pop() {
            if !first
                && own.contains(&include.at)
                && seen.contains(&(include.at.line, include.at.column))
            {
                r.error(
                    "cycle",
                    include.at,
                    format!("`{}` includes itself", list.0),
                    "include the steps you need by name, from a procedure that does not include this one",
                );
                return;
            }
            first = false;
            if seen.insert((include.at.line, include.at.column)) {
                let path = include.path.as_ref().map(|p| p.text.as_str());
                stack.extend(inside((include.of.text.as_str(), path), &include.steps));
            }
        }
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
        if !known
            .steps
            .iter()
            .any(|full| super::names_step(full, &name.text))
        {
            unknown(r, name, "step", known.steps.iter().map(String::as_str));
        }
    }
    if let Some(go) = &row.go {
        let is_step = known
            .steps
            .iter()
            .any(|full| super::names_step(full, &go.text));
        let id = go.text.split('/').next().unwrap_or(&go.text);
        if !is_step && known.runbook.procedure(id).is_none() {
            let names = known.runbook.procedures.iter().map(|p| p.id.text.as_str());
            unknown(
                r,
                go,
                "step or procedure",
                names.chain(known.steps.iter().map(String::as_str)),
            );
        }
    }
}
