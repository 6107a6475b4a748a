//! A real sshd on loopback, with keys of its own: a connection that can be cut.

use super::{free_port, must, need, private_dir, process::Daemon};
use rustix::process::Signal;
use std::{ffi::OsString, fs, net::TcpStream, process::Command};
use tempfile::TempDir;

const SERVER: &str = "openssh-server";
const CLIENT: &str = "openssh-client";

pub(crate) struct Sshd {
    _server: Daemon,
    port: u16,
    folder: TempDir,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        let (folder, port) = (private_dir(), free_port());
        let at = |name: &str| folder.path().join(name);
        for name in ["host", "client"] {
            let mut keygen = Command::new(need("ssh-keygen", CLIENT));
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            must(keygen.arg(at(name)));
        }
        fs::copy(at("client.pub"), at("authorized")).unwrap();
        let (host, keys) = (at("host"), at("authorized"));
        let config = format!(
            "Port {port}
ListenAddress 127.0.0.1
HostKey {}
AuthorizedKeysFile {}
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
",
            host.display(),
            keys.display()
        );
        fs::write(at("config"), config).unwrap();
        if rustix::process::geteuid().is_root() {
            // Debian's sshd wants this folder, which its service makes at every boot.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        // sshd runs itself again for each connection, and so wants its full path.
        let mut command = Command::new(need("sshd", SERVER));
        command
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .current_dir(folder.path());
        let mut server = Daemon::start(&mut command, at("server.log"), Signal::TERM);
        server.ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self {
            _server: server,
            port,
            folder,
        }
    }

    /// The words of `ssh -tt … COMMAND`: the command runs in a terminal on the other side.
    pub(crate) fn client(&self, command: &str) -> Vec<OsString> {
        let key = self.folder.path().join("client");
        let mut words: Vec<OsString> = vec![need("ssh", CLIENT).into()];
        words.extend(["-F", "none", "-tt", "-i"].map(OsString::from));
        words.push(key.into());
        for option in [
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ServerAliveInterval=0",
        ] {
            words.extend(["-o", option].map(OsString::from));
        }
        let port = self.port.to_string();
        words.extend(["-p", &port, "127.0.0.1", command].map(OsString::from));
        words
    }
}

/// A text as one word of the other side's shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
