//! Here-documents: lines that belong to a command and begin after the line it stands on.

use super::{Frame, Kind, Walk};

/// A here-document whose lines begin after the next line break.
pub(super) struct HereDoc {
    ends: String,
    literal: bool,
    tabs: bool,
}

impl Walk<'_> {
    /// The word behind `<<`: its lines come after this one.
    pub(super) fn here_document(&mut self) {
        let tabs = self.peek(0) == b'-';
        if tabs {
            self.at += 1;
        }
        while matches!(self.peek(0), b' ' | b'\t') {
            self.at += 1;
        }
        let (from, mut literal, mut quote) = (self.at, false, 0u8);
        while self.at < self.end {
            let byte = self.bytes[self.at];
            match byte {
                b'\'' | b'"' if quote == 0 => {
                    quote = byte;
                    literal = true;
                }
                b'\'' | b'"' if quote == byte => quote = 0,
                b'\\' => literal = true,
                b' ' | b'\t' | b'\n' | b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')'
                    if quote == 0 =>
                {
                    break;
                }
                _ => {}
            }
            self.at += 1;
        }
        let ends: String = self
            .slice(from, self.at)
            .chars()
            .filter(|c| !matches!(c, '\'' | '"' | '\\'))
            .collect();
        self.waiting.push(HereDoc {
            ends,
            literal,
            tabs,
        });
    }

    /// Over the lines of the here-documents that begin on this line.
    pub(super) fn here_documents(&mut self) {
        for doc in std::mem::take(&mut self.waiting) {
            let from = self.at;
            let mut to = self.end;
            while self.at < self.end {
                let line_at = self.at;
                let rest = self.slice(line_at, self.end);
                let line = rest.split('\n').next().unwrap_or_default();
                self.at += line.len() + 1;
                let line = if doc.tabs {
                    line.trim_start_matches('\t')
                } else {
                    line
                };
                if line == doc.ends {
                    to = line_at;
                    break;
                }
            }
            if !doc.literal && self.inside < 8 {
                self.within(from, to);
            }
        }
    }

    /// Looks at a stretch as at the lines of a here-document, then comes back.
    fn within(&mut self, from: usize, to: usize) {
        let (at, end) = (self.at, self.end);
        let stack = std::mem::replace(&mut self.stack, vec![Frame::new(Kind::Here, 0)]);
        self.at = from;
        self.end = to;
        self.inside += 1;
        self.run();
        self.inside -= 1;
        self.waiting.clear();
        self.stack = stack;
        self.at = at;
        self.end = end;
    }
}
