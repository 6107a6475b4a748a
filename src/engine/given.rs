//! What is given from outside: values in their order of precedence.
//!
//! ```text
//!  --set  >  environment  >  site  >  captured by a step  >  default  >  asked
//!                             └ `from: baseline`: the last one recorded before it began
//! ```

use crate::domain::{
    decide::Command,
    finding::did_you_mean,
    incident::Held,
    runbook::{Runbook, Variable},
    site::{Baseline, Site},
    template, units,
};
use chrono::{DateTime, SecondsFormat, Utc};
use indexmap::IndexMap;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// What was given from outside, for a new incident or an old one.
#[derive(Default)]
pub struct Given {
    /// Values in their order of precedence, already accepted: from `--set`, the environment, defaults.
    pub values: Vec<Value>,
    pub accepted: Vec<(String, String)>,
    /// What else is known from the start: severity, beginning, plan. It is written together with the
    /// opening, so that no crash leaves an incident without its plan.
    pub wishes: Vec<Command>,
    /// Every journal line as it is written.
    pub lines: Option<mpsc::UnboundedSender<String>>,
    /// What was recorded in peace time, for when it is known when the incident began.
    pub baselines: Vec<Baseline>,
}

/// A value from outside.
pub struct Value {
    pub name: String,
    pub value: String,
    pub secret: bool,
    pub source: String,
}

/// Where values can be taken from without asking anyone.
pub struct Sources<'a> {
    pub set: &'a [(String, String)],
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    pub site: Option<&'a Site>,
    pub defaults: bool,
}

/// The source of a value that is the runbook's default.
const DEFAULT: &str = "default";

/// A default that is made of others can double at each of them.
const LONGEST_DEFAULT: usize = 64 * 1024;

impl Sources<'_> {
    /// Resolves what can be known. `Err` names what is wrong.
    pub fn resolve(&self, runbook: &Runbook) -> Result<Vec<Value>, String> {
        let mut values: Vec<Value> = Vec::new();
        for (name, value) in self.set {
            values.push(from_set(runbook, name, value)?);
        }
        for variable in runbook.variables.values() {
            let name = &variable.name.text;
            if values.iter().any(|v| v.name == *name) {
                continue;
            }
            let source = self.site.and_then(|s| s.secrets.get(name));
            let names = [
                variable.env.as_deref(),
                source.and_then(|s| s.env.as_deref()),
            ];
            let mut set = names.into_iter().flatten().filter_map(self.environment);
            if let Some(value) = set.find(|v| !v.is_empty()) {
                values.push(accept(variable, &value, "environment")?);
            } else if let Some(value) = self.site.and_then(|s| s.value(name)) {
                values.push(accept(variable, value, "site")?);
            }
        }
        if self.defaults {
            defaults(runbook, &mut values)?;
        }
        Ok(values)
    }
}

fn from_set(runbook: &Runbook, name: &str, value: &str) -> Result<Value, String> {
    let captured = runbook
        .steps()
        .any(|(_, s)| s.capture.iter().any(|(n, _)| n.text == *name));
    if !runbook.variables.contains_key(name) && !captured {
        let help = did_you_mean(name, runbook.variables.keys().map(String::as_str));
        return Err(format!("--set {name}: no variable is called that; {help}"));
    }
    let variable = runbook.variable(name);
    if variable.is_secret() {
        let env = variable.env.as_deref().unwrap_or("(none is declared)");
        return Err(format!(
            "--set {name}: a secret never goes on the command line; its environment variable is {env}"
        ));
    }
    accept(&variable, value, "set")
}

fn defaults(runbook: &Runbook, values: &mut Vec<Value>) -> Result<(), String> {
    for variable in runbook.variables.values() {
        let given = values.iter().any(|v| v.name == variable.name.text);
        if given {
            continue;
        }
        let made = by_default(variable, |name| {
            let known = values.iter().find(|v| v.name == name && !v.secret);
            known.map(|v| v.value.clone())
        });
        if let Some(made) = made {
            values.push(made?);
        }
    }
    Ok(())
}

/// The value of a variable's default; `None` where it has none, or one whose parts are not known.
fn by_default(
    variable: &Variable,
    known: impl Fn(&str) -> Option<String>,
) -> Option<Result<Value, String>> {
    let filled = template::fill(variable.default.as_deref()?, known).ok()?;
    if filled.len() > LONGEST_DEFAULT {
        let name = &variable.name;
        return Some(Err(format!(
            "{name}: its default grows beyond {LONGEST_DEFAULT} bytes"
        )));
    }
    Some(accept(variable, &filled, DEFAULT))
}

/// Defaults made of other values that follow from what is held now: those that nobody has given, and those
/// that read otherwise than when they were filled in.
pub(super) fn following(runbook: &Runbook, held: &IndexMap<String, Held>) -> Vec<Value> {
    let mut new: BTreeMap<&str, Value> = BTreeMap::new();
    for variable in runbook.variables.values() {
        let name = variable.name.text.as_str();
        let present = held.get(name);
        let text = variable.default.as_deref();
        let made = text.filter(|t| !template::names(t).is_empty());
        if made.is_none() || present.is_some_and(|h| h.source != DEFAULT) {
            continue;
        }
        let made = by_default(variable, |name| match new.get(name) {
            Some(value) => Some(value.value.clone()),
            None => held.get(name).and_then(|h| h.value.clone()),
        });
        // One that is not accepted is asked for, as any value that is missing.
        let Some(Ok(value)) = made else { continue };
        if present.and_then(|h| h.value.as_deref()) != Some(value.value.as_str()) {
            new.insert(name, value);
        }
    }
    new.into_values().collect()
}

fn accept(variable: &Variable, value: &str, source: &str) -> Result<Value, String> {
    let name = variable.name.text.clone();
    let value = variable
        .accept(value)
        .map_err(|why| format!("{name} (from {source}): {why}"))?;
    Ok(Value {
        name,
        value,
        secret: variable.is_secret(),
        source: source.to_owned(),
    })
}

/// How the source of a baseline's value begins.
const BASELINE: &str = "baseline of ";

/// For each variable `from: baseline` that `wanted` asks for, its last value from before the beginning.
pub fn baseline_values(
    runbook: &Runbook,
    baselines: &[Baseline],
    began: DateTime<Utc>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Value> {
    let variables = runbook
        .variables
        .values()
        .filter(|v| v.from_baseline && wanted(&v.name.text));
    variables
        .filter_map(|variable| {
            let name = variable.name.text.as_str();
            let before = baselines
                .iter()
                .filter(|b| b.at < began && b.values.contains_key(name));
            let last = before.max_by_key(|b| b.at)?;
            let age = (began - last.at).num_seconds().unsigned_abs();
            let source = format!(
                "{BASELINE}{}, {} before it began",
                last.at.to_rfc3339_opts(SecondsFormat::Secs, true),
                age_of(age)
            );
            accept(variable, last.values.get(name)?, &source).ok()
        })
        .collect()
}

/// How long ago, in the largest unit that says enough.
pub fn age_of(seconds: u64) -> String {
    match seconds {
        0..172_800 => units::short(seconds - seconds % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Is this value one that a better-known beginning may replace?
pub(super) fn is_baseline(source: &str) -> bool {
    source.starts_with(BASELINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNBOOK: &str = "blackstart: 1
id: x
title: X
variables:
  host: { type: host, default: d.example }
  tenants: { type: integer, from: baseline, hint: { file: / } }
  key: { type: secret, env: KEY }
procedures: [ { id: p, steps: [ { id: s, title: S, run: 'true' } ] } ]
recovered: { when: { file: / } }
";

    fn runbook() -> Runbook {
        Runbook::read(RUNBOOK.as_bytes()).expect("valid").0
    }

    fn site() -> Site {
        let text = "site: a\nvariables: { host: s.example }\nsecrets: { key: { env: OTHER } }\n";
        Site::read(text.as_bytes()).expect("valid")
    }

    fn resolved(
        set: &[(&str, &str)],
        with_site: bool,
        env: &[(&str, &str)],
    ) -> Vec<(String, String, String)> {
        let set: Vec<(String, String)> = set
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let environment = |name: &str| {
            let found = env.iter().find(|(n, _)| *n == name);
            found.map(|(_, v)| (*v).to_owned())
        };
        let site = site();
        let sources = Sources {
            set: &set,
            environment: &environment,
            site: with_site.then_some(&site),
            defaults: true,
        };
        let values = sources.resolve(&runbook()).expect("accepted");
        values
            .into_iter()
            .map(|v| (v.name, v.value, v.source))
            .collect()
    }

    #[test]
    fn what_is_nearer_goes_first() {
        let host = |all: Vec<(String, String, String)>| {
            let found = all.into_iter().find(|(n, ..)| n == "host");
            found
                .map(|(_, value, source)| (value, source))
                .expect("a host")
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            host(resolved(&[], false, &[])),
            pair("d.example", "default")
        );
        assert_eq!(host(resolved(&[], true, &[])), pair("s.example", "site"));
        assert_eq!(
            host(resolved(&[("host", "a.example")], true, &[])),
            pair("a.example", "set")
        );
        let key = resolved(&[], true, &[("OTHER", "hunter22")]);
        assert!(
            key.iter()
                .any(|(n, v, s)| n == "key" && v == "hunter22" && s == "environment")
        );
    }

    #[test]
    fn a_default_follows_the_value_that_it_is_made_of() {
        let text = RUNBOOK.replace(
            "  tenants:",
            "  claim: { type: text }
  disk: { type: text, default: '${claim}-restored', pattern: '[a-z-]+' }
  copy: { type: text, default: '${disk}-copy' }
  tenants:",
        );
        let runbook = Runbook::read(text.as_bytes()).expect("valid").0;
        let mut held = IndexMap::new();
        let mut hold = |name: &str, value: &str, source: &str| {
            let one = Held {
                value: Some(value.to_owned()),
                secret: false,
                source: source.to_owned(),
                fingerprint: None,
            };
            held.insert(name.to_owned(), one);
            following(&runbook, &held)
                .into_iter()
                .map(|v| (v.name, v.value))
                .collect::<Vec<_>>()
        };
        let pairs = |all: &[(&str, &str)]| {
            let owned = all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            owned.collect::<Vec<_>>()
        };
        assert_eq!(hold("key", "a", "asked"), []);
        let both = pairs(&[("copy", "data-restored-copy"), ("disk", "data-restored")]);
        assert_eq!(hold("claim", "data", "asked"), both);
        hold("copy", "data-restored-copy", DEFAULT);
        assert_eq!(hold("disk", "data-restored", DEFAULT), []);
        // The claim is corrected: both follow. What a person gave stays, and what is made of it follows that.
        let both = pairs(&[("copy", "logs-restored-copy"), ("disk", "logs-restored")]);
        assert_eq!(hold("claim", "logs", "asked"), both);
        assert_eq!(
            hold("disk", "other", "asked"),
            pairs(&[("copy", "other-copy")])
        );
        // One that its own pattern refuses is asked for.
        hold("disk", "data-restored", DEFAULT);
        assert_eq!(hold("claim", "NO 1", "asked"), pairs(&[]));
    }

    #[test]
    fn a_baseline_is_one_from_before_it_began() {
        let at = |text: &str| crate::domain::expect::moment(text).expect("a moment");
        let of = |when: &str, value: &str| Baseline {
            at: at(when),
            values: [("tenants".to_owned(), value.to_owned())]
                .into_iter()
                .collect(),
        };
        let all = [
            of("2026-03-01T00:00:00Z", "411"),
            of("2026-03-09T00:00:00Z", "412"),
            of("2026-03-10T15:00:00Z", "3"),
        ];
        let began = |when: &str| baseline_values(&runbook(), &all, at(when), |_| true);
        let values = began("2026-03-10T14:30:00Z");
        assert_eq!(values[0].value, "412");
        assert_eq!(
            values[0].source,
            "baseline of 2026-03-09T00:00:00Z, 38h30m before it began"
        );
        assert!(began("2026-02-01T00:00:00Z").is_empty());
    }
}
