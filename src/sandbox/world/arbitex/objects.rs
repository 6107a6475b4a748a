//! The objects of Arbitex's namespace.

use super::{API, CLUSTER, DATABASE, NAMESPACE, SERVER, USER, collection, encoded, host_of};
use crate::sandbox::{
    azure,
    world::{World, postgres::PORT, random_text},
};
use base64::Engine;
use serde_json::{Value, json};
use std::{io, sync::Arc};

pub(crate) fn database_url(world: &World, host: &str) -> String {
    format!(
        "postgresql://{USER}:{}@{host}:{PORT}/{DATABASE}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt",
        encoded(&world.secrets.db_password)
    )
}

/// The objects of the namespace.
pub(super) async fn make(world: &Arc<World>) -> io::Result<()> {
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
