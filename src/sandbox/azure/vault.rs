//! Key Vault: the secrets that the platform's own Secret is made from, behind their own host name.

use super::{TENANT, held};
use crate::sandbox::world::{CLOUDS, World};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Under this stand the names of all vaults.
pub(crate) const DOMAIN: &str = "vault.azure.net";

/// A secret that is there from the beginning; the name of its vault leads here from now on.
pub(crate) fn knows(world: &World, vault: &str, name: &str, value: &str) {
    world.names.set(&format!("{vault}.{DOMAIN}"), &[CLOUDS]);
    // Names of secrets are not told apart by their case.
    let at = (vault.to_owned(), name.to_ascii_lowercase());
    held(world).secrets.insert(at, value.to_owned());
}

/// Is this the host of a vault?
pub(super) fn is_host(host: &str) -> bool {
    host.strip_suffix(DOMAIN)
        .is_some_and(|vault| vault.ends_with('.'))
}

/// A request to the data plane of a vault; whoever brings no token is told where to get one.
pub(super) fn answer(world: &World, host: &str, path: &str, signed_in: bool) -> Response {
    if !signed_in {
        let wanted = format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"https://{DOMAIN}\""
        );
        let body = error(
            "Unauthorized",
            "AKV10000: Request is missing a Bearer or PoP token.",
        );
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, wanted)],
            Json(body),
        )
            .into_response();
    }
    let vault = host.split('.').next().unwrap_or_default();
    let mut words = path.trim_matches('/').split('/');
    let (Some("secrets"), Some(name)) = (words.next(), words.next()) else {
        return (
            StatusCode::NOT_FOUND,
            Json(error("NotFound", "only secrets are kept here")),
        )
            .into_response();
    };
    let at = (vault.to_owned(), name.to_ascii_lowercase());
    match held(world).secrets.get(&at) {
        Some(value) => {
            let version = super::roles::guid(&format!("{vault}/{name}")).replace('-', "");
            let found = json!({ "value": value, "id": format!("https://{host}/secrets/{name}/{version}"), "attributes": { "enabled": true, "recoveryLevel": "Recoverable+Purgeable" }, "tags": {} });
            Json(found).into_response()
        }
        None => {
            let said = format!(
                "A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
            );
            (StatusCode::NOT_FOUND, Json(error("SecretNotFound", &said))).into_response()
        }
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}
