//! What the README promises of speed, measured against the tools beside it, in one run:
//! `make bench`. Every figure is printed; nothing here fails because a machine is slow.
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on should stop"
)]

use blackstart::{
    domain::{
        event::{Entry, Event},
        redact::Redactor,
    },
    journal::{Disk, Journal},
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

const BIN: &str = env!("CARGO_BIN_EXE_blackstart");

type Bench = (&'static str, fn(&Path));

fn main() {
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let dir = tempfile::tempdir().unwrap();
    let benches: [Bench; 6] = [
        ("overhead", overhead),
        ("reopening", reopening),
        ("throughput", throughput),
        ("first-frame", first_frame),
        ("keys", keys),
        ("explain", explain),
    ];
    for (name, bench) in benches {
        if only.as_deref().is_none_or(|o| name.contains(o)) {
            let own = dir.path().join(name);
            std::fs::create_dir(&own).unwrap();
            bench(&own);
        }
    }
}

/// A log of 2 GiB against all rows of the failure library, beside what `cat` takes to read it.
fn explain(dir: &Path) {
    const SIZE: u64 = 2 << 30;
    let log = dir.join("large.log");
    let mut block = String::new();
    for i in 0..20_000 {
        block.push_str(&format!(
            "2026-11-28 10:{:02}:{:02}.123 P00   INFO: restore file /var/lib/postgresql/15/main/base/16385/{i} (16MB, {}%) checksum {:040x}\n\
             192.0.2.{} - - [28/Nov/2026:10:00:00 +0000] \"GET /v1/audit/events?page={i} HTTP/1.1\" 200 {} \"-\" \"curl\"\n",
            i / 60 % 60, i % 60, i % 100, i * 7919, i % 250, i * 7
        ));
    }
    let mut file = std::fs::File::create(&log).unwrap();
    let mut written = 0;
    while written < SIZE {
        file.write_all(block.as_bytes()).unwrap();
        written += block.len() as u64;
    }
    file.write_all(b"FATAL:  password authentication failed for user \"app\"\n")
        .unwrap();
    drop(file);
    let mut read = Command::new("cat");
    let start = Instant::now();
    read.arg(&log).stdout(Stdio::null()).status().unwrap();
    let plain = ms(start);
    let start = Instant::now();
    let child = Command::new(BIN)
        .args(["explain", "--json"])
        .arg(&log)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watched = std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let peak = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let Some(peak) = peak else { break };
            let kib = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0u64);
            most = most.max(kib);
            std::thread::sleep(Duration::from_millis(20));
        }
        most
    });
    let found = child.wait_with_output().unwrap();
    let took = ms(start);
    let most = watched.join().unwrap();
    let found = String::from_utf8_lossy(&found.stdout).contains("password");
    println!(
        "explain, 2 GiB: {:.0} MB/s (goal 200), at most {} MiB, found: {found}; cat takes {:.2} of its time",
        written as f64 / 1e6 / (took / 1000.0),
        most / 1024,
        plain / took
    );
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn runbook(dir: &Path, head: &str, steps: &str) -> PathBuf {
    let file = dir.join("bench.yaml");
    let text = format!(
        "blackstart: 1\nid: bench\ntitle: Bench\n{head}procedures:\n  - id: p\n    steps:\n{steps}\
         recovered:\n  when: [ {{ file: /, exists: true }} ]\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn run(dir: &Path, runbook: &Path, env: &[(String, String)]) -> f64 {
    let begun = Instant::now();
    let status = Command::new(BIN)
        .arg("run")
        .arg(runbook)
        .args(["--go", "p", "--trust", "--json"])
        .env("BLACKSTART_STATE_DIR", dir.join("state"))
        .envs(env.iter().cloned())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    ms(begun)
}

/// A step's overhead over plain `bash -c true`.
fn overhead(dir: &Path) {
    let steps: String = (0..100)
        .map(|i| format!("      - {{ id: s{i}, title: S, run: 'true' }}\n"))
        .collect();
    let many = runbook(dir, "", &steps);
    let empty = dir.join("one.yaml");
    let text = std::fs::read_to_string(&many).unwrap();
    let first = text.find("      - { id: s1,").unwrap();
    let last = text.find("recovered:").unwrap();
    std::fs::write(&empty, format!("{}{}", &text[..first], &text[last..])).unwrap();
    let mut pairs = Vec::new();
    for _ in 0..5 {
        let hundred = run(dir, &many, &[]) - run(dir, &empty, &[]);
        let begun = Instant::now();
        for _ in 0..99 {
            Command::new("bash").args(["-c", "true"]).status().unwrap();
        }
        pairs.push((hundred / 99.0, ms(begun) / 99.0));
    }
    let step = median(pairs.iter().map(|p| p.0).collect());
    let bash = median(pairs.iter().map(|p| p.1).collect());
    println!(
        "step: {step:.2} ms, bash -c true: {bash:.2} ms, overhead {:.2} ms (goal 10)",
        step - bash
    );
}

/// Reopening an incident with 100,000 entries.
fn reopening(dir: &Path) {
    let one = runbook(dir, "", "      - { id: one, title: One, run: 'true' }\n");
    run(dir, &one, &[]);
    let incidents = dir.join("state/incidents");
    let incident = std::fs::read_dir(&incidents)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let path = incident.join("journal.jsonl");
    let before = std::fs::read(&path).unwrap();
    let entries = blackstart::journal::read(&before).unwrap().entries;
    let mut bytes = Vec::new();
    {
        let shared = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let (mut journal, ..) = Journal::open(Shared(shared.clone())).unwrap();
        let redactor = Redactor::none();
        let last = entries.last().unwrap().clone();
        for entry in &entries {
            journal.append(&redactor.seal(entry)).unwrap();
        }
        while journal.next_seq() <= 100_000 {
            let entry = Entry {
                seq: journal.next_seq(),
                event: Event::NoteAdded {
                    text: "a note of the length that people write in the middle of the night"
                        .into(),
                },
                ..last.clone()
            };
            journal.append(&redactor.seal(&entry)).unwrap();
        }
        bytes.append(&mut shared.borrow_mut());
    }
    std::fs::write(&path, &bytes).unwrap();
    let times = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let output = Command::new(BIN)
                .args(["resume", "--headless"])
                .arg(incident.file_name().unwrap())
                .env("BLACKSTART_STATE_DIR", dir.join("state"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            ms(begun)
        })
        .collect();
    println!(
        "reopening 100,000 entries ({} MB): {:.0} ms (goal 1000)",
        bytes.len() / 1_000_000,
        median(times)
    );
}

/// A disk that is memory: only to make a long journal quickly.
struct Shared(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

impl Disk for Shared {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.borrow().clone())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn keep_aside(&mut self, _: &[u8]) -> io::Result<String> {
        Ok(String::new())
    }
    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn start_over(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// `cat` of a 78 MB log, 55 times, 8 secrets, against the same into a file.
fn throughput(dir: &Path) {
    let times: u32 = std::env::var("BENCH_CATS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(55);
    let lines = dir.join("lines.log");
    let mut text = String::new();
    let words = [
        "restore",
        "checkpoint",
        "segment",
        "tenant",
        "timeout",
        "INFO",
        "ERROR",
    ];
    let mut i = 0usize;
    while text.len() < 78_000_000 {
        let w = |k: usize| words[(i * 7 + k * 3 + i / 5) % words.len()];
        text.push_str(&format!(
            "2026-03-10 14:30:{:02}.{:03} UTC [{i}] {}: {} {} {} {}\n",
            i % 60,
            i % 1000,
            w(0),
            w(1),
            w(2),
            w(3),
            w(4)
        ));
        i += 1;
    }
    std::fs::write(&lines, &text).unwrap();
    let secrets: String = (1..=8)
        .map(|i| format!("  s{i}: {{ type: secret, env: BENCH_S{i} }}\n"))
        .collect();
    let cats = format!("for i in $(seq {times}); do cat {}; done", lines.display());
    let step = format!("      - {{ id: flood, title: Flood, run: '{cats}' }}\n");
    let flood = runbook(dir, &format!("variables:\n{secrets}"), &step);
    let env: Vec<(String, String)> = (1..=8)
        .map(|i| {
            (
                format!("BENCH_S{i}"),
                format!("a-secret-of-some-length-{i}-{}", i * 7919),
            )
        })
        .collect();
    let mut ratios = Vec::new();
    let mut most = 0;
    for _ in 0..5 {
        let begun = Instant::now();
        let plain = dir.join("plain.log");
        let status = Command::new("bash")
            .args(["-c", &format!("{{ {cats}; }} > {}", plain.display())])
            .status()
            .unwrap();
        assert!(status.success());
        let plain_ms = ms(begun);
        std::fs::remove_file(&plain).unwrap();
        let watcher = std::thread::spawn(supervisor_memory);
        let step_ms = run(dir, &flood, &env);
        most = most.max(watcher.join().unwrap());
        ratios.push(plain_ms / step_ms);
        println!("  > file {plain_ms:.0} ms, through a step {step_ms:.0} ms");
        std::fs::remove_dir_all(dir.join("state")).unwrap();
    }
    let gib = f64::from(times) * text.len() as f64 / f64::from(1 << 30);
    println!(
        "{gib:.1} GiB through a step: {:.2} of `> file` (goal 0.7), supervisor RssAnon at most {} KiB (goal 8192)",
        median(ratios),
        most
    );
}

/// The largest RssAnon, in KiB, that a supervisor had while one could be found.
fn supervisor_memory() -> u64 {
    let mut most = 0;
    let (_keep, pause) = channel::<()>();
    for _ in 0..40 {
        let found = std::fs::read_dir("/proc").unwrap().flatten().find_map(|e| {
            let line = std::fs::read(e.path().join("cmdline")).ok()?;
            line.split(|b| *b == 0)
                .nth(1)
                .filter(|a| *a == b"__attempt")?;
            std::fs::read_to_string(e.path().join("status")).ok()
        });
        let anon = found.and_then(|s| {
            let line = s.lines().find(|l| l.starts_with("RssAnon:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse().ok()
        });
        most = most.max(anon.unwrap_or(0));
        let _ = pause.recv_timeout(Duration::from_millis(50));
    }
    most
}

/// A program in a terminal of 120 by 40.
struct Terminal {
    writer: Box<dyn Write + Send>,
    chunks: Receiver<(Instant, Vec<u8>)>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    begun: Instant,
}

impl Terminal {
    fn spawn(program: &str, args: &[&str], state: &Path) -> Option<Self> {
        let size = PtySize {
            rows: 40,
            cols: 120,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env("BLACKSTART_STATE_DIR", state);
        command.env("TERM", "xterm-256color");
        let begun = Instant::now();
        let child = pair.slave.spawn_command(command).ok()?;
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let (tell, chunks) = channel();
        std::thread::spawn(move || {
            let _master = pair.master;
            let mut buffer = [0; 65536];
            while let Ok(n) = reader.read(&mut buffer) {
                if n == 0 || tell.send((Instant::now(), buffer[..n].to_vec())).is_err() {
                    return;
                }
            }
        });
        Some(Self {
            writer,
            chunks,
            child,
            begun,
        })
    }

    /// When the last byte came before `quiet` passed without one.
    fn settled(&self, quiet: Duration) -> (Instant, usize) {
        let (mut last, mut bytes) = (self.begun, 0);
        loop {
            match self.chunks.recv_timeout(quiet) {
                Ok((at, chunk)) => {
                    last = at;
                    bytes += chunk.len();
                }
                Err(RecvTimeoutError::Timeout) if bytes > 0 => return (last, bytes),
                Err(RecvTimeoutError::Timeout)
                    if self.begun.elapsed() > Duration::from_secs(10) =>
                {
                    return (last, bytes);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return (last, bytes),
            }
        }
    }

    /// A key, and the time until the first byte of the answer.
    fn key(&mut self, key: &str) -> Option<f64> {
        while self.chunks.try_recv().is_ok() {}
        let begun = Instant::now();
        self.writer.write_all(key.as_bytes()).unwrap();
        self.writer.flush().unwrap();
        let (at, _) = self.chunks.recv_timeout(Duration::from_secs(2)).ok()?;
        Some((at - begun).as_secs_f64() * 1000.0)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From the start to the last byte of the first settled frame, with 100 incidents on disk.
fn first_frame(dir: &Path) {
    let one = runbook(dir, "", "      - { id: one, title: One, run: 'true' }\n");
    for _ in 0..100 {
        run(dir, &one, &[]);
    }
    let state = dir.join("state");
    let measure = |program: &str, args: &[&str]| {
        let all: Vec<f64> = (0..9)
            .filter_map(|_| {
                let terminal = Terminal::spawn(program, args, &state)?;
                let (at, bytes) = terminal.settled(Duration::from_millis(150));
                (bytes > 0).then(|| (at - terminal.begun).as_secs_f64() * 1000.0)
            })
            .collect();
        (!all.is_empty()).then(|| median(all))
    };
    let ours = measure(BIN, &[]).unwrap();
    println!("first settled frame with 100 incidents: {ours:.1} ms (goal 20)");
    for (program, args) in [
        ("htop", &[][..]),
        ("tig", &[][..]),
        ("less", &["Cargo.toml"][..]),
    ] {
        match measure(program, args) {
            Some(theirs) => println!("  {program}: {theirs:.1} ms"),
            None => println!("  {program}: not installed"),
        }
    }
}

/// A key press while a step floods.
fn keys(dir: &Path) {
    let steps = "      - { id: flood, title: Flood, run: 'yes 2026-03-10 a line of a log that never ends' }\n      \
                 - { id: other, title: Other, run: 'true', after: [] }\n";
    let flood = runbook(dir, "", steps);
    let state = dir.join("state");
    let mut running = Command::new(BIN)
        .arg("run")
        .arg(&flood)
        .args(["--go", "p", "--trust"])
        .env("BLACKSTART_STATE_DIR", &state)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let incidents = state.join("incidents");
    let (_keep, pause) = channel::<()>();
    let begun = Instant::now();
    while !incidents.exists()
        || std::fs::read_dir(&incidents)
            .unwrap()
            .flatten()
            .all(|e| !e.path().join("steps/01-flood-a1/output.log").exists())
    {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the flood did not begin"
        );
        let _ = pause.recv_timeout(Duration::from_millis(5));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    if let Some(mut terminal) = Terminal::spawn(BIN, &["resume"], &state) {
        terminal.settled(Duration::from_millis(20));
        let mut all: Vec<f64> = Vec::new();
        let mut missed = 0;
        for i in 0..200 {
            match terminal.key(if i % 2 == 0 { "j" } else { "k" }) {
                Some(ms) => all.push(ms),
                None => missed += 1,
            }
            let _ = pause.recv_timeout(Duration::from_millis(23));
        }
        all.sort_by(f64::total_cmp);
        if all.is_empty() {
            println!("key to answer under flood: no answer");
        } else {
            println!(
                "key to first byte under flood: median {:.1} ms (goal 3), p99 {:.1} ms (goal 33), {missed} without answer",
                all[all.len() / 2],
                all[all.len() * 99 / 100]
            );
        }
    }
    for e in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(e.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(b"yes\0") {
            let _ = Command::new("kill").arg(e.file_name()).status();
        }
    }
}
