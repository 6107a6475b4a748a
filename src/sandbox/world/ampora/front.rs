//! The public side of Ampora, behind the ingresses of both sites. Each shows the certificate that its own
//! cluster holds, and the one that every ingress makes for itself where there is none.

use super::{NAMESPACE, NEW_SITE, OLD_SITE, PUBLIC, Platform, oidc};
use crate::sandbox::{
    authority::Authority,
    world::{door, platform::decoded},
};
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// What an ingress shows now.
#[derive(Debug)]
struct Shown {
    now: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.now
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

fn certified(chain: &str, key: &str) -> io::Result<Arc<CertifiedKey>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(io::Error::other)?;
    Ok(Arc::new(CertifiedKey::new(
        chain.map_err(io::Error::other)?,
        key,
    )))
}

#[derive(Clone)]
struct Side {
    platform: Arc<Platform>,
    /// The cluster whose ingress this is.
    cluster: &'static str,
}

pub(super) async fn open(platform: &Arc<Platform>) -> io::Result<()> {
    for (cluster, address) in [("prod-a", OLD_SITE), ("prod-b", NEW_SITE)] {
        open_one(platform, cluster, address).await?;
    }
    Ok(())
}

async fn open_one(
    platform: &Arc<Platform>,
    cluster: &'static str,
    address: Ipv4Addr,
) -> io::Result<()> {
    crate::systems::tls::install();
    let own = Authority::new("Kubernetes Ingress Controller Fake Certificate")?
        .sign(&["ingress.local"])?;
    let own = certified(&own.chain, &own.key)?;
    let shown = Arc::new(Shown {
        now: RwLock::new(own.clone()),
    });
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(shown.clone());
    let side = Side {
        platform: platform.clone(),
        cluster,
    };
    let router = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/login", get(login))
        .route("/callback", get(callback))
        .route("/home", get(home))
        .with_state(side);
    door::open(SocketAddr::from((address, 443)), Arc::new(tls), router).await?;
    let platform = platform.clone();
    tokio::spawn(async move {
        loop {
            let held = match platform.world.cluster(cluster).filter(|k| k.works()) {
                Some(kube) => {
                    kube.get(&format!(
                        "/api/v1/namespaces/{NAMESPACE}/secrets/ampora-tls"
                    ))
                    .await
                }
                None => None,
            };
            let held = held.map(|secret| decoded(&secret));
            let found =
                held.and_then(|all| certified(all.get("tls.crt")?, all.get("tls.key")?).ok());
            *shown.now.write().unwrap_or_else(PoisonError::into_inner) =
                found.unwrap_or_else(|| own.clone());
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    });
    Ok(())
}

impl Side {
    /// What the pods behind this ingress say; `None` where none is ready.
    async fn state(&self) -> Option<Value> {
        let (kube, _) = self.platform.pod().await?;
        if kube.name != self.cluster {
            return None;
        }
        Some(self.platform.state().await?.subsystems)
    }
}

fn unavailable() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "503 Service Temporarily Unavailable\n",
    )
        .into_response()
}

async fn live(State(side): State<Side>) -> Response {
    match side.state().await {
        Some(_) => (StatusCode::OK, "alive\n").into_response(),
        None => unavailable(),
    }
}

async fn ready(State(side): State<Side>) -> Response {
    let Some(subsystems) = side.state().await else {
        return unavailable();
    };
    // Agents that cannot connect do not make the platform unready: it serves people.
    let down = subsystems["database"] != "healthy"
        || subsystems["keys"] != "healthy"
        || subsystems["federation"] != "healthy";
    let status = if down {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (status, Json(json!({ "subsystems": subsystems }))).into_response()
}

type Values = BTreeMap<String, String>;

async fn login(State(side): State<Side>) -> Response {
    if side.state().await.is_none() {
        return unavailable();
    }
    let back = format!("https%3A%2F%2F{PUBLIC}%2Fcallback");
    Redirect::to(&format!(
        "{}/authorize?response_type=code&client_id=ampora&redirect_uri={back}",
        oidc::issuer()
    ))
    .into_response()
}

async fn callback(State(side): State<Side>, Query(given): Query<Values>) -> Response {
    let good = given
        .get("code")
        .is_some_and(|c| side.platform.provider.redeem(c));
    match good {
        true => (
            [(
                header::SET_COOKIE,
                "session=signed-in; Path=/; Secure; HttpOnly",
            )],
            Redirect::to("/home"),
        )
            .into_response(),
        false => (StatusCode::BAD_GATEWAY, "the provider gave no token\n").into_response(),
    }
}

async fn home(headers: HeaderMap) -> Response {
    let cookie = headers
        .get(header::COOKIE)
        .and_then(|c| c.to_str().ok())
        .unwrap_or_default();
    match cookie.contains("session=signed-in") {
        true => (StatusCode::OK, "the Dashboard\n").into_response(),
        false => (StatusCode::UNAUTHORIZED, "sign in first\n").into_response(),
    }
}
