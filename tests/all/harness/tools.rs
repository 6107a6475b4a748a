//! What Debian has no package for: the real AWS CLI and the server that answers it.

use super::{
    free_port, must, private_dir,
    process::Daemon,
};
use rustix::process::Signal;
use std::{env, net::TcpStream, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A tool of the folder that `tests/setup.sh` fills; a test without it fails and says so.
#[track_caller]
pub(crate) fn own_tool(name: &str) -> PathBuf {
    let path = own_tools().join(name);
    assert!(
        path.is_file(),
        "this test needs `{name}` in {}: run tests/setup.sh",
        own_tools().display()
    );
    path
}

/// The folder with `aws` and the servers that are written in Python.
pub(crate) fn own_tools() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("BLACKSTART_TEST_TOOLS").map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(set("HOME").expect("HOME")).join(".cache");
    folder
        .unwrap_or_else(|| {
            let cache = cache().unwrap_or_else(home);
            cache.join("blackstart-test-tools")
        })
        .join("python/bin")
}

/// The account that moto plays.
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";

/// A secret manager on loopback: moto, which speaks what AWS speaks.
pub(crate) struct SecretManager {
    _server: Daemon,
    port: u16,
    folder: TempDir,
}

impl SecretManager {
    pub(crate) fn start() -> Self {
        let (folder, port) = (private_dir(), free_port());
        let mut command = Command::new(own_tool("moto_server"));
        command
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .current_dir(folder.path());
        let log = folder.path().join("server.log");
        let mut server = Daemon::start(&mut command, log, Signal::KILL);
        server.ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self {
            _server: server,
            port,
            folder,
        }
    }

    /// What the environment needs so that `aws` asks this server, and nobody else.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        let nothing = self.folder.path().join("no-such-file");
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".into()),
            ("AWS_SECRET_ACCESS_KEY", "of-the-secret-manager".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("AWS_CONFIG_FILE", nothing.to_str().unwrap().to_owned()),
        ]
    }

    /// Makes a secret with this text.
    #[track_caller]
    pub(crate) fn create(&self, name: &str, text: &str) {
        self.ask(&["create-secret", "--name", name, "--secret-string", text]);
    }

    /// Gives it another text, as a rotation does: the one before stays as an older version.
    #[track_caller]
    pub(crate) fn rotate(&self, name: &str, text: &str) {
        self.ask(&["put-secret-value", "--secret-id", name, "--secret-string", text]);
    }

    #[track_caller]
    fn ask(&self, words: &[&str]) {
        let mut aws = Command::new(own_tool("aws"));
        aws.args(["--region", REGION, "secretsmanager"]).args(words);
        must(aws.envs(self.environment()));
    }
}
