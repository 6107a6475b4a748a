//! The identity provider of a sandbox: discovery, a login form, codes and tokens, for one test user.

use crate::sandbox::world::{World, door, random_text};
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

pub(super) const HOST: &str = "id.acme.example";
pub(super) const USER: &str = "recovery-test";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 50, 0, 1);

/// Codes that were given and not yet used.
#[derive(Clone, Default)]
pub(super) struct Provider {
    codes: Arc<Mutex<BTreeSet<String>>>,
    password: String,
}

type Values = BTreeMap<String, String>;

impl Provider {
    pub(super) async fn open(world: &World, password: &str) -> io::Result<Self> {
        let provider = Self {
            password: password.to_owned(),
            ..Self::default()
        };
        world.names.set(HOST, &[ADDRESS]);
        let router = Router::new()
            .route(
                "/realms/acme/.well-known/openid-configuration",
                get(discovery),
            )
            .route("/realms/acme/authorize", get(form))
            .route("/realms/acme/login", post(login))
            .with_state(provider.clone());
        let pair = world.authority.sign(&[HOST])?;
        door::open(SocketAddr::from((ADDRESS, 443)), pair.server(None)?, router).await?;
        Ok(provider)
    }

    /// Takes a code back; it counts once.
    pub(super) fn redeem(&self, code: &str) -> bool {
        self.codes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(code)
    }
}

pub(super) fn issuer() -> String {
    format!("https://{HOST}/realms/acme")
}

async fn discovery() -> Response {
    let at = |what: &str| format!("{}/{what}", issuer());
    Json(json!({ "issuer": issuer(), "authorization_endpoint": at("authorize"), "token_endpoint": at("token"), "jwks_uri": at("keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"] }))
    .into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

async fn form(Query(asked): Query<Values>) -> Html<String> {
    let back = asked.get("redirect_uri").map_or("", String::as_str);
    Html(format!(
        "<!doctype html><title>Sign in</title><form method=\"post\" action=\"/realms/acme/login\"><input type=\"hidden\" name=\"redirect_uri\" value=\"{}\"><input name=\"username\"><input type=\"password\" name=\"password\"><button>Sign in</button></form>\n",
        escaped(back)
    ))
}

async fn login(State(provider): State<Provider>, Form(given): Form<Values>) -> Response {
    let is = |name: &str, value: &str| given.get(name).is_some_and(|v| v == value);
    if !is("username", USER) || !is("password", &provider.password) {
        return (StatusCode::UNAUTHORIZED, "Invalid username or password.\n").into_response();
    }
    let code = random_text(12).unwrap_or_default();
    provider
        .codes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(code.clone());
    let back = given.get("redirect_uri").map_or("", String::as_str);
    Redirect::to(&format!("{back}?code={code}")).into_response()
}
