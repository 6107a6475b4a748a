//! A walk through a shell script: what the shell replaces, what the script sets itself, and where a
//! `<` stands. It knows quotes, comments, here-documents and substitutions; it runs nothing.

mod here;

use super::words::{assigned, is_name, is_name_start, is_whole_name, named_by, sets};
use here::HereDoc;
use std::collections::HashSet;

/// In what a `<` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Code,
    Double,
    Single,
}

/// What was seen on the way; places are bytes from the beginning.
#[derive(Default)]
pub(super) struct Look<'a> {
    /// `$name` and `${name…}` that the shell replaces: where, the name, and whether with braces.
    pub(super) references: Vec<(usize, &'a str, bool)>,
    /// The names to which the script itself gives a value.
    pub(super) own: HashSet<&'a str>,
    /// It reads another file or puts code together: its names may come from anywhere.
    pub(super) evaluates: bool,
    /// Every `<` outside of comments and here-documents.
    pub(super) openings: Vec<(usize, Place)>,
}

pub(super) fn look(text: &str) -> Look<'_> {
    let mut walk = Walk {
        text,
        bytes: text.as_bytes(),
        at: 0,
        end: text.len(),
        inside: 0,
        stack: vec![Frame::new(Kind::Code, 0)],
        waiting: Vec::new(),
        look: Look::default(),
    };
    walk.run();
    walk.look.openings.sort_unstable_by_key(|(at, _)| *at);
    walk.look
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Commands: the script, `$(…)`, `(…)`, backquotes.
    Code,
    /// Words that are no commands: `name=(…)`, a pattern in parentheses.
    Words,
    Double,
    /// The lines of a here-document in which the shell still replaces names.
    Here,
    /// `${name…}`
    Brace,
    /// `$((…))` and `((…))`
    Arithmetic,
}

struct Frame<'a> {
    kind: Kind,
    /// The byte that ends it, if one does.
    closer: u8,
    /// The next word is a command, or an assignment before it.
    start: bool,
    /// The command whose arguments follow.
    head: &'a str,
    /// The argument before.
    previous: &'a str,
    /// Where the word begins that is being read.
    word: Option<usize>,
    /// The next word is where a redirection leads.
    target: bool,
    /// `case`s that are not ended: their patterns end in a `)`.
    cases: usize,
    /// After it a command may begin: the `()` of a function, a subshell.
    fresh: bool,
    /// Parentheses of arithmetic that are open.
    depth: usize,
    /// Within double quotes, where single quotes are letters.
    quoted: bool,
}

impl Frame<'_> {
    fn new(kind: Kind, closer: u8) -> Self {
        Self {
            kind,
            closer,
            start: true,
            head: "",
            previous: "",
            word: None,
            target: false,
            cases: 0,
            fresh: false,
            depth: 0,
            quoted: false,
        }
    }
}

struct Walk<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    end: usize,
    /// Here-documents around this place.
    inside: usize,
    stack: Vec<Frame<'a>>,
    waiting: Vec<HereDoc>,
    look: Look<'a>,
}

impl<'a> Walk<'a> {
    fn run(&mut self) {
        while self.at < self.end {
            let byte = self.bytes[self.at];
            let Some(kind) = self.stack.last().map(|f| f.kind) else {
                return;
            };
            if self.stack.len() > 500 {
                return;
            }
            match kind {
                Kind::Code | Kind::Words => self.code(byte),
                Kind::Double | Kind::Here => self.quoted(kind, byte),
                Kind::Brace => self.brace(byte),
                Kind::Arithmetic => self.arithmetic(byte),
            }
        }
        self.at = self.end;
        self.end_word();
    }

    fn peek(&self, ahead: usize) -> u8 {
        let at = self.at + ahead;
        if at < self.end { self.bytes[at] } else { 0 }
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        let text: &'a str = self.text;
        text.get(from..to).unwrap_or_default()
    }

    /// Begins a frame behind the bytes that open it.
    fn enter(&mut self, kind: Kind, closer: u8, opening: usize) {
        self.stack.push(Frame::new(kind, closer));
        self.at += opening;
    }

    /// `$((` and `((`
    fn enter_arithmetic(&mut self, opening: usize, fresh: bool) {
        self.enter(Kind::Arithmetic, b')', opening);
        if let Some(frame) = self.stack.last_mut() {
            frame.depth = 2;
            frame.fresh = fresh;
        }
    }

    /// Ends the innermost frame; the last one stays.
    fn pop(&mut self) {
        if self.stack.len() < 2 {
            return;
        }
        let fresh = self.stack.pop().is_some_and(|f| f.fresh);
        if let Some(frame) = self.stack.last_mut()
            && fresh
        {
            frame.start = true;
        }
    }

    fn begin_word(&mut self) {
        let at = self.at;
        if let Some(frame) = self.stack.last_mut() {
            frame.word.get_or_insert(at);
        }
    }

    fn new_command(&mut self) {
        self.end_word();
        if let Some(frame) = self.stack.last_mut() {
            frame.start = true;
            frame.head = "";
            frame.previous = "";
            frame.target = false;
        }
    }

    fn redirects(&mut self) {
        self.end_word();
        if let Some(frame) = self.stack.last_mut() {
            frame.target = true;
        }
    }

    fn code(&mut self, byte: u8) {
        let (has_word, closer) = match self.stack.last() {
            Some(f) => (f.word.is_some(), f.closer),
            None => return,
        };
        match byte {
            b'\\' if self.peek(1) == b'\n' => self.at += 2,
            b'\\' => {
                self.begin_word();
                self.at += 2;
            }
            b'\n' => {
                self.new_command();
                self.at += 1;
                self.here_documents();
            }
            b' ' | b'\t' | b'\r' => {
                self.end_word();
                self.at += 1;
            }
            b'#' if !has_word => {
                while self.at < self.end && self.bytes[self.at] != b'\n' {
                    self.at += 1;
                }
            }
            b'\'' => {
                self.begin_word();
                self.single();
            }
            b'"' => {
                self.begin_word();
                self.enter(Kind::Double, b'"', 1);
            }
            b'`' if closer == b'`' => {
                self.end_word();
                self.pop();
                self.at += 1;
            }
            b'`' => {
                self.begin_word();
                self.enter(Kind::Code, b'`', 1);
            }
            b'$' => {
                self.begin_word();
                self.dollar(false);
            }
            b'(' => self.parenthesis(),
            b')' => self.closing(),
            b'&' if self.peek(1) == b'>' => self.at += 1,
            b'&' if self.at > 0 && matches!(self.bytes[self.at - 1], b'<' | b'>') => self.at += 1,
            b';' | b'&' | b'|' => {
                self.new_command();
                self.at += 1;
            }
            b'<' => self.less(),
            b'>' => {
                self.descriptor();
                self.redirects();
                self.at += 1;
            }
            _ => {
                self.begin_word();
                self.at += 1;
            }
        }
    }

    fn quoted(&mut self, kind: Kind, byte: u8) {
        match byte {
            b'\\' => self.at += 2,
            b'"' if kind == Kind::Double => {
                self.at += 1;
                self.pop();
            }
            b'$' => self.dollar(true),
            b'`' => {
                self.enter(Kind::Code, b'`', 1);
            }
            b'<' => {
                if kind == Kind::Double {
                    self.look.openings.push((self.at, Place::Double));
                }
                self.at += 1;
            }
            _ => self.at += 1,
        }
    }

    fn brace(&mut self, byte: u8) {
        let quoted = self.stack.last().is_some_and(|f| f.quoted);
        match byte {
            b'\\' => self.at += 2,
            b'}' => {
                self.at += 1;
                self.pop();
            }
            b'"' => {
                self.enter(Kind::Double, b'"', 1);
            }
            b'\'' if !quoted => self.single(),
            b'$' => self.dollar(quoted),
            b'`' => {
                self.enter(Kind::Code, b'`', 1);
            }
            _ => self.at += 1,
        }
    }

    fn arithmetic(&mut self, byte: u8) {
        match byte {
            b'\\' => self.at += 2,
            b'(' => {
                if let Some(frame) = self.stack.last_mut() {
                    frame.depth += 1;
                }
                self.at += 1;
            }
            b')' => {
                self.at += 1;
                let mut open = 0;
                if let Some(frame) = self.stack.last_mut() {
                    frame.depth = frame.depth.saturating_sub(1);
                    open = frame.depth;
                }
                if open == 0 {
                    self.pop();
                }
            }
            b'"' => {
                self.enter(Kind::Double, b'"', 1);
            }
            b'$' => self.dollar(true),
            b'`' => {
                self.enter(Kind::Code, b'`', 1);
            }
            b if is_name_start(b) => {
                let from = self.at;
                let name = self.name();
                let before = self.slice(from.saturating_sub(2), from);
                let after = self.slice(self.at, self.end.min(self.at + 16)).trim_start();
                if sets(after) || matches!(before, "++" | "--") {
                    self.look.own.insert(name);
                }
            }
            b if b.is_ascii_digit() => {
                // `16#ff`: letters of a number are no name.
                while self.at < self.end && is_name(self.bytes[self.at]) {
                    self.at += 1;
                }
            }
            _ => self.at += 1,
        }
    }

    /// What follows a `$`; within double quotes a quote after it is only a quote.
    fn dollar(&mut self, quoted: bool) {
        match self.peek(1) {
            b'(' if self.peek(2) == b'(' => {
                self.enter_arithmetic(3, false);
            }
            b'(' => {
                self.enter(Kind::Code, b')', 2);
            }
            b'{' => {
                let from = self.at;
                self.at += 2;
                if matches!(self.peek(0), b'#' | b'!') && is_name_start(self.peek(1)) {
                    self.at += 1;
                }
                if is_name_start(self.peek(0)) {
                    let name = self.name();
                    let rest = self.slice(self.at, self.end.min(self.at + 2));
                    if rest.starts_with('=') || rest == ":=" {
                        self.look.own.insert(name);
                    }
                    self.look.references.push((from, name, true));
                }
                self.enter(Kind::Brace, b'}', 0);
                if let Some(frame) = self.stack.last_mut() {
                    frame.quoted = quoted;
                }
            }
            b'\'' if !quoted => {
                self.at += 2;
                while self.at < self.end && self.bytes[self.at] != b'\'' {
                    self.at += if self.bytes[self.at] == b'\\' { 2 } else { 1 };
                }
                self.at += 1;
            }
            b if is_name_start(b) => {
                let from = self.at;
                self.at += 1;
                let name = self.name();
                self.look.references.push((from, name, false));
            }
            b'0'..=b'9' | b'?' | b'@' | b'*' | b'#' | b'!' | b'-' | b'$' => self.at += 2,
            _ => self.at += 1,
        }
    }

    /// The name that begins here, and over it.
    fn name(&mut self) -> &'a str {
        let from = self.at;
        while self.at < self.end && is_name(self.bytes[self.at]) {
            self.at += 1;
        }
        self.slice(from, self.at)
    }

    /// Over a text in single quotes.
    fn single(&mut self) {
        self.at += 1;
        while self.at < self.end && self.bytes[self.at] != b'\'' {
            if self.bytes[self.at] == b'<' {
                self.look.openings.push((self.at, Place::Single));
            }
            self.at += 1;
        }
        self.at += 1;
    }

    fn parenthesis(&mut self) {
        let (kind, word, first) = match self.stack.last() {
            Some(f) => (f.kind, f.word, f.start || f.head == "for"),
            None => return,
        };
        let written = word.map_or("", |from| self.slice(from, self.at));
        if kind == Kind::Words || written.ends_with(['=', '?', '*', '+', '@', '!']) {
            self.begin_word();
            self.enter(Kind::Words, b')', 1);
            return;
        }
        self.end_word();
        if first && word.is_none() && self.peek(1) == b'(' {
            self.enter_arithmetic(2, true);
            return;
        }
        self.enter(Kind::Code, b')', 1);
        if let Some(frame) = self.stack.last_mut() {
            frame.fresh = true;
        }
    }

    /// `)`: the end of what a parenthesis began, or of a pattern of `case`.
    fn closing(&mut self) {
        self.end_word();
        let ends = self
            .stack
            .last()
            .is_some_and(|f| f.closer == b')' && f.cases == 0);
        self.at += 1;
        if ends {
            self.pop();
        } else {
            self.new_command();
        }
    }

    /// `<`: a here-document, a here-string, the output of a command, or a redirection.
    fn less(&mut self) {
        match (self.peek(1), self.peek(2)) {
            (b'<', b'<') => {
                self.redirects();
                self.at += 3;
            }
            (b'<', _) => {
                self.end_word();
                self.at += 2;
                self.here_document();
            }
            (b'(', _) => {
                self.begin_word();
                self.enter(Kind::Code, b')', 2);
            }
            (next, _) => {
                self.look.openings.push((self.at, Place::Code));
                self.descriptor();
                self.redirects();
                self.at += if matches!(next, b'>' | b'&') { 2 } else { 1 };
            }
        }
    }

    /// `{name}>file` gives the name a number.
    fn descriptor(&mut self) {
        let word = self.stack.last().and_then(|f| f.word);
        let written = word.map_or("", |from| self.slice(from, self.at));
        let name = written.strip_prefix('{').and_then(|w| w.strip_suffix('}'));
        if let Some(name) = name.filter(|n| is_whole_name(n)) {
            self.look.own.insert(name);
        }
    }

    fn end_word(&mut self) {
        let (text, at): (&'a str, usize) = (self.text, self.at.min(self.end));
        let Some(frame) = self.stack.last_mut() else {
            return;
        };
        let Some(from) = frame.word.take() else {
            return;
        };
        if frame.kind != Kind::Code || std::mem::take(&mut frame.target) {
            return;
        }
        let written: &'a str = text.get(from..at).unwrap_or_default();
        if !frame.start {
            if let Some(name) = named_by(frame.head, frame.previous, written) {
                self.look.own.insert(name);
            }
            frame.start = frame.head == "function" && written == "{";
            frame.previous = written;
            return;
        }
        if let Some(name) = assigned(written) {
            self.look.own.insert(name);
            return;
        }
        match written {
            "then" | "do" | "else" | "elif" | "if" | "while" | "until" | "!" | "{" | "time"
            | "builtin" | "command" => return,
            "case" => frame.cases += 1,
            "esac" => frame.cases = frame.cases.saturating_sub(1),
            "." | "source" | "eval" => self.look.evaluates = true,
            _ => {}
        }
        frame.start = false;
        frame.head = written;
        frame.previous = "";
    }
}
