//! A real Kubernetes API server with its etcd, on loopback: what `tests/control-plane.sh` has built.

use super::{free_port, must, need, private_dir, process::Daemon, test_tools};
use base64::Engine;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

const ADMIN: &str = "admin-token-of-the-test";
const VIEWER: &str = "viewer-token-of-the-test";
const OTHER: &str = "other-token-of-the-test";
const WORKERS: &str = "workers-token-of-the-test";

/// etcd and kube-apiserver: what a status says, a test has set. With `with_workers` also
/// controller-manager, scheduler and our own node without machine.
pub(crate) struct ControlPlane {
    workers: Vec<Daemon>,
    api: Daemon,
    /// The API server's words, to start it again.
    words: Vec<String>,
    etcd: Daemon,
    /// Where etcd listens: for clients, for peers.
    doors: (u16, u16),
    folder: TempDir,
    port: u16,
}

/// Who wrote, in the order of an audit log: `user verb path → code`.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- { level: None, verbs: [get, list, watch] }
- { level: None, resources: [{ group: authorization.k8s.io }, { group: authentication.k8s.io }, { group: coordination.k8s.io }, { group: \"\", resources: [events] }] }
- level: Metadata
";

fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS")
        .map_or_else(|| test_tools().join("kubernetes/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{}: tests/control-plane.sh builds it",
        path.display()
    );
    path
}

impl ControlPlane {
    pub(crate) fn start() -> Self {
        let folder = private_dir();
        let file = |name: &str| folder.path().join(name);
        let (clients, peers, port) = (free_port(), free_port(), free_port());
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let etcd = etcd(folder.path(), clients, peers);
        must(
            Command::new(need("openssl", "openssl"))
                .args(["genrsa", "-out"])
                .arg(file("sa.key"))
                .arg("2048"),
        );
        let users = format!(
            "{ADMIN},admin,1,\"system:masters\"\n{VIEWER},viewer,2,\"viewers\"\n{OTHER},other,3,\"system:masters\"\n{WORKERS},workers,4,\"system:masters\"\n"
        );
        fs::write(file("tokens.csv"), users).unwrap();
        fs::write(file("audit.yaml"), POLICY).unwrap();
        let flag = |name: &str, file: PathBuf| format!("--{name}={}", file.display());
        let mut words = vec![
            format!("--etcd-servers={}", at(clients)),
            format!("--secure-port={port}"),
            flag("cert-dir", file("certs")),
            flag("token-auth-file", file("tokens.csv")),
            flag("service-account-signing-key-file", file("sa.key")),
            flag("service-account-key-file", file("sa.key")),
            flag("audit-policy-file", file("audit.yaml")),
            flag("audit-log-path", file("audit.log")),
        ];
        words.extend(
            [
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--disable-admission-plugins=ServiceAccount",
                "--api-audiences=api",
            ]
            .map(str::to_owned),
        );
        let api = api_server(&words, folder.path(), port);
        Self {
            workers: Vec::new(),
            api,
            words,
            etcd,
            doors: (clients, peers),
            folder,
            port,
        }
    }

    /// A cluster in which deployments roll out, jobs end and claims are bound.
    pub(crate) fn with_workers() -> Self {
        let mut plane = Self::start();
        let kubeconfig = plane.folder.path().join("workers.kubeconfig");
        fs::write(&kubeconfig, plane.kubeconfig().replace(ADMIN, WORKERS)).unwrap();
        let flag = |name: &str| format!("--{name}={}", kubeconfig.display());
        // Servers of then also listened without TLS; later ones do not know the option any more.
        let old: &[&str] = if minor() < 24 { &["--port=0"] } else { &[] };
        let mut manager = Command::new(program("kube-controller-manager"));
        manager
            .arg(flag("kubeconfig"))
            .args(["--leader-elect=false", "--secure-port=0"])
            .args(old)
            .args([
                "--controllers=*,-csrcleaner,-csrsigning,-csrapproving,-cloud-node-lifecycle,-ttl",
            ])
            .arg("--concurrent-deployment-syncs=2");
        let mut scheduler = Command::new(program("kube-scheduler"));
        scheduler
            .arg(flag("kubeconfig"))
            .args(["--leader-elect=false", "--secure-port=0"])
            .args(old);
        need("bwrap", "bubblewrap");
        for below in ["images", "disks"] {
            fs::create_dir_all(plane.node_folder().join(below)).unwrap();
        }
        let mut node = Command::new(env!("CARGO_BIN_EXE_blackstart"));
        node.arg("__node").arg(&kubeconfig).arg(plane.node_folder());
        for (command, name) in [
            (&mut manager, "manager.log"),
            (&mut scheduler, "scheduler.log"),
            (&mut node, "node.log"),
        ] {
            let log = plane.folder.path().join(name);
            plane
                .workers
                .push(Daemon::start(command, log, Signal::KILL));
        }
        plane
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate by which it is known, in PEM.
    pub(crate) fn authority(&self) -> String {
        fs::read_to_string(self.folder.path().join("certs/apiserver.crt")).unwrap()
    }

    /// The version in which it serves cron jobs.
    pub(crate) fn batch(&self) -> &'static str {
        if minor() < 21 { "v1beta1" } else { "v1" }
    }

    /// Where the node keeps its images and disks; see `sandbox/node/container.rs`.
    pub(crate) fn node_folder(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// A program of an image of the node.
    pub(crate) fn image(&self, image: &str, program: &str, script: &str) {
        let folder = self.node_folder().join("images").join(image);
        let path = folder.join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        super::executable(&path, script);
    }

    /// Everything that was written, but by the cluster itself and by the test.
    pub(crate) fn written(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("audit.log")).unwrap_or_default();
        let entries = text
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap());
        let ours = entries.filter(|e| {
            let agent = e["userAgent"].as_str().unwrap_or_default();
            let user = e["user"]["username"].as_str().unwrap_or_default();
            user != "workers" && !user.starts_with("system:") && !agent.starts_with("curl")
        });
        ours.map(|e| {
            format!(
                "{} {} {} → {}",
                e["user"]["username"].as_str().unwrap_or_default(),
                e["verb"].as_str().unwrap_or_default(),
                e["requestURI"].as_str().unwrap_or_default(),
                e["responseStatus"]["code"]
            )
        })
        .collect()
    }

    /// Holds the API server where it is: connections stay, nothing is answered.
    pub(crate) fn hang(&self) {
        self.api.tell(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.api.tell(Signal::CONT);
    }

    /// The same cluster, answered by a new API server.
    pub(crate) fn start_again(&mut self) {
        self.api.end();
        self.api = api_server(&self.words, self.folder.path(), self.port);
    }

    /// Another cluster at the same address, with the same authority, certificate and users.
    pub(crate) fn made_anew(&mut self) {
        self.api.end();
        self.etcd.end();
        fs::remove_dir_all(self.folder.path().join("etcd")).unwrap();
        self.etcd = etcd(self.folder.path(), self.doors.0, self.doors.1);
        self.api = api_server(&self.words, self.folder.path(), self.port);
    }

    /// A kubeconfig with the contexts `admin`, `viewer`, `other` and `expired`.
    pub(crate) fn kubeconfig(&self) -> String {
        let authority = std::fs::read(self.folder.path().join("certs/apiserver.crt")).unwrap();
        let authority = base64::engine::general_purpose::STANDARD.encode(authority);
        let users = [
            ("admin", ADMIN),
            ("viewer", VIEWER),
            ("other", OTHER),
            ("expired", "a-token-that-nobody-knows"),
        ];
        let user = |(name, token): &(&str, &str)| {
            format!("- {{ name: {name}, user: {{ token: {token} }} }}\n")
        };
        let context = |(name, _): &(&str, &str)| {
            format!("- {{ name: {name}, context: {{ cluster: it, user: {name} }} }}\n")
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: admin\nclusters:\n- {{ name: it, cluster: {{ server: \"https://127.0.0.1:{}\", certificate-authority-data: {authority} }} }}\nusers:\n{}contexts:\n{}",
            self.port,
            users.iter().map(user).collect::<String>(),
            users.iter().map(context).collect::<String>()
        )
    }

    /// A request as the admin; the answer must be a good one.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut curl = Command::new(need("curl", "curl"));
        curl.args([
            "-ksS",
            "--fail-with-body",
            "-X",
            method,
            "-H",
            &format!("Content-Type: {kind}"),
        ])
        .args(["--http1.1", "-H", &format!("Authorization: Bearer {ADMIN}")])
        .arg(format!("https://127.0.0.1:{}{path}", self.port));
        if !body.is_null() {
            curl.args(["-d", &body.to_string()]);
        }
        serde_json::from_str(&must(&mut curl)).unwrap()
    }

    /// Makes an object; with a status where it has one.
    #[track_caller]
    pub(crate) fn make(&self, collection: &str, object: &Value) {
        self.ask("POST", collection, object);
        if object["status"].is_object() {
            let name = object["metadata"]["name"].as_str().unwrap();
            let status = serde_json::json!({"status": object["status"]});
            self.ask("PATCH", &format!("{collection}/{name}/status"), &status);
        }
    }

    pub(crate) fn stop(&mut self) {
        self.api.end();
    }
}

/// The second number of the version of the API server, as in 1.20.
fn minor() -> u32 {
    let said = must(Command::new(program("kube-apiserver")).arg("--version"));
    let minor = said.split('.').nth(1).and_then(|m| m.parse().ok());
    minor.unwrap_or_else(|| panic!("a version of Kubernetes: {said}"))
}

fn etcd(folder: &Path, clients: u16, peers: u16) -> Daemon {
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    let mut etcd = Command::new(program("etcd"));
    etcd.args([
        "--listen-client-urls",
        &at(clients),
        "--advertise-client-urls",
        &at(clients),
    ])
    .args([
        "--listen-peer-urls",
        &at(peers),
        "--initial-advertise-peer-urls",
        &at(peers),
    ])
    .args([
        "--initial-cluster",
        &format!("default={}", at(peers)),
        "--unsafe-no-fsync",
        "--data-dir",
    ])
    .arg(folder.join("etcd"));
    let mut etcd = Daemon::start(&mut etcd, folder.join("etcd.log"), Signal::KILL);
    etcd.ready(|| answers(&format!("{}/health", at(clients))));
    etcd
}

fn api_server(words: &[String], folder: &Path, port: u16) -> Daemon {
    let mut api = Command::new(program("kube-apiserver"));
    api.args(words);
    let mut api = Daemon::start(&mut api, folder.join("api.log"), Signal::KILL);
    api.ready(|| {
        let mut ask = Command::new(need("curl", "curl"));
        ask.args([
            "-ksSf",
            "--fail-early",
            "-H",
            &format!("Authorization: Bearer {ADMIN}"),
        ]);
        let at = format!("https://127.0.0.1:{port}");
        ask.arg(format!("{at}/api/v1/namespaces/kube-system"));
        ask.arg(format!("{at}/readyz"));
        ask.stdin(Stdio::null())
            .output()
            .is_ok_and(|o| o.status.success())
    });
    api
}

fn answers(url: &str) -> bool {
    let mut curl = Command::new(need("curl", "curl"));
    let done = curl.args(["-sf", url]).stdin(Stdio::null()).output();
    done.is_ok_and(|done| done.status.success())
}
