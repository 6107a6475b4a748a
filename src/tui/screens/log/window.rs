//! The part of a log that is shown. Nothing but it is in memory.

use crate::{
    logs::{self, LogLine, LogReader},
    tui::keymap::Action,
};
use std::path::Path;

/// A window that follows the end, or holds still where somebody reads.
pub(super) struct Window {
    reader: LogReader,
    lines: Vec<LogLine>,
    height: usize,
    /// `None`: follows the end.
    top: Option<u64>,
    len: u64,
    /// Up to where lines were counted since it holds still.
    counted: u64,
    unseen: u64,
    more: bool,
}

impl Window {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            reader: LogReader::new(dir),
            lines: Vec::new(),
            height: 1,
            top: None,
            len: 0,
            counted: 0,
            unseen: 0,
            more: false,
        }
    }

    /// Reads what so many lines show.
    pub(super) fn load(&mut self, height: usize) {
        self.height = height.max(1);
        self.len = self.reader.len();
        self.lines = match self.top {
            None => self.reader.tail(self.height),
            Some(top) => self.reader.lines_from(top, self.height),
        };
    }

    pub(super) fn lines(&self) -> &[LogLine] {
        &self.lines
    }

    pub(super) fn follows(&self) -> bool {
        self.top.is_none()
    }

    /// Where the first line begins that is shown.
    pub(super) fn first(&self) -> u64 {
        self.lines.first().map_or(0, |l| l.offset)
    }

    pub(super) fn len(&mut self) -> u64 {
        self.reader.len()
    }

    /// Lines that came since it holds still; the flag says that there are more.
    pub(super) fn unseen(&self) -> (u64, bool) {
        (self.unseen, self.more)
    }

    pub(super) fn follow(&mut self) {
        self.top = None;
        (self.unseen, self.more) = (0, false);
    }

    fn hold(&mut self, top: u64) {
        if self.top.is_none() {
            self.counted = self.reader.tail(1).first().map_or(0, |l| l.offset);
            (self.unseen, self.more) = (0, false);
        }
        self.top = Some(top);
    }

    pub(super) fn toggle(&mut self) {
        match self.top {
            None => self.hold(self.first()),
            Some(_) => self.follow(),
        }
    }

    /// Shows a line with some of what stands before it.
    pub(super) fn show(&mut self, offset: u64) {
        let top = self.reader.back(offset, self.height / 3);
        self.hold(top);
    }

    /// When each shown line came, in milliseconds after the attempt began.
    pub(super) fn times(&self, dir: &Path) -> Vec<Option<u64>> {
        let offsets: Vec<u64> = self.lines.iter().map(|l| l.offset).collect();
        logs::time_of(dir, &offsets)
    }

    /// Moves, if that is what the action means.
    pub(super) fn act(&mut self, action: Action) -> bool {
        let (page, half) = (self.height, (self.height / 2).max(1));
        match action {
            Action::Up => self.up(1),
            Action::PageUp => self.up(page),
            Action::HalfUp => self.up(half),
            Action::Down => self.down(1),
            Action::PageDown => self.down(page),
            Action::HalfDown => self.down(half),
            Action::Top => self.hold(0),
            Action::Bottom => self.follow(),
            // The vocabulary is for all screens; a window takes its part of it.
            _ => return false,
        }
        true
    }

    fn up(&mut self, lines: usize) {
        let from = self.top.unwrap_or_else(|| self.first());
        let top = self.reader.back(from, lines);
        self.hold(top);
    }

    fn down(&mut self, lines: usize) {
        let Some(top) = self.top else { return };
        let ahead = self.reader.lines_from(top, lines + self.height);
        // Never past the last full window.
        let most = ahead.len().saturating_sub(self.height);
        if let Some(line) = ahead.get(lines.min(most)) {
            self.top = Some(line.offset);
        }
    }

    /// Has the log grown since it was loaded? Counts what came where nobody looks.
    pub(super) fn grew(&mut self) -> bool {
        if self.reader.len() == self.len {
            return false;
        }
        self.len = self.reader.len();
        if self.top.is_some() {
            self.count();
        }
        true
    }

    /// A flood is counted a part at a time; the rest is said to be more.
    fn count(&mut self) {
        const PART: usize = 4096;
        for _ in 0..4 {
            let lines = self.reader.lines_from(self.counted, PART);
            self.more = lines.len() == PART;
            if let Some(last) = lines.last().filter(|_| lines.len() > 1) {
                self.unseen += lines.len() as u64 - 1;
                self.counted = last.offset;
            }
            if !self.more {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{LogWriter, StreamName};

    #[test]
    fn new_lines_are_counted_while_it_holds_still() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = LogWriter::create(dir.path()).expect("a new log");
        writer.append(StreamName::Out, b"1\n2\n3\n4\n5\n");
        let mut window = Window::new(dir.path());
        window.load(3);
        assert!(window.follows() && !window.grew());
        window.act(Action::Up);
        writer.append(StreamName::Out, b"6\n7\n");
        assert!(window.grew());
        assert_eq!(window.unseen(), (2, false));
        window.load(3);
        assert_eq!(window.lines()[0].text.as_str(), "2", "it does not jump");
        window.act(Action::Bottom);
        window.load(3);
        assert_eq!(window.lines()[2].text.as_str(), "7");
        assert_eq!(window.unseen(), (0, false));
    }

    #[test]
    fn it_never_scrolls_past_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = LogWriter::create(dir.path()).expect("a new log");
        writer.append(StreamName::Out, b"1\n2\n3\n4\n5\n");
        let mut window = Window::new(dir.path());
        window.load(3);
        window.act(Action::Top);
        for _ in 0..9 {
            window.act(Action::PageDown);
            window.load(3);
        }
        assert_eq!(window.lines().len(), 3);
        assert_eq!(window.lines()[2].text.as_str(), "5");
    }
}
