//! The keys of one place, from the key table.

use crate::tui::{
    chord::shown,
    keymap::{Action, KeyMap, Place, rows},
    theme::{Role, Theme},
    widgets::{
        list::{self, Cursor},
        pane, text,
    },
};
use ratatui::{Frame, layout::Rect, text::Line};

/// What lies above a screen when `?` was pressed.
pub(crate) struct Help {
    place: Place,
    offset: usize,
    height: usize,
}

impl Help {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            offset: 0,
            height: 1,
        }
    }

    /// Scrolls; `false`: the key closes it.
    pub(crate) fn act(&mut self, action: Action) -> bool {
        let mut lines = Cursor::on(self.offset).with_page(self.height);
        let moved = lines.act(action, usize::MAX);
        self.offset = lines.at;
        moved
    }

    /// ```text
    /// ╭ Keys: Checklist ───────────────────────────────────────────────────────╮
    /// │ r          Arms the chosen step: shows the target, what will run …     │
    /// │ x          Asks, then stops the chosen step: INT, later TERM …         │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, keys: &KeyMap, theme: Theme) {
        let width = 92.min(area.width);
        let cells = usize::from(width.saturating_sub(2));
        let (strong, plain) = (theme.style(Role::Strong), theme.style(Role::Plain));
        let mut lines: Vec<Line<'static>> = Vec::new();
        for row in rows(self.place) {
            let mut names: Vec<String> =
                keys.keys_of(row.action).iter().map(|k| shown(k)).collect();
            names.dedup();
            let label = format!(" {} ", text::pad(&names.join(" "), 14, theme));
            lines.extend(text::labelled(&label, row.help, cells, strong, plain));
        }
        lines.push(Line::raw(""));
        let words = " Keys are set in the config file under [keys]; the names stand in the list of commands.";
        lines.extend(text::wrapped(words, cells, theme.style(Role::Faint)));
        let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
        let title = format!("Keys: {}", self.place.title());
        let inner = pane::popup(frame, area, &title, (width, height), theme);
        self.height = usize::from(inner.height);
        list::scrolled(frame, inner, &lines, &mut self.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    #[test]
    fn every_place_explains_all_its_keys() {
        let keys = KeyMap::new(&[]).expect("valid");
        for place in Place::ALL {
            let mut help = Help::new(place);
            let drawn = fixture::draw(100, 70, |frame, area| {
                help.draw(frame, area, &keys, Theme::default());
            });
            for row in rows(place) {
                let first = row.help.split(' ').take(3).collect::<Vec<_>>().join(" ");
                assert!(drawn.contains(&first), "{place:?}: {first}\n{drawn}");
            }
        }
    }
}
