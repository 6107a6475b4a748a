//! Every step of Ampora's recovery that needs neither a cluster nor a cloud, on real servers: the
//! database from its backups, the key from a secret manager, certificates, names, a login, an agent.
//!
//! Only Ampora itself is a stand-in: no real one can be had.

mod certificates;
pub(crate) mod site;

use crate::{
    harness::{
        PATIENCE,
        bin::{Run, attempts, step},
        free_port, need,
        postgres::{Cluster, PASSWORD, sql},
        process::{Daemon, end_servers},
        tools::SecretManager,
        until,
    },
    platform::{TENANTS, broken, fill, written},
};
use chrono::{DateTime, Duration, Utc};
use rustix::process::Signal;
use site::{KEY, Site, USER, assert_cause, assert_state, causes, fingerprint, log_of};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

/// A new server beside the damaged one, restored from its backups; ended with this.
struct Restored {
    data: PathBuf,
    port: u16,
}

impl Restored {
    fn beside_the_damaged(site: &mut Site) -> Self {
        let cluster = &broken().cluster;
        let port = free_port();
        let data = cluster.folder().join(format!("ampora-{port}"));
        site.set_new_server(&data, cluster.folder(), &cluster.backup_config(), port);
        site.set("new_stanza", format!("after-{port}"));
        site.set_old_database(cluster.port());
        Self { data, port }
    }

    fn run(&self, site: &mut Site, target: DateTime<Utc>, go: &[&str], more: &[&str]) -> Run {
        site.set("target", written(target));
        let (old, new) = (broken().cluster.port(), self.port);
        let old = format!("database=127.0.0.1:{old}");
        let new = format!("restored=127.0.0.1:{new}");
        let since = written(broken().history.lost);
        let mut args = vec!["--accept-identity", &old, "--accept-identity", &new];
        args.extend(["--since", &since]);
        args.extend(more);
        site.run("ampora", go, &args)
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        end_servers(&self.data);
        let _ = fs::remove_dir_all(&self.data);
    }
}

#[test]
fn ampora_comes_back_from_its_backups_with_its_key_its_login_and_its_agents() {
    let manager = SecretManager::start();
    // The key was rotated twice since: the one of the moment has no mark any more.
    let keys = [KEY, "the-key-of-later", "the-key-of-today"];
    let mut site = Site::that_runs().with_keys(&manager, &keys);
    let restored = Restored::beside_the_damaged(&mut site);
    let history = &broken().history;
    // Whoever goes on knows the database by its new address.
    let moved = format!("database=127.0.0.1:{}", restored.port);
    for (name, value) in [
        ("repo_dir", "/nowhere"),
        ("commit", "3f2c91ab"),
        ("app_image", "ampora:4.2.1"),
        ("sweep_off", "off"),
    ] {
        site.set(name, value);
    }
    let go = [
        "postgres/pgbackrest",
        "archiving",
        "master-key/aws",
        "manifests",
    ];
    let mut more = vec!["--accept-identity", &moved];
    let said = [
        "accept-data",
        "other-secrets",
        "edit-overlay",
        "start-service",
        "sessions",
    ];
    more.extend(said.iter().flat_map(|id| ["--confirm", id]));
    let run = restored.run(&mut site, history.before, &go, &more).exits(0);

    assert_eq!(run.summary["state"], "recovered");
    let database = [
        "programs",
        "info",
        "moment",
        "room",
        "keep-newer",
        "keep",
        "restore",
    ];
    assert_state(&run, &database, "succeeded");
    // No server runs on the new host.
    assert_state(&run, &["stop"], "skipped");
    let looked_at = [
        "start",
        "promoted",
        "content",
        "measure",
        "read-all",
        "audit-head",
    ];
    assert_state(&run, &looked_at, "succeeded");
    assert_state(
        &run,
        &["stanza-free", "archive-on", "first-backup"],
        "succeeded",
    );
    assert_state(
        &run,
        &["account", "key-version", "fetch", "fingerprint"],
        "succeeded",
    );
    assert_state(
        &run,
        &["live", "ready", "identity-provider", "login", "agent-tls"],
        "succeeded",
    );
    assert_state(&run, &["database-host"], "succeeded");
    // What is only done in Kubernetes says of itself that there is nothing to do.
    assert_state(&run, &["namespace", "inject", "key-read"], "skipped");

    // The data of the moment is there, on a server that writes; what came after is kept beside.
    let ask = |statement: &str| sql(restored.port, "arbitex", statement);
    assert_eq!(ask("SELECT count(*) FROM tenants"), TENANTS);
    assert_eq!(ask("SELECT pg_is_in_recovery()"), "f");
    let rpo = run.summary["objectives"]["rpo"]["measured_s"]
        .as_f64()
        .unwrap();
    let lost = (history.lost - history.newest).as_seconds_f64();
    assert!(
        (rpo - lost).abs() <= 1.0,
        "{rpo} s were measured, {lost} s were lost"
    );
    assert!(rpo > 0.0);
    let kept = fs::read_dir(&site.values["keep_dir"]).unwrap().flatten();
    let kept = kept
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|e| e == "csv"));
    let kept = fs::read_to_string(kept.expect("the events that were given up")).unwrap();
    assert!(
        kept.contains("a bad migration") && kept.contains("afterwards"),
        "{kept}"
    );
    assert_eq!(
        broken()
            .cluster
            .sql("arbitex", "SELECT count(*) FROM tenants"),
        "0"
    );

    // It archives again, under the new name, with a backup of its own.
    assert_eq!(ask("SELECT current_setting('archive_mode')"), "on");
    assert!(log_of(&site, &run, "first-backup").contains("new backup label"));

    // The key of the moment is in its file, and nowhere else.
    assert_eq!(fs::read_to_string(site.key_file()).unwrap(), KEY);
    assert_eq!(
        fs::metadata(site.key_file()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let fetched = log_of(&site, &run, "fetch");
    assert!(
        fetched.contains(&fingerprint(KEY)) && !fetched.contains(KEY),
        "{fetched}"
    );

    // A person would have got in, and an agent; nobody else.
    assert!(log_of(&site, &run, "login").contains(&format!("signed in as {USER}")));
    assert!(
        site.api
            .as_ref()
            .unwrap()
            .asked()
            .iter()
            .any(|path| path == "/home")
    );
    let agent = attempts(&run.summary, "agent-tls")[0]["checks"].to_string();
    assert!(
        agent.contains("agents are accepted, others are not"),
        "{agent}"
    );
    site.home.output(&["verify", &run.incident()]).exits(0);
}

#[test]
fn a_moment_after_the_newest_wal_is_refused_before_anything_is_changed() {
    let mut site = Site::new();
    let restored = Restored::beside_the_damaged(&mut site);
    let tomorrow = Utc::now() + Duration::days(1);
    site.set_what_validation_needs();
    let run = restored
        .run(&mut site, tomorrow, &["postgres/pgbackrest"], &[])
        .exits(1);
    assert_state(&run, &["programs", "info"], "succeeded");
    assert_state(&run, &["moment"], "failed");
    assert_cause(
        &run,
        "moment",
        "It lies before the end of the oldest backup, or after",
    );
    for id in ["keep-newer", "stop", "keep", "restore"] {
        assert!(
            attempts(&run.summary, id).is_empty(),
            "`{id}` follows a failed step"
        );
    }
    assert!(!restored.data.exists());
}

#[test]
fn a_moment_that_no_commit_reaches_ends_with_its_cause_and_without_a_server() {
    let mut site = Site::new();
    let restored = Restored::beside_the_damaged(&mut site);
    site.set_what_validation_needs();
    let cluster = &broken().cluster;
    // WAL goes on, but nothing is committed any more.
    cluster.sql("postgres", "ALTER SYSTEM SET autovacuum = off");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    let whole = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    let target = whole(cluster.clock() + 1);
    cluster.pass(target + Duration::seconds(1));
    cluster.sql(
        "postgres",
        "SELECT pg_create_restore_point('nothing is committed here')",
    );
    cluster.archive();
    let run = restored
        .run(&mut site, target, &["postgres/pgbackrest"], &[])
        .exits(1);
    assert_state(&run, &["moment", "keep", "restore"], "succeeded");
    let ended = ["start", "promoted"];
    let failed = ended
        .into_iter()
        .find(|id| step(&run.summary, id)["state"] == "failed");
    let failed = failed.unwrap_or_else(|| panic!("{:#}", run.summary));
    assert_cause(
        &run,
        failed,
        "The moment lies after the last commit in the archived WAL",
    );
    assert!(attempts(&run.summary, "content").is_empty());
}

#[test]
fn a_key_that_is_not_the_recorded_one_is_fetched_by_nobody_and_used_nowhere() {
    let manager = SecretManager::start();
    let mut site = Site::new().with_keys(&manager, &["another-key", "the-key-of-today"]);
    site.set_what_validation_needs();
    let confirmed = ["--confirm", "other-secrets"];
    let run = site.run("ampora", &["master-key/aws"], &confirmed).exits(1);
    assert_state(&run, &["account", "key-version"], "succeeded");
    assert_state(&run, &["fetch"], "failed");
    let all = causes(&run, "fetch");
    let rotated = |cause: &String| cause.contains("rotated");
    assert!(all.first().is_some_and(rotated), "{all:#?}");
    for id in ["fingerprint", "inject-file"] {
        assert!(
            attempts(&run.summary, id).is_empty(),
            "`{id}` follows a failed step"
        );
    }
    assert!(!site.key_file().exists());
    let log = log_of(&site, &run, "fetch");
    assert!(log.contains(&fingerprint("another-key")), "{log}");
    assert!(
        !log.contains("another-key") && !log.contains("the-key-of-today"),
        "{log}"
    );
}

#[test]
fn a_fenced_database_answers_and_takes_no_writes() {
    let mut site = Site::that_runs();
    let old = Cluster::start();
    fill(old.port(), 412);
    site.set("old_context", "none-here");
    site.set_old_database(old.port());
    let mut writer = Command::new(need("psql", "postgresql-client-15"));
    writer
        .args([
            "-XqAt",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-d",
            "arbitex",
        ])
        .args(["-p", &old.port().to_string(), "-c", "SELECT pg_sleep(3600)"])
        .env("PGPASSWORD", PASSWORD);
    let log = PathBuf::from(site.home.file("writer.log"));
    let mut writer = Daemon::start(&mut writer, log.clone(), Signal::KILL);
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    writer.ready(|| old.sql("postgres", busy) == "1");

    let accept = format!("database=127.0.0.1:{}", old.port());
    let more = ["--accept-identity", &accept, "--confirm", "elsewhere"];
    let run = site.run("ampora", &["fence"], &more).exits(0);
    assert_state(&run, &["stop-old"], "skipped");
    assert_state(&run, &["close-database"], "succeeded");
    until(PATIENCE, "the end of who was connected", || {
        fs::read_to_string(&log).is_ok_and(|said| said.contains("terminating connection"))
    });
    assert_eq!(old.sql("arbitex", "SELECT count(*) FROM tenants"), TENANTS);
    assert_eq!(old.sql("arbitex", "SHOW transaction_read_only"), "on");
    assert_eq!(old.sql("postgres", "SHOW transaction_read_only"), "off");
}
