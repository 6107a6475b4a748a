//! What comes in between: an API server that stops, hangs or is started anew, and a cockpit that is killed.
//! Nothing is done twice, and what nobody knows is called so.

use crate::{
    actions::{HEAD, Shop},
    harness::{
        Chance, PATIENCE,
        bin::{Blackstart, Running, step},
        eventually, loops, until,
    },
};
use serde_json::{Value, json};
use std::fs;

const START: &str = "#!/bin/sh\necho started\nexec sleep 100000\n";

fn pod(shop: &Shop, name: &str) {
    shop.cluster.image("app", "start", START);
    shop.cluster.make(
        "/api/v1/namespaces/shop/pods",
        &json!({ "metadata": { "name": name }, "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "app", "image": "app:1" }] } }),
    );
    ready(shop, name);
}

fn ready(shop: &Shop, name: &str) {
    eventually(PATIENCE, "a pod that is ready", || {
        let pod = shop.get(&format!("/api/v1/namespaces/shop/pods/{name}"));
        pod["status"]["phase"].eq("Running").then_some(())
    });
}

/// A step that runs in the background of its own home.
struct Going {
    home: Blackstart,
    running: Running,
}

impl Going {
    fn new(shop: &Shop, step: &str) -> Self {
        let home = Blackstart::new().with("NEW_PASSWORD", "hunter2-hunter2");
        home.write("kubeconfig", shop.cluster.kubeconfig());
        let runbook = home.write("act.yaml", format!("{HEAD}      - {step}\n"));
        let config = format!("config_file={}", home.file("kubeconfig"));
        let args = ["run", &runbook, "--trust", "--go", "act", "--set", &config];
        let running = home.spawn(&args);
        Self { home, running }
    }

    fn log(&self) -> String {
        let Some(incident) = self.home.incidents().pop() else {
            return String::new();
        };
        let log = self
            .home
            .incident_dir(&incident)
            .join("steps/01-a-a1/output.log");
        fs::read_to_string(log).unwrap_or_default()
    }

    #[track_caller]
    fn says(&self, text: &str) {
        eventually(PATIENCE, format!("`{text}` in the log"), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Outcome and reason of its only attempt.
    fn ends(self) -> (String, String) {
        let Self { home, running } = self;
        running.finished(PATIENCE * 2);
        came(&home)
    }
}

fn came(home: &Blackstart) -> (String, String) {
    let shown = home.show_json(&home.incident());
    let attempt = &step(&shown, "a")["attempts"][0];
    let text = |key: &str| attempt[key].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("reason"))
}

fn slow(shop: &Shop, sim: &str) {
    let labels = json!({ "app": "slow" });
    let container =
        json!([{ "name": "app", "image": "played:1", "env": [{ "name": "SIM", "value": sim }] }]);
    shop.cluster.make(
        "/apis/apps/v1/namespaces/shop/deployments",
        &json!({ "metadata": { "name": "slow" }, "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "terminationGracePeriodSeconds": 1, "containers": container } },
        } }),
    );
}

fn heal(shop: &Shop) {
    let container =
        json!([{ "name": "app", "image": "played:1", "env": [{ "name": "SIM", "value": "run" }] }]);
    shop.cluster.ask(
        "PATCH",
        "/apis/apps/v1/namespaces/shop/deployments/slow",
        &json!({ "spec": { "template": { "spec": { "containers": container } } } }),
    );
}

#[test]
fn a_wait_and_a_watch_go_on_after_an_api_server_that_hangs_or_is_started_anew() {
    let mut shop = Shop::open();
    slow(&shop, "wait");
    let wait = Going::new(
        &shop,
        "{ id: a, title: A, budget: 5m, expect: done, kubernetes: { system: cluster, scale: deployment/slow, replicas: 1 } }",
    );
    let watch = Going::new(
        &shop,
        "{ id: a, title: A, budget: 5m, check: { kubernetes: cluster, get: deployment/slow, json: { /status/readyReplicas: \"1\" }, within: 5m, every: 30s } }",
    );
    wait.says("0 of 1 ready");
    watch.says("/status/readyReplicas nothing; waiting");
    // It hangs: said, and nothing else happens.
    shop.cluster.hang();
    wait.says("cannot look: the API server does not answer in time; looking again");
    // A cockpit beside it still answers its keys.
    let screen = wait.home.terminal(&["resume"], 100, 30);
    screen.wait_for_text("output|held|open elsewhere|another", PATIENCE);
    shop.cluster.go_on();
    shop.cluster.start_again();
    wait.says("0 of 1 ready");
    // Anew: the watch sees what is done now at once, long before it would ask again.
    eventually(PATIENCE, "a cluster that answers", || {
        let slow = shop.get("/apis/apps/v1/namespaces/shop/deployments/slow");
        slow["metadata"]["name"].is_string().then_some(())
    });
    heal(&shop);
    assert_eq!(wait.ends().0, "succeeded");
    assert_eq!(watch.ends().0, "succeeded");
    let scaled = shop.cluster.written();
    let scaled = scaled.iter().filter(|w| w.contains("/scale"));
    assert_eq!(scaled.count(), 1, "sent once, whatever came in between");
}

#[test]
fn a_command_in_a_pod_outlives_an_api_server_that_hangs_and_is_unknown_after_one_that_stops() {
    let mut shop = Shop::open();
    pod(&shop, "worker");
    let words = "{ id: a, title: A, budget: 5m, expect: went, kubernetes: { system: cluster, exec: pod/worker, command: [sh, -c, 'echo begun; while ! [ -e /tmp/GO ]; do sleep 0.1; done; echo went'] } }";
    let going = Going::new(&shop, &words.replace("GO", "go1"));
    going.says("begun");
    shop.cluster.hang();
    going.says("does not answer; the command in pod/worker may go on, waiting");
    shop.cluster.go_on();
    going.says("the API server answers again");
    shop.good("exec: pod/worker, command: [touch, /tmp/go1]", &[]);
    going.says("went");
    assert_eq!(going.ends().0, "succeeded");

    let going = Going::new(&shop, &words.replace("GO", "go2"));
    going.says("begun");
    shop.cluster.start_again();
    going.says("the connection to pod/worker was lost");
    let (outcome, reason) = going.ends();
    assert_eq!(outcome, "unknown", "{reason}");
    assert!(
        reason.contains("nobody knows whether the command ended"),
        "{reason}"
    );

    // A pod that goes away under it is not success either.
    let going = Going::new(&shop, &words.replace("GO", "go3"));
    going.says("begun");
    shop.good("delete: pod/worker", &["pod/worker is gone"]);
    let (outcome, reason) = going.ends();
    assert_ne!(outcome, "succeeded", "{reason}");
}

/// Kills the cockpit at a random moment, then takes in what became of its step.
fn killed(shop: &Shop, words: &str, chance: &mut Chance) -> (Blackstart, Option<String>) {
    let Going { home, mut running } = Going::new(shop, words);
    if !running.ends_within(chance.millis(900)) {
        running.kill9();
    }
    let Some(incident) = home.incidents().pop() else {
        return (home, None);
    };
    if home.journal(&incident).is_empty() {
        return (home, None);
    }
    // What the dead cockpit started goes on and is waited for; nothing is started again.
    home.output(&["resume", &incident, "--headless"]);
    let shown = home.show_json(&incident);
    let attempts = step(&shown, "a")["attempts"].as_array().cloned();
    let attempts = attempts.unwrap_or_default();
    assert!(attempts.len() <= 1, "{shown:#}");
    let outcome = attempts
        .first()
        .map(|a| a["outcome"].as_str().unwrap_or_default().to_owned());
    (home, outcome)
}

#[test]
fn a_killed_cockpit_does_nothing_twice_in_a_cluster_and_invents_no_outcome() {
    let shop = Shop::open();
    pod(&shop, "worker");
    let rounds = loops(4, 50);
    let mut chance = Chance::new(20_260_311);
    let mut knew = 0;
    let mut settle = |outcome: &Option<String>, done: bool, what: &str| {
        match outcome.as_deref() {
            Some("succeeded") => assert!(done, "{what}: succeeded, and not done"),
            Some("unknown") | None => {}
            other => panic!("{what}: {other:?}"),
        }
        knew += usize::from(outcome.is_some());
    };
    for round in 0..rounds {
        // A command in a pod: at most one mark for a round.
        let words = format!(
            "{{ id: a, title: A, budget: 1m, expect: done, kubernetes: {{ system: cluster, exec: pod/worker, command: [sh, -c, 'echo {round} >>/tmp/marks; sleep 0.2'] }} }}"
        );
        let (_home, outcome) = killed(&shop, &words, &mut chance);
        let marks = shop.act("exec: pod/worker, command: [cat, /tmp/marks]").log;
        let marks = marks.lines().filter(|l| *l == round.to_string()).count();
        assert!(marks <= 1, "round {round}: {marks} marks");
        settle(&outcome, marks == 1, "exec");

        // An apply: at most one write that is not for show.
        let words = format!(
            "{{ id: a, title: A, budget: 1m, expect: done, kubernetes: {{ system: cluster, apply: [{{ apiVersion: v1, kind: ConfigMap, metadata: {{ name: applied-{round} }} }}] }} }}"
        );
        let (_home, outcome) = killed(&shop, &words, &mut chance);
        let written = shop.cluster.written();
        let real = |w: &&String| {
            w.contains(&format!("configmaps/applied-{round}?")) && !w.contains("dryRun")
        };
        let wrote = written.iter().filter(real).count();
        assert!(wrote <= 1, "round {round}: {wrote} writes");
        settle(&outcome, wrote == 1, "apply");

        // A deletion: asked for once.
        let name = format!("gone-{round}");
        let path = format!("/api/v1/namespaces/shop/configmaps/{name}");
        shop.cluster.make(
            "/api/v1/namespaces/shop/configmaps",
            &json!({ "metadata": { "name": name, "finalizers": ["shop/held"] } }),
        );
        let words = format!(
            "{{ id: a, title: A, budget: 1m, expect: done, danger: change, kubernetes: {{ system: cluster, delete: configmap/{name}, timeout: 30s }} }}"
        );
        let waiting = std::thread::scope(|scope| {
            let deleting = scope.spawn(|| killed(&shop, &words, &mut chance));
            // It is held until it was asked for, or the round is over without it.
            let mut done = None;
            until(PATIENCE, "the end of the round", || {
                let all = shop.get("/api/v1/namespaces/shop/configmaps");
                let held = all["items"].as_array().into_iter().flatten();
                let held = held.into_iter().any(|c| {
                    c["metadata"]["name"] == name.as_str()
                        && c["metadata"]["deletionTimestamp"].is_string()
                });
                if held {
                    shop.cluster.ask(
                        "PATCH",
                        &path,
                        &json!({ "metadata": { "finalizers": null } }),
                    );
                }
                done = deleting.is_finished().then_some(());
                done.is_some()
            });
            deleting.join().unwrap()
        });
        let (_home, outcome) = waiting;
        let written = shop.cluster.written();
        let asked = written
            .iter()
            .filter(|w| w.contains(" delete ") && w.contains(&format!("configmaps/{name} ")))
            .count();
        assert!(asked <= 1, "round {round}: deleted {asked} times");
        settle(&outcome, asked == 1, "delete");

        // A look that waits: it is the same when somebody comes back.
        let name = format!("awaited-{round}");
        let words = format!(
            "{{ id: a, title: A, budget: 1m, check: {{ kubernetes: cluster, get: configmap/{name}, within: 1m, every: 30s }} }}"
        );
        let (_home, outcome) = std::thread::scope(|scope| {
            let watching = scope.spawn(|| killed(&shop, &words, &mut chance));
            crate::harness::pause(std::time::Duration::from_millis(1200));
            shop.cluster.make(
                "/api/v1/namespaces/shop/configmaps",
                &json!({ "metadata": { "name": name } }),
            );
            watching.join().unwrap()
        });
        settle(&outcome, true, "watch");
    }
    assert!(knew >= rounds, "most rounds got as far as a start");
    let all = shop.get("/api/v1/namespaces/shop/configmaps");
    assert_ne!(all, Value::Null);
}
