//! Reading what a step does and what surrounds it.

use super::{Action, Capture, Include, Script, StopLadder, Undo};
use crate::domain::{
    finding::Pos,
    native::Native,
    runbook::{
        check::Check,
        reader::{Later, Map, Name, Reader},
        scripts::is_secret_name,
        system::SystemKind,
    },
    template,
    text::Clean,
    yaml::{Node, Value},
};
use regex::Regex;

pub(super) fn read_action(r: &mut Reader, map: &mut Map<'_>) -> Option<Action> {
    let kinds = ["run", "kubernetes", "check", "manual", "include"];
    let here: Vec<&str> = kinds.into_iter().filter(|k| map.has(k)).collect();
    let shell = map.get("shell").map(|n| read_shell(r, n));
    let (tty, workdir, env) = (
        map.boolean(r, "tty"),
        map.text(r, "workdir"),
        map.pairs_of(r, "env"),
    );
    for key in ["env", "workdir"] {
        if let Some(node) = map.get(key) {
            r.no_placeholder(node);
        }
    }
    let script = |text: String, at: Pos| Script {
        text,
        at,
        shell,
        tty,
        workdir,
        env,
    };
    let nodes = [
        map.get("run"),
        map.get("kubernetes"),
        map.get("check"),
        map.get("manual"),
        map.get("include"),
    ];
    match here[..] {
        [] => {
            r.error(
                "missing-key",
                map.at,
                "a step does one thing: `run`, `kubernetes`, `check`, `manual` or `include`",
                "add one of them",
            );
            return None;
        }
        ["run"] => {}
        [kind] => {
            for key in ["shell", "tty", "workdir", "env"] {
                if let Some(at) = map.place_of(key) {
                    r.error(
                        "unknown-key",
                        at,
                        format!("`{key}` belongs to `run`, and this is `{kind}`"),
                        "remove it, or make a `run` of it",
                    );
                }
            }
        }
        [first, second, ..] => {
            r.error(
                "two-actions",
                map.at,
                format!("this step has both `{first}` and `{second}`"),
                "make two steps of it; what must hold afterwards is `verify`",
            );
            return None;
        }
    }
    match nodes {
        [Some(n), ..] => {
            let text = r.text(n, "run")?;
            Some(Action::Run(script(text, n.text_at())))
        }
        [_, Some(n), ..] => {
            read_native(r, n)?;
            Some(Action::Kubernetes(n.to_json()))
        }
        [_, _, Some(n), ..] => Check::read(r, n).map(Action::Check),
        [_, _, _, Some(n), _] => {
            let text = r.text(n, "manual")?;
            Some(Action::Manual(Clean::new(text.trim_end()).into_string()))
        }
        [_, _, _, _, Some(n)] => {
            let mut inner = r.map(n, "`include`")?;
            let include = Include {
                at: n.at,
                of: inner.required(r, "of").and_then(|n| r.name(n, "of"))?,
                path: inner.get("path").and_then(|n| r.name(n, "path")),
                steps: inner.names(r, "steps"),
            };
            inner.done(r);
            Some(Action::Include(include))
        }
        [None, None, None, None, None] => {
            r.error(
                "wrong-type",
                map.at,
                format!("`{}` is empty", here[0]),
                "say what the step does",
            );
            None
        }
    }
}

/// What a native action does. Closed.
const VERBS: [&str; 13] = [
    "scale",
    "restart",
    "set_env",
    "set_image",
    "patch",
    "secret",
    "apply",
    "delete",
    "exec",
    "copy",
    "job",
    "wait",
    "namespace",
];
/// What else it may say.
const DETAILS: [&str; 24] = [
    "replicas",
    "env",
    "image",
    "images",
    "container",
    "containers",
    "merge",
    "json",
    "strategic",
    "data",
    "string_data",
    "type",
    "labels",
    "annotations",
    "command",
    "from",
    "to",
    "name",
    "for",
    "timeout",
    "force",
    "grace",
    "selector",
    "values",
];

/// The names in a native action, for when all of them are known.
fn read_native(r: &mut Reader, node: &Node) -> Option<()> {
    let mut map = r.map(node, "a native action")?;
    if let Some(system) = map.required(r, "system")
        && let Some(name) = r.name(system, "system")
    {
        r.remember(Later::System(name, SystemKind::Kubernetes));
    }
    if let Err(fault) = Native::read(&node.to_json()) {
        r.error(fault.code, node.at, fault.what, fault.help);
    }
    for key in VERBS.into_iter().chain(DETAILS) {
        let Some(value) = map.get(key) else { continue };
        let secret_ok = matches!(key, "data" | "string_data" | "env");
        r.remember_texts(value, secret_ok);
        r.no_placeholder(value);
        if secret_ok {
            secrets_in_text(r, value);
        }
    }
    map.done(r);
    Some(())
}

/// `data: { password: hunter2 }`
fn secrets_in_text(r: &mut Reader, node: &Node) {
    let Value::Mapping(pairs) = &node.value else {
        return;
    };
    for (key, value) in pairs {
        let text = value.scalar().unwrap_or_default();
        if is_secret_name(&key.text) && !text.is_empty() && !text.contains("${") {
            let shown = Clean::line(&key.text);
            r.error(
                "secret-in-text",
                key.at,
                format!("`{shown}` holds a secret in the clear"),
                "declare a variable of `type: secret` and write `${name}` here",
            );
        }
    }
}

fn read_shell(r: &mut Reader, node: &Node) -> Vec<String> {
    match node.scalar() {
        Some(text) => text.split_whitespace().map(str::to_owned).collect(),
        None => r.texts(node, "shell"),
    }
}

pub(super) fn read_undo(r: &mut Reader, node: &Node) -> Option<Undo> {
    if node.scalar().is_some() {
        let text = r.text(node, "undo")?;
        return Some(Undo::Run(Script {
            text,
            at: node.text_at(),
            shell: None,
            tty: false,
            workdir: None,
            env: Vec::new(),
        }));
    }
    let mut map = r.map(node, "`undo`")?;
    let action = read_action(r, &mut map);
    map.done(r);
    match action? {
        Action::Run(script) => Some(Undo::Run(script)),
        Action::Kubernetes(words) => Some(Undo::Kubernetes(words)),
        Action::Check(_) | Action::Manual(_) | Action::Include(_) => {
            r.wrong_type(node, "`undo` is a script or a native action");
            None
        }
    }
}

pub(super) fn read_stop(r: &mut Reader, node: &Node) -> StopLadder {
    let default = StopLadder::default();
    let Some(mut map) = r.map(node, "`stop`") else {
        return default;
    };
    let ladder = StopLadder {
        int: map.duration(r, "int").unwrap_or(default.int),
        term: map.duration(r, "term").unwrap_or(default.term),
    };
    map.done(r);
    ladder
}

pub(super) fn read_captures(r: &mut Reader, node: &Node) -> Vec<(Name, Capture)> {
    let Some(map) = r.map(node, "`capture`") else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (key, value) in map.pairs {
        let name = Name {
            text: key.text.clone(),
            at: key.at,
        };
        let begins = name.text.starts_with(|c: char| c.is_ascii_lowercase());
        let goes_on = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !begins || !name.text.chars().all(goes_on) {
            let lower = name.text.to_ascii_lowercase().replace('-', "_");
            r.error(
                "wrong-type",
                name.at,
                format!(
                    "`{}` cannot be the name of a variable",
                    Clean::line(&name.text)
                ),
                &format!(
                    "small letters, digits and underscores: `{}`",
                    Clean::line(&lower)
                ),
            );
        }
        if let Some(capture) = read_capture(r, value) {
            out.push((name, capture));
        }
    }
    out
}

fn read_capture(r: &mut Reader, node: &Node) -> Option<Capture> {
    match node.scalar() {
        Some("last-line") => return Some(Capture::LastLine),
        Some("all") => return Some(Capture::All),
        Some("seen") => return Some(Capture::Seen),
        Some(other) => {
            r.error(
                "wrong-type",
                node.at,
                format!("`{other}` is not a way to capture"),
                "last-line, all, seen, { regex: \"(…)\" } or { json: /pointer }",
            );
            return None;
        }
        None => {}
    }
    let mut map = r.map(node, "a capture")?;
    let object = map.text(r, "object");
    let json = map.text(r, "json");
    if let (Some(text), Some(node)) = (&json, map.get("json"))
        && !text.is_empty()
        && !text.starts_with('/')
        && !text.starts_with("${")
    {
        r.error(
            "wrong-type",
            node.at,
            format!("`{text}` is not a JSON pointer"),
            &format!("did you mean `/{}`?", text.replace('.', "/")),
        );
    }
    let regex_node = map.get("regex");
    let regex = regex_node.and_then(|n| r.text(n, "regex"));
    map.done(r);
    if let (Some(text), Some(node)) = (&regex, regex_node) {
        match Regex::new(&template::with_samples(text)) {
            Ok(regex) if regex.captures_len() < 2 => r.error(
                "bad-regex",
                node.at,
                "the expression has no group to capture",
                "put what is wanted into parentheses",
            ),
            Ok(_) => {}
            Err(_) => r.error(
                "bad-regex",
                node.at,
                format!("`{text}` is not a regular expression"),
                "",
            ),
        }
    }
    match (regex, object, json) {
        (Some(regex), None, None) => Some(Capture::Regex(regex)),
        (None, None, Some(json)) => Some(Capture::Json(json)),
        (None, Some(object), Some(json)) => Some(Capture::Object { object, json }),
        _ => {
            r.wrong_type(node, "a capture is { regex }, { json } or { object, json }");
            None
        }
    }
}
