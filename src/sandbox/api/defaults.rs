//! What the server writes into an object that says less: what users see, and what rollouts compare.

use super::{
    kinds::Kind,
    store::{Key, Store},
    tree::{self, absent, at, list, map, text},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Fills in what is absent, at creation and at every change.
pub(super) fn fill(kind: &Kind, object: &mut Value) {
    match kind.resource().as_str() {
        "pods" => {
            let spec = at(object, &["spec"]);
            pod(spec);
            admitted(spec);
        }
        "services" => service(at(object, &["spec"])),
        "secrets" => {
            secret(object);
            without_nothing(object);
        }
        "configmaps" => without_nothing(object),
        "customresourcedefinitions.apiextensions.k8s.io" => {
            absent(
                at(object, &["spec"]),
                "conversion",
                json!({ "strategy": "None" }),
            );
        }
        "persistentvolumeclaims" => {
            absent(at(object, &["spec"]), "volumeMode", json!("Filesystem"))
        }
        "persistentvolumes" => {
            volume(at(object, &["spec"]));
            let spec = at(object, &["spec"]);
            absent(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
            absent(spec, "volumeMode", json!("Filesystem"));
        }
        "replicationcontrollers" => {
            absent(at(object, &["spec"]), "replicas", json!(1));
            template(object, &["spec", "template"]);
        }
        "deployments.apps" => deployment(object),
        "replicasets.apps" => {
            absent(at(object, &["spec"]), "replicas", json!(1));
            template(object, &["spec", "template"]);
        }
        "statefulsets.apps" => stateful_set(object),
        "daemonsets.apps" => {
            let spec = at(object, &["spec"]);
            absent(spec, "revisionHistoryLimit", json!(10));
            let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 } });
            absent(spec, "updateStrategy", rolling);
            template(object, &["spec", "template"]);
        }
        "jobs.batch" => job(at(object, &["spec"])),
        "cronjobs.batch" => {
            let spec = at(object, &["spec"]);
            absent(spec, "concurrencyPolicy", json!("Allow"));
            absent(spec, "suspend", json!(false));
            absent(spec, "successfulJobsHistoryLimit", json!(3));
            absent(spec, "failedJobsHistoryLimit", json!(1));
            template(spec, &["jobTemplate", "spec", "template"]);
        }
        "namespaces" => {
            let name = text(object, "/metadata/name").to_owned();
            let labels = at(object, &["metadata", "labels"]);
            map(labels).insert("kubernetes.io/metadata.name".to_owned(), json!(name));
        }
        "storageclasses.storage.k8s.io" => {
            absent(object, "reclaimPolicy", json!("Delete"));
            absent(object, "volumeBindingMode", json!("Immediate"));
        }
        "horizontalpodautoscalers.autoscaling" => {
            absent(at(object, &["spec"]), "minReplicas", json!(1));
        }
        _ => {}
    }
}

/// What is written only once, when the object is made.
pub(super) fn begin(kind: &Kind, object: &mut Value, store: &Store) {
    if kind.status && kind.resource() != "namespaces" {
        tree::take(object, "status");
    }
    match kind.resource().as_str() {
        "pods" => {
            let status = at(object, &["status"]);
            *status = json!({ "phase": "Pending", "qosClass": "BestEffort" });
            if let Some(class) = quality(&object["spec"]) {
                object["status"]["qosClass"] = json!(class);
            }
        }
        "namespaces" => {
            *at(object, &["status"]) = json!({ "phase": "Active" });
            *at(object, &["spec", "finalizers"]) = json!(["kubernetes"]);
        }
        "persistentvolumeclaims" => {
            *at(object, &["status"]) = json!({ "phase": "Pending" });
            finalizer(object, "kubernetes.io/pvc-protection");
        }
        "persistentvolumes" => {
            *at(object, &["status"]) = json!({ "phase": "Pending" });
            finalizer(object, "kubernetes.io/pv-protection");
        }
        "services" => address(object, store),
        "jobs.batch" => job_labels(object),
        "resourcequotas" | "deployments.apps" | "daemonsets.apps" | "cronjobs.batch" => {
            *at(object, &["status"]) = json!({});
        }
        "replicasets.apps" | "replicationcontrollers" => {
            *at(object, &["status"]) = json!({ "replicas": 0 })
        }
        "statefulsets.apps" => {
            *at(object, &["status"]) = json!({ "replicas": 0, "availableReplicas": 0 });
        }
        "ingresses.networking.k8s.io" => *at(object, &["status"]) = json!({ "loadBalancer": {} }),
        "customresourcedefinitions.apiextensions.k8s.io" => definition(object),
        _ => {}
    }
}

/// Has this kind a generation that counts changes of what is wished?
pub(super) fn has_generation(kind: &Kind) -> bool {
    let counted = [
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "replicationcontrollers",
        "pods",
        "jobs.batch",
        "cronjobs.batch",
        "ingresses.networking.k8s.io",
        "ingressclasses.networking.k8s.io",
        "networkpolicies.networking.k8s.io",
        "poddisruptionbudgets.policy",
        "customresourcedefinitions.apiextensions.k8s.io",
    ];
    kind.custom || counted.contains(&kind.resource().as_str())
}

fn finalizer(object: &mut Value, name: &str) {
    let held = at(object, &["metadata", "finalizers"]);
    match held {
        Value::Array(all) if all.iter().any(|f| f == name) => {}
        Value::Array(all) => all.push(json!(name)),
        other => *other = json!([name]),
    }
}

fn deployment(object: &mut Value) {
    let spec = at(object, &["spec"]);
    absent(spec, "replicas", json!(1));
    let strategy = at(spec, &["strategy"]);
    absent(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        let rolling = at(strategy, &["rollingUpdate"]);
        absent(rolling, "maxUnavailable", json!("25%"));
        absent(rolling, "maxSurge", json!("25%"));
    }
    absent(spec, "revisionHistoryLimit", json!(10));
    absent(spec, "progressDeadlineSeconds", json!(600));
    template(object, &["spec", "template"]);
}

fn stateful_set(object: &mut Value) {
    let spec = at(object, &["spec"]);
    absent(spec, "replicas", json!(1));
    absent(spec, "podManagementPolicy", json!("OrderedReady"));
    absent(spec, "revisionHistoryLimit", json!(10));
    absent(spec, "serviceName", json!(""));
    let strategy = at(spec, &["updateStrategy"]);
    absent(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        absent(at(strategy, &["rollingUpdate"]), "partition", json!(0));
    }
    let policy = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    absent(spec, "persistentVolumeClaimRetentionPolicy", policy);
    if let Some(Value::Array(claims)) = spec.get_mut("volumeClaimTemplates") {
        for claim in claims {
            absent(claim, "apiVersion", json!("v1"));
            absent(claim, "kind", json!("PersistentVolumeClaim"));
            absent(at(claim, &["spec"]), "volumeMode", json!("Filesystem"));
            absent(at(claim, &["status"]), "phase", json!("Pending"));
        }
    }
    template(object, &["spec", "template"]);
}

fn job(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        absent(spec, "completions", json!(1));
    }
    absent(spec, "parallelism", json!(1));
    absent(spec, "backoffLimit", json!(6));
    absent(spec, "completionMode", json!("NonIndexed"));
    absent(spec, "suspend", json!(false));
    template(spec, &["template"]);
}

/// A job chooses its pods by its own identity, unless it says that it does so by itself.
fn job_labels(object: &mut Value) {
    *at(object, &["status"]) = json!({});
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let (name, uid) = (
        object["metadata"]["name"].clone(),
        object["metadata"]["uid"].clone(),
    );
    let labels = at(object, &["spec", "template", "metadata", "labels"]);
    for prefix in ["", "batch.kubernetes.io/"] {
        absent(labels, &format!("{prefix}controller-uid"), uid.clone());
        absent(labels, &format!("{prefix}job-name"), name.clone());
    }
    let selector = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
    absent(at(object, &["spec"]), "selector", selector);
}

fn template(object: &mut Value, path: &[&str]) {
    let template = at(object, path);
    if template["metadata"].is_null() {
        *at(template, &["metadata"]) = json!({});
    }
    tree::take(at(template, &["metadata"]), "creationTimestamp");
    pod(at(template, &["spec"]));
}

/// A pod, or the template of one.
fn pod(spec: &mut Value) {
    for list in ["initContainers", "containers"] {
        if let Some(Value::Array(containers)) = map(spec).get_mut(list) {
            containers.iter_mut().for_each(container);
        }
    }
    if let Some(Value::Array(volumes)) = map(spec).get_mut("volumes") {
        volumes.iter_mut().for_each(volume);
    }
    absent(spec, "restartPolicy", json!("Always"));
    absent(spec, "terminationGracePeriodSeconds", json!(30));
    absent(spec, "dnsPolicy", json!("ClusterFirst"));
    absent(spec, "securityContext", json!({}));
    absent(spec, "schedulerName", json!("default-scheduler"));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        absent(spec, "serviceAccount", account);
    }
}

/// What a pod gets when it is let in, and a template does not have.
fn admitted(spec: &mut Value) {
    let stays = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
    absent(spec, "enableServiceLinks", json!(true));
    absent(spec, "priority", json!(0));
    absent(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    let keys = ["not-ready", "unreachable"].map(|k| stays(&format!("node.kubernetes.io/{k}")));
    absent(spec, "tolerations", json!(keys));
}

fn container(container: &mut Value) {
    let image = text(container, "/image");
    let last = image.rsplit('/').next().unwrap_or_default();
    let newest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    let policy = if newest { "Always" } else { "IfNotPresent" };
    if let Some(Value::Array(ports)) = map(container).get_mut("ports") {
        ports
            .iter_mut()
            .for_each(|port| absent(port, "protocol", json!("TCP")));
    }
    if let Some(Value::Array(env)) = map(container).get_mut("env") {
        for one in env {
            if let Some(from) = one.pointer_mut("/valueFrom/fieldRef") {
                absent(from, "apiVersion", json!("v1"));
            }
        }
    }
    absent(container, "resources", json!({}));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = map(container).get_mut(probe) {
            absent(probe, "timeoutSeconds", json!(1));
            absent(probe, "periodSeconds", json!(10));
            absent(probe, "successThreshold", json!(1));
            absent(probe, "failureThreshold", json!(3));
            if let Some(get) = map(probe).get_mut("httpGet") {
                absent(get, "path", json!("/"));
                absent(get, "scheme", json!("HTTP"));
            }
        }
    }
    absent(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    absent(container, "terminationMessagePolicy", json!("File"));
    absent(container, "imagePullPolicy", json!(policy));
}

fn volume(volume: &mut Value) {
    for source in ["secret", "configMap", "projected", "downwardAPI"] {
        if let Some(source) = map(volume).get_mut(source) {
            absent(source, "defaultMode", json!(420));
        }
    }
    let host = map(volume).get_mut("hostPath");
    if let Some(host) = host {
        absent(host, "type", json!(""));
    }
}

/// How well a pod is treated when memory is short; `None` for the least.
fn quality(spec: &Value) -> Option<&'static str> {
    let all = list(spec, "/containers");
    let part = |c: &Value, key: &str| {
        c["resources"][key]
            .as_object()
            .is_some_and(|m| !m.is_empty())
    };
    let guaranteed = |c: &Value| {
        let (limits, requests) = (&c["resources"]["limits"], &c["resources"]["requests"]);
        part(c, "limits")
            && limits["cpu"].is_string()
            && limits["memory"].is_string()
            && (requests.is_null() || requests == limits)
    };
    if !all.is_empty() && all.iter().all(guaranteed) {
        return Some("Guaranteed");
    }
    let any = all.iter().any(|c| part(c, "limits") || part(c, "requests"));
    any.then_some("Burstable")
}

fn service(spec: &mut Value) {
    absent(spec, "sessionAffinity", json!("None"));
    absent(spec, "type", json!("ClusterIP"));
    if spec["type"] == "ExternalName" {
        return;
    }
    absent(spec, "internalTrafficPolicy", json!("Cluster"));
    if let Some(Value::Array(ports)) = map(spec).get_mut("ports") {
        for port in ports {
            absent(port, "protocol", json!("TCP"));
            let own = port["port"].clone();
            // Clients in Go write nothing as a zero.
            if port["targetPort"] == 0 || port["targetPort"] == "" {
                tree::take(port, "targetPort");
            }
            absent(port, "targetPort", own);
        }
    }
}

/// An address of the cluster's own network that no other service has.
fn address(object: &mut Value, store: &Store) {
    *at(object, &["status"]) = json!({ "loadBalancer": {} });
    let spec = at(object, &["spec"]);
    if spec["type"] == "ExternalName" {
        return;
    }
    if text(spec, "/clusterIP").is_empty() {
        let taken: Vec<&str> = store
            .of("services", None)
            .map(|(_, s)| text(s, "/spec/clusterIP"))
            .collect();
        let free = (2..255)
            .map(|n| format!("10.0.0.{n}"))
            .find(|ip| !taken.contains(&ip.as_str()));
        if let Some(free) = free {
            map(spec).insert("clusterIP".to_owned(), json!(free));
        }
    }
    let own = spec["clusterIP"].clone();
    absent(spec, "clusterIPs", json!([own]));
    absent(spec, "ipFamilies", json!(["IPv4"]));
    absent(spec, "ipFamilyPolicy", json!("SingleStack"));
}

/// Mappings of data that are empty are not there.
fn without_nothing(object: &mut Value) {
    let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    for key in ["data", "binaryData"] {
        if object.get(key).is_some_and(is_empty) {
            tree::take(object, key);
        }
    }
}

/// What is written as text is kept as base64.
fn secret(object: &mut Value) {
    absent(object, "type", json!("Opaque"));
    // However it was broken into lines, it is kept in one.
    for value in map(at(object, &["data"])).values_mut() {
        if let Some(bytes) = value.as_str().and_then(tree::from_base64) {
            *value = json!(STANDARD.encode(bytes));
        }
    }
    if let Some(Value::Object(texts)) = tree::take(object, "stringData") {
        let data = map(at(object, &["data"]));
        for (key, value) in texts {
            let value = value.as_str().unwrap_or_default();
            data.insert(key, json!(STANDARD.encode(value)));
        }
    }
}

fn definition(object: &mut Value) {
    let now = tree::now();
    let names = object["spec"]["names"].clone();
    let versions = list(object, "/spec/versions");
    let stored = versions
        .iter()
        .filter(|v| v["storage"] == true)
        .map(|v| v["name"].clone());
    let stored: Vec<Value> = stored.collect();
    let condition = |kind: &str, reason: &str, message: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message });
    let status = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": names,
        "storedVersions": stored,
    });
    *at(object, &["status"]) = status;
    let kind = text(object, "/spec/names/kind").to_owned();
    let names = at(object, &["spec", "names"]);
    absent(names, "singular", json!(kind.to_lowercase()));
    absent(names, "listKind", json!(format!("{kind}List")));
}

/// What a new cluster has.
pub(super) fn first_namespaces() -> [&'static str; 4] {
    ["default", "kube-system", "kube-public", "kube-node-lease"]
}

/// Where a namespace is.
pub(super) fn namespace_key(name: &str) -> Key {
    Key {
        stored: "namespaces".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::api::kinds::built_in;

    fn filled(resource: &str, mut object: Value) -> Value {
        let kinds = built_in();
        let kind = kinds
            .iter()
            .find(|k| k.resource() == resource)
            .expect("a kind");
        fill(kind, &mut object);
        object
    }

    #[test]
    fn a_container_of_the_newest_image_is_always_pulled() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("host:5000/nginx", "Always"),
            ("nginx:1", "IfNotPresent"),
            ("nginx@sha256:0", "IfNotPresent"),
        ] {
            let pod = filled(
                "pods",
                json!({ "spec": { "containers": [{ "name": "c", "image": image }] } }),
            );
            assert_eq!(
                pod["spec"]["containers"][0]["imagePullPolicy"], policy,
                "{image}"
            );
        }
    }

    #[test]
    fn texts_of_a_secret_are_kept_as_base64() {
        let secret = filled("secrets", json!({ "stringData": { "a": "b" } }));
        assert_eq!(
            secret.to_string(),
            r#"{"type":"Opaque","data":{"a":"Yg=="}}"#
        );
    }

    #[test]
    fn defaults_do_not_change_what_they_have_filled() {
        let once = filled(
            "deployments.apps",
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c" }] } } } }),
        );
        assert_eq!(filled("deployments.apps", once.clone()), once);
    }
}
