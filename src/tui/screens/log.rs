//! One attempt's output over the whole screen: a log of any size through a window.

mod input;
mod window;

use super::{Ask, News, Screen, Token, Typing, View, Want};
use crate::{
    domain::text::Clean,
    tui::{
        keymap::{Action, KeyMap, Place},
        theme::{Mark, Role},
        widgets::{
            field::{Edited, Field, Kind},
            pane, text,
        },
    },
};
use chrono::{DateTime, Utc};
use crossterm::event::{KeyCode, KeyEvent};
use input::Input;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use regex::Regex;
use std::{path::PathBuf, sync::Arc};
use window::Window;

/// Shows, follows and searches one log; sends typed keys to a step that has a terminal.
pub(crate) struct Log {
    step: String,
    n: u32,
    dir: PathBuf,
    started_at: DateTime<Utc>,
    window: Window,
    search: Option<Regex>,
    field: Option<Field>,
    finding: Option<Token>,
    /// The line that was found last.
    hit: Option<u64>,
    left: usize,
    wrap: bool,
    times: bool,
    input: Option<Input>,
    size: (u16, u16),
    keys: Arc<KeyMap>,
}

impl Log {
    /// The log of the chosen step's last attempt.
    pub(crate) fn new(at: &View) -> Self {
        let step = at.chosen.clone().unwrap_or_default();
        let attempt = at.incident.step(&step).and_then(|s| s.attempts.last());
        let dir = attempt.map_or_else(|| at.attempt_dir("none"), |a| at.attempt_dir(&a.dir));
        Self {
            n: attempt.map_or(0, |a| a.n),
            started_at: attempt.map_or(at.now, |a| a.started_at),
            window: Window::new(&dir),
            search: None,
            field: None,
            finding: None,
            hit: None,
            left: 0,
            wrap: false,
            times: false,
            input: None,
            size: (80, 24),
            keys: at.keys.clone(),
            step,
            dir,
        }
    }

    fn is_running(&self, at: &View) -> bool {
        at.incident
            .attempt(&self.step, self.n)
            .is_some_and(|a| a.is_running())
    }

    fn has_terminal(&self, at: &View) -> bool {
        at.runbook
            .step(&self.step)
            .and_then(|s| s.script())
            .is_some_and(|s| s.tty)
    }

    fn find(&mut self, regex: Regex, from: u64, forward: bool) -> Want {
        let token = Token::new();
        self.finding = Some(token);
        Want::Ask(Ask::Find {
            token,
            dir: self.dir.clone(),
            from,
            regex,
            forward,
        })
    }

    /// Searches on from the last hit, or from what is shown.
    fn next(&mut self, regex: Option<Regex>, forward: bool) -> Want {
        let Some(regex) = regex else {
            let key = self.keys.key(Action::Search);
            return Want::Say(format!("nothing is searched for; {key} does"));
        };
        let from = self.hit.unwrap_or_else(|| self.window.first());
        self.find(regex, from, forward)
    }

    /// A first search: what is on the screen, else what lies below; following, what lies above.
    fn search(&mut self, typed: &str) -> Want {
        let regex = smart_case(typed);
        self.search = Some(regex.clone());
        if self.window.follows() {
            let end = self.window.len();
            return self.find(regex, end, false);
        }
        let shown = self
            .window
            .lines()
            .iter()
            .find(|l| regex.is_match(l.text.as_str()));
        match shown.map(|l| l.offset) {
            Some(offset) => {
                self.hit = Some(offset);
                Want::Draw
            }
            None => {
                let from = self.window.first();
                self.find(regex, from, true)
            }
        }
    }

    fn title(&self, at: &View) -> String {
        let state = match (&self.input, self.window.follows(), self.is_running(at)) {
            (Some(_), _, _) => "keys go to the step".to_owned(),
            (None, true, true) => "following".to_owned(),
            (None, true, false) => "ended".to_owned(),
            (None, false, _) => {
                let (unseen, more) = self.window.unseen();
                let more = if more { "+" } else { "" };
                match unseen {
                    0 => "paused".to_owned(),
                    n => format!("paused, {n}{more} new lines"),
                }
            }
        };
        let searched = self.search.as_ref().map_or_else(String::new, |r| {
            format!(" — /{}", r.as_str().trim_start_matches("(?i)"))
        });
        format!("{}, attempt {} — {state}{searched}", self.step, self.n)
    }

    fn row(&self, offset: u64, words: &str, time: Option<u64>, at: &View) -> Line<'static> {
        let theme = at.theme;
        let mut spans = Vec::new();
        if self.times {
            let moment = time.map(|ms| {
                let ms = i64::try_from(ms).unwrap_or(0);
                self.started_at + chrono::TimeDelta::milliseconds(ms)
            });
            let time = moment.map_or_else(String::new, |m| m.format("%H:%M:%S").to_string());
            spans.push(Span::styled(
                format!("{} ", text::pad(&time, 8, theme)),
                theme.style(Role::Faint),
            ));
        }
        let here = self.hit == Some(offset);
        let sign = if here { theme.sign(Mark::Here) } else { " " };
        spans.push(Span::raw(sign));
        spans.extend(highlighted(words, self.search.as_ref(), at));
        Line::from(spans)
    }
}

/// Words with what was searched for set off.
fn highlighted(words: &str, search: Option<&Regex>, at: &View) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let mut done = 0;
    if let Some(regex) = search {
        for found in regex.find_iter(words).filter(|f| !f.is_empty()) {
            spans.push(Span::raw(words[done..found.start()].to_owned()));
            spans.push(Span::styled(
                found.as_str().to_owned(),
                at.theme.style(Role::Found),
            ));
            done = found.end();
        }
    }
    spans.push(Span::raw(words[done..].to_owned()));
    spans
}

/// A regular expression, or the words themselves where it is none; small letters match both cases.
fn smart_case(typed: &str) -> Regex {
    let case = if typed.chars().any(char::is_uppercase) {
        ""
    } else {
        "(?i)"
    };
    Regex::new(&format!("{case}{typed}"))
        .or_else(|_| Regex::new(&format!("{case}{}", regex::escape(typed))))
        .unwrap_or_else(|_| errors())
}

/// Lines that speak of an error.
fn errors() -> Regex {
    Regex::new(r"(?i)\b(error|err|fatal|panic|failed|failure|exception|denied|refused|cannot)\b")
        .expect("a fixed expression that compiles")
}

impl Screen for Log {
    fn place(&self) -> Place {
        match (&self.input, &self.field) {
            (Some(_), _) => Place::Insert,
            (None, Some(_)) => Place::Field,
            (None, None) => Place::Log,
        }
    }

    fn focus(&self) -> String {
        format!("log {}", self.input.is_some())
    }

    fn chosen(&self) -> Option<String> {
        Some(self.step.clone())
    }

    fn opened(&mut self, at: &View) -> Want {
        match &at.looked_for {
            Some(line) => {
                let regex = smart_case(&regex::escape(line));
                self.search = Some(regex.clone());
                let end = self.window.len();
                self.find(regex, end, false)
            }
            None => Want::Draw,
        }
    }

    /// ```text
    /// ╭ postgres/pitr/restore, attempt 1 — paused, 12 new lines — /075 ────────╮
    /// │13:41:26  P00   INFO: restore command begin 2.54.2                      │
    /// │13:41:27 ▸P00  ERROR: [075]: unable to find backup set                  │
    /// │/075                                                                    │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let inner = pane::pane(frame, area, &self.title(at), true, at.theme);
        if inner.is_empty() {
            return;
        }
        self.size = (inner.width, inner.height);
        let bottom = u16::from(self.field.is_some());
        let body = pane::above(inner, inner.height - bottom);
        let height = usize::from(body.height);
        self.window.load(height);
        let taken = if self.times { 10 } else { 1 };
        let cells = usize::from(body.width).saturating_sub(taken).max(1);
        let times = if self.times {
            self.window.times(&self.dir)
        } else {
            Vec::new()
        };
        let mut rows: Vec<Line<'static>> = Vec::new();
        for (i, line) in self.window.lines().iter().enumerate() {
            let time = times.get(i).copied().flatten();
            if self.wrap {
                for piece in text::wrap(line.text.as_str(), cells) {
                    rows.push(self.row(line.offset, &piece, time, at));
                }
            } else {
                let words: String = line.text.as_str().chars().skip(self.left).collect();
                let words = text::fit(&words, cells, at.theme);
                rows.push(self.row(line.offset, &words, time, at));
            }
        }
        let hidden = rows.len().saturating_sub(height);
        let skip = if self.window.follows() { hidden } else { 0 };
        for (y, row) in (body.top()..body.bottom()).zip(rows.iter().skip(skip)) {
            frame.render_widget(row, Rect::new(body.x, y, body.width, 1));
        }
        if let Some(field) = &mut self.field {
            let foot = pane::below(inner, inner.height - 1);
            let (left, right) = pane::split(foot, 1);
            frame.render_widget(Line::raw("/"), left);
            field.draw(frame, right, at.theme);
        }
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        match action {
            Action::Back => return Want::Back,
            Action::Follow => self.window.toggle(),
            Action::Search => self.field = Some(Field::new(Kind::Line, "search")),
            Action::NextMatch => return self.next(self.search.clone(), true),
            Action::PreviousMatch => return self.next(self.search.clone(), false),
            Action::NextError => return self.next(Some(errors()), true),
            Action::PreviousError => return self.next(Some(errors()), false),
            Action::Wrap => self.wrap = !self.wrap,
            Action::Times => self.times = !self.times,
            Action::Left => self.left = self.left.saturating_sub(16),
            Action::Right => self.left = (self.left + 16).min(16 * 1024),
            Action::Copy => {
                let lines = self.window.lines().iter().map(|l| l.text.as_str());
                return Want::Copy(lines.collect::<Vec<_>>().join("\n"));
            }
            Action::Insert if !self.has_terminal(at) => {
                return Want::Say("this step has no terminal to type to".to_owned());
            }
            Action::Insert if !self.is_running(at) => {
                return Want::Say("this step is not running".to_owned());
            }
            Action::Insert => {
                self.input = Some(Input::default());
                self.window.follow();
                return Want::Ask(Ask::Resize {
                    step: self.step.clone(),
                    columns: self.size.0,
                    rows: self.size.1,
                });
            }
            other => {
                if !self.window.act(other) {
                    return Want::Nothing;
                }
            }
        }
        Want::Draw
    }

    fn typing(&self) -> Typing {
        match (&self.input, &self.field) {
            (Some(_), _) => Typing::ToStep,
            (None, Some(_)) => Typing::Free,
            (None, None) => Typing::Keys,
        }
    }

    fn typed(&mut self, key: KeyEvent, _at: &View) -> Want {
        if let Some(input) = &mut self.input {
            let ends = self.keys.lookup(Place::Insert, key) == Some(Action::EndInsert);
            let bytes = if ends { None } else { input.take(key) };
            let Some(bytes) = bytes else {
                self.input = None;
                return Want::Say("keys are keys of the cockpit again".to_owned());
            };
            return Want::Ask(Ask::Input {
                step: self.step.clone(),
                bytes,
            });
        }
        let Some(field) = &mut self.field else {
            return Want::Nothing;
        };
        // Backspace in an empty field ends the search, as in less.
        let emptied = key.code == KeyCode::Backspace && field.value().is_empty();
        match field.key(key) {
            Edited::Typed if emptied => {
                self.field = None;
                Want::Draw
            }
            Edited::Typed => Want::Draw,
            Edited::Cancelled => {
                self.field = None;
                self.search = None;
                Want::Draw
            }
            Edited::Accepted => {
                let typed = field.value();
                self.field = None;
                if typed.is_empty() {
                    return self.next(self.search.clone(), true);
                }
                self.search(&typed)
            }
        }
    }

    fn pasted(&mut self, text: &str) -> Want {
        if self.input.is_some() {
            // A pasted line break would be an Enter that nobody pressed.
            let bytes = Clean::line(text.trim_end()).into_string().into_bytes();
            return Want::Ask(Ask::Input {
                step: self.step.clone(),
                bytes,
            });
        }
        if let Some(field) = &mut self.field {
            field.paste(text);
        }
        Want::Draw
    }

    fn news(&mut self, news: &News, _at: &View) -> Want {
        match news {
            News::Found { token, offset } if self.finding == Some(*token) => {
                self.finding = None;
                match offset {
                    Some(offset) => {
                        self.hit = Some(*offset);
                        self.window.show(*offset);
                        Want::Draw
                    }
                    None => Want::Say("nothing more is found in this direction".to_owned()),
                }
            }
            _ => Want::Nothing,
        }
    }

    fn changed(&mut self, at: &View) -> Want {
        // Whoever typed to a step that has ended types to nobody.
        if self.input.is_some() && !self.is_running(at) {
            self.input = None;
        }
        Want::Draw
    }

    fn follows(&self, at: &View) -> bool {
        self.is_running(at)
    }

    fn grew(&mut self) -> bool {
        self.window.grew()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        logs::{LogWriter, StreamName},
        tui::fixture,
    };

    fn log(text: &str) -> (tempfile::TempDir, Log, View) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut at = fixture::view();
        at.dir = dir.path().to_owned();
        at.chosen = Some(at.incident.steps[1].plan.step.clone());
        let attempt = at.incident.steps[1].attempts[0].dir.clone();
        let folder = dir.path().join(attempt);
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut writer = LogWriter::create(&folder).expect("a new log");
        writer.append(StreamName::Out, text.as_bytes());
        let log = Log::new(&at);
        (dir, log, at)
    }

    fn drawn(log: &mut Log, at: &View) -> String {
        fixture::draw(80, 12, |frame, area| log.draw(frame, area, at))
    }

    #[test]
    fn it_follows_the_end_and_holds_still_when_one_scrolls_up() {
        let text: String = (0..500).map(|i| format!("line {i}\n")).collect();
        let (_dir, mut log, at) = log(&text);
        assert!(drawn(&mut log, &at).contains("line 499"));
        let _ = log.act(Action::PageUp, &at);
        let up = drawn(&mut log, &at);
        assert!(up.contains("paused") && !up.contains("line 499"), "{up}");
        let _ = log.act(Action::Top, &at);
        assert!(drawn(&mut log, &at).contains("line 0 "));
        let _ = log.act(Action::Bottom, &at);
        assert!(drawn(&mut log, &at).contains("line 499"));
    }

    #[test]
    fn a_search_finds_upwards_from_the_end_and_marks_what_it_found() {
        let (_dir, mut log, at) = log("one\nERROR: [075]: unable\nthree\n");
        drawn(&mut log, &at);
        let Want::Ask(Ask::Find {
            token,
            dir,
            from,
            regex,
            forward,
        }) = log.search("error")
        else {
            panic!("the end is shown, so it looks above");
        };
        assert!(!forward && regex.is_match("ERROR"));
        let offset = crate::logs::LogReader::new(&dir).find(from, &regex, forward);
        assert_eq!(offset, Some(4));
        let _ = log.news(&News::Found { token, offset }, &at);
        assert!(
            drawn(&mut log, &at).contains("▸ERROR"),
            "{}",
            drawn(&mut log, &at)
        );
    }

    #[test]
    fn small_letters_match_both_cases_and_a_broken_expression_is_taken_literally() {
        assert!(smart_case("error").is_match("ERROR"));
        assert!(!smart_case("Error").is_match("ERROR"));
        assert!(smart_case("[075").is_match("x [075] y"));
    }

    #[test]
    fn long_lines_are_cut_or_wrapped_and_nothing_is_too_wide() {
        let (_dir, mut log, at) = log(&format!("{}END\n", "x".repeat(300)));
        assert!(!drawn(&mut log, &at).contains("END"));
        let _ = log.act(Action::Wrap, &at);
        assert!(drawn(&mut log, &at).contains("END"));
    }
}
