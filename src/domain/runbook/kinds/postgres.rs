//! `{ postgres: database, query: "SELECT count(*) FROM tenants", expect: "> 0" }`

use crate::domain::runbook::reader::{Map, Name, Reader};
use serde::{Deserialize, Serialize};

/// One SELECT, WITH or VALUES on a PostgreSQL; without a query, that it connects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub system: Name,
    pub query: Option<String>,
    /// Sent in text form: the server converts them.
    pub params: Vec<String>,
    /// Row name (first column) to what its second column must be.
    pub rows: Vec<(Name, String)>,
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let system = map.required(r, "postgres")?;
        let query_node = map.get("query");
        let query = query_node.and_then(|n| r.text(n, "query"));
        for node in query_node.into_iter().chain(map.get("params")) {
            r.no_placeholder(node);
        }
        if let (Some(query), Some(node)) = (&query, query_node) {
            if let Some(what) = writes(query) {
                r.error(
                    "write-in-check",
                    node.at,
                    format!("a check only looks, but this query {what}"),
                    "one SELECT, WITH or VALUES; what changes something is a `run` step",
                );
            }
            if let Some(name) = crate::domain::template::names(query).first() {
                r.error(
                    "write-in-check",
                    node.at,
                    format!("`${{{name}}}` would be pasted into SQL"),
                    "write $1 and give the value under `params:`",
                );
            }
        }
        let words = Self {
            system: r.name(system, "postgres")?,
            query,
            params: map.texts(r, "params"),
            rows: map.pairs_of(r, "rows"),
        };
        if words.query.is_none() && (map.has("expect") || !words.rows.is_empty()) {
            r.error(
                "missing-key",
                map.at,
                "an expectation needs a `query` to look at",
                "add `query: …`, or leave `expect` out: then the check is that it connects",
            );
        }
        Some(words)
    }

    pub fn label(&self) -> String {
        match &self.query {
            Some(query) => format!("{}: {}", self.system, squeeze(query)),
            None => format!("{}: connects", self.system),
        }
    }

    pub fn expected(&self) -> String {
        if !self.rows.is_empty() {
            let rows: Vec<String> = self.rows.iter().map(|(n, e)| format!("{n} {e}")).collect();
            return rows.join(", ");
        }
        match &self.query {
            Some(_) => "the query answers with one value".to_owned(),
            None => "connects".to_owned(),
        }
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all: Vec<(&str, bool)> = self.params.iter().map(|p| (p.as_str(), true)).collect();
        all.extend(self.rows.iter().map(|(_, e)| (e.as_str(), false)));
        all
    }
}

/// A query on one line.
pub fn squeeze(query: &str) -> String {
    query.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What makes a statement more than a look: its first word, a second statement, and words that
/// change data, make a table or lock rows.
fn writes(query: &str) -> Option<String> {
    let bare = without_literals(query).to_ascii_uppercase();
    let words: Vec<&str> = bare
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty())
        .collect();
    let first = *words.first()?;
    if !matches!(first, "SELECT" | "WITH" | "VALUES") {
        return Some(format!("begins with {first}"));
    }
    if bare.trim_end().trim_end_matches(';').contains(';') {
        return Some("holds more than one statement".to_owned());
    }
    let changing = ["INSERT", "UPDATE", "DELETE", "MERGE"];
    for (i, word) in words.iter().enumerate() {
        match (*word, &words[i + 1..]) {
            ("INTO", _) => return Some("makes a table: INTO".to_owned()),
            (
                "FOR",
                ["UPDATE" | "SHARE", ..] | ["KEY", "SHARE", ..] | ["NO", "KEY", "UPDATE", ..],
            ) => {
                return Some("locks the rows it reads".to_owned());
            }
            (word, _) if first == "WITH" && changing.contains(&word) => {
                return Some(format!("changes data: {word}"));
            }
            _ => {}
        }
    }
    None
}

/// Functions that change something although a SELECT calls them: a read-only transaction does not stop
/// all of them.
pub fn has_effects(query: &str) -> Option<&'static str> {
    const KNOWN: [&str; 22] = [
        "pg_terminate_backend",
        "pg_cancel_backend",
        "pg_reload_conf",
        "pg_rotate_logfile",
        "pg_switch_wal",
        "pg_promote",
        "pg_wal_replay_pause",
        "pg_wal_replay_resume",
        "pg_create_restore_point",
        "pg_drop_replication_slot",
        "pg_create_physical_replication_slot",
        "pg_create_logical_replication_slot",
        "pg_replication_slot_advance",
        "pg_logical_slot_get_changes",
        "nextval",
        "setval",
        "lo_import",
        "lo_unlink",
        "pg_advisory_lock",
        "pg_stat_reset",
        "dblink_exec",
        "pg_backup_start",
    ];
    let bare = without_literals(query).to_ascii_lowercase();
    let words: Vec<&str> = bare
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    KNOWN.into_iter().find(|k| words.contains(k))
}

/// The statement without comments, quoted names and quoted texts.
fn without_literals(sql: &str) -> String {
    let mut out = String::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                while let Some(n) = chars.next() {
                    if n == c {
                        if chars.peek() == Some(&c) {
                            chars.next();
                        } else {
                            break;
                        }
                    }
                }
                out.push(' ');
            }
            '$' => {
                // `$$…$$` and `$tag$…$tag$` are texts; `$1` is a parameter.
                let tag: String = chars
                    .clone()
                    .take_while(|c| c.is_ascii_alphabetic() || *c == '_')
                    .collect();
                let mark = format!("${tag}$");
                let rest: String = std::iter::once('$').chain(chars.clone()).collect();
                let inner = rest
                    .strip_prefix(mark.as_str())
                    .and_then(|r| r.find(mark.as_str()));
                if let Some(end) = inner {
                    let skip = rest[..mark.len() + end + mark.len()].chars().count() - 1;
                    for _ in 0..skip {
                        chars.next();
                    }
                }
                out.push(' ');
            }
            '-' if chars.peek() == Some(&'-') => {
                for n in chars.by_ref() {
                    if n == '\n' {
                        break;
                    }
                }
                out.push(' ');
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut star = false;
                chars.next();
                for n in chars.by_ref() {
                    if star && n == '/' {
                        break;
                    }
                    star = n == '*';
                }
                out.push(' ');
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_data_is_no_look() {
        for query in [
            "DELETE FROM t",
            "WITH x AS (DELETE FROM t RETURNING 1) SELECT 1",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "SELECT 1; DROP TABLE t",
            "SELECT * INTO t2 FROM t",
            "SELECT 1 FROM t FOR UPDATE",
            "SELECT 1 FROM t for no key update",
            "SELECT 1 FROM t FOR KEY SHARE",
        ] {
            assert!(writes(query).is_some(), "{query}");
        }
        for query in [
            "SELECT 'DELETE; x' -- UPDATE\n;",
            "  /* INSERT */ values (1)",
            "SELECT substring(name FOR 3), \"into\" FROM t",
            "SELECT 'x into y', for_update FROM updates WHERE deleted",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "SELECT EXTRACT(epoch FROM x) FOR_share FROM t",
        ] {
            assert_eq!(writes(query), None, "{query}");
        }
    }
}
