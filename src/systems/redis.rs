//! A Redis: one connection, one command, closed again.

use super::{Trouble, dial, field, port, postgres::io_trouble, tls};
use crate::domain::{event::Identity, runbook::System};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisFuture, ServerErrorKind, TlsCertificates, Value,
    aio::MultiplexedConnection, io::AsyncDNSResolver,
};
use std::{net::SocketAddr, time::Duration};

pub async fn connect(
    system: &System,
    deadline: Duration,
) -> Result<MultiplexedConnection, Trouble> {
    let host = field(system, "host").unwrap_or("localhost").to_owned();
    let port = port(system, 6379)?;
    // The client's own errors do not tell a refusal from a missing route.
    drop(dial(system, &host, port).await?);
    let secured = !matches!(field(system, "tls"), Some("disable" | "false"));
    let addr = if secured {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(user) = field(system, "user") {
        settings = settings.set_username(user);
    }
    if let Some(password) = field(system, "password") {
        settings = settings.set_password(password);
    }
    if let Some(db) = field(system, "db").and_then(|d| d.parse().ok()) {
        settings = settings.set_db(db);
    }
    let info = addr
        .into_connection_info()
        .map_err(|e| trouble(&e))?
        .set_redis_settings(settings);
    let client = if secured {
        tls::install();
        let root_cert = match field(system, "ca") {
            Some(file) => Some(std::fs::read(file).map_err(|e| {
                Trouble::cannot_tell(format!("cannot read {file}: {e}"), "is the path right?")
            })?),
            None => None,
        };
        Client::build_with_tls(
            info,
            TlsCertificates {
                client_tls: None,
                root_cert,
            },
        )
    } else {
        Client::open(info)
    };
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(Some(deadline));
    if let Some(door) = system.through.as_ref().and_then(|d| d.parse().ok()) {
        config = config.set_dns_resolver(Door(door));
    }
    client
        .map_err(|e| trouble(&e))?
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map_err(|e| trouble(&e))
}

/// Whatever the server is called, it is behind this door.
struct Door(SocketAddr);

impl AsyncDNSResolver for Door {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _host: &'b str,
        _port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        let only: Box<dyn Iterator<Item = SocketAddr> + Send> = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(only)))
    }
}

/// What an error says, and about whom.
pub fn trouble(error: &RedisError) -> Trouble {
    let said = error
        .detail()
        .map_or_else(
            || error.to_string(),
            |d| format!("{} {d}", error.code().unwrap_or("")),
        )
        .trim()
        .to_owned();
    let code = error.code().unwrap_or("");
    if error.kind() == ErrorKind::AuthenticationFailed
        || ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code)
        || said.contains("NOAUTH")
        || said.contains("WRONGPASS")
    {
        return Trouble::cannot_tell(
            said,
            "the server refused our credentials: user and password",
        );
    }
    if error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading) || code == "LOADING" {
        return Trouble::Down("it is still loading its data".to_owned());
    }
    if let Some(fault) = tls::fault(error) {
        return Trouble::cannot_tell(
            format!("TLS: {fault}"),
            "name the right authority under `ca:`",
        );
    }
    if error.is_connection_refusal() {
        return Trouble::Down("connection refused".to_owned());
    }
    if error.is_timeout() {
        return Trouble::cannot_tell("no answer in time", "is it hung, or is the route slow?");
    }
    if error.is_io_error() {
        return io_trouble("the server", &std::io::Error::other(said));
    }
    Trouble::Down(said)
}

/// One command's answer as `redis-cli` prints it to a pipe.
pub async fn command(
    connection: &mut MultiplexedConnection,
    words: &[String],
) -> Result<String, Trouble> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    let value = connection
        .send_packed_command(&command)
        .await
        .and_then(Value::extract_error)
        .map_err(|e| trouble(&e))?;
    let mut out = String::new();
    print(&value, &mut out);
    Ok(out.trim_end().replace("\r\n", "\n"))
}

fn print(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push('\n'),
        Value::Int(n) => out.push_str(&format!("{n}\n")),
        Value::BulkString(bytes) => {
            out.push_str(&String::from_utf8_lossy(bytes));
            out.push('\n');
        }
        Value::SimpleString(text) => out.push_str(&format!("{text}\n")),
        Value::Okay => out.push_str("OK\n"),
        Value::Array(items) | Value::Set(items) => items.iter().for_each(|v| print(v, out)),
        Value::Map(pairs) => {
            for (key, value) in pairs {
                print(key, out);
                print(value, out);
            }
        }
        other => out.push_str(&format!("{other:?}\n")),
    }
}

pub async fn reach(system: &System, deadline: Duration) -> Result<String, Trouble> {
    let mut connection = connect(system, deadline).await?;
    command(&mut connection, &["PING".to_owned()]).await
}

/// Its endpoint; never its `run_id`, which changes at every start.
pub async fn identity(system: &System, deadline: Duration) -> Result<Identity, Trouble> {
    connect(system, deadline).await?;
    let host = field(system, "host").unwrap_or("localhost");
    Ok(Identity {
        endpoint: format!("{host}:{}", port(system, 6379)?),
        own: None,
        certificate: None,
        note: None,
        user: None,
    })
}
