//! Ampora as it stands in a sandbox: its database and what backs it up, two clusters, its keys, its identity
//! provider, the door of its agents, and what is broken of them.

mod agents;
mod front;
mod images;
mod oidc;
mod site;

use super::{
    World,
    cluster::Kube,
    history::{self, Past, Shape, written},
    platform::{ask, decoded},
    postgres::PORT,
    random_text,
};
use crate::{
    journal::hex,
    sandbox::{authority::Authority, aws, azure, scenario::Fault},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fs, io, net::Ipv4Addr, sync::Arc};

const NAMESPACE: &str = "ampora";
const USER: &str = "ampora";
const DATABASE: &str = "ampora";
const OLD_DB: &str = "db.acme.example";
const NEW_DB: &str = "newdb.acme.example";
const PUBLIC: &str = "ampora.acme.example";
const REVISION: &str = "0042";
/// Which part of the world is where.
const OLD_DB_AT: Ipv4Addr = Ipv4Addr::new(127, 10, 0, 1);
const NEW_DB_AT: Ipv4Addr = Ipv4Addr::new(127, 10, 0, 2);
const OLD_SITE: Ipv4Addr = Ipv4Addr::new(127, 30, 0, 11);
const NEW_SITE: Ipv4Addr = Ipv4Addr::new(127, 30, 0, 12);
const SECRET_ID: &str = "ampora-prod/master-key";
const NEWEST_KEY: &str = "rotated-once-more-to-be-on-the-safe-side";
const MINUTE: i64 = 60;

/// The platform as its doors see it.
pub(super) struct Platform {
    world: Arc<World>,
    provider: oidc::Provider,
}

/// What a running pod says of itself.
struct State {
    subsystems: Value,
    /// The authority of the agents, where the database has it and the master key opens it.
    authority: Option<String>,
}

fn fingerprint(key: &str) -> String {
    hex(&Sha256::digest(key))
}

fn collection(group: &str, plural: &str) -> String {
    let version = if group.is_empty() {
        "/api/v1".to_owned()
    } else {
        format!("/apis/{group}/v1")
    };
    format!("{version}/namespaces/{NAMESPACE}/{plural}")
}

impl Platform {
    /// The cluster in which a pod of the platform is ready, and that pod.
    async fn pod(&self) -> Option<(Arc<Kube>, Value)> {
        for kube in self.world.clusters() {
            if !kube.works() {
                continue;
            }
            let Some(pods) = kube
                .get(&format!(
                    "{}?labelSelector=app%3Dampora-web",
                    collection("", "pods")
                ))
                .await
            else {
                continue;
            };
            let ready = pods["items"].as_array().into_iter().flatten().find(|p| {
                let conditions = p["status"]["conditions"].as_array().into_iter().flatten();
                conditions
                    .into_iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True")
                    && p["metadata"]["deletionTimestamp"].is_null()
            });
            if let Some(pod) = ready {
                return Some((kube, pod.clone()));
            }
        }
        None
    }

    /// The database host and the master key that the platform has in a cluster.
    async fn inside(&self, kube: &Kube) -> (String, String) {
        let secret = kube
            .get(&format!("{}/ampora-secrets", collection("", "secrets")))
            .await
            .unwrap_or_default();
        let config = kube
            .get(&format!("{}/ampora-config", collection("", "configmaps")))
            .await
            .unwrap_or_default();
        let key = decoded(&secret)
            .remove("master-key")
            .unwrap_or_default()
            .replace('\'', "");
        (
            config["data"]["DATABASE_HOST"]
                .as_str()
                .unwrap_or(OLD_DB)
                .to_owned(),
            key,
        )
    }

    /// What a pod that is ready says of itself; `None` where there is none.
    async fn state(&self) -> Option<State> {
        let (kube, pod) = self.pod().await?;
        let name = pod["metadata"]["name"].as_str()?;
        let log = format!("{}/{name}/log?tailLines=3", collection("", "pods"));
        let log = kube.cluster.text(&log).await.ok()?;
        let subsystems = log
            .lines()
            .rev()
            .find_map(|l| serde_json::from_str::<Value>(l).ok())?;
        let (host, key) = self.inside(&kube).await;
        let query = format!(
            "SELECT cert FROM certificate_authority WHERE pgp_sym_decrypt(sealed_key, '{key}') <> '' LIMIT 1"
        );
        let authority = ask(&database_url(&self.world, &host), &query)
            .await
            .ok()
            .filter(|pem| !pem.is_empty());
        Some(State {
            subsystems,
            authority,
        })
    }
}

fn database_url(world: &World, host: &str) -> String {
    let password: String = world
        .secrets
        .db_password
        .bytes()
        .map(|b| format!("%{b:02X}"))
        .collect();
    format!(
        "postgresql://{USER}:{password}@{host}:{PORT}/{DATABASE}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
    )
}

pub(super) async fn build(world: &Arc<World>, mut built: impl FnMut(&str)) -> io::Result<()> {
    images::make(world)?;
    let old = world
        .start_cluster("prod-a", 1, "prod-a.k8s.acme.example", Some(OLD_SITE))
        .await?;
    let new = world
        .start_cluster("prod-b", 2, "prod-b.k8s.acme.example", Some(NEW_SITE))
        .await?;
    built("two clusters");
    let tenants = 20 + u32::try_from(world.seed % 60).unwrap_or(0);
    let persisted = Authority::new("Ampora agents")?;
    let past = database(world, tenants, &persisted).await?;
    built("PostgreSQL with a past of five hours, its WAL and its backups");
    keys(world, &past);
    aws::open(world).await?;
    for kube in [&old, &new] {
        infrastructure(world, kube).await?;
    }
    let login = random_text(8)?;
    let platform = Arc::new(Platform {
        provider: oidc::Provider::open(world, &login).await?,
        world: world.clone(),
    });
    front::open(&platform).await?;
    agents::open(&platform).await?;
    agents::renew(&platform);
    world.names.set(PUBLIC, &[OLD_SITE]);
    azure::dns(world, "acme.example", "ampora", OLD_SITE);
    built("identity provider, agents' door, secret manager");
    site::repository(world)?;
    site::files(world, &persisted)?;
    runs(world, &old).await?;
    built("the platform");
    breaks(world, &old).await?;
    built("what is broken");
    site::write(world, tenants, &past, &login).await
}

/// The database of the old site, with its past, running; and the configuration of the host that shall take over.
async fn database(world: &Arc<World>, tenants: u32, persisted: &Authority) -> io::Result<Past> {
    let estate = &world.estate;
    let mut server = estate.make(&estate.stanza, &estate.stanza, OLD_DB_AT)?;
    let key = &world.secrets.master_key;
    let sealed = match world.has(Fault::AuthorityKeyMissing) {
        // It was kept in a file of the old site, and in no backup.
        true => "decode('', 'hex')".to_owned(),
        false => format!("pgp_sym_encrypt('{}', '{key}')", persisted.key()),
    };
    let more = format!(
        "CREATE TABLE certificate_authority (id serial PRIMARY KEY, cert text NOT NULL, sealed_key bytea NOT NULL);
         INSERT INTO certificate_authority (cert, sealed_key) VALUES ('{}', {sealed});
         CREATE TABLE agents (id serial PRIMARY KEY, name text NOT NULL, connected_at timestamptz);
         INSERT INTO agents (name) SELECT 'agent-' || i FROM generate_series(1, 37) i;
         CREATE TABLE configurations (id serial PRIMARY KEY, name text NOT NULL, revision int NOT NULL);
         INSERT INTO configurations (name, revision) SELECT 'configuration ' || i, i FROM generate_series(1, 90) i",
        persisted.certificate()
    );
    let shape = Shape {
        database: DATABASE,
        user: USER,
        password: &world.secrets.db_password,
        tenants,
        master_key: key,
        revision: REVISION,
        more: &more,
    };
    let ago = 12 * MINUTE + i64::try_from(world.seed % 20).unwrap_or(0) * MINUTE;
    let damage = match world.has(Fault::EventsSwept) {
        true => "DELETE FROM audit_events",
        false => "",
    };
    let past = history::live(estate, &mut server, &shape, ago, None, damage).await?;
    server.shows(&world.authority.sign(&[OLD_DB])?)?;
    server.start(false).await?;
    world.names.set(OLD_DB, &[OLD_DB_AT]);
    world.names.set(NEW_DB, &[NEW_DB_AT]);
    world
        .databases
        .lock()
        .await
        .insert("old".to_owned(), server);
    new_host(world)?;
    let second = chrono::TimeDelta::seconds(1);
    world.fact("damaged", written(past.damaged));
    world.fact("before", written(past.damaged - second));
    world.fact("after", written(past.damaged + second * 2));
    world.fact("tenants", tenants.to_string());
    world.fact("home", world.folder.at("home").display().to_string());
    world.fact("kept", world.folder.at("kept").display().to_string());
    Ok(past)
}

/// What Debian keeps outside the data directory, and no backup holds.
fn new_host(world: &World) -> io::Result<()> {
    let estate = &world.estate;
    let pair = world.authority.sign(&[NEW_DB])?;
    let here = estate.root.display();
    let conf = format!(
        "listen_addresses = '{NEW_DB_AT}'
hba_file = '{here}/new.hba'
ident_file = '{here}/new.ident'
ssl = on
ssl_cert_file = '{here}/new.crt'
ssl_key_file = '{here}/new.key'
fsync = off
shared_buffers = 16MB
max_connections = 40
dynamic_shared_memory_type = mmap
timezone = 'UTC'
log_timezone = 'UTC'
"
    );
    let hba = "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n";
    for (name, text) in [
        ("new.conf", conf.as_str()),
        ("new.hba", hba),
        ("new.ident", ""),
        ("new.crt", &pair.chain),
        ("new.key", &pair.key),
    ] {
        let path = estate.root.join(name);
        fs::write(&path, text)?;
        estate.readable(&path)?;
    }
    estate.owner.folder(&estate.root.join("sockets/new"))
}

/// The key of the data, and what the secret manager has of it: it was rotated since, and nobody took note.
fn keys(world: &World, past: &Past) {
    let mut manager = world.secrets_manager();
    let day = 24 * 60 * MINUTE;
    let at = past.damaged.timestamp();
    manager.put(SECRET_ID, &world.secrets.master_key, at - 60 * day);
    manager.put(
        SECRET_ID,
        "rotated-by-a-schedule-that-nobody-knows",
        at - 120 * MINUTE,
    );
    if world.has(Fault::KeyRotated) {
        manager.put(SECRET_ID, NEWEST_KEY, at);
    }
    world.fact("key_sha256", fingerprint(&world.secrets.master_key));
    world.fact("newest_key_sha256", fingerprint(NEWEST_KEY));
}

/// What the infrastructure code makes in a cluster: parts, the namespace, the login of the database.
async fn infrastructure(world: &World, kube: &Kube) -> io::Result<()> {
    let crd = json!({ "metadata": { "name": "certificates.cert-manager.io" }, "spec": { "group": "cert-manager.io", "scope": "Namespaced",
        "names": { "plural": "certificates", "singular": "certificate", "kind": "Certificate", "shortNames": ["cert", "certs"] },
        "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} }, "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] } });
    kube.make(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &crd,
    )
    .await?;
    kube.make("/apis/networking.k8s.io/v1/ingressclasses", &json!({ "metadata": { "name": "nginx" }, "spec": { "controller": "k8s.io/ingress-nginx" } })).await?;
    kube.make(
        "/api/v1/namespaces",
        &json!({ "metadata": { "name": NAMESPACE } }),
    )
    .await?;
    let secret = json!({ "metadata": { "name": "ampora-database" }, "stringData": { "DATABASE_PASSWORD": world.secrets.db_password } });
    kube.make(&collection("", "secrets"), &secret).await?;
    if !world.has(Fault::FederationCertificateMissing) {
        let pinned = json!({ "metadata": { "name": "ampora-federation" }, "stringData": { "FEDERATION_CERTIFICATE": "pinned" } });
        kube.make(&collection("", "secrets"), &pinned).await?;
    }
    Ok(())
}

/// The old site, as it ran before the incident.
async fn runs(world: &Arc<World>, old: &Kube) -> io::Result<()> {
    let key = match world.has(Fault::KeyRotated) {
        true => NEWEST_KEY,
        false => &world.secrets.master_key,
    };
    let secret =
        json!({ "metadata": { "name": "ampora-secrets" }, "stringData": { "master-key": key } });
    old.make(&collection("", "secrets"), &secret).await?;
    let pair = world.authority.sign(&[PUBLIC])?;
    let tls = json!({ "metadata": { "name": "ampora-tls" }, "type": "kubernetes.io/tls", "stringData": { "tls.crt": pair.chain, "tls.key": pair.key } });
    old.make(&collection("", "secrets"), &tls).await?;
    for (path, object) in site::objects(OLD_DB, false) {
        old.make(&path, &object).await?;
    }
    let web = format!("{}/ampora-web", collection("apps", "deployments"));
    old.until(&web, |o| {
        o["status"]["readyReplicas"] == o["spec"]["replicas"]
    })
    .await
    .map(drop)
}

async fn breaks(world: &Arc<World>, old: &Kube) -> io::Result<()> {
    for fault in world.scenario.broken.clone() {
        match fault {
            Fault::SiteLost => {
                old.stop();
                if let Some(mut server) = world.databases.lock().await.remove("old") {
                    server.stop(true).await;
                    fs::remove_dir_all(&server.data)?;
                }
            }
            Fault::KeyRotated
            | Fault::AuthorityKeyMissing
            | Fault::EventsSwept
            | Fault::FederationCertificateMissing => {}
            other => return Err(io::Error::other(format!("{other:?} is no fault of Ampora"))),
        }
    }
    Ok(())
}
