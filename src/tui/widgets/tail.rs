//! The end of an attempt's output, following.

use super::text;
use crate::{
    logs::{LogLine, LogReader},
    tui::theme::Theme,
};
use ratatui::{Frame, layout::Rect, text::Line};
use std::path::{Path, PathBuf};

/// Shows the newest lines of one log; only what is shown is ever in memory.
#[derive(Default)]
pub(crate) struct Tail {
    of: Option<(PathBuf, LogReader)>,
    len: u64,
    lines: Vec<LogLine>,
}

impl Tail {
    /// Turns to the log of an attempt's folder, or to none.
    pub(crate) fn turn_to(&mut self, dir: Option<&Path>) {
        let same = match (&self.of, dir) {
            (Some((now, _)), Some(dir)) => now == dir,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !same {
            *self = Self {
                of: dir.map(|d| (d.to_owned(), LogReader::new(d))),
                ..Self::default()
            };
        }
    }

    /// Has the log grown since it was last drawn?
    pub(crate) fn grew(&mut self) -> bool {
        let len = self.of.as_mut().map_or(0, |(_, reader)| reader.len());
        len != self.len
    }

    /// Draws the last lines, the newest at the bottom.
    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        let height = usize::from(area.height);
        let Some((_, reader)) = &mut self.of else {
            return;
        };
        let len = reader.len();
        if len != self.len || self.lines.len() != height {
            self.len = len;
            self.lines = reader.tail(height);
        }
        for (y, line) in (area.top()..area.bottom()).zip(&self.lines) {
            let shown = text::fit(line.text.as_str(), usize::from(area.width), theme);
            frame.render_widget(Line::raw(shown), Rect::new(area.x, y, area.width, 1));
        }
    }
}
