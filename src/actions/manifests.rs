//! Manifests, applied server-side: first for show, then for real.

use super::{Failed, Hands, Order, differences::differences};
use crate::{
    domain::{native::Manifests, yaml},
    systems::kubernetes::{Body, kinds::Place, workloads::query},
    values::Values,
};
use http::Method;
use serde_json::Value;
use std::path::Path;

impl Hands {
    pub(super) async fn apply(
        &mut self,
        manifests: &Manifests,
        order: &Order,
    ) -> Result<(), Failed> {
        let objects = read(manifests, &order.values, &order.folder)?;
        let places = self.show_manifests(&objects).await?;
        for (path, object) in &places {
            self.put(path, object, false).await?;
            self.log.say(format!("{}: applied", label(object)));
        }
        for (_, object) in &places {
            let kind = object["kind"].as_str().unwrap_or_default();
            if ["Deployment", "StatefulSet", "DaemonSet"].contains(&kind) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let what = format!("{}/{name}", kind.to_ascii_lowercase());
                let place = Place::of(&self.cluster, &what).await?;
                let own = object["metadata"]["namespace"].as_str();
                let before = self.cluster.namespace.clone();
                if let Some(own) = own {
                    own.clone_into(&mut self.cluster.namespace);
                }
                let waited = self.rolled_out(&place).await;
                self.cluster.namespace = before;
                waited?;
            }
        }
        Ok(())
    }

    /// Applied as a dry run, and what would change; each object with its place.
    pub(super) async fn show_manifests<'o>(
        &mut self,
        objects: &'o [Value],
    ) -> Result<Vec<(String, &'o Value)>, Failed> {
        let mut places = Vec::new();
        for object in objects {
            places.push((self.place_of(object).await?, object));
        }
        // All of it for show first: what would be refused is refused before anything is changed.
        for (path, object) in &places {
            let named = label(object);
            let before = self.cluster.get(path).await?.unwrap_or(Value::Null);
            let dry = match self.put(path, object, true).await {
                Ok(dry) => dry,
                // Its namespace is made by one of the objects before it.
                Err(kube::Error::Api(status))
                    if status.code == 404 && makes_namespace(objects, object) =>
                {
                    self.log.say(format!("{named}: new, in a new namespace"));
                    continue;
                }
                Err(e) => {
                    let failed = Failed::from(e);
                    return Err(Failed {
                        said: format!(
                            "{named} would be refused, nothing was changed: {}",
                            failed.said
                        ),
                        help: failed.help,
                        unknown: false,
                    });
                }
            };
            let mut lines = Vec::new();
            if before.is_null() {
                self.log.say(format!("{named}: new"));
                continue;
            }
            let hidden = object["kind"] == "Secret";
            differences(&before, &dry, String::new(), &mut lines);
            if lines.is_empty() {
                self.log.say(format!("{named}: already so"));
            }
            for line in lines {
                let line = match (hidden, line.split_once(':')) {
                    (true, Some((field, _))) => format!("{field} changes"),
                    _ => line,
                };
                self.log.say(format!("{named}: {line}"));
            }
        }
        Ok(places)
    }

    async fn put(&self, path: &str, object: &Value, dry: bool) -> Result<Value, kube::Error> {
        let mut at = format!("{path}?fieldManager={}", query("blackstart"));
        if self.native.force {
            at.push_str("&force=true");
        }
        if dry {
            at.push_str("&dryRun=All");
        }
        self.cluster
            .send(Method::PATCH, &at, Body::Apply, object)
            .await
    }

    async fn place_of(&self, object: &Value) -> Result<String, Failed> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if kind.is_empty() || version.is_empty() || name.is_empty() {
            return Err(Failed::helped(
                "a manifest lacks apiVersion, kind or metadata.name",
                "each object needs all three",
            ));
        }
        let list = match version.contains('/') {
            true => format!("/apis/{version}"),
            false => format!("/api/{version}"),
        };
        let served = self.cluster.get(&list).await?.ok_or_else(|| {
            Failed::helped(
                format!("the cluster does not serve {version}"),
                "is the custom resource definition installed? is the version gone?",
            )
        })?;
        let resources = served["resources"].as_array().into_iter().flatten();
        let mut fitting = resources.filter(|r| {
            let plural = r["name"].as_str().unwrap_or("/");
            r["kind"] == kind && !plural.contains('/')
        });
        let Some(resource) = fitting.next() else {
            return Err(Failed::new(format!(
                "the cluster has no kind {kind} in {version}"
            )));
        };
        let plural = resource["name"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str();
        let namespace = namespace.unwrap_or(&self.cluster.namespace);
        Ok(match resource["namespaced"] == true {
            true => format!("{list}/namespaces/{namespace}/{plural}/{name}"),
            false => format!("{list}/{plural}/{name}"),
        })
    }
}

fn label(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{}/{name}", kind.to_ascii_lowercase())
}

fn makes_namespace(all: &[Value], object: &Value) -> bool {
    let wanted = &object["metadata"]["namespace"];
    all.iter()
        .any(|o| o["kind"] == "Namespace" && o["metadata"]["name"] == *wanted)
}

pub(super) fn read(
    manifests: &Manifests,
    values: &Values,
    folder: &Path,
) -> Result<Vec<Value>, Failed> {
    let text = match manifests {
        Manifests::Inline(all) => return Ok(all.iter().flat_map(flat).collect()),
        Manifests::Text(text) => text.clone(),
        Manifests::File(file) => {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).map_err(|e| {
                Failed::helped(
                    format!("{}: {e}", path.display()),
                    "the path is seen from the folder of the runbook",
                )
            })?;
            values
                .fill(&text)
                .map_err(|missing| Failed::new(format!("{}: {missing}", path.display())))?
        }
    };
    let mut all = Vec::new();
    for part in parts(&text) {
        let read = yaml::read(part.as_bytes()).map_err(|finding| {
            Failed::new(format!("the manifest cannot be read: {}", finding.message))
        })?;
        all.extend(flat(&read.to_json()));
    }
    if all.is_empty() {
        return Err(Failed::new("there is no object in the manifest"));
    }
    Ok(all)
}

/// The objects of a list; of anything else, itself.
fn flat(object: &Value) -> Vec<Value> {
    match object["kind"].as_str() {
        Some(kind) if kind.ends_with("List") => {
            object["items"].as_array().cloned().unwrap_or_default()
        }
        _ => vec![object.clone()],
    }
}

/// The documents of a file, between lines of `---`.
fn parts(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let says = |p: &String| {
        p.lines()
            .any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
    };
    all.retain(says);
    all
}
