//! The world of a drill: what stands in it, how it is built, and how it ends. It runs in one process of its
//! own, in a network that holds nothing but the drill.
//!
//! ```text
//!  127.0.0.53:53     names                     127.10.0.x:5432  database servers, one address each
//!  127.20.0.x:443    API servers of clusters   127.30.0.x:443   the platform, behind its ingress
//!  127.40.0.1:443    the clouds                127.50.0.x       identity provider, agents, peers
//! ```

mod ampora;
pub(crate) mod arbitex;
pub(crate) mod cluster;
pub(crate) mod door;
pub(crate) mod history;
pub(crate) mod platform;
pub(crate) mod postgres;
mod real;
mod redis;
mod repository;

use super::{
    authority::Authority,
    aws, azure,
    controllers::Surroundings,
    folder::{self, Folder, Phase, State},
    names::Names,
    scenario::{Fault, Scenario},
};
use crate::{domain::runbook::System, journal::hex};
use cluster::Kube;
use postgres::{Estate, Server};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Where names are asked.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
pub(crate) const CLOUDS: Ipv4Addr = Ipv4Addr::new(127, 40, 0, 1);
/// Where the sandbox sees the files of its databases: a folder that every machine has.
pub(crate) const DATABASES: &str = "/mnt";
/// A world that nobody ended ends itself.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// Everything that there is in a drill.
pub(crate) struct World {
    pub folder: Folder,
    pub scenario: Scenario,
    pub seed: u64,
    /// Clusters have a real API server.
    real: bool,
    /// Signs what servers show.
    pub authority: Authority,
    pub names: Names,
    pub estate: Estate,
    pub databases: tokio::sync::Mutex<BTreeMap<String, Server>>,
    clusters: Mutex<BTreeMap<String, Arc<Kube>>>,
    pub azure: Mutex<azure::Subscription>,
    pub secrets: Secrets,
    secrets_manager: Mutex<aws::Manager>,
    facts: Mutex<BTreeMap<String, String>>,
    environment: Mutex<BTreeMap<String, String>>,
}

/// Secrets of the drill, made for it and worth nothing elsewhere.
pub(crate) struct Secrets {
    pub db_password: String,
    pub admin_token: String,
    pub master_key: String,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.scenario.broken.contains(&fault)
    }

    pub(crate) fn secrets_manager(&self) -> MutexGuard<'_, aws::Manager> {
        held(&self.secrets_manager)
    }

    pub(crate) fn fact(&self, name: &str, value: impl Into<String>) {
        held(&self.facts).insert(name.to_owned(), value.into());
    }

    pub(crate) fn environment(&self, name: &str, value: impl Into<String>) {
        held(&self.environment).insert(name.to_owned(), value.into());
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<Arc<Kube>> {
        held(&self.clusters).get(name).cloned()
    }

    pub(crate) fn clusters(&self) -> Vec<Arc<Kube>> {
        held(&self.clusters).values().cloned().collect()
    }

    pub(crate) fn disks(&self) -> PathBuf {
        self.folder.at("node/disks")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.folder.at("node/images")
    }

    /// A program of an image, as a script.
    pub(crate) fn image(&self, image: &str, program: &str, script: &str) -> io::Result<()> {
        let path = self.images().join(image).join(program);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    }

    /// A new cluster; it is known by its host name from now on.
    pub(crate) async fn start_cluster(
        self: &Arc<Self>,
        name: &str,
        number: u8,
        host: &str,
        ingress: Option<Ipv4Addr>,
    ) -> io::Result<Arc<Kube>> {
        let address = Ipv4Addr::new(127, 20, 0, number);
        let world = Arc::downgrade(self);
        let around = move || {
            let (disks, provision, remove, sign) =
                (world.clone(), world.clone(), world.clone(), world.clone());
            Surroundings {
                disks: disks.upgrade().map(|w| w.disks()).unwrap_or_default(),
                provision: Box::new(move |name, namespace, claim| {
                    let world = provision
                        .upgrade()
                        .ok_or_else(|| io::Error::other("the world ends"))?;
                    azure::disks::provision(&world, name, namespace, claim)
                }),
                remove: Box::new(move |handle| {
                    if let Some(world) = remove.upgrade() {
                        azure::disks::remove(&world, handle);
                    }
                }),
                ingress: ingress.map(IpAddr::V4),
                sign: Box::new(move |names| {
                    let world = sign.upgrade()?;
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let pair = world.authority.sign(&names).ok()?;
                    Some((pair.chain, pair.key))
                }),
            }
        };
        let place = cluster::Place {
            name,
            host,
            address,
            folder: self.folder.at(&format!("node/{name}")),
            shared: &self.folder.at("node"),
            real: self.real,
        };
        self.names.set(host, &[address]);
        let kube = Arc::new(Kube::start(&place, &self.authority, Box::new(around)).await?);
        held(&self.clusters).insert(name.to_owned(), kube.clone());
        Ok(kube)
    }
}

/// A filled-in system, for the product's own clients.
pub(crate) fn system(name: &str, kind: &str, fields: &[(&str, String)]) -> io::Result<System> {
    let fields: BTreeMap<&str, &String> = fields.iter().map(|(k, v)| (*k, v)).collect();
    let system =
        json!({ "name": name, "kind": kind, "fields": fields, "headers": [], "via": null });
    serde_json::from_value(system).map_err(io::Error::other)
}

pub(crate) fn random_text(bytes: usize) -> io::Result<String> {
    let mut raw = vec![0; bytes];
    getrandom::fill(&mut raw).map_err(io::Error::other)?;
    Ok(hex(&raw))
}

/// The hidden command `__world FOLDER`: builds what was ordered there, and keeps it up until it is ended.
pub fn main() -> ExitCode {
    let folder = Folder::new(
        std::env::args_os()
            .nth(2)
            .map(PathBuf::from)
            .unwrap_or_default(),
    );
    // What runs in the world needs none of what its supervisor may do.
    let _ = rustix::thread::clear_ambient_capability_set();
    let lock = match folder.lock() {
        Ok(Some(lock)) => lock,
        Ok(None) | Err(_) => return ExitCode::from(2),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::from(1);
    };
    let done = runtime.block_on(keep_up(&folder));
    drop(lock);
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// What the supervisor says while it builds.
struct Diary {
    folder: Folder,
    state: State,
    lap: Instant,
}

impl Diary {
    fn write(&self) {
        if let Err(e) = self.folder.write_json("state.json", &self.state) {
            eprintln!("state.json: {e}");
        }
    }

    fn built(&mut self, what: &str) {
        let took = self.lap.elapsed().as_millis();
        self.state
            .built
            .push((what.to_owned(), u64::try_from(took).unwrap_or(u64::MAX)));
        self.lap = Instant::now();
        self.write();
    }
}

async fn keep_up(folder: &Folder) -> ExitCode {
    let state = State {
        phase: Phase::Building,
        pid: std::process::id(),
        boot: folder::boot(),
        net: folder::namespace("self", "net").unwrap_or(0),
        mnt: folder::namespace("self", "mnt").unwrap_or(0),
        built: Vec::new(),
        facts: BTreeMap::new(),
        environment: BTreeMap::new(),
    };
    let mut diary = Diary {
        folder: folder.clone(),
        state,
        lap: Instant::now(),
    };
    diary.write();
    let signals = (
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()),
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()),
    );
    let (Ok(mut term), Ok(mut int)) = signals else {
        return ExitCode::from(1);
    };
    let world = tokio::select! {
        built = build(folder, &mut diary) => match built {
            Ok(world) => world,
            Err(e) => {
                diary.state.phase = Phase::Failed(e.to_string());
                diary.write();
                eprintln!("the sandbox cannot be built: {e}");
                return ExitCode::from(1);
            }
        },
        _ = term.recv() => return ExitCode::SUCCESS,
        _ = int.recv() => return ExitCode::SUCCESS,
    };
    diary.state.facts.clone_from(&held(&world.facts));
    diary
        .state
        .environment
        .clone_from(&held(&world.environment));
    diary.state.phase = Phase::Ready;
    diary.write();
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = tokio::time::sleep(LONGEST) => {}
    }
    for kube in world.clusters() {
        kube.stop();
    }
    for server in world.databases.lock().await.values_mut() {
        server.stop(true).await;
    }
    diary.state.phase = Phase::Ended;
    diary.write();
    ExitCode::SUCCESS
}

async fn build(folder: &Folder, diary: &mut Diary) -> io::Result<Arc<World>> {
    let order = folder.order()?;
    let scenario = Scenario::shipped(&order.scenario)
        .ok_or_else(|| io::Error::other(format!("no scenario is called {}", order.scenario)))?;
    for below in ["disks", "images"] {
        fs::create_dir_all(folder.at("node").join(below))?;
    }
    let authority = Authority::new("Authority of a sandbox")?;
    trust(folder, &authority)?;
    let estate = Estate::new(PathBuf::from(DATABASES), scenario.runbook.as_str())?;
    let world = Arc::new(World {
        folder: folder.clone(),
        seed: order.seed,
        real: order.real_control_plane,
        names: Names::default(),
        estate,
        databases: tokio::sync::Mutex::default(),
        clusters: Mutex::default(),
        azure: Mutex::new(azure::Subscription::new()),
        secrets: Secrets {
            db_password: format!("Db@{}/#", random_text(8)?),
            admin_token: random_text(16)?,
            master_key: random_text(16)?,
        },
        secrets_manager: Mutex::default(),
        facts: Mutex::default(),
        environment: Mutex::default(),
        authority,
        scenario,
    });
    world.names.clone().serve(RESOLVER).await?;
    azure::open(&world).await?;
    diary.built("names, authority, clouds");
    match world.scenario.runbook.as_str() {
        "arbitex" => arbitex::build(&world, |what| diary.built(what)).await?,
        "ampora" => ampora::build(&world, |what| diary.built(what)).await?,
        other => {
            return Err(io::Error::other(format!(
                "no sandbox knows the runbook {other}"
            )));
        }
    }
    let alarm = crate::domain::drill::filled(&world.scenario.alarm, &held(&world.facts));
    fs::write(folder.at("alarm.txt"), alarm)?;
    Ok(world)
}

/// The authorities that the sandbox trusts: those of this machine, and its own.
fn trust(folder: &Folder, authority: &Authority) -> io::Result<()> {
    let place = folder.at("etc/ca-certificates.crt");
    // Written in place: it is what the sandbox sees under a fixed name.
    let before = fs::read_to_string(&place).unwrap_or_default();
    fs::write(place, format!("{before}\n{}", authority.certificate()))
}
