//! A platform on a real PostgreSQL: whole, or with its tenants emptied by a bad migration.

use crate::harness::{
    once,
    postgres::{Cluster, sql},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// How many tenants there were.
pub(crate) const TENANTS: &str = "412";

/// The damaged platform, with a pgBackRest repository that reaches back to before the damage.
///
/// ```text
///  backup     before          lost                  after
///  ──┴───────────┴──────────────┴─── at least 1 s ────┴───── more is written ──►
/// ```
pub(crate) struct Broken {
    pub(crate) cluster: Cluster,
    pub(crate) history: History,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct History {
    /// A whole second after the last good write.
    pub(crate) before: DateTime<Utc>,
    /// When the tenants were emptied.
    pub(crate) lost: DateTime<Utc>,
    /// A whole second, one or more after the loss.
    pub(crate) after: DateTime<Utc>,
    /// The newest row written before the loss.
    pub(crate) newest: DateTime<Utc>,
}

/// The one damaged platform of a test run: restores go beside it, so that tests may share it.
pub(crate) fn broken() -> &'static Broken {
    static BROKEN: OnceLock<Broken> = OnceLock::new();
    BROKEN.get_or_init(|| {
        let (folder, port, history) = once("broken", |folder| {
            let cluster = Cluster::with_pgbackrest(folder);
            let history = damage(&cluster);
            let (folder, port) = (folder.to_owned(), cluster.port());
            // It serves the other tests of this run; the folder's janitor ends it.
            std::mem::forget(cluster);
            (folder, port, history)
        });
        Broken {
            cluster: Cluster::running(folder, port),
            history,
        }
    })
}

fn damage(cluster: &Cluster) -> History {
    fill(cluster.port(), 400);
    cluster.back_up();
    // What comes after the backup is in the WAL only.
    let more =
        "INSERT INTO tenants (name) SELECT 'late tenant ' || i FROM generate_series(1, 12) i;
                INSERT INTO audit_events (what) VALUES ('the last good one')";
    cluster.sql("arbitex", more);
    let good = newest(cluster);
    // A backup counts when it ended before the target, in whole seconds.
    let before = second(cluster.clock() + 2);
    cluster.pass(before);
    let migration = "DELETE FROM tenants;
                     INSERT INTO audit_events (what) VALUES ('a bad migration')";
    cluster.sql("arbitex", migration);
    let lost = newest(cluster);
    let after = second(cluster.clock() + 2);
    cluster.pass(after);
    cluster.sql(
        "arbitex",
        "INSERT INTO audit_events (what) VALUES ('afterwards')",
    );
    cluster.archive();
    assert!(good < before && before < lost && lost < after);
    History {
        before,
        lost,
        after,
        newest: good,
    }
}

fn newest(cluster: &Cluster) -> DateTime<Utc> {
    moment(&cluster.sql("arbitex", "SELECT max(created_at) FROM audit_events"))
}

/// Makes the database `arbitex` with that many tenants, their rules and an audit log.
pub(crate) fn fill(port: u16, tenants: u32) {
    sql(port, "postgres", "CREATE DATABASE arbitex");
    let tables = format!(
        "CREATE TABLE tenants (id serial PRIMARY KEY, name text NOT NULL);
         CREATE TABLE policy_rules (id serial PRIMARY KEY, rule text NOT NULL);
         CREATE TABLE audit_events
           (id serial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), what text NOT NULL);
         INSERT INTO tenants (name) SELECT 'tenant ' || i FROM generate_series(1, {tenants}) i;
         INSERT INTO policy_rules (rule) SELECT 'rule ' || i FROM generate_series(1, 37) i;
         INSERT INTO audit_events (what, created_at)
           SELECT 'event ' || i, now() - (1000 - i) * interval '1 second' FROM generate_series(1, 1000) i"
    );
    sql(port, "arbitex", &tables);
}

/// A moment as PostgreSQL prints it.
fn moment(text: &str) -> DateTime<Utc> {
    let read = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z");
    read.unwrap_or_else(|e| panic!("{e}: {text}")).to_utc()
}

fn second(since_1970: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(since_1970, 0).unwrap()
}

/// As `--set` and `--since` take a moment.
pub(crate) fn written(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}
