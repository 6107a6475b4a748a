//! What the command line answers, and when it refuses: the exit codes are a contract.

use crate::harness::{
    Chance,
    bin::{BINARY, Blackstart, Finished, Run, attempts, ended, of_type, step},
    fixture, loops,
};
use chrono::{Duration, Utc};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration as Time,
};

/// The smallest runbook, and what it marks.
struct Scene {
    home: Blackstart,
    runbook: String,
    set: String,
    marks: String,
}

impl Scene {
    fn new() -> Self {
        let home = Blackstart::new();
        let marks = home.file("marks");
        Self {
            runbook: home.write("minimal.yaml", fixture("minimal.yaml")),
            set: format!("marks={marks}"),
            marks,
            home,
        }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec![self.runbook.as_str(), "--set", &self.set];
        args.extend(more);
        args
    }

    fn run(&self, more: &[&str]) -> Run {
        self.home.run(&self.arguments(more))
    }

    /// For people, not programs.
    fn say(&self, more: &[&str]) -> Finished {
        let mut args = vec!["run"];
        args.extend(self.arguments(more));
        self.home.output(&args)
    }

    fn marks(&self) -> String {
        fs::read_to_string(&self.marks).unwrap_or_default()
    }

    #[track_caller]
    fn assert_nothing_happened(&self) {
        assert_eq!(self.marks(), "", "something ran");
        assert_eq!(self.home.incidents(), Vec::<String>::new());
        assert_eq!(self.home.list_json(), Vec::<Value>::new());
    }
}

#[test]
fn a_runbook_or_procedure_that_is_not_there_is_a_usage_error() {
    let scene = Scene::new();
    let unknown = ["run", "no-such-runbook", "--go", "mark"];
    scene.home.output(&unknown).exits(2).says("no-such-runbook");
    let unknown = scene.home.file("missing.yaml");
    let args = ["run", &unknown, "--go", "mark", "--trust"];
    scene.home.output(&args).exits(2).says("missing.yaml");
    let refused = scene.say(&["--trust", "--go", "marc"]).exits(2);
    refused.says("marc").says("did you mean `?mark");
    let refused = scene
        .say(&["--trust", "--go", "mark/no-such-path"])
        .exits(2);
    refused.says("no-such-path");
    scene.home.output(&["no-such-command"]).exits(2);
    scene.assert_nothing_happened();
}

#[test]
fn an_invalid_runbook_is_shown_with_its_place() {
    let scene = Scene::new();
    let broken = fixture("minimal.yaml").replace("title: Leave a mark", "titel: Leave a mark");
    let (row, line) = broken
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains("titel"))
        .unwrap();
    let column = line.find("titel").unwrap() + 1;
    let path = scene.home.write("broken.yaml", &broken);
    let place = format!(r"broken\.yaml:{}:{column}\b", row + 1);
    for args in [
        vec!["run", &path, "--go", "mark", "--trust", "--set", &scene.set],
        vec!["lint", &path],
    ] {
        let refused = scene.home.output(&args).exits(2);
        let refused = refused.says(&place).says("titel: Leave a mark");
        let refused = refused.says("did you mean `title`");
        // The marker stands under the column.
        let text = refused.both();
        let mut lines = text
            .lines()
            .skip_while(|l| !l.contains("titel: Leave a mark"));
        let (shown, marker) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(marker.find('^'), shown.find("titel"), "{refused}");
    }
    scene.assert_nothing_happened();
}

#[test]
fn what_will_be_missing_is_said_before_anything_starts() {
    let scene = Scene::new();
    let bare = ["run", &scene.runbook, "--trust", "--go", "mark"];
    scene.home.output(&bare).exits(3).says("marks");
    scene.assert_nothing_happened();

    scene
        .say(&["--trust", "--go", "person"])
        .exits(3)
        .says(r"person/page|\bpage\b");
    scene.assert_nothing_happened();
    let confirmed = scene.run(&["--trust", "--go", "person", "--confirm", "page"]);
    assert_eq!(
        step(&confirmed.exits(0).summary, "page")["state"],
        "succeeded"
    );
}

#[test]
fn what_destroys_runs_only_with_the_name_of_what_is_destroyed() {
    let scene = Scene::new();
    scene
        .say(&["--trust", "--go", "wipe"])
        .exits(3)
        .says("wipe");
    let wrong = [
        "--trust",
        "--go",
        "wipe",
        "--approve",
        "wipe=the-new-volume",
    ];
    let refused = scene.say(&wrong);
    assert_ne!(refused.code, 0, "{refused}");
    scene.assert_nothing_happened();
    let right = [
        "--trust",
        "--go",
        "wipe",
        "--approve",
        "wipe=the-old-volume",
    ];
    scene.run(&right).exits(0);
    assert_eq!(scene.marks(), "wiped\n");
}

#[test]
fn a_secret_is_not_taken_from_an_argument() {
    let scene = Scene::new();
    let secret = "password=sh0uld-not-be-here";
    let refused = scene.say(&["--trust", "--go", "mark", "--set", secret]);
    assert!([2, 3].contains(&refused.code), "{refused}");
    assert!(!refused.both().contains("sh0uld-not"), "{refused}");
    scene.assert_nothing_happened();
}

#[test]
fn a_runbook_runs_once_it_is_trusted_and_no_longer_when_it_changed() {
    let scene = Scene::new();
    scene.say(&["--go", "mark"]).exits(3).says("trust");
    // What is offered looks where this one was told to look.
    let elsewhere = ["--go", "mark", "--state-dir", "other place"];
    let offered = "blackstart trust --state-dir '/.*/other place' ";
    scene.say(&elsewhere).exits(3).says(offered);
    scene.assert_nothing_happened();
    let trust = ["trust", &scene.runbook];
    scene.home.output(&trust).exits(0);
    scene.run(&["--go", "mark"]).exits(0);
    assert_eq!(scene.marks(), "marked\n");
    // One byte, in a comment.
    let text = fixture("minimal.yaml").replacen("As little", "as little", 1);
    fs::write(&scene.runbook, text).unwrap();
    scene.say(&["--go", "mark"]).exits(3).says("trust");
    assert_eq!(scene.marks(), "marked\n");
}

#[test]
fn recovered_failed_and_too_late_are_told_by_the_exit_code() {
    let scene = Scene::new();
    let good = scene.run(&["--trust", "--go", "mark"]).exits(0).summary;
    assert_eq!(good["state"], "recovered");
    assert_eq!(good["objectives"]["rto"]["met"], true);
    assert_eq!(good["objectives"]["rto"]["target_s"], 3600);

    let failed = scene.run(&["--trust", "--go", "fail"]).exits(1);
    assert_eq!(failed.summary["state"], "open");
    assert_eq!(ended(&attempts(&failed.summary, "fail")[0]), ("failed", 9));
    // Nothing matched, and that is on record.
    let causes = of_type(&failed.journal, "causes-found");
    assert!(matches!(causes[..], [one] if one["event"]["causes"] == Value::Array(vec![])));

    let since = (Utc::now() - Duration::hours(3)).to_rfc3339();
    let late = scene
        .run(&["--trust", "--go", "mark", "--since", &since])
        .exits(4)
        .summary;
    assert_eq!(late["state"], "recovered");
    assert_eq!(late["objectives"]["rto"]["met"], false);
    let actual = late["objectives"]["rto"]["actual_s"]
        .as_f64()
        .expect("`actual_s`");
    assert!((10_800.0..11_400.0).contains(&actual), "{actual}");

    // Newest first.
    let listed = scene.home.list_json();
    let ids: Vec<&Value> = listed.iter().map(|i| &i["id"]).collect();
    assert_eq!(ids, [&late["id"], &failed.summary["id"], &good["id"]]);
}

#[test]
fn an_incident_can_be_noted_on_and_closed() {
    let scene = Scene::new();
    let incident = scene.run(&["--trust", "--go", "fail"]).exits(1).incident();
    let text = "the vendor was called";
    scene.home.output(&["note", &incident, text]).exits(0);
    let shown = scene.home.show_json(&incident);
    assert_eq!(shown["notes"][0]["text"], text);
    let closed = scene.home.output(&["close", &incident]).exits(0);
    let shown = scene.home.show_json(&incident);
    assert_eq!(shown["state"], "closed");
    // The head is printed, so that it can be kept somewhere else.
    let head = shown["journal_head"].as_str().expect("`journal_head`");
    assert_eq!(head.len(), 64);
    closed.says(head);
    scene.home.output(&["verify", &incident]).exits(0);
}

#[test]
fn an_incident_that_is_not_there_is_a_usage_error() {
    let home = Blackstart::new();
    let id = "no-such-incident";
    for args in [
        vec!["show", id],
        vec!["show", id, "--json"],
        vec!["note", id, "text"],
        vec!["close", id],
        vec!["verify", id],
        vec!["export", id, "--format", "markdown"],
        vec!["resume", id, "--headless"],
    ] {
        let refused = home.output(&args).exits(2);
        refused.says(id).says("blackstart list");
    }
    assert_eq!(home.list_json(), Vec::<Value>::new());
}

#[test]
fn a_hostile_file_gets_its_error() {
    let home = Blackstart::new();
    let bomb = (1..24).fold(
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(),
        |text, n| {
            let nine = vec![format!("*a{}", n - 1); 9].join(", ");
            format!("{text}a{n}: &a{n} [{nine}]\n")
        },
    );
    let mut chance = Chance::new(7);
    let noise: Vec<u8> = (0..100_000).map(|_| chance.below(256) as u8).collect();
    let large = (0..).map(|n| format!("x-key-{n}: some text\n"));
    let large: String = large.take(430_000).collect();
    assert!(large.len() > 10_000_000);
    for (name, bytes) in [
        ("bomb.yaml", bomb.into_bytes()),
        ("lists.yaml", "[".repeat(200_000).into_bytes()),
        ("maps.yaml", "{a: ".repeat(200_000).into_bytes()),
        ("noise.yaml", noise),
        (
            "elf.yaml",
            [&b"\x7fELF\x02\x01\x01\0\0\0"[..], &[0; 4096]].concat(),
        ),
        ("large.yaml", format!("blackstart: 1\n{large}").into_bytes()),
        ("one-line.yaml", vec![b'a'; 11_000_000]),
        ("empty.yaml", vec![]),
        ("open.yaml", b"blackstart: 1\nid: [a, b\ntitle: {".to_vec()),
        ("latin.yaml", b"blackstart: 1\ntitle: caf\xe9\n".to_vec()),
        ("tabs.yaml", b"blackstart: 1\n\tid: x\n".to_vec()),
    ] {
        let path = home.write(name, bytes);
        for args in [
            vec!["lint", &path],
            vec!["run", &path, "--go", "all", "--trust"],
        ] {
            let refused = home.spawn(&args).finished(Time::from_secs(30)).exits(2);
            let refused = refused.says(&regex::escape(name));
            assert!(!refused.both().contains("panicked"), "{name}: {refused}");
            assert!(refused.both().len() < 20_000, "{name}: an error is short");
        }
    }
    assert_eq!(home.incidents(), Vec::<String>::new());
}

#[test]
fn every_altered_bit_of_a_journal_is_noticed() {
    let scene = Scene::new();
    let incident = scene.run(&["--trust", "--go", "mark"]).exits(0).incident();
    let path = scene.home.journal_path(&incident);
    let whole = fs::read(&path).unwrap();
    scene.home.output(&["verify", &incident]).exits(0);
    // Upper-case hex is another text.
    let hash = |line: &[u8]| line.windows(5).position(|w| w == br#""h":""#).unwrap() + 5;
    let first = whole.split(|b| *b == b'\n').next().unwrap();
    let letter = (hash(first)..first.len()).find(|i| first[*i].is_ascii_alphabetic());
    let mut flips = vec![(letter.unwrap(), 0x20)];
    let mut chance = Chance::new(42);
    // The very last byte ends the last line: without it, that line is a torn tail.
    let last = whole.len() as u64 - 1;
    for _ in 0..loops(60, 3000) {
        flips.push((chance.below(last) as usize, 1 << chance.below(8)));
    }
    for (at, bit) in flips {
        let mut altered = whole.clone();
        altered[at] ^= bit;
        fs::write(&path, &altered).unwrap();
        let found = scene.home.output(&["verify", &incident]);
        assert_eq!(found.code, 1, "bit {bit:#x} of byte {at}\n{found}");
    }
    // A line taken out, and two exchanged.
    let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    let without = [&lines[..1], &lines[2..]].concat().concat();
    let exchanged = [&lines[..1], &[lines[2], lines[1]], &lines[3..]]
        .concat()
        .concat();
    for altered in [without, exchanged] {
        fs::write(&path, &altered).unwrap();
        scene.home.output(&["verify", &incident]).exits(1);
    }
    fs::write(&path, &whole).unwrap();
    scene.home.output(&["verify", &incident]).exits(0);
}

#[test]
fn a_torn_last_line_leaves_the_journal_whole_and_is_said() {
    let scene = Scene::new();
    let incident = scene.run(&["--trust", "--go", "fail"]).exits(1).incident();
    let path = scene.home.journal_path(&incident);
    let whole = fs::read(&path).unwrap();
    let torn_line = b"{\"v\":1,\"seq\":9999,\"at\":\"2026-03-1";
    let appended = [&whole[..], torn_line].concat();
    let cut = whole[..whole.len() - 10].to_vec();
    for torn in [appended, cut] {
        fs::write(&path, &torn).unwrap();
        let found = scene.home.output(&["verify", &incident]).exits(0);
        found.says("(?i)torn|never acknowledged|incomplete");
        scene.home.show_json(&incident);
        assert_eq!(fs::read(&path).unwrap(), torn, "looking does not write");
    }
    // The next one who writes repairs it first.
    scene
        .home
        .output(&["note", &incident, "after the crash"])
        .exits(0);
    let found = scene.home.output(&["verify", &incident]).exits(0);
    assert!(!found.both().contains("never acknowledged"), "{found}");
    let shown = scene.home.show_json(&incident);
    assert_eq!(shown["notes"][0]["text"], "after the crash");
}

#[test]
fn what_is_written_is_for_its_owner_only_under_any_umask() {
    let scene = Scene::new();
    let mut run = Command::new("sh");
    run.args([
        "-c",
        "umask 000; exec \"$0\" \"$@\"",
        BINARY,
        "run",
        "--trust",
        "--go",
        "mark",
    ])
    .args(scene.arguments(&[]))
    .env_clear()
    .envs(scene.home.environment())
    .stdin(Stdio::null());
    let done = run.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_private(&scene.home.state());
    scene
        .home
        .output(&["verify", &scene.home.incident()])
        .exits(0);
}

fn assert_private(path: &Path) {
    let about = fs::symlink_metadata(path).unwrap();
    let mode = about.permissions().mode();
    assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    if about.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    }
}
