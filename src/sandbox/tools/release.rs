//! Releases as `helm` keeps them: one Secret of its own type for each revision.

use super::chart::{self, Chart};
use crate::systems::kubernetes::{Body, Cluster, workloads::items};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One revision of a release.
#[derive(Clone)]
pub(super) struct Kept {
    pub name: String,
    pub version: u64,
    /// All that is known of it, as `--output json` prints it.
    pub body: Value,
}

impl Kept {
    pub(super) fn new(
        name: &str,
        namespace: &str,
        version: u64,
        status: &str,
        chart: &Chart,
        manifest: String,
    ) -> Self {
        let now = crate::clock::now().to_rfc3339();
        let body = json!({ "name": name,
            "info": { "first_deployed": now, "last_deployed": now, "deleted": "", "description": "Initial install underway", "status": status },
            "chart": chart::of_release(chart), "manifest": manifest, "version": version, "namespace": namespace });
        Self {
            name: name.to_owned(),
            version,
            body,
        }
    }

    /// Undoes `secret`; what is no release is none.
    fn read(secret: &Value) -> Option<Self> {
        let inner = STANDARD.decode(secret["data"]["release"].as_str()?).ok()?;
        // Without the mark of a packed one it is read as it is, by the real tool as well.
        let body: Value = serde_json::from_slice(&STANDARD.decode(inner).ok()?).ok()?;
        Some(Self {
            name: body["name"].as_str()?.to_owned(),
            version: body["version"].as_u64()?,
            body,
        })
    }

    fn secret(&self) -> Value {
        let held = STANDARD.encode(STANDARD.encode(self.body.to_string()));
        let labels = json!({ "name": self.name, "owner": "helm", "status": self.status(), "version": self.version.to_string() });
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": { "name": self.secret_name(), "labels": labels }, "data": { "release": held } })
    }

    fn secret_name(&self) -> String {
        format!("sh.helm.release.v1.{}.v{}", self.name, self.version)
    }

    pub(super) fn status(&self) -> &str {
        self.body["info"]["status"].as_str().unwrap_or("unknown")
    }

    /// Its first revision was made then.
    pub(super) fn began_as(&mut self, before: &Self) {
        self.body["info"]["first_deployed"] = before.body["info"]["first_deployed"].clone();
    }

    pub(super) async fn write(&self, cluster: &Cluster) -> Result<(), String> {
        let path = format!(
            "/api/v1/namespaces/{}/secrets/{}?fieldManager=helm&force=true",
            cluster.namespace,
            self.secret_name()
        );
        let sent = cluster
            .send(Method::PATCH, &path, Body::Apply, &self.secret())
            .await;
        sent.map(drop)
            .map_err(|e| format!("create: failed to create: {}", message(&e)))
    }

    /// The revision as it ended, written.
    pub(super) async fn ended(
        &self,
        cluster: &Cluster,
        status: &str,
        description: &str,
    ) -> Result<Self, String> {
        let mut ended = self.clone();
        ended.body["info"]["status"] = json!(status);
        ended.body["info"]["description"] = json!(description);
        ended.write(cluster).await?;
        Ok(ended)
    }

    /// As the tool tells of it to people.
    pub(super) fn told(&self) -> String {
        let at = self.body["info"]["last_deployed"]
            .as_str()
            .unwrap_or_default();
        let at = DateTime::parse_from_rfc3339(at)
            .map(|t| t.with_timezone(&Utc))
            .unwrap_or_default();
        format!(
            "NAME: {}\nLAST DEPLOYED: {}\nNAMESPACE: {}\nSTATUS: {}\nREVISION: {}\nTEST SUITE: None\n",
            self.name,
            at.format("%a %b %e %H:%M:%S %Y"),
            self.body["namespace"].as_str().unwrap_or_default(),
            self.status(),
            self.version
        )
    }

    /// A line of a list.
    pub(super) fn row(&self) -> Value {
        let chart = &self.body["chart"]["metadata"];
        let text = |key: &str| match &chart[key] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        json!({ "name": self.name, "namespace": self.body["namespace"], "revision": self.version.to_string(), "updated": self.body["info"]["last_deployed"],
            "status": self.status(), "chart": format!("{}-{}", text("name"), text("version")), "app_version": text("appVersion") })
    }
}

/// The newest revision of every release of the namespace, by name.
pub(super) async fn newest(cluster: &Cluster) -> Result<Vec<Kept>, String> {
    let path = format!(
        "/api/v1/namespaces/{}/secrets?labelSelector=owner%3Dhelm",
        cluster.namespace
    );
    let found = cluster
        .get(&path)
        .await
        .map_err(|e| format!("list: failed to list: {e}"))?;
    let mut all: BTreeMap<String, Kept> = BTreeMap::new();
    for kept in items(found).iter().filter_map(Kept::read) {
        let newer = all
            .get(&kept.name)
            .is_none_or(|known| known.version < kept.version);
        if newer {
            all.insert(kept.name.clone(), kept);
        }
    }
    Ok(all.into_values().collect())
}

/// What the API server said, or why it said nothing.
pub(super) fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => crate::systems::kubernetes::trouble(other).to_string(),
    }
}
