//! Volumes, Redis and the validation of Arbitex's recovery: on a real control plane with a node that runs
//! real processes, a real Redis, a real PostgreSQL, over real TLS and with a real name server.

mod world;

use crate::{
    ampora::site::{assert_cause, assert_state, shown},
    harness::{
        bin::{Blackstart, Run, attempts, step},
        free_port, pause,
        platform_api::{Api, Reply, Request},
        postgres::{Cluster, PASSWORD},
        process::Owner,
        pty::Terminal,
        search_path,
        tls::{Authority, Valid},
        tools::NameServer,
        until,
    },
    platform::{TENANTS, fill},
};
use serde_json::{Value, json};
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use world::World;

/// The name that tenants use, known to the test's own name server only.
const NAME: &str = "api.arbitex.example";
const TOKEN: &str = "token-of-an-administrator";
/// Where the new ingress is, and where the public name leads.
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PUBLIC: Ipv4Addr = Ipv4Addr::LOCALHOST;
const KEYS: usize = 500;

/// What the API says of the audit chain.
#[derive(Clone, Default)]
struct Chain {
    broken: Arc<AtomicBool>,
}

/// The API, as far as the validation asks: healthy, and with an audit chain for administrators.
fn arbitex(
    chain: Chain,
    moved: impl Fn() -> bool + Send + Sync + 'static,
) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| {
        if !moved() {
            return Reply::page(503, "the old site");
        }
        let bearer = request.headers.get("authorization");
        match request.path.as_str() {
            "/health" => Reply::json(200, &json!({"status": "ok"})),
            "/health/live" | "/health/ready" => Reply::page(200, "yes"),
            "/v1/admin/audit/verify" if bearer.is_none_or(|b| b != &format!("Bearer {TOKEN}")) => {
                Reply::page(401, "who is there?")
            }
            "/v1/admin/audit/verify" => {
                let valid = !chain.broken.load(Ordering::Relaxed);
                Reply::json(200, &json!({"chain_valid": valid, "events": 1000}))
            }
            _ => Reply::page(404, "not here"),
        }
    }
}

/// The platform around its volumes and its Redis.
struct Site {
    home: Blackstart,
    world: World,
    runbook: String,
    rdb: PathBuf,
    names: NameServer,
    authority: Authority,
    /// The port of the API, before and after the cut-over.
    port: u16,
}

impl Site {
    /// Everything runs.
    fn that_runs() -> Self {
        let home = Blackstart::new();
        let files = PathBuf::from(home.file(""));
        let authority = Authority::new(&files, "servers");
        let rdb = files.join("dump.rdb");
        let world = World::that_runs(files.join("azure"));
        let (names, port) = (NameServer::start(), free_port());

        // The public name leads to the old site until DNS is changed; the new one is beside it.
        names.leads(NAME, &PUBLIC.to_string());
        for (file, text) in [
            ("address", PUBLIC.to_string()),
            ("orders", names.orders()),
            ("name", NAME.to_owned()),
        ] {
            fs::write(world.azure.join(file), text).unwrap();
        }
        let path = env::join_paths(
            std::iter::once(world.azure.join("bin")).chain(env::split_paths(&search_path())),
        );
        let kubeconfig = home.write("kubeconfig", world.plane.kubeconfig());
        let home = home
            .with("PATH", path.unwrap())
            .with("KUBECONFIG", kubeconfig)
            .with("CLUSTER", &world.azure)
            .with("NODE", world.plane.node_folder())
            .with("DB_PASSWORD", PASSWORD)
            .with("ADMIN_TOKEN", TOKEN)
            .with("SSL_CERT_FILE", authority.certificate());
        let runbook = home.write("arbitex.yaml", moved_here(&names, port));
        Self {
            home,
            world,
            runbook,
            rdb,
            names,
            authority,
            port,
        }
    }

    /// Redis has lost its keys.
    fn without_keys() -> Self {
        let site = Self::that_runs();
        site.world.loses_keys(&site.rdb);
        site
    }

    /// The same with another text in its runbook.
    fn with_change(self, from: &str, to: &str) -> Self {
        let text = fs::read_to_string(&self.runbook).unwrap();
        fs::write(&self.runbook, changed(&text, from, to)).unwrap();
        self
    }

    fn values(&self, database: u16) -> Vec<String> {
        let all = [
            ("cluster_context", "admin"),
            ("rdb_file", &shown(&self.rdb)),
            ("keep_dir", &self.home.file("kept")),
            ("db_host", "localhost"),
            ("db_port", &database.to_string()),
            ("db_user", "postgres"),
            ("db_ca", &shown(self.authority.certificate())),
            ("tenants", TENANTS),
            ("api_base", &format!("https://localhost:{}", self.port)),
            ("api_host", NAME),
            ("subscription", "none"),
            ("helper_image", "tools:1"),
            ("pvc_name", "arbitex-redis-data"),
            ("pvc_user", "statefulset/arbitex-redis"),
            ("volume_path", "/data"),
        ];
        all.iter()
            .flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")])
            .collect()
    }

    fn run(&self, go: &str, database: u16, more: &[&str]) -> Run {
        let mut args: Vec<String> = vec![self.runbook.clone()];
        let mut option = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
        option("--go", go);
        option("--severity", "P1");
        option("--confirm", "cutover");
        option(
            "--accept-identity",
            &format!("database=localhost:{database}"),
        );
        args.extend(self.values(database));
        args.extend(more.iter().map(|w| (*w).to_owned()));
        args.push("--trust".into());
        self.home.run(&args)
    }
}

/// What the validation looks at.
struct Around {
    chain: Chain,
    database: Cluster,
    /// Where the public name leads; it serves well once DNS was changed.
    public: Api,
    /// Behind the new ingress.
    new: Api,
}

impl Around {
    fn of(site: &Site) -> Self {
        let shows = site
            .authority
            .sign("api", "DNS:localhost", &Valid::Days(30));
        let chain = Chain::default();
        let record = site.world.azure.join("address");
        let moved = move || fs::read_to_string(&record).unwrap().trim() == NEW.to_string();
        let at = |ip: Ipv4Addr| SocketAddr::from((ip, site.port));
        let database = Cluster::start();
        fill(database.port(), 412);
        speak_tls(&database, &site.authority);
        Self {
            public: Api::tls(at(PUBLIC), &shows, arbitex(chain.clone(), moved)),
            new: Api::tls(at(NEW), &shows, arbitex(chain.clone(), || true)),
            chain,
            database,
        }
    }
}

/// A certificate for the database: its validation knows no connection without.
fn speak_tls(database: &Cluster, authority: &Authority) {
    let pair = authority.sign("database", "DNS:localhost", &Valid::Days(30));
    for (from, to) in [(&pair.cert, "server.crt"), (&pair.key, "server.key")] {
        let to = database.data().join(to);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some(Owner { uid, gid }) = Owner::other() {
            chown(&to, Some(uid), Some(gid)).unwrap();
        }
    }
    database.sql("postgres", "ALTER SYSTEM SET ssl = on");
    database.sql("postgres", "SELECT pg_reload_conf()");
}

/// The runbook, with what is at fixed places of the world at places of the test: port 443 takes root,
/// and the public name is known to the test's own name server only.
fn moved_here(names: &NameServer, port: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/runbooks/arbitex.yaml");
    let mut text = fs::read_to_string(path).unwrap();
    let resolver = names.address();
    for (from, to) in [
        (
            "\"${ingress_ip}:443\"",
            format!("\"${{ingress_ip}}:{port}\""),
        ),
        (
            "{ dns: \"${api_host}\", is: \"${ingress_ip}\"",
            format!("{{ dns: \"${{api_host}}\", is: \"${{ingress_ip}}\", resolver: \"{resolver}\""),
        ),
    ] {
        text = changed(&text, from, &to);
    }
    text
}

#[track_caller]
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the runbook has `{from}`");
    text.replace(from, to)
}

#[test]
fn redis_comes_back_from_its_rdb_file_and_keeps_its_keys_over_a_restart() {
    let site = Site::without_keys();
    let around = Around::of(&site);
    let run = site.run("redis/rdb", around.database.port(), &[]).exits(0);
    assert_eq!(run.summary["state"], "recovered");
    let fence = [
        "file",
        "replicas",
        "stop-clients",
        "stop-redis",
        "helper",
        "keep-old",
    ];
    assert_state(&run, &fence, "succeeded");
    let restored = [
        "put-file",
        "load",
        "loaded",
        "keys",
        "measure-rdb",
        "aof-on",
    ];
    assert_state(&run, &restored, "succeeded");
    let serves = ["remove-helper", "start-redis", "serving", "start-clients"];
    assert_state(&run, &serves, "succeeded");
    let validated = [
        "ingress",
        "health-new",
        "audit-new",
        "tenants-there",
        "schema-head",
    ];
    assert_state(&run, &validated, "succeeded");
    assert_state(
        &run,
        &["smoke", "dns", "health", "audit-chain"],
        "succeeded",
    );

    // The keys of the file are there, and what came after it is not; the old files are kept.
    let keys = KEYS.to_string();
    assert_eq!(site.world.redis(&["DBSIZE"]), keys);
    assert_eq!(site.world.redis(&["GET", "session:7"]), "of tenant 7");
    let disk = site.world.plane.node_folder().join("disks/redis");
    let kept = fs::read_dir(disk).unwrap().flatten();
    let kept = kept
        .map(|e| e.path())
        .find(|path| shown(path).contains("before-recovery-"));
    assert!(kept.expect("the old files").join("appendonlydir").is_dir());
    let measured = &run.summary["objectives"]["rpo"]["stores"];
    assert!(
        measured["cache"].as_f64().is_some_and(|s| s >= 0.0),
        "{measured}"
    );

    // AOF is on and whole: a restart with the StatefulSet's own configuration loses nothing.
    let persistence = site.world.redis(&["INFO", "persistence"]);
    assert!(persistence.contains("aof_enabled:1"), "{persistence}");
    site.world.restart_redis();
    assert_eq!(site.world.redis(&["DBSIZE"]), keys);

    // Its clients are back, as many as there were.
    assert_eq!(site.world.replicas("deployment/arbitex-platform"), 3);
    assert_eq!(site.world.replicas("deployment/arbitex-cloud"), 2);

    // Before DNS was changed the new site was asked, and after it what the name leads to.
    let chain = "/v1/admin/audit/verify".to_owned();
    assert_eq!(
        around
            .new
            .asked()
            .iter()
            .filter(|path| **path == chain)
            .count(),
        1
    );
    assert!(around.public.asked().contains(&chain));
    site.home.output(&["verify", &run.incident()]).exits(0);
}

#[test]
fn a_chain_that_is_not_valid_stops_the_recovery_before_dns_until_it_is() {
    let site = Site::without_keys();
    let around = Around::of(&site);
    around.chain.broken.store(true, Ordering::Relaxed);
    let run = site.run("redis/rdb", around.database.port(), &[]).exits(1);
    assert_state(&run, &["start-clients", "health-new"], "succeeded");
    assert_state(&run, &["audit-new"], "failed");
    assert_cause(
        &run,
        "audit-new",
        "Rows are missing or changed in the middle",
    );
    let checks = &attempts(&run.summary, "audit-new")[0]["checks"];
    assert_eq!(checks[0]["seen"], "/chain_valid false", "{checks:#}");
    assert!(attempts(&run.summary, "dns").is_empty());
    assert_eq!(site.names.asked_for(NAME), PUBLIC.to_string());
    assert_eq!(run.summary["state"], "open");

    around.chain.broken.store(false, Ordering::Relaxed);
    let incident = run.incident();
    let again = ["--retry", "audit-new", "--continue", "--confirm", "cutover"];
    let run = site
        .home
        .resume(&[&[incident.as_str()], &again[..]].concat())
        .exits(0);
    assert_eq!(run.summary["state"], "recovered");
    assert_eq!(site.names.asked_for(NAME), NEW.to_string());
}

#[test]
fn a_damaged_rdb_file_is_refused_before_anything_is_stopped() {
    let site = Site::without_keys();
    let mut bytes = fs::read(&site.rdb).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&site.rdb, bytes).unwrap();
    let run = site.run("redis/rdb", free_port(), &[]).exits(1);
    assert_state(&run, &["file"], "failed");
    assert_cause(&run, "file", "Its checksum is wrong or it ends too early");
    assert!(attempts(&run.summary, "stop-redis").is_empty());
    let written = site.world.plane.written();
    let changed = |w: &&String| w.contains("/scale") || w.contains(" delete ");
    assert_eq!(written.iter().find(changed), None, "{written:?}");
    assert_eq!(site.world.redis(&["GET", "written:after"]), "the loss");
}

#[test]
fn an_aof_that_would_shadow_the_rdb_file_is_seen_before_clients_come_back() {
    let site = Site::without_keys()
        .with_change(
            "--dbfilename dump.rdb --appendonly no",
            "--dbfilename dump.rdb --appendonly yes",
        )
        .with_change(
            "appendonly\\\\s+no/\", within: 1m",
            "appendonly\\\\s+no/\", within: 1s",
        );
    let run = site.run("redis/rdb", free_port(), &[]).exits(1);
    assert_state(&run, &["put-file"], "succeeded");
    assert_state(&run, &["load"], "failed");
    assert_cause(&run, "load", "AOF is on, so Redis read its AOF");
    // Redis is healthy, answers, and ignored the file.
    let helper = "pod/arbitex-redis-restore";
    assert_eq!(site.world.redis_in(helper, &["DBSIZE"]), "0");
    assert!(attempts(&run.summary, "start-clients").is_empty());
    assert_eq!(site.world.replicas("deployment/arbitex-platform"), 0);
}

/// Goes through a checklist by keys, until there is nothing left to start.
struct Hands<'t> {
    home: &'t Blackstart,
    terminal: &'t Terminal,
    incident: String,
}

impl Hands<'_> {
    fn steps(&self) -> Vec<Value> {
        let shown = self.home.show_json(&self.incident);
        shown["steps"].as_array().cloned().unwrap_or_default()
    }

    fn sees(&self, expression: &str) -> String {
        let screen = self
            .terminal
            .wait_for_text(expression, Duration::from_secs(60));
        // Keys that act are dropped for a moment after the screen has changed.
        pause(Duration::from_millis(350));
        screen
    }

    /// The step that the cockpit has chosen by itself: armed, confirmed where it asks, started, waited for.
    fn next(&self) {
        let waiting = |s: &&Value| s["state"] == "pending";
        let steps = self.steps();
        let next = steps.iter().find(waiting).expect("a step that is left");
        let (number, name) = (&next["number"], next["name"].as_str().unwrap());
        self.sees(&format!("{number} · "));
        self.terminal.send("r");
        let asked = self.sees("Enter starts it|to confirm|What did you see|Enter accepts");
        if asked.contains("to confirm") {
            // What goes with it stands there before anybody types the name.
            let screen = self.sees("volume pvc-redis: Retain, its data stays");
            assert!(screen.contains("pvc/arbitex-redis-data goes"), "{screen}");
            self.terminal.send("\u{1b}[6~");
            pause(Duration::from_millis(450));
            self.terminal.send("arbitex-redis-data");
            pause(Duration::from_millis(450));
        }
        if asked.contains("What did you see") {
            self.terminal.send("signed in");
        }
        self.terminal.send("\r");
        let what = format!("the end of {name}\n{}", self.terminal);
        until(Duration::from_secs(90), what, || {
            let steps = self.steps();
            let now = steps.iter().find(|s| s["name"] == name).unwrap();
            assert!(
                !["failed", "unknown"].contains(&now["state"].as_str().unwrap()),
                "{now:#}\n{}",
                self.terminal
            );
            !["pending", "running"].contains(&now["state"].as_str().unwrap())
        });
    }
}

#[test]
fn a_lost_volume_comes_back_from_its_snapshot_by_keys_and_its_marker_is_read_through_the_pod() {
    let site = Site::that_runs();
    let around = Around::of(&site);
    let world = &site.world;
    world.redis(&["SET", "marker", "written before the loss"]);
    world.snapshot("redis", "arbitex-redis-data");
    // The loss: what is on the disk now is of no use.
    world.redis(&["FLUSHALL"]);
    world.redis(&["SET", "marker", "after"]);

    site.home.output(&["trust", &site.runbook]).exits(0);
    let mut args = vec!["open".to_owned(), site.runbook.clone()];
    args.extend(site.values(around.database.port()));
    let mut terminal = site.home.terminal(&args, 120, 40);
    {
        let hands = |incident: String| Hands {
            home: &site.home,
            terminal: &terminal,
            incident,
        };
        let person = hands(String::new());
        person.sees("How bad is it");
        terminal.send("j");
        person.sees("P1");
        terminal.send("\r");
        person.sees("Since when");
        terminal.send("now\r");
        person.sees("What is broken");
        terminal.send("\r");
        person.sees("Which one");
        terminal.send("jj");
        person.sees("A volume");
        terminal.send("\r");
        person.sees("Ready");
        terminal.send("c");
        let person = hands(site.home.incident());
        for _ in 0..person.steps().len() {
            if person.steps().iter().all(|s| s["state"] != "pending") {
                break;
            }
            person.next();
        }
        person.sees("(?i)recovered");
    }
    let incident = site.home.incident();
    until(Duration::from_secs(60), "recovery", || {
        site.home.show_json(&incident)["state"] == "recovered"
    });
    terminal.close();
    terminal.wait(Duration::from_secs(60));
    // The claim names the volume, the volume the disk that was made from the snapshot; and through the pod
    // what was written before the loss is read.
    let volume = world.plane.ask(
        "GET",
        "/api/v1/persistentvolumes/arbitex-redis-data-restored",
        &Value::Null,
    );
    let handle = volume["spec"]["csi"]["volumeHandle"].as_str().unwrap();
    assert!(
        handle.ends_with("/disks/arbitex-redis-data-restored"),
        "{handle}"
    );
    assert_eq!(world.redis(&["GET", "marker"]), "written before the loss");
    assert_eq!(world.redis(&["DBSIZE"]), (KEYS + 1).to_string());
    // The old disk is kept, and was never written to again.
    let old = world
        .plane
        .ask("GET", "/api/v1/persistentvolumes/pvc-redis", &Value::Null);
    assert_eq!(old["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    let shown = site.home.show_json(&incident);
    assert_eq!(step(&shown, "read-back")["state"], "succeeded");
}

#[test]
fn a_claim_that_is_bound_to_an_empty_disk_is_no_recovery() {
    let site = Site::that_runs();
    site.world.snapshot("redis", "arbitex-redis-data");
    let approve = ["--approve", "release=arbitex-redis-data"];
    // A snapshot without content: the claim is bound, and that is not enough.
    let content = site.world.azure.join("snapshots/arbitex-redis-data-1");
    fs::remove_dir_all(&content).unwrap();
    fs::create_dir(&content).unwrap();
    let run = site.run("pvc", free_port(), &approve).exits(1);
    assert_state(&run, &["bind"], "succeeded");
    assert_state(&run, &["look-inside"], "failed");
    assert!(attempts(&run.summary, "start").is_empty());
    assert_eq!(run.summary["state"], "open");
}

#[test]
fn a_volume_that_names_another_disk_than_the_one_that_was_made_is_seen_before_anything_starts() {
    let site = Site::that_runs().with_change(
        "volumeHandle: $disk.id",
        "volumeHandle: $pv.spec.csi.volumeHandle",
    );
    site.world.snapshot("redis", "arbitex-redis-data");
    let approve = ["--approve", "release=arbitex-redis-data"];
    let run = site.run("pvc", free_port(), &approve).exits(1);
    assert_state(&run, &["make-disk", "release"], "succeeded");
    assert_state(&run, &["new-volume"], "failed");
    assert_eq!(run.summary["state"], "open");
    assert!(attempts(&run.summary, "start").is_empty());
}
