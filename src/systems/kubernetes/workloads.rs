//! How nodes and workloads are: what is ready, and of what is not, why.

use super::{Cluster, Trouble};
use serde_json::Value;

/// How something is, and whether that is good.
pub struct State {
    pub text: String,
    pub good: bool,
}

impl State {
    fn judged(text: impl Into<String>, good: bool) -> Self {
        Self {
            text: text.into(),
            good,
        }
    }
}

pub(crate) fn items(list: Option<Value>) -> Vec<Value> {
    match list {
        Some(Value::Object(mut map)) => match map.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("?")
}

pub(crate) fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let all = object["status"]["conditions"].as_array()?;
    all.iter().find(|c| c["type"] == kind)
}

fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == "True")
}

pub(crate) async fn nodes(cluster: &Cluster) -> Result<State, Trouble> {
    let nodes = items(cluster.get("/api/v1/nodes").await?);
    let unready: Vec<String> = nodes
        .iter()
        .filter(|n| !is_true(n, "Ready"))
        .map(|n| {
            let why = condition(n, "Ready").and_then(|c| c["reason"].as_str());
            format!(
                "{} is not ready ({})",
                name(n),
                why.unwrap_or("no word from it")
            )
        })
        .collect();
    let ready = nodes.len() - unready.len();
    let mut seen = format!("{ready} of {} nodes ready", nodes.len());
    if !unready.is_empty() {
        seen.push_str(&format!("; {}", unready.join("; ")));
    }
    Ok(State::judged(seen, !nodes.is_empty() && unready.is_empty()))
}

/// Has every replica of the newest revision taken over?
pub(crate) fn rollout(object: &Value) -> State {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |v: &Value| v.as_i64().unwrap_or(0);
    let daemon = object["kind"] == "DaemonSet";
    let wanted = match daemon {
        true => number(&status["desiredNumberScheduled"]),
        false => spec["replicas"].as_i64().unwrap_or(1),
    };
    let (updated, ready) = match daemon {
        true => (
            number(&status["updatedNumberScheduled"]),
            number(&status["numberReady"]),
        ),
        false => (
            number(&status["updatedReplicas"]),
            number(&status["readyReplicas"]),
        ),
    };
    let observed =
        number(&status["observedGeneration"]) >= number(&object["metadata"]["generation"]);
    let old = number(&status["replicas"]) - updated;
    let mut seen = format!("{ready} of {wanted} ready");
    if updated < wanted {
        seen.push_str(&format!(", {updated} of the newest revision"));
    }
    if old > 0 && !daemon {
        seen.push_str(&format!(", {old} of an older one still there"));
    }
    if !observed {
        seen.push_str(", the last change is not taken up yet");
    }
    let stuck =
        condition(object, "Progressing").filter(|c| c["reason"] == "ProgressDeadlineExceeded");
    if let Some(stuck) = stuck {
        seen.push_str(&format!(
            ", stuck: {}",
            stuck["message"].as_str().unwrap_or_default()
        ));
    }
    let done = observed && updated >= wanted && ready >= wanted && (old <= 0 || daemon);
    State::judged(seen, done && stuck.is_none())
}

/// A text as a part of a query.
pub(crate) fn query(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// Where pods of a selector are listed.
pub(crate) fn pods_path(cluster: &Cluster, selector: &str) -> String {
    format!(
        "/api/v1/namespaces/{}/pods?labelSelector={}",
        cluster.namespace,
        query(selector)
    )
}

pub(crate) async fn pods_of(cluster: &Cluster, selector: &str) -> Result<Vec<Value>, Trouble> {
    Ok(items(cluster.get(&pods_path(cluster, selector)).await?))
}

/// The pods that a workload, a job or a replica set owns, as a selector.
pub(crate) fn selector(object: &Value) -> Option<String> {
    labels(&object["spec"]["selector"]["matchLabels"])
}

/// A mapping of labels, as a selector.
pub(crate) fn labels(mapping: &Value) -> Option<String> {
    let all: Vec<String> = mapping
        .as_object()?
        .iter()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// Pods of a selector: all of them run and are ready; or, with `none`, none of them is in that state.
pub(crate) async fn pods(
    cluster: &Cluster,
    selector: &str,
    none: Option<&Value>,
) -> Result<State, Trouble> {
    let pods = pods_of(cluster, selector).await?;
    let states: Vec<(String, String)> = pods
        .iter()
        .map(|p| (name(p).to_owned(), state(p)))
        .collect();
    let unwanted: Vec<&str> = match none {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let shown = |list: &[&(String, String)]| {
        list.iter()
            .map(|(name, state)| format!("{name}: {state}"))
            .collect::<Vec<_>>()
            .join("; ")
    };
    if !unwanted.is_empty() {
        let found: Vec<&(String, String)> = states
            .iter()
            .filter(|(_, s)| unwanted.iter().any(|u| s.starts_with(u)))
            .collect();
        return Ok(match found[..] {
            [] => State::judged(
                format!("{} pods, none {}", states.len(), unwanted.join(" or ")),
                true,
            ),
            _ => State::judged(shown(&found), false),
        });
    }
    let waiting: Vec<&(String, String)> = states
        .iter()
        .filter(|(_, s)| s != "ready" && s != "completed")
        .collect();
    let good = !states.is_empty() && waiting.is_empty();
    let mut seen = format!(
        "{} of {} pods ready",
        states.len() - waiting.len(),
        states.len()
    );
    if !waiting.is_empty() {
        seen.push_str(&format!("; {}", shown(&waiting)));
    }
    Ok(State::judged(seen, good))
}

/// Why a pod is not ready, in the words that people search for; `ready` when it is.
pub(crate) fn state(pod: &Value) -> String {
    let status = &pod["status"];
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".to_owned();
    }
    let groups = [
        &status["initContainerStatuses"],
        &status["containerStatuses"],
    ];
    for container in groups.into_iter().filter_map(Value::as_array).flatten() {
        let waiting = &container["state"]["waiting"];
        if let Some(reason) = waiting["reason"]
            .as_str()
            .filter(|r| *r != "PodInitializing")
        {
            let message = waiting["message"].as_str().unwrap_or_default();
            let restarts = container["restartCount"].as_i64().unwrap_or(0);
            let more = match (message, restarts) {
                ("", 0) => String::new(),
                ("", n) => format!(" ({n} restarts)"),
                (message, _) => format!(" ({message})"),
            };
            return format!("{reason}{more}");
        }
        let ended = &container["state"]["terminated"];
        if ended["exitCode"].as_i64().is_some_and(|code| code != 0) {
            let reason = ended["reason"].as_str().unwrap_or("Error");
            return format!("{reason} (exit {})", ended["exitCode"]);
        }
    }
    match status["phase"].as_str() {
        Some("Succeeded") => "completed".to_owned(),
        Some("Running") if is_true(pod, "Ready") => "ready".to_owned(),
        Some("Running") => "running, not ready".to_owned(),
        phase => {
            let scheduled = condition(pod, "PodScheduled").filter(|c| c["status"] == "False");
            let why = scheduled.and_then(|c| c["message"].as_str());
            match why {
                Some(why) => format!("Unschedulable ({why})"),
                None => phase.unwrap_or("unknown").to_owned(),
            }
        }
    }
}

pub(crate) fn job(object: &Value) -> State {
    let why = |c: &Value| c["message"].as_str().unwrap_or_default().to_owned();
    if let Some(failed) = condition(object, "Failed").filter(|c| c["status"] == "True") {
        return State::judged(format!("failed: {}", why(failed)), false);
    }
    if is_true(object, "Complete") {
        return State::judged("complete", true);
    }
    let active = object["status"]["active"].as_i64().unwrap_or(0);
    State::judged(format!("running, {active} active"), false)
}

pub(crate) fn certificate(object: &Value) -> State {
    match condition(object, "Ready") {
        Some(ready) if ready["status"] == "True" => State::judged("issued", true),
        Some(ready) => {
            let (reason, message) = (ready["reason"].as_str(), ready["message"].as_str());
            State::judged(
                format!(
                    "{}: {}",
                    reason.unwrap_or("not ready"),
                    message.unwrap_or_default()
                ),
                false,
            )
        }
        None => State::judged(
            "nobody has looked at it yet: is cert-manager running?",
            false,
        ),
    }
}

pub(crate) fn ingress(object: &Value) -> State {
    let all = object["status"]["loadBalancer"]["ingress"].as_array();
    let addresses: Vec<&str> = all
        .into_iter()
        .flatten()
        .filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str()))
        .collect();
    match addresses[..] {
        [] => State::judged("it has no address yet", false),
        _ => State::judged(addresses.join(", "), true),
    }
}

/// The images of a workload's containers.
pub(crate) fn images(object: &Value) -> String {
    let spec = &object["spec"]["template"]["spec"];
    let spec = if spec.is_object() {
        spec
    } else {
        &object["spec"]
    };
    let images = spec["containers"].as_array().into_iter().flatten();
    let images: Vec<&str> = images.filter_map(|c| c["image"].as_str()).collect();
    images.join(", ")
}
