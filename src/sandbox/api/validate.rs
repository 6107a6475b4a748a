//! What the server does not take: names, missing parts, and changes of what cannot be changed.

use super::{
    kinds::Kind,
    status::{Cause, Status},
    tree::{list, take, text},
};
use serde_json::{Map, Value};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const OLD_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const DATA_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const IMMUTABLE: &str = "field is immutable";

fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(inner) && name.bytes().last().is_some_and(inner);
    ends && name.len() <= 63 && name.bytes().all(|b| inner(b) || b == b'-')
}

fn is_subdomain(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |p: &str| {
        let ends = p.bytes().next().is_some_and(inner) && p.bytes().last().is_some_and(inner);
        ends && p.bytes().all(|b| inner(b) || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// Refuses an object where there is anything wrong with it.
pub(super) fn refuse(kind: &Kind, object: &Value, causes: &[Cause]) -> Result<(), Status> {
    match causes.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(
            kind,
            text(object, "/metadata/name"),
            causes,
        )),
    }
}

/// May a label have this value?
fn is_label_value(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric();
    let ends = value.bytes().next().is_none_or(inner) && value.bytes().last().is_none_or(inner);
    let all = value.bytes().all(|b| inner(b) || b"-_.".contains(&b));
    ends && all && value.len() <= 63
}

fn labels(object: &Value) -> Vec<Cause> {
    let held = object["metadata"]["labels"].as_object();
    let values = held.into_iter().flatten().filter_map(|(_, v)| v.as_str());
    let wrong = values.filter(|v| !is_label_value(v));
    wrong
        .map(|v| Cause::invalid("metadata.labels", &format!("{v:?}"), LABEL_VALUE))
        .collect()
}

/// An object that is to be made.
pub(super) fn new(kind: &Kind, object: &Value) -> Result<(), Status> {
    let name = text(object, "/metadata/name");
    let mut causes = Vec::new();
    let plain = kind.group != "rbac.authorization.k8s.io";
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if kind.stored == "services" {
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || !is_label(name) {
            let shown = format!("{name:?}");
            causes.push(Cause::invalid("metadata.name", &shown, OLD_LABEL));
        }
    } else if kind.stored == "namespaces" {
        if !is_label(name) {
            causes.push(Cause::invalid("metadata.name", &format!("{name:?}"), LABEL));
        }
    } else if plain && !is_subdomain(name) {
        causes.push(Cause::invalid(
            "metadata.name",
            &format!("{name:?}"),
            SUBDOMAIN,
        ));
    }
    causes.extend(labels(object));
    causes.extend(parts(kind, object));
    refuse(kind, object, &causes)
}

/// What has to be there, at creation and after every change.
fn parts(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match kind.resource().as_str() {
        "pods" => pod(&object["spec"], "spec", &mut causes),
        "deployments.apps" | "replicasets.apps" | "statefulsets.apps" | "daemonsets.apps" => {
            workload(object, &mut causes);
        }
        "jobs.batch" => ends(
            &object["spec"]["template"]["spec"],
            "spec.template.spec",
            &mut causes,
        ),
        "services" => service(&object["spec"], &mut causes),
        "configmaps" | "secrets" => data_keys(object, &mut causes),
        "persistentvolumes" if object.pointer("/spec/capacity/storage").is_none() => {
            causes.push(Cause::required("spec.capacity", ""));
            let storage = "\"storage\"";
            causes.push(Cause::unsupported(
                "spec.capacity",
                "core.ResourceList{}",
                storage,
            ));
        }
        "storageclasses.storage.k8s.io" if text(object, "/provisioner").is_empty() => {
            causes.push(Cause::required("provisioner", ""));
        }
        "ingresses.networking.k8s.io" => {
            let spec = &object["spec"];
            if list(spec, "/rules").is_empty() && spec["defaultBackend"].is_null() {
                let why = "either `defaultBackend` or `rules` must be specified";
                causes.push(Cause::invalid("spec", "[]networking.IngressRule{}", why));
            }
        }
        "cronjobs.batch" => {
            if text(object, "/spec/schedule").is_empty() {
                causes.push(Cause::required("spec.schedule", ""));
            }
            let template = &object["spec"]["jobTemplate"]["spec"]["template"]["spec"];
            ends(template, "spec.jobTemplate.spec.template.spec", &mut causes);
        }
        "persistentvolumeclaims" => {
            if list(object, "/spec/accessModes").is_empty() {
                causes.push(Cause::required(
                    "spec.accessModes",
                    "at least 1 access mode is required",
                ));
            }
            if object.pointer("/spec/resources/requests/storage").is_none() {
                causes.push(Cause::required("spec.resources[storage]", ""));
            }
        }
        "customresourcedefinitions.apiextensions.k8s.io" => {
            let (name, group) = (text(object, "/metadata/name"), text(object, "/spec/group"));
            let wanted = format!("{}.{group}", text(object, "/spec/names/plural"));
            if name != wanted {
                let why = "must be spec.names.plural+\".\"+spec.group";
                causes.push(Cause::invalid("metadata.name", &format!("{name:?}"), why));
            }
        }
        _ => {}
    }
    causes
}

/// A pod that is to end some time.
fn ends(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    if !["OnFailure", "Never"].contains(&text(spec, "/restartPolicy")) {
        let why = "valid values: \"OnFailure\", \"Never\"";
        causes.push(Cause::required(&format!("{at}.restartPolicy"), why));
    }
    pod(spec, at, causes);
}

fn service(spec: &Value, causes: &mut Vec<Cause>) {
    let ports = list(spec, "/ports");
    let headless = spec["clusterIP"] == "None" || spec["type"] == "ExternalName";
    if ports.is_empty() && !headless {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{i}].{name}");
        let name = text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(&field("name"), ""));
        } else if !name.is_empty() && names.contains(&name) {
            causes.push(Cause::duplicate(&field("name"), &format!("{name:?}")));
        }
        names.push(name);
        for key in ["port", "targetPort"] {
            if let Some(number) = port[key].as_i64().filter(|n| !(1..=65535).contains(n)) {
                let why = "must be between 1 and 65535, inclusive";
                causes.push(Cause::invalid(&field(key), &number.to_string(), why));
            }
        }
    }
}

fn data_keys(object: &Value, causes: &mut Vec<Cause>) {
    for part in ["data", "binaryData"] {
        for key in object[part].as_object().into_iter().flat_map(Map::keys) {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if key.is_empty() || !key.bytes().all(plain) {
                let field = format!("{part}[{key}]");
                causes.push(Cause::invalid(&field, &format!("{key:?}"), DATA_KEY));
            }
        }
    }
}

fn workload(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let replicas = spec["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &replicas.to_string(), why));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    match spec["selector"].as_object().filter(|s| !s.is_empty()) {
        None => {
            causes.push(Cause::required("spec.selector", ""));
            if labels.as_object().is_some_and(|l| !l.is_empty()) {
                causes.push(unselected(labels));
            }
        }
        Some(selector) => {
            let wanted = selector.get("matchLabels").and_then(Value::as_object);
            let fits = wanted
                .into_iter()
                .flatten()
                .all(|(k, v)| labels.get(k) == Some(v));
            if !fits {
                causes.push(unselected(labels));
            }
        }
    }
    pod(&spec["template"]["spec"], "spec.template.spec", causes);
}

fn pod(spec: &Value, at: &str, causes: &mut Vec<Cause>) {
    let containers = list(spec, "/containers");
    if containers.is_empty() {
        causes.push(Cause::required(&format!("{at}.containers"), ""));
    }
    let mut names = Vec::new();
    for (i, container) in containers.iter().enumerate() {
        let name = text(container, "/name");
        let field = format!("{at}.containers[{i}]");
        if name.is_empty() {
            causes.push(Cause::required(&format!("{field}.name"), ""));
        } else if !is_label(name) {
            causes.push(Cause::invalid(
                &format!("{field}.name"),
                &format!("{name:?}"),
                LABEL,
            ));
        }
        names.push(name);
        if text(container, "/image").is_empty() {
            causes.push(Cause::required(&format!("{field}.image"), ""));
        }
    }
    for (i, container) in containers.iter().enumerate() {
        for (j, mount) in list(container, "/volumeMounts").iter().enumerate() {
            let name = text(mount, "/name");
            if !list(spec, "/volumes").iter().any(|v| v["name"] == name) {
                let field = format!("{at}.containers[{i}].volumeMounts[{j}].name");
                let message = format!("{name:?}");
                causes.push(Cause::missing(&field, &message));
            }
        }
    }
}

fn unselected(labels: &Value) -> Cause {
    let why = "`selector` does not match template `labels`";
    Cause::invalid("spec.template.metadata.labels", &go_map(labels), why)
}

/// A mapping of texts, as Go prints it.
fn go_map(value: &Value) -> String {
    let mut all: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k:?}:{v}"))
        .collect();
    all.sort();
    match all.is_empty() {
        true => "map[string]string(nil)".to_owned(),
        false => format!("map[string]string{{{}}}", all.join(", ")),
    }
}

fn go_selector(selector: &Value) -> String {
    let labels = go_map(&selector["matchLabels"]);
    format!(
        "v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}}"
    )
}

/// A change of an object: what was set once stays.
pub(super) fn change(kind: &Kind, old: &Value, new: &Value) -> Result<(), Status> {
    let mut causes = Vec::new();
    let (was, is) = (&old["spec"], &new["spec"]);
    match kind.resource().as_str() {
        "deployments.apps" | "replicasets.apps" | "daemonsets.apps" => {
            same_selector(was, is, &mut causes)
        }
        "statefulsets.apps" => {
            let free = [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ];
            if without(was, &free) != without(is, &free) {
                let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
                causes.push(Cause::forbidden("spec", why));
            }
        }
        "jobs.batch" => {
            if was["selector"] != is["selector"] {
                causes.push(Cause::invalid(
                    "spec.selector",
                    &go_selector(&is["selector"]),
                    IMMUTABLE,
                ));
            }
            if was["template"] != is["template"] && was["suspend"] != true {
                let shown = format!("core.PodTemplateSpec{}", is["template"]);
                causes.push(Cause::invalid("spec.template", &shown, IMMUTABLE));
            }
            if was["completions"] != is["completions"] && is["completionMode"] != "Indexed" {
                let shown = is["completions"].to_string();
                causes.push(Cause::invalid("spec.completions", &shown, IMMUTABLE));
            }
        }
        "persistentvolumeclaims" => claim(was, is, &mut causes),
        "persistentvolumes" => volume(was, is, &mut causes),
        "services" => {
            let (old_ip, new_ip) = (text(was, "/clusterIP"), text(is, "/clusterIP"));
            if !old_ip.is_empty() && old_ip != new_ip && is["type"] != "ExternalName" {
                let shown = format!("[]string{{{new_ip:?}}}");
                causes.push(Cause::invalid(
                    "spec.clusterIPs[0]",
                    &shown,
                    "may not change once set",
                ));
            }
        }
        "pods" if bare(was) != bare(is) => {
            let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
            causes.push(Cause::forbidden("spec", why));
        }
        "secrets" | "configmaps" => {
            let held = old["immutable"] == true;
            let parts = ["immutable", "data", "binaryData"];
            for part in parts.iter().filter(|k| held && old[**k] != new[**k]) {
                let why = "field is immutable when `immutable` is set";
                causes.push(Cause::forbidden(part, why));
            }
            if old["type"] != new["type"] {
                causes.push(Cause::invalid("type", &new["type"].to_string(), IMMUTABLE));
            }
        }
        "storageclasses.storage.k8s.io" => {
            for field in [
                "provisioner",
                "parameters",
                "reclaimPolicy",
                "volumeBindingMode",
            ] {
                if old[field] != new[field] {
                    causes.push(Cause::forbidden(
                        field,
                        &format!("updates to {field} are forbidden."),
                    ));
                }
            }
        }
        "rolebindings.rbac.authorization.k8s.io"
        | "clusterrolebindings.rbac.authorization.k8s.io"
            if old["roleRef"] != new["roleRef"] =>
        {
            let shown = new["roleRef"].to_string();
            causes.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
        }
        _ => {}
    }
    if old["metadata"]["labels"] != new["metadata"]["labels"] {
        causes.extend(labels(new));
    }
    causes.extend(parts(kind, new));
    refuse(kind, new, &causes)
}

fn same_selector(was: &Value, is: &Value, causes: &mut Vec<Cause>) {
    if was["selector"] != is["selector"] {
        causes.push(Cause::invalid(
            "spec.selector",
            &go_selector(&is["selector"]),
            IMMUTABLE,
        ));
    }
}

fn without(spec: &Value, keys: &[&str]) -> Value {
    let mut out = spec.clone();
    for key in keys {
        take(&mut out, key);
    }
    out
}

fn claim(was: &Value, is: &Value, causes: &mut Vec<Cause>) {
    let bound = !text(was, "/volumeName").is_empty();
    let mut free = vec!["volumeAttributesClassName"];
    if bound {
        free.push("resources");
    } else {
        free.push("volumeName");
    }
    // A class may be given once to a claim that had none.
    if was["storageClassName"].is_null() {
        free.push("storageClassName");
    }
    if without(was, &free) != without(is, &free) {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        causes.push(Cause::forbidden("spec", why));
    }
}

fn volume(was: &Value, is: &Value, causes: &mut Vec<Cause>) {
    let sources = [
        "csi",
        "hostPath",
        "nfs",
        "local",
        "azureDisk",
        "azureFile",
        "awsElasticBlockStore",
    ];
    let source = |spec: &Value| -> Map<String, Value> {
        let all = spec.as_object().into_iter().flatten();
        let all = all.filter(|(k, _)| sources.contains(&k.as_str()));
        all.map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    if source(was) != source(is) {
        let why = "spec.persistentvolumesource is immutable after creation";
        causes.push(Cause::forbidden("spec.persistentvolumesource", why));
    }
    if was["volumeMode"] != is["volumeMode"] {
        causes.push(Cause::invalid(
            "spec.volumeMode",
            &is["volumeMode"].to_string(),
            IMMUTABLE,
        ));
    }
    if !was["nodeAffinity"].is_null() && was["nodeAffinity"] != is["nodeAffinity"] {
        causes.push(Cause::invalid(
            "spec.nodeAffinity",
            "core.VolumeNodeAffinity",
            IMMUTABLE,
        ));
    }
}

/// A pod without what may be changed.
fn bare(spec: &Value) -> Value {
    let free = ["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    let mut out = without(spec, &free);
    for kind in ["containers", "initContainers"] {
        if let Some(Value::Array(all)) = out.get_mut(kind) {
            for one in all {
                take(one, "image");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::api::kinds::built_in;
    use serde_json::json;

    fn kind(resource: &str) -> std::sync::Arc<Kind> {
        built_in()
            .into_iter()
            .find(|k| k.resource() == resource)
            .expect("a kind")
    }

    fn deployment(selector: &str, label: &str) -> Value {
        json!({ "metadata": { "name": "x" }, "spec": {
            "selector": { "matchLabels": { "app": selector } },
            "template": {
                "metadata": { "labels": { "app": label } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] },
            },
        } })
    }

    #[test]
    fn a_bad_name_is_told_in_the_words_of_a_real_server() {
        let pod = json!({ "metadata": { "name": "X" }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
        let status = new(&kind("pods"), &pod).expect_err("a bad name");
        let start = "Pod \"X\" is invalid: metadata.name: Invalid value: \"X\": a lowercase RFC 1123 subdomain";
        assert!(status.message.starts_with(start), "{}", status.message);
        assert_eq!(
            status.value()["details"]["causes"][0]["field"],
            "metadata.name"
        );
    }

    #[test]
    fn a_selector_has_to_fit_and_stays() {
        let kind = kind("deployments.apps");
        assert!(new(&kind, &deployment("a", "a")).is_ok());
        let status = new(&kind, &deployment("a", "b")).expect_err("it does not fit");
        assert_eq!(
            status.message,
            "Deployment.apps \"x\" is invalid: spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"b\"}: `selector` does not match template `labels`"
        );
        let status =
            change(&kind, &deployment("a", "a"), &deployment("b", "b")).expect_err("it stays");
        assert_eq!(
            status.message,
            "Deployment.apps \"x\" is invalid: spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app\":\"b\"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable"
        );
    }

    #[test]
    fn a_claim_is_bound_once() {
        let claim = |volume: Value, size: &str| json!({ "metadata": { "name": "x" }, "spec": { "accessModes": ["ReadWriteOnce"], "volumeName": volume, "resources": { "requests": { "storage": size } } } });
        let kind = kind("persistentvolumeclaims");
        let free = json!({ "metadata": { "name": "x" }, "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
        assert!(change(&kind, &free, &claim(json!("v"), "1Gi")).is_ok());
        assert!(change(&kind, &free, &claim(json!("v"), "2Gi")).is_err());
        assert!(change(&kind, &claim(json!("v"), "1Gi"), &claim(json!("v"), "2Gi")).is_ok());
        assert!(change(&kind, &claim(json!("v"), "1Gi"), &claim(json!("w"), "1Gi")).is_err());
    }

    #[test]
    fn of_a_pod_only_the_image_changes() {
        let pod = |image: &str, name: &str| json!({ "metadata": { "name": "x" }, "spec": { "containers": [{ "name": name, "image": image }] } });
        let kind = kind("pods");
        assert!(change(&kind, &pod("a", "c"), &pod("b", "c")).is_ok());
        assert!(change(&kind, &pod("a", "c"), &pod("a", "d")).is_err());
    }
}
