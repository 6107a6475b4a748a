//! For authors: the page of a runbook, its JSON Schema, the plan on paper, runbook tests.

use super::{
    Exit, Failure,
    load::{Found, render_all},
    say, say_json,
};
use crate::{
    domain::{runbook::schema, text::Clean, trial::Trials},
    export::page::page,
};
use serde_json::json;
use std::path::Path;

/// The tests of the runbooks that come along.
const SHIPPED_TESTS: [(&str, &[u8]); 2] = [
    (
        "arbitex",
        include_bytes!("../../assets/runbooks/arbitex.test.yaml"),
    ),
    (
        "ampora",
        include_bytes!("../../assets/runbooks/ampora.test.yaml"),
    ),
];

/// The Markdown page, on stdout.
pub(super) fn render(name: &str) -> Result<Exit, Failure> {
    let found = Found::read(name)?;
    let runbook = found.runbook()?;
    super::print(&page(&runbook));
    Ok(Exit::Done)
}

/// The JSON Schema of runbooks or of sites, on stdout.
pub(super) fn schema(of: &str) -> Result<Exit, Failure> {
    let schema = match of {
        "runbook" => schema::runbook(),
        "site" => schema::site(),
        _ => {
            return Err(Failure::usage(
                format!("there is no schema of `{}`", Clean::line(of)),
                "blackstart schema, or blackstart schema site",
            ));
        }
    };
    say_json(&schema);
    Ok(Exit::Done)
}

/// Runbook tests: `FILE.test.yaml`, or the runbook beside which it stands.
pub(super) fn test(name: &str, as_json: bool) -> Result<Exit, Failure> {
    let (shown, bytes) = tests_of(name)?;
    let trials = Trials::read(&bytes).map_err(|findings| {
        let source = String::from_utf8_lossy(&bytes);
        Failure::usage(
            format!("{shown}:\n\n{}", render_all(&findings, &shown, &source)),
            "mend the tests",
        )
    })?;
    // A file is named from where the tests stand.
    let folder = Path::new(&shown).parent();
    let beside = |name: &str| folder.map(|f| f.join(name)).filter(|p| p.is_file());
    let of_id = || beside(&format!("{}.yaml", trials.runbook));
    let runbook = match beside(&trials.runbook).or_else(of_id) {
        Some(path) => path.to_string_lossy().into_owned(),
        None => trials.runbook.clone(),
    };
    let runbook = Found::read(&runbook)?.runbook()?;
    let judged = trials.run(&runbook);
    let failed = judged.iter().filter(|j| !j.failures.is_empty()).count();
    if as_json {
        let tests: Vec<_> = judged
            .iter()
            .map(|j| json!({"name": j.name, "line": j.line, "passed": j.failures.is_empty(), "failures": j.failures}))
            .collect();
        say_json(&json!({"runbook": runbook.id, "tests": tests, "failed": failed}));
    } else {
        for one in &judged {
            let mark = if one.failures.is_empty() {
                "ok  "
            } else {
                "FAIL"
            };
            let at = if one.line > 0 {
                format!("  ({shown}:{})", one.line)
            } else {
                String::new()
            };
            let at = if one.failures.is_empty() {
                String::new()
            } else {
                at
            };
            say(Clean::new(&format!("{mark}  {}{at}", one.name)).as_str());
            for why in &one.failures {
                say(Clean::new(&format!("        {why}")).as_str());
            }
        }
        say(&format!("{} tests, {failed} failed", judged.len()));
    }
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The tests that are meant, and what they are called.
fn tests_of(name: &str) -> Result<(String, Vec<u8>), Failure> {
    let is_name = !name.contains('/') && !Path::new(name).exists();
    if let Some((id, bytes)) = SHIPPED_TESTS.iter().find(|(id, _)| is_name && *id == name) {
        return Ok((format!("{id}.test.yaml"), bytes.to_vec()));
    }
    let path = Path::new(name);
    let of_runbook = !name.ends_with(".test.yaml") && !name.ends_with(".test.yml");
    let path = match (of_runbook, path.file_stem().and_then(|s| s.to_str())) {
        (true, Some(stem)) => path.with_file_name(format!("{stem}.test.yaml")),
        _ => path.to_owned(),
    };
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(|e| {
        Failure::usage(
            format!("{shown}: {e}"),
            "the tests of x.yaml are in x.test.yaml beside it; shipped: blackstart test arbitex",
        )
    })?;
    Ok((shown, bytes))
}
