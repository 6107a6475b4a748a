//! Volumes and claims: who has which, new disks for claims, and what becomes of a volume afterwards.

use super::{
    Seen,
    binding::{Promise, choose, class_name, mismatch, promise},
    hand::Hand,
    objects::{
        CLAIM, VOLUME, What, annotation, claims_of, finished, going, name, namespace, text, uid,
    },
};
use serde_json::{Value, json};
use std::collections::HashSet;

/// The only one that makes disks here.
pub(super) const PROVISIONER: &str = "disk.csi.azure.com";
const ZONE: &str = "topology.disk.csi.azure.com/zone";

const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

const CLAIM_GUARD: &str = "kubernetes.io/pvc-protection";
const VOLUME_GUARD: &str = "kubernetes.io/pv-protection";
/// What the drivers of real clusters put onto volumes; a restored one may still have it.
const FOREIGN_GUARDS: [&str; 3] = [
    VOLUME_GUARD,
    "external-provisioner.volume.kubernetes.io/finalizer",
    "external-attacher/disk-csi-azure-com",
];

const DRIVER: What = What {
    speaker: PROVISIONER,
    ..CLAIM
};

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    let mut taken = HashSet::new();
    for claim in &seen.claims {
        if going(claim) {
            if !in_use(claim, seen) {
                hand.let_go(&CLAIM, claim, &[CLAIM_GUARD]).await;
            }
            continue;
        }
        hand.hold(&CLAIM, claim, CLAIM_GUARD).await;
        if let Some(volume) = tend(hand, seen, claim, &taken).await {
            taken.insert(name(volume).to_owned());
            bind(hand, claim, volume).await;
        }
    }
    for volume in &seen.volumes {
        if !going(volume) {
            hand.hold(&VOLUME, volume, VOLUME_GUARD).await;
        }
        // One that was given away right now is looked at in the next round.
        if !taken.contains(name(volume)) || going(volume) {
            follow(hand, seen, volume).await;
        }
    }
}

/// Is there a pod on a node that mounts the claim, and has not ended?
fn in_use(claim: &Value, seen: &Seen) -> bool {
    mounted(claim, seen).any(|p| !finished(p) && !text(p, "/spec/nodeName").is_empty())
}

fn mounted<'s>(claim: &'s Value, seen: &'s Seen) -> impl Iterator<Item = &'s Value> {
    let within = namespace(claim);
    let pods = seen.pods.iter();
    pods.filter(move |p| namespace(p) == within && claims_of(p).contains(&name(claim)))
}

pub(super) fn class_of<'s>(claim: &'s Value, seen: &'s Seen) -> Option<&'s Value> {
    let named = class_name(claim, &seen.classes);
    seen.classes.iter().find(|c| name(c) == named)
}

/// Does the claim's class leave the choice until a pod wants it?
pub(super) fn waits_for_pod(claim: &Value, seen: &Seen) -> bool {
    class_of(claim, seen).is_some_and(|c| c["volumeBindingMode"] == "WaitForFirstConsumer")
}

/// The volume that a claim has or shall have now.
async fn tend<'s>(
    hand: &Hand,
    seen: &'s Seen,
    claim: &Value,
    taken: &HashSet<String>,
) -> Option<&'s Value> {
    let named = text(claim, "/spec/volumeName");
    if named.is_empty() {
        return find(hand, seen, claim, taken).await;
    }
    let completed = !annotation(claim, COMPLETED).is_empty();
    let Some(volume) = seen.volume(named) else {
        if completed {
            let said = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            lose(hand, claim, "ClaimLost", said).await;
        } else {
            let said = format!("volume \"{named}\" not found");
            wait(hand, claim, "FailedBinding", &said).await;
        }
        return None;
    };
    let promise = promise(volume, claim);
    if promise == Promise::Other || taken.contains(named) {
        if completed {
            let said = "Two claims are bound to the same volume, this one is bound incorrectly";
            lose(hand, claim, "ClaimMisbound", said).await;
        } else {
            let said = format!("volume \"{named}\" already bound to a different claim.");
            wait(hand, claim, "FailedBinding", &said).await;
        }
        return None;
    }
    if completed || promise == Promise::Held {
        return Some(volume);
    }
    if going(volume) {
        pending(hand, claim).await;
        return None;
    }
    let class = class_name(claim, &seen.classes);
    if let Some(why) = mismatch(volume, claim, class) {
        let said = format!("Cannot bind to requested volume \"{named}\": {why}");
        hand.warn(&CLAIM, claim, "VolumeMismatch", &said).await;
        pending(hand, claim).await;
        return None;
    }
    Some(volume)
}

/// A volume for a claim that names none; where none fits, a new one is made.
async fn find<'s>(
    hand: &Hand,
    seen: &'s Seen,
    claim: &Value,
    taken: &HashSet<String>,
) -> Option<&'s Value> {
    let class = class_name(claim, &seen.classes);
    let late = waits_for_pod(claim, seen) && !mounted(claim, seen).any(|p| !going(p));
    if let Some(volume) = choose(&seen.volumes, claim, class, taken, !late) {
        return Some(volume);
    }
    pending(hand, claim).await;
    if late {
        let said = "waiting for first consumer to be created before binding";
        hand.tell(&CLAIM, claim, "WaitForFirstConsumer", said).await;
        return None;
    }
    if class.is_empty() {
        let said = "no persistent volumes available for this claim and no storage class is set";
        hand.tell(&CLAIM, claim, "FailedBinding", said).await;
        return None;
    }
    let Some(known) = class_of(claim, seen) else {
        let said = format!("storageclass.storage.k8s.io \"{class}\" not found");
        hand.warn(&CLAIM, claim, "ProvisioningFailed", &said).await;
        return None;
    };
    let provisioner = text(known, "/provisioner");
    if provisioner != PROVISIONER {
        let said = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        );
        hand.tell(&CLAIM, claim, "ExternalProvisioning", &said)
            .await;
        return None;
    }
    provision(hand, seen, claim, known).await;
    None
}

/// Makes a disk and its volume; the claim gets it in the next round.
async fn provision(hand: &Hand, seen: &Seen, claim: &Value, class: &Value) {
    let named = format!("pvc-{}", uid(claim));
    if seen.volume(&named).is_some() {
        return;
    }
    let failed = |why: &str| {
        format!(
            "failed to provision volume with StorageClass \"{}\": {why}",
            name(class)
        )
    };
    if claim["spec"]["dataSource"].is_object() || claim["spec"]["dataSourceRef"].is_object() {
        let said = failed("data sources are not played here");
        hand.warn(&DRIVER, claim, "ProvisioningFailed", &said).await;
        return;
    }
    let made = (hand.around.provision)(&named, namespace(claim), name(claim));
    let handle = match made {
        Ok(handle) => handle,
        Err(e) => {
            let said = failed(&e.to_string());
            hand.warn(&DRIVER, claim, "ProvisioningFailed", &said).await;
            return;
        }
    };
    let body = volume(seen, claim, class, &named, &handle);
    match hand.create(&VOLUME, "", body).await {
        Ok(_) => {
            let said = format!("Successfully provisioned volume {named}");
            hand.tell(&DRIVER, claim, "ProvisioningSucceeded", &said)
                .await;
        }
        Err(refusal) => {
            // There is one of that name already: its disk may be this one.
            if refusal.code != 409 {
                (hand.around.remove)(&handle);
            }
            let said = failed(&refusal.message);
            hand.warn(&DRIVER, claim, "ProvisioningFailed", &said).await;
        }
    }
}

/// A new volume for a claim, on the disk with that handle.
fn volume(seen: &Seen, claim: &Value, class: &Value, named: &str, handle: &str) -> Value {
    let policy = match text(class, "/reclaimPolicy") {
        "" => "Delete",
        other => other,
    };
    let mode = match text(claim, "/spec/volumeMode") {
        "" => "Filesystem",
        other => other,
    };
    let mut body = json!({
        "metadata": {
            "name": named,
            "annotations": { PROVISIONED_BY: PROVISIONER },
            "finalizers": [VOLUME_GUARD],
        },
        "spec": {
            "capacity": { "storage": claim["spec"]["resources"]["requests"]["storage"] },
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": name(class),
            "volumeMode": mode,
            "csi": { "driver": PROVISIONER, "volumeHandle": handle },
            "claimRef": reference(claim),
        },
    });
    if class["mountOptions"].is_array() {
        body["spec"]["mountOptions"] = class["mountOptions"].clone();
    }
    let mut zones = seen.nodes.iter();
    if let Some(zone) = zones.find_map(|n| n["metadata"]["labels"][ZONE].as_str()) {
        let term = json!({ "key": ZONE, "operator": "In", "values": [zone] });
        body["spec"]["nodeAffinity"] =
            json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [term] }] } });
    }
    body
}

fn reference(claim: &Value) -> Value {
    json!({
        "apiVersion": CLAIM.api,
        "kind": CLAIM.kind,
        "namespace": namespace(claim),
        "name": name(claim),
        "uid": uid(claim),
        "resourceVersion": claim["metadata"]["resourceVersion"],
    })
}

async fn pending(hand: &Hand, claim: &Value) {
    let wanted = json!({ "phase": "Pending" });
    hand.status(&CLAIM, claim, wanted).await;
}

async fn wait(hand: &Hand, claim: &Value, reason: &str, said: &str) {
    pending(hand, claim).await;
    hand.warn(&CLAIM, claim, reason, said).await;
}

async fn lose(hand: &Hand, claim: &Value, reason: &str, said: &str) {
    let wanted = json!({ "phase": "Lost" });
    hand.status(&CLAIM, claim, wanted).await;
    hand.warn(&CLAIM, claim, reason, said).await;
}

/// Writes on both sides that the volume is the claim's, as far as that is not written yet.
async fn bind(hand: &Hand, claim: &Value, volume: &Value) {
    let promise = promise(volume, claim);
    if promise != Promise::Held {
        let version = &volume["metadata"]["resourceVersion"];
        let mut metadata = json!({ "resourceVersion": version });
        if promise == Promise::Free {
            metadata["annotations"] = json!({ BY_CONTROLLER: "yes" });
        }
        let body = json!({ "metadata": metadata, "spec": { "claimRef": reference(claim) } });
        if !hand.patch(&VOLUME, volume, &body).await {
            return;
        }
    }
    let wanted = json!({ "phase": "Bound", "reason": null, "message": null });
    hand.status(&VOLUME, volume, wanted).await;
    let mut notes = json!({});
    let mut spec = json!({});
    if annotation(claim, COMPLETED).is_empty() {
        notes[COMPLETED] = "yes".into();
    }
    if text(claim, "/spec/volumeName").is_empty() {
        notes[BY_CONTROLLER] = "yes".into();
        spec["volumeName"] = name(volume).into();
    }
    if notes != json!({}) {
        let body = json!({ "metadata": { "annotations": notes }, "spec": spec });
        if !hand.patch(&CLAIM, claim, &body).await {
            return;
        }
    }
    let wanted = json!({
        "phase": "Bound",
        "accessModes": volume["spec"]["accessModes"],
        "capacity": volume["spec"]["capacity"],
    });
    hand.status(&CLAIM, claim, wanted).await;
}

/// What becomes of a volume that no claim got in this round.
async fn follow(hand: &Hand, seen: &Seen, volume: &Value) {
    let held = &volume["spec"]["claimRef"];
    let own = text(held, "/uid");
    let claim = seen.claim(text(held, "/namespace"), text(held, "/name"));
    let claim = claim.filter(|c| uid(c) == own);
    let phase = match claim {
        _ if own.is_empty() => "Available",
        None => "Released",
        Some(claim) => match text(claim, "/spec/volumeName") {
            "" => "Bound",
            named if named == name(volume) => "Bound",
            // The claim has another one: this one is free again.
            _ => {
                let body = json!({ "spec": { "claimRef": null } });
                hand.patch(&VOLUME, volume, &body).await;
                return;
            }
        },
    };
    if going(volume) {
        if phase != "Bound" {
            hand.let_go(&VOLUME, volume, &FOREIGN_GUARDS).await;
        }
        return;
    }
    if phase == "Released" && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
        reclaim(hand, volume).await;
        return;
    }
    let wanted = json!({ "phase": phase, "reason": null, "message": null });
    hand.status(&VOLUME, volume, wanted).await;
}

/// The disk of a volume that nobody wants any more goes, and the volume with it.
async fn reclaim(hand: &Hand, volume: &Value) {
    let csi = &volume["spec"]["csi"];
    if csi["driver"] != PROVISIONER {
        let said = format!(
            "error getting deleter volume plugin for volume \"{}\": no deletable volume plugin matched",
            name(volume)
        );
        let wanted = json!({ "phase": "Failed", "message": said });
        hand.status(&VOLUME, volume, wanted).await;
        hand.warn(&VOLUME, volume, "VolumeFailedDelete", &said)
            .await;
        return;
    }
    let wanted = json!({ "phase": "Released", "reason": null, "message": null });
    hand.status(&VOLUME, volume, wanted).await;
    if hand.delete(&VOLUME, volume).await {
        (hand.around.remove)(text(csi, "/volumeHandle"));
    }
}
