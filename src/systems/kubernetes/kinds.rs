//! Where objects of a kind are: what people call it, and its path in the API.

use super::{Cluster, Trouble};
use crate::domain::finding::did_you_mean;
use serde_json::Value;

/// What kubectl takes, the plural, the group and version, and whether it stands in a namespace.
type Row = (&'static [&'static str], &'static str, &'static str, bool);

const KINDS: [Row; 24] = [
    (&["pod", "po"], "pods", "api/v1", true),
    (&["service", "svc"], "services", "api/v1", true),
    (&["endpoints", "ep"], "endpoints", "api/v1", true),
    (&["configmap", "cm"], "configmaps", "api/v1", true),
    (&["secret"], "secrets", "api/v1", true),
    (&["serviceaccount", "sa"], "serviceaccounts", "api/v1", true),
    (
        &["persistentvolumeclaim", "pvc"],
        "persistentvolumeclaims",
        "api/v1",
        true,
    ),
    (
        &["persistentvolume", "pv"],
        "persistentvolumes",
        "api/v1",
        false,
    ),
    (&["namespace", "ns"], "namespaces", "api/v1", false),
    (&["node", "no"], "nodes", "api/v1", false),
    (&["event", "ev"], "events", "api/v1", true),
    (
        &["deployment", "deploy"],
        "deployments",
        "apis/apps/v1",
        true,
    ),
    (
        &["statefulset", "sts"],
        "statefulsets",
        "apis/apps/v1",
        true,
    ),
    (&["daemonset", "ds"], "daemonsets", "apis/apps/v1", true),
    (&["replicaset", "rs"], "replicasets", "apis/apps/v1", true),
    (&["job"], "jobs", "apis/batch/v1", true),
    (
        &["ingress", "ing"],
        "ingresses",
        "apis/networking.k8s.io/v1",
        true,
    ),
    (
        &["networkpolicy", "netpol"],
        "networkpolicies",
        "apis/networking.k8s.io/v1",
        true,
    ),
    (
        &["storageclass", "sc"],
        "storageclasses",
        "apis/storage.k8s.io/v1",
        false,
    ),
    (
        &["role"],
        "roles",
        "apis/rbac.authorization.k8s.io/v1",
        true,
    ),
    (
        &["rolebinding"],
        "rolebindings",
        "apis/rbac.authorization.k8s.io/v1",
        true,
    ),
    (
        &["clusterrole"],
        "clusterroles",
        "apis/rbac.authorization.k8s.io/v1",
        false,
    ),
    (
        &["clusterrolebinding"],
        "clusterrolebindings",
        "apis/rbac.authorization.k8s.io/v1",
        false,
    ),
    (&["lease"], "leases", "apis/coordination.k8s.io/v1", true),
];

/// An object's place in the API.
pub(crate) struct Place {
    base: String,
    pub plural: String,
    namespaced: bool,
    pub name: String,
}

impl Place {
    /// `deployment/x`, `sts/x`, `certificate.cert-manager.io/x`; what is not known is asked of the cluster.
    pub(crate) async fn of(cluster: &Cluster, what: &str) -> Result<Self, Trouble> {
        let Some((kind, name)) = what.split_once('/') else {
            return Err(Trouble::cannot_tell(
                format!("`{what}` names no object"),
                "write kind/name: deployment/x",
            ));
        };
        let (bare, group) = kind
            .split_once('.')
            .map_or((kind, None), |(k, g)| (k, Some(g)));
        let bare = bare.to_ascii_lowercase();
        let known = KINDS.iter().find(|(names, plural, ..)| {
            group.is_none() && (names.contains(&bare.as_str()) || *plural == bare)
        });
        if let Some((_, plural, base, namespaced)) = known {
            return Ok(Self {
                base: (*base).to_owned(),
                plural: (*plural).to_owned(),
                namespaced: *namespaced,
                name: name.to_owned(),
            });
        }
        discovered(cluster, &bare, group, name).await
    }

    pub(crate) fn path(&self, namespace: &str) -> String {
        format!("{}/{}", self.collection(namespace), self.name)
    }

    /// Where objects of this kind are listed and made.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        let Self { base, plural, .. } = self;
        match self.namespaced {
            true => format!("/{base}/namespaces/{namespace}/{plural}"),
            false => format!("/{base}/{plural}"),
        }
    }

    pub(crate) fn namespaced(&self) -> bool {
        self.namespaced
    }

    /// `apps/v1`, or `v1`.
    pub(crate) fn group_version(&self) -> &str {
        let base = self.base.strip_prefix("apis/");
        base.or_else(|| self.base.strip_prefix("api/"))
            .unwrap_or(&self.base)
    }
}

/// The kind among all that the cluster serves.
async fn discovered(
    cluster: &Cluster,
    kind: &str,
    group: Option<&str>,
    name: &str,
) -> Result<Place, Trouble> {
    let groups = cluster.get("/apis").await?.unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    if group.is_none() {
        // The kinds of the first days have no group.
        let core = cluster.get("/api/v1").await?.unwrap_or_default();
        if let Some(found) = in_list(&core, "api/v1", kind, name, &mut names) {
            return Ok(found);
        }
    }
    for one in groups["groups"].as_array().into_iter().flatten() {
        let of = one["name"].as_str().unwrap_or_default();
        if group.is_some_and(|g| g != of) {
            continue;
        }
        let preferred = one["preferredVersion"]["groupVersion"].as_str();
        let versions = one["versions"].as_array().into_iter().flatten();
        let versions = versions.filter_map(|v| v["groupVersion"].as_str());
        for version in preferred
            .into_iter()
            .chain(versions.filter(|v| Some(*v) != preferred))
        {
            let list = cluster
                .get(&format!("/apis/{version}"))
                .await?
                .unwrap_or_default();
            let base = format!("apis/{version}");
            if let Some(found) = in_list(&list, &base, kind, name, &mut names) {
                return Ok(found);
            }
        }
    }
    let own = KINDS.iter().map(|(_, plural, ..)| *plural);
    let help = did_you_mean(kind, own.chain(names.iter().map(String::as_str)));
    Err(Trouble::Down(format!(
        "the cluster has no kind `{kind}`; {help}"
    )))
}

/// The kind in a list of resources; those that it is not are noted.
fn in_list(
    list: &Value,
    base: &str,
    kind: &str,
    name: &str,
    names: &mut Vec<String>,
) -> Option<Place> {
    for resource in list["resources"].as_array().into_iter().flatten() {
        let plural = resource["name"].as_str().unwrap_or_default();
        if plural.contains('/') {
            continue;
        }
        let short = resource["shortNames"].as_array().into_iter().flatten();
        let calls = [&resource["singularName"], &resource["kind"]];
        let mut calls = calls.into_iter().chain(short).filter_map(Value::as_str);
        if plural == kind || calls.any(|c| c.eq_ignore_ascii_case(kind)) {
            return Some(Place {
                base: base.to_owned(),
                plural: plural.to_owned(),
                namespaced: resource["namespaced"] == true,
                name: name.to_owned(),
            });
        }
        names.push(plural.to_owned());
    }
    None
}
