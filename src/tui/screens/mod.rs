//! The screens: one file each, and one line in the list below. A screen is told what there is to see,
//! takes actions, and returns what it wants; it never speaks to the engine itself.

mod checklist;
mod failures;
mod identity;
mod know;
mod log;
mod ready;
mod recovered;
mod severity;
mod since;
mod timeline;
mod triage;
mod value;

pub(crate) use know::{backup_in_short, due};
pub(crate) use timeline::tell;

pub(crate) mod help;
pub(crate) mod home;
pub(crate) mod palette;

use super::{
    keymap::{Action, KeyMap, Place},
    theme::Theme,
};
use crate::{
    domain::{
        decide::{Command, Refusal, Start},
        event::CheckResult,
        incident::Incident,
        runbook::Runbook,
    },
    engine::{AllLive, Armed, Look, Started},
};
use chrono::{DateTime, Utc};
use crossterm::event::KeyEvent;
use ratatui::{Frame, layout::Rect};
use regex::Regex;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

type Open = fn(&View) -> Box<dyn Screen>;

/// Every screen of an incident, in the order of the way through.
pub(crate) const SCREENS: [(Place, Open); 10] = [
    (Place::Severity, |at| Box::new(severity::Severity::new(at))),
    (Place::Since, |at| Box::new(since::Since::new(at))),
    (Place::Triage, |at| Box::new(triage::Triage::new(at))),
    (Place::Ready, |at| Box::new(ready::Ready::new(at))),
    (Place::Checklist, |at| {
        Box::new(checklist::Checklist::new(at))
    }),
    (Place::Log, |at| Box::new(log::Log::new(at))),
    (Place::Failures, |at| Box::new(failures::Failures::new(at))),
    (Place::Timeline, |at| Box::new(timeline::Timeline::new(at))),
    (Place::Know, |at| Box::new(know::Know::new(at))),
    (Place::Recovered, |at| {
        Box::new(recovered::Recovered::new(at))
    }),
];

/// Opens the screen of a place; the checklist, where a place is no screen of an incident.
pub(crate) fn open(place: Place, at: &View) -> Box<dyn Screen> {
    let found = SCREENS.iter().find(|(p, _)| *p == place);
    match found {
        Some((_, open)) => open(at),
        None => Box::new(checklist::Checklist::new(at)),
    }
}

/// Where an incident goes on: at the first thing that is still to be said.
pub(crate) fn entrance(incident: &Incident, runbook: &Runbook) -> Place {
    if !incident.steps.is_empty() {
        Place::Checklist
    } else if incident.severity.is_none() && !runbook.severities.is_empty() {
        Place::Severity
    } else if incident.began_at.is_none() {
        Place::Since
    } else {
        Place::Triage
    }
}

/// What there is to see: a snapshot, cheap to make for each frame.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) theme: Theme,
    pub(crate) keys: Arc<KeyMap>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) who: Arc<str>,
    pub(crate) incident: Arc<Incident>,
    pub(crate) runbook: Arc<Runbook>,
    /// The incident's folder.
    pub(crate) dir: PathBuf,
    /// The newest `progress:` result of a running step.
    pub(crate) progress: Option<(String, CheckResult)>,
    /// What the output of running steps says so far.
    pub(crate) live: AllLive,
    /// The step that the screen below was looking at.
    pub(crate) chosen: Option<String>,
    /// The chosen step as it would be armed.
    pub(crate) shown: Option<Arc<Armed>>,
    /// What the screen below was reading about: the text of a line in the chosen step's log.
    pub(crate) looked_for: Option<String>,
    /// Opened above another screen: done, it goes back there.
    pub(crate) side: bool,
    /// Are keys that act taken now?
    pub(crate) ready: bool,
}

impl View {
    /// The folder of an attempt.
    pub(crate) fn attempt_dir(&self, dir: &str) -> PathBuf {
        self.dir.join(dir)
    }
}

/// Ties an answer to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a screen wants.
#[must_use]
pub(crate) enum Want {
    /// The key means nothing here.
    Nothing,
    /// Something may have changed.
    Draw,
    /// One level back.
    Back,
    /// Another screen above this one.
    Go(Place),
    /// Another screen instead of all there are: the next one on the way.
    Onward(Place),
    /// Words for the last line.
    Say(String),
    Copy(String),
    /// What a person is shown before a step is started; comes back as news.
    Arm {
        step: String,
        undo: bool,
    },
    Ask(Ask),
    All(Vec<Want>),
}

/// What is asked of the engine, or of the disk. The answer comes back as news.
pub(crate) enum Ask {
    Wish {
        token: Token,
        command: Command,
    },
    Give {
        token: Token,
        name: String,
        value: String,
    },
    Start(Start),
    Look {
        token: Token,
        look: Look,
    },
    PinAll,
    CheckRecovery,
    /// Was the cause right that was suggested?
    JudgeCause {
        step: String,
        n: u32,
        row: String,
        right: bool,
    },
    Probe {
        step: String,
        row: String,
    },
    Input {
        step: String,
        bytes: Vec<u8>,
    },
    Resize {
        step: String,
        columns: u16,
        rows: u16,
    },
    /// The next line of a log that matches.
    Find {
        token: Token,
        dir: PathBuf,
        from: u64,
        regex: Regex,
        forward: bool,
    },
    Journal {
        token: Token,
    },
}

/// What has come of something that was asked.
pub(crate) enum News {
    Wished {
        token: Token,
        result: Result<(), Refusal>,
    },
    Given {
        token: Token,
        result: Result<(), String>,
    },
    Armed {
        undo: bool,
        result: Result<Arc<Armed>, Refusal>,
    },
    Started {
        step: String,
        result: Result<Started, Refusal>,
    },
    Looked {
        token: Token,
        result: CheckResult,
    },
    Pinned,
    RecoveryChecked,
    Found {
        token: Token,
        offset: Option<u64>,
    },
    /// When, who and what, in the order of the journal.
    Journal {
        token: Token,
        told: Arc<Vec<Told>>,
    },
}

/// One entry of the journal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) at: DateTime<Utc>,
    pub(crate) who: String,
    pub(crate) what: String,
}

/// How far typed keys of a screen may go before its frame was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typing {
    /// No field has the focus: keys are actions.
    Keys,
    /// What is typed acts on nothing: a search.
    Free,
    /// Enter acts, so it has to wait for the frame.
    EnterActs,
    /// The text itself belongs to a step: all of it waits.
    AllActs,
    /// Everything goes to a running step, and no key is ours but the one that ends it.
    ToStep,
}

/// A screen of an incident.
pub(crate) trait Screen {
    /// Whose rows of the key table hold now.
    fn place(&self) -> Place;

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View);

    fn act(&mut self, action: Action, at: &View) -> Want;

    /// The keys that would lead nowhere now: they are not offered.
    fn idle(&self, _at: &View) -> Vec<Action> {
        Vec::new()
    }

    /// What keys act upon, in a form that can be compared: type-ahead is dropped when it changes.
    fn focus(&self) -> String {
        String::new()
    }

    /// Asked for once, when the screen is opened.
    fn opened(&mut self, _at: &View) -> Want {
        Want::Nothing
    }

    fn typing(&self) -> Typing {
        Typing::Keys
    }

    /// A key while a field has the focus.
    fn typed(&mut self, _key: KeyEvent, _at: &View) -> Want {
        Want::Nothing
    }

    /// Pasted text: text, never keys.
    fn pasted(&mut self, _text: &str) -> Want {
        Want::Nothing
    }

    fn news(&mut self, _news: &News, _at: &View) -> Want {
        Want::Nothing
    }

    /// The incident has changed.
    fn changed(&mut self, _at: &View) -> Want {
        Want::Nothing
    }

    /// The step this screen looks at.
    fn chosen(&self) -> Option<String> {
        None
    }

    /// The text of a line that the next screen should show.
    fn looks_for(&self, _at: &View) -> Option<String> {
        None
    }

    /// Is the end of a log shown that may still grow?
    fn follows(&self, _at: &View) -> bool {
        false
    }

    /// Has that log grown?
    fn grew(&mut self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::{fixture, keymap};

    const SIZES: [(u16, u16); 5] = [(60, 15), (80, 24), (120, 40), (200, 60), (1, 1)];

    #[test]
    fn every_screen_draws_at_every_size() {
        for at in fixture::views() {
            for (place, open) in SCREENS {
                for (width, height) in SIZES {
                    let mut screen = open(&at);
                    let _ = screen.opened(&at);
                    let _ = screen.changed(&at);
                    let drawn = fixture::draw(width, height, |frame, area| {
                        screen.draw(frame, area, &at);
                    });
                    let large = width >= 80;
                    assert!(!large || drawn.trim().len() > 20, "{place:?}:\n{drawn}");
                }
            }
        }
    }

    /// Whatever is pressed, in whatever order, nothing panics.
    #[test]
    fn every_action_of_a_screen_can_be_done() {
        for at in fixture::views().into_iter().skip(2) {
            for (_, open) in SCREENS {
                let mut screen = open(&at);
                let _ = screen.opened(&at);
                for _ in 0..2 {
                    let place = screen.place();
                    let actions: Vec<Action> = keymap::rows(place).map(|r| r.action).collect();
                    for action in actions {
                        let _ = screen.act(action, &at);
                        fixture::draw(80, 24, |frame, area| screen.draw(frame, area, &at));
                    }
                    for code in [
                        crossterm::event::KeyCode::Char('a'),
                        crossterm::event::KeyCode::Enter,
                        crossterm::event::KeyCode::Esc,
                    ] {
                        let key = KeyEvent::new(code, crossterm::event::KeyModifiers::NONE);
                        let _ = screen.typed(key, &at);
                    }
                }
            }
        }
    }

    #[test]
    fn an_incident_goes_on_where_it_was_left() {
        let at = fixture::view();
        assert_eq!(entrance(&at.incident, &at.runbook), Place::Checklist);
        let fresh = Incident::default();
        assert_eq!(entrance(&fresh, &at.runbook), Place::Severity);
    }
}
