//! Sets of fields as `managedFields` write them: a tree of `f:field`, `k:{"key":…}` and `v:"value"`, in
//! which `.` stands for the item itself.

use super::{
    patch::strategic::{is_set, keys_of},
    tree::map,
};
use serde_json::{Map, Value, json};

pub(super) type Set = Map<String, Value>;

/// Mappings that belong to one manager as a whole.
fn is_atomic(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "nodeSelector"
            | "labelSelector"
            | "podSelector"
            | "namespaceSelector"
            | "configMapKeyRef"
            | "secretKeyRef"
            | "fieldRef"
            | "resourceFieldRef"
            | "scopeSelector"
    )
}

/// The name of the field that a key of a set stands for.
fn name_of(key: &str) -> &str {
    key.strip_prefix("f:").unwrap_or_default()
}

/// The key of an item of a list; `None` when items of that list have none.
fn key_of(keys: &[&str], item: &Value) -> Option<String> {
    let mut all = Map::new();
    for key in keys {
        match item.get(key) {
            Some(value) => all.insert((*key).to_owned(), value.clone()),
            None if *key == "protocol" => all.insert((*key).to_owned(), json!("TCP")),
            None => None,
        };
    }
    let named = keys.first().is_some_and(|first| all.contains_key(*first));
    named.then(|| format!("k:{}", Value::Object(all)))
}

/// The parts of a value that can have managers of their own; `None` when it is one piece.
fn parts<'v>(field: &str, value: &'v Value) -> Option<Vec<(String, &'v Value)>> {
    match value {
        Value::Object(all) if !all.is_empty() && !is_atomic(field) => {
            Some(all.iter().map(|(k, v)| (format!("f:{k}"), v)).collect())
        }
        Value::Array(items) if !items.is_empty() => {
            if is_set(field) {
                return Some(items.iter().map(|i| (format!("v:{i}"), i)).collect());
            }
            let all: Vec<&Value> = items.iter().collect();
            let keys = keys_of(field, &all);
            let keyed = items.iter().map(|i| Some((key_of(keys, i)?, i)));
            if keys.is_empty() {
                None
            } else {
                keyed.collect()
            }
        }
        _ => None,
    }
}

fn part<'v>(field: &str, value: &'v Value, key: &str) -> Option<&'v Value> {
    if let Some(name) = key.strip_prefix("f:") {
        return value.get(name);
    }
    let mut all = parts(field, value)?.into_iter();
    all.find(|(k, _)| k == key).map(|(_, v)| v)
}

fn position(field: &str, value: &Value, key: &str) -> Option<usize> {
    parts(field, value)?.iter().position(|(k, _)| k == key)
}

fn below(value: &Value) -> &Set {
    static NONE: std::sync::LazyLock<Set> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

/// Every field of a value.
pub(super) fn all_of(field: &str, value: &Value) -> Set {
    let mut out = Map::new();
    for (key, inner) in parts(field, value).into_iter().flatten() {
        let mut set = all_of(name_of(&key), inner);
        if key.starts_with("k:") {
            set.insert(".".to_owned(), json!({}));
        }
        out.insert(key, Value::Object(set));
    }
    out
}

/// The fields that are new or have another value than before; `None` when there are none.
pub(super) fn changed(field: &str, before: Option<&Value>, now: &Value) -> Option<Set> {
    if before == Some(now) {
        return None;
    }
    let Some(all) = parts(field, now) else {
        return Some(Map::new());
    };
    let mut out = Map::new();
    for (key, inner) in all {
        let was = before.and_then(|b| part(field, b, &key));
        if let Some(mut set) = changed(name_of(&key), was, inner) {
            if key.starts_with("k:") && was.is_none() {
                set.insert(".".to_owned(), json!({}));
            }
            out.insert(key, Value::Object(set));
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Adds the fields of another set.
pub(super) fn join(set: &mut Set, other: &Set) {
    for (key, inner) in other {
        let held = set.entry(key.as_str()).or_insert_with(|| json!({}));
        join(map(held), below(inner));
    }
}

/// Takes away the fields that are in the other set, too.
pub(super) fn without(set: &mut Set, other: &Set) {
    set.retain(|key, inner| {
        let Some(theirs) = other.get(key) else {
            return true;
        };
        let (own, theirs) = (map(inner), below(theirs));
        if own.is_empty() || theirs.is_empty() {
            return false;
        }
        without(own, theirs);
        !own.is_empty()
    });
}

/// Takes away the fields that a value does not have.
pub(super) fn only_of(set: &mut Set, field: &str, value: &Value) {
    set.retain(|key, inner| {
        if key == "." {
            return true;
        }
        let Some(held) = part(field, value, key) else {
            return false;
        };
        let own = map(inner);
        let had = !own.is_empty();
        only_of(own, name_of(key), held);
        !had || !own.is_empty()
    });
}

/// The fields that both sets have, and that have another value in what is applied than in what is there:
/// as a set, and as people read them.
pub(super) fn disputed(
    field: &str,
    (own, applied): (&Set, &Value),
    (theirs, live): (&Set, &Value),
    path: &str,
) -> (Set, Vec<String>) {
    let (mut set, mut paths) = (Map::new(), Vec::new());
    for (key, inner) in own.iter().filter(|(k, _)| k.as_str() != ".") {
        let Some(other) = theirs.get(key) else {
            continue;
        };
        let (new, old) = (part(field, applied, key), part(field, live, key));
        let (Some(new), Some(old)) = (new, old) else {
            continue;
        };
        let path = format!("{path}{}", shown(key));
        let (inner, other) = (below(inner), below(other));
        if inner.is_empty() || other.is_empty() {
            // Who says that there is a mapping says nothing of what others have in it.
            let open = |set: &Set, value: &Value| {
                set.is_empty() && value.is_object() && !is_atomic(name_of(key))
            };
            let apart =
                inner.is_empty() != other.is_empty() && (open(inner, new) || open(other, old));
            if new != old && !apart {
                set.insert(key.clone(), json!({}));
                paths.push(path);
            }
            continue;
        }
        let (more, named) = disputed(name_of(key), (inner, new), (other, old), &path);
        if !more.is_empty() {
            set.insert(key.clone(), Value::Object(more));
            paths.extend(named);
        }
    }
    (set, paths)
}

/// A key of a set, as people read it.
fn shown(key: &str) -> String {
    if let Some(name) = key.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(value) = key.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let keys = key.strip_prefix("k:").unwrap_or_default();
    let keys = serde_json::from_str::<Map<String, Value>>(keys).unwrap_or_default();
    let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("[{}]", keys.join(","))
}

/// Puts what is applied over what is there.
pub(super) fn merge(field: &str, live: &mut Value, applied: &Value) {
    let Some(all) = parts(field, applied) else {
        // An empty mapping says that there is one, not that it is empty.
        let adds_nothing = applied.as_object().is_some_and(Map::is_empty) && live.is_object();
        if !adds_nothing || is_atomic(field) {
            *live = applied.clone();
        }
        return;
    };
    if applied.is_object() {
        let held = map(live);
        for (key, inner) in all {
            let name = name_of(&key);
            merge(name, held.entry(name).or_insert(Value::Null), inner);
        }
        return;
    }
    for (key, inner) in all {
        let at = position(field, live, &key);
        match (at, live.as_array_mut()) {
            (Some(at), Some(items)) => merge("", &mut items[at], inner),
            (None, Some(items)) => items.push(inner.clone()),
            (_, None) => *live = Value::Array(vec![inner.clone()]),
        }
    }
}

/// Takes the fields of a set out of a value, items only when nobody (`kept`) has anything in them.
pub(super) fn strip(field: &str, value: &mut Value, gone: &Set, kept: &Set) {
    for (key, inner) in gone.iter().filter(|(k, _)| k.as_str() != ".") {
        let inner = below(inner);
        let held = kept.get(key);
        let whole = inner.is_empty() || (inner.contains_key(".") && held.is_none());
        let mut empty = false;
        if !whole {
            let none = Map::new();
            let held = held.and_then(Value::as_object).unwrap_or(&none);
            let found = match key.strip_prefix("f:") {
                Some(name) => value.get_mut(name),
                None => {
                    let at = position(field, value, key);
                    at.and_then(|at| value.get_mut(at))
                }
            };
            if let Some(found) = found {
                strip(name_of(key), found, inner, held);
                empty = found.as_object().is_some_and(Map::is_empty)
                    || found.as_array().is_some_and(Vec::is_empty);
            }
        }
        if !whole && !empty {
            continue;
        }
        let at = position(field, value, key);
        match (&mut *value, at) {
            (Value::Object(all), _) => {
                all.shift_remove(name_of(key));
            }
            (Value::Array(items), Some(at)) => {
                items.remove(at);
            }
            (_, _) => {}
        }
    }
}
