//! Arbitex as it stands in a sandbox: its database with a past, its cluster, its volumes, its Redis, and
//! what is broken of them.

mod faults;
mod images;
mod objects;

pub(crate) use objects::workloads;

use super::{
    World,
    history::{self, Shape, written},
    platform::{self, Front},
    postgres::PORT,
    redis, repository,
};
use crate::sandbox::{azure, scenario::Fault};
use serde_json::{Value, json};
use std::{fs, io, net::Ipv4Addr, path::Path, sync::Arc, time::SystemTime};

pub(crate) const NAMESPACE: &str = "arbitex";
const SERVER: &str = "arbitex-db";
pub(crate) const DOMAIN: &str = "postgres.database.azure.com";
const USER: &str = "arbitex_admin";
const DATABASE: &str = "arbitex";
const REVISION: &str = "f00d5eed";
pub(crate) const API: &str = "api.arbitex.io";
const INGRESS: Ipv4Addr = Ipv4Addr::new(127, 30, 0, 1);
pub(crate) const CLUSTER: &str = "arbitex-aks";
const CONTEXT: &str = "arbitex-aks";
const MINUTE: i64 = 60;

fn collection(group: &str, plural: &str) -> String {
    let version = if group.is_empty() {
        "/api/v1".to_owned()
    } else {
        format!("/apis/{group}/v1")
    };
    format!("{version}/namespaces/{NAMESPACE}/{plural}")
}

pub(crate) fn host_of(server: &str) -> String {
    format!("{server}.{DOMAIN}")
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

pub(super) async fn build(world: &Arc<World>, mut built: impl FnMut(&str)) -> io::Result<()> {
    images::make(world)?;
    let kube = world
        .start_cluster(
            CLUSTER,
            1,
            "arbitex-aks-7f3a.hcp.westeurope.azmk8s.io",
            Some(INGRESS),
        )
        .await?;
    azure::aks::knows(world, &kube);
    crate::private::replace_lazily(
        &world.folder.at("home/kubeconfig"),
        kube.kubeconfig_of(CONTEXT).as_bytes(),
    )?;
    built("a cluster");
    let tenants = 180 + u32::try_from(world.seed % 400).unwrap_or(0);
    let past = database(world, tenants).await?;
    built("PostgreSQL with a past of five hours, its WAL, a backup and dumps");
    history_of_volumes(world, past.damaged.timestamp())?;
    built("Redis and the volumes");
    objects::make(world).await?;
    platform::open(
        world,
        Front {
            host: API,
            address: INGRESS,
            namespace: NAMESPACE,
            service: "arbitex-platform",
            secret: "arbitex-secrets",
        },
    )
    .await?;
    world.names.set(API, &[INGRESS]);
    azure::dns(world, "arbitex.io", "api", INGRESS);
    settle(world).await?;
    let cluster = kube.identity().await?;
    azure::backed_up(world, &kube, NAMESPACE, past.damaged).await?;
    built("the platform");
    faults::breaks(world).await?;
    built("what is broken");
    site(world, tenants, &past, cluster).await
}

/// The database server with its past, running.
async fn database(world: &Arc<World>, tenants: u32) -> io::Result<history::Past> {
    let address = Ipv4Addr::new(127, 10, 0, 1);
    // pgBackRest knows its first server by the name of the stanza.
    let mut server = world.estate.make(SERVER, &world.estate.stanza, address)?;
    let sockets = world.estate.root.join("sockets");
    std::os::unix::fs::symlink(sockets.join(SERVER), sockets.join(&world.estate.stanza))?;
    let key = &world.secrets.master_key;
    let shape = Shape {
        database: DATABASE,
        user: USER,
        password: &world.secrets.db_password,
        tenants,
        master_key: key,
        revision: REVISION,
        more: "",
    };
    let ago = 16 * MINUTE + i64::try_from(world.seed % 15).unwrap_or(0) * MINUTE;
    let damage = match world.has(Fault::BadMigration) {
        true => format!(
            "UPDATE alembic_version SET version_num = 'b4dc0ffe'; DELETE FROM policy_rules; DELETE FROM tenants;
             SELECT audit('migration b4dc0ffe', '{key}')"
        ),
        false => String::new(),
    };
    let dumps = world.disks().join("backup");
    fs::create_dir_all(&dumps)?;
    let past = history::live(
        &world.estate,
        &mut server,
        &shape,
        ago,
        Some(&dumps),
        &damage,
    )
    .await?;
    let host = host_of(SERVER);
    server.shows(&world.authority.sign(&[&host])?)?;
    server.start(false).await?;
    world.names.set(&host, &[address]);
    world
        .databases
        .lock()
        .await
        .insert(SERVER.to_owned(), server);
    azure::postgres::knows(world, SERVER, past.started);
    // Copies outside the cluster are one dump behind.
    let copies = world.folder.at("kept/dumps");
    fs::create_dir_all(&copies)?;
    if let Some(oldest) = faults::dumps(world)?.first() {
        fs::copy(oldest, copies.join(oldest.file_name().unwrap_or_default()))?;
    }
    if world.has(Fault::DatabaseLost) {
        fresh(world).await?;
    }
    let second = chrono::TimeDelta::seconds(1);
    world.fact("kept", world.folder.at("kept").display().to_string());
    world.fact("damaged", written(past.damaged));
    world.fact("before", written(past.damaged - second));
    world.fact("after", written(past.damaged + second * 2));
    world.fact("tenants", tenants.to_string());
    Ok(past)
}

/// A server that the infrastructure code has made: it has the role, and no database yet.
async fn fresh(world: &Arc<World>) -> io::Result<()> {
    let (name, address) = ("arbitex-db-fresh", Ipv4Addr::new(127, 10, 0, 90));
    let mut server = world.estate.make(name, name, address)?;
    let host = host_of(name);
    server.shows(&world.authority.sign(&[&host])?)?;
    // It archives nowhere: the repository belongs to the other one.
    let conf = server.data.join("postgresql.conf");
    let text = fs::read_to_string(&conf)?.replace("archive_mode = on", "archive_mode = off");
    fs::write(&conf, text)?;
    server.start(false).await?;
    let role = format!(
        "CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{}' IN ROLE pg_signal_backend, pg_read_all_stats",
        world.secrets.db_password
    );
    server.sql("postgres", &role).await?;
    world.names.set(&host, &[address]);
    world.databases.lock().await.insert(name.to_owned(), server);
    world.fact("fresh_host", host);
    Ok(())
}

/// What is on the disks, and the snapshots that were taken of them.
fn history_of_volumes(world: &Arc<World>, damaged: i64) -> io::Result<()> {
    let disks = world.disks();
    fs::create_dir_all(disks.join("audit"))?;
    let kept = world.folder.at("kept/dump.rdb");
    let keys = 300 + u32::try_from(world.seed % 300).unwrap_or(0);
    redis::fill(&disks.join("redis"), keys, &kept)?;
    if world.has(Fault::CacheShadowed) {
        fs::remove_dir_all(disks.join("redis/appendonlydir"))?;
        fs::copy(&kept, disks.join("redis/dump.rdb"))?;
    }
    world.fact("redis_keys", keys.to_string());
    let audit = disks.join("audit");
    let line = |at: i64| format!("{at} event of a tenant, not in the database yet\n");
    let snapshot_at = damaged - 35 * MINUTE;
    for (name, at) in [
        ("buffer-1.log", snapshot_at - 40 * MINUTE),
        ("buffer-2.log", snapshot_at - 2 * MINUTE),
    ] {
        let path = audit.join(name);
        fs::write(&path, line(at).repeat(200))?;
        set_time(&path, at)?;
    }
    for (name, claim) in [
        ("redis", "arbitex-redis-data"),
        ("audit", "arbitex-audit-buffer"),
    ] {
        azure::disks::knows(world, name, claim, NAMESPACE);
        azure::disks::snapshot_of_then(world, name, claim, snapshot_at)?;
    }
    azure::disks::knows(world, "backup", "arbitex-db-backup", NAMESPACE);
    world.fact(
        "snapshot",
        written(chrono::DateTime::from_timestamp(snapshot_at, 0).unwrap_or_default()),
    );
    Ok(())
}

fn set_time(path: &Path, at: i64) -> io::Result<()> {
    let at =
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(at).unwrap_or(0));
    fs::File::options().write(true).open(path)?.set_modified(at)
}

/// What comes up when nothing is broken does so first, as before an incident.
async fn settle(world: &Arc<World>) -> io::Result<()> {
    let kube = world
        .cluster(CLUSTER)
        .ok_or_else(|| io::Error::other("no cluster"))?;
    let redis = format!("{}/arbitex-redis", collection("apps", "statefulsets"));
    kube.until(&redis, |o| o["status"]["readyReplicas"] == 1)
        .await?;
    // With a database whose data is wrong already the platform does not come up.
    if !world.has(Fault::BadMigration) {
        for name in ["arbitex-platform", "arbitex-cloud"] {
            let path = format!("{}/{name}", collection("apps", "deployments"));
            kube.until(&path, |o| {
                o["status"]["readyReplicas"] == o["spec"]["replicas"]
            })
            .await?;
        }
    }
    Ok(())
}

/// The site of the drill: where everything is, and who it was in peace time.
async fn site(
    world: &Arc<World>,
    tenants: u32,
    past: &history::Past,
    cluster: Value,
) -> io::Result<()> {
    let identifier = match world.databases.lock().await.get(SERVER) {
        Some(server) => {
            server
                .value(
                    "postgres",
                    "SELECT system_identifier FROM pg_control_system()",
                )
                .await?
        }
        None => String::new(),
    };
    let kept = world.folder.at("kept").display().to_string();
    let group = "/subscriptions/00000000-0000-0000-0000-0000000d1111/resourceGroups";
    let variables = json!({
        "cluster_context": CONTEXT,
        "subscription": azure::SUBSCRIPTION,
        "entra_tenant": azure::TENANT,
        "keep_dir": kept,
        "dump_dir": format!("{kept}/dumps"),
        "rdb_file": format!("{kept}/dump.rdb"),
        "helper_image": "mcr.microsoft.com/azurelinux/busybox:1.36",
        "location": azure::LOCATION, "kubernetes_version": "1.32",
        "node_size": "Standard_D4s_v5", "node_count": "1", "cluster_zones": "1",
        "cluster_subnet": format!("{group}/arbitex-net-rg/providers/Microsoft.Network/virtualNetworks/arbitex/subnets/aks"),
        "cluster_identity": format!("{group}/arbitex-prod-rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/arbitex-aks"),
        "registry": "arbitexregistry",
        "backup_account": "arbitexbackups", "key_vault": repository::KEY_VAULT,
        "secret_keys": "DATABASE_URL DATABASE_HOST DATABASE_NAME AUDIT_KEY",
        "repo_dir": world.folder.at("home/arbitex").display().to_string(),
        "repo_commit": repository::make(world)?,
    });
    let peace = past.damaged - chrono::TimeDelta::hours(9);
    let site = json!({
        "site": world.folder.id(),
        "runbook": "arbitex",
        "kind": "sandbox",
        "variables": variables,
        "identity": { "cluster": cluster, "database": { "host": host_of(SERVER), "port": PORT, "system_identifier": identifier } },
        "secrets": { "db_password": { "env": "DB_PASSWORD" }, "admin_token": { "env": "ADMIN_TOKEN" } },
        "baseline": { "tenants": tenants, "at": written(peace) },
    });
    // JSON is YAML, too.
    world.folder.write_json("site.yaml", &site)?;
    world.environment("DB_PASSWORD", &world.secrets.db_password);
    world.environment("ADMIN_TOKEN", &world.secrets.admin_token);
    world.environment(
        "KUBECONFIG",
        world.folder.at("home/kubeconfig").display().to_string(),
    );
    Ok(())
}
