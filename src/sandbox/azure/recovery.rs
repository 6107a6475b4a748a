//! Recovery points: what was in the namespace when each was taken, and how that comes into another cluster.

use super::{
    Asked, Refused, aks, backup, disks, held, id,
    roles::{self, guid},
};
use crate::{
    sandbox::world::{World, cluster::Kube, random_text},
    systems::kubernetes::Body,
};
use axum::http::{Method, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc, time::SystemTime};

const VOLUMES: &str = "persistentvolumes";
const CLAIMS: &str = "persistentvolumeclaims";
const NAMESPACES: &str = "namespaces";
const CLASSES: &str = "storageclasses.storage.k8s.io";
/// Minutes before the incident at which the points were taken: every four hours.
const AGES: [i64; 3] = [55, 55 + 240, 55 + 480];

/// One recovery point.
pub(crate) struct Point {
    pub name: String,
    pub at: DateTime<Utc>,
    /// The plural with the group of each, and the object.
    objects: Vec<(String, Value)>,
    /// Claims to the ids of their snapshots.
    snapshots: BTreeMap<String, String>,
}

/// The points of a namespace, from before an incident that has yet to happen.
pub(crate) async fn taken(
    world: &Arc<World>,
    kube: &Kube,
    namespace: &str,
    damaged: DateTime<Utc>,
) -> io::Result<()> {
    let objects = chosen(&kube.stored(namespace).await, namespace);
    for age in AGES {
        let at = damaged - TimeDelta::minutes(age);
        let name = guid(&format!("recovery point of {at}"));
        let mut snapshots = BTreeMap::new();
        for (_, volume) in objects.iter().filter(|(stored, _)| stored == VOLUMES) {
            let claim = text(volume, "/spec/claimRef/name");
            let snapshot = snapshot_of(world, text(volume, "/spec/csi/volumeHandle"), claim, at)?;
            snapshots.insert(claim.to_owned(), snapshot);
        }
        let point = Point {
            name,
            at,
            objects: objects.clone(),
            snapshots,
        };
        held(world).vault.points.push(point);
    }
    let mut azure = held(world);
    let cluster = id(aks::GROUP, aks::KIND, &kube.name);
    let snapshots = super::group_id(backup::SNAPSHOT_GROUP);
    for (who, role, scope) in [
        (
            aks::principal_of(&kube.name, backup::EXTENSION),
            roles::BLOBS,
            roles::account_id(),
        ),
        (backup::principal(), roles::READER, cluster),
        (backup::principal(), roles::SNAPSHOTS, snapshots.clone()),
        (aks::principal(&kube.name), roles::CONTRIBUTOR, snapshots),
    ] {
        roles::give(&mut azure, &who, role, &scope);
    }
    Ok(())
}

/// A snapshot of a disk as it was then: what was written later is not on it.
fn snapshot_of(
    world: &Arc<World>,
    disk: &str,
    claim: &str,
    at: DateTime<Utc>,
) -> io::Result<String> {
    let name = format!("{}-{claim}-{}", backup::EXTENSION, at.format("%Y%m%d%H%M"));
    let put = Method::PUT;
    let body = json!({ "tags": { "managed-by": backup::EXTENSION }, "properties": { "incremental": true, "creationData": { "createOption": "Copy", "sourceResourceId": disk } } });
    let rest = [name.as_str()];
    let asked = Asked {
        method: &put,
        group: backup::SNAPSHOT_GROUP,
        rest: &rest,
        body: &body,
    };
    disks::snapshots(world, &asked).map_err(|e| io::Error::other(e.message))?;
    disks::dated(world, &name, at);
    // Caches are rewritten as a whole: a part of them would be none.
    if !claim.contains("redis") {
        forget_newer(&world.folder.at("azure/snapshots").join(&name), at.into())?;
    }
    Ok(id(
        backup::SNAPSHOT_GROUP,
        "Microsoft.Compute/snapshots",
        &name,
    ))
}

fn forget_newer(folder: &Path, at: SystemTime) -> io::Result<()> {
    for file in fs::read_dir(folder)?.flatten() {
        let meta = file.metadata()?;
        if meta.is_file() && meta.modified()? > at {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

fn text<'v>(value: &'v Value, at: &str) -> &'v str {
    value
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The objects of a namespace, with its volumes and the classes of them, as they would be made anew.
fn chosen(stored: &Value, namespace: &str) -> Vec<(String, Value)> {
    let all = stored["objects"].as_array().into_iter().flatten();
    let mut out: Vec<(String, Value)> = Vec::new();
    for one in all {
        let (stored, object) = (text(one, "/stored"), &one["object"]);
        let wanted = match stored {
            NAMESPACES => text(object, "/metadata/name") == namespace,
            VOLUMES => text(object, "/spec/claimRef/namespace") == namespace,
            CLASSES => true,
            _ => {
                // What has an owner is made by its owner.
                let owned = object["metadata"]["ownerReferences"]
                    .as_array()
                    .is_some_and(|o| !o.is_empty());
                // The token of a service account is its cluster's own.
                let own = text(object, "/type") == "kubernetes.io/service-account-token";
                text(object, "/metadata/namespace") == namespace && !owned && !own
            }
        };
        if wanted {
            out.push((stored.to_owned(), bare(object)));
        }
    }
    // What others need comes first; otherwise the order stays.
    out.sort_by_key(|(stored, _)| match stored.as_str() {
        CLASSES => 0,
        NAMESPACES => 1,
        VOLUMES => 2,
        CLAIMS => 3,
        "secrets" | "configmaps" | "serviceaccounts" => 4,
        _ => 5,
    });
    out
}

/// An object without what a cluster has written into it.
fn bare(object: &Value) -> Value {
    let mut out = object.clone();
    if let Some(all) = out.as_object_mut() {
        all.remove("status");
    }
    if let Some(metadata) = out["metadata"].as_object_mut() {
        for key in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
            "selfLink",
            "finalizers",
            "deletionTimestamp",
        ] {
            metadata.remove(key);
        }
        if let Some(notes) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            notes.retain(|name, _| {
                !name.starts_with("pv.kubernetes.io/")
                    && !name.starts_with("deployment.kubernetes.io/")
            });
        }
    }
    if let Some(spec) = out["spec"].as_object_mut() {
        for key in ["clusterIP", "clusterIPs"] {
            spec.remove(key);
        }
        if let Some(held) = spec.get_mut("claimRef").and_then(Value::as_object_mut) {
            for key in ["uid", "resourceVersion"] {
                held.remove(key);
            }
        }
    }
    if out["spec"].is_null()
        && let Some(all) = out.as_object_mut()
    {
        // Looking for it has put it there.
        all.remove("spec");
    }
    out
}

fn failed(said: impl Into<String>) -> Refused {
    Refused::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "UserErrorKubernetesRestoreFailed",
        said,
    )
}

/// Makes what a point holds in another cluster, as far as the criteria want it; what is there already stays.
pub(super) async fn restored(
    world: &Arc<World>,
    point: &str,
    target: &str,
    criteria: &Value,
) -> Result<(), Refused> {
    let kube = world
        .cluster(target)
        .ok_or_else(|| failed(format!("the cluster {target} does not answer")))?;
    let (objects, snapshots, group) = {
        let azure = held(world);
        let found = azure.vault.points.iter().find(|p| p.name == point);
        let (Some(found), Some(cluster)) = (found, azure.managed.get(target)) else {
            return Err(failed(
                "the recovery point or the cluster is not there any more",
            ));
        };
        (
            found.objects.clone(),
            found.snapshots.clone(),
            cluster.node_group().to_owned(),
        )
    };
    let included: Option<Vec<&str>> = criteria["includedNamespaces"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).collect());
    let with_data = criteria["persistentVolumeRestoreMode"] != "RestoreWithoutVolumeData";
    // Claims to their new volumes.
    let mut volumes: BTreeMap<String, String> = BTreeMap::new();
    for (stored, mut object) in objects {
        let namespace = match stored.as_str() {
            NAMESPACES => text(&object, "/metadata/name"),
            VOLUMES => text(&object, "/spec/claimRef/namespace"),
            _ => text(&object, "/metadata/namespace"),
        };
        if !namespace.is_empty()
            && included
                .as_ref()
                .is_some_and(|all| !all.contains(&namespace))
        {
            continue;
        }
        match stored.as_str() {
            VOLUMES if !with_data => continue,
            VOLUMES => {
                let (claim, of) = (
                    text(&object, "/spec/claimRef/name").to_owned(),
                    namespace.to_owned(),
                );
                let Some(snapshot) = snapshots.get(&claim) else {
                    continue;
                };
                let name = format!(
                    "pvc-{}",
                    guid(&random_text(16).map_err(|e| failed(e.to_string()))?)
                );
                let tags = json!({ "kubernetes.io-created-for-pvc-name": claim, "kubernetes.io-created-for-pvc-namespace": of });
                let disk = backup::disk_of(world, snapshot, &group, &name, tags).await?;
                object["metadata"]["name"] = json!(name);
                object["spec"]["csi"]["volumeHandle"] = json!(disk);
                volumes.insert(claim, name);
            }
            CLAIMS => {
                let claim = text(&object, "/metadata/name").to_owned();
                match (volumes.get(&claim), object["spec"].as_object_mut()) {
                    (Some(volume), Some(spec)) => {
                        spec.insert("volumeName".to_owned(), json!(volume));
                    }
                    (None, Some(spec)) => {
                        spec.remove("volumeName");
                    }
                    (_, None) => {}
                }
            }
            _ => {}
        }
        make(&kube, &stored, &object).await?;
    }
    Ok(())
}

/// Makes one object; one of that name that is there stays as it is.
async fn make(kube: &Kube, stored: &str, object: &Value) -> Result<(), Refused> {
    let (plural, group) = stored.split_once('.').unwrap_or((stored, ""));
    let base = if group.is_empty() {
        "/api/v1".to_owned()
    } else {
        format!("/apis/{group}/v1")
    };
    let path = match text(object, "/metadata/namespace") {
        "" => format!("{base}/{plural}"),
        namespace if plural == "cronjobs" => kube.cron_jobs(namespace),
        namespace => format!("{base}/namespaces/{namespace}/{plural}"),
    };
    match kube
        .cluster
        .send(Method::POST, &path, Body::Json, object)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(e) => Err(failed(format!(
            "{plural} {}: {e}",
            text(object, "/metadata/name")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[(String, Value)]) -> Vec<&str> {
        all.iter().map(|(_, o)| text(o, "/metadata/name")).collect()
    }

    #[test]
    fn what_is_owned_or_elsewhere_is_left_out_and_what_others_need_comes_first() {
        let one = |stored: &str, object: Value| json!({ "stored": stored, "object": object });
        let stored = json!({ "objects": [
            one("deployments.apps", json!({ "metadata": { "name": "app", "namespace": "a", "uid": "1" }, "spec": { "replicas": 2 }, "status": {} })),
            one("jobs.batch", json!({ "metadata": { "name": "dump-1", "namespace": "a", "ownerReferences": [{ "name": "dump" }] } })),
            one("secrets", json!({ "metadata": { "name": "other", "namespace": "b" } })),
            one("secrets", json!({ "metadata": { "name": "own", "namespace": "a" } })),
            one("persistentvolumes", json!({ "metadata": { "name": "pv" }, "spec": { "claimRef": { "namespace": "a", "name": "c", "uid": "7" } } })),
            one("namespaces", json!({ "metadata": { "name": "a" } })),
        ] });
        let all = chosen(&stored, "a");
        assert_eq!(names(&all), ["a", "pv", "own", "app"]);
        assert_eq!(
            all[1].1["spec"]["claimRef"],
            json!({ "namespace": "a", "name": "c" })
        );
        assert_eq!(
            all[3].1,
            json!({ "metadata": { "name": "app", "namespace": "a" }, "spec": { "replicas": 2 } })
        );
        assert!(all[2].1.get("spec").is_none());
    }
}
