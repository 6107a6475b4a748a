//! The left pane: every step with its state, its time and its budget.

use crate::{
    domain::{
        incident::{PlannedStep, StepState},
        units,
    },
    tui::{
        screens::View,
        theme::{Mark, Role, Theme},
        widgets::{
            header,
            list::{self, Cursor},
            text,
        },
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// The sign of a state.
pub(super) fn mark(step: &PlannedStep) -> Mark {
    match step.state() {
        StepState::Pending => Mark::Pending,
        StepState::Running => Mark::Running,
        StepState::Unverified => Mark::Unverified,
        StepState::Succeeded if step.fetch_again => Mark::Unverified,
        StepState::Succeeded => Mark::Good,
        StepState::Failed => Mark::Bad,
        StepState::Skipped => Mark::Skipped,
        StepState::Unknown => Mark::Unknown,
    }
}

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    chosen: Option<&str>,
    cursor: &mut Cursor,
    at: &View,
) {
    let cells = usize::from(area.width);
    let mut lines: Vec<Line<'static>> = Vec::new();
    let mut before: Option<&PlannedStep> = None;
    for step in &at.incident.steps {
        if let Some(before) = before {
            let same =
                before.plan.procedure == step.plan.procedure && before.plan.path == step.plan.path;
            if !same {
                lines.push(rule(step, cells, at));
            }
        }
        if chosen == Some(step.plan.step.as_str()) {
            cursor.at = lines.len();
        }
        lines.push(line(step, cells, at));
        before = Some(step);
    }
    if lines.is_empty() {
        lines.push(Line::raw(" there is no plan yet"));
    }
    list::draw(frame, area, &lines, cursor, at.theme);
}

/// What separates procedures.
fn rule(step: &PlannedStep, cells: usize, at: &View) -> Line<'static> {
    let theme = at.theme;
    let plan = &step.plan;
    let name = match (plan.procedure.as_str(), &plan.path) {
        ("recovered", _) => "recovered?".to_owned(),
        (procedure, path) => {
            let name = header::name_of(&at.runbook, procedure, path.as_deref(), theme);
            format!("then {name}")
        }
    };
    let name = text::fit(&name, cells.saturating_sub(4), theme);
    let rest = cells.saturating_sub(text::width(&name) + 3);
    let rule = theme.rule();
    let words = format!("{rule} {name} {}", rule.repeat(rest));
    Line::styled(words, theme.style(Role::Faint))
}

/// `▶ 3 Restore the server   ###. 21:07/45m`
fn line(step: &PlannedStep, cells: usize, at: &View) -> Line<'static> {
    let theme = at.theme;
    let sign = mark(step);
    let digits = at.incident.steps.len().to_string().len().max(1);
    let elapsed = step.elapsed_s(at.now);
    let budget = step.plan.budget_s;
    let used = elapsed.map_or_else(String::new, units::clock);
    let of = budget.map_or_else(String::new, |b| format!("/{}", units::short(b)));
    let over = matches!((elapsed, budget), (Some(used), Some(b)) if used > b as f64);
    let mut right = Vec::new();
    if step.plan.danger == "destroy" {
        let danger = theme.sign(Mark::Danger);
        right.push(Span::styled(format!("{danger} "), theme.mark(Mark::Danger)));
    }
    if let (StepState::Running, Some(used), Some(b), true) =
        (step.state(), elapsed, budget, cells >= 44)
    {
        right.push(Span::raw(progress(used / (b.max(1) as f64), theme)));
    }
    let role = match (over, step.state()) {
        (true, _) => Role::Bad,
        (false, StepState::Running) => Role::Busy,
        (
            false,
            StepState::Pending
            | StepState::Unverified
            | StepState::Succeeded
            | StepState::Failed
            | StepState::Skipped
            | StepState::Unknown,
        ) => Role::Plain,
    };
    let late = if over { theme.sign(Mark::Danger) } else { "" };
    right.push(Span::styled(
        format!("{late}{used}{of} "),
        theme.style(role),
    ));
    let taken: usize = right.iter().map(Span::width).sum();
    let number = text::right(&step.plan.number.to_string(), digits, theme);
    let room = cells.saturating_sub(taken + digits + 5);
    let left = vec![
        (
            0,
            Span::styled(format!(" {} ", theme.sign(sign)), theme.mark(sign)),
        ),
        (0, Span::raw(format!("{number} "))),
        (
            0,
            Span::raw(text::fit(step.plan.title.as_str(), room, theme)),
        ),
    ];
    text::row(left, right, cells)
}

/// Four cells that say how much of the budget is used.
fn progress(ratio: f64, theme: Theme) -> String {
    let full = ((ratio.clamp(0.0, 1.0) * 4.0) as usize).min(4);
    let (used, free) = if theme.ascii {
        ("#", ".")
    } else {
        ("▓", "░")
    };
    format!("{}{} ", used.repeat(full), free.repeat(4 - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    #[test]
    fn every_state_has_its_sign_and_time_stands_against_budget() {
        let at = fixture::view();
        let drawn = fixture::draw(60, 12, |frame, area| {
            let mut cursor = Cursor::default();
            draw(frame, area, None, &mut cursor, &at);
        });
        for words in [
            "✓ 1 Keep the broken state",
            "10:00/5m",
            "✗ 2 ",
            "▶ 3 ",
            "○ 4 ",
            "recovered?",
        ] {
            assert!(drawn.contains(words), "{words}:\n{drawn}");
        }
    }

    #[test]
    fn a_step_that_is_late_is_not_more_than_full() {
        assert_eq!(progress(9.0, Theme::default()), "▓▓▓▓ ");
        assert_eq!(progress(f64::NAN, Theme::default()), "░░░░ ");
    }
}
