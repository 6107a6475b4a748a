//! Keys: one table, from which the footer, the help, the palette and the documentation come, and which
//! the config file may rebind. One letter means one thing wherever it is possible.

use super::chord::{Chord, shown};
use crossterm::event::KeyEvent;

/// What a key can mean. Closed: a new meaning is a new row below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    Choose,
    Back,
    BackOne,
    Tick,
    Run,
    Stop,
    Skip,
    Undo,
    Note,
    Failures,
    Timeline,
    Copy,
    CheckRecovery,
    Procedures,
    Identity,
    Severity,
    Since,
    Ready,
    Know,
    Causes,
    Probe,
    ThisWasIt,
    NotThis,
    GoThere,
    GoOn,
    Relook,
    Give,
    Search,
    NextMatch,
    PreviousMatch,
    NextError,
    PreviousError,
    Follow,
    Wrap,
    Times,
    Insert,
    EndInsert,
    Close,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    HalfUp,
    HalfDown,
    Top,
    Bottom,
    NextPane,
    Palette,
    Help,
    Quit,
    Leave,
    Suspend,
}

/// Where a key holds: a screen, or what lies above one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Home,
    Severity,
    Since,
    Triage,
    Ready,
    Checklist,
    Armed,
    Confirm,
    Causes,
    Log,
    Insert,
    Failures,
    Timeline,
    Know,
    Recovered,
    Field,
    Help,
    Palette,
}

impl Place {
    pub(crate) const ALL: [Self; 18] = [
        Self::Home,
        Self::Severity,
        Self::Since,
        Self::Triage,
        Self::Ready,
        Self::Checklist,
        Self::Armed,
        Self::Confirm,
        Self::Causes,
        Self::Log,
        Self::Insert,
        Self::Failures,
        Self::Timeline,
        Self::Know,
        Self::Recovered,
        Self::Field,
        Self::Help,
        Self::Palette,
    ];

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Home => "Home",
            Self::Severity => "Severity",
            Self::Since => "Since when?",
            Self::Triage => "Triage",
            Self::Ready => "Ready?",
            Self::Checklist => "Checklist",
            Self::Armed => "An armed step",
            Self::Confirm => "A question",
            Self::Causes => "Likely cause",
            Self::Log => "Log",
            Self::Insert => "Typing to a step",
            Self::Failures => "Known failures",
            Self::Timeline => "Timeline",
            Self::Know => "To know",
            Self::Recovered => "Recovered?",
            Self::Field => "A text field",
            Self::Help => "Help",
            Self::Palette => "Commands",
        }
    }
}

/// One row of the table.
pub(crate) struct Row {
    pub(crate) action: Action,
    /// What the config file calls it.
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [&'static str],
    pub(crate) places: &'static [Place],
    /// In the footer; empty: only in the help.
    pub(crate) label: &'static str,
    pub(crate) help: &'static str,
    /// Does it act on a step, or on the incident? Then type-ahead must not do it.
    pub(crate) acts: bool,
}

const fn row(
    action: Action,
    name: &'static str,
    keys: &'static [&'static str],
    places: &'static [Place],
    label: &'static str,
    help: &'static str,
) -> Row {
    Row {
        action,
        name,
        keys,
        places,
        label,
        help,
        acts: false,
    }
}

const fn acting(mut row: Row) -> Row {
    row.acts = true;
    row
}

use Action as A;
use Place as P;

const ENTER: &[&str] = &["enter"];
const LISTS: &[Place] = &[
    P::Home,
    P::Severity,
    P::Triage,
    P::Ready,
    P::Checklist,
    P::Log,
    P::Failures,
    P::Timeline,
    P::Know,
    P::Recovered,
    P::Help,
];
const SCROLLS: &[Place] = &[
    P::Home,
    P::Severity,
    P::Triage,
    P::Ready,
    P::Checklist,
    P::Log,
    P::Failures,
    P::Timeline,
    P::Know,
    P::Recovered,
    P::Help,
    P::Armed,
    P::Causes,
];
const SCREENS: &[Place] = &[
    P::Home,
    P::Severity,
    P::Triage,
    P::Ready,
    P::Checklist,
    P::Log,
    P::Failures,
    P::Timeline,
    P::Know,
    P::Recovered,
    P::Causes,
];
const BACK: &[Place] = &[
    P::Severity,
    P::Since,
    P::Triage,
    P::Ready,
    P::Checklist,
    P::Armed,
    P::Confirm,
    P::Causes,
    P::Log,
    P::Failures,
    P::Timeline,
    P::Know,
    P::Recovered,
    P::Field,
    P::Help,
    P::Palette,
];

/// Every key of the cockpit. The order is that of the footer.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    acting(row(A::Choose, "choose", ENTER, &[P::Home], "open", "Opens the incident again, or asks before it opens a new one.")),
    acting(row(A::Choose, "choose", ENTER, &[P::Severity], "declare", "Declares this severity; its objectives hold from now on.")),
    acting(row(A::Choose, "choose", ENTER, &[P::Since], "accept", "Accepts the moment; every objective is counted from it.")),
    acting(row(A::Choose, "choose", ENTER, &[P::Triage], "answer", "Answers the question. The answer and its evidence are recorded.")),
    acting(row(A::Choose, "choose", ENTER, &[P::Ready], "give/confirm", "Gives the chosen value, confirms the chosen target, or goes on.")),
    acting(row(A::GoOn, "go-on", &["c"], &[P::Ready], "go on", "Goes on to the checklist.")),
    acting(row(A::Choose, "choose", ENTER, &[P::Armed], "start", "Starts the armed step.")),
    acting(row(A::Choose, "choose", ENTER, &[P::Confirm], "yes", "Does what was asked.")),
    acting(row(A::Choose, "choose", ENTER, &[P::Field], "accept", "Accepts what was typed.")),
    row(A::Choose, "choose", ENTER, &[P::Palette], "do it", "Does the chosen command."),
    acting(row(A::Choose, "choose", ENTER, &[P::Know], "update sent", "Records that an update was sent; the clock starts anew.")),
    row(A::Choose, "choose", ENTER, &[P::Failures], "where to", "Says to which step the row leads."),
    acting(row(A::Run, "run", &["r"], &[P::Checklist], "run", "Arms the chosen step: shows the target, what will run and what green means. Enter starts it.")),
    acting(row(A::Stop, "stop", &["x"], &[P::Checklist], "stop", "Asks, then stops the chosen step: INT, later TERM, later KILL.")),
    acting(row(A::Skip, "skip", &["S"], &[P::Checklist], "skip", "Skips the chosen step; a reason is asked for and recorded.")),
    acting(row(A::Undo, "undo", &["u"], &[P::Checklist], "undo", "Arms the undo of the chosen step, where the runbook has one.")),
    row(A::Note, "note", &["a"], &[P::Checklist, P::Timeline, P::Recovered], "note", "Adds a note to the timeline."),
    row(A::Choose, "choose", ENTER, &[P::Checklist], "log", "Opens the log of the chosen step."),
    acting(row(A::Probe, "probe", &["p"], &[P::Causes], "probe", "Runs the read-only probe that confirms or excludes the chosen cause.")),
    row(A::GoThere, "go-there", &["g"], &[P::Causes], "go there", "Goes to the step or procedure that the cause names."),
    acting(row(A::ThisWasIt, "this-was-it", &["y"], &[P::Causes], "this was it", "Records that the chosen cause was the right one.")),
    acting(row(A::NotThis, "not-this", &["n"], &[P::Causes], "not this", "Records that the chosen cause was not the right one; it goes below the others.")),
    row(A::Choose, "choose", ENTER, &[P::Causes], "log", "Opens the log at the line that matched."),
    row(A::Causes, "causes", &["L"], &[P::Checklist], "", "Shows the likely causes of the chosen step's failure again."),
    row(A::Failures, "failures", &["f"], &[P::Checklist, P::Causes], "failures", "Opens the table of known failures."),
    row(A::Timeline, "timeline", &["T"], &[P::Checklist, P::Recovered], "timeline", "Opens the timeline."),
    acting(row(A::Insert, "insert", &["I"], &[P::Log], "type to it", "Sends what is typed to a step that has a terminal. It is never shown here and never recorded.")),
    row(A::Copy, "copy", &["c"], &[P::Checklist], "", "Sends the command of the chosen step to the terminal's clipboard, and writes it to a file."),
    row(A::Copy, "copy", &["c"], &[P::Know], "copy", "Sends the text of the update to the terminal's clipboard, and writes it to a file."),
    row(A::Copy, "copy", &["c"], &[P::Log], "copy", "Sends the lines on the screen to the terminal's clipboard, and writes them to a file."),
    acting(row(A::CheckRecovery, "check-recovery", &["v"], &[P::Checklist, P::Recovered], "recovered?", "Runs the checks that say whether the platform has recovered.")),
    acting(row(A::Identity, "identity", &["i"], &[P::Checklist, P::Ready], "target", "Shows a target that waits to be confirmed, old and new side by side.")),
    row(A::Procedures, "procedures", &["P"], &[P::Checklist], "", "Chooses another path, or adds a procedure."),
    row(A::Severity, "severity", &["V"], &[P::Checklist], "", "Declares another severity."),
    row(A::Since, "since", &["B"], &[P::Checklist], "", "Corrects since when the incident has been going on."),
    row(A::Ready, "ready", &["y"], &[P::Checklist], "", "Opens the list of what the plan needs."),
    row(A::Know, "know", &["K"], &[P::Severity, P::Triage, P::Ready, P::Checklist, P::Timeline, P::Recovered], "know", "Shows the clock for updates and their text, whom to call, backups, what to read, and words."),
    acting(row(A::Tick, "tick", &["space"], &[P::Triage, P::Ready], "tick", "Ticks or unticks.")),
    row(A::BackOne, "back-one", &["backspace"], &[P::Triage], "one back", "Goes back to the question before."),
    row(A::Give, "give", &["e"], &[P::Triage], "give value", "Gives a value that a system lacks, so that it can be probed."),
    row(A::Relook, "look-again", &["o"], &[P::Triage, P::Ready], "look again", "Looks at everything once more, read-only."),
    acting(row(A::Close, "close", &["C"], &[P::Recovered], "close", "Closes the incident; a reason is asked for. Only notes can be added afterwards.")),
    row(A::Follow, "follow", &["s"], &[P::Log], "follow", "Follows the end of the log, or holds still."),
    row(A::Search, "search", &["/"], &[P::Log, P::Failures, P::Timeline], "search", "Searches. Small letters match both cases."),
    row(A::NextMatch, "next-match", &["n"], &[P::Log], "", "Goes to the next match."),
    row(A::PreviousMatch, "previous-match", &["N"], &[P::Log], "", "Goes to the match before."),
    row(A::NextError, "next-error", &["e"], &[P::Log], "error", "Goes to the next line that speaks of an error."),
    row(A::PreviousError, "previous-error", &["E"], &[P::Log], "", "Goes to the line before that speaks of an error."),
    row(A::Wrap, "wrap", &["w"], &[P::Log], "wrap", "Wraps long lines, or cuts them."),
    row(A::Times, "times", &["t"], &[P::Log], "times", "Shows when each line came."),
    row(A::EndInsert, "end-insert", &["ctrl-]"], &[P::Insert], "end typing", "Keys are keys of the cockpit again. Esc twice does the same."),
    row(A::NextPane, "next-pane", &["tab"], &[P::Checklist], "", "Goes to the other pane."),
    row(A::Up, "up", &["up", "k"], SCROLLS, "", "One up."),
    row(A::Down, "down", &["down", "j"], SCROLLS, "", "One down."),
    row(A::Left, "left", &["left", "h"], &[P::Log], "", "Shows what lies to the left."),
    row(A::Right, "right", &["right", "l"], &[P::Log], "", "Shows what lies to the right."),
    row(A::PageUp, "page-up", &["pgup"], LISTS, "", "One page up."),
    row(A::PageDown, "page-down", &["pgdn"], LISTS, "", "One page down."),
    row(A::HalfUp, "half-up", &["ctrl-u"], LISTS, "", "Half a page up."),
    row(A::HalfDown, "half-down", &["ctrl-d"], LISTS, "", "Half a page down."),
    row(A::Top, "top", &["g", "home"], LISTS, "", "To the beginning."),
    row(A::Bottom, "bottom", &["G", "end"], LISTS, "", "To the end. In a log it follows again."),
    row(A::Palette, "palette", &[":"], SCREENS, "commands", "Lists the commands of this screen, to be found by a few letters."),
    row(A::Help, "help", &["?", "f1"], SCREENS, "help", "Lists the keys of this screen."),
    row(A::Help, "help", &["?", "f1"], &[P::Armed, P::Confirm, P::Help], "", "Lists the keys that hold here."),
    row(A::Back, "back", &["esc"], BACK, "", "Goes back one level. Never quits, never stops work."),
    row(A::Quit, "quit", &["q"], &[P::Home], "quit", "Ends the cockpit. What runs goes on running."),
    row(A::Quit, "quit", &["q"], &[P::Severity, P::Triage, P::Ready, P::Checklist, P::Log, P::Failures, P::Timeline, P::Know, P::Recovered, P::Causes, P::Armed, P::Confirm, P::Help], "", "Goes back; from an incident home, or out of the cockpit. What runs goes on running."),
    row(A::Leave, "leave", &["ctrl-c"], &[P::Home, P::Severity, P::Since, P::Triage, P::Ready, P::Checklist, P::Armed, P::Confirm, P::Causes, P::Log, P::Failures, P::Timeline, P::Know, P::Recovered, P::Field, P::Help, P::Palette], "", "Ends the cockpit from anywhere. What runs goes on running."),
    row(A::Suspend, "suspend", &["ctrl-z"], &[P::Home, P::Severity, P::Since, P::Triage, P::Ready, P::Checklist, P::Armed, P::Confirm, P::Causes, P::Log, P::Failures, P::Timeline, P::Know, P::Recovered, P::Field, P::Help, P::Palette], "", "Stops the cockpit until `fg`. What runs goes on running."),
];

/// The table with the rebindings of the config file.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyMap {
    bound: Vec<(Place, Chord, Action)>,
    keys: Vec<(Action, Vec<String>)>,
}

impl KeyMap {
    /// Applies rebindings: pairs of an action's name and a key; the first pair of an action replaces its
    /// keys, further ones add to them. `Err` names what cannot be, in words for people.
    pub(crate) fn new(rebound: &[(String, String)]) -> Result<Self, String> {
        let mut map = Self::default();
        for (name, key) in rebound {
            let Some(row) = TABLE.iter().find(|r| r.name == name) else {
                let names = TABLE.iter().map(|r| r.name);
                let help = crate::domain::finding::did_you_mean(name, names);
                return Err(format!("keys: no action is called `{name}`; {help}"));
            };
            if Chord::parse(key).is_none() {
                return Err(format!(
                    "keys: `{key}` is not a key; write r, G, ctrl-u, enter, esc, pgdn or f1"
                ));
            }
            match map.keys.iter_mut().find(|(a, _)| *a == row.action) {
                Some((_, keys)) => keys.push(key.clone()),
                None => map.keys.push((row.action, vec![key.clone()])),
            }
        }
        for row in TABLE {
            if !map.keys.iter().any(|(a, _)| *a == row.action) {
                let keys = row.keys.iter().map(|k| (*k).to_owned()).collect();
                map.keys.push((row.action, keys));
            }
        }
        for row in TABLE {
            for key in map.keys_of(row.action) {
                let Some(chord) = Chord::parse(&key) else {
                    continue;
                };
                for place in row.places {
                    map.bind(*place, chord, row.action, &key)?;
                }
            }
        }
        Ok(map)
    }

    fn bind(
        &mut self,
        place: Place,
        chord: Chord,
        action: Action,
        key: &str,
    ) -> Result<(), String> {
        let taken = self
            .bound
            .iter()
            .find(|(p, c, a)| *p == place && *c == chord && *a != action);
        if let Some((_, _, other)) = taken {
            return Err(format!(
                "keys: on the screen `{}` the key `{key}` would both {} and {}",
                place.title(),
                name_of(*other),
                name_of(action)
            ));
        }
        self.bound.push((place, chord, action));
        Ok(())
    }

    /// What a key means in a place.
    pub(crate) fn lookup(&self, place: Place, key: KeyEvent) -> Option<Action> {
        let chord = Chord::of(key);
        self.bound
            .iter()
            .find(|(p, c, _)| *p == place && *c == chord)
            .map(|(_, _, action)| *action)
    }

    /// The present keys of an action.
    pub(crate) fn keys_of(&self, action: Action) -> Vec<String> {
        self.keys
            .iter()
            .find(|(a, _)| *a == action)
            .map(|(_, keys)| keys.clone())
            .unwrap_or_default()
    }

    /// The first key of an action, as people read it.
    pub(crate) fn key(&self, action: Action) -> String {
        self.keys_of(action)
            .first()
            .map_or_else(String::new, |k| shown(k))
    }
}

fn name_of(action: Action) -> &'static str {
    TABLE
        .iter()
        .find(|r| r.action == action)
        .map_or("", |r| r.name)
}

/// The rows that hold in a place, in the order of the footer.
pub(crate) fn rows(place: Place) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(move |r| r.places.contains(&place))
}

/// Does this key act there, so that type-ahead must not do it?
pub(crate) fn acts(place: Place, action: Action) -> bool {
    rows(place).any(|r| r.action == action && r.acts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::{KeyCode, KeyModifiers};
    use std::collections::HashMap;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn no_key_means_two_things_in_one_place() {
        KeyMap::new(&[]).expect("the table is free of conflicts");
    }

    #[test]
    fn every_row_has_a_name_keys_that_parse_places_and_help() {
        let mut of_action: HashMap<Action, (&str, &[&str])> = HashMap::new();
        let mut of_name: HashMap<&str, Action> = HashMap::new();
        for row in TABLE {
            assert!(!row.places.is_empty(), "{}", row.name);
            assert!(row.help.ends_with('.'), "{}: {}", row.name, row.help);
            assert!(!row.keys.is_empty(), "{}", row.name);
            for key in row.keys {
                assert!(Chord::parse(key).is_some(), "{key}");
            }
            let known = *of_action.entry(row.action).or_insert((row.name, row.keys));
            assert_eq!(known, (row.name, row.keys), "one action, one name");
            assert_eq!(*of_name.entry(row.name).or_insert(row.action), row.action);
        }
    }

    #[test]
    fn every_place_has_a_way_out() {
        let keys = KeyMap::new(&[]).expect("valid");
        for place in Place::ALL {
            let esc = keys.lookup(place, press(KeyCode::Esc, KeyModifiers::NONE));
            let ends = rows(place).any(|r| matches!(r.action, A::Quit | A::EndInsert));
            assert!(esc == Some(A::Back) || ends, "{place:?}");
        }
    }

    #[test]
    fn what_starts_or_confirms_a_step_is_known_to_act() {
        for (place, action) in [
            (P::Checklist, A::Run),
            (P::Checklist, A::Stop),
            (P::Checklist, A::Skip),
            (P::Armed, A::Choose),
            (P::Confirm, A::Choose),
            (P::Field, A::Choose),
            (P::Triage, A::Choose),
        ] {
            assert!(acts(place, action), "{place:?} {action:?}");
        }
        assert!(!acts(P::Checklist, A::Down));
    }

    #[test]
    fn capital_letters_and_control_keys_are_found() {
        let keys = KeyMap::new(&[]).expect("valid");
        let shift = press(KeyCode::Char('S'), KeyModifiers::SHIFT);
        assert_eq!(keys.lookup(P::Checklist, shift), Some(A::Skip));
        let half = press(KeyCode::Char('d'), KeyModifiers::CONTROL);
        assert_eq!(keys.lookup(P::Log, half), Some(A::HalfDown));
        let bracket = press(KeyCode::Char('5'), KeyModifiers::CONTROL);
        assert_eq!(keys.lookup(P::Insert, bracket), Some(A::EndInsert));
        let small = press(KeyCode::Char('s'), KeyModifiers::NONE);
        assert_eq!(keys.lookup(P::Checklist, small), None);
    }

    #[test]
    fn keys_can_be_rebound_and_conflicts_are_refused() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let keys = KeyMap::new(&[pair("run", "R"), pair("run", "f5")]).expect("valid");
        let old = press(KeyCode::Char('r'), KeyModifiers::NONE);
        assert_eq!(keys.lookup(P::Checklist, old), None);
        let new = press(KeyCode::F(5), KeyModifiers::NONE);
        assert_eq!(keys.lookup(P::Checklist, new), Some(A::Run));
        let conflict = KeyMap::new(&[pair("run", "x")]).expect_err("x stops");
        assert!(conflict.contains("Checklist"), "{conflict}");
        assert!(KeyMap::new(&[pair("fly", "x")]).is_err());
        assert!(KeyMap::new(&[pair("run", "hyper-x")]).is_err());
    }
}
