//! A cluster of a sandbox: the simulated API server, and its controllers and its node as clients of it.

use super::{real::Real, system};
use crate::{
    sandbox::{
        api::{Api, Settings},
        authority::Authority,
        controllers::{self, Surroundings},
        node,
    },
    systems::kubernetes::{self, Body, Cluster},
};
use base64::Engine;
use http::Method;
use serde_json::Value;
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

pub(crate) const VERSION: &str = "v1.32.4";

/// One cluster, running or stopped.
pub(crate) struct Kube {
    pub name: String,
    pub host: String,
    server: Server,
    pub cluster: Cluster,
    token: String,
    authority: String,
    node: PathBuf,
    around: Box<dyn Fn() -> Surroundings + Send + Sync>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What answers for a cluster.
enum Server {
    Simulated(Api),
    Real(Real),
}

/// Where a cluster is, and what it shares with others.
pub(crate) struct Place<'a> {
    pub name: &'a str,
    pub host: &'a str,
    pub address: Ipv4Addr,
    /// Its own folder.
    pub folder: PathBuf,
    /// Folders of all nodes: `disks`, `images`.
    pub shared: &'a Path,
    pub real: bool,
}

impl Kube {
    /// A registry gives its nodes nothing; `None`: every registry does.
    pub(crate) fn refuse_images(&self, registry: Option<&str>) -> io::Result<()> {
        let file = self.node.join(node::REFUSES);
        match registry {
            Some(host) => fs::write(file, host),
            None => fs::remove_file(file),
        }
    }

    /// Starts a cluster without objects of anybody.
    pub(crate) async fn start(
        place: &Place<'_>,
        authority: &Authority,
        around: Box<dyn Fn() -> Surroundings + Send + Sync>,
    ) -> io::Result<Self> {
        let address = place.address.to_string();
        let pair = authority.sign(&[place.host, &address, "kubernetes.default.svc"])?;
        let token = super::random_text(24)?;
        let workers = super::random_text(24)?;
        let masters = || {
            vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ]
        };
        fs::create_dir_all(&place.folder)?;
        let server = if place.real {
            let users = format!(
                "{token},admin,1,\"system:masters\"\n{workers},system:sandbox,2,\"system:masters\"\n"
            );
            Server::Real(Real::start(&place.folder, place.address, &pair, &users).await?)
        } else {
            let settings = Settings {
                address: SocketAddr::from((place.address, 443)),
                tls: pair.server(None)?,
                users: vec![
                    (token.clone(), "admin".to_owned(), masters()),
                    (workers.clone(), "system:sandbox".to_owned(), masters()),
                ],
                file: None,
                version: VERSION.to_owned(),
            };
            Server::Simulated(Api::open(settings).await?)
        };
        for name in ["disks", "images"] {
            let link = place.folder.join(name);
            if fs::symlink_metadata(&link).is_err() {
                std::os::unix::fs::symlink(place.shared.join(name), link)?;
            }
        }
        let kubeconfig = place.folder.join("kubeconfig");
        let authority = authority.certificate();
        let own = written(
            place.name,
            &format!("{}:443", place.host),
            &authority,
            &workers,
            "workers",
        );
        crate::private::replace_lazily(&kubeconfig, own.as_bytes())?;
        let fields = [("kubeconfig", kubeconfig.display().to_string())];
        let system = system("cluster", "kubernetes", &fields)?;
        let connected = kubernetes::connect(&system, Duration::from_secs(5)).await;
        let kube = Self {
            name: place.name.to_owned(),
            host: place.host.to_owned(),
            server,
            cluster: connected.map_err(|e| io::Error::other(format!("{e:?}")))?,
            token,
            authority,
            node: place.folder.clone(),
            around,
            tasks: Mutex::default(),
        };
        // The namespaces of every cluster are there a moment after the door.
        kube.until("/api/v1/namespaces/kube-system", |o| {
            o["metadata"]["uid"].is_string()
        })
        .await?;
        kube.work();
        Ok(kube)
    }

    /// A kubeconfig with one context, of that name.
    pub(crate) fn kubeconfig_of(&self, context: &str) -> String {
        written(
            &self.name,
            &format!("{}:443", self.host),
            &self.authority,
            &self.token,
            context,
        )
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its controllers and its node work.
    pub(crate) fn work(&self) {
        let (cluster, around) = (self.cluster.clone(), (self.around)());
        let controllers = tokio::spawn(async move { controllers::play(cluster, around).await });
        let (cluster, root) = (self.cluster.clone(), self.node.clone());
        let node = tokio::spawn(async move { node::play(cluster, Some(root)).await });
        self.tasks().extend([controllers, node]);
    }

    /// It is gone: nothing answers, and no container runs.
    pub(crate) fn stop(&self) {
        match &self.server {
            Server::Simulated(api) => api.close(),
            Server::Real(real) => real.close(),
        }
        // The node's containers end with it.
        self.tasks().drain(..).for_each(|task| task.abort());
    }

    pub(crate) async fn go_on(&self) -> io::Result<()> {
        match &self.server {
            Server::Simulated(api) => api.reopen().await?,
            Server::Real(real) => real.go_on().await?,
        }
        if self.tasks().is_empty() {
            self.work();
        }
        Ok(())
    }

    /// The path of cron jobs in a namespace; older servers have it elsewhere.
    pub(crate) fn cron_jobs(&self, namespace: &str) -> String {
        let version = match &self.server {
            Server::Real(real) if !real.serves_batch_v1() => "v1beta1",
            Server::Real(_) | Server::Simulated(_) => "v1",
        };
        format!("/apis/batch/{version}/namespaces/{namespace}/cronjobs")
    }

    pub(crate) fn works(&self) -> bool {
        !self.tasks().is_empty()
    }

    /// Makes an object in its collection; its status as well, where it has one.
    pub(crate) async fn make(&self, collection: &str, object: &Value) -> io::Result<Value> {
        let send = |method, path: String, kind, body: Value| async move {
            let sent = self.cluster.send(method, &path, kind, &body).await;
            sent.map_err(|e| io::Error::other(format!("{path}: {e}")))
        };
        let made = send(
            Method::POST,
            collection.to_owned(),
            Body::Json,
            object.clone(),
        )
        .await?;
        if object["status"].is_object() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let status = serde_json::json!({ "status": object["status"] });
            send(
                Method::PATCH,
                format!("{collection}/{name}/status"),
                Body::Merge,
                status,
            )
            .await?;
        }
        Ok(made)
    }

    /// An object, where there is one.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        self.cluster.get(path).await.ok().flatten()
    }

    /// Who it is, as a site's file records it.
    pub(crate) async fn identity(&self) -> io::Result<Value> {
        let who = kubernetes::who(&self.cluster)
            .await
            .map_err(|e| io::Error::other(format!("{e:?}")))?;
        let mut recorded = serde_json::json!({ "server": who.endpoint });
        for (name, value) in [("kube_system_uid", who.own), ("ca_sha256", who.certificate)] {
            if let Some(value) = value {
                recorded[name] = value.into();
            }
        }
        Ok(recorded)
    }

    /// What a backup of a namespace looks at, each object under `plural.group`.
    pub(crate) async fn stored(&self, namespace: &str) -> Value {
        const WIDE: [(&str, &str); 3] = [
            (
                "storageclasses.storage.k8s.io",
                "/apis/storage.k8s.io/v1/storageclasses",
            ),
            ("namespaces", "/api/v1/namespaces"),
            ("persistentvolumes", "/api/v1/persistentvolumes"),
        ];
        const OWN: [(&str, &str); 7] = [
            ("persistentvolumeclaims", "/api/v1"),
            ("secrets", "/api/v1"),
            ("configmaps", "/api/v1"),
            ("services", "/api/v1"),
            ("deployments.apps", "/apis/apps/v1"),
            ("statefulsets.apps", "/apis/apps/v1"),
            ("ingresses.networking.k8s.io", "/apis/networking.k8s.io/v1"),
        ];
        let own = OWN.map(|(name, base)| {
            let plural = name.split('.').next().unwrap_or(name);
            (name, format!("{base}/namespaces/{namespace}/{plural}"))
        });
        let wide = WIDE.map(|(name, path)| (name, path.to_owned()));
        let jobs = ("cronjobs.batch", self.cron_jobs(namespace));
        let mut out = Vec::new();
        for (name, path) in wide.into_iter().chain(own).chain([jobs]) {
            let list = self.get(&path).await.unwrap_or_default();
            for object in list["items"].as_array().into_iter().flatten() {
                out.push(serde_json::json!({ "stored": name, "object": object }));
            }
        }
        serde_json::json!({ "objects": out })
    }

    /// Waits until an object is as wanted.
    pub(crate) async fn until(
        &self,
        path: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> io::Result<Value> {
        let mut last = Value::Null;
        for _ in 0..400 {
            if let Some(seen) = self.get(path).await {
                if wanted(&seen) {
                    return Ok(seen);
                }
                last = seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(io::Error::other(format!(
            "{path} did not become ready: {}",
            last["status"]
        )))
    }
}

/// A kubeconfig with one context; `host` with its port.
pub(crate) fn written(
    name: &str,
    host: &str,
    authority: &str,
    token: &str,
    context: &str,
) -> String {
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    format!(
        "apiVersion: v1
kind: Config
current-context: {context}
clusters:
- name: {name}
  cluster: {{ server: \"https://{host}\", certificate-authority-data: {authority} }}
users:
- name: {context}-{name}
  user: {{ token: {token} }}
contexts:
- name: {context}
  context: {{ cluster: {name}, user: {context}-{name} }}
"
    )
}
