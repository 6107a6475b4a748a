//! The first three lines: where we are, against what clock, and in which phase.

use super::text;
use crate::{
    domain::{
        budget::{self, PhaseUse},
        event::{Mode, PinnedBy, World},
        incident::Incident,
        runbook::Runbook,
        units,
    },
    tui::{
        screens::View,
        theme::{Mark, Role, Theme},
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Lines that the header takes.
pub(crate) const HEIGHT: u16 = 3;

/// Draws the three lines.
///
/// ```text
///  LIVE │ arbitex │ P1 │ §1 PostgreSQL ▸ point-in-time   database db:5432/7391   jo@bastion1   14:02:33Z
///  RTO 2h  ██████████▋                0:53:07  on pace: 1:38 (22m spare)   RPO 2h  measured 3m41s ✓
///  triage 9m/15m ✓   restore ▸ 38m/60m   verify –/30m   cutover –/15m
/// ```
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, at: &View) {
    let cells = usize::from(area.width);
    let lines = [
        who_and_where(at, cells),
        clocks(at, cells),
        phases(at, cells),
    ];
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
    }
}

fn who_and_where(at: &View, cells: usize) -> Line<'static> {
    let (incident, theme) = (&at.incident, at.theme);
    let (mode, role) = match (incident.mode, incident.world) {
        (Mode::Live, World::Live) => ("LIVE", Role::Live),
        (Mode::Live, World::Rehearsal) => ("LIVE (rehearsal)", Role::Live),
        (Mode::Live, World::Simulated) => ("LIVE (simulated)", Role::Live),
        (Mode::Drill, World::Live) => ("DRILL", Role::Drill),
        (Mode::Drill, World::Rehearsal) => ("DRILL (rehearsal)", Role::Drill),
        (Mode::Drill, World::Simulated) => ("DRILL (simulated)", Role::Drill),
    };
    let bar = || Span::styled(format!(" {} ", theme.upright()), theme.style(Role::Faint));
    let mut left = vec![
        (0, Span::raw(" ")),
        (0, Span::styled(mode, theme.style(role))),
        (0, bar()),
        (0, Span::raw(text::fit(&named(incident), cells / 4, theme))),
    ];
    if let Some((severity, _, _)) = &incident.severity {
        left.push((0, bar()));
        left.push((
            0,
            Span::styled(text::plain(severity), theme.style(Role::Strong)),
        ));
    }
    let place = procedure(incident, &at.runbook, theme);
    if !place.is_empty() {
        left.push((1, bar()));
        left.push((1, Span::raw(text::fit(&place, cells / 3, theme))));
    }
    let (target, role) = target(incident);
    // What is not as it should be has more room than what is.
    let room = if matches!(role, Role::Warn | Role::Bad) {
        cells / 2
    } else {
        (cells / 3).max(20)
    };
    // What cannot be left out, and the clock, come first.
    let fixed: usize = left
        .iter()
        .filter(|(rank, _)| *rank == 0)
        .map(|(_, s)| s.width())
        .sum();
    let who = match cells >= 100 {
        true => format!("   {}", text::fit(&at.who, 24, theme)),
        false => String::new(),
    };
    let room = room.min(cells.saturating_sub(fixed + who.chars().count() + 15));
    let mut right = vec![Span::styled(
        text::fit(&target, room, theme),
        theme.style(role),
    )];
    right.push(Span::raw(who));
    right.push(Span::raw(format!("   {} ", at.now.format("%H:%M:%SZ"))));
    text::row(left, right, cells)
}

/// `arbitex`, or `arbitex@prod` where a site was named.
fn named(incident: &Incident) -> String {
    match &incident.site {
        Some(site) => format!("{}@{}", incident.runbook.id, site.name),
        None => incident.runbook.id.clone(),
    }
}

/// The procedure and path of what runs, else of what comes next.
fn procedure(incident: &Incident, runbook: &Runbook, theme: Theme) -> String {
    let step = incident
        .steps
        .iter()
        .find(|s| s.running().is_some())
        .or_else(|| incident.next_step())
        .or_else(|| incident.steps.last());
    let Some(plan) = step.map(|s| &s.plan) else {
        return String::new();
    };
    name_of(runbook, &plan.procedure, plan.path.as_deref(), theme)
}

/// `§1 PostgreSQL ▸ point-in-time`
pub(crate) fn name_of(
    runbook: &Runbook,
    procedure: &str,
    path: Option<&str>,
    theme: Theme,
) -> String {
    if procedure == "recovered" {
        return "validation".to_owned();
    }
    let Some(written) = runbook.procedure(procedure) else {
        return text::plain(procedure);
    };
    let section = written
        .section
        .as_deref()
        .map_or_else(String::new, |s| format!("{s} "));
    let title = written
        .paths
        .iter()
        .find(|p| path.is_some() && p.id.as_deref() == path)
        .map_or_else(String::new, |p| {
            format!(" {} {}", theme.sign(Mark::Here), p.title)
        });
    text::plain(&format!("{section}{}{title}", written.title))
}

/// Who we act upon, as far as that is known and confirmed.
fn target(incident: &Incident) -> (String, Role) {
    if let Some((system, _)) = incident.wrong_place() {
        return (format!("{system}: NOT THE RECORDED ONE"), Role::Bad);
    }
    let mut pins = incident.pins.iter();
    if let Some((system, (new, _))) = pins.find_map(|(s, p)| Some((s, p.proposed.as_ref()?))) {
        let words = format!("{system}: NEW {}, to be confirmed", new.endpoint);
        return (words, Role::Warn);
    }
    if let Some((system, _)) = incident.pins.iter().find(|(_, p)| p.moved.is_some()) {
        return (format!("{system}: MOVED, nobody met there"), Role::Warn);
    }
    let mut known = incident
        .pins
        .iter()
        .filter_map(|(name, pin)| Some((name, pin.identity.as_ref()?, pin.by)));
    let Some((system, identity, by)) = known.next() else {
        return ("TARGET NOT VERIFIED".to_owned(), Role::Warn);
    };
    let more = match known.count() {
        0 => String::new(),
        n => format!(" +{n}"),
    };
    let name = format!("{system} {}{more}", identity.fingerprint());
    match by {
        PinnedBy::Person | PinnedBy::Site => (name, Role::Plain),
        PinnedBy::FirstContact => (format!("NOT VERIFIED {name}"), Role::Warn),
    }
}

fn clocks(at: &View, cells: usize) -> Line<'static> {
    let (incident, theme) = (&at.incident, at.theme);
    let pace = budget::pace(incident, at.now);
    let rto = pace.rto_s.map_or("none".to_owned(), units::short);
    let mut left = vec![(0, Span::raw(format!(" RTO {rto} ")))];
    if let Some(target) = pace.rto_s {
        let ratio = pace.elapsed_s / (target.max(1) as f64);
        let width = (cells / 5).clamp(8, 24);
        let role = if ratio > 1.0 { Role::Bad } else { Role::Plain };
        let edge = theme.upright();
        let drawn = format!("{edge}{}{edge}", text::bar(ratio, width, theme));
        left.push((1, Span::styled(drawn, theme.style(role))));
    }
    left.push((
        0,
        Span::styled(
            format!(" {}", units::clock(pace.elapsed_s)),
            theme.style(Role::Strong),
        ),
    ));
    let (words, role) = outlook(incident, &pace);
    left.push((0, Span::styled(format!("  {words}"), theme.style(role))));
    let right = recovery_point(incident, theme);
    text::row(left, right, cells)
}

/// To the minute: what changes every second is sent every second.
fn outlook(incident: &Incident, pace: &budget::Pace) -> (String, Role) {
    let minutes = |s: f64| units::short((s as u64) / 60 * 60).replace("0s", "0m");
    let Some(projected) = pace.projected_s else {
        return ("no plan yet".to_owned(), Role::Plain);
    };
    let (h, m) = (projected as u64 / 3600, projected as u64 / 60 % 60);
    match (incident.recovered_at, pace.spare_s()) {
        (Some(_), None) => ("recovered".to_owned(), Role::Good),
        (Some(_), Some(spare)) if spare >= 0.0 => {
            ("recovered within the RTO".to_owned(), Role::Good)
        }
        (Some(_), Some(spare)) => (format!("recovered, LATE by {}", minutes(-spare)), Role::Bad),
        (None, None) => (format!("on pace: {h}:{m:02}"), Role::Plain),
        (None, Some(spare)) if spare >= 0.0 => (
            format!("on pace: {h}:{m:02} ({} spare)", minutes(spare)),
            Role::Good,
        ),
        (None, Some(spare)) => (format!("LATE by {}", minutes(-spare)), Role::Bad),
    }
}

fn recovery_point(incident: &Incident, theme: Theme) -> Vec<Span<'static>> {
    let target = incident.objectives().rpo_s;
    let word = target.map_or("none".to_owned(), units::short);
    let mut spans = vec![Span::raw(format!(" RPO {word}"))];
    match (incident.rpo_measured_s(), target) {
        (None, _) => spans.push(Span::raw("  not measured ")),
        (Some(lost), None) => {
            spans.push(Span::raw(format!("  measured {} ", units::short(lost))));
        }
        (Some(lost), Some(target)) => {
            let mark = if lost <= target {
                Mark::Good
            } else {
                Mark::Bad
            };
            spans.push(Span::raw(format!("  measured {} ", units::short(lost))));
            spans.push(Span::styled(theme.sign(mark), theme.mark(mark)));
            spans.push(Span::raw(" "));
        }
    }
    spans
}

fn phases(at: &View, cells: usize) -> Line<'static> {
    let theme = at.theme;
    let mut spans = vec![Span::raw(" ")];
    for phase in budget::phases(&at.incident, at.now) {
        spans.extend(one_phase(&phase, theme));
    }
    // What is overdue is said where everybody looks, and goes before the phases.
    let due = crate::tui::screens::due(at).map(|(words, role)| {
        let short = words.split(" (").next().unwrap_or_default().to_owned();
        (Span::styled(format!("{short} "), theme.style(role)), role)
    });
    if let Some((words, Role::Bad)) = &due {
        spans.insert(1, words.clone());
        spans.insert(2, Span::raw("  "));
        return Line::from(spans);
    }
    let due = due.map(|(words, _)| words);
    let line = Line::from(spans.clone());
    if let Some(due) = due
        && line.width() + due.width() + 2 <= cells
    {
        let left = spans.into_iter().map(|s| (0, s)).collect();
        return text::row(left, vec![due], cells);
    }
    if line.width() <= cells {
        return line;
    }
    // Where they do not all fit, those that are over make room.
    let open: Vec<Span<'static>> = budget::phases(&at.incident, at.now)
        .iter()
        .filter(|p| !p.done)
        .flat_map(|p| one_phase(p, theme))
        .collect();
    let mut spans = vec![Span::raw(" ")];
    spans.extend(open);
    Line::from(spans)
}

fn one_phase(phase: &PhaseUse, theme: Theme) -> Vec<Span<'static>> {
    let budget = phase
        .budget_s
        .map_or(String::new(), |b| format!("/{}", units::short(b)));
    let used = if phase.started {
        format!("{}m", (phase.used_s / 60.0) as u64)
    } else {
        theme.sign(Mark::Skipped).to_owned()
    };
    let over = phase.budget_s.is_some_and(|b| phase.used_s > b as f64);
    let name = text::plain(&phase.id);
    let here = if phase.running {
        format!(" {}", theme.sign(Mark::Here))
    } else {
        String::new()
    };
    let role = match (over, phase.running) {
        (true, _) => Role::Bad,
        (false, true) => Role::Strong,
        (false, false) => Role::Plain,
    };
    let mut spans = vec![Span::styled(
        format!("{name}{here} {used}{budget}"),
        theme.style(role),
    )];
    let mark = match (over, phase.done) {
        (true, _) => Some(Mark::Danger),
        (false, true) => Some(Mark::Good),
        (false, false) => None,
    };
    if let Some(mark) = mark {
        spans.push(Span::styled(
            format!(" {}", theme.sign(mark)),
            theme.mark(mark),
        ));
    }
    spans.push(Span::raw("   "));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;
    use ratatui::{Terminal, backend::TestBackend};

    fn header(at: &View, width: u16) -> String {
        let mut terminal =
            Terminal::new(TestBackend::new(width, HEIGHT)).expect("memory has no errors");
        terminal
            .draw(|frame| {
                let area = frame.area();
                draw(frame, area, at);
            })
            .expect("memory has no errors");
        fixture::text(terminal.backend().buffer())
    }

    #[test]
    fn it_says_live_who_and_the_clocks_at_every_width() {
        let at = fixture::view();
        for width in [60, 80, 120, 200] {
            let drawn = header(&at, width);
            for word in ["LIVE", "tenants", "RTO", "RPO", "Z "] {
                assert!(drawn.contains(word), "{word} at {width}:\n{drawn}");
            }
        }
    }

    #[test]
    fn a_target_that_nobody_confirmed_is_said_to_be_so() {
        let (words, role) = target(&Incident::default());
        assert_eq!((words.as_str(), role), ("TARGET NOT VERIFIED", Role::Warn));
    }

    #[test]
    fn late_is_said_in_words() {
        let late = budget::Pace {
            elapsed_s: 7000.0,
            rto_s: Some(7200),
            projected_s: Some(8400.0),
        };
        let (words, role) = outlook(&Incident::default(), &late);
        assert_eq!((words.as_str(), role), ("LATE by 20m", Role::Bad));
    }
}
