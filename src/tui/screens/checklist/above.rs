//! What can lie above the checklist: one thing at a time.

use super::{arming::Arming, causes::Causes};
use crate::{
    domain::plan::Chosen,
    tui::{
        keymap::Place,
        screens::{Typing, View, identity},
        theme::Role,
        widgets::{field::Field, pane, text},
    },
};
use ratatui::{Frame, layout::Rect, text::Line};

/// What a text is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Skip(String),
    Note,
}

pub(super) enum Above {
    Nothing,
    Arming(Box<Arming>),
    Stop(String),
    Identity(String),
    Causes(Causes),
    /// A procedure, or another way of one, that a likely cause names and the plan does without.
    Add(Chosen),
    Text(Purpose, Box<Field>),
    Message(String, String),
}

impl Above {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Nothing => Place::Checklist,
            Self::Arming(arming) if arming.is_typing() => Place::Field,
            Self::Arming(_) => Place::Armed,
            Self::Stop(_) | Self::Identity(_) | Self::Add(_) | Self::Message(..) => Place::Confirm,
            Self::Causes(_) => Place::Causes,
            Self::Text(..) => Place::Field,
        }
    }

    pub(super) fn focus(&self) -> String {
        match self {
            Self::Nothing => "steps".to_owned(),
            Self::Arming(arming) => arming.focus(),
            Self::Stop(step) => format!("stop {step}"),
            Self::Identity(system) => format!("identity {system}"),
            Self::Causes(causes) => causes.focus(),
            Self::Add(chosen) => format!("add {}", chosen.name()),
            Self::Text(purpose, _) => format!("text {purpose:?}"),
            Self::Message(title, text) => format!("message {title} {text}"),
        }
    }

    pub(super) fn typing(&self) -> Typing {
        match self {
            Self::Text(..) => Typing::EnterActs,
            Self::Arming(arming) => arming.typing(),
            Self::Nothing
            | Self::Stop(_)
            | Self::Identity(_)
            | Self::Causes(_)
            | Self::Add(_)
            | Self::Message(..) => Typing::Keys,
        }
    }
}

pub(super) fn draw(above: &mut Above, frame: &mut Frame<'_>, area: Rect, at: &View) {
    let theme = at.theme;
    let cells = pane::message_width(area);
    let plain = theme.style(Role::Plain);
    let mut question = |title: &str, words: &str, enter: &str| {
        let mut lines = text::wrapped(words, cells, plain);
        lines.push(Line::raw(""));
        lines.push(identity::ready(at, enter, cells));
        pane::message(frame, area, title, &lines, theme);
    };
    match above {
        Above::Nothing => {}
        Above::Stop(step) => question(
            "Stop it?",
            &format!(
                "{step} is asked to stop: INT first, TERM and KILL if it does not end. What it has done so far stays done."
            ),
            "Enter stops it",
        ),
        Above::Add(chosen) => match chosen.other_way(&at.incident.go) {
            Some(other) => question(
                "Take the other way?",
                &format!(
                    "The plan goes by {}. What is open of it would give way to the steps of {}; what has run keeps its state.",
                    other.name(),
                    chosen.name()
                ),
                "Enter takes it",
            ),
            None => question(
                "Add it to the plan?",
                &format!(
                    "The plan does without {}. Its steps would come after those there are; what has run keeps its state.",
                    chosen.name()
                ),
                "Enter adds it",
            ),
        },
        Above::Message(title, words) => question(title, words, "Enter goes on"),
        Above::Identity(system) => {
            let lines = identity::lines(at, system, cells);
            let title = format!("Is this the right {system}?");
            pane::message(frame, area, &title, &lines, theme);
        }
        Above::Arming(arming) => arming.draw(frame, area, at),
        Above::Causes(causes) => causes.draw(frame, area, at),
        Above::Text(_, field) => field.popup(frame, area, theme),
    }
}
