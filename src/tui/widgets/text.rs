//! Text that fits: measured in cells, not in characters or bytes. Everything that goes through here
//! leaves without a control character.

use crate::{domain::text::Clean, tui::theme::Theme};
use ratatui::{
    style::Style,
    text::{Line, Span},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One line of text from anywhere.
pub(crate) fn plain(text: &str) -> String {
    Clean::line(text).into_string()
}

/// How many cells a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `cells` cells; what was cut is marked at the end.
pub(crate) fn fit(text: &str, cells: usize, theme: Theme) -> String {
    let text = plain(text);
    if text.width() <= cells {
        return text;
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > cells {
            break;
        }
        out.push(c);
        used += w;
    }
    if cells > 0 {
        out.push_str(theme.cut());
    }
    out
}

/// The text in exactly `cells` cells.
pub(crate) fn pad(text: &str, cells: usize, theme: Theme) -> String {
    let mut out = fit(text, cells, theme);
    let missing = cells.saturating_sub(out.width());
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// The text at the right end of `cells` cells.
pub(crate) fn right(text: &str, cells: usize, theme: Theme) -> String {
    let out = fit(text, cells, theme);
    let missing = cells.saturating_sub(out.width());
    format!("{}{out}", " ".repeat(missing))
}

/// Lines of at most `cells` cells, broken at spaces where there are any. The lines of the text itself
/// are kept.
pub(crate) fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let clean = Clean::new(text).into_string().replace('\t', "    ");
    let mut out = Vec::new();
    for line in clean.trim_end().split('\n') {
        wrap_line(line, cells, &mut out);
    }
    out
}

fn wrap_line(line: &str, cells: usize, out: &mut Vec<String>) {
    if line.width() <= cells {
        out.push(line.to_owned());
        return;
    }
    let mut current = String::new();
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        let needed = word.trim_end().width();
        if used > 0 && used + needed > cells {
            out.push(current.trim_end().to_owned());
            current.clear();
            used = 0;
        }
        if needed <= cells {
            current.push_str(word);
            used += word.width();
            continue;
        }
        for c in word.chars() {
            let w = c.width().unwrap_or(0);
            if used > 0 && used + w > cells {
                out.push(current.clone());
                current.clear();
                used = 0;
            }
            current.push(c);
            used += w;
        }
    }
    let rest = current.trim_end();
    if !rest.is_empty() {
        out.push(rest.to_owned());
    }
}

/// Wrapped lines in one style.
pub(crate) fn wrapped(text: &str, cells: usize, style: Style) -> Vec<Line<'static>> {
    let words = text.trim_start_matches(' ');
    let indent = &text[..text.len() - words.len()];
    labelled(indent, words, cells, style, style)
}

/// A word before a wrapped text; further lines are indented below it.
pub(crate) fn labelled(
    label: &str,
    text: &str,
    cells: usize,
    label_style: Style,
    style: Style,
) -> Vec<Line<'static>> {
    let indent = label.width();
    wrap(text, cells.saturating_sub(indent))
        .into_iter()
        .enumerate()
        .map(|(i, line)| {
            let first = if i == 0 {
                Span::styled(label.to_owned(), label_style)
            } else {
                Span::raw(" ".repeat(indent))
            };
            Line::from(vec![first, Span::styled(line, style)])
        })
        .collect()
}

/// One row with something at its left and something at its right end. Where both do not fit, parts of
/// the left with the highest number go first; the right stays.
pub(crate) fn row(
    left: Vec<(u8, Span<'static>)>,
    right: Vec<Span<'static>>,
    cells: usize,
) -> Line<'static> {
    let of = |spans: &[Span<'static>]| spans.iter().map(Span::width).sum::<usize>();
    let right_width = of(&right);
    let mut left = left;
    loop {
        let used: usize = left.iter().map(|(_, s)| s.width()).sum();
        let gap = usize::from(right_width > 0);
        if used + right_width + gap <= cells {
            break;
        }
        let worst = left.iter().map(|(n, _)| *n).max().unwrap_or(0);
        if worst == 0 {
            break;
        }
        left.retain(|(n, _)| *n != worst);
    }
    let mut spans: Vec<Span<'static>> = left.into_iter().map(|(_, s)| s).collect();
    let gap = cells.saturating_sub(of(&spans) + right_width);
    if !right.is_empty() {
        spans.push(Span::raw(" ".repeat(gap)));
        spans.extend(right);
    }
    Line::from(spans)
}

/// A bar of `cells` cells. The ratio is clamped: what is late is full, not beyond.
pub(crate) fn bar(ratio: f64, cells: usize, theme: Theme) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let ratio = if ratio.is_nan() {
        0.0
    } else {
        ratio.clamp(0.0, 1.0)
    };
    if theme.ascii {
        let full = ((ratio * cells as f64) as usize).min(cells);
        return format!("{}{}", "#".repeat(full), ".".repeat(cells - full));
    }
    let eighths = ((ratio * (cells * 8) as f64) as usize).min(cells * 8);
    let (full, part) = (eighths / 8, eighths % 8);
    let used = full + usize::from(part > 0);
    format!(
        "{}{}{}",
        "█".repeat(full),
        EIGHTHS[part],
        " ".repeat(cells - used)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FINE: Theme = Theme {
        mono: false,
        ascii: false,
    };
    const ASCII: Theme = Theme {
        mono: true,
        ascii: true,
    };

    #[test]
    fn text_is_wrapped_at_spaces_and_long_words_are_broken() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\n  b", 10), ["a", "", "  b"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(width("数据"), 4);
        assert_eq!(fit("数据库", 5, FINE), "数据…");
        assert_eq!(width(&pad("数", 5, FINE)), 5);
    }

    #[test]
    fn a_bar_is_clamped_at_both_ends() {
        for theme in [FINE, ASCII] {
            for ratio in [-1.0, 0.0, 0.33, 1.0, 7.5, f64::NAN, f64::INFINITY] {
                assert_eq!(width(&bar(ratio, 12, theme)), 12, "{ratio}");
            }
            assert_eq!(bar(9.0, 4, theme), bar(1.0, 4, theme));
        }
        assert_eq!(bar(0.5, 4, ASCII), "##..");
    }

    #[test]
    fn a_row_gives_up_its_least_important_parts_first() {
        let left = vec![
            (0, Span::raw("LIVE")),
            (2, Span::raw(" long description")),
            (1, Span::raw(" P1")),
        ];
        let row = row(left, vec![Span::raw("14:02")], 14);
        let text: String = row.spans.iter().map(|s| s.content.as_ref()).collect();
        assert_eq!(text, "LIVE P1  14:02");
    }

    proptest! {
        #[test]
        fn no_wrapped_line_is_too_wide(text in "[ -~é数据\n]{0,160}", cells in 2usize..80) {
            for line in wrap(&text, cells) {
                prop_assert!(width(&line) <= cells, "{line:?}");
            }
        }
    }
}
