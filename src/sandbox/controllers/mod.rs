//! The controllers of a small cluster, as clients of its API: they look at all that there is, and take
//! each object one step further to what it asks for.

mod binding;
mod certificates;
mod cron;
mod deployments;
mod events;
mod hand;
mod jobs;
mod objects;
mod replicasets;
mod rollout;
mod schedule;
mod services;
mod statefulsets;
mod times;
mod volumes;

use crate::systems::{
    Trouble,
    kubernetes::{Cluster, workloads::items},
};
use hand::Hand;
use objects::{name, namespace, owned_by};
use serde_json::Value;
use std::{io, net::IpAddr, path::PathBuf, time::Duration};

/// Between two rounds of which the first had nothing to do.
const PAUSE: Duration = Duration::from_millis(150);
/// After a round that changed something: what follows from it need not wait.
const SOON: Duration = Duration::from_millis(30);

/// Makes a new empty disk for a volume (name, namespace, claim); its handle.
pub(crate) type Provision = Box<dyn Fn(&str, &str, &str) -> io::Result<String> + Send + Sync>;
/// Removes a disk by its handle.
pub(crate) type Remove = Box<dyn Fn(&str) + Send + Sync>;
/// Signs a certificate for names: the chain and the key, both PEM.
pub(crate) type Sign = Box<dyn Fn(&[String]) -> Option<(String, String)> + Send + Sync>;

/// What the controllers need of the world around the cluster.
pub(crate) struct Surroundings {
    /// The folder of the node: what is in `disks/NAME` below it is on the disk NAME.
    pub disks: PathBuf,
    /// Makes a new empty disk.
    pub provision: Provision,
    /// Removes a disk whose volume is not wanted any more.
    pub remove: Remove,
    /// The address that ingresses get.
    pub ingress: Option<IpAddr>,
    /// Signs a certificate; `None` while none can be issued.
    pub sign: Sign,
}

/// Plays every controller until it is dropped.
pub(crate) async fn play(cluster: Cluster, around: Surroundings) -> ! {
    let hand = Hand::new(cluster, around);
    loop {
        // An API server that is away comes back; controllers wait for it.
        if let Ok(seen) = Seen::look(hand.cluster()).await {
            round(&hand, &seen).await;
        }
        let pause = if hand.has_written() { SOON } else { PAUSE };
        tokio::time::sleep(pause).await;
    }
}

async fn round(hand: &Hand, seen: &Seen) {
    deployments::reconcile(hand, seen).await;
    replicasets::reconcile(hand, seen).await;
    statefulsets::reconcile(hand, seen).await;
    times::reconcile(hand, seen).await;
    jobs::reconcile(hand, seen).await;
    volumes::reconcile(hand, seen).await;
    schedule::reconcile(hand, seen).await;
    services::reconcile(hand, seen).await;
    certificates::reconcile(hand, seen).await;
}

/// All objects that the controllers look at, as one round saw them.
struct Seen {
    nodes: Vec<Value>,
    pods: Vec<Value>,
    replicasets: Vec<Value>,
    deployments: Vec<Value>,
    statefulsets: Vec<Value>,
    jobs: Vec<Value>,
    cronjobs: Vec<Value>,
    claims: Vec<Value>,
    volumes: Vec<Value>,
    classes: Vec<Value>,
    services: Vec<Value>,
    endpoints: Vec<Value>,
    ingresses: Vec<Value>,
    /// Nothing where the cluster does not know certificates.
    certificates: Option<Vec<Value>>,
}

impl Seen {
    async fn look(cluster: &Cluster) -> Result<Self, Trouble> {
        let (nodes, pods, claims, volumes, services, endpoints) = tokio::try_join!(
            list(cluster, "/api/v1/nodes"),
            list(cluster, "/api/v1/pods"),
            list(cluster, "/api/v1/persistentvolumeclaims"),
            list(cluster, "/api/v1/persistentvolumes"),
            list(cluster, "/api/v1/services"),
            list(cluster, "/api/v1/endpoints"),
        )?;
        let (replicasets, deployments, statefulsets, jobs, cronjobs) = tokio::try_join!(
            list(cluster, "/apis/apps/v1/replicasets"),
            list(cluster, "/apis/apps/v1/deployments"),
            list(cluster, "/apis/apps/v1/statefulsets"),
            list(cluster, "/apis/batch/v1/jobs"),
            list(cluster, "/apis/batch/v1/cronjobs"),
        )?;
        let (classes, ingresses, certificates) = tokio::try_join!(
            list(cluster, "/apis/storage.k8s.io/v1/storageclasses"),
            list(cluster, "/apis/networking.k8s.io/v1/ingresses"),
            list(cluster, "/apis/cert-manager.io/v1/certificates"),
        )?;
        Ok(Self {
            nodes: nodes.unwrap_or_default(),
            pods: pods.unwrap_or_default(),
            replicasets: replicasets.unwrap_or_default(),
            deployments: deployments.unwrap_or_default(),
            statefulsets: statefulsets.unwrap_or_default(),
            jobs: jobs.unwrap_or_default(),
            cronjobs: cronjobs.unwrap_or_default(),
            claims: claims.unwrap_or_default(),
            volumes: volumes.unwrap_or_default(),
            classes: classes.unwrap_or_default(),
            services: services.unwrap_or_default(),
            endpoints: endpoints.unwrap_or_default(),
            ingresses: ingresses.unwrap_or_default(),
            certificates,
        })
    }

    fn claim(&self, of: &str, named: &str) -> Option<&Value> {
        let mut all = self.claims.iter();
        all.find(|c| namespace(c) == of && name(c) == named)
    }

    fn volume(&self, named: &str) -> Option<&Value> {
        self.volumes.iter().find(|v| name(v) == named)
    }

    /// The pods that an object controls.
    fn pods_of(&self, uid: &str) -> Vec<&Value> {
        self.pods.iter().filter(|p| owned_by(p, uid)).collect()
    }
}

/// The objects of one kind in all namespaces; `None` where the kind is not known.
async fn list(cluster: &Cluster, path: &str) -> Result<Option<Vec<Value>>, Trouble> {
    let found = cluster.get(path).await?;
    Ok(found.map(|list| items(Some(list))))
}
