//! Redirections, and the texts of here-documents that stand behind the line.

use super::{Lexer, Until, Waiting};
use crate::domain::runbook::scripts::commands::{Command, Redirect, Use, Word};

impl Lexer<'_> {
    pub(super) fn here_documents(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let mut body = String::new();
            while self.at < self.bytes.len() {
                let rest = &self.text[self.at..];
                let line = rest.split_inclusive('\n').next().unwrap_or(rest);
                self.at += line.len();
                let bare = line.trim_end_matches('\n');
                let bare = if waiting.tabs {
                    bare.trim_start_matches('\t')
                } else {
                    bare
                };
                if bare == waiting.ends {
                    break;
                }
                body.push_str(bare);
                body.push('\n');
            }
            if let Some(place) = self.heres.get_mut(waiting.number) {
                *place = body;
            }
        }
    }

    pub(super) fn redirect(&mut self, command: &mut Command) -> bool {
        let from = self.at;
        let mut at = self.at;
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        let number = self.text[from..at].parse().ok();
        let rest = &self.text[at..];
        // `<(…)` and `>(…)` are words.
        if rest.starts_with("<(") || rest.starts_with(">(") {
            return false;
        }
        const SIGNS: [&str; 12] = [
            "&>>", "<<<", "<<-", "&>", "<<", "<&", "<>", ">>", ">&", ">|", "<", ">",
        ];
        let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) else {
            return false;
        };
        if number.is_some() && sign.starts_with('&') {
            return false;
        }
        self.at = at + sign.len();
        self.blanks(false);
        let target = self.at;
        let mut to = self.word(Until::End, &Use::Argument);
        if sign.starts_with("<<") && *sign != "<<<" {
            let number = self.heres.len();
            self.heres.push(String::new());
            self.waiting.push(Waiting {
                ends: to.text.clone(),
                tabs: *sign == "<<-",
                number,
            });
            to = Word {
                text: number.to_string(),
                at: target,
                quoted: to.quoted,
                ..Word::default()
            };
        }
        command.redirects.push(Redirect {
            sign: sign.trim_end_matches('-').to_owned(),
            from: number,
            to,
        });
        true
    }
}
