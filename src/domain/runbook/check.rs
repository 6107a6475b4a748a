//! A check: what is looked at, what must hold, how long it may take.

use super::{
    kinds::{CheckKind, command, dns, file, http, kubernetes, postgres, redis, tcp, tls},
    reader::{Name, Reader},
};
use crate::domain::{
    expect::{BadExpect, Expect},
    finding::{Pos, did_you_mean},
    template,
    yaml::Node,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A check as written; its texts may hold `${…}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    #[serde(skip)]
    pub at: Pos,
    pub what: CheckKind,
    /// What must hold of *seen*; without it, that the look itself succeeds.
    pub expect: Option<String>,
    /// Tries until it holds or this is over.
    pub within: Option<Duration>,
    /// The pause between tries. Default 5 s.
    pub every: Option<Duration>,
    /// How long one try may take. Default 10 s.
    pub timeout: Option<Duration>,
    /// What ends `within` at once.
    pub fails: Option<String>,
}

impl Check {
    pub const TIMEOUT: Duration = Duration::from_secs(10);
    pub const EVERY: Duration = Duration::from_secs(5);

    pub fn read(r: &mut Reader, node: &Node) -> Option<Self> {
        let mut map = r.map(node, "a check")?;
        let kinds: Vec<&str> = CheckKind::NAMES
            .iter()
            .copied()
            .filter(|k| map.has(k))
            .collect();
        // `command` is also a key of the redis and kubernetes checks, `file` and `ca` of tls.
        let kind = match kinds[..] {
            [] => {
                let key = map.pairs.first().map_or("", |(k, _)| k.text.as_str());
                r.error(
                    "missing-key",
                    node.at,
                    "a check needs one key that names its kind",
                    &did_you_mean(key, CheckKind::NAMES),
                );
                return None;
            }
            [one] => one,
            _ if kinds.contains(&"redis") => "redis",
            _ if kinds.contains(&"kubernetes") => "kubernetes",
            [first, second, ..] => {
                r.error(
                    "two-actions",
                    node.at,
                    format!("this check is both `{first}` and `{second}`"),
                    "make two checks of it",
                );
                return None;
            }
        };
        let what = match kind {
            "postgres" => postgres::Words::read(r, &mut map).map(CheckKind::Postgres),
            "redis" => redis::Words::read(r, &mut map).map(CheckKind::Redis),
            "http" => http::Words::read(r, &mut map).map(CheckKind::Http),
            "kubernetes" => kubernetes::Words::read(r, &mut map).map(CheckKind::Kubernetes),
            "command" | "script" => command::Words::read(r, &mut map).map(CheckKind::Command),
            "tcp" => tcp::Words::read(r, &mut map).map(CheckKind::Tcp),
            "tls" => tls::Words::read(r, &mut map).map(CheckKind::Tls),
            "dns" => dns::Words::read(r, &mut map).map(CheckKind::Dns),
            _ => file::Words::read(r, &mut map).map(CheckKind::File),
        };
        let expect_node = map.get("expect");
        let check = Self {
            at: node.at,
            expect: expect_node.and_then(|n| r.text(n, "expect")),
            within: map.duration(r, "within"),
            every: map.duration(r, "every"),
            timeout: map.duration(r, "timeout"),
            fails: map.get("fails").and_then(|n| {
                let text = r.text(n, "fails")?;
                read_expect(r, &text, n.at);
                Some(text)
            }),
            what: what?,
        };
        map.done(r);
        if let (Some(text), Some(n)) = (&check.expect, expect_node) {
            let expect = read_expect(r, text, n.at);
            if let Some(why) = expect.and_then(|e| e.cannot_fail(check.what.counts())) {
                r.error(
                    "cannot-fail",
                    n.at,
                    format!("`{text}` holds whatever is seen: {why}"),
                    "expect what a broken system would not show, `> 0` for instance",
                );
            }
        }
        for (row, text, at) in check.what.expectations() {
            let expect = read_expect(r, text, at);
            if let Some(why) = expect.and_then(|e| e.cannot_fail(check.what.counts())) {
                r.error(
                    "cannot-fail",
                    at,
                    format!("`{row}: {text}` holds whatever is seen: {why}"),
                    "expect what a broken system would not show, `> 0` for instance",
                );
            }
        }
        Some(check)
    }

    pub fn read_list(r: &mut Reader, node: Option<&Node>) -> Vec<Self> {
        let Some(node) = node else { return Vec::new() };
        match &node.value {
            crate::domain::yaml::Value::Mapping(_) => Self::read(r, node).into_iter().collect(),
            _ => r
                .list(node, "a list of checks")
                .iter()
                .filter_map(|n| Self::read(r, n))
                .collect(),
        }
    }

    /// A check that decides something and cannot fail is none. What only shows how far it is may.
    pub fn must_be_able_to_fail(&self, r: &mut Reader) {
        if self.expect.is_none()
            && let Some(why) = self.what.always_succeeds()
        {
            r.error(
                "cannot-fail",
                self.at,
                format!("this succeeds whatever is seen: {why}"),
                "let the exit code of what looks be the last one, or say what to `expect`",
            );
        }
    }

    /// The system it looks at, when it has a name.
    pub fn system(&self) -> Option<&Name> {
        self.what.system()
    }

    /// One line that says what is looked at: `database: SELECT count(*) FROM tenants`.
    pub fn label(&self) -> String {
        self.what.label()
    }

    /// What must hold, in words.
    pub fn expected(&self) -> String {
        match &self.expect {
            Some(text) => text.clone(),
            None => self.what.expected(),
        }
    }

    /// Every text that may hold `${…}`; secrets may stand only where the flag says so.
    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all = self.what.templates();
        all.extend(self.expect.as_deref().map(|t| (t, false)));
        all.extend(self.fails.as_deref().map(|t| (t, false)));
        all
    }

    /// How long it takes at most, tries and all.
    pub fn longest(&self) -> Duration {
        self.within.unwrap_or_default() + self.timeout.unwrap_or(Self::TIMEOUT)
    }
}

/// Reads an expectation with a sample for every `${…}`: a template is compared once its values are
/// known, what stands for it now only has to parse.
fn read_expect(r: &mut Reader, text: &str, at: Pos) -> Option<Expect> {
    let expect = match Expect::parse(&template::with_samples(text)) {
        Ok(expect) => expect,
        Err(e) => {
            let code = if matches!(e, BadExpect::Regex(_)) {
                "bad-regex"
            } else {
                "bad-expect"
            };
            r.error(
                code,
                at,
                format!("{e}"),
                "an expectation begins with == != <= >= < >, is `between 3 5`, `within 5% of 412`, `/regex/`, or a literal",
            );
            return None;
        }
    };
    if !text.contains("${")
        && let Some(why) = expect.cannot_hold()
    {
        r.error("bad-expect", at, why, "the smaller value comes first");
        return None;
    }
    Some(expect)
}
