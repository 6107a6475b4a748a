//! A Kubernetes cluster: the client, who the cluster is, and whose fault it is when it does not answer.
//!
//! Errors are told apart in words: *down* is about the cluster, *cannot tell* about our credentials,
//! rights, DNS or route. An expired login must never look like a lost cluster.

pub mod exec;
pub mod forward;
pub mod kinds;
pub mod kubeconfig;
mod plugin;
pub mod refusal;
pub mod rights;
pub mod watch;
pub mod workloads;

use super::{Trouble, field};
use crate::{
    domain::{event::Identity, runbook::System, text::Clean},
    journal::hex,
};
use http::Request;
use kube::{
    Client, Config,
    client::{Body as Sent, ClientBuilder},
    config::{ExecInteractiveMode, KubeConfigOptions},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{error::Error, io, time::Duration};
use tower::util::MapRequestLayer;

/// How long a connection may take; each request has its own deadline besides.
const CONNECT: Duration = Duration::from_secs(5);

/// A client of one cluster, aimed at one namespace.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
    server: String,
    authority: Option<String>,
    /// Who we are by our kubeconfig.
    claims: Option<String>,
}

/// The client of a filled-in system. Nothing is sent yet; an exec plugin for credentials may run, never
/// with our terminal, and for no longer than the deadline.
pub async fn connect(system: &System, deadline: Duration) -> Result<Cluster, Trouble> {
    let (config, claims) = config(system, deadline).await?;
    let server = config.cluster_url.to_string();
    let authority = config.root_cert.as_ref().and_then(|all| all.first());
    let authority = authority.map(|der| hex(&Sha256::digest(der)));
    let named = field(system, "namespace").map(str::to_owned);
    let namespace = named.unwrap_or_else(|| config.default_namespace.clone());
    let built = ClientBuilder::try_from(config).map_err(|e| trouble(&e))?;
    let client = built
        .with_layer(&MapRequestLayer::new(one_protocol))
        .build();
    Ok(Cluster {
        client,
        namespace,
        server: server.trim_end_matches('/').to_owned(),
        authority,
        claims,
    })
}

/// From the kubeconfig that the system names, the usual one, or the pod that we run in.
async fn config(system: &System, deadline: Duration) -> Result<(Config, Option<String>), Trouble> {
    let Some(mut kubeconfig) = kubeconfig::of(system)? else {
        let config = Config::incluster()
            .map_err(|e| ours(&e, "is a service account mounted into this pod?"))?;
        return Ok((quiet(config), None));
    };
    let claims = kubeconfig::claims(&kubeconfig);
    for named in &mut kubeconfig.auth_infos {
        if let Some(auth) = &mut named.auth_info {
            // Before whoever asks gives up: so that it is said why.
            plugin::resolve(auth, deadline.mul_f32(0.8)).await?;
        }
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|e| {
            ours(
                &e,
                "look at the context, its user and its cluster: kubectl config view --minify",
            )
        })?;
    Ok((quiet(config), claims))
}

/// The fifth protocol of exec is spoken by new servers only, and by them translated for the nodes: the
/// fourth is understood by all, and the same everywhere.
fn one_protocol(mut request: Request<Sent>) -> Request<Sent> {
    let name = http::header::SEC_WEBSOCKET_PROTOCOL;
    if request.headers().contains_key(&name) {
        let fourth = http::HeaderValue::from_static("v4.channel.k8s.io");
        request.headers_mut().insert(name, fourth);
    }
    request
}

/// What came of looking whether a system's credential plugin wants a login.
pub enum Login {
    /// Nothing to do, or it gave a token by itself.
    Held,
    /// It does not give one by itself, for this reason; `sign_in` lets it ask on the terminal.
    Wanted(String),
}

/// Does the plugin of a system give a token without asking anybody?
pub async fn login(system: &System, deadline: Duration) -> Login {
    let Ok(Some(mut kubeconfig)) = kubeconfig::of(system) else {
        return Login::Held;
    };
    for named in &mut kubeconfig.auth_infos {
        if let Some(auth) = &mut named.auth_info
            && let Err(trouble) = plugin::resolve(auth, deadline).await
        {
            return Login::Wanted(trouble.to_string());
        }
    }
    Login::Held
}

/// Lets the plugin of a system ask on the terminal; whether it then was content.
pub fn sign_in(system: &System) -> bool {
    let Ok(Some(kubeconfig)) = kubeconfig::of(system) else {
        return false;
    };
    let plugins = kubeconfig.auth_infos.into_iter();
    let mut plugins = plugins
        .filter_map(|named| named.auth_info?.exec)
        .filter(|exec| exec.interactive_mode != Some(ExecInteractiveMode::Never))
        .peekable();
    plugins.peek().is_some() && plugins.all(|exec| plugin::sign_in(&exec).unwrap_or(false))
}

/// Every try is one that somebody asked for.
fn quiet(mut config: Config) -> Config {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    // So that audit logs tell what we did from what others did.
    let agent = http::HeaderValue::from_static(concat!("blackstart/", env!("CARGO_PKG_VERSION")));
    config.headers.push((http::header::USER_AGENT, agent));
    config
}

fn ours(error: &dyn Error, help: &str) -> Trouble {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Trouble::cannot_tell(said, help)
}

/// The last of the causes: what really happened.
fn deepest(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = cause.to_string();
        source = cause.source();
    }
    said
}

impl Cluster {
    /// The answer to a GET, as JSON; `None` where there is no such object.
    pub async fn get(&self, path: &str) -> Result<Option<Value>, Trouble> {
        let asked = self.client.request::<Value>(request(path)?);
        match tokio::time::timeout(REQUEST, asked).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(e)) => Err(self.named(trouble(&e)).await),
            Err(_) => Err(silent()),
        }
    }

    /// The answer to a GET, as text.
    pub async fn text(&self, path: &str) -> Result<String, Trouble> {
        let asked = self.client.request_text(request(path)?);
        match tokio::time::timeout(REQUEST, asked).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(e)) => Err(self.named(trouble(&e)).await),
            Err(_) => Err(silent()),
        }
    }

    /// A name that does not exist any more is another matter than a DNS that does not answer.
    async fn named(&self, trouble: Trouble) -> Trouble {
        match &trouble {
            Trouble::CannotTell { why, .. } if why == UNRESOLVED => {}
            Trouble::Down(_) | Trouble::CannotTell { .. } => return trouble,
        }
        let Some(host) = self.server.parse::<http::Uri>().ok() else {
            return trouble;
        };
        let host = host.host().unwrap_or_default().to_owned();
        match super::names::exists(&host).await {
            Some(false) => Trouble::cannot_tell(
                format!("the name {host} does not exist (NXDOMAIN)"),
                "a deleted cluster loses its name, and a private one has it only inside its network (VPN): look at the cloud's console",
            ),
            Some(true) | None => Trouble::cannot_tell(
                format!("DNS does not answer here: {host} cannot be looked up"),
                "is the resolver of this machine reachable (VPN, /etc/resolv.conf)?",
            ),
        }
    }
}

fn silent() -> Trouble {
    Trouble::cannot_tell(
        "the API server does not answer in time",
        "is there a route (VPN, firewall, private endpoint)?",
    )
}

const UNRESOLVED: &str = "the name of the API server does not resolve";

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(15);

/// How a change is written.
#[derive(Clone, Copy)]
pub enum Body {
    Json,
    Merge,
    JsonPatch,
    Strategic,
    Apply,
}

impl Body {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Merge => "application/merge-patch+json",
            Self::JsonPatch => "application/json-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

impl Cluster {
    /// A change. It is sent once; whoever asks decides about another try.
    pub async fn send(
        &self,
        method: http::Method,
        path: &str,
        kind: Body,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, kind.content_type())
            .body(serde_json::to_vec(body).map_err(kube::Error::SerdeError)?)
            .map_err(kube::Error::HttpError)?;
        match tokio::time::timeout(REQUEST, self.client.request::<Value>(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(kube::Error::Service(Box::new(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer in time",
            )))),
        }
    }
}

fn request(path: &str) -> Result<Request<Vec<u8>>, Trouble> {
    let made = Request::get(path).body(Vec::new());
    made.map_err(|e| Trouble::cannot_tell(format!("{path}: {e}"), "is the name right?"))
}

pub async fn reach(system: &System, deadline: Duration) -> Result<String, Trouble> {
    let cluster = connect(system, deadline).await?;
    let ready = cluster.text("/readyz").await?;
    let version = cluster.get("/version").await.ok().flatten();
    let version = version.and_then(|v| Some(v["gitVersion"].as_str()?.to_owned()));
    let version = version.map(|v| format!(" ({v})")).unwrap_or_default();
    Ok(format!("{}{version}", ready.trim()))
}

/// Its API server, its authority, and the UID that `kube-system` was given when it was made.
pub async fn identity(system: &System, deadline: Duration) -> Result<Identity, Trouble> {
    who(&connect(system, deadline).await?).await
}

/// The identity of a cluster that is connected already.
pub async fn who(cluster: &Cluster) -> Result<Identity, Trouble> {
    let (found, user) = tokio::join!(cluster.get("/api/v1/namespaces/kube-system"), user(cluster));
    let found = found?;
    let uid = found.and_then(|n| Some(n["metadata"]["uid"].as_str()?.to_owned()));
    Ok(Identity {
        endpoint: cluster.server.clone(),
        own: Some(uid.ok_or_else(|| Trouble::Down("it has no namespace kube-system".to_owned()))?),
        certificate: cluster.authority.clone(),
        note: None,
        user: user.map(|u| Clean::line(&u)),
    })
}

/// As whom we are known there. Servers before 1.28 do not say it; then it is what the kubeconfig says of us.
async fn user(cluster: &Cluster) -> Option<String> {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    });
    let said = cluster.send(http::Method::POST, path, Body::Json, &body);
    let said = said.await.ok();
    let name = said.and_then(|s| Some(s["status"]["userInfo"]["username"].as_str()?.to_owned()));
    name.or_else(|| cluster.claims.clone())
}

/// What an error says, and about whom.
pub fn trouble(error: &kube::Error) -> Trouble {
    if let kube::Error::Api(status) = error {
        let reason = if status.reason.is_empty() {
            "error"
        } else {
            status.reason.as_str()
        };
        let failed: Vec<&str> = status.message.lines().collect();
        let failed = failed.iter().filter_map(|l| l.strip_prefix("[-]"));
        let failed: Vec<&str> = failed.filter_map(|l| l.split(' ').next()).collect();
        if !failed.is_empty() {
            // The words of /readyz.
            return Trouble::Down(format!(
                "it answers and is not ready: {}",
                failed.join(", ")
            ));
        }
        let said = format!("{reason} ({}): {}", status.code, status.message);
        return match status.code {
            401 => Trouble::cannot_tell(
                said,
                "our login has expired or is unknown there: sign in again (az login, kubelogin, aws eks …)",
            ),
            403 => Trouble::cannot_tell(
                said,
                "we may not look at this: ask for the right, or use another account",
            ),
            _ => Trouble::Down(said),
        };
    }
    if let kube::Error::Auth(e) = error {
        return ours(
            e,
            "the credential plugin of the kubeconfig failed: sign in, then look again",
        );
    }
    let mut causes: Vec<String> = Vec::new();
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return Trouble::Down("connection refused".to_owned());
                }
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe => {
                    return Trouble::Down("it closed the connection".to_owned());
                }
                io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable => {
                    return Trouble::cannot_tell(
                        format!("the API server cannot be reached: {io}"),
                        "is there a route (VPN, firewall, private endpoint)?",
                    );
                }
                _ => {}
            }
        }
        let said = cause.to_string();
        if causes.last() != Some(&said) {
            causes.push(said);
        }
        source = cause.source();
    }
    let all = causes.join(": ");
    let lower = all.to_lowercase();
    let last = causes.last().cloned().unwrap_or_default();
    // Certificates first: what they say of themselves has DNS names in it.
    if lower.contains("certificate")
        || lower.contains("unknownissuer")
        || lower.contains("invalid peer")
    {
        return Trouble::cannot_tell(
            format!("TLS: {last}"),
            "the kubeconfig is of another cluster, or of one that was made anew: fetch the credentials again",
        );
    }
    if lower.contains("dns") || lower.contains("lookup") || lower.contains("name or service") {
        return Trouble::cannot_tell(
            UNRESOLVED,
            "is DNS up here (VPN)? a deleted cluster loses its name, too: look at the cloud's console",
        );
    }
    if lower.contains("timed out") || lower.contains("deadline") {
        return Trouble::cannot_tell(
            "the API server does not answer in time",
            "is there a route (VPN, firewall, private endpoint)?",
        );
    }
    Trouble::cannot_tell(all, "look with kubectl --v=6")
}
