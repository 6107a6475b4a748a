//! Drills through the cockpit, by keys, from what is broken to what runs again.

use super::*;
use crate::{
    harness::{pause, pty::Terminal, until},
    panel::{asset, panel, words},
};
use rustix::process::Signal;
use std::fmt;

/// Keys that act are dropped for a moment after the screen has changed.
const MOMENT: Duration = Duration::from_millis(450);

/// How long a screen may take.
const SCREEN: Duration = Duration::from_secs(90);

/// How long a step may take.
const STEP: Duration = Duration::from_secs(300);

/// A person who goes the good way of a scenario by keys.
struct Hands<'t> {
    drill: &'t Drill,
    terminal: &'t Terminal,
    scenario: &'t Scenario,
    runbook: &'t Value,
    /// What a person would find out in the sandbox.
    facts: BTreeMap<String, String>,
}

/// What a move says beside the steps that are run.
#[derive(Default)]
struct Said {
    values: BTreeMap<String, String>,
    skips: Vec<(String, String)>,
    again: Vec<String>,
}

impl Said {
    /// The value that a screen asks for, if it does.
    fn value(&self, screen: &str) -> Option<&str> {
        screen.contains("type: ").then(|| {
            let mut named = self.values.iter();
            let found = named.find(|(name, _)| screen.contains(&format!("╭ {name} ")));
            &**found.unwrap_or_else(|| panic!("a value\n{screen}")).1
        })
    }

    /// Why a step that is open is skipped.
    fn skips(&self, step: &Value) -> Option<&str> {
        let open = ["pending", "failed"].contains(&step["state"].as_str().unwrap());
        let named = self.skips.iter().find(|(name, _)| is_named(step, name));
        Some(&*named.filter(|_| open)?.1)
    }

    /// Has a step failed that is now left out?
    fn gives_up(&self, step: &Value) -> bool {
        step["state"] == "failed" && self.skips(step).is_some()
    }

    fn take(&mut self, words: &[String]) {
        self.again.clear();
        for pair in words.windows(2) {
            let parts = || {
                let (name, rest) = pair[1].split_once('=').unwrap();
                (name.to_owned(), rest.to_owned())
            };
            match pair[0].as_str() {
                "--set" => drop(self.values.insert(parts().0, parts().1)),
                "--skip" => self.skips.push(parts()),
                "--retry" => self.again.push(pair[1].clone()),
                _ => {}
            }
        }
    }
}

/// What is waited for, in words that are found only when it did not come: a screen as it is then.
struct Lazily<F: Fn() -> String>(F);

impl<F: Fn() -> String> fmt::Display for Lazily<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.0)())
    }
}

/// Is this the step that a move names, by all of its name or by its end?
fn is_named(step: &Value, name: &str) -> bool {
    let full = step["name"].as_str().unwrap();
    full == name || full.ends_with(&format!("/{name}"))
}

/// How a step stands, and how often it was tried.
fn standing(step: &Value) -> (String, usize) {
    let attempts = step["attempts"].as_array().unwrap().len();
    (step["state"].as_str().unwrap().to_owned(), attempts)
}

/// How many targets wait for a person.
fn moved(shown: &Value) -> usize {
    let all = shown["identities"].as_array().unwrap();
    all.iter().filter(|i| !i["proposed"].is_null()).count()
}

fn position(of: &Value, key: &str, wanted: &str) -> usize {
    let all = of.as_array().unwrap();
    let at = all.iter().position(|one| one[key] == wanted);
    at.unwrap_or_else(|| panic!("{key} {wanted:?} among {of:#}"))
}

impl Hands<'_> {
    fn sees(&self, expression: &str) -> String {
        let screen = self.terminal.wait_for_text(expression, SCREEN);
        pause(MOMENT);
        screen
    }

    fn send(&self, keys: &str) {
        self.terminal.send(keys);
        pause(MOMENT);
    }

    /// The row of a list that is so far below the first one.
    fn choose(&self, row: usize) {
        self.send(&"j".repeat(row));
        self.terminal.send("\r");
    }

    /// Severity, moment, every question of the tree, what is affected, and which way.
    fn triage(&self) {
        let screen = self.sees("How bad is it");
        assert!(screen.contains("DRILL (simulated)"), "{screen}");
        assert!(
            !screen.contains(&self.scenario.title),
            "what is broken is not told:\n{screen}"
        );
        self.sees("told ");
        self.choose(position(
            &self.runbook["severities"],
            "id",
            &self.scenario.severity,
        ));
        self.sees("Since when");
        self.terminal.send(&format!("{}\r", self.facts["damaged"]));

        let mut here = &self.runbook["triage"];
        for answer in &self.scenario.answers {
            self.sees(here["ask"].as_str().unwrap());
            let row = position(&here["choices"], "answer", answer);
            self.choose(row);
            here = &here["choices"][row];
        }
        let ways: Vec<(&str, &str)> = self
            .scenario
            .go
            .iter()
            .map(|go| go.split_once('/').unwrap_or((go, "")))
            .collect();
        if let Some(pick) = here["pick"].as_array() {
            self.sees("Which are affected");
            for name in pick {
                if ways.iter().any(|(of, _)| name == of) {
                    self.send(" ");
                }
                self.send("j");
            }
            self.terminal.send("\r");
        }
        let planned = here["pick"].as_array().or(here["go"].as_array()).unwrap();
        for name in planned {
            let way = ways.iter().find(|(of, way)| name == of && !way.is_empty());
            let Some((of, way)) = way else { continue };
            let all = &self.runbook["procedures"];
            let procedure = &all[position(all, "id", of)];
            self.sees(&format!(
                "Which way for .*{}",
                regex::escape(procedure["title"].as_str().unwrap())
            ));
            self.choose(position(&procedure["paths"], "id", way));
        }
        self.sees("╭ Ready");
        self.terminal.send("c");
        self.sees("╭ Checklist");
    }

    /// Gives other values than those that are held, on the screen Ready?.
    fn correct(&self, said: &Said) {
        let shown = self.shown();
        let held = |name: &str| {
            let all = shown["variables"].as_array().unwrap();
            let one = all.iter().find(|v| v["name"] == name)?;
            one["value"].as_str().map(ToOwned::to_owned)
        };
        for (name, value) in &said.values {
            let Some(before) = held(name).filter(|before| before != value) else {
                continue;
            };
            self.terminal.send("y");
            self.sees("╭ Ready");
            self.send("g");
            until(
                SCREEN,
                Lazily(|| format!("the row of {name}\n{}", self.terminal)),
                || {
                    let here = self.terminal.chosen().contains(&format!(" {name} "));
                    if !here {
                        self.send("j");
                    }
                    here
                },
            );
            self.send("\r");
            self.sees(&format!("╭ {name} "));
            self.send(&"\u{7f}".repeat(before.chars().count()));
            self.send(&format!("{value}\r"));
            let given = || {
                let shown = self.shown();
                let all = shown["variables"].as_array().unwrap();
                all.iter()
                    .any(|v| v["name"] == **name && v["value"] == **value)
            };
            until(SCREEN, format!("{name} is {value}"), given);
            self.send("\u{1b}");
            self.sees("╭ Checklist");
        }
    }

    /// Goes to a step in the checklist.
    fn go_to(&self, step: &Value) {
        let number = step["number"].as_u64().unwrap();
        let down = usize::try_from(number).unwrap() - 1;
        self.terminal.send(&format!("g{}", "j".repeat(down)));
        self.sees(&format!("╭ {number} · "));
    }

    fn shown(&self) -> Value {
        self.drill.home.show_json(&self.drill.home.incident())
    }

    /// How a step stands, and how often it was tried.
    fn state(&self, name: &str) -> (String, usize) {
        let shown = self.shown();
        let mut steps = shown["steps"].as_array().unwrap().iter();
        standing(steps.find(|s| s["name"] == name).unwrap())
    }

    fn skip(&self, step: &Value, reason: &str) {
        self.go_to(step);
        self.terminal.send("S");
        self.sees("Why is it skipped");
        self.send(&format!("{reason}\r"));
        let name = step["name"].as_str().unwrap();
        until(SCREEN, format!("{name} is skipped"), || {
            self.state(name).0 == "skipped"
        });
    }

    /// Confirms every target that waits for a person.
    fn confirm_targets(&self, shown: &Value) {
        let mut left = moved(shown);
        while left > 0 {
            // The step before has just ended, and keys that act are dropped for a moment.
            pause(MOMENT);
            self.send("i");
            self.sees("(?s)Is this the right.*Enter confirms it");
            self.send("\r");
            until(SCREEN, "a target is confirmed", || {
                let now = moved(&self.shown());
                std::mem::replace(&mut left, now) > now
            });
        }
    }

    /// Arms a step, says what it asks for, starts it, and waits for how it ended.
    fn run(&self, step: &Value, said: &Said) -> String {
        let name = step["name"].as_str().unwrap();
        self.go_to(step);
        let (was, before) = standing(step);
        self.terminal.send("r");
        loop {
            let asked = self.sees("Enter starts it|Enter accepts it|type: ");
            match said.value(&asked) {
                Some(value) => self.send(&format!("{value}\r")),
                None if asked.contains("to confirm what is destroyed") => {
                    self.send("\u{1b}[6~");
                    let all = words(&asked);
                    let typed = all
                        .split_once(" to confirm what is destroyed")
                        .and_then(|(head, _)| head.rsplit_once("Type "))
                        .map_or("", |(_, typed)| typed);
                    self.send(&format!("{typed}\r"));
                    break;
                }
                None if asked.contains("What did you see") => {
                    self.terminal.send("it is as it should be\r");
                    break;
                }
                None if asked.contains("Enter accepts it") => self.send("it is needed again\r"),
                None => {
                    self.terminal.send("\r");
                    break;
                }
            }
        }
        let mut ended = String::new();
        let what = Lazily(|| format!("the end of {name} ({before} before)\n{}", self.terminal));
        until(STEP, what, || {
            let (state, attempts) = self.state(name);
            let screen = self.terminal.screen();
            // What is done already is offered as such, and Enter takes it.
            if attempts == before && screen.contains("already done") {
                pause(MOMENT);
                self.terminal.send("\r");
            }
            // It is not done already: only now it is said what running needs.
            if let (true, Some(value)) = (attempts == before, said.value(&screen)) {
                pause(MOMENT);
                self.send(&format!("{value}\r"));
                self.sees("Enter starts it");
                self.terminal.send("\r");
            }
            ended.clone_from(&state);
            (attempts > before || state != was) && !["pending", "running"].contains(&&*state)
        });
        ended
    }

    /// One move: what is done again, then everything that is open, up to where it is meant to fail.
    fn goes(&self, one: &Move, said: &Said) {
        self.correct(said);
        let mut again = said.again.iter();
        loop {
            let shown = self.shown();
            let mut steps = shown["steps"].as_array().unwrap().iter();
            let next = match again.next() {
                Some(name) => steps.find(|s| is_named(s, name)),
                None => steps.find(|s| s["state"] == "pending" || said.gives_up(s)),
            };
            self.confirm_targets(&shown);
            let Some(step) = next else { break };
            // In a drill the procedures that only production needs are left out, as they say themselves.
            let procedure = step["name"].as_str().unwrap().split('/').next().unwrap();
            if procedure == "archiving" {
                self.skip(step, "this is a drill");
                continue;
            }
            if let Some(reason) = said.skips(step) {
                self.skip(step, reason);
                continue;
            }
            let ended = self.run(step, said);
            let expected = one.fails.as_ref().filter(|e| is_named(step, &e.step));
            let Some(expected) = expected else {
                // What was done already is skipped, with what was seen.
                assert!(
                    ["succeeded", "unverified", "skipped"].contains(&&*ended),
                    "{}: {ended}\n{}",
                    step["name"],
                    self.terminal
                );
                continue;
            };
            assert_eq!(ended, "failed", "{}\n{}", step["name"], self.terminal);
            let screen = self.sees("Likely cause of");
            let told = words(&panel(&screen));
            assert!(
                told.contains(&format!("▸ 1 {}", expected.cause)),
                "{}\n{screen}",
                expected.cause
            );
            self.send("\u{1b}");
            return;
        }
        assert!(one.fails.is_none(), "{:?} did not fail", one.fails);
    }
}

/// A drill that is up in a terminal of its own.
struct Up {
    drill: Drill,
    terminal: Terminal,
    scenario: Scenario,
    runbook: Value,
    facts: BTreeMap<String, String>,
}

impl Up {
    fn new(id: &str) -> Self {
        let drill = Drill::new();
        let words = ["drill", "--scenario", id, "--seed", "21"];
        let terminal = drill.home.terminal(&words, 120, 40);
        let scenario = shipped(id);
        terminal.wait_for_text("How bad is it", SCREEN);
        let (_, state) = drill.sandbox();
        Self {
            runbook: asset(&format!("{}.yaml", scenario.runbook)),
            facts: serde_json::from_value(state["facts"].clone()).unwrap(),
            scenario,
            terminal,
            drill,
        }
    }

    fn person(&self) -> Hands<'_> {
        Hands {
            drill: &self.drill,
            terminal: &self.terminal,
            scenario: &self.scenario,
            runbook: &self.runbook,
            facts: self.facts.clone(),
        }
    }
}

/// A drill in a terminal: from triage to *recovered*, and what is told afterwards.
#[track_caller]
fn by_keys(id: &str) {
    let up = Up::new(id);
    let person = up.person();
    let mut said = Said::default();
    let mut planned = false;
    for one in &up.scenario.way {
        if !one.by_hand.is_empty() {
            up.drill.by_hand(one, &up.facts);
            continue;
        }
        said.take(&Move::words(words_of(one), &up.facts));
        if !planned {
            person.triage();
            planned = true;
        }
        person.goes(one, &said);
    }
    is_told(up);
}

/// The platform has recovered: the cockpit is left, the debrief stands on the normal screen, nothing is left.
#[track_caller]
fn is_told(up: Up) {
    up.person().sees("(?i)recovered");
    let Up {
        drill,
        mut terminal,
        scenario,
        ..
    } = up;
    let incident = drill.home.incident();
    let shown = || drill.home.show_json(&incident);
    let what = Lazily(|| format!("recovery\n{terminal}\n{:#}", shown()));
    until(Duration::from_secs(60), what, || {
        shown()["state"] == "recovered"
    });
    // Esc leads back to the checklist, q out of it and home, and q at home ends the cockpit.
    for _ in 0..6 {
        pause(MOMENT);
        terminal.send("q");
    }
    terminal.wait(SCREEN);
    let screen = terminal.screen();
    assert!(
        screen.contains(&scenario.title.chars().take(30).collect::<String>()),
        "{screen}"
    );
    let told: Value = serde_json::from_str(&drill.home.export(&incident, "json")).unwrap();
    assert_eq!(told["debrief"]["plan_right"], true);
    let answers = told["debrief"]["answers"].as_array().unwrap();
    assert!(
        !answers.is_empty() && answers.iter().all(|a| a["right"] != false),
        "{answers:#?}"
    );
    drill.nothing_is_left();
}

#[test]
fn a_damaged_redis_is_recovered_by_keys_and_the_debrief_stands_on_the_normal_screen() {
    by_keys("redis-lost");
}

#[test]
fn a_drill_goes_on_when_its_cockpit_was_killed_while_a_step_ran() {
    let mut up = Up::new("redis-lost");
    let one = &up.scenario.way[0];
    let mut said = Said::default();
    said.take(&Move::words(words_of(one), &up.facts));
    let person = up.person();
    person.triage();
    person.go_to(&up.drill.steps()[0]);
    person.send("r");
    person.sees("Enter starts it");
    up.terminal.send("\r");
    let begun = || {
        !up.drill.steps()[0]["attempts"]
            .as_array()
            .unwrap()
            .is_empty()
    };
    until(SCREEN, "an attempt", begun);
    let works = |pid: &u32| process::arguments(*pid).iter().any(|word| word == "open");
    let cockpits: Vec<u32> = process::controllers(&up.drill.home.state())
        .into_iter()
        .filter(works)
        .collect();
    assert_eq!(cockpits.len(), 1, "{cockpits:?}");
    process::send(cockpits[0], Signal::KILL);
    let incident = up.drill.home.incident();
    // The sandbox stays, and the one command that goes on is said.
    up.terminal.wait(SCREEN);
    // What it printed last may still be on its way through the terminal.
    let terminal = &up.terminal;
    until(SCREEN, "the way back", || {
        terminal.screen().contains("blackstart resume")
    });
    let screen = up.terminal.screen();
    // The killed cockpit could not give the terminal back; the drill does.
    assert_eq!(up.terminal.modes(), (false, false), "{screen}");

    // Home leads back into the sandbox, too.
    up.terminal = up.drill.home.terminal::<&str>(&[], 120, 40);
    let person = up.person();
    person.sees(&incident[..15]);
    up.terminal.send("\r");
    person.sees("Checklist");
    person.goes(one, &said);
    let first = &up.drill.steps()[0];
    assert_eq!(first["attempts"].as_array().unwrap().len(), 1, "{first:#}");
    is_told(up);
}

#[test]
fn a_lost_volume_is_recovered_by_keys() {
    by_keys("volume-lost");
}

#[test]
fn a_rotated_master_key_is_recovered_by_keys() {
    by_keys("ampora-key-rotated");
}

/// All others, which `make torture` goes through.
mod long {
    use super::by_keys;

    macro_rules! keys {
        ($($name:ident: $id:literal),* $(,)?) => {
            $(#[test] fn $name() { by_keys($id); })*

            #[test]
            fn every_shipped_scenario_is_gone_through() {
                let mut tested = vec!["redis-lost", "volume-lost", "ampora-key-rotated", $($id),*];
                let mut all: Vec<&str> = super::SHIPPED.iter().map(|(id, _)| *id).collect();
                tested.sort_unstable();
                all.sort_unstable();
                assert_eq!(all, tested);
            }
        };
    }

    keys! {
        postgres_migration: "postgres-migration",
        postgres_gone: "postgres-gone",
        dump_truncated: "dump-truncated",
        redis_shadowed: "redis-shadowed",
        claim_held: "claim-held",
        several_lost: "several-lost",
        cluster_lost: "cluster-lost",
        cluster_unsaved: "cluster-unsaved",
        ampora_site_lost: "ampora-site-lost",
        ampora_agents_authority: "ampora-agents-authority",
        ampora_swept: "ampora-swept",
        ampora_federation: "ampora-federation",
    }
}
