//! Reading along with a command that still runs: what it says already may explain why it will fail.

use crate::{
    domain::{
        event::Cause,
        failures::{
            Evidence, LookUp, library,
            live::{self, Figure},
            rules::{RuleSet, Sure},
        },
        runbook::Runbook,
        text::Clean,
    },
    logs,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often is read what has come.
const EVERY: Duration = Duration::from_millis(500);
/// A line without an end that stays for so long waits for somebody.
const WAITS: Duration = Duration::from_secs(2);
/// What is read at once: a flood is read along with, not held.
const MOST: u64 = 4 * 1024 * 1024;

/// What is known of a running step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// What its output already says, and on how many lines.
    pub hint: Option<(Cause, u64)>,
    /// The question that it waits with.
    pub asks: Option<Clean>,
    pub figure: Option<Figure>,
}

/// Rows that are made ready for the search once, and only if something asks.
pub(super) type LazyRules = LazyLock<RuleSet, Box<dyn FnOnce() -> RuleSet + Send>>;

pub(super) fn rules(runbook: &Arc<Runbook>) -> Arc<LazyRules> {
    let runbook = runbook.clone();
    Arc::new(LazyLock::new(Box::new(move || {
        RuleSet::of_runbook(&runbook.failures)
    })))
}

/// By the name of the step.
pub type AllLive = BTreeMap<String, Live>;

/// Reads along until told to stop. The thread is its own: a log may come in floods.
pub(super) fn read_along(
    step: String,
    dir: &Path,
    rules: Arc<LazyRules>,
    told: watch::Sender<AllLive>,
) -> Stop {
    let over = Arc::new(AtomicBool::new(false));
    let (ended, path) = (over.clone(), dir.join(logs::LOG));
    let started = std::thread::Builder::new()
        .name("read along".to_owned())
        .spawn(move || {
            let mut along = None;
            let mut last = Live::default();
            loop {
                std::thread::park_timeout(EVERY);
                // Most steps have ended by now, and cost nothing.
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let along = along.get_or_insert_with(|| Along {
                    look_up: LookUp::new([&**rules, library::library()]),
                    step: &step,
                    at: 0,
                    rest: Vec::new(),
                    still_since: Instant::now(),
                    figure: None,
                });
                let now = along.look(&path);
                if now != last {
                    last = now.clone();
                    told.send_modify(|all| {
                        all.insert(step.clone(), now);
                    });
                }
            }
            told.send_modify(|all| {
                all.remove(&step);
            });
        });
    if let Err(e) = started {
        tracing::warn!(%e, "no thread to read along with a step");
    }
    Stop(over)
}

/// Ends the reading when it is dropped.
pub(super) struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Along<'a> {
    look_up: LookUp<'a>,
    step: &'a str,
    at: u64,
    /// The line that has no end yet.
    rest: Vec<u8>,
    still_since: Instant,
    figure: Option<Figure>,
}

impl Along<'_> {
    fn look(&mut self, path: &Path) -> Live {
        let new = self.read(path);
        if !new.is_empty() {
            self.still_since = Instant::now();
            self.take(new);
        }
        let waits = self.still_since.elapsed() >= WAITS;
        let last = Clean::of_output(&self.rest);
        Live {
            hint: self.hint(),
            asks: (waits && live::asks(last.as_str())).then_some(last),
            figure: self.figure.clone(),
        }
    }

    fn read(&mut self, path: &Path) -> Vec<u8> {
        let mut new = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.at))?;
            file.take(MOST).read_to_end(&mut new)
        });
        if let Ok(n) = read {
            self.at += n as u64;
        }
        new
    }

    fn take(&mut self, new: Vec<u8>) {
        let mut block = std::mem::take(&mut self.rest);
        block.extend(new);
        let end = memchr::memrchr(b'\n', &block).map_or(0, |n| n + 1);
        self.rest = block.split_off(end);
        // A meter that writes over itself never ends its line.
        let ends = |b: &u8| *b == b'\n' || *b == b'\r';
        let lines = self.rest.rsplit(ends).chain(block.rsplit(ends));
        let figure = lines
            .take(21)
            .find_map(|line| live::figure(Clean::of_output(line).as_str()));
        self.figure = figure.or(self.figure.take());
        if !block.is_empty() {
            self.look_up.block(&block);
        }
    }

    /// The best cause that is more than a consequence.
    fn hint(&self) -> Option<(Cause, u64)> {
        let evidence = Evidence {
            step: self.step,
            ..Evidence::default()
        };
        let best = self
            .look_up
            .judged(&evidence)
            .into_iter()
            .find(|judged| judged.rule.sure > Sure::Consequence && !judged.lines.is_empty())?;
        let times = best.times;
        Some((best.into_cause(), times))
    }
}
