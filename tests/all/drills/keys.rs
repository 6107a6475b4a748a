//! Drills through the cockpit, by keys, from what is broken to what runs again.

use super::*;
use crate::harness::{pause, pty::Terminal, until};

/// Goes through a drill by keys.
struct Hands<'t> {
    drill: &'t Drill,
    terminal: &'t Terminal,
}

impl Hands<'_> {
    fn sees(&self, expression: &str) -> String {
        let screen = self
            .terminal
            .wait_for_text(expression, Duration::from_secs(90));
        // Keys that act are dropped for a moment after the screen has changed.
        pause(Duration::from_millis(350));
        screen
    }

    /// What the world knows and a person would find out.
    fn fact(&self, name: &str) -> String {
        let (_, state) = self.drill.sandbox();
        state["facts"][name].as_str().unwrap().to_owned()
    }

    /// The step that the cockpit has chosen: armed, given what it asks for, started, waited for.
    fn next(&self, name: &str, number: &Value, typed: &str) {
        self.sees(&format!("{number} · "));
        self.terminal.send("r");
        let mut asked =
            self.sees("Enter starts it|to confirm|What did you see|Enter accepts|type: ");
        if asked.contains("type: ") {
            self.terminal.send(&format!("{}\r", self.fact("before")));
            pause(Duration::from_millis(450));
            self.terminal.send("r");
            asked = self.sees("Enter starts it|to confirm|What did you see|Enter accepts");
        }
        if asked.contains("to confirm") {
            self.terminal.send("\u{1b}[6~");
            pause(Duration::from_millis(450));
            self.terminal.send(typed);
            pause(Duration::from_millis(450));
        }
        if asked.contains("What did you see") {
            self.terminal.send("it is as it should be");
        }
        self.terminal.send("\r");
        let what = format!("the end of {name}\n{}", self.terminal);
        until(Duration::from_secs(120), what, || {
            let steps = self.drill.steps();
            let now = steps.iter().find(|s| s["name"] == name).unwrap();
            let state = now["state"].as_str().unwrap();
            assert!(
                !["failed", "unknown"].contains(&state),
                "{now:#}\n{}",
                self.terminal
            );
            // What is done already is offered as such, and Enter takes it.
            if state == "pending" && self.terminal.screen().contains("already done") {
                pause(Duration::from_millis(400));
                self.terminal.send("\r");
            }
            !["pending", "running"].contains(&state)
        });
    }
}

/// A drill in a terminal: from triage by these keys to *recovered*, and what is told afterwards.
#[track_caller]
fn by_keys(id: &str, set: &[&str], severity: &str, answers: &[&str], typed: &str) {
    let drill = Drill::new();
    let mut words = vec!["drill", "--scenario", id, "--seed", "21"];
    words.extend(set.iter().flat_map(|pair| ["--set", pair]));
    let mut terminal = drill.home.terminal(&words, 120, 40);
    {
        let person = Hands {
            drill: &drill,
            terminal: &terminal,
        };
        let screen = person.sees("How bad is it");
        assert!(screen.contains("DRILL (simulated)"), "{screen}");
        assert!(
            !screen.contains(&shipped(id).title),
            "what is broken is not told:\n{screen}"
        );
        person.sees("told ");
        terminal.send(severity);
        pause(Duration::from_millis(450));
        terminal.send("\r");
        person.sees("Since when");
        terminal.send("20m\r");
        for (question, keys) in answers.iter().map(|a| a.split_once(':').unwrap()) {
            person.sees(question);
            for key in keys.chars() {
                terminal.send(&key.to_string());
                pause(Duration::from_millis(450));
            }
            terminal.send("\r");
        }
        person.sees("Ready");
        terminal.send("c");
        for _ in 0..drill.steps().len() {
            let steps = drill.steps();
            let Some(next) = steps.iter().find(|s| s["state"] == "pending") else {
                break;
            };
            person.next(next["name"].as_str().unwrap(), &next["number"], typed);
        }
        person.sees("(?i)recovered");
    }
    let incident = drill.home.incident();
    until(Duration::from_secs(60), "recovery", || {
        drill.home.show_json(&incident)["state"] == "recovered"
    });
    // Esc leads back to the checklist, q out of it and home, and q at home ends the cockpit.
    for _ in 0..6 {
        pause(Duration::from_millis(450));
        terminal.send("q");
    }
    terminal.wait(Duration::from_secs(90));
    let screen = terminal.screen();
    assert!(
        screen.contains(&shipped(id).title.chars().take(30).collect::<String>()),
        "{screen}"
    );
    let told: Value = serde_json::from_str(&drill.home.export(&incident, "json")).unwrap();
    let answers = told["debrief"]["answers"].as_array().unwrap();
    assert!(
        !answers.is_empty() && answers.iter().all(|a| a["right"] != false),
        "{answers:#?}"
    );
    drill.nothing_is_left();
}

#[test]
fn a_damaged_redis_is_recovered_by_keys_and_the_debrief_stands_on_the_normal_screen() {
    by_keys(
        "redis-lost",
        &[],
        "j",
        &["What is broken:", "Which one:j", "Which way:"],
        "",
    );
}

#[test]
fn a_lost_volume_is_recovered_by_keys() {
    let set = [
        "pvc_name=arbitex-audit-buffer",
        "pvc_user=deployment/arbitex-platform",
        "volume_path=/var/lib/arbitex",
    ];
    by_keys(
        "volume-lost",
        &set,
        "j",
        &["What is broken:", "Which one:jj"],
        "arbitex-audit-buffer",
    );
}

#[test]
fn a_rotated_master_key_is_recovered_by_keys() {
    by_keys(
        "ampora-key-rotated",
        &[],
        "j",
        &["What is lost:j", "Which part:j", "Which way:"],
        "",
    );
}
