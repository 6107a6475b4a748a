//! In pods: commands, files, and systems that are reached through a port-forward, on a real API server and
//! a node that runs real processes.

use crate::{
    actions::{Done, Shop},
    harness::{PATIENCE, eventually},
};
use serde_json::json;
use std::fs;

const INSIDE: &str = "blackstart: 1
id: inside
title: Inside
variables: { config_file: { type: path }, port: { type: text, default: '6379' } }
systems:
  cluster: { kind: kubernetes, context: admin, kubeconfig: \"${config_file}\", namespace: shop }
  cache: { kind: redis, tls: disable, via: { kubernetes: cluster, service: redis, port: \"${port}\" } }
  page: { kind: http, base: \"http://redis.shop.svc\", via: { kubernetes: cluster, pod: \"${pod}\", port: 8080 } }
recovered: { when: { file: /, exists: true } }
procedures:
  - id: look
    title: Look
    steps:
      - { id: find, title: Find, budget: 1m, danger: none, run: 'echo', capture: { pod: { object: pod/web, json: /metadata/name } } }
";

/// A container that lives, answers, and writes what it is told.
const START: &str = "#!/bin/sh\necho started\nexec sleep 100000\n";

fn with_app() -> Shop {
    let shop = Shop::open();
    shop.cluster.image("app", "start", START);
    let labels = json!({ "app": "web" });
    let container =
        json!([{ "name": "app", "image": "app:1" }, { "name": "side", "image": "app:1" }]);
    shop.cluster.make(
        "/apis/apps/v1/namespaces/shop/deployments",
        &json!({ "metadata": { "name": "web" }, "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "terminationGracePeriodSeconds": 1, "containers": container } },
        } }),
    );
    eventually(PATIENCE, "a pod that is ready", || {
        let web = shop.get("/apis/apps/v1/namespaces/shop/deployments/web");
        (web["status"]["readyReplicas"] == 1).then_some(())
    });
    shop
}

#[track_caller]
fn says(done: &Done, outcome: &str, all: &[&str]) {
    assert_eq!(
        done.outcome,
        outcome,
        "{}\n{}",
        done.log,
        done.run.done.both()
    );
    for said in all {
        assert!(done.log.contains(said), "{said}: {}", done.log);
    }
}

#[test]
fn commands_run_in_pods_with_their_output_and_exit_status_and_files_go_both_ways() {
    let shop = with_app();
    shop.good(
        "exec: deployment/web, container: app, command: [sh, -c, 'echo out; echo err >&2; hostname >/dev/null']",
        &["in pod/web-", "out", "err"],
    );
    let done = shop.act("exec: deploy/web, container: app, command: [sh, -c, 'echo no; exit 7']");
    says(&done, "failed", &["no"]);
    let attempt = &done.run.summary["steps"][0]["attempts"][0];
    assert_eq!(attempt["exit_code"], 7);
    shop.bad(
        "exec: deployment/web, container: other, command: [true]",
        &["container other is not valid for pod"],
    );
    shop.bad("exec: pod/nobody, command: [true]", &["NotFound", "nobody"]);
    shop.bad("exec: pvc/x, command: [true]", &["x is not there"]);
    // What it prints can be captured, and only what it prints.
    let done = shop.step(
        "{ id: a, title: A, budget: 1m, kubernetes: { system: cluster, exec: deployment/web, container: app, command: [sh, -c, 'echo first; echo second'] }, \
          capture: { seen: last-line, uid: { object: deployment/web, json: /metadata/uid } }, \
          verify: [{ kubernetes: cluster, exec: deployment/web, container: app, command: [echo, '${seen} ${uid}'], expect: '/^second [0-9a-f-]{36}$/' }] }",
    );
    says(&done, "succeeded", &["second"]);
    // Files: there and back, the same to the last bit.
    let bytes: Vec<u8> = (0..3_000_001_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11).to_le_bytes()[0])
        .collect();
    shop.home.write("there.bin", &bytes);
    shop.good(
        "copy: { from: there.bin, to: 'deployment/web:/tmp/there.bin' }, container: app",
        &[
            "there.bin → pod/web-",
            "3000001 bytes",
            "the checksums agree",
        ],
    );
    shop.good(
        "copy: { from: 'deployment/web:/tmp/there.bin', to: back.bin }, container: app",
        &["→", "back.bin, 3000001 bytes", "the checksums agree"],
    );
    assert!(fs::read(shop.home.file("back.bin")).unwrap() == bytes);
    shop.bad(
        "copy: { from: 'deployment/web:/etc', to: back.bin }, container: app",
        &["/etc is a folder", "tar"],
    );
    shop.bad(
        "copy: { from: 'deployment/web:/tmp/none', to: back.bin }, container: app",
        &["exit", "/tmp/none"],
    );
    shop.bad(
        "copy: { from: nothing.bin, to: 'deployment/web:/tmp/x' }, container: app",
        &["nothing.bin: No such file", "folder of the runbook"],
    );
    shop.bad(
        "copy: { from: there.bin, to: 'deployment/web:/tmp' }, container: app",
        &["/tmp is a folder: name the file"],
    );
    // A look in a pod.
    for (check, outcome, seen) in [
        (
            "command: [cat, /tmp/there.bin], expect: '/./'",
            "succeeded",
            "",
        ),
        ("command: [echo, 12], expect: '> 11'", "succeeded", "saw 12"),
        ("command: [echo, 12], expect: '> 12'", "failed", "saw 12"),
        (
            "command: [sh, -c, 'echo why >&2; exit 3']",
            "failed",
            "exit 3: why",
        ),
    ] {
        let done = shop.step(&format!(
            "{{ id: a, title: A, budget: 1m, check: {{ kubernetes: cluster, exec: deployment/web, container: app, {check} }} }}"
        ));
        says(&done, outcome, &[seen]);
    }
}

#[test]
fn what_is_inside_a_cluster_is_reached_through_a_port_forward_of_our_own() {
    let mut shop = Shop::open();
    let server = "#!/bin/sh\nexec redis-server --dir /tmp --save '' --appendonly no --port 6379\n";
    shop.cluster.image("redis", "start", server);
    let page = "#!/bin/sh\ncd /tmp; echo here >index.html; exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1); while ($c = $s->accept) { while (<$c>) { last if /^\\s*$/ } print $c \"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nhere\"; close $c }'\n";
    shop.cluster.image("page", "start", page);
    let ns = "/api/v1/namespaces/shop";
    let ports = json!([{ "name": "redis", "containerPort": 6379 }]);
    let probe = json!({ "tcpSocket": { "port": 6379 } });
    shop.cluster.make(
        "/apis/apps/v1/namespaces/shop/statefulsets",
        &json!({ "metadata": { "name": "redis" }, "spec": {
            "replicas": 1, "serviceName": "redis",
            "selector": { "matchLabels": { "app": "redis" } },
            "template": { "metadata": { "labels": { "app": "redis" } }, "spec": { "terminationGracePeriodSeconds": 1,
                "containers": [{ "name": "redis", "image": "redis:7", "ports": ports, "readinessProbe": probe }] } },
        } }),
    );
    shop.cluster.make(
        &format!("{ns}/services"),
        &json!({ "metadata": { "name": "redis" }, "spec": { "selector": { "app": "redis" }, "ports": [{ "name": "redis", "port": 6379, "targetPort": "redis" }] } }),
    );
    shop.cluster.make(
        &format!("{ns}/pods"),
        &json!({ "metadata": { "name": "web" }, "spec": { "containers": [{ "name": "page", "image": "page:1", "readinessProbe": { "tcpSocket": { "port": 8080 } } }] } }),
    );
    shop.good("wait: pod/redis-0, for: Ready", &["Ready is True"]);
    shop.good("wait: pod/web, for: Ready", &["Ready is True"]);
    shop.good(
        "exec: statefulset/redis, command: [redis-cli, SET, marker, before]",
        &["OK"],
    );
    let look = |shop: &Shop, check: &str, more: &[&str]| {
        let runbook = shop.home.write(
            "inside.yaml",
            format!("{INSIDE}      - {{ id: a, title: A, budget: 1m, check: {check} }}\n"),
        );
        let config = format!("config_file={}", shop.home.file("kubeconfig"));
        let mut args = vec![
            runbook.as_str(),
            "--trust",
            "--go",
            "look",
            "--set",
            &config,
        ];
        args.extend(more);
        let run = shop.home.run(&args);
        let shown = shop.home.show_json(&run.incident());
        let check = crate::harness::bin::step(&shown, "a")["attempts"][0]["checks"][0].clone();
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        (text("verdict"), text("seen"))
    };
    let marker = "{ redis: cache, command: [GET, marker], expect: before }";
    assert_eq!(look(&shop, marker, &[]), ("holds".into(), "before".into()));
    let page = "{ http: page, get: /, expect: here }";
    assert_eq!(look(&shop, page, &[]), ("holds".into(), "here".into()));
    let (verdict, seen) = look(&shop, marker, &["--set", "port=6380"]);
    assert_eq!(verdict, "cannot-tell", "{seen}");
    assert!(seen.contains("service/redis has no port 6380"), "{seen}");
    shop.good("scale: statefulset/redis, replicas: 0", &["1 → 0"]);
    let (verdict, seen) = look(&shop, marker, &[]);
    assert_eq!(verdict, "does-not-hold", "{seen}");
    assert!(
        seen.contains("service/redis has no pod behind it"),
        "{seen}"
    );
    // A cluster that is down says nothing of what is inside it.
    shop.cluster.stop();
    let runbook = shop.home.file("inside.yaml");
    let config = format!("config_file={}", shop.home.file("kubeconfig"));
    let run = shop
        .home
        .run(&[&runbook, "--trust", "--go", "look", "--set", &config]);
    assert!(
        run.done.both().contains("connection refused"),
        "{}",
        run.done.both()
    );
}
