//! Work outlives the terminal: sessions are dropped, cockpits and supervisors killed, and nothing
//! is lost, invented or done twice.

use crate::harness::{
    Chance, PATIENCE,
    bin::{BINARY, Blackstart, Running, attempts, ended, step},
    fixture, loops, pause,
    process::{controllers, holders, send, supervisors},
    sshd::{Sshd, quoted},
    until,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

const LINES: usize = 60;

/// How the terminal goes away.
#[derive(Clone, Copy)]
enum Cut<'a> {
    /// `kill -9` of `blackstart run`.
    Kill,
    /// The pty is closed.
    HangUp,
    /// The connection of `ssh` is cut.
    Connection(&'a Sshd),
}

/// What goes on when it does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Script,
    Terminal,
    Check,
}

impl Work {
    fn procedure(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Terminal => "terminal",
            Self::Check => "check",
        }
    }
}

/// The runbook of counting steps, with a gate that the test opens and marks for each start.
struct Scene {
    home: Blackstart,
    runbook: String,
    gate: String,
    marks: String,
}

impl Scene {
    fn new() -> Self {
        let home = Blackstart::new();
        Self {
            runbook: home.write("counting.yaml", fixture("counting.yaml")),
            gate: home.file("gate"),
            marks: home.file("marks"),
            home,
        }
    }

    /// `run` of one procedure whose script ends with the status.
    fn arguments(&self, procedure: &str, status: i64) -> Vec<String> {
        let mut args: Vec<String> = ["run", &self.runbook, "--trust", "--go", procedure]
            .map(str::to_owned)
            .into();
        for (name, value) in [
            ("gate", self.gate.clone()),
            ("marks", self.marks.clone()),
            ("count", LINES.to_string()),
            ("status", status.to_string()),
        ] {
            args.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        args
    }

    fn open_gate(&self) {
        fs::write(&self.gate, "").unwrap();
    }

    /// How often the script was started.
    fn starts(&self) -> usize {
        let marks = fs::read_to_string(&self.marks).unwrap_or_default();
        marks.lines().count()
    }

    /// Waits until the work has really begun.
    fn begun(&self, procedure: &str) {
        self.home.attempt_started("work");
        if procedure == "check" {
            self.home.supervisor();
            pause(Duration::from_millis(100));
        } else {
            until(PATIENCE, "the script's first mark", || self.starts() > 0);
        }
    }

    /// Waits until nobody writes the journal any more.
    fn abandoned(&self) {
        until(PATIENCE, "the end of who watched the step", || {
            controllers(&self.home.state()).is_empty()
        });
    }
}

/// Starts the work and takes its terminal away.
fn cut_off(scene: &Scene, work: Work, status: i64, cut: Cut<'_>, after: Duration) {
    let args = scene.arguments(work.procedure(), status);
    let begun = || {
        scene.begun(work.procedure());
        pause(after);
    };
    match cut {
        Cut::Kill => {
            let running = scene.home.spawn(&args);
            begun();
            running.kill9();
        }
        Cut::HangUp => {
            let mut terminal = scene.home.terminal(&args, 80, 24);
            begun();
            terminal.close();
            let ended = terminal.wait(PATIENCE);
            assert!(ended.signal().is_none(), "it goes by itself: {ended}");
            // Interrupted; or the step had just ended, and the closed gate is no recovery.
            assert!([1, 3].contains(&ended.exit_code()), "{ended}");
        }
        Cut::Connection(sshd) => {
            let mut words = vec!["exec env -i".to_owned()];
            for (name, value) in scene.home.environment() {
                words.push(quoted(&format!("{name}={}", value.to_str().unwrap())));
            }
            words.push(quoted(BINARY));
            words.extend(args.iter().map(|word| quoted(word)));
            let client = sshd.client(&words.join(" "));
            let mut ssh = Command::new(&client[0]);
            ssh.args(&client[1..]).stdin(Stdio::null());
            let running = Running::start(ssh);
            begun();
            running.kill9();
        }
    }
    scene.abandoned();
}

/// The loop: whatever goes away and when, the step ends as it would have, with every line.
fn survives(work: Work, cut: Cut<'_>, times: usize) {
    let mut chance = Chance::new(work as u64);
    for round in 0..times {
        let scene = Scene::new();
        let status = if work != Work::Check && round % 2 == 1 {
            7
        } else {
            0
        };
        cut_off(&scene, work, status, cut, chance.millis(400));
        let incident = scene.home.incident();
        let context = format!("{work:?}, round {round}");

        let good = if status == 0 { "succeeded" } else { "failed" };
        let shown = scene.home.show_json(&incident);
        let state = step(&shown, "work")["state"].as_str().unwrap();
        assert!(["running", good].contains(&state), "{context}: {shown:#}");
        if work == Work::Check {
            assert_eq!(state, "running", "{context}");
        }

        scene.open_gate();
        let resumed = scene.home.resume(&[incident.as_str(), "--continue"]);
        let shown = resumed.exits(i32::from(status != 0)).summary;
        assert_eq!(step(&shown, "work")["state"], good, "{context}: {shown:#}");
        let tried = attempts(&shown, "work");
        assert_eq!(tried.len(), 1, "{context}: it is not started again");
        if work == Work::Check {
            assert_eq!(tried[0]["outcome"], good, "{context}");
            assert_eq!(tried[0]["checks"][0]["passed"], true, "{context}");
        } else {
            assert_eq!(ended(&tried[0]), (good, status), "{context}");
            let log = scene.home.log(&shown, &tried[0]);
            let printed: Vec<&str> = log.lines().map(str::trim_end).collect();
            let all: Vec<String> = (1..=LINES).map(|n| format!("line {n}")).collect();
            assert_eq!(printed, all, "{context}: every line, once, in order");
            assert_eq!(scene.starts(), 1, "{context}");
        }
        scene.home.output(&["verify", &incident]).exits(0);
    }
}

#[test]
fn a_script_outlives_the_kill_of_its_run() {
    survives(Work::Script, Cut::Kill, loops(5, 100));
}

#[test]
fn a_check_that_waits_outlives_the_kill_of_its_run() {
    survives(Work::Check, Cut::Kill, loops(2, 100));
}

#[test]
fn a_step_with_a_terminal_outlives_the_kill_of_its_run() {
    survives(Work::Terminal, Cut::Kill, loops(3, 100));
}

#[test]
fn work_of_every_kind_outlives_its_terminal() {
    for work in [Work::Script, Work::Check, Work::Terminal] {
        survives(work, Cut::HangUp, loops(2, 100));
    }
}

#[test]
fn work_of_every_kind_outlives_its_ssh_connection() {
    let sshd = Sshd::start();
    for work in [Work::Script, Work::Check, Work::Terminal] {
        survives(work, Cut::Connection(&sshd), loops(2, 100));
    }
}

#[test]
fn a_run_that_is_told_to_go_says_how_to_come_back() {
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        let scene = Scene::new();
        let running = scene.home.spawn(&scene.arguments("gated", 0));
        scene.begun("gated");
        running.signal(signal);
        let done = running.finished(PATIENCE).exits(3);
        let incident = scene.home.incident();
        done.says(&format!("blackstart resume .*{}", regex::escape(&incident)));

        let shown = scene.home.show_json(&incident);
        assert_eq!(step(&shown, "work")["state"], "running", "{signal:?}");
        assert!(shown["recovered_at"].is_null());
        let listed = scene.home.list_json();
        let runs = listed[0]["running"].as_array().expect("`running`");
        let names: Vec<&str> = runs.iter().filter_map(Value::as_str).collect();
        assert!(
            matches!(names[..], [one] if one.ends_with("work")),
            "{names:?}"
        );
        assert_eq!(supervisors(&scene.home.state()).len(), 1, "{signal:?}");

        scene.open_gate();
        let resumed = scene.home.resume(&[incident.as_str(), "--continue"]);
        let shown = resumed.exits(0).summary;
        assert_eq!(attempts(&shown, "work").len(), 1, "{signal:?}");
        let log = scene.home.log(&shown, &attempts(&shown, "work")[0]);
        assert_eq!(log, "before the gate\nafter the gate\n", "{signal:?}");
    }
}

#[test]
fn resume_without_continue_waits_for_the_step_and_starts_nothing() {
    let scene = Scene::new();
    let mut args = scene.arguments("gated", 0);
    args.extend(["--go".into(), "silent".into()]);
    let running = scene.home.spawn(&args);
    scene.begun("gated");
    running.kill9();
    let incident = scene.home.incident();
    scene.open_gate();
    let resumed = scene.home.resume(&[incident.as_str()]);
    assert!([0, 3].contains(&resumed.done.code), "{}", resumed.done);
    let steps = resumed.summary["steps"].as_array().expect("`steps`");
    let states: Vec<&Value> = steps.iter().map(|s| &s["state"]).collect();
    assert_eq!(states[..2], ["succeeded", "pending"]);
    assert_eq!(scene.starts(), 1);
}

#[test]
fn only_one_at_a_time_writes_the_journal() {
    let scene = Scene::new();
    let first = scene.home.spawn(&scene.arguments("gated", 0));
    scene.begun("gated");
    let incident = scene.home.incident();
    let second = scene
        .home
        .resume(&[incident.as_str(), "--continue", "--retry", "work"]);
    assert_ne!(second.done.code, 0, "{}", second.done);
    assert!(second.journal.is_empty(), "{}", second.done);
    scene.open_gate();
    first.finished(PATIENCE).exits(0);
    let shown = scene.home.show_json(&incident);
    assert_eq!((attempts(&shown, "work").len(), scene.starts()), (1, 1));
    scene.home.output(&["verify", &incident]).exits(0);
}

#[test]
fn a_script_without_its_supervisor_is_told_and_not_started_over() {
    let told = regex::Regex::new("(?i)without.(its.)?supervisor").unwrap();
    for _ in 0..loops(1, 100) {
        let scene = Scene::new();
        let mut running = scene.home.spawn(&scene.arguments("silent", 0));
        scene.begun("silent");
        let incident = scene.home.incident();
        send(scene.home.supervisor(), Signal::KILL);
        until(PATIENCE, "the end of the supervisor", || {
            supervisors(&scene.home.state()).is_empty()
        });
        // It may wait for the script or ask for a person; it cannot know that all went well.
        if running.ends_within(Duration::from_secs(5)) {
            let done = running.finished(PATIENCE);
            assert!([1, 3].contains(&done.code), "{done}");
        } else {
            running.kill9();
        }

        let shown = scene.home.show_json(&incident);
        let work = step(&shown, "work");
        let state = work["state"].as_str().unwrap();
        assert!(["running", "unknown"].contains(&state), "{work:#}");
        assert!(told.is_match(&work.to_string()), "{work:#}");

        let second = scene.home.resume(&[incident.as_str(), "--retry", "work"]);
        assert_ne!(second.done.code, 0, "{}", second.done);
        assert_eq!(scene.starts(), 1, "a second start over a script that runs");
        let shown = scene.home.show_json(&incident);
        assert_eq!(attempts(&shown, "work").len(), 1);

        scene.open_gate();
        until(PATIENCE, "the end of the script", || {
            holders(&scene.home.state()).is_empty()
        });
        let shown = scene.home.show_json(&incident);
        assert_eq!(step(&shown, "work")["state"], "unknown", "{shown:#}");
        assert_eq!(attempts(&shown, "work")[0]["outcome"], "unknown");
        let resumed = scene
            .home
            .resume(&[incident.as_str(), "--continue", "--retry", "work"]);
        let shown = resumed.exits(0).summary;
        let outcomes: Vec<&Value> = attempts(&shown, "work")
            .iter()
            .map(|a| &a["outcome"])
            .collect();
        assert_eq!(outcomes, ["unknown", "succeeded"]);
        assert_eq!(scene.starts(), 2);
        scene.home.output(&["verify", &incident]).exits(0);
    }
}

#[test]
fn a_check_that_died_with_its_supervisor_is_unknown() {
    let scene = Scene::new();
    let mut running = scene.home.spawn(&scene.arguments("check", 0));
    scene.begun("check");
    send(scene.home.supervisor(), Signal::KILL);
    let incident = scene.home.incident();
    assert!(running.ends_within(PATIENCE), "nothing is left to wait for");
    let done = running.finished(PATIENCE);
    assert!([1, 3].contains(&done.code), "{done}");
    let shown = scene.home.show_json(&incident);
    assert_eq!(step(&shown, "work")["state"], "unknown", "{shown:#}");
    scene.open_gate();
    let resumed = scene.home.resume(&[incident.as_str(), "--continue"]);
    assert_ne!(
        resumed.done.code, 0,
        "what is unknown is for a person to decide"
    );
    let resumed = scene
        .home
        .resume(&[incident.as_str(), "--continue", "--retry", "work"]);
    assert_eq!(attempts(&resumed.exits(0).summary, "work").len(), 2);
}
