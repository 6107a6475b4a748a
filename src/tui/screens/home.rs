//! Home: open incidents with what runs in them, then runbooks, then what is past.

use super::identity;
use crate::{
    domain::{event::Mode, incident::IncidentState},
    offered::in_place,
    store::{Store, Summary},
    tui::{
        RunbookOffer,
        keymap::{Action, Place},
        theme::{Mark, Role, Theme},
        widgets::{
            list::{self, Cursor},
            pane, text,
        },
    },
};
use chrono::{DateTime, Utc};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// One row.
#[derive(Clone, Debug)]
enum Item {
    Head(&'static str),
    Incident(Summary),
    /// What cannot be read is told, never hidden.
    Damaged(String, String),
    Runbook(RunbookOffer),
    Words(&'static str),
}

/// What lies above the list.
enum Above {
    Nothing,
    /// A new incident is opened only after a question.
    Open(RunbookOffer, Vec<String>),
    Message(String, String),
}

/// What a person chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Nothing,
    Draw,
    /// What is to be known of this runbook is asked for.
    About(String),
    Open(String),
    Resume(String),
}

/// The first screen.
pub(crate) struct Home {
    items: Vec<Item>,
    cursor: Cursor,
    above: Above,
}

impl Home {
    pub(crate) fn new(store: &Store, runbooks: &[RunbookOffer]) -> Self {
        let mut home = Self {
            items: Vec::new(),
            cursor: Cursor::default(),
            above: Above::Nothing,
        };
        home.reload(store, runbooks);
        home.cursor = Cursor::on(home.first());
        home
    }

    /// Reads the summaries anew. The chosen row stays where it is.
    pub(crate) fn reload(&mut self, store: &Store, runbooks: &[RunbookOffer]) {
        let (mut open, mut past, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        for summary in store.summaries() {
            match summary {
                Ok(summary) if is_open(&summary) => open.push(Item::Incident(summary)),
                Ok(summary) => past.push(Item::Incident(summary)),
                Err((id, why)) => damaged.push(Item::Damaged(id, why.to_string())),
            }
        }
        let none = open.is_empty();
        let mut items = vec![Item::Head("Open incidents")];
        items.extend(open);
        items.extend(damaged);
        if none {
            items.push(Item::Words("none is open"));
        }
        items.push(Item::Head("Runbooks"));
        items.extend(runbooks.iter().cloned().map(Item::Runbook));
        if runbooks.is_empty() {
            items.push(Item::Words("none is known"));
        }
        if !past.is_empty() {
            items.push(Item::Head("Past"));
            items.extend(past);
        }
        self.items = items;
    }

    /// The first row that can be chosen.
    fn first(&self) -> usize {
        let can = |i: &Item| matches!(i, Item::Incident(_) | Item::Runbook(_));
        self.items.iter().position(can).unwrap_or(0)
    }

    pub(crate) fn place(&self) -> Place {
        match self.above {
            Above::Nothing => Place::Home,
            Above::Open(..) | Above::Message(..) => Place::Confirm,
        }
    }

    pub(crate) fn focus(&self) -> String {
        match &self.above {
            Above::Nothing => "home".to_owned(),
            Above::Open(offer, _) => format!("open {}", offer.id),
            Above::Message(title, _) => format!("message {title}"),
        }
    }

    /// Says something that a person has to read.
    pub(crate) fn say(&mut self, title: &str, words: &str) {
        self.above = Above::Message(title.to_owned(), words.to_owned());
    }

    pub(crate) fn act(&mut self, action: Action) -> Choice {
        match (&self.above, action) {
            (Above::Nothing, Action::Choose) => self.choose(),
            (Above::Nothing, action) => self.go(action),
            (Above::Open(offer, _), Action::Choose) => {
                let id = offer.id.clone();
                self.above = Above::Nothing;
                Choice::Open(id)
            }
            (Above::Message(..), Action::Choose)
            | (Above::Open(..) | Above::Message(..), Action::Back | Action::Quit) => {
                self.above = Above::Nothing;
                Choice::Draw
            }
            (Above::Open(..) | Above::Message(..), _) => Choice::Nothing,
        }
    }

    /// What is to be known of the runbook that is about to be opened.
    pub(crate) fn about(&mut self, facts: Vec<String>) {
        if let Above::Open(_, about) = &mut self.above {
            *about = facts;
        }
    }

    /// Moves over headings to what can be chosen.
    fn go(&mut self, action: Action) -> Choice {
        let len = self.items.len();
        let before = self.cursor.at;
        if !self.cursor.act(action, len) {
            return Choice::Nothing;
        }
        let down = self.cursor.at >= before;
        while matches!(
            self.items.get(self.cursor.at),
            Some(Item::Head(_) | Item::Words(_))
        ) {
            let next = if down {
                self.cursor.at + 1
            } else {
                self.cursor.at.saturating_sub(1)
            };
            if next >= len || next == self.cursor.at {
                self.cursor.at = if down { before } else { self.first() };
                break;
            }
            self.cursor.at = next;
        }
        Choice::Draw
    }

    fn choose(&mut self) -> Choice {
        match self.items.get(self.cursor.at).cloned() {
            Some(Item::Incident(summary)) => Choice::Resume(summary.id),
            Some(Item::Runbook(offer)) if !offer.trusted => {
                let file = offer.file.clone().unwrap_or_else(|| offer.id.clone());
                let words = format!(
                    "This runbook was not trusted, so nothing of it runs and nothing is probed. Read it, then: blackstart trust {file}"
                );
                self.above = Above::Message(offer.title, in_place(&words).into_owned());
                Choice::Draw
            }
            Some(Item::Runbook(offer)) => {
                let id = offer.id.clone();
                self.above = Above::Open(offer, Vec::new());
                Choice::About(id)
            }
            Some(Item::Damaged(id, why)) => {
                self.above = Above::Message(id, why);
                Choice::Draw
            }
            Some(Item::Head(_) | Item::Words(_)) | None => Choice::Nothing,
        }
    }

    /// ```text
    ///  blackstart                                                       14:02:33Z
    /// ╭ Home ──────────────────────────────────────────────────────────────────╮
    /// │ Open incidents                                                         │
    /// │ ▶ LIVE  tenants  P1   3/7 steps   since 14:31Z   running: restore      │
    /// │ Runbooks                                                               │
    /// │   arbitex   Arbitex: databases, cluster and volumes                    │
    /// │ Past                                                                   │
    /// │ ✓ DRILL tenants  P1   7/7 steps   2026-03-02 09:10Z                    │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    pub(crate) fn draw(
        &mut self,
        frame: &mut Frame<'_>,
        area: Rect,
        now: DateTime<Utc>,
        ready: bool,
        theme: Theme,
    ) {
        let cells = usize::from(area.width);
        let head = text::row(
            vec![
                (0, Span::styled(" blackstart", theme.style(Role::Strong))),
                (
                    1,
                    Span::styled("  brings a platform back", theme.style(Role::Faint)),
                ),
            ],
            vec![Span::raw(format!("{} ", now.format("%H:%M:%SZ")))],
            cells,
        );
        frame.render_widget(head, pane::above(area, 1));
        let inner = pane::pane(frame, pane::below(area, 1), "Home", true, theme);
        let cells = usize::from(inner.width);
        let rows: Vec<Line<'static>> = self
            .items
            .iter()
            .map(|item| row(item, cells, theme))
            .collect();
        list::draw(frame, inner, &rows, &mut self.cursor, theme);
        let width = pane::message_width(area);
        let plain = theme.style(Role::Plain);
        match &self.above {
            Above::Nothing => {}
            Above::Open(offer, about) => {
                let mut lines = text::wrapped(&offer.title, width, theme.style(Role::Strong));
                lines.extend(text::wrapped(&offer.summary, width, plain));
                lines.push(Line::raw(""));
                // One line each, and no more than leave room for the question.
                let room = usize::from(area.height).saturating_sub(lines.len() + 5);
                for fact in about.iter().take(room) {
                    lines.push(Line::raw(text::fit(&format!("· {fact}"), width, theme)));
                }
                if about.len() > room {
                    lines.push(Line::styled(
                        "  more of it: K, in the incident",
                        theme.style(Role::Faint),
                    ));
                }
                if !about.is_empty() {
                    lines.push(Line::raw(""));
                }
                lines.push(identity::enter(
                    ready,
                    "Enter opens a live incident",
                    width,
                    theme,
                ));
                pane::message(frame, area, "Open a live incident?", &lines, theme);
            }
            Above::Message(title, words) => {
                let mut lines = text::wrapped(words, width, plain);
                lines.push(Line::raw(""));
                lines.push(identity::enter(ready, "Enter goes on", width, theme));
                pane::message(frame, area, title, &lines, theme);
            }
        }
    }
}

fn is_open(summary: &Summary) -> bool {
    match summary.state {
        IncidentState::Open => true,
        IncidentState::Recovered | IncidentState::Closed => !summary.running.is_empty(),
    }
}

fn row(item: &Item, cells: usize, theme: Theme) -> Line<'static> {
    match item {
        Item::Head(words) => Line::styled(format!(" {words}"), theme.style(Role::Strong)),
        Item::Words(words) => Line::styled(format!("   {words}"), theme.style(Role::Faint)),
        Item::Damaged(id, why) => {
            let sign = theme.sign(Mark::Danger);
            let words = format!(" {sign} {id} cannot be read: {why}");
            Line::styled(text::fit(&words, cells, theme), theme.mark(Mark::Danger))
        }
        Item::Runbook(offer) => {
            let mut left = vec![
                (0, Span::raw("   ")),
                (
                    0,
                    Span::raw(text::pad(&offer.id, (cells / 4).clamp(10, 24), theme)),
                ),
                (
                    0,
                    Span::raw(format!(" {}", text::fit(&offer.title, cells / 2, theme))),
                ),
            ];
            if !offer.trusted {
                left.push((0, Span::styled("  not trusted", theme.style(Role::Warn))));
            }
            let file = offer.file.as_deref().unwrap_or("built in");
            left.push((
                1,
                Span::styled(format!("  {}", text::plain(file)), theme.style(Role::Faint)),
            ));
            text::row(left, Vec::new(), cells)
        }
        Item::Incident(summary) => incident(summary, cells, theme),
    }
}

fn incident(summary: &Summary, cells: usize, theme: Theme) -> Line<'static> {
    let mark = match (summary.running.is_empty(), summary.state) {
        (false, _) => Mark::Running,
        (true, IncidentState::Open) => Mark::Pending,
        (true, IncidentState::Recovered) => Mark::Good,
        (true, IncidentState::Closed) => match summary.recovered_at {
            Some(_) => Mark::Good,
            None => Mark::Skipped,
        },
    };
    let (mode, role) = match summary.mode {
        Mode::Live => ("LIVE ", Role::Live),
        Mode::Drill => ("DRILL", Role::Drill),
    };
    let severity = summary.severity.as_deref().unwrap_or("");
    let began = summary.began_at.format("%Y-%m-%d %H:%MZ");
    let left = vec![
        (
            0,
            Span::styled(format!(" {} ", theme.sign(mark)), theme.mark(mark)),
        ),
        (0, Span::styled(mode, theme.style(role))),
        (
            0,
            Span::raw(format!(" {}", text::pad(&summary.runbook, 14, theme))),
        ),
        (0, Span::raw(format!(" {}", text::pad(severity, 4, theme)))),
        (
            1,
            Span::raw(format!(" {}/{} steps", summary.steps_done, summary.steps)),
        ),
        (2, Span::raw(format!("   since {began}"))),
        (
            3,
            Span::styled(format!("   {}", summary.id), theme.style(Role::Faint)),
        ),
    ];
    let running = match summary.running.as_slice() {
        [] => String::new(),
        [one] => format!("running: {one} "),
        [one, rest @ ..] => format!("running: {one} and {} more ", rest.len()),
    };
    let running = text::fit(&running, cells / 2, theme);
    let right = if running.is_empty() {
        Vec::new()
    } else {
        vec![Span::styled(running, theme.style(Role::Busy))]
    };
    text::row(left, right, cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    fn offer(id: &str, trusted: bool) -> RunbookOffer {
        RunbookOffer {
            id: id.to_owned(),
            title: format!("The {id}"),
            summary: "Brings it back.".to_owned(),
            trusted,
            file: None,
        }
    }

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("a store");
        let made = store.create("tenants", b"").expect("an incident");
        std::fs::write(made.journal_path(), "not a journal\n").expect("a file");
        let home = Home::new(&store, &[offer("arbitex", true), offer("mine", false)]);
        (dir, home)
    }

    fn drawn(home: &mut Home, width: u16, height: u16) -> String {
        fixture::draw(width, height, |frame, area| {
            home.draw(frame, area, fixture::now(), true, Theme::default());
        })
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let (_dir, mut home) = home();
        let drawn = drawn(&mut home, 100, 24);
        for words in [
            "cannot be read",
            "The arbitex",
            "not trusted",
            "none is open",
        ] {
            assert!(drawn.contains(words), "{words}:\n{drawn}");
        }
    }

    #[test]
    fn an_incident_is_opened_only_after_a_question() {
        let (_dir, mut home) = home();
        assert_eq!(
            home.act(Action::Choose),
            Choice::About("arbitex".to_owned())
        );
        assert_eq!(home.place(), Place::Confirm);
        home.about(vec!["database: dumps, every 2h".to_owned()]);
        let asked = drawn(&mut home, 80, 24);
        assert!(
            asked.contains("Enter opens") && asked.contains("dumps, every 2h"),
            "{asked}"
        );
        assert_eq!(home.act(Action::Choose), Choice::Open("arbitex".to_owned()));
    }

    #[test]
    fn an_untrusted_runbook_is_not_opened() {
        let (_dir, mut home) = home();
        let _ = home.act(Action::Down);
        assert_eq!(home.act(Action::Choose), Choice::Draw);
        assert!(drawn(&mut home, 80, 24).contains("blackstart trust mine"));
        assert_eq!(
            home.act(Action::Choose),
            Choice::Draw,
            "it only closes the message"
        );
    }

    #[test]
    fn it_draws_at_every_size() {
        let (_dir, mut home) = home();
        for (width, height) in [(1, 1), (60, 15), (80, 24), (120, 40), (200, 60)] {
            drawn(&mut home, width, height);
            for action in [Action::Down, Action::Bottom, Action::Up, Action::Top] {
                let _ = home.act(action);
                drawn(&mut home, width, height);
            }
        }
    }
}
