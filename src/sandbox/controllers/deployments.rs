//! Deployments: a replica set for each template, and the way from one to the next.

use super::{
    Seen,
    hand::Hand,
    objects::{
        DEPLOYMENT, REPLICA_SET, active, annotation, available, canonical, conditions, count,
        created, finished, going, hash, name, namespace, number, orphan_of, owned_by, ready,
        seconds_since, set, text, uid,
    },
    rollout::{Size, Wish, step},
};
use crate::systems::kubernetes::workloads::condition;
use serde_json::{Map, Value, json};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
const CAUSE: &str = "kubernetes.io/change-cause";

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    for deployment in &seen.deployments {
        if !going(deployment) {
            tend(hand, seen, deployment).await;
        }
    }
}

/// The same template, the label apart that replica sets add to it?
fn made_from(set: &Value, template: &Value) -> bool {
    let mut own = set["spec"]["template"].clone();
    if let Some(labels) = own["metadata"]["labels"].as_object_mut() {
        labels.shift_remove(HASH);
    }
    canonical(&own) == canonical(template)
}

fn revision(set: &Value) -> i64 {
    annotation(set, REVISION).parse().unwrap_or(0)
}

fn asked(set: &Value) -> i64 {
    number(&set["spec"]["replicas"], 1)
}

/// What is counted of the pods of all replica sets.
#[derive(Default)]
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    asked: i64,
}

async fn tend(hand: &Hand, seen: &Seen, object: &Value) {
    let orphans = seen.replicasets.iter();
    let orphans: Vec<&Value> = orphans.filter(|r| orphan_of(r, object)).collect();
    if !orphans.is_empty() {
        hand.adopt(&DEPLOYMENT, object, &REPLICA_SET, orphans).await;
        return;
    }
    let wish = Wish::of(object);
    let template = &object["spec"]["template"];
    let mut own: Vec<&Value> = seen.replicasets.iter().collect();
    own.retain(|r| owned_by(r, uid(object)) && !going(r));
    own.sort_by_key(|r| (revision(r), created(r).to_owned()));
    let new = own.iter().copied().find(|r| made_from(r, template));
    let mut old = own.clone();
    old.retain(|r| new.is_none_or(|n| uid(n) != uid(r)));
    let least = number(&object["spec"]["minReadySeconds"], 0);
    let size = |set: &Value| {
        let pods = seen.pods_of(uid(set));
        let serving = pods.iter().filter(|p| available(p, least)).count();
        Size {
            asked: asked(set),
            available: count(serving),
        }
    };
    let mut made = None;
    if wish.paused {
        paused(hand, object, &own, &wish).await;
    } else {
        let none = Size {
            asked: 0,
            available: 0,
        };
        let olds: Vec<Size> = old.iter().map(|s| size(s)).collect();
        let now = new.map_or(none, size);
        let (to, shrunk) = match wish.recreate {
            true => again(seen, &wish, now, &old),
            false => step(&wish, now, &olds),
        };
        let last = old.iter().map(|s| revision(s)).max().unwrap_or(0);
        match new {
            Some(set) => {
                number_it(hand, object, set, last + 1).await;
                scale(hand, object, set, to, &wish).await;
            }
            None if wish.recreate && still_there(seen, &old) => {}
            None => made = make(hand, object, last + 1, to, &wish).await,
        }
        for (set, to) in old.iter().zip(shrunk) {
            scale(hand, object, set, to, &wish).await;
        }
    }
    let mut counts = Counts::default();
    for set in &own {
        let pods = seen.pods_of(uid(set));
        let pods: Vec<&Value> = pods.into_iter().filter(|p| active(p)).collect();
        counts.replicas += count(pods.len());
        counts.ready += count(pods.iter().filter(|p| ready(p)).count());
        counts.available += count(pods.iter().filter(|p| available(p, least)).count());
        counts.asked += asked(set);
        if new.is_some_and(|n| uid(n) == uid(set)) {
            counts.updated += count(pods.len());
        }
    }
    let named = new.map(|n| name(n).to_owned());
    let all = judged(object, &wish, &counts, named, made, &own);
    status(hand, object, &counts, all).await;
    if !wish.paused && new.is_some() && complete(&wish, &counts) {
        forget(hand, seen, object, &old).await;
    }
}

/// The sizes when all old pods must be gone before there is a new one.
fn again(seen: &Seen, wish: &Wish, new: Size, old: &[&Value]) -> (i64, Vec<i64>) {
    let to = if still_there(seen, old) {
        new.asked.min(wish.wanted)
    } else {
        wish.wanted
    };
    (to, vec![0; old.len()])
}

/// Are there pods of old replica sets, ending ones included?
fn still_there(seen: &Seen, old: &[&Value]) -> bool {
    old.iter()
        .any(|set| asked(set) > 0 || seen.pods_of(uid(set)).into_iter().any(|p| !finished(p)))
}

/// While it is paused only its number of pods is followed.
async fn paused(hand: &Hand, object: &Value, own: &[&Value], wish: &Wish) {
    let running: Vec<&Value> = own.iter().copied().filter(|s| asked(s) > 0).collect();
    let only = match running[..] {
        [] => own.last().copied(),
        [one] => Some(one),
        _ => None,
    };
    if let Some(set) = only {
        scale(hand, object, set, wish.wanted, wish).await;
    }
}

async fn scale(hand: &Hand, object: &Value, set: &Value, to: i64, wish: &Wish) {
    let from = asked(set);
    if from == to {
        return;
    }
    let notes = notes(wish);
    let body = json!({ "metadata": { "annotations": notes }, "spec": { "replicas": to } });
    if hand.patch(&REPLICA_SET, set, &body).await {
        let way = if to > from { "up" } else { "down" };
        let said = format!("Scaled {way} replica set {} from {from} to {to}", name(set));
        hand.tell(&DEPLOYMENT, object, "ScalingReplicaSet", &said)
            .await;
    }
}

fn notes(wish: &Wish) -> Map<String, Value> {
    let mut notes = Map::new();
    notes.insert(DESIRED.to_owned(), wish.wanted.to_string().into());
    let most = (wish.wanted + wish.surge).to_string();
    notes.insert(MOST.to_owned(), most.into());
    notes
}

/// Gives a replica set, and the deployment with it, the number of its revision.
async fn number_it(hand: &Hand, object: &Value, set: &Value, next: i64) {
    let own = revision(set).max(next).to_string();
    let note = |object: &Value| {
        let mut notes = Map::new();
        if annotation(object, REVISION) != own {
            notes.insert(REVISION.to_owned(), own.as_str().into());
        }
        notes
    };
    let mut notes = note(set);
    let cause = annotation(object, CAUSE);
    if !cause.is_empty() && annotation(set, CAUSE) != cause {
        notes.insert(CAUSE.to_owned(), cause.into());
    }
    if !notes.is_empty() {
        let body = json!({ "metadata": { "annotations": notes } });
        hand.patch(&REPLICA_SET, set, &body).await;
    }
    let notes = note(object);
    if !notes.is_empty() {
        let body = json!({ "metadata": { "annotations": notes } });
        hand.patch(&DEPLOYMENT, object, &body).await;
    }
}

/// Makes the replica set of the newest template; its name.
async fn make(hand: &Hand, object: &Value, next: i64, size: i64, wish: &Wish) -> Option<String> {
    let spec = &object["spec"];
    let hash = hash(&spec["template"]);
    let named = format!("{}-{hash}", name(object));
    let mut template = spec["template"].clone();
    template["metadata"]["labels"][HASH] = hash.as_str().into();
    let mut selector = spec["selector"].clone();
    selector["matchLabels"][HASH] = hash.as_str().into();
    let mut notes = notes(wish);
    notes.insert(REVISION.to_owned(), next.to_string().into());
    let cause = annotation(object, CAUSE);
    if !cause.is_empty() {
        notes.insert(CAUSE.to_owned(), cause.into());
    }
    let body = json!({
        "metadata": {
            "name": named,
            "labels": template["metadata"]["labels"],
            "annotations": notes,
            "ownerReferences": [DEPLOYMENT.owner_reference(object)],
        },
        "spec": {
            "replicas": size,
            "minReadySeconds": number(&spec["minReadySeconds"], 0),
            "selector": selector,
            "template": template,
        },
    });
    match hand.create(&REPLICA_SET, namespace(object), body).await {
        Ok(made) => {
            let body = json!({ "metadata": { "annotations": { REVISION: next.to_string() } } });
            hand.patch(&DEPLOYMENT, object, &body).await;
            let said = format!("Scaled up replica set {named} from 0 to {size}");
            hand.tell(&DEPLOYMENT, object, "ScalingReplicaSet", &said)
                .await;
            Some(name(&made).to_owned())
        }
        Err(refusal) => {
            if !refusal.ends() && refusal.code != 409 {
                let said = format!(
                    "Failed to create new replica set \"{named}\": {}",
                    refusal.message
                );
                hand.warn(&DEPLOYMENT, object, "ReplicaSetCreateError", &said)
                    .await;
            }
            None
        }
    }
}

fn complete(wish: &Wish, counts: &Counts) -> bool {
    counts.updated == wish.wanted
        && counts.replicas == wish.wanted
        && counts.available == wish.wanted
}

/// The conditions that a deployment has by now.
fn judged(
    object: &Value,
    wish: &Wish,
    counts: &Counts,
    new: Option<String>,
    made: Option<String>,
    own: &[&Value],
) -> Vec<Value> {
    let mut all = conditions(object);
    let enough = counts.available >= wish.wanted - wish.unavailable;
    let (word, reason, said) = match enough {
        true => (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        ),
        false => (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        ),
    };
    put(&mut all, "Available", (word, reason, said), false);
    let failure = own.iter().find_map(|s| condition(s, "ReplicaFailure"));
    match failure {
        Some(why) => {
            let said = text(why, "/message");
            put(
                &mut all,
                "ReplicaFailure",
                ("True", "FailedCreate", said),
                false,
            );
        }
        None => all.retain(|c| c["type"] != "ReplicaFailure"),
    }
    let held = condition(object, "Progressing");
    let reason = held.map_or("", |c| text(c, "/reason"));
    if wish.paused {
        if reason != "ProgressDeadlineExceeded" {
            let word = ("Unknown", "DeploymentPaused", "Deployment is paused");
            put(&mut all, "Progressing", word, false);
        }
        return all;
    }
    let status = &object["status"];
    let was = |key: &str| number(&status[key], 0);
    let moved = counts.updated > was("updatedReplicas")
        || counts.replicas - counts.updated < was("replicas") - was("updatedReplicas")
        || counts.ready > was("readyReplicas")
        || counts.available > was("availableReplicas");
    let limit = number(&object["spec"]["progressDeadlineSeconds"], 600);
    let last = held.map_or("", |c| text(c, "/lastUpdateTime"));
    let late = seconds_since(last).is_some_and(|s| s > limit);
    let whose = new.clone().map_or_else(
        || format!("Deployment \"{}\"", name(object)),
        |n| format!("ReplicaSet \"{n}\""),
    );
    let (word, force) = if let Some(made) = made {
        let said = format!("Created new replica set \"{made}\"");
        (("True", "NewReplicaSetCreated", said), true)
    } else if counts.replicas == counts.updated && reason == "NewReplicaSetAvailable" {
        return all;
    } else if new.is_some() && complete(wish, counts) {
        let said = format!("{whose} has successfully progressed.");
        (("True", "NewReplicaSetAvailable", said), false)
    } else if moved {
        let said = format!("{whose} is progressing.");
        (("True", "ReplicaSetUpdated", said), true)
    } else if reason == "DeploymentPaused" {
        let said = "Deployment is resumed".to_owned();
        (("Unknown", "DeploymentResumed", said), true)
    } else if let (None, Some(new)) = (held, new) {
        let said = format!("Found new replica set \"{new}\"");
        (("True", "FoundNewReplicaSet", said), true)
    } else if late && reason != "NewReplicaSetAvailable" {
        let said = format!("{whose} has timed out progressing.");
        (("False", "ProgressDeadlineExceeded", said), false)
    } else {
        return all;
    };
    let word = (word.0, word.1, word.2.as_str());
    put(&mut all, "Progressing", word, force);
    all
}

/// Sets a condition (status, reason, message); with `force`, the time of its update too when it is the same.
fn put(all: &mut Vec<Value>, kind: &str, word: (&str, &str, &str), force: bool) {
    if set(all, kind, word.0, word.1, word.2) || force {
        let now = super::objects::now();
        if let Some(held) = all.iter_mut().find(|c| c["type"] == kind) {
            held["lastUpdateTime"] = now.into();
        }
    }
}

async fn status(hand: &Hand, object: &Value, counts: &Counts, all: Vec<Value>) {
    let wanted = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": counts.replicas,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": (counts.asked - counts.available).max(0),
        "conditions": all,
    });
    hand.status(&DEPLOYMENT, object, wanted).await;
}

/// Deletes the oldest of those replica sets that nothing will go back to.
async fn forget(hand: &Hand, seen: &Seen, object: &Value, old: &[&Value]) {
    let limit = number(&object["spec"]["revisionHistoryLimit"], 10).max(0);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let idle: Vec<&Value> = old
        .iter()
        .copied()
        .filter(|s| asked(s) == 0 && seen.pods_of(uid(s)).is_empty())
        .collect();
    for set in idle.iter().take(old.len().saturating_sub(limit)) {
        hand.delete(&REPLICA_SET, set).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_the_hash_is_not_the_template() {
        let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "a": 1 } });
        let mut own = template.clone();
        own["metadata"]["labels"][HASH] = "x".into();
        own["metadata"]["creationTimestamp"] = Value::Null;
        let set = json!({ "spec": { "template": own } });
        assert!(made_from(&set, &template));
        let other = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "a": 2 } });
        assert!(!made_from(&set, &other));
    }

    #[test]
    fn no_progress_for_too_long() {
        let object = json!({
            "metadata": { "name": "web" },
            "spec": { "replicas": 1, "progressDeadlineSeconds": 5 },
            "status": { "replicas": 1, "updatedReplicas": 1, "conditions": [{
                "type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
                "message": "", "lastUpdateTime": "2020-01-01T00:00:00Z",
            }] },
        });
        let counts = Counts {
            replicas: 1,
            updated: 1,
            asked: 1,
            ..Counts::default()
        };
        let new = Some("web-1".to_owned());
        let all = judged(&object, &Wish::of(&object), &counts, new, None, &[]);
        let held = all.iter().find(|c| c["type"] == "Progressing");
        assert_eq!(
            held.map_or("", |c| text(c, "/reason")),
            "ProgressDeadlineExceeded"
        );
    }
}
