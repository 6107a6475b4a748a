//! What an attempt is started with. It goes through a pipe, never through arguments or a file: it may
//! hold secrets.

use crate::{
    domain::{
        event::{CheckResult, Ending, Identity},
        runbook::{Capture, Check, StopLadder, System},
    },
    values::Values,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, path::PathBuf, time::Duration};

#[derive(Serialize, Deserialize)]
pub enum Work {
    Script {
        text: String,
        /// The interpreter and its arguments; the file of the script follows them.
        shell: Vec<String>,
        tty: bool,
        size: (u16, u16),
    },
    /// A native action, not filled in.
    Native(serde_json::Value),
    Check(Check),
    /// A manual step: a person did it, the supervisor only verifies.
    Nothing,
}

#[derive(Serialize, Deserialize)]
pub struct Spec {
    /// The attempt's folder; made by whoever starts it.
    pub dir: PathBuf,
    pub workdir: PathBuf,
    pub work: Work,
    /// Added to the environment of the command.
    pub env: Vec<(String, String)>,
    /// Every secret that is to be masked, whether the step uses it or not.
    pub masked: IndexMap<String, String>,
    /// SHA-256 of secrets that the site recorded: another one is not taken.
    pub recorded_secrets: HashMap<String, String>,
    pub verify: Vec<Check>,
    pub progress: Option<Check>,
    pub every: Duration,
    pub systems: IndexMap<String, System>,
    /// Who they are, as the incident knows them.
    pub pins: HashMap<String, Identity>,
    pub values: Values,
    /// What a check's command finds in its environment, by capture too.
    pub check_env: Vec<(String, String)>,
    pub capture: Vec<(String, Capture, bool)>,
    /// Names whose values go before what is captured: given by a person, the environment or a site.
    pub fixed: Vec<String>,
    /// Values that take effect, for `verify` already, when the action has succeeded.
    pub set: Vec<(String, String)>,
    /// Clusters that the step replaces, each with the file, in the attempt's folder, into which it may write
    /// the new one's kubeconfig.
    pub kubeconfigs_out: Vec<(String, String)>,
    pub remote: bool,
    pub timeout: Option<Duration>,
    pub stop: StopLadder,
    /// For tests of the tests, in debug builds.
    pub no_redact: bool,
}

/// `exit.json`: the record of an attempt, written last of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exit {
    pub v: u32,
    /// As `waitpid` gave it.
    pub wait_status: Option<i32>,
    pub ended_boot_ms: u64,
    /// `set:` resolved with what was captured.
    pub set: Vec<(String, String)>,
    #[serde(flatten)]
    pub ending: Ending,
}

/// `pid.json`: whom a stop would reach when the supervisor is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pids {
    pub boot_id: String,
    pub supervisor: u32,
    pub command: Option<u32>,
    /// The command's start time as the kernel counts it: a borrowed pid has another.
    pub command_start: Option<u64>,
}

/// What a cockpit says to a supervisor.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToAttempt {
    Stop,
    /// Typed bytes, for a step with a terminal. Never recorded.
    Input(Vec<u8>),
    Resize(u16, u16),
}

/// What a supervisor says to a cockpit.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromAttempt {
    /// To the engine's memory, never to disk.
    Secret {
        name: String,
        value: String,
    },
    Progress(CheckResult),
}

pub const EXIT: &str = "exit.json";
pub const PIDS: &str = "pid.json";
pub const LOCK: &str = "lock";
pub const TREE_LOCK: &str = "tree.lock";
pub const SOCKET: &str = "ctl.sock";
pub const SCRIPT: &str = "script";
pub const BALLAST: &str = "ballast";
pub const COMMAND: &str = "command.json";
