//! Processes: who holds what, who is told to go, and who must not outlive a test.

use super::{PATIENCE, eventually, need, search_path};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// Sends a signal; one that is gone already needs none.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = kill_process(pid.expect("a pid is above zero"), signal);
}

/// Waits for a child; `None` when it still runs at the deadline.
pub(crate) fn wait_within(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    if let Some(status) = child.try_wait().unwrap() {
        return Some(status);
    }
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    let deadline = Timespec::try_from(deadline).unwrap();
    let _ = poll(&mut ended, Some(&deadline));
    child.try_wait().unwrap()
}

/// Every process there is.
pub(crate) fn all() -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The arguments of a process, as `/proc` shows them to everybody; none when it is gone.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw)
        .split_terminator('\0')
        .map(str::to_owned)
        .collect()
}

/// Every other process that has a file under the folder open, or works in it.
pub(crate) fn holders(folder: &Path) -> Vec<u32> {
    let own = std::process::id();
    let mut found = all();
    found.retain(|pid| *pid != own && holds(*pid, folder));
    found
}

fn holds(pid: u32, folder: &Path) -> bool {
    let of = PathBuf::from(format!("/proc/{pid}"));
    let inside = |link: PathBuf| fs::read_link(link).is_ok_and(|to| to.starts_with(folder));
    inside(of.join("cwd"))
        || fs::read_dir(of.join("fd"))
            .is_ok_and(|open| open.flatten().any(|file| inside(file.path())))
}

/// The supervisors of attempts whose files lie under the folder.
pub(crate) fn supervisors(folder: &Path) -> Vec<u32> {
    let mut found = holders(folder);
    found.retain(|pid| {
        arguments(*pid)
            .get(1)
            .is_some_and(|word| word == "__attempt")
    });
    found
}

/// The processes of the binary, other than supervisors, that work on files under the folder.
pub(crate) fn controllers(folder: &Path) -> Vec<u32> {
    let binary = Path::new(env!("CARGO_BIN_EXE_blackstart")).canonicalize();
    let binary = binary.unwrap();
    let mut found = holders(folder);
    found.retain(|pid| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary)
            && arguments(*pid)
                .get(1)
                .is_some_and(|word| word != "__attempt")
    });
    found
}

/// Ends everything that still holds a file under the folder.
pub(crate) fn end_all(folder: &Path) {
    for _ in 0..50 {
        let left = holders(folder);
        if left.is_empty() {
            return;
        }
        for pid in left {
            send(pid, Signal::KILL);
        }
        super::pause(Duration::from_millis(10));
    }
}

/// Ends the database servers of a folder as they want it, so that they free their shared memory;
/// then whatever is left.
pub(crate) fn end_servers(folder: &Path) {
    for pid in holders(folder) {
        send(pid, Signal::QUIT);
    }
    for _ in 0..200 {
        if holders(folder).is_empty() {
            return;
        }
        super::pause(Duration::from_millis(10));
    }
    end_all(folder);
}

/// A server in the foreground: ended when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    stop: Signal,
}

impl Daemon {
    /// Starts it, with its output in `log`; `stop` is the signal that ends it at once.
    pub(crate) fn start(command: &mut Command, log: PathBuf, stop: Signal) -> Self {
        let out = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        Self { child, log, stop }
    }

    /// Waits until it answers; when it ends instead, the test fails with its log.
    #[track_caller]
    pub(crate) fn ready(&mut self, mut answers: impl FnMut() -> bool) {
        let log = self.log.clone();
        let read = move || fs::read_to_string(&log).unwrap_or_default();
        eventually(PATIENCE, "a server that answers", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended:\n{}", read());
            answers().then_some(())
        });
    }

    /// Sends it a signal.
    pub(crate) fn tell(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Ends it and waits until it is gone.
    pub(crate) fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        send(self.child.id(), self.stop);
        if wait_within(&mut self.child, Duration::from_secs(10)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// The user that database servers run as: they refuse to be root.
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Owner {
    /// `None` when the tests do not run as root: then servers run as whoever runs the tests.
    pub(crate) fn other() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = users.lines().find_map(|line| {
            let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
            let uid = fields.next()?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { uid, gid })
        });
        Some(ids.expect("the user `postgres`: sudo apt-get install -y postgresql-15"))
    }
}

/// A program of the server's package, run as the server's user.
#[track_caller]
pub(crate) fn as_owner(tool: &str, package: &str) -> Command {
    let program = need(tool, package);
    let mut command = match Owner::other() {
        Some(owner) => {
            let mut command = Command::new(need("setpriv", "util-linux"));
            command
                .arg(format!("--reuid={}", owner.uid))
                .arg(format!("--regid={}", owner.gid))
                .args(["--init-groups", "--"])
                .arg(program);
            command
        }
        None => Command::new(program),
    };
    command.current_dir("/").env("PATH", search_path());
    command
}
