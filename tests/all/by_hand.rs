//! A whole recovery by keys, as a person on call does it: in the real cockpit, on a real PostgreSQL.

use crate::{
    harness::{
        PATIENCE,
        bin::{Blackstart, attempts, of_type, step},
        fixture, free_port, pause,
        postgres::{PASSWORD, owner_script},
        process::end_servers,
        pty::Terminal,
    },
    platform::{Broken, broken, written},
};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// Keys that act are dropped for 300 ms after the screen has changed: nobody reads faster.
const READING: Duration = Duration::from_millis(450);

/// A person at a terminal: looks for a text, reads, then presses a key.
struct Person<'t>(&'t Terminal);

impl Person<'_> {
    fn sees(&self, text: &str) -> &Self {
        self.0.wait_for_text(text, PATIENCE);
        pause(READING);
        self
    }

    fn presses(&self, keys: &str) -> &Self {
        self.0.send(keys);
        self
    }

    /// Arms the step, which has been chosen by itself once the one before it was done, and starts it.
    fn runs(&self, step: &str) -> &Self {
        self.sees(step)
            .presses("r")
            .sees("Enter starts it")
            .presses("\r")
    }
}

/// Goes through every screen of an incident and returns every byte that was drawn.
pub(crate) fn looks_through(home: &Blackstart, incident: &str, cols: u16, rows: u16) -> Vec<u8> {
    let mut terminal = home.terminal(&["resume", incident], cols, rows);
    let person = Person(&terminal);
    person.sees("RTO");
    // Each step with its log; then the tables and the timeline, top to bottom.
    for _ in 0..8 {
        person.presses("j");
        pause(Duration::from_millis(40));
    }
    person.presses("G");
    pause(READING);
    for keys in [
        "\r", "g", "G", "q", "k", "\r", "G", "q", "T", "g", "G", "q", "f", "j", "q", "?", "\u{1b}",
    ] {
        person.presses(keys);
        pause(READING);
    }
    person.presses("q");
    terminal.wait(PATIENCE);
    let raw = terminal.raw();
    assert!(raw.len() > 4000, "too little was drawn:\n{terminal}");
    raw
}

struct Scene {
    home: Blackstart,
    platform: &'static Broken,
    runbook: String,
    port: u16,
}

impl Scene {
    fn new() -> Self {
        let home = Blackstart::new().with("DB_PASSWORD", PASSWORD);
        let runbook = home.write("pitr.yaml", fixture("pitr.yaml"));
        home.output(&["trust", &runbook]).exits(0);
        Self {
            home,
            runbook,
            platform: broken(),
            port: free_port(),
        }
    }

    fn folder(&self) -> PathBuf {
        let beside = self.platform.cluster.folder();
        beside.join(format!("restored-{}", self.port))
    }

    fn open(&self, target: &str, cols: u16, rows: u16) -> Terminal {
        let cluster = &self.platform.cluster;
        let mut args = vec!["open".to_owned(), self.runbook.clone()];
        for (name, value) in [
            ("db_port", cluster.port().to_string()),
            ("target", target.to_owned()),
            ("restored_port", self.port.to_string()),
            ("restored_dir", self.folder().display().to_string()),
            ("sockets", cluster.folder().display().to_string()),
            ("dump_dir", self.home.file("dumps")),
            (
                "backup_config",
                cluster.backup_config().display().to_string(),
            ),
            ("as_owner", owner_script().display().to_string()),
        ] {
            args.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        self.home.terminal(&args, cols, rows)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        end_servers(&self.folder());
        let _ = std::fs::remove_dir_all(self.folder());
    }
}

/// From the opening to the checklist.
fn to_the_checklist(person: &Person<'_>, began: &str) {
    person
        .sees("How bad is it")
        .presses("j")
        .sees("P1")
        .presses("\r")
        .sees("Since when")
        .presses(began)
        .presses("\r")
        // The evidence: the database answers, and holds no tenants.
        .sees("The tenants are gone")
        .sees("✗ 0")
        .presses("\r")
        .sees("Ready")
        .presses("c")
        .sees("Keep the broken state");
}

#[test]
fn a_damaged_database_is_recovered_by_keys() {
    let scene = Scene::new();
    let history = &scene.platform.history;
    let mut terminal = scene.open(&written(history.before), 120, 40);
    let person = Person(&terminal);
    to_the_checklist(&person, &written(history.lost));
    person.runs("1 · Keep the broken state");
    person.runs("2 · Restore beside it");
    // The target moved: old and new are shown, and a person confirms.
    person.sees("to be confirmed").presses("i");
    person
        .sees(&format!("127.0.0.1:{}", scene.port))
        .presses("\r");
    person.runs("3 · The policy rules");
    person.runs("4 · How much was lost");
    person.runs("5 · Tenants and rules");
    person.sees("(?i)recovered");

    let incident = scene.home.incident();
    crate::harness::until(PATIENCE, format_args!("recovery\n{terminal}"), || {
        scene.home.show_json(&incident)["state"] == "recovered"
    });
    let shown = scene.home.show_json(&incident);
    assert_eq!(shown["objectives"]["rto"]["met"], true, "{shown:#}");
    assert_eq!(shown["objectives"]["rpo"]["met"], true, "{shown:#}");
    for id in ["preserve", "restore", "rules", "newest", "accounts"] {
        assert_eq!(step(&shown, id)["state"], "succeeded", "{id}");
    }
    let journal = scene.home.journal(&incident);
    let answered = of_type(&journal, "answered");
    let evidence = answered[0]["event"]["evidence"].to_string();
    assert!(evidence.contains("does-not-hold"), "{evidence}");

    person.sees("(?i)recovered").presses("q");
    let ended = terminal.wait(PATIENCE);
    assert!(ended.success(), "{ended}\n{terminal}");
    let markdown = scene.home.export(&incident, "markdown");
    for part in [
        "RECOVERED",
        "The tenants are gone",
        "Targets and actuals",
        "| met |",
    ] {
        assert!(markdown.contains(part), "`{part}` in\n{markdown}");
    }
    scene.home.output(&["verify", &incident]).exits(0);
    let raw = terminal.raw();
    let password = PASSWORD.as_bytes();
    assert!(
        !raw.windows(password.len()).any(|w| w == password),
        "the password was shown"
    );
}

#[test]
fn a_failure_is_named_corrected_and_tried_again_by_keys() {
    let scene = Scene::new();
    let history = &scene.platform.history;
    let mut terminal = scene.open("2020-01-01T00:00:00Z", 80, 24);
    let person = Person(&terminal);
    to_the_checklist(&person, &written(history.lost));
    person.runs("1 · Keep the broken state");
    person.runs("2 · Restore beside it");
    person.sees("lies before the oldest backup");
    let incident = scene.home.incident();
    // The cable is pulled here; the correction is made after coming back.
    terminal.close();
    terminal.wait(PATIENCE);

    let target = format!("target={}", written(history.before));
    let args = ["resume", incident.as_str(), "--set", &target];
    let mut terminal = scene.home.terminal(&args, 80, 24);
    let person = Person(&terminal);
    person.runs("2 · Restore beside it");
    crate::harness::until(
        PATIENCE,
        format_args!("the second attempt\n{terminal}"),
        || {
            let shown = scene.home.show_json(&incident);
            step(&shown, "restore")["state"] == "succeeded"
        },
    );
    let shown = scene.home.show_json(&incident);
    let outcomes: Vec<&Value> = attempts(&shown, "restore")
        .iter()
        .map(|a| &a["outcome"])
        .collect();
    assert_eq!(outcomes, ["failed", "succeeded"]);
    let first = &attempts(&shown, "restore")[0]["causes"][0]["cause"];
    assert_eq!(
        first,
        "The moment to restore to lies before the oldest backup"
    );
    terminal.close();
    terminal.wait(PATIENCE);
}

const PRESSES: &str = "
blackstart: 1
id: presses
title: Many steps
procedures:
  - id: all
    steps:
      - { id: one, title: The first, run: 'echo one' }
      - { id: two, title: The second, run: 'echo two', after: [] }
      - { id: three, title: The third, run: 'echo three', after: [] }
recovered:
  when: [ { file: /nowhere, exists: true } ]
triage:
  ask: What is broken?
  choices: [ { answer: Everything, go: [all] } ]
";

/// An incident of a small runbook that has just begun, at the first question of its tree.
fn just_begun(home: &Blackstart, runbook: &str, cols: u16) -> Terminal {
    let runbook = home.write("runbook.yaml", runbook);
    home.output(&["trust", &runbook]).exits(0);
    let terminal = home.terminal(&["open", &runbook], cols, 24);
    let person = Person(&terminal);
    person.sees("Since when").presses("now").presses("\r");
    person.sees("Everything").presses("\r");
    terminal
}

#[test]
fn keys_typed_into_a_stalled_terminal_start_at_most_one_step() {
    let home = Blackstart::new();
    let mut terminal = just_begun(&home, PRESSES, 80);
    let person = Person(&terminal);
    person.sees("Ready").presses("c");
    person.sees("The first");
    // Typed while nothing is drawn: the program is stopped, as a stalled line would have it.
    let pid = terminal.pid();
    crate::harness::process::send(pid, rustix::process::Signal::STOP);
    person.presses("rrrr\rrrrr\rjr\rjr\r");
    crate::harness::process::send(pid, rustix::process::Signal::CONT);
    pause(Duration::from_secs(2));
    let incident = home.incident();
    let started = of_type(&home.journal(&incident), "attempt-started").len();
    assert!(started <= 1, "{started} steps were started\n{terminal}");
    // And the cockpit still takes keys from somebody who reads.
    person.presses("\u{1b}").presses("\u{1b}");
    pause(READING);
    person.presses("g").presses("j").presses("j");
    person.runs("3 · The third");
    crate::harness::until(PATIENCE, format_args!("the third step\n{terminal}"), || {
        let shown = home.show_json(&incident);
        step(&shown, "three")["state"] == "succeeded"
    });
    terminal.kill9();
}

const LEFT_OVER: &str = r#"
blackstart: 1
id: left-over
title: Left over
variables:
  place: { type: text, needed: step, ask: "Where to?" }
procedures:
  - id: p
    title: Everything
    steps:
      - id: broken
        title: It fails
        danger: none
        run: exit 7
      - id: moved
        title: Move it
        danger: none
        unless: { script: "exit 1" }
        run: printf 'moved to %s\n' "$PLACE"
        env: { PLACE: "${place}" }
      - id: last
        title: The last one
        danger: none
        run: echo done
recovered:
  when:
    - { command: ["true"] }
triage:
  ask: What is broken?
  choices: [ { answer: Everything, go: [p] } ]
"#;

#[test]
fn what_only_running_needs_is_asked_for_and_a_failed_step_that_was_passed_by_is_pointed_at() {
    let home = Blackstart::new();
    let mut terminal = just_begun(&home, LEFT_OVER, 100);
    let person = Person(&terminal);
    person.sees("Ready").presses("c");
    person.runs("1 · It fails").sees("Likely cause of");
    // The second one waits for it, unless there is a reason.
    person.presses("\u{1b}").sees("2 Move it").presses("j");
    person
        .sees("2 · Move it")
        .presses("r")
        .sees("Enter accepts it");
    person.presses("it does not matter\r");
    person.sees("Enter starts it").presses("\r");
    // That it is not done is only known now, and only then is the place needed.
    person.sees("Where to").presses("the attic\r");
    person.sees("Enter accepts it").presses("still\r");
    person.sees("Enter starts it").presses("\r");
    person.sees("3 · The last one").presses("r");
    person.sees("Enter starts it").presses("\r");
    // Nothing is left to run, and the first step has not been settled: it is chosen, and said.
    person.sees("(?s)1 · It fails.*nothing else is left to run, but p/broken is failed");
    let incident = home.incident();
    let shown = home.show_json(&incident);
    assert_eq!(step(&shown, "moved")["attempts"][0]["outcome"], "succeeded");
    assert_ne!(shown["state"], "recovered");
    person.presses("S").sees("Why is it skipped");
    person.presses("nobody needs it\r");
    person.sees("(?i)recovered at|Recovered");
    crate::harness::until(PATIENCE, "recovery", || {
        home.show_json(&incident)["state"] == "recovered"
    });
    terminal.send("\u{3}");
    terminal.wait(PATIENCE);
}

const TWO_WAYS: &str = r#"
blackstart: 1
id: two-ways
title: Two ways
procedures:
  - id: p
    title: Everything
    paths:
      - id: backup
        title: From the backup
        when: There is one
        steps:
          - { id: fetch, title: Fetch it, danger: none, run: "echo there is no backup; exit 7" }
          - { id: load, title: Load it, danger: none, run: "true" }
      - id: anew
        title: Make it anew
        when: There is no backup
        steps:
          - { id: make, title: Make it, danger: none, run: "echo made" }
recovered:
  when:
    - { command: ["true"] }
triage:
  ask: What is broken?
  choices: [ { answer: Everything, go: [p] } ]
failures:
  - id: none
    symptom: There is no backup
    cause: Nothing was ever backed up
    fix: Make it anew
    match: { output: ["there is no backup"] }
    go: p/anew
    source: The test
"#;

#[test]
fn where_a_cause_leads_to_the_other_way_the_plan_goes_it() {
    let home = Blackstart::new();
    let mut terminal = just_begun(&home, TWO_WAYS, 100);
    let person = Person(&terminal);
    person.sees("From the backup").presses("\r");
    person.sees("Ready").presses("c");
    person
        .runs("1 · Fetch it")
        .sees("Nothing was ever backed up");
    person.presses("g").sees("Take the other way").presses("\r");
    // The first step of the other way is chosen, so that the next key runs it.
    person.sees("3 · Make it");
    let incident = home.incident();
    crate::harness::until(PATIENCE, format_args!("the other way\n{terminal}"), || {
        let shown = home.show_json(&incident);
        shown["plan"] == serde_json::json!(["p/anew"])
    });
    let shown = home.show_json(&incident);
    let names = shown["steps"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|s| s["name"].as_str().unwrap()).collect();
    // What was tried stays where everybody sees it; what was not, goes.
    assert!(
        names.contains(&"p/anew/make") && names.contains(&"p/backup/fetch"),
        "{names:?}"
    );
    assert!(!names.contains(&"p/backup/load"), "{names:?}");
    terminal.send("\u{3}");
    terminal.wait(PATIENCE);
    // The same beside the cockpit: it goes on with the plan, once it is said what becomes of the failure.
    let words = [
        "resume",
        &incident,
        "--headless",
        "--continue",
        "--go",
        "p/anew",
        "--skip",
        "fetch=there is none",
    ];
    home.output(&words).exits(0);
    assert_eq!(home.show_json(&incident)["state"], "recovered");
}
