//! The kinds that the server has: those that are built in, one line each, and those of custom resource
//! definitions.

use super::tree::{absent, list, map, take, text};
use serde_json::{Value, json};
use std::sync::Arc;

/// One kind in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub short: Vec<String>,
    pub namespaced: bool,
    /// It has a status of its own, which the object itself cannot be used to write.
    pub status: bool,
    pub scale: bool,
    /// kubectl shows it among `all`.
    pub all: bool,
    /// Under which name its objects are stored; the same for every version.
    pub stored: String,
    pub custom: bool,
}

impl Kind {
    /// `apps/v1`, or `v1`.
    pub(super) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `deployments.apps`, or `pods`.
    pub(super) fn resource(&self) -> String {
        qualified(&self.group, &self.plural)
    }

    /// An object is written and answered in this version.
    pub(super) fn shown(&self, object: &Value) -> Value {
        let mut out = serde_json::Map::new();
        out.insert("kind".to_owned(), json!(self.kind));
        out.insert("apiVersion".to_owned(), json!(self.api_version()));
        for (key, value) in object.as_object().into_iter().flatten() {
            if key != "kind" && key != "apiVersion" {
                out.insert(key.clone(), value.clone());
            }
        }
        let mut out = Value::Object(out);
        if self.group == "events.k8s.io" {
            renamed(&mut out, &EVENT, |(core, new)| (core, new));
        }
        out
    }

    /// The reverse of `shown`: as it is kept.
    pub(super) fn to_store(&self, object: &mut Value) {
        if self.group == "events.k8s.io" {
            renamed(object, &EVENT, |(core, new)| (new, core));
        }
        let all = map(object);
        all.insert("kind".to_owned(), json!(self.kind));
        all.insert("apiVersion".to_owned(), json!(self.api_version()));
    }
}

/// How an event's fields are called in the core group and in its own.
const EVENT: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
];

type Names = (&'static str, &'static str);

fn renamed(object: &mut Value, names: &[Names], way: impl Fn(Names) -> Names) {
    for pair in names {
        let (from, to) = way(*pair);
        if let Some(value) = take(object, from) {
            absent(object, to, value);
        }
    }
}

fn qualified(group: &str, plural: &str) -> String {
    match group {
        "" => plural.to_owned(),
        group => format!("{plural}.{group}"),
    }
}

/// Group, versions, plural, kind, short names, and marks: `n` in a namespace, `s` with a status, `c` with a
/// scale, `a` among all.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
);

const STORAGE: &str = "storage.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORK: &str = "networking.k8s.io";

#[rustfmt::skip]
const ROWS: [Row; 38] = [
    ("", &["v1"], "namespaces", "Namespace", &["ns"], "s"),
    ("", &["v1"], "pods", "Pod", &["po"], "nsa"),
    ("", &["v1"], "services", "Service", &["svc"], "nsa"),
    ("", &["v1"], "endpoints", "Endpoints", &["ep"], "n"),
    ("", &["v1"], "secrets", "Secret", &[], "n"),
    ("", &["v1"], "configmaps", "ConfigMap", &["cm"], "n"),
    ("", &["v1"], "serviceaccounts", "ServiceAccount", &["sa"], "n"),
    ("", &["v1"], "persistentvolumes", "PersistentVolume", &["pv"], "s"),
    ("", &["v1"], "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], "ns"),
    ("", &["v1"], "nodes", "Node", &["no"], "s"),
    ("", &["v1"], "events", "Event", &["ev"], "n"),
    ("", &["v1"], "resourcequotas", "ResourceQuota", &["quota"], "ns"),
    ("", &["v1"], "limitranges", "LimitRange", &["limits"], "n"),
    ("", &["v1"], "replicationcontrollers", "ReplicationController", &["rc"], "nsca"),
    ("apps", &["v1"], "deployments", "Deployment", &["deploy"], "nsca"),
    ("apps", &["v1"], "replicasets", "ReplicaSet", &["rs"], "nsca"),
    ("apps", &["v1"], "statefulsets", "StatefulSet", &["sts"], "nsca"),
    ("apps", &["v1"], "daemonsets", "DaemonSet", &["ds"], "nsa"),
    ("apps", &["v1"], "controllerrevisions", "ControllerRevision", &[], "n"),
    ("batch", &["v1"], "jobs", "Job", &[], "nsa"),
    ("batch", &["v1", "v1beta1"], "cronjobs", "CronJob", &["cj"], "nsa"),
    (NETWORK, &["v1"], "ingresses", "Ingress", &["ing"], "ns"),
    (NETWORK, &["v1"], "ingressclasses", "IngressClass", &[], ""),
    (NETWORK, &["v1"], "networkpolicies", "NetworkPolicy", &["netpol"], "n"),
    (STORAGE, &["v1"], "storageclasses", "StorageClass", &["sc"], ""),
    (STORAGE, &["v1"], "csidrivers", "CSIDriver", &[], ""),
    (STORAGE, &["v1"], "volumeattachments", "VolumeAttachment", &[], "s"),
    (RBAC, &["v1"], "roles", "Role", &[], "n"),
    (RBAC, &["v1"], "rolebindings", "RoleBinding", &[], "n"),
    (RBAC, &["v1"], "clusterroles", "ClusterRole", &[], ""),
    (RBAC, &["v1"], "clusterrolebindings", "ClusterRoleBinding", &[], ""),
    ("coordination.k8s.io", &["v1"], "leases", "Lease", &[], "n"),
    ("policy", &["v1"], "poddisruptionbudgets", "PodDisruptionBudget", &["pdb"], "ns"),
    ("autoscaling", &["v2", "v1"], "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], "nsa"),
    ("apiextensions.k8s.io", &["v1"], "customresourcedefinitions", "CustomResourceDefinition", &["crd", "crds"], "s"),
    ("events.k8s.io", &["v1"], "events", "Event", &["ev"], "n"),
    ("scheduling.k8s.io", &["v1"], "priorityclasses", "PriorityClass", &["pc"], ""),
    ("discovery.k8s.io", &["v1"], "endpointslices", "EndpointSlice", &[], "n"),
];

/// Where custom resource definitions are stored.
pub(super) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Kinds that only answer and are never stored: group, version, plural, kind.
pub(super) const REVIEWS: [(&str, &str, &str, &str); 3] = [
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
    ),
    (
        "authentication.k8s.io",
        "v1",
        "selfsubjectreviews",
        "SelfSubjectReview",
    ),
];

/// Every kind that is built in.
pub(super) fn built_in() -> Vec<Arc<Kind>> {
    let mut all = Vec::new();
    for (group, versions, plural, kind, short, marks) in ROWS {
        for version in versions {
            all.push(Arc::new(Kind {
                group: group.to_owned(),
                version: (*version).to_owned(),
                plural: plural.to_owned(),
                kind: kind.to_owned(),
                short: short.iter().map(|s| (*s).to_owned()).collect(),
                namespaced: marks.contains('n'),
                status: marks.contains('s'),
                scale: marks.contains('c'),
                all: marks.contains('a'),
                stored: match group {
                    "events.k8s.io" => plural.to_owned(),
                    _ => qualified(group, plural),
                },
                custom: false,
            }));
        }
    }
    all
}

/// The kinds of a definition: one for each version that it serves.
pub(super) fn defined(definition: &Value) -> Vec<Arc<Kind>> {
    let group = text(definition, "/spec/group");
    let plural = text(definition, "/spec/names/plural");
    let served = list(definition, "/spec/versions")
        .iter()
        .filter(|v| v["served"] != false);
    served
        .map(|version| {
            let short = list(definition, "/spec/names/shortNames").iter();
            let categories = list(definition, "/spec/names/categories");
            Arc::new(Kind {
                group: group.to_owned(),
                version: text(version, "/name").to_owned(),
                plural: plural.to_owned(),
                kind: text(definition, "/spec/names/kind").to_owned(),
                short: short.filter_map(Value::as_str).map(str::to_owned).collect(),
                namespaced: definition["spec"]["scope"] != "Cluster",
                status: version.pointer("/subresources/status").is_some(),
                scale: false,
                all: categories.iter().any(|c| c == "all"),
                stored: qualified(group, plural),
                custom: true,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_path() {
        let all = built_in();
        for (i, one) in all.iter().enumerate() {
            let twin = all.iter().skip(i + 1).find(|o| {
                (&o.group, &o.version, &o.plural) == (&one.group, &one.version, &one.plural)
            });
            assert!(twin.is_none(), "{one:?}");
        }
    }

    #[test]
    fn an_event_has_other_names_in_its_own_group() {
        let kinds = built_in();
        let event = kinds
            .iter()
            .find(|k| k.group == "events.k8s.io")
            .expect("events");
        let shown = event.shown(&json!({ "involvedObject": { "name": "x" }, "message": "m" }));
        assert_eq!(shown["regarding"]["name"], "x");
        assert_eq!(shown["note"], "m");
    }
}
