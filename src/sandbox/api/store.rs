//! Everything that is stored, its version, and what changed lately.

use super::{
    kinds::{self, Kind},
    tree::{at, text},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::{Notify, broadcast};

/// How many changes are remembered for watches that begin in the past.
const REMEMBERED: usize = 1000;

/// Where an object is: under which name its kind is stored, its namespace, its own name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub stored: String,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub(super) fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced { namespace } else { "" };
        Self {
            stored: kind.stored.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One change, as watches are told of it.
#[derive(Debug)]
pub(super) struct Change {
    pub version: u64,
    pub stored: String,
    pub namespace: String,
    pub before: Option<Value>,
    /// `None`: it was deleted.
    pub after: Option<Value>,
}

/// What watchers hear.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Change(Arc<Change>),
    /// Everything was replaced; nothing that was seen before holds.
    Reset,
}

pub(super) struct Store {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// The newest version that is not remembered any more.
    floor: u64,
    log: VecDeque<Arc<Change>>,
    tell: broadcast::Sender<Told>,
    kinds: Vec<Arc<Kind>>,
    /// Woken by every change: what collects, and what writes to disk.
    pub changed: Arc<Notify>,
    pub dirty: Arc<Notify>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 1,
            floor: 0,
            log: VecDeque::new(),
            tell: broadcast::channel(REMEMBERED).0,
            kinds: kinds::built_in(),
            changed: Arc::default(),
            dirty: Arc::default(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Changes up to this version are forgotten.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// The kind that is stored under a name, in its first version.
    pub(super) fn kind(&self, stored: &str) -> Option<Arc<Kind>> {
        self.kinds.iter().find(|k| k.stored == stored).cloned()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    /// The objects of a kind, of one namespace or of all, by namespace and name.
    pub(super) fn of<'s>(
        &'s self,
        stored: &'s str,
        namespace: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s Key, &'s Value)> {
        let first = Key {
            stored: stored.to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        self.objects.range(first..).take_while(move |(key, _)| {
            key.stored == stored && namespace.is_none_or(|n| key.namespace == n)
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter()
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Told> {
        self.tell.subscribe()
    }

    /// What happened after a version, oldest first.
    pub(super) fn since(&self, version: u64) -> Vec<Arc<Change>> {
        let later = self.log.iter().filter(|c| c.version > version);
        later.cloned().collect()
    }

    /// Writes an object; what is the same as before is not written. Returns it with its version.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Value {
        let before = self.objects.get(&key).cloned();
        if let Some(before) = &before {
            *at(&mut object, &["metadata", "resourceVersion"]) =
                before["metadata"]["resourceVersion"].clone();
            if *before == object {
                return object;
            }
        }
        self.version += 1;
        *at(&mut object, &["metadata", "resourceVersion"]) = json!(self.version.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.tell(&key, before, Some(object.clone()));
        object
    }

    /// Takes an object away; returns what it was, with the version of its end.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Value> {
        let mut last = self.objects.remove(key)?;
        self.version += 1;
        *at(&mut last, &["metadata", "resourceVersion"]) = json!(self.version.to_string());
        self.tell(key, Some(last.clone()), None);
        Some(last)
    }

    fn tell(&mut self, key: &Key, before: Option<Value>, after: Option<Value>) {
        let change = Arc::new(Change {
            version: self.version,
            stored: key.stored.clone(),
            namespace: key.namespace.clone(),
            before,
            after,
        });
        self.log.push_back(change.clone());
        while self.log.len() > REMEMBERED {
            if let Some(gone) = self.log.pop_front() {
                self.floor = gone.version;
            }
        }
        if key.stored == kinds::DEFINITIONS {
            self.define();
        }
        // Nobody may be listening.
        let _ = self.tell.send(Told::Change(change));
        self.changed.notify_one();
        self.dirty.notify_one();
    }

    /// The kinds again, with those of the definitions that are stored now.
    fn define(&mut self) {
        let mut all = kinds::built_in();
        let definitions = self.of(kinds::DEFINITIONS, None);
        for (_, definition) in definitions {
            all.extend(kinds::defined(definition));
        }
        self.kinds = all;
    }

    /// Everything as one document.
    pub(super) fn snapshot(&self) -> Value {
        let objects: Vec<Value> = self
            .objects
            .iter()
            .map(|(key, object)| json!({ "stored": key.stored, "object": object }))
            .collect();
        json!({ "version": self.version, "objects": objects })
    }

    /// Everything from a document; what was there before is gone. Versions never go back.
    pub(super) fn restore(&mut self, snapshot: &Value) {
        let held = snapshot["version"].as_u64().unwrap_or(1);
        self.version = self.version.max(held) + 1;
        self.floor = self.version;
        self.log.clear();
        self.objects.clear();
        for one in snapshot["objects"].as_array().into_iter().flatten() {
            let object = &one["object"];
            let key = Key {
                stored: text(one, "/stored").to_owned(),
                namespace: text(object, "/metadata/namespace").to_owned(),
                name: text(object, "/metadata/name").to_owned(),
            };
            self.objects.insert(key, object.clone());
        }
        self.define();
        let _ = self.tell.send(Told::Reset);
        self.changed.notify_one();
        self.dirty.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            stored: "pods".into(),
            namespace: "a".into(),
            name: name.into(),
        }
    }

    #[test]
    fn what_is_the_same_is_not_written_again() {
        let mut store = Store::new();
        let first = store.put(
            key("x"),
            json!({ "metadata": { "name": "x", "namespace": "a" } }),
        );
        let again = store.put(key("x"), first.clone());
        assert_eq!(first, again);
        assert_eq!(store.since(0).len(), 1);
    }

    #[test]
    fn a_snapshot_brings_everything_back() {
        let mut store = Store::new();
        store.put(
            key("x"),
            json!({ "metadata": { "name": "x", "namespace": "a" } }),
        );
        let snapshot = store.snapshot();
        store.remove(&key("x"));
        assert!(store.get(&key("x")).is_none());
        store.restore(&snapshot);
        assert!(store.get(&key("x")).is_some());
        assert_eq!(store.since(0).len(), 0);
    }
}
