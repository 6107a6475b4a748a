//! What of Arbitex lies outside its cluster: the checkout with its chart, at the commit that runs, and the
//! values of its Secret in Key Vault.

use super::{World, arbitex, platform::decoded};
use crate::sandbox::azure;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io, path::Path, process::Command};

pub(super) const KEY_VAULT: &str = "arbitex-prod-kv";
const CHART: &str = "charts/arbitex-platform";
const VERSION: &str = "2.14.0";

/// Sections of the values file, each with its keys.
type Values = BTreeMap<&'static str, BTreeMap<String, Value>>;

/// Makes both; answers the commit, as people write it.
pub(super) fn make(world: &World) -> io::Result<String> {
    let root = world.folder.at("home/arbitex");
    let templates = root.join(CHART).join("templates");
    fs::create_dir_all(&templates)?;
    let mut values = Values::new();
    for (path, object) in arbitex::workloads(world) {
        if path.ends_with("/secrets") {
            for (key, value) in decoded(&object) {
                // Names in Key Vault have no underscores.
                azure::vault::knows(world, KEY_VAULT, &key.replace('_', "-"), &value);
            }
            continue;
        }
        let object = template(&path, object, &mut values);
        write(&templates, &object)?;
    }
    for (claim, key) in [
        ("arbitex-redis-data", "redis"),
        ("arbitex-audit-buffer", "audit"),
        ("arbitex-db-backup", "backup"),
    ] {
        write(&templates, &claimed(claim, key, &mut values))?;
    }
    let chart = format!(
        "apiVersion: v2\nname: arbitex-platform\ndescription: The Arbitex platform\ntype: application\nversion: {VERSION}\nappVersion: \"{VERSION}\"\n"
    );
    fs::write(root.join(CHART).join("Chart.yaml"), chart)?;
    fs::write(root.join("values-prod.yaml"), written(&values))?;
    fs::write(
        root.join("README.md"),
        "# Arbitex\n\nThe chart of the platform, and its values for production.\n",
    )?;
    git(&root, &["init", "--quiet"])?;
    git(&root, &["add", "."])?;
    git(&root, &["commit", "--quiet", "-m", "Platform 2.14.0"])?;
    git(&root, &["rev-parse", "--short=8", "HEAD"])
}

/// An object as a template: what the values decide stands between braces, and in the values.
fn template(path: &str, mut object: Value, values: &mut Values) -> Value {
    let (base, plural) = path.split_once("/namespaces/").unwrap_or((path, ""));
    let kind = match plural.rsplit('/').next().unwrap_or_default() {
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        "cronjobs" => "CronJob",
        "ingresses" => "Ingress",
        _ => "Service",
    };
    let version = base
        .trim_start_matches("/apis/")
        .trim_start_matches("/api/");
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches("arbitex-")
        .to_owned();
    let mut moved = |at: &str, section: &'static str, key: &str| {
        if let Some(place) = object.pointer_mut(at) {
            let marked = mark(&format!(".Values.{section}.{key}"), place.is_string());
            let value = std::mem::replace(place, json!(marked));
            values
                .entry(section)
                .or_default()
                .insert(key.to_owned(), value);
        }
    };
    moved("/spec/replicas", "replicas", &name);
    moved("/spec/rules/0/host", "ingress", "host");
    let image = if kind == "StatefulSet" {
        "redis"
    } else {
        "platform"
    };
    moved("/spec/template/spec/containers/0/image", "images", image);
    moved(
        "/spec/jobTemplate/spec/template/spec/containers/0/image",
        "images",
        "dump",
    );
    moved("/spec/schedule", "backup", "schedule");
    with_kind(version, kind, &object)
}

fn with_kind(version: &str, kind: &str, object: &Value) -> Value {
    let mut out = json!({ "apiVersion": version, "kind": kind });
    for (key, value) in object.as_object().into_iter().flatten() {
        out[key] = value.clone();
    }
    out
}

/// A claim: on a volume that the values name, or else on a new one.
fn claimed(claim: &str, key: &str, values: &mut Values) -> Value {
    values
        .entry("volumes")
        .or_default()
        .insert(key.to_owned(), json!(""));
    let storage = values.entry("storage").or_default();
    storage.insert("class".to_owned(), json!("managed"));
    storage.insert("size".to_owned(), json!("4Gi"));
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": mark(".Values.storage.class", true),
        "volumeName": mark(&format!(".Values.volumes.{key}"), true), "resources": { "requests": { "storage": mark(".Values.storage.size", true) } } });
    with_kind(
        "v1",
        "PersistentVolumeClaim",
        &json!({ "metadata": { "name": claim }, "spec": spec }),
    )
}

/// What becomes an expression between braces when the template is written.
fn mark(expression: &str, quoted: bool) -> String {
    match quoted {
        true => format!("@@{expression} | quote@@"),
        false => format!("@@{expression}@@"),
    }
}

fn write(folder: &Path, object: &Value) -> io::Result<()> {
    let text = |key: &Value| key.as_str().unwrap_or_default().to_lowercase();
    let file = format!(
        "{}-{}.yaml",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    );
    // JSON is YAML, too; a mark goes together with its quotes.
    let all = serde_json::to_string_pretty(object)?
        .replace("\"@@", "{{ ")
        .replace("@@\"", " }}");
    fs::write(folder.join(file), all + "\n")
}

fn written(values: &Values) -> String {
    let mut out = "# Values for production.\n".to_owned();
    for (section, all) in values {
        out.push_str(&format!("{section}:\n"));
        for (key, value) in all {
            out.push_str(&format!("  {key}: {value}\n"));
        }
    }
    out
}

/// Git in a folder of the sandbox, whatever this machine has configured.
pub(super) fn git(folder: &Path, words: &[&str]) -> io::Result<String> {
    let mut git = Command::new("git");
    git.args([
        "-c",
        "user.name=Sandbox",
        "-c",
        "user.email=sandbox@localhost",
        "-c",
        "commit.gpgsign=false",
    ]);
    git.args([
        "-c",
        "init.defaultBranch=main",
        "-c",
        "core.hooksPath=/dev/null",
    ]);
    let done = git.args(words).current_dir(folder).output();
    let done = done.map_err(|e| io::Error::other(format!("git: {e} (apt-get install git)")))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(io::Error::other(format!(
            "git {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&done.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_values_decide_is_in_them_and_no_longer_in_the_template() {
        let mut values = Values::new();
        let object = json!({ "metadata": { "name": "arbitex-cloud" }, "spec": { "replicas": 2, "template": { "spec": { "containers": [{ "image": "a/b:1" }] } } } });
        let made = template(
            "/apis/apps/v1/namespaces/arbitex/deployments",
            object,
            &mut values,
        );
        assert_eq!(made["apiVersion"], "apps/v1");
        assert_eq!(made["kind"], "Deployment");
        assert_eq!(made["spec"]["replicas"], "@@.Values.replicas.cloud@@");
        assert_eq!(
            made["spec"]["template"]["spec"]["containers"][0]["image"],
            "@@.Values.images.platform | quote@@"
        );
        assert_eq!(
            written(&values),
            "# Values for production.\nimages:\n  platform: \"a/b:1\"\nreplicas:\n  cloud: 2\n"
        );
    }
}
