//! The commands of one place, to be found by a few of their letters.

use crate::tui::{
    keymap::{Action, KeyMap, Place, Row, rows},
    theme::{Role, Theme},
    widgets::{
        field::{Edited, Field, Kind},
        list::{self, Cursor},
        pane, text,
    },
};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// What lies above a screen when `:` was pressed.
pub(crate) struct Palette {
    place: Place,
    field: Field,
    cursor: Cursor,
}

/// What a key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picked {
    Nothing,
    Closed,
    Action(Action),
}

impl Palette {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            field: Field::new(Kind::Line, "commands"),
            cursor: Cursor::default(),
        }
    }

    /// The commands that fit what was typed, best first.
    fn found(&self) -> Vec<&'static Row> {
        let typed = self.field.value().to_lowercase();
        let mut scored: Vec<(usize, &'static Row)> = Vec::new();
        for row in rows(self.place) {
            let known = scored.iter().any(|(_, r)| r.action == row.action);
            if row.action == Action::Palette || known {
                continue;
            }
            if let Some(score) = score(row, &typed) {
                scored.push((score, row));
            }
        }
        scored.sort_by_key(|(score, _)| *score);
        scored.into_iter().map(|(_, row)| row).collect()
    }

    pub(crate) fn typed(&mut self, key: KeyEvent) -> Picked {
        let len = self.found().len();
        match key.code {
            KeyCode::Up => {
                self.cursor.act(Action::Up, len);
                return Picked::Nothing;
            }
            KeyCode::Down | KeyCode::Tab => {
                self.cursor.act(Action::Down, len);
                return Picked::Nothing;
            }
            _ => {}
        }
        match self.field.key(key) {
            Edited::Typed => {
                self.cursor = Cursor::default();
                Picked::Nothing
            }
            Edited::Cancelled => Picked::Closed,
            Edited::Accepted => match self.found().get(self.cursor.at) {
                Some(row) => Picked::Action(row.action),
                None => Picked::Closed,
            },
        }
    }

    pub(crate) fn pasted(&mut self, text: &str) {
        self.field.paste(text);
    }

    /// ```text
    /// ╭ Commands: Checklist ───────────────────────────────────────────────────╮
    /// │ :sk                                                                    │
    /// │ skip          S      Skips the chosen step; a reason is asked for …    │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, keys: &KeyMap, theme: Theme) {
        let found = self.found();
        let width = 92.min(area.width);
        let cells = usize::from(width.saturating_sub(2));
        let height = u16::try_from(found.len() + 3).unwrap_or(u16::MAX).max(6);
        let title = format!("Commands: {}", self.place.title());
        let inner = pane::popup(frame, area, &title, (width, height), theme);
        let (colon, input) = pane::split(pane::above(inner, 1), 1);
        frame.render_widget(Line::raw(":"), colon);
        self.field.draw(frame, input, theme);
        let lines: Vec<Line<'static>> = found
            .iter()
            .map(|row| {
                let key = keys.key(row.action);
                let help = text::fit(row.help, cells.saturating_sub(30), theme);
                Line::from(vec![
                    Span::styled(text::pad(row.name, 18, theme), theme.style(Role::Strong)),
                    Span::raw(text::pad(&key, 11, theme)),
                    Span::raw(help),
                ])
            })
            .collect();
        list::draw(
            frame,
            pane::below(inner, 1),
            &lines,
            &mut self.cursor,
            theme,
        );
    }
}

/// How well a command fits; less is better. A name that begins so, then one that holds it, then the
/// letters in their order, then the help.
fn score(row: &Row, typed: &str) -> Option<usize> {
    if row.name.starts_with(typed) {
        return Some(0);
    }
    if row.name.contains(typed) {
        return Some(1);
    }
    let mut letters = row.name.chars();
    if typed.chars().all(|c| letters.any(|l| l == c)) {
        return Some(2);
    }
    let words = format!("{} {}", row.label, row.help).to_lowercase();
    words.contains(typed).then_some(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;
    use crossterm::event::KeyModifiers;

    fn press(palette: &mut Palette, keys: &str) -> Picked {
        for c in keys.chars() {
            palette.typed(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
        palette.typed(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE))
    }

    #[test]
    fn a_few_letters_find_a_command() {
        for (typed, action) in [
            ("q", Action::Quit),
            ("run", Action::Run),
            ("tml", Action::Timeline),
            ("chkr", Action::CheckRecovery),
        ] {
            let mut palette = Palette::new(Place::Checklist);
            assert_eq!(
                press(&mut palette, typed),
                Picked::Action(action),
                "{typed}"
            );
        }
        let mut palette = Palette::new(Place::Checklist);
        assert_eq!(press(&mut palette, "zzzz"), Picked::Closed);
    }

    #[test]
    fn it_draws_at_every_size() {
        let keys = KeyMap::new(&[]).expect("valid");
        for (width, height) in [(1, 1), (60, 15), (200, 60)] {
            let mut palette = Palette::new(Place::Checklist);
            fixture::draw(width, height, |frame, area| {
                palette.draw(frame, area, &keys, Theme::default());
            });
        }
    }
}
