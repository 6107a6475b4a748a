//! Since when? Every objective is counted from this moment, so it is asked for with what is known
//! beside it; "now" only when a person says so.

use super::{Ask, News, Screen, Token, Typing, View, Want};
use crate::{
    domain::{
        decide::Command,
        event::CheckResult,
        expect,
        runbook::{Check, VarType},
        text::Clean,
        units,
    },
    engine::Look,
    tui::{
        keymap::{Action, Place},
        theme::{Mark, Role},
        widgets::{
            evidence,
            field::{Edited, Field, Kind},
            list, pane, text,
        },
    },
};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Asks since when the incident has been going on.
pub(crate) struct Since {
    field: Field,
    /// Zero: what is typed; then each moment that was found.
    at: usize,
    looking: Token,
    found: Vec<CheckResult>,
    asked: Option<Token>,
}

impl Since {
    pub(crate) fn new(_at: &View) -> Self {
        Self {
            field: Field::new(Kind::Line, "since"),
            at: 0,
            looking: Token::new(),
            found: Vec::new(),
            asked: None,
        }
    }

    /// What can be chosen: what was looked at and shows a moment.
    fn moments(&self) -> Vec<(DateTime<Utc>, &CheckResult)> {
        self.found
            .iter()
            .filter_map(|c| Some((expect::moment(c.seen.as_str())?, c)))
            .collect()
    }

    fn chosen(&self, now: DateTime<Utc>) -> Result<(DateTime<Utc>, String), String> {
        match self
            .at
            .checked_sub(1)
            .and_then(|i| self.moments().get(i).copied())
        {
            Some((at, check)) => Ok((at, check.what.to_string())),
            None => {
                let typed = self.field.value();
                let at = parse(&typed, now)?;
                Ok((at, format!("typed: {}", typed.trim())))
            }
        }
    }
}

/// A moment as people type it: RFC 3339, `14:31` (UTC, the last time it was that late), `25m` for 25
/// minutes ago, or `now`. Nothing else, and nothing that lies ahead.
fn parse(typed: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(
            "type a moment: 2026-03-10T14:31:00Z, 14:31 (UTC), 25m (ago), or now".to_owned(),
        );
    }
    if typed == "now" {
        return Ok(now);
    }
    if let Some(at) = expect::moment(typed) {
        return if at <= now {
            Ok(at)
        } else {
            Err("that moment lies ahead".to_owned())
        };
    }
    let clock = ["%H:%M", "%H:%M:%S"]
        .iter()
        .find_map(|f| NaiveTime::parse_from_str(typed, f).ok());
    if let Some(clock) = clock {
        let today = now.date_naive().and_time(clock).and_utc();
        return Ok(if today <= now {
            today
        } else {
            today - TimeDelta::days(1)
        });
    }
    let ago = typed.strip_suffix("ago").unwrap_or(typed).trim();
    let ago = units::duration(ago)
        .ok()
        .and_then(|d| TimeDelta::from_std(d).ok())
        .and_then(|d| now.checked_sub_signed(d));
    ago.ok_or_else(|| {
        format!(
            "`{}` is no moment: write 2026-03-10T14:31:00Z, 14:31 (UTC), 25m (ago), or now",
            Clean::line(typed)
        )
    })
}

/// What could show when it began: the hints of variables that are moments.
fn hints(at: &View) -> Vec<Check> {
    at.runbook
        .variables
        .values()
        .filter(|v| v.kind == VarType::Timestamp)
        .flat_map(|v| v.hint.iter().cloned())
        .collect()
}

impl Screen for Since {
    fn place(&self) -> Place {
        Place::Since
    }

    fn opened(&mut self, at: &View) -> Want {
        let checks = hints(at);
        if checks.is_empty() {
            return Want::Nothing;
        }
        Want::Ask(Ask::Look {
            token: self.looking,
            look: Look::Checks(checks),
        })
    }

    /// ```text
    /// ╭ Since when has it been going on? ──────────────────────────────────────╮
    /// │ ▸ 25m                                                                  │
    /// │   = 2026-03-10 14:31:00Z, 25m ago                                      │
    /// │                                                                        │
    /// │ What is known                                                          │
    /// │   database: SELECT max(created_at) … ✓ 2026-03-10 14:30:12+00 (4 ms)   │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let theme = at.theme;
        let title = "Since when has it been going on?";
        let inner = pane::pane(frame, area, title, true, theme);
        if inner.is_empty() {
            return;
        }
        let cells = usize::from(inner.width);
        let (marked, unmarked) = (format!(" {} ", theme.sign(Mark::Here)), "   ".to_owned());
        let mark = |here: bool| {
            if here {
                marked.clone()
            } else {
                unmarked.clone()
            }
        };
        let (left, right) = pane::split(pane::above(inner, 1), 3);
        frame.render_widget(Line::raw(mark(self.at == 0)), left);
        self.field.draw(frame, right, theme);
        let faint = theme.style(Role::Faint);
        let read = match self.chosen(at.now) {
            Ok((moment, _)) => {
                let ago = (at.now - moment).num_seconds().max(0).unsigned_abs();
                format!(
                    "= {}, {} ago",
                    moment.format("%Y-%m-%d %H:%M:%SZ"),
                    units::short(ago)
                )
            }
            Err(why) => why,
        };
        let mut lines = text::labelled("   ", &read, cells, faint, theme.style(Role::Strong));
        lines.push(Line::raw(""));
        if let Some(alarm) = &at.incident.alarm {
            let strong = theme.style(Role::Strong);
            lines.extend(text::labelled(
                " told  ",
                alarm.as_str(),
                cells,
                strong,
                theme.style(Role::Plain),
            ));
            lines.push(Line::raw(""));
        }
        lines.push(Line::styled(" What is known", theme.style(Role::Strong)));
        if self.found.is_empty() {
            let none = if hints(at).is_empty() {
                "the runbook names nothing that could show it"
            } else {
                "looking…"
            };
            lines.extend(text::labelled("   ", none, cells, faint, faint));
        }
        let mut choice = 0;
        for check in &self.found {
            let moment = expect::moment(check.seen.as_str()).is_some();
            choice += usize::from(moment);
            let here = moment && self.at == choice;
            let mut line = evidence::line(check, cells.saturating_sub(3), theme);
            line.spans.insert(0, Span::raw(mark(here)));
            lines.push(line);
        }
        lines.push(Line::raw(""));
        let words = "Up and Down choose between what is typed and what was found. If it began at this \
                     very moment, type now: it is never assumed.";
        lines.extend(text::labelled("   ", words, cells, faint, faint));
        list::scrolled(frame, pane::below(inner, 1), &lines, &mut 0);
    }

    fn act(&mut self, action: Action, _at: &View) -> Want {
        match action {
            Action::Back => Want::Back,
            _ => Want::Nothing,
        }
    }

    fn typing(&self) -> Typing {
        Typing::EnterActs
    }

    fn typed(&mut self, key: KeyEvent, at: &View) -> Want {
        match key.code {
            KeyCode::Up => {
                self.at = self.at.saturating_sub(1);
                return Want::Draw;
            }
            KeyCode::Down => {
                self.at = (self.at + 1).min(self.moments().len());
                return Want::Draw;
            }
            _ => {}
        }
        match self.field.key(key) {
            Edited::Cancelled if at.side || at.runbook.severities.is_empty() => Want::Back,
            Edited::Cancelled => Want::Onward(Place::Severity),
            Edited::Typed => {
                self.at = 0;
                Want::Draw
            }
            Edited::Accepted => match self.chosen(at.now) {
                Ok((began_at, source)) => {
                    let token = Token::new();
                    self.asked = Some(token);
                    Want::Ask(Ask::Wish {
                        token,
                        command: Command::SetBegan { began_at, source },
                    })
                }
                Err(why) => Want::Say(why),
            },
        }
    }

    fn pasted(&mut self, text: &str) -> Want {
        self.field.paste(text);
        self.at = 0;
        Want::Draw
    }

    fn news(&mut self, news: &News, at: &View) -> Want {
        match news {
            News::Looked { token, result } if *token == self.looking => {
                self.found.push(result.clone());
                Want::Draw
            }
            News::Wished { token, result } if self.asked == Some(*token) => {
                self.asked = None;
                match (result, at.side) {
                    (Err(refusal), _) => Want::Say(refusal.to_string()),
                    (Ok(()), true) => Want::Back,
                    (Ok(()), false) => Want::Onward(super::entrance(&at.incident, &at.runbook)),
                }
            }
            _ => Want::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    #[test]
    fn moments_are_read_as_people_type_them() {
        let now = fixture::now();
        for (typed, read) in [
            ("2026-03-10T14:31:00Z", "2026-03-10T14:31:00Z"),
            ("2026-03-10T15:31:00+01:00", "2026-03-10T14:31:00Z"),
            (" 14:31 ", "2026-03-10T14:31:00Z"),
            ("23:50", "2026-03-09T23:50:00Z"),
            ("25m", "2026-03-10T14:59:00Z"),
            ("1h 4m ago", "2026-03-10T14:20:00Z"),
            ("now", "2026-03-10T15:24:00Z"),
        ] {
            let at = parse(typed, now).expect("a moment");
            assert_eq!(
                at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
                read,
                "{typed}"
            );
        }
    }

    #[test]
    fn nothing_is_assumed_and_nothing_lies_ahead() {
        let now = fixture::now();
        for typed in [
            "",
            "  ",
            "soon",
            "2026-03-10 14:31",
            "2027-01-01T00:00:00Z",
            "25:99",
        ] {
            assert!(parse(typed, now).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_moment_that_was_found_can_be_chosen_with_its_source() {
        let at = fixture::view();
        let mut since = Since::new(&at);
        let mut check = fixture::check(crate::domain::event::Verdict::Holds);
        check.seen = "2026-03-10 14:30:12+00".into();
        let news = News::Looked {
            token: since.looking,
            result: check,
        };
        let _ = since.news(&news, &at);
        let down = KeyEvent::new(KeyCode::Down, crossterm::event::KeyModifiers::NONE);
        let _ = since.typed(down, &at);
        let (moment, source) = since.chosen(at.now).expect("chosen");
        assert_eq!(moment.to_rfc3339(), "2026-03-10T14:30:12+00:00");
        assert!(source.contains("tenants"), "{source}");
    }
}
