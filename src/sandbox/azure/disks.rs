//! Managed disks and snapshots: each disk is a folder of the nodes, a snapshot a copy of it.

use super::{Answer, Asked, LOCATION, Refused, begin, held, id as id_of};
use crate::sandbox::world::World;
use axum::http::{Method, StatusCode};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, io, path::Path, process::Command, sync::Arc};

const GROUP: &str = "arbitex-aks-nodes-rg";
const KIND: &str = "Microsoft.Compute/disks";
const SNAPSHOTS: &str = "Microsoft.Compute/snapshots";

pub(crate) struct Disk {
    group: String,
    tags: Value,
    source: Option<String>,
    sku: String,
    zones: Value,
    made: DateTime<Utc>,
}

pub(crate) struct Snapshot {
    group: String,
    tags: Value,
    source: String,
    made: DateTime<Utc>,
}

/// The id of a disk of the nodes.
pub(crate) fn id(name: &str) -> String {
    id_of(GROUP, KIND, name)
}

/// A disk that is there from the beginning.
pub(crate) fn knows(world: &World, name: &str, claim: &str, namespace: &str) {
    let tags = json!({ "kubernetes.io-created-for-pvc-name": claim, "kubernetes.io-created-for-pvc-namespace": namespace });
    let disk = Disk {
        group: GROUP.to_owned(),
        tags,
        source: None,
        sku: "Premium_LRS".to_owned(),
        zones: Value::Null,
        made: crate::clock::now(),
    };
    held(world).disks.insert(name.to_owned(), disk);
}

/// A snapshot of before the incident: what was on the disk then is on it now.
pub(crate) fn snapshot_of_then(world: &World, disk: &str, claim: &str, at: i64) -> io::Result<()> {
    let made = DateTime::from_timestamp(at, 0).unwrap_or_default();
    let name = format!("{claim}-{}", made.format("%Y%m%d%H%M"));
    copy(
        &world.disks().join(disk),
        &world.folder.at("azure/snapshots").join(&name),
    )?;
    let snapshot = Snapshot {
        group: "arbitex-snapshots-rg".to_owned(),
        tags: json!({ "arbitex-claim": claim }),
        source: id(disk),
        made,
    };
    held(world).snapshots.insert(name, snapshot);
    Ok(())
}

/// A snapshot that was taken then.
pub(super) fn dated(world: &World, snapshot: &str, at: DateTime<Utc>) {
    if let Some(snapshot) = held(world).snapshots.get_mut(snapshot) {
        snapshot.made = at;
    }
}

/// An empty disk for a claim.
pub(crate) fn provision(
    world: &World,
    name: &str,
    namespace: &str,
    claim: &str,
) -> io::Result<String> {
    fs::create_dir_all(world.disks().join(name))?;
    knows(world, name, claim, namespace);
    Ok(id(name))
}

pub(crate) fn remove(world: &World, handle: &str) {
    let name = handle.rsplit('/').next().unwrap_or(handle);
    held(world).disks.remove(name);
    let _ = fs::remove_dir_all(world.disks().join(name));
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let done = Command::new("cp")
        .args(["-a", "--reflink=auto", "-T"])
        .arg(from)
        .arg(to)
        .output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )),
    }
}

/// Names of disks that a pod of a running cluster has mounted.
async fn attached(world: &Arc<World>) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for kube in world.clusters() {
        if !kube.works() {
            continue;
        }
        let list = async |path: &str| {
            kube.get(path)
                .await
                .map_or(Value::Null, |l| l["items"].clone())
        };
        let (pods, claims, volumes) = tokio::join!(
            list("/api/v1/pods"),
            list("/api/v1/persistentvolumeclaims"),
            list("/api/v1/persistentvolumes")
        );
        let all = |list: &Value| list.as_array().cloned().unwrap_or_default();
        for pod in all(&pods) {
            let ended = ["Succeeded", "Failed"]
                .contains(&pod["status"]["phase"].as_str().unwrap_or_default());
            if ended || !pod["spec"]["nodeName"].is_string() {
                continue;
            }
            for volume in all(&pod["spec"]["volumes"]) {
                let name = &volume["persistentVolumeClaim"]["claimName"];
                let claim = all(&claims).into_iter().find(|c| {
                    c["metadata"]["name"] == *name
                        && c["metadata"]["namespace"] == pod["metadata"]["namespace"]
                });
                let of = claim
                    .map(|c| c["spec"]["volumeName"].clone())
                    .unwrap_or_default();
                let found = all(&volumes)
                    .into_iter()
                    .find(|v| v["metadata"]["name"] == of && of.is_string());
                let handle =
                    found.and_then(|v| Some(v["spec"]["csi"]["volumeHandle"].as_str()?.to_owned()));
                out.extend(handle.and_then(|h| Some(h.rsplit('/').next()?.to_owned())));
            }
        }
    }
    out
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, false)
}

impl Disk {
    fn shown(&self, name: &str, attached: bool) -> Value {
        let from = match &self.source {
            Some(source) => json!({ "createOption": "Copy", "sourceResourceId": source }),
            None => json!({ "createOption": "Empty" }),
        };
        json!({ "id": id_of(&self.group, KIND, name), "name": name, "type": KIND, "location": LOCATION, "tags": self.tags, "zones": self.zones,
            "sku": { "name": self.sku, "tier": "Premium" },
            "properties": { "diskSizeGB": 4, "diskState": if attached { "Attached" } else { "Unattached" }, "provisioningState": "Succeeded",
                "timeCreated": moment(self.made), "creationData": from } })
    }
}

impl Snapshot {
    fn shown(&self, name: &str) -> Value {
        json!({ "id": id_of(&self.group, SNAPSHOTS, name), "name": name, "type": SNAPSHOTS, "location": LOCATION, "tags": self.tags,
            "sku": { "name": "Standard_ZRS", "tier": "Standard" },
            "properties": { "diskSizeGB": 4, "provisioningState": "Succeeded", "timeCreated": moment(self.made), "incremental": true,
                "creationData": { "createOption": "Copy", "sourceResourceId": self.source } } })
    }
}

pub(super) async fn answer(world: &Arc<World>, asked: &Asked<'_>) -> Result<Answer, Refused> {
    let attached = attached(world).await;
    let Some(name) = asked.rest.first() else {
        let azure = held(world);
        let all = azure
            .disks
            .iter()
            .filter(|(_, d)| asked.group.is_empty() || d.group.eq_ignore_ascii_case(asked.group));
        let all: Vec<Value> = all.map(|(n, d)| d.shown(n, attached.contains(n))).collect();
        return Ok(Answer::Is(json!({ "value": all })));
    };
    if *asked.method == Method::PUT {
        return make(world, asked, name);
    }
    let azure = held(world);
    match azure.disks.get(*name) {
        Some(disk) => Ok(Answer::Is(disk.shown(name, attached.contains(*name)))),
        None => Err(Refused::missing(KIND, asked.group, name)),
    }
}

fn make(world: &Arc<World>, asked: &Asked<'_>, name: &str) -> Result<Answer, Refused> {
    let body = asked.body;
    let source = body["properties"]["creationData"]["sourceResourceId"].as_str();
    let mut from = None;
    if let Some(source) = source {
        let of = source.rsplit('/').next().unwrap_or(source);
        if !held(world).snapshots.contains_key(of) {
            return Err(Refused::missing(SNAPSHOTS, asked.group, of));
        }
        from = Some(world.folder.at("azure/snapshots").join(of));
    }
    let disk = Disk {
        group: asked.group.to_owned(),
        tags: body["tags"].clone(),
        source: source.map(str::to_owned),
        sku: body["sku"]["name"]
            .as_str()
            .unwrap_or("Premium_LRS")
            .to_owned(),
        zones: body["zones"].clone(),
        made: crate::clock::now(),
    };
    let to = world.disks().join(name);
    let shown = disk.shown(name, false);
    let (owned, then) = (name.to_owned(), world.clone());
    let operation = begin(world, async move {
        let made = match from {
            Some(from) => copy(&from, &to),
            None => fs::create_dir_all(&to),
        };
        made.map_err(|e| {
            Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                e.to_string(),
            )
        })?;
        held(&then).disks.insert(owned, disk);
        Ok(())
    });
    Ok(Answer::Goes(shown, operation))
}

pub(super) fn snapshots(world: &Arc<World>, asked: &Asked<'_>) -> Result<Answer, Refused> {
    let Some(name) = asked.rest.first() else {
        let azure = held(world);
        let all = azure
            .snapshots
            .iter()
            .filter(|(_, s)| asked.group.is_empty() || s.group.eq_ignore_ascii_case(asked.group));
        let all: Vec<Value> = all.map(|(n, s)| s.shown(n)).collect();
        return Ok(Answer::Is(json!({ "value": all })));
    };
    if *asked.method == Method::PUT {
        let source = asked.body["properties"]["creationData"]["sourceResourceId"]
            .as_str()
            .unwrap_or_default();
        let of = source.rsplit('/').next().unwrap_or(source);
        let from = world.disks().join(of);
        if !from.is_dir() {
            return Err(Refused::missing(KIND, asked.group, of));
        }
        let done = copy(&from, &world.folder.at("azure/snapshots").join(name));
        done.map_err(|e| {
            Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                e.to_string(),
            )
        })?;
        let snapshot = Snapshot {
            group: asked.group.to_owned(),
            tags: asked.body["tags"].clone(),
            source: source.to_owned(),
            made: crate::clock::now(),
        };
        let shown = snapshot.shown(name);
        held(world).snapshots.insert((*name).to_owned(), snapshot);
        return Ok(Answer::Is(shown));
    }
    if *asked.method == Method::DELETE {
        held(world).snapshots.remove(*name);
        return Ok(Answer::Nothing);
    }
    match held(world).snapshots.get(*name) {
        Some(snapshot) => Ok(Answer::Is(snapshot.shown(name))),
        None => Err(Refused::missing(SNAPSHOTS, asked.group, name)),
    }
}
