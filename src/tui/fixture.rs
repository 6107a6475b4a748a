//! A small incident for tests: built from entries, as a real one is.

use super::{keymap::KeyMap, screens::View, theme::Theme};
use crate::{
    domain::{
        decide::{self, Command},
        event::{
            AttemptKind, Cause, CheckPhase, CheckResult, Ending, Entry, Event, Identity, Mode,
            Outcome, PhaseRef, PinnedBy, RunbookRef, Targets, Verdict, World,
        },
        incident::Incident,
        plan::Chosen,
        runbook::{Danger, Runbook},
        text::Clean,
    },
    engine::Armed,
};
use chrono::{DateTime, TimeDelta, Utc};
use ratatui::{Frame, Terminal, backend::TestBackend, buffer::Buffer, layout::Rect};
use std::{path::PathBuf, sync::Arc};

const RUNBOOK: &str = include_str!("../../tests/fixtures/runbooks/pitr.yaml");

pub(crate) fn runbook() -> Runbook {
    let (runbook, _) = Runbook::read(RUNBOOK.as_bytes()).expect("the fixture is valid");
    runbook
}

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-03-10T15:24:00Z")
        .expect("a moment")
        .to_utc()
}

pub(crate) fn check(verdict: Verdict) -> CheckResult {
    CheckResult {
        what: "database: SELECT count(*) FROM tenants".into(),
        phase: CheckPhase::Verify,
        verdict,
        expected: "== 412".into(),
        seen: "0".into(),
        passed: verdict == Verdict::Holds,
        elapsed_ms: 12,
        system: Some("database".to_owned()),
        help: Some("is there a route?".into()),
    }
}

fn ending(outcome: Outcome, verified: bool) -> Ending {
    Ending {
        outcome,
        exit_code: Some(i32::from(outcome != Outcome::Succeeded)),
        signal: None,
        verified,
        started_at: Some(now() - TimeDelta::minutes(20)),
        ended_at: Some(now() - TimeDelta::minutes(10)),
        elapsed_s: 600.0,
        checks: vec![check(Verdict::Holds), check(Verdict::DoesNotHold)],
        captured: indexmap::IndexMap::new(),
        captured_secrets: Vec::new(),
        leaky: true,
        lost_bytes: 3,
        reason: Some("a check does not hold".into()),
    }
}

/// Collects events into entries, a minute apart.
struct Story {
    entries: Vec<Entry>,
}

impl Story {
    fn tell(&mut self, event: Event) {
        let seq = self.entries.len() as u64 + 1;
        let minutes = i64::try_from(seq).unwrap_or(0) - 50;
        self.entries.push(Entry {
            v: 1,
            seq,
            at: now() + TimeDelta::minutes(minutes),
            boot_ms: seq * 1000,
            who: "jo@bastion1".into(),
            event,
        });
    }

    fn incident(&self) -> Incident {
        Incident::replay(&self.entries)
    }
}

fn opened(runbook: &Runbook) -> Story {
    let mut story = Story {
        entries: Vec::new(),
    };
    story.tell(Event::Opened {
        id: "20260310-143300-tenants-3f2c91".to_owned(),
        mode: Mode::Live,
        world: World::Live,
        runbook: RunbookRef {
            id: runbook.id.clone(),
            title: Clean::line(&runbook.title),
            sha256: "00".to_owned(),
            file: None,
        },
        objectives: Targets {
            rto_s: Some(7200),
            rpo_s: Some(7200),
        },
        phases: runbook
            .phases
            .iter()
            .map(|p| PhaseRef {
                id: p.id.text.clone(),
                title: Clean::line(&p.title),
                budget_s: p.budget.map(|b| b.as_secs()),
            })
            .collect(),
    });
    story
}

fn wish(story: &mut Story, runbook: &Runbook, command: Command) {
    let events = decide::decide(&story.incident(), runbook, command).expect("it is allowed");
    for event in events {
        story.tell(event);
    }
}

fn started(step: &str, n: u32, kind: AttemptKind) -> Event {
    Event::AttemptStarted {
        step: step.to_owned(),
        n,
        kind,
        dir: format!("steps/01-x-a{n}"),
        command: "pg_dump -w -Fc\nmv a b".into(),
        confirmed: None,
        out_of_order: Some("the senior said so".into()),
        saw: None,
        tries_left: 0,
    }
}

fn identity(endpoint: &str) -> Identity {
    Identity {
        endpoint: endpoint.to_owned(),
        own: Some("7391112233445566778".to_owned()),
        certificate: None,
        note: Some("timeline 2".into()),
        user: None,
    }
}

fn planned(runbook: &Runbook) -> Story {
    let mut story = opened(runbook);
    let severity = "P1".to_owned();
    wish(&mut story, runbook, Command::DeclareSeverity { severity });
    story.tell(Event::BeganAtSet {
        began_at: now() - TimeDelta::minutes(53),
        source: "the newest row".into(),
    });
    story.tell(Event::Answered {
        question: "What is broken?".into(),
        answer: "The tenants are gone".into(),
        evidence: vec![check(Verdict::DoesNotHold)],
    });
    let go = vec![Chosen::parse("postgres/pitr")];
    wish(&mut story, runbook, Command::Plan { go });
    let (name, value) = ("db_host".to_owned(), "127.0.0.1".to_owned());
    let source = "default".to_owned();
    wish(
        &mut story,
        runbook,
        Command::SetValue {
            name,
            value,
            source,
        },
    );
    story.tell(Event::IdentityPinned {
        system: "database".to_owned(),
        identity: identity("127.0.0.1:5432"),
        by: PinnedBy::FirstContact,
    });
    story
}

/// Names of the planned steps, in their order.
fn names(story: &Story) -> Vec<String> {
    let incident = story.incident();
    incident.steps.iter().map(|s| s.plan.step.clone()).collect()
}

/// One step done, one that failed with a likely cause, one that runs, and a new target.
fn busy(runbook: &Runbook) -> Story {
    let mut story = planned(runbook);
    let steps = names(&story);
    let (done, failed, runs) = (steps[0].clone(), steps[1].clone(), steps[2].clone());
    story.tell(started(&done, 1, AttemptKind::Run));
    story.tell(Event::AttemptEnded {
        step: done,
        n: 1,
        kind: AttemptKind::Run,
        ending: ending(Outcome::Succeeded, true),
    });
    story.tell(started(&failed, 1, AttemptKind::Run));
    story.tell(Event::AttemptEnded {
        step: failed.clone(),
        n: 1,
        kind: AttemptKind::Run,
        ending: ending(Outcome::Failed, true),
    });
    story.tell(Event::CausesFound {
        step: failed.clone(),
        n: 1,
        causes: vec![Cause {
            row: "target-before-backup".to_owned(),
            cause: "The moment to restore to lies before the oldest backup".into(),
            fix: "Choose a later moment; `pgbackrest info` lists what there is".into(),
            source: "pgBackRest user guide".into(),
            line: Some(41),
            text: Some("ERROR: [075]: unable to find backup set".into()),
            go: Some("restore".to_owned()),
            probe: Some("pgbackrest info".into()),
            tool: None,
            lines: Vec::new(),
            score: 14.0,
        }],
    });
    story.tell(Event::ProbeRan {
        step: failed.clone(),
        row: "target-before-backup".to_owned(),
        check: check(Verdict::CannotTell),
    });
    story.tell(Event::IdentityProposed {
        system: "database".to_owned(),
        old: Some(identity("127.0.0.1:5432")),
        new: identity("127.0.0.1:5433"),
        step: failed,
    });
    story.tell(started(&runs, 1, AttemptKind::Run));
    story.tell(Event::NoteAdded {
        text: "the lead is on the call\nand stays".into(),
    });
    story
}

fn recovered(runbook: &Runbook) -> Story {
    let mut story = busy(runbook);
    story.tell(Event::MomentMeasured {
        store: "database".to_owned(),
        at: now() - TimeDelta::minutes(57),
        step: "postgres/pitr/newest".to_owned(),
    });
    story.tell(Event::RecoveryChecked {
        checks: vec![check(Verdict::Holds)],
        holds: true,
    });
    story.tell(Event::Recovered { at: now() });
    story
}

fn view_of(story: &Story, runbook: Runbook) -> View {
    let incident = story.incident();
    let chosen = incident.steps.get(1).map(|s| s.plan.step.clone());
    let shown = chosen.clone().map(|step| Arc::new(armed(&step)));
    View {
        theme: Theme::default(),
        keys: Arc::new(KeyMap::new(&[]).expect("the table is free of conflicts")),
        now: now(),
        who: "jo@bastion1".into(),
        incident: Arc::new(incident),
        runbook: Arc::new(runbook),
        dir: PathBuf::from("/nonexistent"),
        progress: None,
        live: Default::default(),
        chosen,
        shown,
        looked_for: None,
        side: false,
        ready: true,
    }
}

/// A step as it is armed.
pub(crate) fn armed(step: &str) -> Armed {
    Armed {
        step: step.to_owned(),
        title: "Restore beside it to the moment before".to_owned(),
        command: "pgbackrest restore --target=\"$TARGET_SQL\"\npg_ctl start".to_owned(),
        targets: vec![(
            "database".to_owned(),
            Some("127.0.0.1:5432/7391".to_owned()),
        )],
        green: vec!["database: SELECT count(*) FROM tenants — expected: == 412".to_owned()],
        danger: Danger::Change,
        confirm: None,
        manual: false,
        native: false,
        attempts: 1,
        missing: Vec::new(),
        missing_to_run: Vec::new(),
        refusal: None,
    }
}

/// An incident in the middle of its recovery.
pub(crate) fn view() -> View {
    let runbook = runbook();
    view_of(&busy(&runbook), runbook)
}

/// Incidents from just opened to recovered, and in ASCII without colours.
pub(crate) fn views() -> Vec<View> {
    let mut all: Vec<View> = [opened, planned, busy, recovered]
        .into_iter()
        .map(|story| {
            let runbook = runbook();
            view_of(&story(&runbook), runbook)
        })
        .collect();
    let mut plain = view();
    plain.theme = Theme {
        mono: true,
        ascii: true,
    };
    plain.side = true;
    plain.ready = false;
    all.push(plain);
    all
}

/// Draws into memory and returns what stands there.
pub(crate) fn draw(width: u16, height: u16, draw: impl FnOnce(&mut Frame<'_>, Rect)) -> String {
    let mut terminal =
        Terminal::new(TestBackend::new(width, height)).expect("memory has no errors");
    terminal
        .draw(|frame| {
            let area = frame.area();
            draw(frame, area);
        })
        .expect("memory has no errors");
    text(terminal.backend().buffer())
}

/// The cells of a buffer as lines.
pub(crate) fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    buffer
        .content
        .chunks(width)
        .map(|row| row.iter().map(|c| c.symbol()).collect::<String>())
        .collect::<Vec<_>>()
        .join("\n")
}
