//! What the server says of itself: groups, versions, resources, and its own version.

use super::{
    kinds::{Kind, REVIEWS},
    store::Store,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// `/version`.
pub(super) fn version(version: &str) -> Value {
    let mut parts = version.trim_start_matches('v').split('.');
    json!({
        "major": parts.next().unwrap_or("1"),
        "minor": parts.next().unwrap_or("0"),
        "gitVersion": version,
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2025-01-01T00:00:00Z",
        "goVersion": "go1.24.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// `/api`.
pub(super) fn core(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

/// Every group with its versions, the preferred one first.
fn all(store: &Store) -> Vec<(String, Vec<String>)> {
    let kinds = store
        .kinds()
        .iter()
        .map(|k| (k.group.as_str(), k.version.as_str()));
    let reviews = REVIEWS
        .iter()
        .map(|(group, version, ..)| (*group, *version));
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for (group, version) in kinds.chain(reviews).filter(|(group, _)| !group.is_empty()) {
        let at = out.iter().position(|(held, _)| held == group);
        match at {
            None => out.push((group.to_owned(), vec![version.to_owned()])),
            Some(at) if !out[at].1.iter().any(|v| v == version) => {
                out[at].1.push(version.to_owned());
            }
            Some(_) => {}
        }
    }
    out
}

fn described(group: &str, versions: &[String]) -> Value {
    let one = |version: &String| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    let versions: Vec<Value> = versions.iter().map(one).collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions.first() })
}

/// `/apis`.
pub(super) fn groups(store: &Store) -> Value {
    let groups: Vec<Value> = all(store)
        .iter()
        .map(|(group, versions)| described(group, versions))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`.
pub(super) fn group(store: &Store, name: &str) -> Option<Value> {
    let all = all(store);
    let (group, versions) = all.iter().find(|(group, _)| group == name)?;
    let mut out = json!({ "kind": "APIGroup", "apiVersion": "v1" });
    for (key, value) in described(group, versions).as_object().into_iter().flatten() {
        out[key.as_str()] = value.clone();
    }
    Some(out)
}

/// `/api/VERSION` and `/apis/GROUP/VERSION`.
pub(super) fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut out = Vec::new();
    for kind in store
        .kinds()
        .iter()
        .filter(|k| k.group == group && k.version == version)
    {
        out.extend(of(kind));
    }
    for (_, _, plural, kind) in REVIEWS
        .iter()
        .filter(|(g, v, ..)| (*g, *v) == (group, version))
    {
        out.push(json!({ "name": plural, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind, "verbs": ["create"] }));
    }
    if out.is_empty() {
        return None;
    }
    let named = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": named,
        "resources": out,
    }))
}

/// A kind and its subresources.
fn of(kind: &Arc<Kind>) -> Vec<Value> {
    let Kind {
        plural, namespaced, ..
    } = &**kind;
    let mut own = json!({
        "name": plural,
        "singularName": kind.kind.to_lowercase(),
        "namespaced": namespaced,
        "kind": kind.kind,
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    });
    if kind.stored == "namespaces" {
        own["verbs"] = json!([
            "create", "delete", "get", "list", "patch", "update", "watch"
        ]);
    }
    if !kind.short.is_empty() {
        own["shortNames"] = json!(kind.short);
    }
    if kind.all {
        own["categories"] = json!(["all"]);
    }
    own["storageVersionHash"] = json!("");
    let mut out = vec![own];
    let mut below = |name: &str, called: &str, more: Value, verbs: &[&str]| {
        let mut one = json!({ "name": format!("{plural}/{name}"), "singularName": "", "namespaced": namespaced, "kind": called, "verbs": verbs });
        for (key, value) in more.as_object().into_iter().flatten() {
            one[key.as_str()] = value.clone();
        }
        out.push(one);
    };
    let write = ["get", "patch", "update"];
    if kind.status {
        below("status", &kind.kind, json!({}), &write);
    }
    if kind.scale {
        below(
            "scale",
            "Scale",
            json!({ "group": "autoscaling", "version": "v1" }),
            &write,
        );
    }
    if kind.stored == "namespaces" {
        below("finalize", "Namespace", json!({}), &["update"]);
    }
    if kind.stored == "pods" {
        below("attach", "PodAttachOptions", json!({}), &["create", "get"]);
        below("binding", "Binding", json!({}), &["create"]);
        let eviction = json!({ "group": "policy", "version": "v1" });
        below("eviction", "Eviction", eviction, &["create"]);
        below("exec", "PodExecOptions", json!({}), &["create", "get"]);
        below("log", "Pod", json!({}), &["get"]);
        below(
            "portforward",
            "PodPortForwardOptions",
            json!({}),
            &["create", "get"],
        );
    }
    out
}

/// The smallest document that clients take for the schema of the second version, as protobuf.
pub(super) fn schema(version: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![(number << 3) | 2, u8::try_from(bytes.len()).unwrap_or(0)];
        out.extend_from_slice(bytes);
        out
    };
    let mut info = field(1, b"Kubernetes");
    info.extend(field(2, version.as_bytes()));
    let mut out = field(1, b"2.0");
    out.extend(field(2, &info));
    out
}

/// The same as JSON.
pub(super) fn schema_json(version: &str) -> Value {
    json!({ "swagger": "2.0", "info": { "title": "Kubernetes", "version": version }, "paths": {}, "definitions": {} })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_list_of_its_group() {
        let store = Store::new();
        for kind in store.kinds() {
            let list = resources(&store, &kind.group, &kind.version).expect("served");
            let all = list["resources"].as_array().expect("a list");
            assert!(
                all.iter().any(|r| r["name"] == kind.plural.as_str()),
                "{kind:?}"
            );
        }
        let batch = group(&store, "batch").expect("served");
        assert_eq!(batch["preferredVersion"]["groupVersion"], "batch/v1");
    }

    #[test]
    fn the_schema_is_a_document_of_protobuf() {
        let bytes = schema("v1");
        assert_eq!(bytes[..5], [0x0a, 3, b'2', b'.', b'0']);
        assert_eq!(usize::from(bytes[6]), bytes.len() - 7);
    }
}
