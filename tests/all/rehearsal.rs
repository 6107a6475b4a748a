//! A drill with real backups in a scratch place: proved to be none of production's before anything else,
//! removed afterwards, and in between the two failures that only a restore finds.

use crate::{
    ampora::site::{KEY, Site, assert_cause, assert_state, causes, log_of},
    harness::{
        bin::{Run, attempts},
        free_port, must,
        postgres::{Cluster, owner_script},
        process::end_servers,
        scratch,
        tools::SecretManager,
    },
    platform::{TENANTS, broken, fill, written},
};
use chrono::{DateTime, TimeDelta, Utc};
use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// A scratch place for the backups of a database: a copy of the repository that its user can only read.
struct Scratch {
    site: Site,
    folder: PathBuf,
    data: PathBuf,
}

impl Scratch {
    fn of(cluster: &Cluster, mut site: Site, target: DateTime<Utc>) -> Self {
        let folder = folder("rehearsal");
        must(Command::new("chmod").arg("0777").arg(&folder));
        let repository = folder.join("repo");
        must(
            Command::new("cp")
                .arg("-a")
                .arg(cluster.folder().join("repo"))
                .arg(&repository),
        );
        must(
            Command::new("chown")
                .args(["-R", "root:root"])
                .arg(&repository),
        );
        must(
            Command::new("chmod")
                .args(["-R", "a+rX,a-w"])
                .arg(&repository),
        );
        let here = folder.display();
        let config = folder.join("pgbackrest.conf");
        let text = format!(
            "[global]\nrepo1-path={here}/repo\nlock-path={here}/lock\nspool-path={here}/spool\nlog-path={here}/log\n\
             log-level-file=off\n\n[main]\npg1-path={here}/data\n"
        );
        fs::write(&config, text).unwrap();
        let data = folder.join("data");
        site.set_new_server(&data, &folder, &config, free_port());
        site.set("target", written(target));
        site.set_old_database(free_port());
        site.set_what_validation_needs();
        Self { site, folder, data }
    }

    /// For the backups of the damaged platform.
    fn of_broken(manager: &SecretManager, versions: &[&str]) -> Self {
        let broken = broken();
        Self::of(
            &broken.cluster,
            keys(manager, versions),
            broken.history.before,
        )
    }

    fn text(&self, kind: &str) -> String {
        let mut variables = String::new();
        for (name, value) in &self.site.values {
            variables.push_str(&format!("  {name}: {value:?}\n"));
        }
        let (data, repository) = (self.data.display(), self.folder.join("repo"));
        let run = owner_script().display();
        let value = |name: &str| &self.site.values[name];
        format!(
            r#"site: scratch
runbook: ampora
kind: {kind}
variables:
{variables}
identity:
  database: {{ host: 127.0.0.1, port: {old} }}
  restored: {{ host: 127.0.0.1, port: {new} }}
rehearsal:
  go: [postgres/pgbackrest, master-key/aws]
  proof:
    - id: repository-read-only
      title: The credentials of the repository only read
      check:
        script: |
          if {run} touch {repository}/written 2>/dev/null; then echo "it can be written"; exit 1; fi
          echo "read-only"
        expect: read-only
    - id: data-is-scratch
      title: Nothing is where the restore will go
      check: {{ file: "{data}", exists: false }}
  tear-down:
    - id: remove
      title: Stop the server and remove its files
      danger: none
      run: |
        if [ -e {data}/postmaster.pid ]; then {run} {bin}/pg_ctl -D {data} -m immediate -w stop; fi
        {run} rm -rf {data}
        rm -rf "$KEEP_DIR"
      verify:
        - {{ file: "{data}", exists: false }}
  when:
    - {{ postgres: restored, query: "SELECT count(*) FROM tenants", expect: "== ${{tenants}}" }}
"#,
            repository = repository.display(),
            bin = value("pg_bin"),
            old = value("db_port"),
            new = value("new_db_port"),
        )
    }

    fn drill(&self) -> Run {
        let file = self.site.home.write("scratch.yaml", self.text("rehearsal"));
        self.site.home.output(&["trust", &file]).exits(0);
        self.site
            .home
            .drill(&["--site", &file, "--confirm", "other-secrets"])
    }

    /// Nothing is left of it, and what was done to remove it is recorded.
    #[track_caller]
    fn is_gone(&self, run: &Run) {
        assert_state(
            run,
            &["repository-read-only", "data-is-scratch", "remove"],
            "succeeded",
        );
        assert!(!self.data.exists(), "{} is left", self.data.display());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        end_servers(&self.data);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn keys(manager: &SecretManager, keys: &[&str]) -> Site {
    Site::new().with_keys(manager, keys)
}

#[test]
fn real_backups_are_rehearsed_in_a_scratch_place_which_is_proved_and_removed() {
    let manager = SecretManager::start();
    let place = Scratch::of_broken(&manager, &[KEY]);
    let run = place.drill().exits(0);
    assert_eq!(run.summary["state"], "recovered");
    assert_eq!(run.summary["mode"], "drill");
    assert_eq!(run.summary["world"], "rehearsal");
    assert_state(
        &run,
        &["restore", "read-all", "fetch", "fingerprint"],
        "succeeded",
    );
    place.is_gone(&run);
    let record = place.site.home.export(&run.incident(), "markdown");
    for words in [
        "DRILL",
        "rehearsal: real backups",
        "| Clean-up | tear-down/remove succeeded",
        "rehearsal/repository-read-only",
    ] {
        assert!(record.contains(words), "{words}\n{record}");
    }
}

#[test]
fn a_rehearsal_finds_that_the_master_key_was_rotated() {
    let manager = SecretManager::start();
    let place = Scratch::of_broken(&manager, &["another-key", "the-key-of-today"]);
    let run = place.drill().exits(1);
    assert_state(&run, &["restore", "read-all"], "succeeded");
    assert_state(&run, &["fetch"], "failed");
    assert!(
        causes(&run, "fetch")[0].contains("rotated"),
        "{:#?}",
        causes(&run, "fetch")
    );
    place.is_gone(&run);
}

fn folder(name: &str) -> PathBuf {
    let folder = scratch().join(format!("{name}-{}", free_port()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The largest file of the newest backup.
fn largest(folder: &Path) -> PathBuf {
    let files = must(Command::new("find").arg(folder).args([
        "-type",
        "f",
        "-path",
        "*/backup/*",
        "-printf",
        "%s %p\n",
    ]));
    let mut files: Vec<(u64, &str)> = files
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(size, path)| (size.parse().unwrap(), path))
        .collect();
    files.sort();
    files.last().expect("a backup has files").1.into()
}

fn damage(file: &Path, at: u64) {
    let mut file = OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[0x5a; 64]).unwrap();
}

#[test]
fn a_rehearsal_finds_a_backup_that_is_listed_but_damaged_as_a_file() {
    let manager = SecretManager::start();
    let place = Scratch::of_broken(&manager, &[KEY]);
    damage(&largest(&place.folder.join("repo")), 4096);
    let run = place.drill().exits(1);
    // It is listed as whole.
    assert_state(&run, &["info", "moment"], "succeeded");
    assert_state(&run, &["restore"], "failed");
    assert_cause(
        &run,
        "restore",
        "The archive was written to a full disk or changed afterwards",
    );
    place.is_gone(&run);
}

#[test]
fn a_rehearsal_finds_a_backup_that_is_whole_as_files_and_broken_inside() {
    let manager = SecretManager::start();
    let cluster = Cluster::with_pgbackrest(&folder("broken-inside"));
    fill(cluster.port(), TENANTS.parse().unwrap());
    cluster.sql(
        "arbitex",
        "CREATE TABLE notes AS SELECT n, repeat('x', 500) FROM generate_series(1, 200) n",
    );
    cluster.sql("arbitex", "CHECKPOINT");
    let table = cluster.sql("arbitex", "SELECT pg_relation_filepath('notes')");
    damage(&cluster.data().join(table), 8192);
    cluster.back_up();
    cluster.sql(
        "arbitex",
        "INSERT INTO audit_events (what) VALUES ('later')",
    );
    let target = DateTime::from_timestamp(cluster.clock() + 1, 0).unwrap();
    cluster.pass(target + TimeDelta::seconds(2));
    cluster.sql(
        "arbitex",
        "INSERT INTO audit_events (what) VALUES ('later')",
    );
    cluster.archive();
    let place = Scratch::of(&cluster, keys(&manager, &[KEY]), target);
    let run = place.drill().exits(1);
    assert_state(&run, &["restore", "promoted", "content"], "succeeded");
    assert_state(&run, &["read-all"], "failed");
    assert!(log_of(&place.site, &run, "read-all").contains("invalid page"));
    assert!(!attempts(&run.summary, "read-all").is_empty());
    place.is_gone(&run);
}

#[test]
fn a_place_that_is_not_proved_to_be_scratch_is_no_place_for_a_drill() {
    let manager = SecretManager::start();
    let place = Scratch::of_broken(&manager, &[KEY]);
    let home = &place.site.home;
    let file = home.write(
        "live.yaml",
        place.text("live").split("rehearsal:\n").next().unwrap(),
    );
    let live = home
        .output(&["drill", "--site", &file, "--headless"])
        .exits(2);
    live.says("is a live site: a drill runs only in a sandbox or at a rehearsal site");
    let text = place.text("rehearsal");
    let file = home.write("bare.yaml", text.split("rehearsal:\n").next().unwrap());
    home.output(&["drill", "--site", &file, "--headless"])
        .exits(2)
        .says("add `rehearsal:`");
    let unsaid = text.replace("  tear-down:\n", "  x-later:\n");
    let file = home.write("unsaid.yaml", unsaid);
    home.output(&["drill", "--site", &file, "--headless"])
        .exits(2)
        .says("no `tear-down`");
    let file = home.write("untrusted.yaml", &text);
    home.output(&["drill", "--site", &file, "--headless"])
        .exits(3)
        .says("blackstart trust");
    // A place that can be written into stops at its proof.
    must(
        Command::new("chmod")
            .args(["-R", "a+rwX"])
            .arg(place.folder.join("repo")),
    );
    let run = place.drill().exits(1);
    assert_state(&run, &["repository-read-only"], "failed");
    assert!(attempts(&run.summary, "restore").is_empty());
}
