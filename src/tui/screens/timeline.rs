//! The journal as people read it. Notes can be added anywhere; nothing is ever changed.

use super::{Ask, News, Screen, Token, Told, Typing, View, Want};
use crate::{
    domain::{decide::Command, event::Entry},
    export::timeline,
    tui::{
        keymap::{Action, Place},
        theme::Role,
        widgets::{
            field::{Edited, Field, Kind},
            list, pane, text,
        },
    },
};
use crossterm::event::KeyEvent;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use std::sync::Arc;

/// What the field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Note,
    Search,
}

/// How many entries are laid out for one frame; a key must be answered at once.
const SHOWN: usize = 5000;

/// Shows every entry, newest at the bottom.
pub(crate) struct Timeline {
    told: Arc<Vec<Told>>,
    asked: Option<Token>,
    /// The newest entry that was asked for.
    seq: u64,
    offset: usize,
    /// Stays at the newest entry until somebody scrolls up.
    follows: bool,
    height: usize,
    words: String,
    field: Option<(Purpose, Field)>,
    noted: Option<Token>,
}

/// One entry in words.
pub(crate) fn tell(entry: &Entry) -> Told {
    Told {
        at: entry.at,
        who: text::plain(entry.who.as_str()),
        what: timeline::describe(&entry.event),
    }
}

impl Timeline {
    pub(crate) fn new(_at: &View) -> Self {
        Self {
            told: Arc::new(Vec::new()),
            asked: None,
            seq: 0,
            offset: 0,
            follows: true,
            height: 1,
            words: String::new(),
            field: None,
            noted: None,
        }
    }

    fn ask(&mut self, at: &View) -> Want {
        let token = Token::new();
        self.asked = Some(token);
        self.seq = at.incident.seq;
        Want::Ask(Ask::Journal { token })
    }

    fn lines(&self, at: &View, cells: usize) -> Vec<Line<'static>> {
        let theme = at.theme;
        let (faint, plain) = (theme.style(Role::Faint), theme.style(Role::Plain));
        let words = self.words.to_lowercase();
        let fitting = |told: &&Told| {
            if words.is_empty() {
                return true;
            }
            let all = format!("{} {}", told.who, told.what).to_lowercase();
            words.split_whitespace().all(|w| all.contains(w))
        };
        let shown: Vec<&Told> = self.told.iter().filter(fitting).collect();
        let earlier = shown.len().saturating_sub(SHOWN);
        let mut day = None;
        let mut lines = Vec::new();
        if earlier > 0 {
            let words =
                format!(" {earlier} earlier entries: search for them, or export the timeline");
            lines.push(Line::styled(words, faint));
        }
        for told in shown.into_iter().skip(earlier) {
            let date = told.at.date_naive();
            if day.replace(date) != Some(date) {
                let words = format!(" {}", date.format("%Y-%m-%d (UTC)"));
                lines.push(Line::styled(words, theme.style(Role::Strong)));
            }
            let label = format!(" {} ", told.at.format("%H:%M:%S"));
            let mut entry = text::labelled(&label, &told.what, cells, faint, plain);
            if cells >= 100 {
                let who = Span::styled(format!("  {}", told.who), faint);
                let first = entry.first_mut();
                if let Some(first) = first.filter(|f| f.width() + who.width() <= cells) {
                    first.push_span(who);
                }
            }
            lines.extend(entry);
        }
        if lines.is_empty() {
            let none = if self.words.is_empty() {
                " reading…"
            } else {
                " nothing matches"
            };
            lines.push(Line::styled(none, faint));
        }
        lines
    }
}

impl Screen for Timeline {
    fn place(&self) -> Place {
        if self.field.is_some() {
            Place::Field
        } else {
            Place::Timeline
        }
    }

    fn focus(&self) -> String {
        format!(
            "timeline {:?}",
            self.field.as_ref().map(|(purpose, _)| *purpose)
        )
    }

    fn opened(&mut self, at: &View) -> Want {
        self.ask(at)
    }

    /// Read again when something new was written; one reading at a time.
    fn changed(&mut self, at: &View) -> Want {
        if self.asked.is_none() && self.seq != at.incident.seq {
            return self.ask(at);
        }
        Want::Draw
    }

    /// ```text
    /// ╭ Timeline, 42 entries ──────────────────────────────────────────────────╮
    /// │ 2026-03-10 (UTC)                                                       │
    /// │ 14:02:11 severity P1 (Degraded): Page the on-call SRE                  │
    /// │ 14:03:40 What is broken? — The tenants are gone                        │
    /// │ 14:05:02 postgres/pitr/preserve started (attempt 1)                    │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let found = if self.words.is_empty() {
            String::new()
        } else {
            format!(" — /{}", self.words)
        };
        let title = format!("Timeline, {} entries{found}", self.told.len());
        let inner = pane::pane(frame, area, &title, true, at.theme);
        self.height = usize::from(inner.height);
        let lines = self.lines(at, usize::from(inner.width));
        if self.follows {
            self.offset = usize::MAX;
        }
        let hidden = list::scrolled(frame, inner, &lines, &mut self.offset);
        self.follows |= hidden == 0;
        if let Some((_, field)) = &mut self.field {
            field.popup(frame, area, at.theme);
        }
    }

    fn act(&mut self, action: Action, _at: &View) -> Want {
        match action {
            Action::Back if !self.words.is_empty() => {
                self.words.clear();
                Want::Draw
            }
            Action::Back => Want::Back,
            Action::Know => Want::Go(Place::Know),
            Action::Note => {
                let field = Field::new(Kind::Lines, "Note (Enter adds it)");
                self.field = Some((Purpose::Note, field));
                Want::Draw
            }
            Action::Search => {
                self.field = Some((Purpose::Search, Field::new(Kind::Line, "search")));
                Want::Draw
            }
            Action::Bottom => {
                self.follows = true;
                Want::Draw
            }
            other => {
                let mut lines = list::Cursor::on(self.offset).with_page(self.height);
                if !lines.act(other, usize::MAX) {
                    return Want::Nothing;
                }
                self.follows = false;
                self.offset = lines.at;
                Want::Draw
            }
        }
    }

    fn typing(&self) -> Typing {
        match self.field.as_ref().map(|(purpose, _)| purpose) {
            Some(Purpose::Note) => Typing::EnterActs,
            Some(Purpose::Search) => Typing::Free,
            None => Typing::Keys,
        }
    }

    fn typed(&mut self, key: KeyEvent, _at: &View) -> Want {
        let Some((purpose, field)) = &mut self.field else {
            return Want::Nothing;
        };
        let (purpose, edited, text) = (*purpose, field.key(key), field.value());
        match (edited, purpose) {
            (Edited::Typed, _) => Want::Draw,
            (Edited::Cancelled, _) => {
                self.field = None;
                Want::Draw
            }
            (Edited::Accepted, Purpose::Search) => {
                self.words = text;
                self.field = None;
                Want::Draw
            }
            (Edited::Accepted, Purpose::Note) => {
                self.field = None;
                if text.trim().is_empty() {
                    return Want::Draw;
                }
                let token = Token::new();
                self.noted = Some(token);
                let command = Command::Note { text };
                Want::Ask(Ask::Wish { token, command })
            }
        }
    }

    fn pasted(&mut self, text: &str) -> Want {
        if let Some((_, field)) = &mut self.field {
            field.paste(text);
        }
        Want::Draw
    }

    fn news(&mut self, news: &News, at: &View) -> Want {
        match news {
            News::Journal { token, told } if self.asked == Some(*token) => {
                self.asked = None;
                self.told = told.clone();
                self.changed(at)
            }
            News::Wished { token, result } if self.noted == Some(*token) => {
                self.noted = None;
                match result {
                    Ok(()) => Want::Say("the note is on the timeline".to_owned()),
                    Err(refusal) => Want::Say(refusal.to_string()),
                }
            }
            _ => Want::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;
    use chrono::TimeDelta;
    use crossterm::event::{KeyCode, KeyModifiers};

    fn with(n: usize) -> (Timeline, View) {
        let at = fixture::view();
        let mut timeline = Timeline::new(&at);
        let _ = timeline.opened(&at);
        let told = (0..n).map(|i| Told {
            at: fixture::now() + TimeDelta::minutes(i64::try_from(i).unwrap_or(0)),
            who: "jo@bastion1".to_owned(),
            what: format!("entry {i}"),
        });
        let news = News::Journal {
            token: timeline.asked.expect("it was asked for"),
            told: Arc::new(told.collect()),
        };
        let _ = timeline.news(&news, &at);
        (timeline, at)
    }

    #[test]
    fn the_newest_entry_is_shown_until_somebody_scrolls_up() {
        let (mut timeline, at) = with(200);
        let draw = |t: &mut Timeline| fixture::draw(80, 24, |frame, area| t.draw(frame, area, &at));
        assert!(draw(&mut timeline).contains("entry 199"));
        let _ = timeline.act(Action::PageUp, &at);
        assert!(!draw(&mut timeline).contains("entry 199"));
        let _ = timeline.act(Action::Top, &at);
        assert!(draw(&mut timeline).contains("entry 0"));
        let _ = timeline.act(Action::Bottom, &at);
        assert!(draw(&mut timeline).contains("entry 199"));
    }

    #[test]
    fn a_note_is_wished_for_with_its_text() {
        let (mut timeline, at) = with(1);
        let _ = timeline.act(Action::Note, &at);
        let _ = timeline.pasted("the lead knows\n\u{1b}[31m");
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        let Want::Ask(Ask::Wish { command, .. }) = timeline.typed(enter, &at) else {
            panic!("a note is wished for");
        };
        let Command::Note { text } = command else {
            panic!("a note");
        };
        assert_eq!(text.trim(), "the lead knows");
    }
}
