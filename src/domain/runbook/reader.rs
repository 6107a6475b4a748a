//! From the YAML tree to typed values: every slip becomes a finding, and reading goes on.

use crate::domain::{
    finding::{Finding, Pos, did_you_mean},
    text::Clean,
    units,
    yaml::{Key, Node, Value},
};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// A name as it was written, and where: so that a name that means nothing can be pointed at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name {
    pub text: String,
    #[serde(skip)]
    pub at: Pos,
}

impl Name {
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            at: Pos::NONE,
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// More findings than this are not kept.
const MOST_FINDINGS: usize = 300;

/// Collects findings while a file is read.
#[derive(Default)]
pub struct Reader {
    pub findings: Vec<Finding>,
}

impl Reader {
    pub fn error(&mut self, code: &'static str, at: Pos, message: impl Into<String>, help: &str) {
        // Nobody reads more than these, and a file that is not a runbook has thousands.
        if self.findings.len() >= MOST_FINDINGS {
            return;
        }
        self.findings
            .push(Finding::error(code, at, message).help(help));
    }

    /// The mapping that must stand here; `what` is what people call it ("a step").
    pub fn map<'a>(&mut self, node: &'a Node, what: &'static str) -> Option<Map<'a>> {
        match &node.value {
            Value::Mapping(pairs) => Some(Map {
                at: node.at,
                pairs,
                asked: Vec::new(),
                what,
            }),
            Value::Scalar { .. } | Value::Sequence(_) => {
                self.wrong_type(node, &format!("{what} is a mapping"));
                None
            }
        }
    }

    pub fn list<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Node] {
        match &node.value {
            Value::Sequence(items) => items,
            Value::Scalar { .. } | Value::Mapping(_) => {
                self.wrong_type(node, &format!("{what} is a list"));
                &[]
            }
        }
    }

    pub fn wrong_type(&mut self, node: &Node, wanted: &str) {
        self.error(
            "wrong-type",
            node.at,
            format!("{wanted}, but {} stands here", node.kind()),
            "see the runbook format for what belongs here",
        );
    }

    pub fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = node.scalar().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(node, &format!("`{what}` is a text"));
        }
        text
    }

    pub fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let text = self.text(node, what)?;
        match units::duration(&text) {
            Ok(duration) => Some(duration),
            Err(e) => {
                self.error(
                    "wrong-type",
                    node.at,
                    format!("`{what}`: {e}"),
                    "write 90s, 5m or 1h30m",
                );
                None
            }
        }
    }

    /// One name or a list of names.
    pub fn names(&mut self, node: &Node, what: &str) -> Vec<Name> {
        match &node.value {
            Value::Scalar { .. } if !node.is_null() => self.name(node, what).into_iter().collect(),
            _ => {
                let items = self.list(node, &format!("`{what}`"));
                items.iter().filter_map(|n| self.name(n, what)).collect()
            }
        }
    }

    pub fn name(&mut self, node: &Node, what: &str) -> Option<Name> {
        let text = self.text(node, what)?;
        Some(Name { text, at: node.at })
    }

    /// A list of argument texts.
    pub fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        let items = self.list(node, &format!("`{what}`"));
        items.iter().filter_map(|n| self.text(n, what)).collect()
    }

    /// `name: text` pairs.
    pub fn pairs(&mut self, node: &Node, what: &'static str) -> Vec<(Name, String)> {
        let Some(map) = self.map(node, what) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        for (key, value) in map.pairs {
            if let Some(text) = self.text(value, &key.text) {
                out.push((
                    Name {
                        text: key.text.clone(),
                        at: key.at,
                    },
                    text,
                ));
            }
        }
        out
    }
}

/// A mapping being read: what was asked for is what is known, the rest is unknown.
pub struct Map<'a> {
    pub at: Pos,
    pub pairs: &'a [(Key, Node)],
    asked: Vec<&'static str>,
    what: &'static str,
}

impl<'a> Map<'a> {
    /// The value of a key; a key without a value counts as absent.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.pairs
            .iter()
            .find(|(k, _)| k.text == key)
            .map(|(_, v)| v)
            .filter(|v| !v.is_null())
    }

    pub fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(k, _)| k.text == key)
    }

    pub fn required(&mut self, r: &mut Reader, key: &'static str) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            r.error(
                "missing-key",
                self.at,
                format!("{} needs `{key}`", self.what),
                &format!("add `{key}: …`"),
            );
        }
        node
    }

    pub fn text(&mut self, r: &mut Reader, key: &'static str) -> Option<String> {
        self.get(key).and_then(|n| r.text(n, key))
    }

    /// Text for people: cleaned of anything that could drive a terminal.
    pub fn prose(&mut self, r: &mut Reader, key: &'static str) -> Option<String> {
        self.text(r, key)
            .map(|t| Clean::new(t.trim_end()).into_string())
    }

    pub fn required_text(&mut self, r: &mut Reader, key: &'static str) -> String {
        self.required(r, key)
            .and_then(|n| r.text(n, key))
            .map(|t| Clean::new(t.trim_end()).into_string())
            .unwrap_or_default()
    }

    pub fn duration(&mut self, r: &mut Reader, key: &'static str) -> Option<Duration> {
        self.get(key).and_then(|n| r.duration(n, key))
    }

    pub fn boolean(&mut self, r: &mut Reader, key: &'static str) -> bool {
        self.get(key).is_some_and(|n| match n.scalar() {
            Some("true") => true,
            Some("false") => false,
            _ => {
                r.wrong_type(n, &format!("`{key}` is true or false"));
                false
            }
        })
    }

    pub fn integer(&mut self, r: &mut Reader, key: &'static str) -> Option<i64> {
        let node = self.get(key)?;
        let number = node.scalar().and_then(|t| t.parse().ok());
        if number.is_none() {
            r.wrong_type(node, &format!("`{key}` is a whole number"));
        }
        number
    }

    pub fn names(&mut self, r: &mut Reader, key: &'static str) -> Vec<Name> {
        self.get(key).map(|n| r.names(n, key)).unwrap_or_default()
    }

    pub fn texts(&mut self, r: &mut Reader, key: &'static str) -> Vec<String> {
        self.get(key).map(|n| r.texts(n, key)).unwrap_or_default()
    }

    pub fn pairs_of(&mut self, r: &mut Reader, key: &'static str) -> Vec<(Name, String)> {
        self.get(key).map(|n| r.pairs(n, key)).unwrap_or_default()
    }

    /// One of a closed list of words.
    pub fn word<T: Copy>(
        &mut self,
        r: &mut Reader,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let node = self.get(key)?;
        let found = node
            .scalar()
            .and_then(|t| words.iter().find(|(w, _)| *w == t));
        if found.is_none() {
            let shown = node.scalar().unwrap_or(node.kind());
            r.error(
                "wrong-type",
                node.at,
                format!("`{key}` cannot be `{shown}`"),
                &did_you_mean(shown, words.iter().map(|(w, _)| *w)),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// An id: `[a-z0-9-]+`, so that it can stand in names, paths and command lines. Severities and
    /// the like may have capitals.
    pub fn id(&mut self, r: &mut Reader, key: &'static str) -> Name {
        let Some(name) = self.required(r, key).and_then(|n| r.name(n, key)) else {
            return Name::default();
        };
        let fits = !name.text.is_empty()
            && name.text.len() <= 64
            && name
                .text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !fits {
            let shown = Clean::line(&name.text);
            r.error(
                "wrong-type",
                name.at,
                format!("`{shown}` cannot be an id"),
                "an id has small letters, digits and dashes: `restore-server`",
            );
            return Name {
                text: String::new(),
                at: name.at,
            };
        }
        name
    }

    /// What was never asked for is not known; `x-…` is the author's own.
    pub fn done(self, r: &mut Reader) {
        for (key, _) in self.pairs {
            if key.text.starts_with("x-") || self.asked.contains(&key.text.as_str()) {
                continue;
            }
            let shown = Clean::line(&key.text);
            r.error(
                "unknown-key",
                key.at,
                format!("`{shown}` is not a key of {}", self.what),
                &did_you_mean(&key.text, self.asked.iter().copied()),
            );
        }
    }
}
