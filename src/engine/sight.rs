//! From the incident to the edge: the values as they stand, what a step will run, what it is aimed at.

use super::Vault;
use crate::{
    checks::Scope,
    domain::{
        decide::Refusal,
        event::{Identity, World},
        incident::Incident,
        native::Native,
        plan,
        runbook::{
            Action, Check, Runbook, Script, Step, SystemKind, Undo, VarType, kinds::CheckKind,
            scripts, variable,
        },
    },
    export::page::by_hand,
    supervisor::spec::{Spec, Work},
    values::Values,
};
use indexmap::IndexMap;
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) fn values(incident: &Incident, vault: &Vault) -> Values {
    Values {
        plain: plain(incident),
        secrets: vault.expose(),
    }
}

fn plain(incident: &Incident) -> IndexMap<String, String> {
    incident
        .values
        .iter()
        .filter_map(|(name, held)| Some((name.clone(), held.value.clone()?)))
        .collect()
}

/// Values of which secrets are only names: for what is shown.
pub(super) fn shown_values(incident: &Incident) -> Values {
    let secrets = incident
        .values
        .iter()
        .filter(|(_, held)| held.secret)
        .map(|(name, _)| (name.clone(), String::new()))
        .collect();
    Values {
        plain: plain(incident),
        secrets,
    }
}

pub(super) fn scope(
    runbook: &Runbook,
    incident: &Incident,
    vault: &Vault,
    workdir: &Path,
) -> Scope {
    Scope {
        systems: runbook.systems.clone(),
        values: values(incident, vault),
        workdir: workdir.to_owned(),
        env: plain_env(runbook, incident),
        hidden: hidden_env(runbook),
        pins: pins(incident),
    }
}

/// Plain values under their upper-cased names.
fn plain_env(runbook: &Runbook, incident: &Incident) -> Vec<(String, String)> {
    incident
        .values
        .iter()
        .filter_map(|(name, held)| {
            let kind = runbook
                .variables
                .get(name)
                .map_or(VarType::Text, |v| v.kind);
            Some(variable::exports(name, kind, held.value.as_deref()?))
        })
        .flatten()
        .collect()
}

/// What a script finds in its environment: plain values, the secrets that it names, and its `env:`.
fn script_env(
    runbook: &Runbook,
    incident: &Incident,
    vault: &Vault,
    step: &Step,
    script: &Script,
) -> Vec<(String, String)> {
    let values = values(incident, vault);
    let mut env = plain_env(runbook, incident);
    let mut named: BTreeSet<String> = plan::mentioned(runbook, &script.text);
    named.extend(step.uses.iter().map(|n| n.text.clone()));
    for name in named {
        if let Some(secret) = values.secrets.get(&name) {
            env.push((name.to_ascii_uppercase(), secret.clone()));
        }
    }
    for (name, text) in &script.env {
        if let Ok(value) = values.fill(text) {
            env.push((name.text.clone(), value));
        }
    }
    env
}

/// What a probe finds in its environment: all that the failed step found, and its log.
pub(super) fn probe_env(
    runbook: &Runbook,
    incident: &Incident,
    vault: &Vault,
    step: &str,
    dir: &Path,
) -> Vec<(String, String)> {
    let script = |step: &Step| {
        let script = step.script()?;
        Some(script_env(runbook, incident, vault, step, script))
    };
    let mut env = runbook
        .step(step)
        .and_then(script)
        .unwrap_or_else(|| plain_env(runbook, incident));
    let attempt = incident.step(step).and_then(|s| s.attempts.last());
    if let Some(attempt) = attempt {
        let log = dir.join(&attempt.dir).join(crate::logs::LOG);
        env.push((FAILED_LOG.to_owned(), log.to_string_lossy().into_owned()));
    }
    env
}

/// Where a probe finds what the failed step has printed.
const FAILED_LOG: &str = "BLACKSTART_FAILED_LOG";

/// What exactly will run, secrets masked: for people and for the journal.
pub fn shown_command(runbook: &Runbook, values: &Values, step: &Step, undo: bool) -> String {
    if undo {
        return match &step.undo {
            Some(Undo::Run(script)) => shown_script(values, script),
            Some(Undo::Kubernetes(words)) => shown_native(runbook, values, words),
            None => String::new(),
        };
    }
    match &step.action {
        Action::Run(script) => shown_script(values, script),
        Action::Check(check) => {
            let shown = shown_check(values, check);
            match same_by_hand(runbook, values, check) {
                Some(same) => format!("{shown}\n# look for yourself\n{same}"),
                None => shown,
            }
        }
        Action::Manual(text) => text.clone(),
        Action::Kubernetes(words) => shown_native(runbook, values, words),
        Action::Include(include) => format!("steps of {}", include.of),
    }
}

/// The command with which a person would look at the same thing.
fn same_by_hand(runbook: &Runbook, values: &Values, check: &Check) -> Option<String> {
    if matches!(check.what, CheckKind::Command(_) | CheckKind::File(_)) {
        // It says so itself.
        return None;
    }
    let systems = &runbook.systems;
    let shown = systems
        .iter()
        .map(|(name, system)| (name.clone(), values.masked_system(system)));
    by_hand::same(&shown.collect(), &values.masked_check(check))
}

/// The kubectl command that would do the same.
fn shown_native(runbook: &Runbook, values: &Values, words: &serde_json::Value) -> String {
    let masked = values.masked_json(words);
    let system = runbook
        .systems
        .get(words["system"].as_str().unwrap_or_default());
    let system = system.map(|s| values.masked_system(s));
    match Native::read(&masked) {
        Ok(native) => format!("# does the same as\n{}", native.kubectl(system.as_ref())),
        Err(_) => masked.to_string(),
    }
}

/// A script, and the values that it will find under the names that it mentions.
fn shown_script(values: &Values, script: &Script) -> String {
    let mut out = script.text.trim_end().to_owned();
    for (name, text) in &script.env {
        let value = values.masked(text).replace('\n', "\\n");
        out.push_str(&format!("\n# {name}={value}"));
    }
    let plain = values.plain.iter().map(|(name, value)| (name, Some(value)));
    let secrets = values.secrets.keys().map(|name| (name, None));
    for (name, value) in plain.chain(secrets) {
        if scripts::mentions(&script.text, name) {
            let upper = name.to_ascii_uppercase();
            let value = match value {
                Some(value) => value.replace('\n', "\\n"),
                None => format!("[masked:{name}]"),
            };
            out.push_str(&format!("\n# {upper}={value}"));
        }
    }
    out
}

pub(super) fn shown_check(values: &Values, check: &Check) -> String {
    let shown = values.masked_check(check);
    format!("{} — expected: {}", shown.label(), shown.expected())
}

/// Everything that an attempt is started with.
#[expect(
    clippy::too_many_arguments,
    reason = "each is an independent part of what an attempt is"
)]
pub(super) fn spec(
    runbook: &Runbook,
    incident: &Incident,
    vault: &Vault,
    step: &Step,
    undo: bool,
    dir: PathBuf,
    workdir: &Path,
    size: (u16, u16),
    recorded_secrets: &HashMap<String, String>,
) -> Spec {
    let script = match (&step.undo, undo) {
        (Some(Undo::Run(script)), true) => Some(script),
        (Some(Undo::Kubernetes(_)) | None, true) => None,
        (_, false) => step.script(),
    };
    let work = match (script, &step.action) {
        (Some(script), _) => Work::Script {
            text: script.text.clone(),
            shell: script
                .shell
                .clone()
                .unwrap_or_else(|| ["bash", "-Eeuo", "pipefail"].map(str::to_owned).to_vec()),
            tty: script.tty,
            size,
        },
        (None, Action::Check(check)) if !undo => Work::Check(check.clone()),
        (None, Action::Kubernetes(words)) if !undo => Work::Native(words.clone()),
        (None, _) if undo && let Some(Undo::Kubernetes(words)) = &step.undo => {
            Work::Native(words.clone())
        }
        (None, _) => Work::Nothing,
    };
    let values = values(incident, vault);
    let workdir = match script.and_then(|s| s.workdir.as_deref()) {
        Some(own) => workdir.join(values.fill(own).unwrap_or_else(|_| own.to_owned())),
        None => workdir.to_owned(),
    };
    let env = script
        .map(|s| script_env(runbook, incident, vault, step, s))
        .unwrap_or_default();
    let capture = step
        .capture
        .iter()
        .filter(|_| !undo)
        .map(|(name, how)| {
            (
                name.text.clone(),
                how.clone(),
                runbook.is_secret(&name.text),
            )
        })
        .collect();
    let set = step.set.iter().map(|(n, v)| (n.text.clone(), v.clone()));
    Spec {
        dir,
        workdir,
        work,
        env,
        masked: vault.expose(),
        recorded_secrets: recorded_secrets.clone(),
        verify: if undo {
            Vec::new()
        } else {
            step.verify.clone()
        },
        progress: step.progress.clone().filter(|_| !undo),
        every: step.every.unwrap_or(Duration::from_secs(30)),
        systems: runbook.systems.clone(),
        pins: pins(incident),
        check_env: plain_env(runbook, incident),
        values,
        fixed: fixed(incident),
        capture,
        set: if undo { Vec::new() } else { set.collect() },
        kubeconfigs_out: kubeconfigs_out(runbook, step, undo),
        remote: step.remote && !undo,
        timeout: step.timeout,
        stop: step.stop,
        no_redact: vault.no_redact(),
    }
}

/// The clusters that a step replaces, and where the new one's kubeconfig is written.
fn kubeconfigs_out(runbook: &Runbook, step: &Step, undo: bool) -> Vec<(String, String)> {
    let replaced = step.replaces.iter().filter(|_| !undo);
    replaced
        .filter(|name| {
            let system = runbook.systems.get(&name.text);
            system.is_some_and(|s| s.kind == SystemKind::Kubernetes)
        })
        .map(|name| (name.text.clone(), format!("{}.kubeconfig", name.text)))
        .collect()
}

fn pins(incident: &Incident) -> HashMap<String, Identity> {
    incident
        .pins
        .iter()
        .filter_map(|(name, pin)| Some((name.clone(), pin.identity.clone()?)))
        .collect()
}

/// Values that go before what a step captures.
fn fixed(incident: &Incident) -> Vec<String> {
    let first = ["set", "environment", "site"];
    incident
        .values
        .iter()
        .filter(|(_, held)| first.contains(&held.source.as_str()))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Names that must not reach a command by inheritance: those from which secrets were taken, and those
/// under which a script would find one that it does not name.
pub(super) fn hidden_env(runbook: &Runbook) -> Vec<String> {
    runbook
        .variables
        .values()
        .filter(|v| v.is_secret())
        .flat_map(|v| {
            v.env
                .iter()
                .cloned()
                .chain([v.name.text.to_ascii_uppercase()])
        })
        .collect()
}

/// Why nothing can be started: the sandbox of a drill is gone, or this is not in it.
pub(super) fn sandbox_gone(incident: &Incident) -> Option<Refusal> {
    let site = incident.site.as_ref()?;
    let sandboxed = incident.world == World::Simulated;
    (sandboxed && crate::sandbox::launch::is_gone(&site.name)).then_some(Refusal::SandboxGone)
}
