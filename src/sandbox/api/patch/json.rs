//! JSON patch: a list of operations, which all succeed or leave everything as it is.

use serde_json::Value;

/// Applies the operations; says which one did not work.
pub(in crate::sandbox::api) fn apply(object: &Value, patch: &Value) -> Result<Value, String> {
    let mut out = object.clone();
    let operations = patch
        .as_array()
        .ok_or("a JSON patch is a list of operations")?;
    for operation in operations {
        one(&mut out, operation)?;
    }
    Ok(out)
}

fn one(object: &mut Value, operation: &Value) -> Result<(), String> {
    let word = |key: &str| operation[key].as_str();
    let path = word("path").ok_or("an operation lacks its path")?;
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match word("op").unwrap_or_default() {
        "add" => add(object, path, value()),
        "remove" => remove(object, path).map(|_| ()),
        "replace" => {
            let held = object.pointer_mut(path);
            *held.ok_or_else(|| {
                format!(
                    "replace operation does not apply: doc is missing key: {path}: missing value"
                )
            })? = value();
            Ok(())
        }
        "test" => match object.pointer(path).unwrap_or(&Value::Null) == &value() {
            true => Ok(()),
            false => Err(format!("testing value {path} failed: test failed")),
        },
        "copy" | "move" => {
            let from = word("from").ok_or("an operation lacks its from")?;
            let moved = match word("op") {
                Some("move") => remove(object, from)?,
                _ => {
                    let held = object.pointer(from).cloned();
                    held.ok_or_else(|| format!("copy operation does not apply: doc is missing key: {from}: missing value"))?
                }
            };
            add(object, path, moved)
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

fn parent<'v>(object: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    let (above, last) = path.rsplit_once('/')?;
    Some((
        object.pointer_mut(above)?,
        last.replace("~1", "/").replace("~0", "~"),
    ))
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    let missing =
        || format!("add operation does not apply: doc is missing path: \"{path}\": missing value");
    match parent(object, path).ok_or_else(missing)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
            Ok(())
        }
        (Value::Array(items), key) if key == "-" => {
            items.push(value);
            Ok(())
        }
        (Value::Array(items), key) => {
            let index = key.parse::<usize>().ok().filter(|i| *i <= items.len());
            items.insert(index.ok_or_else(missing)?, value);
            Ok(())
        }
        _ => Err(missing()),
    }
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    let missing = || {
        format!("remove operation does not apply: doc is missing path: \"{path}\": missing value")
    };
    let taken = match parent(object, path).ok_or_else(missing)? {
        (Value::Object(map), key) => map.shift_remove(&key),
        (Value::Array(items), key) => {
            let index = key.parse::<usize>().ok().filter(|i| *i < items.len());
            index.map(|i| items.remove(i))
        }
        _ => None,
    };
    taken.ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_are_done_in_their_order() {
        let object = json!({ "a": { "b/c": [1, 2] }, "d": 3 });
        let patch = json!([
            { "op": "test", "path": "/d", "value": 3 },
            { "op": "add", "path": "/a/b~1c/-", "value": 4 },
            { "op": "add", "path": "/a/b~1c/0", "value": 0 },
            { "op": "remove", "path": "/a/b~1c/1" },
            { "op": "move", "from": "/d", "path": "/e" },
            { "op": "copy", "from": "/e", "path": "/f" },
            { "op": "replace", "path": "/e", "value": "x" },
        ]);
        let text = apply(&object, &patch).expect("applies").to_string();
        assert_eq!(text, r#"{"a":{"b/c":[0,2,4]},"e":"x","f":3}"#);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for patch in [
            json!([{ "op": "test", "path": "/a", "value": 2 }]),
            json!([{ "op": "remove", "path": "/b" }]),
            json!([{ "op": "replace", "path": "/b", "value": 1 }]),
            json!([{ "op": "add", "path": "/b/c", "value": 1 }]),
            json!([{ "op": "jump", "path": "/a" }]),
            json!({}),
        ] {
            assert!(apply(&json!({ "a": 1 }), &patch).is_err(), "{patch}");
        }
    }
}
