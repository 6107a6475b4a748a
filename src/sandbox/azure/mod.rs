//! The subscription of a sandbox: what the Azure Resource Manager would say, and what it does, in this
//! world. Answers are shaped as the real one shapes them, so that the real `az` can be pointed at it.

pub(crate) mod aks;
pub(crate) mod backup;
pub(crate) mod disks;
mod network;
pub(crate) mod postgres;
mod recovery;
pub(crate) mod roles;
pub(crate) mod vault;

pub(crate) use network::knows as dns;
pub(crate) use recovery::taken as backed_up;

use crate::{
    private,
    sandbox::world::{CLOUDS, World, door},
};
use axum::{
    Json, Router,
    body::{Bytes, to_bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, MutexGuard, PoisonError},
};

pub(crate) const SUBSCRIPTION: &str = "00000000-0000-0000-0000-0000000d1111";
pub(crate) const TENANT: &str = "00000000-0000-0000-0000-0000000d2222";
/// As whom a drill is signed in.
const PRINCIPAL: &str = "00000000-0000-0000-0000-0000000d3333";
pub(crate) const LOCATION: &str = "westeurope";
pub(crate) const MANAGER: &str = "management.azure.com";
const LOGIN: &str = "login.microsoftonline.com";
const GRAPH: &str = "graph.microsoft.com";
const MOST: usize = 4 * 1024 * 1024;

/// What the subscription holds.
pub(crate) struct Subscription {
    pub servers: BTreeMap<String, postgres::Managed>,
    pub backups_disturbed: bool,
    pub disks: BTreeMap<String, disks::Disk>,
    pub snapshots: BTreeMap<String, disks::Snapshot>,
    /// Zone and record to addresses.
    pub records: BTreeMap<(String, String), Vec<Ipv4Addr>>,
    pub managed: BTreeMap<String, aks::Managed>,
    pub vault: backup::Vault,
    pub roles: Vec<roles::Role>,
    /// Key Vault and name to values.
    pub secrets: BTreeMap<(String, String), String>,
    /// Long-running operations: how they ended, once they have.
    pub operations: BTreeMap<String, Operation>,
}

/// How a long-running operation is.
#[derive(Clone)]
pub(crate) enum Operation {
    InProgress,
    Succeeded,
    Failed(String, String),
}

impl Subscription {
    pub(crate) fn new() -> Self {
        Self {
            servers: BTreeMap::new(),
            backups_disturbed: false,
            disks: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            records: BTreeMap::new(),
            managed: BTreeMap::new(),
            vault: backup::Vault::default(),
            roles: Vec::new(),
            secrets: BTreeMap::new(),
            operations: BTreeMap::new(),
        }
    }
}

pub(crate) fn held(world: &World) -> MutexGuard<'_, Subscription> {
    world.azure.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the manager refuses.
pub(crate) struct Refused {
    pub status: StatusCode,
    pub code: String,
    pub message: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// A resource that is not there, as it is said of every kind.
    pub(crate) fn missing(kind: &str, group: &str, name: &str) -> Self {
        let said = format!(
            "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        );
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", said)
    }

    fn unknown(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "InvalidResourceType",
            format!("The resource type could not be found: {path}"),
        )
    }
}

/// What the manager answers.
pub(crate) enum Answer {
    Is(Value),
    /// Accepted: an operation goes on, under that id.
    Goes(Value, String),
    /// The same of a cluster, which is said to be created at once.
    Comes(Value, String),
    Nothing,
}

/// A request, taken apart.
pub(crate) struct Asked<'a> {
    pub method: &'a Method,
    pub group: &'a str,
    /// Names after the provider's kind: the resource, and what is asked of it.
    pub rest: &'a [&'a str],
    pub body: &'a Value,
}

pub(crate) fn id(group: &str, kind: &str, name: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/{kind}/{name}")
}

pub(crate) fn group_id(group: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}")
}

/// Opens the clouds at their address, under their own names.
pub(crate) async fn open(world: &Arc<World>) -> io::Result<()> {
    let names = [MANAGER, LOGIN, GRAPH];
    for name in names {
        world.names.set(name, &[CLOUDS]);
    }
    let login = world.folder.at("home/azure");
    signed_in(&login)?;
    world.environment("AZURE_CONFIG_DIR", login.display().to_string());
    let vaults = format!("*.{}", vault::DOMAIN);
    let pair = world.authority.sign(&[MANAGER, LOGIN, GRAPH, &vaults])?;
    let router = Router::new().fallback(answer).with_state(world.clone());
    door::open(SocketAddr::from((CLOUDS, 443)), pair.server(None)?, router)
        .await
        .map(drop)
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().to_owned();
    let bytes = to_bytes(body, MOST).await.unwrap_or_else(|_| Bytes::new());
    if host == LOGIN {
        return login(parts.uri.path());
    }
    if host == GRAPH {
        // Names of principals, which `az` asks for when a role is there already; it does without.
        return Json(json!({ "value": [] })).into_response();
    }
    let path = parts.uri.path().to_owned();
    if vault::is_host(&host) {
        return vault::answer(
            &world,
            &host,
            &path,
            parts.headers.contains_key(header::AUTHORIZATION),
        );
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let query = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri);
    let filter = query.ok().and_then(|Query(mut all)| all.remove("$filter"));
    let filter = filter.unwrap_or_default();
    match manage(&world, &parts.method, &path, &filter, &body).await {
        Ok(Answer::Is(value)) => Json(value).into_response(),
        Ok(Answer::Nothing) => StatusCode::NO_CONTENT.into_response(),
        Ok(Answer::Goes(value, operation)) => {
            accepted(&world, StatusCode::ACCEPTED, value, &operation).await
        }
        Ok(Answer::Comes(value, operation)) => {
            accepted(&world, StatusCode::CREATED, value, &operation).await
        }
        Err(refused) => {
            let error = json!({ "error": { "code": refused.code, "message": refused.message } });
            (refused.status, Json(error)).into_response()
        }
    }
}

/// What is said of an operation that goes on.
async fn accepted(world: &World, status: StatusCode, value: Value, operation: &str) -> Response {
    // Whoever asks again only after half a minute sees what takes a second here at once.
    for _ in 0..60 {
        if !matches!(
            held(world).operations.get(operation),
            Some(Operation::InProgress)
        ) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let at = format!(
        "https://{MANAGER}/subscriptions/{SUBSCRIPTION}/providers/Sandbox.Operations/operations/{operation}?api-version=2024-01-01"
    );
    let mut headers = HeaderMap::new();
    if let Ok(at) = HeaderValue::from_str(&at) {
        headers.insert("azure-asyncoperation", at);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    (status, headers, Json(value)).into_response()
}

/// A folder for `az` in which somebody is signed in: the login of whoever drills is neither sent here nor changed.
fn signed_in(folder: &Path) -> io::Result<()> {
    let known = json!({ "id": SUBSCRIPTION, "name": "sandbox", "state": "Enabled", "isDefault": true, "tenantId": TENANT, "homeTenantId": TENANT,
        "environmentName": "AzureCloud", "managedByTenants": [], "user": { "name": PRINCIPAL, "type": "servicePrincipal" } });
    let entry = json!({ "client_id": PRINCIPAL, "tenant": TENANT, "client_secret": "sandbox" });
    // Nothing is asked of anybody outside: no telemetry, no newer version.
    let config =
        "[core]\ncollect_telemetry = no\nsurvey_message = no\n[auto-upgrade]\nenable = no\n";
    std::fs::create_dir_all(folder)?;
    for (name, text) in [
        (
            "azureProfile.json",
            json!({ "subscriptions": [known] }).to_string(),
        ),
        ("service_principal_entries.json", json!([entry]).to_string()),
        ("config", config.to_owned()),
    ] {
        private::replace_lazily(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Any service principal may sign in here; the token says who it is and nothing else.
fn login(path: &str) -> Response {
    if path.ends_with("openid-configuration") {
        let at = |what: &str| format!("https://{LOGIN}/{TENANT}/oauth2/v2.0/{what}");
        let found = json!({ "token_endpoint": at("token"), "authorization_endpoint": at("authorize"), "issuer": format!("https://{LOGIN}/{TENANT}/v2.0"),
            "device_authorization_endpoint": at("devicecode"), "jwks_uri": at("keys") });
        return Json(found).into_response();
    }
    use base64::Engine;
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |value: Value| base64.encode(value.to_string());
    let token = format!(
        "{}.{}.",
        part(json!({ "alg": "none", "typ": "JWT" })),
        part(
            json!({ "tid": TENANT, "oid": "sandbox", "appid": "sandbox", "exp": 4_102_444_800_u64 })
        )
    );
    Json(json!({ "token_type": "Bearer", "expires_in": 86400, "ext_expires_in": 86400, "access_token": token })).into_response()
}

async fn manage(
    world: &Arc<World>,
    method: &Method,
    path: &str,
    filter: &str,
    body: &Value,
) -> Result<Answer, Refused> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let lower: Vec<String> = segments.iter().map(|s| s.to_ascii_lowercase()).collect();
    let is = |at: usize, word: &str| lower.get(at).is_some_and(|s| s == word);
    if is(0, "metadata") {
        return Ok(Answer::Is(endpoints()));
    }
    if is(0, "tenants") {
        return Ok(Answer::Is(
            json!({ "value": [{ "tenantId": TENANT, "displayName": "sandbox" }] }),
        ));
    }
    let subscription = json!({ "id": format!("/subscriptions/{SUBSCRIPTION}"), "subscriptionId": SUBSCRIPTION, "tenantId": TENANT, "displayName": "sandbox", "state": "Enabled" });
    if !is(0, "subscriptions") {
        return Err(Refused::unknown(path));
    }
    match segments.get(1) {
        None => return Ok(Answer::Is(json!({ "value": [subscription] }))),
        Some(&SUBSCRIPTION) => {}
        Some(other) => {
            let said = format!("The subscription '{other}' could not be found.");
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "SubscriptionNotFound",
                said,
            ));
        }
    }
    if segments.len() == 2 {
        return Ok(Answer::Is(subscription));
    }
    let authorization = |what: &str| {
        lower
            .windows(3)
            .position(|w| w == ["providers", "microsoft.authorization", what])
    };
    if authorization("roledefinitions").is_some() {
        return Ok(roles::definitions(filter));
    }
    if let Some(at) = authorization("roleassignments") {
        let scope = format!("/{}", segments[..at].join("/"));
        return roles::answer(world, method, &scope, segments.get(at + 3).copied(), body);
    }
    let group = if is(2, "resourcegroups") {
        segments.get(3).copied().unwrap_or_default()
    } else {
        ""
    };
    // Of all resources, a tool looks only for the registry by its name alone.
    if is(2, "resources") {
        return Ok(Answer::Is(json!({ "value": [roles::registry()] })));
    }
    let Some(provider) = lower.iter().position(|s| s == "providers") else {
        let found = json!({ "id": group_id(group), "name": group, "location": LOCATION, "properties": { "provisioningState": "Succeeded" } });
        return Ok(Answer::Is(found));
    };
    let space = lower.get(provider + 1).map_or("", String::as_str);
    let kind = lower.get(provider + 2).map_or("", String::as_str);
    let asked = Asked {
        method,
        group,
        rest: segments.get(provider + 3..).unwrap_or_default(),
        body,
    };
    match (space, kind) {
        ("sandbox.operations", "operations") => {
            operation(world, asked.rest.first().copied().unwrap_or_default())
        }
        ("microsoft.dbforpostgresql", "flexibleservers") => postgres::answer(world, &asked).await,
        ("microsoft.dbforpostgresql", _) => Ok(Answer::Is(json!({ "nameAvailable": true }))),
        ("microsoft.compute", "disks") => disks::answer(world, &asked).await,
        ("microsoft.compute", "snapshots") => disks::snapshots(world, &asked),
        ("microsoft.compute", "locations") | ("microsoft.containerservice", "locations") => {
            aks::offers(world, &asked)
        }
        ("microsoft.containerservice", "managedclusters") => aks::answer(world, &asked),
        ("microsoft.dataprotection", "backupvaults") => backup::answer(world, &asked),
        ("microsoft.storage", "storageaccounts") => roles::accounts(&asked),
        ("microsoft.managedidentity", "userassignedidentities") => Ok(roles::identity(&asked)),
        ("microsoft.containerregistry", "registries") => Ok(Answer::Is(roles::registry())),
        ("microsoft.network", "dnszones") => network::answer(world, &asked),
        _ => Err(Refused::unknown(path)),
    }
}

fn operation(world: &World, id: &str) -> Result<Answer, Refused> {
    let found = held(world).operations.get(id).cloned();
    let body = match found {
        None => {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "OperationNotFound",
                format!("no operation {id}"),
            ));
        }
        Some(Operation::InProgress) => json!({ "name": id, "status": "InProgress" }),
        Some(Operation::Succeeded) => json!({ "name": id, "status": "Succeeded" }),
        Some(Operation::Failed(code, message)) => {
            json!({ "name": id, "status": "Failed", "error": { "code": code, "message": message } })
        }
    };
    Ok(Answer::Is(body))
}

/// Starts an operation, and says what becomes of it when it has ended.
pub(crate) fn begin(
    world: &Arc<World>,
    work: impl Future<Output = Result<(), Refused>> + Send + 'static,
) -> String {
    let id = super::world::random_text(8).unwrap_or_default();
    held(world)
        .operations
        .insert(id.clone(), Operation::InProgress);
    let (world, name) = (world.clone(), id.clone());
    tokio::spawn(async move {
        let ended = match work.await {
            Ok(()) => Operation::Succeeded,
            Err(refused) => Operation::Failed(refused.code, refused.message),
        };
        held(&world).operations.insert(name, ended);
    });
    id
}

/// Waits until an operation has ended.
pub(crate) async fn ended(world: &World, id: &str) -> Result<(), Refused> {
    loop {
        let now = held(world).operations.get(id).cloned();
        match now {
            Some(Operation::InProgress) => {
                tokio::time::sleep(std::time::Duration::from_millis(30)).await
            }
            Some(Operation::Failed(code, message)) => {
                return Err(Refused::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    &code,
                    message,
                ));
            }
            Some(Operation::Succeeded) | None => return Ok(()),
        }
    }
}

/// What a cloud tells about itself to a client that registers it.
fn endpoints() -> Value {
    json!({
        "name": "AzureCloud",
        "resourceManager": format!("https://{MANAGER}/"),
        "authentication": { "loginEndpoint": format!("https://{LOGIN}/"), "audiences": [format!("https://{MANAGER}/")], "tenant": "common", "identityProvider": "AAD" },
        "suffixes": { "storage": "core.windows.net", "keyVaultDns": "vault.azure.net", "sqlServerHostname": "database.windows.net", "acrLoginServer": "azurecr.io", "postgresqlServerEndpoint": "postgres.database.azure.com" },
        "graph": "https://graph.windows.net/", "portal": "https://portal.azure.com", "gallery": "https://gallery.azure.com/",
        "activeDirectoryDataLake": "https://datalake.azure.net/", "batch": "https://batch.core.windows.net/", "media": "https://rest.media.azure.net",
    })
}
