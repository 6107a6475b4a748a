//! What is broken of Arbitex in a drill.

use super::{CLUSTER, SERVER, collection};
use crate::{
    sandbox::{
        azure,
        scenario::Fault,
        world::{World, cluster::Kube},
    },
    systems::kubernetes::Body,
};
use http::Method;
use serde_json::json;
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

/// What the person on call will find.
pub(super) async fn breaks(world: &Arc<World>) -> io::Result<()> {
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
            Fault::ClusterUnsaved => azure::backup::forgets(world),
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
pub(super) fn dumps(world: &World) -> io::Result<Vec<PathBuf>> {
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
