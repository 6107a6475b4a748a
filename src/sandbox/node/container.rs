//! Containers of the node without machine: a process of this host in a small world of its own, made by
//! bubblewrap. It sees `/usr`, its volumes, and no other process; what listens has a network of its own.
//!
//! Under the node's folder, what a test or a drill puts there:
//!
//! ```text
//!  images/NAME/start    what an image of that name runs when the pod does not say it; its arguments follow
//!  images/NAME/bin/     programs of the image, before those of /usr
//!  disks/NAME/          the content of a disk, by the last part of the volume's handle
//! ```
//!
//! An image without `start` whose pod names no command has no process; commands can be run in it all the
//! same.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// What a container is made of, read from its pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub workdir: Option<String>,
    pub env: Vec<(String, String)>,
    /// Folder of this host, where it is seen, whether it may only be read.
    pub mounts: Vec<(PathBuf, String, bool)>,
    /// It sees the network of the node, in which the rest of the world is found.
    pub host_network: bool,
}

impl Plan {
    fn image_folder(&self, root: &Path) -> PathBuf {
        let name = self.image.rsplit('/').next().unwrap_or_default();
        let name = name.split([':', '@']).next().unwrap_or_default();
        root.join("images").join(name)
    }

    /// What runs in it; nothing where neither the pod nor the image says.
    fn words(&self, root: &Path) -> Option<Vec<String>> {
        let mut words = self.command.clone();
        if words.is_empty() {
            let start = self.image_folder(root).join("start");
            if start.is_file() {
                words.push("/image/start".to_owned());
            }
        }
        if words.is_empty() {
            return None;
        }
        words.extend(self.args.iter().cloned());
        Some(words)
    }

    /// Does it have a process of its own?
    pub(super) fn runs(&self, root: &Path) -> bool {
        self.words(root).is_some()
    }

    /// The small world, without what runs in it.
    fn world(&self, root: &Path) -> Command {
        let mut bwrap = Command::new("bwrap");
        bwrap.args(["--ro-bind", "/usr", "/usr"]);
        for (to, at) in [
            ("usr/lib", "/lib"),
            ("usr/lib64", "/lib64"),
            ("usr/bin", "/bin"),
            ("usr/sbin", "/sbin"),
        ] {
            bwrap.args(["--symlink", to, at]);
        }
        bwrap.args(["--ro-bind", "/etc", "/etc"]);
        bwrap.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
        let image = self.image_folder(root);
        if image.is_dir() {
            bwrap.arg("--ro-bind").arg(&image).arg("/image");
        }
        for (from, at, read_only) in &self.mounts {
            let how = if *read_only { "--ro-bind" } else { "--bind" };
            bwrap.arg(how).arg(from).arg(at);
        }
        if !rustix::process::geteuid().is_root() {
            // As in most containers, its processes see themselves as root; otherwise bubblewrap makes a second
            // user namespace inside the first, and nobody can enter that one from outside.
            bwrap.args(["--unshare-user", "--uid", "0", "--gid", "0"]);
        }
        bwrap.args(["--unshare-pid", "--unshare-ipc"]);
        if !self.host_network {
            bwrap.arg("--unshare-net");
        }
        bwrap.args(["--die-with-parent", "--clearenv"]);
        for (name, value) in self.env() {
            bwrap.args(["--setenv", &name, &value]);
        }
        bwrap.args(["--chdir", self.home()]);
        bwrap.stdin(Stdio::null()).kill_on_drop(true);
        bwrap
    }

    fn home(&self) -> &str {
        let first = self.mounts.first().map(|(_, at, _)| at.as_str());
        self.workdir.as_deref().or(first).unwrap_or("/")
    }

    fn env(&self) -> Vec<(String, String)> {
        let path = "/image/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
        let mut all = vec![
            ("PATH".to_owned(), path.to_owned()),
            ("HOME".to_owned(), "/tmp".to_owned()),
        ];
        all.extend(self.env.iter().cloned());
        all
    }
}

/// A container that has a process.
pub(super) struct Running {
    child: Child,
    plan: Plan,
    pub started: Instant,
    told_to_end: Option<Instant>,
}

impl Running {
    /// Starts it; what it prints is appended to the log.
    pub(super) fn start(root: &Path, plan: &Plan, log: &Path) -> io::Result<Self> {
        let words = plan.words(root).unwrap_or_default();
        let out = File::options().create(true).append(true).open(log)?;
        let mut bwrap = plan.world(root);
        bwrap
            .arg("--")
            .args(words)
            .stdout(Stdio::from(out.try_clone()?))
            .stderr(Stdio::from(out));
        Ok(Self {
            child: bwrap.spawn()?,
            plan: plan.clone(),
            started: Instant::now(),
            told_to_end: None,
        })
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().ok()??;
        Some(status.code().unwrap_or(137))
    }

    /// Asks its process to end, and makes it end when its time is over.
    pub(super) fn end(&mut self, grace: Duration) {
        match self.told_to_end {
            None => {
                self.told_to_end = Some(Instant::now());
                match self.process() {
                    Some(process) => {
                        let _ = kill_process(process, Signal::TERM);
                    }
                    None => {
                        let _ = self.child.start_kill();
                    }
                }
            }
            Some(told) if told.elapsed() >= grace => {
                let _ = self.child.start_kill();
            }
            Some(_) => {}
        }
    }

    /// The first process of the small world.
    fn init(&self) -> Option<Pid> {
        child_of(self.child.id()?)
    }

    /// What was started in it.
    fn process(&self) -> Option<Pid> {
        let init = self.init()?;
        let inner = child_of(u32::try_from(init.as_raw_nonzero().get()).ok()?);
        Some(inner.unwrap_or(init))
    }

    /// A command beside its process, in the same small world.
    pub(super) fn beside(&self, words: &[String]) -> Option<Command> {
        let mut nsenter = self.enter(&["--mount", "--pid", "--ipc"])?;
        nsenter.args(["env", "-i"]);
        nsenter.args(self.plan.env().iter().map(|(k, v)| format!("{k}={v}")));
        nsenter.args(["sh", "-c", "cd \"$0\" && exec \"$@\"", self.plan.home()]);
        nsenter.args(words);
        Some(nsenter)
    }

    /// A connection to a port inside, on the stdin and stdout of a process.
    pub(super) fn dial(&self, port: u16) -> Option<Command> {
        let mut nsenter = self.enter(&[])?;
        nsenter.args(["bash", "-c"]);
        nsenter.arg(format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1; cat <&3 & cat >&3; wait"
        ));
        Some(nsenter)
    }

    fn enter(&self, namespaces: &[&str]) -> Option<Command> {
        let init = self.init()?;
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--target={}", init.as_raw_nonzero()));
        if !rustix::process::geteuid().is_root() {
            nsenter.args(["--user", "--preserve-credentials"]);
        }
        // The network of the node is ours already, and not its own to enter.
        if !self.plan.host_network {
            nsenter.arg("--net");
        }
        nsenter.args(namespaces).arg("--").kill_on_drop(true);
        Some(nsenter)
    }
}

/// A command in the small world of a container that has no process.
pub(super) fn alone(root: &Path, plan: &Plan, words: &[String]) -> Command {
    let mut bwrap = plan.world(root);
    bwrap.arg("--").args(words);
    bwrap
}

fn child_of(pid: u32) -> Option<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let all = fs::read_to_string(path).ok()?;
    let first = all.split_whitespace().next()?.parse().ok()?;
    Pid::from_raw(first)
}

/// Texts of a list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|v| v.as_str().map(str::to_owned)).collect()
}
