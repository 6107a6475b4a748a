//! `{ kubernetes: cluster, rollout: deployment/x }`

use crate::domain::runbook::reader::{Map, Name, Reader};
use serde::{Deserialize, Serialize};

/// A look at a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub system: Name,
    pub words: serde_json::Map<String, serde_json::Value>,
}

const LOOKS: [&str; 12] = [
    "reachable",
    "nodes",
    "rollout",
    "pods",
    "pvc",
    "secret",
    "job",
    "certificate",
    "ingress",
    "image",
    "get",
    "absent",
];
const DETAILS: [&str; 10] = [
    "none",
    "phase",
    "keys",
    "json",
    "exec",
    "command",
    "container",
    "namespace",
    "for",
    "ready",
];

/// Every key of such a look.
pub fn keys() -> impl Iterator<Item = &'static str> {
    LOOKS.into_iter().chain(DETAILS)
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let system = map.required(r, "kubernetes")?;
        let mut words = serde_json::Map::new();
        for key in LOOKS.iter().chain(&DETAILS) {
            if let Some(node) = map.get(key) {
                r.no_placeholder(node);
                words.insert((*key).to_owned(), node.to_json());
            }
        }
        if !words
            .keys()
            .any(|k| LOOKS.contains(&k.as_str()) || k == "exec")
        {
            r.error(
                "missing-key",
                map.at,
                "this does not say what to look at in the cluster",
                "`reachable: true`, `nodes: ready`, `rollout: deployment/x`, `pvc: x` …",
            );
        }
        Some(Self {
            system: r.name(system, "kubernetes")?,
            words,
        })
    }

    pub fn label(&self) -> String {
        let words: Vec<String> = self
            .words
            .iter()
            .map(|(k, v)| match v.as_str() {
                Some(text) => format!("{k} {text}"),
                None => format!("{k} {v}"),
            })
            .collect();
        format!("{}: {}", self.system, words.join(", "))
    }

    pub fn expected(&self) -> String {
        "as described".to_owned()
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all = Vec::new();
        for value in self.words.values() {
            texts(value, false, &mut all);
        }
        all
    }
}

/// Every text in a value, however deep.
pub fn texts<'a>(value: &'a serde_json::Value, secret: bool, all: &mut Vec<(&'a str, bool)>) {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => all.push((text.as_str(), secret)),
        Json::Array(items) => items.iter().for_each(|v| texts(v, secret, all)),
        Json::Object(map) => map.values().for_each(|v| texts(v, secret, all)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
