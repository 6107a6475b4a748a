//! Managed clusters: what Azure knows of them, and a new one that comes up beside the old. Behind each stands
//! a simulated cluster of the drill.

use super::{Answer, Asked, LOCATION, Refused, Subscription, begin, held, id, roles};
use crate::sandbox::world::{World, arbitex, cluster::Kube, platform};
use axum::http::{Method, StatusCode};
use base64::Engine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io, net::Ipv4Addr, sync::Arc};

pub(super) const KIND: &str = "Microsoft.ContainerService/managedClusters";
pub(super) const GROUP: &str = "arbitex-prod-rg";
/// Versions that new clusters may have, with the newest patch of each.
const VERSIONS: &[(&str, &str)] = &[("1.33", "1.33.2"), ("1.32", "1.32.4"), ("1.31", "1.31.8")];
/// Sizes of nodes: cores, and memory in MB.
const SIZES: &[(&str, u32, u32)] = &[
    ("Standard_D2s_v5", 2, 8192),
    ("Standard_D4s_v5", 4, 16384),
    ("Standard_D8s_v5", 8, 32768),
    ("Standard_E4s_v5", 4, 32768),
];

/// A cluster as the subscription knows it.
pub(crate) struct Managed {
    group: String,
    node_group: String,
    fqdn: String,
    version: String,
    pools: Value,
    /// `Creating`, `Succeeded`, `Failed`.
    pub state: String,
    pub running: bool,
    /// Its control plane is broken beyond what starting it would mend.
    lost: bool,
    /// Name to properties.
    pub extensions: BTreeMap<String, Value>,
    pub bindings: BTreeMap<String, Value>,
}

impl Managed {
    fn new(group: &str, node_group: &str, fqdn: &str) -> Self {
        Self {
            group: group.to_owned(),
            node_group: node_group.to_owned(),
            fqdn: fqdn.to_owned(),
            version: "1.32".to_owned(),
            pools: Value::Null,
            state: "Succeeded".to_owned(),
            running: true,
            lost: false,
            extensions: BTreeMap::new(),
            bindings: BTreeMap::new(),
        }
    }

    /// The group in which its nodes and their disks are.
    pub(super) fn node_group(&self) -> &str {
        &self.node_group
    }

    pub(super) fn id(&self, name: &str) -> String {
        id(&self.group, KIND, name)
    }

    fn shown(&self, name: &str) -> Value {
        let mut pools = self.pools.clone();
        for pool in pools.as_array_mut().into_iter().flatten() {
            pool["provisioningState"] = json!(self.state);
            pool["powerState"] = json!({ "code": self.power() });
        }
        json!({ "id": self.id(name), "name": name, "type": KIND, "location": LOCATION, "sku": { "name": "Base", "tier": "Standard" },
            "identity": { "type": "UserAssigned", "principalId": principal(name) },
            "properties": { "provisioningState": self.state, "powerState": { "code": self.power() }, "kubernetesVersion": self.version,
                "currentKubernetesVersion": self.version, "fqdn": self.fqdn, "dnsPrefix": name, "nodeResourceGroup": self.node_group,
                "identityProfile": { "kubeletidentity": { "resourceId": format!("{}-agentpool", self.id(name)), "clientId": roles::guid(&format!("client of the nodes of {name}")), "objectId": roles::nodes(name) } },
                "networkProfile": { "networkPlugin": "azure", "outboundType": "loadBalancer", "loadBalancerSku": "standard" },
                "agentPoolProfiles": pools, "enableRBAC": true } })
    }

    fn power(&self) -> &'static str {
        if self.running { "Running" } else { "Stopped" }
    }
}

/// As whom a cluster speaks to the rest of Azure.
pub(super) fn principal(cluster: &str) -> String {
    roles::guid(&format!("identity of {cluster}"))
}

/// As whom an extension of a cluster does.
pub(super) fn principal_of(cluster: &str, extension: &str) -> String {
    roles::guid(&format!("identity of {extension} in {cluster}"))
}

fn pool(count: &Value, size: &str, zones: &Value) -> Value {
    json!([{ "name": "nodepool1", "count": count, "vmSize": size, "availabilityZones": zones, "mode": "System", "osType": "Linux", "type": "VirtualMachineScaleSets" }])
}

/// The host name of the API server that a cluster of that name gets in this drill.
pub(crate) fn host_of(world: &World, name: &str) -> String {
    let digest = Sha256::digest(format!("{}/{name}", world.seed));
    let tag: String = digest.iter().take(2).map(|b| format!("{b:02x}")).collect();
    format!("{name}-{tag}.hcp.{LOCATION}.azmk8s.io")
}

/// A cluster that is there from the beginning, with its backup extension and the trust of the vault.
pub(crate) fn knows(world: &World, kube: &Kube) {
    let name = &kube.name;
    let mut managed = Managed::new(GROUP, "arbitex-aks-nodes-rg", &kube.host);
    managed.pools = pool(&json!(1), "Standard_D4s_v5", &json!(["1"]));
    let settings = json!({ "blobContainer": "aks-backup", "storageAccount": roles::ACCOUNT });
    managed.extensions.insert(
        super::backup::EXTENSION.to_owned(),
        extension(
            name,
            super::backup::EXTENSION,
            super::backup::EXTENSION_TYPE,
            &settings,
        ),
    );
    let binding = json!({ "sourceResourceId": super::backup::vault_id(), "roles": [super::backup::OPERATOR], "provisioningState": "Succeeded" });
    managed
        .bindings
        .insert("arbitex-backup".to_owned(), binding);
    held(world).managed.insert(name.clone(), managed);
    let server = format!("https://{}:443", host_of(world, "arbitex-aks-restored"));
    world.fact("new_server", server);
}

/// Its control plane fails: nothing of the cluster answers any more, and no container of it runs.
pub(crate) fn lost(world: &World, name: &str) {
    if let Some(kube) = world.cluster(name) {
        kube.stop();
    }
    if let Some(managed) = held(world).managed.get_mut(name) {
        "Failed".clone_into(&mut managed.state);
        managed.lost = true;
    }
}

fn named<'a>(
    azure: &'a mut Subscription,
    asked: &Asked<'_>,
    name: &str,
) -> Result<&'a mut Managed, Refused> {
    azure
        .managed
        .get_mut(name)
        .ok_or_else(|| Refused::missing(KIND, asked.group, name))
}

pub(super) fn answer(world: &Arc<World>, asked: &Asked<'_>) -> Result<Answer, Refused> {
    match asked.rest {
        [] => {
            let azure = held(world);
            let all = azure.managed.iter().filter(|(_, m)| {
                asked.group.is_empty() || m.group.eq_ignore_ascii_case(asked.group)
            });
            let all: Vec<Value> = all.map(|(name, m)| m.shown(name)).collect();
            Ok(Answer::Is(json!({ "value": all })))
        }
        [name] if *asked.method == Method::PUT => create(world, asked, name),
        [name] => Ok(Answer::Is(
            named(&mut held(world), asked, name)?.shown(name),
        )),
        [name, what, more @ ..] => {
            named(&mut held(world), asked, name)?;
            match what.to_ascii_lowercase().as_str() {
                "stop" => stop(world, asked, name),
                "start" => start(world, asked, name),
                "listclusterusercredential" | "listclusteradmincredential" => {
                    credentials(world, asked, name)
                }
                "trustedaccessrolebindings" => bindings(world, asked, name, more.first().copied()),
                // /providers/Microsoft.KubernetesConfiguration/extensions/NAME
                "providers" => extensions(world, asked, name, more.get(2).copied()),
                other => Err(Refused::new(
                    StatusCode::NOT_FOUND,
                    "NotFound",
                    format!("a managed cluster has no {other}"),
                )),
            }
        }
    }
}

fn create(world: &Arc<World>, asked: &Asked<'_>, name: &str) -> Result<Answer, Refused> {
    let bad = |code: &str, said: String| Refused::new(StatusCode::BAD_REQUEST, code, said);
    let properties = &asked.body["properties"];
    let version = properties["kubernetesVersion"].as_str().unwrap_or("1.32");
    if !VERSIONS
        .iter()
        .any(|(minor, patch)| *minor == version || *patch == version)
    {
        let said = format!(
            "Managed cluster {name} is on version {version} which is not supported in this region. Please use [az aks get-versions] command to get the supported version list in this region."
        );
        return Err(bad("K8sVersionNotSupported", said));
    }
    let wanted = &properties["agentPoolProfiles"][0];
    let size = wanted["vmSize"].as_str().unwrap_or("Standard_D4s_v5");
    if !SIZES.iter().any(|(known, ..)| *known == size) {
        let said = format!(
            "The VM size of {size} is not allowed in your subscription in location '{LOCATION}'."
        );
        return Err(bad("BadRequest", said));
    }
    let host = host_of(world, name);
    let (shown, number) = {
        let mut azure = held(world);
        if let Some(there) = azure.managed.get(name) {
            if there.state == "Succeeded" {
                return Ok(Answer::Is(there.shown(name)));
            }
            let said = format!(
                "Operation is not allowed: the managed cluster {name} is in provisioning state {}.",
                there.state
            );
            return Err(Refused::new(
                StatusCode::CONFLICT,
                "OperationNotAllowed",
                said,
            ));
        }
        let mut managed = Managed::new(
            asked.group,
            &format!("MC_{}_{name}_{LOCATION}", asked.group),
            &host,
        );
        "Creating".clone_into(&mut managed.state);
        version.clone_into(&mut managed.version);
        managed.pools = pool(&wanted["count"], size, &wanted["availabilityZones"]);
        let shown = managed.shown(name);
        azure.managed.insert(name.to_owned(), managed);
        // None is ever forgotten: how many there are is a number that no other has.
        (shown, u8::try_from(azure.managed.len()).unwrap_or(u8::MAX))
    };
    let (then, name) = (world.clone(), name.to_owned());
    let operation = begin(world, async move {
        let made = bring_up(&then, &name, number, &host).await;
        let state = if made.is_ok() { "Succeeded" } else { "Failed" };
        if let Some(managed) = held(&then).managed.get_mut(&name) {
            state.clone_into(&mut managed.state);
        }
        made.map_err(|e| {
            Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                e.to_string(),
            )
        })
    });
    Ok(Answer::Comes(shown, operation))
}

/// The simulated cluster, with what a new one of Azure has, and the public side at the address of its ingress.
async fn bring_up(world: &Arc<World>, name: &str, number: u8, host: &str) -> io::Result<()> {
    let address = Ipv4Addr::new(127, 30, 0, number);
    let kube = world
        .start_cluster(name, number, host, Some(address))
        .await?;
    if !roles::may_pull(&held(world), name) {
        kube.refuse_images(Some(&roles::login_server()))?;
    }
    for (class, usual) in [("managed", false), ("managed-csi", true)] {
        let object = json!({ "metadata": { "name": class, "annotations": { "storageclass.kubernetes.io/is-default-class": usual.to_string() } },
            "provisioner": "disk.csi.azure.com", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", "parameters": { "skuName": "Premium_LRS" } });
        kube.make("/apis/storage.k8s.io/v1/storageclasses", &object)
            .await?;
    }
    let front = platform::Front {
        host: arbitex::API,
        address,
        namespace: arbitex::NAMESPACE,
        service: "arbitex-platform",
        secret: "arbitex-secrets",
    };
    platform::open(world, front).await?;
    let ready = |list: &Value| {
        let nodes = list["items"].as_array().into_iter().flatten();
        let mut conditions =
            nodes.flat_map(|n| n["status"]["conditions"].as_array().into_iter().flatten());
        conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    kube.until("/api/v1/nodes", ready).await.map(drop)
}

fn stop(world: &Arc<World>, asked: &Asked<'_>, name: &str) -> Result<Answer, Refused> {
    if let Some(kube) = world.cluster(name) {
        kube.stop();
    }
    named(&mut held(world), asked, name)?.running = false;
    Ok(Answer::Goes(Value::Null, begin(world, async { Ok(()) })))
}

fn start(world: &Arc<World>, asked: &Asked<'_>, name: &str) -> Result<Answer, Refused> {
    let failed = |said: &str| {
        Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            said,
        )
    };
    if named(&mut held(world), asked, name)?.lost {
        return Err(failed(
            "The control plane of the managed cluster could not be started.",
        ));
    }
    let kube = world
        .cluster(name)
        .ok_or_else(|| failed("the cluster is still being made"))?;
    let (then, name) = (world.clone(), name.to_owned());
    let operation = begin(world, async move {
        let gone_on = kube.go_on().await;
        gone_on.map_err(|e| {
            Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                e.to_string(),
            )
        })?;
        if let Some(managed) = held(&then).managed.get_mut(&name) {
            managed.running = true;
        }
        Ok(())
    });
    Ok(Answer::Goes(Value::Null, operation))
}

fn credentials(world: &World, asked: &Asked<'_>, name: &str) -> Result<Answer, Refused> {
    let group = named(&mut held(world), asked, name)?.group.clone();
    let kube = world.cluster(name).ok_or_else(|| {
        let said = format!("The managed cluster {name} has no credentials yet.");
        Refused::new(StatusCode::CONFLICT, "OperationNotAllowed", said)
    })?;
    let text = kube.kubeconfig_of(name).replace(
        &format!("{name}-{name}"),
        &format!("clusterUser_{group}_{name}"),
    );
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    Ok(Answer::Is(
        json!({ "kubeconfigs": [{ "name": "clusterUser", "value": text }] }),
    ))
}

fn bindings(
    world: &World,
    asked: &Asked<'_>,
    name: &str,
    binding: Option<&str>,
) -> Result<Answer, Refused> {
    let mut azure = held(world);
    let managed = named(&mut azure, asked, name)?;
    let of = managed.id(name);
    let shown = |binding: &str, properties: &Value| json!({ "id": format!("{of}/trustedAccessRoleBindings/{binding}"), "name": binding, "properties": properties });
    let Some(binding) = binding else {
        let all: Vec<Value> = managed.bindings.iter().map(|(n, p)| shown(n, p)).collect();
        return Ok(Answer::Is(json!({ "value": all })));
    };
    if *asked.method == Method::PUT {
        let mut properties = asked.body["properties"].clone();
        properties["provisioningState"] = json!("Succeeded");
        managed.bindings.insert(binding.to_owned(), properties);
    }
    match managed.bindings.get(binding) {
        Some(found) => Ok(Answer::Is(shown(binding, found))),
        None => Err(Refused::missing(
            &format!("{KIND}/trustedAccessRoleBindings"),
            asked.group,
            binding,
        )),
    }
}

/// The properties of an extension that is installed.
fn extension(cluster: &str, name: &str, kind: &str, settings: &Value) -> Value {
    let identity = json!({ "principalId": principal_of(cluster, name), "type": "SystemAssigned" });
    json!({ "extensionType": kind, "releaseTrain": "Stable", "configurationSettings": settings, "aksAssignedIdentity": identity, "provisioningState": "Succeeded" })
}

fn extensions(
    world: &World,
    asked: &Asked<'_>,
    name: &str,
    one: Option<&str>,
) -> Result<Answer, Refused> {
    let mut azure = held(world);
    let managed = named(&mut azure, asked, name)?;
    let of = managed.id(name);
    let shown = |one: &str, properties: &Value| json!({ "id": format!("{of}/providers/Microsoft.KubernetesConfiguration/extensions/{one}"), "name": one, "properties": properties });
    let Some(one) = one else {
        let all: Vec<Value> = managed
            .extensions
            .iter()
            .map(|(n, p)| shown(n, p))
            .collect();
        return Ok(Answer::Is(json!({ "value": all })));
    };
    if *asked.method == Method::PUT {
        let wanted = &asked.body["properties"];
        let settings = &wanted["configurationSettings"];
        let account = settings["storageAccount"].as_str().unwrap_or_default();
        if managed.state != "Succeeded" || !managed.running {
            let said = format!(
                "The extension operation failed with the following error: the cluster {name} cannot be reached."
            );
            return Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "ExtensionOperationFailed",
                said,
            ));
        }
        if account != roles::ACCOUNT {
            let said = format!(
                "The extension operation failed with the following error: the storage account '{account}' could not be found in resource group '{}'.",
                settings["storageAccountResourceGroup"]
                    .as_str()
                    .unwrap_or_default()
            );
            return Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "ExtensionCreationFailed",
                said,
            ));
        }
        let kind = wanted["extensionType"].as_str().unwrap_or_default();
        managed
            .extensions
            .insert(one.to_owned(), extension(name, one, kind, settings));
    }
    match managed.extensions.get(one) {
        Some(found) => Ok(Answer::Is(shown(one, found))),
        None => Err(Refused::missing(
            "Microsoft.KubernetesConfiguration/extensions",
            asked.group,
            one,
        )),
    }
}

/// What a region offers: versions of Kubernetes, sizes, and what of the quota is used.
pub(super) fn offers(world: &World, asked: &Asked<'_>) -> Result<Answer, Refused> {
    let what = asked
        .rest
        .get(1)
        .map(|w| w.to_ascii_lowercase())
        .unwrap_or_default();
    let found = match what.as_str() {
        "kubernetesversions" => {
            let all = VERSIONS.iter().map(|(minor, patch)| json!({ "version": minor, "isDefault": *minor == "1.32", "patchVersions": { *patch: { "upgrades": [] } } }));
            json!({ "values": all.collect::<Vec<Value>>() })
        }
        "vmsizes" => {
            let all = SIZES.iter().map(|(name, cores, memory)| json!({ "name": name, "numberOfCores": cores, "memoryInMB": memory, "maxDataDiskCount": 8 }));
            json!({ "value": all.collect::<Vec<Value>>() })
        }
        "usages" => {
            // A stopped cluster keeps no cores; each cluster here has one node of four.
            let others = held(world).managed.values().filter(|m| m.running).count();
            let used = 8 + 4 * others;
            json!({ "value": [
                { "currentValue": used, "limit": 100, "unit": "Count", "name": { "value": "cores", "localizedValue": "Total Regional vCPUs" } },
                { "currentValue": used, "limit": 100, "unit": "Count", "name": { "value": "standardDSv5Family", "localizedValue": "Standard DSv5 Family vCPUs" } },
            ] })
        }
        other => {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "InvalidResourceType",
                format!("a location has no {other} here"),
            ));
        }
    };
    Ok(Answer::Is(found))
}
