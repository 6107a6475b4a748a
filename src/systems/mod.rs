//! Named connections, and how one knows that they are the right ones.

pub mod http;
pub mod kubernetes;
mod names;
pub mod postgres;
pub(crate) mod program;
pub mod redis;
pub mod tls;

use crate::domain::{
    event::Identity,
    runbook::{System, SystemKind},
};
use std::time::Duration;

/// Why nothing was seen.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// It was reached and is not what it should be, or refuses: this is about *it*.
    #[error("{0}")]
    Down(String),
    /// This is about *us*: credentials, DNS, route, rights. With how to fix our side.
    #[error("{why}")]
    CannotTell { why: String, help: String },
}

impl Trouble {
    pub fn cannot_tell(why: impl Into<String>, help: impl Into<String>) -> Self {
        Self::CannotTell {
            why: why.into(),
            help: help.into(),
        }
    }
}

/// Reaches a system, filled in: connects, PING, GET base. Returns what it said of itself.
pub async fn reach(system: &System, deadline: Duration) -> Result<String, Trouble> {
    match system.kind {
        SystemKind::Postgres => postgres::reach(system, deadline).await,
        SystemKind::Redis => redis::reach(system, deadline).await,
        SystemKind::Http => http::reach(system, deadline).await,
        SystemKind::Kubernetes => kubernetes::reach(system, deadline).await,
        SystemKind::Azure | SystemKind::Aws => Err(out_of_reach(system)),
    }
}

/// Who the system is. `Ok(None)`: this kind has no identity in this version.
pub async fn identity(system: &System, deadline: Duration) -> Result<Option<Identity>, Trouble> {
    match system.kind {
        SystemKind::Postgres => postgres::identity(system, deadline).await.map(Some),
        SystemKind::Redis => redis::identity(system, deadline).await.map(Some),
        SystemKind::Kubernetes => kubernetes::identity(system, deadline).await.map(Some),
        SystemKind::Http | SystemKind::Azure | SystemKind::Aws => Ok(None),
    }
}

/// A TCP connection to a system: to its address, or through the port-forward that stands for it.
pub(crate) async fn dial(
    system: &System,
    host: &str,
    port: u16,
) -> Result<tokio::net::TcpStream, Trouble> {
    match &system.through {
        None => postgres::dial(host, port).await,
        Some(door) => tokio::net::TcpStream::connect(door)
            .await
            .map_err(|e| postgres::io_trouble(door, &e)),
    }
}

/// Where a filled-in system is, as its identity says it.
pub fn endpoint(system: &System) -> Option<String> {
    let default = match system.kind {
        SystemKind::Postgres => 5432,
        SystemKind::Redis => 6379,
        SystemKind::Http | SystemKind::Kubernetes | SystemKind::Azure | SystemKind::Aws => {
            return None;
        }
    };
    let host = match (field(system, "host"), &system.via) {
        (Some(host), _) => host,
        (None, None) => "localhost",
        // Only its cluster says under which name it is there.
        (None, Some(_)) => return None,
    };
    Some(format!("{host}:{}", port(system, default).ok()?))
}

/// This version reads these systems and cannot reach them; said plainly.
pub fn out_of_reach(system: &System) -> Trouble {
    let kind = system.kind.as_str();
    Trouble::cannot_tell(
        format!("this version of blackstart cannot reach {kind} systems"),
        format!("look with the {kind} tools themselves, in a `command` check or a `run` step"),
    )
}

/// A field of a filled-in system.
pub(crate) fn field<'s>(system: &'s System, key: &str) -> Option<&'s str> {
    system
        .fields
        .get(key)
        .map(String::as_str)
        .filter(|v| !v.is_empty())
}

/// The port of a filled-in system.
pub(crate) fn port(system: &System, default: u16) -> Result<u16, Trouble> {
    match field(system, "port") {
        None => Ok(default),
        Some(text) => text.trim().parse().map_err(|_| {
            Trouble::cannot_tell(
                format!("`{text}` is not a port"),
                format!("give `{}` a port between 1 and 65535", system.name),
            )
        }),
    }
}
