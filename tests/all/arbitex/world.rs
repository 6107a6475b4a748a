//! Arbitex on a real control plane: its volumes are folders of the node, its Redis is a real one in a pod.
//! Stand-ins, since nothing real can be had: `az` for disks, snapshots and the DNS zone
//! (`tests/fixtures/cluster`), the platform's own image, and the API behind the ingress.

use super::{KEYS, NAME, NEW};
use crate::harness::{
    PATIENCE,
    bin::{Blackstart, step},
    control_plane::ControlPlane,
    eventually, executable,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

const NAMESPACE: &str = "arbitex";
/// Redis as its StatefulSet has it: with AOF, so that an RDB file beside it is ignored.
const REDIS: &str = "#!/bin/sh
exec redis-server --dir /data --appendonly yes --appendfsync always --save '' --protected-mode no --port 6379
";
/// The platform's own tools, as far as the validation asks.
const PYTHON: &str = "#!/bin/sh
case \"$*\" in
  *alembic*) echo 'f00d5eed (head)' ;;
  *pytest*) echo '14 passed in 2.1s' ;;
  *) exit 64 ;;
esac
";

pub(super) struct World {
    pub(super) plane: ControlPlane,
    /// For looks of the test itself.
    looks: Blackstart,
    /// What the stand-in for az knows.
    pub(super) azure: PathBuf,
}

fn disk(name: &str) -> String {
    format!("/subscriptions/none/resourceGroups/disks/providers/Microsoft.Compute/disks/{name}")
}

impl World {
    /// Everything runs; Redis has `KEYS` keys.
    pub(super) fn that_runs(folder: PathBuf) -> Self {
        let plane = ControlPlane::with_workers();
        plane.image("redis", "start", REDIS);
        plane.image("platform", "bin/python", PYTHON);
        fs::create_dir_all(plane.node_folder().join("images/tools")).unwrap();
        for name in ["snapshots", "bin"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cluster");
        let az = fs::read_to_string(fixtures.join("az")).unwrap();
        executable(&folder.join("bin/az"), &az);
        // Nothing of a recovery of volumes and of Redis needs it.
        executable(
            &folder.join("bin/kubectl"),
            "#!/bin/sh\necho 'kubectl was called' >&2\nexit 97\n",
        );
        let looks = Blackstart::new();
        looks.write("kubeconfig", plane.kubeconfig());
        let world = Self {
            plane,
            looks,
            azure: folder,
        };
        world.objects();
        world.ready("statefulset/arbitex-redis");
        let fill = format!(
            "for i = 1, {KEYS} do redis.call('SET', 'session:' .. i, 'of tenant ' .. i, 'EX', 86400) end"
        );
        world.redis(&["EVAL", &fill, "0"]);
        world
    }

    fn objects(&self) {
        let make = |collection: &str, object: Value| self.plane.make(collection, &object);
        make(
            "/api/v1/namespaces",
            json!({ "metadata": { "name": NAMESPACE } }),
        );
        make(
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({ "metadata": { "name": "managed" }, "provisioner": "disk.csi.azure.com", "parameters": { "skuName": "Premium_LRS" } }),
        );
        let ns = |path: &str| format!("{path}/namespaces/{NAMESPACE}");
        for (claim, name) in [
            ("arbitex-redis-data", "redis"),
            ("arbitex-audit-buffer", "audit"),
        ] {
            fs::create_dir_all(self.plane.node_folder().join("disks").join(name)).unwrap();
            let room = json!({ "storage": "4Gi" });
            make(
                "/api/v1/persistentvolumes",
                json!({ "metadata": { "name": format!("pvc-{name}") }, "spec": {
                    "capacity": room, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "managed",
                    "claimRef": { "namespace": NAMESPACE, "name": claim },
                    "csi": { "driver": "disk.csi.azure.com", "volumeHandle": disk(name), "volumeAttributes": { "fsType": "ext4" } },
                } }),
            );
            make(
                &format!("{}/persistentvolumeclaims", ns("/api/v1")),
                json!({ "metadata": { "name": claim }, "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "managed", "volumeName": format!("pvc-{name}"), "resources": { "requests": room } } }),
            );
        }
        let volume = |claim: &str| json!([{ "name": "data", "persistentVolumeClaim": { "claimName": claim } }]);
        let pod = |app: &str, container: Value, volumes: Value| json!({ "metadata": { "labels": { "app": app } }, "spec": { "terminationGracePeriodSeconds": 5, "containers": [container], "volumes": volumes } });
        let redis = json!({ "name": "redis", "image": "docker.io/library/redis:7", "ports": [{ "name": "redis", "containerPort": 6379 }],
            "readinessProbe": { "tcpSocket": { "port": 6379 } }, "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
        make(
            &format!("{}/statefulsets", ns("/apis/apps/v1")),
            json!({ "metadata": { "name": "arbitex-redis" }, "spec": { "replicas": 1, "serviceName": "arbitex-redis",
                "selector": { "matchLabels": { "app": "arbitex-redis" } }, "template": pod("arbitex-redis", redis, volume("arbitex-redis-data")) } }),
        );
        make(
            &format!("{}/services", ns("/api/v1")),
            json!({ "metadata": { "name": "arbitex-redis" }, "spec": { "selector": { "app": "arbitex-redis" }, "ports": [{ "port": 6379, "targetPort": "redis" }] } }),
        );
        for (name, replicas, mounts) in [("arbitex-platform", 3, true), ("arbitex-cloud", 2, false)]
        {
            let container = json!({ "name": "app", "image": "registry.example/arbitex/platform:1.0",
                "volumeMounts": if mounts { json!([{ "name": "data", "mountPath": "/var/lib/arbitex" }]) } else { json!([]) } });
            let volumes = if mounts {
                volume("arbitex-audit-buffer")
            } else {
                json!([])
            };
            make(
                &format!("{}/deployments", ns("/apis/apps/v1")),
                json!({ "metadata": { "name": name }, "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": pod(name, container, volumes) } }),
            );
        }
        let backend = json!({ "service": { "name": "arbitex-redis", "port": { "number": 6379 } } });
        make(
            &format!("{}/ingresses", ns("/apis/networking.k8s.io/v1")),
            json!({ "metadata": { "name": "arbitex" },
                "spec": { "rules": [{ "host": NAME, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }] },
                "status": { "loadBalancer": { "ingress": [{ "ip": NEW.to_string() }] } } }),
        );
    }

    fn path(what: &str) -> String {
        let (kind, name) = what.split_once('/').unwrap();
        format!("/apis/apps/v1/namespaces/{NAMESPACE}/{kind}s/{name}")
    }

    pub(super) fn ready(&self, what: &str) {
        eventually(PATIENCE, what, || {
            let object = self.plane.ask("GET", &Self::path(what), &Value::Null);
            (object["status"]["readyReplicas"] == object["spec"]["replicas"]).then_some(())
        });
    }

    pub(super) fn replicas(&self, what: &str) -> Value {
        self.plane.ask("GET", &Self::path(what), &Value::Null)["spec"]["replicas"].take()
    }

    /// Starts Redis anew, with its StatefulSet's own configuration.
    pub(super) fn restart_redis(&self) {
        let pod = format!("/api/v1/namespaces/{NAMESPACE}/pods/arbitex-redis-0");
        let uid = |pod: &Value| {
            pod["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let before = uid(&self.plane.ask("GET", &pod, &Value::Null));
        self.plane.ask("DELETE", &pod, &Value::Null);
        eventually(PATIENCE, "another Redis", || {
            let all =
                format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Darbitex-redis");
            let all = self.plane.ask("GET", &all, &Value::Null);
            let pod = &all["items"][0];
            (pod.is_object() && uid(pod) != before).then_some(())
        });
        self.ready("statefulset/arbitex-redis");
    }

    /// What `redis-cli` prints in a pod that has Redis.
    #[track_caller]
    pub(super) fn redis(&self, words: &[&str]) -> String {
        self.redis_in("statefulset/arbitex-redis", words)
    }

    #[track_caller]
    pub(super) fn redis_in(&self, pod: &str, words: &[&str]) -> String {
        let words: Vec<&str> = ["redis-cli", "-e"].iter().chain(words).copied().collect();
        let words = serde_json::to_string(&words).unwrap();
        let kubeconfig = self.looks.file("kubeconfig");
        let runbook = self.looks.write("look.yaml", format!(
            "blackstart: 1\nid: look\ntitle: Look\nsystems: {{ cluster: {{ kind: kubernetes, kubeconfig: {kubeconfig}, context: admin, namespace: {NAMESPACE} }} }}\nrecovered: {{ when: {{ file: /, exists: true }} }}\nprocedures: [ {{ id: look, title: Look, steps: [ {{ id: a, title: A, expect: answer, kubernetes: {{ system: cluster, exec: {pod}, command: {words} }} }} ] }} ]\n"
        ));
        let run = self.looks.run(&[&runbook, "--trust", "--go", "look"]);
        let shown = self.looks.show_json(&run.incident());
        let log = self.looks.log(&shown, &step(&shown, "a")["attempts"][0]);
        assert_eq!(step(&shown, "a")["state"], "succeeded", "{log}");
        let lines: Vec<&str> = log
            .lines()
            .filter(|l| !l.starts_with("blackstart: "))
            .collect();
        lines.join("\n")
    }

    /// Keeps a good copy of what Redis has as an RDB file, then loses it.
    pub(super) fn loses_keys(&self, rdb: &Path) {
        self.redis(&["SAVE"]);
        fs::copy(self.plane.node_folder().join("disks/redis/dump.rdb"), rdb).unwrap();
        self.redis(&["FLUSHALL"]);
        self.redis(&["SET", "written:after", "the loss"]);
    }

    /// Takes a snapshot of a disk, as the backup policy would.
    pub(super) fn snapshot(&self, name: &str, claim: &str) {
        let tool = self.azure.join("bin/az");
        crate::harness::must(
            std::process::Command::new(tool)
                .args([
                    "snapshot",
                    "create",
                    "--name",
                    &format!("{claim}-1"),
                    "--source",
                    &disk(name),
                    "--tags",
                ])
                .arg(format!("arbitex-claim={claim}"))
                .env("CLUSTER", &self.azure)
                .env("NODE", self.plane.node_folder()),
        );
    }
}
