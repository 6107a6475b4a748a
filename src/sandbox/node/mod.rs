//! A node without machine: a client of the API that registers itself and plays what a kubelet would
//! say of the pods that are bound to it.
//!
//! A container's `SIM` variable says how it goes: `run` (the default), `crash`, `wait` (never ready),
//! `done` (ends with 0) or `fail` (ends with 1). An image whose name has `missing` in it cannot be
//! pulled, and a variable from a secret that is not there keeps the container from starting. With a folder
//! of its own the node runs containers for real (`container`), keeps their logs, and has commands run in
//! them (`kubelet`).

mod container;
mod kubelet;
mod slot;
mod volumes;

use container::{Plan, Running};
use slot::{Probe, Slot};
use volumes::Lookup;

use crate::{
    clock,
    domain::runbook::System,
    systems::kubernetes::{self, Body, Cluster, workloads::items},
};
use http::Method;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{process::Command, time::Instant};

const NAME: &str = "sandbox";
const PAUSE: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(10);
/// In the folder of a node: the registry that gives it nothing.
pub(crate) const REFUSES: &str = "registry-refuses";

/// The hidden command `__node KUBECONFIG [FOLDER]`: plays a node of that cluster until it is ended.
pub fn main() -> ExitCode {
    let kubeconfig = std::env::args().nth(2).unwrap_or_default();
    let root = std::env::args_os().nth(3).map(PathBuf::from);
    let system = serde_json::from_value::<System>(json!({
        "name": "node",
        "kind": "kubernetes",
        "fields": { "kubeconfig": kubeconfig },
        "headers": [],
        "via": null,
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let (Ok(system), Ok(runtime)) = (system, runtime) else {
        return ExitCode::from(2);
    };
    runtime.block_on(async {
        let Ok(cluster) = kubernetes::connect(&system, Duration::from_secs(10)).await else {
            return ExitCode::from(1);
        };
        play(cluster, root).await;
        ExitCode::from(1)
    })
}

/// Plays a node of that cluster until it is ended; it comes back only when it has no door.
pub(crate) async fn play(cluster: Cluster, root: Option<PathBuf>) {
    let node = Arc::new(Node {
        cluster,
        root,
        slots: Mutex::default(),
    });
    if let Ok(port) = kubelet::open(node.clone()).await {
        node.play(port).await;
    }
}

/// The node: its folder, and the containers that it has.
pub(super) struct Node {
    cluster: Cluster,
    root: Option<PathBuf>,
    slots: Mutex<HashMap<String, Slot>>,
}

fn key(namespace: &str, pod: &str, container: &str) -> String {
    format!("{namespace}/{pod}/{container}")
}

impl Node {
    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a container has printed; with `previous`, the one before it.
    pub(super) fn log(
        &self,
        namespace: &str,
        pod: &str,
        name: &str,
        previous: bool,
    ) -> Option<String> {
        self.slots().get(&key(namespace, pod, name))?.log(previous)
    }

    /// Does a container have a process that may print more?
    pub(super) fn runs(&self, namespace: &str, pod: &str, name: &str) -> bool {
        let slots = self.slots();
        let slot = slots.get(&key(namespace, pod, name));
        slot.is_some_and(|slot| slot.running.is_some())
    }

    /// A command in a container, ready to be started.
    pub(super) fn command(
        &self,
        namespace: &str,
        pod: &str,
        name: &str,
        words: &[String],
    ) -> Option<Command> {
        let root = self.root.as_ref()?;
        self.slots()
            .get(&key(namespace, pod, name))?
            .command(root, words)
    }

    /// A connection to a port of a pod, ready to be started.
    pub(super) fn dial(&self, namespace: &str, pod: &str, port: u16) -> Option<Command> {
        let slots = self.slots();
        let start = format!("{namespace}/{pod}/");
        let mut own = slots.iter().filter(|(key, _)| key.starts_with(&start));
        own.find_map(|(_, slot)| slot.running.as_ref()?.dial(port))
    }

    async fn play(&self, port: u16) -> ! {
        let mut beat: Option<Instant> = None;
        loop {
            if beat.is_none_or(|at| at.elapsed() >= HEARTBEAT)
                && register(&self.cluster, port).await
            {
                beat = Some(Instant::now());
            }
            let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{NAME}");
            // An API server that is away comes back; a kubelet waits for it.
            if let Ok(pods) = self.cluster.get(&path).await {
                let pods = items(pods);
                let mut there = HashSet::new();
                for pod in &pods {
                    let name =
                        |at: &str| pod["metadata"][at].as_str().unwrap_or_default().to_owned();
                    there.insert(format!("{}/{}/", name("namespace"), name("name")));
                    self.tend(pod).await;
                }
                // Of pods that somebody removed by force.
                self.slots()
                    .retain(|key, _| there.iter().any(|start| key.starts_with(start)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The node, its word that it is ready, and its lease.
async fn register(cluster: &Cluster, port: u16) -> bool {
    let node = format!("/api/v1/nodes/{NAME}");
    let Ok(found) = cluster.get(&node).await else {
        return false;
    };
    if found.is_none() {
        // In a zone-less region the driver of Azure's disks says it with an empty word.
        let labels = json!({ "kubernetes.io/hostname": NAME, "kubernetes.io/os": "linux", "topology.disk.csi.azure.com/zone": "" });
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
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
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

impl Node {
    /// One pod, one step further.
    async fn tend(&self, pod: &Value) {
        let (meta, spec) = (&pod["metadata"], &pod["spec"]);
        let (Some(name), Some(namespace)) = (meta["name"].as_str(), meta["namespace"].as_str())
        else {
            return;
        };
        let cluster = &self.cluster;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        if meta["deletionTimestamp"].is_string() {
            let grace = meta["deletionGracePeriodSeconds"].as_u64().unwrap_or(30);
            if !self.ended(&format!("{namespace}/{name}/"), Duration::from_secs(grace)) {
                return;
            }
            let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": { "uid": meta["uid"] } });
            send(cluster, Method::DELETE, &path, Body::Json, &options).await;
            return;
        }
        if ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default()) {
            return;
        }
        let mut statuses = Vec::new();
        let (mut ready, mut phase) = (true, "Running");
        let never = spec["restartPolicy"] == "Never";
        for container in spec["containers"].as_array().into_iter().flatten() {
            let of = container["name"].as_str().unwrap_or_default();
            let played = self
                .played(&key(namespace, name, of), pod, container, never)
                .await;
            ready &= matches!(played.state, State::Runs);
            match played.state {
                State::Ended(code) if never => {
                    phase = if code == 0 { "Succeeded" } else { "Failed" };
                }
                State::Waiting(..) => phase = "Pending",
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

    /// Have all processes of a pod ended? Those that have not are told to.
    fn ended(&self, start: &str, grace: Duration) -> bool {
        let mut slots = self.slots();
        let mut all = true;
        for (_, slot) in slots.iter_mut().filter(|(key, _)| key.starts_with(start)) {
            if let Some(running) = &mut slot.running
                && running.ended().is_none()
            {
                running.end(grace);
                all = false;
            }
        }
        if all {
            slots.retain(|key, _| !key.starts_with(start));
        }
        all
    }

    /// Is it of a registry that gives these nodes nothing?
    fn refused_by_registry(&self, image: &str) -> bool {
        let file = self.root.as_ref().map(|root| root.join(REFUSES));
        let host = file.and_then(|file| std::fs::read_to_string(file).ok());
        host.is_some_and(|host| image.starts_with(&format!("{host}/")))
    }

    async fn played(&self, key: &str, pod: &Value, container: &Value, never: bool) -> Played {
        let image = container["image"].as_str().unwrap_or_default();
        let waiting = |reason, message| Played::of(State::Waiting(reason, message));
        if image.contains("missing") {
            return waiting(
                "ImagePullBackOff",
                format!("Back-off pulling image \"{image}\""),
            );
        }
        if self.refused_by_registry(image) {
            return waiting(
                "ImagePullBackOff",
                format!(
                    "Back-off pulling image \"{image}\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request: 401 Unauthorized"
                ),
            );
        }
        let nowhere = PathBuf::from("/nonexistent");
        let lookup = Lookup {
            cluster: &self.cluster,
            root: self.root.as_deref().unwrap_or(&nowhere),
            pod,
            plays: self.root.is_none(),
        };
        let plan = match lookup.plan(container).await {
            Ok(plan) => plan,
            Err((reason, message)) => return waiting(reason, message),
        };
        match &self.root {
            Some(root) if plan.runs(root) => {
                let probe = Probe::of(&container["readinessProbe"]);
                self.real(key, root, plan, never, probe).await
            }
            _ => {
                let way = plan.env.iter().find(|(name, _)| name == "SIM");
                let way = way.map_or_else(|| "run".to_owned(), |(_, value)| value.clone());
                let state = match way.as_str() {
                    "crash" => State::Crashes,
                    "wait" => State::NeverReady,
                    "done" => State::Ended(0),
                    "fail" => State::Ended(1),
                    _ => State::Runs,
                };
                self.slots()
                    .insert(key.to_owned(), Slot::played(plan, &way));
                Played::of(state)
            }
        }
    }

    /// A container with a process: started, watched, and started again when it ends.
    async fn real(
        &self,
        key: &str,
        root: &std::path::Path,
        plan: Plan,
        never: bool,
        probe: Option<Probe>,
    ) -> Played {
        let asked = {
            let mut slots = self.slots();
            let slot = slots
                .entry(key.to_owned())
                .or_insert_with(|| Slot::new(root, key, plan));
            if let Some(code) = slot.running.as_mut().and_then(Running::ended) {
                slot.over(code, !never);
            }
            if slot.running.is_none() && slot.may_start(never) {
                slot.start(root);
            }
            match &slot.running {
                Some(_) => probe.map(|p| p.command(root, slot)),
                None => return slot.waits(never),
            }
        };
        let ready = match asked {
            None => true,
            Some(None) => false,
            Some(Some(mut command)) => {
                let asked = tokio::time::timeout(Duration::from_secs(2), command.status()).await;
                asked.is_ok_and(|s| s.is_ok_and(|s| s.success()))
            }
        };
        let slots = self.slots();
        let (restarts, last) = slots
            .get(key)
            .map_or((0, None), |slot| (slot.restarts, slot.last));
        Played {
            state: if ready {
                State::Runs
            } else {
                State::NeverReady
            },
            restarts,
            last,
        }
    }
}

/// The same kind of state; times of it are not compared.
fn same_states(before: &Value, now: &[Value]) -> bool {
    let kind = |status: &Value| {
        let state = status["state"].as_object();
        let (key, inner) = state.and_then(|s| s.iter().next()).unzip();
        let reason = inner.map(|i| {
            (
                i["reason"].clone(),
                i["exitCode"].clone(),
                i["message"].clone(),
            )
        });
        (key.cloned(), reason, status["restartCount"].clone())
    };
    let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
    before.len() == now.len() && before.iter().zip(now).all(|(a, b)| kind(a) == kind(b))
}

/// How a container is.
pub(super) enum State {
    Runs,
    NeverReady,
    Waiting(&'static str, String),
    Crashes,
    Ended(i32),
}

pub(super) struct Played {
    pub state: State,
    pub restarts: u32,
    /// How the one before it ended.
    pub last: Option<i32>,
}

impl Played {
    pub(super) fn of(state: State) -> Self {
        let (restarts, last) = match state {
            State::Crashes => (5, Some(1)),
            _ => (0, None),
        };
        Self {
            state,
            restarts,
            last,
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
        let state = match &self.state {
            State::Runs | State::NeverReady => json!({ "running": { "startedAt": now } }),
            State::Waiting(reason, message) => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
            State::Crashes => {
                let message = "back-off 5m0s restarting failed container";
                json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } })
            }
            State::Ended(code) => ended(*code),
        };
        json!({
            "name": container["name"],
            "image": container["image"],
            "imageID": "sandbox",
            "containerID": id,
            "ready": matches!(self.state, State::Runs),
            "started": matches!(self.state, State::Runs | State::NeverReady),
            "restartCount": self.restarts,
            "state": state,
            "lastState": self.last.map_or_else(|| json!({}), ended),
        })
    }
}
