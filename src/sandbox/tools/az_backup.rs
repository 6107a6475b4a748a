//! What the stand-in for `az` knows of backups: the commands of its extension `dataprotection`. They print what
//! they got as it is, and some of them only write requests.

use super::{
    az::Asked,
    az_aks,
    azure::{Azure, Failed},
};
use crate::sandbox::azure::roles::{CONTRIBUTOR, READER, SNAPSHOTS};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Commands and the options of their own.
pub(super) const KNOWN: &[(&str, &str)] = &[
    (
        "dataprotection backup-vault show",
        "resource-group vault-name",
    ),
    (
        "dataprotection backup-instance list",
        "resource-group vault-name",
    ),
    (
        "dataprotection backup-instance show",
        "resource-group vault-name backup-instance-name name",
    ),
    (
        "dataprotection backup-instance initialize-restoreconfig",
        "datasource-type excluded-namespaces included-namespaces excluded-resource-types included-resource-types label-selectors include-cluster-scope-resources namespace-mappings conflict-policy persistent-restoremode restore-hook-references",
    ),
    (
        "dataprotection backup-instance restore initialize-for-item-recovery",
        "datasource-type restore-location source-datastore recovery-point-id point-in-time target-resource-id backup-instance-id restore-configuration",
    ),
    (
        "dataprotection backup-instance restore trigger",
        "resource-group vault-name backup-instance-name restore-request-object no-wait",
    ),
    (
        "dataprotection backup-instance update-msi-permissions",
        "resource-group vault-name datasource-type operation permissions-scope restore-request-object snapshot-resource-group-id yes",
    ),
    (
        "dataprotection backup-instance validate-for-restore",
        "resource-group vault-name backup-instance-name restore-request-object no-wait",
    ),
    (
        "dataprotection recovery-point list",
        "resource-group vault-name backup-instance-name start-time end-time",
    ),
    ("dataprotection job list", "resource-group vault-name"),
    (
        "dataprotection job show",
        "resource-group vault-name job-id ids",
    ),
    (
        "dataprotection backup-policy get-default-policy-template",
        "datasource-type",
    ),
    (
        "dataprotection backup-policy create",
        "resource-group vault-name name policy",
    ),
    (
        "dataprotection backup-policy show",
        "resource-group vault-name name",
    ),
];

const KUBERNETES: &str = "AzureKubernetesService";

pub(super) async fn answered(azure: &Azure, name: &str, asked: &Asked) -> Result<Value, Failed> {
    let name = name.trim_start_matches("dataprotection ");
    // These write, and ask nobody.
    match name {
        "backup-instance initialize-restoreconfig" => return configuration(asked),
        "backup-instance restore initialize-for-item-recovery" => return request(asked),
        "backup-policy get-default-policy-template" => return template(asked),
        _ => {}
    }
    let vault = asked.of(
        "Microsoft.DataProtection/backupVaults",
        asked.need("vault-name", "--vault-name/-v")?,
    )?;
    let instance = || {
        let name = asked.get("backup-instance-name").or(asked.get("name"));
        let name = name.ok_or_else(|| {
            Failed::usage("the following arguments are required: --backup-instance-name/--name/-n")
        })?;
        Ok::<String, Failed>(format!("{vault}/backupInstances/{name}"))
    };
    match name {
        "backup-vault show" => azure.get(&vault).await,
        "backup-instance list" => azure.list(&format!("{vault}/backupInstances")).await,
        "backup-instance show" => azure.get(&instance()?).await,
        "recovery-point list" => azure.list(&format!("{}/recoveryPoints", instance()?)).await,
        "backup-instance validate-for-restore" => {
            let body = json!({ "restoreRequestObject": sent(&written_request(asked)?) });
            azure
                .change(
                    Method::POST,
                    &format!("{}/validateRestore", instance()?),
                    &body,
                    asked.has("no-wait"),
                )
                .await?;
            Ok(json!({ "jobId": null, "objectType": "OperationJobExtendedInfo" }))
        }
        "backup-instance restore trigger" => {
            let body = sent(&written_request(asked)?);
            azure
                .change(
                    Method::POST,
                    &format!("{}/restore", instance()?),
                    &body,
                    asked.has("no-wait"),
                )
                .await
        }
        "backup-instance update-msi-permissions" => permissions(azure, asked, &vault).await,
        "job list" => azure.list(&format!("{vault}/backupJobs")).await,
        "job show" => {
            let job = asked
                .get("job-id")
                .ok_or_else(|| Failed::usage("the following arguments are required: --job-id"))?;
            azure.get(&format!("{vault}/backupJobs/{job}")).await
        }
        "backup-policy show" => {
            azure
                .get(&format!(
                    "{vault}/backupPolicies/{}",
                    asked.need("name", "--backup-policy-name/--name/-n")?
                ))
                .await
        }
        "backup-policy create" => {
            let policy = json_of(asked.need("policy", "--policy")?)?;
            let path = format!(
                "{vault}/backupPolicies/{}",
                asked.need("name", "--backup-policy-name/--name/-n")?
            );
            azure
                .put(&path, &json!({ "properties": policy }), false)
                .await
        }
        _ => Err(Failed::usage(format!(
            "the stand-in does not know az dataprotection {name}"
        ))),
    }
}

/// An option that is JSON, or a file that holds it.
fn json_of(given: &str) -> Result<Value, Failed> {
    let text = match std::fs::read_to_string(given.trim_start_matches('@')) {
        Ok(text) => text,
        Err(_) => given.to_owned(),
    };
    serde_json::from_str(&text).map_err(|_| Failed {
        said: format!("Failed to parse string as JSON:\n{given}\nError detail: Expecting value: line 1 column 1 (char 0)"),
        code: 1,
    })
}

fn written_request(asked: &Asked) -> Result<Value, Failed> {
    json_of(asked.need("restore-request-object", "--restore-request-object")?)
}

fn only_kubernetes(asked: &Asked) -> Result<(), Failed> {
    match asked.need("datasource-type", "--datasource-type")? {
        KUBERNETES => Ok(()),
        other => Err(Failed {
            said: format!("This command is currently not supported for datasource type {other}"),
            code: 1,
        }),
    }
}

fn configuration(asked: &Asked) -> Result<Value, Failed> {
    only_kubernetes(asked)?;
    let several = |name: &str| {
        asked
            .options
            .get(name)
            .map_or(Value::Null, |all| json!(all))
    };
    Ok(json!({
        "conflict_policy": asked.get("conflict-policy").unwrap_or("Skip"),
        "excluded_namespaces": several("excluded-namespaces"),
        "excluded_resource_types": several("excluded-resource-types"),
        "include_cluster_scope_resources": true,
        "included_namespaces": several("included-namespaces"),
        "included_resource_types": several("included-resource-types"),
        "label_selectors": several("label-selectors"),
        "namespace_mappings": null,
        "object_type": "KubernetesClusterRestoreCriteria",
        "persistent_volume_restore_mode": asked.get("persistent-restoremode").unwrap_or("RestoreWithVolumeData"),
        "resource_modifier_reference": null,
        "restore_hook_references": null,
    }))
}

fn request(asked: &Asked) -> Result<Value, Failed> {
    only_kubernetes(asked)?;
    let location = asked.need("restore-location", "--restore-location")?;
    let store = asked.need("source-datastore", "--source-datastore")?;
    let target = asked.get("target-resource-id").ok_or_else(|| Failed {
        said:
            "Please provide --target-resource-id for item level recovery of AzureKubernetesService"
                .to_owned(),
        code: 1,
    })?;
    let point = asked.get("recovery-point-id").ok_or_else(|| Failed {
        said: "Please provide either recovery point id or point in time".to_owned(),
        code: 1,
    })?;
    let criteria = json_of(asked.need("restore-configuration", "--restore-configuration")?)?;
    let name = target.rsplit('/').next().unwrap_or(target);
    let source = |kind: &str| {
        json!({ "datasource_type": "Microsoft.ContainerService/managedClusters", "object_type": kind, "resource_id": target, "resource_location": location,
            "resource_name": name, "resource_type": "Microsoft.ContainerService/managedClusters", "resource_uri": target })
    };
    Ok(json!({
        "object_type": "AzureBackupRecoveryPointBasedRestoreRequest",
        "recovery_point_id": point,
        "restore_target_info": {
            "datasource_info": source("Datasource"),
            "datasource_set_info": source("DatasourceSet"),
            "object_type": "ItemLevelRestoreTargetInfo",
            "recovery_option": "FailIfExists",
            "restore_criteria": [criteria],
            "restore_location": location,
        },
        "source_data_store_type": store,
    }))
}

/// A request as it goes over the wire: the file has other names.
fn sent(request: &Value) -> Value {
    match request {
        Value::Array(all) => Value::Array(all.iter().map(sent).collect()),
        Value::Object(all) => Value::Object(
            all.iter()
                .map(|(name, value)| (camel(name), sent(value)))
                .collect::<Map<String, Value>>(),
        ),
        other => other.clone(),
    }
}

fn camel(name: &str) -> String {
    match name {
        "resource_id" => return "resourceID".to_owned(),
        "resource_uri" => return "resourceUri".to_owned(),
        _ => {}
    }
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut out, word| {
        let mut letters = word.chars();
        out.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(letters.as_str());
        out
    })
}

/// Gives the vault and the cluster what a restore needs; prints what was not given before.
async fn permissions(azure: &Azure, asked: &Asked, vault: &str) -> Result<Value, Failed> {
    only_kubernetes(asked)?;
    let request = written_request(asked)?;
    let target = request["restore_target_info"]["datasource_info"]["resource_id"]
        .as_str()
        .unwrap_or_default();
    let snapshots = asked.get("snapshot-resource-group-id").ok_or_else(|| Failed {
        said: "Please input the resource ID of the snapshot resource group using --snapshot-resource-group-id".to_owned(),
        code: 1,
    })?;
    let who = |of: Value| {
        of["identity"]["principalId"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let cluster = who(azure.get(target).await?);
    let vault = who(azure.get(vault).await?);
    let mut given = Vec::new();
    for (principal, role, scope) in [
        (&vault, READER, target),
        (&vault, SNAPSHOTS, snapshots),
        (&cluster, CONTRIBUTOR, snapshots),
    ] {
        let (assignment, new) = az_aks::give(azure, principal, role, scope).await?;
        if new {
            given.push(super::az::flat(&assignment));
        }
    }
    Ok(Value::Array(given))
}

fn template(asked: &Asked) -> Result<Value, Failed> {
    let (kind, name, store) = match asked.need("datasource-type", "--datasource-type")? {
        "AzureDisk" => (
            "Microsoft.Compute/disks",
            "AzureDiskPolicy",
            "OperationalStore",
        ),
        KUBERNETES => (
            "Microsoft.ContainerService/managedClusters",
            "AKSPolicy1",
            "OperationalStore",
        ),
        other => {
            let said = format!("Datasource type {other} is not known to the stand-in");
            return Err(Failed { said, code: 1 });
        }
    };
    let data_store = json!({ "dataStoreType": store, "objectType": "DataStoreInfoBase" });
    let tag = json!({ "id": "Default_", "tagName": "Default" });
    Ok(json!({
        "datasourceTypes": [kind],
        "name": name,
        "objectType": "BackupPolicy",
        "policyRules": [
            {
                "backupParameters": { "backupType": "Incremental", "objectType": "AzureBackupParams" },
                "dataStore": data_store,
                "name": "BackupHourly",
                "objectType": "AzureBackupRule",
                "trigger": {
                    "objectType": "ScheduleBasedTriggerContext",
                    "schedule": { "repeatingTimeIntervals": ["R/2020-04-05T13:00:00+00:00/PT4H"] },
                    "taggingCriteria": [{ "isDefault": true, "tagInfo": tag, "taggingPriority": 99 }],
                },
            },
            {
                "isDefault": true,
                "lifecycles": [{ "deleteAfter": { "duration": "P7D", "objectType": "AbsoluteDeleteOption" }, "sourceDataStore": data_store }],
                "name": "Default",
                "objectType": "AzureRetentionRule",
            },
        ],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_other_names_on_the_wire() {
        let written = json!({ "restore_target_info": { "datasource_info": { "resource_id": "/x", "object_type": "Datasource" } }, "list": [{ "a_b_c": 1 }] });
        let wanted = json!({ "restoreTargetInfo": { "datasourceInfo": { "resourceID": "/x", "objectType": "Datasource" } }, "list": [{ "aBC": 1 }] });
        assert_eq!(sent(&written), wanted);
    }
}
