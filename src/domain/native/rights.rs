//! What must be allowed for an action or a look: asked beforehand, so that nobody learns it half-way.

use super::{Manifests, Native, Verb};
use crate::domain::runbook::{
    Runbook, Step,
    kinds::{CheckKind, kubernetes::Words},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A right that an action needs: verb, kind as people write it, subresource, name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Right {
    pub verb: &'static str,
    pub kind: String,
    pub subresource: &'static str,
    /// Empty: any of that kind.
    pub name: String,
    /// Where, when it is not the system's own namespace.
    pub namespace: Option<String>,
}

impl Right {
    /// Of `kind/name`, as it is written; what is not known yet stands for any.
    fn of(
        verb: &'static str,
        what: &str,
        subresource: &'static str,
        namespace: Option<&str>,
    ) -> Self {
        let (kind, name) = what.split_once('/').unwrap_or((what, ""));
        let known = |text: &str| match text.contains("${") {
            true => String::new(),
            false => text.to_owned(),
        };
        Self {
            verb,
            kind: kind.to_owned(),
            subresource,
            name: known(name),
            namespace: namespace.map(known).filter(|n| !n.is_empty()),
        }
    }
}

impl Native {
    /// What must be allowed for it to be carried out. Of manifests in files: nothing before they are read.
    pub fn rights(&self) -> Vec<Right> {
        let right = |verb, what: &str, subresource| {
            // A pod's place in a copy: pod/x:/path
            let what = what.split(':').next().unwrap_or(what);
            Right::of(verb, what, subresource, self.namespace.as_deref())
        };
        match &self.verb {
            Verb::Scale { what, .. } => vec![
                right("get", what, ""),
                right("patch", what, "scale"),
                right("list", "pod", ""),
            ],
            Verb::Restart { what }
            | Verb::SetEnv { what, .. }
            | Verb::SetImage { what, .. }
            | Verb::Patch { what, .. } => {
                vec![right("get", what, ""), right("patch", what, "")]
            }
            Verb::Secret { name, .. } => {
                let what = format!("secret/{name}");
                vec![
                    right("get", &what, ""),
                    right("create", "secret", ""),
                    right("patch", &what, ""),
                ]
            }
            Verb::Namespace { name, .. } => vec![
                right("get", &format!("namespace/{name}"), ""),
                right("create", "namespace", ""),
            ],
            Verb::Apply(Manifests::Inline(all)) => all
                .iter()
                .flat_map(|object| {
                    let kind = object["kind"].as_str().unwrap_or_default();
                    let kind = kind.to_ascii_lowercase();
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let what = format!("{kind}/{name}");
                    [
                        right("get", &what, ""),
                        right("patch", &what, ""),
                        right("create", &kind, ""),
                    ]
                })
                .collect(),
            Verb::Apply(Manifests::File(_) | Manifests::Text(_)) => Vec::new(),
            Verb::Delete { what, .. } => vec![right("get", what, ""), right("delete", what, "")],
            Verb::Exec { what, .. } => in_pod(what, &right),
            Verb::Copy { from, to, .. } => {
                let pod = [from, to].into_iter().find(|t| t.contains(":/"));
                in_pod(pod.map_or("pod/", String::as_str), &right)
            }
            Verb::Job { from, .. } => vec![
                right("get", from, ""),
                right("create", "job", ""),
                right("get", "job", ""),
            ],
            Verb::Wait { what, .. } => vec![right("get", what, "")],
        }
    }
}

/// A websocket is opened by a GET: newer API servers want both words for it.
fn in_pod(what: &str, right: &dyn Fn(&'static str, &str, &'static str) -> Right) -> Vec<Right> {
    let mut all = vec![right("create", "pod", "exec"), right("get", "pod", "")];
    if !what.starts_with("pod/") {
        all.push(right("get", what, ""));
        all.push(right("list", "pod", ""));
    }
    all
}

/// What a look needs.
fn of_look(words: &Words) -> Vec<Right> {
    let text = |key: &str| words.words.get(key).and_then(Value::as_str);
    let namespace = text("namespace");
    let right = |verb, what: &str, sub| Right::of(verb, what, sub, namespace);
    if words.words.contains_key("nodes") {
        return vec![right("list", "node", "")];
    }
    if text("pods").is_some() {
        return vec![right("list", "pod", "")];
    }
    if let Some(what) = text("exec") {
        return in_pod(what, &right);
    }
    let object = words.object();
    object.iter().map(|what| right("get", what, "")).collect()
}

/// The rights that steps need, by the system that gives them. `fill` puts in the values that are known.
pub fn of_plan(
    runbook: &Runbook,
    steps: &[&str],
    fill: &dyn Fn(&Value) -> Value,
) -> BTreeMap<String, Vec<Right>> {
    let mut all: BTreeMap<String, Vec<Right>> = BTreeMap::new();
    let mut add = |system: &str, rights: Vec<Right>| {
        let held = all.entry(system.to_owned()).or_default();
        for right in rights {
            if !held.contains(&right) {
                held.push(right);
            }
        }
    };
    let planned = steps.iter().filter_map(|name| runbook.step(name));
    let steps: Vec<&Step> = planned.collect();
    for step in &steps {
        for words in step.natives() {
            if let Ok(native) = Native::read(&fill(words)) {
                add(&native.system, native.rights());
            }
        }
    }
    let checks = steps.iter().flat_map(|step| step.checks());
    for check in checks.chain(&runbook.recovered.when) {
        match &check.what {
            CheckKind::Kubernetes(words) => {
                let mut filled = words.clone();
                if let Value::Object(map) = fill(&Value::Object(words.words.clone())) {
                    filled.words = map;
                }
                add(&words.system.text, of_look(&filled));
            }
            CheckKind::Postgres(_) | CheckKind::Redis(_) | CheckKind::Http(_) => {
                let system = check.system().and_then(|n| runbook.systems.get(&n.text));
                let through = system.and_then(|s| Some((s, s.through_cluster()?)));
                if let Some((system, cluster)) = through {
                    let via = system.via.as_ref().map(fill).unwrap_or_default();
                    let namespace = via["namespace"].as_str();
                    let mut rights = vec![Right::of("create", "pod", "portforward", namespace)];
                    if let Some(service) = via["service"].as_str() {
                        let service = format!("service/{service}");
                        rights.push(Right::of("get", &service, "", namespace));
                        rights.push(Right::of("list", "pod", "", namespace));
                    }
                    add(cluster, rights);
                }
            }
            CheckKind::Command(_)
            | CheckKind::Tcp(_)
            | CheckKind::Tls(_)
            | CheckKind::Dns(_)
            | CheckKind::File(_) => {}
        }
    }
    all.retain(|_, rights| !rights.is_empty());
    all
}
