//! A target that waits for a person: what is pinned and what is there now, side by side.

use super::View;
use crate::{
    domain::event::{Identity, PinnedBy},
    tui::{
        keymap::Action,
        theme::{Mark, Role, Theme},
        widgets::text,
    },
};
use ratatui::text::{Line, Span};

/// The first system whose target a person should look at: one that moved, else one that nobody has
/// confirmed.
pub(super) fn waiting(at: &View) -> Option<String> {
    let pins = &at.incident.pins;
    let moved = pins.iter().find(|(_, p)| p.proposed.is_some());
    let unconfirmed = || {
        pins.iter()
            .find(|(_, p)| p.identity.is_some() && p.by == PinnedBy::FirstContact)
    };
    moved.or_else(unconfirmed).map(|(name, _)| name.clone())
}

/// The key that would lead nowhere while no target waits.
pub(super) fn idle(at: &View) -> Vec<Action> {
    match waiting(at) {
        Some(_) => Vec::new(),
        None => vec![Action::Identity],
    }
}

/// What is shown before Enter confirms it. A line that differs is marked, not only coloured.
///
/// ```text
///               pinned                 now
///   endpoint    127.0.0.1:5432       ! 127.0.0.1:5433
///   identifier  7391112233445566778    7391112233445566778
///   certificate none                   none
/// ```
pub(super) fn lines(at: &View, system: &str, cells: usize) -> Vec<Line<'static>> {
    let theme = at.theme;
    let (strong, faint) = (theme.style(Role::Strong), theme.style(Role::Faint));
    let Some(pin) = at.incident.pins.get(system) else {
        return text::wrapped("this system has not been reached yet", cells, faint);
    };
    let old = pin.identity.as_ref();
    let new = pin.proposed.as_ref().map(|(identity, _)| identity);
    let column = cells.saturating_sub(16) / if new.is_some() { 2 } else { 1 };
    let mut lines = Vec::new();
    if new.is_some() {
        lines.push(Line::from(vec![
            Span::raw(" ".repeat(14)),
            Span::styled(text::pad("pinned", column, theme), strong),
            Span::styled("now".to_owned(), strong),
        ]));
    }
    for (name, of) in FACTS {
        let before = old.and_then(of).unwrap_or_else(|| "none".to_owned());
        let mut spans = vec![
            Span::styled(text::pad(name, 12, theme), faint),
            Span::raw("  "),
            Span::raw(text::pad(&before, column, theme)),
        ];
        if let Some(new) = new {
            let now = of(new).unwrap_or_else(|| "none".to_owned());
            let mark = if now == before {
                Span::raw("  ")
            } else {
                let sign = theme.sign(Mark::Danger);
                Span::styled(format!("{sign} "), theme.mark(Mark::Danger))
            };
            spans.push(mark);
            spans.push(Span::raw(text::fit(&now, column.saturating_sub(2), theme)));
        }
        lines.push(Line::from(spans));
    }
    lines.push(Line::raw(""));
    let words = match (&pin.proposed, pin.by) {
        (Some((new, step)), _) if old.is_some_and(|old| old.as_another(new)) => format!(
            "Before {step} somebody changed the login to {system}. Nothing that changes it runs until a person has compared the two."
        ),
        (Some((_, step)), _) => format!(
            "The step {step} moved {system}. Nothing that changes it runs until a person has compared the two."
        ),
        (None, PinnedBy::FirstContact) => format!(
            "{system} was pinned at first contact; nobody has confirmed that it is the right one. Compare it with \
             what you know from elsewhere."
        ),
        (None, PinnedBy::Person) => format!("{system} was confirmed by a person."),
        (None, PinnedBy::Site) => format!("{system} is what the site recorded in peace time."),
    };
    lines.extend(text::wrapped(&words, cells, theme.style(Role::Plain)));
    lines.push(Line::raw(""));
    lines.push(ready(at, "Enter confirms it", cells));
    lines
}

/// The last line of a question: what Enter will do, once it is taken.
pub(super) fn ready(at: &View, words: &str, cells: usize) -> Line<'static> {
    enter(at.ready, words, cells, at.theme)
}

/// The same where there is no incident.
pub(super) fn enter(ready: bool, words: &str, cells: usize, theme: Theme) -> Line<'static> {
    let (words, role) = if ready {
        (format!("{words} · Esc goes back"), Role::Strong)
    } else {
        // Said for as long as type-ahead is dropped.
        ("one moment…".to_owned(), Role::Faint)
    };
    Line::styled(text::fit(&words, cells, theme), theme.style(role))
}

type Fact = fn(&Identity) -> Option<String>;

const FACTS: [(&str, Fact); 5] = [
    ("endpoint", |i| Some(i.endpoint.clone())),
    ("identifier", |i| i.own.clone()),
    ("certificate", |i| i.certificate.clone()),
    ("as", |i| i.user.as_ref().map(ToString::to_string)),
    ("note", |i| i.note.as_ref().map(ToString::to_string)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    #[test]
    fn old_and_new_stand_side_by_side_and_what_differs_is_marked() {
        let at = fixture::view();
        assert_eq!(waiting(&at).as_deref(), Some("database"));
        let drawn: Vec<String> = lines(&at, "database", 74)
            .iter()
            .map(|l| l.spans.iter().map(|s| s.content.as_ref()).collect())
            .collect();
        let endpoint = &drawn[1];
        assert!(endpoint.contains("127.0.0.1:5432") && endpoint.contains("! 127.0.0.1:5433"));
        assert!(!drawn[2].contains('!'), "{}", drawn[2]);
    }
}
