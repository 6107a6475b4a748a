//! A system: one name for how something is reached.

use super::reader::{Later, Map, Name, Reader};
use crate::domain::{finding::did_you_mean, yaml::Node};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemKind {
    Postgres,
    Redis,
    Http,
    Kubernetes,
    Azure,
    Aws,
}

impl SystemKind {
    pub const ALL: [(&'static str, Self); 6] = [
        ("postgres", Self::Postgres),
        ("redis", Self::Redis),
        ("http", Self::Http),
        ("kubernetes", Self::Kubernetes),
        ("azure", Self::Azure),
        ("aws", Self::Aws),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Http => "http",
            Self::Kubernetes => "kubernetes",
            Self::Azure => "azure",
            Self::Aws => "aws",
        }
    }

    /// The keys of a kind; the flag says whether a secret may stand there.
    pub(super) fn keys(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Postgres => &[
                ("host", false),
                ("port", false),
                ("user", false),
                ("dbname", false),
                ("password", true),
                ("tls", false),
                ("ca", false),
                ("cert", false),
                ("key", false),
            ],
            Self::Redis => &[
                ("host", false),
                ("port", false),
                ("user", false),
                ("password", true),
                ("tls", false),
                ("ca", false),
                ("db", false),
            ],
            Self::Http => &[
                ("base", false),
                ("bearer", true),
                ("ca", false),
                ("cert", false),
                ("key", false),
                ("connect_to", false),
            ],
            Self::Kubernetes => &[
                ("context", false),
                ("kubeconfig", false),
                ("namespace", false),
            ],
            Self::Azure => &[("tenant", false), ("subscription", false)],
            Self::Aws => &[("account", false), ("region", false), ("profile", false)],
        }
    }
}

/// A named connection as written; its texts may hold `${…}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct System {
    pub name: Name,
    pub kind: SystemKind,
    pub fields: IndexMap<String, String>,
    /// HTTP headers, which may hold secrets.
    pub headers: Vec<(Name, String)>,
    /// Reached through a port-forward into a cluster.
    pub via: Option<serde_json::Value>,
    /// Where its port-forward stands, while there is one.
    #[serde(default)]
    pub through: Option<String>,
}

impl System {
    pub fn read(r: &mut Reader, name: Name, node: &Node) -> Option<Self> {
        let mut map = r.map(node, "a system")?;
        let named = map.get("kind").or_else(|| map.get("type"));
        if let Some(word) = named {
            let kind = kind_of(r, word)?;
            return Some(Self::read_keys(r, name, kind, map));
        }
        // `database: { postgres: { host: … } }` says the same.
        for (word, kind) in SystemKind::ALL {
            if let Some(inner) = map.get(word) {
                let inner = r.map(inner, "a system")?;
                let system = Self::read_keys(r, name, kind, inner);
                map.done(r);
                return Some(system);
            }
        }
        r.error(
            "missing-key",
            node.at,
            format!("the system `{name}` does not say its `kind`"),
            "kind: postgres, redis, http, kubernetes, azure or aws",
        );
        None
    }

    fn read_keys(r: &mut Reader, name: Name, kind: SystemKind, mut map: Map<'_>) -> Self {
        let mut fields = IndexMap::new();
        for (key, _) in kind.keys() {
            if let Some(node) = map.get(key)
                && let Some(text) = r.text(node, key)
            {
                check_field(r, kind, key, &text, node);
                if !matches!(*key, "password" | "bearer") {
                    r.no_placeholder(node);
                }
                fields.insert((*key).to_owned(), text);
            }
        }
        let via = map.get("via");
        let wanted: &[&'static str] = match kind {
            // A port-forward leads to a service or a pod; there is no host to name.
            SystemKind::Postgres | SystemKind::Redis if via.is_some() => &[],
            SystemKind::Postgres | SystemKind::Redis => &["host"],
            SystemKind::Http => &["base"],
            SystemKind::Kubernetes | SystemKind::Azure | SystemKind::Aws => &[],
        };
        for key in wanted {
            map.required(r, key);
        }
        let headers = if kind == SystemKind::Http {
            map.pairs_of(r, "headers")
        } else {
            Vec::new()
        };
        for (name, value) in &headers {
            check_header(r, name, value);
        }
        if let Some(node) = via {
            read_via(r, node);
        }
        let via = via.map(Node::to_json);
        map.done(r);
        Self {
            name,
            kind,
            fields,
            headers,
            via,
            through: None,
        }
    }

    /// The cluster that it is reached through.
    pub fn through_cluster(&self) -> Option<&str> {
        self.via.as_ref()?["kubernetes"].as_str()
    }

    /// Every text that may hold `${…}`, with whether a secret may stand there.
    pub fn templates(&self) -> Vec<(&str, bool)> {
        let keys = self.kind.keys();
        let mut all: Vec<(&str, bool)> = self
            .fields
            .iter()
            .map(|(k, v)| {
                let secret = keys.iter().any(|(key, s)| key == k && *s);
                (v.as_str(), secret)
            })
            .collect();
        all.extend(self.headers.iter().map(|(_, v)| (v.as_str(), true)));
        let via = self.via.as_ref().and_then(|v| v.as_object());
        let via = via.into_iter().flat_map(|m| m.values());
        all.extend(via.filter_map(|v| Some((v.as_str()?, false))));
        all
    }
}

/// Through which cluster a system is reached.
fn read_via(r: &mut Reader, node: &Node) {
    let Some(mut map) = r.map(node, "`via`") else {
        return;
    };
    if let Some(name) = map
        .required(r, "kubernetes")
        .and_then(|n| r.name(n, "kubernetes"))
    {
        r.remember(Later::System(name, SystemKind::Kubernetes));
    }
    if !map.has("service") && !map.has("pod") {
        r.error(
            "missing-key",
            node.at,
            "`via` does not say what the port-forward leads to",
            "add `service: name` or `pod: name`",
        );
    }
    for key in ["service", "pod", "port", "namespace"] {
        if let Some(value) = map.get(key) {
            r.remember_texts(value, false);
        }
    }
    map.done(r);
}

/// A header by whose name it holds a secret, and whose value stands in the file.
fn check_header(r: &mut Reader, name: &Name, value: &str) {
    let word = name.text.to_ascii_lowercase();
    let secret = [
        "authorization",
        "token",
        "key",
        "secret",
        "password",
        "cookie",
    ];
    if secret.iter().any(|s| word.contains(s)) && !value.trim().is_empty() && !value.contains("${")
    {
        r.error(
            "secret-in-text",
            name.at,
            format!("the header `{name}` holds a secret in the clear"),
            "declare a variable of `type: secret` and write `${name}` here",
        );
    }
}

/// Does a password stand in this address, as in `http://user:password@host`?
fn holds_password(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let login = authority.rsplit_once('@').map(|(login, _)| login);
    let password = login.and_then(|l| l.split_once(':')).map(|(_, p)| p);
    password.is_some_and(|p| !p.is_empty() && !p.contains("${"))
}

fn kind_of(r: &mut Reader, node: &Node) -> Option<SystemKind> {
    let word = r.text(node, "kind")?;
    let found = SystemKind::ALL.iter().find(|(w, _)| *w == word);
    if found.is_none() {
        r.error(
            "wrong-type",
            node.at,
            format!("`{word}` is not a kind of system"),
            &did_you_mean(&word, SystemKind::ALL.iter().map(|(w, _)| *w)),
        );
    }
    found.map(|(_, kind)| *kind)
}

fn check_field(r: &mut Reader, kind: SystemKind, key: &str, text: &str, node: &Node) {
    if key == "base" && holds_password(text) {
        r.error(
            "secret-in-text",
            node.at,
            "a password stands in this address in the clear",
            "give it by `bearer` or `headers`, with a variable of `type: secret`",
        );
    }
    if text.contains("${") {
        return;
    }
    match (kind, key) {
        (_, "port") if text.parse::<u16>().is_err() => {
            r.wrong_type(node, "`port` is a number up to 65535");
        }
        (SystemKind::Postgres, "tls")
            if !["verify-full", "verify-ca", "disable"].contains(&text) =>
        {
            r.error(
                "wrong-type",
                node.at,
                format!("`tls` cannot be `{text}`"),
                "verify-full (the default), verify-ca or disable; there is no `prefer`: it sends passwords in the clear",
            );
        }
        (SystemKind::Redis, "tls")
            if !["verify-full", "verify-ca", "disable", "true", "false"].contains(&text) =>
        {
            r.error(
                "wrong-type",
                node.at,
                format!("`tls` cannot be `{text}`"),
                "verify-full, verify-ca or disable",
            );
        }
        (SystemKind::Http, "base")
            if !text.starts_with("http://") && !text.starts_with("https://") =>
        {
            r.wrong_type(node, "`base` is a URL that begins with https://");
        }
        (_, "password" | "bearer") => {
            r.error(
                "secret-in-text",
                node.at,
                format!("a {key} stands here in the clear"),
                "declare a variable of `type: secret` and write `${name}` here",
            );
        }
        _ => {}
    }
}
