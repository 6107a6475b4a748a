//! What tests of runbooks see, and what they cannot miss.

use super::*;

const RUNBOOK: &str = r#"
blackstart: 1
id: x
title: X
systems:
  db: { kind: postgres, host: h }
  cache: { kind: redis, host: h }
triage:
  ask: What?
  choices:
    - answer: A store
      ask: Which?
      choices:
        - { answer: Database, suspect: [db], evidence: { postgres: db, query: SELECT count(*) FROM t, expect: "> 0" }, go: [db] }
        - { answer: Cache, suspect: [cache], go: [cache] }
    - { answer: Several, pick: [db, cache] }
procedures:
  - id: db
    paths:
      - { id: pitr, steps: [ { id: stop, title: S, run: 'true' }, { id: back, title: B, run: 'true' } ] }
      - { id: dump, steps: [ { id: load, title: L, run: 'true' } ] }
  - { id: cache, steps: [ { id: flush, title: F, run: 'true' } ] }
recovered: { when: { file: / } }
failures:
  - { id: full, cause: The disk is full, match: { output: ["No space left"] } }
  - { id: other, cause: Something, match: { exit: [3] } }
"#;

fn failures(tests: &str) -> Vec<(String, Vec<String>)> {
    let (runbook, _) = Runbook::read(RUNBOOK.as_bytes()).expect("valid");
    let trials = Trials::read(format!("runbook: x\ntests:\n{tests}").as_bytes()).expect("tests");
    let judged = trials.run(&runbook);
    judged.into_iter().map(|j| (j.name, j.failures)).collect()
}

fn of(test: &str) -> Vec<String> {
    failures(&format!("  - {{ name: a, {test} }}\n"))[0]
        .1
        .clone()
}

#[test]
fn what_is_simulated_decides_what_is_supported() {
    let down = "systems: { db: down }, answer: [A store], expect:";
    assert!(of(&format!("{down} {{ supported: [Database, A store] }}")).is_empty());
    assert!(of(&format!("{down} {{ supported: [Cache] }}")).len() == 2);
    let cannot = "systems: { db: cannot-tell }, answer: [A store], expect:";
    assert!(of(&format!("{cannot} {{ supported: [] }}")).is_empty());
    let empty = "checks: [ { of: FROM t, seen: '0' } ], answer: [A store], expect:";
    assert!(of(&format!("{empty} {{ supported: [Database] }}")).is_empty());
    assert_eq!(
        of("systems: { dbb: down }, answer: [A store], expect: { supported: [] }"),
        ["there is no system `dbb`"]
    );
}

#[test]
fn answers_lead_to_steps_and_outputs_to_causes() {
    let pitr = "answer: [A store, Database], path: { db: pitr }, expect:";
    assert!(
        of(&format!(
            "{pitr} {{ go: [db/pitr], steps: [stop, back], without: [load] }}"
        ))
        .is_empty()
    );
    assert_eq!(
        of(&format!("{pitr} {{ steps: [back, stop] }}")),
        ["`stop` comes earlier than it should"]
    );
    assert_eq!(
        of(&format!("{pitr} {{ go: [db/dump] }}")),
        ["expected to go to db/dump, goes to db/pitr"]
    );
    assert!(of("answer: [Several], pick: [cache], expect: { go: [cache] }").is_empty());
    assert!(of("step: back, output: 'x: No space left', expect: { cause: full }").is_empty());
    assert_eq!(
        of("step: back, output: fine, expect: { cause: full }"),
        ["expected the cause full first, found none"]
    );
    assert!(of("step: back, exit: 3, expect: { cause: other }").is_empty());
    assert!(of("output: fine, expect: { none: true }").is_empty());
}

#[test]
fn a_branch_that_no_test_walks_is_named() {
    let all = failures("  - { name: a, answer: [A store, Cache], expect: { go: [cache] } }\n");
    let last = &all.last().expect("the walk").1;
    assert_eq!(
        last,
        &[
            "no test answers “A store” ▸ “Database” → db/pitr",
            "no test answers “A store” ▸ “Database” → db/dump",
            "no test answers “Several”"
        ]
    );
}

#[test]
fn a_test_that_cannot_fail_is_refused() {
    let text = "runbook: x\ntests: [ { name: a, answer: [A store], expect: {} } ]";
    assert_eq!(
        Trials::read(text.as_bytes()).expect_err("nothing expected")[0].code,
        "missing-key"
    );
}
