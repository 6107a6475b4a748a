//! Every code of lint on files that have the slip and on files that only look like it, and the slips
//! of two real documents in the words of other people.

use crate::harness::bin::Blackstart;
use blackstart::domain::lint::WARNINGS;
use regex::Regex;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The errors of the format's text; the warnings are `WARNINGS`.
const ERRORS: [&str; 22] = [
    "syntax",
    "version",
    "unknown-key",
    "missing-key",
    "wrong-type",
    "duplicate-id",
    "two-actions",
    "unknown-name",
    "cycle",
    "dead-end",
    "bad-regex",
    "bad-expect",
    "reserved-name",
    "lower-case-in-script",
    "secret-in-text",
    "write-in-check",
    "cannot-fail",
    "no-confirm",
    "remote-without-verify",
    "placeholder",
    "shell-syntax",
    "no-recovered",
];

/// The warnings of the format's text.
const WARNED: [&str; 26] = [
    "unreachable",
    "no-verify",
    "no-budget",
    "budget-over-rto",
    "phase-sum",
    "backup-over-rpo",
    "contradicting-numbers",
    "weak-tls",
    "secret-argument",
    "secret-printed",
    "token-argument",
    "password-in-url",
    "sql-by-string",
    "fixed-date",
    "exit-code-lies",
    "dump-not-atomic",
    "may-hang",
    "atomic-before-dependency",
    "order",
    "no-fence",
    "no-preserve",
    "tool-not-listed",
    "unknown-option",
    "row-on-success",
    "row-never",
    "row-swallowed",
];

/// The slips of the two documents that a program can find.
const ROWS: [&str; 20] = [
    "1", "4", "7", "8", "10", "12", "13", "14", "15", "19", "23", "28", "31", "35", "36", "37",
    "39", "A1", "A2", "A7",
];

/// The keys of a finding, as `--json` prints it.
const KEYS: [&str; 7] = [
    "code", "column", "file", "help", "line", "message", "severity",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lint")
}

struct Finding {
    code: String,
    severity: String,
    line: usize,
    message: String,
    help: String,
}

/// `lint --json` with further options: what it found, and its exit code.
fn lint(home: &Blackstart, file: &str, options: &[&str]) -> (Vec<Finding>, i32) {
    let mut args = vec!["lint", "--json"];
    args.extend_from_slice(options);
    args.push(file);
    let said = home.output(&args);
    let read = serde_json::from_str(&said.stdout);
    let list: Value = read.unwrap_or_else(|e| panic!("{file}: {e}\n{said}"));
    let list = list.as_array().unwrap_or_else(|| panic!("a list\n{said}"));
    let text = |of: &Value, key: &str| of[key].as_str().unwrap().to_owned();
    let found = list.iter().map(|f| Finding {
        code: text(f, "code"),
        severity: text(f, "severity"),
        line: usize::try_from(f["line"].as_u64().unwrap()).unwrap(),
        message: text(f, "message"),
        help: text(f, "help"),
    });
    (found.collect(), said.code)
}

/// The fixtures of one sort, `bad` or `good`, by their code; a code may have several.
fn of_codes(sort: &str) -> BTreeMap<String, Vec<PathBuf>> {
    let mut out: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(fixtures().join("codes")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let code = name.split('.').next().unwrap().to_owned();
        let is_bad = name.ends_with(".bad.yaml");
        assert!(is_bad || name.ends_with(".good.yaml"), "{name}");
        if is_bad == (sort == "bad") {
            out.entry(code).or_default().push(path);
        }
    }
    out
}

#[test]
fn every_code_has_a_file_with_it_and_one_without() {
    let all: BTreeSet<&str> = ERRORS.into_iter().chain(WARNED).collect();
    assert_eq!(all.len(), ERRORS.len() + WARNED.len());
    assert_eq!(BTreeSet::from(WARNED), BTreeSet::from(WARNINGS));
    for sort in ["bad", "good"] {
        let files = of_codes(sort);
        let codes: BTreeSet<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(codes, all, "the {sort} fixtures");
        for code in &all {
            let plain = fixtures().join(format!("codes/{code}.{sort}.yaml"));
            assert!(plain.is_file(), "{}", plain.display());
        }
    }
}

#[test]
fn slips_are_found_where_they_are_and_nowhere_else() {
    let home = Blackstart::new();
    let mut wrong = Vec::new();
    for (code, files) in of_codes("bad") {
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let (found, exit) = lint(&home, path.to_str().unwrap(), &[]);
            let mine: BTreeSet<usize> = found
                .iter()
                .filter(|f| f.code == code)
                .map(|f| f.line)
                .collect();
            let severity = if ERRORS.contains(&code.as_str()) {
                "error"
            } else {
                "warning"
            };
            for other in found
                .iter()
                // What likely writes is a warning, what certainly does is an error.
                .filter(|f| f.code == code && f.severity != severity && code != "write-in-check")
            {
                wrong.push(format!("{name}:{}: {}", other.line, other.severity));
            }
            let has_errors = found.iter().any(|f| f.severity == "error");
            assert_eq!(exit == 2, has_errors, "{name}");
            if text.starts_with("# finds anywhere\n") {
                if mine.is_empty() {
                    wrong.push(format!("{name}: no finding at all"));
                }
                continue;
            }
            let lines: Vec<&str> = text.lines().collect();
            let marked: BTreeSet<usize> = (1..=lines.len())
                .filter(|n| lines[n - 1].ends_with("# finds"))
                .collect();
            assert!(!marked.is_empty(), "{name} marks nothing");
            let shown = |n: usize| lines.get(n.wrapping_sub(1)).map_or("", |l| l.trim());
            for line in marked.difference(&mine) {
                wrong.push(format!("{name}:{line}: missed: {}", shown(*line)));
            }
            for line in mine.difference(&marked) {
                wrong.push(format!("{name}:{line}: too much: {}", shown(*line)));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} are wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_only_looks_like_a_slip_is_left_alone() {
    let home = Blackstart::new();
    let mut wrong = Vec::new();
    for (code, files) in of_codes("good") {
        for path in files {
            let name = path.file_name().unwrap().to_str().unwrap();
            let (found, exit) = lint(&home, path.to_str().unwrap(), &[]);
            let mine = found
                .iter()
                .filter(|f| f.code == code || f.severity == "error");
            wrong.extend(mine.map(|f| format!("{name}:{}: {}: {}", f.line, f.code, f.message)));
            let has_errors = found.iter().any(|f| f.severity == "error");
            assert_eq!(exit == 2, has_errors, "{name}");
        }
    }
    assert!(
        wrong.is_empty(),
        "{} are wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Every `row N: code` of a file: the row, the code, and the line.
fn rows(text: &str) -> Vec<(String, String, usize)> {
    let mark = Regex::new(r"row (\w+): ([a-z-]+)").unwrap();
    let mut out = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let comment = line.rsplit_once("# row ").map_or("", |(before, _)| {
            line.get(before.len()..).unwrap_or_default()
        });
        for found in mark.captures_iter(comment) {
            out.push((found[1].to_owned(), found[2].to_owned(), n + 1));
        }
    }
    out
}

#[test]
fn the_slips_of_two_documents_are_found_in_whatever_words() {
    let home = Blackstart::new();
    let mut wrong = Vec::new();
    for (name, variants) in [("original", 1), ("paraphrase", 2)] {
        let path = fixtures().join(format!("{name}.yaml"));
        let text = fs::read_to_string(&path).unwrap();
        let (found, exit) = lint(&home, path.to_str().unwrap(), &[]);
        assert_eq!(exit, 2, "{name}");
        let mut marked: BTreeMap<String, usize> = BTreeMap::new();
        for (row, code, line) in rows(&text) {
            let near = |f: &&Finding| f.code == code && (line..=line + 4).contains(&f.line);
            if !found.iter().any(|f| near(&f)) {
                wrong.push(format!("{name}:{line}: row {row} has no {code}"));
            }
            *marked.entry(row).or_default() += 1;
        }
        for row in ROWS {
            let count = marked.get(row).copied().unwrap_or_default();
            assert!(
                count >= variants,
                "{name}: row {row} is marked {count} times"
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} are wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A runbook with two warnings: a step without a budget, and one that says not what it brings about.
fn warned(accept: &str) -> String {
    format!(
        "blackstart: 1\nid: warned\ntitle: Warned\nprocedures:\n  - id: main\n    steps:\n\
         \x20     - {{ id: a, title: A, manual: Look }}\n\
         \x20     - {{ id: b, title: B, budget: 1m, run: 'true' }}\n\
         recovered:\n  when: [ {{ file: /, exists: true }} ]\n{accept}"
    )
}

const ACCEPTED: &str = "accept:\n\
    \x20 - { code: no-budget, at: main/a, reason: It takes a moment }\n\
    \x20 - { code: no-verify, at: main/b, reason: There is nothing to see }\n";

#[test]
fn strict_counts_warnings_and_accepted_ones_are_listed_with_the_reason() {
    let home = Blackstart::new();
    let open = home.write("open.yaml", warned(""));
    let (found, exit) = lint(&home, &open, &[]);
    let shown: Vec<(&str, &str, usize)> = found
        .iter()
        .map(|f| (f.code.as_str(), f.severity.as_str(), f.line))
        .collect();
    let expected = [("no-budget", "warning", 7), ("no-verify", "warning", 8)];
    assert_eq!((shown.as_slice(), exit), (&expected[..], 0));
    assert_eq!(lint(&home, &open, &["--strict"]).1, 2);

    let half = ACCEPTED.lines().take(2).collect::<Vec<_>>().join("\n");
    let half = home.write("half.yaml", warned(&format!("{half}\n")));
    assert_eq!(lint(&home, &half, &["--strict"]).1, 2);

    let accepted = home.write("accepted.yaml", warned(ACCEPTED));
    let none: &[&str] = &[];
    for options in [none, &["--strict"]] {
        let (found, exit) = lint(&home, &accepted, options);
        assert_eq!(exit, 0, "{options:?}");
        let severities: Vec<&str> = found.iter().map(|f| f.severity.as_str()).collect();
        assert_eq!(severities, ["accepted", "accepted"], "{options:?}");
        for (finding, reason) in found
            .iter()
            .zip(["It takes a moment", "There is nothing to see"])
        {
            assert!(finding.help.contains(reason), "{}", finding.help);
        }
    }
    home.output(&["lint", &accepted])
        .exits(0)
        .says("It takes a moment");
}

#[test]
fn an_error_cannot_be_accepted() {
    let home = Blackstart::new();
    let accept = "accept: [ { code: unknown-name, at: main/b, reason: No } ]\n";
    let text = warned(accept).replace("budget: 1m", "budget: 1m, after: [nobody]");
    let (found, exit) = lint(&home, &home.write("error.yaml", text), &[]);
    let severities: Vec<&str> = found
        .iter()
        .filter(|f| f.code == "unknown-name")
        .map(|f| f.severity.as_str())
        .collect();
    // The unknown name, and an `accept` of what is no warning.
    assert_eq!((severities.as_slice(), exit), (&["error"; 2][..], 2));
}

#[test]
fn json_is_a_list_of_objects_with_these_keys() {
    let home = Blackstart::new();
    let files = [
        home.write("good.yaml", warned(ACCEPTED)),
        home.write("warned.yaml", warned("")),
        home.write("broken.yaml", "a: 1\nb:\n\tc: 1\n"),
    ];
    let mut args = vec!["lint", "--json"];
    args.extend(files.iter().map(String::as_str));
    let said = home.output(&args).exits(2);
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 5, "{said}");
    for finding in list {
        let finding = finding.as_object().unwrap();
        let keys: BTreeSet<&str> = finding.keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(KEYS));
        for key in KEYS {
            let number = matches!(key, "line" | "column");
            let fits = finding[key].is_u64() == number && finding[key].is_string() != number;
            assert!(fits, "`{key}` of {finding:?}");
        }
    }
    let nothing = home.write(
        "nothing.yaml",
        warned("")
            .replace("manual: Look", "budget: 1m, manual: Look")
            .replace("run: 'true'", "check: { file: / }"),
    );
    assert_eq!(
        home.output(&["lint", "--json", &nothing])
            .exits(0)
            .stdout
            .trim(),
        "[]"
    );
}

#[test]
fn no_rule_names_a_platform() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/lint")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap().to_lowercase();
            for name in ["arbitex", "ampora"] {
                assert!(!text.contains(name), "`{name}` in {}", path.display());
            }
            read += 1;
        }
    }
    assert!(read > 5, "the rules were not found");
}
