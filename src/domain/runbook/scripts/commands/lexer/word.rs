//! Words: quotes, variables, and the commands that stand in them.

use super::{DEEPEST, Lexer, Until};
use crate::domain::runbook::scripts::{
    commands::{Use, Word},
    words,
};

impl Lexer<'_> {
    /// One word; commands within it are read as well.
    pub(super) fn word(&mut self, until: Until, usage: &Use) -> Word {
        let mut word = Word {
            at: self.at,
            ..Word::default()
        };
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | b';' | b'|' | b'&' | b')' => break,
                b'(' if !word.text.ends_with(['?', '*', '+', '@', '!']) => break,
                b'(' => {
                    word.text.push('(');
                    self.at += 1;
                    while self.at < self.bytes.len() && !matches!(self.peek(0), b')' | b'\n') {
                        self.letter(&mut word);
                    }
                    word.text.push(')');
                    self.at += 1;
                }
                b'<' | b'>' if self.peek(1) == b'(' => {
                    let from = self.at;
                    self.at += 2;
                    self.nested(Until::Parenthesis, &Use::Argument);
                    word.text.push_str(&self.text[from..self.at]);
                    word.substituted = true;
                }
                b'<' | b'>' => break,
                b'`' if until == Until::Backquote => break,
                b'\'' => {
                    self.at += 1;
                    let rest = &self.text[self.at..];
                    let end = rest.find('\'').unwrap_or(rest.len());
                    word.text.push_str(&rest[..end]);
                    self.at = (self.at + end + 1).min(self.bytes.len());
                    word.quoted = true;
                }
                b'"' => self.double(&mut word, until, usage),
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'\\' => {
                    self.at += 1;
                    self.letter(&mut word);
                }
                b'$' | b'`' => self.dollar(&mut word, until, usage),
                _ => self.letter(&mut word),
            }
        }
        word
    }

    fn letter(&mut self, word: &mut Word) {
        if let Some(letter) = self.text[self.at.min(self.text.len())..].chars().next() {
            word.text.push(letter);
            self.at += letter.len_utf8();
        }
    }

    fn double(&mut self, word: &mut Word, until: Until, usage: &Use) {
        self.at += 1;
        word.quoted = true;
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'\\' if matches!(self.peek(1), b'"' | b'\\' | b'$' | b'`') => {
                    self.at += 1;
                    self.letter(word);
                }
                b'`' if until == Until::Backquote => return,
                b'$' | b'`' => self.dollar(word, until, usage),
                _ => self.letter(word),
            }
        }
    }

    /// What follows a `$`, or a backquote.
    fn dollar(&mut self, word: &mut Word, until: Until, usage: &Use) {
        let from = self.at;
        if self.peek(0) == b'`' {
            self.at += 1;
            self.nested(Until::Backquote, usage);
            word.substituted = true;
        } else if self.starts("$((") {
            self.at += 3;
            self.arithmetic(1);
        } else if self.starts("$(") {
            self.at += 2;
            self.nested(Until::Parenthesis, usage);
            word.substituted = true;
        } else if self.starts("${") {
            self.at += 2;
            let asks = self.peek(0) == b'#';
            self.at += usize::from(matches!(self.peek(0), b'#' | b'!'));
            let named = self.name(word);
            // `${#X}` and `${X:+…}` tell of a value whether it is there, never what it is.
            if named && (asks || self.starts("+") || self.starts(":+")) {
                word.names.pop();
            }
            self.brace(word, until, usage);
        } else if self.peek(1) == b'\'' && !word.quoted {
            self.at += 2;
            while self.at < self.bytes.len() && self.peek(0) != b'\'' {
                self.at += usize::from(self.peek(0) == b'\\');
                self.letter(word);
            }
            self.at = (self.at + 1).min(self.bytes.len());
            return;
        } else {
            self.at += 1;
            let named = self.name(word);
            if !named && self.peek(0).is_ascii_digit() {
                word.names.push(char::from(self.peek(0)).to_string());
            }
            if !named
                && matches!(
                    self.peek(0),
                    b'0'..=b'9' | b'?' | b'@' | b'*' | b'#' | b'!' | b'$' | b'-'
                )
            {
                self.at += 1;
            }
        }
        word.text
            .push_str(self.text.get(from..self.at).unwrap_or_default());
    }

    fn name(&mut self, word: &mut Word) -> bool {
        let from = self.at;
        if !words::is_name_start(self.peek(0)) {
            return false;
        }
        while words::is_name(self.peek(0)) {
            self.at += 1;
        }
        word.names.push(self.text[from..self.at].to_owned());
        true
    }

    /// To behind the `}` of `${name…}`.
    fn brace(&mut self, word: &mut Word, until: Until, usage: &Use) {
        if self.depth >= DEEPEST {
            self.at = self.bytes.len();
            return;
        }
        self.depth += 1;
        let mut inner = Word::default();
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'}' => {
                    self.at += 1;
                    break;
                }
                b'\\' => {
                    self.at += 1;
                    self.letter(&mut inner);
                }
                b'\'' if !word.quoted => {
                    let rest = &self.text[self.at + 1..];
                    self.at += rest.find('\'').map_or(rest.len() + 1, |end| end + 2);
                }
                b'"' => self.double(&mut inner, until, usage),
                b'`' if until == Until::Backquote => break,
                b'$' | b'`' => self.dollar(&mut inner, until, &Use::Argument),
                _ => self.letter(&mut inner),
            }
        }
        self.depth -= 1;
        word.names.append(&mut inner.names);
        word.substituted |= inner.substituted;
    }

    /// The commands of a substitution, and over what ends it.
    fn nested(&mut self, until: Until, usage: &Use) {
        // Here-documents that wait belong to the line around.
        let waiting = std::mem::take(&mut self.waiting);
        self.list(until, usage);
        let mut inner = std::mem::replace(&mut self.waiting, waiting);
        self.waiting.append(&mut inner);
        self.at = (self.at + 1).min(self.bytes.len());
    }

    /// To behind the parentheses that end arithmetic.
    pub(super) fn arithmetic(&mut self, mut open: usize) {
        if self.depth >= DEEPEST {
            self.at = self.bytes.len();
            return;
        }
        self.depth += 1;
        open += 1;
        let mut inner = Word::default();
        while self.at < self.bytes.len() && open > 0 {
            match self.peek(0) {
                b'(' => {
                    open += 1;
                    self.at += 1;
                }
                b')' => {
                    open -= 1;
                    self.at += 1;
                }
                b'$' | b'`' => self.dollar(&mut inner, Until::Parenthesis, &Use::Argument),
                b'\n' => self.at += 1,
                _ => self.letter(&mut inner),
            }
        }
        self.depth -= 1;
    }
}
