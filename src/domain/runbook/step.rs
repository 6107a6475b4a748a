//! A step: one action or one check, and all that surrounds it.

use super::{
    check::Check,
    reader::{Map, Name, Reader},
};
use crate::domain::{finding::Pos, template, yaml::Node};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Danger {
    None,
    Change,
    Destroy,
}

impl Danger {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Change => "change",
            Self::Destroy => "destroy",
        }
    }
}

/// A script, its interpreter and its surroundings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    pub text: String,
    #[serde(skip)]
    pub at: Pos,
    /// The interpreter and its arguments; bash without it.
    pub shell: Option<Vec<String>>,
    pub tty: bool,
    pub workdir: Option<String>,
    pub env: Vec<(Name, String)>,
}

#[derive(Clone, Debug)]
pub struct Include {
    pub at: Pos,
    pub of: Name,
    pub path: Option<Name>,
    pub steps: Vec<Name>,
}

/// What a step does. Closed.
#[derive(Clone, Debug)]
pub enum Action {
    Run(Script),
    Kubernetes(serde_json::Value),
    Check(Check),
    Manual(String),
    Include(Include),
}

impl Action {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Kubernetes(_) => "kubernetes",
            Self::Check(_) => "check",
            Self::Manual(_) => "manual",
            Self::Include(_) => "include",
        }
    }
}

#[derive(Clone, Debug)]
pub enum Undo {
    Run(Script),
    Kubernetes(serde_json::Value),
}

/// How a captured value is cut out of what a step printed or saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capture {
    LastLine,
    All,
    Regex(String),
    Json(String),
    Object { object: String, json: String },
    Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopLadder {
    pub int: Duration,
    pub term: Duration,
}

impl Default for StopLadder {
    fn default() -> Self {
        Self {
            int: Duration::from_secs(10),
            term: Duration::from_secs(30),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Step {
    pub at: Pos,
    pub id: Name,
    pub title: String,
    pub phase: Option<Name>,
    pub budget: Option<Duration>,
    pub why: Option<String>,
    pub expect: Option<String>,
    /// `None`: the step above.
    pub after: Option<Vec<Name>>,
    pub action: Action,
    pub verify: Vec<Check>,
    pub unless: Option<Check>,
    pub danger: Danger,
    pub confirm: Option<String>,
    pub undo: Option<Undo>,
    pub capture: Vec<(Name, Capture)>,
    /// The store whose recovery point the captured moment is.
    pub measures: Option<Name>,
    pub replaces: Vec<Name>,
    pub set: Vec<(Name, String)>,
    pub fences: bool,
    pub preserves: bool,
    pub progress: Option<Check>,
    pub every: Option<Duration>,
    pub remote: bool,
    pub timeout: Option<Duration>,
    pub stop: StopLadder,
    pub attempts: u32,
    pub uses: Vec<Name>,
    pub recovers: Vec<Name>,
}

impl Step {
    pub fn read_list(r: &mut Reader, node: Option<&Node>) -> Vec<Self> {
        let Some(node) = node else { return Vec::new() };
        let mut steps: Vec<Self> = Vec::new();
        for item in r.list(node, "a list of steps") {
            let Some(step) = Self::read(r, item) else {
                continue;
            };
            if let Some(other) = steps
                .iter()
                .find(|s| s.id == step.id && !step.id.text.is_empty())
            {
                let first = other.at.line;
                r.error(
                    "duplicate-id",
                    step.id.at,
                    format!("the step `{}` stands here a second time", step.id),
                    &format!("the first is on line {first}; ids are unique in their list"),
                );
            }
            steps.push(step);
        }
        steps
    }

    fn read(r: &mut Reader, node: &Node) -> Option<Self> {
        let mut map = r.map(node, "a step")?;
        let action = read_action(r, &mut map);
        let is_look = matches!(action, Some(Action::Check(_) | Action::Manual(_)));
        let danger_words = [
            ("none", Danger::None),
            ("change", Danger::Change),
            ("destroy", Danger::Destroy),
        ];
        let danger = map.word(r, "danger", &danger_words).unwrap_or(if is_look {
            Danger::None
        } else {
            Danger::Change
        });
        let attempts_node = map.get("attempts");
        let attempts = map.integer(r, "attempts").unwrap_or(1);
        let capture = map.get("capture").map(|n| read_captures(r, n));
        let measures = map.get("measures").and_then(|n| {
            let mut inner = r.map(n, "`measures`")?;
            let store = inner.required(r, "rpo").and_then(|n| r.name(n, "rpo"));
            inner.done(r);
            store
        });
        let fences = map.get("fences").is_some_and(|n| match n.scalar() {
            Some("false") => false,
            Some("true") => true,
            _ => !r.names(n, "fences").is_empty(),
        });
        let step = Self {
            at: node.at,
            id: map.id(r, "id"),
            title: map.required_text(r, "title"),
            phase: map.get("phase").and_then(|n| r.name(n, "phase")),
            budget: map.duration(r, "budget"),
            why: map.prose(r, "why"),
            expect: map.prose(r, "expect"),
            after: map.get("after").map(|n| r.names(n, "after")),
            verify: Check::read_list(r, map.get("verify")),
            unless: map.get("unless").and_then(|n| Check::read(r, n)),
            danger,
            confirm: map.prose(r, "confirm"),
            undo: map.get("undo").and_then(|n| read_undo(r, n)),
            capture: capture.unwrap_or_default(),
            measures,
            replaces: map.names(r, "replaces"),
            set: map.pairs_of(r, "set"),
            fences,
            preserves: map.boolean(r, "preserves"),
            progress: map.get("progress").and_then(|n| Check::read(r, n)),
            every: map.duration(r, "every"),
            remote: map.boolean(r, "remote"),
            timeout: map.duration(r, "timeout"),
            stop: map.get("stop").map(|n| read_stop(r, n)).unwrap_or_default(),
            attempts: u32::try_from(attempts).unwrap_or(1).clamp(1, 1000),
            uses: map.names(r, "uses"),
            recovers: map.names(r, "recovers"),
            action: action.unwrap_or(Action::Manual(String::new())),
        };
        map.done(r);
        step.findings(r, attempts_node.map(|n| n.at), attempts);
        Some(step)
    }

    /// What is wrong with a step by itself.
    fn findings(&self, r: &mut Reader, attempts_at: Option<Pos>, attempts: i64) {
        if self.danger == Danger::Destroy && self.confirm.is_none() {
            r.error(
                "no-confirm",
                self.at,
                format!(
                    "`{}` destroys something but does not say what to type",
                    self.id
                ),
                "add `confirm: the name of what is destroyed`",
            );
        }
        if self.remote && self.verify.is_empty() {
            r.error(
                "remote-without-verify",
                self.at,
                format!(
                    "the work of `{}` goes on elsewhere, and nothing looks at it",
                    self.id
                ),
                "add a `verify:` with a `within:`: it decides the outcome",
            );
        }
        let is_action = matches!(self.action, Action::Run(_) | Action::Kubernetes(_));
        if let Some(at) = attempts_at {
            if !(1..=1000).contains(&attempts) {
                r.error(
                    "wrong-type",
                    at,
                    "`attempts` is a number from 1 to 1000",
                    "",
                );
            } else if attempts > 1 && self.danger == Danger::Destroy {
                r.error(
                    "wrong-type",
                    at,
                    "what destroys something is never repeated by itself",
                    "remove `attempts`",
                );
            } else if attempts > 1 && is_action && self.unless.is_none() {
                r.error(
                    "wrong-type",
                    at,
                    "an action may only be repeated when it can see that it is already done",
                    "add `unless: { a check }`",
                );
            }
        }
        if self.measures.is_some() && self.capture.is_empty() {
            r.error(
                "missing-key",
                self.at,
                format!("`{}` measures a moment but captures none", self.id),
                "add `capture: { recovered_to: seen }`",
            );
        }
        if !self.set.is_empty() && self.replaces.is_empty() {
            r.error(
                "missing-key",
                self.at,
                format!(
                    "`{}` sets values but does not say which system moves",
                    self.id
                ),
                "add `replaces: [system]`",
            );
        }
    }

    pub fn script(&self) -> Option<&Script> {
        match &self.action {
            Action::Run(script) => Some(script),
            Action::Kubernetes(_) | Action::Check(_) | Action::Manual(_) | Action::Include(_) => {
                None
            }
        }
    }

    pub fn is_manual(&self) -> bool {
        matches!(self.action, Action::Manual(_))
    }

    /// Every check of the step, wherever it stands.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        let own = match &self.action {
            Action::Check(check) => Some(check),
            Action::Run(_) | Action::Kubernetes(_) | Action::Manual(_) | Action::Include(_) => None,
        };
        own.into_iter()
            .chain(&self.verify)
            .chain(self.unless.iter())
            .chain(self.progress.iter())
    }

    /// The systems that a step names.
    pub fn systems(&self) -> Vec<&Name> {
        let mut all: Vec<&Name> = Vec::new();
        for name in self
            .checks()
            .filter_map(Check::system)
            .chain(&self.replaces)
            .chain(&self.recovers)
        {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    /// Every text that may hold `${…}`, with whether a secret may stand there.
    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all: Vec<(&str, bool)> = self.checks().flat_map(Check::templates).collect();
        all.extend(self.own_templates());
        all
    }

    /// The same without those of its checks.
    pub fn own_templates(&self) -> Vec<(&str, bool)> {
        let mut all: Vec<(&str, bool)> = Vec::new();
        for script in self.scripts() {
            all.extend(script.env.iter().map(|(_, v)| (v.as_str(), true)));
            all.extend(script.workdir.as_deref().map(|w| (w, false)));
        }
        all.extend(self.confirm.as_deref().map(|c| (c, false)));
        all.extend(self.set.iter().map(|(_, v)| (v.as_str(), false)));
        all
    }

    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        let undo = match &self.undo {
            Some(Undo::Run(script)) => Some(script),
            Some(Undo::Kubernetes(_)) | None => None,
        };
        self.script().into_iter().chain(undo)
    }
}

fn read_action(r: &mut Reader, map: &mut Map<'_>) -> Option<Action> {
    let kinds = ["run", "kubernetes", "check", "manual", "include"];
    let here: Vec<&str> = kinds.into_iter().filter(|k| map.has(k)).collect();
    let shell = map.get("shell").map(|n| read_shell(r, n));
    let (tty, workdir, env) = (
        map.boolean(r, "tty"),
        map.text(r, "workdir"),
        map.pairs_of(r, "env"),
    );
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
        [_] => {}
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
            Some(Action::Run(script(text, n.at)))
        }
        [_, Some(n), ..] => {
            r.map(n, "a native action")?;
            Some(Action::Kubernetes(n.to_json()))
        }
        [_, _, Some(n), ..] => Check::read(r, n).map(Action::Check),
        [_, _, _, Some(n), _] => {
            let text = r.text(n, "manual")?;
            Some(Action::Manual(
                crate::domain::text::Clean::new(text.trim_end()).into_string(),
            ))
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

fn read_shell(r: &mut Reader, node: &Node) -> Vec<String> {
    match node.scalar() {
        Some(text) => text.split_whitespace().map(str::to_owned).collect(),
        None => r.texts(node, "shell"),
    }
}

fn read_undo(r: &mut Reader, node: &Node) -> Option<Undo> {
    if node.scalar().is_some() {
        let text = r.text(node, "undo")?;
        return Some(Undo::Run(Script {
            text,
            at: node.at,
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

fn read_stop(r: &mut Reader, node: &Node) -> StopLadder {
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

fn read_captures(r: &mut Reader, node: &Node) -> Vec<(Name, Capture)> {
    let Some(map) = r.map(node, "`capture`") else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (key, value) in map.pairs {
        let name = Name {
            text: key.text.clone(),
            at: key.at,
        };
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
