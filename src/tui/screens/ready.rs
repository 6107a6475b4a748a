//! Is everything there? Values, tools, systems, targets, what one needs on hand, and time.

mod items;

use super::{
    Ask, News, Screen, Token, Typing, View, Want, identity,
    value::{self, Heard, Value},
};
use crate::{
    domain::{decide::Command, event::CheckResult, finding::Severity, lint},
    engine::Look,
    tui::{
        keymap::{Action, Place},
        widgets::{
            list::{self, Cursor},
            pane,
        },
    },
};
use crossterm::event::KeyEvent;
use items::{Item, items};
use ratatui::{Frame, layout::Rect, text::Line};
use std::path::PathBuf;

/// One thing that must be on hand: looked at by a check, or ticked by a person.
struct OnHand {
    item: String,
    token: Option<Token>,
    seen: Option<CheckResult>,
    ticked: bool,
}

/// Shows what the plan needs, and takes what is missing.
pub(crate) struct Ready {
    cursor: Cursor,
    /// The row under the cursor: it stays chosen when rows come above it.
    chosen: Option<Item>,
    tools: Vec<(String, Option<PathBuf>)>,
    on_hand: Vec<OnHand>,
    systems: Token,
    probes: Vec<CheckResult>,
    rights: Token,
    allowed: Vec<CheckResult>,
    warnings: Vec<String>,
    value: Option<Value>,
    /// The system whose target is to be confirmed.
    confirm: Option<String>,
    asked: Option<Token>,
    touched: bool,
}

impl Ready {
    pub(crate) fn new(at: &View) -> Self {
        let on_hand = at
            .runbook
            .on_hand
            .iter()
            .map(|o| OnHand {
                item: o.item.clone(),
                token: o.check.as_ref().map(|_| Token::new()),
                seen: None,
                ticked: at.incident.on_hand.get(&o.item).copied().unwrap_or(false),
            })
            .collect();
        let mut ready = Self {
            cursor: Cursor::default(),
            chosen: None,
            tools: items::tools(at),
            on_hand,
            systems: Token::new(),
            probes: Vec::new(),
            rights: Token::new(),
            allowed: Vec::new(),
            warnings: warnings(at),
            value: None,
            confirm: None,
            asked: None,
            touched: false,
        };
        let mut all = items(&ready, at);
        let open = all.iter().position(|i| i.is_missing(at));
        let last = all.len().saturating_sub(1);
        ready.cursor = Cursor::on(open.unwrap_or(last));
        ready.chosen = Some(all.swap_remove(ready.cursor.at));
        ready
    }

    /// The rows as they are now, with the cursor on the one that was chosen.
    fn items(&mut self, at: &View) -> Vec<Item> {
        let all = items(self, at);
        if let Some(now) = all.iter().position(|i| Some(i) == self.chosen.as_ref()) {
            self.cursor.at = now;
        }
        all
    }

    fn look(&mut self, at: &View) -> Want {
        self.probes.clear();
        self.systems = Token::new();
        self.allowed.clear();
        self.rights = Token::new();
        let mut wants = vec![
            Want::Ask(Ask::Look {
                token: self.rights,
                look: Look::Rights,
            }),
            Want::Ask(Ask::PinAll),
            Want::Ask(Ask::Look {
                token: self.systems,
                look: Look::Systems(items::systems(at)),
            }),
        ];
        for (held, written) in self.on_hand.iter_mut().zip(&at.runbook.on_hand) {
            if let Some(check) = &written.check {
                let token = Token::new();
                held.token = Some(token);
                held.seen = None;
                wants.push(Want::Ask(Ask::Look {
                    token,
                    look: Look::Checks(vec![check.clone()]),
                }));
            }
        }
        Want::All(wants)
    }

    /// On to the checklist. What a person has ticked is recorded.
    fn go_on(&mut self, at: &View) -> Want {
        let on = if at.side {
            Want::Back
        } else {
            Want::Onward(Place::Checklist)
        };
        let by_hand: Vec<&OnHand> = self.on_hand.iter().filter(|o| o.token.is_none()).collect();
        if by_hand.is_empty() || !self.touched {
            return on;
        }
        // What is ticked is there, and what is not ticked is missing: both are recorded.
        let ticks = by_hand.iter().map(|o| {
            Want::Ask(Ask::Wish {
                token: Token::new(),
                command: Command::TickOnHand {
                    item: o.item.clone(),
                    have: o.ticked,
                },
            })
        });
        Want::All(ticks.chain([on]).collect())
    }

    fn choose(&mut self, at: &View) -> Want {
        if let Some(system) = self.confirm.take() {
            let token = Token::new();
            self.asked = Some(token);
            return Want::Ask(Ask::Wish {
                token,
                command: Command::AcceptIdentity { system },
            });
        }
        match self.items(at).get(self.cursor.at) {
            Some(Item::Value(name)) => {
                let value = Value::new(name, at);
                let want = value.opened(at);
                self.value = Some(value);
                want
            }
            Some(Item::Target(system)) => {
                self.confirm = Some(system.clone());
                Want::Draw
            }
            Some(Item::OnHand(i)) => self.tick(*i),
            Some(Item::GoOn) => self.go_on(at),
            Some(Item::Head(_) | Item::Tool(_) | Item::System(_) | Item::Fact(..)) | None => {
                Want::Nothing
            }
        }
    }

    fn tick(&mut self, i: usize) -> Want {
        match self.on_hand.get_mut(i) {
            Some(item) if item.token.is_none() => {
                item.ticked = !item.ticked;
                self.touched = true;
                Want::Draw
            }
            Some(_) => Want::Say("a check looks at this; `look again` asks once more".to_owned()),
            None => Want::Nothing,
        }
    }
}

/// What lint warns of in this incident's own copy of the runbook; what it accepts is no warning.
fn warnings(at: &View) -> Vec<String> {
    lint::warnings(&at.runbook)
        .into_iter()
        .filter(|f| f.severity == Severity::Warning)
        .map(|f| format!("{} (line {}): {}", f.code, f.at.line, f.message))
        .collect()
}

impl Screen for Ready {
    fn place(&self) -> Place {
        match (&self.value, &self.confirm) {
            (Some(_), _) => Place::Field,
            (None, Some(_)) => Place::Confirm,
            (None, None) => Place::Ready,
        }
    }

    fn idle(&self, at: &View) -> Vec<Action> {
        identity::idle(at)
    }

    fn focus(&self) -> String {
        let value = self.value.as_ref().map(|v| v.name.as_str());
        format!("{value:?} {:?}", self.confirm)
    }

    fn opened(&mut self, at: &View) -> Want {
        self.look(at)
    }

    /// ```text
    /// ╭ Ready? ────────────────────────────────────────────────────────────────╮
    /// │ Values                                                                 │
    /// │  ✓ db_host      127.0.0.1                                     default  │
    /// │  ✗ target       MISSING                                                │
    /// │ Tools                                                                  │
    /// │  ✓ pgbackrest   /usr/bin/pgbackrest                                    │
    /// │ Systems                                                                │
    /// │  ✓ database     PostgreSQL 15.8 (4 ms)                                 │
    /// │ Targets                                                                │
    /// │  ~ database     127.0.0.1:5432/7391…              nobody confirmed it  │
    /// │ Time                                                                   │
    /// │  ✓ budgets 53m, longest way 53m, elapsed 9m, RTO 2h: 58m to spare      │
    /// │ ▸ Go on to the checklist                                               │
    /// ╰────────────────────────────────────────────────────────────────────────╯
    /// ```
    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, at: &View) {
        let inner = pane::pane(frame, area, "Ready?", true, at.theme);
        let cells = usize::from(inner.width);
        let rows: Vec<Line<'static>> = self
            .items(at)
            .iter()
            .map(|item| item.line(self, at, cells))
            .collect();
        list::draw(frame, inner, &rows, &mut self.cursor, at.theme);
        if let Some(system) = &self.confirm {
            let lines = identity::lines(at, system, pane::message_width(area));
            let title = format!("Is this the right {system}?");
            pane::message(frame, area, &title, &lines, at.theme);
        }
        if let Some(value) = &mut self.value {
            value.draw(frame, area, at.theme);
        }
    }

    fn act(&mut self, action: Action, at: &View) -> Want {
        match action {
            Action::Choose => self.choose(at),
            Action::Back | Action::Quit if self.confirm.is_some() => {
                self.confirm = None;
                Want::Draw
            }
            Action::Back if at.side => Want::Back,
            Action::Back => Want::Onward(Place::Triage),
            Action::GoOn => self.go_on(at),
            Action::Relook => self.look(at),
            Action::Know => Want::Go(Place::Know),
            Action::Identity => match identity::waiting(at) {
                Some(system) => {
                    self.confirm = Some(system);
                    Want::Draw
                }
                None => Want::Say("no target waits to be confirmed".to_owned()),
            },
            Action::Tick => match self.items(at).get(self.cursor.at) {
                Some(Item::OnHand(i)) => self.tick(*i),
                Some(_) | None => Want::Nothing,
            },
            other => {
                let mut all = self.items(at);
                if !self.cursor.act(other, all.len()) {
                    return Want::Nothing;
                }
                self.chosen = Some(all.swap_remove(self.cursor.at));
                Want::Draw
            }
        }
    }

    fn typing(&self) -> Typing {
        value::typing(self.value.as_ref())
    }

    fn typed(&mut self, key: KeyEvent, _at: &View) -> Want {
        value::typed(&mut self.value, key)
    }

    fn pasted(&mut self, text: &str) -> Want {
        value::pasted(self.value.as_mut(), text)
    }

    fn news(&mut self, news: &News, at: &View) -> Want {
        if let Some(value) = &mut self.value {
            match value.news(news) {
                Heard::Held => {
                    self.value = None;
                    return self.look(at);
                }
                Heard::More => return Want::Draw,
                Heard::Nothing => {}
            }
        }
        match news {
            News::Looked { token, result } if *token == self.systems => {
                self.probes.push(result.clone());
                Want::Draw
            }
            News::Looked { token, result } if *token == self.rights => {
                self.allowed.push(result.clone());
                Want::Draw
            }
            News::Looked { token, result } => {
                match self.on_hand.iter_mut().find(|o| o.token == Some(*token)) {
                    Some(item) => {
                        item.seen = Some(result.clone());
                        Want::Draw
                    }
                    None => Want::Nothing,
                }
            }
            News::Pinned => Want::Draw,
            News::Wished { token, result } if self.asked == Some(*token) => {
                self.asked = None;
                match result {
                    Ok(()) => Want::Say("confirmed and recorded".to_owned()),
                    Err(refusal) => Want::Say(refusal.to_string()),
                }
            }
            _ => Want::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixture;

    fn planned() -> View {
        let mut views = fixture::views();
        views.swap_remove(1)
    }

    #[test]
    fn what_is_missing_is_said_and_chosen_first() {
        let at = planned();
        let mut ready = Ready::new(&at);
        let drawn = fixture::draw(100, 50, |frame, area| ready.draw(frame, area, &at));
        assert!(drawn.contains("MISSING"), "{drawn}");
        let all = items(&ready, &at);
        assert!(all[ready.cursor.at].is_missing(&at));
    }

    #[test]
    fn a_target_is_confirmed_only_after_it_was_shown() {
        let at = planned();
        let mut ready = Ready::new(&at);
        let want = ready.act(Action::Identity, &at);
        assert!(matches!(want, Want::Draw));
        assert_eq!(ready.place(), Place::Confirm);
        let want = ready.act(Action::Choose, &at);
        assert!(matches!(
            want,
            Want::Ask(Ask::Wish {
                command: Command::AcceptIdentity { .. },
                ..
            })
        ));
    }

    #[test]
    fn the_chosen_row_stays_chosen_when_rows_come_above_it() {
        let at = planned();
        let mut ready = Ready::new(&at);
        assert!(matches!(ready.act(Action::Bottom, &at), Want::Draw));
        let before = ready.cursor.at;
        ready.warnings.push("something that hurts".to_owned());
        fixture::draw(100, 50, |frame, area| ready.draw(frame, area, &at));
        assert!(ready.cursor.at > before);
        assert!(matches!(
            ready.act(Action::Choose, &at),
            Want::Onward(Place::Checklist)
        ));
    }

    #[test]
    fn going_on_leads_to_the_checklist() {
        let at = planned();
        let mut ready = Ready::new(&at);
        assert!(matches!(
            ready.act(Action::GoOn, &at),
            Want::Onward(Place::Checklist)
        ));
    }
}
