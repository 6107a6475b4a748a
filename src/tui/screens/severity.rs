//! How bad is it? The runbook's table; choosing a row starts the clocks and says whom to page.

use super::{Ask, News, Screen, Token, View, Want};
use crate::{
    domain::{decide::Command, runbook::SeverityRow, units},
    tui::{
        keymap::{Action, Place},
        theme::Role,
        widgets::{
            list::{self, Cursor},
            pane, text,
        },
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Declares a severity: the first one on the way in, or another one later.
pub(crate) struct Severity {
    cursor: Cursor,
    asked: Option<Token>,
}

impl Severity {
    pub(crate) fn new(at: &View) -> Self {
        let declared = at.incident.severity.as_ref().map(|(id, _, _)| id.as_str());
        let rows = &at.runbook.severities;
        let here = rows
            .iter()
            .position(|r| Some(r.id.text.as_str()) == declared);
        Self {
            cursor: Cursor::on(here.unwrap_or(0)),
            asked: None,
        }
    }

    fn row<'v>(&self, at: &'v View) -> Option<&'v SeverityRow> {
        at.runbook.severities.get(self.cursor.at)
    }
}

impl Screen for Severity {
    fn place(&self) -> Place {
        Place::Severity
    }

    /// ```text
    /// ╭ How bad is it? ────────────────────────────────────────────────────────╮
    /// │ P0  Total outage     RTO 1h   RPO 1h                                   │
    /// │ P1  Degraded         RTO 2h   RPO 2h                                   │
    /// │                                                                        │
    /// │ when  Some tenants are affected                                        │
    /// │ page  Page the on-call SRE                                             │
    /// │       jo · engineering lead · +41 …                                    │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let theme = at.theme;
        let inner = pane::pane(frame, area, "How bad is it?", true, theme);
        let cells = usize::from(inner.width);
        let rows: Vec<Line<'static>> = at
            .runbook
            .severities
            .iter()
            .map(|row| {
                let objective = |name: &str, d: Option<std::time::Duration>| {
                    let d = d.map_or("none".to_owned(), |d| units::short(d.as_secs()));
                    format!("{name} {d}")
                };
                Line::from(vec![
                    Span::styled(
                        format!(" {} ", text::pad(&row.id.text, 6, theme)),
                        theme.style(Role::Strong),
                    ),
                    Span::raw(text::pad(
                        &row.title,
                        cells.saturating_sub(34).min(40),
                        theme,
                    )),
                    Span::raw(format!(
                        "  {}  {}",
                        text::pad(&objective("RTO", row.rto), 10, theme),
                        objective("RPO", row.rpo)
                    )),
                ])
            })
            .collect();
        let height = u16::try_from(rows.len())
            .unwrap_or(u16::MAX)
            .min(inner.height / 2 + 1);
        list::draw(
            frame,
            pane::above(inner, height),
            &rows,
            &mut self.cursor,
            theme,
        );
        let mut lines = vec![Line::raw("")];
        let (strong, plain) = (theme.style(Role::Strong), theme.style(Role::Plain));
        if let Some(row) = self.row(at) {
            lines.extend(text::labelled(" when  ", &row.when, cells, strong, plain));
            let page = row
                .escalate
                .as_deref()
                .unwrap_or("the runbook names nobody");
            lines.extend(text::labelled(" page  ", page, cells, strong, plain));
        }
        for contact in &at.runbook.contacts {
            let who = format!("{} · {} · {}", contact.who, contact.role, contact.channel);
            lines.extend(text::labelled("       ", &who, cells, plain, plain));
        }
        lines.push(Line::raw(""));
        if let Some(alarm) = &at.incident.alarm {
            lines.extend(text::labelled(
                " told  ",
                alarm.as_str(),
                cells,
                strong,
                plain,
            ));
            lines.push(Line::raw(""));
        }
        let words = " That a severity was declared, by whom and when, is recorded. Whom to page is shown; \
                     paging is yours.";
        lines.extend(text::wrapped(words, cells, theme.style(Role::Faint)));
        list::scrolled(frame, pane::below(inner, height), &lines, &mut 0);
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        if self.cursor.act(action, at.runbook.severities.len()) {
            return Want::Draw;
        }
        match (action, self.row(at)) {
            (Action::Back, _) => Want::Back,
            (Action::Choose, Some(row)) => {
                let token = Token::new();
                let severity = row.id.text.clone();
                self.asked = Some(token);
                Want::Ask(Ask::Wish {
                    token,
                    command: Command::DeclareSeverity { severity },
                })
            }
            _ => Want::Nothing,
        }
    }

    fn news(&mut self, news: &News, at: &View) -> Want {
        match news {
            News::Wished { token, result } if self.asked == Some(*token) => {
                self.asked = None;
                match (result, at.side) {
                    (Err(refusal), _) => Want::Say(refusal.to_string()),
                    (Ok(()), true) => Want::Back,
                    (Ok(()), false) => Want::Onward(Place::Since),
                }
            }
            _ => Want::Nothing,
        }
    }
}
