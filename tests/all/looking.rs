//! Checks of real systems: *down* is told from *cannot tell*.

use crate::harness::{
    bin::{Blackstart, Run, attempts, step},
    fixture, free_port,
    postgres::{self, Cluster},
    redis::{self, Redis},
};
use serde_json::Value;

fn look(home: &Blackstart, procedure: &str, port: (&str, u16)) -> Run {
    let runbook = home.write("looking.yaml", fixture("looking.yaml"));
    let set = format!("{}={}", port.0, port.1);
    let args = [
        runbook.as_str(),
        "--trust",
        "--go",
        procedure,
        "--set",
        &set,
    ];
    home.run(&args)
}

fn with_passwords(database: &str, cache: &str) -> Blackstart {
    Blackstart::new()
        .with("DB_PASSWORD", database)
        .with("CACHE_PASSWORD", cache)
}

/// The one check of a step's only attempt.
#[track_caller]
fn check<'a>(run: &'a Run, id: &str) -> &'a Value {
    let tried = attempts(&run.summary, id);
    assert_eq!(tried.len(), 1, "{tried:#?}");
    &tried[0]["checks"][0]
}

#[test]
fn a_cache_is_up_down_or_out_of_our_sight() {
    let mut redis = Redis::start();
    let home = with_passwords(postgres::PASSWORD, redis::PASSWORD);
    let address = ("cache_port", redis.port());

    let empty = look(&home, "cache", address).exits(1);
    assert_eq!(step(&empty.summary, "ping")["state"], "succeeded");
    let keys = check(&empty, "keys");
    assert_eq!(keys["verdict"], "does-not-hold", "{keys:#}");

    assert_eq!(redis.ask(&["SET", "key", "value"]), "OK");
    let full = look(&home, "cache", address).exits(0);
    let keys = check(&full, "keys");
    assert_eq!(keys["verdict"], "holds", "{keys:#}");
    assert!(
        keys["seen"]
            .as_str()
            .is_some_and(|seen| seen.contains("db0:keys=1")),
        "{keys:#}"
    );

    let stranger = with_passwords(postgres::PASSWORD, "not-the-password");
    let refused = look(&stranger, "cache", address).exits(1);
    let ping = check(&refused, "ping");
    assert_eq!(ping["verdict"], "cannot-tell", "{ping:#}");
    assert_eq!(ping["passed"], false);

    redis.stop();
    let gone = look(&home, "cache", address).exits(1);
    let ping = check(&gone, "ping");
    assert_eq!(ping["verdict"], "does-not-hold", "{ping:#}");
    assert!(
        ping["seen"]
            .as_str()
            .is_some_and(|seen| seen.contains("refused")),
        "{ping:#}"
    );
}

#[test]
fn a_database_is_up_down_or_out_of_our_sight() {
    let cluster = Cluster::start();
    let home = with_passwords(postgres::PASSWORD, redis::PASSWORD);
    let address = ("db_port", cluster.port());
    let up = look(&home, "database", address).exits(0);
    assert_eq!(check(&up, "databases")["seen"], "3");

    let stranger = with_passwords("not-the-password", redis::PASSWORD);
    let refused = look(&stranger, "database", address).exits(1);
    let connects = check(&refused, "connects");
    assert_eq!(connects["verdict"], "cannot-tell", "{connects:#}");
    assert_eq!(connects["passed"], false);

    let gone = look(&home, "database", ("db_port", free_port())).exits(1);
    let connects = check(&gone, "connects");
    assert_eq!(connects["verdict"], "does-not-hold", "{connects:#}");
    assert!(connects["elapsed_ms"].is_u64(), "{connects:#}");
}
