//! Where, as whom, and whether it is the right place: sites, their identities, secrets and baselines,
//! against real PostgreSQL servers.

use crate::{
    harness::{
        bin::{Blackstart, names, of_type},
        postgres::{Cluster, PASSWORD},
    },
    platform::fill,
};
use serde_json::Value;

const RUNBOOK: &str = r#"
blackstart: 1
id: shop
title: The shop
objectives: { rto: 1h, rpo: 1h }
variables:
  db_port: { type: integer }
  db_password: { type: secret, env: DB_PASSWORD }
  api_key: { type: secret }
  tenants: { type: integer, from: baseline, hint: { postgres: database, query: "SELECT count(*) FROM tenants", expect: "> 0" } }
systems:
  database: { kind: postgres, host: 127.0.0.1, port: "${db_port}", user: postgres, dbname: arbitex, password: "${db_password}", tls: disable }
accept: [ { code: weak-tls, at: database, reason: it is on loopback } ]
procedures:
  - id: mark
    title: Leave a mark
    needs: { systems: [database] }
    steps:
      - { id: fetch, title: Fetch the key, budget: 1m, danger: none, run: 'printf %s "$KEY_AS_FETCHED"', env: { KEY_AS_FETCHED: the-key-of-today }, capture: { api_key: all }, expect: a key }
      - id: write
        title: Write
        budget: 1m
        run: echo written > "$MARK"
        env: { MARK: mark.txt }
        verify: { file: mark.txt, exists: true }
      - id: count
        title: Count
        budget: 1m
        check: { postgres: database, query: "SELECT count(*) FROM tenants", expect: "== ${tenants}" }
recovered: { when: { postgres: database } }
"#;

struct Shop {
    home: Blackstart,
    site: String,
}

impl Shop {
    fn at(port: u16) -> Self {
        let home = Blackstart::new().with("SHOP_PASSWORD", PASSWORD);
        let runbook = home.write("shop.yaml", RUNBOOK);
        home.output(&["trust", &runbook]).exits(0);
        let site = home.write("prod.yaml", "");
        let shop = Self { home, site };
        shop.is(&format!(
            "variables: {{ db_port: {port} }}\nsecrets:\n  db_password: {{ env: SHOP_PASSWORD }}\n"
        ));
        shop
    }

    /// Writes the site's file.
    fn is(&self, rest: &str) {
        let head = "# Ours.\nsite: prod\nrunbook: shop.yaml\nkind: live\n";
        self.home.write("prod.yaml", format!("{head}{rest}"));
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.site).unwrap()
    }

    fn check(&self) -> (Value, i32) {
        let done = self.home.output(&["site", "check", &self.site, "--json"]);
        (serde_json::from_str(&done.stdout).unwrap(), done.code)
    }

    fn state_of(&self, name: &str) -> String {
        let (said, _) = self.check();
        let rows = said["checks"].as_array().unwrap().clone();
        let row = rows.iter().find(|r| r["name"] == name).unwrap();
        row["state"].as_str().unwrap().to_owned()
    }

    fn run(&self, more: &[&str]) -> crate::harness::bin::Run {
        let runbook = self.home.file("shop.yaml");
        let mut args = vec![
            runbook.as_str(),
            "--go",
            "mark",
            "--site",
            self.site.as_str(),
        ];
        args.extend(more);
        self.home.run(&args)
    }

    fn has_mark(&self) -> bool {
        std::path::Path::new(&self.home.file("mark.txt")).exists()
    }
}

#[test]
fn who_was_recorded_in_peace_time_is_verified_and_another_is_refused_before_anything_changes() {
    let (ours, other) = (Cluster::start(), Cluster::running_stranger());
    fill(ours.port(), 4);
    fill(other.port(), 4);
    let shop = Shop::at(ours.port());
    assert_eq!(shop.state_of("database"), "not-recorded");
    shop.home
        .output(&["site", "record", &shop.site])
        .exits(0)
        .says("recorded in");
    assert!(
        shop.text().starts_with("# Ours.\nsite: prod\n"),
        "{}",
        shop.text()
    );
    assert_eq!(shop.state_of("database"), "verified");
    let run = shop.run(&["--set", "tenants=4"]).exits(0);
    let journal = shop.home.journal(&run.incident());
    let pinned = of_type(&journal, "identity-pinned");
    assert_eq!(pinned[0]["event"]["by"], "site");
    assert_eq!(shop.home.show_json(&run.incident())["site"]["name"], "prod");
    assert!(shop.has_mark());

    // The same site, and somebody else answers at its address.
    std::fs::remove_file(shop.home.file("mark.txt")).unwrap();
    let moved = shop
        .text()
        .replace(&ours.port().to_string(), &other.port().to_string());
    std::fs::write(&shop.site, moved).unwrap();
    assert_eq!(shop.state_of("database"), "another");
    assert_eq!(shop.check().1, 5);
    let refused = shop.run(&["--set", "tenants=4"]);
    let refused = refused.exits(5);
    assert!(!shop.has_mark(), "nothing may run against another server");
    let journal = shop.home.journal(&refused.incident());
    assert!(!of_type(&journal, "target-refused").is_empty());
    let started = of_type(&journal, "attempt-started");
    assert!(
        !started.iter().any(|e| names(e, "mark/write")),
        "{started:#?}"
    );
}

#[test]
fn a_wrong_secret_is_told_before_it_is_used() {
    let ours = Cluster::start();
    fill(ours.port(), 4);
    let shop = Shop::at(ours.port());
    let site = |sha: &str| {
        shop.is(&format!(
            "variables: {{ db_port: {}, tenants: 4 }}\nsecrets:\n  db_password: {{ env: SHOP_PASSWORD }}\n  api_key: {{ sha256: \"{sha}\" }}\n",
            ours.port()
        ));
    };
    site(&sha256("the-key-of-yesterday"));
    let failed = shop.run(&[]).exits(1);
    let shown = shop.home.show_json(&failed.incident());
    let step = crate::harness::bin::step(&shown, "fetch");
    assert_eq!(step["state"], "failed");
    let reason = step["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("fingerprint"), "{step:#}");
    assert!(!shop.has_mark());
    site(&sha256("the-key-of-today"));
    shop.run(&[]).exits(0);
    assert!(shop.has_mark());
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

#[test]
fn a_baseline_is_taken_in_peace_time_and_used_when_it_is_older_than_the_incident() {
    let ours = Cluster::start();
    fill(ours.port(), 4);
    let shop = Shop::at(ours.port());
    let runbook = shop.home.file("shop.yaml");
    let taken = ["baseline", &runbook, "--site", &shop.site, "--json"];
    let said = shop.home.output(&taken).exits(0);
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(said["values"]["tenants"], "4");

    // From before the baseline there is none: a person has to say it.
    let early = shop.home.output(&[
        "run", &runbook, "--go", "mark", "--site", &shop.site, "--since", "2h",
    ]);
    early.exits(3).says("tenants");
    let done = shop.run(&["--since", "now"]).exits(0);
    let shown = shop.home.show_json(&done.incident());
    let held = shown["variables"].as_array().unwrap().clone();
    let tenants = held.iter().find(|v| v["name"] == "tenants").unwrap();
    assert_eq!(tenants["value"], "4");
    assert!(
        tenants["source"]
            .as_str()
            .unwrap()
            .starts_with("baseline of "),
        "{tenants}"
    );

    // Inside an incident it is not measured.
    let open = shop.run(&["--since", "now", "--set", "tenants=5"]).exits(1);
    shop.home.output(&taken).exits(3).says("peace time");
    shop.home.output(&["close", &open.incident()]).exits(0);
    shop.home.output(&taken).exits(0);
}

#[test]
fn a_site_that_does_not_fit_is_refused_with_the_place_of_the_slip() {
    let shop = Shop::at(1);
    let runbook = shop.home.file("shop.yaml");
    let run = ["run", &runbook, "--go", "mark", "--site", &shop.site];
    for (rest, expected) in [
        ("variables: { db_prot: 1 }\n", "db_port"),
        ("variables: { db_password: hunter22 }\n", "secret"),
        ("variables: { db_port: many }\n", "whole number"),
        ("identity: { databse: { host: h } }\n", "database"),
        ("kind_: live\n", "kind"),
        ("secrets: { db_password: { sha256: abc } }\n", "64"),
    ] {
        shop.is(rest);
        shop.home.output(&run).exits(2).says(expected);
    }
    shop.home
        .output(&["run", &runbook, "--go", "mark", "--site", "nowhere"])
        .exits(2)
        .says("nowhere");
    shop.is("variables: {}\n");
    shop.home
        .output(&[
            "run",
            "arbitex",
            "--go",
            "redis/empty",
            "--site",
            &shop.site,
        ])
        .exits(2);
    shop.home.output(&["lint", &shop.site]).exits(0);
    shop.is("kind: production\n");
    shop.home
        .output(&["lint", &shop.site])
        .exits(2)
        .says("kind");
}

#[test]
fn a_rehearsal_is_a_drill_on_every_screen_and_in_every_file() {
    let ours = Cluster::start();
    fill(ours.port(), 4);
    let shop = Shop::at(ours.port());
    let text = shop.text().replace("kind: live", "kind: rehearsal");
    std::fs::write(&shop.site, text).unwrap();
    let done = shop.run(&["--set", "tenants=4"]).exits(0);
    let shown = shop.home.show_json(&done.incident());
    assert_eq!(
        (&shown["mode"], &shown["world"]),
        (&"drill".into(), &"rehearsal".into())
    );
    assert!(
        shop.home
            .export(&done.incident(), "markdown")
            .contains("DRILL")
    );
}

/// A first step that names no system, and one that brings the database back: neither may run elsewhere.
const RECOVERING: &str = r#"
blackstart: 1
id: shop
title: The shop
variables:
  db_port: { type: integer }
  db_name: { type: text, default: arbitex }
  db_password: { type: secret, env: DB_PASSWORD }
systems:
  database: { kind: postgres, host: 127.0.0.1, port: "${db_port}", user: postgres, dbname: "${db_name}", password: "${db_password}", tls: disable }
procedures:
  - id: make
    recovers: [database]
    steps:
      - { id: stop, title: Stop the shop, budget: 1m, expect: a mark, run: 'echo stopped > stopped.txt' }
      - { id: create, title: Create, budget: 1m, expect: a mark, run: 'echo "$DB_PORT" > created.txt' }
recovered: { when: { postgres: database } }
"#;

#[test]
fn nothing_at_all_is_started_when_it_is_known_to_be_the_wrong_place() {
    let (ours, other) = (Cluster::start(), Cluster::running_stranger());
    let (ours, other) = (ours.port(), other.port());
    let home = Blackstart::new().with("DB_PASSWORD", PASSWORD);
    let runbook = home.write("shop.yaml", RECOVERING);
    home.output(&["trust", &runbook]).exits(0);
    let identity = |port: u16, id: &str| {
        format!(
            "identity: {{ database: {{ host: 127.0.0.1, port: {port}, system_identifier: \"{id}\" }} }}\n"
        )
    };
    for (what, port, name, recorded) in [
        ("another identifier", other, "arbitex", identity(other, "7")),
        (
            "a database that is missing on another server",
            other,
            "nowhere",
            identity(other, "7"),
        ),
        (
            "another port, where nobody answers",
            1,
            "arbitex",
            identity(ours, "7"),
        ),
    ] {
        let site = home.write(
            "prod.yaml",
            format!("site: prod\nrunbook: shop.yaml\nvariables: {{ db_port: {port}, db_name: {name} }}\n{recorded}"),
        );
        let args = [runbook.as_str(), "--go", "make", "--site", &site];
        let run = home.run(&args).exits(5);
        let journal = home.journal(&run.incident());
        let started = of_type(&journal, "attempt-started");
        let ran = started.iter().any(|e| names(e, "make/create"));
        assert!(!ran, "{what}: {started:#?}");
        assert!(
            !std::path::Path::new(&home.file("created.txt")).exists(),
            "{what}"
        );
    }
    // What is known before the first step stops the first step, too.
    let site = home.write(
        "prod.yaml",
        format!(
            "site: prod\nrunbook: shop.yaml\nvariables: {{ db_port: {other} }}\n{}",
            identity(other, "7")
        ),
    );
    let _ = std::fs::remove_file(home.file("stopped.txt"));
    home.run(&[runbook.as_str(), "--go", "make", "--site", &site])
        .exits(5);
    assert!(!std::path::Path::new(&home.file("stopped.txt")).exists());
    for open in home.incidents() {
        home.output(&["close", &open]).exits(0);
    }
    home.output(&["site", "record", &site])
        .exits(5)
        .says("was .*7");
    home.output(&["site", "record", &site, "--replace"])
        .exits(0);
}

#[test]
fn a_secret_of_the_environment_that_is_not_the_recorded_one_stops_before_there_is_an_incident() {
    let shop = Shop::at(1);
    let sha = sha256("the password of last year");
    shop.is(&format!(
        "variables: {{ db_port: 1, tenants: 4 }}\nsecrets: {{ db_password: {{ env: SHOP_PASSWORD, sha256: {sha} }} }}\n"
    ));
    let runbook = shop.home.file("shop.yaml");
    let said = shop
        .home
        .output(&["run", &runbook, "--go", "mark", "--site", &shop.site]);
    said.exits(5).says("fingerprint");
    assert!(shop.home.incidents().is_empty());
}

#[test]
fn what_cannot_be_written_to_stdout_is_no_success() {
    let home = Blackstart::new();
    for args in [
        &["render", "arbitex"][..],
        &["schema"],
        &["lint", "--json", "arbitex"],
        &["list", "--json"],
    ] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let status = home.command(args).stdout(full).status().unwrap();
        assert_eq!(status.code(), Some(1), "{args:?}");
    }
}
