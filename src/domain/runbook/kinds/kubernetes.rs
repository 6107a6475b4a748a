//! `{ kubernetes: cluster, rollout: deployment/x }`

use crate::domain::runbook::reader::{Map, Name, Reader};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
/// What must hold, and not where to look.
const WANTED: [&str; 6] = ["none", "phase", "keys", "json", "for", "ready"];
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
            .filter(|(k, _)| !WANTED.contains(&k.as_str()))
            .map(|(k, v)| match (k.as_str(), v) {
                ("reachable" | "nodes", _) => k.clone(),
                ("pods", Value::String(text)) if text.is_empty() => "all pods".to_owned(),
                ("command", Value::Array(words)) => {
                    let words: Vec<String> = words.iter().map(plain).collect();
                    let words = words.join(" ");
                    // A script is known by its beginning.
                    match words.split_once('\n') {
                        Some((first, _)) => format!("{first} …"),
                        None => words,
                    }
                }
                (_, v) => format!("{k} {}", plain(v)),
            })
            .collect();
        format!("{}: {}", self.system, words.join(", "))
    }

    pub fn expected(&self) -> String {
        let list = |value: &Value| match value {
            Value::Array(several) => several.iter().map(plain).collect::<Vec<_>>().join(", "),
            one => plain(one),
        };
        let wanted: Vec<String> = self
            .words
            .iter()
            .filter_map(|(k, v)| match (k.as_str(), v) {
                ("json", Value::Object(fields)) => {
                    let fields = fields.iter().map(|(at, v)| format!("{at} {}", plain(v)));
                    Some(fields.collect::<Vec<_>>().join(", "))
                }
                ("none", v) => Some(format!("none {}", list(v))),
                ("keys", v) => Some(format!("keys {}", list(v))),
                ("phase", v) => Some(format!("phase {}", plain(v))),
                ("for" | "ready", v) => Some(plain(v)),
                (_, _) => None,
            })
            .collect();
        if !wanted.is_empty() {
            return wanted.join(", ");
        }
        let has = |key: &str| self.words.contains_key(key);
        let means = [
            ("reachable", "ok"),
            ("nodes", "all ready"),
            ("rollout", "rolled out"),
            ("pods", "all ready"),
            ("job", "complete"),
            ("certificate", "issued"),
            ("ingress", "an address"),
            ("absent", "not there"),
            ("exec", "exit 0"),
        ];
        let found = means.iter().find(|(key, _)| has(key));
        found.map_or("there", |(_, words)| words).to_owned()
    }

    /// The object that it is about, as `kind/name`; none where it looks at several, or inside a pod.
    pub fn object(&self) -> Option<String> {
        let text = |key: &str| self.words.get(key).and_then(Value::as_str);
        let whole = ["rollout", "image", "get", "absent"];
        let whole = whole.iter().find_map(|key| text(key).map(str::to_owned));
        let short = ["pvc", "secret", "job", "certificate", "ingress"];
        whole.or_else(|| {
            short
                .iter()
                .find_map(|key| text(key).map(|name| format!("{key}/{name}")))
        })
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all = Vec::new();
        for value in self.words.values() {
            texts(value, false, &mut all);
        }
        all
    }
}

/// A text without its quotes; anything else as JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
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
