//! A PostgreSQL: connected to as it was written, never in a weaker way.

use super::{
    Trouble, field, port,
    tls::{self, Material, Shown, Verify},
};
use crate::domain::{event::Identity, runbook::System};
use std::{io, time::Duration};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, config::SslMode, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection and the certificate that the server showed.
pub struct Connected {
    pub client: Client,
    pub certificate: Option<String>,
}

/// Connects. Every failure says whether it is about the server or about us.
pub async fn connect(system: &System, deadline: Duration) -> Result<Connected, Trouble> {
    let host = field(system, "host").unwrap_or("localhost");
    let port = port(system, 5432)?;
    let mut config = Config::new();
    config
        .user(field(system, "user").unwrap_or("postgres"))
        .application_name("blackstart")
        .connect_timeout(deadline);
    if let Some(dbname) = field(system, "dbname") {
        config.dbname(dbname);
    }
    if let Some(password) = field(system, "password") {
        config.password(password);
    }
    if host.starts_with('/') && system.through.is_none() {
        config.ssl_mode(SslMode::Disable);
        let path = format!("{host}/.s.PGSQL.{port}");
        let stream = UnixStream::connect(&path)
            .await
            .map_err(|e| io_trouble(&path, &e))?;
        let (client, connection) = config
            .connect_raw(stream, NoTls)
            .await
            .map_err(|e| trouble(&e))?;
        tokio::spawn(connection);
        return Ok(Connected {
            client,
            certificate: None,
        });
    }
    let stream = super::dial(system, host, port).await?;
    let verify = match field(system, "tls").unwrap_or("verify-full") {
        "disable" => {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config
                .connect_raw(stream, NoTls)
                .await
                .map_err(|e| trouble(&e))?;
            tokio::spawn(connection);
            return Ok(Connected {
                client,
                certificate: None,
            });
        }
        "verify-full" => Verify::Full,
        "verify-ca" => Verify::Authority,
        other => {
            return Err(Trouble::cannot_tell(
                format!("`tls: {other}` is not a mode"),
                "verify-full, verify-ca or disable",
            ));
        }
    };
    config.ssl_mode(SslMode::Require);
    let material = Material {
        ca: field(system, "ca"),
        cert: field(system, "cert"),
        key: field(system, "key"),
    };
    let (tls, shown) = tls::client(&material, verify)?;
    let client = secured(&config, host, stream, tls).await?;
    Ok(Connected {
        client,
        certificate: taken(&shown),
    })
}

async fn secured(
    config: &Config,
    host: &str,
    stream: TcpStream,
    tls: rustls::ClientConfig,
) -> Result<Client, Trouble> {
    use tokio_postgres::tls::MakeTlsConnect;
    let mut make = MakeRustlsConnect::new(tls);
    let connect =
        <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::make_tls_connect(&mut make, host)
            .map_err(|e| {
                Trouble::cannot_tell(e.to_string(), "is the host a name or an address?")
            })?;
    let (client, connection) = config
        .connect_raw(stream, connect)
        .await
        .map_err(|e| trouble(&e))?;
    tokio::spawn(connection);
    Ok(client)
}

fn taken(shown: &Shown) -> Option<String> {
    shown.lock().ok().and_then(|mut s| s.take())
}

/// Opens a TCP connection; what goes wrong is told apart by whose fault it is.
pub(crate) async fn dial(host: &str, port: u16) -> Result<TcpStream, Trouble> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    TcpStream::connect((bare, port))
        .await
        .map_err(|e| io_trouble(&format!("{host}:{port}"), &e))
}

/// A failed connection: refused is an answer of the other side, the rest is about us or the way.
pub(crate) fn io_trouble(address: &str, error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Trouble::Down("connection refused".to_owned()),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            Trouble::Down("it closed the connection".to_owned())
        }
        io::ErrorKind::NotFound => Trouble::Down(format!("no server listens at {address}")),
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Trouble::cannot_tell(
            format!("{address} cannot be reached: {error}"),
            "is there a route (VPN, firewall, security group)?",
        ),
        io::ErrorKind::PermissionDenied => {
            Trouble::cannot_tell(format!("{address}: {error}"), "may you open this socket?")
        }
        _ if error.to_string().contains("lookup") => Trouble::cannot_tell(
            format!(
                "the name {} does not resolve",
                address.rsplit_once(':').map_or(address, |(h, _)| h)
            ),
            "is the name right, and does DNS work here (VPN)?",
        ),
        _ => Trouble::cannot_tell(format!("{address}: {error}"), "look at the route to it"),
    }
}

/// What an error of the server or of the connection says, and about whom.
pub fn trouble(error: &tokio_postgres::Error) -> Trouble {
    if let Some(db) = error.as_db_error() {
        let said = format!("{}: {}", db.severity(), db.message());
        let code = db.code();
        let ours = |help: &str| Trouble::cannot_tell(said.clone(), help);
        return match code.code().get(..2) {
            _ if *code == SqlState::TOO_MANY_CONNECTIONS => Trouble::Down(said),
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                ours("the role may not read this: GRANT it, or use another role")
            }
            _ if *code == SqlState::QUERY_CANCELED => {
                ours("the query took too long: give the check a longer `timeout:`")
            }
            Some("28") => {
                ours("the server refused our credentials: user, password, or pg_hba.conf")
            }
            _ => Trouble::Down(said),
        };
    }
    if let Some(fault) = tls::fault(error) {
        return Trouble::cannot_tell(
            format!("TLS: {fault}"),
            "name the right authority under `ca:`; weaker modes must be asked for with `tls:`",
        );
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if let Some(io) = deepest.downcast_ref::<io::Error>() {
        return io_trouble("the server", io);
    }
    let said = deepest.to_string();
    if said.contains("does not support TLS") {
        return Trouble::cannot_tell(
            "the server does not offer TLS, and nothing weaker is tried",
            "turn TLS on at the server, or say `tls: disable` where the way is safe",
        );
    }
    if said.contains("password missing") {
        return Trouble::cannot_tell(
            "the server asks for a password",
            "give `password:` a secret",
        );
    }
    if error.is_closed() {
        return Trouble::Down("it closed the connection".to_owned());
    }
    Trouble::cannot_tell(said, "look at the server's log")
}

pub async fn reach(system: &System, deadline: Duration) -> Result<String, Trouble> {
    let connected = connect(system, deadline).await?;
    let rows = simple(&connected.client, "SHOW server_version").await?;
    let version = rows
        .first()
        .and_then(|r| r.first().cloned())
        .unwrap_or_default();
    Ok(format!("accepts connections ({version})"))
}

/// Where it is, its certificate, and the number that `initdb` gave it. The timeline is told.
pub async fn identity(system: &System, deadline: Duration) -> Result<Identity, Trouble> {
    let connected = match connect(system, deadline).await {
        // Its database may be what is lost; who the server is, any of its databases tells.
        Err(Trouble::Down(why)) if why.contains("does not exist") => {
            let mut other = system.clone();
            other
                .fields
                .insert("dbname".to_owned(), "postgres".to_owned());
            connect(&other, deadline)
                .await
                .map_err(|_| Trouble::Down(why))?
        }
        connected => connected?,
    };
    let query = "SELECT s.system_identifier, c.timeline_id \
                 FROM pg_control_system() s, pg_control_checkpoint() c";
    let rows = simple(&connected.client, query).await?;
    let row = rows.first().cloned().unwrap_or_default();
    let host = field(system, "host").unwrap_or("localhost");
    Ok(Identity {
        endpoint: format!("{host}:{}", port(system, 5432)?),
        own: row.first().cloned(),
        certificate: connected.certificate,
        note: row.get(1).map(|t| format!("timeline {t}").into()),
        user: None,
    })
}

/// The rows of a constant query, as text.
pub(crate) async fn simple(client: &Client, query: &str) -> Result<Vec<Vec<String>>, Trouble> {
    let messages = client.simple_query(query).await.map_err(|e| trouble(&e))?;
    Ok(messages
        .into_iter()
        .filter_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|i| row.get(i).unwrap_or("").to_owned())
                    .collect(),
            ),
            _ => None,
        })
        .collect())
}
