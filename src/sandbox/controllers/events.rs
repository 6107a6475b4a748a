//! Events: what controllers say of an object, in the words of the real ones, and not too often.

use super::{
    hand::Hand,
    objects::{What, name, namespace, now, uid},
};
use crate::{journal::hex, systems::kubernetes::Body};
use http::Method;
use serde_json::{Value, json};
use std::{sync::PoisonError, time::Duration};
use tokio::time::Instant;

/// The same words about the same object are said again only after this.
const AGAIN: Duration = Duration::from_secs(30);
/// After this nobody remembers what was said.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// The API takes no longer message than 1024 bytes.
const LONGEST: usize = 900;

/// An event that was said.
pub(super) struct Said {
    at: Instant,
    name: String,
    count: u64,
}

/// What is to be done about an event.
enum Turn {
    Silent,
    First,
    Again(String, u64),
}

impl Hand {
    /// An event about something that went well.
    pub(super) async fn tell(&self, what: &What, object: &Value, reason: &str, message: &str) {
        self.event(what, object, "Normal", reason, message).await;
    }

    /// An event about something that did not.
    pub(super) async fn warn(&self, what: &What, object: &Value, reason: &str, message: &str) {
        self.event(what, object, "Warning", reason, message).await;
    }

    async fn event(&self, what: &What, object: &Value, kind: &str, reason: &str, message: &str) {
        let key = format!("{}/{}/{reason}/{message}", what.kind, uid(object));
        let within = match namespace(object) {
            "" => "default",
            own => own,
        };
        let events = format!("/api/v1/namespaces/{within}/events");
        let now = now();
        match self.turn(&key) {
            Turn::Silent => return,
            Turn::Again(name, count) => {
                let path = format!("{events}/{name}");
                let body = json!({ "count": count + 1, "lastTimestamp": now });
                let done = self.write(Method::PATCH, &path, Body::Merge, &body).await;
                if done.is_ok() {
                    self.note(key, name, count + 1);
                    return;
                }
            }
            Turn::First => {}
        }
        let mut random = [0_u8; 8];
        let _ = getrandom::fill(&mut random);
        let own = format!("{}.{}", name(object), hex(&random));
        let message: String = message.chars().take(LONGEST).collect();
        let body = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": own, "namespace": within },
            "involvedObject": {
                "apiVersion": what.api,
                "kind": what.kind,
                "name": name(object),
                "namespace": namespace(object),
                "uid": uid(object),
                "resourceVersion": object["metadata"]["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "source": { "component": what.speaker },
            "reportingComponent": what.speaker,
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        });
        // An event that is refused is not worth another try at once.
        let _ = self.write(Method::POST, &events, Body::Json, &body).await;
        self.note(key, own, 1);
    }

    fn turn(&self, key: &str) -> Turn {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.get(key) {
            None => Turn::First,
            Some(before) if before.at.elapsed() < AGAIN => Turn::Silent,
            Some(before) => Turn::Again(before.name.clone(), before.count),
        }
    }

    fn note(&self, key: String, name: String, count: u64) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, before| before.at.elapsed() < FORGOTTEN);
        let at = Instant::now();
        said.insert(key, Said { at, name, count });
    }
}
