//! The target must not move in the middle of an incident: ways to turn it, each refused before anything is
//! written. The audit logs of the API servers are the witnesses.

use crate::harness::{
    PATIENCE,
    bin::{Blackstart, Finished},
    control_plane::ControlPlane,
    eventually,
    pty::Terminal,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink, path::Path};

/// Nothing of it stands in the runbook: neither file nor context, so that everything around it can turn.
const RUNBOOK: &str = "blackstart: 1
id: turned
title: Turned
systems: { cluster: { kind: kubernetes, namespace: shop } }
recovered: { when: { file: /, exists: true } }
procedures:
  - id: native
    title: Native
    needs: { systems: [cluster] }
    steps:
      - { id: gate, title: Gate, budget: 1m, expect: a file, run: 'test -e go' }
      - { id: change, title: Change, budget: 1m, expect: changed, kubernetes: { system: cluster, patch: configmap/mark, merge: { data: { by: us } } } }
  - id: script
    title: Script
    needs: { systems: [cluster] }
    steps:
      - { id: door, title: Door, budget: 1m, expect: a file, run: 'test -e go' }
      - { id: write, title: Write, budget: 1m, expect: written, run: 'touch wrote' }
";

struct Site {
    ours: ControlPlane,
    other: ControlPlane,
    home: Blackstart,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            ours: ControlPlane::start(),
            other: ControlPlane::start(),
            home: Blackstart::new(),
        };
        for plane in [&site.ours, &site.other] {
            plane.make("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}}));
            plane.make(
                "/api/v1/namespaces/shop/configmaps",
                &json!({"metadata": {"name": "mark"}, "data": {"by": "nobody"}}),
            );
        }
        let runbook = site.home.write("turned.yaml", RUNBOOK);
        site.home.output(&["trust", &runbook]).exits(0);
        site.straight();
        site
    }

    fn config(&self) -> String {
        self.home.file("config")
    }

    /// As it was when the incident began.
    fn straight(&self) {
        let path = self.config();
        let _ = fs::remove_file(&path);
        fs::write(path, self.ours.kubeconfig()).unwrap();
        let _ = fs::remove_file(self.home.file("go"));
        let _ = fs::remove_file(self.home.file("wrote"));
    }

    fn command(&self, args: &[&str], environment: &[(&str, &str)]) -> Finished {
        let mut command = self.home.command(args);
        let usual = [("KUBECONFIG", self.config())];
        command.envs(usual.iter().map(|(k, v)| (*k, v.as_str())));
        command.envs(environment.iter().copied());
        crate::harness::bin::Running::start(command).finished(PATIENCE)
    }

    /// An incident that stands before its change.
    fn incident(&self, go: &str) -> String {
        let runbook = self.home.file("turned.yaml");
        let said = self.command(&["run", &runbook, "--go", go, "--json"], &[]);
        let said = said.exits(1);
        let last = said.stdout.lines().last().unwrap_or_default();
        let summary: Value = serde_json::from_str(last).unwrap();
        summary["summary"]["id"].as_str().unwrap().to_owned()
    }

    fn marks(&self) -> [String; 2] {
        [&self.ours, &self.other].map(|plane| {
            let path = "/api/v1/namespaces/shop/configmaps/mark";
            let mark = plane.ask("GET", path, &Value::Null);
            mark["data"]["by"].as_str().unwrap_or_default().to_owned()
        })
    }

    /// Goes on with both incidents: each is refused, and nobody wrote anything anywhere.
    #[track_caller]
    fn refused(&self, way: &str, says: &str, environment: &[(&str, &str)]) {
        for (go, gate) in [("native", "gate"), ("script", "door")] {
            let kept = fs::read(self.config()).ok();
            let meant = fs::read_link(self.config()).ok();
            // The incident began when everything was still straight.
            let _ = fs::remove_file(self.config());
            fs::write(self.config(), self.ours.kubeconfig()).unwrap();
            let _ = fs::remove_file(self.home.file("go"));
            let id = self.incident(go);
            let _ = fs::remove_file(self.config());
            match (kept, meant) {
                (_, Some(to)) => symlink(to, self.config()).unwrap(),
                (Some(text), None) => fs::write(self.config(), text).unwrap(),
                (None, None) => {}
            }
            self.goes_no_further(way, says, &id, gate, environment);
        }
    }

    #[track_caller]
    fn goes_no_further(
        &self,
        way: &str,
        says: &str,
        id: &str,
        gate: &str,
        environment: &[(&str, &str)],
    ) {
        self.home.write("go", "");
        let before = [self.ours.written(), self.other.written()];
        let args = ["resume", id, "--headless", "--continue", "--retry", gate];
        let done = self.command(&args, environment);
        let said = done.both();
        assert!(
            [1, 3, 5].contains(&done.code),
            "{way}: {}\n{said}",
            done.code
        );
        assert!(said.contains(says), "{way}: {says}: {said}");
        assert!(
            !Path::new(&self.home.file("wrote")).exists(),
            "{way}: the script ran\n{said}"
        );
        let after = [self.ours.written(), self.other.written()];
        assert_eq!(before, after, "{way}: somebody wrote\n{said}");
        self.home.output(&["close", id]);
    }
}

#[test]
fn a_target_that_is_turned_in_the_middle_is_refused_before_anything_is_written() {
    let mut site = Site::new();
    let (ours, other) = (site.ours.kubeconfig(), site.other.kubeconfig());
    let part = |text: &str, key: &str| {
        let (_, rest) = text.split_once(key).unwrap();
        rest.split([',', ' ', '\n'])
            .find(|w| !w.is_empty())
            .unwrap()
            .trim_matches('"')
            .to_owned()
    };
    let server = |text: &str| part(text, "server: ");
    let authority = |text: &str| part(text, "certificate-authority-data: ");
    let write = |text: String| fs::write(site.config(), text).unwrap();

    // The straight way works, and is the only one that writes.
    let id = site.incident("native");
    site.home.write("go", "");
    site.command(
        &["resume", &id, "--headless", "--continue", "--retry", "gate"],
        &[],
    )
    .exits(0);
    assert_eq!(site.marks(), ["us", "nobody"]);
    let wrote = site.ours.written();
    assert!(
        wrote
            .iter()
            .any(|w| w.starts_with("admin patch") && w.ends_with("200")),
        "{wrote:?}"
    );
    site.straight();

    // Edited files.
    write(other.clone());
    site.refused("the kubeconfig of another cluster", "127.0.0.1", &[]);
    write(ours.replace(&server(&ours), &server(&other)));
    site.refused("another server under our authority", "TLS", &[]);
    write(ours.replace(&authority(&ours), &authority(&other)));
    site.refused("another authority for our server", "TLS", &[]);
    let skip = format!("insecure-skip-tls-verify: true, x: {}", authority(&ours));
    let insecure = ours.replace(&server(&ours), &server(&other)).replace(
        &format!("certificate-authority-data: {}", authority(&ours)),
        &skip,
    );
    write(insecure);
    site.refused("another server that nobody verifies", "127.0.0.1", &[]);
    write(ours.replace("https://127.0.0.1", "https://localhost"));
    site.refused("the same server under another name", "TLS", &[]);
    let both = |current: &str| {
        let cluster = format!(
            "clusters:\n- {{ name: that, cluster: {{ server: \"{}\", certificate-authority-data: {} }} }}\n",
            server(&other),
            authority(&other)
        );
        ours.replace("clusters:\n", &cluster)
            .replace(
                "contexts:\n",
                "contexts:\n- { name: that, context: { cluster: that, user: admin } }\n",
            )
            .replace(
                "current-context: admin",
                &format!("current-context: {current}"),
            )
    };
    write(both("that"));
    site.refused("kubectl config use-context", "127.0.0.1", &[]);
    write(both("admin").replace(
        "{ name: admin, context: { cluster: it,",
        "{ name: admin, context: { cluster: that,",
    ));
    site.refused("the context has another cluster", "127.0.0.1", &[]);
    write(both("admin").replace("name: that, context", "name: admin, context"));
    site.refused("a second context of the same name", "127.0.0.1", &[]);
    write(both("admin").replace("name: that, cluster", "name: it, cluster"));
    site.refused("a second cluster of the same name", "127.0.0.1", &[]);
    write(ours.replace("name: admin, context", "name: renamed, context"));
    site.refused("the context is gone", "no context `admin`", &[]);
    write(ours.replace("current-context: admin", ""));
    site.refused("no current context", "current context", &[]);
    write(String::new());
    site.refused("an empty file", "context", &[]);
    write("clusters: [".to_owned());
    site.refused("a broken file", "kubeconfig", &[]);
    let _ = fs::remove_file(site.config());
    site.refused("the file is gone", "kubeconfig", &[]);
    let elsewhere = site.home.write("other-config", &other);
    let _ = fs::remove_file(site.config());
    symlink(&elsewhere, site.config()).unwrap();
    site.refused("a link to another file", "127.0.0.1", &[]);
    site.straight();

    // Turned environment.
    site.refused(
        "another KUBECONFIG",
        "127.0.0.1",
        &[("KUBECONFIG", &elsewhere)],
    );
    let merged = format!("{elsewhere}:{}", site.config());
    site.refused(
        "another file before ours",
        "127.0.0.1",
        &[("KUBECONFIG", &merged)],
    );
    let kube = site.home.file("elsewhere/.kube");
    fs::create_dir_all(&kube).unwrap();
    fs::write(format!("{kube}/config"), &other).unwrap();
    let home = site.home.file("elsewhere");
    site.refused(
        "another home",
        "127.0.0.1",
        &[("HOME", &home), ("KUBECONFIG", "")],
    );

    // Turned people.
    let admin = "token: admin-token-of-the-test";
    write(ours.replace(admin, "token: expired"));
    site.refused("an expired token", "Unauthorized", &[]);
    write(ours.replace(admin, "token: viewer-token-of-the-test"));
    site.refused("the token of somebody who may not", "Forbidden", &[]);
    write(ours.replace(admin, "token: other-token-of-the-test"));
    site.refused("the token of somebody else who may", " as ", &[]);
    let plugin = r#"exec: { apiVersion: client.authentication.k8s.io/v1, command: "false", interactiveMode: Never }"#;
    write(ours.replace(admin, plugin));
    site.refused("a plugin that fails", "plugin", &[]);
    site.straight();

    // Turned clusters, each with an incident that began before.
    let ids = ["native", "script"].map(|go| site.incident(go));
    site.ours.stop();
    for (id, gate) in ids.iter().zip(["gate", "door"]) {
        site.home.write("go", "");
        let before = site.other.written();
        let done = site.command(
            &["resume", id, "--headless", "--continue", "--retry", gate],
            &[],
        );
        assert!(
            done.both().contains("connection refused"),
            "{}",
            done.both()
        );
        assert!(!Path::new(&site.home.file("wrote")).exists());
        assert_eq!(before, site.other.written());
    }
    // The same address, authority and certificate, but a cluster that was made anew.
    site.ours.made_anew();
    for (id, gate) in ids.iter().zip(["gate", "door"]) {
        site.goes_no_further(
            "a new cluster at the same address",
            "is not the pinned one",
            id,
            gate,
            &[],
        );
    }
    site.straight();
    let ns = json!({"metadata": {"name": "shop"}});
    site.ours.make("/api/v1/namespaces", &ns);
    let id = site.incident("native");
    site.ours
        .ask("DELETE", "/api/v1/namespaces/shop", &Value::Null);
    site.ours.ask("PUT", "/api/v1/namespaces/shop/finalize", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}, "spec": {"finalizers": []}}));
    eventually(PATIENCE, "a namespace that is gone", || {
        let all = site
            .ours
            .ask("GET", "/api/v1/namespaces", &Value::Null)
            .to_string();
        (!all.contains("\"name\":\"shop\"")).then_some(())
    });
    site.goes_no_further(
        "the namespace is gone",
        "there is no namespace shop",
        &id,
        "gate",
        &[],
    );
}

/// What a script finds, and a step that puts another cluster in the place of the first.
const SCRIPTS: &str = "blackstart: 1
id: scripts
title: Scripts
triage: { ask: What is broken?, choices: [ { answer: Everything, go: [look] } ] }
variables: { context: { type: text, default: admin }, new: { type: path, default: /dev/null } }
systems: { cluster: { kind: kubernetes, context: \"${context}\", namespace: shop } }
recovered: { when: { file: /, exists: true } }
procedures:
  - id: look
    title: Look
    needs: { systems: [cluster] }
    steps:
      - { id: see, title: See, budget: 1m, expect: one context, run: 'cat \"$KUBECONFIG\"; if echo x >>\"$KUBECONFIG\"; then exit 9; fi', verify: [{ script: 'cat \"$KUBECONFIG\"', expect: '/admin-token/' }] }
  - id: move
    title: Move
    needs: { systems: [cluster] }
    recovers: [cluster]
    steps:
      - { id: fetch, title: Fetch, budget: 1m, expect: new, run: 'cat \"$NEW\" >\"$BLACKSTART_KUBECONFIG_OUT\"', env: { NEW: \"${new}\" }, replaces: [cluster], set: { context: other }, verify: [{ kubernetes: cluster, reachable: true }] }
      - { id: change, title: Change, budget: 1m, expect: changed, kubernetes: { system: cluster, patch: configmap/mark, merge: { data: { by: us } } } }
";

#[test]
fn scripts_see_only_the_pinned_context_and_may_bring_a_new_cluster_that_a_person_confirms() {
    let site = Site::new();
    let runbook = site.home.write("scripts.yaml", SCRIPTS);
    let run = |args: &[&str]| {
        let mut all = vec!["run", &runbook, "--trust", "--json"];
        all.extend(args);
        site.command(&all, &[])
    };
    // All contexts are in the file; the script finds one, and cannot write to it.
    let all = site.ours.kubeconfig();
    assert!(all.contains("viewer-token-of-the-test"));
    let seen = run(&["--go", "look"]).exits(0);
    let last = seen.stdout.lines().last().unwrap();
    let summary: Value = serde_json::from_str(last).unwrap();
    let summary = &summary["summary"];
    let attempt = &crate::harness::bin::step(summary, "see")["attempts"][0];
    let log = site.home.log(summary, attempt);
    let found = log.lines().find(|l| l.starts_with('{')).unwrap_or_default();
    let found: Value = serde_json::from_str(found).unwrap_or_default();
    assert_eq!(found["contexts"].as_array().map(Vec::len), Some(1), "{log}");
    assert_eq!(found["users"].as_array().map(Vec::len), Some(1), "{log}");
    assert_eq!(found["current-context"], "admin", "{log}");
    assert!(!log.contains("viewer-token"), "{log}");

    // Another cluster takes its place: not unless it is named beforehand, and then for everything after.
    let new = site.home.write("new-kubeconfig", site.other.kubeconfig());
    let new = format!("new={new}");
    let refused = run(&["--go", "move", "--set", &new]).exits(3);
    assert!(
        refused.both().contains("--accept-identity cluster="),
        "{}",
        refused.both()
    );
    let uid = site
        .other
        .ask("GET", "/api/v1/namespaces/kube-system", &Value::Null);
    let uid = uid["metadata"]["uid"].as_str().unwrap().to_owned();
    let wrong = format!("cluster={}", "0".repeat(36));
    let done = run(&["--go", "move", "--set", &new, "--accept-identity", &wrong]);
    assert!([3, 5].contains(&done.code), "{}", done.both());
    assert_eq!(site.marks(), ["nobody", "nobody"]);
    let right = format!("cluster={uid}");
    run(&["--go", "move", "--set", &new, "--accept-identity", &right]).exits(0);
    assert_eq!(
        site.marks(),
        ["nobody", "us"],
        "the new cluster, and only that"
    );
}

fn as_viewer(site: &Site, runbook: &str) -> Finished {
    let go = ["run", runbook, "--trust", "--go", "all"];
    let with = ["--set", "context=viewer", "--approve", "gone=data"];
    site.command(&[&go[..], &with[..]].concat(), &[])
}

#[test]
fn rights_that_are_missing_are_named_before_anything_starts() {
    let site = Site::new();
    let runbook = site.home.write("rights.yaml", SCRIPTS.replace("id: scripts", "id: rights").replace(
        "      - { id: change,",
        "      - { id: gone, title: Gone, budget: 1m, expect: gone, danger: destroy, confirm: data, kubernetes: { system: cluster, delete: pvc/data } }\n      - { id: inside, title: Inside, budget: 1m, expect: in, kubernetes: { system: cluster, exec: deployment/web, command: [id] } }\n      - { id: change,",
    ).replace("procedures:\n  - id: look", "procedures:\n  - id: all\n    title: All\n    steps:\n      - include: { of: move, steps: [gone, inside, change] }\n        id: every\n        title: Every\n  - id: look"));
    let said = as_viewer(&site, &runbook);
    let said = said.exits(3).both();
    for right in [
        "delete persistentvolumeclaims (data) in shop",
        "create pods/exec in shop",
        "get deployments (web) in shop",
        "patch configmaps (mark) in shop",
    ] {
        assert!(said.contains(right), "{right}: {said}");
    }
    let listed = site.home.output(&["list", "--json"]).exits(0);
    assert_eq!(listed.stdout.trim(), "[]", "no incident");
    // In the cockpit they stand at Ready?, each in a row.
    let text = fs::read_to_string(&runbook)
        .unwrap()
        .replace("go: [look]", "go: [all]");
    let runbook = site.home.write("rights.yaml", text);
    site.home.output(&["trust", &runbook]).exits(0);
    let kubeconfig = site.config();
    let watched = Blackstart::new().with("KUBECONFIG", &kubeconfig);
    watched.output(&["trust", &runbook]).exits(0);
    let mut terminal = watched.terminal(&["open", &runbook, "--set", "context=viewer"], 100, 40);
    to_the_question(&terminal);
    crate::harness::pause(std::time::Duration::from_millis(450));
    terminal.send("\r");
    for right in [
        "MAY NOT delete persistentvolumeclaims \\(data\\) in shop",
        "MAY NOT create pods/exec in shop",
        "MAY NOT patch configmaps \\(mark\\) in shop",
    ] {
        terminal.wait_for_text(right, PATIENCE);
    }
    terminal.kill9();
    // One who may is not held up.
    let role = json!({ "metadata": { "name": "all" }, "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }] });
    site.ours
        .make("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role);
    site.ours.make(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        &json!({ "metadata": { "name": "all" }, "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all" }, "subjects": [{ "kind": "Group", "name": "viewers", "apiGroup": "rbac.authorization.k8s.io" }] }),
    );
    let done = as_viewer(&site, &runbook);
    assert_eq!(
        done.code,
        1,
        "there is no deployment, and that is another matter: {}",
        done.both()
    );
}

/// From an opening to its first question of the triage.
fn to_the_question(terminal: &Terminal) {
    terminal.wait_for_text("Since when", PATIENCE);
    crate::harness::pause(std::time::Duration::from_millis(450));
    terminal.send("now\r");
    terminal.wait_for_text("Everything", PATIENCE);
}

/// A credential plugin that asks for a code once, on a terminal, and remembers it.
const PLUGIN: &str = r#"#!/bin/sh
if ! [ -e "$CODE" ]; then
  if ! [ -t 0 ]; then echo "sign in first" >&2; exit 3; fi
  printf 'the code, please: ' >&2
  read -r code
  echo "$code" >"$CODE"
fi
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"admin-token-of-the-test"}}'
"#;

#[test]
fn a_plugin_signs_in_on_the_normal_screen_before_the_cockpit_takes_it() {
    let site = Site::new();
    let plugin = site.home.file("plugin");
    crate::harness::executable(Path::new(&plugin), PLUGIN);
    let exec = format!(
        "exec: {{ apiVersion: client.authentication.k8s.io/v1, command: {plugin}, interactiveMode: IfAvailable }}"
    );
    let kubeconfig = site
        .ours
        .kubeconfig()
        .replace("token: admin-token-of-the-test", &exec);
    let home = Blackstart::new();
    let config = home.write("kubeconfig", kubeconfig);
    let home = home
        .with("KUBECONFIG", config)
        .with("CODE", site.home.file("code"));
    let runbook = home.write("scripts.yaml", SCRIPTS);
    home.output(&["trust", &runbook]).exits(0);
    let mut terminal = home.terminal(&["open", &runbook], 100, 30);
    terminal.wait_for_text("sign in first", PATIENCE);
    terminal.wait_for_text("the code, please", PATIENCE);
    terminal.send("4711\r");
    to_the_question(&terminal);
    terminal.kill9();
    assert_eq!(
        fs::read_to_string(site.home.file("code")).unwrap(),
        "4711\n"
    );
}

#[test]
fn inside_a_cluster_its_service_account_is_enough() {
    let site = Site::new();
    let mut text = RUNBOOK.replace("id: turned", "id: inside");
    // Without `kubeconfig:` and `context:`, and with no kubeconfig anywhere.
    text = text.replace("run: 'test -e go'", "run: 'true'");
    let runbook = site.home.write("inside.yaml", text);
    site.home.output(&["trust", &runbook]).exits(0);
    let account = site.home.file("account");
    fs::create_dir(&account).unwrap();
    for (name, text) in [
        ("token", "admin-token-of-the-test".to_owned()),
        ("namespace", "shop".to_owned()),
        ("ca.crt", site.ours.authority()),
    ] {
        fs::write(format!("{account}/{name}"), text).unwrap();
    }
    let mut pod = std::process::Command::new(crate::harness::need("bwrap", "bubblewrap"));
    pod.args(["--dev-bind", "/", "/", "--tmpfs", "/run"])
        .args([
            "--ro-bind",
            &account,
            "/run/secrets/kubernetes.io/serviceaccount",
        ])
        .args(["--", crate::harness::bin::BINARY])
        .args(["run", &runbook, "--go", "native"])
        .env_clear()
        .envs(site.home.environment())
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", site.ours.port().to_string())
        .current_dir(site.home.file(""))
        .stdin(std::process::Stdio::null());
    crate::harness::bin::Running::start(pod)
        .finished(PATIENCE)
        .exits(0);
    assert_eq!(site.marks(), ["us", "nobody"]);
}
