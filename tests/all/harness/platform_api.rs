//! A small stand-in for the API of a platform, plain or over TLS: no real one can be had, so what it
//! answers is what the test says. Everything between it and the binary is real.

use super::tls::Pair;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What was asked.
pub(crate) struct Request {
    /// With what follows the `?`.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

/// What is answered.
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            headers: "Content-Type: application/json\r\n".into(),
            body: body.to_string(),
        }
    }

    pub(crate) fn page(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: "Content-Type: text/html\r\n".into(),
            body: body.into(),
        }
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self {
            status: 302,
            headers: format!("Location: {to}\r\n"),
            body: String::new(),
        }
    }

    pub(crate) fn with_header(mut self, line: &str) -> Self {
        self.headers += line;
        self.headers += "\r\n";
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server of this process: it ends when it is dropped.
pub(crate) struct Api {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    closing: Arc<AtomicBool>,
}

impl Api {
    pub(crate) fn plain(
        port: u16,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self::start(address, None, Arc::new(answer))
    }

    /// Shows the certificate; on an address of loopback that may be another than `127.0.0.1`.
    pub(crate) fn tls(
        address: SocketAddr,
        pair: &Pair,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        // The first one counts; a second one is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&pair.cert).unwrap().collect();
        let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.unwrap(), key)
            .unwrap();
        Self::start(address, Some(Arc::new(config)), Arc::new(answer))
    }

    fn start(address: SocketAddr, tls: Option<Arc<ServerConfig>>, answer: Arc<Handler>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let api = Self {
            address,
            asked: Arc::default(),
            closing: Arc::default(),
        };
        let (asked, closing) = (api.asked.clone(), api.closing.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if closing.load(Ordering::Relaxed) {
                    return;
                }
                let (tls, asked, answer) = (tls.clone(), asked.clone(), answer.clone());
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                    // Whoever hangs up half-way hears nothing more.
                    let _ = match tls {
                        Some(config) => ServerConnection::new(config)
                            .map_err(std::io::Error::other)
                            .and_then(|session| {
                                serve(StreamOwned::new(session, stream), &asked, &*answer)
                            }),
                        None => serve(stream, &asked, &*answer),
                    };
                });
            }
        });
        api
    }

    /// Every path that was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: impl Read + Write,
    asked: &Mutex<Vec<String>>,
    answer: &Handler,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if path.is_empty() {
        return Ok(());
    }
    asked.lock().unwrap().push(path.clone());
    let reply = answer(&Request { path, headers });
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 {} Answer\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n{}",
        reply.status,
        reply.body.len(),
        reply.headers,
        reply.body
    )?;
    stream.flush()
}
