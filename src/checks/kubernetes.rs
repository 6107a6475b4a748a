//! The hands of a Kubernetes check: one look at the API, read-only.

use super::{Seen, Trouble};
use crate::{
    domain::{
        expect::{Comparison, Expect},
        runbook::{
            System,
            kinds::kubernetes::{Words, plain},
        },
    },
    systems::kubernetes::{
        Cluster, connect, exec,
        kinds::Place,
        watch::Watch,
        workloads::{self, State},
    },
};
use serde_json::Value;
use std::time::Duration;

pub(super) async fn look(
    words: &Words,
    system: &System,
    timeout: Duration,
) -> Result<Seen, Trouble> {
    let mut cluster = connect(system, timeout).await?;
    if let Some(namespace) = words.words.get("namespace").and_then(Value::as_str) {
        namespace.clone_into(&mut cluster.namespace);
    }
    let text = |key: &str| words.words.get(key).and_then(Value::as_str);
    let of = |kind: &str, name: &str| format!("{kind}/{name}");
    if words.words.contains_key("reachable") {
        return reachable(&cluster).await;
    }
    if words.words.contains_key("nodes") {
        return Ok(workloads::nodes(&cluster).await?.into());
    }
    if let Some(what) = text("rollout") {
        let object = must(&cluster, what).await?;
        return Ok(object.map_or_else(|| gone(what), |o| workloads::rollout(&o).into()));
    }
    if let Some(selector) = text("pods") {
        let seen = workloads::pods(&cluster, selector, words.words.get("none")).await?;
        return Ok(seen.into());
    }
    if let Some(name) = text("pvc") {
        let what = of("pvc", name);
        let found = must(&cluster, &what).await?;
        let wanted = text("phase");
        return Ok(found.map_or_else(
            || gone(&what),
            |o| {
                let phase = o["status"]["phase"].as_str().unwrap_or("unknown");
                Seen::judged(phase, wanted.is_none_or(|w| w == phase))
            },
        ));
    }
    if let Some(name) = text("secret") {
        let what = of("secret", name);
        let found = must(&cluster, &what).await?;
        return Ok(found.map_or_else(|| gone(&what), |o| keys(&o, words.words.get("keys"))));
    }
    for (key, judge) in [
        ("job", workloads::job as fn(&Value) -> State),
        ("certificate", workloads::certificate),
        ("ingress", workloads::ingress),
    ] {
        if let Some(name) = text(key) {
            let what = of(key, name);
            let found = must(&cluster, &what).await?;
            return Ok(found.map_or_else(|| gone(&what), |o| judge(&o).into()));
        }
    }
    if let Some(what) = text("image") {
        let found = must(&cluster, what).await?;
        return Ok(found.map_or_else(|| gone(what), |o| Seen::text(workloads::images(&o))));
    }
    if let Some(what) = text("get") {
        let found = must(&cluster, what).await?;
        return Ok(found.map_or_else(|| gone(what), |o| fields(&o, words.words.get("json"))));
    }
    if let Some(what) = text("absent") {
        let found = must(&cluster, what).await?;
        return Ok(match found {
            None => Seen::judged("it is not there", true),
            Some(object) => {
                let going = object["metadata"]["deletionTimestamp"].is_string();
                let held = object["metadata"]["finalizers"].as_array();
                let held: Vec<&str> = held
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                Seen::judged(
                    match (going, held.is_empty()) {
                        (true, false) => {
                            format!("it is being deleted, and held by {}", held.join(", "))
                        }
                        (true, true) => "it is being deleted".to_owned(),
                        (false, _) => "it is there".to_owned(),
                    },
                    false,
                )
            }
        });
    }
    if let Some(what) = text("exec") {
        return in_pod(&cluster, what, text("container"), words).await;
    }
    Err(Trouble::cannot_tell(
        "this does not say what to look at in the cluster",
        "see the keys of a Kubernetes check",
    ))
}

/// A command in a pod: what it prints is what is seen.
async fn in_pod(
    cluster: &Cluster,
    what: &str,
    container: Option<&str>,
    words: &Words,
) -> Result<Seen, Trouble> {
    let pod = exec::pod_of(cluster, what).await?;
    let command = words.words.get("command").and_then(Value::as_array);
    let command: Vec<String> = command.into_iter().flatten().map(plain).collect();
    let call = exec::Call {
        pod: &pod,
        container,
        command: &command.iter().map(String::as_str).collect::<Vec<_>>(),
    };
    let (end, out, err) = call.collect(cluster).await?;
    Ok(match end {
        exec::End::Exit(0) => Seen::text(out).or_shown("exit 0"),
        exec::End::Exit(code) => {
            // What went wrong, and what the command makes of it.
            let last = |text: &str| {
                let lines: Vec<String> = text.trim().lines().map(ToOwned::to_owned).collect();
                lines[lines.len().saturating_sub(5)..].to_vec()
            };
            let said = [last(&err), last(&out)].concat().join("\n");
            let said = format!("exit {code}: {said}");
            Seen::judged(said.trim_end_matches([':', ' ']), false)
        }
        exec::End::Lost(why) => {
            return Err(Trouble::cannot_tell(
                format!("pod/{pod}: the connection was lost: {why}"),
                "look again",
            ));
        }
    })
}

/// What such a look depends on, as something to watch; nothing where it must be asked again.
pub(super) async fn watch(words: &Words, system: &System) -> Option<Watch> {
    let text = |key: &str| words.words.get(key).and_then(Value::as_str);
    let (nodes, selector) = (words.words.contains_key("nodes"), text("pods"));
    let object = words.object();
    if !nodes && selector.is_none() && object.is_none() {
        // Asked again each time: no connection is made for nothing.
        return None;
    }
    let mut cluster = connect(system, Duration::from_secs(5)).await.ok()?;
    if let Some(namespace) = text("namespace") {
        namespace.clone_into(&mut cluster.namespace);
    }
    if nodes {
        return Some(Watch::new(cluster, "/api/v1/nodes".to_owned()));
    }
    if let Some(selector) = selector {
        let path = workloads::pods_path(&cluster, selector);
        return Some(Watch::new(cluster, path));
    }
    let what = object?;
    let place = Place::of(&cluster, &what).await.ok()?;
    let field = workloads::query(&format!("metadata.name={}", place.name));
    let path = format!(
        "{}?fieldSelector={field}",
        place.collection(&cluster.namespace)
    );
    Some(Watch::new(cluster, path))
}

impl From<State> for Seen {
    fn from(state: State) -> Self {
        Self::judged(state.text, state.good)
    }
}

async fn reachable(cluster: &Cluster) -> Result<Seen, Trouble> {
    let said = cluster.text("/readyz").await?;
    Ok(Seen::judged(said.trim(), said.trim() == "ok"))
}

fn gone(what: &str) -> Seen {
    Seen::judged(format!("{what} is not there"), false)
}

/// The object that `kind/name` names; `None` where it is not there.
async fn must(cluster: &Cluster, what: &str) -> Result<Option<Value>, Trouble> {
    let place = Place::of(cluster, what).await?;
    cluster.get(&place.path(&cluster.namespace)).await
}

/// Names of keys, never what they hold.
fn keys(secret: &Value, wanted: Option<&Value>) -> Seen {
    let held: Vec<&str> = secret["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, _)| k.as_str())
        .collect();
    let wanted: Vec<&str> = wanted
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let missing: Vec<&str> = wanted.into_iter().filter(|w| !held.contains(w)).collect();
    if missing.is_empty() {
        return Seen::judged(format!("keys: {}", held.join(", ")), !held.is_empty());
    }
    Seen::judged(
        format!(
            "missing: {}; there are: {}",
            missing.join(", "),
            held.join(", ")
        ),
        false,
    )
}

/// Fields by JSON pointers, each with what must hold; without any, that the object is there.
fn fields(object: &Value, wanted: Option<&Value>) -> Seen {
    let Some(wanted) = wanted.and_then(Value::as_object) else {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Seen::judged(format!("{name} is there"), true);
    };
    let (mut all, mut holds) = (Vec::new(), true);
    for (pointer, expected) in wanted {
        let found = object.pointer(pointer);
        let seen = match found {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "nothing".to_owned(),
        };
        let expected = expected
            .as_str()
            .map_or_else(|| expected.to_string(), str::to_owned);
        let judged = Expect::parse(&expected).map(|e| e.judge(&seen));
        holds &= found.is_some() && matches!(judged, Ok(Comparison::Holds));
        all.push(format!("{pointer} {seen}"));
    }
    Seen::judged(all.join(", "), holds)
}
