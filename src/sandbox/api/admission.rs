//! Whether there is room for one more: the quotas of a namespace.

use super::{kinds::Kind, status::Status, store::Store, tree::text};
use serde_json::{Map, Value, json};

/// Kinds that a quota counts under their bare names.
const BARE: [&str; 7] = [
    "pods",
    "services",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
];

/// Refuses an object for which a quota of its namespace has no room.
pub(super) fn quota(store: &Store, kind: &Kind, namespace: &str, name: &str) -> Result<(), Status> {
    for (_, quota) in store.of("resourcequotas", Some(namespace)) {
        let hard = quota["spec"]["hard"].as_object();
        let (mut asked, mut used, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (resource, limit) in hard.into_iter().flatten() {
            let Some(limit) = count_of(limit) else {
                continue;
            };
            if stored_of(resource) != Some(kind.stored.as_str()) {
                continue;
            }
            let held = held(store, resource, namespace).unwrap_or(0);
            if held >= limit {
                asked.push(format!("{resource}=1"));
                used.push(format!("{resource}={held}"));
                limited.push(format!("{resource}={limit}"));
            }
        }
        if !asked.is_empty() {
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                text(quota, "/metadata/name"),
                asked.join(","),
                used.join(","),
                limited.join(",")
            );
            return Err(Status::forbidden(kind, name, &why));
        }
    }
    Ok(())
}

/// What the status of a quota says: what it allows, and what is used of it.
pub(super) fn status(store: &Store, quota: &Value) -> Value {
    let namespace = text(quota, "/metadata/namespace");
    let mut used = Map::new();
    for resource in quota["spec"]["hard"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, _)| k)
    {
        let held = held(store, resource, namespace).unwrap_or(0);
        used.insert(resource.clone(), json!(held.to_string()));
    }
    json!({ "hard": quota["spec"]["hard"], "used": used })
}

fn count_of(limit: &Value) -> Option<u64> {
    match limit {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

/// Under which name the objects are stored that a word of a quota counts.
fn stored_of(resource: &str) -> Option<&str> {
    match resource.strip_prefix("count/") {
        Some(stored) => Some(stored),
        None => BARE.contains(&resource).then_some(resource),
    }
}

fn held(store: &Store, resource: &str, namespace: &str) -> Option<u64> {
    let stored = stored_of(resource)?;
    // Of pods those that have ended take no room, but where objects are counted.
    let counts = |object: &Value| {
        resource != "pods" || !["Succeeded", "Failed"].contains(&text(object, "/status/phase"))
    };
    let all = store.of(stored, Some(namespace)).filter(|(_, o)| counts(o));
    u64::try_from(all.count()).ok()
}
