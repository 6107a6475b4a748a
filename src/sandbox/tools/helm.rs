//! A stand-in for `helm`: charts of the drill, releases kept where the real one keeps them.

use super::{
    chart::{self, Chart, Rendered},
    release::{self, Kept},
};
use crate::{
    domain::units,
    sandbox::world::system,
    systems::{
        Trouble,
        kubernetes::{self, Body, Cluster, kinds::Place, workloads},
        tls,
    },
};
use http::Method;
use regex::Regex;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const SHORT: &[(&str, &str)] = &[
    ("-n", "namespace"),
    ("-f", "values"),
    ("-o", "output"),
    ("-a", "all"),
    ("-i", "install"),
];
/// Options that stand alone.
const FLAGS: &[&str] = &[
    "all",
    "install",
    "wait",
    "short",
    "create-namespace",
    "debug",
];
const WITH_VALUE: &[&str] = &[
    "namespace",
    "values",
    "output",
    "kube-context",
    "kubeconfig",
    "timeout",
    "filter",
];

pub(super) async fn run(words: &[String]) -> u8 {
    match answer(words).await {
        Ok(text) => {
            print!("{text}");
            0
        }
        Err(said) => {
            eprintln!("Error: {said}");
            1
        }
    }
}

/// A command line, taken apart: options may stand before the command as well.
struct Asked {
    words: Vec<String>,
    options: BTreeMap<String, Vec<String>>,
}

impl Asked {
    fn read(all: &[String]) -> Result<Self, String> {
        let (mut words, mut options) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
        let mut all = all.iter();
        while let Some(word) = all.next() {
            if !word.starts_with('-') {
                words.push(word.clone());
                continue;
            }
            let (name, given) = word
                .split_once('=')
                .map_or((word.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
            let long = SHORT
                .iter()
                .find(|(s, _)| *s == name)
                .map(|(_, l)| *l)
                .or_else(|| name.strip_prefix("--"));
            let values = match long {
                Some(long) if FLAGS.contains(&long) => Vec::new(),
                Some(long) if WITH_VALUE.contains(&long) => {
                    match given.or_else(|| all.next().cloned()) {
                        Some(value) => vec![value],
                        None => return Err(format!("flag needs an argument: {name}")),
                    }
                }
                _ => return Err(format!("unknown flag: {name}")),
            };
            options
                .entry(long.unwrap_or_default().to_owned())
                .or_default()
                .extend(values);
        }
        Ok(Self { words, options })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.options
            .get(name)
            .and_then(|v| v.last())
            .map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    fn namespace(&self) -> &str {
        self.get("namespace").unwrap_or("default")
    }

    fn release(&self) -> chart::Release<'_> {
        chart::Release {
            name: self.words.get(1).map_or("", String::as_str),
            namespace: self.namespace(),
            revision: 1,
        }
    }

    /// The chart that was named, and its templates with the values that were given.
    fn rendered(&self, revision: u64) -> Result<(Chart, Vec<Rendered>), String> {
        let files = self.options.get("values").cloned().unwrap_or_default();
        let chart = Chart::load(self.words.get(2).map_or("", String::as_str))?;
        let values = chart.values(&files)?;
        let of = chart::Release {
            revision,
            ..self.release()
        };
        let rendered = chart.rendered(&values, &of)?;
        Ok((chart, rendered))
    }
}

async fn answer(all: &[String]) -> Result<String, String> {
    let asked = Asked::read(all)?;
    let word = asked.words.first().map_or("", String::as_str);
    let wanted = |arguments: usize, usage: &str| match asked.words.len() == arguments + 1 {
        true => Ok(()),
        false => {
            let s = if arguments == 1 { "" } else { "s" };
            Err(format!(
                "\"helm {word}\" requires {arguments} argument{s}\n\nUsage:  helm {word} {usage} [flags]"
            ))
        }
    };
    match word {
        "" => Ok("helm: a stand-in of a drill; it knows what the runbooks use\n".to_owned()),
        "version" if asked.has("short") => Ok("v3.19.0\n".to_owned()),
        "version" => Ok("version.BuildInfo{Version:\"v3.19.0\", GitCommit:\"a stand-in of a drill\", GitTreeState:\"clean\", GoVersion:\"none\"}\n".to_owned()),
        "template" => {
            wanted(2, "[NAME] [CHART]")?;
            let (_, rendered) = asked.rendered(1)?;
            Ok(manifest(&rendered))
        }
        "list" | "ls" => list(&asked).await,
        "status" => {
            wanted(1, "RELEASE_NAME")?;
            status(&asked).await
        }
        "install" => {
            wanted(2, "[NAME] [CHART]")?;
            install(&asked).await.map_err(|e| format!("INSTALLATION FAILED: {e}"))
        }
        "upgrade" => {
            wanted(2, "[RELEASE] [CHART]")?;
            upgrade(&asked).await
        }
        other => Err(format!("unknown command \"{other}\" for \"helm\"\nRun 'helm --help' for usage.")),
    }
}

fn manifest(rendered: &[Rendered]) -> String {
    rendered
        .iter()
        .map(|r| format!("---\n# Source: {}\n{}\n", r.source, r.text.trim_end()))
        .collect()
}

/// The cluster, once it has answered.
async fn cluster(asked: &Asked) -> Result<Cluster, String> {
    let unreachable = |trouble: Trouble| {
        let why = trouble.to_string();
        match (
            asked.get("kube-context"),
            why.starts_with("the kubeconfig has no context"),
        ) {
            (Some(context), true) => {
                format!("Kubernetes cluster unreachable: context \"{context}\" does not exist")
            }
            _ => format!("Kubernetes cluster unreachable: {why}"),
        }
    };
    tls::install();
    let mut fields = vec![("namespace", asked.namespace().to_owned())];
    for (option, field) in [("kube-context", "context"), ("kubeconfig", "kubeconfig")] {
        fields.extend(asked.get(option).map(|value| (field, value.to_owned())));
    }
    let system = system("cluster", "kubernetes", &fields).map_err(|e| e.to_string())?;
    let cluster = kubernetes::connect(&system, Duration::from_secs(10))
        .await
        .map_err(unreachable)?;
    cluster.get("/version").await.map_err(unreachable)?;
    Ok(cluster)
}

async fn list(asked: &Asked) -> Result<String, String> {
    let filter = asked.get("filter").unwrap_or_default();
    let filter = Regex::new(filter).map_err(|e| format!("error parsing regexp: {e}"))?;
    let mut all = release::newest(&cluster(asked).await?).await?;
    all.retain(|r| {
        filter.is_match(&r.name)
            && (asked.has("all") || ["deployed", "failed"].contains(&r.status()))
    });
    let rows: Vec<Value> = all.iter().map(Kept::row).collect();
    if asked.get("output") == Some("json") {
        return Ok(format!("{}\n", Value::Array(rows)));
    }
    let mut out = "NAME\tNAMESPACE\tREVISION\tUPDATED\tSTATUS\tCHART\tAPP VERSION\n".to_owned();
    for row in &rows {
        let cells: Vec<&str> = row
            .as_object()
            .into_iter()
            .flat_map(|o| o.values())
            .filter_map(Value::as_str)
            .collect();
        out.push_str(&format!("{}\n", cells.join("\t")));
    }
    Ok(out)
}

async fn status(asked: &Asked) -> Result<String, String> {
    let all = release::newest(&cluster(asked).await?).await?;
    let name = asked.release().name;
    let found = all
        .into_iter()
        .find(|r| r.name == name)
        .ok_or("release: not found")?;
    Ok(match asked.get("output") {
        Some("json") => format!("{}\n", found.body),
        _ => found.told(),
    })
}

async fn install(asked: &Asked) -> Result<String, String> {
    let (chart, rendered) = asked.rendered(1)?;
    let cluster = cluster(asked).await?;
    let name = asked.release().name;
    if release::newest(&cluster)
        .await?
        .iter()
        .any(|r| r.name == name)
    {
        return Err("cannot re-use a name that is still in use".to_owned());
    }
    make(asked, &cluster, &chart, &rendered).await
}

async fn upgrade(asked: &Asked) -> Result<String, String> {
    let cluster = cluster(asked).await?;
    let name = asked.release().name;
    let before = release::newest(&cluster)
        .await?
        .into_iter()
        .find(|r| r.name == name);
    let Some(before) = before else {
        if !asked.has("install") {
            return Err(format!(
                "UPGRADE FAILED: \"{name}\" has no deployed releases"
            ));
        }
        println!("Release \"{name}\" does not exist. Installing it now.");
        let (chart, rendered) = asked.rendered(1)?;
        return make(asked, &cluster, &chart, &rendered).await;
    };
    let (chart, rendered) = asked.rendered(before.version + 1)?;
    let failed = |e: String| format!("UPGRADE FAILED: {e}");
    if before.status().starts_with("pending-") {
        return Err(failed(
            "another operation (install/upgrade/rollback) is in progress".to_owned(),
        ));
    }
    let mut kept = Kept::new(
        name,
        asked.namespace(),
        before.version + 1,
        "pending-upgrade",
        &chart,
        manifest(&rendered),
    );
    kept.began_as(&before);
    kept.write(&cluster).await?;
    match laid_out(asked, &cluster, name, &rendered).await {
        Ok(()) => {
            before
                .ended(&cluster, "superseded", "Upgrade complete")
                .await?;
            let done = kept.ended(&cluster, "deployed", "Upgrade complete").await?;
            Ok(format!(
                "Release \"{name}\" has been upgraded. Happy Helming!\n{}",
                done.told()
            ))
        }
        Err(e) => {
            kept.ended(
                &cluster,
                "failed",
                &format!("Upgrade \"{name}\" failed: {e}"),
            )
            .await?;
            Err(failed(e))
        }
    }
}

/// The first revision of a release.
async fn make(
    asked: &Asked,
    cluster: &Cluster,
    chart: &Chart,
    rendered: &[Rendered],
) -> Result<String, String> {
    let name = asked.release().name;
    if asked.has("create-namespace") {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": asked.namespace() } });
        apply(cluster, "", &namespace).await?;
    }
    for object in chart::objects(rendered) {
        must_be_ours(cluster, name, &object).await?;
    }
    let kept = Kept::new(
        name,
        asked.namespace(),
        1,
        "pending-install",
        chart,
        manifest(rendered),
    );
    kept.write(cluster).await?;
    match laid_out(asked, cluster, name, rendered).await {
        Ok(()) => Ok(kept
            .ended(cluster, "deployed", "Install complete")
            .await?
            .told()),
        Err(e) => {
            kept.ended(
                cluster,
                "failed",
                &format!("Release \"{name}\" failed: {e}"),
            )
            .await?;
            Err(e)
        }
    }
}

/// What somebody else has made is not taken over.
async fn must_be_ours(cluster: &Cluster, name: &str, object: &Value) -> Result<(), String> {
    let (place, kind) = (
        place(cluster, object).await?,
        object["kind"].as_str().unwrap_or_default(),
    );
    let there = cluster
        .get(&place.path(&cluster.namespace))
        .await
        .map_err(|e| e.to_string())?;
    let Some(there) = there else {
        return Ok(());
    };
    let metadata = &there["metadata"];
    let mut wrong = Vec::new();
    if metadata["labels"]["app.kubernetes.io/managed-by"] != "Helm" {
        wrong.push("label validation error: missing key \"app.kubernetes.io/managed-by\": must be set to \"Helm\"".to_owned());
    }
    for (key, wanted) in [
        ("meta.helm.sh/release-name", name),
        ("meta.helm.sh/release-namespace", cluster.namespace.as_str()),
    ] {
        if metadata["annotations"][key] != wanted {
            wrong.push(format!(
                "annotation validation error: missing key \"{key}\": must be set to \"{wanted}\""
            ));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "Unable to continue with install: {kind} \"{}\" in namespace \"{}\" exists and cannot be imported into the current release: invalid ownership metadata; {}",
            place.name,
            cluster.namespace,
            wrong.join("; ")
        )),
    }
}

async fn place(cluster: &Cluster, object: &Value) -> Result<Place, String> {
    let text = |at: &str| {
        object
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (kind, version) = (text("/kind").to_ascii_lowercase(), text("/apiVersion"));
    let found = Place::of(cluster, &format!("{kind}/{}", text("/metadata/name"))).await;
    found.map_err(|_| {
        format!("unable to build kubernetes objects from release manifest: resource mapping not found for name: \"{}\" namespace: \"\" from \"\": no matches for kind \"{}\" in version \"{version}\"", text("/metadata/name"), text("/kind"))
    })
}

/// Puts the objects into the cluster, and waits for them where that was asked.
async fn laid_out(
    asked: &Asked,
    cluster: &Cluster,
    name: &str,
    rendered: &[Rendered],
) -> Result<(), String> {
    let mut paths = Vec::new();
    for object in chart::objects(rendered) {
        paths.push(apply(cluster, name, &object).await?);
    }
    if !asked.has("wait") {
        return Ok(());
    }
    let timeout = asked.get("timeout").unwrap_or("5m");
    let timeout = units::duration(timeout).map_err(|_| format!("invalid argument \"{timeout}\" for \"--timeout\" flag: time: invalid duration \"{timeout}\""))?;
    let began = Instant::now();
    loop {
        let mut all = true;
        for path in &paths {
            let object = cluster
                .get(path)
                .await
                .map_err(|e| e.to_string())?
                .unwrap_or_default();
            all &= ready(&object);
        }
        if all {
            return Ok(());
        }
        if began.elapsed() > timeout {
            return Err("timed out waiting for the condition".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn ready(object: &Value) -> bool {
    match object["kind"].as_str().unwrap_or_default() {
        "Deployment" | "StatefulSet" | "DaemonSet" => workloads::rollout(object).good,
        "PersistentVolumeClaim" => object["status"]["phase"] == "Bound",
        "Pod" => workloads::state(object) == "ready",
        "" => false,
        _ => true,
    }
}

/// Applies one object as a part of a release; answers where it is.
async fn apply(cluster: &Cluster, release: &str, object: &Value) -> Result<String, String> {
    let place = place(cluster, object).await?;
    let mut object = object.clone();
    if place.namespaced() {
        object["metadata"]["namespace"] = json!(cluster.namespace);
    }
    if !release.is_empty() {
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
        object["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!(release);
        object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] =
            json!(cluster.namespace);
    }
    let path = place.path(&cluster.namespace);
    let sent = cluster
        .send(
            Method::PATCH,
            &format!("{path}?fieldManager=helm&force=true"),
            Body::Apply,
            &object,
        )
        .await;
    sent.map(|_| path)
        .map_err(|e| format!("failed to create resource: {}", release::message(&e)))
}
