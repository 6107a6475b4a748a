//! The whole table of known failures, to be searched by what one sees.

use super::{Screen, Typing, View, Want};
use crate::{
    domain::{
        failures::{rules::Rule, search::Table},
        runbook::find_step,
    },
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
    table: Table,
    /// What was searched last, and what was found: drawing does not search.
    found: Option<(String, Vec<usize>)>,
}

impl Failures {
    pub(crate) fn new(at: &View) -> Self {
        Self {
            cursor: Cursor::default(),
            words: String::new(),
            field: None,
            table: Table::of(&at.runbook.failures),
            found: None,
        }
    }

    /// The rows that fit what was typed, best first.
    fn rows(&mut self) -> Vec<&Rule> {
        let typed = self
            .field
            .as_ref()
            .map_or_else(|| self.words.clone(), Field::value);
        if self.found.as_ref().is_none_or(|(of, _)| *of != typed) {
            let places = self.table.search(&typed);
            self.found = Some((typed, places));
        }
        let places = self.found.iter().flat_map(|(_, places)| places);
        places.map(|at| self.table.row(*at)).collect()
    }
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
        let (all, words) = (self.table.len(), self.words.clone());
        let mut cursor = std::mem::take(&mut self.cursor);
        let rows = self.rows();
        let title = match words.as_str() {
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
                let of = match row.tools.first() {
                    Some(tool) => format!("{tool:<11}"),
                    None => "runbook    ".to_owned(),
                };
                Line::raw(text::fit(&format!(" {of} {symptom}"), cells, theme))
            })
            .collect();
        list::draw(frame, inner, &lines, &mut cursor, theme);
        let below = pane::above(pane::below(area, top), bottom);
        let chosen = rows.get(cursor.at);
        let name = chosen.map_or("no row matches", |r| r.id.as_str());
        let inner = pane::pane(frame, below, name, false, theme);
        let lines = chosen.map(|row| facts(row, at, usize::from(inner.width)));
        list::scrolled(frame, inner, &lines.unwrap_or_default(), &mut 0);
        self.cursor = cursor;
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
                let chosen = self.cursor.at;
                let rows = self.rows();
                let go = rows.get(chosen).and_then(|r| r.go.as_ref());
                let names = at.incident.steps.iter().map(|s| s.plan.step.as_str());
                match go.map(|go| find_step(names, go)) {
                    Some(Ok(step)) => Want::Say(format!("it leads to the step {step}")),
                    Some(Err(why)) => Want::Say(why.to_string()),
                    None => Want::Say("this row names no place to go".to_owned()),
                }
            }
            other => {
                let len = self.rows().len();
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

fn facts(row: &Rule, at: &View, cells: usize) -> Vec<Line<'static>> {
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
    for pattern in &row.output {
        fact("output", pattern.as_str());
    }
    let codes: Vec<String> = row.exit.iter().map(ToString::to_string).collect();
    fact("exit", &codes.join(", "));
    fact(
        "probe",
        &row.probe.as_ref().map_or_else(String::new, |p| p.label()),
    );
    fact("go", row.go.as_deref().unwrap_or(""));
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
        assert!(failures.rows().len() > 150);
        assert_eq!(
            failures.rows()[0].tools.len(),
            0,
            "the runbook's own come first"
        );
        failures.words = "server does not START".to_owned();
        assert_eq!(failures.rows()[0].id, "target-after-wal");
        failures.words = "pod is out of memory".to_owned();
        assert!(failures.rows()[0].cause.to_lowercase().contains("memory"));
        failures.words = "xyzzyplugh frobnicated".to_owned();
        let drawn = fixture::draw(80, 24, |frame, area| failures.draw(frame, area, &at));
        assert!(drawn.contains("no row matches"), "{drawn}");
    }
}
