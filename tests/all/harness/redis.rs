//! A real Redis on loopback.

use super::{free_port, must, need, private_dir, process::Daemon};
use rustix::process::Signal;
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "sesame-open-wide";

const SERVER: &str = "redis-server";
const TOOLS: &str = "redis-tools";

/// A server with a password, nothing on disk, and a folder that goes with it.
pub(crate) struct Redis {
    server: Daemon,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let (folder, port) = (private_dir(), free_port());
        let mut command = Command::new(need("redis-server", SERVER));
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--requirepass", PASSWORD, "--save", ""])
            .args(["--appendonly", "no", "--dir"])
            .arg(folder.path())
            .current_dir(folder.path());
        let log = folder.path().join("server.log");
        let mut server = Daemon::start(&mut command, log, Signal::KILL);
        server.ready(|| {
            let mut ping = cli(port);
            let done = ping.arg("PING").stdin(Stdio::null()).output();
            done.is_ok_and(|done| done.status.success())
        });
        Self {
            server,
            port,
            _folder: folder,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What a command answers.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        must(cli(self.port).args(words))
    }

    pub(crate) fn stop(&mut self) {
        self.server.end();
    }
}

fn cli(port: u16) -> Command {
    let mut command = Command::new(need("redis-cli", TOOLS));
    command
        .args(["-e", "-h", "127.0.0.1", "-p", &port.to_string()])
        .env("REDISCLI_AUTH", PASSWORD);
    command
}
