//! The right pane: the chosen step in full, and the end of its output.

use super::steps;
use crate::{
    domain::{
        event::{AttemptKind, Outcome},
        incident::{Attempt, PlannedStep, StepState},
        runbook::{Reference, Step, names_step},
        units,
    },
    engine::Live,
    tui::{
        keymap::Action,
        screens::View,
        theme::{Mark, Role},
        widgets::{evidence, list, pane, tail::Tail, text},
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// `3 · Restore the server — attempt 1`
pub(super) fn title(step: &PlannedStep) -> String {
    let plan = &step.plan;
    match step.attempts.last() {
        Some(attempt) => format!("{} · {} — attempt {}", plan.number, plan.title, attempt.n),
        None => format!("{} · {}", plan.number, plan.title),
    }
}

/// Draws what is known of a step above, the end of its output below.
///
/// ```text
///  ▶ running, 21:07 of 45m
///  why    The old server may be corrupt; a new one is restored beside it.
///  runs $ az postgres flexible-server restore \
///  sees   "state": "Ready"
///  green  database: SELECT count(*) FROM tenants — expected: == 412
///  ✗ database: SELECT count(*) …: does not hold
///    expected == 412
///    saw      0
///  ── output ──────────────────────────── following ──
///  13:41:26 Restoring to 2026-03-10T14:30:00Z …
/// ```
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    step: Option<&PlannedStep>,
    starting: bool,
    scroll: &mut usize,
    output: &mut Tail,
    at: &View,
) {
    let Some(step) = step else {
        output.turn_to(None);
        return;
    };
    let cells = usize::from(area.width);
    let lines = lines(step, starting, at, cells);
    let last = step.attempts.last();
    let dir = last.map(|a| at.attempt_dir(&a.dir));
    output.turn_to(dir.as_deref());
    let Some(attempt) = last else {
        list::scrolled(frame, area, &lines, scroll);
        return;
    };
    let wanted = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let least = (area.height * 2 / 5).max(3).min(area.height);
    let height = wanted.min(area.height - least);
    list::scrolled(frame, pane::above(area, height), &lines, scroll);
    let rest = pane::below(area, height);
    let word = match (&attempt.ending, attempt.unsupervised) {
        (Some(_), _) => "ended",
        (None, false) => "following",
        (None, true) => "following, without supervisor",
    };
    frame.render_widget(rule("output", word, cells, at), pane::above(rest, 1));
    output.draw(frame, pane::below(rest, 1), at.theme);
}

fn rule(left: &str, right: &str, cells: usize, at: &View) -> Line<'static> {
    let rule = at.theme.rule();
    let used = text::width(left) + text::width(right) + 8;
    let middle = rule.repeat(cells.saturating_sub(used));
    let words = format!("{rule}{rule} {left} {middle} {right} {rule}{rule}");
    Line::styled(
        text::fit(&words, cells, at.theme),
        at.theme.style(Role::Faint),
    )
}

/// Is it about this step, or about the procedure or path that begins with it?
fn is_near(reference: &Reference, step: &PlannedStep, at: &View) -> bool {
    let Some(near) = reference.near.as_ref() else {
        return false;
    };
    let full = step.plan.step.as_str();
    let inside = format!("{near}/");
    let first = || {
        let mut of = at
            .incident
            .steps
            .iter()
            .filter(|s| s.plan.step.starts_with(&inside));
        of.next().is_some_and(|s| s.plan.step == full)
    };
    names_step(full, &near.text) || first()
}

/// Everything about a step, as lines.
fn lines(step: &PlannedStep, starting: bool, at: &View, cells: usize) -> Vec<Line<'static>> {
    let theme = at.theme;
    let (strong, plain) = (theme.style(Role::Strong), theme.style(Role::Plain));
    let mut lines = vec![state(step, at)];
    if starting {
        let words = "looking at the target before it starts…";
        lines.push(Line::styled(words, theme.style(Role::Busy)));
    }
    // Above what it runs: a question that waits is seen on the smallest screen.
    if let Some(live) = at
        .live
        .get(&step.plan.step)
        .filter(|_| step.running().is_some())
    {
        lines.extend(so_far(live, at, cells));
    }
    if let Some(reason) = step.reason() {
        lines.extend(text::labelled("       ", &reason, cells, strong, plain));
    }
    let waits = at.incident.waits_for(step);
    if !waits.is_empty() {
        lines.extend(text::labelled(
            "after  ",
            &waits.join(", "),
            cells,
            strong,
            plain,
        ));
    }
    let written = at.runbook.step(&step.plan.step);
    if let Some(why) = written.and_then(|s| s.why.as_deref()) {
        lines.extend(text::labelled("why    ", why, cells, strong, plain));
    }
    for reference in at.runbook.reference.iter().filter(|r| is_near(r, step, at)) {
        let words = format!("{}. {}", reference.title, reference.text);
        lines.extend(text::labelled("know   ", &words, cells, strong, plain));
    }
    let shown = at.shown.as_ref().filter(|s| s.step == step.plan.step);
    if let Some(shown) = shown {
        let label = match step.plan.kind.as_str() {
            "manual" => "do     ",
            "check" => "looks  ",
            _ => "runs $ ",
        };
        lines.extend(text::labelled(label, &shown.command, cells, strong, plain));
        if !shown.missing.is_empty() {
            let missing = shown.missing.join(", ");
            let warn = theme.style(Role::Warn);
            lines.extend(text::labelled("needs  ", &missing, cells, strong, warn));
        }
    }
    if let Some(sees) = written.and_then(|s| s.expect.as_deref()) {
        lines.extend(text::labelled("sees   ", sees, cells, strong, plain));
    }
    for green in shown.iter().flat_map(|s| &s.green) {
        lines.extend(text::labelled("green  ", green, cells, strong, plain));
    }
    lines.extend(written.into_iter().flat_map(|s| consequences(s, at, cells)));
    if let Some((_, progress)) = at
        .progress
        .as_ref()
        .filter(|(of, _)| *of == step.plan.step && step.running().is_some())
    {
        lines.push(Line::raw(""));
        lines.extend(evidence::lines(progress, cells, theme));
    }
    let mut attempts = step.attempts.iter().rev();
    if let Some(last) = attempts.next() {
        lines.push(Line::raw(""));
        lines.extend(newest(last, at, cells));
    }
    for earlier in attempts {
        lines.push(Line::styled(
            text::fit(&one_line(earlier), cells, theme),
            theme.style(Role::Faint),
        ));
    }
    if let Some((_, checks)) = &step.skipped {
        for check in checks {
            lines.extend(evidence::lines(check, cells, theme));
        }
    }
    lines
}

/// What a running command has said so far: does it wait for an answer, what will it fail with, how far is it?
fn so_far(live: &Live, at: &View, cells: usize) -> Vec<Line<'static>> {
    let theme = at.theme;
    let (warn, strong, plain) = (
        theme.style(Role::Warn),
        theme.style(Role::Strong),
        theme.style(Role::Plain),
    );
    let mut lines = Vec::new();
    if let Some(question) = &live.asks {
        let words = format!("for an answer: {question}");
        lines.extend(text::labelled("WAITS  ", &words, cells, warn, warn));
    }
    if let Some((cause, times)) = &live.hint {
        let often = match times {
            0 | 1 => String::new(),
            n => format!(" ({n} times)"),
        };
        let words = format!("{}{often}", cause.cause);
        lines.extend(text::labelled("says   ", &words, cells, warn, plain));
        if let Some(line) = &cause.text {
            lines.extend(text::labelled(
                "       ",
                line.as_str(),
                cells,
                plain,
                theme.style(Role::Faint),
            ));
        }
        lines.extend(text::labelled(
            "fix    ",
            cause.fix.as_str(),
            cells,
            strong,
            plain,
        ));
    }
    if let Some(figure) = &live.figure {
        let words = match figure.percent {
            Some(percent) => format!("{percent:.0} %   {}", figure.words),
            None => figure.words.clone(),
        };
        lines.extend(text::labelled("so far ", &words, cells, strong, plain));
    }
    lines
}

/// What a step changes beyond itself.
fn consequences(written: &Step, at: &View, cells: usize) -> Vec<Line<'static>> {
    let theme = at.theme;
    let (strong, plain) = (theme.style(Role::Strong), theme.style(Role::Plain));
    let mut lines = Vec::new();
    if !written.replaces.is_empty() {
        let names: Vec<&str> = written.replaces.iter().map(|n| n.text.as_str()).collect();
        let words = format!(
            "the target of {}; a person confirms the new one",
            names.join(", ")
        );
        lines.extend(text::labelled("moves  ", &words, cells, strong, plain));
    }
    if written.undo.is_some() {
        let words = format!("{} arms it", at.keys.key(Action::Undo));
        lines.extend(text::labelled("undo   ", &words, cells, strong, plain));
    }
    lines
}

fn state(step: &PlannedStep, at: &View) -> Line<'static> {
    let theme = at.theme;
    let mark = steps::mark(step);
    let of = step
        .plan
        .budget_s
        .map_or_else(String::new, |b| format!(" of {}", units::short(b)));
    let used = step.elapsed_s(at.now).map(units::clock);
    let words = match (step.state(), used) {
        (StepState::Unverified, Some(used)) => {
            format!("ended with exit 0, but no check said that it is right, {used}{of}")
        }
        (state, Some(used)) => format!("{}, {used}{of}", state.as_str()),
        (state, None) if of.is_empty() => state.as_str().to_owned(),
        (state, None) => format!("{}, budget{}", state.as_str(), of.replacen(" of", "", 1)),
    };
    let mut spans = vec![
        Span::styled(format!("{} ", theme.sign(mark)), theme.mark(mark)),
        Span::styled(words, theme.style(Role::Strong)),
    ];
    match step.plan.danger.as_str() {
        "destroy" => spans.push(Span::styled(
            format!("  {} destroys", theme.sign(Mark::Danger)),
            theme.mark(Mark::Danger),
        )),
        "change" => spans.push(Span::raw("  changes something")),
        _ => {}
    }
    Line::from(spans)
}

fn one_line(attempt: &Attempt) -> String {
    let kind = match attempt.kind {
        AttemptKind::Run => "attempt",
        AttemptKind::Undo => "undo, attempt",
    };
    match &attempt.ending {
        None => format!("{kind} {} is running", attempt.n),
        Some(ending) => format!(
            "{kind} {} {} after {}",
            attempt.n,
            ending.outcome.as_str(),
            units::clock(ending.elapsed_s)
        ),
    }
}

/// Does the attempt's script run on a terminal, where it can ask?
fn asks(attempt: &Attempt, at: &View) -> bool {
    let planned = at
        .incident
        .steps
        .iter()
        .find(|s| s.attempts.iter().any(|a| a.dir == attempt.dir));
    planned
        .and_then(|s| at.runbook.step(&s.plan.step))
        .and_then(|s| s.script())
        .is_some_and(|s| s.tty)
}

/// The last attempt with all that it left behind.
fn newest(attempt: &Attempt, at: &View, cells: usize) -> Vec<Line<'static>> {
    let theme = at.theme;
    let (faint, plain) = (theme.style(Role::Faint), theme.style(Role::Plain));
    let mut head = one_line(attempt);
    if attempt.is_running() && asks(attempt, at) {
        head.push_str("; it has a terminal: Enter, then I, types to it");
    }
    if let Some(ending) = &attempt.ending {
        if let Some(code) = ending.exit_code {
            head.push_str(&format!(", exit {code}"));
        }
        if let Some(signal) = ending.signal {
            head.push_str(&format!(", signal {signal}"));
        }
    } else if attempt.stop_asked {
        head.push_str(", asked to stop");
    }
    let mut lines = text::wrapped(&head, cells, theme.style(Role::Strong));
    for (label, words) in [
        ("reason   ", &attempt.out_of_order),
        ("typed    ", &attempt.confirmed),
        ("seen     ", &attempt.saw),
    ] {
        if let Some(words) = words {
            lines.extend(text::labelled(label, words.as_str(), cells, faint, plain));
        }
    }
    let Some(ending) = &attempt.ending else {
        return lines;
    };
    for check in &ending.checks {
        lines.extend(evidence::lines(check, cells, theme));
    }
    for (name, value) in &ending.captured {
        let words = format!("{name} = {value}");
        lines.extend(text::labelled("captured ", &words, cells, faint, plain));
    }
    for name in &ending.captured_secrets {
        let words = format!("{name}, a secret");
        lines.extend(text::labelled("captured ", &words, cells, faint, plain));
    }
    if ending.leaky {
        let words = "something it started still held its output when it ended (leaky)";
        lines.extend(text::labelled("note     ", words, cells, faint, plain));
    }
    if ending.lost_bytes > 0 {
        let words = format!("{} bytes of output could not be written", ending.lost_bytes);
        lines.extend(text::labelled("note     ", &words, cells, faint, plain));
    }
    let failed = matches!(ending.outcome, Outcome::Failed | Outcome::TimedOut);
    if failed {
        let key = at.keys.key(Action::Causes);
        let words = match &attempt.causes {
            None => "looking for likely causes…".to_owned(),
            Some(causes) if causes.is_empty() => {
                "no row of the failure table matches; one should be written".to_owned()
            }
            Some(_) if attempt.is_unmatched() => {
                format!("no row of the failure table matches; {key} shows its own words")
            }
            Some(causes) => format!("{key} shows {} likely cause(s)", causes.len()),
        };
        lines.extend(text::wrapped(&words, cells, theme.style(Role::Warn)));
    }
    if attempt.is_doubted() {
        let key = at.keys.key(Action::Causes);
        let words = format!("{DOUBTED}: {key} shows why");
        lines.extend(text::wrapped(&words, cells, theme.style(Role::Warn)));
    }
    lines
}

/// What is said of an attempt that looks like a success and is none.
pub(super) const DOUBTED: &str = "It ended with 0, and its output says that it failed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    fn detail(at: &View, index: usize, height: u16) -> String {
        let step = at.incident.steps.get(index);
        fixture::draw(70, height, |frame, area| {
            let (mut scroll, mut tail) = (0, Tail::default());
            draw(frame, area, step, false, &mut scroll, &mut tail, at);
        })
    }

    #[test]
    fn a_failed_step_shows_what_was_expected_and_what_was_seen() {
        let at = fixture::view();
        let drawn = detail(&at, 1, 60);
        for words in [
            "failed",
            "expected == 412",
            "saw      0",
            "likely cause",
            "runs $",
            "moves",
        ] {
            assert!(drawn.contains(words), "{words}:\n{drawn}");
        }
    }

    #[test]
    fn a_running_step_that_waits_for_an_answer_says_so_on_a_small_screen() {
        let mut at = fixture::view();
        let running = |s: &PlannedStep| s.running().is_some();
        let index = at.incident.steps.iter().position(running);
        let index = index.expect("the fixture has a running step");
        let name = at.incident.steps[index].plan.step.clone();
        let live = Live {
            asks: Some("Password for user app: ".into()),
            ..Live::default()
        };
        at.live.insert(name, live);
        let drawn = detail(&at, index, 12);
        assert!(drawn.contains("WAITS  for an answer: Password"), "{drawn}");
    }

    #[test]
    fn output_keeps_its_room_however_much_there_is_to_say() {
        let at = fixture::view();
        for height in [1, 2, 3, 5, 10] {
            detail(&at, 1, height);
        }
        assert!(detail(&at, 2, 12).contains("following"));
    }
}
