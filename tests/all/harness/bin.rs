//! The real binary, with a state, a configuration and a home of its own.

use super::{
    PATIENCE, eventually, private_dir,
    process::{end_all, send, supervisors, wait_within},
    pty::Terminal,
    search_path,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, DirBuilder},
    io::Read,
    os::unix::{
        fs::DirBuilderExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_blackstart");

/// One user's blackstart. What it started and did not end dies with it.
pub(crate) struct Blackstart {
    root: TempDir,
    environment: Vec<(String, OsString)>,
}

impl Blackstart {
    pub(crate) fn new() -> Self {
        let root = private_dir();
        for folder in ["home", "files", "config"] {
            let made = DirBuilder::new()
                .mode(0o700)
                .create(root.path().join(folder));
            made.unwrap();
        }
        fs::write(root.path().join("config/config.toml"), "").unwrap();
        Self {
            root,
            environment: Vec::new(),
        }
    }

    /// The same with one more environment variable.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// A place for a file of the test.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.root.path().join("files").join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Writes a file of the test and returns its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The whole environment that the binary gets: nothing of the machine's shines through.
    pub(crate) fn environment(&self) -> Vec<(String, OsString)> {
        let root = self.root.path();
        let mut all: Vec<(String, OsString)> = vec![
            ("PATH".into(), search_path()),
            ("HOME".into(), root.join("home").into()),
            ("USER".into(), "tester".into()),
            ("LOGNAME".into(), "tester".into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TERM".into(), "xterm-256color".into()),
            ("BLACKSTART_STATE_DIR".into(), self.state().into()),
            (
                "BLACKSTART_CONFIG".into(),
                root.join("config/config.toml").into(),
            ),
        ];
        all.extend(self.environment.iter().cloned());
        all
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .env_clear()
            .envs(self.environment())
            .current_dir(self.root.path().join("files"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn output<S: AsRef<OsStr>>(&self, args: &[S]) -> Finished {
        self.spawn(args).finished(PATIENCE * 2)
    }

    /// Starts it in the background.
    pub(crate) fn spawn<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        Running::start(self.command(args))
    }

    /// Starts it in a terminal.
    pub(crate) fn terminal<S: AsRef<OsStr>>(&self, args: &[S], cols: u16, rows: u16) -> Terminal {
        let mut all: Vec<OsString> = vec![BINARY.into()];
        all.extend(args.iter().map(|a| a.as_ref().to_owned()));
        let folder = self.root.path().join("files");
        Terminal::start(all, self.environment(), &folder, cols, rows)
    }

    /// `blackstart run … --json`.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        self.json_lines("run", args)
    }

    /// `blackstart resume … --headless --json`.
    #[track_caller]
    pub(crate) fn resume<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        let mut all: Vec<&OsStr> = args.iter().map(<S as AsRef<OsStr>>::as_ref).collect();
        all.push("--headless".as_ref());
        self.json_lines("resume", &all)
    }

    /// `blackstart drill … --headless --json`.
    #[track_caller]
    pub(crate) fn drill<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        let mut all: Vec<&OsStr> = args.iter().map(<S as AsRef<OsStr>>::as_ref).collect();
        all.push("--headless".as_ref());
        self.json_lines("drill", &all)
    }

    #[track_caller]
    fn json_lines<S: AsRef<OsStr>>(&self, command: &str, args: &[S]) -> Run {
        let mut all: Vec<&OsStr> = vec![command.as_ref()];
        all.extend(args.iter().map(<S as AsRef<OsStr>>::as_ref));
        all.push("--json".as_ref());
        Run::of(self.output(&all))
    }

    #[track_caller]
    pub(crate) fn show_json(&self, incident: &str) -> Value {
        let done = self.output(&["show", incident, "--json"]).exits(0);
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}\n{done}"))
    }

    #[track_caller]
    pub(crate) fn list_json(&self) -> Vec<Value> {
        let done = self.output(&["list", "--json"]).exits(0);
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}\n{done}"))
    }

    /// The incidents that have a folder.
    pub(crate) fn incidents(&self) -> Vec<String> {
        let folders = fs::read_dir(self.state().join("incidents"));
        let mut found: Vec<String> = folders
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join("journal.jsonl").is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        found.sort();
        found
    }

    /// The one incident there is, as soon as it is there.
    #[track_caller]
    pub(crate) fn incident(&self) -> String {
        let found = eventually(PATIENCE, "an incident that was opened", || {
            let found = self.incidents();
            (!found.is_empty()).then_some(found)
        });
        assert_eq!(found.len(), 1, "one incident: {found:?}");
        found.into_iter().next().unwrap()
    }

    pub(crate) fn incident_dir(&self, incident: &str) -> PathBuf {
        self.state().join("incidents").join(incident)
    }

    pub(crate) fn journal_path(&self, incident: &str) -> PathBuf {
        self.incident_dir(incident).join("journal.jsonl")
    }

    /// The entries that are whole.
    pub(crate) fn journal(&self, incident: &str) -> Vec<Value> {
        let text = fs::read(self.journal_path(incident)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits until the step's attempt is written down, and returns the incident.
    #[track_caller]
    pub(crate) fn attempt_started(&self, step: &str) -> String {
        let incident = self.incident();
        eventually(PATIENCE, format_args!("an attempt of `{step}`"), || {
            let journal = self.journal(&incident);
            let started = of_type(&journal, "attempt-started");
            started.iter().any(|e| names(e, step)).then_some(())
        });
        incident
    }

    /// The supervisor of the attempt that runs, as soon as it is there.
    #[track_caller]
    pub(crate) fn supervisor(&self) -> u32 {
        eventually(PATIENCE, "a supervisor", || {
            supervisors(&self.state()).first().copied()
        })
    }

    /// The output of an attempt, by the path that `show --json` gives.
    #[track_caller]
    pub(crate) fn log(&self, shown: &Value, attempt: &Value) -> String {
        let folder = Path::new(shown["dir"].as_str().expect("`dir`"));
        let path = folder.join(attempt["log"].as_str().expect("`log`"));
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// An export of a format, which must succeed.
    #[track_caller]
    pub(crate) fn export(&self, incident: &str, format: &str) -> String {
        let args = ["export", incident, "--format", format];
        self.output(&args).exits(0).stdout
    }
}

impl Drop for Blackstart {
    fn drop(&mut self) {
        end_all(self.root.path());
    }
}

/// The entries of one type of event.
pub(crate) fn of_type<'a>(journal: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let of_kind = |e: &&Value| e["event"]["type"] == kind;
    journal.iter().filter(of_kind).collect()
}

/// Does the entry name the step, by its id or by a longer name?
pub(crate) fn names(entry: &Value, step: &str) -> bool {
    let name = entry["event"]["step"].as_str().unwrap_or_default();
    name == step || name.ends_with(&format!("/{step}"))
}

/// A step of `show --json`.
#[track_caller]
pub(crate) fn step<'a>(shown: &'a Value, id: &str) -> &'a Value {
    let steps = shown["steps"].as_array().expect("`steps`");
    let found = steps.iter().find(|s| s["id"] == id);
    found.unwrap_or_else(|| panic!("no step `{id}` in {shown:#}"))
}

/// The attempts of a step of `show --json`.
#[track_caller]
pub(crate) fn attempts<'a>(shown: &'a Value, id: &str) -> &'a [Value] {
    let all = step(shown, id)["attempts"].as_array();
    all.unwrap_or_else(|| panic!("`attempts` of `{id}` in {shown:#}"))
}

/// How an attempt ended: its outcome and its exit code.
#[track_caller]
pub(crate) fn ended(attempt: &Value) -> (&str, i64) {
    let outcome = attempt["outcome"].as_str();
    let code = attempt["exit_code"].as_i64();
    let (Some(outcome), Some(code)) = (outcome, code) else {
        panic!("an attempt that ended by itself: {attempt:#}")
    };
    (outcome, code)
}

/// A program that runs in the background, its output read as it comes.
pub(crate) struct Running {
    child: Child,
    out: Pipe,
    err: Pipe,
}

struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Pipe {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut chunk) {
                into.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let out = Pipe::read(child.stdout.take().unwrap());
        let err = Pipe::read(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Has it ended within the time?
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        wait_within(&mut self.child, time).is_some()
    }

    /// `kill -9`, whatever it is doing.
    #[track_caller]
    pub(crate) fn kill9(mut self) -> Finished {
        let _ = self.child.kill();
        self.end(PATIENCE)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finished(mut self, deadline: Duration) -> Finished {
        self.end(deadline)
    }

    #[track_caller]
    fn end(&mut self, deadline: Duration) -> Finished {
        let Some(status) = wait_within(&mut self.child, deadline) else {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let (out, err) = (self.out.text(), self.err.text());
            panic!("still running after {deadline:?}\nstdout:\n{out}\nstderr:\n{err}");
        };
        // A supervisor that kept the pipes of its starter would keep its user's terminal too.
        eventually(PATIENCE, "an output that nothing else holds open", || {
            (self.out.reader.is_finished() && self.err.reader.is_finished()).then_some(())
        });
        Finished {
            code: code_of(status),
            stdout: self.out.text(),
            stderr: self.err.text(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code_of(status: ExitStatus) -> i32 {
    let signal = || -status.signal().unwrap_or(0);
    status.code().unwrap_or_else(signal)
}

/// What a program left behind. A signal that ended it is a negative code.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "the exit code\n{self}");
        self
    }

    /// Both streams: what a person sees.
    pub(crate) fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Both streams hold what the expression describes.
    #[track_caller]
    pub(crate) fn says(self, expression: &str) -> Self {
        let regex = regex::Regex::new(expression).unwrap();
        assert!(
            regex.is_match(&self.both()),
            "it says /{expression}/\n{self}"
        );
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "exit {code}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

/// A run with `--json`: the entries that it printed, and the summary of its last line.
pub(crate) struct Run {
    pub(crate) done: Finished,
    pub(crate) journal: Vec<Value>,
    pub(crate) summary: Value,
}

impl Run {
    #[track_caller]
    fn of(done: Finished) -> Self {
        let mut journal: Vec<Value> = Vec::new();
        let mut summary = Value::Null;
        for line in done.stdout.lines() {
            assert!(summary.is_null(), "the summary is the last line\n{done}");
            let mut value: Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{done}"));
            match value.get_mut("summary") {
                Some(last) => summary = last.take(),
                None => journal.push(value),
            }
        }
        Self {
            done,
            journal,
            summary,
        }
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.done.code, code, "the exit code\n{}", self.done);
        self
    }

    /// The id of its incident.
    #[track_caller]
    pub(crate) fn incident(&self) -> String {
        let id = self.summary["id"].as_str();
        id.unwrap_or_else(|| panic!("a summary with an id\n{}", self.done))
            .to_owned()
    }
}
