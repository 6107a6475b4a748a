//! The schema and the readers agree on every key.

use super::*;
use crate::domain::{
    runbook::{Runbook, parts, reader::Reader},
    yaml,
};
use std::collections::{BTreeMap, BTreeSet};

/// Every key that the schema knows below a definition, however nested its alternatives are.
fn keys(value: &Value, all: &mut BTreeSet<String>) {
    if let Some(properties) = value["properties"].as_object() {
        all.extend(properties.keys().cloned());
    }
    for several in ["oneOf", "anyOf"] {
        for one in value[several].as_array().into_iter().flatten() {
            keys(one, all);
        }
    }
}

fn asked() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for text in [
        include_str!("../../../../assets/runbooks/arbitex.yaml"),
        include_str!("../../../../assets/runbooks/ampora.yaml"),
        include_str!("../../../../tests/fixtures/runbooks/every-key.yaml"),
    ] {
        let root = yaml::read(text.as_bytes()).expect("valid");
        let mut r = Reader::default();
        parts::read_runbook(&mut r, &root);
        for (what, keys) in std::mem::take(&mut r.asked) {
            all.entry(what).or_default().extend(keys);
        }
    }
    all
}

#[test]
fn the_schema_has_the_keys_that_the_readers_ask_for() {
    let schema = runbook();
    let names = [
        ("a runbook", ""),
        ("`objectives`", "objectives"),
        ("a severity", "severity"),
        ("a contact", "contact"),
        ("`updates`", "updates"),
        ("a phase", "phase"),
        ("a backup", "backup"),
        ("an item on hand", "on-hand"),
        ("a reference", "reference"),
        ("a procedure", "procedure"),
        ("`needs`", "needs"),
        ("a path", "path"),
        ("`recovered`", "recovered"),
        ("a failure row", "failure"),
        ("`match`", "match"),
        ("an accepted finding", "accepted"),
        ("a variable", "variable"),
        ("a system", "system"),
        ("a question", "question"),
        ("a choice", "choice"),
        ("a step", "step"),
        ("`include`", "include"),
        ("`measures`", "measures"),
        ("`stop`", "stop"),
        ("a capture", "capture"),
        ("a check", "check"),
    ];
    let asked = asked();
    for (what, name) in names {
        let mut known = BTreeSet::new();
        match name {
            "" => keys(&schema, &mut known),
            _ => keys(&schema["definitions"][name], &mut known),
        }
        let asked: BTreeSet<String> = asked
            .get(what)
            .unwrap_or_else(|| panic!("no file has {what}"))
            .iter()
            .map(|k| (*k).to_owned())
            .collect();
        let known: BTreeSet<String> = known.into_iter().collect();
        assert_eq!(known, asked, "{what}");
    }
    let unnamed = ["this", "a native action", "`via`", "`undo`", "`capture`"];
    for what in asked.keys() {
        let named = names.iter().any(|(n, _)| n == what) || unnamed.contains(what);
        assert!(named, "{what} has no place in the schema");
    }
}

#[test]
fn every_key_stands_in_a_runbook_that_is_valid() {
    let text = include_str!("../../../../tests/fixtures/runbooks/every-key.yaml");
    let findings = Runbook::read(text.as_bytes()).err();
    assert!(findings.is_none(), "{findings:#?}");
}
