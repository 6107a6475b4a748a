//! How objects go: at once, after a grace period, or when their finalizers have been removed.

use super::{
    kinds::{self, Kind},
    status::{Cause, Status},
    store::{Key, Store},
    tree::{at, list, map, text},
};
use serde_json::{Value, json};

/// The finalizer of an owner that waits for what it owns.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependants are to stay.
pub(super) const ORPHAN: &str = "orphan";

/// Kinds of which the deleted object itself is answered.
const ANSWERED: [&str; 6] = [
    "pods",
    "persistentvolumes",
    "persistentvolumeclaims",
    "resourcequotas",
    "serviceaccounts",
    "storageclasses.storage.k8s.io",
];

/// Is it being deleted?
pub(super) fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(super) fn has_finalizer(object: &Value, name: &str) -> bool {
    list(object, "/metadata/finalizers")
        .iter()
        .any(|f| f == name)
}

/// Does nothing hold an object any more that is being deleted?
pub(super) fn is_over(kind: &Kind, object: &Value) -> bool {
    let grace = object["metadata"]["deletionGracePeriodSeconds"]
        .as_u64()
        .unwrap_or(0);
    let free = list(object, "/metadata/finalizers").is_empty();
    let empty = kind.stored != "namespaces" || list(object, "/spec/finalizers").is_empty();
    is_terminating(object) && grace == 0 && free && empty
}

/// Deletes an object by the options of a deletion; returns what is answered.
pub(super) fn remove(
    store: &mut Store,
    kind: &Kind,
    key: &Key,
    options: &Value,
    dry: bool,
) -> Result<Value, Status> {
    let found = store.get(key).cloned();
    let mut object = found.ok_or_else(|| Status::not_found(kind, &key.name))?;
    allowed(options)?;
    expected(kind, &object, options)?;
    let before = object.clone();
    let grace = grace(kind, &object, options);
    let already = is_terminating(&object);
    mark(kind, &mut object, options, grace);
    let over = is_over(kind, &object);
    // Told once more to go, it may only be told to hurry.
    let hurried = store.get(key).is_some_and(|held| *held != object);
    if !dry {
        if over {
            store.remove(key);
            if key.stored == kinds::DEFINITIONS {
                undefine(store, &object);
            }
        } else if hurried || !already {
            object = store.put(key.clone(), object);
        }
    }
    if !over || kind.stored == "pods" {
        return Ok(kind.shown(&object));
    }
    // What goes at once is shown as it was.
    if ANSWERED.contains(&kind.stored.as_str()) {
        return Ok(kind.shown(&before));
    }
    let mut details = json!({ "name": key.name });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    details["kind"] = json!(kind.plural);
    details["uid"] = object["metadata"]["uid"].clone();
    Ok(success(details))
}

/// It went well.
pub(super) fn success(details: Value) -> Value {
    let mut out =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
    if !details.is_null() {
        out["details"] = details;
    }
    out
}

/// Are the options of a deletion any that there are?
fn allowed(options: &Value) -> Result<(), Status> {
    let policy = options["propagationPolicy"].as_str();
    let field = "propagationPolicy";
    let cause = match policy {
        Some(policy) if options["orphanDependents"].is_boolean() => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            Cause::invalid(field, &format!("{policy:?}"), why)
        }
        Some(policy) if !["Foreground", "Background", "Orphan"].contains(&policy) => {
            let known = r#""Foreground", "Background", "Orphan", "nil""#;
            Cause::unsupported(field, &format!("{policy:?}"), known)
        }
        Some(_) | None => return Ok(()),
    };
    Err(Status::options("DeleteOptions", cause))
}

/// Is it exactly the object that whoever asks has seen?
fn expected(kind: &Kind, object: &Value, options: &Value) -> Result<(), Status> {
    for (field, word) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
        let (Some(wanted), is) = (
            options["preconditions"][field].as_str(),
            text(object, &format!("/metadata/{field}")),
        ) else {
            continue;
        };
        if wanted != is {
            let after = match word {
                "UID" => "deleted and then recreated",
                _ => "modified",
            };
            let why = format!(
                "the {word} in the precondition ({wanted}) does not match the {word} in record ({is}). The object might have been {after}"
            );
            let name = text(object, "/metadata/name");
            return Err(Status::precondition(kind, name, &why));
        }
    }
    Ok(())
}

/// For how long its processes may go on, in seconds.
fn grace(kind: &Kind, object: &Value, options: &Value) -> u64 {
    let ended = ["Succeeded", "Failed"].contains(&text(object, "/status/phase"));
    if kind.stored != "pods" || text(object, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    let asked = options["gracePeriodSeconds"].as_u64();
    let own = object["spec"]["terminationGracePeriodSeconds"].as_u64();
    let asked = asked.or(own).unwrap_or(30);
    let held = object["metadata"]["deletionGracePeriodSeconds"].as_u64();
    held.filter(|_| is_terminating(object))
        .map_or(asked, |held| held.min(asked))
}

/// Writes into the object that it is to go, and what has to happen before.
fn mark(kind: &Kind, object: &mut Value, options: &Value, grace: u64) {
    let policy = options["propagationPolicy"].as_str();
    let orphan =
        options["orphanDependents"] == true || (policy.is_none() && kind.stored == "jobs.batch");
    let added = match policy {
        Some("Foreground") => Some(FOREGROUND),
        Some("Orphan") => Some(ORPHAN),
        None if orphan => Some(ORPHAN),
        _ => None,
    };
    let mut finalizers: Vec<Value> = list(object, "/metadata/finalizers").to_vec();
    finalizers.retain(|f| policy.is_none() || (f != FOREGROUND && f != ORPHAN));
    if let Some(added) = added.filter(|_| !is_terminating(object) || policy.is_some()) {
        finalizers.push(json!(added));
    }
    let terminating = is_terminating(object);
    let meta = map(at(object, &["metadata"]));
    match finalizers.is_empty() {
        true => meta.shift_remove("finalizers"),
        false => meta.insert("finalizers".to_owned(), Value::Array(finalizers)),
    };
    let held = meta
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_u64);
    if !terminating || held.is_some_and(|held| grace < held) {
        let end =
            crate::clock::now() + chrono::Duration::seconds(i64::try_from(grace).unwrap_or(30));
        let end = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        meta.insert("deletionTimestamp".to_owned(), json!(end));
        if kind.stored != "namespaces" {
            meta.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        }
        if let Some(generation) = meta.get("generation").and_then(Value::as_u64) {
            meta.insert("generation".to_owned(), json!(generation + 1));
        }
    }
    if kind.stored == "namespaces" {
        *at(object, &["status", "phase"]) = json!("Terminating");
    }
}

/// The objects of a definition go with it.
fn undefine(store: &mut Store, definition: &Value) {
    let stored = format!(
        "{}.{}",
        text(definition, "/spec/names/plural"),
        text(definition, "/spec/group")
    );
    let keys: Vec<Key> = store
        .of(&stored, None)
        .map(|(key, _)| key.clone())
        .collect();
    for key in keys {
        store.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(pod: Value) -> (Store, std::sync::Arc<Kind>, Key) {
        let mut store = Store::new();
        let kind = store.kind("pods").expect("pods");
        let key = Key::new(&kind, "a", "x");
        store.put(key.clone(), pod);
        (store, kind, key)
    }

    #[test]
    fn a_pod_on_a_node_goes_when_its_node_says_so() {
        let pod = json!({ "metadata": { "name": "x", "namespace": "a", "uid": "u" }, "spec": { "nodeName": "n" } });
        let (mut store, kind, key) = store(pod);
        let answer = remove(&mut store, &kind, &key, &Value::Null, false).expect("told");
        assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 30);
        let now = json!({ "gracePeriodSeconds": 0 });
        remove(&mut store, &kind, &key, &now, false).expect("ended");
        assert!(store.get(&key).is_none());
    }

    #[test]
    fn a_finalizer_holds_an_object() {
        let pod = json!({ "metadata": { "name": "x", "namespace": "a", "finalizers": ["f"] } });
        let (mut store, kind, key) = store(pod);
        remove(&mut store, &kind, &key, &Value::Null, false).expect("told");
        assert!(store.get(&key).is_some_and(is_terminating));
    }

    #[test]
    fn another_object_of_the_same_name_stays() {
        let pod = json!({ "metadata": { "name": "x", "namespace": "a", "uid": "u" } });
        let (mut store, kind, key) = store(pod);
        let other = json!({ "preconditions": { "uid": "v" } });
        let status = remove(&mut store, &kind, &key, &other, false).expect_err("another");
        assert_eq!(
            status.message,
            "Operation cannot be fulfilled on Pod \"x\": the UID in the precondition (v) does not match the UID in record (u). The object might have been deleted and then recreated"
        );
    }
}
