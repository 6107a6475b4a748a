//! A system inside the cluster, reached through our own port-forward: a door on loopback that is there for
//! as long as somebody looks.

use super::{
    Cluster, Trouble, exec,
    kinds::Place,
    trouble,
    workloads::{self, name},
};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How long it may take until a forward stands.
const BEGIN: Duration = Duration::from_secs(5);

/// Where a port-forward leads, with its values in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The system that it leads through.
    pub cluster: String,
    /// `service/x`, `pod/x`.
    pub what: String,
    pub port: String,
    pub namespace: Option<String>,
}

impl Way {
    /// Of the words of `via:`, filled in.
    pub fn of(via: &Value) -> Option<Self> {
        let text = |key: &str| match &via[key] {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let what = match (text("service"), text("pod")) {
            (Some(service), _) => format!("service/{service}"),
            (None, Some(pod)) => format!("pod/{pod}"),
            (None, None) => return None,
        };
        Some(Self {
            cluster: text("kubernetes")?,
            what,
            port: text("port").unwrap_or_default(),
            namespace: text("namespace"),
        })
    }

    /// The name under which the cluster itself would know it.
    pub fn host(&self, namespace: &str) -> String {
        let (kind, name) = self.what.split_once('/').unwrap_or(("", &self.what));
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        match kind {
            "service" => format!("{name}.{namespace}.svc"),
            _ => format!("{name}.{namespace}.pod"),
        }
    }
}

/// A door on loopback; closed when this goes.
pub struct Forward {
    pub at: SocketAddr,
    /// What the pod's side said.
    said: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forward {
    /// Opens it. The pod is found, and spoken to, before this returns.
    pub async fn open(mut cluster: Cluster, way: &Way) -> Result<Self, Trouble> {
        if let Some(namespace) = &way.namespace {
            cluster.namespace.clone_from(namespace);
        }
        let (pod, port) = end_of(&cluster, way).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(|e| {
            Trouble::cannot_tell(format!("no free port on loopback: {e}"), "see `ulimit -n`")
        })?;
        let at = listener.local_addr().map_err(|e| {
            Trouble::cannot_tell(format!("no port on loopback: {e}"), "see `ulimit -n`")
        })?;
        let said = Arc::new(Mutex::new(None));
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let first = one(&api, &pod, port, &said).await?;
        let told = said.clone();
        let task = tokio::spawn(async move {
            let mut ready = Some(first);
            while let Ok((mut door, _)) = listener.accept().await {
                let (api, pod, said) = (api.clone(), pod.clone(), told.clone());
                let ready = ready.take();
                tokio::spawn(async move {
                    let way = match ready {
                        Some(way) => Ok(way),
                        None => one(&api, &pod, port, &said).await,
                    };
                    match way {
                        Ok(mut way) => join(&mut door, &mut way).await,
                        Err(trouble) => note(&said, trouble.to_string()),
                    }
                });
            }
        });
        Ok(Self { at, said, task })
    }

    /// What the far end said goes before what the near end saw: that was only a closed door.
    pub fn explain(&self, seen: Trouble) -> Trouble {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*said, &seen) {
            (Some(said), _) => Trouble::Down(said.clone()),
            (None, _) => seen,
        }
    }
}

type Stream = tokio::io::DuplexStream;

async fn join(door: &mut TcpStream, way: &mut Stream) {
    let _ = tokio::io::copy_bidirectional(door, way).await;
}

fn note(said: &Mutex<Option<String>>, text: String) {
    said.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(text);
}

/// One connection to a port of a pod.
async fn one(
    api: &Api<Pod>,
    pod: &str,
    port: u16,
    said: &Arc<Mutex<Option<String>>>,
) -> Result<Stream, Trouble> {
    let begun = tokio::time::timeout(BEGIN, api.portforward(pod, &[port])).await;
    let mut forward = match begun {
        Ok(Ok(forward)) => forward,
        Ok(Err(e)) => {
            return Err(match trouble(&e) {
                Trouble::Down(why) => Trouble::Down(format!("pod/{pod}: {why}")),
                other => other,
            });
        }
        Err(_) => {
            return Err(Trouble::cannot_tell(
                format!("pod/{pod}: no port-forward in time"),
                "does the API server reach the node of the pod? kubectl logs fails in the same way then",
            ));
        }
    };
    let stream = forward.take_stream(port);
    if let Some(error) = forward.take_error(port) {
        let (said, pod) = (said.clone(), pod.to_owned());
        tokio::spawn(async move {
            if let Some(why) = error.await {
                let why = why.trim();
                let why = match why.contains("onnection refused") {
                    true => format!("pod/{pod}: nothing listens on port {port}"),
                    false => format!("pod/{pod}: {why}"),
                };
                note(&said, why);
            }
            let _ = forward.join().await;
        });
    }
    stream.ok_or_else(|| Trouble::Down(format!("pod/{pod}: no stream for port {port}")))
}

/// The pod behind a service that is ready, and the port in it.
async fn end_of(cluster: &Cluster, way: &Way) -> Result<(String, u16), Trouble> {
    let written = way.port.parse::<u16>().ok();
    if !way.what.starts_with("service/") {
        let pod = exec::pod_of(cluster, &way.what).await?;
        let port = written.ok_or_else(|| no_port(way))?;
        return Ok((pod, port));
    }
    let place = Place::of(cluster, &way.what).await.map_err(outside)?;
    let found = cluster.get(&place.path(&cluster.namespace)).await;
    let service = found.map_err(outside)?.ok_or_else(|| {
        Trouble::Down(format!(
            "{} is not there (namespace {})",
            way.what, cluster.namespace
        ))
    })?;
    let ports = service["spec"]["ports"].as_array();
    let ports: Vec<&Value> = ports.into_iter().flatten().collect();
    let is_meant = |p: &&&Value| match written {
        Some(number) => p["port"] == number,
        None => way.port.is_empty() || p["name"] == way.port.as_str(),
    };
    let port = ports.iter().find(is_meant).ok_or_else(|| {
        let all: Vec<String> = ports.iter().map(|p| p["port"].to_string()).collect();
        Trouble::cannot_tell(
            format!("{} has no port {}", way.what, way.port),
            format!("it has: {}", all.join(", ")),
        )
    })?;
    let Some(selector) = workloads::labels(&service["spec"]["selector"]) else {
        return Err(Trouble::cannot_tell(
            format!("{} selects no pods", way.what),
            "name the pod: via: { kubernetes: cluster, pod: x, port: 6379 }",
        ));
    };
    let pods = workloads::pods_of(cluster, &selector).await;
    let pods = pods.map_err(outside)?;
    let Some(pod) = pods.iter().find(|p| workloads::state(p) == "ready") else {
        let states: Vec<String> = pods
            .iter()
            .map(|p| format!("{}: {}", name(p), workloads::state(p)))
            .collect();
        return Err(Trouble::Down(match states[..] {
            [] => format!("{} has no pod behind it", way.what),
            _ => format!(
                "{} has no ready pod behind it: {}",
                way.what,
                states.join("; ")
            ),
        }));
    };
    let target = match &port["targetPort"] {
        Value::Number(number) => number.as_u64(),
        Value::String(named) => named_port(pod, named),
        _ => port["port"].as_u64(),
    };
    let target = target.and_then(|t| u16::try_from(t).ok());
    Ok((name(pod).to_owned(), target.ok_or_else(|| no_port(way))?))
}

/// A cluster that is down says nothing of what is inside it.
fn outside(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Down(why) => Trouble::cannot_tell(why, "look at the cluster first"),
        cannot_tell @ Trouble::CannotTell { .. } => cannot_tell,
    }
}

fn no_port(way: &Way) -> Trouble {
    Trouble::cannot_tell(
        format!("`via` does not say which port of {}", way.what),
        "add `port: 6379`",
    )
}

fn named_port(pod: &Value, named: &str) -> Option<u64> {
    let containers = pod["spec"]["containers"].as_array()?;
    let mut ports = containers.iter().filter_map(|c| c["ports"].as_array());
    ports
        .find_map(|all| all.iter().find(|p| p["name"] == named))
        .and_then(|p| p["containerPort"].as_u64())
}
