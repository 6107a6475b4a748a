//! The scheduler: pods get a node, or the reason why they do not. And what the attacher would say of
//! disks that are not there.

use super::{
    Seen,
    hand::Hand,
    objects::{
        POD, What, active, claims_of, conditions, going, is_true, name, namespace, set, term, text,
    },
    volumes::{PROVISIONER, class_of, waits_for_pod},
};
use crate::systems::kubernetes::Body;
use http::Method;
use serde_json::{Value, json};
use std::collections::HashMap;

const ATTACHER: What = What {
    speaker: "attachdetach-controller",
    ..POD
};

/// What becomes of a pod.
enum Verdict<'s> {
    Node(&'s Value),
    /// Something else is on its way.
    Wait,
    Hindered(String),
}

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    let mut held: HashMap<String, usize> = HashMap::new();
    for pod in seen.pods.iter().filter(|p| active(p)) {
        let node = text(pod, "/spec/nodeName").to_owned();
        *held.entry(node).or_default() += 1;
    }
    for pod in &seen.pods {
        if !active(pod) {
            continue;
        }
        if !text(pod, "/spec/nodeName").is_empty() {
            attach(hand, seen, pod).await;
            continue;
        }
        let gates = pod["spec"]["schedulingGates"].as_array();
        if gates.is_some_and(|g| !g.is_empty()) {
            continue;
        }
        match verdict(pod, seen, &held) {
            Verdict::Wait => {}
            Verdict::Hindered(why) => hinder(hand, pod, &why).await,
            Verdict::Node(node) => {
                if bind(hand, pod, name(node)).await {
                    *held.entry(name(node).to_owned()).or_default() += 1;
                }
            }
        }
    }
}

fn verdict<'s>(pod: &Value, seen: &'s Seen, held: &HashMap<String, usize>) -> Verdict<'s> {
    let total = seen.nodes.len();
    let mut volumes = Vec::new();
    for claim in claims_of(pod) {
        let Some(found) = seen.claim(namespace(pod), claim) else {
            return Verdict::Hindered(format!("persistentvolumeclaim \"{claim}\" not found"));
        };
        if going(found) {
            let why = format!("persistentvolumeclaim \"{claim}\" is being deleted");
            return Verdict::Hindered(why);
        }
        let volume = text(found, "/spec/volumeName");
        let gone = || {
            format!(
                "persistentvolumeclaim \"{claim}\" bound to non-existent persistentvolume \"{volume}\""
            )
        };
        match text(found, "/status/phase") {
            "Bound" => match seen.volume(volume) {
                Some(there) => volumes.push(there),
                None => return Verdict::Hindered(gone()),
            },
            "Lost" => return Verdict::Hindered(gone()),
            _ if volume.is_empty() && waits_for_pod(found, seen) => {
                let class = class_of(found, seen);
                if class.is_some_and(|c| c["provisioner"] == PROVISIONER) {
                    return Verdict::Wait;
                }
                let why = "node(s) didn't find available persistent volumes to bind";
                return Verdict::Hindered(format!("0/{total} nodes are available: {total} {why}."));
            }
            _ => {
                let why = "pod has unbound immediate PersistentVolumeClaims";
                return Verdict::Hindered(format!("0/{total} nodes are available: {total} {why}."));
            }
        }
    }
    let mut fit: Vec<&'s Value> = Vec::new();
    let mut why: Vec<(&str, usize)> = Vec::new();
    for node in &seen.nodes {
        match against(node, pod, &volumes) {
            None => fit.push(node),
            Some(word) => match why.iter_mut().find(|(known, _)| *known == word) {
                Some((_, times)) => *times += 1,
                None => why.push((word, 1)),
            },
        }
    }
    let load = |node: &Value| held.get(name(node)).copied().unwrap_or(0);
    match fit.into_iter().min_by_key(|n| load(n)) {
        Some(node) => Verdict::Node(node),
        None if total == 0 => Verdict::Hindered("no nodes available to schedule pods".to_owned()),
        None => {
            let why: Vec<String> = why.iter().map(|(word, n)| format!("{n} {word}")).collect();
            let why = why.join(", ");
            Verdict::Hindered(format!("0/{total} nodes are available: {why}."))
        }
    }
}

/// What speaks against a node.
fn against(node: &Value, pod: &Value, volumes: &[&Value]) -> Option<&'static str> {
    let labels = &node["metadata"]["labels"];
    if node["spec"]["unschedulable"] == true {
        return Some("node(s) were unschedulable");
    }
    if !is_true(node, "Ready") {
        return Some("node(s) had untolerated taint {node.kubernetes.io/not-ready: }");
    }
    let wanted = pod["spec"]["nodeSelector"].as_object();
    let mut wanted = wanted.into_iter().flatten();
    if !wanted.all(|(key, value)| labels[key.as_str()] == *value) {
        return Some("node(s) didn't match Pod's node affinity/selector");
    }
    let near = volumes.iter().all(|volume| reaches(volume, labels));
    (!near).then_some("node(s) had volume node affinity conflict")
}

/// Can a volume be had on a node with these labels?
fn reaches(volume: &Value, labels: &Value) -> bool {
    let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
    let Some(terms) = terms.as_array() else {
        return true;
    };
    terms.iter().any(|one| {
        let all = one["matchExpressions"].as_array();
        all.into_iter().flatten().all(|t| term(t, labels))
    })
}

async fn bind(hand: &Hand, pod: &Value, node: &str) -> bool {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name(pod), "namespace": namespace(pod) },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let path = format!("{}/binding", POD.path(pod));
    let done = hand.write(Method::POST, &path, Body::Json, &body).await;
    if done.is_err() {
        return false;
    }
    let said = format!(
        "Successfully assigned {}/{} to {node}",
        namespace(pod),
        name(pod)
    );
    hand.tell(&POD, pod, "Scheduled", &said).await;
    true
}

async fn hinder(hand: &Hand, pod: &Value, why: &str) {
    let mut all = conditions(pod);
    set(&mut all, "PodScheduled", "False", "Unschedulable", why);
    let wanted = json!({ "phase": "Pending", "conditions": all });
    hand.status(&POD, pod, wanted).await;
    hand.warn(&POD, pod, "FailedScheduling", why).await;
}

/// Of a pod that does not start on its node: a disk that is not there cannot be attached.
async fn attach(hand: &Hand, seen: &Seen, pod: &Value) {
    if text(pod, "/status/phase") == "Running" {
        return;
    }
    for claim in claims_of(pod) {
        let found = seen.claim(namespace(pod), claim);
        let volume = found.and_then(|c| seen.volume(text(c, "/spec/volumeName")));
        let Some(volume) = volume else {
            continue;
        };
        let handle = text(volume, "/spec/csi/volumeHandle");
        let disk = handle.rsplit('/').next().unwrap_or(handle);
        let root = &hand.around.disks;
        if disk.is_empty() || root.join("disks").join(disk).is_dir() || root.join(disk).is_dir() {
            continue;
        }
        let said = format!(
            "AttachVolume.Attach failed for volume \"{}\" : rpc error: code = NotFound desc = Volume not found, failed with error: the disk {handle} was not found",
            name(volume)
        );
        hand.warn(&ATTACHER, pod, "FailedAttachVolume", &said).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones() {
        let volume = |zone: &str| {
            json!({ "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "zone", "operator": "In", "values": [zone] }] },
            ] } } } })
        };
        let labels = json!({ "zone": "" });
        assert!(reaches(&volume(""), &labels));
        assert!(!reaches(&volume("westeurope-1"), &labels));
        assert!(reaches(&json!({ "spec": {} }), &labels));
    }

    #[test]
    fn a_cordoned_node_is_no_place() {
        let ready = json!([{ "type": "Ready", "status": "True" }]);
        let mut node = json!({ "metadata": { "name": "n" }, "status": { "conditions": ready } });
        assert_eq!(against(&node, &json!({}), &[]), None);
        node["spec"]["unschedulable"] = true.into();
        assert_eq!(
            against(&node, &json!({}), &[]),
            Some("node(s) were unschedulable")
        );
    }
}
