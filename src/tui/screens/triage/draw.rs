//! How triage looks.

use super::{Stage, Triage, choices, is_supported, open_path, question};
use crate::{
    domain::runbook::Next,
    tui::{
        screens::View,
        theme::{Mark, Role},
        widgets::{evidence, header, list, pane, text},
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// ```text
/// ╭ The tree ────────────────╮╭ What is broken? ──────────────────────────────────────╮
/// │ ▸ A data store           ││ The evidence beside each answer, and the alerts.      │
/// │     PostgreSQL → postgres││                                                       │
/// │     Redis → redis        ││ ▸ A data store is unavailable   supported             │
/// │   The cluster → aks      ││     database ✗ connection refused (12 ms)             │
/// │   Several …              ││     cache ✓ PONG (3 ms)                               │
/// │                          ││   The cluster is unreachable                          │
/// │                          ││     cluster ? not probed: needs cluster_context       │
/// ╰──────────────────────────╯╰───────────────────────────────────────────────────────╯
/// ```
pub(super) fn draw(triage: &mut Triage, frame: &mut Frame<'_>, area: Rect, at: &View) {
    let has_tree = matches!(triage.stage, Stage::Question(_)) && area.width >= 76;
    let map_width = if has_tree {
        (area.width / 3).min(48)
    } else {
        0
    };
    let (left, right) = pane::split(area, map_width);
    if has_tree {
        let inner = pane::pane(frame, left, "The tree", false, at.theme);
        let lines = map(triage, at, usize::from(inner.width));
        list::scrolled(frame, inner, &lines, &mut 0);
    }
    let inner = pane::pane(frame, right, &title(triage, at), true, at.theme);
    let cells = usize::from(inner.width);
    let (lines, chosen) = match &triage.stage {
        Stage::Question(path) => asked(triage, at, path, cells),
        Stage::Ticks { names, ticked } => ticks(triage, at, names, ticked, cells),
        Stage::Paths(go) => paths(triage, at, go, cells),
    };
    let height = usize::from(inner.height);
    let mut offset = chosen.saturating_sub(height);
    list::scrolled(frame, inner, &lines, &mut offset);
}

fn title(triage: &Triage, at: &View) -> String {
    match &triage.stage {
        Stage::Question(path) => {
            question(at, path).map_or_else(|| "Triage".to_owned(), |q| q.ask.clone())
        }
        Stage::Ticks { .. } => "Which are affected? They run in this order".to_owned(),
        Stage::Paths(go) => match open_path(at, go) {
            Some((i, _)) => {
                let name = header::name_of(&at.runbook, &go[i].procedure, None, at.theme);
                format!("Which way for {name}?")
            }
            None => "Which way?".to_owned(),
        },
    }
}

/// The whole tree; the way so far and the chosen answer are marked.
fn map(triage: &Triage, at: &View, cells: usize) -> Vec<Line<'static>> {
    let mut here: Vec<usize> = match &triage.stage {
        Stage::Question(path) => path.clone(),
        Stage::Ticks { .. } | Stage::Paths(_) => Vec::new(),
    };
    here.push(triage.cursor.at);
    let theme = at.theme;
    choices(at)
        .into_iter()
        .map(|(way, choice)| {
            let on = here.starts_with(&way);
            let goes = match &choice.next {
                Next::Ask(_) => String::new(),
                Next::Go(names) => {
                    let names: Vec<&str> = names.iter().map(|n| n.text.as_str()).collect();
                    format!(" > {}", names.join(", "))
                }
                Next::Pick(_) => " > several".to_owned(),
            };
            let sign = if on { theme.sign(Mark::Here) } else { " " };
            let indent = "  ".repeat(way.len() - 1);
            let line = format!("{sign} {indent}{}{goes}", choice.answer);
            let role = if on { Role::Strong } else { Role::Plain };
            Line::styled(text::fit(&line, cells, theme), theme.style(role))
        })
        .collect()
}

type Drawn = (Vec<Line<'static>>, usize);

/// The rows of a question, and below which line the chosen one ends.
fn asked(triage: &Triage, at: &View, path: &[usize], cells: usize) -> Drawn {
    let theme = at.theme;
    let (strong, faint) = (theme.style(Role::Strong), theme.style(Role::Faint));
    let Some(question) = question(at, path) else {
        return (Vec::new(), 0);
    };
    let mut lines = Vec::new();
    if let Some(look) = &question.look {
        lines.extend(text::wrapped(look, cells, faint));
        lines.push(Line::raw(""));
    }
    let mut end = 0;
    for (i, choice) in question.choices.iter().enumerate() {
        let mut answer = path.to_vec();
        answer.push(i);
        let here = i == triage.cursor.at;
        let seen = triage.seen(at, &answer);
        let mut head = choose(here, &choice.answer, cells.saturating_sub(14), at);
        if is_supported(&seen) {
            head.push_span(Span::raw("  "));
            head.push_span(Span::styled("supported", theme.style(Role::Warn)));
        }
        lines.push(head);
        for check in &seen {
            let mut line = evidence::line(check, cells.saturating_sub(5), theme);
            line.spans.insert(0, Span::raw("     "));
            lines.push(line);
            if let (true, Some(help)) = (here, &check.help) {
                lines.extend(text::labelled(
                    "       ",
                    help.as_str(),
                    cells,
                    faint,
                    faint,
                ));
            }
        }
        if here {
            end = lines.len();
        }
    }
    if let Some(missing) = triage.missing(at) {
        let key = at.keys.key(crate::tui::keymap::Action::Give);
        let words = format!("{missing} has no value: {key} gives it");
        lines.push(Line::raw(""));
        lines.extend(text::wrapped(&words, cells, theme.style(Role::Warn)));
    }
    if let Some(unsure) = &question.unsure {
        lines.push(Line::raw(""));
        lines.extend(text::labelled("unsure? ", unsure, cells, strong, faint));
    }
    (lines, end)
}

fn ticks(triage: &Triage, at: &View, names: &[String], ticked: &[bool], cells: usize) -> Drawn {
    let theme = at.theme;
    let mut lines = Vec::new();
    let mut end = 0;
    for (i, (name, ticked)) in names.iter().zip(ticked).enumerate() {
        let mark = if *ticked {
            Mark::Ticked
        } else {
            Mark::Unticked
        };
        let procedure = name.split('/').next().unwrap_or(name);
        let title = header::name_of(&at.runbook, procedure, None, theme);
        let words = format!("{} {title}  ({name})", theme.sign(mark));
        let here = i == triage.cursor.at;
        lines.push(choose(here, &words, cells, at));
        if here {
            end = lines.len();
        }
    }
    (lines, end)
}

fn paths(triage: &Triage, at: &View, go: &[crate::domain::plan::Chosen], cells: usize) -> Drawn {
    let faint = at.theme.style(Role::Faint);
    let mut lines = Vec::new();
    let mut end = 0;
    let Some((_, paths)) = open_path(at, go) else {
        return (lines, end);
    };
    for (i, (_, title, when)) in paths.iter().enumerate() {
        let here = i == triage.cursor.at;
        lines.push(choose(here, title, cells, at));
        lines.extend(text::labelled("     ", when, cells, faint, faint));
        if here {
            end = lines.len();
        }
    }
    (lines, end)
}

/// A row that can be chosen.
fn choose(here: bool, words: &str, cells: usize, at: &View) -> Line<'static> {
    let theme = at.theme;
    let sign = if here { theme.sign(Mark::Here) } else { " " };
    let role = if here { Role::Chosen } else { Role::Plain };
    let words = text::fit(words, cells.saturating_sub(4), theme);
    Line::from(vec![
        Span::raw(format!(" {sign} ")),
        Span::styled(words, theme.style(role)),
    ])
}
