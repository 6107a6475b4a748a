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
const WRITES: &str = "
    APPEND BGREWRITEAOF BGSAVE BITOP BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX
    BZPOPMIN COPY DEBUG DECR DECRBY DEL EVAL EVALSHA EXEC EXPIRE EXPIREAT FAILOVER FCALL
    FLUSHALL FLUSHDB GEOADD GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HGETDEL HGETEX
    HINCRBY HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT
    LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX LREM LSET LTRIM MIGRATE MOVE MSET MSETNX MULTI
    PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX PUBLISH RENAME RENAMENX REPLICAOF RESTORE
    RPOP RPOPLPUSH RPUSH RPUSHX SADD SAVE SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE
    SHUTDOWN SINTERSTORE SLAVEOF SMOVE SPOP SPUBLISH SREM SUNIONSTORE SWAPDB TOUCH UNLINK
    XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XREADGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY
    ZINTERSTORE ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK
    ZREMRANGEBYSCORE ZUNIONSTORE
";

/// Commands that go on for ever.
const ENDLESS: [&str; 6] = [
    "MONITOR",
    "PSUBSCRIBE",
    "PSYNC",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SYNC",
];

/// Commands of which only these second words look.
const LOOKS: [(&str, &[&str]); 11] = [
    (
        "ACL",
        &["CAT", "DRYRUN", "GETUSER", "LIST", "LOG", "USERS", "WHOAMI"],
    ),
    (
        "CLIENT",
        &["GETNAME", "GETREDIR", "ID", "INFO", "LIST", "TRACKINGINFO"],
    ),
    (
        "CLUSTER",
        &[
            "COUNTKEYSINSLOT",
            "COUNT-FAILURE-REPORTS",
            "GETKEYSINSLOT",
            "INFO",
            "KEYSLOT",
            "LINKS",
            "MYID",
            "MYSHARDID",
            "NODES",
            "REPLICAS",
            "SHARDS",
            "SLAVES",
            "SLOTS",
        ],
    ),
    ("CONFIG", &["GET"]),
    ("FUNCTION", &["DUMP", "LIST", "STATS"]),
    (
        "LATENCY",
        &["DOCTOR", "GRAPH", "HISTOGRAM", "HISTORY", "LATEST"],
    ),
    ("MEMORY", &["DOCTOR", "MALLOC-STATS", "STATS", "USAGE"]),
    ("MODULE", &["LIST"]),
    ("SCRIPT", &["EXISTS"]),
    (
        "SENTINEL",
        &[
            "CKQUORUM",
            "GET-MASTER-ADDR-BY-NAME",
            "MASTER",
            "MASTERS",
            "MYID",
            "REPLICAS",
            "SENTINELS",
            "SLAVES",
        ],
    ),
    ("SLOWLOG", &["GET", "LEN"]),
];

/// Why a command is no look, if it is none.
fn no_look(command: &[String]) -> Option<String> {
    let words: Vec<String> = command.iter().map(|w| w.to_ascii_uppercase()).collect();
    let (first, rest) = words.split_first()?;
    let second = rest.first().map_or("", String::as_str);
    let has = |word: &str| rest.iter().any(|w| w == word);
    if ENDLESS.contains(&first.as_str()) {
        return Some(format!("{first} goes on for ever"));
    }
    let known = LOOKS.iter().find(|(name, _)| *name == first.as_str());
    let writes = match (first.as_str(), known) {
        ("SORT" | "GEORADIUS" | "GEORADIUSBYMEMBER", _) => has("STORE") || has("STOREDIST"),
        ("BITFIELD", _) => has("SET") || has("INCRBY"),
        (_, Some((_, looks))) => !second.is_empty() && second != "HELP" && !looks.contains(&second),
        (_, None) => WRITES.split_whitespace().any(|name| name == first.as_str()),
    };
    let shown = if known.is_some() {
        format!("{first} {second}")
    } else {
        first.clone()
    };
    writes.then(|| format!("{shown} changes something"))
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let system = map.required(r, "redis")?;
        let node = map.get("command");
        let command = node.map(|n| r.texts(n, "command")).unwrap_or_default();
        if let Some(node) = node {
            r.no_placeholder(node);
            if let Some(why) = no_look(&command) {
                r.error(
                    "write-in-check",
                    node.at,
                    format!("a check only looks, but {why}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn why(command: &str) -> Option<String> {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        no_look(&words)
    }

    #[test]
    fn what_changes_something_is_no_look() {
        for command in [
            "SET a b",
            "getdel a",
            "GETEX a",
            "APPEND a b",
            "BLPOP a 0",
            "SUBSCRIBE x",
            "MONITOR",
            "DEBUG SLEEP 5",
            "MIGRATE h 1 k 0 1",
            "SORT a STORE b",
            "XADD a * b c",
            "PUBLISH a b",
            "CLIENT KILL a",
            "FAILOVER",
            "REPLICAOF no one",
            "SWAPDB 0 1",
            "UNLINK a",
            "COPY a b",
            "SCRIPT FLUSH",
            "FUNCTION DELETE a",
            "CONFIG SET a b",
            "ACL SETUSER a",
            "TOUCH a",
            "CLUSTER FAILOVER",
            "EVAL x 0",
            "BITFIELD a SET u8 0 1",
            "SLOWLOG RESET",
        ] {
            assert!(why(command).is_some(), "{command}");
        }
        for command in [
            "get a",
            "INFO keyspace",
            "DBSIZE",
            "CONFIG GET save",
            "LASTSAVE",
            "CLIENT LIST",
            "SORT a",
            "SORT_RO a",
            "BITFIELD a GET u8 0",
            "SCAN 0",
            "CLUSTER INFO",
            "SLOWLOG LEN",
            "nosuch",
            "MEMORY USAGE a",
            "XRANGE a - +",
            "TTL a",
            "ROLE",
            "FUNCTION LIST",
        ] {
            assert_eq!(why(command), None, "{command}");
        }
    }
}
