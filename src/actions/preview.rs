//! What an action would do: told before it is started, and once more at the head of its log.

use super::{Failed, Hands, Log, differences::differences, manifests};
use crate::{
    domain::{
        event::{CheckPhase, CheckResult, Verdict},
        native::{Native, PatchKind, Verb},
        redact::Redactor,
        runbook::System,
        text::Clean,
    },
    systems::kubernetes::{
        self,
        kinds::Place,
        workloads::{items, name},
    },
    values::Values,
};
use serde_json::Value;
use std::{path::Path, time::Duration};

/// How long it may take to learn what an action would do.
const PREVIEW: Duration = Duration::from_secs(8);

/// What an action would change and take along, without doing it: an apply or a patch as a dry run, a
/// deletion by what goes with it.
pub async fn preview(
    system: &System,
    words: &Value,
    values: &Values,
    folder: &Path,
    redactor: &Redactor,
) -> CheckResult {
    let started = tokio::time::Instant::now();
    let seen = tokio::time::timeout(PREVIEW, previewed(system, words, values, folder)).await;
    let (verdict, seen) = match seen {
        Ok(Ok(lines)) => (Verdict::Holds, lines.join("\n")),
        Ok(Err(failed)) => {
            let help = failed.help.map(|h| format!("\n{h}")).unwrap_or_default();
            (Verdict::CannotTell, format!("{}{help}", failed.said))
        }
        Err(_) => (Verdict::CannotTell, "no answer in time".to_owned()),
    };
    CheckResult {
        what: "what it would do".into(),
        phase: CheckPhase::Probe,
        verdict,
        expected: Clean::default(),
        seen: Clean::new(&redactor.text(&seen)),
        passed: verdict == Verdict::Holds,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        system: words["system"].as_str().map(str::to_owned),
        help: None,
    }
}

async fn previewed(
    system: &System,
    words: &Value,
    values: &Values,
    folder: &Path,
) -> Result<Vec<String>, Failed> {
    let native = Native::read(words).map_err(|f| Failed::helped(f.what, f.help))?;
    let mut cluster = kubernetes::connect(system, PREVIEW).await?;
    if let Some(namespace) = &native.namespace {
        cluster.namespace.clone_from(namespace);
    }
    let verb = native.verb.clone();
    let mut hands = Hands {
        cluster,
        log: Log {
            kept: Some(Vec::new()),
            ..Log::default()
        },
        limit: PREVIEW,
        native,
    };
    hands.show(&verb, values, folder).await?;
    Ok(hands.log.kept.unwrap_or_default())
}

impl Hands {
    /// Tells what a change would do; of most there is no more to say than what it is.
    async fn show(&mut self, verb: &Verb, values: &Values, folder: &Path) -> Result<(), Failed> {
        match verb {
            Verb::Apply(manifests) => {
                let objects = manifests::read(manifests, values, folder)?;
                self.show_manifests(&objects).await.map(|_| ())
            }
            Verb::Delete { what, .. } => self.show_deletion(what).await,
            Verb::Patch { what, how, body } => self.show_patch(what, *how, body).await,
            Verb::Scale { what, replicas } => self.show_scale(what, replicas).await,
            Verb::Restart { .. }
            | Verb::SetEnv { .. }
            | Verb::SetImage { .. }
            | Verb::Secret { .. }
            | Verb::Namespace { .. }
            | Verb::Exec { .. }
            | Verb::Copy { .. }
            | Verb::Job { .. }
            | Verb::Wait { .. } => Ok(()),
        }
    }

    pub(super) async fn show_deletion(&mut self, what: &str) -> Result<(), Failed> {
        let place = self.place(what).await?;
        match self.cluster.get(&self.path(&place)).await? {
            None => self.log.say(format!("{what} is not there")),
            Some(object) => {
                self.log.say(format!("{what} goes"));
                for line in self.goes_with(&place, &object).await? {
                    self.log.say(line);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn show_scale(&mut self, what: &str, replicas: &str) -> Result<(), Failed> {
        let object = self.object(&self.place(what).await?).await?;
        let now = object["spec"]["replicas"].as_i64().unwrap_or(1);
        self.log.say(format!("{what}: {now} → {replicas} replicas"));
        Ok(())
    }

    pub(super) async fn show_patch(
        &mut self,
        what: &str,
        how: PatchKind,
        body: &Value,
    ) -> Result<(), Failed> {
        let place = self.place(what).await?;
        self.patched(what, &place, "?dryRun=All", how, body).await
    }

    /// Which fields changed. Of a secret never what they hold.
    pub(super) fn changes(&mut self, what: &str, before: &Value, after: &Value) {
        let mut lines = Vec::new();
        differences(before, after, String::new(), &mut lines);
        if lines.is_empty() {
            self.log.say(format!("{what}: already so"));
        }
        for line in lines {
            let line = match (before["kind"] == "Secret", line.split_once(':')) {
                (true, Some((field, _))) => format!("{field} changes"),
                (_, _) => line,
            };
            self.log.say(line);
        }
    }

    /// What a deletion takes along: what it owns, what holds it, what becomes of the data.
    pub(super) async fn goes_with(
        &self,
        place: &Place,
        object: &Value,
    ) -> Result<Vec<String>, Failed> {
        let mut lines = Vec::new();
        let held = finalizers(object);
        if !held.is_empty() {
            lines.push(format!("finalizers: {}", held.join(", ")));
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let mut owned = Vec::new();
        for kind in [
            "pod",
            "replicaset",
            "job",
            "pvc",
            "secret",
            "configmap",
            "service",
        ] {
            let of = Place::of(&self.cluster, &format!("{kind}/x")).await?;
            let list = of.collection(&self.cluster.namespace);
            // Without the right to list a kind the others are still shown.
            let Ok(list) = self.cluster.get(&list).await else {
                continue;
            };
            for one in items(list) {
                let owners = one["metadata"]["ownerReferences"].as_array();
                if owners.into_iter().flatten().any(|o| o["uid"] == uid) {
                    owned.push(format!("{kind}/{}", name(&one)));
                }
            }
        }
        if !owned.is_empty() {
            lines.push(format!("goes with it: {}", owned.join(", ")));
        }
        let volume = match place.plural.as_str() {
            "persistentvolumeclaims" => object["spec"]["volumeName"].as_str(),
            _ => None,
        };
        if let Some(volume) = volume {
            let path = format!("/api/v1/persistentvolumes/{volume}");
            let policy = self.cluster.get(&path).await?;
            let policy = policy.and_then(|v| {
                Some(
                    v["spec"]["persistentVolumeReclaimPolicy"]
                        .as_str()?
                        .to_owned(),
                )
            });
            lines.push(match policy.as_deref() {
                Some("Retain") => format!("volume {volume}: Retain, its data stays"),
                Some(other) => format!("volume {volume}: {other}, ITS DATA GOES"),
                None => format!("volume {volume}: not there"),
            });
        }
        Ok(lines)
    }
}

pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let all = object["metadata"]["finalizers"].as_array();
    all.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
