//! `blackstart explain`: what the output of a failed command means.

use super::{Exit, Failure, say};
use crate::{
    domain::failures::{
        Evidence, Judged, LookUp,
        library::library,
        rules::RuleSet,
        scan::{Hits, scan},
    },
    domain::text::Clean,
    logs,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    thread,
};

/// After so many blocks a log is a large one.
const MANY: usize = 16;

pub(super) struct Wanted<'a> {
    pub files: &'a [PathBuf],
    pub tool: Option<&'a str>,
    pub exit: Option<i32>,
    pub why: bool,
    pub json: bool,
}

pub(super) fn explain(wanted: &Wanted<'_>) -> Result<Exit, Failure> {
    let rules = library();
    if let Some(tool) = wanted.tool {
        let mut known: Vec<&str> = rules
            .rules()
            .iter()
            .flat_map(|rule| rule.tools.iter().map(String::as_str))
            .collect();
        known.sort_unstable();
        known.dedup();
        if !known.contains(&tool) {
            eprintln!(
                "blackstart: the library has no rows of `{}`; all rows are tried\n  → it knows: {}",
                Clean::line(tool),
                known.join(", ")
            );
        }
    }
    let several = wanted.files.len() > 1;
    let mut any = false;
    let logs: Vec<Option<&Path>> = match wanted.files {
        [] => vec![None],
        files => files.iter().map(|f| Some(f.as_path())).collect(),
    };
    for log in logs {
        let found = read(rules, log.filter(|path| path.as_os_str() != "-"))?;
        let mut look_up = LookUp::new([rules]);
        look_up.found(vec![found]);
        let judged = look_up.judged(&Evidence {
            tool: wanted.tool,
            exit_code: wanted.exit,
            ..Evidence::default()
        });
        any |= !judged.is_empty();
        show(log, &judged, several, wanted);
    }
    Ok(match any {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

fn read(rules: &RuleSet, log: Option<&Path>) -> Result<Hits, Failure> {
    if let Some(path) = log {
        let broken = |e: io::Error| {
            Failure::usage(
                format!("{}: {e}", path.display()),
                "blackstart explain FILE, or COMMAND 2>&1 | blackstart explain",
            )
        };
        return search(rules, File::open(path).map_err(broken)?).map_err(broken);
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage(
            "nothing to explain: standard input is the keyboard",
            "blackstart explain FILE, or COMMAND 2>&1 | blackstart explain",
        ));
    }
    search(rules, stdin).map_err(|e| Failure::new(Exit::Failed, format!("standard input: {e}"), ""))
}

fn show(log: Option<&Path>, judged: &[Judged<'_>], several: bool, wanted: &Wanted<'_>) {
    let name = log.map_or("-".to_owned(), |path| path.display().to_string());
    if wanted.json {
        let causes: Vec<_> = judged.iter().map(|j| as_json(j, wanted.why)).collect();
        let mut value = json!({"causes": causes});
        if several {
            value["file"] = json!(name);
        }
        say(&value.to_string());
        return;
    }
    if several {
        say(&format!("==> {name} <=="));
    }
    if judged.is_empty() {
        say("no row of the failure library matches");
        if wanted.tool.is_none() || wanted.exit.is_none() {
            say("  → with the tool and its exit code more is known: --tool NAME --exit N");
        }
        return;
    }
    let shown: Vec<String> = judged
        .iter()
        .enumerate()
        .map(|(i, j)| as_text(i + 1, j, wanted.why))
        .collect();
    say(shown.join("\n\n").as_str());
}

/// Blocks are searched side by side, and told in their order. At most a few are in memory.
fn search(rules: &RuleSet, from: impl Read + Send) -> io::Result<Hits> {
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(8);
    let (blocks, work) = mpsc::sync_channel::<(usize, Vec<u8>)>(workers);
    let work = Mutex::new(work);
    let (tell, told) = mpsc::sync_channel::<(usize, Hits)>(workers);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (work, tell) = (&work, tell.clone());
            scope.spawn(move || {
                loop {
                    let next = work.lock().ok().and_then(|work| work.recv().ok());
                    let Some((i, block)) = next else { break };
                    if tell.send((i, scan(rules, &block))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        let reading = scope.spawn(move || {
            let mut i = 0;
            logs::blocks(from, |block| {
                // Whoever searches has ended: reading goes on to no avail, and ends by itself.
                let _ = blocks.send((i, block));
                i += 1;
                if i == MANY {
                    rules.hurry();
                }
            })
        });
        let mut all = Hits::default();
        let (mut next, mut early) = (0, BTreeMap::new());
        for (i, hits) in told {
            early.insert(i, hits);
            while let Some(hits) = early.remove(&next) {
                all.merge(hits);
                next += 1;
            }
        }
        let read = reading
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("reading ended")));
        read.map(|()| all)
    })
}

fn as_json(judged: &Judged<'_>, why: bool) -> serde_json::Value {
    let rule = judged.rule;
    let lines: Vec<_> = judged
        .lines
        .iter()
        .map(|(n, text)| json!({"n": n, "text": text}))
        .collect();
    let mut value = json!({
        "cause": judged.cause(),
        "fix": rule.fix,
        "score": (judged.score * 10.0).round() / 10.0,
        "tool": rule.tools.first(),
        "lines": lines,
        "source": rule.source,
        "probe": rule.looks_at(),
        "row": rule.id,
        "sure": rule.sure.as_str(),
    });
    if why {
        let parts: serde_json::Map<String, serde_json::Value> = judged
            .parts
            .iter()
            .map(|(part, score)| ((*part).to_owned(), json!((score * 10.0).round() / 10.0)))
            .collect();
        value["why"] = json!(parts);
    }
    value
}

fn as_text(place: usize, judged: &Judged<'_>, why: bool) -> String {
    let rule = judged.rule;
    let mut out = format!("{place}  {}", judged.cause());
    for (n, text) in &judged.lines {
        let text: String = text.as_str().chars().take(300).collect();
        match n {
            Some(n) => out.push_str(&format!("\n   {n:>6}│ {text}")),
            None => out.push_str(&format!("\n         │ {text}")),
        }
    }
    out.push_str(&format!("\n   fix     {}", rule.fix));
    if let Some(probe) = rule.looks_at() {
        out.push_str(&format!("\n   look    {probe}"));
    }
    let tools = rule.tools.join(", ");
    out.push_str(&format!(
        "\n   row     {} ({tools}; {})",
        rule.id, rule.source
    ));
    if why {
        out.push_str(&format!("\n   score   {:.1}", judged.score));
        for (part, score) in &judged.parts {
            out.push_str(&format!("\n     {score:>6.1}  {part}"));
        }
    }
    out
}
