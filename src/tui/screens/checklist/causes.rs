//! Why did it fail? The rows of the failure table that match, best first.

use super::detail::DOUBTED;
use crate::{
    domain::{
        event::{Cause, CheckResult},
        incident::Attempt,
        plan::Chosen,
        runbook::find_step,
    },
    tui::{
        keymap::{Action, Place},
        screens::{Ask, View, Want},
        theme::{Mark, Role},
        widgets::{
            evidence,
            list::{self, Cursor},
            pane, text,
        },
    },
};
use ratatui::{Frame, layout::Rect, text::Line};

/// The panel of one failed attempt.
pub(super) struct Causes {
    step: String,
    n: u32,
    cursor: Cursor,
    /// The row that was probed or judged: it stays chosen wherever that puts it.
    held: Option<String>,
}

/// Where a key in the panel leads.
pub(super) enum Lead {
    Stay(Want),
    Close,
    ToStep(String),
    /// A procedure that the plan does without.
    ToProcedure(Chosen),
}

impl Causes {
    pub(super) fn new(step: &str, n: u32) -> Self {
        Self {
            step: step.to_owned(),
            n,
            cursor: Cursor::default(),
            held: None,
        }
    }

    pub(super) fn focus(&self) -> String {
        format!("causes {} {}", self.step, self.n)
    }

    fn attempt<'v>(&self, at: &'v View) -> Option<&'v Attempt> {
        at.incident.attempt(&self.step, self.n)
    }

    fn chosen<'v>(&self, at: &'v View) -> Option<&'v Cause> {
        let place = self.place(at);
        self.attempt(at)?.causes.as_ref()?.get(place)
    }

    /// Which one is chosen.
    fn place(&self, at: &View) -> usize {
        let causes = self.attempt(at).and_then(|a| a.causes.as_ref());
        let held = self.held.as_ref().zip(causes);
        held.and_then(|(row, causes)| causes.iter().position(|c| c.row == *row))
            .unwrap_or(self.cursor.at)
    }

    /// The keys that the chosen row has nothing for.
    pub(super) fn idle(&self, at: &View) -> Vec<Action> {
        let chosen = self.chosen(at);
        let mut idle = Vec::new();
        if chosen.is_none_or(|c| c.probe.is_none()) {
            idle.push(Action::Probe);
        }
        if chosen.is_none_or(|c| c.go.is_none()) {
            idle.push(Action::GoThere);
        }
        if chosen.is_none() {
            idle.extend([Action::ThisWasIt, Action::NotThis]);
        }
        idle
    }

    /// The line that made the chosen row match.
    pub(super) fn line(&self, at: &View) -> Option<String> {
        let cause = self.chosen(at)?;
        cause.line?;
        cause.text.as_ref().map(ToString::to_string)
    }

    pub(super) fn act(&mut self, action: Action, at: &View) -> Lead {
        let causes = self.attempt(at).and_then(|a| a.causes.as_ref());
        let len = causes.map_or(0, Vec::len);
        match (action, self.chosen(at)) {
            (Action::Back, _) => Lead::Close,
            (Action::Choose, _) => Lead::Stay(Want::Go(Place::Log)),
            (Action::Probe, Some(cause)) if cause.probe.is_some() => {
                self.held = Some(cause.row.clone());
                Lead::Stay(Want::All(vec![
                    Want::Say("the probe runs; what it sees will stand here".to_owned()),
                    Want::Ask(Ask::Probe {
                        step: self.step.clone(),
                        row: cause.row.clone(),
                    }),
                ]))
            }
            (Action::Probe, _) => Lead::Stay(Want::Say("this row has no probe".to_owned())),
            (Action::ThisWasIt | Action::NotThis, Some(cause)) => {
                self.held = Some(cause.row.clone());
                let right = action == Action::ThisWasIt;
                let words = match right {
                    true => "recorded: this was it",
                    false => "recorded: this was not it",
                };
                Lead::Stay(Want::All(vec![
                    Want::Say(words.to_owned()),
                    Want::Ask(Ask::JudgeCause {
                        step: self.step.clone(),
                        n: self.n,
                        row: cause.row.clone(),
                        right,
                    }),
                ]))
            }
            (Action::GoThere, Some(cause)) => match cause.go.as_deref() {
                Some(go) => lead(go, at),
                None => Lead::Stay(Want::Say("this row names no place to go".to_owned())),
            },
            (other, _) => {
                self.cursor.at = self.place(at);
                self.held = None;
                self.cursor.act(other, len);
                Lead::Stay(Want::Draw)
            }
        }
    }

    /// ```text
    /// ╭ Likely cause of postgres/pitr/restore, attempt 1 ──────────────────────╮
    /// │ ▸ 1 The moment to restore to lies before the oldest backup             │
    /// │     line 41  ERROR: [075]: unable to find backup set                   │
    /// │     fix      Choose a later moment                                     │
    /// │     probe    pgbackrest info                                           │
    /// │     go       restore                                                   │
    /// │     source   pgBackRest user guide                                     │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let width = 92.min(area.width);
        let cells = usize::from(width.saturating_sub(2));
        let (lines, end) = self.lines(at, cells);
        let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
        let title = format!("Likely cause of {}, attempt {}", self.step, self.n);
        let inner = pane::popup(frame, area, &title, (width, height), at.theme);
        let mut offset = end.saturating_sub(usize::from(inner.height));
        list::scrolled(frame, inner, &lines, &mut offset);
    }

    fn lines(&self, at: &View, cells: usize) -> (Vec<Line<'static>>, usize) {
        let theme = at.theme;
        let Some(attempt) = self.attempt(at) else {
            return (Vec::new(), 0);
        };
        let plain = theme.style(Role::Plain);
        let causes = match &attempt.causes {
            None => return (text::wrapped("looking for likely causes…", cells, plain), 0),
            Some(causes) if causes.is_empty() => {
                let words = "No row of the failure table matches. That is recorded: it is a row that somebody \
                             should write. The whole table can be searched.";
                return (text::wrapped(words, cells, plain), 0);
            }
            Some(causes) => causes,
        };
        let (mut lines, mut end) = (Vec::new(), 0);
        if attempt.is_unmatched() {
            let words =
                "No row of the failure table knows this; that is recorded. In its own words:";
            lines.extend(text::wrapped(words, cells, theme.style(Role::Warn)));
        }
        if attempt.is_doubted() {
            let words = format!("{DOUBTED}. Nothing verified it:");
            lines.extend(text::wrapped(&words, cells, theme.style(Role::Warn)));
        }
        for (i, cause) in causes.iter().enumerate() {
            let here = i == self.place(at);
            let sign = if here { theme.sign(Mark::Here) } else { " " };
            let role = if here { Role::Strong } else { Role::Plain };
            let judged = match attempt.verdict(&cause.row) {
                Some(true) => theme.sign(Mark::Good),
                Some(false) => theme.sign(Mark::Bad),
                None => " ",
            };
            let label = format!(" {sign}{judged}{} ", i + 1);
            let style = theme.style(role);
            lines.extend(text::labelled(
                &label,
                cause.cause.as_str(),
                cells,
                style,
                style,
            ));
            if here {
                let mut probes = attempt.probes.iter().rev();
                let last = probes.find(|(row, _)| *row == cause.row);
                lines.extend(facts(cause, last.map(|(_, check)| check), at, cells));
                end = lines.len();
            }
        }
        (lines, end)
    }
}

/// Everything about one row.
fn facts(
    cause: &Cause,
    probed: Option<&CheckResult>,
    at: &View,
    cells: usize,
) -> Vec<Line<'static>> {
    let theme = at.theme;
    let (faint, plain) = (theme.style(Role::Faint), theme.style(Role::Plain));
    let mut lines = Vec::new();
    let mut fact = |label: &str, words: &str| {
        if !words.is_empty() {
            let label = format!("     {label:<9}");
            lines.extend(text::labelled(&label, words, cells, faint, plain));
        }
    };
    let line = cause
        .line
        .map_or_else(|| "seen".to_owned(), |n| format!("line {n}"));
    fact(&line, cause.text.as_ref().map_or("", |t| t.as_str()));
    fact("fix", cause.fix.as_str());
    fact("probe", cause.probe.as_ref().map_or("", |p| p.as_str()));
    fact("go", cause.go.as_deref().unwrap_or(""));
    fact("source", cause.source.as_str());
    if let Some(check) = probed {
        for mut line in evidence::lines(check, cells.saturating_sub(5), theme) {
            line.spans.insert(0, "     ".into());
            lines.push(line);
        }
    }
    lines
}

/// A step of the plan, or a procedure that could be added to it.
fn lead(go: &str, at: &View) -> Lead {
    let planned = at.incident.steps.iter().map(|s| s.plan.step.as_str());
    if let Ok(step) = find_step(planned, go) {
        return Lead::ToStep(step.to_owned());
    }
    let chosen = Chosen::parse(go);
    if at.runbook.procedure(&chosen.procedure).is_some() {
        let mut steps = at.incident.steps.iter();
        let first = match chosen.other_way(&at.incident.go) {
            Some(_) => None,
            None => steps.find(|s| s.plan.procedure == chosen.procedure),
        };
        return match first {
            Some(step) => Lead::ToStep(step.plan.step.clone()),
            None => Lead::ToProcedure(chosen),
        };
    }
    let all: Vec<String> = at.runbook.steps().map(|(name, _)| name).collect();
    match find_step(all.iter().map(String::as_str), go) {
        Ok(full) => {
            let list = full.rsplit_once('/').map_or(full, |(list, _)| list);
            Lead::ToProcedure(Chosen::parse(list))
        }
        Err(why) => Lead::Stay(Want::Say(why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    fn failed() -> (Causes, View) {
        let at = fixture::view();
        let step = at.incident.steps[1].plan.step.clone();
        (Causes::new(&step, 1), at)
    }

    #[test]
    fn a_cause_shows_its_line_fix_probe_and_what_the_probe_saw() {
        let (mut causes, at) = failed();
        let drawn = fixture::draw(100, 30, |frame, area| causes.draw(frame, area, &at));
        for words in [
            "line 41",
            "unable to find",
            "pgbackrest info",
            "cannot tell",
            "user guide",
        ] {
            assert!(drawn.contains(words), "{words}:\n{drawn}");
        }
        assert_eq!(
            causes.line(&at).as_deref(),
            Some("ERROR: [075]: unable to find backup set")
        );
    }

    #[test]
    fn going_there_leads_to_a_step_of_the_plan() {
        let (mut causes, at) = failed();
        let Lead::ToStep(step) = causes.act(Action::GoThere, &at) else {
            panic!("it is in the plan");
        };
        assert_eq!(step, "postgres/pitr/restore");
        assert!(matches!(lead("nowhere", &at), Lead::Stay(Want::Say(_))));
    }
}
