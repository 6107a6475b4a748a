//! Frames around things: panes beside each other, and popups above them.

use super::text;
use crate::tui::theme::{Role, Theme};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear},
};

/// A pane with a title; the one with the focus has a strong border and a mark in its title. Returns
/// what is inside.
pub(crate) fn pane(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    focused: bool,
    theme: Theme,
) -> Rect {
    let room = usize::from(area.width).saturating_sub(4);
    let style = theme.style(if focused { Role::Strong } else { Role::Plain });
    let border = theme.style(if focused { Role::Plain } else { Role::Faint });
    let title = text::fit(title, room.saturating_sub(2), theme);
    let block = Block::bordered()
        .border_set(theme.border())
        .border_style(border)
        .title_top(Line::from(Span::styled(format!(" {title} "), style)));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// A popup in the middle of an area, as large as asked for but never larger than the area. What lies
/// below it is hidden. Returns what is inside.
pub(crate) fn popup(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    size: (u16, u16),
    theme: Theme,
) -> Rect {
    let width = size.0.min(area.width);
    let height = size.1.min(area.height);
    let place = Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
        width,
        height,
    );
    frame.render_widget(Clear, place);
    let room = usize::from(width).saturating_sub(6);
    let title = text::fit(title, room, theme);
    let block = Block::bordered()
        .border_set(theme.border())
        .title_top(Line::from(Span::styled(
            format!(" {title} "),
            theme.style(Role::Strong),
        )));
    let inner = block.inner(place);
    frame.render_widget(block, place);
    inner
}

/// A question or a message: a popup that is as high as its lines need.
pub(crate) fn message(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    lines: &[Line<'static>],
    theme: Theme,
) {
    let width = 76.min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let inner = popup(frame, area, title, (width, height), theme);
    super::list::scrolled(frame, inner, lines, &mut 0);
}

/// How wide the text of a message may be.
pub(crate) fn message_width(area: Rect) -> usize {
    usize::from(area.width.min(76)).saturating_sub(2)
}

/// An area without its first lines.
pub(crate) fn below(area: Rect, lines: u16) -> Rect {
    let taken = lines.min(area.height);
    Rect::new(area.x, area.y + taken, area.width, area.height - taken)
}

/// The first lines of an area.
pub(crate) fn above(area: Rect, lines: u16) -> Rect {
    Rect::new(area.x, area.y, area.width, lines.min(area.height))
}

/// An area cut into a left part of so many cells, and the rest.
pub(crate) fn split(area: Rect, left: u16) -> (Rect, Rect) {
    let left = left.min(area.width);
    (
        Rect::new(area.x, area.y, left, area.height),
        Rect::new(area.x + left, area.y, area.width - left, area.height),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    #[test]
    fn a_popup_is_never_larger_than_the_screen() {
        for (width, height) in [(1, 1), (2, 2), (10, 3), (80, 24)] {
            let mut terminal =
                Terminal::new(TestBackend::new(width, height)).expect("memory has no errors");
            terminal
                .draw(|frame| {
                    let area = frame.area();
                    let inner = popup(frame, area, "a title", (200, 60), Theme::default());
                    assert!(inner.right() <= width && inner.bottom() <= height);
                    let lines = vec![Line::raw("one"), Line::raw("two")];
                    message(frame, area, "another", &lines, Theme::default());
                })
                .expect("memory has no errors");
        }
    }
}
