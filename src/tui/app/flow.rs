//! What screens want is done, what happens by itself is taken in, and all of it is drawn.

use super::{App, Overlay, running};
use crate::{
    clock, private,
    tui::{
        screens::{News, Want},
        terminal::{SMALLEST, disarm},
        widgets::{footer, header, pane},
    },
};
use ratatui::{Frame, layout::Rect, text::Line};
use std::{sync::Arc, time::Instant};

impl App {
    pub(super) fn perform(&mut self, index: usize, want: Want) {
        match want {
            Want::Nothing | Want::Draw => {}
            Want::Back => self.back(index),
            Want::Go(place) => self.push(index, place),
            Want::Onward(place) => {
                if let Some(session) = self.sessions.get_mut(index) {
                    session.stack.clear();
                }
                self.push(index, place);
            }
            Want::Say(words) => {
                if self.at == Some(index) {
                    self.say(words);
                }
            }
            Want::Copy(text) => self.copy(index, text),
            Want::Arm { step, undo } => {
                let Some(session) = self.sessions.get(index) else {
                    return;
                };
                let result = session.handle.arm(&step, undo).map(Arc::new);
                self.deliver(index, &News::Armed { undo, result });
            }
            Want::Ask(ask) => {
                if let Some(session) = self.sessions.get(index) {
                    session.desk.ask(ask);
                }
            }
            Want::All(wants) => {
                for want in wants {
                    self.perform(index, want);
                }
            }
        }
    }

    /// To the terminal's clipboard, which may or may not take it, and always to a private file.
    fn copy(&mut self, index: usize, text: String) {
        let Some(session) = self.sessions.get(index) else {
            return;
        };
        let path = session.handle.dir().path.join("clipboard.txt");
        let shown = path.display();
        let words = match private::replace_lazily(&path, text.as_bytes()) {
            Ok(()) => format!("sent to the terminal, and written to {shown}"),
            Err(why) => format!("sent to the terminal; {shown} could not be written: {why}"),
        };
        self.say(words);
        self.copies.push(text);
    }

    fn deliver(&mut self, index: usize, news: &News) {
        let Some(at) = self.view(index) else { return };
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        let wants: Vec<Want> = session
            .stack
            .iter_mut()
            .rev()
            .map(|(_, screen)| screen.news(news, &at))
            .collect();
        for want in wants {
            self.perform(index, want);
        }
    }

    /// Takes news for a session, shown or not.
    pub(crate) fn news(&mut self, serial: u64, news: &News) {
        if let Some(index) = self.sessions.iter().position(|s| s.serial == serial) {
            self.guarded(|app| app.deliver(index, news));
        }
    }

    /// The incident that is shown has changed.
    pub(crate) fn changed(&mut self) {
        let Some(index) = self.at else { return };
        let Some(at) = self.view(index) else { return };
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        let now = running(&session.handle);
        // After the end of a step the same key would mean the next one.
        if !session.running.is_subset(&now) {
            self.guard.changed();
        }
        session.running = now;
        self.guarded(|app| {
            let Some(session) = app.sessions.get_mut(index) else {
                return;
            };
            let wants: Vec<Want> = session
                .stack
                .iter_mut()
                .map(|(_, screen)| screen.changed(&at))
                .collect();
            for want in wants {
                app.perform(index, want);
            }
        });
    }

    /// The cockpit was stopped and goes on: what was typed meanwhile was typed at another frame.
    pub(crate) fn resumed(&mut self) {
        self.guard.changed();
    }

    /// The engine has ended; nothing can be recorded any more.
    pub(crate) fn lost(&mut self) {
        self.say("the engine has ended; leave, and resume the incident".to_owned());
    }

    /// A second has passed.
    pub(crate) fn tick(&mut self) {
        self.said.take_if(|(_, at)| at.elapsed().as_secs() >= 6);
        self.ticks += 1;
        let at_home = self.at.is_none() && self.ticks.is_multiple_of(5);
        if let (true, Some(home)) = (at_home, &mut self.home) {
            home.reload(&self.store, &self.runbooks);
        }
    }

    /// Is the end of a log shown that may still grow?
    pub(crate) fn follows(&mut self) -> bool {
        let Some(index) = self.at else { return false };
        let Some(at) = self.view(index) else {
            return false;
        };
        self.top().is_some_and(|screen| screen.follows(&at))
    }

    /// Has it grown?
    pub(crate) fn grew(&mut self) -> bool {
        self.top().is_some_and(|screen| screen.grew())
    }

    /// A frame has reached the terminal.
    pub(crate) fn drawn(&mut self, now: Instant) {
        self.guard.drawn(now);
    }

    /// When keys that act will be taken again, if they are not now.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        self.guard.opens_at(now)
    }

    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let theme = self.theme;
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            let words = [
                format!("blackstart needs {}x{};", SMALLEST.0, SMALLEST.1),
                format!("this is {}x{}.", area.width, area.height),
                "What runs goes on.".to_owned(),
            ];
            for (y, line) in (area.top()..area.bottom()).zip(words) {
                let row = Rect::new(area.x, y, area.width, 1);
                frame.render_widget(Line::raw(line), row);
            }
            return;
        }
        let body = pane::above(area, area.height - 1);
        let foot = pane::below(area, area.height - 1);
        let ready = self.guard.admits(true, Instant::now());
        let index = self.at;
        let mut idle = Vec::new();
        if let Some(at) = index.and_then(|i| self.view(i)) {
            header::draw(frame, pane::above(body, header::HEIGHT), &at);
            if let Some(screen) = self.top() {
                screen.draw(frame, pane::below(body, header::HEIGHT), &at);
                idle = screen.idle(&at);
            }
        } else if let Some(home) = &mut self.home {
            home.draw(frame, body, clock::now(), ready, theme);
        }
        match &mut self.overlay {
            Overlay::Nothing => {}
            Overlay::Help(help) => help.draw(frame, body, &self.keys, theme),
            Overlay::Palette(palette) => palette.draw(frame, body, &self.keys, theme),
        }
        let place = self.place();
        match &self.said {
            Some((said, _)) => footer::said(frame, foot, said, theme),
            None => footer::draw(frame, foot, place, &idle, &self.keys, theme),
        }
        disarm(frame.buffer_mut(), theme);
    }
}
