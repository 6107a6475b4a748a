//! Redis and the validation of Arbitex's recovery, on a real Redis, a real PostgreSQL, over real TLS
//! and with a real name server.
//!
//! Two small stand-ins (`tests/fixtures/cluster`) play `kubectl` and `az`, since no cluster and no cloud
//! is at hand: to scale stops and starts the real Redis, to execute in a pod runs in its data folder.
//! The API is a stand-in too.

use crate::{
    ampora::site::{assert_cause, assert_state, shown},
    harness::{
        bin::{Blackstart, Run, attempts},
        free_port, must, need,
        platform_api::{Api, Reply, Request},
        postgres::{Cluster, PASSWORD},
        process::Owner,
        search_path,
        tls::{Authority, Valid},
        tools::NameServer,
    },
    platform::{TENANTS, fill},
};
use serde_json::json;
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The name that tenants use, known to the test's own name server only.
const NAME: &str = "api.arbitex.example";
const TOKEN: &str = "token-of-an-administrator";
/// Where the new ingress is, and where the public name leads.
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PUBLIC: Ipv4Addr = Ipv4Addr::LOCALHOST;
const KEYS: usize = 500;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cluster")
}

/// The stand-in for the cluster, with a Redis of its own.
struct Pods {
    folder: PathBuf,
    port: u16,
}

impl Pods {
    /// A Redis with AOF and `KEYS` keys, a copy of which is kept as an RDB file; then they are lost.
    fn with_lost_keys(folder: PathBuf, rdb: &Path) -> Self {
        for name in ["data", "tmp", "bin", "pod-bin", "pod", "pvc", "ingress"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for tool in ["kubectl", "az"] {
            install(&fixtures().join(tool), &folder.join("bin").join(tool));
        }
        for tool in ["redis-cli", "redis-server"] {
            install(
                &fixtures().join("pod-bin").join(tool),
                &folder.join("pod-bin").join(tool),
            );
        }
        let pods = Self {
            folder,
            port: free_port(),
        };
        fs::write(pods.folder.join("port"), pods.port.to_string()).unwrap();
        let labels = json!({"app": "arbitex-redis"});
        pods.object(
            "statefulset",
            "arbitex-redis",
            &json!({"kind": "StatefulSet", "metadata": {"annotations": {}}, "spec": {"replicas": 0, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "redis", "image": "redis:7", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "arbitex-redis-data"}}]}}}}),
        );
        for (name, replicas) in [("arbitex-platform", 3), ("arbitex-cloud", 2)] {
            let status = json!({"replicas": replicas, "readyReplicas": replicas});
            pods.object(
                "deployment",
                name,
                &json!({"metadata": {"annotations": {}}, "spec": {"replicas": replicas}, "status": status}),
            );
        }
        let claim =
            json!({"metadata": {"name": "arbitex-redis-data"}, "status": {"phase": "Bound"}});
        pods.object("pvc", "arbitex-redis-data", &claim);
        let ingress = json!({"spec": {"rules": [{"host": NAME}]},
            "status": {"loadBalancer": {"ingress": [{"ip": NEW.to_string()}]}}});
        pods.object("ingress", "arbitex", &ingress);

        pods.scale_redis(1);
        let fill = format!(
            "for i = 1, {KEYS} do redis.call('SET', 'session:' .. i, 'of tenant ' .. i, 'EX', 86400) end"
        );
        pods.redis(&["EVAL", &fill, "0"]);
        pods.redis(&["--rdb", &shown(rdb)]);
        pods.redis(&["FLUSHALL"]);
        pods.redis(&["SET", "written:after", "the loss"]);
        fs::write(pods.folder.join("calls"), "").unwrap();
        pods
    }

    fn object(&self, kind: &str, name: &str, text: &serde_json::Value) {
        let folder = self.folder.join(kind);
        fs::create_dir_all(&folder).unwrap();
        let mut text = text.clone();
        text["metadata"]["name"] = name.into();
        fs::write(folder.join(format!("{name}.json")), text.to_string()).unwrap();
    }

    /// As the StatefulSet's controller would: stops or starts the real Redis.
    fn scale_redis(&self, replicas: u32) {
        let mut kubectl = Command::new(self.folder.join("bin/kubectl"));
        kubectl
            .args(["scale", "statefulset/arbitex-redis"])
            .arg(format!("--replicas={replicas}"))
            .env("CLUSTER", &self.folder)
            .env("PATH", search_path());
        must(&mut kubectl);
    }

    #[track_caller]
    fn redis(&self, words: &[&str]) -> String {
        let mut cli = Command::new(need("redis-cli", "redis-tools"));
        cli.args(["-e", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        must(cli.args(words))
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.folder.join("calls")).unwrap()
    }

    fn replicas(&self, deployment: &str) -> serde_json::Value {
        let text = fs::read(self.folder.join(format!("deployment/{deployment}.json")));
        serde_json::from_slice::<serde_json::Value>(&text.unwrap()).unwrap()["spec"]["replicas"]
            .take()
    }
}

fn install(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

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

/// The platform around Redis.
struct Site {
    home: Blackstart,
    pods: Pods,
    runbook: String,
    rdb: PathBuf,
    names: NameServer,
    authority: Authority,
    /// The port of the API, before and after the cut-over.
    port: u16,
}

impl Site {
    /// Redis has lost its keys; the rest of the platform is not there.
    fn around_redis() -> Self {
        let home = Blackstart::new();
        let files = PathBuf::from(home.file(""));
        let authority = Authority::new(&files, "servers");
        let rdb = files.join("dump.rdb");
        let pods = Pods::with_lost_keys(files.join("cluster"), &rdb);
        let (names, port) = (NameServer::start(), free_port());

        // The public name leads to the old site until DNS is changed; the new one is beside it.
        names.leads(NAME, &PUBLIC.to_string());
        for (file, text) in [
            ("address", PUBLIC.to_string()),
            ("orders", names.orders()),
            ("name", NAME.to_owned()),
        ] {
            fs::write(pods.folder.join(file), text).unwrap();
        }
        let path = env::join_paths(
            std::iter::once(pods.folder.join("bin")).chain(env::split_paths(&search_path())),
        );
        let home = home
            .with("PATH", path.unwrap())
            .with("CLUSTER", &pods.folder)
            .with("DB_PASSWORD", PASSWORD)
            .with("ADMIN_TOKEN", TOKEN)
            .with("SSL_CERT_FILE", authority.certificate());
        let runbook = home.write("arbitex.yaml", moved_here(&names, port));
        Self {
            home,
            pods,
            runbook,
            rdb,
            names,
            authority,
            port,
        }
    }

    /// The same with another text in its runbook.
    fn with_change(self, from: &str, to: &str) -> Self {
        let text = fs::read_to_string(&self.runbook).unwrap();
        fs::write(&self.runbook, changed(&text, from, to)).unwrap();
        self
    }

    fn run(&self, database: u16) -> Run {
        let redis = self.pods.port.to_string();
        let accept = [
            format!("cache=127.0.0.1:{redis}"),
            format!("database=localhost:{database}"),
        ];
        let mut args: Vec<String> = vec![self.runbook.clone()];
        let mut option = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
        option("--go", "redis/rdb");
        option("--severity", "P1");
        option("--confirm", "cutover");
        for address in &accept {
            option("--accept-identity", address);
        }
        for (name, value) in [
            ("cluster_context", "stand-in"),
            ("redis_host", "127.0.0.1"),
            ("redis_port", &redis),
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
        ] {
            option("--set", &format!("{name}={value}"));
        }
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
        let record = site.pods.folder.join("address");
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
    let site = Site::around_redis();
    let around = Around::of(&site);
    let run = site.run(around.database.port()).exits(0);
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
    assert_eq!(site.pods.redis(&["DBSIZE"]), keys);
    assert_eq!(site.pods.redis(&["GET", "session:7"]), "of tenant 7");
    let kept = fs::read_dir(site.pods.folder.join("data"))
        .unwrap()
        .flatten();
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
    assert!(
        site.pods
            .redis(&["INFO", "persistence"])
            .contains("aof_enabled:1")
    );
    site.pods.scale_redis(0);
    site.pods.scale_redis(1);
    assert_eq!(site.pods.redis(&["DBSIZE"]), keys);

    // Its clients are back, as many as there were.
    assert_eq!(site.pods.replicas("arbitex-platform"), 3);
    assert_eq!(site.pods.replicas("arbitex-cloud"), 2);

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
    let site = Site::around_redis();
    let around = Around::of(&site);
    around.chain.broken.store(true, Ordering::Relaxed);
    let run = site.run(around.database.port()).exits(1);
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
    let site = Site::around_redis();
    let mut bytes = fs::read(&site.rdb).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&site.rdb, bytes).unwrap();
    let run = site.run(free_port()).exits(1);
    assert_state(&run, &["file"], "failed");
    assert_cause(&run, "file", "Its checksum is wrong or it ends too early");
    assert!(attempts(&run.summary, "stop-redis").is_empty());
    let calls = site.pods.calls();
    assert!(
        !calls.contains("scale") && !calls.contains("delete"),
        "{calls}"
    );
    assert_eq!(site.pods.redis(&["GET", "written:after"]), "the loss");
}

#[test]
fn an_aof_that_would_shadow_the_rdb_file_is_seen_before_clients_come_back() {
    let site = Site::around_redis()
        .with_change(
            "--dbfilename dump.rdb --appendonly no",
            "--dbfilename dump.rdb --appendonly yes",
        )
        .with_change(
            "appendonly\\\\s+no/\", within: 1m",
            "appendonly\\\\s+no/\", within: 1s",
        );
    let run = site.run(free_port()).exits(1);
    assert_state(&run, &["put-file"], "succeeded");
    assert_state(&run, &["load"], "failed");
    assert_cause(&run, "load", "AOF is on, so Redis read its AOF");
    // Redis is healthy, answers, and ignored the file.
    assert_eq!(site.pods.redis(&["DBSIZE"]), "0");
    assert!(attempts(&run.summary, "start-clients").is_empty());
    assert_eq!(site.pods.replicas("arbitex-platform"), 0);
}
