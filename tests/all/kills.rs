//! Random kills: what was acknowledged stays, what was done is not done again.

use crate::harness::{
    Chance, PATIENCE,
    bin::{Blackstart, names, of_type},
    fixture, loops,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

/// Random kills of `run` and `resume` on a runbook of twelve steps.
#[test]
fn whatever_is_killed_what_was_acknowledged_stays_and_nothing_runs_twice() {
    let wanted = loops(40, 1000);
    let mut chance = Chance::new(20_260_310);
    let mut killed = 0;
    while killed < wanted {
        killed += Ordeal::new().endure(&mut chance);
    }
}

/// One incident that is brought to its end through kills.
struct Ordeal {
    home: Blackstart,
    run: Vec<String>,
    marks: String,
    /// The entries that were printed: acknowledged.
    acknowledged: Vec<Value>,
    /// How often a person asked for a step to be tried again.
    asked: BTreeMap<String, usize>,
}

impl Ordeal {
    fn new() -> Self {
        let home = Blackstart::new();
        let runbook = home.write("many-steps.yaml", fixture("many-steps.yaml"));
        let marks = home.file("marks");
        let set = format!("marks={marks}");
        let run = [
            "run", &runbook, "--trust", "--go", "all", "--json", "--set", &set,
        ];
        Self {
            run: run.map(str::to_owned).into(),
            home,
            marks,
            acknowledged: Vec::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Kills until it is recovered; returns how often.
    fn endure(mut self, chance: &mut Chance) -> usize {
        let mut killed = 0;
        for _ in 0..300 {
            let args = self.next_arguments();
            let mut running = self.home.spawn(&args);
            let in_time = running.ends_within(chance.millis(250));
            let done = if in_time {
                running.finished(PATIENCE)
            } else {
                killed += 1;
                running.kill9()
            };
            for line in done
                .stdout
                .split_inclusive('\n')
                .filter(|l| l.ends_with('\n'))
            {
                let entry: Value = serde_json::from_str(line).unwrap();
                if entry.get("seq").is_some() {
                    self.acknowledged.push(entry);
                }
            }
            if let Some(incident) = self.nothing_is_lost()
                && self.home.show_json(&incident)["state"] == "recovered"
            {
                self.nothing_ran_unasked(&incident);
                return killed;
            }
        }
        panic!("not recovered after 300 starts");
    }

    /// What a person would do next: begin, or go on, trying again only what is not known.
    fn next_arguments(&mut self) -> Vec<String> {
        let Some(incident) = self.home.list_json().first().cloned() else {
            assert!(
                self.acknowledged.is_empty(),
                "an incident that was acknowledged is gone"
            );
            return self.run.clone();
        };
        let id = incident["id"].as_str().unwrap();
        let mut args: Vec<String> = ["resume", id, "--headless", "--continue", "--json"]
            .map(str::to_owned)
            .into();
        let shown = self.home.show_json(id);
        for step in shown["steps"].as_array().expect("`steps`") {
            let name = step["id"].as_str().unwrap();
            assert_ne!(
                step["state"], "failed",
                "no step of this runbook fails: {step:#}"
            );
            if step["state"] == "unknown" {
                *self.asked.entry(name.to_owned()).or_default() += 1;
                args.extend(["--retry".to_owned(), name.to_owned()]);
            }
        }
        args
    }

    /// The incident, if one was opened: all that was printed stands in its journal.
    fn nothing_is_lost(&self) -> Option<String> {
        let opened = |id: &String| !self.home.journal(id).is_empty();
        let Some(incident) = self.home.incidents().into_iter().find(opened) else {
            assert!(self.acknowledged.is_empty(), "the journal is gone");
            return None;
        };
        let journal = self.home.journal(&incident);
        for entry in &self.acknowledged {
            assert!(journal.contains(entry), "acknowledged, and lost: {entry}");
        }
        self.home.output(&["verify", &incident]).exits(0);
        Some(incident)
    }

    fn nothing_ran_unasked(&self, incident: &str) {
        let journal = self.home.journal(incident);
        let started = of_type(&journal, "attempt-started");
        let marks = fs::read_to_string(&self.marks).unwrap();
        for number in 1..=12 {
            let name = format!("s{number:02}");
            let asked = self.asked.get(&name).copied().unwrap_or_default();
            let starts = started.iter().filter(|e| names(e, &name)).count();
            assert!((1..=1 + asked).contains(&starts), "{name}: {starts} starts");
            let ran = marks.lines().filter(|line| *line == name).count();
            assert!(
                ran <= starts,
                "{name} ran {ran} times, started {starts} times"
            );
            let is_check = matches!(number, 3 | 9);
            assert!(is_check || ran >= 1, "{name} never ran");
        }
    }
}
