//! What differs between an object as it is and as it would be.

use serde_json::Value;

/// Fields that differ, but for those that change with every write.
pub(super) fn differences(before: &Value, after: &Value, at: String, out: &mut Vec<String>) {
    let noise = [
        ".metadata.managedFields",
        ".metadata.resourceVersion",
        ".metadata.generation",
        ".metadata.creationTimestamp",
        ".metadata.uid",
        ".metadata.selfLink",
        ".status",
    ];
    if before == after || noise.contains(&at.as_str()) || out.len() >= 200 {
        return;
    }
    if let (Some(a), Some(b)) = (before.as_object(), after.as_object()) {
        let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            differences(&before[key], &after[key], format!("{at}.{key}"), out);
        }
        return;
    }
    let shown = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    };
    out.push(format!("{at}: {} → {}", shown(before), shown(after)));
}
