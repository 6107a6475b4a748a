//! A runbook of a shop that nobody here knows, written by the format and its schema alone: linted,
//! planned, tested, rendered, and run on a real PostgreSQL and a real Redis.

use crate::harness::{
    bin::{Blackstart, step},
    fixture, must, need,
    postgres::{self, Cluster, sql},
    redis::{self, Redis},
    search_path,
};
use std::process::Command;

struct Shop {
    home: Blackstart,
    runbook: String,
    database: Cluster,
    cache: Redis,
}

impl Shop {
    /// With a thousand orders in the newest dump, and none left in the database.
    fn broken() -> Self {
        let (database, cache) = (Cluster::start(), Redis::start());
        let home = Blackstart::new()
            .with("HB_DB_PASSWORD", postgres::PASSWORD)
            .with("HB_REDIS_PASSWORD", redis::PASSWORD);
        let runbook = home.write("harbor-books.yaml", fixture("harbor-books.yaml"));
        home.write("harbor-books.test.yaml", fixture("harbor-books.test.yaml"));
        let port = database.port();
        sql(port, "postgres", "CREATE DATABASE books");
        sql(
            port,
            "books",
            "CREATE TABLE orders AS SELECT i AS id, now() - i * interval '1 minute' AS at FROM generate_series(1, 1000) i",
        );
        std::fs::create_dir(home.file("dumps")).unwrap();
        let mut dump = Command::new(need("pg_dump", "postgresql-client-15"));
        dump.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-U",
            "postgres",
            "-Fc",
            "-d",
            "books",
            "-f",
        ])
        .arg(home.file("dumps/books.dump"))
        .env("PGPASSWORD", postgres::PASSWORD)
        .env("PATH", search_path());
        must(&mut dump);
        sql(port, "books", "DELETE FROM orders");
        let shop = Self {
            runbook,
            home,
            database,
            cache,
        };
        shop.home.output(&["trust", &shop.runbook]).exits(0);
        shop
    }

    fn values(&self) -> Vec<String> {
        let (db, cache) = (self.database.port(), self.cache.port());
        [
            format!("db_port={db}"),
            format!("redis_port={cache}"),
            format!("dump_dir={}", self.home.file("dumps")),
            "orders=1000".to_owned(),
        ]
        .iter()
        .flat_map(|value| ["--set".to_owned(), value.clone()])
        .collect()
    }
}

#[test]
fn a_runbook_written_by_the_format_alone_is_linted_planned_tested_and_rendered() {
    let home = Blackstart::new();
    let file = home.write("harbor-books.yaml", fixture("harbor-books.yaml"));
    home.write("harbor-books.test.yaml", fixture("harbor-books.test.yaml"));
    home.output(&["lint", "--strict", &file])
        .exits(0)
        .says("0 errors, 0 warnings, 4 accepted");
    home.output(&["test", &file]).exits(0).says("0 failed");
    let plan = ["plan", &file, "--go", "postgres/dump", "--go", "redis"];
    home.output(&plan)
        .exits(0)
        .says("fence/stop-web")
        .says("Move the shop");
    let page = home.output(&["render", &file]).exits(0).stdout;
    assert!(
        page.contains("${DB_NAME}_new") && !page.contains("$DB_NAME_new"),
        "{page}"
    );
}

#[test]
fn a_runbook_written_by_the_format_alone_recovers_a_real_shop() {
    let shop = Shop::broken();
    let port = shop.database.port();
    let mut args = vec![shop.runbook.clone(), "--go".into(), "postgres/dump".into()];
    args.extend(shop.values());
    for more in ["--confirm", "recovered/tell", "--accept-identity"] {
        args.push(more.to_owned());
    }
    args.push(format!("database=127.0.0.1:{port}"));
    let run = shop.home.run(&args).exits(0);
    let shown = shop.home.show_json(&run.incident());
    assert_eq!(shown["state"], "recovered");
    for (id, state) in [
        ("stop-web", "succeeded"),
        ("keep", "succeeded"),
        ("load", "succeeded"),
        ("cutover", "succeeded"),
        ("open", "succeeded"),
        ("count", "succeeded"),
    ] {
        assert_eq!(step(&shown, id)["state"], state, "{id}");
    }
    assert_eq!(
        sql(port, "books_new", "SELECT count(*) FROM orders"),
        "1000"
    );
    assert_eq!(
        sql(port, "books", "SELECT count(*) FROM orders"),
        "0",
        "the broken one stays"
    );
    assert!(
        shown["objectives"]["rpo"]["measured_s"].is_u64(),
        "{shown:#}"
    );
    let current = std::fs::read_to_string(shop.home.file("dumps/current")).unwrap();
    assert_eq!(current.trim(), "books_new");
}

#[test]
fn what_destroys_is_approved_and_what_was_not_brought_back_is_seen() {
    let shop = Shop::broken();
    std::fs::remove_file(shop.home.file("dumps/books.dump")).unwrap();
    let mut args = vec![shop.runbook.clone(), "--go".into(), "redis".into()];
    args.extend(shop.values());
    for more in ["--confirm", "recovered/tell", "--approve", "flush=sessions"] {
        args.push(more.to_owned());
    }
    shop.cache.ask(&["SET", "session", "1"]);
    let run = shop.home.run(&args).exits(1);
    let shown = shop.home.show_json(&run.incident());
    assert_eq!(step(&shown, "flush")["state"], "succeeded");
    assert_eq!(shop.cache.ask(&["DBSIZE"]).trim(), "0");
    // No orders are left, and this procedure does not bring them back.
    assert_eq!(step(&shown, "count")["state"], "failed");
}
