//! From bytes to commands, in one pass: nested commands are read where they stand.

mod compound;
mod redirect;
mod word;

use super::{Command, Commands, Pipeline, Use, Word};

/// Deeper nesting is skipped: nobody reads it, and the stack is not endless.
const DEEPEST: usize = 60;

pub(super) struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    found: Commands,
    /// Here-documents whose text begins on the next line: the delimiter, whether tabs are cut.
    waiting: Vec<Waiting>,
    /// Texts of here-documents in the order in which they were asked for.
    heres: Vec<String>,
}

struct Waiting {
    ends: String,
    tabs: bool,
    number: usize,
}

/// What ends a list of commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    /// `)`, of a subshell or a substitution.
    Parenthesis,
    Backquote,
    /// `}`, `fi`, `done`, `esac`, `;;`, `then` …: the caller looks.
    Word,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            depth: 0,
            found: Commands::default(),
            waiting: Vec::new(),
            heres: Vec::new(),
        }
    }

    pub(super) fn read(mut self) -> Commands {
        while self.at < self.bytes.len() {
            self.list(Until::End, &Use::Statement);
            // A word that ends nothing: over it.
            self.at += 1;
        }
        self.here_documents();
        let heres = std::mem::take(&mut self.heres);
        let commands = self
            .found
            .pipelines
            .iter_mut()
            .flat_map(|p| &mut p.commands);
        for redirect in commands.flat_map(|c| &mut c.redirects) {
            if redirect.sign == "<<" {
                let number = redirect.to.text.parse::<usize>().ok();
                let text = number.and_then(|n| heres.get(n)).cloned();
                redirect.to.text = text.unwrap_or_default();
            }
        }
        self.found
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts(&self, text: &str) -> bool {
        self.bytes[self.at.min(self.bytes.len())..].starts_with(text.as_bytes())
    }

    /// Over blanks, joined lines and comments; a line's end only where `lines` says so.
    fn blanks(&mut self, lines: bool) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'#' => {
                    while self.at < self.bytes.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                }
                b'\n' if lines => self.line(),
                _ => return,
            }
        }
    }

    /// Over the end of a line, and over the here-documents that begin behind it.
    fn line(&mut self) {
        self.at += 1;
        self.here_documents();
    }

    /// The reserved word that stands here as a whole.
    fn reserved(&self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let end = rest
            .bytes()
            .position(|b| !(b.is_ascii_lowercase() || matches!(b, b'{' | b'}' | b'!' | b'[')))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let after = rest.as_bytes().get(end).copied().unwrap_or(b' ');
        let whole = matches!(
            after,
            b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'(' | b')' | b'\\' | b'`'
        ) || (after == b'>' || after == b'<');
        const WORDS: [&str; 19] = [
            "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "for", "select",
            "case", "esac", "{", "}", "!", "time", "function", "[[",
        ];
        WORDS.iter().find(|w| whole && **w == word).copied()
    }

    /// Pipelines until what ends them; stands before it afterwards.
    fn list(&mut self, until: Until, usage: &Use) {
        if self.depth >= DEEPEST {
            self.at = self.bytes.len();
            return;
        }
        self.depth += 1;
        loop {
            self.blanks(true);
            match self.peek(0) {
                0 if self.at >= self.bytes.len() => break,
                b')' => {
                    if until != Until::End {
                        break;
                    }
                    self.at += 1;
                    continue;
                }
                b'`' if until == Until::Backquote => break,
                b';' if self.peek(1) == b';' && until == Until::Word => break,
                b';' | b'&' | b'|' => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            if until == Until::Word
                && let Some("then" | "elif" | "else" | "fi" | "do" | "done" | "esac" | "}") =
                    self.reserved()
            {
                break;
            }
            let before = self.at;
            self.pipeline(until, usage);
            if self.at == before {
                self.at += 1;
            }
        }
        self.depth -= 1;
    }

    fn pipeline(&mut self, until: Until, usage: &Use) {
        let at = self.at;
        let mut pipeline = Pipeline {
            commands: Vec::new(),
            usage: usage.clone(),
            guarded: false,
            at,
        };
        loop {
            self.blanks(!pipeline.commands.is_empty());
            while let Some(word @ ("!" | "time")) = self.reserved() {
                pipeline.guarded |= word == "!";
                self.at += word.len();
                self.blanks(false);
            }
            let from = self.at;
            let command = self.command(until, usage);
            if self.at == from {
                break;
            }
            pipeline.commands.push(command);
            self.blanks(false);
            if self.peek(0) == b'|' && self.peek(1) != b'|' {
                self.at += if self.peek(1) == b'&' { 2 } else { 1 };
            } else {
                break;
            }
        }
        self.blanks(false);
        pipeline.guarded |= self.starts("||");
        if self.starts("||") || self.starts("&&") {
            self.at += 2;
        }
        if !pipeline.commands.is_empty() {
            self.found.pipelines.push(pipeline);
        }
    }

    fn command(&mut self, until: Until, usage: &Use) -> Command {
        let mut command = Command {
            at: self.at,
            ..Command::default()
        };
        let inside = self.found.pipelines.len();
        if self.compound(&mut command, usage) {
            command.group = true;
            self.tail(&mut command);
            self.hand_down(inside, &command);
            return command;
        }
        loop {
            self.blanks(false);
            let byte = self.peek(0);
            if self.at >= self.bytes.len() || matches!(byte, b'\n' | b';' | b'|' | b')') {
                break;
            }
            if byte == b'&' && self.peek(1) != b'>' {
                break;
            }
            if byte == b'`' && until == Until::Backquote {
                break;
            }
            if byte == b'(' {
                if command.words.len() == 1 && self.is_function() {
                    let name = command.words.pop().map(|w| w.text).unwrap_or_default();
                    self.found.functions.insert(name);
                    command.group = true;
                    self.blanks(true);
                    self.compound(&mut command, usage);
                    self.tail(&mut command);
                    return command;
                }
                self.at += 1;
                continue;
            }
            if self.redirect(&mut command) {
                continue;
            }
            let from = self.at;
            let first = command.words.is_empty();
            if first && let Some(name) = self.assignment() {
                let inner = Use::Assigned(name.clone());
                let word = if self.peek(0) == b'(' {
                    self.array();
                    Word::default()
                } else {
                    self.word(until, &inner)
                };
                command.assigned.push((name, word));
                continue;
            }
            let declares = matches!(
                command.name(),
                "export" | "local" | "declare" | "readonly" | "typeset"
            );
            let inner = match self.text[self.at..].split_once('=') {
                Some((name, _))
                    if declares && crate::domain::runbook::scripts::words::is_whole_name(name) =>
                {
                    Use::Assigned(name.to_owned())
                }
                _ => Use::Argument,
            };
            let word = self.word(until, &inner);
            if self.at == from {
                break;
            }
            command.words.push(word);
        }
        command
    }

    /// `NAME=` or `NAME+=` or `NAME[…]=` at the beginning of a command, and over it.
    fn assignment(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let line = rest
            .split(['\n', ' ', ';', '|', '&'])
            .next()
            .unwrap_or_default();
        let name = crate::domain::runbook::scripts::words::assigned(line)?.to_owned();
        let sign = line.get(name.len()..)?.find('=')?;
        self.at += name.len() + sign + 1;
        Some(name)
    }

    /// `( … )` behind `name=`.
    fn array(&mut self) {
        self.at += 1;
        loop {
            self.blanks(true);
            if self.at >= self.bytes.len() || self.peek(0) == b')' {
                self.at = (self.at + 1).min(self.bytes.len());
                return;
            }
            let before = self.at;
            self.word(Until::Parenthesis, &Use::Argument);
            if self.at == before {
                self.at += 1;
            }
        }
    }
}
