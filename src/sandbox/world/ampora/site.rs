//! The site of Ampora's drill: its deployment repository, its certificates on disk, and its file.

use super::{
    DATABASE, NAMESPACE, NEW_DB, NEW_SITE, OLD_DB, PUBLIC, Past, SECRET_ID, USER, agents,
    collection, oidc, written,
};
use crate::sandbox::{
    authority::Authority,
    aws,
    scenario::Fault,
    world::{World, postgres::PORT, repository::git},
};
use serde_json::{Value, json};
use std::{fs, io};

const IMAGE: &str = "registry.acme.example/ampora/web:4.2.1";

/// What the manifests hold, for a database host.
pub(super) fn objects(database: &str, sweep: bool) -> Vec<(String, Value)> {
    let web = json!({ "name": "web", "image": IMAGE, "ports": [{ "name": "http", "containerPort": 8080 }],
        "env": [
            { "name": "MASTER_KEY", "valueFrom": { "secretKeyRef": { "name": "ampora-secrets", "key": "master-key" } } },
            { "name": "DATABASE_PASSWORD", "valueFrom": { "secretKeyRef": { "name": "ampora-database", "key": "DATABASE_PASSWORD" } } },
            { "name": "FEDERATION_CERTIFICATE", "valueFrom": { "secretKeyRef": { "name": "ampora-federation", "key": "FEDERATION_CERTIFICATE", "optional": true } } },
            { "name": "DATABASE_HOST", "valueFrom": { "configMapKeyRef": { "name": "ampora-config", "key": "DATABASE_HOST" } } },
            { "name": "AUDIT_RETENTION_ENABLED", "valueFrom": { "configMapKeyRef": { "name": "ampora-config", "key": "audit-retention-enabled" } } },
        ],
        "readinessProbe": { "exec": { "command": ["test", "-e", "/tmp/ready"] } } });
    let backend = json!({ "service": { "name": "ampora-web", "port": { "number": 8080 } } });
    let of = |kind: &str, version: &str, name: &str, rest: Value| {
        let mut object =
            json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name } });
        for (key, value) in rest.as_object().cloned().unwrap_or_default() {
            object[key] = value;
        }
        object
    };
    vec![
        (
            collection("", "configmaps"),
            of(
                "ConfigMap",
                "v1",
                "ampora-config",
                json!({ "data": { "DATABASE_HOST": database, "audit-retention-enabled": sweep.to_string() } }),
            ),
        ),
        (
            collection("apps", "deployments"),
            of(
                "Deployment",
                "apps/v1",
                "ampora-web",
                json!({ "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "ampora-web" } },
                "template": { "metadata": { "labels": { "app": "ampora-web" } }, "spec": { "hostNetwork": true, "terminationGracePeriodSeconds": 5, "containers": [web] } } } }),
            ),
        ),
        (
            collection("", "services"),
            of(
                "Service",
                "v1",
                "ampora-web",
                json!({ "spec": { "selector": { "app": "ampora-web" }, "ports": [{ "port": 8080 }] } }),
            ),
        ),
        (
            collection("networking.k8s.io", "ingresses"),
            of(
                "Ingress",
                "networking.k8s.io/v1",
                "ampora-web",
                json!({ "spec": { "ingressClassName": "nginx", "tls": [{ "hosts": [PUBLIC], "secretName": "ampora-tls" }],
                "rules": [{ "host": PUBLIC, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }] } }),
            ),
        ),
    ]
}

/// The repository with the manifests: what ran, and a branch that a colleague has prepared for the new site.
pub(super) fn repository(world: &World) -> io::Result<()> {
    let root = world.folder.at("home/ampora-deploy");
    let overlay = root.join("deploy/kustomize/overlays/acme-prod");
    fs::create_dir_all(&overlay)?;
    let write = |database: &str, sweep: bool| -> io::Result<()> {
        let all: Vec<Value> = objects(database, sweep)
            .into_iter()
            .map(|(_, o)| o)
            .collect();
        let mut names = Vec::new();
        for object in &all {
            let name = format!(
                "{}.yaml",
                object["kind"].as_str().unwrap_or_default().to_lowercase()
            );
            fs::write(overlay.join(&name), serde_json::to_string_pretty(object)?)?;
            names.push(name);
        }
        let kustomization = json!({ "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": NAMESPACE, "resources": names });
        fs::write(
            overlay.join("kustomization.yaml"),
            serde_json::to_string_pretty(&kustomization)?,
        )
    };
    git(&root, &["init", "--quiet"])?;
    for (database, sweep, fact, said) in [
        (OLD_DB, true, "commit", "what runs"),
        (
            NEW_DB,
            false,
            "recovery_commit",
            "for the new site: database, sweep off",
        ),
    ] {
        write(database, sweep)?;
        git(&root, &["add", "."])?;
        git(&root, &["commit", "--quiet", "-m", said])?;
        world.fact(fact, git(&root, &["rev-parse", "HEAD"])?);
    }
    Ok(())
}

/// The new leaf of the corporate authority, and the certificate of one agent.
pub(super) fn files(world: &World, persisted: &Authority) -> io::Result<()> {
    let leaf = world.authority.sign(&[PUBLIC])?;
    let agent = persisted.sign(&["agent-7"])?;
    for (name, text) in [
        ("fullchain.pem", &leaf.chain),
        ("key.pem", &leaf.key),
        ("agent.pem", &agent.chain),
        ("agent.key", &agent.key),
    ] {
        crate::private::replace_lazily(&world.folder.at("home").join(name), text.as_bytes())?;
    }
    Ok(())
}

pub(super) async fn write(world: &World, tenants: u32, past: &Past, login: &str) -> io::Result<()> {
    let identifier = match world.databases.lock().await.get("old") {
        Some(server) => Some(
            server
                .value(
                    "postgres",
                    "SELECT system_identifier FROM pg_control_system()",
                )
                .await?,
        ),
        None => None,
    };
    let at = |name: &str| world.folder.at(name).display().to_string();
    let estate = &world.estate;
    let pg = |name: &str| estate.root.join(name).display().to_string();
    // Where the site stands, its own cluster goes on.
    let goes_on = match world.has(Fault::SiteLost) {
        true => "prod-b",
        false => "prod-a",
    };
    let variables = json!({
        "keep_dir": at("kept"),
        "old_context": "prod-a",
        "cluster_context": goes_on,
        "db_host": OLD_DB, "db_name": DATABASE, "db_user": USER,
        "new_db_host": NEW_DB,
        "pg_run": estate.owner.words().join(" "),
        "pg_bin": estate.programs.display().to_string(),
        "pg_data": pg("new"),
        "pg_conf": pg("new.conf"),
        "pg_sockets": pg("sockets/new"),
        "backup_config": estate.backup_config().display().to_string(),
        "stanza": estate.stanza,
        "cloud_region": aws::REGION,
        "cloud_account": aws::ACCOUNT,
        "key_secret_id": SECRET_ID,
        "master_key_sha256": super::fingerprint(&world.secrets.master_key),
        "repo_dir": at("home/ampora-deploy"),
        "app_image": IMAGE,
        "sweep_off": "audit-retention-enabled: \"false\"",
        "public_host": PUBLIC,
        "ingress_address": NEW_SITE.to_string(),
        "leaf_cert": at("home/fullchain.pem"),
        "leaf_key": at("home/key.pem"),
        "api_base": format!("https://{PUBLIC}"),
        "oidc_issuer": oidc::issuer(),
        "login_url": format!("https://{PUBLIC}/login"),
        "login_done": format!("https://{PUBLIC}/"),
        "login_user": oidc::USER,
        "agent_url": format!("https://{}:{}/", agents::HOST, agents::PORT),
        "agent_cert": at("home/agent.pem"),
        "agent_key": at("home/agent.key"),
    });
    let mut identity = json!({});
    for (system, name) in [("old-cluster", "prod-a"), ("cluster", goes_on)] {
        if let Some(kube) = world.cluster(name).filter(|k| k.works()) {
            identity[system] = kube.identity().await?;
        }
    }
    if let Some(identifier) = identifier {
        identity["database"] =
            json!({ "host": OLD_DB, "port": PORT, "system_identifier": identifier });
    }
    let peace = past.damaged - chrono::TimeDelta::hours(9);
    let site = json!({ "site": world.folder.id(), "runbook": "ampora", "kind": "sandbox", "variables": variables, "identity": identity,
        "secrets": { "db_password": { "env": "DB_PASSWORD" }, "login_password": { "env": "LOGIN_PASSWORD" } },
        "baseline": { "tenants": tenants, "at": written(peace) } });
    world.folder.write_json("site.yaml", &site)?;
    let mut contexts = String::new();
    for kube in world.clusters() {
        let file = world
            .folder
            .at("home")
            .join(format!("{}.kubeconfig", kube.name));
        crate::private::replace_lazily(&file, kube.kubeconfig_of(&kube.name).as_bytes())?;
        contexts += &format!(
            "{}{}",
            if contexts.is_empty() { "" } else { ":" },
            file.display()
        );
    }
    world.environment("KUBECONFIG", contexts);
    world.environment("DB_PASSWORD", &world.secrets.db_password);
    world.environment("LOGIN_PASSWORD", login);
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIASANDBOX"),
        ("AWS_SECRET_ACCESS_KEY", "sandbox-and-nowhere-else"),
        ("AWS_DEFAULT_REGION", aws::REGION),
    ] {
        world.environment(name, value);
    }
    world.environment("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt");
    Ok(())
}
