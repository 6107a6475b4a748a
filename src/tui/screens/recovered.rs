//! Has the platform recovered? The clock stops when the checks say so, not when the last step ends.

use super::{Ask, News, Screen, Token, Typing, View, Want};
use crate::{
    domain::{
        decide::Command,
        incident::{IncidentState, Pin},
        units,
    },
    offered::in_place,
    tui::{
        keymap::{Action, Place},
        theme::{Mark, Role},
        widgets::{
            evidence,
            field::{Edited, Field, Kind},
            list::{self, Cursor},
            pane, text,
        },
    },
};
use crossterm::event::KeyEvent;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// What the field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Note,
    Close,
}

/// Shows targets against actuals, and every check with what it expected and saw.
pub(crate) struct Recovered {
    offset: usize,
    height: usize,
    looking: bool,
    field: Option<(Purpose, Field)>,
    asked: Option<(Token, Purpose)>,
}

impl Recovered {
    pub(crate) fn new(_at: &View) -> Self {
        Self {
            offset: 0,
            height: 1,
            looking: false,
            field: None,
            asked: None,
        }
    }
}

/// `RTO  target 2h, actual 1h38m: met`, with its mark.
fn objective(
    name: &str,
    target: Option<u64>,
    actual: Option<u64>,
    unknown: &str,
    at: &View,
) -> Line<'static> {
    let theme = at.theme;
    let target_words = target.map_or("none".to_owned(), units::short);
    let (mark, words) = match (target, actual) {
        (_, None) => (Mark::Pending, unknown.to_owned()),
        (None, Some(actual)) => (Mark::Pending, units::short(actual)),
        (Some(target), Some(actual)) if actual <= target => {
            (Mark::Good, format!("{}: met", units::short(actual)))
        }
        (Some(target), Some(actual)) => (
            Mark::Bad,
            format!(
                "{}: MISSED by {}",
                units::short(actual),
                units::short(actual - target)
            ),
        ),
    };
    Line::from(vec![
        Span::styled(format!(" {} ", theme.sign(mark)), theme.mark(mark)),
        Span::styled(format!("{name:<5}"), theme.style(Role::Strong)),
        Span::raw(format!("target {target_words}, actual {words}")),
    ])
}

fn lines(at: &View, looking: bool, cells: usize) -> Vec<Line<'static>> {
    let (incident, theme) = (&at.incident, at.theme);
    let (strong, plain) = (theme.style(Role::Strong), theme.style(Role::Plain));
    let targets = incident.objectives();
    let (words, role) = match incident.state() {
        IncidentState::Open => ("not recovered yet".to_owned(), Role::Warn),
        IncidentState::Recovered | IncidentState::Closed => match incident.recovered_at {
            Some(when) => (
                format!("RECOVERED at {}", when.format("%Y-%m-%d %H:%M:%SZ")),
                Role::Good,
            ),
            None => ("closed without recovery".to_owned(), Role::Warn),
        },
    };
    let mut lines = vec![
        Line::styled(format!(" {words}"), theme.style(role)),
        Line::raw(""),
    ];
    let rto = incident.rto_actual_s();
    lines.push(objective("RTO", targets.rto_s, rto, "still counting", at));
    let rpo = incident.rpo_measured_s();
    lines.push(objective("RPO", targets.rpo_s, rpo, "not measured", at));
    for (store, lost) in incident.losses() {
        let words = format!("{} lost", units::short(lost));
        lines.extend(text::labelled(
            &format!("         {store}: "),
            &words,
            cells,
            plain,
            plain,
        ));
    }
    lines.push(Line::raw(""));
    if looking {
        lines.push(Line::styled(" looking…", theme.style(Role::Busy)));
    }
    match &incident.recovery {
        None => {
            let key = at.keys.key(Action::CheckRecovery);
            let words = format!(" The checks have not run yet; {key} runs them. They only look.");
            lines.extend(text::wrapped(&words, cells, plain));
            for check in &at.runbook.recovered.when {
                let words = format!("{}, expected {}", check.label(), check.expected());
                let label = format!(" {} ", theme.sign(Mark::Pending));
                lines.extend(text::labelled(&label, &words, cells, plain, plain));
            }
        }
        Some((when, checks, holds)) => {
            let verdict = if *holds { "all hold" } else { "not all hold" };
            let words = format!(" Looked at {}: {verdict}", when.format("%H:%M:%SZ"));
            lines.push(Line::styled(words, strong));
            for check in checks {
                lines.extend(evidence::lines(check, cells, theme));
            }
        }
    }
    let prevents = incident.prevents_recovery();
    if !prevents.is_empty() && incident.recovered_at.is_none() {
        lines.push(Line::raw(""));
        lines.push(Line::styled(" These steps stand in the way", strong));
        for (step, state) in prevents {
            let words = format!("{step}: {}", state.as_str());
            lines.extend(text::labelled("   ", &words, cells, plain, plain));
        }
    }
    let unconfirmed = |p: &Pin| p.proposed.is_some() || p.moved.is_some();
    if let Some((system, _)) = incident.pins.iter().find(|(_, p)| unconfirmed(p)) {
        let words = format!("the new target of {system} waits to be confirmed");
        lines.extend(text::labelled(
            "   ",
            &words,
            cells,
            plain,
            theme.style(Role::Warn),
        ));
    }
    lines.push(Line::raw(""));
    let words = format!("blackstart export {} --format markdown", incident.id);
    let words = in_place(&words);
    lines.extend(text::labelled(" export  ", &words, cells, strong, plain));
    lines
}

impl Screen for Recovered {
    fn place(&self) -> Place {
        if self.field.is_some() {
            Place::Field
        } else {
            Place::Recovered
        }
    }

    fn focus(&self) -> String {
        format!(
            "recovered {:?}",
            self.field.as_ref().map(|(purpose, _)| *purpose)
        )
    }

    /// ```text
    /// ╭ Recovered? ────────────────────────────────────────────────────────────╮
    /// │ RECOVERED at 2026-03-10 15:24:00Z                                      │
    /// │                                                                        │
    /// │ ✓ RTO  target 2h, actual 53m: met                                      │
    /// │ ✓ RPO  target 2h, actual 3m41s: met                                    │
    /// │                                                                        │
    /// │ Looked at 15:24:00Z: all hold                                          │
    /// │ ✓ database: SELECT count(*) FROM tenants (12 ms): holds                │
    /// │   expected == 412                                                      │
    /// │   saw      412                                                         │
    /// │                                                                        │
    /// │ export  blackstart export 20260310-… --format markdown                 │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let inner = pane::pane(frame, area, "Recovered?", true, at.theme);
        self.height = usize::from(inner.height);
        let lines = lines(at, self.looking, usize::from(inner.width));
        list::scrolled(frame, inner, &lines, &mut self.offset);
        if let Some((_, field)) = &mut self.field {
            field.popup(frame, area, at.theme);
        }
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        match action {
            Action::Back => Want::Back,
            Action::Know => Want::Go(Place::Know),
            Action::Timeline => Want::Go(Place::Timeline),
            Action::CheckRecovery => {
                self.looking = true;
                Want::Ask(Ask::CheckRecovery)
            }
            Action::Note => {
                let field = Field::new(Kind::Lines, "Note (Enter adds it)");
                self.field = Some((Purpose::Note, field));
                Want::Draw
            }
            Action::Close if at.incident.running().next().is_some() => {
                Want::Say("something is running: stop it first, or wait for it".to_owned())
            }
            Action::Close => {
                let about = vec![
                    "Closing ends the incident: only notes can be added afterwards.".to_owned(),
                    "Why is it closed?".to_owned(),
                ];
                let field = Field::new(Kind::Line, "close").about(about);
                self.field = Some((Purpose::Close, field));
                Want::Draw
            }
            other => {
                let mut lines = Cursor::on(self.offset).with_page(self.height);
                if !lines.act(other, usize::MAX) {
                    return Want::Nothing;
                }
                self.offset = lines.at;
                Want::Draw
            }
        }
    }

    fn typing(&self) -> Typing {
        match self.field {
            Some(_) => Typing::EnterActs,
            None => Typing::Keys,
        }
    }

    fn typed(&mut self, key: KeyEvent, _at: &View) -> Want {
        let Some((purpose, field)) = &mut self.field else {
            return Want::Nothing;
        };
        let (purpose, edited, text) = (*purpose, field.key(key), field.value());
        match edited {
            Edited::Typed => return Want::Draw,
            Edited::Cancelled => {
                self.field = None;
                return Want::Draw;
            }
            Edited::Accepted if text.trim().is_empty() => {
                field.wrong = Some("something has to stand here".to_owned());
                return Want::Draw;
            }
            Edited::Accepted => self.field = None,
        }
        let token = Token::new();
        self.asked = Some((token, purpose));
        let command = match purpose {
            Purpose::Note => Command::Note { text },
            Purpose::Close => Command::Close { reason: text },
        };
        Want::Ask(Ask::Wish { token, command })
    }

    fn pasted(&mut self, text: &str) -> Want {
        if let Some((_, field)) = &mut self.field {
            field.paste(text);
        }
        Want::Draw
    }

    fn news(&mut self, news: &News, _at: &View) -> Want {
        match news {
            News::RecoveryChecked => {
                self.looking = false;
                Want::Draw
            }
            News::Wished { token, result } => {
                let Some((_, purpose)) = self.asked.take_if(|(t, _)| *t == *token) else {
                    return Want::Nothing;
                };
                match (result, purpose) {
                    (Err(refusal), _) => Want::Say(refusal.to_string()),
                    (Ok(()), Purpose::Note) => Want::Say("the note is on the timeline".to_owned()),
                    (Ok(()), Purpose::Close) => Want::Say("the incident is closed".to_owned()),
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

    fn drawn(at: &View) -> String {
        let mut screen = Recovered::new(at);
        fixture::draw(100, 40, |frame, area| screen.draw(frame, area, at))
    }

    #[test]
    fn targets_stand_against_actuals_with_a_verdict() {
        let mut views = fixture::views();
        let at = views.swap_remove(3);
        let drawn = drawn(&at);
        for words in [
            "RECOVERED at",
            "target 2h, actual 53m: met",
            "4m lost",
            "== 412",
            "export",
        ] {
            assert!(drawn.contains(words), "{words}:\n{drawn}");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let drawn = drawn(&fixture::view());
        for words in [
            "not recovered yet",
            "still counting",
            "stand in the way",
            "failed",
            "waits to be",
        ] {
            assert!(drawn.contains(words), "{words}:\n{drawn}");
        }
    }

    #[test]
    fn a_missed_objective_is_said_in_words() {
        let at = fixture::view();
        let line = objective("RTO", Some(60), Some(90), "", &at);
        let words: String = line.spans.iter().map(|s| s.content.as_ref()).collect();
        assert!(words.contains("MISSED by 30s"), "{words}");
    }
}
