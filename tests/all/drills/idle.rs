//! What a check is worth: beside every action that a drill passes stands a copy of it that does nothing, and
//! something of the runbook has to turn red for it.

use super::*;
use crate::panel::asset;
use std::collections::BTreeSet;

/// How the copies are called.
const IDLE: &str = "-idle";

/// Actions that change nothing in a scenario because it is so already: doing nothing is as good.
const NEEDLESS: [(&str, &str); 4] = [
    // The procedure of the volume has stopped it.
    ("several-lost", "secure/stop-writers"),
    // The namespace stands with the site, or was made with the environment.
    ("", "master-key/namespace"),
    // The key was never another one: written and read again it is the same.
    ("ampora-federation", "master-key/inject"),
    ("ampora-federation", "master-key/key-read"),
];

/// The keys that make a step an action.
const ACTIONS: [&str; 2] = ["run", "kubernetes"];

/// Calls it with every list of steps.
fn each_list(procedure: &mut Value, with: &mut impl FnMut(&mut Vec<Value>)) {
    for key in ["steps", "then"] {
        if let Some(steps) = procedure.get_mut(key).and_then(Value::as_array_mut) {
            with(steps);
        }
    }
    for path in procedure
        .get_mut("paths")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        each_list(path, with);
    }
}

fn is_action(step: &Value) -> bool {
    ACTIONS.iter().any(|key| step.get(*key).is_some())
}

/// The copy of an action that does nothing, and waits no longer than that needs.
fn idle(step: &Value) -> Value {
    let id = step["id"].as_str().unwrap();
    let mut copy = serde_json::json!({
        "id": format!("{id}{IDLE}"), "title": "Do nothing", "run": "true", "danger": "none",
    });
    for kept in [
        "after", "phase", "budget", "verify", "capture", "unless", "remote",
    ] {
        if let Some(value) = step.get(kept) {
            copy[kept] = value.clone();
        }
    }
    for check in copy
        .get_mut("verify")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if check.get("within").is_some() {
            check["within"] = "3s".into();
            check["every"] = "1s".into();
        }
    }
    copy
}

/// Before every action its copy.
fn with_idle_copies(runbook: &mut Value) {
    let mut actions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for procedure in runbook["procedures"].as_array_mut().unwrap() {
        let of = procedure["id"].as_str().unwrap().to_owned();
        each_list(procedure, &mut |steps| {
            let copied = std::mem::take(steps).into_iter().flat_map(|step| {
                if !is_action(&step) {
                    return vec![step];
                }
                let id = step["id"].as_str().unwrap().to_owned();
                actions.entry(of.clone()).or_default().insert(id);
                vec![idle(&step), step]
            });
            *steps = copied.collect();
        });
    }
    for procedure in runbook["procedures"].as_array_mut().unwrap() {
        each_list(procedure, &mut |steps| {
            for include in steps.iter_mut().filter_map(|s| s.get_mut("include")) {
                let of = include["of"].as_str().unwrap().to_owned();
                let Some(names) = include.get_mut("steps").and_then(Value::as_array_mut) else {
                    continue;
                };
                let named = std::mem::take(names).into_iter().flat_map(|name| {
                    let id = name.as_str().unwrap().to_owned();
                    match actions.get(&of).is_some_and(|all| all.contains(&id)) {
                        true => vec![format!("{id}{IDLE}").into(), name],
                        false => vec![name],
                    }
                });
                *names = named.collect();
            }
        });
    }
}

/// In place of one action, nothing.
fn without(runbook: &mut Value, step: &str) {
    let (procedure, id) = (
        step.split('/').next().unwrap(),
        step.rsplit('/').next().unwrap(),
    );
    let mut found = 0;
    for one in runbook["procedures"].as_array_mut().unwrap() {
        if one["id"] != procedure {
            continue;
        }
        each_list(one, &mut |steps| {
            for step in steps.iter_mut().filter(|s| s["id"] == id) {
                let step = step.as_object_mut().unwrap();
                for key in ACTIONS {
                    step.remove(key);
                }
                step.insert("run".to_owned(), "true".into());
                found += 1;
            }
        });
    }
    assert!(found > 0, "no step is called {step}");
}

/// A sandbox that is up, with nobody in it.
struct Up {
    drill: Drill,
    site: String,
    facts: BTreeMap<String, String>,
    file: String,
}

impl Up {
    fn new(scenario: &Scenario, runbook: &Value) -> Self {
        let drill = Drill::new();
        let seed = [
            "--scenario",
            &scenario.id,
            "--seed",
            "11",
            "--keep",
            "--shell",
            "--",
            "true",
        ];
        drill.run(&seed).exits(0);
        let (folder, state) = drill.sandbox();
        let facts = serde_json::from_value(state["facts"].clone()).unwrap();
        let file = drill.home.write(
            &format!("{}.yaml", scenario.runbook),
            serde_json::to_vec_pretty(runbook).unwrap(),
        );
        Self {
            site: folder.join("site.yaml").display().to_string(),
            facts,
            file,
            drill,
        }
    }

    fn blackstart(&self, words: &[String]) -> Finished {
        let program = env!("CARGO_BIN_EXE_blackstart").to_owned();
        self.drill.inside(&[&[program], words].concat())
    }

    fn begin(&self, one: &Move) -> Finished {
        let words = ["run", &self.file, "--trust", "--site", &self.site];
        let words = words.iter().map(|w| (*w).to_owned());
        self.blackstart(
            &words
                .chain(Move::words(&one.run, &self.facts))
                .collect::<Vec<_>>(),
        )
    }

    fn again(&self, words: Vec<String>) -> Finished {
        let mut all = vec!["resume".to_owned(), "--headless".to_owned()];
        all.push(self.drill.home.incident());
        all.extend(words);
        self.blackstart(&all)
    }

    fn recovered(&self) -> bool {
        self.drill.home.show_json(&self.drill.home.incident())["state"] == "recovered"
    }

    /// The next move of a person who drives the cockpit, once what is done beside it was done.
    fn next<'m>(&self, moves: &mut impl Iterator<Item = &'m Move>) -> Option<&'m Move> {
        for one in moves {
            if one.by_hand.is_empty() {
                return Some(one);
            }
            self.drill.by_hand(one, &self.facts);
        }
        None
    }

    fn log_of(&self, step: &Value) -> String {
        let last = step["attempts"]
            .as_array()
            .and_then(|all| all.last())
            .unwrap();
        let shown = self.drill.home.show_json(&self.drill.home.incident());
        self.drill.home.log(&shown, last)
    }
}

/// What every move allows; given again whenever the way is gone on with.
fn allowed(scenario: &Scenario, facts: &BTreeMap<String, String>) -> Vec<String> {
    let mut out = Vec::new();
    for one in &scenario.way {
        let words = Move::words(words_of(one), facts);
        for pair in words.windows(2) {
            let allows =
                ["--confirm", "--approve", "--accept-identity"].contains(&pair[0].as_str());
            if allows && !out.windows(2).any(|w| w == pair) {
                out.extend_from_slice(pair);
            }
        }
    }
    out
}

/// Goes the good way of a scenario with the copies in it; the copies for which nothing turned red.
fn green(scenario: &Scenario) -> Vec<String> {
    let mut runbook = asset(&format!("{}.yaml", scenario.runbook));
    with_idle_copies(&mut runbook);
    let up = Up::new(scenario, &runbook);
    let allowed = allowed(scenario, &up.facts);
    let mut moves = scenario.way.iter();
    let mut now = up.next(&mut moves);
    let mut done = up.begin(now.unwrap());
    assert!([0, 1, 4].contains(&done.code), "{done}");
    let mut red = 0;
    loop {
        let steps = up.drill.steps();
        // A secret that was only in memory is fetched again, by those whose value is missing now.
        let named = done
            .stderr
            .lines()
            .filter_map(|line| line.split_once(": --retry "));
        let mut fetch: Vec<&str> = named.map(|(_, step)| step.trim()).collect();
        if done.stderr.contains("these values are missing") {
            let again = steps.iter().filter(|s| {
                s["reason"]
                    .as_str()
                    .is_some_and(|r| r.starts_with("fetch again"))
            });
            fetch.extend(again.filter_map(|s| s["name"].as_str()));
        }
        let fetch: Vec<String> = fetch
            .into_iter()
            .flat_map(|step| ["--retry".to_owned(), step.to_owned()])
            .collect();
        let failed = steps
            .iter()
            .find(|s| s["state"] == "failed" || s["state"] == "unknown");
        if failed.is_none() && done.code == 3 && !fetch.is_empty() {
            done = up.again([&["--continue".to_owned()], &fetch[..], &allowed].concat());
            continue;
        }
        let Some(failed) = failed else {
            assert!(up.recovered(), "{} ends well\n{done}", scenario.id);
            break;
        };
        let name = failed["name"].as_str().unwrap();
        if name.ends_with(IDLE) {
            red += 1;
            let skip = [
                "--continue".to_owned(),
                "--skip".to_owned(),
                format!("{name}=it did nothing"),
            ];
            done = up.again([&skip[..], &allowed].concat());
            continue;
        }
        let expected = now.and_then(|m| m.fails.as_ref());
        assert!(
            expected.is_some_and(|e| name.ends_with(&e.step)),
            "{}: {name} failed\n{}\n{done}",
            scenario.id,
            up.log_of(failed)
        );
        now = up.next(&mut moves);
        let words = Move::words(&now.unwrap().resume, &up.facts);
        done = up.again(words);
    }
    assert!(red > 0, "{}", scenario.id);
    let steps = up.drill.steps();
    let green = steps.iter().filter(|s| s["state"] == "succeeded");
    let green = green.filter_map(|s| s["name"].as_str()?.strip_suffix(IDLE));
    green.map(ToOwned::to_owned).collect()
}

/// Is a scenario recovered although this action was left out?
fn recovers_without(scenario: &Scenario, step: &str) -> bool {
    let mut runbook = asset(&format!("{}.yaml", scenario.runbook));
    without(&mut runbook, step);
    let up = Up::new(scenario, &runbook);
    let mut moves = scenario.way.iter();
    while let Some(one) = up.next(&mut moves) {
        let done = match one.run.is_empty() {
            false => up.begin(one),
            true => up.again(Move::words(&one.resume, &up.facts)),
        };
        let steps = up.drill.steps();
        let failed = steps.iter().find(|s| s["state"] == "failed");
        let failed = failed.and_then(|s| s["name"].as_str());
        let planned = one
            .fails
            .as_ref()
            .is_some_and(|e| failed.is_some_and(|f| f.ends_with(&e.step)));
        if !planned && ![0, 4].contains(&done.code) {
            return false;
        }
    }
    up.recovered()
}

/// Goes the good way with the copies in it, and then without each of the first `most` that turned nothing red.
#[track_caller]
fn turns_red(id: &str, most: usize) {
    let scenario = shipped(id);
    let needless = |step: &str| {
        let names = |(of, named): &(&str, &str)| (of.is_empty() || *of == id) && *named == step;
        NEEDLESS.iter().any(names)
    };
    let mut green = green(&scenario);
    green.retain(|step| !needless(step));
    println!("{id}: green without doing anything: {green:?}");
    let unseen: Vec<String> = green
        .into_iter()
        .take(most)
        .filter(|step| recovers_without(&scenario, step))
        .collect();
    assert!(
        unseen.is_empty(),
        "{id}: nothing turns red without:\n{}",
        unseen.join("\n")
    );
}

#[test]
fn an_action_that_does_nothing_turns_a_check_red() {
    turns_red("redis-lost", 1);
}

/// All of it, which `make torture` runs.
mod long {
    use super::turns_red;

    macro_rules! idle {
        ($($name:ident: $id:literal),* $(,)?) => {
            $(#[test] fn $name() { turns_red($id, usize::MAX); })*

            #[test]
            fn every_shipped_scenario_is_gone_through() {
                let tested = [$($id),*];
                let all: Vec<&str> = super::SHIPPED.iter().map(|(id, _)| *id).collect();
                assert_eq!(all, tested);
            }
        };
    }

    idle! {
        postgres_migration: "postgres-migration",
        postgres_gone: "postgres-gone",
        dump_truncated: "dump-truncated",
        redis_lost: "redis-lost",
        redis_shadowed: "redis-shadowed",
        volume_lost: "volume-lost",
        claim_held: "claim-held",
        several_lost: "several-lost",
        cluster_lost: "cluster-lost",
        cluster_unsaved: "cluster-unsaved",
        ampora_site_lost: "ampora-site-lost",
        ampora_key_rotated: "ampora-key-rotated",
        ampora_agents_authority: "ampora-agents-authority",
        ampora_swept: "ampora-swept",
        ampora_federation: "ampora-federation",
    }
}
