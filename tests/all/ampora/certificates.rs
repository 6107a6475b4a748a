//! The public name, its certificate and the agents' certificates: what is good is taken, and each fault
//! is seen as what it is.

use super::site::{Site, assert_cause, assert_state, seen_wrong, shipped};
use crate::harness::{
    bin::{Run, attempts},
    tls::{Authority, Pair, TlsServer, Valid},
    tools::NameServer,
};
use std::path::PathBuf;

const PUBLIC_NAME: &str = "ampora.acme.example";

/// The runbook, with what is at fixed places of the world at places of the test.
///
/// HTTP-01 needs port 80, names are asked of the test's own name server, and the public name leads
/// to loopback only there.
fn moved_here(names: &NameServer, front: &TlsServer) -> String {
    let (resolver, port) = (names.address(), front.port());
    let changes = [
        (
            "check: { tcp: \"${ingress_address}:80\", within: 2m }",
            format!("check: {{ tcp: \"${{ingress_address}}:{port}\" }}"),
        ),
        (
            "{ dns: \"${public_host}\", is: \"${ingress_address}\", within: 15m, every: 15s }",
            format!("{{ dns: \"${{public_host}}\", is: \"${{ingress_address}}\", resolver: \"{resolver}\" }}"),
        ),
        (
            "{ tls: \"${public_host}:${public_port}\", valid_for: 24h, within: 10m, every: 15s }",
            "{ tls: \"${public_host}:${public_port}\", connect_to: \"${ingress_address}:${public_port}\", valid_for: 24h }".to_owned(),
        ),
        (
            "valid_for: 24h, ca: \"${server_ca}\", within: 2m }",
            "valid_for: 24h, ca: \"${server_ca}\" }".to_owned(),
        ),
    ];
    let mut text = shipped();
    for (from, to) in changes {
        assert!(text.contains(from), "the runbook has `{from}`");
        text = text.replace(from, &to);
    }
    text
}

/// A site behind a front with a certificate, and the name server that knows it.
struct Front {
    site: Site,
    runbook: String,
    names: NameServer,
    _server: TlsServer,
}

impl Front {
    fn showing(mut site: Site, pair: &Pair) -> Self {
        let (names, server) = (NameServer::start(), TlsServer::showing(pair));
        let runbook = moved_here(&names, &server);
        let runbook = site.home.write("moved.yaml", runbook);
        site.set("public_host", PUBLIC_NAME);
        site.set("public_port", server.port().to_string());
        site.set("ingress_address", "127.0.0.1");
        names.leads(PUBLIC_NAME, "127.0.0.1");
        let (cert, key) = pair.shown();
        site.set("leaf_cert", cert);
        site.set("leaf_key", key);
        Self {
            site,
            runbook,
            names,
            _server: server,
        }
    }

    fn run(&self, path: &str) -> Run {
        let manual = match path {
            "tls/acme" => ["--confirm", "move-name"].to_vec(),
            _ => ["--confirm", "issue", "--confirm", "move-name-after"].to_vec(),
        };
        self.site.run(
            &self.runbook,
            &[path],
            &[&["--trust"], &manual[..]].concat(),
        )
    }
}

fn named() -> String {
    format!("DNS:{PUBLIC_NAME}")
}

#[test]
fn a_name_and_its_certificate_come_back_by_both_ways() {
    for path in ["tls/acme", "tls/corporate-ca"] {
        let site = Site::that_runs();
        let good = site.certificate("good", &named(), &Valid::Days(30));
        let run = Front::showing(site, &good).run(path).exits(0);
        assert_eq!(run.summary["state"], "recovered");
        let looked_at: &[&str] = match path {
            "tls/acme" => &["port-80", "move-name", "name", "certificate"],
            _ => &["issue", "leaf", "served", "move-name-after"],
        };
        assert_state(&run, looked_at, "succeeded");
    }
}

#[test]
fn a_certificate_is_seen_for_what_is_wrong_with_it() {
    let cases = [
        ("expired", "its certificate has expired"),
        ("of-another-host", "its certificate is for another name"),
        (
            "of-a-stranger",
            "its certificate is signed by an authority that is not trusted here",
        ),
        ("ending-soon", "trusted, valid for"),
    ];
    for (kind, seen) in cases {
        let mut site = Site::new();
        site.set_what_validation_needs();
        let files = PathBuf::from(site.home.file(""));
        let stranger = Authority::new(&files, "stranger");
        let other = "DNS:other.acme.example";
        let pair = match kind {
            "expired" => site.certificate(kind, &named(), &Valid::Formerly),
            "of-another-host" => site.certificate(kind, other, &Valid::Days(30)),
            "of-a-stranger" => stranger.sign(kind, &named(), &Valid::Days(30)),
            _ => site.certificate(kind, &named(), &Valid::Days(0)),
        };
        let front = Front::showing(site, &pair);
        let run = front.run("tls/acme").exits(1);
        assert_state(&run, &["port-80", "name"], "succeeded");
        assert_state(&run, &["certificate"], "failed");
        let wrong = seen_wrong(&run, "certificate");
        assert!(
            wrong.len() == 1 && wrong[0].contains(seen),
            "{kind}: {wrong:?}"
        );
        assert_cause(
            &run,
            "certificate",
            "The Ingress serves its default certificate",
        );
    }
}

#[test]
fn a_name_without_an_address_or_with_the_old_one_is_not_taken_for_moved() {
    let mut site = Site::new();
    site.set_what_validation_needs();
    let pair = site.certificate("good", &named(), &Valid::Days(30));
    let mut front = Front::showing(site, &pair);
    front.names.leads("old.acme.example", "192.0.2.7");
    for (name, seen) in [
        ("old.acme.example", "192.0.2.7"),
        (
            "nowhere.acme.example",
            "nowhere.acme.example does not resolve at",
        ),
    ] {
        front.site.set("public_host", name);
        let run = front.run("tls/acme").exits(1);
        assert_state(&run, &["name"], "failed");
        let wrong = seen_wrong(&run, "name");
        assert!(
            wrong.len() == 1 && wrong[0].contains(seen),
            "{name}: {wrong:?}"
        );
        assert!(attempts(&run.summary, "certificate").is_empty(), "{name}");
        assert_cause(&run, "name", "The record was not changed");
    }
}

#[test]
fn a_certificate_that_does_not_fit_is_found_before_it_is_loaded() {
    for kind in ["of-another-host", "expired", "with-another-key"] {
        let mut site = Site::new();
        site.set_what_validation_needs();
        let good = site.certificate("good", &named(), &Valid::Days(30));
        let bad = match kind {
            "of-another-host" => site.certificate(kind, "DNS:other.acme.example", &Valid::Days(30)),
            "expired" => site.certificate(kind, &named(), &Valid::Formerly),
            _ => Pair {
                cert: good.cert.clone(),
                key: site.certificate(kind, &named(), &Valid::Days(30)).key,
            },
        };
        let mut front = Front::showing(site, &good);
        let (cert, key) = bad.shown();
        front.site.set("leaf_cert", cert);
        front.site.set("leaf_key", key);
        let run = front.run("tls/corporate-ca").exits(1);
        assert_state(&run, &["leaf"], "failed");
        assert_cause(&run, "leaf", "The Ingress serves its default certificate");
        assert!(attempts(&run.summary, "served").is_empty(), "{kind}");
    }
}

#[test]
fn an_agent_of_a_lost_authority_is_refused_and_the_cause_is_named() {
    let mut site = Site::that_runs();
    let good = site.certificate("good", &named(), &Valid::Days(30));
    let files = PathBuf::from(site.home.file(""));
    let lost = Authority::new(&files, "lost");
    let agent = lost.sign("agent-7", "DNS:agent-7", &Valid::Days(30));
    site.agent_shows(&agent);
    let run = Front::showing(site, &good).run("tls/corporate-ca").exits(1);
    assert_state(&run, &["live", "ready", "login", "dashboard"], "succeeded");
    assert_state(&run, &["agent-tls"], "failed");
    assert_cause(
        &run,
        "agent-tls",
        "The backup lacks the private key with which the persisted CA signs",
    );
    let checks = attempts(&run.summary, "agent-tls")[0]["checks"].to_string();
    assert!(checks.contains("unknown ca"), "{checks}");
    assert!(attempts(&run.summary, "agent").is_empty());
    assert_eq!(run.summary["state"], "open");
}

#[test]
fn a_door_that_asks_nobody_for_a_certificate_is_found_before_agents_come_back() {
    let mut site = Site::that_runs();
    let good = site.certificate("good", &named(), &Valid::Days(30));
    let door = site.certificate("open-door", "DNS:localhost", &Valid::Days(30));
    let door = TlsServer::showing(&door);
    site.set("agent_url", format!("https://localhost:{}/", door.port()));
    let run = Front::showing(site, &good).run("tls/corporate-ca").exits(1);
    assert_state(&run, &["agent-tls"], "failed");
    let cause = "The new site does not ask for client certificates";
    assert_cause(&run, "agent-tls", cause);
    assert!(attempts(&run.summary, "agent").is_empty());
}
