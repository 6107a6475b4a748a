//! Authorities, certificates and servers of OpenSSL, made for one test.

use super::{free_port, must, need, process::Daemon};
use rustix::process::Signal;
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

const OPENSSL: &str = "openssl";

/// A certificate and its private key, as files.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pair {
    /// Both as text.
    pub(crate) fn shown(&self) -> (String, String) {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        (text(&self.cert), text(&self.key))
    }
}

/// Who signs certificates: its own key, and a book of what it signed.
pub(crate) struct Authority {
    folder: PathBuf,
    pair: Pair,
}

/// From when to when: what OpenSSL takes, or days from now.
pub(crate) enum Valid {
    /// It ran out years ago.
    Formerly,
    /// It runs out in so many days; 0 is within the hour.
    Days(i64),
}

impl Authority {
    /// A new one, with its files below the folder.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        let pair = Pair {
            cert: folder.join("ca.pem"),
            key: folder.join("ca.key"),
        };
        let authority = Self { folder, pair };
        let (cert, key) = authority.pair.shown();
        let here = authority.folder.display();
        let config = format!(
            "[req]
distinguished_name = names
x509_extensions = authority
prompt = no
[names]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = book
[book]
database = {here}/book
new_certs_dir = {here}
certificate = {cert}
private_key = {key}
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
"
        );
        fs::write(authority.folder.join("config"), config).unwrap();
        fs::write(authority.folder.join("book"), "").unwrap();
        let mut make = authority.openssl("req");
        make.args(["-x509", "-days", "2", "-keyout", &key, "-out", &cert]);
        must(make.args(NEW_KEY));
        authority
    }

    pub(crate) fn certificate(&self) -> &Path {
        &self.pair.cert
    }

    /// Signs a certificate for names such as `DNS:api.example` and `IP:127.0.0.1`.
    pub(crate) fn sign(&self, name: &str, names: &str, valid: &Valid) -> Pair {
        let at = |suffix: &str| self.folder.join(format!("{name}.{suffix}"));
        let pair = Pair {
            cert: at("pem"),
            key: at("key"),
        };
        let (cert, key) = pair.shown();
        let (request, more) = (at("csr"), at("ext"));
        let mut ask = self.openssl("req");
        ask.args(["-new", "-keyout", &key, "-subj", &format!("/CN={name}")]);
        must(ask.arg("-out").arg(&request).args(NEW_KEY));
        let more_text = format!("subjectAltName = {names}\nbasicConstraints = CA:FALSE\n");
        fs::write(&more, more_text).unwrap();
        let (from, to) = match valid {
            Valid::Formerly => ("20200101000000Z".to_owned(), "20200201000000Z".to_owned()),
            Valid::Days(days) => {
                let written =
                    |t: chrono::DateTime<chrono::Utc>| t.format("%Y%m%d%H%M%SZ").to_string();
                let now = chrono::Utc::now();
                let until = now + chrono::Duration::days(*days) + chrono::Duration::minutes(50);
                (written(now - chrono::Duration::hours(1)), written(until))
            }
        };
        let mut sign = self.openssl("ca");
        sign.args(["-batch", "-notext", "-out", &cert])
            .args(["-startdate", &from, "-enddate", &to, "-in"])
            .arg(request)
            .arg("-extfile")
            .arg(more);
        must(&mut sign);
        pair
    }

    fn openssl(&self, what: &str) -> Command {
        let mut command = Command::new(need("openssl", OPENSSL));
        command
            .arg(what)
            .arg("-config")
            .arg(self.folder.join("config"));
        command
    }
}

const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

/// `openssl s_server`, which answers every request with a page.
pub(crate) struct TlsServer {
    _server: Daemon,
    port: u16,
}

impl TlsServer {
    /// Shows a certificate to everybody.
    pub(crate) fn showing(pair: &Pair) -> Self {
        Self::start(pair, None)
    }

    /// Serves only who shows a certificate of the authority.
    pub(crate) fn for_clients_of(clients: &Authority, pair: &Pair) -> Self {
        Self::start(pair, Some(clients))
    }

    fn start(pair: &Pair, clients: Option<&Authority>) -> Self {
        let port = free_port();
        let (cert, key) = pair.shown();
        let mut command = Command::new(need("openssl", OPENSSL));
        command
            .args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}")])
            .args(["-cert", &cert, "-key", &key]);
        if let Some(clients) = clients {
            command
                .args(["-Verify", "1", "-verify_return_error", "-CAfile"])
                .arg(clients.certificate());
        }
        command.current_dir(pair.cert.parent().unwrap());
        let log = pair.cert.with_extension(format!("{port}.log"));
        let mut server = Daemon::start(&mut command, log, Signal::KILL);
        server.ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self {
            _server: server,
            port,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
