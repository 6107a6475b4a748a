//! The faults of one step: what it names, what it captures, what it writes down.

use super::known::{Known, unknown};
use crate::domain::runbook::{
    reader::{Name, Reader},
    scripts::is_secret_name,
    step::{Action, Capture, Danger, Include, Step},
    variable::is_reserved,
};

pub(super) fn faults(r: &mut Reader, known: &Known<'_>, step: &Step) {
    for check in step.checks() {
        known.check(r, check);
    }
    let decides = match &step.action {
        Action::Check(check) => Some(check),
        Action::Run(_) | Action::Kubernetes(_) | Action::Manual(_) | Action::Include(_) => None,
    };
    for check in decides.into_iter().chain(&step.verify) {
        check.must_be_able_to_fail(r);
    }
    for name in step
        .replaces
        .iter()
        .chain(&step.recovers)
        .chain(&step.measures)
    {
        known.system(r, name);
    }
    for name in step.uses.iter().chain(step.set.iter().map(|(n, _)| n)) {
        known.value(r, name);
    }
    if let Some(phase) = &step.phase {
        known.phase(r, phase);
    }
    for (text, secret_ok) in step.own_templates() {
        known.template(r, text, secret_ok, step.at);
    }
    for script in step.scripts() {
        known.script(r, script);
        for (name, value) in &script.env {
            if is_secret_name(&name.text) && !value.contains("${") && !value.is_empty() {
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
        include_faults(r, known, include);
    }
}

fn include_faults(r: &mut Reader, known: &Known<'_>, include: &Include) {
    let Some((number, procedure)) = known.find_procedure(&include.of.text) else {
        unknown(r, &include.of, "procedure", known.procedures());
        return;
    };
    let path = match &include.path {
        Some(name) => {
            let found = known.find_path(number, &name.text);
            if found.is_none() {
                let paths = procedure.paths.iter().filter_map(|p| p.id.as_deref());
                unknown(r, name, "path", paths);
            }
            found
        }
        None => None,
    };
    let number_of_path = path.map(|(number, _)| number);
    for name in &include.steps {
        if !known.has_step(number, number_of_path, &name.text) {
            let paths = procedure.paths.iter().enumerate();
            let steps = paths
                .filter(|(q, _)| number_of_path.is_none_or(|number| number == *q))
                .flat_map(|(_, path)| &path.steps);
            unknown(r, name, "step", steps.map(|s| s.id.text.as_str()));
        }
    }
}

fn capture_faults(r: &mut Reader, known: &Known<'_>, step: &Step, name: &Name, capture: &Capture) {
    let tty = step.script().is_some_and(|s| s.tty);
    if known.is_secret(&name.text) && (step.danger != Danger::None || tty) {
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
    if is_reserved(&name.text) {
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
