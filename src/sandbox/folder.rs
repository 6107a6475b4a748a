//! The private folder of one sandbox: what is in it, and what its supervisor says of itself.
//!
//! ```text
//!  <state>/sandboxes/ID/
//!    order.json      what was asked for: runbook, scenario, seed
//!    state.json      written by the supervisor: phase, pid, namespaces, facts
//!    lock            held by the supervisor for as long as it lives
//!    world.log       what it says
//!    site.yaml       the site of the drill
//!    etc/            resolv.conf, hosts, nsswitch.conf, ca-certificates.crt, as the sandbox sees them
//!    bin/            stand-ins for tools that are not installed here
//!    home/           HOME of the drill's steps: kubeconfig, az, aws
//!    pg/ node/ …     the parts of the world
//! ```

use crate::private;
use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What a sandbox is made for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub id: String,
    pub runbook: String,
    pub scenario: String,
    pub seed: u64,
    /// Clusters have a real API server, which `KUBEBUILDER_ASSETS` names.
    #[serde(default)]
    pub real_control_plane: bool,
    pub asked_at: DateTime<Utc>,
}

/// How far the supervisor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "why")]
pub enum Phase {
    Building,
    Ready,
    /// It could not be built, and why.
    Failed(String),
    Ended,
}

/// What the supervisor says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    pub phase: Phase,
    pub pid: u32,
    /// The boot in which the numbers below mean something.
    pub boot: String,
    pub net: u64,
    pub mnt: u64,
    /// What was done so far, and how long each part took, in milliseconds.
    pub built: Vec<(String, u64)>,
    /// What the world knows and the person does not: moments, counts, names.
    pub facts: BTreeMap<String, String>,
    /// What the drill's steps have in their environment.
    pub environment: BTreeMap<String, String>,
}

/// One sandbox on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Every sandbox below a state folder, oldest first.
    pub fn all(state_dir: &Path) -> Vec<Self> {
        let entries = fs::read_dir(state_dir.join("sandboxes"));
        let mut all: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect();
        all.sort();
        all.into_iter()
            .filter(|p| p.is_dir())
            .map(Self::new)
            .collect()
    }

    /// The sandbox of that name below a state folder.
    pub fn of(state_dir: &Path, id: &str) -> Self {
        Self::new(state_dir.join("sandboxes").join(id))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn id(&self) -> String {
        let name = self.root.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes the folders.
    pub fn make(&self, order: &Order) -> io::Result<()> {
        private::create_dir(&self.root)?;
        for name in ["etc", "bin", "home", "node", "kept", "pg"] {
            private::create_dir(&self.at(name))?;
        }
        self.write_json("order.json", order)
    }

    pub fn order(&self) -> io::Result<Order> {
        let bytes = fs::read(self.at("order.json"))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    pub fn state(&self) -> Option<State> {
        let bytes = fs::read(self.at("state.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub fn write_json(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
        private::replace_lazily(&self.at(name), &text)
    }

    /// The lock, for the supervisor; `None` when another one holds it.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let file = private::open(&self.at("lock"), private::Open::Append)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Does its supervisor live? The kernel's lock says so, never a number.
    pub fn lives(&self) -> bool {
        self.root.is_dir() && matches!(self.lock(), Ok(None))
    }

    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// The boot that this machine is in.
pub fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

/// The number of a namespace of a process.
pub fn namespace(process: &str, kind: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()?;
    let text = link.to_string_lossy().into_owned();
    let number = text.split_once('[')?.1.trim_end_matches(']');
    number.parse().ok()
}
