//! The past of a platform's database, lived in seconds: the server runs in another time while it is made,
//! so that backups, WAL and dumps carry the moments that a recovery asks for.
//!
//! ```text
//!  -300m     -200m    -150m   -100m                        -40m    damage      now
//!  tables    backup   dump     dump     … events, every 5 min …  dump       │     │
//!  ───┴────────┴────────┴────────┴─────────────────────────────────┴─────────┴─────┘
//! ```

use super::postgres::{Estate, Server};
use chrono::{DateTime, SecondsFormat, Utc};
use std::{io, path::Path};

/// What the database of a platform is called, and who signs in to it.
pub(crate) struct Shape<'a> {
    pub database: &'a str,
    pub user: &'a str,
    pub password: &'a str,
    pub tenants: u32,
    pub master_key: &'a str,
    pub revision: &'a str,
    /// Tables of this platform alone, after the common ones.
    pub more: &'a str,
}

/// When things happened.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub started: DateTime<Utc>,
    pub damaged: DateTime<Utc>,
    pub dumps: Vec<DateTime<Utc>>,
}

const MINUTE: i64 = 60;

pub(crate) fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// As it stands in the name of a dump.
fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y%m%d-%H%M%S").to_string()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Shape<'_> {
    fn tables(&self) -> String {
        let (tenants, key) = (self.tenants, quoted(self.master_key));
        format!(
            "CREATE EXTENSION pgcrypto;
CREATE TABLE tenants (id serial PRIMARY KEY, name text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE policy_rules (id serial PRIMARY KEY, tenant_id int REFERENCES tenants, rule text NOT NULL);
CREATE TABLE alembic_version (version_num text PRIMARY KEY);
CREATE TABLE audit_events (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), action text NOT NULL, hmac text NOT NULL);
CREATE TABLE credentials (id serial PRIMARY KEY, tenant_id int, sealed bytea NOT NULL);
CREATE FUNCTION link(before text, number bigint, at timestamptz, what text, key text) RETURNS text LANGUAGE sql IMMUTABLE AS $f$
  SELECT encode(hmac(convert_to(before || '|' || number || '|' || extract(epoch FROM at)::numeric(20,6) || '|' || what, 'UTF8'), convert_to(key, 'UTF8'), 'sha256'), 'hex') $f$;
CREATE FUNCTION audit(what text, key text, at timestamptz DEFAULT now()) RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE before text; number bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(77);
  SELECT hmac INTO before FROM audit_events ORDER BY id DESC LIMIT 1;
  number := nextval('audit_events_id_seq');
  INSERT INTO audit_events VALUES (number, at, what, link(coalesce(before, 'genesis'), number, at, what, key));
  RETURN number;
END $f$;
CREATE FUNCTION chain_valid(key text) RETURNS boolean LANGUAGE sql STABLE AS $f$
  SELECT coalesce(bool_and(hmac = link(before, id, created_at, action, key)), false)
    FROM (SELECT *, lag(hmac, 1, 'genesis') OVER (ORDER BY id) AS before FROM audit_events) e $f$;
INSERT INTO tenants (name) SELECT 'tenant ' || i FROM generate_series(1, {tenants}) i;
INSERT INTO policy_rules (tenant_id, rule) SELECT id, 'allow ' || name FROM tenants;
INSERT INTO alembic_version VALUES ({revision});
INSERT INTO credentials (tenant_id, sealed) SELECT i, pgp_sym_encrypt('credential of tenant ' || i, {key}) FROM generate_series(1, 20) i;
{more}",
            revision = quoted(self.revision),
            more = self.more,
        )
    }

    /// Events between two moments, one every five minutes.
    fn events(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> String {
        format!(
            "SELECT count(audit('request of tenant ' || (extract(epoch FROM at)::bigint / 300 % {}), {}, at))
               FROM generate_series({}::timestamptz, {}::timestamptz - interval '1 second', interval '5 minutes') at",
            self.tenants.max(1),
            quoted(self.master_key),
            quoted(&written(from)),
            quoted(&written(to)),
        )
    }
}

/// Lives the past of a platform on a new server, up to the damage; `damage` is what happens then. The
/// server is left stopped.
pub(crate) async fn live(
    estate: &Estate,
    server: &mut Server,
    shape: &Shape<'_>,
    damaged_ago: i64,
    dumps: Option<&Path>,
    damage: &str,
) -> io::Result<Past> {
    let now = crate::clock::now();
    // Whole seconds: moments are asked for in them.
    let now = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    let ago = |seconds: i64| now - chrono::TimeDelta::seconds(seconds);
    let damaged = ago(damaged_ago);
    let at = |minutes: i64| damaged_ago + minutes * MINUTE;
    let travel = |seconds: i64| estate.travel(seconds + (crate::clock::now() - now).num_seconds());

    travel(at(280))?;
    server.start(true).await?;
    estate.make_stanza(true)?;
    let role = format!(
        "CREATE ROLE {user} LOGIN CREATEDB PASSWORD {password} IN ROLE pg_signal_backend, pg_read_all_stats;
         CREATE DATABASE {database} OWNER {user}",
        user = shape.user,
        password = quoted(shape.password),
        database = shape.database,
    );
    for statement in role.split(";\n") {
        server.sql("postgres", statement).await?;
    }
    let as_user = |text: &str| format!("SET ROLE {}; {text}", shape.user);
    server
        .sql(shape.database, &as_user(&shape.tables()))
        .await?;
    server
        .sql(
            shape.database,
            &as_user(&shape.events(ago(at(280)), ago(at(180)))),
        )
        .await?;
    travel(at(180))?;
    estate.back_up(true)?;
    let mut past = Past {
        started: ago(at(180)),
        damaged,
        dumps: Vec::new(),
    };
    let mut last = at(180);
    for moment in [at(100), at(40)] {
        travel(moment)?;
        server
            .sql(
                shape.database,
                &as_user(&shape.events(ago(last), ago(moment))),
            )
            .await?;
        last = moment;
        if let Some(folder) = dumps {
            let when = ago(moment);
            let file = folder.join(format!("{}-{}.dump", shape.database, stamp(when)));
            server.dump(shape.database, &file)?;
            past.dumps.push(when);
        }
    }
    travel(at(0) + 20)?;
    server
        .sql(
            shape.database,
            &as_user(&shape.events(ago(last), ago(at(0) + 20))),
        )
        .await?;
    travel(at(0))?;
    if !damage.is_empty() {
        server.sql(shape.database, &as_user(damage)).await?;
    }
    // Something is committed after every moment that may be asked for.
    travel(at(0) - 60.min(damaged_ago / 2))?;
    let after = format!("SELECT audit('afterwards', {})", quoted(shape.master_key));
    server.sql(shape.database, &as_user(&after)).await?;
    server.sql("postgres", "SELECT pg_switch_wal()").await?;
    server.stop(false).await;
    Ok(past)
}
