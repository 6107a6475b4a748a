//! The last line: what keys do here, from the key table; or what was just said.

use super::text;
use crate::tui::{
    keymap::{Action, KeyMap, Place, rows},
    theme::{Role, Theme},
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Draws the keys of a place that lead somewhere now, as many as fit; `?` and `:` are kept at the end.
///
/// ```text
///  r run  x stop  S skip  a note  Enter log  f failures  T timeline        : commands  ? help
/// ```
pub(crate) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    place: Place,
    idle: &[Action],
    keys: &KeyMap,
    theme: Theme,
) {
    let hint = |row: &'static crate::tui::keymap::Row| {
        vec![
            Span::styled(
                format!(" {}", keys.key(row.action)),
                theme.style(Role::Strong),
            ),
            Span::raw(format!(" {} ", row.label)),
        ]
    };
    let shown = |row: &&'static crate::tui::keymap::Row| {
        !row.label.is_empty() && !idle.contains(&row.action)
    };
    let always = [":", "?"];
    let (last, first): (Vec<_>, Vec<_>) = rows(place)
        .filter(shown)
        .partition(|row| row.keys.iter().any(|k| always.contains(k)));
    let right: Vec<Span<'static>> = last.into_iter().flat_map(hint).collect();
    let mut room =
        usize::from(area.width).saturating_sub(right.iter().map(Span::width).sum::<usize>());
    let mut left: Vec<(u8, Span<'static>)> = Vec::new();
    for row in first {
        let spans = hint(row);
        let needed: usize = spans.iter().map(Span::width).sum();
        if needed > room {
            break;
        }
        room -= needed;
        left.extend(spans.into_iter().map(|s| (0, s)));
    }
    let line = text::row(left, right, usize::from(area.width));
    frame.render_widget(line, area);
}

/// Draws what was just said in the place of the keys; the next key takes it away.
pub(crate) fn said(frame: &mut Frame<'_>, area: Rect, said: &str, theme: Theme) {
    let width = usize::from(area.width).saturating_sub(1);
    let words = text::fit(said, width, theme);
    let line = Line::from(Span::styled(format!(" {words}"), theme.style(Role::Strong)));
    frame.render_widget(line, area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    fn footer(place: Place, width: u16) -> String {
        footer_without(place, &[], width)
    }

    fn footer_without(place: Place, idle: &[Action], width: u16) -> String {
        let keys = KeyMap::new(&[]).expect("valid");
        let mut terminal = Terminal::new(TestBackend::new(width, 1)).expect("memory has no errors");
        terminal
            .draw(|frame| {
                let area = frame.area();
                draw(frame, area, place, idle, &keys, Theme::default());
            })
            .expect("memory has no errors");
        let cells = terminal.backend().buffer().content.iter();
        cells.map(|c| c.symbol()).collect()
    }

    #[test]
    fn help_is_shown_at_every_width_where_there_is_any() {
        for place in Place::ALL {
            let has_help = rows(place).any(|r| r.keys.contains(&"?") && !r.label.is_empty());
            for width in [60, 80, 200] {
                let line = footer(place, width);
                assert_eq!(
                    line.contains("? help"),
                    has_help,
                    "{place:?} {width}: {line}"
                );
            }
        }
    }

    #[test]
    fn what_leads_nowhere_is_not_offered() {
        let line = footer_without(Place::Causes, &[Action::Probe, Action::GoThere], 80);
        assert!(
            !line.contains("probe") && !line.contains("go there"),
            "{line}"
        );
        assert!(line.contains("y this was it"), "{line}");
    }

    #[test]
    fn the_most_needed_keys_come_first() {
        assert!(footer(Place::Checklist, 80).starts_with(" r run  x stop  S skip"));
    }
}
