//! A site: where, as whom, and how one knows that it is the right place. Written in peace time, read
//! when an incident is opened there.

mod rehearsal;

pub use rehearsal::{PROOF, Rehearsal, TEAR_DOWN};

use super::{
    event::Identity,
    expect,
    finding::{Finding, Pos, did_you_mean},
    runbook::{
        Name, Runbook,
        reader::{Map, Reader},
    },
    text::Clean,
    yaml::{self, Node},
};
use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteKind {
    Live,
    /// A scratch place into which real backups are restored.
    Rehearsal,
    /// The small world of a drill; only `blackstart drill` makes one.
    Sandbox,
}

impl SiteKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Rehearsal => "rehearsal",
            Self::Sandbox => "sandbox",
        }
    }
}

/// Who a system has to be. What is not recorded is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl Recorded {
    /// Is this the recorded one?
    pub fn is(&self, seen: &Identity) -> bool {
        let fits = |recorded: &Option<String>, seen: Option<&str>| {
            recorded.as_deref().is_none_or(|r| Some(r) == seen)
        };
        fits(&self.endpoint, Some(&seen.endpoint))
            && fits(&self.own, seen.own.as_deref())
            && fits(&self.certificate, seen.certificate.as_deref())
    }

    /// As `Identity::fingerprint` writes it.
    pub fn fingerprint(&self) -> String {
        let parts = [&self.endpoint, &self.own, &self.certificate];
        let known: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        known.join("/")
    }
}

/// Where a secret comes from, and how one knows that it is the right one.
#[derive(Clone, Debug, Default)]
pub struct SecretSource {
    pub env: Option<String>,
    /// SHA-256 of the secret, in hex: tells a wrong one before it is used.
    pub sha256: Option<String>,
}

/// Values of peace time, and when they were taken.
#[derive(Clone, Debug)]
pub struct Baseline {
    pub at: DateTime<Utc>,
    pub values: IndexMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct Site {
    pub name: String,
    /// The id of its runbook, or a file.
    pub runbook: Option<String>,
    pub kind: SiteKind,
    pub variables: Vec<(Name, String)>,
    pub identity: IndexMap<String, Recorded>,
    identity_at: Vec<Name>,
    pub secrets: IndexMap<String, SecretSource>,
    secrets_at: Vec<Name>,
    pub baseline: Option<Baseline>,
    pub rehearsal: Option<Rehearsal>,
}

impl Site {
    /// Reads a site's file. `Err` holds every finding when one of them is an error.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<Finding>> {
        let root = yaml::read(bytes).map_err(|finding| vec![finding])?;
        let mut r = Reader::default();
        let site = read_site(&mut r, &root);
        let findings = r.into_findings();
        match site {
            Some(site) if findings.is_empty() => Ok(site),
            _ => Err(findings),
        }
    }

    /// Is this file a site rather than a runbook?
    pub fn is_one(bytes: &[u8]) -> bool {
        yaml::read(bytes)
            .is_ok_and(|root| root.get("site").is_some() && root.get("blackstart").is_none())
    }

    /// Names that mean nothing in the runbook, and values that it refuses.
    pub fn against(&self, runbook: &Runbook) -> Vec<Finding> {
        let mut out = Vec::new();
        let mut unknown = |name: &Name, what: &str, names: Vec<&str>| {
            let finding = Finding::error(
                "unknown-name",
                name.at,
                format!("no {what} is called `{}`", Clean::line(&name.text)),
            );
            out.push(finding.help(did_you_mean(&name.text, names)));
        };
        let variables = || runbook.variables.keys().map(String::as_str).collect();
        for (name, _) in self
            .variables
            .iter()
            .filter(|(n, _)| !runbook.variables.contains_key(&n.text))
        {
            unknown(name, "variable", variables());
        }
        for name in self
            .identity_at
            .iter()
            .filter(|n| !runbook.systems.contains_key(&n.text))
        {
            unknown(
                name,
                "system",
                runbook.systems.keys().map(String::as_str).collect(),
            );
        }
        for name in self
            .secrets_at
            .iter()
            .filter(|n| !runbook.is_secret(&n.text))
        {
            let secrets = runbook.variables.values().filter(|v| v.is_secret());
            unknown(
                name,
                "secret",
                secrets.map(|v| v.name.text.as_str()).collect(),
            );
        }
        for (name, value) in &self.variables {
            let Some(variable) = runbook.variables.get(&name.text) else {
                continue;
            };
            if variable.is_secret() {
                let finding = Finding::error(
                    "secret-in-text",
                    name.at,
                    format!("`{name}` is a secret: it never stands in a file"),
                );
                out.push(finding.help(format!("under `secrets:` write {name}: {{ env: NAME }}")));
            } else if let Err(why) = variable.accept(value) {
                out.push(Finding::error(
                    "wrong-type",
                    name.at,
                    format!("`{name}`: {why}"),
                ));
            }
        }
        if let Some(id) = self
            .runbook
            .as_deref()
            .filter(|r| !r.contains(['/', '.']) && *r != runbook.id)
        {
            out.push(Finding::error(
                "unknown-name",
                Pos::NONE,
                format!(
                    "this site is for the runbook `{}`, not for `{}`",
                    Clean::line(id),
                    runbook.id
                ),
            ));
        }
        out.extend(self.rehearsal.iter().flat_map(|r| r.against(runbook)));
        out
    }

    /// The runbook as it is run here: a rehearsal site puts its proof before it and its tear-down after it.
    pub fn around(&self, runbook: &mut Runbook) {
        if let Some(rehearsal) = &self.rehearsal
            && !runbook.rehearsal
        {
            rehearsal.around(runbook);
        }
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .find(|(n, _)| n.text == name)
            .map(|(_, v)| v.as_str())
    }
}

fn read_site(r: &mut Reader, root: &Node) -> Option<Site> {
    let mut map = r.map(root, "a site")?;
    let name = map.id(r, "site").text;
    let kind = [
        ("live", SiteKind::Live),
        ("rehearsal", SiteKind::Rehearsal),
        ("sandbox", SiteKind::Sandbox),
    ];
    let kind = map.word(r, "kind", &kind).unwrap_or(SiteKind::Live);
    let variables = map.pairs_of(r, "variables");
    let (identity, identity_at) = named(r, &mut map, "identity", read_recorded);
    let (secrets, secrets_at) = named(r, &mut map, "secrets", read_secret);
    let rehearsal = map.get("rehearsal");
    if let Some(node) = rehearsal.filter(|_| kind != SiteKind::Rehearsal) {
        r.error(
            "wrong-type",
            node.at,
            format!(
                "`rehearsal` stands in a site of the kind `{}`",
                kind.as_str()
            ),
            "`kind: rehearsal`, where the site is a scratch place",
        );
    }
    let site = Site {
        name,
        runbook: map.text(r, "runbook"),
        kind,
        variables,
        identity,
        identity_at,
        secrets,
        secrets_at,
        baseline: map.get("baseline").and_then(|n| read_baseline(r, n)),
        rehearsal: rehearsal.and_then(|n| Rehearsal::read(r, n)),
    };
    map.done(r);
    Some(site)
}

type Named<T> = (IndexMap<String, T>, Vec<Name>);

fn named<T>(
    r: &mut Reader,
    map: &mut Map<'_>,
    key: &'static str,
    read: impl Fn(&mut Reader, &Node) -> Option<T>,
) -> Named<T> {
    let (mut out, mut places) = (IndexMap::new(), Vec::new());
    let inner = map.get(key).and_then(|n| r.map(n, key));
    for (name, node) in inner.iter().flat_map(|m| m.pairs) {
        if let Some(value) = read(r, node) {
            places.push(Name {
                text: name.text.clone(),
                at: name.at,
            });
            out.insert(name.text.clone(), value);
        }
    }
    (out, places)
}

/// Each kind of system in its own words: `host` and `port`, `server`, `tenant`, `account`.
fn read_recorded(r: &mut Reader, node: &Node) -> Option<Recorded> {
    let mut map = r.map(node, "an identity")?;
    let endpoint = map.text(r, "endpoint");
    let (host, port) = (map.text(r, "host"), map.text(r, "port"));
    let address = match (host, port) {
        (Some(host), Some(port)) => Some(format!("{host}:{port}")),
        (host, _) => host,
    };
    let (server, tenant, account) = (
        map.text(r, "server"),
        map.text(r, "tenant"),
        map.text(r, "account"),
    );
    let own = [
        map.text(r, "system_identifier"),
        map.text(r, "kube_system_uid"),
        map.text(r, "subscription"),
        map.text(r, "region"),
    ];
    let certificate = [map.text(r, "certificate_sha256"), map.text(r, "ca_sha256")];
    let recorded = Recorded {
        endpoint: endpoint.or(address).or(server).or(tenant).or(account),
        own: own.into_iter().flatten().next(),
        certificate: certificate.into_iter().flatten().next(),
    };
    map.done(r);
    if recorded == Recorded::default() {
        r.error(
            "missing-key",
            node.at,
            "nothing is recorded here: any system would pass",
            "blackstart site record NAME fills it in by looking",
        );
    }
    Some(recorded)
}

fn read_secret(r: &mut Reader, node: &Node) -> Option<SecretSource> {
    let mut map = r.map(node, "a secret")?;
    let source = SecretSource {
        env: map.text(r, "env"),
        sha256: map.text(r, "sha256").map(|t| t.to_ascii_lowercase()),
    };
    if let (Some(text), Some(node)) = (&source.sha256, map.get("sha256"))
        && (text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        r.wrong_type(node, "`sha256` is 64 hexadecimal digits");
    }
    map.done(r);
    Some(source)
}

fn read_baseline(r: &mut Reader, node: &Node) -> Option<Baseline> {
    let map = r.map(node, "`baseline`")?;
    let mut values = IndexMap::new();
    let mut at = None;
    for (key, value) in map.pairs {
        let Some(text) = r.text(value, &key.text) else {
            continue;
        };
        if key.text != "at" {
            values.insert(key.text.clone(), text);
            continue;
        }
        at = expect::moment(&text);
        if at.is_none() {
            r.wrong_type(value, "`at` is a moment with a zone: 2026-03-01T00:00:00Z");
        }
    }
    if at.is_none() {
        r.error(
            "missing-key",
            node.at,
            "nobody knows how old these values are",
            "add `at: 2026-03-01T00:00:00Z`",
        );
    }
    Some(Baseline { at: at?, values })
}

/// The `identity:` of a site's file, in the words of each kind, as `site record` writes it.
pub fn identity_block(found: &IndexMap<String, (super::runbook::SystemKind, Identity)>) -> String {
    use super::runbook::SystemKind;
    let mut out = String::from("identity:\n");
    for (system, (kind, identity)) in found {
        out.push_str(&format!("  {system}:\n"));
        let (host, port) = identity
            .endpoint
            .rsplit_once(':')
            .unwrap_or((identity.endpoint.as_str(), ""));
        let own = match kind {
            SystemKind::Postgres => "system_identifier",
            SystemKind::Kubernetes => "kube_system_uid",
            SystemKind::Azure => "subscription",
            SystemKind::Aws => "region",
            SystemKind::Redis | SystemKind::Http => "id",
        };
        match kind {
            SystemKind::Postgres | SystemKind::Redis if !port.is_empty() => {
                out.push_str(&format!("    host: {}\n    port: {port}\n", quoted(host)));
            }
            SystemKind::Kubernetes => {
                out.push_str(&format!("    server: {}\n", quoted(&identity.endpoint)));
            }
            SystemKind::Postgres
            | SystemKind::Redis
            | SystemKind::Http
            | SystemKind::Azure
            | SystemKind::Aws => {
                out.push_str(&format!("    endpoint: {}\n", quoted(&identity.endpoint)));
            }
        }
        if let Some(value) = &identity.own {
            out.push_str(&format!("    {own}: {}\n", quoted(value)));
        }
        if let Some(value) = &identity.certificate {
            let key = match kind {
                SystemKind::Kubernetes => "ca_sha256",
                SystemKind::Postgres
                | SystemKind::Redis
                | SystemKind::Http
                | SystemKind::Azure
                | SystemKind::Aws => "certificate_sha256",
            };
            out.push_str(&format!("    {key}: {}\n", quoted(value)));
        }
    }
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace(['"', '\\'], ""))
}

/// The text of a site's file with another `identity:` block; everything else stays as it is.
pub fn with_identity(text: &str, block: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    let mut placed = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with("identity:") {
            inside = true;
            placed = true;
            out.push_str(block);
            continue;
        }
        let goes_on =
            line.starts_with([' ', '\t']) || line.trim().is_empty() || line.starts_with("- ");
        if inside && goes_on && !line.trim().is_empty() {
            continue;
        }
        inside = inside && goes_on;
        out.push_str(line);
    }
    if !placed {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(block);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "site: prod
runbook: x
kind: live
variables: { db_host: db.example.net }
identity:
  database: { host: db.example.net, port: 5432, system_identifier: \"7\" }
secrets:
  db_password: { env: DB_PASSWORD }
  master_key: { sha256: 0000000000000000000000000000000000000000000000000000000000000000 }
baseline: { tenants: 412, at: 2026-03-01T00:00:00Z }
";

    fn site(text: &str) -> Site {
        Site::read(text.as_bytes()).expect("a site")
    }

    #[test]
    fn a_site_is_read_and_tells_the_right_system_from_another() {
        let site = site(SITE);
        let seen = |own: &str| Identity {
            endpoint: "db.example.net:5432".to_owned(),
            own: Some(own.to_owned()),
            certificate: Some("aa".to_owned()),
            note: None,
            user: None,
        };
        let recorded = &site.identity["database"];
        assert!(recorded.is(&seen("7")) && !recorded.is(&seen("8")));
        assert_eq!(recorded.fingerprint(), "db.example.net:5432/7");
        assert_eq!(site.value("db_host"), Some("db.example.net"));
        assert_eq!(
            site.baseline.map(|b| b.values["tenants"].clone()),
            Some("412".to_owned())
        );
    }

    #[test]
    fn slips_in_a_site_have_a_place() {
        for (text, code) in [
            ("site: prod\nkinds: live\n", "unknown-key"),
            ("site: prod\nkind: production\n", "wrong-type"),
            ("site: prod\nidentity: { database: {} }\n", "missing-key"),
            (
                "site: prod\nsecrets: { k: { sha256: abc } }\n",
                "wrong-type",
            ),
            ("site: prod\nbaseline: { tenants: 4 }\n", "missing-key"),
            ("kind: live\n", "missing-key"),
        ] {
            let findings = Site::read(text.as_bytes()).expect_err(text);
            assert_eq!(findings[0].code, code, "{text}");
        }
    }

    #[test]
    fn recording_replaces_only_the_identities() {
        let block = "identity:\n  database:\n    host: \"new\"\n";
        let text = with_identity(SITE, block);
        assert!(text.contains("host: \"new\"") && !text.contains("system_identifier"));
        assert!(text.contains("kind: live") && text.ends_with("00:00:00Z }\n"));
        assert!(text.contains("\nsecrets:\n  db_password"));
        assert_eq!(
            with_identity("site: a\n", block),
            format!("site: a\n{block}")
        );
        assert_eq!(with_identity(&text, block), text);
    }
}
