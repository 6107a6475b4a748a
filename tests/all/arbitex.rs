//! Redis and the validation of Arbitex's recovery, on a real Redis, a real PostgreSQL, over real TLS
//! and with a real name server.
//!
//! Two small stand-ins (`tests/fixtures/cluster`) play `kubectl` and `az`, since no cluster and no cloud
//! is at hand: to scale stops and starts the real Redis, to execute in a pod runs in its data folder.
//! The API is a stand-in too.

use crate::{
    harness::{
        bin::{Blackstart, Run, attempts, step},
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

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
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
    chain: Chain,
    rdb: PathBuf,
    database: Cluster,
    old: Api,
    new: Api,
    _names: NameServer,
}

impl Site {
    fn new(change: impl Fn(String) -> String) -> Self {
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
        let shows = authority.sign("api", "DNS:localhost", &Valid::Days(30));
        let chain = Chain::default();
        let record = pods.folder.join("address");
        let moved = move || fs::read_to_string(&record).unwrap().trim() == NEW.to_string();
        let old = arbitex(chain.clone(), moved);
        let old = Api::tls(SocketAddr::from((PUBLIC, port)), &shows, old);
        let new = arbitex(chain.clone(), || true);
        let new = Api::tls(SocketAddr::from((NEW, port)), &shows, new);

        let database = Cluster::start();
        fill(database.port(), 412);
        speak_tls(&database, &authority);

        let path = env::join_paths(
            std::iter::once(pods.folder.join("bin")).chain(env::split_paths(&search_path())),
        );
        let home = home
            .with("PATH", path.unwrap())
            .with("CLUSTER", &pods.folder)
            .with("DB_PASSWORD", PASSWORD)
            .with("ADMIN_TOKEN", TOKEN)
            .with("SSL_CERT_FILE", authority.certificate());
        let runbook = change(moved_here(&names, port));
        let runbook = home.write("arbitex.yaml", runbook);
        let site = Self {
            home,
            pods,
            runbook,
            chain,
            rdb,
            database,
            old,
            new,
            _names: names,
        };
        fs::write(files.join("base"), format!("https://localhost:{port}")).unwrap();
        site
    }

    fn run(&self) -> Run {
        let redis = self.pods.port.to_string();
        let database = self.database.port().to_string();
        let accept = [
            format!("cache=127.0.0.1:{redis}"),
            format!("database=localhost:{database}"),
        ];
        let base = fs::read_to_string(self.home.file("base")).unwrap();
        let mut args: Vec<String> = vec![self.runbook.clone()];
        let mut option = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
        option("--go", "redis/rdb");
        option("--severity", "P1");
        option("--confirm", "cutover");
        for address in &accept {
            option("--accept-identity", address);
        }
        let ca = self.home.file("servers/ca.pem");
        for (name, value) in [
            ("cluster_context", "stand-in"),
            ("redis_host", "127.0.0.1"),
            ("redis_port", &redis),
            ("rdb_file", &shown(&self.rdb)),
            ("keep_dir", &self.home.file("kept")),
            ("db_host", "localhost"),
            ("db_port", &database),
            ("db_user", "postgres"),
            ("db_ca", &ca),
            ("tenants", TENANTS),
            ("api_base", &base),
            ("api_host", NAME),
            ("subscription", "none"),
        ] {
            option("--set", &format!("{name}={value}"));
        }
        args.push("--trust".into());
        self.home.run(&args)
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

#[track_caller]
fn assert_state(run: &Run, ids: &[&str], state: &str) {
    for id in ids {
        let found = step(&run.summary, id);
        assert_eq!(found["state"], state, "{id}\n{found:#}");
    }
}

#[track_caller]
fn assert_cause(run: &Run, id: &str, beginning: &str) {
    let last = attempts(&run.summary, id).last().expect("an attempt");
    let first = last["causes"][0]["cause"].as_str().unwrap_or_default();
    assert!(
        first.starts_with(beginning),
        "the first cause of `{id}` begins with `{beginning}`: {last:#}"
    );
}

#[test]
fn redis_comes_back_from_its_rdb_file_and_keeps_its_keys_over_a_restart() {
    let site = Site::new(|text| text);
    let run = site.run().exits(0);
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
        site.new
            .asked()
            .iter()
            .filter(|path| **path == chain)
            .count(),
        1
    );
    assert!(site.old.asked().contains(&chain));
    site.home.output(&["verify", &run.incident()]).exits(0);
}
