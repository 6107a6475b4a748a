//! What a check expected and saw, in one line or in several.

use super::text;
use crate::{
    domain::event::{CheckResult, Verdict},
    tui::theme::{Mark, Role, Theme},
};
use ratatui::text::{Line, Span};

/// Up, down or cannot tell: never the same sign for the last two.
pub(crate) fn mark(check: &CheckResult) -> Mark {
    match check.verdict {
        Verdict::Holds => Mark::Good,
        Verdict::DoesNotHold => Mark::Bad,
        Verdict::CannotTell => Mark::Unknown,
    }
}

/// One line: `database ✗ connection refused (12 ms)`.
pub(crate) fn line(check: &CheckResult, cells: usize, theme: Theme) -> Line<'static> {
    let mark = mark(check);
    let took = format!(" ({} ms)", check.elapsed_ms);
    let room = cells.saturating_sub(3 + took.len());
    let what = text::fit(check.what.as_str(), room / 2, theme);
    let seen = text::fit(
        check.seen.as_str(),
        room.saturating_sub(text::width(&what)),
        theme,
    );
    Line::from(vec![
        Span::raw(format!("{what} ")),
        Span::styled(theme.sign(mark), theme.mark(mark)),
        Span::raw(format!(" {seen}")),
        Span::styled(took, theme.style(Role::Faint)),
    ])
}

/// Everything: what was looked at, expected, seen, and how to fix our side where it cannot tell.
pub(crate) fn lines(check: &CheckResult, cells: usize, theme: Theme) -> Vec<Line<'static>> {
    let mark = mark(check);
    let word = match check.verdict {
        Verdict::Holds => "holds",
        Verdict::DoesNotHold => "does not hold",
        Verdict::CannotTell => "cannot tell",
    };
    let faint = theme.style(Role::Faint);
    let plain = theme.style(Role::Plain);
    let head = format!("{} {}: {word}", check.what, took(check.elapsed_ms));
    let label = format!("{} ", theme.sign(mark));
    let mut out = text::labelled(&label, &head, cells, theme.mark(mark), plain);
    out.extend(text::labelled(
        "  expected ",
        check.expected.as_str(),
        cells,
        faint,
        plain,
    ));
    out.extend(text::labelled(
        "  saw      ",
        check.seen.as_str(),
        cells,
        faint,
        plain,
    ));
    if let Some(help) = &check.help {
        out.extend(text::labelled(
            "  help     ",
            help.as_str(),
            cells,
            faint,
            plain,
        ));
    }
    out
}

fn took(ms: u64) -> String {
    if ms < 10_000 {
        format!("({ms} ms)")
    } else {
        format!("({})", crate::domain::units::clock(ms as f64 / 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::CheckPhase;

    fn check(verdict: Verdict) -> CheckResult {
        CheckResult {
            what: "database".into(),
            phase: CheckPhase::Probe,
            verdict,
            expected: "answers".into(),
            seen: "connection refused".into(),
            passed: verdict == Verdict::Holds,
            elapsed_ms: 12,
            system: Some("database".to_owned()),
            help: None,
        }
    }

    fn drawn(line: &Line<'_>) -> String {
        line.spans.iter().map(|s| s.content.as_ref()).collect()
    }

    #[test]
    fn one_line_says_what_and_how_fast() {
        let line = line(&check(Verdict::DoesNotHold), 60, Theme::default());
        assert_eq!(drawn(&line), "database ✗ connection refused (12 ms)");
    }

    #[test]
    fn down_and_cannot_tell_never_look_alike() {
        let signs: Vec<&str> = [Verdict::Holds, Verdict::DoesNotHold, Verdict::CannotTell]
            .map(|v| Theme::default().sign(mark(&check(v))))
            .into();
        assert_eq!(signs, ["✓", "✗", "?"]);
    }

    #[test]
    fn a_line_fits_its_room() {
        for cells in [0, 5, 12, 20, 37] {
            let line = line(&check(Verdict::CannotTell), cells, Theme::default());
            assert!(line.width() <= cells.max(14), "{cells}: {}", drawn(&line));
        }
    }
}
