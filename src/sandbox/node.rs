//! A node without machine: a client of the API that registers itself and plays what a kubelet would
//! say of the pods that are bound to it.
//!
//! A container's `SIM` variable says how it goes: `run` (the default), `crash`, `wait` (never ready),
//! `done` (ends with 0) or `fail` (ends with 1). An image whose name has `missing` in it cannot be
//! pulled, and a variable from a secret that is not there keeps the container from starting.

use crate::{
    clock,
    domain::runbook::System,
    systems::kubernetes::{self, Body, Cluster, workloads::items},
};
use http::Method;
use serde_json::{Value, json};
use std::{process::ExitCode, time::Duration};
use tokio::time::Instant;

const NAME: &str = "sandbox";
const PAUSE: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The hidden command `__node KUBECONFIG`: plays a node of that cluster until it is ended.
pub fn main() -> ExitCode {
    let kubeconfig = std::env::args().nth(2).unwrap_or_default();
    let system = serde_json::from_value::<System>(json!({
        "name": "node",
        "kind": "kubernetes",
        "fields": { "kubeconfig": kubeconfig },
        "headers": [],
        "via": null,
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (Ok(system), Ok(runtime)) = (system, runtime) else {
        return ExitCode::from(2);
    };
    runtime.block_on(async {
        let Ok(cluster) = kubernetes::connect(&system, Duration::from_secs(10)).await else {
            return ExitCode::from(1);
        };
        play(&cluster).await
    })
}

async fn play(cluster: &Cluster) -> ! {
    let mut beat: Option<Instant> = None;
    loop {
        if beat.is_none_or(|at| at.elapsed() >= HEARTBEAT) && register(cluster).await {
            beat = Some(Instant::now());
        }
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{NAME}");
        // An API server that is away comes back; a kubelet waits for it.
        if let Ok(pods) = cluster.get(&path).await {
            for pod in items(pods) {
                tend(cluster, &pod).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The node, its word that it is ready, and its lease.
async fn register(cluster: &Cluster) -> bool {
    let node = format!("/api/v1/nodes/{NAME}");
    let Ok(found) = cluster.get(&node).await else {
        return false;
    };
    if found.is_none() {
        let labels = json!({ "kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux" });
        let body = json!({ "metadata": { "name": NAME, "labels": labels } });
        if send(cluster, Method::POST, "/api/v1/nodes", Body::Json, &body)
            .await
            .is_none()
        {
            return false;
        }
    }
    let now = now();
    let room =
        json!({ "cpu": "16", "memory": "64Gi", "pods": "200", "ephemeral-storage": "100Gi" });
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "reason": "Sandbox", "message": "played", "lastHeartbeatTime": now, "lastTransitionTime": now });
    let status = json!({ "status": {
        "capacity": room,
        "allocatable": room,
        "conditions": [
            condition("Ready", "True"),
            condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"),
            condition("PIDPressure", "False"),
        ],
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "nodeInfo": { "kubeletVersion": "v1.20.2", "architecture": "amd64", "operatingSystem": "linux", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "" },
    } });
    let at = format!("{node}/status");
    let ready = send(cluster, Method::PATCH, &at, Body::Merge, &status).await;
    // A node that was new, or long silent, carries taints; its own word takes them away at once.
    let free = json!({ "spec": { "taints": null } });
    send(cluster, Method::PATCH, &node, Body::Merge, &free).await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let renewed = clock::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let spec = json!({ "holderIdentity": NAME, "leaseDurationSeconds": 40, "renewTime": renewed });
    let lease = json!({ "metadata": { "name": NAME }, "spec": spec });
    let held = format!("{leases}/{NAME}");
    if send(
        cluster,
        Method::PATCH,
        &held,
        Body::Merge,
        &json!({ "spec": spec }),
    )
    .await
    .is_none()
    {
        send(cluster, Method::POST, leases, Body::Json, &lease).await;
    }
    ready.is_some()
}

fn now() -> String {
    clock::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

async fn send(
    cluster: &Cluster,
    method: Method,
    path: &str,
    kind: Body,
    body: &Value,
) -> Option<Value> {
    cluster.send(method, path, kind, body).await.ok()
}

/// One pod, one step further.
async fn tend(cluster: &Cluster, pod: &Value) {
    let (meta, spec) = (&pod["metadata"], &pod["spec"]);
    let (Some(name), Some(namespace)) = (meta["name"].as_str(), meta["namespace"].as_str()) else {
        return;
    };
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    if meta["deletionTimestamp"].is_string() {
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": { "uid": meta["uid"] } });
        send(cluster, Method::DELETE, &path, Body::Json, &options).await;
        return;
    }
    if ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default()) {
        return;
    }
    let mut statuses = Vec::new();
    let (mut ready, mut phase) = (true, "Running");
    for container in spec["containers"].as_array().into_iter().flatten() {
        let played = Played::of(cluster, namespace, container).await;
        ready &= matches!(played, Played::Runs);
        match played {
            Played::Ended(code) if spec["restartPolicy"] == "Never" => {
                phase = if code == 0 { "Succeeded" } else { "Failed" };
            }
            Played::Waiting(..) => phase = "Pending",
            _ => {}
        }
        statuses.push(played.status(container, pod));
    }
    let was = pod["status"]["conditions"].as_array();
    let was = was.into_iter().flatten().find(|c| c["type"] == "Ready");
    let word = if ready { "True" } else { "False" };
    if was.is_some_and(|c| c["status"] == word)
        && pod["status"]["phase"] == phase
        && same_states(&pod["status"]["containerStatuses"], &statuses)
    {
        return;
    }
    let now = now();
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastTransitionTime": now });
    let body = json!({ "status": {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "podIP": "127.0.0.1",
        "podIPs": [{ "ip": "127.0.0.1" }],
        "startTime": pod["status"]["startTime"].as_str().unwrap_or(&now),
        "conditions": [
            condition("PodScheduled", "True"),
            condition("Initialized", "True"),
            condition("ContainersReady", word),
            condition("Ready", word),
        ],
        "containerStatuses": statuses,
    } });
    send(
        cluster,
        Method::PATCH,
        &format!("{path}/status"),
        Body::Merge,
        &body,
    )
    .await;
}

/// The same kind of state; times of it are not compared.
fn same_states(before: &Value, now: &[Value]) -> bool {
    let kind = |status: &Value| {
        let state = status["state"].as_object();
        let (key, inner) = state.and_then(|s| s.iter().next()).unzip();
        let reason = inner.map(|i| (i["reason"].clone(), i["exitCode"].clone()));
        (key.cloned(), reason)
    };
    let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| kind(a) == kind(b))
}

enum Played {
    Runs,
    NeverReady,
    Waiting(&'static str, String),
    Crashes,
    Ended(i32),
}

impl Played {
    async fn of(cluster: &Cluster, namespace: &str, container: &Value) -> Self {
        let image = container["image"].as_str().unwrap_or_default();
        if image.contains("missing") {
            return Self::Waiting(
                "ImagePullBackOff",
                format!("Back-off pulling image \"{image}\""),
            );
        }
        let mut way = "run".to_owned();
        for variable in container["env"].as_array().into_iter().flatten() {
            let from = &variable["valueFrom"]["secretKeyRef"];
            if let (Some(secret), Some(key)) = (from["name"].as_str(), from["key"].as_str()) {
                let path = format!("/api/v1/namespaces/{namespace}/secrets/{secret}");
                let held = cluster.get(&path).await.ok().flatten();
                let Some(held) = held else {
                    let why = format!("secret \"{secret}\" not found");
                    return Self::Waiting("CreateContainerConfigError", why);
                };
                if held["data"][key].is_null() {
                    let why = format!("couldn't find key {key} in Secret {namespace}/{secret}");
                    return Self::Waiting("CreateContainerConfigError", why);
                }
            }
            if variable["name"] == "SIM"
                && let Some(value) = variable["value"].as_str()
            {
                value.clone_into(&mut way);
            }
        }
        match way.as_str() {
            "crash" => Self::Crashes,
            "wait" => Self::NeverReady,
            "done" => Self::Ended(0),
            "fail" => Self::Ended(1),
            _ => Self::Runs,
        }
    }

    fn status(&self, container: &Value, pod: &Value) -> Value {
        let now = now();
        let id = format!(
            "sandbox://{}/{}",
            pod["metadata"]["uid"].as_str().unwrap_or_default(),
            container["name"].as_str().unwrap_or_default()
        );
        let ended = |code: i32| {
            let reason = if code == 0 { "Completed" } else { "Error" };
            json!({ "terminated": { "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now, "containerID": id } })
        };
        let (state, last, restarts) = match self {
            Self::Runs | Self::NeverReady => {
                (json!({ "running": { "startedAt": now } }), json!({}), 0)
            }
            Self::Waiting(reason, message) => (
                json!({ "waiting": { "reason": reason, "message": message } }),
                json!({}),
                0,
            ),
            Self::Crashes => {
                let message = "back-off 5m0s restarting failed container";
                let state =
                    json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
                (state, ended(1), 5)
            }
            Self::Ended(code) => (ended(*code), json!({}), 0),
        };
        json!({
            "name": container["name"],
            "image": container["image"],
            "imageID": "sandbox",
            "containerID": id,
            "ready": matches!(self, Self::Runs),
            "started": matches!(self, Self::Runs | Self::NeverReady),
            "restartCount": restarts,
            "state": state,
            "lastState": last,
        })
    }
}
