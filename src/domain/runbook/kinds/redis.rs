//! `{ redis: cache, command: [INFO, keyspace], expect: "/db0:keys=/" }`

use crate::domain::runbook::reader::{Map, Name, Reader};
use serde::{Deserialize, Serialize};

/// One command that the server flags read-only; without a command, PING.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub system: Name,
    pub command: Vec<String>,
}

/// Commands that change data or the server, for which no server needs to be asked.
const WRITES: [&str; 24] = [
    "SET",
    "DEL",
    "FLUSHALL",
    "FLUSHDB",
    "EXPIRE",
    "PERSIST",
    "RENAME",
    "HSET",
    "HDEL",
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "SADD",
    "SREM",
    "ZADD",
    "ZREM",
    "INCR",
    "DECR",
    "SHUTDOWN",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "EVAL",
];

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let system = map.required(r, "redis")?;
        let node = map.get("command");
        let command = node.map(|n| r.texts(n, "command")).unwrap_or_default();
        let first = command.first().map(|c| c.to_ascii_uppercase());
        if let (Some(first), Some(node)) = (&first, node) {
            let config_set = first == "CONFIG"
                && !command
                    .get(1)
                    .is_some_and(|c| c.eq_ignore_ascii_case("get"));
            if WRITES.contains(&first.as_str()) || config_set {
                r.error(
                    "write-in-check",
                    node.at,
                    format!("a check only looks, but {first} changes something"),
                    "what changes something is a `run` step",
                );
            }
        }
        Some(Self {
            system: r.name(system, "redis")?,
            command,
        })
    }

    pub fn label(&self) -> String {
        if self.command.is_empty() {
            return format!("{}: PING", self.system);
        }
        format!("{}: {}", self.system, self.command.join(" "))
    }

    pub fn expected(&self) -> String {
        if self.command.is_empty() {
            "PONG".to_owned()
        } else {
            "the command answers".to_owned()
        }
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        self.command.iter().map(|c| (c.as_str(), false)).collect()
    }
}
