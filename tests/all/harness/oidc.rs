//! A real OpenID provider on loopback, in which everybody may sign in by saying a name.

use super::{free_port, private_dir, process::Daemon, tools::own_tool};
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};
use tempfile::TempDir;

/// Whom the platform is to the provider.
const CLIENT: &str = "ampora";

pub(crate) struct Provider {
    _server: Daemon,
    port: u16,
    _folder: TempDir,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let (folder, port) = (private_dir(), free_port());
        let mut command = Command::new(own_tool("oidc-provider-mock"));
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .current_dir(folder.path());
        let log = folder.path().join("server.log");
        let mut server = Daemon::start(&mut command, log, Signal::KILL);
        server.ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self {
            _server: server,
            port,
            _folder: folder,
        }
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Where a browser goes to sign in, and comes back from.
pub(crate) fn sign_in(provider: u16, back: &str) -> String {
    format!(
        "http://127.0.0.1:{provider}/oauth2/authorize\
         ?client_id={CLIENT}&response_type=code&scope=openid&state=s1&redirect_uri={back}"
    )
}

/// Does the provider give a token for the code, as it does to the platform after a login?
pub(crate) fn gives_token(provider: u16, code: &str, back: &str) -> bool {
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={back}\
         &client_id={CLIENT}&client_secret=of-the-platform"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", provider)).unwrap();
    let length = form.len();
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: 127.0.0.1:{provider}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200") && answer.contains("\"id_token\"")
}
