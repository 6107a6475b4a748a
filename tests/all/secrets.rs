//! A secret reaches no disk, screen, export or argument list, in whatever form it is printed.

use crate::harness::{
    Chance,
    bin::{Blackstart, Run, attempts, step},
    fixture, pause,
    postgres::{Cluster, PASSWORD},
    process::all,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use regex::bytes::Regex;
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[test]
fn no_form_of_a_secret_reaches_disk_screen_export_or_arguments() {
    let leaks = Scene::new(Blackstart::new()).leaks();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// The search must be able to find something.
#[cfg(debug_assertions)]
#[test]
fn with_the_redactor_switched_off_the_same_search_finds_them() {
    let open = Blackstart::new().with("BLACKSTART_TEST_NO_REDACT", "1");
    let leaks = Scene::new(open).leaks();
    for place in [
        "output.log",
        "journal.jsonl",
        "the output of run",
        "markdown",
    ] {
        let found = leaks.iter().any(|leak| leak.contains(place));
        assert!(found, "a leak in {place}, among\n{}", leaks.join("\n"));
    }
}

/// A secret that no two tests share: letters at both ends, and between them what encodings change.
fn secret(chance: &mut Chance) -> String {
    let mut letters = || -> String {
        const ALL: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
        (0..12)
            .map(|_| char::from(ALL[chance.below(ALL.len() as u64) as usize]))
            .collect()
    };
    let (start, end) = (letters(), letters());
    format!("{start}/\"q'\\&+= $%{end}")
}

/// The forms of a secret that the runbook prints.
fn forms(secret: &str) -> Vec<String> {
    let mut all = vec![
        secret.to_owned(),
        replaced(secret, "/\"'\\&+= $%", |c| format!("%{:02X}", u32::from(c))),
        replaced(secret, "\"\\", |c| format!("\\{c}")),
        replaced(secret, "\"'\\& $", |c| format!("\\{c}")),
        secret.replace('\'', r"'\''"),
        secret.bytes().map(|b| format!("{b:02x}")).collect(),
    ];
    // Behind none, one and two other bytes; without the characters that they have a part in.
    for (before, from) in [("", 0), ("a", 2), ("ab", 3)] {
        let shifted = format!("{before}{secret}");
        let whole = shifted.len() * 8 / 6;
        all.push(STANDARD_NO_PAD.encode(shifted)[from..whole].to_owned());
    }
    all
}

fn replaced(text: &str, special: &str, with: impl Fn(char) -> String) -> String {
    let form = |c: char| {
        if special.contains(c) {
            with(c)
        } else {
            c.to_string()
        }
    };
    text.chars().map(form).collect()
}

/// Finds any form of any of the secrets, and either end of it.
#[derive(Clone)]
struct Search(Regex);

impl Search {
    fn new(secrets: &[String]) -> Self {
        let mut needles = BTreeSet::from([PASSWORD.to_owned()]);
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            needles.insert(form[..12].to_owned());
            needles.insert(form[form.len() - 12..].to_owned());
            needles.insert(form);
        }
        let any: Vec<String> = needles.iter().map(|n| regex::escape(n)).collect();
        Self(Regex::new(&any.join("|")).unwrap())
    }

    fn look(&self, place: &str, bytes: &[u8], leaks: &mut Vec<String>) {
        if let Some(hit) = self.0.find(bytes) {
            let (from, to) = (hit.start().saturating_sub(40), hit.end() + 40);
            let around = String::from_utf8_lossy(&bytes[from..to.min(bytes.len())]);
            leaks.push(format!("{place}: …{around}…"));
        }
    }

    /// Every file under the folder.
    fn look_under(&self, folder: &Path, leaks: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
                continue;
            };
            let name = path.display().to_string();
            self.look("a file's name", name.as_bytes(), leaks);
            if kind.is_dir() {
                self.look_under(&path, leaks);
            } else if kind.is_file() {
                self.look(&name, &fs::read(&path).unwrap_or_default(), leaks);
            }
        }
    }
}

/// Reads the arguments of every process on the machine, over and over.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Sampler {
    fn start(search: Search) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut rounds, mut leaks) = (0, Vec::new());
            while !told.load(Ordering::Relaxed) {
                for pid in all() {
                    let arguments = fs::read(format!("/proc/{pid}/cmdline"));
                    let place = format!("the arguments of {pid}");
                    search.look(&place, &arguments.unwrap_or_default(), &mut leaks);
                }
                rounds += 1;
                pause(Duration::from_millis(1));
            }
            (rounds, leaks)
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let (rounds, leaks) = self.thread.join().unwrap();
        assert!(rounds > 20, "the arguments were read {rounds} times only");
        leaks
    }
}

/// A server that refuses every connection and repeats the password in its refusal, as some do.
fn impostor(secret: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let message = format!("SFATAL\0VFATAL\0C28P01\0Mwrong password {secret}\0\0");
    let mut answer = vec![b'E'];
    answer.extend(u32::try_from(message.len() + 4).unwrap().to_be_bytes());
    answer.extend(message.as_bytes());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            // Its start-up message, which is short and comes in one piece.
            if let Ok(1..) = client.read(&mut [0; 1024]) {
                let _ = client.write_all(&answer);
            }
        }
    });
    port
}

struct Scene {
    home: Blackstart,
    cluster: Cluster,
    secrets: [String; 2],
    impostor: u16,
}

impl Scene {
    fn new(home: Blackstart) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = now.as_nanos() as u64 ^ u64::from(std::process::id());
        let mut chance = Chance::new(seed);
        let secrets = [secret(&mut chance), secret(&mut chance)];
        let home = home
            .with("CANARY", &secrets[0])
            .with("DB_PASSWORD", PASSWORD);
        Self {
            cluster: Cluster::start(),
            impostor: impostor(&secrets[0]),
            home,
            secrets,
        }
    }

    fn arguments(&self, procedure: &str) -> Vec<String> {
        let runbook = self.home.write("secrets.yaml", fixture("secrets.yaml"));
        let vault = self.home.write("vault", format!("{}\n", self.secrets[1]));
        let mut args = vec![runbook, "--trust".into(), "--go".into(), procedure.into()];
        for (name, value) in [
            ("vault", vault),
            ("db_port", self.cluster.port().to_string()),
            ("impostor_port", self.impostor.to_string()),
        ] {
            args.extend(["--set".into(), format!("{name}={value}")]);
        }
        args
    }

    /// A run whose one check fails because of what it sees.
    fn fails(&self, procedure: &str, id: &str) -> Run {
        let run = self.home.run(&self.arguments(procedure)).exits(1);
        let check = &attempts(&run.summary, id)[0]["checks"][0];
        assert_eq!(check["passed"], false, "{check:#}");
        assert!(check["seen"].as_str().is_some_and(|seen| !seen.is_empty()));
        run
    }

    /// Runs everything and says where any form of the secrets came to light.
    fn leaks(&self) -> Vec<String> {
        let (home, search) = (&self.home, Search::new(&self.secrets));
        let mut leaks = Vec::new();
        let sampler = Sampler::start(search.clone());

        let mut args = vec!["run".to_owned()];
        args.extend(self.arguments("print"));
        let printed = home.output(&args).exits(0);
        let incident = home.incident();
        let shown = home.show_json(&incident);
        for id in ["encoded", "copied", "fetch", "use"] {
            assert_eq!(step(&shown, id)["state"], "succeeded", "{shown:#}");
        }
        let log = home.log(&shown, &attempts(&shown, "encoded")[0]);
        assert_eq!(log.matches('<').count(), 18, "nine forms on two streams");
        assert!(
            log.len() > 15 * 65_536,
            "and again across 64 KiB: {}",
            log.len()
        );
        search.look("the output of run", printed.both().as_bytes(), &mut leaks);

        for (procedure, id) in [("seen", "look"), ("error", "connect")] {
            let run = self.fails(procedure, id);
            search.look(
                "the output of run --json",
                run.done.both().as_bytes(),
                &mut leaks,
            );
        }
        leaks.extend(sampler.end());

        // A note is an argument by its nature; from there on it is text like any other.
        let note = format!("it was {} all the time", self.secrets[0]);
        let open = home.incidents().into_iter().find(|id| *id != incident);
        let noted = home.output(&["note", &open.unwrap(), &note]).exits(0);
        search.look("the answer to note", noted.both().as_bytes(), &mut leaks);

        for incident in home.incidents() {
            for args in [
                vec!["show", &incident],
                vec!["show", &incident, "--json"],
                vec!["export", &incident, "--format", "markdown"],
                vec!["export", &incident, "--format", "json"],
                vec!["verify", &incident],
                vec!["list"],
                vec!["list", "--json"],
            ] {
                let said = home.output(&args).exits(0);
                search.look(&args.join(" "), said.both().as_bytes(), &mut leaks);
            }
        }
        for incident in home.incidents() {
            let drawn = crate::by_hand::looks_through(home, &incident, 120, 40);
            search.look("the cockpit", &drawn, &mut leaks);
        }
        assert!(home.state().is_dir());
        for folder in ["state", "home", "config"] {
            search.look_under(&home.root().join(folder), &mut leaks);
        }
        leaks
    }
}
