//! Groups: subshells, conditions, loops, `case`, tests, functions.

use super::{Lexer, Until};
use crate::domain::runbook::scripts::commands::{Command, Redirect, Use, Word};

impl Lexer<'_> {
    /// `(` `)` behind a name.
    pub(super) fn is_function(&mut self) -> bool {
        let rest = self.text[self.at + 1..].trim_start_matches([' ', '\t']);
        if !rest.starts_with(')') {
            return false;
        }
        self.at = self.text.len() - rest.len() + 1;
        true
    }

    /// Where the output of a group goes, the output of its commands goes.
    pub(super) fn hand_down(&mut self, from: usize, group: &Command) {
        let outputs: Vec<Redirect> = group
            .redirects
            .iter()
            .filter(|r| r.is_output())
            .cloned()
            .collect();
        for pipeline in self.found.pipelines.iter_mut().skip(from) {
            if let Some(last) = pipeline.commands.last_mut() {
                let own = last.redirects.iter().any(Redirect::is_output);
                if !own && outputs.len() < 4 && pipeline.usage == Use::Statement {
                    last.redirects.extend(outputs.iter().cloned());
                }
            }
        }
    }

    /// Redirections behind a group.
    pub(super) fn tail(&mut self, command: &mut Command) {
        loop {
            self.blanks(false);
            if !self.redirect(command) {
                return;
            }
        }
    }

    /// Reads `( … )`, `{ … }`, `if …`, loops, `case`, `[[ … ]]` and `(( … ))`, if one stands here.
    pub(super) fn compound(&mut self, command: &mut Command, usage: &Use) -> bool {
        if self.starts("((") {
            let from = self.at;
            self.at += 2;
            self.arithmetic(1);
            command.words.push(Word {
                text: "((".to_owned(),
                at: from,
                ..Word::default()
            });
            return true;
        }
        if self.peek(0) == b'(' {
            self.at += 1;
            self.list(Until::Parenthesis, usage);
            self.at += usize::from(self.peek(0) == b')');
            return true;
        }
        let Some(word) = self.reserved() else {
            return false;
        };
        let from = self.at;
        self.at += word.len();
        match word {
            "{" => {
                self.list(Until::Word, usage);
                self.over("}");
            }
            "if" => loop {
                self.list(Until::Word, &Use::Condition);
                self.over("then");
                self.list(Until::Word, usage);
                if self.over("elif") {
                    continue;
                }
                if self.over("else") {
                    self.list(Until::Word, usage);
                }
                self.over("fi");
                break;
            },
            "while" | "until" => {
                self.list(Until::Word, &Use::Condition);
                self.body(usage);
                self.found.loops.push((from, self.at));
            }
            "for" | "select" => {
                self.blanks(false);
                if self.starts("((") {
                    self.at += 2;
                    self.arithmetic(1);
                }
                command.words.push(Word {
                    text: word.to_owned(),
                    at: from,
                    ..Word::default()
                });
                while self.at < self.bytes.len() && !matches!(self.peek(0), b';' | b'\n') {
                    let before = self.at;
                    let one = self.word(Until::End, &Use::Argument);
                    command.words.push(one);
                    self.blanks(false);
                    if self.at == before {
                        break;
                    }
                }
                self.body(usage);
            }
            "case" => self.cases(usage),
            "function" => {
                self.blanks(false);
                let name = self.word(Until::End, &Use::Argument).text;
                self.found
                    .functions
                    .insert(name.trim_end_matches("()").to_owned());
                self.blanks(false);
                if self.starts("()") {
                    self.at += 2;
                }
                self.blanks(true);
                self.compound(command, usage);
            }
            "[[" => {
                command.words = self.test(from);
                command.group = false;
                self.at = self.at.min(self.bytes.len());
                return false;
            }
            // An end without a beginning: over it.
            _ => {}
        }
        true
    }

    fn body(&mut self, usage: &Use) {
        self.blanks(true);
        if self.peek(0) == b';' {
            self.at += 1;
            self.blanks(true);
        }
        self.over("do");
        self.list(Until::Word, usage);
        self.over("done");
    }

    /// Over the reserved word, if it stands here.
    fn over(&mut self, word: &str) -> bool {
        self.blanks(true);
        let is = self.reserved() == Some(word);
        if is {
            self.at += word.len();
        }
        is
    }

    fn cases(&mut self, usage: &Use) {
        self.blanks(false);
        self.word(Until::End, &Use::Argument);
        self.blanks(true);
        if self.starts("in") {
            self.at += 2;
        }
        loop {
            self.blanks(true);
            if self.at >= self.bytes.len() || self.over("esac") {
                return;
            }
            let before = self.at;
            // The pattern.
            self.at += usize::from(self.peek(0) == b'(');
            while self.at < self.bytes.len() && self.peek(0) != b')' {
                let from = self.at;
                self.blanks(true);
                self.word(Until::End, &Use::Argument);
                self.at += usize::from(self.peek(0) == b'|' || self.at == from);
            }
            self.at += 1;
            self.list(Until::Word, usage);
            while matches!(self.peek(0), b';' | b'&') {
                self.at += 1;
            }
            if self.at == before {
                return;
            }
        }
    }

    /// The words of `[[ … ]]`.
    fn test(&mut self, from: usize) -> Vec<Word> {
        let mut words = vec![Word {
            text: "[[".to_owned(),
            at: from,
            ..Word::default()
        }];
        loop {
            self.blanks(true);
            if self.at >= self.bytes.len() {
                return words;
            }
            if self.starts("]]") {
                words.push(Word {
                    text: "]]".to_owned(),
                    at: self.at,
                    ..Word::default()
                });
                self.at += 2;
                return words;
            }
            let before = self.at;
            let sign = ["&&", "||", "<", ">", "(", ")", "|", "&", ";"];
            if let Some(sign) = sign.iter().find(|s| self.starts(s)) {
                self.at += sign.len();
                words.push(Word {
                    text: (*sign).to_owned(),
                    at: before,
                    ..Word::default()
                });
                continue;
            }
            let word = self.word(Until::End, &Use::Argument);
            if self.at == before {
                self.at += 1;
            }
            words.push(word);
        }
    }
}
