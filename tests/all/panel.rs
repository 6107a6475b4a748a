//! What somebody sees whose step has failed: the panel of likely causes, in a real terminal, for every output that
//! the tests of the shipped runbooks know.

use crate::harness::{PATIENCE, bin::Blackstart, loops};
use blackstart::domain::yaml;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path};

/// One output of a tool, and what it means.
struct Sample {
    name: String,
    step: String,
    exit: i64,
    output: String,
    row: String,
    /// It has to stand first; else it has to be among the causes.
    first: bool,
}

/// A shipped runbook, or its tests.
pub(crate) fn asset(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("assets/runbooks")
        .join(name);
    yaml::read(&fs::read(path).unwrap()).unwrap().to_json()
}

fn samples(runbook: &str) -> Vec<Sample> {
    let all = asset(&format!("{runbook}.test.yaml"));
    let of = |one: &Value| {
        let expected = &one["expect"];
        let row = expected["cause"]
            .as_str()
            .or(expected["causes"][0].as_str())?;
        Some(Sample {
            name: one["name"].as_str()?.to_owned(),
            step: one["step"].as_str()?.rsplit('/').next()?.to_owned(),
            exit: one["exit"]
                .as_i64()
                .or_else(|| one["exit"].as_str()?.parse().ok())?,
            output: one["output"].as_str()?.to_owned(),
            row: row.to_owned(),
            first: expected["cause"].is_string(),
        })
    };
    all["tests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(of)
        .collect()
}

/// The failure rows of a runbook, without what they name outside of themselves.
fn rows(runbook: &Value, steps: &BTreeSet<&str>) -> Vec<Value> {
    let mut out = Vec::new();
    for row in runbook["failures"].as_array().unwrap() {
        let text = row.to_string().replace("${", "{");
        let mut row: Value = serde_json::from_str(&text).unwrap();
        let row_keys = row.as_object_mut().unwrap();
        row_keys.remove("go");
        row_keys.remove("probe");
        let Some(matches) = row_keys.get_mut("match").and_then(Value::as_object_mut) else {
            continue;
        };
        let named = match matches.get("step") {
            Some(Value::Array(all)) => all.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        };
        if !named.is_empty() {
            let id = |name: &Value| {
                name.as_str()
                    .unwrap()
                    .rsplit('/')
                    .next()
                    .unwrap()
                    .to_owned()
            };
            let known: Vec<String> = named
                .iter()
                .map(id)
                .filter(|n| steps.contains(n.as_str()))
                .collect();
            if known.is_empty() {
                continue;
            }
            matches.insert("step".to_owned(), json!(known));
        }
        out.push(row);
    }
    out
}

/// A runbook with one procedure for every sample, whose one step prints it and ends as the tool did; it never
/// recovers, whatever the step says.
fn failing(home: &Blackstart, runbook: &Value, samples: &[Sample]) -> String {
    let steps = samples.iter().map(|s| s.step.as_str()).collect();
    let procedures: Vec<Value> = samples
        .iter()
        .enumerate()
        .map(|(i, sample)| {
            home.write(&format!("output-{i}"), &sample.output);
            json!({ "id": format!("p{i}"), "title": "Fails", "steps": [
                { "id": sample.step, "title": "Fails", "danger": "none",
                  "run": format!("cat output-{i}\nexit {}\n", sample.exit) } ] })
        })
        .collect();
    let whole = json!({ "blackstart": runbook["blackstart"], "id": "rows", "title": "Rows",
        "procedures": procedures, "recovered": { "when": [{ "command": ["false"] }] }, "failures": rows(runbook, &steps) });
    home.write("rows.yaml", serde_json::to_vec_pretty(&whole).unwrap())
}

/// Words of a screen, however it breaks its lines.
pub(crate) fn words(screen: &str) -> String {
    let plain = screen.replace(['│', '╭', '╮', '╰', '╯', '─'], " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands in the panel, without what shows on either side of it.
pub(crate) fn panel(screen: &str) -> String {
    let lines: Vec<Vec<char>> = screen.lines().map(|l| l.chars().collect()).collect();
    let title: Vec<char> = "╭ Likely cause of".chars().collect();
    let found = lines.iter().enumerate().find_map(|(row, line)| {
        let from = line.windows(title.len()).position(|w| w == title)?;
        let to = line.iter().skip(from).position(|c| *c == '╮')?;
        Some((row, from, from + to))
    });
    let (row, from, to) = found.unwrap_or_else(|| panic!("a panel\n{screen}"));
    let inner = lines.iter().skip(row + 1).map(|line| {
        let cells = line.iter().skip(from).take(to - from + 1);
        cells.collect::<String>()
    });
    let inner: Vec<String> = inner.take_while(|line| !line.starts_with('╰')).collect();
    inner.join("\n")
}

/// What the panel says first of the failed step of that number; and the whole screen.
pub(crate) fn first_cause(home: &Blackstart, incident: &str, number: usize) -> (String, String) {
    // A plan that was changed does not have its numbers in order.
    let shown = home.show_json(incident);
    let mut steps = shown["steps"].as_array().unwrap().iter();
    let down = steps.position(|s| s["number"] == number).unwrap();
    let mut terminal = home.terminal(&["resume", incident], 120, 40);
    terminal.wait_for_text("T timeline|Enter log", PATIENCE);
    terminal.send("g");
    terminal.send(&"j".repeat(down));
    terminal.wait_for_text(&format!(r"\b{number} · "), PATIENCE);
    terminal.send("L");
    let screen = terminal.wait_for_text("(?s)Likely cause of.*source  ", PATIENCE);
    terminal.send("\u{3}");
    terminal.wait(PATIENCE);
    let panel = words(&panel(&screen));
    let first = panel.split_once("▸ 1 ").map_or("", |(_, first)| first);
    (first.to_owned(), screen)
}

/// As much of a cause as a panel is compared with.
fn beginning(cause: &str) -> String {
    words(cause).chars().take(60).collect()
}

/// Does a panel begin with this cause? Of a long one its beginning counts.
pub(crate) fn begins(panel: &str, cause: &str) -> bool {
    panel.starts_with(&beginning(cause))
}

/// Every sample, or every so many of them: its cause stands in the panel, and first where the sample says so.
#[track_caller]
fn named_by_the_panel(name: &str) {
    let runbook = asset(&format!("{name}.yaml"));
    let samples = samples(name);
    let home = Blackstart::new();
    let file = failing(&home, &runbook, &samples);
    let row = |id: &str| {
        let mut all = runbook["failures"].as_array().unwrap().iter();
        all.find(|r| r["id"] == id)
            .unwrap_or_else(|| panic!("{id}"))
    };
    let mut wrong = Vec::new();
    for (i, sample) in samples.iter().enumerate().step_by(loops(9, 1)) {
        let run = home.run(&[&file, "--trust", "--go", &format!("p{i}")]);
        let incident = run.exits(1).incident();
        let (first, screen) = first_cause(&home, &incident, 1);
        let cause = row(&sample.row)["cause"].as_str().unwrap();
        let cause = cause.replace("${", "{");
        let among = !sample.first && first.contains(&beginning(&cause));
        if !among && !begins(&first, &cause) {
            wrong.push(format!("{}\n{screen}", sample.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        samples.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn the_panel_names_the_causes_of_the_arbitex_runbook() {
    named_by_the_panel("arbitex");
}

#[test]
fn the_panel_names_the_causes_of_the_ampora_runbook() {
    named_by_the_panel("ampora");
}

#[test]
fn every_row_of_the_runbooks_that_reads_output_has_a_sample() {
    for name in ["arbitex", "ampora"] {
        let tested: BTreeSet<String> = asset(&format!("{name}.test.yaml"))["tests"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|t| {
                let expected = &t["expect"];
                let several = expected["causes"].as_array().into_iter().flatten();
                several
                    .chain(expected.get("cause"))
                    .filter_map(Value::as_str)
                    .map(ToOwned::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect();
        let runbook = asset(&format!("{name}.yaml"));
        let rows = runbook["failures"].as_array().unwrap();
        let untested: Vec<&str> = rows
            .iter()
            .filter(|r| r["match"].get("output").is_some())
            .filter_map(|r| r["id"].as_str())
            .filter(|id| !tested.contains(*id))
            .collect();
        assert_eq!(untested, Vec::<&str>::new(), "{name}");
    }
}
