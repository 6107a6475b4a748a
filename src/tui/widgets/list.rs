//! Lists that scroll: a cursor that stays within, and the window that shows it.

use crate::tui::{
    keymap::Action,
    theme::{Role, Theme},
};
use ratatui::{Frame, layout::Rect, text::Line};
use std::ops::Range;

/// Which row is chosen, and which is the first one shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: usize,
    top: usize,
    page: usize,
}

impl Cursor {
    /// A cursor on a row.
    pub(crate) fn on(at: usize) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }

    /// The same, where nothing draws it as a list.
    pub(crate) fn with_page(mut self, page: usize) -> Self {
        self.page = page;
        self
    }

    /// Moves, if that is what the action means. `false`: it means something else.
    pub(crate) fn act(&mut self, action: Action, len: usize) -> bool {
        let page = self.page.max(2);
        let last = len.saturating_sub(1);
        self.at = match action {
            Action::Up => self.at.saturating_sub(1),
            Action::Down => self.at.saturating_add(1),
            Action::PageUp => self.at.saturating_sub(page),
            Action::PageDown => self.at.saturating_add(page),
            Action::HalfUp => self.at.saturating_sub(page / 2),
            Action::HalfDown => self.at.saturating_add(page / 2),
            Action::Top => 0,
            Action::Bottom => last,
            // The vocabulary is for all screens; a list takes its part of it.
            _ => return false,
        }
        .min(last);
        true
    }

    /// The rows to show so that the chosen one is among them. Keeps the cursor within the list.
    pub(crate) fn window(&mut self, len: usize, height: usize) -> Range<usize> {
        self.page = height;
        self.at = self.at.min(len.saturating_sub(1));
        if self.at < self.top {
            self.top = self.at;
        } else if self.at >= self.top + height {
            self.top = self.at + 1 - height.max(1);
        }
        self.top = self.top.min(len.saturating_sub(height));
        self.top..(self.top + height).min(len)
    }
}

/// Draws rows of one line each, the chosen one reversed over the whole width.
pub(crate) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    rows: &[Line<'static>],
    cursor: &mut Cursor,
    theme: Theme,
) {
    let window = cursor.window(rows.len(), usize::from(area.height));
    for (y, i) in (area.top()..area.bottom()).zip(window) {
        let line_area = Rect::new(area.x, y, area.width, 1);
        let Some(row) = rows.get(i) else { continue };
        frame.render_widget(row, line_area);
        if i == cursor.at {
            let chosen = theme.style(Role::Chosen);
            frame.buffer_mut().set_style(line_area, chosen);
        }
    }
}

/// Draws lines from one on; returns how many lines lie below the area. `offset` is kept within.
pub(crate) fn scrolled(
    frame: &mut Frame<'_>,
    area: Rect,
    lines: &[Line<'static>],
    offset: &mut usize,
) -> usize {
    let height = usize::from(area.height);
    *offset = (*offset).min(lines.len().saturating_sub(height));
    for (y, line) in (area.top()..area.bottom()).zip(lines.iter().skip(*offset)) {
        frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
    }
    lines.len().saturating_sub(*offset + height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_cursor_and_never_leaves_the_list() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.window(10, 4), 0..4);
        cursor.act(Action::Bottom, 10);
        assert_eq!((cursor.at, cursor.window(10, 4)), (9, 6..10));
        cursor.act(Action::PageUp, 10);
        assert_eq!((cursor.at, cursor.window(10, 4)), (5, 5..9));
        cursor.act(Action::Top, 10);
        assert_eq!(cursor.window(10, 4), 0..4);
        cursor.act(Action::Down, 10);
        assert_eq!(cursor.window(1, 4), 0..1, "the list became shorter");
        assert_eq!(cursor.at, 0);
    }

    #[test]
    fn an_empty_list_and_an_area_without_height_do_no_harm() {
        let mut cursor = Cursor::default();
        for action in [Action::Down, Action::Up, Action::Bottom, Action::PageDown] {
            assert!(cursor.act(action, 0));
            assert_eq!(cursor.at, 0);
        }
        assert_eq!(cursor.window(0, 0), 0..0);
        assert_eq!(cursor.window(5, 0), 0..0);
        assert!(!cursor.act(Action::Run, 5));
    }
}
