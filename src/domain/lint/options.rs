//! Options that a tool does not have: by a table of what its help prints, or by the help of the
//! installed tool itself.

use super::{
    Found,
    view::{self, View},
};
use crate::domain::{
    finding::{Finding, Pos, Severity, did_you_mean, nearest},
    runbook::{Runbook, scripts::commands::Call},
};
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

/// See the head of the file.
const TABLE: &str = include_str!("../../../assets/tools/options.txt");

struct Table {
    /// Tool and subcommand to its long options.
    options: BTreeMap<(&'static str, Vec<&'static str>), BTreeSet<&'static str>>,
    groups: BTreeMap<(&'static str, Vec<&'static str>), BTreeSet<&'static str>>,
    /// Options that only a plugin gives, and which.
    plugins: BTreeMap<(&'static str, &'static str), &'static str>,
}

static KNOWN: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table {
        options: BTreeMap::new(),
        groups: BTreeMap::new(),
        plugins: BTreeMap::new(),
    };
    for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
        let Some(sign) = line.find([':', '/']) else {
            continue;
        };
        let (command, rest) = (&line[..sign], &line[sign + 1..]);
        let mut words = command.split_whitespace();
        let Some(tool) = words.next() else { continue };
        let words: Vec<&str> = words.collect();
        if words == ["plugins"] {
            for (option, plugin) in rest.split_whitespace().filter_map(|w| w.split_once('=')) {
                table.plugins.insert((tool, option), plugin);
            }
        } else if line.as_bytes().get(sign) == Some(&b'/') {
            table
                .groups
                .insert((tool, words), rest.split_whitespace().collect());
        } else {
            table
                .options
                .insert((tool, words), rest.split_whitespace().collect());
        }
    }
    table
});

pub(super) fn find(view: &View<'_>, found: &mut Found) {
    for call in &view.calls {
        plugins(view, call, found);
        moment(view, call, found);
        let words = plain_words(call);
        for ((tool, group), members) in &KNOWN.groups {
            if *tool != call.name || !words.starts_with(group) {
                continue;
            }
            let longer = KNOWN
                .groups
                .keys()
                .any(|(t, g)| t == tool && g.len() > group.len() && words.starts_with(g));
            if let Some(next) = words.get(group.len())
                && !longer
                && !next.contains('$')
                && !members.contains(next)
            {
                let help = match nearest(next, members.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!(
                        "there are: {}",
                        members.iter().copied().collect::<Vec<_>>().join(", ")
                    ),
                };
                found.call(
                    "unknown-option",
                    view,
                    call.at,
                    format!("`{tool} {}` has no `{next}`", group.join(" ")),
                    &help,
                );
            }
        }
        let best = KNOWN
            .options
            .iter()
            .filter(|((tool, command), _)| {
                let here =
                    command.is_empty() || words.windows(command.len()).any(|w| w == *command);
                *tool == call.name && here
            })
            .max_by_key(|((_, command), _)| command.len());
        let Some(((tool, command), options)) = best else {
            continue;
        };
        let everywhere = KNOWN.options.get(&(*tool, vec!["*"]));
        let mut known: BTreeSet<&str> = options.clone();
        known.extend(everywhere.into_iter().flatten());
        for (option, at) in long_options(call) {
            if !is_known(&option, &known) {
                found.call(
                    "unknown-option",
                    view,
                    at,
                    format!("`{}` has no option `{option}`", named(tool, command)),
                    &suggestion(&option, &known),
                );
            }
        }
    }
}

fn named(tool: &str, command: &[&str]) -> String {
    [&[tool], command].concat().join(" ")
}

/// The nearest by spelling, or one that shares a word: `--target-time` is near `--target`.
fn suggestion(option: &str, known: &BTreeSet<&str>) -> String {
    if let Some(near) = nearest(option, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let parts: BTreeSet<&str> = option.split('-').filter(|p| p.len() > 3).collect();
    let shared = |k: &str| k.split('-').filter(|p| parts.contains(p)).count();
    let mut near: Vec<&str> = known.iter().copied().filter(|k| shared(k) > 0).collect();
    near.sort_by_key(|k| (std::cmp::Reverse(shared(k)), k.len()));
    near.truncate(4);
    match near[..] {
        [] => "see its --help".to_owned(),
        _ => did_you_mean(near[0], near.iter().copied()),
    }
}

fn is_known(option: &str, known: &BTreeSet<&str>) -> bool {
    static NUMBERED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^--(?:no-|reset-)?((?:repo|pg)\d*-?|)").expect("a constant"));
    if known.contains(option) || option == "--help" || option == "--version" {
        return true;
    }
    // pgBackRest: `--repo1-path` is `--repo-path`, `--no-delta` is `--delta`.
    let bare = option
        .trim_start_matches("--no-")
        .trim_start_matches("--reset-")
        .trim_start_matches("--");
    if known.contains(format!("--{bare}").as_str()) {
        return true;
    }
    let numbered = NUMBERED.captures(option).is_some_and(|c| !c[1].is_empty());
    numbered && known.iter().any(|k| k.starts_with("--repo"))
}

/// The subcommand: words before the first option that are no values.
fn plain_words(call: &Call) -> Vec<&str> {
    let takes = [
        "--stanza",
        "--config",
        "--subscription",
        "--output",
        "-o",
        "--query",
        "-n",
        "--namespace",
        "--context",
        "--kubeconfig",
        "--region",
        "--profile",
        "--log-level-console",
        "--repo",
    ];
    call.subcommand(&takes)
}

/// `--name`, without its value, and where; nothing behind a bare `--`.
fn long_options(call: &Call) -> Vec<(String, usize)> {
    let own = call.args.iter().take_while(|w| w.text != "--");
    let options = own.filter(|w| w.text.starts_with("--") && w.text.len() > 2);
    options
        .map(|w| {
            (
                w.text.split('=').next().unwrap_or_default().to_owned(),
                w.at,
            )
        })
        .filter(|(name, _)| {
            name[2..]
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
        .collect()
}

fn plugins(view: &View<'_>, call: &Call, found: &mut Found) {
    let module = call.value(&["-m"]).map(|w| w.text.as_str());
    let tool = match call.name.as_str() {
        "pytest" | "py.test" => "pytest",
        "python" | "python3" if module == Some("pytest") => "pytest",
        _ => return,
    };
    for (option, at) in long_options(call) {
        if let Some(plugin) = KNOWN.plugins.get(&(tool, option.as_str())) {
            found.call(
                "unknown-option",
                view,
                at,
                format!("`{option}` is an option of the plugin {plugin}; without it {tool} ends with 4 and has tested nothing"),
                &format!("put {plugin} into the image, or use `timeout 5m` and leave it out"),
            );
        }
    }
}

/// `--target="… UTC"`: pgBackRest takes an offset, and no name of a zone.
fn moment(view: &View<'_>, call: &Call, found: &mut Found) {
    static NAMED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(?:UTC|GMT|CET|Z)$").expect("a constant")
    });
    if call.name != "pgbackrest" || !call.args.iter().any(|w| w.text == "restore") {
        return;
    }
    let wrong = call
        .value(&["--target"])
        .filter(|w| NAMED.is_match(w.text.trim_end_matches(['"', '\''])));
    if let Some(word) = wrong {
        found.call(
            "unknown-option",
            view,
            word.at,
            "pgBackRest does not know this zone, and cannot choose a backup for the moment",
            "write the offset: `--target=\"2026-03-10 14:30:00+00\"`, `$TARGET_SQL` of a timestamp variable",
        );
    }
}

/// What a call asks of a tool, for `lint --tools`.
#[derive(Clone, Debug)]
pub struct Asked {
    pub tool: String,
    pub command: Vec<String>,
    pub options: Vec<(String, Pos)>,
    pub place: String,
}

/// Every call of a tool that is known to print its help and do nothing else.
pub fn asked(runbook: &Runbook) -> Vec<Asked> {
    const TOOLS: [&str; 17] = [
        "az",
        "aws",
        "kubectl",
        "helm",
        "psql",
        "pg_dump",
        "pg_dumpall",
        "pg_restore",
        "pg_isready",
        "createdb",
        "pgbackrest",
        "redis-cli",
        "curl",
        "jq",
        "gzip",
        "gunzip",
        "alembic",
    ];
    let mut out = Vec::new();
    for view in view::all(runbook) {
        for call in &view.calls {
            if call.elsewhere || !TOOLS.contains(&call.name.as_str()) {
                continue;
            }
            let options: Vec<(String, Pos)> = long_options(call)
                .into_iter()
                .map(|(name, byte)| (name, view.at(byte)))
                .collect();
            if !options.is_empty() {
                out.push(Asked {
                    tool: call.name.clone(),
                    command: plain_words(call).into_iter().map(str::to_owned).collect(),
                    options,
                    place: view.place.clone(),
                });
            }
        }
    }
    out
}

/// The options that stand nowhere in what the tool's help prints.
pub fn unknown_in(asked: &Asked, help: &str) -> Vec<Finding> {
    static LONG: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"--(?:\[no-\])?[A-Za-z][A-Za-z0-9-]+").expect("a constant"));
    let known: BTreeSet<String> = LONG
        .find_iter(help)
        .map(|m| m.as_str().replace("[no-]", ""))
        .collect();
    if known.is_empty() {
        return Vec::new();
    }
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let unknown = asked
        .options
        .iter()
        .filter(|(option, _)| !is_known(option, &known));
    unknown
        .map(|(option, at)| {
            let finding = Finding::error(
                "unknown-option",
                *at,
                format!("the installed `{}` has no option `{option}`", asked.tool),
            );
            Finding {
                severity: Severity::Warning,
                place: asked.place.clone(),
                ..finding.help(suggestion(option, &known))
            }
        })
        .collect()
}
