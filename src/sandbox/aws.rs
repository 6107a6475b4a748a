//! The account of a sandbox: Secrets Manager and the token service, as their endpoints answer. Secrets have
//! versions, and rotate as the real ones do: the marks move, and the oldest version loses its own.

use crate::sandbox::world::{World, door};
use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

pub(crate) const ACCOUNT: &str = "210987654321";
pub(crate) const REGION: &str = "eu-west-1";

/// One version of a secret.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub id: String,
    pub created: i64,
    pub stages: Vec<&'static str>,
    pub value: String,
}

/// Secrets by name; versions in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manager {
    pub secrets: BTreeMap<String, Vec<Version>>,
}

impl Manager {
    /// A new version becomes the current one.
    pub(crate) fn put(&mut self, name: &str, value: &str, created: i64) {
        let versions = self.secrets.entry(name.to_owned()).or_default();
        for version in versions.iter_mut() {
            version.stages = match version.stages[..] {
                ["AWSCURRENT"] => vec!["AWSPREVIOUS"],
                _ => Vec::new(),
            };
        }
        let number = versions.len() + 1;
        versions.push(Version {
            id: format!("{number:08x}-0000-4000-8000-{created:012x}"),
            created,
            stages: vec!["AWSCURRENT"],
            value: value.to_owned(),
        });
    }
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 40, 0, 2);

/// Opens the endpoints under their own names.
pub(crate) async fn open(world: &Arc<World>) -> io::Result<()> {
    let names = [
        format!("secretsmanager.{REGION}.amazonaws.com"),
        format!("sts.{REGION}.amazonaws.com"),
        "sts.amazonaws.com".to_owned(),
    ];
    for name in &names {
        world.names.set(name, &[ADDRESS]);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let pair = world.authority.sign(&names)?;
    let router = Router::new().fallback(asked_for).with_state(world.clone());
    door::open(SocketAddr::from((ADDRESS, 443)), pair.server(None)?, router)
        .await
        .map(drop)
}

async fn asked_for(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 1024 * 1024).await.unwrap_or_default();
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    answer(&world, &host, &parts.headers, &bytes)
}

fn answer(world: &World, host: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    if host.starts_with("sts.") {
        let text = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>arn:aws:iam::{ACCOUNT}:user/recovery</Arn><UserId>AIDASANDBOX</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>sandbox</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        );
        return ([(header::CONTENT_TYPE, "text/xml")], text).into_response();
    }
    let target = headers
        .get("x-amz-target")
        .and_then(|t| t.to_str().ok())
        .unwrap_or_default();
    let asked: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    match asked_of(world, target.rsplit('.').next().unwrap_or_default(), &asked) {
        Ok(value) => Json(value).into_response(),
        Err((kind, said)) => {
            let body = json!({ "__type": kind, "Message": said, "message": said });
            (
                StatusCode::BAD_REQUEST,
                [(header::CONTENT_TYPE, "application/x-amz-json-1.1")],
                body.to_string(),
            )
                .into_response()
        }
    }
}

fn asked_of(
    world: &World,
    operation: &str,
    asked: &Value,
) -> Result<Value, (&'static str, String)> {
    let name = asked["SecretId"].as_str().unwrap_or_default();
    let manager = world.secrets_manager();
    let gone = || {
        (
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.".to_owned(),
        )
    };
    let versions = manager.secrets.get(name).ok_or_else(gone)?;
    let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-Sandbx");
    match operation {
        "DescribeSecret" => {
            let stages: serde_json::Map<String, Value> = versions
                .iter()
                .filter(|v| !v.stages.is_empty())
                .map(|v| (v.id.clone(), json!(v.stages)))
                .collect();
            Ok(
                json!({ "ARN": arn, "Name": name, "RotationEnabled": false, "VersionIdsToStages": stages }),
            )
        }
        "ListSecretVersionIds" => {
            let all = asked["IncludeDeprecated"] == true;
            let listed = versions.iter().filter(|v| all || !v.stages.is_empty());
            let listed: Vec<Value> = listed.map(|v| json!({ "VersionId": v.id, "VersionStages": v.stages, "CreatedDate": v.created })).collect();
            Ok(json!({ "ARN": arn, "Name": name, "Versions": listed }))
        }
        "GetSecretValue" => {
            let found = match (
                asked["VersionId"].as_str(),
                asked["VersionStage"].as_str().unwrap_or("AWSCURRENT"),
            ) {
                (Some(id), _) => versions.iter().find(|v| v.id == id),
                (None, stage) => versions.iter().find(|v| v.stages.contains(&stage)),
            };
            let found = found.ok_or_else(|| {
                let said = format!(
                    "Secrets Manager can't find the specified secret value for VersionId: {}",
                    asked["VersionId"].as_str().unwrap_or("none")
                );
                ("ResourceNotFoundException", said)
            })?;
            Ok(
                json!({ "ARN": arn, "Name": name, "VersionId": found.id, "SecretString": found.value, "VersionStages": found.stages, "CreatedDate": found.created }),
            )
        }
        other => Err((
            "InvalidRequestException",
            format!("the sandbox does not know {other}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_version_takes_the_mark_of_the_first() {
        let mut manager = Manager::default();
        for (value, at) in [("a", 1), ("b", 2), ("c", 3)] {
            manager.put("key", value, at);
        }
        let stages: Vec<_> = manager.secrets["key"]
            .iter()
            .map(|v| v.stages.clone())
            .collect();
        assert_eq!(stages, [vec![], vec!["AWSPREVIOUS"], vec!["AWSCURRENT"]]);
    }
}
