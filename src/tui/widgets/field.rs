//! A field for text: one line, several, or a secret that is shown as stars.

use super::{pane, text};
use crate::{
    domain::text::Clean,
    tui::theme::{Role, Theme},
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Frame, layout::Rect, style::Style, text::Line};
use ratatui_textarea::{CursorMove, TextArea};

/// What kind of text a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Line,
    /// Enter accepts it, alt-Enter begins a new line.
    Lines,
    /// Never shown, never cleaned: a password may hold anything.
    Secret,
}

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edited {
    Typed,
    Accepted,
    Cancelled,
}

/// A field with the focus.
pub(crate) struct Field {
    area: TextArea<'static>,
    kind: Kind,
    pub(crate) title: String,
    /// What stands above the field: a question, help, why the last text was refused.
    pub(crate) about: Vec<String>,
    pub(crate) wrong: Option<String>,
}

impl Field {
    pub(crate) fn new(kind: Kind, title: &str) -> Self {
        Self {
            area: area(kind, ""),
            kind,
            title: text::plain(title),
            about: Vec::new(),
            wrong: None,
        }
    }

    /// The same with words above it.
    pub(crate) fn about(mut self, about: Vec<String>) -> Self {
        self.about = about;
        self
    }

    /// The same with a text to begin with.
    pub(crate) fn with(mut self, value: &str) -> Self {
        self.area = area(self.kind, Clean::line(value).as_str());
        self
    }

    /// The text as it stands. Cleaned, unless it is a secret.
    pub(crate) fn value(&self) -> String {
        let whole = self.area.lines().join("\n");
        match self.kind {
            Kind::Secret => whole,
            Kind::Line => Clean::line(&whole).into_string(),
            Kind::Lines => Clean::new(&whole).into_string(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.area = area(self.kind, "");
    }

    /// Takes a key.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Edited {
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return Edited::Cancelled,
            KeyCode::Enter if alt && self.kind == Kind::Lines => self.area.insert_newline(),
            KeyCode::Enter => return Edited::Accepted,
            // What these would do in a text of several lines.
            KeyCode::Char('m' | 'j') if ctrl => {}
            KeyCode::Char('u') if ctrl => {
                self.area.delete_line_by_head();
            }
            KeyCode::Char(c) if !ctrl && !alt => {
                if self.kind == Kind::Secret || !Clean::line(&c.to_string()).as_str().is_empty() {
                    self.area.insert_char(c);
                }
            }
            _ => {
                self.area.input(key);
            }
        }
        self.wrong = None;
        Edited::Typed
    }

    /// Takes a pasted text: text, never keys. What has no place in the field is left out.
    pub(crate) fn paste(&mut self, pasted: &str) {
        let fitting = match self.kind {
            Kind::Secret => pasted.trim_end_matches(['\n', '\r']).to_owned(),
            Kind::Line => Clean::line(pasted.trim()).into_string(),
            Kind::Lines => Clean::new(pasted).into_string(),
        };
        self.area.insert_str(fitting);
        self.wrong = None;
    }

    /// How many lines `draw` needs at a width.
    pub(crate) fn height(&self, cells: u16) -> u16 {
        let lines = self.words(usize::from(cells), Theme::default()).len() + self.rows();
        u16::try_from(lines).unwrap_or(u16::MAX)
    }

    fn rows(&self) -> usize {
        match self.kind {
            Kind::Line | Kind::Secret => 1,
            Kind::Lines => 5,
        }
    }

    fn words(&self, cells: usize, theme: Theme) -> Vec<Line<'static>> {
        let mut lines: Vec<Line<'static>> = self
            .about
            .iter()
            .flat_map(|a| text::wrapped(a, cells, Style::new()))
            .collect();
        if let Some(wrong) = &self.wrong {
            lines.extend(text::wrapped(wrong, cells, theme.style(Role::Bad)));
        }
        lines
    }

    /// Draws the words and, below them, the field.
    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        let words = self.words(usize::from(area.width), theme);
        let rows = u16::try_from(self.rows()).unwrap_or(1).min(area.height);
        let above = pane::above(area, area.height - rows);
        super::list::scrolled(frame, above, &words, &mut 0);
        let used = u16::try_from(words.len())
            .unwrap_or(u16::MAX)
            .min(above.height);
        let input = pane::above(pane::below(area, used), rows);
        if input.is_empty() {
            return;
        }
        self.area.set_style(Style::new());
        self.area.set_cursor_style(theme.style(Role::Chosen));
        frame.render_widget(&self.area, input);
    }

    /// Draws the field in a popup of its own.
    pub(crate) fn popup(&mut self, frame: &mut Frame<'_>, area: Rect, theme: Theme) {
        let width = 76.min(area.width);
        let height = self.height(width.saturating_sub(2)) + 2;
        let title = self.title.clone();
        let inner = pane::popup(frame, area, &title, (width, height), theme);
        self.draw(frame, inner, theme);
    }
}

fn area(kind: Kind, value: &str) -> TextArea<'static> {
    let mut area = TextArea::new(vec![value.to_owned()]);
    area.move_cursor(CursorMove::End);
    // The widget's own styles have colours.
    area.set_cursor_line_style(Style::new());
    area.set_selection_style(Style::new().add_modifier(ratatui::style::Modifier::UNDERLINED));
    area.set_placeholder_style(Style::new());
    if kind == Kind::Secret {
        area.set_mask_char('*');
        // No copies of it in an undo history.
        area.set_max_histories(0);
    }
    if kind == Kind::Lines {
        area.set_wrap_mode(ratatui_textarea::WrapMode::WordOrGlyph);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    fn type_in(field: &mut Field, keys: &str) {
        for c in keys.chars() {
            field.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
    }

    #[test]
    fn typed_and_pasted_text_is_cleaned_and_never_accepts_itself() {
        let mut field = Field::new(Kind::Line, "reason");
        type_in(&mut field, "be");
        field.paste("fore\u{1b}[31m\nits turn\r\n");
        assert_eq!(field.value(), "before its turn");
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        assert_eq!(field.key(enter), Edited::Accepted);
        let esc = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
        assert_eq!(field.key(esc), Edited::Cancelled);
    }

    #[test]
    fn a_note_keeps_its_lines() {
        let mut field = Field::new(Kind::Lines, "note");
        field.paste("one\ntwo");
        field.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT));
        type_in(&mut field, "three");
        assert_eq!(field.value(), "one\ntwo\nthree");
    }

    #[test]
    fn a_secret_is_kept_as_it_is_and_never_drawn() {
        let mut field = Field::new(Kind::Secret, "password");
        type_in(&mut field, "hunter2");
        field.paste("\u{202e}!\n");
        assert_eq!(field.value(), "hunter2\u{202e}!");
        let mut terminal = Terminal::new(TestBackend::new(40, 6)).expect("memory has no errors");
        terminal
            .draw(|frame| {
                let area = frame.area();
                field.popup(frame, area, Theme::default());
            })
            .expect("memory has no errors");
        let cells = terminal.backend().buffer().content.iter();
        let drawn: String = cells.map(|c| c.symbol()).collect();
        assert!(
            drawn.contains("*********") && !drawn.contains("hunter"),
            "{drawn}"
        );
    }
}
