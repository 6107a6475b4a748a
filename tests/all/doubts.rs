//! Steps that look like a success and are none, and looks that tell causes apart: what is said of them without
//! being asked, in the cockpit and beside it.

use crate::{
    explain::{Case, cases},
    harness::{PATIENCE, bin::Blackstart, pause, postgres::Cluster, private_dir},
    panel::{panel, words},
};
use blackstart::domain::{
    failures::library::library,
    runbook::{CheckKind, kinds::command::Run},
};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::Command,
    time::Duration,
};

/// Keys that act are dropped for a moment after the screen has changed.
const MOMENT: Duration = Duration::from_millis(700);

/// Real outputs of commands that have ended with 0.
fn outputs() -> Vec<Case> {
    cases().into_iter().filter(|case| case.exit == 0).collect()
}

fn runbook(home: &Blackstart, steps: &[Value], rows: &[Value]) -> String {
    let whole = json!({ "blackstart": 1, "id": "doubts", "title": "Doubts",
        "procedures": [{ "id": "p", "title": "P", "steps": steps }],
        "recovered": { "when": [{ "command": ["true"] }] }, "failures": rows });
    home.write("doubts.yaml", serde_json::to_vec_pretty(&whole).unwrap())
}

#[test]
fn what_ended_with_0_and_failed_all_the_same_is_doubted_and_nothing_else_is() {
    let home = Blackstart::new();
    let outputs = outputs();
    let prints = |(i, case): (usize, &Case)| {
        json!({ "id": format!("s{i}"), "title": "Print it", "danger": "none",
        "run": format!("cat '{}'\n", case.file.display()) })
    };
    let steps: Vec<Value> = outputs.iter().enumerate().map(prints).collect();
    let file = runbook(&home, &steps, &[]);
    home.run(&[&file, "--trust", "--go", "p"]).exits(0);
    let shown = home.output(&["show", &home.incident()]).exits(0);
    assert!(
        shown
            .stdout
            .contains("it ended with 0, and its output says that it failed"),
        "{shown}"
    );
    let shown = home.show_json(&home.incident());
    let mut wrong = Vec::new();
    let mut doubted = 0;
    for (case, step) in outputs.iter().zip(shown["steps"].as_array().unwrap()) {
        assert_eq!(step["state"], "succeeded", "{step:#}");
        let first = &step["attempts"][0]["causes"][0];
        let said = format!(
            "{}\n{}",
            first["cause"].as_str().unwrap_or_default(),
            first["fix"].as_str().unwrap_or_default()
        );
        doubted += usize::from(case.failed);
        if first.is_null() == case.failed || (case.failed && !case.accept.is_match(&said)) {
            wrong.push(format!("{}: {said}", case.file.display()));
        }
    }
    assert!(doubted > 10, "{doubted}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_step_that_is_doubted_opens_the_panel_and_a_verified_one_does_not() {
    let home = Blackstart::new();
    let all = outputs();
    let case = all
        .iter()
        .find(|c| c.file.ends_with("psql-missing-role.log"));
    let run = format!("cat '{}'\n", case.unwrap().file.display());
    let step = |id: &str| json!({ "id": id, "title": "Restore", "danger": "none", "run": run });
    let mut verified = step("verified");
    verified["verify"] = json!([{ "command": ["true"] }]);
    let file = runbook(&home, &[verified, step("doubted")], &[]);
    home.output(&["trust", &file]).exits(0);
    let mut terminal = home.terminal(&["open", &file], 100, 30);
    let keys = |all: &[&str]| {
        for key in all {
            pause(MOMENT);
            terminal.send(key);
        }
    };
    terminal.wait_for_text("Since when", PATIENCE);
    keys(&["now\r"]);
    terminal.wait_for_text("Which are affected", PATIENCE);
    keys(&[" ", "\r"]);
    terminal.wait_for_text("╭ Ready", PATIENCE);
    keys(&["c", "r", "\r"]);
    terminal.wait_for_text("✓ +1 Restore", PATIENCE);
    keys(&["r", "\r"]);
    let screen = terminal.wait_for_text("(?s)Likely cause of p/doubted.*source", PATIENCE);
    let said = words(&panel(&screen));
    assert!(
        said.contains(
            "It ended with 0, and its output says that it failed. Nothing verified it: ▸ 1"
        ),
        "{screen}"
    );
    let shown = home.show_json(&home.incident());
    assert_eq!(shown["steps"][0]["attempts"][0]["causes"], json!([]));
    terminal.send("\u{3}");
    terminal.wait(PATIENCE);
}

#[test]
fn a_probe_reads_what_the_step_printed_with_what_the_step_had_and_ranks_the_causes_again() {
    let home = Blackstart::new();
    let row = |id: &str, script: &str| {
        json!({ "id": id, "symptom": id, "cause": format!("The cause is {id}"), "fix": "Mend it.",
            "source": "a test", "match": { "output": ["the lock is held by \\w+"] },
            "probe": { "script": script, "expect": "/is alive/" } })
    };
    let rows = [
        row("untold", "echo 'this cannot be looked at'\nexit 75\n"),
        row("excluded", "echo 'nobody is there'\nexit 1\n"),
        row(
            "confirmed",
            "# who holds the lock?\nwho=$(sed -n 's/.*held by //p' \"$BLACKSTART_FAILED_LOG\")\necho \"$who of $OF_THE_STEP is alive\"\n",
        ),
    ];
    let step = json!({ "id": "s", "title": "Fail", "danger": "none", "env": { "OF_THE_STEP": "the step" },
        "run": "echo 'the lock is held by walter'\nexit 3\n" });
    let file = runbook(&home, &[step], &rows);
    home.run(&[&file, "--trust", "--go", "p"]).exits(1);
    let incident = home.incident();
    let mut terminal = home.terminal(&["resume", &incident], 110, 40);
    terminal.wait_for_text("T timeline|Enter log", PATIENCE);
    terminal.send("L");
    terminal.wait_for_text("(?s)Likely cause of.*source", PATIENCE);
    let causes = || {
        let shown = home.show_json(&incident);
        let all = shown["steps"][0]["attempts"][0]["causes"].clone();
        let rows = all.as_array().unwrap().iter();
        rows.map(|c| c["row"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(causes(), ["untold", "excluded", "confirmed"]);
    // Each of the three is probed: what cannot be told changes nothing.
    let probe = |down: usize, sees: &str| {
        terminal.send("kkk");
        terminal.send(&"j".repeat(down));
        pause(MOMENT);
        terminal.send("p");
        terminal.wait_for_text(sees, PATIENCE)
    };
    probe(0, "exit 75: this cannot be looked at");
    assert_eq!(causes(), ["untold", "excluded", "confirmed"]);
    probe(1, "exit 1: nobody is there");
    assert_eq!(causes(), ["untold", "confirmed", "excluded"]);
    let screen = probe(1, "walter of the step is alive");
    assert_eq!(causes(), ["confirmed", "untold", "excluded"], "{screen}");
    let told = home.export(&incident, "markdown");
    assert!(told.contains("probe of confirmed"), "{told}");
    terminal.send("\u{3}");
    terminal.wait(PATIENCE);
}

/// One error of pgBackRest stands for several causes: what is asked for lies before all backups, or there are
/// none, or they are another stanza's.
#[test]
fn one_error_of_pgbackrest_is_told_apart_by_its_warnings_and_by_looking() {
    let home = Blackstart::new();
    let folder = private_dir();
    let cluster = Cluster::with_pgbackrest(folder.path());
    cluster.back_up();
    let config = cluster.backup_config().display().to_string();
    let empty = home.root().join("empty");
    fs::create_dir(&empty).unwrap();
    let restore = |stanza: &str, more: &str, target: &str| {
        format!(
            "pgbackrest --config='{config}' --stanza={stanza} --lock-path='{0}' --log-level-console=info --pg1-path='{0}/data' \\\n\
               {more} --type=time --target='{target}' restore 2>&1\n",
            home.root().display()
        )
    };
    let steps = [
        ("before", restore("main", "", "2020-01-01 00:00:00+00")),
        ("stanza", restore("mian", "", "2035-01-01 00:00:00+00")),
        (
            "repository",
            restore(
                "main",
                &format!("--repo1-path='{}'", empty.display()),
                "2035-01-01 00:00:00+00",
            ),
        ),
    ];
    let step = |(id, run): &(&str, String)| json!({ "id": id, "title": "Restore", "danger": "none", "run": run });
    let procedures: Vec<Value> = steps
        .iter()
        .map(|one| json!({ "id": one.0, "title": one.0, "steps": [step(one)] }))
        .collect();
    let whole = json!({ "blackstart": 1, "id": "doubts", "title": "Doubts", "procedures": procedures,
        "recovered": { "when": [{ "command": ["true"] }] } });
    let file = home.write("doubts.yaml", serde_json::to_vec_pretty(&whole).unwrap());
    for (id, names, sees) in [
        (
            "before",
            "The target time is before the first backup",
            "the oldest backup ended",
        ),
        (
            "stanza",
            "The repository holds no backup for this stanza",
            "nothing for this stanza",
        ),
        (
            "repository",
            "The repository holds no backup for this stanza",
            "nothing for this stanza",
        ),
    ] {
        let run = home.run(&[&file, "--trust", "--go", id]).exits(1);
        let log = home.log(&run.summary, &run.summary["steps"][0]["attempts"][0]);
        assert!(log.contains("[075]: unable to find backup set"), "{log}");
        let mut terminal = home.terminal(&["resume", &run.incident()], 110, 40);
        terminal.wait_for_text("T timeline|Enter log", PATIENCE);
        terminal.send("L");
        let screen = terminal.wait_for_text("(?s)Likely cause of.*source", PATIENCE);
        let said = words(&panel(&screen));
        assert!(said.starts_with(&format!("▸ 1 {names}")), "{said}");
        pause(MOMENT);
        terminal.send("p");
        let screen = terminal.wait_for_text(&format!("(?s)▸✓1 .*saw .*{sees}"), PATIENCE);
        assert!(!screen.contains("does not hold"), "{screen}");
        terminal.send("\u{3}");
        terminal.wait(PATIENCE);
    }
}

/// A look never guesses: where the log is empty and no tool is there, it cannot tell.
#[test]
fn no_probe_of_the_library_tells_anything_from_nothing() {
    let folder = private_dir();
    let log = folder.path().join("output.log");
    fs::write(&log, "").unwrap();
    let mut wrong = Vec::new();
    let mut probes = 0;
    for rule in library().rules() {
        let Some(CheckKind::Command(words)) = rule.probe.as_ref().map(|p| &p.what) else {
            continue;
        };
        let Run::Script { text, .. } = &words.run else {
            panic!("{} is a script", rule.id);
        };
        probes += 1;
        let done = Command::new("bash")
            .args(["-Eeuo", "pipefail", "-c", text])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder.path())
            .env("BLACKSTART_FAILED_LOG", &log)
            .current_dir(folder.path())
            .output()
            .unwrap();
        if done.status.code() != Some(75) || !text.starts_with("# ") {
            wrong.push(format!("{}: {done:?}", rule.id));
        }
    }
    assert!(probes > 60, "{probes}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_step_that_still_runs_says_what_its_output_means_and_what_it_waits_for() {
    let home = Blackstart::new();
    let refused =
        "psql: error: connection to server at \"127.0.0.1\", port 6 failed: Connection refused";
    // It goes on when the test opens the other end of a pipe; each is used once, since its reader could meet
    // the writer of the time before.
    let step = json!({ "id": "s", "title": "Try", "danger": "none",
        "run": format!("mkfifo go-on end\nfor _ in 1 2 3; do echo '{refused}'; done\nread -r _ <go-on\nprintf 'Password for user app: '\nread -r _ <end\n") });
    let file = runbook(&home, &[step], &[]);
    home.output(&["trust", &file]).exits(0);
    let mut terminal = home.terminal(&["open", &file], 100, 30);
    terminal.wait_for_text("Since when", PATIENCE);
    pause(MOMENT);
    terminal.send("now\r");
    terminal.wait_for_text("Which are affected", PATIENCE);
    for key in [" ", "\r", "c", "r", "\r"] {
        pause(MOMENT);
        terminal.send(key);
    }
    let screen = terminal.wait_for_text("says   .*(?s).*refuse", PATIENCE);
    assert!(screen.contains("(3 times)"), "{screen}");
    let write_to = |pipe: &str| {
        let pipe = Path::new(&file).with_file_name(pipe);
        let mut pipe = OpenOptions::new().write(true).open(&pipe).unwrap();
        pipe.write_all(b"\n").unwrap();
    };
    write_to("go-on");
    terminal.wait_for_text("WAITS  for an answer: Password for user app", PATIENCE);
    write_to("end");
    // It has ended with 0 all the same; recovered or not, that is said first.
    terminal.wait_for_text("It ended with 0, and its output says", PATIENCE);
    pause(MOMENT);
    terminal.send("\u{1b}");
    terminal.wait_for_text("RECOVERED at", PATIENCE);
    terminal.send("\u{3}");
    terminal.wait(PATIENCE);
}

#[test]
fn a_symptom_in_ones_own_words_finds_its_row_and_feedback_is_told() {
    let home = Blackstart::new();
    let step = json!({ "id": "s", "title": "Fail", "danger": "none",
        "run": "echo 'pg_dump: error: could not write to output file: No space left on device'\nexit 1\n" });
    let file = runbook(&home, &[step], &[]);
    home.run(&[&file, "--trust", "--go", "p"]).exits(1);
    let incident = home.incident();
    let mut terminal = home.terminal(&["resume", &incident], 120, 40);
    terminal.wait_for_text("T timeline|Enter log", PATIENCE);
    for (typed, row) in [
        ("certifcate is expierd", "A certificate has expired"),
        ("redis is empty after the restart", "redis "),
        ("cannot pull the imgae", "image"),
    ] {
        terminal.send("f");
        terminal.wait_for_text("Known failures, ", PATIENCE);
        terminal.send("/");
        terminal.wait_for_text("What do you see", PATIENCE);
        terminal.send(&format!("{typed}\r"));
        terminal.wait_for_text(&format!("match /{typed}"), PATIENCE);
        let screen = terminal.screen();
        let first: Vec<&str> = screen.lines().skip(4).take(3).collect();
        assert!(first.iter().any(|l| l.contains(row)), "{typed}\n{screen}");
        terminal.send("\u{1b}");
        pause(MOMENT);
        terminal.send("\u{1b}");
        terminal.wait_for_text("╭ Checklist", PATIENCE);
    }
    terminal.send("L");
    terminal.wait_for_text("(?s)Likely cause of.*source", PATIENCE);
    pause(MOMENT);
    terminal.send("y");
    terminal.wait_for_text("recorded: this was it", PATIENCE);
    let told = home.export(&incident, "markdown");
    assert!(told.contains("the cause was "), "{told}");
    terminal.send("\u{3}");
    terminal.wait(PATIENCE);
}
