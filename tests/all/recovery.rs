//! A damaged PostgreSQL is brought back, with real backups, and only what is whole counts.

use crate::{
    harness::{
        bin::{Blackstart, Run, attempts, ended, names, of_type, step},
        fixture, free_port, must, need,
        postgres::{Cluster, PASSWORD, owner_script, sql},
        process::end_servers,
        search_path,
    },
    platform::{Broken, TENANTS, broken, fill, written},
};
use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One restore of the damaged platform, beside it.
///
/// Its server is ended with it.
struct Restore {
    home: Blackstart,
    platform: &'static Broken,
    runbook: String,
    port: u16,
}

impl Restore {
    fn with(runbook: &str) -> Self {
        let home = Blackstart::new().with("DB_PASSWORD", PASSWORD);
        Self {
            runbook: home.write("pitr.yaml", runbook),
            home,
            platform: broken(),
            port: free_port(),
        }
    }

    fn folder(&self) -> PathBuf {
        let beside = self.platform.cluster.folder();
        beside.join(format!("restored-{}", self.port))
    }

    /// The arguments of `run`, but for the new address that a person accepts.
    fn without_acceptance(&self, target: DateTime<Utc>) -> Vec<String> {
        let cluster = &self.platform.cluster;
        let mut args = vec![self.runbook.clone(), "--trust".into()];
        let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
        option("--go", "postgres/pitr".into());
        option("--severity", "P1".into());
        option("--since", written(self.platform.history.lost));
        let old = cluster.port();
        option("--accept-identity", format!("database=127.0.0.1:{old}"));
        for (name, value) in [
            ("db_port", old.to_string()),
            ("target", written(target)),
            ("restored_port", self.port.to_string()),
            ("restored_dir", shown(&self.folder())),
            ("sockets", shown(cluster.folder())),
            ("dump_dir", self.home.file("dumps")),
            ("backup_config", shown(&cluster.backup_config())),
            ("as_owner", shown(owner_script())),
        ] {
            option("--set", format!("{name}={value}"));
        }
        args
    }

    fn arguments(&self, target: DateTime<Utc>) -> Vec<String> {
        let mut args = self.without_acceptance(target);
        args.push("--accept-identity".into());
        args.push(format!("database=127.0.0.1:{}", self.port));
        args
    }

    fn run(&self, target: DateTime<Utc>) -> Run {
        self.home.run(&self.arguments(target))
    }

    fn exports(&self, incident: &str) -> (String, Value) {
        let markdown = self.home.export(incident, "markdown");
        let json = self.home.export(incident, "json");
        (markdown, serde_json::from_str(&json).unwrap())
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        end_servers(&self.folder());
        let _ = fs::remove_dir_all(self.folder());
    }
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Every check that any attempt made.
fn checks(shown: &Value) -> Vec<&Value> {
    let steps = shown["steps"].as_array().expect("`steps`");
    let attempts = steps
        .iter()
        .filter_map(|step| step["attempts"].as_array())
        .flatten();
    attempts
        .filter_map(|attempt| attempt["checks"].as_array())
        .flatten()
        .collect()
}

fn failed_checks(shown: &Value) -> Vec<&Value> {
    let mut all = checks(shown);
    all.retain(|check| check["passed"] == false);
    all
}

/// The runbook with the script of one step replaced by `true`.
fn without_action(runbook: &str, step: &str) -> String {
    let mut out = Vec::new();
    let (mut inside, mut script): (bool, Option<usize>) = (false, None);
    for line in runbook.lines() {
        let indent = line.len() - line.trim_start().len();
        if script.is_some_and(|depth| indent > depth) {
            continue;
        }
        script = None;
        if let Some(id) = line.trim_start().strip_prefix("- id: ") {
            inside = id == step;
        }
        if inside && line.trim() == "run: |" {
            script = Some(indent);
            out.push(format!("{}run: \"true\"", " ".repeat(indent)));
        } else {
            out.push(line.to_owned());
        }
    }
    let edited = out.join("\n") + "\n";
    assert_ne!(edited, runbook, "`{step}` has a script");
    edited
}

fn assert_not_recovered(shown: &Value) {
    assert_eq!(shown["state"], "open", "{shown:#}");
    assert!(shown["recovered_at"].is_null(), "{shown:#}");
    assert!(shown["objectives"]["rto"]["met"].is_null(), "{shown:#}");
}

#[test]
fn tenants_emptied_by_a_bad_migration_come_back_from_the_moment_before() {
    let restore = Restore::with(&fixture("pitr.yaml"));
    let platform = restore.platform;
    let run = restore.run(platform.history.before).exits(0);
    let (incident, shown) = (run.incident(), &run.summary);

    assert_eq!(shown["state"], "recovered");
    assert_eq!(shown["mode"], "live");
    assert_eq!(shown["severity"], "P1");
    assert_eq!(shown["runbook"]["id"], "tenants");
    for id in ["preserve", "restore", "rules", "newest", "accounts"] {
        assert_eq!(step(shown, id)["state"], "succeeded", "{id}");
        assert_eq!(attempts(shown, id).len(), 1, "{id}");
    }
    let tried = &attempts(shown, "restore")[0];
    assert_eq!(ended(tried), ("succeeded", 0));
    let counted = tried["checks"].as_array().expect("`checks`");
    let counted = counted.iter().find(|c| c["expected"] == "== 412");
    let counted = counted.unwrap_or_else(|| panic!("the count is shown: {tried:#}"));
    assert_eq!(counted["seen"], TENANTS);
    assert_eq!(counted["verdict"], "holds");
    assert_eq!(counted["passed"], true);
    assert_eq!(counted["phase"], "verify");

    // The clocks: since the loss, and back to the newest row that came back.
    let (rto, rpo) = (&shown["objectives"]["rto"], &shown["objectives"]["rpo"]);
    for objective in [rto, rpo] {
        assert_eq!(objective["target_s"], 7200, "{objective}");
        assert_eq!(objective["met"], true, "{objective}");
    }
    assert_near(
        rpo["measured_s"].as_f64(),
        platform.history.lost - platform.history.newest,
    );
    assert_near(
        rpo["stores"]["database"].as_f64(),
        platform.history.lost - platform.history.newest,
    );
    let recovered_at = shown["recovered_at"].as_str().expect("`recovered_at`");
    let recovered_at = DateTime::parse_from_rfc3339(recovered_at).unwrap();
    assert_near(
        rto["actual_s"].as_f64(),
        recovered_at.to_utc() - platform.history.lost,
    );

    // The restored database is the good one; the damaged one is as it was, and kept.
    let count = "SELECT count(*) FROM tenants";
    assert_eq!(sql(restore.port, "arbitex", count), TENANTS);
    assert_eq!(platform.cluster.sql("arbitex", count), "0");
    let kept = restore.home.file("dumps/broken.dump");
    let mut list = Command::new(need("pg_restore", "postgresql-client-15"));
    must(list.arg("--list").arg(kept));

    // What was printed is what is written down, in order, and whole.
    assert_eq!(run.journal, restore.home.journal(&incident));
    let numbers: Vec<i64> = run
        .journal
        .iter()
        .map(|e| e["seq"].as_i64().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    assert_eq!(of_type(&run.journal, "opened").len(), 1);
    assert_eq!(of_type(&run.journal, "recovered").len(), 1);
    restore.home.output(&["verify", &incident]).exits(0);

    // Whoever asks later is told the same.
    assert_eq!(restore.home.show_json(&incident), run.summary);
    let listed = restore.home.list_json();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], incident.as_str());
    assert_eq!(listed[0]["state"], "recovered");
    assert_eq!(listed[0]["running"], Value::Array(vec![]));

    // And the timeline can be handed to anyone.
    let (markdown, json) = restore.exports(&incident);
    for text in [markdown, json.to_string()] {
        for part in [
            "Keep the broken state",
            "Restore beside it to the moment before",
            TENANTS,
            "P1",
        ] {
            assert!(text.contains(part), "the timeline shows `{part}`:\n{text}");
        }
        assert!(
            text.contains(&incident),
            "the timeline names its incident:\n{text}"
        );
    }
}

#[track_caller]
fn assert_near(seconds: Option<f64>, expected: Duration) {
    let expected = expected.as_seconds_f64();
    let seconds = seconds.expect("a number of seconds");
    assert!(
        (seconds - expected).abs() <= 1.0,
        "{seconds} s is not {expected} s"
    );
}

#[test]
fn a_restore_to_one_second_after_the_loss_never_reaches_recovered() {
    let restore = Restore::with(&fixture("pitr.yaml"));
    let run = restore.run(restore.platform.history.after).exits(1);
    assert_not_recovered(&run.summary);
    let tried = &attempts(&run.summary, "restore")[0];
    // The restore itself went well: the check is what tells.
    assert_eq!(ended(tried), ("failed", 0), "{tried:#}");
    let seen: Vec<&Value> = failed_checks(&run.summary)
        .iter()
        .map(|c| &c["seen"])
        .collect();
    assert_eq!(seen, ["0"]);
    assert!(of_type(&run.journal, "recovered").is_empty());
    assert!(
        attempts(&run.summary, "rules").is_empty(),
        "nothing follows a failed step"
    );
}

#[test]
fn an_action_of_the_restore_that_does_nothing_turns_a_check_red() {
    for id in ["preserve", "restore"] {
        let restore = Restore::with(&without_action(&fixture("pitr.yaml"), id));
        let run = restore.run(restore.platform.history.before).exits(1);
        assert_not_recovered(&run.summary);
        assert_eq!(step(&run.summary, id)["state"], "failed", "{id}");
        let last = &attempts(&run.summary, id)[0];
        assert_eq!(last["exit_code"], 0, "{id}: the script itself is content");
        assert!(!failed_checks(&run.summary).is_empty(), "{id}: {last:#}");
    }
}

#[test]
fn a_target_before_the_backup_is_explained_corrected_and_tried_again() {
    let restore = Restore::with(&fixture("pitr.yaml"));
    let long_ago = restore.platform.history.before - Duration::days(900);
    let run = restore.run(long_ago).exits(1);
    let incident = run.incident();
    assert_not_recovered(&run.summary);
    let tried = &attempts(&run.summary, "restore")[0];
    assert_eq!(ended(tried), ("failed", 75));
    let cause = &tried["causes"][0];
    assert_eq!(
        cause["cause"], "The moment to restore to lies before the oldest backup",
        "{tried:#}"
    );
    let line = cause["line"].as_u64().expect("the line that matched");
    let log = restore.home.log(&run.summary, tried);
    let matched = log.lines().nth(usize::try_from(line).unwrap() - 1);
    assert!(
        matched.is_some_and(|l| l.contains("[075]") || l.contains("unable to find backup set")),
        "line {line} of\n{log}"
    );
    assert_eq!(of_type(&run.journal, "causes-found").len(), 1);

    let target = format!("target={}", written(restore.platform.history.before));
    let resumed = restore.home.resume(&[
        incident.as_str(),
        "--retry",
        "restore",
        "--continue",
        "--set",
        &target,
    ]);
    let shown = resumed.exits(0).summary;
    assert_eq!(shown["state"], "recovered");
    let outcomes: Vec<&Value> = attempts(&shown, "restore")
        .iter()
        .map(|a| &a["outcome"])
        .collect();
    assert_eq!(outcomes, ["failed", "succeeded"]);
    assert_eq!(
        attempts(&shown, "preserve").len(),
        1,
        "what was done is not done again"
    );
    let journal = restore.home.journal(&incident);
    let started = of_type(&journal, "attempt-started");
    assert_eq!(started.iter().filter(|e| names(e, "restore")).count(), 2);
    restore.home.output(&["verify", &incident]).exits(0);

    let (markdown, json) = restore.exports(&incident);
    for text in [markdown, json.to_string()] {
        for part in ["lies before the oldest backup", "failed", "succeeded", "75"] {
            assert!(text.contains(part), "the timeline shows `{part}`:\n{text}");
        }
    }
}

#[test]
fn the_target_does_not_move_to_an_identity_that_nobody_accepted() {
    let restore = Restore::with(&fixture("pitr.yaml"));
    let before = restore.platform.history.before;
    let refused = restore
        .home
        .output(&[vec!["run".into()], restore.without_acceptance(before)].concat());
    refused.exits(3).says("accept-identity");
    assert!(
        restore.home.incidents().is_empty(),
        "what is missing is said before anything starts"
    );

    let mut args = restore.without_acceptance(before);
    args.extend([
        "--accept-identity".into(),
        format!("database=127.0.0.1:{}/1", restore.port),
    ]);
    let run = restore.home.run(&args);
    assert!([3, 5].contains(&run.done.code), "{}", run.done);
    assert!(of_type(&run.journal, "recovered").is_empty());
}

/// A platform with a dump to come back from.
struct FromDump {
    home: Blackstart,
    cluster: Cluster,
}

impl FromDump {
    fn new() -> Self {
        let cluster = Cluster::start();
        fill(cluster.port(), 412);
        Self {
            home: Blackstart::new().with("DB_PASSWORD", PASSWORD),
            cluster,
        }
    }

    fn run(&self, runbook: &str) -> Run {
        let runbook = self.home.write("dump.yaml", runbook);
        let address = format!("database=127.0.0.1:{}", self.cluster.port());
        let port = format!("db_port={}", self.cluster.port());
        let file = format!("dump_file={}", self.home.file("arbitex.dump"));
        self.home.run(&[
            runbook.as_str(),
            "--trust",
            "--go",
            "postgres",
            "--accept-identity",
            &address,
            "--set",
            &port,
            "--set",
            &file,
        ])
    }
}

#[test]
fn a_database_comes_back_from_its_dump() {
    let platform = FromDump::new();
    let run = platform.run(&fixture("dump.yaml")).exits(0);
    assert_eq!(run.summary["state"], "recovered");
    let count = "SELECT count(*) FROM tenants";
    assert_eq!(platform.cluster.sql("arbitex_restored", count), TENANTS);
    assert_eq!(platform.cluster.sql("arbitex", count), "0");
    platform.home.output(&["verify", &run.incident()]).exits(0);
}

#[test]
fn an_action_of_the_dump_that_does_nothing_turns_a_check_red() {
    for id in ["dump", "lose", "create", "restore"] {
        let platform = FromDump::new();
        let run = platform
            .run(&without_action(&fixture("dump.yaml"), id))
            .exits(1);
        assert_not_recovered(&run.summary);
        assert_eq!(step(&run.summary, id)["state"], "failed", "{id}");
        assert!(!failed_checks(&run.summary).is_empty(), "{id}");
    }
}

#[test]
fn another_server_behind_the_same_address_is_not_changed() {
    let (cluster, stranger) = (Cluster::start(), Cluster::stranger());
    let home = Blackstart::new().with("DB_PASSWORD", PASSWORD);
    let runbook = home.write("stranger.yaml", fixture("stranger.yaml"));
    let marks = home.file("marks");
    let address = format!("database=127.0.0.1:{}", cluster.port());
    let mut args = vec![runbook, "--trust".into(), "--go".into(), "swap".into()];
    args.extend(["--accept-identity".into(), address]);
    for (name, value) in [
        ("db_port", cluster.port().to_string()),
        ("own_dir", shown(&cluster.data())),
        ("stranger_dir", shown(&stranger.data())),
        ("sockets", shown(stranger.folder())),
        ("as_owner", shown(owner_script())),
        ("marks", marks.clone()),
    ] {
        args.extend(["--set".into(), format!("{name}={value}")]);
    }
    let run = home.run(&args).exits(5);
    assert_eq!(step(&run.summary, "exchange")["state"], "succeeded");
    assert!(
        fs::metadata(&marks).is_err(),
        "the change reached the stranger"
    );
    assert!(of_type(&run.journal, "recovered").is_empty());
    run.done
        .says("(?i)identity|not the pinned|system.identifier");
    assert_ne!(
        identifier(&cluster),
        identifier(&stranger),
        "or the test shows nothing"
    );
}

fn identifier(cluster: &Cluster) -> String {
    let mut control = Command::new(need("pg_controldata", "postgresql-15"));
    control
        .arg(cluster.data())
        .env("PATH", search_path())
        .env("LC_ALL", "C");
    let printed = must(&mut control);
    let line = printed
        .lines()
        .find(|l| l.starts_with("Database system identifier"));
    line.unwrap().to_owned()
}
