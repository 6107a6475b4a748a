//! Every step of Ampora's recovery that needs neither a cluster nor a cloud, on real servers: the
//! database from its backups, the key from a secret manager, certificates, names, a login, an agent.
//!
//! Only Ampora itself is a stand-in: no real one can be had.

use crate::{
    harness::{
        bin::{Blackstart, Run, attempts, step},
        free_port, need,
        oidc::{self, Provider},
        platform_api::{Api, Reply, Request},
        postgres::{PASSWORD, owner_script, sql},
        process::end_servers,
        search_path,
        tls::{Authority, Pair, TlsServer, Valid},
        tools::{ACCOUNT, NameServer, REGION, SecretManager, own_tools},
    },
    platform::{TENANTS, broken, written},
};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const USER: &str = "recovery-test";
const SECRET: &str = "ampora-prod/master-key";
const KEY: &str = "the-key-that-was-current-at-the-moment";
const PUBLIC_NAME: &str = "ampora.acme.example";

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn fingerprint(key: &str) -> String {
    Sha256::digest(key)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// The runbook as it is shipped.
fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/runbooks/ampora.yaml");
    fs::read_to_string(path).unwrap()
}

/// Everything around the database: the authorities, the provider, the platform, the agents' door.
struct Site {
    home: Blackstart,
    /// Signs what servers show.
    servers: Authority,
    /// Signs agents; its key is in Ampora's database.
    persisted: Authority,
    provider: Option<Provider>,
    api: Option<Api>,
    agents: Option<TlsServer>,
    values: BTreeMap<String, String>,
}

impl Site {
    fn new() -> Self {
        let home = Blackstart::new();
        let files = PathBuf::from(home.file(""));
        let servers = Authority::new(&files, "servers");
        let path =
            env::join_paths(std::iter::once(own_tools()).chain(env::split_paths(&search_path())));
        let home = home
            .with("PATH", path.unwrap())
            .with("DB_PASSWORD", PASSWORD)
            .with("LOGIN_PASSWORD", "open-sesame-again")
            .with("SSL_CERT_FILE", servers.certificate());
        let mut site = Self {
            servers,
            persisted: Authority::new(&files, "persisted"),
            provider: None,
            api: None,
            agents: None,
            values: BTreeMap::new(),
            home,
        };
        site.set("keep_dir", site.home.file("kept"));
        site.set("platform", "vm");
        site.set("server_ca", shown(site.servers.certificate()));
        site.set("vm_key_file", site.home.file("vm/master.key"));
        site.set("cluster_context", "none-here");
        site.set("target", written(Utc::now()));
        site
    }

    /// With Ampora, its identity provider and its door for agents.
    fn that_runs() -> Self {
        let mut site = Self::new();
        let provider = Provider::start();
        let port = free_port();
        let base = format!("http://127.0.0.1:{port}");
        site.api = Some(ampora(port, provider.port()));
        site.set("api_base", &base);
        site.set("login_url", format!("{base}/login"));
        site.set("login_done", format!("{base}/home"));
        site.set("login_user", USER);
        site.set("login_user_field", "sub");
        site.set("oidc_issuer", provider.issuer());
        site.provider = Some(provider);

        let door = site.certificate("agents", "DNS:localhost", &Valid::Days(30));
        let door = TlsServer::for_clients_of(&site.persisted, &door);
        site.set("agent_url", format!("https://localhost:{}/", door.port()));
        site.agents = Some(door);
        let agent = site
            .persisted
            .sign("agent-7", "DNS:agent-7", &Valid::Days(30));
        site.agent_shows(&agent);
        site
    }

    /// Addresses at which nothing is: for recoveries that end before anybody looks.
    fn set_what_validation_needs(&mut self) {
        let nothing = format!("https://localhost:{}/", free_port());
        for name in [
            "api_base",
            "oidc_issuer",
            "login_url",
            "login_done",
            "agent_url",
        ] {
            self.set(name, &nothing);
        }
        let none = self.home.file("none");
        for name in ["login_user", "agent_cert", "agent_key"] {
            self.set(name, &none);
        }
    }

    fn agent_shows(&mut self, pair: &Pair) {
        let (cert, key) = pair.shown();
        self.set("agent_cert", cert);
        self.set("agent_key", key);
    }

    fn certificate(&self, name: &str, names: &str, valid: &Valid) -> Pair {
        self.servers.sign(name, names, valid)
    }

    /// With the secret manager, in which the key was rotated as often as there are more texts.
    fn with_keys(mut self, manager: &SecretManager, keys: &[&str]) -> Self {
        manager.create(SECRET, keys[0]);
        for key in &keys[1..] {
            manager.rotate(SECRET, key);
        }
        for (name, value) in manager.environment() {
            self.home = self.home.with(name, value);
        }
        self.set("cloud_region", REGION);
        self.set("cloud_account", ACCOUNT);
        self.set("master_key_sha256", fingerprint(KEY));
        self
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// Runs `what` of a runbook, and says yes to every manual step of it.
    fn run(&self, runbook: &str, what: &[&str], more: &[&str]) -> Run {
        let mut args: Vec<String> = vec![runbook.to_owned()];
        let mut option = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
        for go in what {
            option("--go", go);
        }
        for id in ["dashboard", "agent", "rollout", "retention", "open"] {
            option("--confirm", &format!("recovered/{id}"));
        }
        for (name, value) in &self.values {
            option("--set", &format!("{name}={value}"));
        }
        args.extend(more.iter().map(|&word| word.to_owned()));
        self.home.run(&args)
    }

    fn key_file(&self) -> PathBuf {
        PathBuf::from(&self.values["vm_key_file"])
    }
}

/// Ampora, as far as its validation asks: alive, ready, and a login that ends with a token of the
/// provider.
fn ampora(port: u16, provider: u16) -> Api {
    let back = format!("http://127.0.0.1:{port}/callback");
    Api::plain(port, move |request: &Request| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match path {
            "/health/live" => Reply::page(200, "alive"),
            "/health/ready" => {
                let parts = json!({"subsystems": {"database": "healthy", "keys": "healthy"}});
                Reply::json(200, &parts)
            }
            "/login" => Reply::redirect(&oidc::sign_in(provider, &back)),
            "/callback" => {
                let code = query.split('&').find_map(|pair| pair.strip_prefix("code="));
                match code {
                    Some(code) if oidc::gives_token(provider, code, &back) => {
                        Reply::redirect("/home")
                            .with_header("Set-Cookie: session=signed-in; Path=/")
                    }
                    _ => Reply::page(502, "the provider gave no token"),
                }
            }
            "/home" => {
                let cookie = request.headers.get("cookie");
                match cookie {
                    Some(cookie) if cookie.contains("session=signed-in") => {
                        Reply::page(200, "the Dashboard")
                    }
                    _ => Reply::page(401, "sign in first"),
                }
            }
            _ => Reply::page(404, "not here"),
        }
    })
}

#[track_caller]
fn assert_state(run: &Run, ids: &[&str], state: &str) {
    for id in ids {
        let found = step(&run.summary, id);
        assert_eq!(found["state"], state, "{id}\n{found:#}");
    }
}

/// What a step's last attempt left in its log.
fn log_of(site: &Site, run: &Run, id: &str) -> String {
    let last = attempts(&run.summary, id).last().expect("an attempt");
    site.home.log(&run.summary, last)
}

/// The causes that were found for a step, the likeliest first.
fn causes(run: &Run, id: &str) -> Vec<String> {
    let last = attempts(&run.summary, id).last().expect("an attempt");
    let found = last["causes"].as_array().cloned().unwrap_or_default();
    found
        .iter()
        .map(|row| row["cause"].as_str().unwrap().to_owned())
        .collect()
}

/// What the checks of a step's last attempt saw that did not hold.
fn seen_wrong(run: &Run, id: &str) -> Vec<String> {
    let last = attempts(&run.summary, id).last().expect("an attempt");
    let checks = last["checks"].as_array().cloned().unwrap_or_default();
    checks
        .iter()
        .filter(|check| check["verdict"] == "does-not-hold")
        .map(|check| check["seen"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[track_caller]
fn assert_cause(run: &Run, id: &str, beginning: &str) {
    let all = causes(run, id);
    assert!(
        all.first()
            .is_some_and(|cause| cause.starts_with(beginning)),
        "the first cause of `{id}` begins with `{beginning}`: {all:#?}\n{:#}",
        step(&run.summary, id)
    );
}

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
        site.set("pg_run", shown(owner_script()));
        site.set(
            "pg_bin",
            shown(need("initdb", "postgresql-15").parent().unwrap()),
        );
        site.set("pg_data", shown(&data));
        site.set("pg_conf", shown(&data.join("postgresql.conf")));
        site.set("pg_sockets", shown(cluster.folder()));
        site.set("backup_config", shown(&cluster.backup_config()));
        site.set("stanza", "main");
        site.set("new_stanza", format!("after-{port}"));
        site.set("new_db_host", "127.0.0.1");
        site.set("new_db_port", port.to_string());
        site.set("db_host", "127.0.0.1");
        site.set("db_port", cluster.port().to_string());
        site.set("db_name", "arbitex");
        site.set("db_user", "postgres");
        site.set("db_tls", "disable");
        site.set("tenants", TENANTS);
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
    let go = ["postgres/pgbackrest", "archiving", "master-key/aws"];
    let more = ["--confirm", "accept-data", "--confirm", "other-secrets"];
    let run = restored.run(&mut site, history.before, &go, &more).exits(0);

    assert_eq!(run.summary["state"], "recovered");
    let database = [
        "programs",
        "info",
        "moment",
        "room",
        "keep-newer",
        "stop",
        "keep",
        "restore",
    ];
    assert_state(&run, &database, "succeeded");
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

/// The runbook, with what is at fixed places of the world at places of the test.
///
/// HTTP-01 needs port 80, names are asked of the test's own name server, and the public name leads
/// to loopback only there.
fn moved_here(names: &NameServer, front: &TlsServer) -> String {
    let (resolver, port) = (names.address(), front.port());
    let changes = [
        (
            "check: { tcp: \"${ingress_address}:80\", within: 2m }",
            format!("check: {{ tcp: \"${{ingress_address}}:{port}\" }}"),
        ),
        (
            "{ dns: \"${public_host}\", is: \"${ingress_address}\", within: 15m, every: 15s }",
            format!("{{ dns: \"${{public_host}}\", is: \"${{ingress_address}}\", resolver: \"{resolver}\" }}"),
        ),
        (
            "{ tls: \"${public_host}:${public_port}\", valid_for: 24h, within: 10m, every: 15s }",
            "{ tls: \"${public_host}:${public_port}\", connect_to: \"${ingress_address}:${public_port}\", valid_for: 24h }".to_owned(),
        ),
        (
            "valid_for: 24h, ca: \"${server_ca}\", within: 2m }",
            "valid_for: 24h, ca: \"${server_ca}\" }".to_owned(),
        ),
    ];
    let mut text = shipped();
    for (from, to) in changes {
        assert!(text.contains(from), "the runbook has `{from}`");
        text = text.replace(from, &to);
    }
    text
}

/// A site behind a front with a certificate, and the name server that knows it.
struct Front {
    site: Site,
    runbook: String,
    names: NameServer,
    server: TlsServer,
}

impl Front {
    fn showing(mut site: Site, pair: &Pair) -> Self {
        let (names, server) = (NameServer::start(), TlsServer::showing(pair));
        let runbook = moved_here(&names, &server);
        let runbook = site.home.write("moved.yaml", runbook);
        site.set("public_host", PUBLIC_NAME);
        site.set("public_port", server.port().to_string());
        site.set("ingress_address", "127.0.0.1");
        names.leads(PUBLIC_NAME, "127.0.0.1");
        let (cert, key) = pair.shown();
        site.set("leaf_cert", cert);
        site.set("leaf_key", key);
        Self {
            site,
            runbook,
            names,
            server,
        }
    }

    fn run(&self, path: &str) -> Run {
        let manual = match path {
            "tls/acme" => ["--confirm", "move-name"].to_vec(),
            _ => ["--confirm", "issue", "--confirm", "move-name-after"].to_vec(),
        };
        self.site.run(
            &self.runbook,
            &[path],
            &[&["--trust"], &manual[..]].concat(),
        )
    }
}

fn named() -> String {
    format!("DNS:{PUBLIC_NAME}")
}

#[test]
fn a_name_and_its_certificate_come_back_by_both_ways() {
    for path in ["tls/acme", "tls/corporate-ca"] {
        let site = Site::that_runs();
        let good = site.certificate("good", &named(), &Valid::Days(30));
        let run = Front::showing(site, &good).run(path).exits(0);
        assert_eq!(run.summary["state"], "recovered");
        let looked_at: &[&str] = match path {
            "tls/acme" => &["port-80", "move-name", "name", "certificate"],
            _ => &["issue", "leaf", "served", "move-name-after"],
        };
        assert_state(&run, looked_at, "succeeded");
    }
}

#[test]
fn a_certificate_is_seen_for_what_is_wrong_with_it() {
    let cases = [
        ("expired", "its certificate has expired"),
        ("of-another-host", "its certificate is for another name"),
        (
            "of-a-stranger",
            "its certificate is signed by an authority that is not trusted here",
        ),
        ("ending-soon", "trusted, valid for"),
    ];
    for (kind, seen) in cases {
        let mut site = Site::new();
        site.set_what_validation_needs();
        let files = PathBuf::from(site.home.file(""));
        let stranger = Authority::new(&files, "stranger");
        let other = "DNS:other.acme.example";
        let pair = match kind {
            "expired" => site.certificate(kind, &named(), &Valid::Formerly),
            "of-another-host" => site.certificate(kind, other, &Valid::Days(30)),
            "of-a-stranger" => stranger.sign(kind, &named(), &Valid::Days(30)),
            _ => site.certificate(kind, &named(), &Valid::Days(0)),
        };
        let front = Front::showing(site, &pair);
        let run = front.run("tls/acme").exits(1);
        assert_state(&run, &["port-80", "name"], "succeeded");
        assert_state(&run, &["certificate"], "failed");
        let wrong = seen_wrong(&run, "certificate");
        assert!(
            wrong.len() == 1 && wrong[0].contains(seen),
            "{kind}: {wrong:?}"
        );
        assert_cause(
            &run,
            "certificate",
            "The Ingress serves its default certificate",
        );
    }
}

#[test]
fn a_name_without_an_address_or_with_the_old_one_is_not_taken_for_moved() {
    let mut site = Site::new();
    site.set_what_validation_needs();
    let pair = site.certificate("good", &named(), &Valid::Days(30));
    let mut front = Front::showing(site, &pair);
    front.names.leads("old.acme.example", "192.0.2.7");
    for (name, seen) in [
        ("old.acme.example", "192.0.2.7"),
        (
            "nowhere.acme.example",
            "nowhere.acme.example does not resolve at",
        ),
    ] {
        front.site.set("public_host", name);
        let run = front.run("tls/acme").exits(1);
        assert_state(&run, &["name"], "failed");
        let wrong = seen_wrong(&run, "name");
        assert!(
            wrong.len() == 1 && wrong[0].contains(seen),
            "{name}: {wrong:?}"
        );
        assert!(attempts(&run.summary, "certificate").is_empty(), "{name}");
        assert_cause(&run, "name", "The record was not changed");
    }
}

#[test]
fn a_certificate_that_does_not_fit_is_found_before_it_is_loaded() {
    for kind in ["of-another-host", "expired", "with-another-key"] {
        let mut site = Site::new();
        site.set_what_validation_needs();
        let good = site.certificate("good", &named(), &Valid::Days(30));
        let bad = match kind {
            "of-another-host" => site.certificate(kind, "DNS:other.acme.example", &Valid::Days(30)),
            "expired" => site.certificate(kind, &named(), &Valid::Formerly),
            _ => Pair {
                cert: good.cert.clone(),
                key: site.certificate(kind, &named(), &Valid::Days(30)).key,
            },
        };
        let mut front = Front::showing(site, &good);
        let (cert, key) = bad.shown();
        front.site.set("leaf_cert", cert);
        front.site.set("leaf_key", key);
        let run = front.run("tls/corporate-ca").exits(1);
        assert_state(&run, &["leaf"], "failed");
        assert_cause(&run, "leaf", "The Ingress serves its default certificate");
        assert!(attempts(&run.summary, "served").is_empty(), "{kind}");
    }
}

#[test]
fn an_agent_of_a_lost_authority_is_refused_and_the_cause_is_named() {
    let mut site = Site::that_runs();
    let good = site.certificate("good", &named(), &Valid::Days(30));
    let files = PathBuf::from(site.home.file(""));
    let lost = Authority::new(&files, "lost");
    let agent = lost.sign("agent-7", "DNS:agent-7", &Valid::Days(30));
    site.agent_shows(&agent);
    let run = Front::showing(site, &good).run("tls/corporate-ca").exits(1);
    assert_state(&run, &["live", "ready", "login", "dashboard"], "succeeded");
    assert_state(&run, &["agent-tls"], "failed");
    assert_cause(
        &run,
        "agent-tls",
        "The backup lacks the private key with which the persisted CA signs",
    );
    let checks = attempts(&run.summary, "agent-tls")[0]["checks"].to_string();
    assert!(checks.contains("unknown ca"), "{checks}");
    assert!(attempts(&run.summary, "agent").is_empty());
    assert_eq!(run.summary["state"], "open");
}
