//! Replica sets: as many pods of one template as are asked for.

use super::{
    Seen,
    hand::{Hand, Refusal},
    objects::{
        POD, REPLICA_SET, active, available, conditions, count, created, going, is_true, name,
        namespace, number, orphan_of, pod, ready, selects, set, text, uid,
    },
};
use serde_json::{Value, json};
use std::cmp::Reverse;

/// No more pods than this are made or deleted in one round.
const BURST: usize = 50;

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    for set in &seen.replicasets {
        if !going(set) {
            tend(hand, seen, set).await;
        }
    }
}

async fn tend(hand: &Hand, seen: &Seen, object: &Value) {
    let orphans = seen.pods.iter();
    let orphans: Vec<&Value> = orphans
        .filter(|p| active(p) && orphan_of(p, object))
        .collect();
    if !orphans.is_empty() {
        // They are counted in the next round.
        hand.adopt(&REPLICA_SET, object, &POD, orphans).await;
        return;
    }
    let mut own: Vec<&Value> = seen.pods_of(uid(object));
    own.retain(|p| active(p));
    let wanted = number(&object["spec"]["replicas"], 1).max(0);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let mut refused = None;
    if own.len() < wanted {
        for _ in 0..(wanted - own.len()).min(BURST) {
            if let Err(refusal) = make(hand, object).await {
                refused = Some(refusal);
                break;
            }
        }
    } else if own.len() > wanted {
        own.sort_by_key(|p| worth(p));
        let many = (own.len() - wanted).min(BURST);
        for pod in own.iter().take(many) {
            if hand.delete(&POD, pod).await {
                let said = format!("Deleted pod: {}", name(pod));
                hand.tell(&REPLICA_SET, object, "SuccessfulDelete", &said)
                    .await;
            }
        }
    }
    status(hand, object, &own, own.len() < wanted, refused).await;
}

/// Pods of little worth are deleted first: without a node, not running, not ready, young.
fn worth(pod: &Value) -> (bool, bool, bool, Reverse<String>) {
    (
        !text(pod, "/spec/nodeName").is_empty(),
        text(pod, "/status/phase") == "Running",
        is_true(pod, "Ready"),
        Reverse(created(pod).to_owned()),
    )
}

async fn make(hand: &Hand, object: &Value) -> Result<(), Refusal> {
    let template = &object["spec"]["template"];
    let mut body = pod(template, &REPLICA_SET.owner_reference(object));
    body["metadata"]["generateName"] = format!("{}-", name(object)).into();
    match hand.create(&POD, namespace(object), body).await {
        Ok(made) => {
            let said = format!("Created pod: {}", name(&made));
            hand.tell(&REPLICA_SET, object, "SuccessfulCreate", &said)
                .await;
            Ok(())
        }
        Err(refusal) => {
            if !refusal.ends() {
                let said = format!("Error creating: {}", refusal.message);
                hand.warn(&REPLICA_SET, object, "FailedCreate", &said).await;
            }
            Err(refusal)
        }
    }
}

async fn status(
    hand: &Hand,
    object: &Value,
    own: &[&Value],
    short: bool,
    refused: Option<Refusal>,
) {
    let spec = &object["spec"];
    let labels = &spec["template"]["metadata"]["labels"];
    let exact = json!({ "matchLabels": labels });
    let least = number(&spec["minReadySeconds"], 0);
    let number_of = |test: &dyn Fn(&Value) -> bool| count(own.iter().filter(|p| test(p)).count());
    let labelled = number_of(&|p| selects(&exact, &p["metadata"]["labels"]));
    let ready = number_of(&ready);
    let available = number_of(&|p| available(p, least));
    let mut all = conditions(object);
    match refused {
        Some(refusal) => {
            let message = &refusal.message;
            set(&mut all, "ReplicaFailure", "True", "FailedCreate", message);
        }
        // While pods are missing, what was said of that holds.
        None if short => {}
        None => all.retain(|c| c["type"] != "ReplicaFailure"),
    }
    let wanted = json!({
        "replicas": own.len(),
        "fullyLabeledReplicas": labelled,
        "readyReplicas": ready,
        "availableReplicas": available,
        "observedGeneration": object["metadata"]["generation"],
        "conditions": all,
    });
    hand.status(&REPLICA_SET, object, wanted).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worthless_go_first() {
        let pod = |name: &str, ready: &str, at: &str| {
            json!({
                "metadata": { "name": name, "creationTimestamp": at },
                "spec": { "nodeName": "n" },
                "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
            })
        };
        let all = [
            pod("old", "True", "2026-01-01T00:00:00Z"),
            pod("young", "True", "2026-01-02T00:00:00Z"),
            pod("ill", "False", "2026-01-01T00:00:00Z"),
        ];
        let mut sorted: Vec<&Value> = all.iter().collect();
        sorted.sort_by_key(|p| worth(p));
        let names: Vec<&str> = sorted.into_iter().map(name).collect();
        assert_eq!(names, ["ill", "young", "old"]);
    }
}
