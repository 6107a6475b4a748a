//! A door of the sandbox: HTTP over TLS on one of its addresses.

use axum::{Router, serve::Listener};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const HANDSHAKE: Duration = Duration::from_secs(5);

/// Opens it; it is closed when the task is ended.
pub(crate) async fn open(
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
) -> io::Result<JoinHandle<()>> {
    Ok(serve(TcpListener::bind(address).await?, tls, router))
}

/// The same where somebody has bound the address already.
pub(crate) fn serve(
    tcp: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
) -> JoinHandle<()> {
    let door = Door {
        tcp,
        tls: TlsAcceptor::from(tls),
    };
    tokio::spawn(async move {
        let _ = axum::serve(door, router).await;
    })
}

struct Door {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Door {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, from)) = self.tcp.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let shaken = tokio::time::timeout(HANDSHAKE, self.tls.accept(stream)).await;
            if let Ok(Ok(stream)) = shaken {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
