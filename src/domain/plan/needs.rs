//! What a step of the plan needs: values, and systems whose identity must be right.

use crate::domain::{
    runbook::{
        Check, Runbook, Step, SystemKind,
        kinds::{CheckKind, command},
        scripts,
    },
    template,
};
use std::collections::BTreeSet;

/// The variables that a step needs, by name: what it fills in, what its scripts mention, and what
/// the systems it names are reached with. What it captures itself is not needed.
pub fn needs(runbook: &Runbook, step: &Step) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (text, _) in step.templates() {
        names.extend(template::names(text).into_iter().map(str::to_owned));
    }
    for check in step.checks() {
        names.extend(of_script(runbook, check));
    }
    for native in step.natives() {
        let system = native["system"].as_str().unwrap_or_default();
        names.extend(system_needs(runbook, system));
    }
    for script in step.scripts() {
        names.extend(mentioned(runbook, &script.text));
    }
    names.extend(step.uses.iter().map(|n| n.text.clone()));
    for system in step.systems() {
        names.extend(system_needs(runbook, &system.text));
    }
    for (name, _) in &step.capture {
        names.remove(&name.text);
    }
    names
}

/// What a check alone needs: enough to learn whether a step is done already.
pub fn check_needs(runbook: &Runbook, check: &Check) -> BTreeSet<String> {
    let texts = check.templates();
    let names = texts.iter().flat_map(|(text, _)| template::names(text));
    let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
    names.extend(of_script(runbook, check));
    if let Some(system) = check.system() {
        names.extend(system_needs(runbook, &system.text));
    }
    names
}

fn of_script(runbook: &Runbook, check: &Check) -> BTreeSet<String> {
    match &check.what {
        CheckKind::Command(command::Words {
            run: command::Run::Script { text, .. },
            ..
        }) => mentioned(runbook, text),
        _ => BTreeSet::new(),
    }
}

/// The variables that a script mentions, declared or captured.
pub fn mentioned(runbook: &Runbook, script: &str) -> BTreeSet<String> {
    let captured = runbook
        .steps()
        .flat_map(|(_, s)| s.capture.iter().map(|(n, _)| &n.text));
    runbook
        .variables
        .keys()
        .chain(captured)
        .filter(|name| scripts::mentions(script, name))
        .cloned()
        .collect()
}

/// The variables that a system is reached with.
pub fn system_needs(runbook: &Runbook, system: &str) -> BTreeSet<String> {
    let Some(system) = runbook.systems.get(system) else {
        return BTreeSet::new();
    };
    let own = system.templates().into_iter();
    let own = own.flat_map(|(text, _)| template::names(text));
    let mut names: BTreeSet<String> = own.map(str::to_owned).collect();
    if let Some(cluster) = system.through_cluster().filter(|c| *c != system.name.text) {
        names.extend(system_needs(runbook, cluster));
    }
    names
}

/// The systems whose identity must be right before a step changes something: those it names, those
/// its procedure needs, and those whose address its script is given.
pub fn targets(runbook: &Runbook, procedure: &str, step: &Step) -> Vec<String> {
    let mut all: Vec<String> = step.systems().into_iter().map(|n| n.text.clone()).collect();
    if let Some(procedure) = runbook.procedure(procedure) {
        let named = procedure.needs.systems.iter().chain(&procedure.recovers);
        all.extend(named.map(|n| n.text.clone()));
    }
    all.extend(
        step.natives()
            .filter_map(|w| Some(w["system"].as_str()?.to_owned())),
    );
    for script in step.scripts() {
        for system in runbook.systems.values() {
            let address = ["host", "port", "base", "context", "kubeconfig"];
            let given = system
                .fields
                .iter()
                .filter(|(k, _)| address.contains(&k.as_str()))
                .flat_map(|(_, v)| template::names(v))
                .any(|name| {
                    scripts::mentions(&script.text, name)
                        || script
                            .env
                            .iter()
                            .any(|(_, v)| template::names(v).contains(&name))
                });
            if given {
                all.push(system.name.text.clone());
            }
        }
    }
    // What is reached through a cluster is only as right as the cluster is.
    let through: Vec<String> = all
        .iter()
        .filter_map(|name| runbook.systems.get(name)?.through_cluster())
        .map(str::to_owned)
        .collect();
    all.extend(through);
    let mut seen = BTreeSet::new();
    all.retain(|name| {
        let reachable = runbook.systems.get(name).is_some_and(|s| match s.kind {
            SystemKind::Postgres | SystemKind::Redis | SystemKind::Kubernetes => true,
            SystemKind::Http | SystemKind::Azure | SystemKind::Aws => false,
        });
        reachable && seen.insert(name.clone())
    });
    all
}

/// May this step go on although the system does not answer?
pub fn expects_silence(runbook: &Runbook, procedure: &str, step: &Step, system: &str) -> bool {
    let of_procedure = runbook
        .procedure(procedure)
        .is_some_and(|p| p.recovers.iter().any(|n| n.text == system));
    of_procedure
        || step.recovers.iter().any(|n| n.text == system)
        || step.replaces.iter().any(|n| n.text == system)
}
