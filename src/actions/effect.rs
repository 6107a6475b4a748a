//! Waiting for an effect, and telling what it waits for.

use super::{Failed, Hands};
use crate::systems::{
    Trouble,
    kubernetes::{
        Cluster,
        kinds::Place,
        workloads::{self, items, name, query},
    },
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(1);

/// What one look at an effect found.
pub(super) enum Look {
    Done(String),
    Waiting(String),
    /// It will not come by waiting.
    Failed(String, String),
}

impl Hands {
    /// Looks until it is done. An API server that does not answer is said, and looked at again.
    pub(super) async fn until(
        &mut self,
        mut look: impl AsyncFnMut(&Cluster) -> Result<Look, Trouble>,
    ) -> Result<(), Failed> {
        if !self.native.wait {
            return Ok(());
        }
        let end = Instant::now() + self.limit;
        let mut last = String::new();
        loop {
            match look(&self.cluster).await {
                Ok(Look::Done(said)) => {
                    self.log.say(said);
                    return Ok(());
                }
                Ok(Look::Failed(said, help)) => return Err(Failed::helped(said, help)),
                Ok(Look::Waiting(said)) => {
                    self.log.say(said.clone());
                    last = said;
                }
                Err(trouble) => self
                    .log
                    .say(format!("cannot look: {trouble}; looking again")),
            }
            if Instant::now() >= end {
                return Err(Failed::helped(
                    format!(
                        "not there after {}: {last}",
                        humantime::format_duration(self.limit)
                    ),
                    "the change is made; `timeout:` says how long to wait for its effect",
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until every replica of the newest revision has taken over.
    pub(super) async fn rolled_out(&mut self, place: &Place) -> Result<(), Failed> {
        let (what, kind) = (place.name.clone(), place.plural.clone());
        if !["deployments", "statefulsets", "daemonsets"].contains(&kind.as_str()) {
            return Ok(());
        }
        let path = place.path(&self.cluster.namespace);
        self.until(async |cluster| {
            let Some(object) = cluster.get(&path).await? else {
                return Ok(Look::Failed(
                    format!("{what} is not there any more"),
                    String::new(),
                ));
            };
            if object["spec"]["paused"] == true {
                return Ok(Look::Failed(
                    format!("{what} is paused: nothing is rolled out"),
                    format!("kubectl rollout resume {kind}/{what}"),
                ));
            }
            let state = workloads::rollout(&object);
            if state.good {
                let none_left = match object["spec"]["replicas"] == 0 {
                    true => pods_left(cluster, &object).await?,
                    false => None,
                };
                return Ok(match none_left {
                    Some(left) => Look::Waiting(left),
                    None => Look::Done(state.text),
                });
            }
            let why = reasons(cluster, &object).await?;
            let said = match why.is_empty() {
                true => state.text,
                false => format!("{}; {}", state.text, why.join("; ")),
            };
            Ok(match said.contains("stuck: ") {
                true => Look::Failed(said, "look at its pods: kubectl describe pod".to_owned()),
                false => Look::Waiting(said),
            })
        })
        .await
    }
}

/// Pods that still end: until they are gone, they write and hold their volumes.
async fn pods_left(cluster: &Cluster, object: &Value) -> Result<Option<String>, Trouble> {
    let Some(selector) = workloads::selector(object) else {
        return Ok(None);
    };
    let pods = workloads::pods_of(cluster, &selector).await?;
    let names: Vec<&str> = pods.iter().map(name).collect();
    Ok((!names.is_empty()).then(|| format!("still ending: {}", names.join(", "))))
}

/// Of each pod that is not ready, why.
async fn reasons(cluster: &Cluster, object: &Value) -> Result<Vec<String>, Trouble> {
    let Some(selector) = workloads::selector(object) else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    for pod in workloads::pods_of(cluster, &selector).await? {
        let state = workloads::state(&pod);
        if state == "ready" || state == "completed" {
            continue;
        }
        let mut said = format!("{}: {state}", name(&pod));
        if state.starts_with("CrashLoopBackOff") {
            if let Some(last) = last_words(cluster, &pod).await {
                said.push_str(&format!(" — its last words: {last}"));
            }
        } else if let Some(event) = last_warning(cluster, &pod).await?
            && !state.contains('(')
        {
            said.push_str(&format!(" ({event})"));
        }
        out.push(said);
    }
    Ok(out)
}

/// What the container before this one said last.
async fn last_words(cluster: &Cluster, pod: &Value) -> Option<String> {
    let all = pod["status"]["containerStatuses"].as_array()?;
    let waiting = all.iter().find(|c| c["state"]["waiting"].is_object())?;
    let container = waiting["name"].as_str()?;
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?container={}&previous=true&tailLines=3",
        cluster.namespace,
        name(pod),
        query(container)
    );
    let text = cluster.text(&path).await.ok()?;
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join(" / "))
}

async fn last_warning(cluster: &Cluster, pod: &Value) -> Result<Option<String>, Trouble> {
    let path = format!(
        "/api/v1/namespaces/{}/events?fieldSelector={}",
        cluster.namespace,
        query(&format!("involvedObject.name={},type=Warning", name(pod)))
    );
    let events = items(cluster.get(&path).await?);
    let last = events.iter().max_by_key(|e| {
        let at = e["lastTimestamp"].as_str().or(e["eventTime"].as_str());
        at.unwrap_or_default().to_owned()
    });
    Ok(last.map(|e| {
        let (reason, message) = (e["reason"].as_str(), e["message"].as_str());
        format!(
            "{}: {}",
            reason.unwrap_or("Warning"),
            message.unwrap_or_default()
        )
    }))
}
