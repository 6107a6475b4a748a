//! How controllers write: only what differs, and not again at once what was refused.

use super::{
    Surroundings,
    events::Said,
    objects::{What, namespace, uid},
};
use crate::systems::kubernetes::{Body, Cluster};
use http::Method;
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// For how long the same request is not sent again once it was refused.
const REFUSED: Duration = Duration::from_secs(2);

/// Why a write was not done.
#[derive(Clone)]
pub(super) struct Refusal {
    /// The HTTP status; 0 where there was no answer.
    pub code: u16,
    pub message: String,
}

impl Refusal {
    /// Is it about a namespace that goes away? Then nothing needs to be said of it.
    pub(super) fn ends(&self) -> bool {
        self.message.contains("being terminated")
    }
}

/// The connection to the cluster, and what is remembered between two rounds.
pub(super) struct Hand {
    cluster: Cluster,
    pub around: Surroundings,
    wrote: AtomicBool,
    refused: Mutex<HashMap<String, (Instant, Refusal)>>,
    pub said: Mutex<HashMap<String, Said>>,
}

impl Hand {
    pub(super) fn new(cluster: Cluster, around: Surroundings) -> Self {
        Self {
            cluster,
            around,
            wrote: AtomicBool::new(false),
            refused: Mutex::default(),
            said: Mutex::default(),
        }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whether anything was changed since this was asked last.
    pub(super) fn has_written(&self) -> bool {
        self.wrote.swap(false, Ordering::Relaxed)
    }

    fn refusal(&self, key: &str) -> Option<Refusal> {
        let held = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, refusal) = held.get(key)?;
        (at.elapsed() < REFUSED).then(|| refusal.clone())
    }

    fn remember(&self, key: String, refusal: Refusal) {
        let mut held = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, (at, _)| at.elapsed() < REFUSED);
        held.insert(key, (Instant::now(), refusal));
    }

    /// One write. What is refused is refused for a while without asking again.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        kind: Body,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let key = format!("{method} {path} {body}");
        if let Some(refusal) = self.refusal(&key) {
            return Err(refusal);
        }
        let refusal = match self.cluster.send(method, path, kind, body).await {
            Ok(answer) => {
                self.wrote.store(true, Ordering::Relaxed);
                return Ok(answer);
            }
            Err(kube::Error::Api(status)) => Refusal {
                code: status.code,
                message: status.message.clone(),
            },
            Err(other) => Refusal {
                code: 0,
                message: other.to_string(),
            },
        };
        // A conflict, and what is not there, is looked at anew in the next round.
        if (400..500).contains(&refusal.code) && ![404, 409, 429].contains(&refusal.code) {
            self.remember(key, refusal.clone());
        }
        Err(refusal)
    }

    /// Makes an object; its kind is filled in.
    pub(super) async fn create(
        &self,
        what: &What,
        namespace: &str,
        mut body: Value,
    ) -> Result<Value, Refusal> {
        body["apiVersion"] = what.api.into();
        body["kind"] = what.kind.into();
        let path = what.collection(namespace);
        self.write(Method::POST, &path, Body::Json, &body).await
    }

    /// Changes an object by a merge patch; whether that was done.
    pub(super) async fn patch(&self, what: &What, object: &Value, body: &Value) -> bool {
        let path = what.path(object);
        let done = self.write(Method::PATCH, &path, Body::Merge, body).await;
        done.is_ok()
    }

    /// Deletes this very object, and in the background what it owns.
    pub(super) async fn delete(&self, what: &What, object: &Value) -> bool {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": { "uid": uid(object) },
        });
        let path = what.path(object);
        let done = self.write(Method::DELETE, &path, Body::Json, &options);
        done.await.is_ok()
    }

    /// Writes those fields of a status that differ from what is wanted.
    pub(super) async fn status(&self, what: &What, object: &Value, wanted: Value) {
        let Value::Object(wanted) = wanted else {
            return;
        };
        let fields: Map<String, Value> = wanted
            .into_iter()
            .filter(|(key, value)| !same(&object["status"][key.as_str()], value))
            .collect();
        if fields.is_empty() {
            return;
        }
        let body = json!({ "status": fields });
        let path = format!("{}/status", what.path(object));
        let done = self.write(Method::PATCH, &path, Body::Merge, &body).await;
        // A kind without a status of its own has it in the object.
        if done.is_err_and(|r| r.code == 404) && what.api.contains("cert-manager") {
            self.patch(what, object, &body).await;
        }
    }

    /// Puts a finalizer onto an object that does not have it.
    pub(super) async fn hold(&self, what: &What, object: &Value, finalizer: &str) {
        let held = object["metadata"]["finalizers"].as_array();
        let mut all = held.cloned().unwrap_or_default();
        if all.iter().any(|f| f == finalizer) {
            return;
        }
        all.push(finalizer.into());
        self.finalizers(what, object, all).await;
    }

    /// Takes finalizers away from an object.
    pub(super) async fn let_go(&self, what: &What, object: &Value, finalizers: &[&str]) {
        let held = object["metadata"]["finalizers"].as_array();
        let held = held.map(Vec::as_slice).unwrap_or_default();
        let ours = |f: &Value| f.as_str().is_some_and(|f| finalizers.contains(&f));
        let left: Vec<Value> = held.iter().filter(|f| !ours(f)).cloned().collect();
        if left.len() < held.len() {
            self.finalizers(what, object, left).await;
        }
    }

    async fn finalizers(&self, what: &What, object: &Value, all: Vec<Value>) {
        let version = &object["metadata"]["resourceVersion"];
        let body = json!({ "metadata": { "resourceVersion": version, "finalizers": all } });
        self.patch(what, object, &body).await;
    }

    /// Takes objects that nobody controls and that the owner's selector means into its control.
    pub(super) async fn adopt(
        &self,
        what: &What,
        owner: &Value,
        child: &What,
        children: Vec<&Value>,
    ) {
        for object in children {
            let held = object["metadata"]["ownerReferences"].as_array();
            let mut all = held.cloned().unwrap_or_default();
            all.push(what.owner_reference(owner));
            let version = &object["metadata"]["resourceVersion"];
            let metadata = json!({ "resourceVersion": version, "ownerReferences": all });
            if namespace(object) == namespace(owner) {
                let body = json!({ "metadata": metadata });
                self.patch(child, object, &body).await;
            }
        }
    }
}

/// Nothing, and a field that is not there, are the same for an API.
fn same(held: &Value, wanted: &Value) -> bool {
    held == wanted || (empty(held) && empty(wanted))
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_nothing() {
        assert!(same(&Value::Null, &json!(0)));
        assert!(same(&json!([]), &Value::Null));
        assert!(!same(&json!(1), &json!(0)));
        assert!(same(&json!({ "a": 1, "b": 2 }), &json!({ "b": 2, "a": 1 })));
    }
}
