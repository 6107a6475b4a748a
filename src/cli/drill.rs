//! `blackstart drill`: a sandbox with something broken in it, and the way in and out of it.

use super::{
    Exit, Failure,
    given::DrillArgs,
    load::{SHIPPED, store_error},
    rehearsal, say,
    settings::Settings,
    sites::Place,
};
use crate::{
    clock,
    domain::{
        decide::Command as Wish,
        drill::{Move, Scenario},
        event::Revealed,
        incident::{Incident, IncidentState},
        site::SiteKind,
        text::Clean,
    },
    offered::in_place,
    sandbox::{
        folder::{Folder, Order, State},
        launch, scenario,
    },
    tui,
};
use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How long a sandbox may take to be built.
const PATIENCE: Duration = Duration::from_secs(90);

/// `blackstart drill`, whichever of its ways.
pub(super) fn go(settings: &Settings, args: DrillArgs) -> Result<Exit, Failure> {
    if args.clean {
        return clean(settings);
    }
    if args.site.is_some() {
        return rehearsal::rehearse(settings, args);
    }
    let any = args.shell && args.scenario.is_none() && args.runbook.is_none();
    if any && let Some(sandbox) = Sandbox::up(settings)? {
        // In its place, so that what ends this ends the command.
        return Err(cannot_enter(sandbox.shell(&args.command)?.exec()));
    }
    drill(settings, &args)
}

fn drill(settings: &Settings, wanted: &DrillArgs) -> Result<Exit, Failure> {
    if launch::inside().is_some() {
        return Err(Failure::usage(
            "this shell is in a sandbox already",
            "leave it first",
        ));
    }
    let missing = launch::missing();
    if !missing.is_empty() {
        return Err(Failure::usage(
            format!(
                "a drill needs programs that are not installed here: {}",
                missing.join(", ")
            ),
            format!("apt-get install {}", missing.join(" ")),
        ));
    }
    let seed = wanted
        .seed
        .unwrap_or_else(|| u64::from(clock::now().timestamp_subsec_micros()));
    let scenario = choose(wanted, seed)?;
    let root = settings.store()?.root().to_owned();
    let order = Order {
        id: format!("sandbox-{}", clock::now().format("%Y%m%dt%H%M%S%3f")),
        runbook: scenario.runbook.clone(),
        scenario: scenario.id.clone(),
        seed,
        real_control_plane: wanted.control_plane == "real",
        asked_at: clock::now(),
    };
    let folder = Folder::of(&root, &order.id);
    let state = build(&folder, &order, wanted)?;
    let sandbox = Sandbox {
        folder,
        state,
        scenario,
        root,
    };
    let ended = match (wanted.headless, wanted.shell) {
        (true, _) => sandbox.headless(wanted),
        (_, true) => sandbox
            .shell(&wanted.command)
            .and_then(Sandbox::run)
            .map(Exit::Other),
        _ => sandbox.cockpit(&wanted.set),
    };
    if wanted.keep {
        say(&format!(
            "the sandbox stays up: {}",
            sandbox.folder.root().display()
        ));
        return ended;
    }
    sandbox.leave(settings, ended)
}

/// The one that was named, or one of those of the runbook by the seed.
fn choose(wanted: &DrillArgs, seed: u64) -> Result<Scenario, Failure> {
    let runbooks: Vec<&str> = SHIPPED.iter().map(|(id, _)| *id).collect();
    if let Some(id) = wanted.scenario.as_deref() {
        let found = Scenario::shipped(id).ok_or_else(|| {
            let all: Vec<&str> = scenario::SHIPPED.iter().map(|(id, _)| *id).collect();
            Failure::usage(
                format!("no scenario is called `{id}`"),
                crate::domain::finding::did_you_mean(id, all),
            )
        })?;
        return match &wanted.runbook {
            Some(runbook) if *runbook != found.runbook => Err(Failure::usage(
                format!("the scenario `{id}` is for the runbook `{}`", found.runbook),
                format!("blackstart drill {} --scenario {id}", found.runbook),
            )),
            _ => Ok(found),
        };
    }
    let runbook = wanted.runbook.as_deref().unwrap_or(runbooks[0]);
    let mut all = scenario::of_runbook(runbook);
    if all.is_empty() {
        return Err(Failure::usage(
            format!("there is no drill for the runbook `{runbook}`"),
            format!("there are drills for: {}", runbooks.join(", ")),
        ));
    }
    let at = usize::try_from(seed).unwrap_or(0) % all.len();
    Ok(all.swap_remove(at))
}

fn build(folder: &Folder, order: &Order, wanted: &DrillArgs) -> Result<State, Failure> {
    let broken = |e: std::io::Error| {
        if !wanted.keep {
            let _ = launch::clean(folder);
        }
        Failure::new(
            Exit::Failed,
            format!("the sandbox cannot be built: {e}"),
            "blackstart drill --clean, then try again",
        )
    };
    let mut child = launch::start(folder, order).map_err(broken)?;
    let state = launch::wait(folder, &mut child, PATIENCE, |what, took| {
        // Never on stdout, which is for results.
        if !wanted.json {
            eprintln!("  built {what} ({}.{} s)", took / 1000, took % 1000 / 100);
        }
    });
    state.map_err(broken)
}

/// A sandbox that is up.
struct Sandbox {
    folder: Folder,
    state: State,
    scenario: Scenario,
    root: PathBuf,
}

impl Sandbox {
    /// The one that is up; the newest, where several are.
    fn up(settings: &Settings) -> Result<Option<Self>, Failure> {
        let root = settings.store_to_look()?.root().to_owned();
        let newest = Folder::all(&root)
            .into_iter()
            .filter(Folder::lives)
            .max_by(|a, b| a.id().cmp(&b.id()));
        Ok(newest.and_then(|folder| Self::of(folder, root)))
    }

    /// `None` where its folder does not tell what it is.
    fn of(folder: Folder, root: PathBuf) -> Option<Self> {
        let scenario = Scenario::shipped(&folder.order().ok()?.scenario)?;
        Some(Self {
            state: folder.state()?,
            folder,
            scenario,
            root,
        })
    }

    fn command(&self) -> Result<Command, Failure> {
        let program = std::env::current_exe().map_err(cannot_enter)?;
        self.beside(&[program])
    }

    fn site(&self) -> PathBuf {
        self.folder.at("site.yaml")
    }

    fn run(mut command: Command) -> Result<u8, Failure> {
        let before = tui::Before::now();
        let status = command.status();
        let status = status.map_err(|e| {
            Failure::new(
                Exit::Failed,
                format!("{}: {e}", command.get_program().display()),
                "",
            )
        })?;
        if status.signal().is_some() {
            before.give_back();
        }
        Ok(u8::try_from(status.code().unwrap_or(3)).unwrap_or(1))
    }

    fn cockpit(&self, set: &[String]) -> Result<Exit, Failure> {
        let mut command = self.command()?;
        command.arg("open").arg(&self.scenario.runbook);
        command.arg("--site").arg(self.site());
        command.args(set.iter().flat_map(|pair| ["--set", pair]));
        Ok(exit(Self::run(command)?))
    }

    /// A shell where the steps of the drill run, or one command of it.
    fn shell(&self, words: &[OsString]) -> Result<Command, Failure> {
        if !words.is_empty() {
            return self.beside(words);
        }
        eprintln!(
            "  a shell in {}: `exit` leaves it, and kubectl, az, aws, psql and redis-cli act on the sandbox",
            self.folder.id()
        );
        self.beside(&[std::env::var_os("SHELL").unwrap_or_else(|| "bash".into())])
    }

    /// A command of a person beside the cockpit.
    fn beside(&self, words: &[impl AsRef<OsStr>]) -> Result<Command, Failure> {
        let mut command = launch::enter(&self.folder, &self.state, words).map_err(cannot_enter)?;
        command.env("BLACKSTART_STATE_DIR", &self.root);
        Ok(command)
    }

    /// The good way, or the one that goes astray first.
    fn headless(&self, wanted: &DrillArgs) -> Result<Exit, Failure> {
        let moves: &[Move] = match wanted.detour && !self.scenario.detour.is_empty() {
            true => &self.scenario.detour,
            false => &self.scenario.way,
        };
        let mut last = 0;
        for one in moves {
            last = self.step(one, wanted.json)?;
            let expected = match one.fails {
                Some(_) => last == 1,
                None => last == 0 || last == 4,
            };
            if !expected {
                return Ok(exit(last));
            }
        }
        Ok(exit(last))
    }

    fn step(&self, one: &Move, json: bool) -> Result<u8, Failure> {
        let facts = &self.state.facts;
        if !one.by_hand.is_empty() {
            let script = crate::domain::drill::filled(&one.by_hand, facts);
            let mut hand = self.beside(&["bash", "-c", &script])?;
            hand.stdin(Stdio::null());
            return Self::run(hand);
        }
        let mut command = self.command()?;
        if !one.run.is_empty() {
            command
                .arg("run")
                .arg(&self.scenario.runbook)
                .arg("--site")
                .arg(self.site());
            command.args(Move::words(&one.run, facts));
        } else {
            let incident = self
                .incident()
                .ok_or_else(|| Failure::new(Exit::Failed, "this drill has no incident yet", ""))?;
            command.args(["resume", "--headless", &incident]);
            command.args(Move::words(&one.resume, facts));
        }
        if json {
            command.arg("--json");
        }
        command.stdin(Stdio::null());
        Self::run(command)
    }

    /// The incident of this drill, once it was opened.
    fn incident(&self) -> Option<String> {
        incident_of(&self.root, &self.folder.id())
    }

    /// What becomes of the sandbox when the way through it has ended: it stays up for an incident that is
    /// still open, and is removed after any other, once what was broken has been told.
    fn leave(&self, settings: &Settings, ended: Result<Exit, Failure>) -> Result<Exit, Failure> {
        let store = settings.store_to_look()?;
        let loaded = self
            .incident()
            .and_then(|id| Some((store.find(&id).ok()?.load().ok()?.incident.state(), id)));
        match loaded {
            Some((IncidentState::Open, id)) => {
                let next = format!("blackstart resume {id}, or blackstart drill --clean");
                say(&format!("the sandbox stays up: {}", in_place(&next)));
                return ended;
            }
            Some((IncidentState::Recovered | IncidentState::Closed, id)) => {
                let revealed = self.revealed();
                clean_one(&self.folder)?;
                let told = super::incidents::reveal(settings, &id, revealed)?;
                // Stdout is for what a program reads, stderr for whoever watches.
                eprint!("{told}");
            }
            None => clean_one(&self.folder)?,
        }
        ended
    }

    fn revealed(&self) -> Revealed {
        let scenario = &self.scenario;
        Revealed {
            scenario: scenario.id.clone(),
            title: Clean::line(&scenario.title),
            seed: self.folder.order().map_or(0, |o| o.seed),
            twist: scenario.twist.as_deref().map(Clean::line),
            answers: scenario.answers.iter().map(|a| Clean::line(a)).collect(),
            go: scenario.go.clone(),
            severity: scenario.severity.clone(),
            cleaned: Clean::line(&format!(
                "{}: its processes, its network and its files",
                self.folder.id()
            )),
        }
    }
}

fn cannot_enter(e: std::io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the sandbox cannot be entered: {e}"),
        "",
    )
}

fn exit(code: u8) -> Exit {
    match code {
        0 => Exit::Done,
        2 => Exit::Usage,
        3 => Exit::PersonNeeded,
        4 => Exit::OutsideRto,
        5 => Exit::WrongTarget,
        _ => Exit::Failed,
    }
}

/// The incident that was opened at a site of that name.
fn incident_of(root: &Path, site: &str) -> Option<String> {
    let entries = std::fs::read_dir(root.join("incidents")).ok()?.flatten();
    let mut ids: Vec<String> = entries
        .filter(|e| {
            let text = std::fs::read(e.path().join("site.yaml")).unwrap_or_default();
            serde_json::from_slice::<Value>(&text).is_ok_and(|v| v["site"] == site)
        })
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids.pop()
}

fn clean_one(folder: &Folder) -> Result<(), Failure> {
    launch::clean(folder).map_err(|e| {
        Failure::new(
            Exit::Failed,
            format!("{} is not removed: {e}", folder.root().display()),
            "blackstart drill --clean",
        )
    })
}

/// Removes what drills have left: worlds that still run, and folders of worlds that do not.
pub(super) fn clean(settings: &Settings) -> Result<Exit, Failure> {
    let all = Folder::all(settings.store_to_look()?.root());
    for folder in &all {
        clean_one(folder)?;
        say(&format!("removed {}", folder.id()));
    }
    if all.is_empty() {
        say("no sandbox was left");
    }
    Ok(Exit::Done)
}

/// A sandbox is a place only from inside of it.
pub(super) fn must_be_inside(place: &Place) -> Result<(), Failure> {
    let site = &place.file.site;
    let elsewhere = site.kind == SiteKind::Sandbox && launch::is_gone(&site.name);
    match elsewhere {
        false => Ok(()),
        true => Err(Failure::usage(
            format!("the site {} is a sandbox, and this is not in it", site.name),
            "blackstart drill",
        )),
    }
}

/// What the person on call was told, for the timeline.
pub(super) fn alarm() -> Option<Wish> {
    let text = std::fs::read_to_string(launch::inside()?.at("alarm.txt")).ok()?;
    Some(Wish::GiveAlarm { text })
}

/// Does an incident live in a sandbox that we are not in?
pub(super) fn is_elsewhere(incident: &Incident) -> bool {
    let site = incident.site.as_ref();
    let of_sandbox = site.is_some_and(|s| s.kind == SiteKind::Sandbox);
    of_sandbox && launch::inside().is_none() && !launch::nowhere()
}

/// Goes on in that sandbox, in the place of this process; returns only when that is not possible.
pub(super) fn enter(settings: &Settings, root: &Path, incident: &str) -> Failure {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(e) => return cannot_enter(e),
    };
    let mut command = Command::new(program);
    command.args(["resume", incident]);
    command.env("BLACKSTART_STATE_DIR", root);
    if let Some(file) = &settings.file {
        command.env("BLACKSTART_CONFIG", file);
    }
    cannot_enter(command.exec())
}

/// `resume` of a drill that we are not in: begun again inside its sandbox, and the end of the drill seen to.
/// `None` for every other incident.
pub(super) fn resume(settings: &Settings, incident: Option<&str>) -> Result<Option<Exit>, Failure> {
    if launch::inside().is_some() || launch::nowhere() {
        return Ok(None);
    }
    let store = settings.store_to_look()?;
    let dir = super::headless::which(&store, incident)?;
    let loaded = dir.load().map_err(|e| store_error(&e))?;
    let site = loaded.incident.site.as_ref();
    let Some(site) = site.filter(|s| s.kind == SiteKind::Sandbox) else {
        return Ok(None);
    };
    let root = store.root().to_owned();
    let folder = Folder::of(&root, &site.name);
    let again = std::env::args_os().skip(1);
    if !folder.lives() || folder.state().is_none() {
        say("the sandbox of this drill has ended: nothing of it can be reached any more");
        let mut command = launch::enter_nowhere().map_err(cannot_enter)?;
        command.env("BLACKSTART_STATE_DIR", &root).args(again);
        return Ok(Some(exit(Sandbox::run(command)?)));
    }
    let sandbox = Sandbox::of(folder, root)
        .ok_or_else(|| Failure::new(Exit::Failed, "the scenario of this drill is not known", ""))?;
    let mut command = sandbox.command()?;
    command.args(again);
    let ended = Sandbox::run(command).map(exit);
    sandbox.leave(settings, ended).map(Some)
}
