//! Every error that lint finds, where it is, and the neighbours that it leaves alone.

use crate::harness::bin::Blackstart;
use serde_json::Value;

/// A runbook around steps, further keys, and what comes last; steps begin on line 7.
fn around(steps: &str, more: &str) -> String {
    format!(
        "blackstart: 1\nid: lint\ntitle: Lint\nprocedures:\n  - id: p\n    steps:\n{steps}{more}\
         variables:\n  dump_dir: {{ type: path }}\n  pw: {{ type: secret, env: PW }}\n\
         systems:\n  db: {{ kind: postgres, host: h, password: \"${{pw}}\" }}\n\
         recovered:\n  when: [ {{ file: /, exists: true }} ]\n"
    )
}

fn step(rest: &str) -> String {
    around(&format!("      - {{ id: a, title: A, {rest} }}\n"), "")
}

fn findings(home: &Blackstart, text: &str) -> Vec<(String, i64)> {
    let file = home.write("lint.yaml", text);
    let said = home.output(&["lint", "--json", &file]);
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    let errors = list.as_array().unwrap().iter();
    let errors = errors.filter(|f| f["severity"] == "error");
    let found = errors.map(|f| {
        let (code, line) = (f["code"].as_str().unwrap(), f["line"].as_i64().unwrap());
        (code.to_owned(), line)
    });
    let found: Vec<(String, i64)> = found.collect();
    assert_eq!(said.code == 2, !found.is_empty(), "{text}\n{said}");
    found
}

#[test]
fn every_error_is_found_in_its_place() {
    let home = Blackstart::new();
    let block = |script: &str| {
        around(
            &format!(
                "      - id: a\n        title: A\n        run: |\n          echo\n          {script}\n"
            ),
            "",
        )
    };
    for (code, line, text) in [
        ("syntax", 3, "a: 1\nb:\n\tc: 1\n".to_owned()),
        ("version", 1, step("run: 'true'").replace("blackstart: 1", "blackstart: 2")),
        ("unknown-key", 7, step("run: 'true', bugdet: 5m")),
        ("missing-key", 7, step("budget: 5m")),
        ("wrong-type", 7, step("run: 'true', budget: soon")),
        ("duplicate-id", 8, around("      - { id: a, title: A, run: 'true' }\n      - { id: a, title: B, run: 'true' }\n", "")),
        ("two-actions", 7, step("run: 'true', manual: look")),
        ("unknown-name", 7, step("run: 'true', after: [nobody]")),
        ("unknown-name", 7, step("check: { postgres: dd }")),
        ("cycle", 7, around("      - { id: a, title: A, run: 'true', after: [b] }\n      - { id: b, title: B, run: 'true' }\n", "")),
        ("dead-end", 10, around("      - { id: a, title: A, run: 'true' }\n", "triage:\n  ask: What?\n  choices: [ { answer: Nothing } ]\n")),
        ("bad-regex", 7, step("run: 'true', capture: { x: { regex: '(' } }")),
        ("bad-expect", 7, step("check: { postgres: db, query: SELECT 1, expect: '=> 0' }")),
        ("reserved-name", 8, around("      - { id: a, title: A, run: 'true', capture: { pghost: last-line } }\n", "").replace("      - { id: a, title: A, run: 'true', capture: { pghost: last-line } }\n", "      - { id: a, title: A, run: 'true' }\n      - { id: b, title: B, run: 'true', capture: { pghost: last-line } }\n")),
        ("lower-case-in-script", 11, block("ls ${dump_dir}")),
        ("secret-in-text", 7, step("run: 'true', workdir: '${pw}'")),
        ("write-in-check", 7, step("check: { postgres: db, query: 'DELETE FROM t', expect: '1' }")),
        ("cannot-fail", 7, step("check: { postgres: db, query: 'SELECT count(*) FROM t', expect: '>= 0' }")),
        ("no-confirm", 7, step("run: 'true', danger: destroy")),
        ("remote-without-verify", 7, step("run: 'true', remote: true")),
        ("placeholder", 11, block("kubectl delete pv <old-pv-name>")),
        ("shell-syntax", 11, block("if true; then")),
        ("no-recovered", 1, step("run: 'true'").split("recovered:").next().unwrap().to_owned()),
    ] {
        let found = findings(&home, &text);
        let hit = found.iter().any(|(c, l)| c == code && (*l - line).abs() <= i64::from(code == "shell-syntax"));
        assert!(hit, "{code} on line {line}: {found:?}\n{text}");
    }
}

#[test]
fn what_is_right_is_left_alone() {
    let home = Blackstart::new();
    for text in [
        step("run: 'for dump_dir in a b; do echo $dump_dir; done'"),
        step("run: 'x=1; dump_dir=/tmp; ls $dump_dir'"),
        step("run: 'cat < file > out', x-note: ours"),
        step("run: 'print(1)', shell: python3"),
        step("check: { postgres: db, query: 'SELECT count(*) FROM t', expect: '> 0' }"),
        step("run: 'true', danger: destroy, confirm: the-volume"),
        step("run: 'true', remote: true, verify: [ { file: /, exists: true } ]"),
        around(
            "      - { id: a, title: A, run: 'true' }\n      - { id: b, title: B, run: 'true', after: [p/a] }\n",
            "",
        ),
    ] {
        assert_eq!(findings(&home, &text), [], "{text}");
    }
}
