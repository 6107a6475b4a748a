use super::*;
use crate::{
    domain::{
        decide::Command,
        event::{Mode, World},
        plan::Chosen,
    },
    engine::{Given, Opening},
    tui::{Settings, fixture, guard::PAUSE},
};
use crossterm::event::KeyModifiers;
use std::time::Duration;

struct Nothing;

impl Opener for Nothing {
    fn about(&self, _runbook: &str) -> Vec<String> {
        vec!["backup of database: dumps, every 2h".to_owned()]
    }

    fn runbooks(&self) -> Vec<RunbookOffer> {
        vec![RunbookOffer {
            id: "arbitex".to_owned(),
            title: "Arbitex".to_owned(),
            summary: String::new(),
            trusted: true,
            file: None,
        }]
    }

    fn open(&self, _runbook: &str) -> Result<Handle, String> {
        Err("not in this test".to_owned())
    }

    fn resume(&self, _id: &str) -> Result<Handle, String> {
        Err("not in this test".to_owned())
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    app: App,
    news: UnboundedReceiver<(u64, News)>,
    handle: Option<Handle>,
    now: Instant,
}

impl Scene {
    /// A cockpit on a real incident whose plan is made, or at home.
    async fn new(on_incident: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("a store");
        let mut handle = None;
        if on_incident {
            let bytes = include_bytes!("../../../tests/fixtures/runbooks/pitr.yaml");
            let opening = Opening {
                runbook: fixture::runbook(),
                bytes,
                sha256: crate::store::sha256(bytes),
                file: None,
                mode: Mode::Live,
                world: World::Live,
                site: None,
            };
            let opened = opening.open(&store, Given::default()).expect("it opens");
            let go = vec![Chosen::parse("postgres/pitr")];
            opened
                .wish(Command::Plan { go })
                .await
                .expect("it is planned");
            handle = Some(opened);
        }
        let cockpit = Cockpit {
            store,
            start: handle.clone().map_or(StartAt::Home, StartAt::Incident),
            settings: Settings::default(),
            open: Box::new(Nothing),
        };
        let keys = KeyMap::new(&[]).expect("the table is free of conflicts");
        let (app, news) = App::new(cockpit, keys);
        Self {
            _dir: dir,
            app,
            news,
            handle,
            now: Instant::now(),
        }
    }

    fn drawn(&mut self, width: u16, height: u16) -> String {
        let drawn = fixture::draw(width, height, |frame, _| self.app.draw(frame));
        self.app.drawn(self.now);
        drawn
    }

    /// Waits, then types: what a person does who reads first.
    fn type_slowly(&mut self, keys: &str) {
        for c in keys.chars() {
            self.drawn(80, 24);
            self.now += PAUSE + Duration::from_millis(1);
            self.press(c);
        }
    }

    /// Types without a frame between the keys.
    fn type_ahead(&mut self, keys: &str) {
        for c in keys.chars() {
            self.now += Duration::from_millis(1);
            self.press(c);
        }
    }

    fn press(&mut self, c: char) {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        self.app
            .key(KeyEvent::new(code, KeyModifiers::NONE), self.now);
    }
}

#[tokio::test]
async fn home_and_checklist_draw_at_every_size() {
    for on_incident in [false, true] {
        let mut scene = Scene::new(on_incident).await;
        for (width, height) in [(1, 1), (40, 10), (60, 15), (80, 24), (120, 40), (200, 60)] {
            let drawn = scene.drawn(width, height);
            let word = if on_incident { "Checklist" } else { "arbitex" };
            assert!(
                width < 60 || drawn.contains(word),
                "{width}x{height}:\n{drawn}"
            );
            assert!(width != 40 || drawn.contains("needs 60x15"), "{drawn}");
        }
    }
}

#[tokio::test]
async fn a_burst_of_type_ahead_starts_nothing() {
    let mut scene = Scene::new(true).await;
    scene.drawn(80, 24);
    scene.now += PAUSE * 2;
    scene.type_ahead("rrrr\nrrrr\n");
    let running = scene
        .handle
        .as_ref()
        .map(|h| h.incident().running().count());
    assert_eq!(running, Some(0));
    assert!(
        scene.news.try_recv().is_err(),
        "nothing was asked of the engine"
    );
}

#[tokio::test]
async fn keys_are_listed_and_the_list_goes_away() {
    let mut scene = Scene::new(true).await;
    scene.type_slowly("?");
    assert!(scene.drawn(100, 50).contains("Keys: Checklist"));
    scene.type_slowly("\u{1b}");
    assert!(!scene.drawn(100, 50).contains("Keys: Checklist"));
}

#[tokio::test]
async fn a_command_is_found_by_its_name() {
    let mut scene = Scene::new(true).await;
    scene.type_slowly(":");
    scene.type_ahead("timel\n");
    assert!(scene.drawn(80, 24).contains("Timeline"));
}

#[tokio::test]
async fn esc_never_quits_and_q_says_what_to_resume() {
    let mut scene = Scene::new(true).await;
    scene.type_slowly("\u{1b}\u{1b}");
    assert_eq!(scene.app.ended, None);
    scene.type_slowly("T");
    scene.type_slowly("q");
    assert_eq!(scene.app.ended, None, "back from a side screen");
    scene.type_slowly("q");
    let id = scene.handle.as_ref().map(|h| h.dir().id.clone());
    assert_eq!(
        scene.app.ended,
        Some(Ended::Quit {
            running: Vec::new(),
            incident: id,
        })
    );
}

#[tokio::test]
async fn pasted_text_is_never_a_key() {
    let mut scene = Scene::new(true).await;
    scene.drawn(80, 24);
    scene.now += PAUSE * 2;
    scene.app.paste("r\nq\nx");
    assert_eq!(scene.app.ended, None);
    assert!(scene.drawn(80, 24).contains("pasted text"));
}

#[tokio::test]
async fn a_note_reaches_the_journal() {
    let mut scene = Scene::new(true).await;
    scene.type_slowly("a");
    scene.type_slowly("hello\n");
    let (session, news) = scene.news.recv().await.expect("an answer");
    scene.app.news(session, &news);
    let notes = scene.handle.as_ref().map(|h| h.incident().notes.len());
    assert_eq!(notes, Some(1));
    assert!(scene.drawn(80, 24).contains("the note is on the timeline"));
}

#[tokio::test]
async fn what_is_copied_is_also_written_to_a_private_file() {
    let mut scene = Scene::new(true).await;
    scene.type_slowly("c");
    assert_eq!(scene.app.copies.len(), 1);
    let path = scene
        .handle
        .as_ref()
        .map(|h| h.dir().path.join("clipboard.txt"));
    let written = std::fs::read_to_string(path.expect("an incident")).expect("a file");
    assert_eq!(written, scene.app.copies[0]);
}
