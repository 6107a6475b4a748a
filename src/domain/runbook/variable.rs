//! A variable: its type, its sources, and what it refuses.

mod reserved;

use super::{
    check::Check,
    reader::{Name, Reader},
};
use crate::domain::{expect, text::Clean, units, yaml::Node};
use regex::Regex;
pub use reserved::is_reserved;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarType {
    Text,
    Integer,
    Number,
    Boolean,
    Timestamp,
    Duration,
    Size,
    Choice,
    Host,
    Path,
    Url,
    Secret,
}

pub(super) const TYPES: [(&str, VarType); 12] = [
    ("text", VarType::Text),
    ("integer", VarType::Integer),
    ("number", VarType::Number),
    ("boolean", VarType::Boolean),
    ("timestamp", VarType::Timestamp),
    ("duration", VarType::Duration),
    ("size", VarType::Size),
    ("choice", VarType::Choice),
    ("host", VarType::Host),
    ("path", VarType::Path),
    ("url", VarType::Url),
    ("secret", VarType::Secret),
];

impl VarType {
    /// What a bound of this type has to be, when it is not.
    fn refuses_bound(self, bound: &str) -> Option<&'static str> {
        let bound = bound.trim();
        let (fits, wanted) = match self {
            Self::Integer | Self::Number => {
                (bound.parse::<f64>().is_ok_and(f64::is_finite), "a number")
            }
            Self::Timestamp => (
                expect::moment(bound).is_some(),
                "a moment with a zone: 2026-03-10T14:30:00Z",
            ),
            Self::Duration => (units::duration(bound).is_ok(), "a duration such as 1h30m"),
            Self::Size => (units::size(bound).is_ok(), "a size such as 50Gi"),
            Self::Text
            | Self::Boolean
            | Self::Choice
            | Self::Host
            | Self::Path
            | Self::Url
            | Self::Secret => (true, ""),
        };
        (!fits).then_some(wanted)
    }
}

/// When a value must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    Plan,
    Step,
}

#[derive(Clone, Debug)]
pub struct Variable {
    pub name: Name,
    pub kind: VarType,
    pub ask: Option<String>,
    pub help: Option<String>,
    pub default: Option<String>,
    pub env: Option<String>,
    pub example: Option<String>,
    pub pattern: Option<Regex>,
    pub min: Option<String>,
    pub max: Option<String>,
    pub choices: Vec<String>,
    pub hint: Vec<Check>,
    pub needed: Needed,
    pub from_baseline: bool,
}

/// The shortest secret that can be masked without masking half of the log.
pub const SHORTEST_SECRET: usize = 6;

impl Variable {
    pub fn read(r: &mut Reader, name: Name, node: &Node) -> Option<Self> {
        name_fits(r, &name);
        if node.is_null() {
            return Some(Self::text(name));
        }
        let mut map = r.map(node, "a variable")?;
        let kind = map.word(r, "type", &TYPES).unwrap_or(VarType::Text);
        let default_node = map.get("default");
        let example = map.prose(r, "example");
        let pattern_node = map.get("pattern");
        if let Some(node) = default_node {
            r.no_placeholder(node);
        }
        for key in ["min", "max"] {
            if let Some(node) = map.get(key)
                && let Some(text) = node.scalar()
                && let Some(wanted) = kind.refuses_bound(text)
            {
                let shown = Clean::line(text);
                r.error(
                    "wrong-type",
                    node.at,
                    format!("`{key}` cannot be `{shown}`"),
                    &format!("write {wanted}"),
                );
            }
        }
        let mut variable = Self {
            kind,
            ask: map.prose(r, "ask"),
            help: map.prose(r, "help"),
            default: default_node.and_then(|n| r.text(n, "default")),
            env: map.text(r, "env"),
            example,
            pattern: None,
            min: map.text(r, "min"),
            max: map.text(r, "max"),
            choices: map.texts(r, "choices"),
            hint: Check::read_list(r, map.get("hint")),
            needed: map
                .word(
                    r,
                    "needed",
                    &[("plan", Needed::Plan), ("step", Needed::Step)],
                )
                .unwrap_or(Needed::Plan),
            from_baseline: map.word(r, "from", &[("baseline", true)]).unwrap_or(false),
            name,
        };
        if let Some(node) = pattern_node
            && let Some(text) = r.text(node, "pattern")
        {
            match Regex::new(&format!("^(?:{text})$")) {
                Ok(regex) => variable.pattern = Some(regex),
                Err(_) => r.error(
                    "bad-regex",
                    node.at,
                    format!("`{text}` is not a regular expression"),
                    "the whole value has to match it",
                ),
            }
        }
        if let (Some(min), Some(max)) = (&variable.min, &variable.max)
            && let Ok(expect) = expect::Expect::parse(&format!("<= {max}"))
            && expect.judge(min) == expect::Comparison::Fails
        {
            let at = map.place_of("min").unwrap_or(map.at);
            r.error(
                "wrong-type",
                at,
                format!("no value is at least {min} and at most {max}"),
                "the smaller bound is `min`",
            );
        }
        if variable.from_baseline && variable.hint.is_empty() {
            let at = map.place_of("from").unwrap_or(map.at);
            r.error(
                "missing-key",
                at,
                "a baseline is recorded by looking, and nothing says at what",
                "add `hint: [ a check ]`: what it sees in peace time is the value",
            );
        }
        if kind == VarType::Choice && variable.choices.is_empty() {
            r.error(
                "missing-key",
                map.at,
                "a choice needs its `choices`",
                "choices: [a, b]",
            );
        }
        if kind == VarType::Secret {
            if let Some(node) = default_node {
                r.error(
                    "secret-in-text",
                    node.at,
                    "a secret with a default is a secret written into the runbook",
                    "remove it; give the value by `env:` or at the prompt",
                );
                variable.default = None;
            }
        } else if let (Some(text), Some(node)) = (variable.default.clone(), default_node)
            && !text.contains("${")
            && let Err(why) = variable.accept(&text)
        {
            r.error(
                "wrong-type",
                node.at,
                format!("this default is refused: {why}"),
                "",
            );
        }
        map.done(r);
        Some(variable)
    }

    /// A captured name that nobody declared.
    pub fn text(name: Name) -> Self {
        Self {
            name,
            kind: VarType::Text,
            ask: None,
            help: None,
            default: None,
            env: None,
            example: None,
            pattern: None,
            min: None,
            max: None,
            choices: Vec::new(),
            hint: Vec::new(),
            needed: Needed::Step,
            from_baseline: false,
        }
    }

    pub fn is_secret(&self) -> bool {
        self.kind == VarType::Secret
    }

    pub fn type_name(&self) -> &'static str {
        TYPES
            .iter()
            .find(|(_, k)| *k == self.kind)
            .map_or("text", |(w, _)| w)
    }

    /// The value in its normal form, or why it is refused. The refusal of a secret never quotes it.
    pub fn accept(&self, value: &str) -> Result<String, String> {
        let normal = self.normal(value)?;
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(&normal)
        {
            return Err(match self.kind {
                VarType::Secret => "it does not have the form that the runbook asks for".to_owned(),
                _ => format!("`{normal}` does not match {}", pattern.as_str()),
            });
        }
        for (bound, sign, word) in [(&self.min, ">=", "below"), (&self.max, "<=", "above")] {
            let Some(bound) = bound else { continue };
            let Ok(expect) = expect::Expect::parse(&format!("{sign} {bound}")) else {
                continue;
            };
            if expect.judge(&normal) == expect::Comparison::Fails {
                return Err(format!("`{normal}` is {word} {bound}"));
            }
        }
        Ok(normal)
    }

    fn normal(&self, value: &str) -> Result<String, String> {
        let trimmed = value.trim();
        if !self.is_secret() && Clean::new(value).as_str() != value {
            return Err(
                "it holds control characters, which would not reach a script unchanged".to_owned(),
            );
        }
        let example = match &self.example {
            Some(example) => format!(", for instance {example}"),
            None => String::new(),
        };
        let parsed = |ok: bool, what: &str| {
            if ok {
                Ok(trimmed.to_owned())
            } else {
                Err(format!("`{trimmed}` is not {what}{example}"))
            }
        };
        match self.kind {
            VarType::Text | VarType::Path if value.contains('\0') => {
                Err("it holds a NUL character".to_owned())
            }
            VarType::Text => Ok(value.to_owned()),
            VarType::Path => parsed(!trimmed.is_empty(), "a path"),
            VarType::Integer => parsed(i64::from_str(trimmed).is_ok(), "a whole number"),
            VarType::Number => parsed(f64::from_str(trimmed).is_ok_and(f64::is_finite), "a number"),
            VarType::Boolean => parsed(["true", "false"].contains(&trimmed), "true or false"),
            VarType::Timestamp => match chrono::DateTime::parse_from_rfc3339(trimmed) {
                Ok(at) => Ok(at
                    .with_timezone(&chrono::Utc)
                    .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
                Err(_) => Err(format!(
                    "`{trimmed}` is not a moment with a zone: write 2026-03-10T14:30:00Z"
                )),
            },
            VarType::Duration => units::duration(trimmed).map(|_| trimmed.to_owned()),
            VarType::Size => units::size(trimmed).map(|_| trimmed.to_owned()),
            VarType::Choice => parsed(
                self.choices.iter().any(|c| c == trimmed),
                &format!("one of {}", self.choices.join(", ")),
            ),
            VarType::Host => parsed(
                !trimmed.is_empty()
                    && trimmed.len() <= 253
                    && trimmed
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-._:[]/".contains(c)),
                "a host name or address",
            ),
            VarType::Url => parsed(
                trimmed.split_once("://").is_some_and(|(scheme, rest)| {
                    scheme
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
                        && !rest.is_empty()
                        && !rest.contains(char::is_whitespace)
                }),
                "a URL",
            ),
            VarType::Secret if value.contains('\0') => Err("it holds a NUL character".to_owned()),
            VarType::Secret if value.chars().count() < SHORTEST_SECRET => Err(format!(
                "a secret has at least {SHORTEST_SECRET} characters, or it could not be masked"
            )),
            VarType::Secret => Ok(value.to_owned()),
        }
    }

    /// What a script finds in its environment: the name in capitals, and what its type adds.
    pub fn exports(&self, value: &str) -> Vec<(String, String)> {
        exports(&self.name.text, self.kind, value)
    }
}

pub fn exports(name: &str, kind: VarType, value: &str) -> Vec<(String, String)> {
    if name.contains('@') {
        // What the incident itself remembers of a system.
        return Vec::new();
    }
    let upper = name.to_ascii_uppercase();
    let mut out = vec![(upper.clone(), value.to_owned())];
    if kind == VarType::Timestamp
        && let Some(at) = expect::moment(value)
    {
        out.push((
            format!("{upper}_SQL"),
            at.format("%Y-%m-%d %H:%M:%S%.f+00").to_string(),
        ));
        out.push((format!("{upper}_EPOCH"), at.timestamp().to_string()));
    }
    out
}

fn name_fits(r: &mut Reader, name: &Name) {
    let fits = name.text.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !fits {
        let lower = name.text.to_ascii_lowercase().replace('-', "_");
        r.error(
            "wrong-type",
            name.at,
            format!("`{}` cannot be the name of a variable", name.text),
            &format!("small letters, digits and underscores: `{lower}`"),
        );
    } else if is_reserved(&name.text) {
        r.error(
            "reserved-name",
            name.at,
            format!(
                "`{}` would become ${}, which changes how programs run",
                name.text,
                name.text.to_ascii_uppercase()
            ),
            "choose another name; set the program's own variable under a step's `env:`",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: VarType) -> Variable {
        Variable {
            kind,
            choices: vec!["blue".into()],
            ..Variable::text(Name::new("x"))
        }
    }

    #[test]
    fn each_type_takes_its_own_and_refuses_the_rest() {
        for (kind, good, bad) in [
            (VarType::Integer, "412", "4.5"),
            (VarType::Number, "4.5", "many"),
            (VarType::Boolean, "true", "yes"),
            (
                VarType::Timestamp,
                "2026-03-10T15:30:00+01:00",
                "2026-03-10 14:30",
            ),
            (VarType::Duration, "1h30m", "soon"),
            (VarType::Size, "50Gi", "big"),
            (VarType::Choice, "blue", "red"),
            (VarType::Host, "db-1.example.net", "a b; rm"),
            (VarType::Url, "https://a.example/x", "a.example"),
            (VarType::Secret, "hunter2!", "short"),
        ] {
            assert!(of(kind).accept(good).is_ok(), "{good}");
            assert!(of(kind).accept(bad).is_err(), "{bad}");
        }
        assert_eq!(
            of(VarType::Timestamp)
                .accept("2026-03-10T15:30:00+01:00")
                .as_deref(),
            Ok("2026-03-10T14:30:00Z")
        );
    }

    #[test]
    fn a_moment_is_also_exported_for_sql_and_as_seconds() {
        let all = exports("target", VarType::Timestamp, "2026-03-10T14:30:00Z");
        assert_eq!(
            all[1],
            ("TARGET_SQL".into(), "2026-03-10 14:30:00+00".into())
        );
        assert_eq!(all[2], ("TARGET_EPOCH".into(), "1773153000".into()));
    }

    #[test]
    fn the_refusal_of_a_secret_does_not_quote_it() {
        let why = of(VarType::Secret).accept("abc").expect_err("too short");
        assert!(!why.contains("abc"));
    }
}
