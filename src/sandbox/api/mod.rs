//! A simulated API server of a cluster, within this process: discovery, objects, watches, server-side apply,
//! and the way to the containers. What a real one would say, this one says in the same words.

mod admission;
mod apply;
mod collect;
mod defaults;
mod discovery;
mod fields;
mod kinds;
mod parts;
mod patch;
mod protobuf;
mod proxy;
mod removal;
mod request;
mod route;
mod schema;
mod select;
mod status;
mod store;
mod table;
mod tree;
mod validate;
mod verbs;
mod watch;

use hyper_util::rt::TokioIo;
use request::User;
use serde_json::Value;
use std::{
    convert::Infallible,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use store::Store;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch as signal},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long changes are gathered before they are written to disk.
const GATHER: Duration = Duration::from_millis(300);
/// At least as often it is looked what is to be collected.
const COLLECT: Duration = Duration::from_secs(1);
/// How long it is tried to listen at the same address again.
const AGAIN: Duration = Duration::from_secs(3);

/// How a server is set up.
pub(crate) struct Settings {
    pub address: SocketAddr,
    pub tls: Arc<rustls::ServerConfig>,
    /// A token, the name of its user, and the groups of that user.
    pub users: Vec<(String, String, Vec<String>)>,
    /// Everything that is stored: read at the start if it is there, and written when something changes.
    /// `None`: it is only remembered.
    pub file: Option<PathBuf>,
    /// `v1.32.4`.
    pub version: String,
}

/// A running server; it ends when the last of these goes.
#[derive(Clone)]
pub(crate) struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    store: Mutex<Store>,
    users: Vec<(String, String, Vec<String>)>,
    version: String,
    address: SocketAddr,
    tls: TlsAcceptor,
    serving: Mutex<Option<JoinHandle<()>>>,
    /// Told when connections are to end.
    closed: signal::Sender<u64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.serving().take() {
            task.abort();
        }
    }
}

impl Inner {
    /// Never held while something is waited for.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serving(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose token it is.
    fn user(&self, token: &str) -> Option<User> {
        let found = self.users.iter().find(|(held, ..)| held == token);
        found.map(|(_, name, groups)| User {
            name: name.clone(),
            groups: groups.clone(),
        })
    }
}

impl Api {
    /// Starts a server. Fails when the address is taken, or the file is not what was written.
    pub(crate) async fn open(settings: Settings) -> io::Result<Self> {
        crate::systems::tls::install();
        let mut store = Store::new();
        if let Some(held) = read(settings.file.as_deref())? {
            store.restore(&held);
        }
        collect::begin(&mut store);
        let (changed, dirty) = (store.changed.clone(), store.dirty.clone());
        let tcp = TcpListener::bind(settings.address).await?;
        let inner = Arc::new(Inner {
            store: Mutex::new(store),
            users: settings.users,
            version: settings.version,
            address: tcp.local_addr()?,
            tls: TlsAcceptor::from(settings.tls),
            serving: Mutex::default(),
            closed: signal::Sender::new(0),
        });
        tokio::spawn(collecting(Arc::downgrade(&inner), changed));
        if let Some(file) = settings.file {
            tokio::spawn(saving(Arc::downgrade(&inner), dirty, file));
        }
        let api = Self { inner };
        api.serve(tcp);
        Ok(api)
    }

    fn serve(&self, tcp: TcpListener) {
        let task = tokio::spawn(serving(Arc::downgrade(&self.inner), tcp));
        if let Some(before) = self.inner.serving().replace(task) {
            before.abort();
        }
    }

    /// Stops answering: connections are closed and refused from now on.
    pub(crate) fn close(&self) {
        if let Some(task) = self.inner.serving().take() {
            task.abort();
        }
        self.inner.closed.send_modify(|times| *times += 1);
    }

    /// Answers again, at the same address, with what was stored.
    pub(crate) async fn reopen(&self) -> io::Result<()> {
        if self.inner.serving().is_some() {
            return Ok(());
        }
        let until = tokio::time::Instant::now() + AGAIN;
        // What listened before may not quite be gone.
        let tcp = loop {
            match TcpListener::bind(self.inner.address).await {
                Ok(tcp) => break tcp,
                Err(e) if tokio::time::Instant::now() >= until => return Err(e),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve(tcp);
        Ok(())
    }
}

fn read(file: Option<&Path>) -> io::Result<Option<Value>> {
    let Some(file) = file else { return Ok(None) };
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Accepts connections until it is aborted, which ends them, too.
async fn serving(inner: Weak<Inner>, tcp: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = tcp.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(inner.clone(), stream));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(inner: Weak<Inner>, stream: tokio::net::TcpStream) {
    let Some(tls) = inner.upgrade().map(|inner| inner.tls.clone()) else {
        return;
    };
    // Answers are small and asked for one by one.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else {
        return;
    };
    let service =
        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let inner = inner.clone();
            async move {
                let answer = match inner.upgrade() {
                    Some(inner) => route::answer(&inner, request).await,
                    None => status::raw(503, "text/plain", Vec::new()),
                };
                Ok::<_, Infallible>(answer)
            }
        });
    // Whoever asked may go at any time.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

/// Collects after every change, for as long as the server is open.
async fn collecting(inner: Weak<Inner>, changed: Arc<Notify>) {
    loop {
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(COLLECT) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Some(inner) = inner.upgrade() else { return };
        let open = inner.serving().is_some();
        if open {
            collect::round(&mut inner.store());
        }
    }
}

/// Writes everything to disk after changes.
async fn saving(inner: Weak<Inner>, dirty: Arc<Notify>, file: PathBuf) {
    loop {
        tokio::select! {
            () = dirty.notified() => {}
            () = tokio::time::sleep(COLLECT) => {
                if inner.strong_count() == 0 {
                    return;
                }
                continue;
            }
        }
        tokio::time::sleep(GATHER).await;
        let Some(snapshot) = inner.upgrade().map(|inner| inner.store().snapshot()) else {
            return;
        };
        let path = file.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &snapshot)).await;
        if let Ok(Err(e)) = written {
            tracing::warn!("the objects of the simulated cluster are not written: {e}");
        }
    }
}

/// First beside it, then under its name: there is always a whole one.
fn write(file: &Path, snapshot: &Value) -> io::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut out = crate::private::open(&part, crate::private::Open::Truncate)?;
    out.write_all(snapshot.to_string().as_bytes())?;
    std::fs::rename(&part, file)
}
