//! Stateful sets: pods with numbers, each with claims of its own, made and replaced one after the other.

use super::{
    Seen,
    hand::{Hand, Refusal},
    objects::{
        CLAIM, POD, STATEFUL_SET, active, available, count, finished, going, hash, name, namespace,
        number, orphan_of, pod, ready, text, uid,
    },
};
use serde_json::{Map, Value, json};

const REVISION: &str = "controller-revision-hash";

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    for set in &seen.statefulsets {
        if !going(set) {
            tend(hand, seen, set).await;
        }
    }
}

/// The number at the end of a pod's name, when the rest is the name of its set.
fn ordinal(pod: &str, set: &str) -> Option<i64> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let number = digits.parse::<u32>().ok()?;
    (number.to_string() == digits).then_some(i64::from(number))
}

/// What a set asks for.
struct Wish {
    first: i64,
    wanted: i64,
    ordered: bool,
    /// Seconds that a pod must be ready to count.
    least: i64,
    revision: String,
}

impl Wish {
    fn of(object: &Value) -> Self {
        let spec = &object["spec"];
        Self {
            first: number(&spec["ordinals"]["start"], 0),
            wanted: number(&spec["replicas"], 1).max(0),
            ordered: spec["podManagementPolicy"] != "Parallel",
            least: number(&spec["minReadySeconds"], 0),
            revision: format!("{}-{}", name(object), hash(&spec["template"])),
        }
    }
}

/// The pods of a set by their number.
struct Pods<'s>(Vec<(i64, &'s Value)>);

impl<'s> Pods<'s> {
    fn at(&self, number: i64) -> Option<&'s Value> {
        let found = self.0.iter().find(|(own, _)| *own == number);
        found.map(|(_, pod)| *pod)
    }
}

fn revision(pod: &Value) -> &str {
    pod["metadata"]["labels"][REVISION]
        .as_str()
        .unwrap_or_default()
}

async fn tend(hand: &Hand, seen: &Seen, object: &Value) {
    let orphans: Vec<&Value> = seen
        .pods
        .iter()
        .filter(|p| orphan_of(p, object) && ordinal(name(p), name(object)).is_some())
        .collect();
    if !orphans.is_empty() {
        hand.adopt(&STATEFUL_SET, object, &POD, orphans).await;
        return;
    }
    let wish = Wish::of(object);
    let own = seen.pods_of(uid(object)).into_iter();
    let own = own.filter_map(|p| Some((ordinal(name(p), name(object))?, p)));
    let mut pods = Pods(own.collect());
    pods.0.sort_by_key(|(number, _)| *number);
    if fill(hand, seen, object, &wish, &pods).await
        && shrink(hand, object, &wish, &pods).await
        && object["spec"]["updateStrategy"]["type"] != "OnDelete"
    {
        renew(hand, object, &wish, &pods).await;
    }
    status(hand, object, &wish, &pods).await;
}

/// Makes the pods that are missing; whether all are there, and, where there is an order, serve.
async fn fill(hand: &Hand, seen: &Seen, object: &Value, wish: &Wish, pods: &Pods<'_>) -> bool {
    let mut whole = true;
    for number in wish.first..wish.first + wish.wanted {
        match pods.at(number) {
            None => {
                let _ = make(hand, seen, object, wish, number).await;
                whole = false;
            }
            Some(pod) if going(pod) => whole = false,
            Some(pod) if finished(pod) => {
                remove(hand, object, pod).await;
                whole = false;
            }
            Some(pod) => {
                if text(pod, "/spec/nodeName").is_empty() {
                    let _ = claims(hand, seen, object, number).await;
                }
                whole &= !wish.ordered || available(pod, wish.least);
            }
        }
        if !whole && wish.ordered {
            return false;
        }
    }
    whole
}

/// Takes away pods above the highest number, from the highest one; whether there is none of them.
async fn shrink(hand: &Hand, object: &Value, wish: &Wish, pods: &Pods<'_>) -> bool {
    let end = wish.first + wish.wanted;
    let mut none = true;
    for (number, pod) in pods.0.iter().rev() {
        if (wish.first..end).contains(number) {
            continue;
        }
        none = false;
        if !going(pod) {
            remove(hand, object, pod).await;
        }
        if wish.ordered {
            break;
        }
    }
    none
}

/// Replaces the highest pod of an older revision, once all above it serve.
async fn renew(hand: &Hand, object: &Value, wish: &Wish, pods: &Pods<'_>) {
    let rolling = &object["spec"]["updateStrategy"]["rollingUpdate"];
    let partition = number(&rolling["partition"], 0);
    for (number, pod) in pods.0.iter().rev() {
        if *number < partition {
            return;
        }
        if revision(pod) != wish.revision && !going(pod) {
            remove(hand, object, pod).await;
            return;
        }
        if !available(pod, wish.least) {
            return;
        }
    }
}

async fn remove(hand: &Hand, object: &Value, pod: &Value) {
    if hand.delete(&POD, pod).await {
        let said = format!(
            "delete Pod {} in StatefulSet {} successful",
            name(pod),
            name(object)
        );
        hand.tell(&STATEFUL_SET, object, "SuccessfulDelete", &said)
            .await;
    }
}

fn claim_name(template: &Value, object: &Value, number: i64) -> String {
    format!("{}-{}-{number}", name(template), name(object))
}

fn templates(object: &Value) -> &[Value] {
    let all = object["spec"]["volumeClaimTemplates"].as_array();
    all.map(Vec::as_slice).unwrap_or_default()
}

/// Makes the claims that a pod needs; why not, if they cannot be used.
async fn claims(hand: &Hand, seen: &Seen, object: &Value, number: i64) -> Result<(), String> {
    for template in templates(object) {
        let own = claim_name(template, object, number);
        if let Some(found) = seen.claim(namespace(object), &own) {
            if going(found) {
                return Err(format!("pvc {own} is being deleted"));
            }
            continue;
        }
        let mut labels = Map::new();
        for source in [
            &object["spec"]["selector"]["matchLabels"],
            &template["metadata"]["labels"],
        ] {
            for (key, value) in source.as_object().into_iter().flatten() {
                labels.insert(key.clone(), value.clone());
            }
        }
        let mut metadata = json!({ "name": own, "labels": labels });
        if template["metadata"]["annotations"].is_object() {
            metadata["annotations"] = template["metadata"]["annotations"].clone();
        }
        let body = json!({ "metadata": metadata, "spec": template["spec"] });
        let about = format!("Claim {own} in StatefulSet {}", name(object));
        match hand.create(&CLAIM, namespace(object), body).await {
            Ok(_) => {
                let said = format!("create {about} success");
                hand.tell(&STATEFUL_SET, object, "SuccessfulCreate", &said)
                    .await;
            }
            Err(refusal) if refusal.code == 409 => {}
            Err(refusal) => {
                let said = format!("create {about} failed error: {}", refusal.message);
                hand.warn(&STATEFUL_SET, object, "FailedCreate", &said)
                    .await;
                return Err(refusal.message);
            }
        }
    }
    Ok(())
}

async fn make(
    hand: &Hand,
    seen: &Seen,
    object: &Value,
    wish: &Wish,
    number: i64,
) -> Result<(), Refusal> {
    let own = format!("{}-{number}", name(object));
    let about = format!("create Pod {own} in StatefulSet {}", name(object));
    let done = match claims(hand, seen, object, number).await {
        Ok(()) => {
            let body = body(object, wish, &own, number);
            hand.create(&POD, namespace(object), body).await.map(drop)
        }
        Err(message) => Err(Refusal { code: 0, message }),
    };
    match &done {
        Ok(()) => {
            let said = format!("{about} successful");
            hand.tell(&STATEFUL_SET, object, "SuccessfulCreate", &said)
                .await;
        }
        Err(refusal) if refusal.ends() || refusal.code == 409 => {}
        Err(refusal) => {
            let said = format!("{about} failed error: {}", refusal.message);
            hand.warn(&STATEFUL_SET, object, "FailedCreate", &said)
                .await;
        }
    }
    done
}

/// The pod with that number.
fn body(object: &Value, wish: &Wish, own: &str, number: i64) -> Value {
    let spec = &object["spec"];
    let mut body = pod(&spec["template"], &STATEFUL_SET.owner_reference(object));
    body["metadata"]["name"] = own.into();
    let labels = &mut body["metadata"]["labels"];
    labels["statefulset.kubernetes.io/pod-name"] = own.into();
    labels["apps.kubernetes.io/pod-index"] = number.to_string().into();
    labels[REVISION] = wish.revision.as_str().into();
    body["spec"]["hostname"] = own.into();
    if spec["serviceName"].is_string() {
        body["spec"]["subdomain"] = spec["serviceName"].clone();
    }
    let held = body["spec"]["volumes"].as_array().cloned();
    let mut volumes = held.unwrap_or_default();
    for template in templates(object) {
        let named = name(template);
        volumes.retain(|v| v["name"] != named);
        let claim = claim_name(template, object, number);
        volumes.push(json!({ "name": named, "persistentVolumeClaim": { "claimName": claim } }));
    }
    if !volumes.is_empty() {
        body["spec"]["volumes"] = volumes.into();
    }
    body
}

async fn status(hand: &Hand, object: &Value, wish: &Wish, pods: &Pods<'_>) {
    let all: Vec<&Value> = pods.0.iter().map(|(_, p)| *p).collect();
    let number_of =
        |test: &dyn Fn(&Value) -> bool| count(all.iter().filter(|p| active(p) && test(p)).count());
    let replicas = number_of(&|_| true);
    let ready = number_of(&ready);
    let updated = number_of(&|p| revision(p) == wish.revision);
    let held = text(object, "/status/currentRevision");
    let whole = updated == wish.wanted && replicas == wish.wanted && ready == wish.wanted;
    let rolls = object["spec"]["updateStrategy"]["type"] != "OnDelete";
    let current = match held {
        "" => wish.revision.as_str(),
        _ if whole && rolls => wish.revision.as_str(),
        held => held,
    };
    let wanted = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": replicas,
        "readyReplicas": ready,
        "availableReplicas": number_of(&|p| available(p, wish.least)),
        "currentReplicas": number_of(&|p| revision(p) == current),
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": wish.revision,
    });
    hand.status(&STATEFUL_SET, object, wanted).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        json!({
            "metadata": { "name": "db", "namespace": "shop", "uid": "1" },
            "spec": {
                "serviceName": "db",
                "template": { "metadata": { "labels": { "app": "db" } }, "spec": {} },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }],
            },
        })
    }

    #[test]
    fn ordinals() {
        assert_eq!(ordinal("db-0", "db"), Some(0));
        assert_eq!(ordinal("db-12", "db"), Some(12));
        assert_eq!(ordinal("db-01", "db"), None);
        assert_eq!(ordinal("db-x-1", "db"), None);
        assert_eq!(ordinal("other-1", "db"), None);
    }

    #[test]
    fn a_pod_mounts_its_own_claim() {
        let set = set();
        let pod = body(&set, &Wish::of(&set), "db-2", 2);
        let claim = &pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
        assert_eq!(claim, "data-db-2");
        assert_eq!(pod["spec"]["subdomain"], "db");
        assert_eq!(pod["metadata"]["labels"]["app"], "db");
    }
}
