//! The heart: the steps, the chosen one in full, its output as it comes, and what a key is about to do.

mod above;
mod answers;
mod arming;
mod causes;
mod detail;
mod steps;

use super::{Ask, News, Screen, Token, Typing, View, Want, identity};
use crate::{
    domain::{
        decide::Command,
        event::Outcome,
        incident::{Attempt, Pin, PlannedStep, StepState},
        plan::Chosen,
    },
    tui::{
        keymap::{Action, Place},
        widgets::{
            field::{Edited, Field, Kind},
            list::Cursor,
            pane,
            tail::Tail,
            text,
        },
    },
};
use above::{Above, Purpose};
use arming::Arming;
use causes::Causes;
use crossterm::event::KeyEvent;
use ratatui::{Frame, layout::Rect};
use std::collections::BTreeSet;

/// Which of the two panes the moving keys act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pane {
    Steps,
    Detail,
}

/// Shows the plan and everything that a person does with its steps.
pub(crate) struct Checklist {
    chosen: Option<String>,
    rows: Cursor,
    pane: Pane,
    scroll: usize,
    above: Above,
    tail: Tail,
    /// Failed attempts whose likely causes were shown.
    told: BTreeSet<(String, u32)>,
    running: BTreeSet<String>,
    /// Was everything done when it was last looked at?
    complete: bool,
    /// Was it looked whether the platform has recovered, while the panel of causes stood above?
    looked: bool,
    /// The step that keeps the platform from being called recovered, with nothing else left to run.
    in_the_way: Option<String>,
    /// Between Enter and the answer of the engine.
    starting: Option<String>,
    /// Steps that were seen not to be done yet: they need all their values now.
    seen_undone: BTreeSet<String>,
    /// What was put into the plan: its first step is chosen once it is there.
    going: Option<Chosen>,
    /// What to say when it was done.
    asked: Option<(Token, &'static str)>,
}

impl Checklist {
    pub(crate) fn new(at: &View) -> Self {
        let incident = &at.incident;
        let failed = || {
            incident
                .steps
                .iter()
                .find(|s| s.state() == StepState::Failed)
        };
        let first = incident
            .steps
            .iter()
            .find(|s| s.running().is_some())
            .or_else(failed)
            .or_else(|| incident.next_step())
            .or_else(|| incident.steps.first());
        Self {
            chosen: first.map(|s| s.plan.step.clone()),
            rows: Cursor::default(),
            pane: Pane::Steps,
            scroll: 0,
            above: Above::Nothing,
            tail: Tail::default(),
            told: failures(at)
                .map(|(s, a)| (s.plan.step.clone(), a.n))
                .collect(),
            running: running(at),
            complete: is_complete(at),
            looked: false,
            in_the_way: None,
            starting: None,
            seen_undone: BTreeSet::new(),
            going: None,
            asked: None,
        }
    }

    fn step<'v>(&self, at: &'v View) -> Option<&'v PlannedStep> {
        at.incident.step(self.chosen.as_deref()?)
    }

    /// Chooses a step.
    fn choose(&mut self, step: &str) {
        if self.chosen.as_deref() != Some(step) {
            self.chosen = Some(step.to_owned());
            self.scroll = 0;
        }
    }

    /// Moves up or down; by steps on the left, by lines on the right.
    fn go(&mut self, action: Action, at: &View) -> Want {
        let steps = &at.incident.steps;
        if self.pane == Pane::Detail {
            let mut lines = Cursor::on(self.scroll).with_page(10);
            // How far down one can go is known when it is drawn.
            if !lines.act(action, usize::MAX) {
                return Want::Nothing;
            }
            self.scroll = lines.at;
            return Want::Draw;
        }
        let here = steps
            .iter()
            .position(|s| Some(&s.plan.step) == self.chosen.as_ref());
        let mut cursor = self.rows;
        cursor.at = here.unwrap_or(0);
        if !cursor.act(action, steps.len()) {
            return Want::Nothing;
        }
        if let Some(step) = steps.get(cursor.at) {
            self.choose(&step.plan.step);
        }
        Want::Draw
    }

    fn wish(&mut self, command: Command, done: &'static str) -> Want {
        let token = Token::new();
        self.asked = Some((token, done));
        Want::Ask(Ask::Wish { token, command })
    }

    fn ask(&mut self, purpose: Purpose, kind: Kind, title: &str) -> Want {
        self.above = Above::Text(purpose, Box::new(Field::new(kind, title)));
        Want::Draw
    }

    /// What a key means while nothing lies above the checklist.
    fn plain(&mut self, action: Action, at: &View) -> Want {
        let Some(step) = self.step(at) else {
            return self.without_step(action, at);
        };
        let name = step.plan.step.clone();
        match action {
            Action::Run => Want::Arm {
                step: name,
                undo: false,
            },
            Action::Undo => Want::Arm {
                step: name,
                undo: true,
            },
            Action::Stop if step.running().is_none() => {
                Want::Say("the chosen step is not running".to_owned())
            }
            Action::Stop => {
                self.above = Above::Stop(name);
                Want::Draw
            }
            Action::Skip if step.running().is_some() => {
                Want::Say("it is running: stop it first, or wait for it".to_owned())
            }
            Action::Skip => self.ask(Purpose::Skip(name), Kind::Line, "Why is it skipped?"),
            Action::Choose if step.attempts.is_empty() => {
                Want::Say("it has not run yet, so there is no log".to_owned())
            }
            Action::Choose => Want::Go(Place::Log),
            Action::Copy => match at.shown.as_ref().filter(|s| s.step == name) {
                Some(shown) => Want::Copy(shown.command.clone()),
                None => Want::Nothing,
            },
            Action::Causes => {
                let last = step
                    .attempts
                    .iter()
                    .rev()
                    .find(|a| is_failed(a) || a.is_doubted());
                match last {
                    Some(attempt) => {
                        self.above = Above::Causes(Causes::new(&name, attempt.n));
                        Want::Draw
                    }
                    None => Want::Say("the chosen step has not failed".to_owned()),
                }
            }
            other => self.without_step(other, at),
        }
    }

    /// What needs no step.
    fn without_step(&mut self, action: Action, at: &View) -> Want {
        match action {
            Action::Back => Want::Back,
            Action::Know => Want::Go(Place::Know),
            Action::Note => self.ask(Purpose::Note, Kind::Lines, "Note (Enter adds it)"),
            Action::Failures => Want::Go(Place::Failures),
            Action::Timeline => Want::Go(Place::Timeline),
            Action::Procedures => Want::Go(Place::Triage),
            Action::Severity if at.runbook.severities.is_empty() => {
                Want::Say("the runbook has no severities".to_owned())
            }
            Action::Severity => Want::Go(Place::Severity),
            Action::Since => Want::Go(Place::Since),
            Action::Ready => Want::Go(Place::Ready),
            Action::CheckRecovery => Want::All(vec![
                Want::Say("looking whether the platform has recovered…".to_owned()),
                Want::Ask(Ask::CheckRecovery),
            ]),
            Action::Identity => match identity::waiting(at) {
                Some(system) => {
                    self.above = Above::Identity(system);
                    Want::Draw
                }
                None => Want::Say("no target waits to be confirmed".to_owned()),
            },
            Action::NextPane => {
                self.pane = match self.pane {
                    Pane::Steps => Pane::Detail,
                    Pane::Detail => Pane::Steps,
                };
                Want::Draw
            }
            other => self.go(other, at),
        }
    }
}

fn running(at: &View) -> BTreeSet<String> {
    at.incident
        .running()
        .map(|(step, _)| step.to_owned())
        .collect()
}

/// Is there nothing left to do but to look whether the platform has recovered?
fn is_complete(at: &View) -> bool {
    let incident = &at.incident;
    let confirmed = |p: &Pin| p.proposed.is_none() && p.moved.is_none();
    !incident.steps.is_empty()
        && incident.recovered_at.is_none()
        && incident.steps.iter().all(|s| s.state().is_done())
        && incident.pins.values().all(confirmed)
}

/// The first step that keeps the platform from being called recovered, once nothing else is left to run.
fn in_the_way(at: &View) -> Option<(&str, StepState)> {
    let incident = &at.incident;
    let open = |s: &PlannedStep| matches!(s.state(), StepState::Pending | StepState::Running);
    if incident.steps.iter().any(open) {
        return None;
    }
    incident.prevents_recovery().into_iter().next()
}

fn is_failed(attempt: &Attempt) -> bool {
    attempt
        .ending
        .as_ref()
        .is_some_and(|e| matches!(e.outcome, Outcome::Failed | Outcome::TimedOut))
}

/// Every step whose last attempt failed, or says that it did.
fn failures(at: &View) -> impl Iterator<Item = (&PlannedStep, &Attempt)> {
    at.incident
        .steps
        .iter()
        .filter_map(|s| Some((s, s.attempts.last()?)))
        .filter(|(_, a)| is_failed(a) || a.is_doubted())
}

impl Screen for Checklist {
    fn place(&self) -> Place {
        self.above.place()
    }

    fn idle(&self, at: &View) -> Vec<Action> {
        match &self.above {
            Above::Causes(causes) => causes.idle(at),
            _ => identity::idle(at),
        }
    }

    fn focus(&self) -> String {
        self.above.focus()
    }

    fn chosen(&self) -> Option<String> {
        self.chosen.clone()
    }

    fn looks_for(&self, at: &View) -> Option<String> {
        match &self.above {
            Above::Causes(causes) => causes.line(at),
            Above::Nothing
            | Above::Arming(_)
            | Above::Stop(_)
            | Above::Identity(_)
            | Above::Add(_)
            | Above::Text(..)
            | Above::Message(..) => None,
        }
    }

    fn changed(&mut self, at: &View) -> Want {
        if self.step(at).is_none() {
            let first = at
                .incident
                .next_step()
                .or_else(|| at.incident.steps.first());
            self.chosen = first.map(|s| s.plan.step.clone());
        }
        self.follow_plan(at);
        self.go_there(at);
        self.tell_causes(at);
        if let Some(want) = self.tell_what_is_in_the_way(at) {
            return want;
        }
        self.look_when_complete(at)
    }

    /// ```text
    /// ╭ Checklist ────────────────────────────────╮╭ 3 · Restore the server ── attempt 1 ────────────╮
    /// │ ✓ 1 Choose the moment to restore  0:42/2m ││ why   The old server may be corrupt …           │
    /// │ ▶ 3 Restore the server      ▓▓▓░ 21:07/45m││ $ az postgres flexible-server restore \         │
    /// │ ○ 5 Point the platform at it      !   /2m ││ sees  "state": "Ready"                          │
    /// │ ─ then ───────────────────────────────────││ ── output ──────────────────────── following ── │
    /// │ ○ 8 Audit chain verifies              /2m ││ 13:41:26 Restoring to 2026-03-10T14:30:00Z …    │
    /// ╰───────────────────────────────────────────╯╰─────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let (narrow, wide) = (area.width < 76, area.width >= 100);
        let steps_width = match (narrow, wide, self.pane) {
            (true, _, Pane::Steps) => area.width,
            (true, _, Pane::Detail) => 0,
            (false, true, _) => (area.width * 2 / 5).min(56),
            (false, false, _) => 36,
        };
        let (left, right) = pane::split(area, steps_width);
        if left.width > 0 {
            let inner = pane::pane(frame, left, "Checklist", self.pane == Pane::Steps, at.theme);
            steps::draw(frame, inner, self.chosen.as_deref(), &mut self.rows, at);
        }
        if right.width > 0 {
            let title = self
                .step(at)
                .map_or_else(|| "no step".to_owned(), detail::title);
            let inner = pane::pane(frame, right, &title, self.pane == Pane::Detail, at.theme);
            let step = self.step(at);
            let starting = self.starting.is_some() && self.starting == self.chosen;
            detail::draw(
                frame,
                inner,
                step,
                starting,
                &mut self.scroll,
                &mut self.tail,
                at,
            );
        }
        above::draw(&mut self.above, frame, area, at);
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        match (&mut self.above, action) {
            (Above::Nothing, action) => self.plain(action, at),
            (Above::Causes(_), Action::Failures) => Want::Go(Place::Failures),
            (Above::Causes(_), action) => self.in_causes(action, at),
            (_, Action::Choose) => self.confirm(at),
            (_, Action::Back) => {
                self.above = Above::Nothing;
                Want::Draw
            }
            (Above::Arming(arming), action) => arming.act(action),
            (
                Above::Stop(_)
                | Above::Identity(_)
                | Above::Add(_)
                | Above::Text(..)
                | Above::Message(..),
                _,
            ) => Want::Nothing,
        }
    }

    fn typing(&self) -> Typing {
        self.above.typing()
    }

    fn typed(&mut self, key: KeyEvent, at: &View) -> Want {
        let edited = match &mut self.above {
            Above::Text(_, field) => field.key(key),
            Above::Arming(arming) => match arming.typed(key) {
                Ok(edited) => edited,
                Err(want) => return want,
            },
            Above::Nothing
            | Above::Stop(_)
            | Above::Identity(_)
            | Above::Add(_)
            | Above::Causes(_)
            | Above::Message(..) => return Want::Nothing,
        };
        match edited {
            Edited::Typed => Want::Draw,
            Edited::Accepted => self.accepted(at),
            Edited::Cancelled => {
                self.above = Above::Nothing;
                Want::Draw
            }
        }
    }

    fn pasted(&mut self, text: &str) -> Want {
        match &mut self.above {
            Above::Text(_, field) => field.paste(text),
            Above::Arming(arming) => arming.pasted(text),
            Above::Nothing
            | Above::Stop(_)
            | Above::Identity(_)
            | Above::Add(_)
            | Above::Causes(_)
            | Above::Message(..) => {}
        }
        Want::Draw
    }

    fn news(&mut self, news: &News, at: &View) -> Want {
        if let Above::Arming(arming) = &mut self.above
            && let Some(want) = arming.news(news)
        {
            return want;
        }
        match news {
            News::Armed { undo, result } => match result {
                Err(refusal) => Want::Say(refusal.to_string()),
                Ok(armed) => {
                    let seen = self.seen_undone.contains(&armed.step);
                    match Arming::new(armed.clone(), *undo, seen, at) {
                        Ok((arming, want)) => {
                            self.above = Above::Arming(Box::new(arming));
                            want
                        }
                        Err(why) => Want::Say(why),
                    }
                }
            },
            News::Started { step, result } => {
                let want = self.started(step, result);
                self.follow_plan(at);
                want
            }
            News::Wished { token, result } => {
                let Some((_, done)) = self.asked.take_if(|(t, _)| *t == *token) else {
                    return Want::Nothing;
                };
                match result {
                    Ok(()) => Want::Say(done.to_owned()),
                    Err(refusal) => {
                        self.going = None;
                        let why = text::plain(&refusal.to_string());
                        self.above = Above::Message("That was refused".to_owned(), why);
                        Want::Draw
                    }
                }
            }
            News::RecoveryChecked => {
                self.tell_causes(at);
                self.looked = matches!(self.above, Above::Causes(_));
                match self.looked {
                    // First things first: the panel is read, then what was seen.
                    true => Want::Draw,
                    false => Want::Go(Place::Recovered),
                }
            }
            _ => Want::Nothing,
        }
    }

    fn follows(&self, at: &View) -> bool {
        self.step(at).is_some_and(|s| s.running().is_some())
    }

    fn grew(&mut self) -> bool {
        self.tail.grew()
    }
}
