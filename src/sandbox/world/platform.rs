//! The public side of a platform: HTTPS behind the ingress of whichever cluster serves it. What it says is
//! what is true of the world: its pods, its database, its audit chain.

use super::{World, cluster::Kube, door, system};
use crate::systems::{postgres, tls};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::Engine;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Which platform it is, and by what it is known.
#[derive(Clone)]
pub(crate) struct Front {
    pub host: &'static str,
    pub address: Ipv4Addr,
    pub namespace: &'static str,
    /// The service to which the ingress leads.
    pub service: &'static str,
    /// The Secret that its pods read.
    pub secret: &'static str,
}

#[derive(Clone)]
struct Side {
    world: Arc<World>,
    front: Front,
}

/// Opens it at its address.
pub(crate) async fn open(world: &Arc<World>, front: Front) -> io::Result<()> {
    let pair = world.authority.sign(&[front.host])?;
    let address = SocketAddr::from((front.address, 443));
    let side = Side {
        world: world.clone(),
        front,
    };
    let router = Router::new().fallback(answer).with_state(side);
    door::open(address, pair.server(None)?, router)
        .await
        .map(drop)
}

/// What its pods read, and whether one of them is ready.
struct Serving {
    values: BTreeMap<String, String>,
    redis: bool,
}

async fn answer(State(side): State<Side>, request: Request) -> Response {
    let Some(serving) = side.serving().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream\n").into_response();
    };
    let bearer = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    match request.uri().path() {
        "/health" | "/health/ready" => {
            let database = side.asks(&serving, "SELECT count(*) FROM tenants").await;
            let good = database.is_ok() && serving.redis;
            let word = |good: bool| if good { "healthy" } else { "down" };
            let body = json!({ "status": if good { "ok" } else { "degraded" },
                "subsystems": { "database": word(database.is_ok()), "redis": word(serving.redis) } });
            let status = if good {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (status, Json(body)).into_response()
        }
        "/health/live" => (StatusCode::OK, Json(json!({ "status": "ok" }))).into_response(),
        "/v1/admin/audit/verify" => {
            if bearer != Some(&format!("Bearer {}", side.world.secrets.admin_token)) {
                return (
                    StatusCode::UNAUTHORIZED,
                    Json(json!({ "detail": "Not authenticated" })),
                )
                    .into_response();
            }
            let key = serving
                .values
                .get("AUDIT_KEY")
                .cloned()
                .unwrap_or_default()
                .replace('\'', "");
            match side.asks(&serving, &format!("SELECT chain_valid('{key}')::text || ' ' || (SELECT count(*) FROM audit_events)")).await {
                Ok(seen) => {
                    let (valid, events) = seen.split_once(' ').unwrap_or((&seen, "0"));
                    let events: u64 = events.parse().unwrap_or(0);
                    Json(json!({ "chain_valid": valid == "true", "events": events })).into_response()
                }
                Err(e) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "detail": e.to_string() }))).into_response(),
            }
        }
        _ => (
            StatusCode::NOT_FOUND,
            Json(json!({ "detail": "Not Found" })),
        )
            .into_response(),
    }
}

impl Side {
    /// The cluster whose ingress has this address and name, and whose pods are ready.
    async fn serving(&self) -> Option<Serving> {
        for kube in self.world.clusters() {
            if kube.works()
                && let Some(serving) = self.serving_of(&kube).await
            {
                return Some(serving);
            }
        }
        None
    }

    async fn serving_of(&self, kube: &Kube) -> Option<Serving> {
        let (front, ns) = (&self.front, self.front.namespace);
        let all = kube
            .get(&format!(
                "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses"
            ))
            .await?;
        let leads = all["items"].as_array()?.iter().any(|ingress| {
            let named = ingress["spec"]["rules"].as_array().into_iter().flatten();
            let here = &ingress["status"]["loadBalancer"]["ingress"][0]["ip"];
            named.into_iter().any(|r| r["host"] == front.host) && *here == front.address.to_string()
        });
        if !leads || !serves(kube, ns, front.service).await {
            return None;
        }
        let secret = kube
            .get(&format!("/api/v1/namespaces/{ns}/secrets/{}", front.secret))
            .await?;
        Some(Serving {
            values: decoded(&secret),
            redis: serves(kube, ns, "arbitex-redis").await,
        })
    }

    /// What the database of the running pods answers.
    async fn asks(&self, serving: &Serving, query: &str) -> io::Result<String> {
        let url = serving
            .values
            .get("DATABASE_URL")
            .ok_or_else(|| io::Error::other("no DATABASE_URL"))?;
        ask(url, query).await
    }
}

/// Is a pod of that service ready?
async fn serves(kube: &Kube, namespace: &str, service: &str) -> bool {
    let asked = format!("/api/v1/namespaces/{namespace}/services/{service}");
    let Some(service) = kube.get(&asked).await else {
        return false;
    };
    let wanted = service["spec"]["selector"]
        .as_object()
        .into_iter()
        .flatten();
    let wanted: Vec<String> = wanted
        .map(|(k, v)| format!("{k}%3D{}", v.as_str().unwrap_or_default()))
        .collect();
    let pods = kube
        .get(&format!(
            "/api/v1/namespaces/{namespace}/pods?labelSelector={}",
            wanted.join("%2C")
        ))
        .await;
    let pods = pods.unwrap_or_default();
    let mut pods = pods["items"].as_array().into_iter().flatten();
    pods.any(|pod| {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}

pub(crate) fn decoded(secret: &Value) -> BTreeMap<String, String> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let data = secret["data"].as_object().into_iter().flatten();
    data.filter_map(|(name, value)| {
        let bytes = base64.decode(value.as_str()?).ok()?;
        Some((name.clone(), String::from_utf8(bytes).ok()?))
    })
    .collect()
}

/// The first value that a database answers, reached by a URL as a platform has it.
pub(crate) async fn ask(url: &str, query: &str) -> io::Result<String> {
    let url = reqwest::Url::parse(url).map_err(io::Error::other)?;
    let plain = |text: &str| percent_decoded(text);
    let mut fields = vec![
        ("host", url.host_str().unwrap_or_default().to_owned()),
        ("port", url.port().unwrap_or(5432).to_string()),
        ("user", plain(url.username())),
        ("password", plain(url.password().unwrap_or_default())),
        ("dbname", plain(url.path().trim_start_matches('/'))),
    ];
    for (name, value) in url.query_pairs() {
        match (&*name, &*value) {
            ("sslmode", "disable") => fields.push(("tls", "disable".to_owned())),
            ("sslrootcert", file) => fields.push(("ca", file.to_owned())),
            _ => {}
        }
    }
    tls::install();
    let system = system("database", "postgres", &fields)?;
    let connected = postgres::connect(&system, Duration::from_secs(3)).await;
    let client = connected
        .map_err(|e| io::Error::other(format!("{e:?}")))?
        .client;
    let rows = client
        .simple_query(query)
        .await
        .map_err(|e| match e.as_db_error() {
            Some(e) => io::Error::other(e.message().to_owned()),
            None => io::Error::other(e),
        })?;
    let value = rows.iter().find_map(|m| match m {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(value.unwrap_or_default())
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
