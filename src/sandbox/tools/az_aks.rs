//! What the stand-in for `az` knows of clusters, of their backups, and of what these need: roles, a storage
//! account, Key Vault.

use super::{
    az::{Asked, flat},
    az_backup,
    azure::{Azure, Failed},
    kubeconfig,
};
use crate::sandbox::{
    azure::{
        SUBSCRIPTION,
        roles::{DEFINITIONS, PULL},
        vault,
    },
    world::random_text,
};
use base64::Engine;
use reqwest::Method;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// Commands and the options of their own.
pub(super) const KNOWN: &[(&str, &str)] = &[
    ("aks list", "resource-group"),
    ("aks show", "resource-group name"),
    (
        "aks create",
        "resource-group name location kubernetes-version tier node-count node-vm-size zones network-plugin vnet-subnet-id service-cidr dns-service-ip enable-managed-identity assign-identity attach-acr no-ssh-key generate-ssh-keys no-wait yes",
    ),
    ("aks update", "resource-group name attach-acr no-wait yes"),
    ("aks stop", "resource-group name no-wait"),
    ("aks start", "resource-group name no-wait"),
    (
        "aks get-credentials",
        "resource-group name context file overwrite-existing admin",
    ),
    ("aks get-versions", "location"),
    (
        "aks trustedaccess rolebinding list",
        "resource-group cluster-name",
    ),
    (
        "aks trustedaccess rolebinding show",
        "resource-group cluster-name name",
    ),
    (
        "aks trustedaccess rolebinding create",
        "resource-group cluster-name name roles source-resource-id",
    ),
    (
        "k8s-extension list",
        "resource-group cluster-name cluster-type",
    ),
    (
        "k8s-extension show",
        "resource-group cluster-name cluster-type name",
    ),
    (
        "k8s-extension create",
        "resource-group cluster-name cluster-type name extension-type scope release-train configuration-settings no-wait",
    ),
    ("vm list-usage", "location"),
    ("vm list-sizes", "location"),
    (
        "role assignment create",
        "assignee-object-id assignee-principal-type assignee role scope",
    ),
    ("storage account show", "resource-group name"),
    ("keyvault secret show", "vault-name name id"),
];

const CLUSTERS: &str = "Microsoft.ContainerService/managedClusters";

pub(super) async fn answered(azure: &Azure, name: &str, asked: &Asked) -> Result<Value, Failed> {
    let named = || asked.need("name", "--name/-n");
    match name {
        "aks list" => azure.list(&asked.path(CLUSTERS)).await.map(|v| flat(&v)),
        "aks show" => azure
            .get(&asked.of(CLUSTERS, named()?)?)
            .await
            .map(|v| flat(&v)),
        "aks create" => create(azure, asked).await,
        "aks update" => attach(azure, asked).await,
        "aks stop" | "aks start" => {
            let what = name.rsplit(' ').next().unwrap_or_default();
            let path = format!("{}/{what}", asked.of(CLUSTERS, named()?)?);
            azure
                .change(Method::POST, &path, &json!({}), asked.has("no-wait"))
                .await
                .map(|_| Value::Null)
        }
        "aks get-credentials" => credentials(azure, asked).await,
        "aks get-versions" => {
            azure
                .get(&at_location(
                    asked,
                    "Microsoft.ContainerService",
                    "kubernetesVersions",
                )?)
                .await
        }
        "vm list-usage" => {
            azure
                .list(&at_location(asked, "Microsoft.Compute", "usages")?)
                .await
        }
        "vm list-sizes" => {
            azure
                .list(&at_location(asked, "Microsoft.Compute", "vmSizes")?)
                .await
        }
        "role assignment create" => {
            let principal = asked.get("assignee-object-id").or(asked.get("assignee"));
            let principal = principal.ok_or_else(|| {
                Failed::usage("usage error: --assignee STRING | --assignee-object-id GUID")
            })?;
            let (role, scope) = (
                asked.need("role", "--role")?,
                asked.need("scope", "--scope")?,
            );
            give(azure, principal, role, scope)
                .await
                .map(|(made, _)| flat(&made))
        }
        "storage account show" => azure
            .get(&asked.of("Microsoft.Storage/storageAccounts", named()?)?)
            .await
            .map(|v| flat(&v)),
        "keyvault secret show" => {
            let vault = asked.need("vault-name", "--vault-name")?;
            azure
                .get(&format!(
                    "https://{vault}.{}/secrets/{}",
                    vault::DOMAIN,
                    named()?
                ))
                .await
        }
        _ if name.starts_with("dataprotection ") => az_backup::answered(azure, name, asked).await,
        _ => below_a_cluster(azure, name, asked).await,
    }
}

fn at_location(asked: &Asked, provider: &str, what: &str) -> Result<String, Failed> {
    let location = asked.need("location", "--location/-l")?;
    let subscription = asked
        .get("subscription")
        .unwrap_or(crate::sandbox::azure::SUBSCRIPTION);
    Ok(format!(
        "/subscriptions/{subscription}/providers/{provider}/locations/{location}/{what}"
    ))
}

/// Extensions and trusted access: both belong to one cluster.
async fn below_a_cluster(azure: &Azure, name: &str, asked: &Asked) -> Result<Value, Failed> {
    let cluster = asked.of(CLUSTERS, asked.need("cluster-name", "--cluster-name")?)?;
    let named = || asked.need("name", "--name/-n");
    let extensions = format!("{cluster}/providers/Microsoft.KubernetesConfiguration/extensions");
    let bindings = format!("{cluster}/trustedAccessRoleBindings");
    match name {
        "k8s-extension list" => azure.list(&extensions).await.map(|v| flat(&v)),
        "k8s-extension show" => azure
            .get(&format!("{extensions}/{}", named()?))
            .await
            .map(|v| flat(&v)),
        "k8s-extension create" => {
            let kind = asked.need("extension-type", "--extension-type")?;
            let given = asked
                .options
                .get("configuration-settings")
                .into_iter()
                .flatten();
            let settings = given
                .filter_map(|s| s.split_once('='))
                .map(|(k, v)| (k.to_owned(), json!(v)));
            let body = json!({ "properties": { "extensionType": kind, "scope": { "cluster": {} }, "configurationSettings": Value::Object(settings.collect()) } });
            azure
                .put(
                    &format!("{extensions}/{}", named()?),
                    &body,
                    asked.has("no-wait"),
                )
                .await
                .map(|v| flat(&v))
        }
        "aks trustedaccess rolebinding list" => azure.list(&bindings).await.map(|v| flat(&v)),
        "aks trustedaccess rolebinding show" => azure
            .get(&format!("{bindings}/{}", named()?))
            .await
            .map(|v| flat(&v)),
        "aks trustedaccess rolebinding create" => {
            let roles = asked.options.get("roles").into_iter().flatten();
            let roles: Vec<&str> = roles.flat_map(|r| r.split(',')).collect();
            let source = asked.need("source-resource-id", "--source-resource-id")?;
            let body = json!({ "properties": { "roles": roles, "sourceResourceId": source } });
            azure
                .put(&format!("{bindings}/{}", named()?), &body, false)
                .await
                .map(|v| flat(&v))
        }
        _ => Err(Failed::usage(format!(
            "the stand-in does not know az {name}"
        ))),
    }
}

async fn create(azure: &Azure, asked: &Asked) -> Result<Value, Failed> {
    let name = asked.need("name", "--name/-n")?;
    if asked.has("attach-acr") && asked.has("no-wait") {
        let said = "When --attach-acr and --enable-managed-identity are both specified, --no-wait is not allowed, please wait until the whole operation succeeds.";
        return Err(Failed {
            said: said.to_owned(),
            code: 1,
        });
    }
    let count: u32 = match asked.get("node-count").unwrap_or("3").parse() {
        Ok(count) => count,
        Err(_) => return Err(Failed::usage("argument --node-count/-c: invalid int value")),
    };
    let zones = asked.options.get("zones").map_or(Value::Null, |z| json!(z));
    let pool = json!({ "name": "nodepool1", "count": count, "vmSize": asked.get("node-vm-size").unwrap_or("Standard_D4s_v5"), "availabilityZones": zones,
        "mode": "System", "vnetSubnetID": asked.get("vnet-subnet-id") });
    let mut properties = json!({ "agentPoolProfiles": [pool], "dnsPrefix": name,
        "networkProfile": { "networkPlugin": asked.get("network-plugin"), "serviceCidr": asked.get("service-cidr"), "dnsServiceIP": asked.get("dns-service-ip") } });
    if let Some(version) = asked.get("kubernetes-version") {
        properties["kubernetesVersion"] = json!(version);
    }
    let body = json!({ "location": asked.get("location"), "sku": { "name": "Base", "tier": asked.get("tier").unwrap_or("free") },
        "identity": { "type": "UserAssigned" }, "properties": properties });
    azure
        .put(&asked.of(CLUSTERS, name)?, &body, asked.has("no-wait"))
        .await
        .map(|v| flat(&v))
}

/// Lets the nodes of a cluster take images from a registry.
async fn attach(azure: &Azure, asked: &Asked) -> Result<Value, Failed> {
    let cluster = asked.of(CLUSTERS, asked.need("name", "--name/-n")?)?;
    let registry = asked.need("attach-acr", "--attach-acr")?;
    let cluster = azure.get(&cluster).await?;
    let nodes = &cluster["properties"]["identityProfile"]["kubeletidentity"]["objectId"];
    let subscription = asked.get("subscription").unwrap_or(SUBSCRIPTION);
    let all = azure
        .list(&format!("/subscriptions/{subscription}/resources"))
        .await?;
    let mut all = all.as_array().into_iter().flatten();
    let found = all.find(|r| r["name"] == registry || r["id"] == registry);
    let found = found.ok_or_else(|| Failed {
        said: format!("ACR {registry} not found. Have you provided the right ACR name?"),
        code: 1,
    })?;
    let scope = found["id"].as_str().unwrap_or_default();
    give(azure, nodes.as_str().unwrap_or_default(), PULL, scope).await?;
    Ok(flat(&cluster))
}

/// Writes the credentials of a cluster into a kubeconfig, beside what is there already.
async fn credentials(azure: &Azure, asked: &Asked) -> Result<Value, Failed> {
    let broken = |said: String| Failed { said, code: 1 };
    let name = asked.need("name", "--name/-n")?;
    let which = if asked.has("admin") {
        "listClusterAdminCredential"
    } else {
        "listClusterUserCredential"
    };
    let path = format!("{}/{which}", asked.of(CLUSTERS, name)?);
    let (found, _) = azure.ask(Method::POST, &path, Some(&json!({}))).await?;
    let text = found["kubeconfigs"][0]["value"]
        .as_str()
        .unwrap_or_default();
    let text = base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|e| broken(e.to_string()))?;
    let mut new = kubeconfig::read(&text).map_err(broken)?;
    if let Some(context) = asked.get("context") {
        kubeconfig::renamed(&mut new, context);
    }
    let home = std::env::var("HOME").unwrap_or_default();
    let file = asked
        .get("file")
        .map_or_else(|| PathBuf::from(home).join(".kube/config"), PathBuf::from);
    if file.as_os_str() == "-" {
        println!("{new:#}");
        return Ok(Value::Null);
    }
    let before = fs::read(&file).unwrap_or_default();
    let merged = match before.trim_ascii().is_empty() {
        true => new,
        false => {
            let before = kubeconfig::read(&before).map_err(broken)?;
            kubeconfig::merged(before, &new, asked.has("overwrite-existing")).map_err(broken)?
        }
    };
    let current = merged["current-context"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    kubeconfig::write(&file, &merged).map_err(|e| {
        broken(format!(
            "[Errno {}] {e}: '{}'",
            e.raw_os_error().unwrap_or(0),
            file.display()
        ))
    })?;
    if !asked.has("only-show-errors") {
        eprintln!(
            "WARNING: Merged \"{current}\" as current context in {}",
            file.display()
        );
    }
    Ok(Value::Null)
}

/// Gives somebody a role on a scope; true when they did not have it before.
pub(super) async fn give(
    azure: &Azure,
    principal: &str,
    role: &str,
    scope: &str,
) -> Result<(Value, bool), Failed> {
    let broken = |said: String| Failed { said, code: 1 };
    let known = DEFINITIONS
        .iter()
        .find(|(name, id)| *name == role || *id == role);
    let (_, definition) = known.ok_or_else(|| broken(format!("Role '{role}' doesn't exist.")))?;
    let at = format!("{scope}/providers/Microsoft.Authorization/roleAssignments");
    let all = azure.list(&at).await?;
    let there = all.as_array().into_iter().flatten().find(|r| {
        let has = r["properties"]["roleDefinitionId"]
            .as_str()
            .unwrap_or_default();
        has.ends_with(definition) && r["properties"]["principalId"] == principal
    });
    if let Some(there) = there {
        return Ok((there.clone(), false));
    }
    let subscription = crate::sandbox::azure::SUBSCRIPTION;
    let body = json!({ "properties": { "principalId": principal, "principalType": "ServicePrincipal",
        "roleDefinitionId": format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{definition}") } });
    let name = random_text(16).map_err(|e| broken(e.to_string()))?;
    Ok((
        azure.put(&format!("{at}/{name}"), &body, false).await?,
        true,
    ))
}
