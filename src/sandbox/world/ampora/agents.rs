//! The door of the agents: it asks for certificates of the authority that lives in the database. Where that
//! is not there, or the master key does not open its key, the platform has made itself another one, and
//! knows no agent.

use super::{Platform, database_url};
use crate::sandbox::{
    authority::{Authority, Pair},
    world::platform::ask,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

pub(super) const HOST: &str = "agents.ampora.acme.example";
pub(super) const PORT: u16 = 8443;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 50, 0, 2);

/// Opens it.
pub(super) async fn open(platform: &Arc<Platform>) -> io::Result<()> {
    let world = &platform.world;
    world.names.set(HOST, &[ADDRESS]);
    let shows = world.authority.sign(&[HOST])?;
    let another =
        Authority::new("Authority that the platform made when it found none")?.certificate();
    let door = TcpListener::bind(SocketAddr::from((ADDRESS, PORT))).await?;
    let platform = platform.clone();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = door.accept().await else {
                continue;
            };
            let (platform, shows, another) = (platform.clone(), shows.clone(), another.clone());
            tokio::spawn(async move {
                let _ = tokio::time::timeout(
                    Duration::from_secs(15),
                    serve(&platform, &shows, &another, stream),
                )
                .await;
            });
        }
    });
    Ok(())
}

/// Whoever asks for it in the cluster (a config map `ampora-new-authority`) gets a new authority, in the
/// database, and a new certificate for the test agent, beside the old one.
pub(super) fn renew(platform: &Arc<Platform>) {
    let platform = platform.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            match renewed(&platform).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(e) => eprintln!("a new authority: {e}"),
            }
        }
    });
}

async fn renewed(platform: &Platform) -> io::Result<bool> {
    let Some((kube, _)) = platform.pod().await else {
        return Ok(false);
    };
    let wish = format!(
        "{}/ampora-new-authority",
        super::collection("", "configmaps")
    );
    if kube.get(&wish).await.is_none() {
        return Ok(false);
    }
    let authority = Authority::new("Ampora agents, second authority")?;
    let (host, key) = platform.inside(&kube).await;
    let statement = format!(
        "DELETE FROM certificate_authority; INSERT INTO certificate_authority (cert, sealed_key) VALUES ('{}', pgp_sym_encrypt('{}', '{key}'))",
        authority.certificate(),
        authority.key()
    );
    ask(&database_url(&platform.world, &host), &statement).await?;
    let agent = authority.sign(&["agent-7"])?;
    let home = platform.world.folder.at("home");
    crate::private::replace_lazily(&home.join("agent-new.key"), agent.key.as_bytes())?;
    crate::private::replace_lazily(&home.join("agent-new.pem"), agent.chain.as_bytes())?;
    Ok(true)
}

async fn serve(
    platform: &Platform,
    shows: &Pair,
    another: &str,
    stream: TcpStream,
) -> io::Result<()> {
    // With no pod that runs, nothing answers at all.
    let Some(state) = platform.state().await else {
        return Ok(());
    };
    let persisted = state
        .authority
        .filter(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).is_ok());
    let authority = persisted.unwrap_or_else(|| another.to_owned());
    let tls = shows.server(Some(&authority))?;
    let mut stream = TlsAcceptor::from(tls).accept(stream).await?;
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await?;
    let body = "{\"agent\":\"connected\"}\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
