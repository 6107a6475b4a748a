//! The full-screen cockpit.
//!
//! ```text
//!  terminal ──events──► loop ──keys──► one key table ──actions──► screen ──wants──► engine
//!     ▲                  │                                          │                 │
//!     └─────frames───────┴──────────────◄─── draw a snapshot ◄──────┴─────news────────┘
//! ```
//!
//! A screen is one file in `screens` and one line in its list. It is given a snapshot, takes actions
//! from a closed vocabulary, and returns what it wants; it never speaks to the engine itself. Footer,
//! help, the list of commands and rebinding come from the one table in `keymap`. Only `terminal` and
//! `events` know the terminal.

mod app;
mod asks;
mod chord;
mod events;
mod guard;
mod keymap;
mod screens;
mod terminal;
mod theme;
mod widgets;

#[cfg(test)]
mod fixture;

use crate::{
    clock,
    domain::{finding::Severity, lint, runbook::Runbook, site::Baseline, text::Clean, units},
    engine::{Handle, age_of},
    store::Store,
};
use color_eyre::eyre::{WrapErr, eyre};
use std::time::Duration;

pub(crate) use terminal::Before;

/// Where the cockpit begins.
pub enum StartAt {
    Home,
    /// On one incident; leaving it leaves the cockpit.
    Incident(Handle),
}

/// A runbook as home offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunbookOffer {
    pub id: String,
    pub title: String,
    pub summary: String,
    /// Only what is trusted can be opened.
    pub trusted: bool,
    /// `None`: it is built in.
    pub file: Option<String>,
}

/// Opens incidents for home. Called within a tokio runtime; errors are words for people.
pub trait Opener {
    fn runbooks(&self) -> Vec<RunbookOffer>;

    /// What one should know of a runbook before it is opened: what there is to restore from, whom to
    /// call, what lint warns of.
    fn about(&self, runbook: &str) -> Vec<String>;

    /// Opens a new live incident of a runbook.
    fn open(&self, runbook: &str) -> Result<Handle, String>;

    /// Opens an incident again that is not open in this cockpit.
    fn resume(&self, id: &str) -> Result<Handle, String>;

    /// Does the incident live where this process is not, in the sandbox of a drill? Then the cockpit ends, and
    /// one in there takes its place.
    fn is_elsewhere(&self, _id: &str) -> bool {
        false
    }
}

/// How it looks, and which keys were rebound.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// No colours, only bold, underline and reverse.
    pub mono: bool,
    /// Lines and marks in plain ASCII.
    pub ascii: bool,
    /// Names of actions with a key each; several keys of one action are several pairs.
    pub keys: Vec<(String, String)>,
}

/// What the cockpit is started with.
pub struct Cockpit {
    pub store: Store,
    pub start: StartAt,
    pub settings: Settings,
    pub open: Box<dyn Opener>,
}

/// How the cockpit ended. The terminal is as it was before; what runs goes on running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Quit {
        /// Steps that go on running; those of another incident with its id.
        running: Vec<String>,
        /// The incident to resume.
        incident: Option<String>,
    },
    /// To go on in the sandbox of this incident.
    Enter(String),
    /// The terminal is gone.
    Hangup,
    Signal(i32),
}

/// Are these rebindings possible? `Err` says in words what is wrong; `run` refuses the same.
pub fn check_keys(keys: &[(String, String)]) -> Result<(), String> {
    keymap::KeyMap::new(keys).map(|_| ())
}

/// Every key as a Markdown table, for the documentation.
pub fn keys_as_markdown() -> String {
    let mut out = String::from("| where | keys | action | does |\n|---|---|---|---|\n");
    for place in keymap::Place::ALL {
        for row in keymap::rows(place) {
            let keys: Vec<String> = row.keys.iter().map(|k| chord::shown(k)).collect();
            out.push_str(&format!(
                "| {} | `{}` | {} | {} |\n",
                place.title(),
                keys.join("` `"),
                row.name,
                row.help
            ));
        }
    }
    out
}

/// Runs the cockpit in this terminal until a person, a signal or a hang-up ends it; then the terminal
/// is as it was. `color_eyre::install` must have been called before, and the runtime must have more
/// than one thread: a terminal that stands still must not keep the engine from recording.
pub async fn run(cockpit: Cockpit) -> color_eyre::Result<Ended> {
    let keys = keymap::KeyMap::new(&cockpit.settings.keys).map_err(|why| eyre!(why))?;
    let (mut app, news) = app::App::new(cockpit, keys);
    let mut screen = terminal::Screen::open().wrap_err("the terminal cannot be taken")?;
    let ended = events::serve(&mut app, &mut screen, news).await;
    drop(screen);
    for handle in app.handles() {
        // The summary for home is kept; if the engine is gone, it is made again from the journal.
        let _ = tokio::time::timeout(Duration::from_secs(2), handle.settle()).await;
    }
    ended.wrap_err("the cockpit could not go on")
}

/// What one should know of a runbook before it is opened, a sentence each.
pub fn about(runbook: &Runbook, baselines: &[Baseline]) -> Vec<String> {
    let mut facts: Vec<String> = runbook
        .backups
        .iter()
        .map(screens::backup_in_short)
        .collect();
    if let Some(last) = baselines.iter().max_by_key(|b| b.at) {
        let age = (clock::now() - last.at).num_seconds().unsigned_abs();
        facts.push(format!(
            "values of peace time were taken {} ago",
            age_of(age)
        ));
    }
    let people = runbook
        .contacts
        .iter()
        .map(|c| format!("{}: {}", c.who, c.channel));
    facts.extend(people);
    if let Some(every) = runbook.updates.as_ref().and_then(|u| u.every) {
        facts.push(format!(
            "an update goes out every {}",
            units::short(every.as_secs())
        ));
    }
    let warnings = lint::warnings(runbook);
    let open = warnings
        .iter()
        .filter(|f| f.severity == Severity::Warning)
        .count();
    if open > 0 {
        facts.push(format!(
            "lint warns {open} times: blackstart lint {}",
            runbook.id
        ));
    }
    facts
        .into_iter()
        .map(|fact| Clean::line(&fact).into_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_names_every_action() {
        let table = keys_as_markdown();
        for row in keymap::TABLE {
            assert!(table.contains(row.help), "{}", row.name);
        }
    }

    #[test]
    fn a_wrong_rebinding_is_refused_in_words() {
        let keys = [("run".to_owned(), "x".to_owned())];
        assert!(check_keys(&keys).is_err());
        assert_eq!(check_keys(&[]), Ok(()));
    }
}
