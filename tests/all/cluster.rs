//! A cluster, looked at: by a real Kubernetes API server, with what a controller would have said.

use crate::harness::{
    bin::{Blackstart, of_type, step},
    control_plane::ControlPlane,
    must, need,
};
use serde_json::{Value, json};
use std::process::Command;

const HEAD: &str = "blackstart: 1
id: cluster
title: A cluster
variables: { context: { type: text, default: admin }, config_file: { type: path } }
systems: { cluster: { kind: kubernetes, context: \"${context}\", kubeconfig: \"${config_file}\", namespace: shop } }
recovered: { when: { file: /, exists: true } }
procedures:
  - id: look
    title: Look
    steps:
";

/// What came of a check.
struct Look {
    verdict: String,
    seen: String,
}

fn look_at(home: &Blackstart, checks: &[String], more: &[&str]) -> Vec<Look> {
    let mut text = HEAD.to_owned();
    for (n, check) in checks.iter().enumerate() {
        text.push_str(&format!(
            "      - {{ id: c{n}, title: C, budget: 1m, after: [], check: {{ kubernetes: cluster, {check} }} }}\n"
        ));
    }
    let runbook = home.write("cluster.yaml", text);
    let kubeconfig = format!("config_file={}", home.file("kubeconfig"));
    let mut all = Vec::new();
    for check in checks {
        // One at a time: a check that does not hold ends a run.
        let one = home.write(
            "one.yaml",
            format!("{HEAD}      - {{ id: c, title: C, budget: 1m, check: {{ kubernetes: cluster, {check} }} }}\n"),
        );
        let mut args = vec![
            one.as_str(),
            "--trust",
            "--go",
            "look",
            "--set",
            &kubeconfig,
        ];
        args.extend(more);
        let run = home.run(&args);
        let shown = home.show_json(&run.incident());
        let checked = &step(&shown, "c")["attempts"][0]["checks"][0];
        all.push(Look {
            verdict: checked["verdict"].as_str().unwrap_or_default().to_owned(),
            seen: checked["seen"].as_str().unwrap_or_default().to_owned(),
        });
    }
    home.output(&["lint", &runbook]).exits(0);
    all
}

fn shop(cluster: &ControlPlane) {
    let meta = |name: &str| json!({"name": name});
    cluster.make("/api/v1/namespaces", &json!({"metadata": meta("shop")}));
    let ns = "/api/v1/namespaces/shop";
    let container = json!([{"name": "c", "image": "shop:1"}]);
    let pod = |name: &str, status: Value| json!({"metadata": {"name": name, "labels": {"app": name.split('-').next()}}, "spec": {"containers": container}, "status": status});
    let ready = json!([{"type": "Ready", "status": "True"}]);
    cluster.make(
        &format!("{ns}/pods"),
        &pod("web-1", json!({"phase": "Running", "conditions": ready})),
    );
    let waiting = json!([{"name": "c", "image": "shop:1", "imageID": "", "ready": false, "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}}]);
    cluster.make(
        &format!("{ns}/pods"),
        &pod(
            "worker-1",
            json!({"phase": "Running", "containerStatuses": waiting}),
        ),
    );
    let unschedulable = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient memory."}]);
    cluster.make(
        &format!("{ns}/pods"),
        &pod(
            "big-1",
            json!({"phase": "Pending", "conditions": unschedulable}),
        ),
    );
    let claim = |name: &str, phase: &str| json!({"metadata": meta(name), "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": phase}});
    cluster.make(
        &format!("{ns}/persistentvolumeclaims"),
        &claim("data", "Bound"),
    );
    cluster.make(
        &format!("{ns}/persistentvolumeclaims"),
        &claim("new", "Pending"),
    );
    cluster.make(&format!("{ns}/secrets"), &json!({"metadata": meta("app"), "stringData": {"password": "hunter2-hunter2", "url": "u"}}));
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": container}});
    let deployment = |name: &str, status: Value| json!({"metadata": meta(name), "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}, "status": status});
    let apps = "/apis/apps/v1/namespaces/shop/deployments";
    cluster.make(apps, &deployment("web", json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3})));
    cluster.make(apps, &deployment("slow", json!({"observedGeneration": 1, "replicas": 4, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2})));
    let job = json!({"metadata": meta("copy"), "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": container}}}, "status": {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}});
    cluster.make("/apis/batch/v1/namespaces/shop/jobs", &job);
    cluster.make("/api/v1/nodes", &json!({"metadata": meta("n1"), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
}

fn home(cluster: &ControlPlane) -> Blackstart {
    let home = Blackstart::new();
    home.write("kubeconfig", cluster.kubeconfig());
    home
}

#[test]
fn what_is_there_is_seen_and_of_what_is_not_ready_the_reason() {
    let cluster = ControlPlane::start();
    shop(&cluster);
    let home = home(&cluster);
    let cases = [
        ("reachable: true", "holds", "ok"),
        ("nodes: ready", "holds", "1 of 1"),
        ("rollout: deployment/web", "holds", "3 of 3 ready"),
        (
            "rollout: deploy/slow",
            "does-not-hold",
            "1 of the newest revision, 3 of an older one",
        ),
        ("pods: app=web", "holds", "1 of 1"),
        ("pods: app=worker", "does-not-hold", "CrashLoopBackOff"),
        (
            "pods: app=worker, none: CrashLoopBackOff",
            "does-not-hold",
            "worker-1",
        ),
        (
            "pods: app=web, none: CrashLoopBackOff",
            "holds",
            "none CrashLoopBackOff",
        ),
        ("pods: app=big", "does-not-hold", "Insufficient memory"),
        ("pods: app=nobody", "does-not-hold", "0 of 0"),
        ("pvc: data, phase: Bound", "holds", "Bound"),
        ("pvc: new, phase: Bound", "does-not-hold", "Pending"),
        ("pvc: gone, phase: Bound", "does-not-hold", "not there"),
        ("secret: app, keys: [password, url]", "holds", "password"),
        (
            "secret: app, keys: [token]",
            "does-not-hold",
            "missing: token",
        ),
        ("job: copy", "does-not-hold", "BackoffLimitExceeded"),
        (
            "image: deployment/web, expect: \"shop:1\"",
            "holds",
            "shop:1",
        ),
        (
            "get: deployment/web, json: { /spec/replicas: \"3\" }",
            "holds",
            "3",
        ),
        (
            "get: deployments.apps/web, json: { /spec/replicas: \"> 3\" }",
            "does-not-hold",
            "3",
        ),
        ("absent: pvc/gone", "holds", "not there"),
        ("absent: pvc/data", "does-not-hold", "it is there"),
        ("get: gadget/x", "does-not-hold", "no kind"),
    ];
    let checks: Vec<String> = cases
        .iter()
        .map(|(check, ..)| (*check).to_owned())
        .collect();
    for ((check, verdict, seen), look) in cases.iter().zip(look_at(&home, &checks, &[])) {
        assert_eq!(look.verdict, *verdict, "{check}: {}", look.seen);
        assert!(look.seen.contains(seen), "{check}: {}", look.seen);
        assert!(
            !look.seen.contains("hunter2"),
            "a secret's value is never seen"
        );
    }
}

#[test]
fn an_expired_login_missing_rights_and_a_wrong_authority_never_look_like_a_lost_cluster() {
    let mut cluster = ControlPlane::start();
    let home = home(&cluster);
    let reachable = ["reachable: true".to_owned()];
    let nodes = ["nodes: ready".to_owned()];
    let one = |checks: &[String], context: &str| {
        look_at(&home, checks, &["--set", &format!("context={context}")]).remove(0)
    };
    for (checks, context, seen) in [
        (&nodes, "expired", "Unauthorized"),
        (&reachable, "nobody", "no context"),
    ] {
        let look = one(checks, context);
        assert_eq!(look.verdict, "cannot-tell", "{context}: {}", look.seen);
        assert!(look.seen.contains(seen), "{context}: {}", look.seen);
    }
    // Another authority than the one that signed.
    let mut openssl = Command::new(need("openssl", "openssl"));
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=other",
        "-keyout",
        "/dev/null",
    ]);
    let other = must(&mut openssl);
    use base64::Engine;
    let other = base64::engine::general_purpose::STANDARD.encode(other);
    let text = cluster.kubeconfig();
    let (before, rest) = text.split_once("certificate-authority-data: ").unwrap();
    let (_, after) = rest.split_once(' ').unwrap();
    home.write(
        "kubeconfig",
        format!("{before}certificate-authority-data: {other} {after}"),
    );
    let look = one(&reachable, "admin");
    assert_eq!(look.verdict, "cannot-tell", "{}", look.seen);
    assert!(look.seen.contains("TLS"), "{}", look.seen);
    // A credential plugin that hangs is ended, and said; so is one that fails, or is not there.
    let plugin = |command: &str, args: &str| {
        let exec = format!(
            "{{ exec: {{ apiVersion: client.authentication.k8s.io/v1, command: {command}, args: {args}, interactiveMode: IfAvailable }} }}"
        );
        home.write(
            "kubeconfig",
            text.replace("{ token: admin-token-of-the-test }", &exec),
        );
        one(&reachable, "admin")
    };
    for (command, args, seen) in [
        ("tail", "[-f, /dev/null]", "`tail` does not come back"),
        (
            "sh",
            "[-c, 'echo please sign in >&2; exit 3']",
            "failed (exit 3): please sign in",
        ),
        ("no-such-plugin", "[]", "`no-such-plugin` is not installed"),
        ("echo", "[hello]", "did not answer in JSON"),
        ("echo", "['{\"status\": {}}']", "gave no token"),
    ] {
        let look = plugin(command, args);
        assert_eq!(look.verdict, "cannot-tell", "{}", look.seen);
        assert!(look.seen.contains(seen), "{command}: {}", look.seen);
    }
    // One that answers is believed, and finds no terminal: neither to read from nor to draw on.
    let answer = r#"if (exec </dev/tty) 2>/dev/null; then exit 9; fi; cat; echo "{\"status\": {\"token\": \"admin-token-of-the-test\"}}""#;
    let look = plugin("sh", &format!("[-c, '{answer}']"));
    assert_eq!((look.verdict.as_str(), look.seen.as_str()), ("holds", "ok"));
    // And down is down.
    home.write("kubeconfig", text);
    cluster.stop();
    let look = one(&reachable, "admin");
    assert_eq!(
        (look.verdict.as_str(), look.seen.as_str()),
        ("does-not-hold", "connection refused")
    );
}

#[test]
fn another_cluster_behind_the_same_context_is_refused_before_anything_changes() {
    let (ours, other) = (ControlPlane::start(), ControlPlane::start());
    let home = home(&ours);
    let runbook = home.write(
        "cluster.yaml",
        format!("{HEAD}      - {{ id: mark, title: Mark, budget: 1m, expect: a mark, run: 'echo done > mark.txt' }}\n").replace("    title: Look\n", "    title: Look\n    needs: { systems: [cluster] }\n"),
    );
    home.output(&["trust", &runbook]).exits(0);
    let site = home.write(
        "prod.yaml",
        format!(
            "site: prod\nrunbook: cluster.yaml\nvariables: {{ config_file: {} }}\n",
            home.file("kubeconfig")
        ),
    );
    home.output(&["site", "record", &site])
        .exits(0)
        .says("https://127.0.0.1");
    let recorded = std::fs::read_to_string(&site).unwrap();
    for key in ["server:", "kube_system_uid:", "ca_sha256:"] {
        assert!(recorded.contains(key), "{recorded}");
    }
    let args = [runbook.as_str(), "--go", "look", "--site", &site];
    let good = home.run(&args).exits(0);
    let pinned = home.journal(&good.incident());
    assert_eq!(
        of_type(&pinned, "identity-pinned")[0]["event"]["by"],
        "site"
    );
    std::fs::remove_file(home.file("mark.txt")).unwrap();
    home.write("kubeconfig", other.kubeconfig());
    home.run(&args).exits(5);
    assert!(!std::path::Path::new(&home.file("mark.txt")).exists());
}
