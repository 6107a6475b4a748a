//! From the YAML tree to typed values: every slip becomes a finding, and reading goes on.

use super::{scripts, system::SystemKind};
use crate::domain::{
    finding::{Finding, Pos, did_you_mean, one_of},
    text::Clean,
    units,
    yaml::{Key, Node, Value},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, fmt, time::Duration};

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

/// What can be judged only when the whole file is known.
#[derive(Clone, Debug)]
pub enum Later {
    /// A system that must be there, and be of this kind.
    System(Name, SystemKind),
    /// A text with `${…}`, and whether a secret may stand in it.
    Text(Name, bool),
}

/// Collects findings while a file is read.
#[derive(Default)]
pub struct Reader {
    pub findings: Vec<Finding>,
    /// How many there were beyond those that are kept.
    more: usize,
    /// How many names were compared to find out what somebody may have meant.
    compared: usize,
    later: Vec<Later>,
    /// Which keys were asked for, by what they are keys of: what the schema has to say.
    #[cfg(test)]
    pub asked: std::collections::BTreeMap<&'static str, std::collections::BTreeSet<&'static str>>,
}

impl Reader {
    /// Nobody mends more than this many at a time.
    const MOST: usize = 300;
    /// Comparing is what takes time in a file with thousands of wrong names.
    const MOST_COMPARED: usize = 50_000;

    pub fn error(&mut self, code: &'static str, at: Pos, message: impl Into<String>, help: &str) {
        if !self.is_full() {
            self.findings
                .push(Finding::error(code, at, message).help(help));
        }
    }

    /// Are there enough findings? Then what would have been the next one is only counted.
    pub fn is_full(&mut self) -> bool {
        let full = self.findings.len() >= Self::MOST;
        self.more += usize::from(full);
        full
    }

    /// What somebody may have meant, as long as it is found quickly.
    pub fn suggest<'n>(&mut self, word: &str, names: impl IntoIterator<Item = &'n str>) -> String {
        let names: Vec<&str> = names.into_iter().collect();
        self.compared += names.len();
        if self.compared > Self::MOST_COMPARED {
            return one_of(&names);
        }
        did_you_mean(word, names)
    }

    pub fn remember(&mut self, later: Later) {
        self.later.push(later);
    }

    /// Every text with `${…}` in a value that is handed on whole.
    pub fn remember_texts(&mut self, node: &Node, secret_ok: bool) {
        match &node.value {
            Value::Scalar { text, .. } => {
                if text.contains("${") {
                    let name = Name {
                        text: text.clone(),
                        at: node.text_at(),
                    };
                    self.remember(Later::Text(name, secret_ok));
                }
            }
            Value::Sequence(items) => {
                for item in items {
                    self.remember_texts(item, secret_ok);
                }
            }
            Value::Mapping(pairs) => {
                for (_, value) in pairs {
                    self.remember_texts(value, secret_ok);
                }
            }
        }
    }

    pub fn remembered(&mut self) -> Vec<Later> {
        std::mem::take(&mut self.later)
    }

    /// All findings in the order of the file, each once; the last one says whether there are more.
    pub fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        findings.sort_by_key(|f| f.at);
        let mut seen = HashSet::new();
        findings.retain(|f| seen.insert((f.code, f.at.line, f.at.column, f.message.clone())));
        if self.more > 0 {
            let message = format!("{} more findings are not shown", self.more);
            findings.push(
                Finding::error("too-many", Pos::NONE, message).help("mend these, then look again"),
            );
        }
        findings
    }

    /// Things such as `<pv-name>` that somebody was meant to fill in, wherever they stand in a value.
    pub fn no_placeholder(&mut self, node: &Node) {
        match &node.value {
            Value::Scalar { text, .. } => {
                if let Some((found, at)) = scripts::unfilled(text, node.text_at()) {
                    self.error(
                        "placeholder",
                        at,
                        format!("`{found}` was never filled in"),
                        "declare a variable for it and write `${name}` here",
                    );
                }
            }
            Value::Sequence(items) => {
                for item in items {
                    self.no_placeholder(item);
                }
            }
            Value::Mapping(pairs) => {
                for (_, value) in pairs {
                    self.no_placeholder(value);
                }
            }
        }
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
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
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

    /// Exit codes.
    pub fn codes(&mut self, r: &mut Reader, key: &'static str) -> Vec<i64> {
        let mut found = Vec::new();
        for code in self.names(r, key) {
            match code.text.parse() {
                Ok(number) => found.push(number),
                Err(_) => r.error("wrong-type", code.at, format!("`{key}` lists numbers"), ""),
            }
        }
        found
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

    /// Where a key stands.
    pub fn place_of(&self, key: &str) -> Option<Pos> {
        self.pairs
            .iter()
            .find(|(k, _)| k.text == key)
            .map(|(k, _)| k.at)
    }

    /// What was never asked for is not known; `x-…` is the author's own.
    pub fn done(self, r: &mut Reader) {
        const MOST: usize = 50;
        #[cfg(test)]
        r.asked
            .entry(self.what)
            .or_default()
            .extend(self.asked.iter().copied());
        let asked = &self.asked;
        let mut unknown = self
            .pairs
            .iter()
            .map(|(key, _)| key)
            .filter(|k| !k.text.starts_with("x-") && !asked.contains(&k.text.as_str()));
        for key in unknown.by_ref().take(MOST) {
            if r.is_full() {
                continue;
            }
            let shown = Clean::line(&key.text);
            let help = r.suggest(&key.text, asked.iter().copied());
            r.error(
                "unknown-key",
                key.at,
                format!("`{shown}` is not a key of {}", self.what),
                &help,
            );
        }
        if let Some(next) = unknown.next() {
            let more = unknown.count() + 1;
            r.error(
                "unknown-key",
                next.at,
                format!("{more} more keys here are not keys of {}", self.what),
                "see the runbook format for what belongs here",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::yaml;

    #[test]
    fn findings_come_to_an_end() {
        let mut r = Reader::default();
        let keys: String = (0..2_000).map(|i| format!("titl{i}: v\n")).collect();
        let root = yaml::read(keys.as_bytes()).expect("valid");
        for _ in 0..10 {
            let mut map = r.map(&root, "a step").expect("a mapping");
            map.get("title");
            map.done(&mut r);
        }
        let one = r.findings.iter().filter(|f| f.at.line == 1).count();
        assert_eq!(one, 6, "50 of each mapping and one for the rest");
        let findings = r.into_findings();
        let last = findings.last().expect("some");
        assert_eq!(findings.len(), 52, "each once, and the last one");
        assert_eq!(last.code, "too-many");
        assert_eq!(findings[50].at.line, 51);
        assert!(findings[50].message.starts_with("1950 more keys"));
    }
}
