//! What is broken? One question at a time, the whole tree beside it, and the evidence beside each
//! answer as it comes. The answer that the evidence supports is marked, never chosen.

mod draw;

use super::{
    Ask, News, Screen, Token, Typing, View, Want,
    value::{self, Heard, Value},
};
use crate::{
    domain::{
        decide::Command,
        event::{CheckResult, Verdict},
        plan::{self, Chosen},
        runbook::{Check, Choice, Next, Question},
        template,
    },
    engine::Look,
    tui::{
        keymap::{Action, Place},
        widgets::list::Cursor,
    },
};
use crossterm::event::KeyEvent;
use ratatui::{Frame, layout::Rect};
use std::collections::BTreeSet;

/// Where in the questions we are.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// The question that the answers so far lead to.
    Question(Vec<usize>),
    /// Several procedures may be ticked; they run in this order.
    Ticks {
        names: Vec<String>,
        ticked: Vec<bool>,
    },
    /// A procedure can be done in more than one way: the first of these without a path.
    Paths(Vec<Chosen>),
}

/// What follows once the wish was granted.
enum Then {
    Turn(Stage),
    Plan(Vec<Chosen>),
    Planned,
}

/// Asks what is broken, until a plan follows from the answers.
pub(crate) struct Triage {
    stage: Stage,
    cursor: Cursor,
    /// Stages before this one, each with the row that was chosen there.
    before: Vec<(Stage, usize)>,
    systems: Token,
    probes: Vec<CheckResult>,
    evidence: Vec<Evidence>,
    asked: Option<(Token, Then)>,
    value: Option<Value>,
}

/// What the checks of one answer saw.
struct Evidence {
    answer: Vec<usize>,
    token: Token,
    seen: Vec<CheckResult>,
}

impl Triage {
    pub(crate) fn new(at: &View) -> Self {
        let stage = match &at.runbook.triage {
            Some(_) if at.incident.steps.is_empty() || !at.side => Stage::Question(Vec::new()),
            Some(_) | None => procedures(at),
        };
        Self {
            stage,
            cursor: Cursor::default(),
            before: Vec::new(),
            systems: Token::new(),
            probes: Vec::new(),
            evidence: Vec::new(),
            asked: None,
            value: None,
        }
    }

    /// How many rows there are to choose from.
    fn len(&self, at: &View) -> usize {
        match &self.stage {
            Stage::Question(path) => question(at, path).map_or(0, |q| q.choices.len()),
            Stage::Ticks { names, .. } => names.len(),
            Stage::Paths(go) => open_path(at, go).map_or(0, |(_, paths)| paths.len()),
        }
    }

    /// Everything that was seen about an answer and about those below it.
    fn seen(&self, at: &View, answer: &[usize]) -> Vec<CheckResult> {
        let mut all: Vec<CheckResult> = Vec::new();
        let suspects = suspects(at, answer);
        for probe in &self.probes {
            if probe.system.as_ref().is_some_and(|s| suspects.contains(s)) {
                all.push(probe.clone());
            }
        }
        for evidence in &self.evidence {
            if evidence.answer.starts_with(answer) {
                all.extend(evidence.seen.iter().cloned());
            }
        }
        all
    }

    /// Values that the chosen answer's systems and checks lack.
    fn missing(&self, at: &View) -> Option<String> {
        let Stage::Question(path) = &self.stage else {
            return None;
        };
        let mut answer = path.clone();
        answer.push(self.cursor.at);
        let mut names: BTreeSet<String> = BTreeSet::new();
        for system in suspects(at, &answer) {
            names.extend(plan::system_needs(&at.runbook, &system));
        }
        for (_, choice) in choices(at).iter().filter(|(p, _)| p.starts_with(&answer)) {
            for check in &choice.evidence {
                let named = check
                    .templates()
                    .into_iter()
                    .flat_map(|(t, _)| template::names(t));
                names.extend(named.map(str::to_owned));
                if let Some(system) = check.system() {
                    names.extend(plan::system_needs(&at.runbook, &system.text));
                }
            }
        }
        names
            .into_iter()
            .find(|n| !at.incident.values.contains_key(n))
    }

    /// Looks at everything that the tree names, all at once.
    fn look(&mut self, at: &View) -> Want {
        self.systems = Token::new();
        self.probes.clear();
        self.evidence.clear();
        if !matches!(self.stage, Stage::Question(_)) {
            return Want::Draw;
        }
        let mut wants = Vec::new();
        let systems = suspects(at, &[]);
        if !systems.is_empty() {
            wants.push(Want::Ask(Ask::Look {
                token: self.systems,
                look: Look::Systems(systems.into_iter().collect()),
            }));
        }
        for (answer, choice) in choices(at) {
            if choice.evidence.is_empty() {
                continue;
            }
            let (token, checks): (Token, Vec<Check>) = (Token::new(), choice.evidence.clone());
            self.evidence.push(Evidence {
                answer,
                token,
                seen: Vec::new(),
            });
            wants.push(Want::Ask(Ask::Look {
                token,
                look: Look::Checks(checks),
            }));
        }
        Want::All(wants)
    }

    /// Goes on to another stage; this one can be come back to.
    fn turn(&mut self, stage: Stage) {
        let row = self.cursor.at;
        let before = std::mem::replace(&mut self.stage, stage);
        self.before.push((before, row));
        self.cursor = Cursor::default();
    }

    /// One question back; out of triage from the first one.
    fn back(&mut self, at: &View) -> Want {
        match self.before.pop() {
            Some((stage, row)) => {
                self.stage = stage;
                self.cursor = Cursor::on(row);
                Want::Draw
            }
            None if at.side => Want::Back,
            None => Want::Onward(Place::Since),
        }
    }

    fn wish(&mut self, command: Command, then: Then) -> Want {
        let token = Token::new();
        self.asked = Some((token, then));
        Want::Ask(Ask::Wish { token, command })
    }

    fn answer(&mut self, at: &View) -> Want {
        match self.stage.clone() {
            Stage::Question(path) => {
                let Some(question) = question(at, &path) else {
                    return Want::Nothing;
                };
                let Some(choice) = question.choices.get(self.cursor.at) else {
                    return Want::Nothing;
                };
                let mut answer = path;
                answer.push(self.cursor.at);
                let command = Command::Answer {
                    question: question.ask.clone(),
                    answer: choice.answer.clone(),
                    evidence: self.seen(at, &answer),
                };
                let then = match &choice.next {
                    Next::Ask(_) => Then::Turn(Stage::Question(answer)),
                    Next::Go(names) => Then::Plan(chosen(names.iter().map(|n| n.text.as_str()))),
                    Next::Pick(names) => Then::Turn(Stage::Ticks {
                        names: names.iter().map(|n| n.text.clone()).collect(),
                        ticked: vec![false; names.len()],
                    }),
                };
                self.wish(command, then)
            }
            Stage::Ticks { names, ticked } => {
                let go: Vec<&str> = names
                    .iter()
                    .zip(&ticked)
                    .filter(|(_, ticked)| **ticked)
                    .map(|(name, _)| name.as_str())
                    .collect();
                if go.is_empty() {
                    let key = at.keys.key(Action::Tick);
                    return Want::Say(format!("tick at least one with {key}"));
                }
                let command = Command::Answer {
                    question: "Which are affected?".to_owned(),
                    answer: go.join(", "),
                    evidence: Vec::new(),
                };
                let then = Then::Plan(chosen(go.into_iter()));
                self.wish(command, then)
            }
            Stage::Paths(mut go) => {
                let Some((open, paths)) = open_path(at, &go) else {
                    return self.plan(at, go);
                };
                let Some((id, title, _)) = paths.get(self.cursor.at) else {
                    return Want::Nothing;
                };
                let command = Command::Answer {
                    question: format!("Which way for {}?", go[open].procedure),
                    answer: title.clone(),
                    evidence: Vec::new(),
                };
                go[open].path = Some(id.clone());
                self.wish(command, Then::Plan(go))
            }
        }
    }

    /// Plans, or asks first which path to take.
    fn plan(&mut self, at: &View, go: Vec<Chosen>) -> Want {
        if open_path(at, &go).is_some() {
            self.turn(Stage::Paths(go));
            return Want::Draw;
        }
        self.wish(Command::Plan { go }, Then::Planned)
    }
}

fn chosen<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Chosen> {
    names.map(Chosen::parse).collect()
}

/// Every procedure, those of the present plan ticked.
fn procedures(at: &View) -> Stage {
    let names: Vec<String> = at
        .runbook
        .procedures
        .iter()
        .map(|p| p.id.text.clone())
        .collect();
    let planned = |name: &String| {
        at.incident
            .go
            .iter()
            .any(|go| Chosen::parse(go).procedure == *name)
    };
    let ticked = names.iter().map(planned).collect();
    Stage::Ticks { names, ticked }
}

fn question<'v>(at: &'v View, path: &[usize]) -> Option<&'v Question> {
    at.runbook.triage.as_ref()?.at(path)
}

/// Every answer of the tree with the way to it, top-down.
fn choices(at: &View) -> Vec<(Vec<usize>, &Choice)> {
    fn walk<'q>(question: &'q Question, way: &[usize], out: &mut Vec<(Vec<usize>, &'q Choice)>) {
        for (i, choice) in question.choices.iter().enumerate() {
            let mut here = way.to_vec();
            here.push(i);
            out.push((here.clone(), choice));
            if let Next::Ask(next) = &choice.next {
                walk(next, &here, out);
            }
        }
    }
    let mut out = Vec::new();
    if let Some(question) = &at.runbook.triage {
        walk(question, &[], &mut out);
    }
    out
}

/// The systems that an answer, or one below it, suspects.
fn suspects(at: &View, answer: &[usize]) -> BTreeSet<String> {
    choices(at)
        .into_iter()
        .filter(|(way, _)| way.starts_with(answer))
        .flat_map(|(_, choice)| choice.suspect.iter().map(|n| n.text.clone()))
        .collect()
}

/// A way through a procedure: id, title and when to take it.
type Way = (String, String, String);

/// The first procedure that still needs a path, with its paths.
fn open_path(at: &View, go: &[Chosen]) -> Option<(usize, Vec<Way>)> {
    go.iter().enumerate().find_map(|(i, chosen)| {
        let procedure = at.runbook.procedure(&chosen.procedure)?;
        if chosen.path.is_some() || procedure.paths.len() < 2 {
            return None;
        }
        let paths = procedure
            .paths
            .iter()
            .filter_map(|p| {
                let when = p.when.clone().unwrap_or_default();
                Some((p.id.clone()?, p.title.clone(), when))
            })
            .collect();
        Some((i, paths))
    })
}

/// Does the evidence support the answer? Only what was looked at and does not hold: a login that
/// expired says nothing about what is broken.
fn is_supported(seen: &[CheckResult]) -> bool {
    seen.iter().any(|c| c.verdict == Verdict::DoesNotHold)
}

impl Screen for Triage {
    fn place(&self) -> Place {
        if self.value.is_some() {
            Place::Field
        } else {
            Place::Triage
        }
    }

    fn focus(&self) -> String {
        let value = self.value.as_ref().map(|v| v.name.as_str());
        match &self.stage {
            Stage::Question(path) => format!("question {path:?} {value:?}"),
            Stage::Ticks { .. } => format!("ticks {value:?}"),
            Stage::Paths(go) => format!("paths {go:?} {value:?}"),
        }
    }

    fn opened(&mut self, at: &View) -> Want {
        self.look(at)
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        draw::draw(self, frame, area, at);
        if let Some(value) = &mut self.value {
            value.draw(frame, area, at.theme);
        }
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        if self.asked.is_some() && matches!(action, Action::Choose | Action::BackOne | Action::Back)
        {
            return Want::Nothing;
        }
        match action {
            Action::Choose => self.answer(at),
            Action::Back | Action::BackOne => self.back(at),
            Action::Know => Want::Go(Place::Know),
            Action::Relook => self.look(at),
            Action::Tick => {
                let row = self.cursor.at;
                if let Stage::Ticks { ticked, .. } = &mut self.stage
                    && let Some(tick) = ticked.get_mut(row)
                {
                    *tick = !*tick;
                }
                Want::Draw
            }
            Action::Give => match self.missing(at) {
                Some(name) => {
                    let value = Value::new(&name, at);
                    let want = value.opened(at);
                    self.value = Some(value);
                    want
                }
                None => Want::Say("no value is missing here".to_owned()),
            },
            other => {
                let len = self.len(at);
                if self.cursor.act(other, len) {
                    Want::Draw
                } else {
                    Want::Nothing
                }
            }
        }
    }

    fn typing(&self) -> Typing {
        value::typing(self.value.as_ref())
    }

    fn typed(&mut self, key: KeyEvent, _at: &View) -> Want {
        value::typed(&mut self.value, key)
    }

    fn pasted(&mut self, text: &str) -> Want {
        value::pasted(self.value.as_mut(), text)
    }

    fn news(&mut self, news: &News, at: &View) -> Want {
        if let Some(value) = &mut self.value {
            match value.news(news) {
                Heard::Held => {
                    self.value = None;
                    return self.look(at);
                }
                Heard::More => return Want::Draw,
                Heard::Nothing => {}
            }
        }
        match news {
            News::Looked { token, result } if *token == self.systems => {
                self.probes.push(result.clone());
                Want::Draw
            }
            News::Looked { token, result } => {
                match self.evidence.iter_mut().find(|e| e.token == *token) {
                    Some(evidence) => {
                        evidence.seen.push(result.clone());
                        Want::Draw
                    }
                    None => Want::Nothing,
                }
            }
            News::Wished { token, result } => {
                if self.asked.as_ref().is_none_or(|(t, _)| t != token) {
                    return Want::Nothing;
                }
                let Some((_, then)) = self.asked.take() else {
                    return Want::Nothing;
                };
                match (result, then) {
                    (Err(refusal), _) => Want::Say(refusal.to_string()),
                    (Ok(()), Then::Turn(stage)) => {
                        self.turn(stage);
                        Want::Draw
                    }
                    (Ok(()), Then::Plan(go)) => self.plan(at, go),
                    (Ok(()), Then::Planned) if at.side => Want::Back,
                    (Ok(()), Then::Planned) => Want::Onward(Place::Ready),
                }
            }
            _ => Want::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
