//! What the node without machine holds of one container: its process, its log, how often it began.

use super::{
    Played, State,
    container::{self, Plan, Running, texts},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::process::Command;

/// The pause before a container that ended is started again grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// One that ran longer than this begins with the shortest pause again.
const STEADY: Duration = Duration::from_secs(30);

pub(super) struct Slot {
    plan: Plan,
    pub running: Option<Running>,
    pub restarts: u32,
    /// How it ended last.
    pub last: Option<i32>,
    began: bool,
    next: Instant,
    pause: Duration,
    log: Option<PathBuf>,
    /// What one without a process would have said.
    says: &'static str,
}

impl Slot {
    fn empty(plan: Plan) -> Self {
        Self {
            plan,
            running: None,
            restarts: 0,
            last: None,
            began: false,
            next: Instant::now(),
            pause: Duration::from_secs(1),
            log: None,
            says: "",
        }
    }

    pub(super) fn new(root: &Path, key: &str, plan: Plan) -> Self {
        let folder = root.join("logs");
        let _ = fs::create_dir_all(&folder);
        let log = folder.join(format!("{}.log", key.replace('/', "_")));
        let _ = fs::remove_file(&log);
        Self {
            log: Some(log),
            ..Self::empty(plan)
        }
    }

    /// A container that is only played.
    pub(super) fn played(plan: Plan, way: &str) -> Self {
        let says = match way {
            "crash" | "fail" => "panic: told to end\n",
            "done" => "done\n",
            _ => "playing\n",
        };
        Self {
            says,
            ..Self::empty(plan)
        }
    }

    fn before(&self) -> Option<PathBuf> {
        Some(self.log.as_ref()?.with_extension("before.log"))
    }

    pub(super) fn log(&self, previous: bool) -> Option<String> {
        match &self.log {
            None => Some(self.says.to_owned()),
            Some(_) if previous => fs::read_to_string(self.before()?).ok(),
            Some(log) => fs::read_to_string(log).ok(),
        }
    }

    pub(super) fn command(&self, root: &Path, words: &[String]) -> Option<Command> {
        match (&self.running, &self.log) {
            (Some(running), _) => running.beside(words),
            // Between two lives nothing can be run in it.
            (None, Some(_)) => None,
            (None, None) => Some(container::alone(root, &self.plan, words)),
        }
    }

    /// Its process has ended.
    pub(super) fn over(&mut self, code: i32, again: bool) {
        let ran = self.running.take().map(|r| r.started.elapsed());
        self.last = Some(code);
        if let (Some(log), Some(before)) = (&self.log, self.before())
            && again
        {
            let _ = fs::rename(log, before);
        }
        if ran.is_some_and(|r| r >= STEADY) {
            self.pause = Duration::from_secs(1);
        }
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    pub(super) fn may_start(&self, never: bool) -> bool {
        !self.began || (!never && Instant::now() >= self.next)
    }

    pub(super) fn start(&mut self, root: &Path) {
        let Some(log) = &self.log else { return };
        if self.began {
            self.restarts += 1;
        }
        self.began = true;
        match Running::start(root, &self.plan, log) {
            Ok(running) => self.running = Some(running),
            Err(e) => {
                let _ = fs::write(log, format!("cannot start: {e}\n"));
                self.over(128, true);
            }
        }
    }

    /// Why there is no process now.
    pub(super) fn waits(&self, never: bool) -> Played {
        let code = self.last.unwrap_or(0);
        let state = match never {
            true => State::Ended(code),
            false => State::Crashes,
        };
        Played {
            state,
            restarts: self.restarts,
            last: self.last.filter(|_| !never),
        }
    }
}

/// How one learns that a container is ready.
pub(super) enum Probe {
    Exec(Vec<String>),
    Port(u16),
}

impl Probe {
    pub(super) fn of(written: &Value) -> Option<Self> {
        if let Some(port) = written["tcpSocket"]["port"].as_u64() {
            return Some(Self::Port(u16::try_from(port).ok()?));
        }
        let words = texts(&written["exec"]["command"]);
        (!words.is_empty()).then_some(Self::Exec(words))
    }

    /// The command that ends with 0 when it is ready.
    pub(super) fn command(&self, root: &Path, slot: &Slot) -> Option<Command> {
        let words = match self {
            Self::Exec(words) => words.clone(),
            Self::Port(port) => ["bash", "-c"]
                .into_iter()
                .map(str::to_owned)
                .chain([format!("exec 3<>/dev/tcp/127.0.0.1/{port}")])
                .collect(),
        };
        let mut command = slot.command(root, &words)?;
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Some(command)
    }
}
