//! What objects have to look like inside: values of the wrong type in built-in kinds, and the schemas that
//! definitions bring for kinds of their own.

use super::{
    kinds::{DEFINITIONS, Kind},
    status::Cause,
    store::{Key, Store},
    tree::{from_base64, list, text},
};
use serde_json::Value;

/// The first value that is of another type than its field, in the words of a decoder.
pub(super) fn mistyped(kind: &Kind, object: &Value) -> Option<String> {
    let not = |value: &Value, field: &str, wanted: &str| {
        let is = name_of(value);
        format!("json: cannot unmarshal {is} into Go struct field {field} of type {wanted}")
    };
    let texts = |pointer: &str, field: &str| {
        let all = object.pointer(pointer)?.as_object()?.values();
        let wrong = all.into_iter().find(|v| !v.is_string() && !v.is_null())?;
        Some(not(wrong, field, "string"))
    };
    let encoded = |pointer: &str| {
        let all = object.pointer(pointer)?.as_object()?.values();
        let mut all = all.filter_map(Value::as_str);
        let wrong = all.find(|text| from_base64(text).is_none())?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "+/=\r\n".contains(c);
        let at = wrong.find(|c| !plain(c)).unwrap_or(wrong.len());
        Some(format!("illegal base64 data at input byte {at}"))
    };
    let number = |pointer: &str, field: &str| {
        let value = object.pointer(pointer)?;
        (!value.is_i64() && !value.is_null()).then(|| not(value, field, "int32"))
    };
    let own = match kind.stored.as_str() {
        "configmaps" => texts("/data", "ConfigMap.data").or_else(|| encoded("/binaryData")),
        "secrets" => texts("/data", "Secret.data")
            .or_else(|| texts("/stringData", "Secret.stringData"))
            .or_else(|| encoded("/data")),
        "deployments.apps" | "statefulsets.apps" | "replicasets.apps" => number(
            "/spec/replicas",
            &format!("{}Spec.spec.replicas", kind.kind),
        ),
        "services" => {
            let ports = 0..list(object, "/spec/ports").len();
            let mut wrong = ports.filter_map(|i| {
                number(
                    &format!("/spec/ports/{i}/port"),
                    "ServicePort.spec.ports.port",
                )
            });
            wrong.next()
        }
        _ => None,
    };
    own.or_else(|| texts("/metadata/labels", "ObjectMeta.metadata.labels"))
        .or_else(|| texts("/metadata/annotations", "ObjectMeta.metadata.annotations"))
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The schema that a definition has for its kind, in this version.
pub(super) fn of(store: &Store, kind: &Kind) -> Option<Value> {
    let key = Key {
        stored: DEFINITIONS.to_owned(),
        namespace: String::new(),
        name: kind.stored.clone(),
    };
    let definition = store.get(&key).filter(|_| kind.custom)?;
    let mut versions = list(definition, "/spec/versions").iter();
    let version = versions.find(|v| text(v, "/name") == kind.version)?;
    version.pointer("/schema/openAPIV3Schema").cloned()
}

const OPEN: &str = "x-kubernetes-preserve-unknown-fields";

/// Takes away what a schema does not know. What every object has stays.
pub(super) fn prune(schema: &Value, object: &mut Value) {
    prune_inside(schema, object, true);
}

/// A whole object keeps what every object has, whatever its schema says.
fn prune_inside(schema: &Value, value: &mut Value, whole: bool) {
    match value {
        Value::Object(all) => {
            let (known, more) = (&schema["properties"], &schema["additionalProperties"]);
            let common = |k: &str| whole && ["apiVersion", "kind", "metadata"].contains(&k);
            if schema[OPEN] != true && !more.is_object() && more != true {
                all.retain(|k, _| known.get(k).is_some() || common(k));
            }
            for (field, inner) in all.iter_mut().filter(|(k, _)| !common(k)) {
                let below = known.get(field);
                if let Some(below) = below.or(more.is_object().then_some(more)) {
                    let whole = below["x-kubernetes-embedded-resource"] == true;
                    prune_inside(below, inner, whole);
                }
            }
        }
        Value::Array(items) => {
            let below = &schema["items"];
            let whole = below["x-kubernetes-embedded-resource"] == true;
            for item in items {
                prune_inside(below, item, whole);
            }
        }
        _ => {}
    }
}

/// Fills in what a schema has a default for.
pub(super) fn complete(schema: &Value, value: &mut Value) {
    if let Some(all) = value.as_object_mut() {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(default) = inner.get("default").filter(|_| !all.contains_key(key)) {
                all.insert(key.clone(), default.clone());
            }
            if let Some(held) = all.get_mut(key) {
                complete(inner, held);
            }
        }
    }
    for item in value.as_array_mut().into_iter().flatten() {
        complete(&schema["items"], item);
    }
}

/// What in a value is not as its schema says.
pub(super) fn check(schema: &Value, value: &Value, at: &str, causes: &mut Vec<Cause>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let wanted = text(schema, "/type");
    let fits = match wanted {
        "" => true,
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => name_of(value) == other,
    };
    let fits = fits || (schema["x-kubernetes-int-or-string"] == true && value.is_string());
    if !fits {
        let is = match name_of(value) {
            "bool" => "boolean",
            "number" if value.is_i64() => "integer",
            other => other,
        };
        let why = format!("{at} in body must be of type {wanted}: {is:?}");
        causes.push(Cause::invalid(at, &format!("{is:?}"), &why));
        return;
    }
    let allowed = list(schema, "/enum");
    if !allowed.is_empty() && !allowed.contains(value) {
        let all: Vec<String> = allowed.iter().map(Value::to_string).collect();
        causes.push(Cause::unsupported(at, &value.to_string(), &all.join(", ")));
    }
    let number = value.as_f64();
    for (word, is_beyond) in [("minimum", -1.0), ("maximum", 1.0)] {
        let (Some(is), Some(limit)) = (number, schema[word].as_f64()) else {
            continue;
        };
        if (is - limit) * is_beyond > 0.0 {
            let than = if is_beyond < 0.0 { "greater" } else { "less" };
            let why = format!("{at} in body should be {than} than or equal to {limit}");
            causes.push(Cause::invalid(at, &value.to_string(), &why));
        }
    }
    let below = |key: &str| match at {
        "" => key.to_owned(),
        _ => format!("{at}.{key}"),
    };
    if let Some(all) = value.as_object() {
        for key in list(schema, "/required").iter().filter_map(Value::as_str) {
            // Nulls are taken out before.
            let nullable = schema["properties"][key]["nullable"] == true;
            if !all.contains_key(key) && !nullable {
                causes.push(Cause::required(&below(key), ""));
            }
        }
        for (key, inner) in all {
            let more = Some(&schema["additionalProperties"]).filter(|m| m.is_object());
            let known = schema["properties"].get(key).or(more);
            if let Some(known) = known {
                check(known, inner, &below(key), causes);
            }
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{at}[{i}]"), causes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({ "type": "object", "properties": { "spec": { "type": "object", "required": ["size"], "properties": {
            "size": { "type": "integer", "minimum": 1 },
            "colour": { "type": "string", "enum": ["red", "blue"] },
            "free": { "type": "object", (OPEN): true },
            "names": { "type": "array", "items": { "type": "object", "properties": { "name": { "type": "string" } } } },
        } } } })
    }

    fn wrong(object: &Value) -> Vec<String> {
        let mut causes = Vec::new();
        check(&schema(), object, "", &mut causes);
        causes
            .iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect()
    }

    #[test]
    fn what_a_schema_does_not_know_is_taken_away() {
        let mut object = json!({ "kind": "Thing", "metadata": { "name": "x" }, "more": 1,
            "spec": { "size": 3, "more": 1, "free": { "any": 1 }, "names": [{ "name": "a", "more": 1 }] } });
        prune(&schema(), &mut object);
        let wanted = json!({ "kind": "Thing", "metadata": { "name": "x" },
            "spec": { "size": 3, "free": { "any": 1 }, "names": [{ "name": "a" }] } });
        assert_eq!(object, wanted);
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_path() {
        assert!(wrong(&json!({ "spec": { "size": 3, "colour": "red" } })).is_empty());
        let told = wrong(&json!({ "spec": { "colour": "green", "names": [{ "name": 4 }] } }));
        assert_eq!(
            told,
            [
                "spec.size: Required value",
                "spec.colour: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
                "spec.names[0].name: Invalid value: \"integer\": spec.names[0].name in body must be of type string: \"integer\"",
            ]
        );
        let told = wrong(&json!({ "spec": { "size": 0 } }));
        assert_eq!(
            told,
            ["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"]
        );
    }

    #[test]
    fn built_in_kinds_have_types_too() {
        let kind = |resource: &str| {
            let all = super::super::kinds::built_in();
            all.into_iter()
                .find(|k| k.resource() == resource)
                .expect("a kind")
        };
        let map = kind("configmaps");
        assert!(mistyped(&map, &json!({ "data": { "a": "1" } })).is_none());
        let told = mistyped(&map, &json!({ "data": { "a": 1 } })).expect("a number");
        assert!(
            told.contains("number into Go struct field ConfigMap.data of type string"),
            "{told}"
        );
        let told =
            mistyped(&kind("secrets"), &json!({ "data": { "a": "???" } })).expect("no base64");
        assert_eq!(told, "illegal base64 data at input byte 0");
        assert!(mistyped(&kind("secrets"), &json!({ "data": { "a": "b2\n5l\r\n" } })).is_none());
        assert!(
            mistyped(
                &kind("deployments.apps"),
                &json!({ "spec": { "replicas": "many" } })
            )
            .is_some()
        );
    }
}
