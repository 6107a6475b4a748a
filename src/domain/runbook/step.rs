//! A step: one action or one check, and all that surrounds it.

mod reading;

use super::{
    check::Check,
    reader::{Name, Reader},
};
use crate::domain::{finding::Pos, yaml::Node};
use reading::{read_action, read_captures, read_stop, read_undo};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, time::Duration};

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

impl Script {
    /// The shell that reads it: `bash`, `sh` and their like. `None` for another interpreter.
    pub fn shell_name(&self) -> Option<&str> {
        let Some(words) = &self.shell else {
            return Some("bash");
        };
        let mut names = words.iter().map(|w| w.rsplit('/').next().unwrap_or(w));
        let mut name = names.next()?;
        if name == "env" {
            name = names.find(|w| !w.starts_with('-') && !w.contains('='))?;
        }
        let shells = ["bash", "sh", "dash", "ash", "ksh", "mksh", "zsh"];
        shells.contains(&name).then_some(name)
    }
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
    /// Where the text of a manual step begins.
    pub text_at: Pos,
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
        let mut lines: HashMap<String, usize> = HashMap::new();
        for item in r.list(node, "a list of steps") {
            let Some(step) = Self::read(r, item) else {
                continue;
            };
            if let Some(first) = lines.get(&step.id.text) {
                r.error(
                    "duplicate-id",
                    step.id.at,
                    format!("the step `{}` stands here a second time", step.id),
                    &format!("the first is on line {first}; ids are unique in their list"),
                );
            } else if !step.id.text.is_empty() {
                lines.insert(step.id.text.clone(), step.at.line);
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
        if let (Some(at), Some(Action::Manual(_) | Action::Include(_))) =
            (map.place_of("capture"), &action)
        {
            r.error(
                "wrong-type",
                at,
                "there is nothing to capture from: no output, and nothing that is seen",
                "capture it in a step of its own, with `run` or `check`",
            );
        }
        for key in ["confirm", "set"] {
            if let Some(node) = map.get(key) {
                r.no_placeholder(node);
            }
        }
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
        let text_at = map.get("manual").map_or(node.at, Node::text_at);
        let step = Self {
            at: node.at,
            text_at,
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
        let confirm = self.confirm.as_deref().unwrap_or_default();
        if self.danger == Danger::Destroy && confirm.trim().is_empty() {
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
        for words in self.natives() {
            // Where a secret may not stand was said when they were read.
            super::kinds::kubernetes::texts(words, true, &mut all);
        }
        all
    }

    /// Those that stand in no check and in no native action.
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

    /// The words of its native action, or of the one that takes it back.
    pub fn native(&self, undo: bool) -> Option<&serde_json::Value> {
        if undo {
            return match &self.undo {
                Some(Undo::Kubernetes(words)) => Some(words),
                Some(Undo::Run(_)) | None => None,
            };
        }
        match &self.action {
            Action::Kubernetes(words) => Some(words),
            Action::Run(_) | Action::Check(_) | Action::Manual(_) | Action::Include(_) => None,
        }
    }

    /// The words of both.
    pub fn natives(&self) -> impl Iterator<Item = &serde_json::Value> {
        self.native(false).into_iter().chain(self.native(true))
    }

    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        let undo = match &self.undo {
            Some(Undo::Run(script)) => Some(script),
            Some(Undo::Kubernetes(_)) | None => None,
        };
        self.script().into_iter().chain(undo)
    }
}
