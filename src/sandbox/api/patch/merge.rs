//! Merge patch: mappings are merged, everything else is replaced, null takes away.

use crate::sandbox::api::tree::map;
use serde_json::Value;

/// Applies a patch.
pub(in crate::sandbox::api) fn apply(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    let held = map(object);
    for (key, change) in changes {
        if change.is_null() {
            held.shift_remove(key);
        } else {
            apply(held.entry(key.as_str()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_takes_away_and_lists_are_replaced() {
        let mut object = json!({ "a": { "b": 1, "c": 2 }, "l": [1, 2], "t": "x" });
        apply(
            &mut object,
            &json!({ "a": { "b": null, "d": { "e": null, "f": 1 } }, "l": [3], "t": { "u": 1 } }),
        );
        let text = object.to_string();
        assert_eq!(text, r#"{"a":{"c":2,"d":{"f":1}},"l":[3],"t":{"u":1}}"#);
    }
}
