//! What an error means: judged on real outputs of real tools, with the cause that a senior engineer would
//! name. `make explain-score` prints the table.

use crate::harness::bin::{BINARY, Blackstart};
use blackstart::domain::yaml::{self, Node, Value as Yaml};
use regex::Regex;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// One output, and what is known of it.
pub(crate) struct Case {
    pub(crate) file: PathBuf,
    tool: String,
    pub(crate) exit: i64,
    pub(crate) failed: bool,
    cause: String,
    /// What a right cause or fix matches.
    pub(crate) accept: Regex,
}

pub(crate) fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/failures");
    let text = fs::read(folder.join("manifest.yaml")).unwrap();
    let root = yaml::read(&text).unwrap_or_else(|e| panic!("{e:?}"));
    let Yaml::Sequence(items) = &root.value else {
        panic!("the manifest is a list");
    };
    let text = |item: &Node, key: &str| match item.get(key).map(|n| &n.value) {
        Some(Yaml::Scalar { text, .. }) => text.clone(),
        _ => panic!("every case has `{key}`"),
    };
    items
        .iter()
        .map(|item| Case {
            file: folder.join(text(item, "file")),
            tool: text(item, "tool"),
            exit: text(item, "exit").parse().unwrap(),
            failed: text(item, "outcome") == "failure",
            cause: text(item, "cause"),
            accept: Regex::new(&text(item, "accept")).unwrap(),
        })
        .collect()
}

/// The causes of each log, in one run.
fn causes(cases: &[&Case], tool: Option<&str>) -> Vec<Vec<Value>> {
    let mut command = Command::new(BINARY);
    command.args(["explain", "--json"]);
    command.args(tool.into_iter().flat_map(|tool| ["--tool", tool]));
    command.args(cases.iter().map(|case| &case.file));
    // One alone has no name in its answer, and is read alike.
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let all: Vec<Vec<Value>> = text
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            value["causes"].as_array().expect("`causes`").clone()
        })
        .collect();
    assert_eq!(
        all.len(),
        cases.len(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    all
}

#[derive(Default)]
struct Score {
    failures: usize,
    first: usize,
    among_three: usize,
    successes: usize,
    false_alarms: usize,
}

impl Score {
    fn add(&mut self, case: &Case, causes: &[Value], misses: &mut Vec<String>) {
        let name = case.file.file_name().unwrap().to_string_lossy();
        let rows: Vec<&str> = causes
            .iter()
            .take(3)
            .filter_map(|c| c["row"].as_str())
            .collect();
        if !case.failed {
            self.successes += 1;
            if !causes.is_empty() {
                self.false_alarms += 1;
                misses.push(format!("{name} succeeded: {rows:?}"));
            }
            return;
        }
        let right = |cause: &Value| {
            let text = format!(
                "{}\n{}",
                cause["cause"].as_str().unwrap(),
                cause["fix"].as_str().unwrap()
            );
            case.accept.is_match(&text)
        };
        self.failures += 1;
        let place = causes.iter().position(right);
        self.first += usize::from(place == Some(0));
        self.among_three += usize::from(place.is_some_and(|p| p < 3));
        if place != Some(0) {
            misses.push(format!("{name}: {} — {rows:?}", case.cause));
        }
    }

    fn row(&self, name: &str) {
        println!(
            "{name:<18} {:>4} of {:<4} {:>4} of {:<4} {:>4} of {:<4}",
            self.first,
            self.failures,
            self.among_three,
            self.failures,
            self.false_alarms,
            self.successes
        );
    }

    #[track_caller]
    fn holds(&self, misses: &[String]) {
        let part = |n: usize| n as f64 / self.failures as f64;
        assert!(
            part(self.first) >= 0.95,
            "the right cause first: {misses:#?}"
        );
        assert!(part(self.among_three) >= 0.99, "among three: {misses:#?}");
        assert_eq!(self.false_alarms, 0, "{misses:#?}");
    }
}

#[test]
fn the_score_is_that_of_a_senior_engineer() {
    let cases = cases();
    let mut of_tool: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in &cases {
        of_tool.entry(&case.tool).or_default().push(case);
    }
    println!(
        "{:<18} {:>12} {:>12} {:>12}",
        "tool", "first", "among three", "false alarms"
    );
    let (mut told, mut misses) = (Score::default(), Vec::new());
    for (tool, cases) in &of_tool {
        let mut score = Score::default();
        for (case, causes) in cases.iter().zip(causes(cases, Some(tool))) {
            score.add(case, &causes, &mut Vec::new());
            told.add(case, &causes, &mut misses);
        }
        score.row(tool);
    }
    told.row("all");
    // The same without being told whose output it is.
    let all: Vec<&Case> = cases.iter().collect();
    let (mut untold, mut unsaid) = (Score::default(), Vec::new());
    for (case, causes) in all.iter().zip(causes(&all, None)) {
        untold.add(case, &causes, &mut unsaid);
    }
    untold.row("tool not told");
    told.holds(&misses);
    untold.holds(&unsaid);
}

fn explain(args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(BINARY)
        .arg("explain")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn first(args: &[&str], input: &str) -> Value {
    let mut all = vec!["--json"];
    all.extend(args);
    let (_, out, _) = explain(&all, input);
    let value: Value = serde_json::from_str(&out).unwrap();
    value["causes"][0].clone()
}

#[test]
fn a_log_on_standard_input_is_explained_with_its_line() {
    let log = "starting\npsql: error: connection to server at \"db\" (192.0.2.1), port 5432 failed: FATAL:  password authentication failed for user \"app\"\ndone\n";
    let (code, out, _) = explain(&[], log);
    assert_eq!(code, 0);
    assert!(
        out.contains("2│ psql: error:") && out.contains("fix "),
        "{out}"
    );
    let cause = first(&["--tool", "psql"], log);
    assert_eq!(cause["tool"], "psql");
    assert_eq!(cause["lines"][0]["n"], 2);
    for key in ["cause", "fix", "source"] {
        assert!(!cause[key].as_str().unwrap().is_empty(), "{key}\n{cause:#}");
    }
    let (code, out, _) = explain(&["--json"], "all is well\n");
    assert_eq!((code, out.trim()), (1, r#"{"causes":[]}"#));
}

#[test]
fn every_part_of_a_score_is_shown() {
    let log = "ERROR: [055]: unable to open missing file '/repo/backup/x.gz' for read\n";
    let cause = first(&["--why", "--tool", "pgbackrest"], log);
    let parts = cause["why"].as_object().unwrap();
    let sum: f64 = parts.values().map(|v| v.as_f64().unwrap()).sum();
    assert!(
        (sum - cause["score"].as_f64().unwrap()).abs() < 0.5,
        "{cause:#}"
    );
    assert!(parts.contains_key("its tool"), "{cause:#}");
    let (_, out, _) = explain(&["--why"], log);
    assert!(out.contains("how late in the log"), "{out}");
}

#[test]
fn a_root_cause_stands_before_its_consequences() {
    let log = "pg_restore: error: could not write to file: No space left on device\nERROR: restore failed\nerror: exit status 1\n";
    let cause = first(&[], log);
    assert!(
        cause["cause"].as_str().unwrap().contains("full"),
        "{cause:#}"
    );
}

#[test]
fn a_row_takes_nothing_from_its_neighbours() {
    for (row, log) in [
        (
            "redis-refused",
            "    | redis.exceptions.ConnectionError: Error 111 connecting to redis:6379. Connection refused.",
        ),
        (
            "k8s-sched-cpu-memory",
            "5m Warning FailedScheduling pod/api-1 0/3 nodes are available: 3 Insufficient cpu.\n4m Normal Scheduled pod/web-7 Successfully assigned prod/web-7 to node-2",
        ),
        (
            "http-502",
            "HTTP/1.1 502 Bad Gateway\n100   162  100   162    0     0   1234      0 --:--:-- --:--:-- --:--:--  1234",
        ),
        (
            "archive-command-failed",
            "cp: cannot create regular file '/mnt/arch/000000010000000000000003': No such file or directory\nLOG:  archive command failed with exit code 1\nDETAIL:  The failed archive command was: test ! -f /mnt/arch/000000010000000000000003 && cp pg_wal/000000010000000000000003 /mnt/arch/000000010000000000000003",
        ),
        (
            "bash-command-not-found",
            "/opt/scripts/check_environment.sh: line 12: psql: command not found",
        ),
        (
            "sql-syntax",
            "psql:a.sql:3: ERROR:  syntax error at or near \"password_hash\"\nLINE 1: SELECT * password_hash",
        ),
        (
            "sql-syntax",
            "ERROR:  syntax error at or near \"$1\"\nLINE 1: SET ROLE $1",
        ),
        (
            "sql-partition-bounds",
            "pg_restore: error: COPY failed for table \"m_2026_01\": ERROR:  new row for relation \"m_2026_01\" violates partition constraint",
        ),
        (
            "pytest-test-failed",
            "E       assert 503 == 200\nE        +  where 503 = <Response [503]>.status_code\nFAILED tests/test_smoke.py::test_ready - assert 503 == 200",
        ),
        (
            "psql-refused",
            "psql: error: connection to server at \"db\" (10.0.0.4), port 5432 failed: Connection timed out\npsql: error: connection to server at \"db\" (10.0.0.4), port 5432 failed: Connection refused",
        ),
        (
            "aws-limit",
            "An error occurred (VcpuLimitExceeded) when calling the RunInstances operation: You have requested more vCPU capacity than your current limit",
        ),
    ] {
        let cause = first(&[], log);
        assert_eq!(cause["row"], row, "{log}\n{cause:#}");
    }
}

#[test]
fn what_no_row_knows_is_told_in_the_tools_own_words() {
    for (words, log) in [
        (
            "The program of PostgreSQL says: query failed while reading the frobs of the schema \"public\" here",
            "pg_dump: error: query failed while reading the frobs of the schema \"public\" here\npg_dump: detail: Query was: SELECT x",
        ),
        (
            "PostgreSQL says: cannot frobnicate the ledger",
            "psql:a.sql:3: ERROR:  cannot frobnicate the ledger\nERROR:  current transaction is aborted, commands ignored until end of transaction block\nERROR: restore failed, see above",
        ),
        (
            "The output ends with: the ledger is frozen",
            "starting\n2026-03-10 14:31:00 ERROR: the ledger is frozen",
        ),
    ] {
        let cause = first(&[], log);
        assert_eq!(cause["cause"], words, "{log}\n{cause:#}");
    }
    for fine in [
        "errors: 0, failed: 0",
        "error-collector   1/1   Running",
        "[fatal-errors.sql] skipped (already applied)",
        "migration_required: true in settings, applied",
        "removing stale pid file\ndone",
        "Vault kv1 created, purge protection is enabled.",
    ] {
        let (code, out, _) = explain(&["--json"], fine);
        assert_eq!(code, 1, "{fine}\n{out}");
    }
    let (code, out, _) = explain(&["--json", "--exit", "0"], "x: error: no frobs");
    assert_eq!(code, 1, "{out}");
}

#[test]
fn colours_prefixes_broken_lines_and_other_bytes_do_not_hide_a_cause() {
    let plain = "FATAL:  password authentication failed for user \"app\"";
    let row = first(&[], plain)["row"].clone();
    assert!(row.is_string());
    let words: String = plain
        .chars()
        .map(|c| if c == ' ' { ' ' } else { c })
        .collect();
    for log in [
        format!("\u{1b}[31m{plain}\u{1b}[0m\r\n"),
        format!("pod/api-7d9 api 2026-11-28T10:00:00Z [ERROR] {words}\n"),
        format!("progress 10%\rprogress 90%\r{plain}\n"),
        "2026-11-28 10:00:00.123 UTC [4242] app@orders from 192.0.2.7 FATAL:  password\nauthentication failed for user \"app\"\n".to_owned(),
        format!("{plain} \u{fffd}\n"),
    ] {
        assert_eq!(first(&[], &log)["row"], row, "{log:?}");
    }
    let mut bytes = vec![0xff, 0xfe, b'\n'];
    bytes.extend(plain.as_bytes());
    let home = Blackstart::new();
    let file = home.write("bytes.log", bytes);
    let (_, out, _) = explain(&["--json", &file], "");
    assert!(out.contains(row.as_str().unwrap()), "{out}");
}

#[test]
fn an_exit_code_alone_explains_what_it_can() {
    let (code, out, _) = explain(&["--exit", "137"], "");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("memory"), "{out}");
    let (code, ..) = explain(&["--exit", "1"], "");
    assert_eq!(code, 1);
}

#[test]
fn what_cannot_be_read_is_said_with_the_next_command() {
    let (code, _, said) = explain(&["/nowhere/at/all.log"], "");
    assert_eq!(code, 2);
    assert!(
        said.contains("/nowhere/at/all.log") && said.contains("blackstart explain FILE"),
        "{said}"
    );
    let (_, _, said) = explain(&["--tool", "pgbackrst"], "x\n");
    assert!(
        said.contains("no rows of `pgbackrst`") && said.contains("pgbackrest"),
        "{said}"
    );
}
