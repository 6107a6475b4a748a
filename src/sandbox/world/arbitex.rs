//! Arbitex as it stands in a sandbox: its database with a past, its cluster, its volumes, its Redis, and
//! what is broken of them.

use super::{
    World,
    cluster::Kube,
    history::{self, Shape, written},
    platform::{self, Front},
    postgres::PORT,
    random_text, redis, repository,
};
use crate::{
    sandbox::{azure, scenario::Fault},
    systems::kubernetes::Body,
};
use base64::Engine;
use http::Method;
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

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

const REDIS: &str = "#!/bin/sh
exec redis-server --dir /data --appendonly yes --appendfsync always --save '' --protected-mode no --port 6379
";

/// The platform itself cannot be had; this does what its recovery depends on: it wants its database and
/// the schema that its code knows, and it writes audit events.
const START: &str = r#"#!/bin/bash
say() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"; }
sql() { PGCONNECT_TIMEOUT=5 psql "$DATABASE_URL" -XqAtw -v ON_ERROR_STOP=1 "$@"; }
rm -f /tmp/ready
trap 'say "asked to end"; exit 0' TERM
say "starting $(cat /image/version)"
if ! revision=$(sql -c 'SELECT version_num FROM alembic_version'); then
  say "FATAL the database cannot be used"
  exit 1
fi
if [ "$revision" != "$(cat /image/head)" ]; then
  say "FATAL Can't locate revision identified by '$revision'"
  exit 1
fi
touch /tmp/ready
say "ready"
while true; do
  sleep 3 & wait $!
  if sql -v key="$AUDIT_KEY" >/dev/null <<<"SELECT audit('request', :'key')"; then
    [ ! -d /var/lib/arbitex ] || date -u +%s >>/var/lib/arbitex/buffer.log
  else
    say "ERROR an audit event could not be written"
  fi
done
"#;

/// What the recovery asks of the platform's own tools.
const PYTHON: &str = r#"#!/bin/bash
sql() { PGCONNECT_TIMEOUT=5 psql "$DATABASE_URL" -XqAtw -v ON_ERROR_STOP=1 "$@"; }
head=$(cat /image/head)
case "$*" in
  "-m alembic heads") echo "$head (head)" ;;
  "-m alembic current"*)
    now=$(sql -c 'SELECT version_num FROM alembic_version') || exit 1
    if [ "$now" = "$head" ]; then echo "$now (head)"; exit 0; fi
    echo "  FAILED: Can't locate revision identified by '$now'" >&2
    exit 255 ;;
  "-m pytest tests/smoke/"*)
    tenants=$(sql -c 'SELECT count(*) FROM tenants') || { echo "1 error in 0.31s"; exit 1; }
    rules=$(sql -c 'SELECT count(*) FROM policy_rules') || { echo "1 error in 0.31s"; exit 1; }
    if [ "$tenants" -gt 0 ] && [ "$rules" -gt 0 ]; then echo "14 passed, 31 deselected in 0.84s"; exit 0; fi
    echo "FAILED tests/smoke/test_tenants.py::test_a_tenant_has_rules - assert $rules > 0"
    echo "1 failed, 3 passed, 31 deselected in 0.52s"
    exit 1 ;;
  *) echo "python here knows alembic and pytest: $*" >&2; exit 2 ;;
esac
"#;

/// Small images seldom have it, and helper pods ask for it.
const NC: &str = r#"#!/bin/bash
while [ "${1#-}" != "$1" ]; do case $1 in -w) shift 2 ;; *) shift ;; esac; done
timeout 5 bash -c "exec 3<>/dev/tcp/$1/$2"
"#;

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
    for (name, content) in [
        ("start", START),
        ("bin/python", PYTHON),
        ("head", REVISION),
        ("version", "arbitex 2.14.0"),
    ] {
        world.image("platform", name, content)?;
    }
    world.image("redis", "start", REDIS)?;
    world.image("busybox", "bin/nc", NC)?;
    fs::create_dir_all(world.images().join("postgres"))?;
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
    objects(world).await?;
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
    azure::backed_up(world, &kube, NAMESPACE, past.damaged).await?;
    built("the platform");
    breaks(world).await?;
    built("what is broken");
    site(world, tenants, &past).await
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
    if let Some(oldest) = self::dumps(world)?.first() {
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

pub(crate) fn database_url(world: &World, host: &str) -> String {
    format!(
        "postgresql://{USER}:{}@{host}:{PORT}/{DATABASE}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt",
        encoded(&world.secrets.db_password)
    )
}

/// The objects of the namespace.
async fn objects(world: &Arc<World>) -> io::Result<()> {
    let kube = world
        .cluster(CLUSTER)
        .ok_or_else(|| io::Error::other("no cluster"))?;
    kube.make(
        "/api/v1/namespaces",
        &json!({ "metadata": { "name": NAMESPACE } }),
    )
    .await?;
    kube.make(
        "/apis/storage.k8s.io/v1/storageclasses",
        &json!({ "metadata": { "name": "managed" }, "provisioner": "disk.csi.azure.com", "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate", "parameters": { "skuName": "Premium_LRS" } }),
    )
    .await?;
    for (claim, name) in [
        ("arbitex-redis-data", "redis"),
        ("arbitex-audit-buffer", "audit"),
        ("arbitex-db-backup", "backup"),
    ] {
        let room = json!({ "storage": "4Gi" });
        let volume = format!("pvc-{name}-{}", random_text(4)?);
        kube.make(
            "/api/v1/persistentvolumes",
            &json!({ "metadata": { "name": volume }, "spec": {
                "capacity": room, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "managed",
                "claimRef": { "namespace": NAMESPACE, "name": claim },
                "csi": { "driver": "disk.csi.azure.com", "volumeHandle": azure::disks::id(name), "volumeAttributes": { "fsType": "ext4" } } } }),
        )
        .await?;
        kube.make(
            &collection("", "persistentvolumeclaims"),
            &json!({ "metadata": { "name": claim }, "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "managed", "volumeName": volume, "resources": { "requests": room } } }),
        )
        .await?;
    }
    for (path, object) in workloads(world) {
        let path = if path.ends_with("/cronjobs") {
            kube.cron_jobs(NAMESPACE)
        } else {
            path
        };
        kube.make(&path, &object).await?;
    }
    Ok(())
}

/// What the chart of the platform makes.
pub(crate) fn workloads(world: &World) -> Vec<(String, Value)> {
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let host = host_of(SERVER);
    let secret = json!({ "metadata": { "name": "arbitex-secrets" }, "data": {
        "DATABASE_URL": base64(&database_url(world, &host)), "DATABASE_HOST": base64(&host), "DATABASE_NAME": base64(DATABASE),
        "AUDIT_KEY": base64(&world.secrets.master_key) } });
    let pod = |app: &str, container: Value, claim: Option<&str>, host: bool| {
        let volumes: Vec<Value> = claim
            .iter()
            .map(|c| json!({ "name": "data", "persistentVolumeClaim": { "claimName": c } }))
            .collect();
        json!({ "metadata": { "labels": { "app": app } }, "spec": { "terminationGracePeriodSeconds": 5, "hostNetwork": host, "containers": [container], "volumes": volumes } })
    };
    let redis = json!({ "name": "redis", "image": "docker.io/library/redis:7", "ports": [{ "name": "redis", "containerPort": 6379 }],
        "readinessProbe": { "tcpSocket": { "port": 6379 } }, "volumeMounts": [{ "name": "data", "mountPath": "/data" }] });
    let app = |mounts: Value| {
        json!({ "name": "app", "image": "arbitexregistry.azurecr.io/arbitex/platform:2.14.0", "ports": [{ "name": "http", "containerPort": 8080 }],
            "envFrom": [{ "secretRef": { "name": "arbitex-secrets" } }],
            "readinessProbe": { "exec": { "command": ["test", "-e", "/tmp/ready"] } }, "volumeMounts": mounts })
    };
    let deployment = |name: &str, replicas: u32, pod: Value| {
        let body = json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": pod } });
        (collection("apps", "deployments"), body)
    };
    let service = |name: &str, port: u16| {
        let body = json!({ "metadata": { "name": name }, "spec": { "selector": { "app": name }, "ports": [{ "port": port }] } });
        (collection("", "services"), body)
    };
    let data = json!([{ "name": "data", "mountPath": "/var/lib/arbitex" }]);
    let dump = "set -euo pipefail
name=/backups/arbitex-$(date -u +%Y%m%d-%H%M%S).dump
pg_dump -Fc -Z 6 --file \"$name.tmp\" \"$DATABASE_URL\"
pg_restore --file=/dev/null \"$name.tmp\"
mv \"$name.tmp\" \"$name\"";
    let job = json!({ "name": "dump", "image": "docker.io/library/postgres:15", "command": ["bash", "-c", dump],
        "envFrom": [{ "secretRef": { "name": "arbitex-secrets" } }], "volumeMounts": [{ "name": "data", "mountPath": "/backups" }] });
    let mut job = pod("arbitex-db-backup", job, Some("arbitex-db-backup"), true);
    job["spec"]["restartPolicy"] = json!("Never");
    let backend = json!({ "service": { "name": "arbitex-platform", "port": { "number": 8080 } } });
    vec![
        (collection("", "secrets"), secret),
        (
            collection("apps", "statefulsets"),
            json!({ "metadata": { "name": "arbitex-redis" }, "spec": { "replicas": 1, "serviceName": "arbitex-redis",
                "selector": { "matchLabels": { "app": "arbitex-redis" } }, "template": pod("arbitex-redis", redis, Some("arbitex-redis-data"), false) } }),
        ),
        service("arbitex-redis", 6379),
        deployment(
            "arbitex-platform",
            3,
            pod(
                "arbitex-platform",
                app(data),
                Some("arbitex-audit-buffer"),
                true,
            ),
        ),
        service("arbitex-platform", 8080),
        deployment(
            "arbitex-cloud",
            2,
            pod("arbitex-cloud", app(json!([])), None, true),
        ),
        (
            collection("batch", "cronjobs"),
            json!({ "metadata": { "name": "arbitex-db-backup" }, "spec": { "schedule": "0 */2 * * *", "jobTemplate": { "spec": { "template": job } } } }),
        ),
        (
            collection("networking.k8s.io", "ingresses"),
            json!({ "metadata": { "name": "arbitex" }, "spec": { "ingressClassName": "nginx", "rules": [{ "host": API, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }] } }),
        ),
    ]
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

/// What the person on call will find.
async fn breaks(world: &Arc<World>) -> io::Result<()> {
    for fault in world.scenario.broken.clone() {
        match fault {
            // These are in the past, and were made with it.
            Fault::BadMigration | Fault::CacheShadowed => {}
            Fault::DatabaseLost => {
                if let Some(mut server) = world.databases.lock().await.remove(SERVER) {
                    server.stop(true).await;
                    fs::remove_dir_all(&server.data)?;
                }
            }
            Fault::BackupUnavailable => azure::postgres::disturbed(world),
            Fault::DumpTruncated => {
                let newest = dumps(world)?
                    .pop()
                    .ok_or_else(|| io::Error::other("no dump"))?;
                let file = fs::File::options().write(true).open(newest)?;
                file.set_len(file.metadata()?.len() * 3 / 5)?;
            }
            Fault::CacheLost => lose_cache(world).await?,
            Fault::ClaimHeld => hold_claim(world).await?,
            Fault::ClusterLost => azure::aks::lost(world, CLUSTER),
            Fault::VolumeLost => {
                azure::disks::remove(world, &azure::disks::id("audit"));
                restart(world, "app=arbitex-platform").await?;
            }
            other => {
                return Err(io::Error::other(format!(
                    "{other:?} is no fault of Arbitex"
                )));
            }
        }
    }
    Ok(())
}

/// The dumps on their volume, oldest first.
fn dumps(world: &World) -> io::Result<Vec<PathBuf>> {
    let all = fs::read_dir(world.disks().join("backup"))?
        .flatten()
        .map(|e| e.path());
    let mut all: Vec<PathBuf> = all
        .filter(|p| p.extension().is_some_and(|e| e == "dump"))
        .collect();
    all.sort();
    Ok(all)
}

fn kube(world: &World) -> io::Result<Arc<Kube>> {
    world
        .cluster(CLUSTER)
        .ok_or_else(|| io::Error::other("no cluster"))
}

/// Deletes pods, so that they begin anew.
async fn restart(world: &World, selector: &str) -> io::Result<()> {
    let kube = kube(world)?;
    let pods = collection("", "pods");
    let list = kube
        .get(&format!(
            "{pods}?labelSelector={}",
            selector.replace('=', "%3D")
        ))
        .await
        .unwrap_or_default();
    for pod in list["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let _ = kube
            .cluster
            .send(
                Method::DELETE,
                &format!("{pods}/{name}"),
                Body::Json,
                &json!({}),
            )
            .await;
    }
    Ok(())
}

async fn lose_cache(world: &Arc<World>) -> io::Result<()> {
    for file in fs::read_dir(world.disks().join("redis/appendonlydir"))?.flatten() {
        if file.file_name().to_string_lossy().ends_with(".aof") {
            let mut file = fs::File::options().append(true).open(file.path())?;
            file.write_all(&[0x5a; 4096])?;
        }
    }
    restart(world, "app=arbitex-redis").await?;
    let pods = collection("", "pods");
    kube(world)?
        .until(&format!("{pods}/arbitex-redis-0"), |o| {
            o["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0)
        })
        .await
        .map(drop)
}

async fn hold_claim(world: &Arc<World>) -> io::Result<()> {
    let pod = json!({ "metadata": { "name": "audit-shell", "labels": { "made-by": "somebody" } }, "spec": { "restartPolicy": "Never",
        "containers": [{ "name": "shell", "image": "mcr.microsoft.com/azurelinux/busybox:1.36", "command": ["sleep", "86400"],
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }],
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "arbitex-audit-buffer" } }] } });
    let (kube, pods) = (kube(world)?, collection("", "pods"));
    kube.make(&pods, &pod).await?;
    kube.until(&format!("{pods}/audit-shell"), |o| {
        o["spec"]["nodeName"].is_string()
    })
    .await
    .map(drop)
}

/// The site of the drill: where everything is, and who it was in peace time.
async fn site(world: &Arc<World>, tenants: u32, past: &history::Past) -> io::Result<()> {
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
        "identity": { "cluster": kube(world)?.identity().await?, "database": { "host": host_of(SERVER), "port": PORT, "system_identifier": identifier } },
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
