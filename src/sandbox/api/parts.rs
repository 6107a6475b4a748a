//! Subresources that are more than a part of their object: scale, binding, eviction; and the questions
//! that are answered without being stored.

use super::{
    removal,
    request::{Call, User},
    status::{Cause, Status},
    store::Store,
    tree::{at, map, text},
    verbs,
};
use http::Method;
use serde_json::{Value, json};

/// The size of a workload, as an object of its own.
fn size(object: &Value) -> Value {
    let labels = object["spec"]["selector"]["matchLabels"].as_object();
    let plain = object["spec"]["selector"].as_object();
    let labels = labels.or(plain).into_iter().flatten();
    let labels: Vec<String> = labels
        .filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?)))
        .collect();
    let mut meta = json!({});
    for key in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        meta[key] = object["metadata"][key].clone();
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        "spec": { "replicas": object["spec"]["replicas"].as_i64().unwrap_or(0) },
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or(0),
            "selector": labels.join(","),
        },
    })
}

/// Reads or writes the size of a workload.
pub(super) fn scale(store: &mut Store, call: &Call) -> Result<Value, Status> {
    if !call.kind.scale {
        return Err(Status::nowhere());
    }
    let old = store.get(&call.key()).cloned();
    let old = old.ok_or_else(|| Status::not_found(&call.part(), &call.name))?;
    let held = size(&old);
    let wanted = match call.method {
        Method::GET => return Ok(held),
        Method::PUT => call.sent()?,
        Method::PATCH => verbs::patched(call, &held)?,
        _ => return Err(Status::method_not_allowed()),
    };
    let version = text(&wanted, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(&old, "/metadata/resourceVersion") {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Status::conflict(&call.kind, &call.name, why));
    }
    let replicas = match &wanted["spec"]["replicas"] {
        Value::Null => 0,
        number => number.as_i64().ok_or_else(|| {
            Status::bad_request(format!(
                "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {number} into Go struct field ScaleSpec.spec.replicas of type int32"
            ))
        })?,
    };
    if replicas < 0 {
        let why = "must be greater than or equal to 0";
        let cause = Cause::invalid("spec.replicas", &replicas.to_string(), why);
        return Err(Status::refused(
            "Scale",
            "autoscaling",
            &call.name,
            &[cause],
        ));
    }
    let mut new = old.clone();
    *at(&mut new, &["spec", "replicas"]) = json!(replicas);
    verbs::changed(store, call, &old, new, None)?;
    let now = call.object(store)?;
    let mut out = size(now);
    out["spec"]["replicas"] = json!(replicas);
    Ok(out)
}

/// Puts a pod on a node.
pub(super) fn bind(store: &mut Store, call: &Call) -> Result<Value, Status> {
    let sent = call.sent()?;
    let mut pod = call.object(store)?.clone();
    let held = text(&pod, "/spec/nodeName");
    if !held.is_empty() {
        let why = format!("pod {} is already assigned to node \"{held}\"", call.name);
        return Err(Status::conflict(&call.part(), &call.name, &why));
    }
    if removal::is_terminating(&pod) {
        let why = format!(
            "pod {} is being deleted, cannot be assigned to a host",
            call.name
        );
        return Err(Status::conflict(&call.part(), &call.name, &why));
    }
    let node = text(&sent, "/target/name");
    *at(&mut pod, &["spec", "nodeName"]) = json!(node);
    let scheduled = json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": super::tree::now() });
    let conditions = at(&mut pod, &["status", "conditions"]);
    match conditions {
        Value::Array(all) => {
            all.retain(|c| c["type"] != "PodScheduled");
            all.push(scheduled);
        }
        other => *other = json!([scheduled]),
    }
    if !call.is_dry() {
        store.put(call.key(), pod);
    }
    let mut done = removal::success(Value::Null);
    done["code"] = json!(201);
    Ok(done)
}

/// Lets a pod go, as somebody who drains a node asks for it.
pub(super) fn evict(store: &mut Store, call: &Call) -> Result<Value, Status> {
    let sent = call.sent()?;
    let options = sent["deleteOptions"].clone();
    removal::remove(store, &call.kind, &call.key(), &options, call.is_dry())?;
    Ok(removal::success(Value::Null))
}

/// A question about rights is about one thing.
pub(super) fn one_question(body: &Value) -> Result<(), Status> {
    let asked = ["resourceAttributes", "nonResourceAttributes"];
    let asked = asked.iter().filter(|k| body["spec"][**k].is_object());
    if asked.count() == 1 {
        return Ok(());
    }
    let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    let cause = Cause::invalid("spec.resourceAttributes", "\"null\"", why);
    Err(Status::refused("", "authorization.k8s.io", "", &[cause]))
}

/// Answers a question about whoever asks.
pub(super) fn review(kind: &str, version: &str, user: &User, body: &Value) -> Value {
    let mut out = body.clone();
    if !out.is_object() {
        out = json!({});
    }
    let all = map(&mut out);
    all.insert("kind".to_owned(), json!(kind));
    all.insert("apiVersion".to_owned(), json!(version));
    all.entry("metadata").or_insert_with(|| json!({}));
    let status = match kind {
        "SelfSubjectReview" => {
            json!({ "userInfo": { "username": user.name, "groups": user.groups } })
        }
        "SelfSubjectRulesReview" => {
            let verbs: &[&str] = match (user.may("delete"), user.may("get")) {
                (true, _) => &["*"],
                (false, true) => &["get", "list", "watch"],
                (false, false) => &[],
            };
            let rule = json!({ "verbs": verbs, "apiGroups": ["*"], "resources": ["*"] });
            let rules = if verbs.is_empty() {
                json!([])
            } else {
                json!([rule])
            };
            json!({ "resourceRules": rules, "nonResourceRules": [], "incomplete": false })
        }
        _ => {
            let verb = body.pointer("/spec/resourceAttributes/verb");
            let verb = verb.or(body.pointer("/spec/nonResourceAttributes/verb"));
            let allowed = user.may(verb.and_then(Value::as_str).unwrap_or_default());
            json!({ "allowed": allowed })
        }
    };
    all.insert("status".to_owned(), status);
    out
}
