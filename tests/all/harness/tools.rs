//! Tools and servers of others: the real AWS CLI, a server that answers it, a name server.

use super::{PATIENCE, free_port, must, need, private_dir, process::Daemon, test_tools};
use rustix::process::Signal;
use std::{
    net::{TcpStream, UdpSocket},
    path::PathBuf,
    process::Command,
};
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
    test_tools().join("python/bin")
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
            (
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.port),
            ),
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
        self.ask(&[
            "put-secret-value",
            "--secret-id",
            name,
            "--secret-string",
            text,
        ]);
    }

    #[track_caller]
    fn ask(&self, words: &[&str]) {
        let mut aws = Command::new(own_tool("aws"));
        aws.args(["--region", REGION, "secretsmanager"]).args(words);
        must(aws.envs(self.environment()));
    }
}

/// Another address of loopback: the first one holds our ports on UDP.
const HERE: &str = "127.0.0.2";

/// A real name server on loopback that knows what a test tells it.
pub(crate) struct NameServer {
    _server: Daemon,
    names: u16,
    orders: u16,
    _folder: TempDir,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let (folder, names, orders) = (private_dir(), free_port(), free_port());
        let mut command = Command::new(need("pebble-challtestsrv", "pebble"));
        command
            .args(["-dns01", &format!("{HERE}:{names}")])
            .args(["-management", &format!("{HERE}:{orders}")])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-defaultIPv4", "", "-defaultIPv6", ""])
            .current_dir(folder.path());
        let log = folder.path().join("server.log");
        let mut server = Daemon::start(&mut command, log, Signal::KILL);
        server.ready(|| {
            let listens = |port| TcpStream::connect((HERE, port)).is_ok();
            listens(names) && listens(orders)
        });
        Self {
            _server: server,
            names,
            orders,
            _folder: folder,
        }
    }

    /// As a check's `resolver:` takes it.
    pub(crate) fn address(&self) -> String {
        format!("{HERE}:{}", self.names)
    }

    /// Where it is told what to know.
    pub(crate) fn orders(&self) -> String {
        format!("http://{HERE}:{}", self.orders)
    }

    /// Where it says that a name leads; nothing for a name that it does not know.
    #[track_caller]
    pub(crate) fn asked_for(&self, name: &str) -> String {
        // The head of a question, the name, then: an address, of the internet.
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.as_bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&question, (HERE, self.names)).unwrap();
        let mut answer = [0; 512];
        socket.recv(&mut answer).unwrap();
        if answer[7] == 0 {
            return String::new();
        }
        // The name again, or where it stands above; ten bytes about the record; the address.
        let named = question.len();
        let name = if answer[named] >= 0xc0 {
            2
        } else {
            name.len() + 2
        };
        let address = &answer[named + name + 10..][..4];
        address
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(".")
    }

    /// From now on the name leads there.
    #[track_caller]
    pub(crate) fn leads(&self, name: &str, to: &str) {
        let order = format!(r#"{{"host": "{name}.", "addresses": ["{to}"]}}"#);
        let mut curl = Command::new(need("curl", "curl"));
        curl.args(["--silent", "--show-error", "--fail", "--data", &order]);
        must(curl.arg(format!("{}/add-a", self.orders())));
    }
}
