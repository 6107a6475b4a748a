//! What goes on behind the scenes: dependants go with their owners, namespaces empty themselves, quotas
//! are counted.

use super::{
    admission, defaults,
    kinds::Kind,
    removal::{self, FOREGROUND, ORPHAN, has_finalizer, is_terminating},
    store::{Key, Store},
    tree::{self, at, list, map, text},
};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// One round. What it changes wakes the next one.
pub(super) fn round(store: &mut Store) {
    owners(store);
    namespaces(store);
    quotas(store);
}

/// What owners are like, by their identity.
#[derive(Default)]
struct Owners {
    there: HashSet<String>,
    /// They go when nothing that they own is there any more.
    waiting: HashSet<String>,
    /// They go without what they own.
    leaving: HashSet<String>,
}

fn owners(store: &mut Store) {
    let mut owners = Owners::default();
    for (_, object) in store.all() {
        let uid = text(object, "/metadata/uid").to_owned();
        if is_terminating(object) && has_finalizer(object, FOREGROUND) {
            owners.waiting.insert(uid.clone());
        }
        if is_terminating(object) && has_finalizer(object, ORPHAN) {
            owners.leaving.insert(uid.clone());
        }
        owners.there.insert(uid);
    }
    // How many of what they own holds them.
    let mut holding: HashMap<String, usize> = HashMap::new();
    let mut orphans = Vec::new();
    let mut goners = Vec::new();
    for (key, object) in store.all() {
        let references = list(object, "/metadata/ownerReferences");
        if references.is_empty() {
            continue;
        }
        let uid = |reference: &Value| text(reference, "/uid").to_owned();
        let left = references.iter().any(|r| owners.leaving.contains(&uid(r)));
        let stays = references
            .iter()
            .any(|r| owners.there.contains(&uid(r)) && !owners.waiting.contains(&uid(r)));
        for reference in references
            .iter()
            .filter(|r| r["blockOwnerDeletion"] == true)
        {
            *holding.entry(uid(reference)).or_default() += 1;
        }
        if left {
            let kept: Vec<Value> = references
                .iter()
                .filter(|r| !owners.leaving.contains(&uid(r)))
                .cloned()
                .collect();
            orphans.push((key.clone(), kept));
        } else if !stays && !is_terminating(object) {
            let foreground = references.iter().any(|r| owners.waiting.contains(&uid(r)));
            goners.push((key.clone(), foreground));
        }
    }
    for (key, kept) in orphans {
        orphaned(store, &key, kept);
    }
    for (key, foreground) in goners {
        let policy = if foreground {
            "Foreground"
        } else {
            "Background"
        };
        gone(store, &key, policy);
    }
    let ready: Vec<Key> = store
        .all()
        .filter(|(_, object)| {
            let uid = text(object, "/metadata/uid");
            let empty = owners.waiting.contains(uid) && !holding.contains_key(uid);
            empty || owners.leaving.contains(uid)
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in ready {
        released(store, &key);
    }
}

fn gone(store: &mut Store, key: &Key, policy: &str) {
    if let Some(kind) = store.kind(&key.stored) {
        // Somebody else may have been faster.
        let _ = removal::remove(
            store,
            &kind,
            key,
            &json!({ "propagationPolicy": policy }),
            false,
        );
    }
}

/// An object without those of its owners that go without it.
fn orphaned(store: &mut Store, key: &Key, kept: Vec<Value>) {
    let Some(mut object) = store.get(key).cloned() else {
        return;
    };
    let meta = map(at(&mut object, &["metadata"]));
    match kept.is_empty() {
        true => meta.shift_remove("ownerReferences"),
        false => meta.insert("ownerReferences".to_owned(), Value::Array(kept)),
    };
    store.put(key.clone(), object);
}

/// An owner without the finalizers by which it waited.
fn released(store: &mut Store, key: &Key) {
    let (Some(mut object), Some(kind)) = (store.get(key).cloned(), store.kind(&key.stored)) else {
        return;
    };
    let mut kept = list(&object, "/metadata/finalizers").to_vec();
    kept.retain(|f| f != FOREGROUND && f != ORPHAN);
    let meta = map(at(&mut object, &["metadata"]));
    match kept.is_empty() {
        true => meta.shift_remove("finalizers"),
        false => meta.insert("finalizers".to_owned(), Value::Array(kept)),
    };
    settle(store, &kind, key, object);
}

/// Stores an object, or lets it go when nothing holds it any more.
fn settle(store: &mut Store, kind: &Kind, key: &Key, object: Value) {
    match removal::is_over(kind, &object) {
        true => {
            store.remove(key);
        }
        false => {
            store.put(key.clone(), object);
        }
    }
}

fn namespaces(store: &mut Store) {
    let all: Vec<(Key, Value)> = store
        .of("namespaces", None)
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, mut namespace) in all {
        let Some(kind) = store.kind("namespaces") else {
            return;
        };
        if !is_terminating(&namespace) {
            account(store, &key.name);
            continue;
        }
        let inside: Vec<(Key, bool)> = store
            .all()
            .filter(|(inner, _)| inner.namespace == key.name)
            .map(|(inner, object)| (inner.clone(), is_terminating(object)))
            .collect();
        if inside.is_empty() {
            if !list(&namespace, "/spec/finalizers").is_empty() {
                let left = list(&namespace, "/spec/finalizers")
                    .iter()
                    .filter(|f| *f != "kubernetes");
                let left: Vec<Value> = left.cloned().collect();
                *at(&mut namespace, &["spec", "finalizers"]) = Value::Array(left);
                settle(store, &kind, &key, namespace);
            }
            continue;
        }
        for (inner, terminating) in inside {
            if !terminating {
                gone(store, &inner, "Background");
            }
        }
    }
}

/// The account of a namespace's pods.
fn account(store: &mut Store, namespace: &str) {
    let Some(kind) = store.kind("serviceaccounts") else {
        return;
    };
    let key = Key::new(&kind, namespace, "default");
    if store.get(&key).is_some() {
        return;
    }
    let mut object = json!({});
    kind.to_store(&mut object);
    *at(&mut object, &["metadata"]) = json!({
        "name": "default",
        "namespace": namespace,
        "uid": tree::uid(),
        "creationTimestamp": tree::now(),
    });
    store.put(key, object);
}

fn quotas(store: &mut Store) {
    let all: Vec<(Key, Value)> = store
        .of("resourcequotas", None)
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, mut quota) in all {
        let status = admission::status(store, &quota);
        if quota["status"] != status {
            *at(&mut quota, &["status"]) = status;
            store.put(key, quota);
        }
    }
}

/// What a new cluster has: its first namespaces, each with its account.
pub(super) fn begin(store: &mut Store) {
    let Some(kind) = store.kind("namespaces") else {
        return;
    };
    for name in defaults::first_namespaces() {
        let key = defaults::namespace_key(name);
        if store.get(&key).is_some() {
            continue;
        }
        let mut object = json!({});
        kind.to_store(&mut object);
        *at(&mut object, &["metadata"]) =
            json!({ "name": name, "uid": tree::uid(), "creationTimestamp": tree::now() });
        defaults::fill(&kind, &mut object);
        defaults::begin(&kind, &mut object, store);
        store.put(key, object);
    }
    round(store);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &mut Store, stored: &str, name: &str, more: &Value) -> Key {
        let kind = store.kind(stored).expect("a kind");
        let key = Key::new(&kind, "default", name);
        let mut meta = json!({ "name": name, "namespace": "default", "uid": name });
        for (field, value) in more.as_object().into_iter().flatten() {
            meta[field.as_str()] = value.clone();
        }
        store.put(key.clone(), json!({ "metadata": meta }));
        key
    }

    fn owned_by(uid: &str) -> Value {
        json!({ "ownerReferences": [{ "uid": uid, "blockOwnerDeletion": true }] })
    }

    fn delete(store: &mut Store, key: &Key, policy: &str) {
        gone(store, key, policy);
        for _ in 0..8 {
            round(store);
        }
    }

    #[test]
    fn dependants_go_with_their_owner_unless_they_are_orphaned() {
        for (policy, stays) in [
            ("Background", false),
            ("Foreground", false),
            ("Orphan", true),
        ] {
            let mut store = Store::new();
            begin(&mut store);
            let owner = put(&mut store, "deployments.apps", "owner", &Value::Null);
            let middle = put(&mut store, "replicasets.apps", "middle", &owned_by("owner"));
            let last = put(&mut store, "pods", "last", &owned_by("middle"));
            delete(&mut store, &owner, policy);
            assert!(store.get(&owner).is_none(), "{policy}");
            assert_eq!(store.get(&middle).is_some(), stays, "{policy}");
            assert_eq!(store.get(&last).is_some(), stays, "{policy}");
        }
    }

    #[test]
    fn a_namespace_goes_when_it_is_empty() {
        let mut store = Store::new();
        begin(&mut store);
        let held = put(&mut store, "pods", "x", &json!({ "finalizers": ["f"] }));
        let namespace = defaults::namespace_key("default");
        delete(&mut store, &namespace, "Background");
        assert_eq!(
            store.get(&namespace).expect("held")["status"]["phase"],
            "Terminating"
        );
        store.remove(&held);
        round(&mut store);
        assert!(store.get(&namespace).is_none());
    }
}
