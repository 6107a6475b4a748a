//! A real Kubernetes API server with its etcd, on loopback: what `tests/control-plane.sh` has built.

use super::{free_port, must, need, private_dir, process::Daemon, test_tools};
use base64::Engine;
use rustix::process::Signal;
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;

const ADMIN: &str = "admin-token-of-the-test";
const VIEWER: &str = "viewer-token-of-the-test";

/// etcd and kube-apiserver: what a status says, a test has set. With `with_workers` also
/// controller-manager, scheduler and our own node without machine.
pub(crate) struct ControlPlane {
    workers: Vec<Daemon>,
    api: Daemon,
    _etcd: Daemon,
    folder: TempDir,
    port: u16,
}

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
        .arg(file("etcd"));
        let mut etcd = Daemon::start(&mut etcd, file("etcd.log"), Signal::KILL);
        etcd.ready(|| answers(&format!("{}/health", at(clients))));
        must(
            Command::new(need("openssl", "openssl"))
                .args(["genrsa", "-out"])
                .arg(file("sa.key"))
                .arg("2048"),
        );
        let users = format!("{ADMIN},admin,1,\"system:masters\"\n{VIEWER},viewer,2,\"viewers\"\n");
        std::fs::write(file("tokens.csv"), users).unwrap();
        let mut api = Command::new(program("kube-apiserver"));
        api.arg(format!("--etcd-servers={}", at(clients)))
            .arg(format!("--secure-port={port}"))
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--authorization-mode=RBAC",
            ])
            .args([
                "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://kubernetes.default.svc",
            ])
            .args([
                "--disable-admission-plugins=ServiceAccount",
                "--api-audiences=api",
            ])
            .arg(format!("--cert-dir={}", file("certs").display()))
            .arg(format!(
                "--token-auth-file={}",
                file("tokens.csv").display()
            ))
            .arg(format!(
                "--service-account-signing-key-file={}",
                file("sa.key").display()
            ))
            .arg(format!(
                "--service-account-key-file={}",
                file("sa.key").display()
            ));
        let mut api = Daemon::start(&mut api, file("api.log"), Signal::KILL);
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
        Self {
            workers: Vec::new(),
            api,
            _etcd: etcd,
            folder,
            port,
        }
    }

    /// A cluster in which deployments roll out, jobs end and claims are bound.
    pub(crate) fn with_workers() -> Self {
        let mut plane = Self::start();
        let kubeconfig = plane.folder.path().join("workers.kubeconfig");
        std::fs::write(&kubeconfig, plane.kubeconfig()).unwrap();
        let flag = |name: &str| format!("--{name}={}", kubeconfig.display());
        let mut manager = Command::new(program("kube-controller-manager"));
        manager
            .arg(flag("kubeconfig"))
            .args(["--leader-elect=false", "--secure-port=0", "--port=0"])
            .args([
                "--controllers=*,-csrcleaner,-csrsigning,-csrapproving,-cloud-node-lifecycle,-ttl",
            ])
            .arg("--concurrent-deployment-syncs=2");
        let mut scheduler = Command::new(program("kube-scheduler"));
        scheduler.arg(flag("kubeconfig")).args([
            "--leader-elect=false",
            "--secure-port=0",
            "--port=0",
        ]);
        let mut node = Command::new(env!("CARGO_BIN_EXE_blackstart"));
        node.arg("__node").arg(&kubeconfig);
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

    /// A kubeconfig with the contexts `admin`, `viewer` and `expired`.
    pub(crate) fn kubeconfig(&self) -> String {
        let authority = std::fs::read(self.folder.path().join("certs/apiserver.crt")).unwrap();
        let authority = base64::engine::general_purpose::STANDARD.encode(authority);
        let users = [
            ("admin", ADMIN),
            ("viewer", VIEWER),
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

fn answers(url: &str) -> bool {
    let mut curl = Command::new(need("curl", "curl"));
    let done = curl.args(["-sf", url]).stdin(Stdio::null()).output();
    done.is_ok_and(|done| done.status.success())
}
