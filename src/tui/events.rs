//! The loop: keys, news, the incident, the clock, a growing log, signals and hang-ups come in; frames
//! go out. A frame that answers a key is drawn at once; frames for data, thirty a second at most.

use super::{
    Ended,
    app::App,
    screens::News,
    terminal::{Screen, wait_for_hang_up},
};
use crate::domain::incident::Incident;
use crossterm::event::{self, Event, KeyEventKind};
use rustix::process::Signal;
use std::{
    future::pending,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{self, SignalKind},
    sync::{
        mpsc::{self, UnboundedReceiver},
        oneshot, watch,
    },
    time::{MissedTickBehavior, interval, sleep_until},
};

/// The pause between two frames for data, and between two looks at a growing log.
const FRAME: Duration = Duration::from_millis(33);

/// An event of the terminal, and when it was read.
type Read = (Event, Instant);

/// What woke the loop.
enum Wake {
    Signal(Heard),
    HungUp,
    Read(Option<Read>),
    News(Option<(u64, News)>),
    Incident(bool),
    Second,
    Log,
    /// A frame that had to wait is due.
    Due,
}

/// When the next frame is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Not,
    /// It answers a person.
    Now,
    /// It shows data.
    Soon,
}

/// Serves until the cockpit ends. The terminal is still taken when it returns.
pub(crate) async fn serve(
    app: &mut App,
    screen: &mut Screen,
    mut news: UnboundedReceiver<(u64, News)>,
) -> io::Result<Ended> {
    let mut signals = Signals::new()?;
    end_for_certain()?;
    let mut hung_up = hang_ups();
    let mut keyboard = keyboard();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval(FRAME);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched: (Option<u64>, Option<watch::Receiver<Arc<Incident>>>) = (None, None);
    let mut last = Instant::now();
    let mut due: Option<Instant> = None;
    if draw(app, screen).is_err() {
        return Ok(Ended::Hangup);
    }
    loop {
        if watched.0 != app.shown() {
            watched = (app.shown(), app.handle().map(|h| h.watch()));
        }
        let follows = app.follows();
        let at = match (due, app.opens_at(Instant::now())) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let wake = tokio::select! {
            biased;
            heard = signals.next() => Wake::Signal(heard),
            _ = &mut hung_up => Wake::HungUp,
            read = keyboard.recv() => Wake::Read(read),
            told = news.recv() => Wake::News(told),
            alive = changed(&mut watched.1) => Wake::Incident(alive),
            _ = seconds.tick() => Wake::Second,
            _ = looks.tick(), if follows => Wake::Log,
            () = until(at) => Wake::Due,
        };
        let frame = match wake {
            Wake::HungUp | Wake::Read(None) => return Ok(Ended::Hangup),
            Wake::Signal(Heard::Hangup) => return Ok(Ended::Hangup),
            Wake::Signal(Heard::End(signal)) => return Ok(Ended::Signal(signal)),
            Wake::Signal(Heard::Stop) => {
                screen.suspend();
                Frame::Not
            }
            Wake::Signal(Heard::Continue) => {
                if screen.resume().is_err() {
                    return Ok(Ended::Hangup);
                }
                app.resumed();
                Frame::Now
            }
            Wake::Read(Some(first)) => {
                take(app, first);
                // All that was typed before this frame: it answers them together.
                while app.ended.is_none() && !app.suspend {
                    match keyboard.try_recv() {
                        Ok(next) => take(app, next),
                        Err(_) => break,
                    }
                }
                Frame::Now
            }
            Wake::News(told) => {
                let mut told = told;
                while let Some((session, one)) = told {
                    app.news(session, &one);
                    told = news.try_recv().ok();
                }
                Frame::Soon
            }
            Wake::Incident(true) => {
                app.changed();
                Frame::Soon
            }
            Wake::Incident(false) => {
                watched.1 = None;
                app.lost();
                Frame::Soon
            }
            Wake::Second => {
                app.tick();
                Frame::Soon
            }
            Wake::Log if app.grew() => Frame::Soon,
            Wake::Log => Frame::Not,
            Wake::Due => Frame::Soon,
        };
        if let Some(ended) = app.ended.take() {
            return Ok(ended);
        }
        for text in std::mem::take(&mut app.copies) {
            let _ = screen.copy(&text);
        }
        if std::mem::take(&mut app.suspend) {
            screen.suspend();
            continue;
        }
        let now = Instant::now();
        let wait = match frame {
            Frame::Not => continue,
            Frame::Now => None,
            Frame::Soon => Some(last + FRAME).filter(|next| *next > now),
        };
        if wait.is_some() {
            due = wait;
            continue;
        }
        if draw(app, screen).is_err() {
            return Ok(Ended::Hangup);
        }
        (last, due) = (Instant::now(), None);
    }
}

/// A terminal that takes no more bytes holds the loop in its write; whoever is told to end ends all the
/// same, a moment later. What runs goes on, and everything is on record.
fn end_for_certain() -> io::Result<()> {
    let mut told = unix::signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        told.recv().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _ = crossterm::terminal::disable_raw_mode();
        std::process::exit(3);
    });
    Ok(())
}

/// Draws; a change of focus counts as seen only once the whole frame was written.
fn draw(app: &mut App, screen: &mut Screen) -> io::Result<()> {
    screen.draw(|frame| app.draw(frame))?;
    app.drawn(Instant::now());
    Ok(())
}

fn take(app: &mut App, (event, read_at): Read) {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => app.key(key, read_at),
        Event::Paste(text) => app.paste(&text),
        // The size is asked for when the next frame is drawn. The mouse is off.
        Event::Key(_)
        | Event::Resize(..)
        | Event::Mouse(_)
        | Event::FocusGained
        | Event::FocusLost => {}
    }
}

/// Reads the keyboard in a thread of its own, so that every key has the time at which it was read even
/// while a slow terminal takes a frame.
fn keyboard() -> UnboundedReceiver<Read> {
    let (send, read) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if send.send((event, Instant::now())).is_err() {
                return;
            }
        }
    });
    read
}

fn hang_ups() -> oneshot::Receiver<()> {
    let (send, heard) = oneshot::channel();
    std::thread::spawn(move || {
        wait_for_hang_up();
        let _ = send.send(());
    });
    heard
}

/// The incident has changed; `false`: its engine has ended.
async fn changed(watched: &mut Option<watch::Receiver<Arc<Incident>>>) -> bool {
    match watched {
        Some(incident) => incident.changed().await.is_ok(),
        None => pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// A signal that was heard.
enum Heard {
    Hangup,
    End(i32),
    Stop,
    Continue,
}

/// The signals that must not leave a raw terminal behind.
struct Signals {
    hangup: unix::Signal,
    term: unix::Signal,
    int: unix::Signal,
    quit: unix::Signal,
    stop: unix::Signal,
    cont: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let raw = |signal: Signal| unix::signal(SignalKind::from_raw(signal.as_raw()));
        Ok(Self {
            hangup: raw(Signal::HUP)?,
            term: raw(Signal::TERM)?,
            int: raw(Signal::INT)?,
            quit: raw(Signal::QUIT)?,
            stop: raw(Signal::TSTP)?,
            cont: raw(Signal::CONT)?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.hangup.recv() => Heard::Hangup,
            _ = self.term.recv() => Heard::End(Signal::TERM.as_raw()),
            _ = self.int.recv() => Heard::End(Signal::INT.as_raw()),
            _ = self.quit.recv() => Heard::End(Signal::QUIT.as_raw()),
            _ = self.stop.recv() => Heard::Stop,
            _ = self.cont.recv() => Heard::Continue,
        }
    }
}
