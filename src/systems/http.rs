//! An HTTP API: GET only, redirects not followed, no proxy of the environment.

use super::{
    Trouble, field,
    tls::{self, Material, Verify},
};
use crate::domain::runbook::System;
use reqwest::{Client, Response, redirect::Policy};
use std::{error::Error, time::Duration};

pub async fn get(system: &System, path: &str, deadline: Duration) -> Result<Response, Trouble> {
    let base = field(system, "base").unwrap_or_default();
    let url = if path.starts_with('/') {
        format!("{}{path}", base.trim_end_matches('/'))
    } else {
        format!("{}/{path}", base.trim_end_matches('/'))
    };
    let url: reqwest::Url = url
        .parse()
        .map_err(|e| Trouble::cannot_tell(format!("`{url}` is not a URL: {e}"), "see `base:`"))?;
    let client = client(system, &url, deadline).await?;
    let mut request = client.get(url);
    if let Some(token) = field(system, "bearer") {
        request = request.bearer_auth(token);
    }
    for (name, value) in &system.headers {
        request = request.header(name.text.as_str(), value.as_str());
    }
    request.send().await.map_err(|e| trouble(&e))
}

async fn client(
    system: &System,
    url: &reqwest::Url,
    deadline: Duration,
) -> Result<Client, Trouble> {
    let material = Material {
        ca: field(system, "ca"),
        cert: field(system, "cert"),
        key: field(system, "key"),
    };
    tls::install();
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(deadline)
        .user_agent(concat!("blackstart/", env!("CARGO_PKG_VERSION")));
    if url.scheme() == "https" {
        let (mut tls, _) = tls::client(&material, Verify::Full)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        builder = builder.tls_backend_preconfigured(tls);
    }
    let elsewhere = system.through.as_deref();
    let elsewhere = elsewhere.or_else(|| field(system, "connect_to"));
    if let (Some(to), Some(host)) = (elsewhere, url.host_str()) {
        let address = tokio::net::lookup_host(to)
            .await
            .ok()
            .and_then(|mut all| all.next())
            .ok_or_else(|| {
                Trouble::cannot_tell(
                    format!("`connect_to: {to}` is not an address"),
                    "write `10.0.0.1:443`",
                )
            })?;
        builder = builder.resolve(host, address);
    }
    builder
        .build()
        .map_err(|e| Trouble::cannot_tell(deepest(&e), "see `ca:`, `cert:` and `key:`"))
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut at: &(dyn Error + 'static) = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

pub fn trouble(error: &reqwest::Error) -> Trouble {
    if let Some(fault) = tls::fault(error) {
        return Trouble::cannot_tell(
            format!("TLS: {fault}"),
            "name the right authority under `ca:`",
        );
    }
    if error.is_timeout() {
        return Trouble::cannot_tell(
            "no answer in time",
            "is there a route, and is it only slow?",
        );
    }
    let said = deepest(error);
    if said.contains("refused") {
        return Trouble::Down("connection refused".to_owned());
    }
    if said.contains("lookup") || said.contains("dns") {
        let host = error.url().and_then(|u| u.host_str()).unwrap_or("its name");
        return Trouble::cannot_tell(
            format!("{host} does not resolve"),
            "is the name right, and does DNS work here (VPN)?",
        );
    }
    if said.contains("unreachable") {
        return Trouble::cannot_tell(said, "is there a route (VPN, firewall, security group)?");
    }
    Trouble::Down(said)
}

pub async fn reach(system: &System, deadline: Duration) -> Result<String, Trouble> {
    let response = get(system, "/", deadline).await?;
    let status = response.status();
    if status.is_server_error() {
        return Err(Trouble::Down(format!("answers {status}")));
    }
    Ok(format!("answers {status}"))
}
