//! A scenario is data: what is broken, what the person on call is told, and what a good way looks like.

use crate::domain::yaml;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What can be broken in a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A migration has emptied tables, and the schema is at a revision that the code does not know.
    BadMigration,
    /// The database server and its files are gone.
    DatabaseLost,
    /// The cloud cannot restore: its backup service is disturbed.
    BackupUnavailable,
    /// The newest dump was cut while it was written.
    DumpTruncated,
    /// The append-only file of Redis is damaged, so that Redis does not start.
    CacheLost,
    /// Somebody put an RDB file beside an empty append-only file: Redis runs, and is empty.
    CacheShadowed,
    /// The disk of the audit buffer is gone.
    VolumeLost,
    /// A pod that nobody remembers holds the claim of the audit buffer.
    ClaimHeld,
    /// The API server of the cluster answers nobody, and Azure says that it failed.
    ClusterLost,
    /// The vault holds no recovery point of the cluster.
    ClusterUnsaved,
    /// The old site is gone: its cluster and its database.
    SiteLost,
    /// The platform was given a newer master key than its data is sealed with.
    KeyRotated,
    /// No backup holds the key of the agents' authority.
    AuthorityKeyMissing,
    /// A sweep has removed the audit events.
    EventsSwept,
    /// The certificate by which the federation knows this side is not there.
    FederationCertificateMissing,
}

/// A command of the good way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Move {
    /// Words of `blackstart run`, after the runbook; `@name` is a fact of the sandbox.
    #[serde(default)]
    pub run: Vec<String>,
    /// Words of `blackstart resume --headless`.
    #[serde(default)]
    pub resume: Vec<String>,
    /// A script that a person would run beside the cockpit.
    #[serde(default, rename = "do")]
    pub by_hand: String,
    /// Where it is expected to fail, and why.
    #[serde(default)]
    pub fails: Option<Expected>,
}

/// A failure that belongs to the drill.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub step: String,
    /// How the likeliest cause begins.
    pub cause: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    #[serde(rename = "scenario")]
    pub id: String,
    pub runbook: String,
    /// What was broken: shown afterwards only.
    pub title: String,
    /// What the person on call is told.
    pub alarm: String,
    pub severity: String,
    pub broken: Vec<Fault>,
    /// The answers of triage that are right, in order.
    pub answers: Vec<String>,
    /// What people fall for.
    #[serde(default)]
    pub twist: Option<String>,
    /// The procedures of a good way.
    pub go: Vec<String>,
    /// Values that the alarm gives, beside those of the site.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// A good way.
    pub way: Vec<Move>,
    /// A way that falls for the twist first.
    #[serde(default)]
    pub detour: Vec<Move>,
}

impl Scenario {
    /// Reads one. The message says where it is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let node = yaml::read(bytes).map_err(|f| format!("line {}: {}", f.at.line, f.message))?;
        serde_json::from_value(node.to_json()).map_err(|e| e.to_string())
    }
}

impl Move {
    /// The words of a move, with facts in place of their names.
    pub fn words(words: &[String], facts: &BTreeMap<String, String>) -> Vec<String> {
        words.iter().map(|word| filled(word, facts)).collect()
    }
}

/// A text with `@name` replaced where that is a fact, the longest name first.
pub fn filled(text: &str, facts: &BTreeMap<String, String>) -> String {
    let mut names: Vec<&String> = facts.keys().collect();
    names.sort_by_key(|n| std::cmp::Reverse(n.len()));
    let mut out = text.to_owned();
    for name in names {
        out = out.replace(&format!("@{name}"), &facts[name]);
    }
    out
}
