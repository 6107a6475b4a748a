//! The backup vault: recovery points of the cluster from before the incident, and restores of them into a
//! running cluster, with new disks from the snapshots of the old ones.

use super::{
    Answer, Asked, LOCATION, Refused, Subscription, aks, begin, disks, ended, held, id,
    recovery::{self, Point},
    roles,
};
use crate::sandbox::world::World;
use axum::http::{Method, StatusCode};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const EXTENSION: &str = "azure-aks-backup";
pub(super) const EXTENSION_TYPE: &str = "microsoft.dataprotection.kubernetes";
pub(super) const OPERATOR: &str = "Microsoft.DataProtection/backupVaults/backup-operator";
const KIND: &str = "Microsoft.DataProtection/backupVaults";
const VAULT: &str = "arbitex-backup-vault";
const INSTANCE: &str = "arbitex-aks-backup";
pub(super) const SNAPSHOT_GROUP: &str = "arbitex-snapshots-rg";

/// What the vault holds.
#[derive(Default)]
pub(crate) struct Vault {
    pub points: Vec<Point>,
    jobs: BTreeMap<String, Job>,
    policies: BTreeMap<String, Value>,
}

struct Job {
    status: &'static str,
    began: DateTime<Utc>,
    ended: Option<DateTime<Utc>>,
    target: String,
    error: Option<String>,
}

pub(super) fn vault_id() -> String {
    id(aks::GROUP, KIND, VAULT)
}

/// As whom the vault speaks to the rest of Azure.
pub(super) fn principal() -> String {
    roles::guid("identity of the backup vault")
}

/// Its backups had been failing, and the points from before are past their retention.
pub(crate) fn forgets(world: &World) {
    held(world).vault.points.clear();
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, false)
}

fn bad(code: &str, said: impl Into<String>) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, code, said)
}

pub(super) fn answer(world: &Arc<World>, asked: &Asked<'_>) -> Result<Answer, Refused> {
    let vault = json!({ "id": vault_id(), "name": VAULT, "type": KIND, "location": LOCATION,
        "identity": { "type": "SystemAssigned", "principalId": principal() }, "properties": { "provisioningState": "Succeeded" } });
    let Some((name, rest)) = asked.rest.split_first() else {
        return Ok(Answer::Is(json!({ "value": [vault] })));
    };
    if !name.eq_ignore_ascii_case(VAULT) {
        return Err(Refused::missing(KIND, asked.group, name));
    }
    let Some((what, rest)) = rest.split_first() else {
        return Ok(Answer::Is(vault));
    };
    match what.to_ascii_lowercase().as_str() {
        "backupinstances" => instances(world, asked, rest),
        "backupjobs" => jobs(world, rest.first().copied()),
        "backuppolicies" => policies(world, asked, rest.first().copied()),
        other => Err(Refused::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("a backup vault has no {other}"),
        )),
    }
}

fn instances(world: &Arc<World>, asked: &Asked<'_>, rest: &[&str]) -> Result<Answer, Refused> {
    let at = format!("{}/backupInstances/{INSTANCE}", vault_id());
    let source = id(aks::GROUP, aks::KIND, "arbitex-aks");
    let state = match held(world).vault.points.is_empty() {
        true => "ProtectionError",
        false => "ProtectionConfigured",
    };
    let shown = json!({ "id": at, "name": INSTANCE, "type": "Microsoft.DataProtection/backupVaults/backupInstances",
        "properties": { "friendlyName": "arbitex-aks", "objectType": "BackupInstance", "provisioningState": "Succeeded",
            "currentProtectionState": state, "protectionStatus": { "status": state },
            "dataSourceInfo": { "datasourceType": aks::KIND, "objectType": "Datasource", "resourceID": source, "resourceName": "arbitex-aks" } } });
    let Some((name, rest)) = rest.split_first() else {
        return Ok(Answer::Is(json!({ "value": [shown] })));
    };
    if *name != INSTANCE {
        let said = format!("The backup instance {name} was not found in the vault {VAULT}.");
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            "UserErrorBackupInstanceNotFound",
            said,
        ));
    }
    let Some((what, _)) = rest.split_first() else {
        return Ok(Answer::Is(shown));
    };
    match what.to_ascii_lowercase().as_str() {
        "recoverypoints" => {
            let azure = held(world);
            let all: Vec<Value> = azure
                .vault
                .points
                .iter()
                .map(|p| shown_point(&at, p))
                .collect();
            Ok(Answer::Is(json!({ "value": all })))
        }
        "validaterestore" => {
            fits(&held(world), &asked.body["restoreRequestObject"])?;
            Ok(Answer::Goes(Value::Null, begin(world, async { Ok(()) })))
        }
        "restore" => trigger(world, asked.body),
        other => Err(Refused::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("a backup instance has no {other}"),
        )),
    }
}

fn shown_point(instance: &str, point: &Point) -> Value {
    json!({ "id": format!("{instance}/recoveryPoints/{}", point.name), "name": point.name,
        "type": "Microsoft.DataProtection/backupVaults/backupInstances/recoveryPoints",
        "properties": { "objectType": "AzureBackupDiscreteRecoveryPoint", "friendlyName": point.name, "recoveryPointTime": instant(point.at),
            "recoveryPointType": "Incremental", "policyName": "arbitex-aks-every-4h", "retentionTagName": "Default",
            "recoveryPointDataStoresDetails": [{ "type": "OperationalStore", "state": "COMMITTED", "visible": true }] } })
}

/// Which point a request restores into which cluster, when everything for it is there.
fn fits(azure: &Subscription, request: &Value) -> Result<(String, String), Refused> {
    let wanted = request["recoveryPointId"].as_str().unwrap_or_default();
    let point = wanted.rsplit('/').next().unwrap_or_default();
    if !azure.vault.points.iter().any(|p| p.name == point) {
        return Err(bad(
            "UserErrorRecoveryPointNotFound",
            format!("The recovery point {wanted} was not found."),
        ));
    }
    let target = request["restoreTargetInfo"]["datasourceInfo"]["resourceID"]
        .as_str()
        .unwrap_or_default();
    let name = target.rsplit('/').next().unwrap_or_default();
    let Some(cluster) = azure.managed.get(name) else {
        return Err(bad(
            "UserErrorDatasourceNotFound",
            format!("The target cluster {target} does not exist."),
        ));
    };
    if cluster.state != "Succeeded" || !cluster.running {
        let said = format!(
            "The target cluster {name} is not in a state in which it can be restored to: {}.",
            cluster.state
        );
        return Err(bad("UserErrorDatasourceNotInRunningState", said));
    }
    let Some(extension) = cluster
        .extensions
        .get(EXTENSION)
        .filter(|e| e["extensionType"] == EXTENSION_TYPE)
    else {
        return Err(bad(
            "UserErrorKubernetesBackupExtensionNotFound",
            "Backup extension is not installed in the cluster. Install the extension and try again.",
        ));
    };
    if extension["provisioningState"] != "Succeeded" {
        return Err(bad(
            "UserErrorKubernetesBackupExtensionUnhealthy",
            "Backup extension is unhealthy. See the pods in the namespace dataprotection-microsoft.",
        ));
    }
    let trusted = cluster.bindings.values().any(|b| {
        let source = b["sourceResourceId"].as_str().unwrap_or_default();
        let mut given = b["roles"].as_array().into_iter().flatten();
        source.eq_ignore_ascii_case(&vault_id()) && given.any(|r| r == OPERATOR)
    });
    if !trusted {
        return Err(bad(
            "UserErrorTrustedAccessGatewayReturnedForbidden",
            "Backup vault does not have trusted access to the cluster.",
        ));
    }
    let snapshots = super::group_id(SNAPSHOT_GROUP);
    let needed = [
        (
            aks::principal_of(name, EXTENSION),
            roles::BLOBS,
            roles::account_id(),
        ),
        (principal(), roles::READER, cluster.id(name)),
        (principal(), roles::SNAPSHOTS, snapshots.clone()),
        (aks::principal(name), roles::CONTRIBUTOR, snapshots),
    ];
    for (who, role, scope) in needed {
        if !roles::has(azure, &who, role, &scope) {
            let said = format!(
                "Appropriate permissions to perform the operation is missing. Missing permissions: {role} for {who} on {scope}."
            );
            return Err(bad("UserErrorMissingRequiredPermissions", said));
        }
    }
    Ok((point.to_owned(), name.to_owned()))
}

fn trigger(world: &Arc<World>, request: &Value) -> Result<Answer, Refused> {
    let (point, target) = fits(&held(world), request)?;
    let began = crate::clock::now();
    let name = roles::guid(&format!("job of {}", instant(began)));
    let job = Job {
        status: "InProgress",
        began,
        ended: None,
        target: target.clone(),
        error: None,
    };
    held(world).vault.jobs.insert(name.clone(), job);
    let wanted = request["restoreTargetInfo"]["restoreCriteria"][0].clone();
    let then = world.clone();
    let operation = begin(world, async move {
        let done = recovery::restored(&then, &point, &target, &wanted).await;
        if let Some(job) = held(&then).vault.jobs.get_mut(&name) {
            job.ended = Some(crate::clock::now());
            job.status = if done.is_ok() { "Completed" } else { "Failed" };
            job.error = done.as_ref().err().map(|e| e.message.clone());
        }
        done
    });
    Ok(Answer::Goes(Value::Null, operation))
}

fn jobs(world: &World, one: Option<&str>) -> Result<Answer, Refused> {
    let shown = |name: &str, job: &Job| {
        let errors: Vec<Value> = job
            .error
            .iter()
            .map(|e| json!({ "code": "UserErrorKubernetesRestoreFailed", "message": e }))
            .collect();
        json!({ "id": format!("{}/backupJobs/{name}", vault_id()), "name": name, "type": "Microsoft.DataProtection/backupVaults/backupJobs",
            "properties": { "operation": "Restore", "operationCategory": "Restore", "status": job.status, "startTime": instant(job.began),
                "endTime": job.ended.map(instant), "dataSourceName": "arbitex-aks", "dataSourceType": aks::KIND,
                "backupInstanceFriendlyName": "arbitex-aks", "destinationDataStoreName": job.target, "errorDetails": errors } })
    };
    let azure = held(world);
    match one {
        None => {
            let all: Vec<Value> = azure.vault.jobs.iter().map(|(n, j)| shown(n, j)).collect();
            Ok(Answer::Is(json!({ "value": all })))
        }
        Some(name) => match azure.vault.jobs.get(name) {
            Some(job) => Ok(Answer::Is(shown(name, job))),
            None => Err(Refused::missing(
                "Microsoft.DataProtection/backupVaults/backupJobs",
                aks::GROUP,
                name,
            )),
        },
    }
}

fn policies(world: &World, asked: &Asked<'_>, one: Option<&str>) -> Result<Answer, Refused> {
    let shown = |name: &str, properties: &Value| json!({ "id": format!("{}/backupPolicies/{name}", vault_id()), "name": name, "type": "Microsoft.DataProtection/backupVaults/backupPolicies", "properties": properties });
    let mut azure = held(world);
    let Some(name) = one else {
        let all: Vec<Value> = azure
            .vault
            .policies
            .iter()
            .map(|(n, p)| shown(n, p))
            .collect();
        return Ok(Answer::Is(json!({ "value": all })));
    };
    if *asked.method == Method::PUT {
        let properties = asked.body["properties"].clone();
        azure.vault.policies.insert(name.to_owned(), properties);
    }
    match azure.vault.policies.get(name) {
        Some(found) => Ok(Answer::Is(shown(name, found))),
        None => Err(Refused::missing(
            "Microsoft.DataProtection/backupVaults/backupPolicies",
            asked.group,
            name,
        )),
    }
}

/// A new disk from a snapshot, in the group of a cluster's nodes: its whole id.
pub(super) async fn disk_of(
    world: &Arc<World>,
    snapshot: &str,
    group: &str,
    name: &str,
    tags: Value,
) -> Result<String, Refused> {
    let (put, body) = (
        Method::PUT,
        json!({ "location": LOCATION, "tags": tags, "sku": { "name": "Premium_LRS" }, "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": snapshot } } }),
    );
    let rest = [name];
    let asked = Asked {
        method: &put,
        group,
        rest: &rest,
        body: &body,
    };
    if let Answer::Goes(_, operation) = disks::answer(world, &asked).await? {
        ended(world, &operation).await?;
    }
    Ok(id(group, "Microsoft.Compute/disks", name))
}
