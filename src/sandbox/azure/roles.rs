//! Who may do what: role assignments on any scope, and the storage account to which some of them belong.

use super::{Answer, Asked, LOCATION, Refused, Subscription, held, id};
use crate::sandbox::world::World;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The storage account in which the backups of clusters are.
pub(super) const ACCOUNT: &str = "arbitexbackups";
const REGISTRY: &str = "arbitexregistry";
const ACCOUNTS: &str = "Microsoft.Storage/storageAccounts";
/// Roles that are used here, with their well-known identifiers.
pub(crate) const DEFINITIONS: &[(&str, &str)] = &[
    (BLOBS, "ba92f5b4-2d11-453d-a403-e96b0029c9fe"),
    (READER, "acdd72a7-3385-48ef-bd42-f606fba81ae7"),
    (SNAPSHOTS, "7efff54f-a5b4-42b5-a1c5-5411624893ce"),
    (CONTRIBUTOR, "b24988ac-6180-42a0-ab88-20f7382dd24c"),
    (PULL, "7f951dda-4ed3-4680-a7ca-43fe172d538d"),
    (
        "Network Contributor",
        "4d97b98b-1d4f-4787-a291-c67834d212e7",
    ),
];
pub(crate) const BLOBS: &str = "Storage Blob Data Contributor";
pub(crate) const READER: &str = "Reader";
pub(crate) const SNAPSHOTS: &str = "Disk Snapshot Contributor";
pub(crate) const CONTRIBUTOR: &str = "Contributor";
pub(crate) const PULL: &str = "AcrPull";

/// One assignment.
pub(crate) struct Role {
    id: String,
    scope: String,
    definition: String,
    principal: String,
}

impl Role {
    fn shown(&self) -> Value {
        let at = format!("{}/providers/Microsoft.Authorization", self.scope);
        json!({ "id": format!("{at}/roleAssignments/{}", self.id), "name": self.id, "type": "Microsoft.Authorization/roleAssignments",
            "properties": { "scope": self.scope, "principalId": self.principal, "principalType": "ServicePrincipal",
                "roleDefinitionId": format!("/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{}", super::SUBSCRIPTION, self.definition) } })
    }
}

/// An identifier that is the same whenever it is made of the same text.
pub(super) fn guid(of: &str) -> String {
    let hex: String = Sha256::digest(of)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

fn identifier(role: &str) -> &str {
    DEFINITIONS
        .iter()
        .find(|(name, _)| *name == role)
        .map_or(role, |(_, id)| *id)
}

pub(super) fn account_id() -> String {
    id(super::aks::GROUP, ACCOUNTS, ACCOUNT)
}

/// Does somebody have a role on a scope, or on what is above it?
pub(super) fn has(azure: &Subscription, principal: &str, role: &str, scope: &str) -> bool {
    let scope = scope.to_ascii_lowercase();
    azure.roles.iter().any(|r| {
        let own = r.scope.to_ascii_lowercase();
        r.principal == principal
            && r.definition == identifier(role)
            && (scope == own || scope.starts_with(&format!("{own}/")))
    })
}

/// Who the nodes of a cluster are.
pub(super) fn nodes(cluster: &str) -> String {
    guid(&format!("identity of the nodes of {cluster}"))
}

/// May the nodes of a cluster take images from the registry?
pub(super) fn may_pull(azure: &Subscription, cluster: &str) -> bool {
    has(azure, &nodes(cluster), PULL, &registry_id())
}

fn registry_id() -> String {
    id(
        super::aks::GROUP,
        "Microsoft.ContainerRegistry/registries",
        REGISTRY,
    )
}

pub(super) fn login_server() -> String {
    format!("{REGISTRY}.azurecr.io")
}

/// Somebody has a role from the beginning.
pub(super) fn give(azure: &mut Subscription, principal: &str, role: &str, scope: &str) {
    azure.roles.push(Role {
        id: guid(&format!("{principal} {role} {scope}")),
        scope: scope.to_owned(),
        definition: identifier(role).to_owned(),
        principal: principal.to_owned(),
    });
}

/// Assignments on a scope: listed, or one of them made.
pub(super) fn answer(
    world: &World,
    method: &Method,
    scope: &str,
    id: Option<&str>,
    body: &Value,
) -> Result<Answer, Refused> {
    let mut azure = held(world);
    let Some(id) = id else {
        let all = azure
            .roles
            .iter()
            .filter(|r| r.scope.eq_ignore_ascii_case(scope));
        let all: Vec<Value> = all.map(Role::shown).collect();
        return Ok(Answer::Is(json!({ "value": all })));
    };
    if *method == Method::PUT {
        let text = |key: &str| body["properties"][key].as_str().unwrap_or_default();
        let role = Role {
            id: id.to_owned(),
            scope: scope.to_owned(),
            definition: text("roleDefinitionId")
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned(),
            principal: text("principalId").to_owned(),
        };
        let same = |r: &&Role| {
            r.scope.eq_ignore_ascii_case(scope)
                && r.definition == role.definition
                && r.principal == role.principal
        };
        if azure.roles.iter().any(|r| same(&r)) {
            return Err(Refused::new(
                StatusCode::CONFLICT,
                "RoleAssignmentExists",
                "The role assignment already exists.",
            ));
        }
        azure.roles.push(role);
        let clusters: Vec<String> = azure.managed.keys().cloned().collect();
        let allowed = clusters.iter().filter(|name| may_pull(&azure, name));
        for kube in allowed.filter_map(|name| world.cluster(name)) {
            // A registry that has refused nothing leaves no file.
            let _ = kube.refuse_images(None);
        }
    }
    match azure.roles.iter().find(|r| r.id == id) {
        Some(role) => Ok(Answer::Is(role.shown())),
        None => {
            let said = format!("The role assignment '{id}' is not found.");
            Err(Refused::new(
                StatusCode::NOT_FOUND,
                "RoleAssignmentNotFound",
                said,
            ))
        }
    }
}

/// Definitions of roles: all of them, or those of the name that a filter asks for.
pub(super) fn definitions(filter: &str) -> Answer {
    let wanted = filter
        .split_once("roleName eq '")
        .and_then(|(_, rest)| rest.split('\'').next());
    let all = DEFINITIONS
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|w| w.eq_ignore_ascii_case(name)));
    let all = all.map(|(name, id)| {
        let whole = format!("/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{id}", super::SUBSCRIPTION);
        json!({ "id": whole, "name": id, "type": "Microsoft.Authorization/roleDefinitions", "properties": { "roleName": name, "type": "BuiltInRole" } })
    });
    Answer::Is(json!({ "value": all.collect::<Vec<Value>>() }))
}

/// The registry from which nodes take images.
pub(super) fn registry() -> Value {
    json!({ "id": registry_id(), "name": REGISTRY, "type": "Microsoft.ContainerRegistry/registries",
        "location": LOCATION, "sku": { "name": "Premium" }, "properties": { "loginServer": login_server(), "provisioningState": "Succeeded" } })
}

/// An identity that somebody made for a cluster.
pub(super) fn identity(asked: &Asked<'_>) -> Answer {
    let name = asked.rest.first().copied().unwrap_or_default();
    let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
    Answer::Is(
        json!({ "id": id(asked.group, kind, name), "name": name, "type": kind, "location": LOCATION,
        "properties": { "tenantId": super::TENANT, "principalId": guid(&format!("identity {name}")), "clientId": guid(&format!("client of {name}")) } }),
    )
}

/// The storage account.
pub(super) fn accounts(asked: &Asked<'_>) -> Result<Answer, Refused> {
    let shown = json!({ "id": account_id(), "name": ACCOUNT, "type": ACCOUNTS, "location": LOCATION, "kind": "StorageV2",
        "sku": { "name": "Standard_GRS", "tier": "Standard" }, "properties": { "provisioningState": "Succeeded" } });
    match asked.rest.first() {
        None => Ok(Answer::Is(json!({ "value": [shown] }))),
        Some(name) if *name == ACCOUNT => Ok(Answer::Is(shown)),
        Some(name) => Err(Refused::missing(ACCOUNTS, asked.group, name)),
    }
}
