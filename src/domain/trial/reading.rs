//! Reading a file of tests.

use super::{Expected, Simulated, Trial, Trials};
use crate::domain::{
    event::Verdict,
    runbook::reader::{Map, Reader},
    text::Clean,
    yaml::Node,
};
use std::collections::BTreeMap;

pub(super) fn read_trials(r: &mut Reader, root: &Node) -> Option<Trials> {
    let mut map = r.map(root, "a file of tests")?;
    let runbook = map.required_text(r, "runbook");
    let nodes = map
        .required(r, "tests")
        .map(|n| r.list(n, "`tests`"))
        .unwrap_or_default();
    let tests = nodes.iter().filter_map(|n| read_trial(r, n)).collect();
    map.done(r);
    Some(Trials { runbook, tests })
}

fn read_trial(r: &mut Reader, node: &Node) -> Option<Trial> {
    let mut map = r.map(node, "a test")?;
    let checks = map
        .get("checks")
        .map(|n| r.list(n, "`checks`"))
        .unwrap_or_default();
    let checks = checks.iter().filter_map(|n| read_simulated(r, n)).collect();
    let systems = map.pairs_of(r, "systems");
    for (name, state) in &systems {
        if !["up", "down", "cannot-tell"].contains(&state.as_str()) {
            let shown = Clean::line(state);
            r.error(
                "wrong-type",
                name.at,
                format!("`{name}` cannot be `{shown}`"),
                "up, down or cannot-tell",
            );
        }
    }
    let trial = Trial {
        at: node.at,
        name: map.required_text(r, "name"),
        systems,
        checks,
        set: map.pairs_of(r, "set"),
        answer: plain(&mut map, r, "answer"),
        pick: plain(&mut map, r, "pick"),
        path: map.pairs_of(r, "path"),
        step: map.text(r, "step"),
        output: map.text(r, "output"),
        exit: map.integer(r, "exit"),
        expect: match map.required(r, "expect") {
            Some(n) => read_expected(r, n).unwrap_or_default(),
            None => Expected::default(),
        },
    };
    map.done(r);
    Some(trial)
}

fn plain(map: &mut Map<'_>, r: &mut Reader, key: &'static str) -> Vec<String> {
    map.names(r, key).into_iter().map(|n| n.text).collect()
}

fn read_simulated(r: &mut Reader, node: &Node) -> Option<Simulated> {
    let mut map = r.map(node, "a simulated check")?;
    let verdicts = [
        ("holds", Verdict::Holds),
        ("does-not-hold", Verdict::DoesNotHold),
        ("cannot-tell", Verdict::CannotTell),
    ];
    let simulated = Simulated {
        of: map.required_text(r, "of"),
        seen: map.text(r, "seen"),
        verdict: map.word(r, "verdict", &verdicts),
    };
    map.done(r);
    if simulated.seen.is_none() == simulated.verdict.is_none() {
        r.error(
            "missing-key",
            node.at,
            "a simulated check has either `seen` or a `verdict`",
            "add `seen: …`",
        );
    }
    Some(simulated)
}

fn read_expected(r: &mut Reader, node: &Node) -> Option<Expected> {
    let mut map = r.map(node, "`expect`")?;
    let listed = |map: &mut Map<'_>, r: &mut Reader, key: &'static str| {
        map.has(key).then(|| plain(map, r, key))
    };
    let expected = Expected {
        supported: listed(&mut map, r, "supported"),
        go: listed(&mut map, r, "go"),
        steps: plain(&mut map, r, "steps"),
        without: plain(&mut map, r, "without"),
        cause: map.text(r, "cause"),
        causes: plain(&mut map, r, "causes"),
        none: map.boolean(r, "none"),
    };
    let asks: BTreeMap<&str, bool> = [
        ("supported", expected.supported.is_some()),
        ("go", expected.go.is_some()),
        ("steps", !expected.steps.is_empty()),
        ("without", !expected.without.is_empty()),
        ("cause", expected.cause.is_some()),
        ("causes", !expected.causes.is_empty()),
        ("none", expected.none),
    ]
    .into();
    map.done(r);
    if !asks.values().any(|asked| *asked) {
        let names: Vec<&str> = asks.into_keys().collect();
        r.error(
            "missing-key",
            node.at,
            "nothing is expected: this test cannot fail",
            &format!("one of {}", names.join(", ")),
        );
    }
    Some(expected)
}
