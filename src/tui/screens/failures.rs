//! The whole table of known failures, to be searched by what one sees.

use super::{Screen, Typing, View, Want};
use crate::{
    domain::runbook::{FailureRow, find_step},
    tui::{
        keymap::{Action, Place},
        theme::Role,
        widgets::{
            field::{Edited, Field, Kind},
            list::{self, Cursor},
            pane, text,
        },
    },
};
use crossterm::event::KeyEvent;
use ratatui::{Frame, layout::Rect, text::Line};

/// Lists failures by symptom; the chosen one in full below.
pub(crate) struct Failures {
    cursor: Cursor,
    words: String,
    field: Option<Field>,
}

impl Failures {
    pub(crate) fn new(_at: &View) -> Self {
        Self {
            cursor: Cursor::default(),
            words: String::new(),
            field: None,
        }
    }

    /// The rows in which every word that was typed stands somewhere.
    fn rows<'v>(&self, at: &'v View) -> Vec<&'v FailureRow> {
        let typed = self
            .field
            .as_ref()
            .map_or_else(|| self.words.clone(), Field::value);
        let rows = at.runbook.failures.iter();
        rows.filter(|row| matches(row, &typed)).collect()
    }
}

fn matches(row: &FailureRow, typed: &str) -> bool {
    let patterns: Vec<&str> = row.matches.output.iter().map(|r| r.as_str()).collect();
    let all = format!(
        "{} {} {} {} {} {}",
        row.id,
        row.symptom,
        row.cause,
        row.fix,
        row.source,
        patterns.join(" ")
    )
    .to_lowercase();
    typed
        .to_lowercase()
        .split_whitespace()
        .all(|word| all.contains(word))
}

impl Screen for Failures {
    fn place(&self) -> Place {
        if self.field.is_some() {
            Place::Field
        } else {
            Place::Failures
        }
    }

    /// ```text
    /// ╭ Known failures, 2 of 37 match /cannot connect ─────────────────────────╮
    /// │ The restore finds no backup set                                        │
    /// │ The restored server does not start                                     │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ╭ target-before-backup ──────────────────────────────────────────────────╮
    /// │ cause   The moment to restore to lies before the oldest backup         │
    /// │ fix     Choose a later moment                                          │
    /// │ looks   \[075\]                                                        │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let theme = at.theme;
        let rows = self.rows(at);
        let all = at.runbook.failures.len();
        let title = match self.words.as_str() {
            "" => format!("Known failures, {} of {all}", rows.len()),
            words => format!("Known failures, {} of {all} match /{words}", rows.len()),
        };
        let (top, bottom) = (area.height / 2, area.height - area.height / 2);
        let inner = pane::pane(frame, pane::above(area, top), &title, true, theme);
        let cells = usize::from(inner.width);
        let lines: Vec<Line<'static>> = rows
            .iter()
            .map(|row| {
                let symptom = if row.symptom.is_empty() {
                    &row.cause
                } else {
                    &row.symptom
                };
                Line::raw(text::fit(&format!(" {symptom}"), cells, theme))
            })
            .collect();
        list::draw(frame, inner, &lines, &mut self.cursor, theme);
        let below = pane::above(pane::below(area, top), bottom);
        let chosen = rows.get(self.cursor.at);
        let name = chosen.map_or("no row matches", |r| r.id.text.as_str());
        let inner = pane::pane(frame, below, name, false, theme);
        let lines = chosen.map(|row| facts(row, at, usize::from(inner.width)));
        list::scrolled(frame, inner, &lines.unwrap_or_default(), &mut 0);
        if let Some(field) = &mut self.field {
            field.popup(frame, area, theme);
        }
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        match action {
            Action::Back if !self.words.is_empty() => {
                self.words.clear();
                Want::Draw
            }
            Action::Back => Want::Back,
            Action::Search => {
                let about = vec![
                    "What do you see? Words of the symptom, the cause or the output.".to_owned(),
                ];
                self.field = Some(Field::new(Kind::Line, "search").about(about));
                Want::Draw
            }
            Action::Choose => {
                let rows = self.rows(at);
                let go = rows.get(self.cursor.at).and_then(|r| r.go.as_ref());
                let names = at.incident.steps.iter().map(|s| s.plan.step.as_str());
                match go.map(|go| find_step(names, &go.text)) {
                    Some(Ok(step)) => Want::Say(format!("it leads to the step {step}")),
                    Some(Err(why)) => Want::Say(why.to_string()),
                    None => Want::Say("this row names no place to go".to_owned()),
                }
            }
            other => {
                let len = self.rows(at).len();
                if self.cursor.act(other, len) {
                    Want::Draw
                } else {
                    Want::Nothing
                }
            }
        }
    }

    fn typing(&self) -> Typing {
        match self.field {
            Some(_) => Typing::Free,
            None => Typing::Keys,
        }
    }

    fn typed(&mut self, key: KeyEvent, _at: &View) -> Want {
        let Some(field) = &mut self.field else {
            return Want::Nothing;
        };
        match field.key(key) {
            Edited::Typed => {}
            Edited::Accepted => {
                self.words = field.value();
                self.field = None;
            }
            Edited::Cancelled => self.field = None,
        }
        self.cursor = Cursor::default();
        Want::Draw
    }

    fn pasted(&mut self, text: &str) -> Want {
        if let Some(field) = &mut self.field {
            field.paste(text);
        }
        Want::Draw
    }
}

fn facts(row: &FailureRow, at: &View, cells: usize) -> Vec<Line<'static>> {
    let (strong, plain) = (at.theme.style(Role::Strong), at.theme.style(Role::Plain));
    let mut lines = Vec::new();
    let mut fact = |label: &str, words: &str| {
        if !words.is_empty() {
            lines.extend(text::labelled(
                &format!(" {label:<8}"),
                words,
                cells,
                strong,
                plain,
            ));
        }
    };
    fact("symptom", &row.symptom);
    fact("cause", &row.cause);
    fact("fix", &row.fix);
    for pattern in &row.matches.output {
        fact("output", pattern.as_str());
    }
    let codes: Vec<String> = row.matches.exit.iter().map(ToString::to_string).collect();
    fact("exit", &codes.join(", "));
    fact(
        "probe",
        &row.probe.as_ref().map_or_else(String::new, |p| p.label()),
    );
    fact("go", row.go.as_ref().map_or("", |g| g.text.as_str()));
    fact("source", &row.source);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    #[test]
    fn the_table_is_searched_by_any_words_of_the_symptom() {
        let at = fixture::view();
        let mut failures = Failures::new(&at);
        assert_eq!(failures.rows(&at).len(), 2);
        failures.words = "server START".to_owned();
        let found = failures.rows(&at);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id.text, "target-after-wal");
        failures.words = "nothing like this".to_owned();
        let drawn = fixture::draw(80, 24, |frame, area| failures.draw(frame, area, &at));
        assert!(drawn.contains("no row matches"), "{drawn}");
    }
}
