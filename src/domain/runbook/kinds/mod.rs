//! The words of each kind of check: its keys, what may be filled in, how it is said. Its hands are
//! in `crate::checks`, one file for each of these.

pub mod command;
pub mod dns;
pub mod file;
pub mod http;
pub mod kubernetes;
pub mod postgres;
pub mod redis;
pub mod tcp;
pub mod tls;

use super::{reader::Name, scripts::commands::Use};
use crate::domain::finding::Pos;
use serde::{Deserialize, Serialize};

/// What a check looks at. Closed: a new kind is a new file here, one in `checks`, and an arm below.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    Postgres(postgres::Words),
    Redis(redis::Words),
    Http(http::Words),
    Kubernetes(kubernetes::Words),
    Command(command::Words),
    Tcp(tcp::Words),
    Tls(tls::Words),
    Dns(dns::Words),
    File(file::Words),
}

impl CheckKind {
    pub const NAMES: [&'static str; 10] = [
        "postgres",
        "redis",
        "http",
        "kubernetes",
        "command",
        "script",
        "tcp",
        "tls",
        "dns",
        "file",
    ];

    pub fn system(&self) -> Option<&Name> {
        match self {
            Self::Postgres(w) => Some(&w.system),
            Self::Redis(w) => Some(&w.system),
            Self::Http(w) => Some(&w.system),
            Self::Kubernetes(w) => Some(&w.system),
            Self::Command(_) | Self::Tcp(_) | Self::Tls(_) | Self::Dns(_) | Self::File(_) => None,
        }
    }

    pub fn label(&self) -> String {
        match self {
            Self::Postgres(w) => w.label(),
            Self::Redis(w) => w.label(),
            Self::Http(w) => w.label(),
            Self::Kubernetes(w) => w.label(),
            Self::Command(w) => w.label(),
            Self::Tcp(w) => w.label(),
            Self::Tls(w) => w.label(),
            Self::Dns(w) => w.label(),
            Self::File(w) => w.label(),
        }
    }

    /// What must hold when the check has no `expect`.
    pub fn expected(&self) -> String {
        match self {
            Self::Postgres(w) => w.expected(),
            Self::Redis(w) => w.expected(),
            Self::Http(w) => w.expected(),
            Self::Kubernetes(w) => w.expected(),
            Self::Command(w) => w.expected(),
            Self::Tcp(_) => "accepts a connection".to_owned(),
            Self::Tls(w) => w.expected(),
            Self::Dns(w) => w.expected(),
            Self::File(w) => w.expected(),
        }
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        match self {
            Self::Postgres(w) => w.templates(),
            Self::Redis(w) => w.templates(),
            Self::Http(w) => w.templates(),
            Self::Kubernetes(w) => w.templates(),
            Self::Command(w) => w.templates(),
            Self::Tcp(w) => w.templates(),
            Self::Tls(w) => w.templates(),
            Self::Dns(w) => w.templates(),
            Self::File(w) => w.templates(),
        }
    }

    /// Expectations inside the kind's own words, each with its name.
    pub fn expectations(&self) -> Vec<(&str, &str, Pos)> {
        match self {
            Self::Postgres(w) => pairs(&w.rows),
            Self::Http(w) => pairs(&w.json),
            Self::Redis(_)
            | Self::Kubernetes(_)
            | Self::Command(_)
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Dns(_)
            | Self::File(_) => Vec::new(),
        }
    }

    /// Is what it sees a count, which is never below zero?
    pub fn counts(&self) -> bool {
        match self {
            Self::Postgres(w) => match &w.query {
                Some(query) if !w.rows.is_empty() => query.to_ascii_lowercase().contains("count("),
                Some(query) => is_count(query),
                None => false,
            },
            Self::Redis(w) => w
                .command
                .first()
                .is_some_and(|c| c.eq_ignore_ascii_case("dbsize")),
            Self::Command(command::Words {
                run: command::Run::Script { text, .. },
                ..
            }) => {
                let last = text
                    .trim_end()
                    .rsplit(['|', '\n'])
                    .next()
                    .unwrap_or_default();
                let words: Vec<&str> = last.split_whitespace().collect();
                matches!(words[..], ["wc", "-l" | "-c" | "-w"] | ["grep", "-c", ..])
            }
            Self::Http(_)
            | Self::Kubernetes(_)
            | Self::Command(_)
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Dns(_)
            | Self::File(_) => false,
        }
    }
}

impl CheckKind {
    /// Why its exit code is always 0, where it is.
    pub fn always_succeeds(&self) -> Option<String> {
        let Self::Command(command::Words {
            run: command::Run::Script { text, .. },
            exit: 0,
        }) = self
        else {
            return None;
        };
        let commands = super::scripts::commands::read(text);
        let last = commands
            .pipelines
            .iter()
            .rev()
            .find(|p| p.usage == Use::Statement)?;
        let command = last.commands.last()?;
        let words: Vec<&str> = command.words.iter().map(|w| w.text.as_str()).collect();
        match words[..] {
            ["true" | ":"] if commands.pipelines.len() > 1 => {
                Some("it ends with `true`".to_owned())
            }
            ["exit", "0"] => {
                let leaves = commands.pipelines.iter().flat_map(|p| &p.commands);
                let several = leaves.filter(|c| c.name() == "exit").count() > 1;
                (!several && !text.contains("if ") && !text.contains("&&"))
                    .then(|| "it ends with `exit 0`".to_owned())
            }
            _ => None,
        }
    }
}

/// `SELECT count(…) FROM …` and nothing beside it that could be below zero.
fn is_count(query: &str) -> bool {
    let bare: String = query.to_ascii_lowercase().split_whitespace().collect();
    let Some(rest) = bare.strip_prefix("selectcount(") else {
        return false;
    };
    match rest.split_once(')') {
        Some((_, rest)) => rest.is_empty() || rest.starts_with("from") || rest.starts_with("as"),
        None => false,
    }
}

fn pairs(pairs: &[(Name, String)]) -> Vec<(&str, &str, Pos)> {
    pairs
        .iter()
        .map(|(n, t)| (n.text.as_str(), t.as_str(), n.at))
        .collect()
}
