//! Between `r` and Enter: what will run, upon whom, what green means, and what has to be said first.

use crate::{
    domain::{
        decide::{Refusal, Start},
        event::{CheckResult, PinnedBy, Verdict},
        runbook::Danger,
    },
    engine::{Armed, Look},
    tui::{
        keymap::Action,
        screens::{
            Ask, News, Token, Typing, View, Want, identity,
            value::{Heard, Typed, Value},
        },
        theme::Role,
        widgets::{
            field::{Edited, Field, Kind},
            list::{self, Cursor},
            pane, text,
        },
    },
};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{Frame, layout::Rect, text::Line};
use std::{collections::VecDeque, sync::Arc};

/// What has to be said before Enter may start it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    Value(String),
    Reason(String),
    Saw,
    Confirm(String),
}

/// A field for the first need.
enum Asking {
    Value(Box<Value>),
    Text(Need, Box<Field>),
}

/// What Enter led to.
pub(super) enum Next {
    Start(Start),
    Stay(Want),
}

/// An armed step.
pub(super) struct Arming {
    armed: Arc<Armed>,
    undo: bool,
    needs: VecDeque<Need>,
    asking: Option<Asking>,
    start: Start,
    scroll: usize,
    /// All of what will run has been on the screen.
    read: bool,
    preview: Preview,
}

/// What a native action would change: asked when it is armed.
enum Preview {
    None,
    Asked(Token),
    Known(CheckResult),
}

impl Arming {
    /// Arms it, or says in words why it cannot be. What was seen not to be done yet asks for all that it
    /// needs to run.
    pub(super) fn new(
        armed: Arc<Armed>,
        undo: bool,
        seen_undone: bool,
        at: &View,
    ) -> Result<(Self, Want), String> {
        let missing = match seen_undone {
            true => &armed.missing_to_run,
            false => &armed.missing,
        };
        let mut needs: VecDeque<Need> = missing.iter().cloned().map(Need::Value).collect();
        match &armed.refusal {
            None | Some(Refusal::MissingValues(_) | Refusal::Saw(_) | Refusal::Confirm(_)) => {}
            Some(
                why @ (Refusal::OutOfOrder { .. }
                | Refusal::Again(_)
                | Refusal::EndUnknown(_)
                | Refusal::Reason),
            ) => needs.push_back(Need::Reason(why.to_string())),
            Some(other) => return Err(other.to_string()),
        }
        if armed.manual && !undo {
            needs.push_back(Need::Saw);
        }
        if armed.danger == Danger::Destroy && !undo {
            let name = armed.confirm.clone().unwrap_or_default();
            needs.push_back(Need::Confirm(name));
        }
        let start = Start {
            step: armed.step.clone(),
            undo,
            ..Start::default()
        };
        let mut arming = Self {
            armed,
            undo,
            needs,
            asking: None,
            start,
            scroll: 0,
            read: false,
            preview: Preview::None,
        };
        let mut wants = vec![arming.ask(at)];
        if arming.armed.native && arming.armed.missing_to_run.is_empty() {
            let token = Token::new();
            arming.preview = Preview::Asked(token);
            wants.push(Want::Ask(Ask::Look {
                token,
                look: Look::Preview {
                    step: arming.armed.step.clone(),
                    undo,
                },
            }));
        }
        Ok((arming, Want::All(wants)))
    }

    /// Opens the field of the next need, if there is one.
    fn ask(&mut self, at: &View) -> Want {
        let Some(need) = self.needs.pop_front() else {
            self.asking = None;
            return Want::Draw;
        };
        let (title, about) = match &need {
            Need::Value(name) => {
                let value = Value::new(name, at);
                let want = value.opened(at);
                self.asking = Some(Asking::Value(Box::new(value)));
                return want;
            }
            Need::Reason(why) => ("reason", why.clone()),
            Need::Saw => (
                "seen",
                "What did you see? It is done when you say so.".to_owned(),
            ),
            Need::Confirm(name) => (
                "confirm",
                format!("Type {name} to confirm what is destroyed."),
            ),
        };
        let field = Field::new(Kind::Line, title).about(vec![about]);
        self.asking = Some(Asking::Text(need, Box::new(field)));
        Want::Draw
    }

    pub(super) fn is_typing(&self) -> bool {
        self.asking.is_some()
    }

    pub(super) fn typing(&self) -> Typing {
        match self.asking {
            None => Typing::Keys,
            Some(Asking::Value(_)) => Typing::EnterActs,
            Some(Asking::Text(..)) => Typing::AllActs,
        }
    }

    pub(super) fn focus(&self) -> String {
        let asking = match &self.asking {
            None => String::new(),
            Some(Asking::Value(value)) => value.name.clone(),
            Some(Asking::Text(need, _)) => format!("{need:?}"),
        };
        format!("armed {} {} {asking}", self.armed.step, self.undo)
    }

    pub(super) fn act(&mut self, action: Action) -> Want {
        let mut lines = Cursor::on(self.scroll).with_page(5);
        if !lines.act(action, usize::MAX) {
            return Want::Nothing;
        }
        self.scroll = lines.at;
        Want::Draw
    }

    /// A key for the field. `Err`: what it led to beside typing.
    pub(super) fn typed(&mut self, key: KeyEvent) -> Result<Edited, Want> {
        let by = match key.code {
            KeyCode::Up => Some(Action::Up),
            KeyCode::Down => Some(Action::Down),
            KeyCode::PageUp => Some(Action::PageUp),
            KeyCode::PageDown => Some(Action::PageDown),
            _ => None,
        };
        if let (Some(by), Some(Asking::Text(..))) = (by, &self.asking) {
            return Err(self.act(by));
        }
        match &mut self.asking {
            None => Err(Want::Nothing),
            Some(Asking::Text(_, field)) => Ok(field.key(key)),
            Some(Asking::Value(value)) => match value.typed(key) {
                Typed::Stays(want) => Err(want),
                Typed::Closes => Ok(Edited::Cancelled),
            },
        }
    }

    pub(super) fn pasted(&mut self, text: &str) {
        match &mut self.asking {
            None => {}
            Some(Asking::Text(_, field)) => field.paste(text),
            Some(Asking::Value(value)) => value.pasted(text),
        }
    }

    /// `None`: the news is not for it.
    pub(super) fn news(&mut self, news: &News) -> Option<Want> {
        if let (Preview::Asked(asked), News::Looked { token, result }) = (&self.preview, news)
            && asked == token
        {
            self.preview = Preview::Known(result.clone());
            // There is more to read now.
            self.read = false;
            return Some(Want::Draw);
        }
        let Some(Asking::Value(value)) = &mut self.asking else {
            return None;
        };
        match value.news(news) {
            Heard::Nothing => None,
            Heard::More => Some(Want::Draw),
            // What will run may read otherwise now: it is armed anew.
            Heard::Held => Some(Want::Arm {
                step: self.armed.step.clone(),
                undo: self.undo,
            }),
        }
    }

    /// Enter: takes the field's text, goes on to the next need, or starts.
    pub(super) fn enter(&mut self, at: &View) -> Next {
        match &mut self.asking {
            None => return Next::Start(self.start.clone()),
            Some(Asking::Value(_)) => return Next::Stay(Want::Draw),
            Some(Asking::Text(Need::Confirm(_), field))
                if matches!(self.preview, Preview::Asked(_)) =>
            {
                field.wrong = Some("it is still asked what goes with it".to_owned());
                return Next::Stay(Want::Draw);
            }
            Some(Asking::Text(Need::Confirm(_), field)) if !self.read => {
                field.wrong = Some("read all of what will run first: PgDn".to_owned());
                return Next::Stay(Want::Draw);
            }
            Some(Asking::Text(need, field)) => {
                let text = field.value().trim().to_owned();
                if text.is_empty() {
                    field.wrong = Some("something has to stand here".to_owned());
                    return Next::Stay(Want::Draw);
                }
                match need {
                    Need::Reason(_) => self.start.reason = Some(text),
                    Need::Saw => self.start.saw = Some(text),
                    Need::Confirm(name) if text == name.trim() => self.start.typed = Some(text),
                    Need::Confirm(_) => {
                        field.clear();
                        field.wrong = Some("that is not the name; nothing was started".to_owned());
                        return Next::Stay(Want::Draw);
                    }
                    Need::Value(_) => {}
                }
            }
        }
        if self.is_last_word() {
            return Next::Start(self.start.clone());
        }
        Next::Stay(self.ask(at))
    }

    /// Will Enter start the step, once this field is filled in?
    fn is_last_word(&self) -> bool {
        let starts = matches!(
            &self.asking,
            Some(Asking::Text(Need::Saw | Need::Confirm(_), _))
        );
        starts && self.needs.is_empty()
    }

    /// ```text
    /// ╭ Run 3 · Restore the server? ───────────────────────────────────────────╮
    /// │ upon   database 127.0.0.1:5432/7391112233445566778 (nobody confirmed)  │
    /// │ runs $ az postgres flexible-server restore \                           │
    /// │ green  database: SELECT count(*) FROM tenants — expected: == 412       │
    /// │                                                                        │
    /// │ Enter starts it · Esc goes back                                        │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let theme = at.theme;
        if let Some(Asking::Value(value)) = &mut self.asking {
            value.draw(frame, area, theme);
            return;
        }
        let width = 92.min(area.width);
        let cells = usize::from(width.saturating_sub(2));
        let lines = self.lines(at, cells);
        let foot = match &self.asking {
            Some(Asking::Text(_, field)) => field.height(width.saturating_sub(2)) + 1,
            Some(Asking::Value(_)) | None => 1,
        };
        let wanted = u16::try_from(lines.len())
            .unwrap_or(u16::MAX)
            .saturating_add(foot + 3);
        let verb = match (self.undo, self.armed.manual) {
            (true, _) => "Undo",
            (false, true) => "Done",
            (false, false) => "Run",
        };
        let title = format!("{verb}: {}?", self.armed.title);
        let inner = pane::popup(frame, area, &title, (width, wanted), theme);
        let foot = foot.min(inner.height);
        let head = pane::above(inner, inner.height - foot);
        let hidden = list::scrolled(frame, head, &lines, &mut self.scroll);
        self.read |= hidden == 0;
        let mut foot_area = pane::below(inner, inner.height - foot);
        if let Some(Asking::Text(_, field)) = &mut self.asking {
            let height = foot_area.height.saturating_sub(1);
            field.draw(frame, pane::above(foot_area, height), theme);
            foot_area = pane::below(foot_area, height);
        }
        let does = match &self.asking {
            Some(_) if !self.is_last_word() => "Enter accepts it",
            Some(_) | None => "Enter starts it",
        };
        let enter = match hidden {
            0 => does.to_owned(),
            hidden => format!("{does} · {hidden} more lines below (PgDn)"),
        };
        if foot_area.height > 0 {
            frame.render_widget(identity::ready(at, &enter, cells), foot_area);
        }
    }

    fn lines(&self, at: &View, cells: usize) -> Vec<Line<'static>> {
        let theme = at.theme;
        let (strong, plain) = (theme.style(Role::Strong), theme.style(Role::Plain));
        let mut lines = Vec::new();
        match self.armed.danger {
            Danger::Destroy => {
                let words = "THIS DESTROYS SOMETHING";
                lines.push(Line::styled(words, theme.style(Role::Bad)));
            }
            Danger::Change | Danger::None => {}
        }
        for (system, pinned) in &self.armed.targets {
            let (words, role) = upon(system, pinned.as_deref(), at);
            lines.extend(text::labelled(
                "upon   ",
                &words,
                cells,
                strong,
                theme.style(role),
            ));
        }
        match &self.preview {
            Preview::None => {}
            Preview::Asked(_) => {
                let words = "asking what it would change";
                lines.extend(text::labelled("does   ", words, cells, strong, plain));
            }
            Preview::Known(known) => {
                let (words, role) = match (known.verdict, known.seen.as_str()) {
                    (Verdict::Holds, "") => (String::new(), Role::Plain),
                    (Verdict::Holds, seen) if seen.contains("DATA GOES") => {
                        (seen.to_owned(), Role::Bad)
                    }
                    (Verdict::Holds, seen) => (seen.to_owned(), Role::Plain),
                    (Verdict::DoesNotHold | Verdict::CannotTell, seen) => {
                        (seen.to_owned(), Role::Warn)
                    }
                };
                if !words.is_empty() {
                    let style = theme.style(role);
                    lines.extend(text::labelled("does   ", &words, cells, strong, style));
                }
            }
        }
        let label = if self.armed.manual {
            "do     "
        } else {
            "runs $ "
        };
        lines.extend(text::labelled(
            label,
            &self.armed.command,
            cells,
            strong,
            plain,
        ));
        for green in &self.armed.green {
            lines.extend(text::labelled("green  ", green, cells, strong, plain));
        }
        if self.armed.attempts > 1 && !self.undo {
            let words = format!("up to {}, until one succeeds", self.armed.attempts);
            lines.extend(text::labelled("tries  ", &words, cells, strong, plain));
        }
        if let Some(reason) = &self.start.reason {
            lines.extend(text::labelled("reason ", reason, cells, strong, plain));
        }
        lines
    }
}

/// A target and how sure we are of it.
fn upon(system: &str, pinned: Option<&str>, at: &View) -> (String, Role) {
    let pin = at.incident.pins.get(system);
    if pin.is_some_and(|p| p.proposed.is_some()) {
        return (
            format!("{system}: its NEW target has to be confirmed first"),
            Role::Warn,
        );
    }
    match (pinned, pin.map(|p| p.by)) {
        (None, _) | (_, None) => (format!("{system}: TARGET NOT VERIFIED"), Role::Warn),
        (Some(name), Some(PinnedBy::FirstContact)) => {
            (format!("{system} {name} (nobody confirmed it)"), Role::Warn)
        }
        (Some(name), Some(PinnedBy::Person | PinnedBy::Site)) => {
            (format!("{system} {name}"), Role::Plain)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;
    use crossterm::event::KeyModifiers;

    fn arm(change: impl FnOnce(&mut Armed)) -> (Arming, View) {
        let at = fixture::view();
        let mut armed = fixture::armed("postgres/pitr/restore");
        change(&mut armed);
        let (arming, _) = Arming::new(Arc::new(armed), false, false, &at).expect("it can be armed");
        (arming, at)
    }

    fn type_in(arming: &mut Arming, text: &str) {
        for c in text.chars() {
            let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
            assert!(matches!(arming.typed(key), Ok(Edited::Typed)));
        }
    }

    #[test]
    fn enter_starts_what_was_shown() {
        let (mut arming, at) = arm(|_| {});
        assert!(!arming.is_typing());
        let Next::Start(start) = arming.enter(&at) else {
            panic!("nothing is missing");
        };
        assert_eq!(start.step, "postgres/pitr/restore");
        assert_eq!((start.undo, start.reason, start.typed), (false, None, None));
    }

    #[test]
    fn what_destroys_starts_only_with_its_name() {
        let (mut arming, at) = arm(|a| {
            a.danger = Danger::Destroy;
            a.confirm = Some("the-old-volume".to_owned());
        });
        // Not before all of it has been on the screen.
        type_in(&mut arming, "the-old-volume");
        assert!(matches!(arming.enter(&at), Next::Stay(_)));
        fixture::draw(80, 24, |frame, area| arming.draw(frame, area, &at));
        let Some(Asking::Text(_, field)) = &mut arming.asking else {
            panic!("a name is asked for");
        };
        field.clear();
        type_in(&mut arming, "the-old");
        assert!(matches!(arming.enter(&at), Next::Stay(_)));
        type_in(&mut arming, "the-old-volume");
        let Next::Start(start) = arming.enter(&at) else {
            panic!("the name was typed");
        };
        assert_eq!(start.typed.as_deref(), Some("the-old-volume"));
    }

    #[test]
    fn out_of_order_needs_a_reason_and_then_one_more_enter() {
        let (mut arming, at) = arm(|a| {
            a.refusal = Some(Refusal::OutOfOrder {
                step: "b".to_owned(),
                for_: "a".to_owned(),
            });
        });
        assert!(
            matches!(arming.enter(&at), Next::Stay(_)),
            "no reason, no start"
        );
        type_in(&mut arming, "the lead says so");
        assert!(matches!(arming.enter(&at), Next::Stay(_)));
        let Next::Start(start) = arming.enter(&at) else {
            panic!("the reason was given");
        };
        assert_eq!(start.reason.as_deref(), Some("the lead says so"));
    }

    #[test]
    fn what_is_running_cannot_be_armed() {
        let at = fixture::view();
        let mut armed = fixture::armed("postgres/pitr/restore");
        armed.refusal = Some(Refusal::Running(armed.step.clone()));
        assert!(Arming::new(Arc::new(armed), false, false, &at).is_err());
    }

    #[test]
    fn a_missing_value_is_asked_for_first_and_the_step_armed_anew() {
        let (mut arming, at) = arm(|a| a.missing = vec!["target".to_owned()]);
        assert!(arming.is_typing());
        let drawn = fixture::draw(80, 24, |frame, area| arming.draw(frame, area, &at));
        assert!(drawn.contains("To which moment?"), "{drawn}");
    }

    #[test]
    fn it_draws_at_every_size_and_says_what_enter_does() {
        let (mut arming, at) = arm(|_| {});
        for (width, height) in [(60, 11), (80, 20), (200, 50), (3, 2)] {
            let drawn = fixture::draw(width, height, |frame, area| arming.draw(frame, area, &at));
            assert!(width < 60 || drawn.contains("Enter starts it"), "{drawn}");
        }
    }
}
