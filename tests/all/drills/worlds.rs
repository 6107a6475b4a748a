//! What a sandbox is: cut off, alone, told when it ends, and removed whole.

use super::*;
use crate::harness::{free_port, process::send};
use rustix::process::Signal;
use std::net::TcpListener;

/// A sandbox that stays up, and the numbers of its supervisor.
fn kept(drill: &Drill) -> Value {
    drill
        .run(&[
            "--scenario",
            "redis-shadowed",
            "--seed",
            "3",
            "--headless",
            "--keep",
        ])
        .exits(0);
    drill.sandbox().1
}

fn inside(drill: &Drill, script: &str) -> bool {
    drill.inside(&["bash", "-c", script]).code == 0
}

#[test]
fn a_sandbox_reaches_nothing_outside_and_is_removed_whole() {
    let drill = Drill::new();
    let state = kept(&drill);

    // What listens on this machine is not there, under the same address; what is the drill's own is.
    let outside = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = outside.local_addr().unwrap().port();
    assert!(!inside(
        &drill,
        &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")
    ));
    assert!(inside(&drill, "exec 3<>/dev/tcp/api.arbitex.io/443"));
    assert!(!inside(&drill, "getent hosts example.com"));

    drill.run(&["--clean"]).exits(0);
    drill.nothing_is_left();
    let net = state["net"].as_u64().unwrap();
    let there = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let link = fs::read_link(entry.path().join("ns/net")).unwrap_or_default();
        link.to_string_lossy().contains(&net.to_string())
    });
    assert!(!there, "no process is in its network any more");
}

#[test]
fn a_sandbox_whose_supervisor_was_killed_is_said_to_have_ended_and_runs_nothing() {
    let drill = Drill::new();
    let state = kept(&drill);
    let incident = drill.home.incident();
    send(
        u32::try_from(state["pid"].as_u64().unwrap()).unwrap(),
        Signal::KILL,
    );
    eventually(Duration::from_secs(20), "the end of the supervisor", || {
        let done = drill.home.output(&["resume", &incident, "--headless"]);
        done.stdout
            .contains("the sandbox of this drill has ended")
            .then_some(())
    });
    let again = drill
        .home
        .output(&["resume", &incident, "--headless", "--retry", "health"]);
    assert!(
        again.stderr.contains("the sandbox of this drill has ended"),
        "{again}"
    );
    let before = drill.home.show_json(&incident);
    assert_eq!(
        step(&before, "health")["attempts"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "nothing was started"
    );
    drill.run(&["--clean"]).exits(0);
    drill.nothing_is_left();
}

#[test]
fn the_record_of_a_drill_says_what_an_auditor_asks_and_history_counts_it() {
    let drill = Drill::new();
    drill
        .run(&["--scenario", "redis-lost", "--seed", "5", "--headless"])
        .exits(0);
    let incident = drill.home.incident();
    let record = drill.home.export(&incident, "markdown");
    for part in [
        "# DRILL",
        "## Drill record",
        "World | simulated",
        "Not production: cluster",
        "People",
        "Clean-up",
        "Result | recovered",
        "### Elapsed against budget",
        "### What was checked",
        "### Deviations",
        "### Actions",
        "### Attestation",
        "The append-only file of Redis is damaged",
    ] {
        assert!(record.contains(part), "{part}\n{record}");
    }
    let told = drill
        .home
        .output(&["history", "arbitex", "--json"])
        .exits(0);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told[0]["drills"], 1);
    assert_eq!(told[0]["overdue"], false);
    let steps = told[0]["steps"].as_array().unwrap();
    assert!(
        steps
            .iter()
            .any(|s| s["step"] == "redis/rdb/keys" && s["times"][0][1] == "simulated"),
        "{steps:#?}"
    );
    let never = told[0]["never"].as_array().unwrap();
    assert!(
        never.iter().any(|s| s == "aks/backup/restore"),
        "{never:#?}"
    );
    // Cron learns that the other one is overdue.
    drill.home.output(&["history", "ampora"]).exits(1);
}

#[test]
fn a_sandbox_is_no_site_from_outside_and_what_is_broken_is_not_told() {
    let drill = Drill::new();
    let file = drill.home.write(
        "site.yaml",
        "{ site: sandbox-1, runbook: arbitex, kind: sandbox }",
    );
    let refused = drill
        .home
        .output(&["run", "arbitex", "--site", &file, "--go", "redis/rdb"])
        .exits(2);
    assert!(
        refused
            .stderr
            .contains("is a sandbox, and this is not in it"),
        "{refused}"
    );
    let unknown = drill.run(&["--scenario", "redis-lots"]).exits(2);
    assert!(unknown.stderr.contains("redis-lost"), "{unknown}");
}
