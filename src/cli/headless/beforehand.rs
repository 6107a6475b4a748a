//! What a person would be asked for, named before anything starts.

use super::Said;
use crate::{
    checks::{self, Scope},
    cli::sites,
    domain::{
        event::Verdict,
        native, plan,
        runbook::{Action, Danger, Needed, Runbook, Step, SystemKind},
        template,
    },
    engine::Value,
};
use std::collections::BTreeSet;

/// Everything that a person would be asked for, named before anything starts.
pub(super) fn missing(
    runbook: &Runbook,
    steps: &[&str],
    values: &[Value],
    said: &Said,
) -> Vec<String> {
    let mut held: BTreeSet<String> = values.iter().map(|v| v.name.clone()).collect();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut out = Vec::new();
    for name in steps {
        let Some(step) = runbook.step(name) else {
            continue;
        };
        for value in plan::needs(runbook, step) {
            if !held.contains(&value) && asked.insert(value.clone()) {
                out.push(how_to_give(runbook, &value));
            }
        }
        held.extend(step.capture.iter().map(|(n, _)| n.text.clone()));
        held.extend(step.set.iter().map(|(n, _)| n.text.clone()));
        if step.danger == Danger::Destroy {
            let typed = step.confirm.as_deref().unwrap_or("NAME");
            let known = template::fill(typed, |n| {
                let value = values.iter().find(|v| v.name == n && !v.secret);
                value.map(|v| v.value.clone())
            });
            let wanted = known.unwrap_or_else(|_| typed.to_owned());
            // What only a captured value can tell is compared when its step comes.
            let fits = |given: &str| given.trim() == wanted.trim() || wanted.contains("${");
            if !said.approval(name).is_some_and(fits) {
                out.push(format!(
                    "`{name}` destroys something: --approve {name}={wanted}"
                ));
            }
        }
        if matches!(step.action, Action::Manual(_)) && !said.confirms(name) {
            out.push(format!("`{name}` is done by a person: --confirm {name}"));
        }
        for system in &step.replaces {
            let address = new_address(runbook, step, &system.text, values);
            let named = said.accept.iter().filter(|(s, _)| *s == system.text);
            if !named
                .into_iter()
                .any(|(_, accepted)| may_be(accepted, address.as_deref()))
            {
                let of = runbook.systems.get(&system.text).map(|s| s.kind);
                let what = match of {
                    Some(SystemKind::Kubernetes) => "UID-OF-KUBE-SYSTEM",
                    _ => "HOST:PORT",
                };
                let shown = address.unwrap_or_else(|| what.to_owned());
                out.push(format!(
                    "`{name}` moves `{system}`: --accept-identity {system}={shown}"
                ));
            }
        }
    }
    for check in &runbook.recovered.when {
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for (text, _) in check.templates() {
            needed.extend(template::names(text).into_iter().map(str::to_owned));
        }
        if let Some(system) = check.system() {
            needed.extend(plan::system_needs(runbook, &system.text));
        }
        for value in needed {
            if !held.contains(&value) && asked.insert(value.clone()) {
                out.push(how_to_give(runbook, &value));
            }
        }
    }
    out
}

/// Rights that a cluster does not give us. One that cannot be asked is for the steps themselves.
pub(super) async fn rights(
    runbook: &Runbook,
    steps: &[&str],
    scope: &Scope,
    values: &[Value],
) -> Vec<String> {
    let redactor = sites::redactor(values);
    let fill = |words: &serde_json::Value| scope.values.masked_json(words);
    let wanted = native::of_plan(runbook, steps, &fill);
    let asked = wanted
        .iter()
        .map(|(name, rights)| checks::rights::allowed(name, rights, scope, &redactor));
    let seen = futures::future::join_all(asked).await;
    let missing = seen.iter().filter(|s| s.verdict == Verdict::DoesNotHold);
    missing
        .flat_map(|seen| {
            let system = seen.system.as_deref().unwrap_or_default();
            let rights = seen.seen.as_str().split(checks::rights::BETWEEN);
            rights.map(move |right| format!("the right to {right} (`{system}`)"))
        })
        .collect()
}

fn how_to_give(runbook: &Runbook, name: &str) -> String {
    let variable = runbook.variable(name);
    let what = variable
        .ask
        .clone()
        .unwrap_or_else(|| variable.type_name().to_owned());
    let example = variable.example.as_deref().unwrap_or("VALUE");
    match (&variable.env, variable.is_secret()) {
        (Some(env), true) => format!("the secret `{name}` ({what}): set {env} in the environment"),
        (None, true) => format!(
            "the secret `{name}` ({what}): it has no `env:`, so it can only be typed in the cockpit"
        ),
        (_, false) => {
            let when = match variable.needed {
                Needed::Plan => "",
                Needed::Step => ", needed when its step comes",
            };
            let peace = match variable.from_baseline {
                true => "; no baseline was recorded before it began",
                false => "",
            };
            format!("the value `{name}` ({what}{when}{peace}): --set {name}={example}")
        }
    }
}

/// Can what was accepted be the target at this address?
fn may_be(accepted: &str, address: Option<&str>) -> bool {
    match address {
        Some(address) if accepted.contains(':') => accepted.split('/').next() == Some(address),
        // An identifier alone, or an address that nobody knows yet.
        Some(_) | None => true,
    }
}

/// Where the new target will be, when that is known before it is there.
fn new_address(runbook: &Runbook, step: &Step, system: &str, values: &[Value]) -> Option<String> {
    let plain = |name: &str| {
        let value = values.iter().find(|v| v.name == name && !v.secret);
        value.map(|v| v.value.clone())
    };
    let known = |name: &str| match step.set.iter().find(|(n, _)| n.text == name) {
        Some((_, text)) => template::fill(text, plain).ok(),
        None => plain(name),
    };
    let system = runbook.systems.get(system)?;
    if system.kind == SystemKind::Kubernetes {
        // Its server is known when its kubeconfig is written.
        return None;
    }
    let field = |key: &str, otherwise: &str| {
        let text = system.fields.get(key).map_or(otherwise, String::as_str);
        template::fill(text, known).ok()
    };
    let port = match system.kind {
        SystemKind::Redis => "6379",
        _ => "5432",
    };
    Some(format!(
        "{}:{}",
        field("host", "localhost")?,
        field("port", port)?
    ))
}
