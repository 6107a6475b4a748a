//! What people should know besides the steps: whom to tell and when, whom to call, what there is to
//! restore from, what to read, what a word means.

use super::{Ask, News, Screen, Token, View, Want};
use crate::{
    domain::{budget, decide::Command, units},
    tui::{
        keymap::{Action, Place},
        theme::Role,
        widgets::{list, pane, text},
    },
};
use ratatui::{Frame, layout::Rect, text::Line};

/// Shows it, and takes down that an update was sent.
pub(crate) struct Know {
    scroll: usize,
    asked: Option<Token>,
}

impl Know {
    pub(crate) fn new(_at: &View) -> Self {
        Self {
            scroll: 0,
            asked: None,
        }
    }

    fn lines(at: &View, cells: usize) -> Vec<Line<'static>> {
        let (theme, runbook) = (at.theme, &at.runbook);
        let (strong, plain) = (theme.style(Role::Strong), theme.style(Role::Plain));
        let mut lines: Vec<Line<'static>> = Vec::new();
        let head = |lines: &mut Vec<Line<'static>>, words: &str| {
            if !lines.is_empty() {
                lines.push(Line::raw(""));
            }
            lines.push(Line::styled(format!(" {words}"), strong));
        };
        if let Some(updates) = &runbook.updates {
            head(&mut lines, "Telling those who are not here");
            if let Some((words, role)) = due(at) {
                lines.extend(text::wrapped(
                    &format!(" {words}"),
                    cells,
                    theme.style(role),
                ));
            }
            for line in updates.template.lines() {
                lines.extend(text::labelled("   ", line, cells, plain, plain));
            }
            let words = " Enter records that it was sent; c copies the text.";
            lines.extend(text::wrapped(words, cells, theme.style(Role::Faint)));
        }
        let escalate = at.incident.escalate.as_ref().map(|e| e.to_string());
        if escalate.is_some() || !runbook.contacts.is_empty() {
            head(&mut lines, "People");
        }
        if let Some(escalate) = escalate {
            lines.extend(text::labelled("   ", &escalate, cells, plain, plain));
        }
        for contact in &runbook.contacts {
            let who = format!("{} · {} · {}", contact.who, contact.role, contact.channel);
            lines.extend(text::labelled("   ", &who, cells, plain, plain));
        }
        if !runbook.backups.is_empty() {
            head(&mut lines, "What there is to restore from");
        }
        for backup in &runbook.backups {
            lines.extend(text::labelled(
                "   ",
                &backup_words(backup),
                cells,
                plain,
                plain,
            ));
        }
        if !runbook.reference.is_empty() {
            head(&mut lines, "To read");
        }
        for reference in &runbook.reference {
            lines.extend(text::labelled(
                "   ",
                &reference.title,
                cells,
                plain,
                strong,
            ));
            lines.extend(text::labelled(
                "     ",
                &reference.text,
                cells,
                plain,
                plain,
            ));
        }
        if !runbook.words.is_empty() {
            head(&mut lines, "Words");
        }
        for (word, meaning) in &runbook.words {
            let words = format!("{word}: {meaning}");
            lines.extend(text::labelled("   ", &words, cells, plain, plain));
        }
        if lines.is_empty() {
            let words = " the runbook says nothing more";
            lines.push(Line::styled(words, theme.style(Role::Faint)));
        }
        lines
    }
}

/// `database: dumps, every 2h, kept 7d; the newest is at most 2h old`
pub(super) fn backup_words(backup: &crate::domain::runbook::Backup) -> String {
    let mut words = format!("{}: {}", backup.of, backup.method);
    let short = |d: std::time::Duration| units::short(d.as_secs());
    if let Some(every) = backup.every {
        words.push_str(&format!(", every {}", short(every)));
    }
    if let Some(keep) = &backup.keep {
        words.push_str(&format!(", kept {keep}"));
    }
    if let Some(covers) = backup.covers.or(backup.every).filter(|d| !d.is_zero()) {
        words.push_str(&format!(
            "; the newest state in it is at most {} old",
            short(covers)
        ));
    }
    words
}

/// `database, at most 2h old: dumps`
pub(crate) fn backup_in_short(backup: &crate::domain::runbook::Backup) -> String {
    let age = backup.covers.or(backup.every).filter(|d| !d.is_zero());
    let age = age.map(|d| format!(", at most {} old", units::short(d.as_secs())));
    format!(
        "{}{}: {}",
        backup.of,
        age.unwrap_or_default(),
        backup.method
    )
}

/// When the next update is due, or for how long it has been.
pub(crate) fn due(at: &View) -> Option<(String, Role)> {
    let every = at.runbook.updates.as_ref()?.every?;
    let sent = at.incident.updates.last().map(|(at, _)| *at);
    let due = budget::update_due(&at.incident, every)?;
    let last = match sent {
        Some(sent) => format!(" (the last was sent at {})", sent.format("%H:%MZ")),
        None => " (none was sent yet)".to_owned(),
    };
    let left = (due - at.now).num_seconds();
    // To the minute: what changes every second is sent every second.
    let minutes = units::short((left.unsigned_abs() / 60) * 60).replace("0s", "0m");
    Some(if left < 0 {
        (format!("UPDATE OVERDUE {minutes}{last}"), Role::Bad)
    } else {
        (format!("update due in {minutes}{last}"), Role::Plain)
    })
}

impl Screen for Know {
    fn place(&self) -> Place {
        Place::Know
    }

    /// ```text
    /// ╭ To know ───────────────────────────────────────────────────────────────╮
    /// │ Telling those who are not here                                         │
    /// │ update due in 12m (the last was sent at 14:02Z)                        │
    /// │   What is broken: …                                                    │
    /// │ People                                                                 │
    /// │   On-call SRE · runs the recovery · pager: sre-primary                 │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let inner = pane::pane(frame, area, "To know", true, at.theme);
        let lines = Self::lines(at, usize::from(inner.width));
        list::scrolled(frame, inner, &lines, &mut self.scroll);
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        match action {
            Action::Choose => {
                if at.runbook.updates.is_none() {
                    return Want::Say("the runbook has no `updates`".to_owned());
                }
                let token = Token::new();
                self.asked = Some(token);
                Want::Ask(Ask::Wish {
                    token,
                    command: Command::TellUpdate {
                        text: String::new(),
                    },
                })
            }
            Action::Copy => match &at.runbook.updates {
                Some(updates) => Want::Copy(updates.template.clone()),
                None => Want::Say("the runbook has no `updates`".to_owned()),
            },
            Action::Back | Action::Quit => Want::Back,
            Action::Up => self.to(self.scroll.saturating_sub(1)),
            Action::Down => self.to(self.scroll + 1),
            Action::PageUp | Action::HalfUp => self.to(self.scroll.saturating_sub(10)),
            Action::PageDown | Action::HalfDown => self.to(self.scroll + 10),
            Action::Top => self.to(0),
            Action::Bottom => self.to(usize::MAX / 2),
            _ => Want::Nothing,
        }
    }

    fn news(&mut self, news: &News, _at: &View) -> Want {
        match news {
            News::Wished { token, result } if self.asked == Some(*token) => {
                self.asked = None;
                match result {
                    Ok(()) => Want::Say("recorded: an update was sent".to_owned()),
                    Err(refusal) => Want::Say(refusal.to_string()),
                }
            }
            _ => Want::Nothing,
        }
    }
}

impl Know {
    fn to(&mut self, line: usize) -> Want {
        self.scroll = line;
        Want::Draw
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    #[test]
    fn the_clock_of_updates_counts_from_the_last_one() {
        let mut at = fixture::view();
        let mut runbook = (*at.runbook).clone();
        runbook.updates = Some(crate::domain::runbook::Updates {
            every: Some(std::time::Duration::from_secs(1800)),
            template: "What is broken:".to_owned(),
        });
        at.runbook = std::sync::Arc::new(runbook);
        let opened = at.incident.opened_at;
        at.now = opened + chrono::TimeDelta::minutes(10);
        assert_eq!(
            due(&at).expect("due").0,
            "update due in 20m (none was sent yet)"
        );
        at.now = opened + chrono::TimeDelta::minutes(35);
        let (words, role) = due(&at).expect("due");
        assert!(
            words.starts_with("UPDATE OVERDUE 5m") && role == Role::Bad,
            "{words}"
        );
        let drawn = fixture::draw(80, 24, |frame, area| Know::new(&at).draw(frame, area, &at));
        assert!(
            drawn.contains("UPDATE OVERDUE") && drawn.contains("What is broken:"),
            "{drawn}"
        );
        let mut incident = (*at.incident).clone();
        incident.updates.push((at.now, Default::default()));
        at.incident = std::sync::Arc::new(incident);
        assert!(due(&at).expect("due").0.starts_with("update due in 30m"));
    }
}
