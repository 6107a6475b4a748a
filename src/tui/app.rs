//! The state of the cockpit: home, the incidents that are open in it, the screens above each other.
//! Events come in, frames come out; nothing here touches the terminal.

mod flow;

use super::{
    Cockpit, Ended, Opener, RunbookOffer, StartAt,
    asks::{Desk, Post},
    guard::Guard,
    keymap::{self, Action, KeyMap, Place},
    screens::{
        News, Screen, Typing, View, entrance,
        help::Help,
        home::{Choice, Home},
        open,
        palette::{Palette, Picked},
    },
    theme::Theme,
};
use crate::{
    clock,
    engine::{Armed, Handle},
    store::Store,
};
use crossterm::event::{KeyCode, KeyEvent};
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// What lies above every screen.
enum Overlay {
    Nothing,
    Help(Help),
    Palette(Box<Palette>),
}

/// One incident that is open in this cockpit, with its screens.
struct Session {
    serial: u64,
    handle: Handle,
    desk: Desk,
    stack: Vec<(Place, Box<dyn Screen>)>,
    running: BTreeSet<(String, u32)>,
    /// The chosen step as it would be armed, and of which entry that is true.
    shown: Option<(String, u64, Option<Arc<Armed>>)>,
}

/// The whole cockpit but its terminal.
pub(crate) struct App {
    store: Store,
    opener: Box<dyn Opener>,
    theme: Theme,
    keys: Arc<KeyMap>,
    who: Arc<str>,
    home: Option<Home>,
    /// Read once for each way home: they are files.
    runbooks: Vec<RunbookOffer>,
    sessions: Vec<Session>,
    /// The session that is shown; home without one.
    at: Option<usize>,
    serials: u64,
    /// Was the cockpit started on an incident, so that there is no home to go back to?
    only: bool,
    overlay: Overlay,
    guard: Guard,
    said: Option<(String, Instant)>,
    post: Post,
    ticks: u64,
    /// Texts for the terminal's clipboard.
    pub(crate) copies: Vec<String>,
    pub(crate) suspend: bool,
    pub(crate) ended: Option<Ended>,
}

impl App {
    /// Makes the cockpit and the queue its news come through. Needs a running tokio runtime.
    pub(crate) fn new(cockpit: Cockpit, keys: KeyMap) -> (Self, UnboundedReceiver<(u64, News)>) {
        let (post, news) = mpsc::unbounded_channel();
        let mut app = Self {
            store: cockpit.store,
            opener: cockpit.open,
            theme: Theme {
                mono: cockpit.settings.mono,
                ascii: cockpit.settings.ascii,
            },
            keys: Arc::new(keys),
            who: crate::who().into(),
            home: None,
            runbooks: Vec::new(),
            sessions: Vec::new(),
            at: None,
            serials: 0,
            only: matches!(cockpit.start, StartAt::Incident(_)),
            overlay: Overlay::Nothing,
            guard: Guard::default(),
            said: None,
            post,
            ticks: 0,
            copies: Vec::new(),
            suspend: false,
            ended: None,
        };
        match cockpit.start {
            StartAt::Home => app.go_home(),
            StartAt::Incident(handle) => app.enter(handle),
        }
        // What was typed before the first frame was typed at something else.
        app.guard.changed();
        (app, news)
    }

    /// Changes whenever another incident is shown, or none.
    pub(crate) fn shown(&self) -> Option<u64> {
        self.session().map(|s| s.serial)
    }

    /// The incident that is shown.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.session().map(|s| s.handle.clone())
    }

    /// Every incident that is open here.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.sessions.iter().map(|s| s.handle.clone()).collect()
    }

    fn session(&self) -> Option<&Session> {
        self.sessions.get(self.at?)
    }

    fn top(&mut self) -> Option<&mut Box<dyn Screen>> {
        let session = self.sessions.get_mut(self.at?)?;
        session.stack.last_mut().map(|(_, screen)| screen)
    }

    /// What a session's top screen sees.
    fn view(&mut self, index: usize) -> Option<View> {
        let ready = self.guard.admits(true, Instant::now());
        let session = self.sessions.get_mut(index)?;
        let incident = session.handle.incident();
        let chosen = session.stack.iter().rev().find_map(|(_, s)| s.chosen());
        let shown = chosen.as_deref().and_then(|step| {
            let known = session
                .shown
                .as_ref()
                .filter(|(of, seq, _)| of == step && *seq == incident.seq);
            match known {
                Some((_, _, armed)) => armed.clone(),
                None => {
                    let armed = session.handle.arm(step, false).ok().map(Arc::new);
                    session.shown = Some((step.to_owned(), incident.seq, armed.clone()));
                    armed
                }
            }
        });
        Some(View {
            theme: self.theme,
            keys: self.keys.clone(),
            now: clock::now(),
            who: self.who.clone(),
            incident,
            runbook: session.handle.runbook(),
            dir: session.handle.dir().path.clone(),
            progress: session.handle.progress(),
            live: session.handle.live(),
            chosen,
            shown,
            looked_for: None,
            side: session.stack.len() > 1,
            ready,
        })
    }

    fn go_home(&mut self) {
        self.at = None;
        self.runbooks = self.opener.runbooks();
        match &mut self.home {
            Some(home) => home.reload(&self.store, &self.runbooks),
            None => self.home = Some(Home::new(&self.store, &self.runbooks)),
        }
    }

    /// Shows an incident: where it was left, if it is open here already.
    fn enter(&mut self, handle: Handle) {
        self.serials += 1;
        let serial = self.serials;
        let place = entrance(&handle.incident(), &handle.runbook());
        self.sessions.push(Session {
            serial,
            desk: Desk::new(serial, handle.clone(), self.post.clone()),
            running: running(&handle),
            handle,
            stack: Vec::new(),
            shown: None,
        });
        let index = self.sessions.len() - 1;
        self.at = Some(index);
        self.push(index, place);
    }

    fn push(&mut self, index: usize, place: Place) {
        let Some(mut at) = self.view(index) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if session.stack.last().is_some_and(|(p, _)| *p == place) {
            return;
        }
        at.looked_for = session.stack.last().and_then(|(_, s)| s.looks_for(&at));
        at.side = !session.stack.is_empty();
        let mut screen = open(place, &at);
        let want = screen.opened(&at);
        session.stack.push((place, screen));
        self.perform(index, want);
    }

    /// One level back; never out of the cockpit.
    fn back(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else {
            return;
        };
        if session.stack.len() > 1 {
            session.stack.pop();
        } else if self.only {
            let key = self.keys.key(Action::Quit);
            self.say(format!("this is the first screen; {key} ends the cockpit"));
        } else if self.at == Some(index) {
            self.leave();
        }
    }

    /// Words for the last line: until the next key, or until they have been read.
    fn say(&mut self, words: String) {
        self.said = Some((words, Instant::now()));
    }

    /// Home from an incident, saying what goes on.
    fn leave(&mut self) {
        let running = self
            .session()
            .map_or(0, |s| s.handle.incident().running().count());
        self.go_home();
        if running > 0 {
            self.say(format!(
                "{running} step(s) go on running; the clock goes on, too"
            ));
        }
    }

    fn quit(&mut self) {
        let shown = self.session().map(|s| s.handle.dir().id.clone());
        let mut running = Vec::new();
        let mut with_work = None;
        for session in &self.sessions {
            let id = &session.handle.dir().id;
            for (step, _) in session.handle.incident().running() {
                with_work = Some(id.clone());
                running.push(if shown.as_ref() == Some(id) {
                    step.to_owned()
                } else {
                    format!("{step} ({id})")
                });
            }
        }
        self.ended = Some(Ended::Quit {
            running,
            incident: shown.or(with_work),
        });
    }

    fn place(&mut self) -> Place {
        match &self.overlay {
            Overlay::Help(_) => return Place::Help,
            Overlay::Palette(_) => return Place::Palette,
            Overlay::Nothing => {}
        }
        self.below()
    }

    /// The place below an overlay.
    fn below(&mut self) -> Place {
        if let Some(screen) = self.top() {
            return screen.place();
        }
        self.home.as_ref().map_or(Place::Home, Home::place)
    }

    fn typing(&mut self) -> Typing {
        match &self.overlay {
            Overlay::Palette(_) => Typing::Free,
            Overlay::Help(_) => Typing::Keys,
            Overlay::Nothing => self.top().map_or(Typing::Keys, |s| s.typing()),
        }
    }

    /// What keys act upon; when it changes, type-ahead is dropped.
    fn focus(&mut self) -> String {
        let overlay = match &self.overlay {
            Overlay::Nothing => "",
            Overlay::Help(_) => "help",
            Overlay::Palette(_) => "palette",
        };
        let shown = self.shown();
        let depth = self.session().map_or(0, |s| s.stack.len());
        let place = self.below();
        let focus = match self.top() {
            Some(screen) => screen.focus(),
            None => self.home.as_ref().map_or_else(String::new, Home::focus),
        };
        format!("{overlay} {shown:?} {depth} {place:?} {focus}")
    }

    /// Does something, and lets the guard know when keys would act upon something else now.
    fn guarded(&mut self, act: impl FnOnce(&mut Self)) {
        let before = self.focus();
        let said = self.said.as_ref().map(|(_, at)| *at);
        act(self);
        if self.focus() != before {
            // What was said before spoke of another screen.
            self.said.take_if(|(_, at)| Some(*at) == said);
            self.guard.changed();
        }
    }

    /// Takes a key that was read at a moment.
    pub(crate) fn key(&mut self, key: KeyEvent, read_at: Instant) {
        self.said = None;
        self.guarded(|app| app.dispatch(key, read_at));
    }

    fn dispatch(&mut self, key: KeyEvent, read_at: Instant) {
        let (place, typing) = (self.place(), self.typing());
        let action = self.keys.lookup(place, key);
        match action {
            Some(Action::Leave) => return self.quit(),
            Some(Action::Suspend) => {
                self.suspend = true;
                return;
            }
            Some(_) | None => {}
        }
        let may_act = self.guard.admits(true, read_at);
        match typing {
            Typing::Keys => {
                let Some(action) = action else { return };
                if self.guard.admits(keymap::acts(place, action), read_at) {
                    self.act(action);
                }
            }
            Typing::Free | Typing::ToStep => self.typed(key),
            Typing::EnterActs if key.code == KeyCode::Enter && !may_act => {}
            Typing::AllActs if key.code != KeyCode::Esc && !may_act => {}
            Typing::EnterActs | Typing::AllActs => self.typed(key),
        }
    }

    fn act(&mut self, action: Action) {
        if let Overlay::Help(help) = &mut self.overlay {
            if !help.act(action) {
                self.overlay = Overlay::Nothing;
            }
            return;
        }
        let place = self.below();
        match action {
            Action::Help => self.overlay = Overlay::Help(Help::new(place)),
            Action::Palette => self.overlay = Overlay::Palette(Box::new(Palette::new(place))),
            Action::Quit => self.quit_or_back(place),
            action => self.act_on_screen(action),
        }
    }

    /// `q`: back from what lies above and from what is only read, as in a pager; from everything else
    /// of an incident home, or out of the cockpit.
    fn quit_or_back(&mut self, place: Place) {
        let above = matches!(place, Place::Armed | Place::Confirm | Place::Causes);
        let read = matches!(place, Place::Log | Place::Failures | Place::Timeline);
        let depth = self.session().map_or(0, |s| s.stack.len());
        match (self.at, read && depth > 1) {
            (_, _) if above => self.act_on_screen(Action::Back),
            (Some(index), true) => self.back(index),
            (Some(_), false) if !self.only => self.leave(),
            (Some(_) | None, _) => self.quit(),
        }
    }

    fn act_on_screen(&mut self, action: Action) {
        let Some(index) = self.at else {
            self.act_on_home(action);
            return;
        };
        let Some(at) = self.view(index) else { return };
        let Some(screen) = self.top() else { return };
        let want = screen.act(action, &at);
        self.perform(index, want);
    }

    fn act_on_home(&mut self, action: Action) {
        let Some(home) = &mut self.home else { return };
        let opened = match home.act(action) {
            Choice::Nothing | Choice::Draw => return,
            Choice::About(id) => {
                home.about(self.opener.about(&id));
                return;
            }
            Choice::Open(id) => self.opener.open(&id),
            Choice::Resume(id) => {
                let known = self.sessions.iter().position(|s| s.handle.dir().id == id);
                if let Some(index) = known {
                    self.at = Some(index);
                    self.changed();
                    return;
                }
                if self.opener.is_elsewhere(&id) {
                    self.ended = Some(Ended::Enter(id));
                    return;
                }
                self.opener.resume(&id)
            }
        };
        match opened {
            Ok(handle) => self.enter(handle),
            Err(why) => {
                if let Some(home) = &mut self.home {
                    home.say("It cannot be opened", &why);
                }
            }
        }
    }

    fn typed(&mut self, key: KeyEvent) {
        if let Overlay::Palette(palette) = &mut self.overlay {
            match palette.typed(key) {
                Picked::Nothing => {}
                Picked::Closed => self.overlay = Overlay::Nothing,
                Picked::Action(action) => {
                    self.overlay = Overlay::Nothing;
                    self.picked(action);
                }
            }
            return;
        }
        let Some(index) = self.at else { return };
        let Some(at) = self.view(index) else { return };
        let Some(screen) = self.top() else { return };
        let want = screen.typed(key, &at);
        self.perform(index, want);
    }

    /// A command from the list: the same as its key.
    fn picked(&mut self, action: Action) {
        match action {
            Action::Leave => self.quit(),
            Action::Suspend => self.suspend = true,
            action => self.act(action),
        }
    }

    /// Takes pasted text: for fields only, never as keys.
    pub(crate) fn paste(&mut self, text: &str) {
        if let Overlay::Palette(palette) = &mut self.overlay {
            palette.pasted(text);
            return;
        }
        if self.typing() == Typing::Keys {
            self.say("pasted text is taken by fields only, never as keys".to_owned());
            return;
        }
        let Some(index) = self.at else { return };
        let Some(screen) = self.top() else { return };
        let want = screen.pasted(text);
        self.guarded(|app| app.perform(index, want));
    }
}

fn running(handle: &Handle) -> BTreeSet<(String, u32)> {
    let incident = handle.incident();
    incident
        .running()
        .map(|(step, a)| (step.to_owned(), a.n))
        .collect()
}

#[cfg(test)]
mod tests;
