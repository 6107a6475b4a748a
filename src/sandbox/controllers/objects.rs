//! What all controllers ask of objects: names, owners, selectors, conditions, and how pods are.

use crate::{clock, systems::kubernetes::workloads::condition};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A kind of objects, where it is in the API, and who speaks about it in events.
#[derive(Clone, Copy)]
pub(super) struct What {
    pub api: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub speaker: &'static str,
}

const fn what(
    api: &'static str,
    kind: &'static str,
    plural: &'static str,
    speaker: &'static str,
) -> What {
    What {
        api,
        kind,
        plural,
        speaker,
    }
}

pub(super) const POD: What = what("v1", "Pod", "pods", "default-scheduler");
pub(super) const CLAIM: What = what(
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    "persistentvolume-controller",
);
pub(super) const VOLUME: What = what(
    "v1",
    "PersistentVolume",
    "persistentvolumes",
    "persistentvolume-controller",
);
pub(super) const REPLICA_SET: What = what(
    "apps/v1",
    "ReplicaSet",
    "replicasets",
    "replicaset-controller",
);
pub(super) const DEPLOYMENT: What = what(
    "apps/v1",
    "Deployment",
    "deployments",
    "deployment-controller",
);
pub(super) const STATEFUL_SET: What = what(
    "apps/v1",
    "StatefulSet",
    "statefulsets",
    "statefulset-controller",
);
pub(super) const JOB: What = what("batch/v1", "Job", "jobs", "job-controller");
pub(super) const CRON_JOB: What = what("batch/v1", "CronJob", "cronjobs", "cronjob-controller");
pub(super) const ENDPOINTS: What = what("v1", "Endpoints", "endpoints", "endpoint-controller");
pub(super) const INGRESS: What = what(
    "networking.k8s.io/v1",
    "Ingress",
    "ingresses",
    "nginx-ingress-controller",
);
pub(super) const SECRET: What = what("v1", "Secret", "secrets", "cert-manager");
pub(super) const CERTIFICATE: What = what(
    "cert-manager.io/v1",
    "Certificate",
    "certificates",
    "cert-manager-certificates-issuing",
);

impl What {
    /// Where objects of this kind are listed and made.
    pub(super) fn collection(&self, namespace: &str) -> String {
        let root = if self.api.contains('/') {
            "apis"
        } else {
            "api"
        };
        let (api, plural) = (self.api, self.plural);
        match namespace {
            "" => format!("/{root}/{api}/{plural}"),
            own => format!("/{root}/{api}/namespaces/{own}/{plural}"),
        }
    }

    pub(super) fn path(&self, object: &Value) -> String {
        format!("{}/{}", self.collection(namespace(object)), name(object))
    }

    /// The word that an object of this kind controls another one.
    pub(super) fn owner_reference(&self, object: &Value) -> Value {
        json!({
            "apiVersion": self.api,
            "kind": self.kind,
            "name": name(object),
            "uid": uid(object),
            "controller": true,
            "blockOwnerDeletion": true,
        })
    }
}

/// The text at a JSON pointer; empty where there is none.
pub(super) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(super) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(super) fn created(object: &Value) -> &str {
    text(object, "/metadata/creationTimestamp")
}

pub(super) fn annotation<'v>(object: &'v Value, key: &str) -> &'v str {
    let found = object["metadata"]["annotations"][key].as_str();
    found.unwrap_or_default()
}

pub(super) fn number(value: &Value, default: i64) -> i64 {
    value.as_i64().unwrap_or(default)
}

/// A number of things, as the API has it.
pub(super) fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

/// Is it being deleted?
pub(super) fn going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(super) fn controller(object: &Value) -> Option<&Value> {
    let all = object["metadata"]["ownerReferences"].as_array()?;
    all.iter().find(|o| o["controller"] == true)
}

pub(super) fn owned_by(object: &Value, uid: &str) -> bool {
    !uid.is_empty() && controller(object).is_some_and(|o| o["uid"] == uid)
}

/// Could an owner with this selector take the object into its control?
pub(super) fn orphan_of(object: &Value, owner: &Value) -> bool {
    namespace(object) == namespace(owner)
        && controller(object).is_none()
        && !going(object)
        && !going(owner)
        && selects(&owner["spec"]["selector"], &object["metadata"]["labels"])
}

/// Does a selector mean something with these labels? One without any term means nothing.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object();
    let terms = selector["matchExpressions"].as_array();
    if equal.is_none_or(Map::is_empty) && terms.is_none_or(Vec::is_empty) {
        return false;
    }
    let mut equal = equal.into_iter().flatten();
    let mut terms = terms.into_iter().flatten();
    equal.all(|(key, value)| labels[key.as_str()] == *value) && terms.all(|t| term(t, labels))
}

/// One term of a selector.
pub(super) fn term(term: &Value, labels: &Value) -> bool {
    let held = &labels[text(term, "/key")];
    let listed = term["values"].as_array().is_some_and(|v| v.contains(held));
    match text(term, "/operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => held.is_string(),
        "DoesNotExist" => !held.is_string(),
        _ => false,
    }
}

pub(super) fn now() -> String {
    stamp(clock::now())
}

pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok()?;
    Some(read.with_timezone(&Utc))
}

/// Seconds since a time; `None` where it is no time.
pub(super) fn seconds_since(text: &str) -> Option<i64> {
    Some((clock::now() - time(text)?).num_seconds())
}

pub(super) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == "True")
}

pub(super) fn conditions(object: &Value) -> Vec<Value> {
    let held = object["status"]["conditions"].as_array();
    held.cloned().unwrap_or_default()
}

/// Sets one of the conditions, and says whether that changed anything. The time of the transition stays
/// while the status does.
pub(super) fn set(
    conditions: &mut Vec<Value>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
) -> bool {
    let at = conditions.iter().position(|c| c["type"] == kind);
    let nothing = Value::Null;
    let held = match at {
        Some(at) => &conditions[at],
        None => &nothing,
    };
    if held["status"] == status
        && text(held, "/reason") == reason
        && text(held, "/message") == message
    {
        return false;
    }
    let since = match held["lastTransitionTime"].as_str() {
        Some(since) if held["status"] == status => since.to_owned(),
        _ => now(),
    };
    let new = json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    });
    match at {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
    true
}

/// Has it ended by itself?
pub(super) fn finished(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

/// Neither ended nor being deleted.
pub(super) fn active(pod: &Value) -> bool {
    !going(pod) && !finished(pod)
}

pub(super) fn ready(pod: &Value) -> bool {
    active(pod) && is_true(pod, "Ready")
}

/// Ready, and that for long enough.
pub(super) fn available(pod: &Value, seconds: i64) -> bool {
    let since = condition(pod, "Ready").map_or("", |c| text(c, "/lastTransitionTime"));
    ready(pod) && (seconds <= 0 || seconds_since(since).is_some_and(|s| s >= seconds))
}

/// The names of the claims that a pod mounts.
pub(super) fn claims_of(pod: &Value) -> Vec<&str> {
    let volumes = pod["spec"]["volumes"].as_array();
    let volumes = volumes.into_iter().flatten();
    volumes
        .filter_map(|v| v["persistentVolumeClaim"]["claimName"].as_str())
        .collect()
}

/// A pod of a template, without a name yet.
pub(super) fn pod(template: &Value, owner: &Value) -> Value {
    let mut metadata = Map::new();
    for key in ["labels", "annotations", "finalizers"] {
        let held = &template["metadata"][key];
        if !held.is_null() {
            metadata.insert(key.to_owned(), held.clone());
        }
    }
    metadata.insert("ownerReferences".to_owned(), json!([owner]));
    json!({ "metadata": metadata, "spec": template["spec"] })
}

/// A text that is the same for the same value, whatever the order of its keys.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let held = map.iter().filter(|(_, value)| !value.is_null());
            let sorted: BTreeMap<&String, &Value> = held.collect();
            let all: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{key:?}:{}", canonical(value)))
                .collect();
            format!("{{{}}}", all.join(","))
        }
        Value::Array(list) => {
            let all: Vec<String> = list.iter().map(canonical).collect();
            format!("[{}]", all.join(","))
        }
        other => other.to_string(),
    }
}

/// A short name for a template, in letters that make no words.
pub(super) fn hash(template: &Value) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(canonical(template));
    let bytes = digest.iter().take(10);
    bytes
        .map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_minds_no_order_and_no_nulls() {
        let one = json!({ "a": 1, "b": { "c": null, "d": [1, 2] } });
        let other = json!({ "b": { "d": [1, 2] }, "a": 1 });
        assert_eq!(hash(&one), hash(&other));
        assert_eq!(hash(&one).len(), 10);
        assert_ne!(hash(&one), hash(&json!({ "a": 2 })));
    }

    #[test]
    fn selectors() {
        let labels = json!({ "app": "web", "tier": "front" });
        assert!(selects(
            &json!({ "matchLabels": { "app": "web" } }),
            &labels
        ));
        assert!(!selects(
            &json!({ "matchLabels": { "app": "db" } }),
            &labels
        ));
        assert!(!selects(&json!({}), &labels));
        let by = json!({ "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["front"] }] });
        assert!(selects(&by, &labels));
        let by = json!({ "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }] });
        assert!(!selects(&by, &labels));
    }

    #[test]
    fn conditions_keep_their_time() {
        let mut all = vec![json!({
            "type": "Ready", "status": "False", "reason": "A", "message": "",
            "lastTransitionTime": "2020-01-01T00:00:00Z",
        })];
        assert!(!set(&mut all, "Ready", "False", "A", ""));
        assert!(set(&mut all, "Ready", "False", "B", ""));
        assert_eq!(all[0]["lastTransitionTime"], "2020-01-01T00:00:00Z");
        assert!(set(&mut all, "Ready", "True", "B", ""));
        assert_ne!(all[0]["lastTransitionTime"], "2020-01-01T00:00:00Z");
    }

    #[test]
    fn paths() {
        let object = json!({ "metadata": { "name": "web", "namespace": "shop" } });
        assert_eq!(
            DEPLOYMENT.path(&object),
            "/apis/apps/v1/namespaces/shop/deployments/web"
        );
        let object = json!({ "metadata": { "name": "pv-1" } });
        assert_eq!(VOLUME.path(&object), "/api/v1/persistentvolumes/pv-1");
    }
}
