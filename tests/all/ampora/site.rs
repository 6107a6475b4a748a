//! What stands around Ampora's database in its tests: authorities, an identity provider, a secret
//! manager, and a stand-in for Ampora itself, as no real one can be had.

use crate::harness::{
    bin::{Blackstart, Run, attempts, step},
    free_port, need,
    oidc::{self, Provider},
    platform_api::{Api, Reply, Request},
    postgres::{PASSWORD, owner_script},
    search_path,
    tls::{Authority, Pair, TlsServer, Valid},
    tools::{ACCOUNT, REGION, SecretManager, own_tools},
};
use crate::platform::{TENANTS, written};
use chrono::Utc;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

pub(crate) const USER: &str = "recovery-test";
pub(crate) const SECRET: &str = "ampora-prod/master-key";
pub(crate) const KEY: &str = "the-key-that-was-current-at-the-moment";

pub(crate) fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

pub(crate) fn fingerprint(key: &str) -> String {
    Sha256::digest(key)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// The runbook as it is shipped.
pub(crate) fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/runbooks/ampora.yaml");
    fs::read_to_string(path).unwrap()
}

/// Everything around the database: the authorities, the provider, the platform, the agents' door.
pub(crate) struct Site {
    pub(crate) home: Blackstart,
    /// Signs what servers show.
    pub(crate) servers: Authority,
    /// Signs agents; its key is in Ampora's database.
    pub(crate) persisted: Authority,
    pub(crate) provider: Option<Provider>,
    pub(crate) api: Option<Api>,
    pub(crate) agents: Option<TlsServer>,
    pub(crate) values: BTreeMap<String, String>,
}

impl Site {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn that_runs() -> Self {
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
    pub(crate) fn set_what_validation_needs(&mut self) {
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

    /// The database as it was before the loss.
    pub(crate) fn set_old_database(&mut self, port: u16) {
        self.set("db_host", "127.0.0.1");
        self.set("db_port", port.to_string());
        self.set("db_name", "arbitex");
        self.set("db_user", "postgres");
        self.set("db_tls", "disable");
    }

    /// Where the database is restored to, and from which backups.
    pub(crate) fn set_new_server(
        &mut self,
        data: &Path,
        sockets: &Path,
        backups: &Path,
        port: u16,
    ) {
        self.set("pg_run", shown(owner_script()));
        self.set(
            "pg_bin",
            shown(need("initdb", "postgresql-15").parent().unwrap()),
        );
        self.set("pg_data", shown(data));
        self.set("pg_conf", shown(&data.join("postgresql.conf")));
        self.set("pg_sockets", shown(sockets));
        self.set("backup_config", shown(backups));
        self.set("stanza", "main");
        self.set("new_db_host", "127.0.0.1");
        self.set("new_db_port", port.to_string());
        self.set("tenants", TENANTS);
    }

    pub(crate) fn agent_shows(&mut self, pair: &Pair) {
        let (cert, key) = pair.shown();
        self.set("agent_cert", cert);
        self.set("agent_key", key);
    }

    pub(crate) fn certificate(&self, name: &str, names: &str, valid: &Valid) -> Pair {
        self.servers.sign(name, names, valid)
    }

    /// With the secret manager, in which the key was rotated as often as there are more texts.
    pub(crate) fn with_keys(mut self, manager: &SecretManager, keys: &[&str]) -> Self {
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

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// Runs `what` of a runbook, and says yes to every manual step of it.
    pub(crate) fn run(&self, runbook: &str, what: &[&str], more: &[&str]) -> Run {
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

    pub(crate) fn key_file(&self) -> PathBuf {
        PathBuf::from(&self.values["vm_key_file"])
    }
}

/// Ampora, as far as its validation asks: alive, ready, and a login that ends with a token of the
/// provider.
pub(crate) fn ampora(port: u16, provider: u16) -> Api {
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
pub(crate) fn assert_state(run: &Run, ids: &[&str], state: &str) {
    for id in ids {
        let found = step(&run.summary, id);
        assert_eq!(found["state"], state, "{id}\n{found:#}");
    }
}

/// What a step's last attempt left in its log.
pub(crate) fn log_of(site: &Site, run: &Run, id: &str) -> String {
    let last = attempts(&run.summary, id).last().expect("an attempt");
    site.home.log(&run.summary, last)
}

/// The causes that were found for a step, the likeliest first.
pub(crate) fn causes(run: &Run, id: &str) -> Vec<String> {
    let last = attempts(&run.summary, id).last().expect("an attempt");
    let found = last["causes"].as_array().cloned().unwrap_or_default();
    found
        .iter()
        .map(|row| row["cause"].as_str().unwrap().to_owned())
        .collect()
}

/// What the checks of a step's last attempt saw that did not hold.
pub(crate) fn seen_wrong(run: &Run, id: &str) -> Vec<String> {
    let last = attempts(&run.summary, id).last().expect("an attempt");
    let checks = last["checks"].as_array().cloned().unwrap_or_default();
    checks
        .iter()
        .filter(|check| check["verdict"] == "does-not-hold")
        .map(|check| check["seen"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[track_caller]
pub(crate) fn assert_cause(run: &Run, id: &str, beginning: &str) {
    let all = causes(run, id);
    assert!(
        all.first()
            .is_some_and(|cause| cause.starts_with(beginning)),
        "the first cause of `{id}` begins with `{beginning}`: {all:#?}\n{:#}",
        step(&run.summary, id)
    );
}
