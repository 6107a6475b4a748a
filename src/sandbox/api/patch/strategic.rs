//! Strategic merge patch: as a merge patch, but lists whose items have a key of their own are merged item
//! by item.

use crate::sandbox::api::tree::map;
use serde_json::{Map, Value};

/// By which keys the items of a list are told apart; the first of them that the items have counts.
pub(in crate::sandbox::api) fn keys_of(field: &str, items: &[&Value]) -> &'static [&'static str] {
    let has = |key: &str| items.iter().any(|i| i.get(key).is_some());
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets" => &["name"],
        "volumeDevices" => &["devicePath"],
        "ports" if has("containerPort") => &["containerPort", "protocol"],
        "ports" => &["port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "ownerReferences" => &["uid"],
        "conditions" => &["type"],
        "hostAliases" | "podIPs" | "hostIPs" => &["ip"],
        "addresses" if has("type") => &["type"],
        "secrets" if has("name") => &["name"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "resourceClaims" | "schedulingGates" => &["name"],
        _ => &[],
    }
}

/// Lists whose items are plain values, each there once.
pub(in crate::sandbox::api) fn is_set(field: &str) -> bool {
    matches!(field, "finalizers")
}

/// By which key a strategic patch tells items apart: never more than one.
fn merge_key(field: &str, items: &[&Value]) -> Option<&'static str> {
    keys_of(field, items).first().copied()
}

/// Applies a patch.
pub(in crate::sandbox::api) fn apply(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    match changes.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *object = Value::Object(plain(changes));
            return;
        }
        Some("delete") => {
            *object = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    let held = map(object);
    for (key, change) in changes {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = change.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(Value::Array(items)) = held.get_mut(field) {
                items.retain(|i| !gone.contains(i));
            }
            continue;
        }
        if key == "$retainKeys" {
            let kept = change.as_array().map(Vec::as_slice).unwrap_or_default();
            held.retain(|k, _| kept.iter().any(|kept| kept == k.as_str()));
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        match change {
            Value::Null => {
                held.shift_remove(key);
            }
            Value::Array(items) => {
                let order = changes.get(&format!("$setElementOrder/{key}"));
                let order = order.and_then(Value::as_array).map(Vec::as_slice);
                let list = held.entry(key.as_str()).or_insert(Value::Null);
                *list = Value::Array(lists(key, list, items, order));
            }
            change => apply(held.entry(key.as_str()).or_insert(Value::Null), change),
        }
    }
}

/// A mapping without the words of a patch, and without nulls.
fn plain(changes: &Map<String, Value>) -> Map<String, Value> {
    let kept = changes
        .iter()
        .filter(|(k, v)| !k.starts_with('$') && !v.is_null());
    kept.map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn lists(field: &str, held: &Value, patch: &[Value], order: Option<&[Value]>) -> Vec<Value> {
    let before = held.as_array().cloned().unwrap_or_default();
    let word = |item: &Value, word: &str| item.get("$patch").is_some_and(|p| p == word);
    if patch
        .iter()
        .any(|i| i.as_object().is_some_and(|m| m.len() == 1) && word(i, "replace"))
    {
        let kept = patch.iter().filter(|i| !word(i, "replace"));
        return kept.cloned().collect();
    }
    if is_set(field) {
        let mut out = before.clone();
        for item in patch {
            if !out.contains(item) {
                out.push(item.clone());
            }
        }
        return ordered(out, order.unwrap_or(patch), &before, |one, other| {
            one == other
        });
    }
    let all: Vec<&Value> = before.iter().chain(patch).collect();
    let Some(key) = merge_key(field, &all) else {
        return patch.to_vec();
    };
    let mut out = before.clone();
    for item in patch {
        let at = out.iter().position(|o| o[key] == item[key]);
        match (at, word(item, "delete")) {
            (Some(_), true) => out.retain(|o| o[key] != item[key]),
            (None, true) => {}
            (Some(at), false) => apply(&mut out[at], item),
            (None, false) => {
                let mut made = Value::Object(Map::new());
                apply(&mut made, item);
                out.push(made);
            }
        }
    }
    let same = |one: &Value, other: &Value| one[key] == other[key];
    ordered(out, order.unwrap_or(patch), &before, same)
}

/// Puts the items into the order of a real server: those of the patch as the patch has them, the others as
/// they were, and of two of both sorts the one first that was first, where both were there.
fn ordered(
    items: Vec<Value>,
    wanted: &[Value],
    before: &[Value],
    same: impl Fn(&Value, &Value) -> bool,
) -> Vec<Value> {
    let place = |all: &[Value], item: &Value| all.iter().position(|one| same(one, item));
    let (mut named, others): (Vec<Value>, Vec<Value>) = items
        .into_iter()
        .partition(|item| place(wanted, item).is_some());
    named.sort_by_key(|item| place(wanted, item));
    let mut others = others.into_iter().peekable();
    let mut out = Vec::new();
    for item in named {
        let is_before = |other: &Value| {
            let places = place(before, other).zip(place(before, &item));
            places.is_some_and(|(other, item)| other < item)
        };
        while let Some(other) = others.next_if(|other| is_before(other)) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn patched(mut object: Value, patch: &Value, wanted: &str) {
        apply(&mut object, patch);
        assert_eq!(object.to_string(), wanted);
    }

    #[test]
    fn containers_are_known_by_their_names() {
        patched(
            json!({ "containers": [{ "name": "a", "image": "1", "env": [{ "name": "X", "value": "x" }] }, { "name": "b" }] }),
            &json!({ "containers": [{ "name": "a", "image": "2", "env": [{ "name": "X", "value": "y", "valueFrom": null }] }] }),
            r#"{"containers":[{"name":"a","image":"2","env":[{"name":"X","value":"y"}]},{"name":"b"}]}"#,
        );
    }

    #[test]
    fn an_item_is_deleted_by_its_word() {
        patched(
            json!({ "volumes": [{ "name": "a" }, { "name": "b" }] }),
            &json!({ "volumes": [{ "name": "a", "$patch": "delete" }] }),
            r#"{"volumes":[{"name":"b"}]}"#,
        );
    }

    #[test]
    fn a_list_is_replaced_by_its_word() {
        patched(
            json!({ "volumes": [{ "name": "a" }] }),
            &json!({ "volumes": [{ "name": "b" }, { "$patch": "replace" }] }),
            r#"{"volumes":[{"name":"b"}]}"#,
        );
    }

    #[test]
    fn finalizers_are_added_and_taken_away() {
        patched(
            json!({ "finalizers": ["a", "b"] }),
            &json!({ "finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b", "c"] }),
            r#"{"finalizers":["b","c"]}"#,
        );
    }

    #[test]
    fn other_lists_are_replaced() {
        patched(
            json!({ "args": ["a"], "strategy": { "type": "RollingUpdate", "rollingUpdate": {} } }),
            &json!({ "args": ["b"], "strategy": { "$retainKeys": ["type"], "type": "Recreate" } }),
            r#"{"args":["b"],"strategy":{"type":"Recreate"}}"#,
        );
    }
}
