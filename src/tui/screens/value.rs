//! A field for one value that the runbook declares: its question, type, example, help and hints above,
//! masked where it is a secret. Whoever opens it passes keys and news on.

use super::{Ask, News, Token, Typing, View, Want};
use crate::{
    domain::{event::CheckResult, runbook::Variable},
    engine::Look,
    tui::{
        theme::Theme,
        widgets::{
            evidence,
            field::{Edited, Field, Kind},
        },
    },
};
use crossterm::event::KeyEvent;
use ratatui::{Frame, layout::Rect};

/// Asks for one value and gives it to the engine.
pub(crate) struct Value {
    pub(crate) name: String,
    field: Field,
    words: Vec<String>,
    looking: Token,
    hints: Vec<CheckResult>,
    asked: Option<Token>,
}

/// What became of a key.
pub(crate) enum Typed {
    Stays(Want),
    Closes,
}

/// What became of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not meant for this field.
    Nothing,
    /// Something to draw.
    More,
    /// The value is held now.
    Held,
}

/// How keys are taken while a screen may have such a field open.
pub(super) fn typing(open: Option<&Value>) -> Typing {
    match open {
        Some(_) => Typing::EnterActs,
        None => Typing::Keys,
    }
}

/// A key for the field that may be open; one that closes it leaves none.
pub(super) fn typed(open: &mut Option<Value>, key: KeyEvent) -> Want {
    let Some(value) = open else {
        return Want::Nothing;
    };
    match value.typed(key) {
        Typed::Stays(want) => want,
        Typed::Closes => {
            *open = None;
            Want::Draw
        }
    }
}

/// Pasted text for the field that may be open.
pub(super) fn pasted(open: Option<&mut Value>, text: &str) -> Want {
    if let Some(value) = open {
        value.pasted(text);
    }
    Want::Draw
}

impl Value {
    pub(crate) fn new(name: &str, at: &View) -> Self {
        let variable = at.runbook.variable(name);
        let kind = if variable.is_secret() {
            Kind::Secret
        } else {
            Kind::Line
        };
        let held = at.incident.values.get(name);
        let present = held.and_then(|h| h.value.as_deref()).unwrap_or("");
        Self {
            name: name.to_owned(),
            field: Field::new(kind, name).with(present),
            words: words(&variable),
            looking: Token::new(),
            hints: Vec::new(),
            asked: None,
        }
    }

    /// Looks at what may help to answer.
    pub(crate) fn opened(&self, at: &View) -> Want {
        let variable = at.runbook.variable(&self.name);
        let hints = variable.hint;
        // What a baseline looks at is broken now: it would suggest the wrong value.
        if hints.is_empty() || variable.from_baseline {
            return Want::Draw;
        }
        Want::Ask(Ask::Look {
            token: self.looking,
            look: Look::Checks(hints),
        })
    }

    pub(crate) fn typed(&mut self, key: KeyEvent) -> Typed {
        match self.field.key(key) {
            Edited::Typed => Typed::Stays(Want::Draw),
            Edited::Cancelled => Typed::Closes,
            Edited::Accepted => {
                let token = Token::new();
                self.asked = Some(token);
                Typed::Stays(Want::Ask(Ask::Give {
                    token,
                    name: self.name.clone(),
                    value: self.field.value(),
                }))
            }
        }
    }

    pub(crate) fn pasted(&mut self, text: &str) {
        self.field.paste(text);
    }

    pub(crate) fn news(&mut self, news: &News) -> Heard {
        match news {
            News::Looked { token, result } if *token == self.looking => {
                self.hints.push(result.clone());
                Heard::More
            }
            News::Given { token, result, .. } if self.asked == Some(*token) => {
                self.asked = None;
                match result {
                    Ok(()) => Heard::Held,
                    Err(why) => {
                        self.field.wrong = Some(why.clone());
                        Heard::More
                    }
                }
            }
            _ => Heard::Nothing,
        }
    }

    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        let hints = self.hints.iter().map(|h| {
            let sign = theme.sign(evidence::mark(h));
            format!("{sign} {}: {}", h.what, h.seen)
        });
        self.field.about = self.words.iter().cloned().chain(hints).collect();
        self.field.popup(frame, area, theme);
    }
}

fn words(variable: &Variable) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(variable.ask.clone());
    let mut kind = format!("type: {}", variable.type_name());
    if !variable.choices.is_empty() {
        kind.push_str(&format!(", one of {}", variable.choices.join(", ")));
    }
    if let Some(example) = &variable.example {
        kind.push_str(&format!(", for instance {example}"));
    }
    if variable.is_secret() {
        kind.push_str("; it is kept in memory only, and never shown");
    }
    words.push(kind);
    words.extend(variable.help.clone());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;
    use crossterm::event::{KeyCode, KeyModifiers};

    #[test]
    fn a_secret_is_masked_and_a_refusal_stays_in_the_field() {
        let at = fixture::view();
        let mut value = Value::new("db_password", &at);
        for c in "hunter2".chars() {
            let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
            let _ = value.typed(key);
        }
        let drawn = fixture::draw(80, 24, |frame, area| {
            value.draw(frame, area, Theme::default());
        });
        assert!(
            !drawn.contains("hunter2") && drawn.contains("*******"),
            "{drawn}"
        );
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        let Typed::Stays(Want::Ask(Ask::Give { token, .. })) = value.typed(enter) else {
            panic!("it is given");
        };
        let heard = value.news(&News::Given {
            token,
            result: Err("too short".to_owned()),
        });
        assert_eq!(heard, Heard::More);
        let drawn = fixture::draw(80, 24, |frame, area| {
            value.draw(frame, area, Theme::default());
        });
        assert!(drawn.contains("too short"), "{drawn}");
    }
}
