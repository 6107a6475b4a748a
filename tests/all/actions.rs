//! What is done to a cluster, by native actions: on a real API server with its controllers and scheduler,
//! and a node that plays its pods.

use crate::harness::{
    PATIENCE,
    bin::{Blackstart, Run, step},
    control_plane::ControlPlane,
    eventually,
};
use serde_json::{Value, json};

pub(crate) const HEAD: &str = "blackstart: 1
id: cluster
title: A cluster
variables:
  config_file: { type: path }
  new_password: { type: secret, env: NEW_PASSWORD }
systems: { cluster: { kind: kubernetes, context: admin, kubeconfig: \"${config_file}\", namespace: shop } }
recovered: { when: { file: /, exists: true } }
procedures:
  - id: act
    title: Act
    steps:
";

/// A cluster with the namespace `shop`, and a home that knows it.
pub(crate) struct Shop {
    pub(crate) cluster: ControlPlane,
    pub(crate) home: Blackstart,
}

/// What came of an action.
pub(crate) struct Done {
    pub(crate) outcome: String,
    pub(crate) log: String,
    pub(crate) run: Run,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let cluster = ControlPlane::with_workers();
        cluster.make("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}}));
        let home = Blackstart::new().with("NEW_PASSWORD", "hunter2-hunter2");
        home.write("kubeconfig", cluster.kubeconfig());
        Self { cluster, home }
    }

    /// One step with these words, run headless.
    pub(crate) fn act(&self, words: &str) -> Done {
        self.step(&format!(
            "{{ id: a, title: A, budget: 1m, expect: done, kubernetes: {{ system: cluster, {words} }} }}"
        ))
    }

    /// One step as it is written, called `a`, run headless.
    pub(crate) fn step(&self, text: &str) -> Done {
        let runbook = self
            .home
            .write("act.yaml", format!("{HEAD}      - {text}\n"));
        let config = format!("config_file={}", self.home.file("kubeconfig"));
        let run = self
            .home
            .run(&[&runbook, "--trust", "--go", "act", "--set", &config]);
        let incident = run.incident();
        let shown = self.home.show_json(&incident);
        let attempt = &step(&shown, "a")["attempts"][0];
        let log = self.home.log(&shown, attempt);
        Done {
            outcome: attempt["outcome"].as_str().unwrap_or_default().to_owned(),
            log,
            run,
        }
    }

    #[track_caller]
    pub(crate) fn good(&self, words: &str, says: &[&str]) -> String {
        self.ends(words, "succeeded", says)
    }

    #[track_caller]
    pub(crate) fn bad(&self, words: &str, says: &[&str]) -> String {
        self.ends(words, "failed", says)
    }

    #[track_caller]
    fn ends(&self, words: &str, outcome: &str, says: &[&str]) -> String {
        let done = self.act(words);
        assert_eq!(
            done.outcome,
            outcome,
            "{words}: {}\n{}",
            done.log,
            done.run.done.both()
        );
        for said in says {
            assert!(done.log.contains(said), "{words}: {said}: {}", done.log);
        }
        assert!(
            !done.log.contains("hunter2"),
            "a secret's value is never shown"
        );
        done.log
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.cluster.ask("GET", path, &Value::Null)
    }

    fn deployment(&self, name: &str, replicas: u32) {
        let container = json!([{ "name": "app", "image": "shop:1", "env": [
            { "name": "SIM", "value": "run" },
            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "app", "key": "password", "optional": true } } },
        ] }]);
        let labels = json!({ "app": name });
        self.cluster.make(
            "/apis/apps/v1/namespaces/shop/deployments",
            &json!({ "metadata": { "name": name }, "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "terminationGracePeriodSeconds": 1, "containers": container } },
            } }),
        );
    }
}

#[test]
fn a_workload_is_scaled_restarted_and_changed_and_each_waits_for_its_pods() {
    let shop = Shop::open();
    shop.good(
        "secret: app, data: { password: \"${new_password}\", user: app }",
        &["made, with password, user"],
    );
    shop.deployment("web", 0);
    let pods = "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb";
    shop.good(
        "scale: deployment/web, replicas: 2",
        &["0 → 2 replicas", "2 of 2 ready"],
    );
    assert_eq!(shop.get(pods)["items"].as_array().unwrap().len(), 2);
    let before = shop.get("/apis/apps/v1/namespaces/shop/deployments/web");
    shop.good("restart: deploy/web", &["restarting", "2 of 2 ready"]);
    let after = shop.get("/apis/apps/v1/namespaces/shop/deployments/web");
    assert!(after["metadata"]["generation"].as_i64() > before["metadata"]["generation"].as_i64());
    shop.good(
        "set_image: deployment/web, image: \"shop:2\"",
        &["shop:1 → shop:2", "2 of 2 ready"],
    );
    shop.good(
        "set_image: deployment/web, image: \"shop:2\"",
        &["already so"],
    );
    // What goes wrong is named: the pull, the crash, the secret; then what heals it works.
    shop.bad(
        "set_image: deployment/web, image: \"missing:3\", timeout: 3s",
        &[
            "shop:2 → missing:3",
            "ImagePullBackOff",
            "not there after 3s",
        ],
    );
    shop.good(
        "set_image: deployment/web, images: { app: \"shop:3\" }",
        &["missing:3 → shop:3"],
    );
    shop.bad(
        "set_env: deployment/web, env: { SIM: crash }, timeout: 3s",
        &[
            "SIM is set",
            "CrashLoopBackOff",
            "its last words: panic: told to end",
        ],
    );
    shop.good(
        "set_env: deployment/web, env: { SIM: run, EXTRA: \"1\" }",
        &["EXTRA is set", "2 of 2 ready"],
    );
    let env = shop.get("/apis/apps/v1/namespaces/shop/deployments/web");
    assert!(env.to_string().contains("\"EXTRA\""), "{env}");
    shop.bad(
        "set_env: deployment/web, env: { PASSWORD: \"${new_password}\" }",
        &[
            "PASSWORD of deployment/web comes from secret app, key password",
            "force: true",
        ],
    );
    shop.bad(
        "set_image: deployment/web, images: { nginx: x }",
        &["no container `nginx`", "it has: app"],
    );
    shop.bad(
        "scale: deployment/wbe, replicas: 1",
        &["there is no deployments `wbe`", "namespace shop"],
    );
    shop.good("scale: deployment/web, replicas: 0", &["2 → 0 replicas"]);
    assert_eq!(
        shop.get(pods)["items"].as_array().unwrap().len(),
        0,
        "to the last pod"
    );
    shop.good(
        "patch: deployment/web, merge: { spec: { replicas: 1 } }",
        &[".spec.replicas: 0 → 1", "1 of 1 ready"],
    );
    shop.bad(
        "patch: deployment/web, merge: { spec: { replicas: -1 } }",
        &["Invalid (422)", "spec.replicas"],
    );
    shop.bad("patch: deployment/web, merge: { spec: { template: { spec: { nodeSelector: { disk: ssd } } } } }, timeout: 4s", &["Unschedulable"]);
    shop.good(
        "wait: deployment/web, for: Available",
        &["Available is True"],
    );
    shop.bad(
        "wait: deployment/web, for: Frozen, timeout: 1s",
        &["nothing said about Frozen yet"],
    );
}

#[test]
fn objects_are_made_applied_and_deleted_and_what_goes_with_them_is_shown() {
    let shop = Shop::open();
    let ns = "/api/v1/namespaces/shop";
    shop.good("namespace: spare", &["namespace spare: made"]);
    shop.good("namespace: spare", &["there already"]);
    shop.good(
        "secret: app, data: { password: \"${new_password}\" }",
        &["made, with password"],
    );
    shop.good(
        "secret: app, data: { user: app }",
        &["user written, other keys kept"],
    );
    let secret = shop.get(&format!("{ns}/secrets/app"));
    assert_eq!(secret["data"]["password"], "aHVudGVyMi1odW50ZXIy");
    assert_eq!(secret["data"]["user"], "YXBw");
    shop.good(
        "apply: [ { apiVersion: v1, kind: ConfigMap, metadata: { name: c }, data: { a: \"1\" } } ]",
        &["configmap/c: new", "configmap/c: applied"],
    );
    // Somebody else changes the same field: the conflict names them and their field.
    shop.cluster.ask(
        "PATCH",
        &format!("{ns}/configmaps/c?fieldManager=kubectl-edit"),
        &json!({"data": {"a": "2"}}),
    );
    let again =
        "apply: [ { apiVersion: v1, kind: ConfigMap, metadata: { name: c }, data: { a: \"3\" } } ]";
    shop.bad(
        again,
        &[
            "would be refused, nothing was changed",
            "Conflict (409)",
            "kubectl-edit",
            ".data.a",
            "force: true",
        ],
    );
    shop.good(
        &format!("{again}, force: true"),
        &[".data.a: \"2\" → \"3\""],
    );
    shop.bad(
        "apply: [ { apiVersion: shop/v1, kind: Gadget, metadata: { name: g } } ]",
        &["does not serve shop/v1"],
    );
    shop.home.write("claim.yaml", "apiVersion: v1\nkind: PersistentVolume\nmetadata: { name: disk }\nspec:\n  capacity: { storage: 1Gi }\n  accessModes: [ReadWriteOnce]\n  persistentVolumeReclaimPolicy: Retain\n  storageClassName: none\n  hostPath: { path: /tmp }\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: data }\nspec:\n  accessModes: [ReadWriteOnce]\n  storageClassName: none\n  volumeName: disk\n  resources: { requests: { storage: 1Gi } }\n");
    shop.good(
        "apply: claim.yaml",
        &[
            "persistentvolume/disk: new",
            "persistentvolumeclaim/data: applied",
        ],
    );
    shop.good(
        "wait: pvc/data, for: /status/phase=Bound",
        &["/status/phase is Bound"],
    );
    // In use: it stays, and it is said by whom.
    std::fs::create_dir_all(shop.cluster.node_folder().join("disks/disk")).unwrap();
    let volume = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    shop.cluster.make(&format!("{ns}/pods"), &json!({"metadata": {"name": "user"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "shop:1"}], "volumes": volume}}));
    let user = format!("{ns}/pods/user");
    eventually(PATIENCE, "a pod that runs", || {
        (shop.get(&user)["status"]["phase"] == "Running").then_some(())
    });
    shop.bad(
        "delete: pvc/data, timeout: 3s",
        &[
            "volume disk: Retain, its data stays",
            "held by kubernetes.io/pvc-protection",
            "in use by pod/user",
        ],
    );
    shop.good("delete: pod/user", &["pod/user is gone"]);
    shop.good("wait: pvc/data, for: delete", &["pvc/data is gone"]);
    shop.good("delete: pvc/data", &["is not there"]);
    shop.good(
        "patch: pv/disk, merge: { spec: { claimRef: null } }",
        &[".spec.claimRef"],
    );
    // A job from a cron job, good and bad.
    for (name, sim) in [("copy", "done"), ("broken", "fail")] {
        let container =
            json!([{"name": "c", "image": "shop:1", "env": [{"name": "SIM", "value": sim}]}]);
        let job = json!({"spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": container}}}});
        shop.cluster.make(&format!("/apis/batch/{}/namespaces/shop/cronjobs", shop.cluster.batch()), &json!({"metadata": {"name": name}, "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": job}}));
    }
    shop.good(
        "job: { from: cronjob/copy }",
        &["started from cronjob/copy", "complete"],
    );
    shop.bad(
        "job: { from: cronjob/broken }",
        &["failed: ", "kubectl logs"],
    );
    // A quota and a namespace on its way out are named as such.
    shop.cluster.make(
        &format!("{ns}/resourcequotas"),
        &json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/configmaps": "0"}}}),
    );
    shop.bad(
        "apply: [ { apiVersion: v1, kind: ConfigMap, metadata: { name: d } } ]",
        &["exceeded quota", "quota of the namespace is used up"],
    );
}
