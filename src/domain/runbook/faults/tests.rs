use crate::domain::runbook::Runbook;

const BASE: &str = r#"blackstart: 1
id: base
title: Base
variables:
  host: { type: host, default: 127.0.0.1 }
  pw: { type: secret, env: PW }
  dump_dir: { type: path, default: /tmp }
@variables
systems:
  database: { kind: postgres, host: "${host}", user: u, dbname: d, password: "${pw}" }
  cache: { kind: redis, host: "${host}" }
  api: { kind: http, base: "https://x.example" }
  cluster: { kind: kubernetes, context: c }
@systems
@top
procedures:
  - id: main
    title: Main
    steps:
      - { id: one, title: One, run: "true" }
@steps
@procedures
recovered:
  when:
    - { file: /tmp }
@failures
"#;

/// The fixture with a text in one place.
fn with(part: &str, text: &str) -> String {
    let mut out = String::new();
    for line in BASE.lines() {
        match line.strip_prefix('@') {
            Some(name) if name == part => {
                out.push_str(text.trim_start_matches('\n').trim_end());
                out.push('\n');
            }
            Some(_) => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

fn findings(file: &str) -> Vec<(&'static str, usize)> {
    let found = match Runbook::read(file.as_bytes()) {
        Ok((_, findings)) | Err(findings) => findings,
    };
    found.iter().map(|f| (f.code, f.at.line)).collect()
}

/// One finding, on the line that holds `# here`.
#[track_caller]
fn must(part: &str, code: &'static str, text: &str) {
    let file = with(part, text);
    let here = file.lines().position(|l| l.contains("# here"));
    let line = here.expect("a line is marked") + 1;
    assert_eq!(findings(&file), [(code, line)], "{file}");
}

#[track_caller]
fn must_not(part: &str, text: &str) {
    let file = with(part, text);
    let found = findings(&file);
    assert!(found.is_empty(), "{found:?}\n{file}");
}

#[test]
fn the_fixture_is_valid() {
    must_not("top", "");
}

#[test]
fn what_stands_in_a_block_is_pointed_at() {
    for script in [
        "        run: |\n          true\n          ls ${dump_dir}/x # here\n          true",
        "        run: |\n\n          true\n          ls $dump_dir # here",
        "        run: |-\n          ls $dump_dir # here",
        "        run: |\n          true\n        undo: |\n          ls $dump_dir # here",
        "        check:\n          script: |\n            true\n            ls $dump_dir # here",
    ] {
        let step = format!("      - id: two\n        title: Two\n{script}");
        must("steps", "lower-case-in-script", &step);
    }
    let file = with(
        "steps",
        "      - id: two\n        title: Two\n        run: |\n          ls \"$dump_dir\"",
    );
    let Err(found) = Runbook::read(file.as_bytes()) else {
        panic!("a small letter is an error")
    };
    let line = file.lines().position(|l| l.contains("ls ")).expect("it") + 1;
    assert_eq!((found[0].at.line, found[0].at.column), (line, 15));
}

#[test]
fn names_in_templates_are_told_once() {
    for step in [
        r#"{ id: a, title: A, check: { file: "${nope}" } } # here"#,
        r#"{ id: a, title: A, run: x, verify: { command: [a, "${nope}", "${nope}"] } } # here"#,
        r#"{ id: a, title: A, run: x, env: { A: "${nope}" } } # here"#,
    ] {
        must("steps", "unknown-name", &format!("      - {step}"));
    }
    must(
        "steps",
        "secret-in-text",
        r#"      - { id: a, title: A, check: { command: [a, "${pw}"] } } # here"#,
    );
}

#[test]
fn names_that_mean_nothing_are_told() {
    for (part, text) in [
        (
            "top",
            "reference: [ { title: T, near: nope, text: x } ] # here",
        ),
        (
            "top",
            "reference: [ { title: T, near: main/nope, text: x } ] # here",
        ),
        (
            "systems",
            "  other: { kind: redis, via: { kubernetes: nope, service: r, port: 1 } } # here",
        ),
        (
            "steps",
            "      - { id: a, title: A, kubernetes: { system: nope, restart: deployment/x } } # here",
        ),
        (
            "steps",
            r#"
      - id: a
        title: A
        kubernetes:
          system: cluster
          secret: keys
          data: { key: "${nope}" } # here
"#,
        ),
        (
            "steps",
            "      - { id: a, title: A, run: x, after: [zero] } # here",
        ),
        (
            "steps",
            "      - { id: a, title: A, run: x, after: [nope/one] } # here",
        ),
        (
            "procedures",
            r#"
  - { id: b, title: B, steps: [ { id: one, title: A, run: x } ] }
  - { id: c, title: C, steps: [ { id: a, title: A, run: x, after: [one] } ] } # here
"#,
        ),
        (
            "procedures",
            "  - { id: b, title: B, steps: [ { id: a, title: A, include: { of: main, steps: [two] } } ] } # here",
        ),
        (
            "failures",
            "failures: [ { cause: c, go: main/nope } ] # here",
        ),
        (
            "failures",
            "failures: [ { cause: c, match: { step: [nope] } } ] # here",
        ),
    ] {
        must(part, "unknown-name", text);
    }
    must(
        "steps",
        "wrong-type",
        "      - { id: a, title: A, kubernetes: { system: cache, restart: deployment/x } } # here",
    );
    must(
        "steps",
        "secret-in-text",
        r#"      - { id: a, title: A, kubernetes: { system: cluster, restart: "${pw}" } } # here"#,
    );
    for (part, text) in [
        (
            "top",
            "reference: [ { title: T, near: main, text: x }, { title: T, near: one, text: x } ]",
        ),
        (
            "systems",
            "  other: { kind: redis, via: { kubernetes: cluster, pod: r, port: 6379 } }",
        ),
        (
            "systems",
            "  other: { kind: postgres, via: { kubernetes: cluster, pod: r, port: 1 } }",
        ),
        (
            "steps",
            r#"      - { id: a, title: A, kubernetes: { system: cluster, secret: k, data: { key: "${pw}" } } }"#,
        ),
        (
            "failures",
            "failures: [ { cause: c, go: one }, { cause: c, go: main }, { cause: c, go: main/one } ]",
        ),
    ] {
        must_not(part, text);
    }
}

#[test]
fn circles_are_told_and_what_only_looks_like_one_is_not() {
    for (part, text) in [
        (
            "steps",
            "      - { id: a, title: A, run: x, after: [a] } # here",
        ),
        (
            "steps",
            "      - { id: a, title: A, run: x, after: [b] } # here\n      - { id: b, title: B, run: x }",
        ),
        (
            "procedures",
            r#"
  - { id: b, title: B, steps: [ { id: a, title: A, run: x, after: [c/a] } ] } # here
  - { id: c, title: C, steps: [ { id: a, title: A, run: x, after: [b/a] } ] }
"#,
        ),
        (
            "procedures",
            r#"
  - id: b
    title: B
    paths:
      - { id: p, title: P, steps: [ { id: a, title: A, run: x, after: [t] } ] } # here
      - { id: q, title: Q, steps: [ { id: a, title: A, run: x } ] }
    then: [ { id: t, title: T, run: x, after: [a] } ]
"#,
        ),
        (
            "procedures",
            "  - { id: b, title: B, steps: [ { id: a, title: A, include: { of: b } } ] } # here",
        ),
        (
            "procedures",
            r#"
  - { id: b, title: B, steps: [ { id: a, title: A, include: { of: c } } ] } # here
  - { id: c, title: C, steps: [ { id: a, title: A, include: { of: b, steps: [a] } } ] }
"#,
        ),
        (
            "variables",
            "  c1: { default: \"${c2}\" } # here\n  c2: { default: \"${c1}\" }",
        ),
        ("variables", "  c1: { default: \"${c1}\" } # here"),
    ] {
        must(part, "cycle", text);
    }
    for (part, text) in [
        (
            "procedures",
            r#"
  - id: b
    title: B
    steps:
      - { id: a, title: A, run: x }
      - { id: one, title: One, run: x, after: [main/one] }
"#,
        ),
        (
            "procedures",
            r#"
  - id: b
    title: B
    paths:
      - { id: p, title: P, steps: [ { id: a, title: A, run: x } ] }
      - { id: q, title: Q, steps: [ { id: i, title: I, include: { of: b, path: p } } ] }
    then: [ { id: t, title: T, run: x, after: [a] }, { id: u, title: U, run: x, after: [p/a, t] } ]
"#,
        ),
        (
            "procedures",
            r#"
  - { id: b, title: B, steps: [ { id: a, title: A, include: { of: c, steps: [q] } } ] }
  - id: c
    title: C
    steps: [ { id: q, title: Q, run: x }, { id: w, title: W, include: { of: b, steps: [a] } } ]
"#,
        ),
        (
            "variables",
            "  c1: { default: \"${host}:1\" }\n  c2: { default: \"${c1}${c1}\" }",
        ),
    ] {
        must_not(part, text);
    }
    let bomb: String = (1..40)
        .map(|i| format!("  v{i}: {{ default: \"${{v{0}}}${{v{0}}}\" }}\n", i - 1))
        .collect();
    let found = findings(&with(
        "variables",
        &format!("  v0: {{ default: x }}\n{bomb}"),
    ));
    assert_eq!(found.first().map(|(code, _)| *code), Some("wrong-type"));
}

#[test]
fn small_letters_are_told_where_they_are_empty() {
    for script in [
        "ls ${dump_dir}",
        "echo don\\'t \"$dump_dir\"",
        "cat <<X\n$dump_dir\nX",
    ] {
        let lines = script.replace('\n', "\n          ");
        let step = format!("      - id: a\n        title: A\n        run: |\n          {lines}");
        let found = findings(&with("steps", &step));
        assert_eq!(found.len(), 1, "{script}");
        assert_eq!(found[0].0, "lower-case-in-script", "{script}");
    }
    for script in [
        "true; dump_dir=$DUMP_DIR; echo $dump_dir",
        "while read -r dump_dir; do echo $dump_dir; done </dev/null",
        "awk '\n  {print $host}\n' f",
        "cat <<'X'\n$dump_dir\nX",
        "true # uses $dump_dir",
    ] {
        let lines = script.replace('\n', "\n          ");
        let step = format!("      - id: a\n        title: A\n        run: |\n          {lines}");
        must_not("steps", &step);
    }
    for (shell, told) in [
        ("python3", 0),
        ("[/usr/bin/env, python3]", 0),
        ("/bin/bash", 1),
        ("[/usr/bin/env, -S, bash, -x]", 1),
        ("sh", 1),
    ] {
        let step =
            format!("      - {{ id: a, title: A, shell: {shell}, run: 'x $dump_dir <pv-name>' }}");
        let found = findings(&with("steps", &step));
        assert_eq!(found.len(), 2 * told, "{shell}: {found:?}");
    }
    must_not(
        "steps",
        "      - { id: a, title: A, env: { host: x }, run: 'echo $host' }",
    );
}

#[test]
fn what_was_never_filled_in_is_told() {
    for (part, text) in [
        (
            "steps",
            "      - { id: a, title: A, run: 'kubectl delete pv <pvName>' } # here",
        ),
        (
            "steps",
            "      - { id: a, title: A, check: { command: [get, \"<pv-name>\"] } } # here",
        ),
        (
            "steps",
            "      - { id: a, title: A, run: x, env: { A: \"<pv-name>\" } } # here",
        ),
        (
            "steps",
            "      - { id: a, title: A, run: x, danger: destroy, confirm: <pv-name> } # here",
        ),
        (
            "steps",
            r#"
      - id: a
        title: A
        check:
          postgres: database
          query: >-
            SELECT 1 FROM <table-name> # here
          expect: "> 0"
"#,
        ),
        (
            "systems",
            "  other: { kind: redis, host: \"<redis-host>\" } # here",
        ),
        (
            "systems",
            "  other: { kind: http, base: \"https://<HOST>/x\" } # here",
        ),
        ("variables", "  other: { default: \"<NAME>\" } # here"),
    ] {
        must(part, "placeholder", text);
    }
    for (part, text) in [
        ("variables", "  other: { example: <pv-name> }"),
        (
            "steps",
            "      - { id: a, title: A, run: 'xmllint <in-file>out', why: as <pv-name> }",
        ),
        (
            "steps",
            "      - { id: a, title: A, check: { command: [grep, -P, \"(?<name>x)\"] } }",
        ),
    ] {
        must_not(part, text);
    }
}

#[test]
fn what_is_in_the_wrong_place_is_told() {
    for (code, part, text) in [
        (
            "dead-end",
            "procedures",
            "  - { id: b, title: B, paths: [] } # here",
        ),
        (
            "wrong-type",
            "steps",
            "      - { id: a, title: A, manual: do it, capture: { v: all } } # here",
        ),
        (
            "unknown-key",
            "steps",
            "      - { id: a, title: A, check: { file: /x }, tty: true } # here",
        ),
        (
            "unknown-key",
            "steps",
            "      - { id: a, title: A, manual: x, env: { A: b } } # here",
        ),
        (
            "no-confirm",
            "steps",
            "      - { id: a, title: A, run: x, danger: destroy, confirm: \"\" } # here",
        ),
        (
            "wrong-type",
            "steps",
            "      - { id: a, title: A, run: x, capture: { v: { json: a.b } } } # here",
        ),
        (
            "wrong-type",
            "steps",
            "      - { id: a, title: A, run: x, capture: { Latest: all } } # here",
        ),
        (
            "reserved-name",
            "steps",
            "      - { id: a, title: A, run: x, capture: { pgsslcrl: all } } # here",
        ),
        (
            "wrong-type",
            "variables",
            "  other: { type: integer, min: abc } # here",
        ),
        (
            "wrong-type",
            "variables",
            "  other: { type: duration, max: soon } # here",
        ),
        ("reserved-name", "variables", "  curl_home: # here"),
        (
            "duplicate-id",
            "procedures",
            "  - { id: b, title: B, steps: [ { id: a, title: A, run: x } ], then: [ { id: a, title: A, run: x } ] } # here",
        ),
        (
            "secret-in-text",
            "systems",
            "  other: { kind: http, base: \"http://u:p4ss@x\" } # here",
        ),
        (
            "secret-in-text",
            "systems",
            "  other: { kind: http, base: \"http://x\", headers: { Authorization: Basic abc } } # here",
        ),
        (
            "cannot-fail",
            "steps",
            "      - { id: a, title: A, check: { command: [x], expect: \"/^.*$/\" } } # here",
        ),
        (
            "bad-expect",
            "steps",
            "      - { id: a, title: A, check: { command: [x], expect: between 5 3 } } # here",
        ),
        (
            "bad-expect",
            "steps",
            "      - { id: a, title: A, check: { command: [x], expect: between 3 and } } # here",
        ),
        (
            "write-in-check",
            "steps",
            "      - { id: a, title: A, check: { postgres: database, query: SELECT 1 INTO t, expect: 1 } } # here",
        ),
        (
            "write-in-check",
            "steps",
            "      - { id: a, title: A, check: { redis: cache, command: [GETDEL, a] } } # here",
        ),
    ] {
        must(part, code, text);
    }
    for (part, text) in [
        (
            "systems",
            "  other: { kind: http, base: \"http://x\", headers: { X-Api-Key: \"${pw}\", Accept: a } }",
        ),
        (
            "systems",
            "  other: { kind: http, base: \"http://u@x/a:b@c\" }",
        ),
        (
            "steps",
            "      - { id: a, title: A, check: { command: [\"true\"] } }",
        ),
        (
            "steps",
            "      - { id: a, title: A, check: { command: [x], expect: \"between ${host} 0\" } }",
        ),
        (
            "steps",
            "      - { id: a, title: A, run: x, tty: true, shell: bash, workdir: /, env: { A: b } }",
        ),
        (
            "steps",
            "      - { id: a, title: A, run: x, capture: { v: { json: /a/0 }, w: { json: \"\" } } }",
        ),
        (
            "variables",
            "  other: { type: integer, min: 1, max: \"9\" }\n  more: { type: size, max: 50Gi }",
        ),
        (
            "procedures",
            "  - { id: b, title: B, paths: [ { id: p, title: P, steps: [ { id: a, title: A, run: x } ] } ], then: [ { id: a, title: A, run: x } ] }",
        ),
    ] {
        must_not(part, text);
    }
    let none = "blackstart: 1\nid: a\ntitle: A\nprocedures: []\nrecovered: { when: { file: / } }\n";
    assert_eq!(findings(none), [("dead-end", 4)]);
}

#[test]
fn thousands_of_steps_take_no_time() {
    let list = |step: &dyn Fn(usize) -> String| -> String { (0..4_000).map(step).collect() };
    let waiting = list(&|i| match i {
        0 => "      - { id: s0, title: T, manual: x }\n".to_owned(),
        i => format!(
            "      - {{ id: s{i}, title: T, manual: x, after: [s{}, one] }}\n",
            i - 1
        ),
    });
    must_not("steps", &waiting);
    let lost =
        list(&|i| format!("      - {{ id: s{i}, title: T, manual: x, after: [t{i}, u{i}] }}\n"));
    let found = findings(&with("steps", &lost));
    assert_eq!(found.len(), 301);
    assert_eq!(found.last(), Some(&("too-many", 0)));
}
