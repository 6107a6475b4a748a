//! The command of an attempt: its process group, its pipes or its terminal, and the stop ladder.

mod native;
mod terminal;

use terminal::{on_terminal, winsize};

use super::{
    attempt::{note_pids, say_ready},
    control::Control,
    progress::Progress,
    spec::{FromAttempt, SCRIPT, Spec, ToAttempt, Work},
};
use crate::{
    checks::Scope,
    domain::{
        event::CheckResult,
        redact::{Redactor, Stream},
    },
    logs::{LogWriter, StreamName},
    private::{self, Open},
};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    process::{Pid, Signal},
    termios::tcsetwinsize,
};
use std::{
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::{Child, Command},
    time::Instant,
};

/// How a command ended.
#[derive(Default)]
pub(super) struct Ended {
    /// As `waitpid` gave it; `None` where there was no command.
    pub status: Option<i32>,
    pub timed_out: bool,
    pub cancelled: bool,
    pub leaky: bool,
    pub not_started: Option<String>,
    /// What captures are cut from.
    pub stdout: Vec<u8>,
    /// The stderr of a step that fetches a secret: held back until the secret is known.
    pub held: Vec<u8>,
    pub progress: Option<CheckResult>,
}

impl Ended {
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    fn exit_status(&self) -> Option<std::process::ExitStatus> {
        self.status.map(std::process::ExitStatus::from_raw)
    }

    pub(super) fn success(&self) -> bool {
        self.exit_status().is_none_or(|s| s.success())
    }

    pub(super) fn exit_code(&self) -> Option<i32> {
        match (&self.not_started, self.exit_status()) {
            (Some(_), _) => None,
            (None, status) => status?.code(),
        }
    }

    pub(super) fn signal(&self) -> Option<i32> {
        self.exit_status()?.signal()
    }
}

/// How long the pipes may stay open after the command has ended.
const DRAIN: Duration = Duration::from_millis(200);
const PIPE: usize = 1 << 20;
const CHUNK: usize = 256 * 1024;
/// What is kept of stdout for captures.
const CAPTURED: usize = 1 << 20;

/// A stream of output: a pipe or the master of a terminal.
struct Output {
    fd: Option<AsyncFd<OwnedFd>>,
    name: StreamName,
    redacted: Stream,
    withheld: bool,
}

/// What a grandchild still holds open when the record is written.
pub(super) struct Leftover(Vec<Output>);

impl Leftover {
    pub(super) async fn drain_to_nowhere(self) {
        for mut output in self.0 {
            let mut buffer = vec![0; 16 * 1024];
            while output.read(&mut buffer).await > 0 {}
        }
    }
}

impl Output {
    fn new(
        fd: OwnedFd,
        name: StreamName,
        redactor: Arc<Redactor>,
        withheld: bool,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self {
            fd: Some(watched(fd)?),
            name,
            redacted: Stream::new(redactor),
            withheld,
        })
    }

    /// Reads what is there, waiting for it; 0 at the end of the stream.
    async fn read(&mut self, buffer: &mut [u8]) -> usize {
        let Some(fd) = &self.fd else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = fd.readable().await else {
                break;
            };
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *buffer)?)) {
                Ok(Ok(0)) => break,
                // A terminal whose other side is closed.
                Ok(Err(e)) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => break,
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => break,
                Ok(Ok(n)) => return n,
                Err(_would_block) => {}
            }
        }
        self.fd = None;
        0
    }

    /// What stands in the pipe now, without waiting.
    fn read_now(&mut self, buffer: &mut [u8]) -> usize {
        match &self.fd {
            Some(fd) => rustix::io::read(fd.get_ref(), buffer).unwrap_or(0),
            None => 0,
        }
    }

    fn is_open(&self) -> bool {
        self.fd.is_some()
    }
}

#[expect(
    unsafe_code,
    reason = "tokio asks for a promise that the descriptor stays what it is"
)]
fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` gives out the same open descriptor until it is dropped.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}

struct Started {
    child: Child,
    outputs: Vec<Output>,
    terminal: Option<OwnedFd>,
}

/// Runs the command to its end. The second value is what must be drained after the record is written.
pub(super) async fn run(
    spec: &Spec,
    scope: &Scope,
    log: &mut LogWriter,
    control: &mut Control,
    redactor: Arc<Redactor>,
    ready: OwnedFd,
) -> (Ended, Option<Leftover>) {
    let started = match start(spec, scope, &redactor) {
        Ok(started) => started,
        Err(why) => {
            note_pids(None);
            say_ready(ready);
            log.append(StreamName::Err, format!("{why}\n").as_bytes());
            let ended = Ended {
                not_started: Some(why),
                ..Ended::default()
            };
            return (ended, None);
        }
    };
    note_pids(started.child.id());
    say_ready(ready);
    let mut run = Run {
        spec,
        log,
        redactor,
        ended: Ended::default(),
        ladder: None,
        typed: Vec::new(),
        learned: Vec::new(),
        scratch: Vec::with_capacity(CHUNK),
        keeps: spec
            .capture
            .iter()
            .any(|(_, how, _)| !matches!(how, crate::domain::runbook::Capture::Seen)),
        started,
    };
    run.finish(control).await;
    let outputs = std::mem::take(&mut run.started.outputs);
    let leaky = outputs.iter().any(Output::is_open);
    run.ended.leaky = leaky;
    (run.ended, leaky.then(|| Leftover(outputs)))
}

struct Run<'a> {
    spec: &'a Spec,
    log: &'a mut LogWriter,
    redactor: Arc<Redactor>,
    ended: Ended,
    /// The next rung and when it is due.
    ladder: Option<(Signal, Instant)>,
    /// What was typed since the last line break: never recorded, not even as an echo.
    typed: Vec<u8>,
    learned: Vec<String>,
    scratch: Vec<u8>,
    keeps: bool,
    started: Started,
}

impl Run<'_> {
    async fn finish(&mut self, control: &mut Control) {
        let begun = Instant::now();
        let mut timeout = self.spec.timeout.map(|t| begun + t);
        let mut over: Option<Instant> = None;
        let mut buffers = [vec![0; CHUNK], vec![0; CHUNK]];
        let (progress, mut seen) = Progress::begin(self.spec, self.redactor.clone());
        loop {
            let open = self.started.outputs.iter().any(Output::is_open);
            if over.is_some() && !open {
                break;
            }
            let (first, second) = self.started.outputs.split_at_mut(1);
            let [buffer_a, buffer_b] = &mut buffers;
            let second_read = async {
                match second.first_mut() {
                    Some(output) => output.read(buffer_b).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                n = first[0].read(buffer_a), if first[0].is_open() => {
                    self.take(0, &buffers[0][..n]);
                }
                n = second_read => self.take(1, &buffers[1][..n]),
                status = self.started.child.wait(), if over.is_none() => {
                    self.ended.status = status.ok().map(ExitStatusExt::into_raw);
                    over = Some(Instant::now() + DRAIN);
                    self.ladder = None;
                    timeout = None;
                }
                () = sleep_until(over) => {
                    self.last_drops(&mut buffers[0]);
                    break;
                }
                () = sleep_until(timeout) => {
                    timeout = None;
                    self.ended.timed_out = true;
                    self.stop();
                }
                () = sleep_until(self.ladder.map(|(_, at)| at)) => self.next_rung(),
                wish = control.wish() => self.wish(wish),
                Some(result) = seen.recv() => {
                    control.deliver([FromAttempt::Progress(result.clone())].into_iter()).await;
                    self.ended.progress = Some(result);
                }
            }
        }
        drop(progress);
        for i in 0..self.started.outputs.len() {
            let mut shown = std::mem::take(&mut self.scratch);
            shown.clear();
            let output = &mut self.started.outputs[i];
            output.redacted.finish(&mut shown);
            let name = output.name;
            self.log.append(name, &shown);
            self.keep(i, &shown);
            self.scratch = shown;
        }
    }

    /// Output came: masked, appended, and kept where something is to be captured.
    fn take(&mut self, i: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let output = &mut self.started.outputs[i];
        if output.withheld {
            let kept = match output.name {
                StreamName::Out => &mut self.ended.stdout,
                StreamName::Err => &mut self.ended.held,
            };
            kept.extend_from_slice(bytes);
            let over = kept.len().saturating_sub(CAPTURED);
            kept.drain(..over);
            return;
        }
        let mut shown = std::mem::take(&mut self.scratch);
        shown.clear();
        output.redacted.push(bytes, &mut shown);
        let name = output.name;
        self.log.append(name, &shown);
        self.keep(i, &shown);
        self.scratch = shown;
    }

    fn keep(&mut self, i: usize, shown: &[u8]) {
        if self.keeps && self.started.outputs[i].name == StreamName::Out {
            self.ended.stdout.extend_from_slice(shown);
            let over = self.ended.stdout.len().saturating_sub(2 * CAPTURED);
            self.ended.stdout.drain(..over);
        }
    }

    /// The command has ended and somebody holds its pipes: what stands in them is still its own.
    fn last_drops(&mut self, buffer: &mut [u8]) {
        for i in 0..self.started.outputs.len() {
            let mut left = PIPE;
            loop {
                let n = self.started.outputs[i].read_now(buffer);
                if n == 0 || left == 0 {
                    break;
                }
                left = left.saturating_sub(n);
                self.take(i, &buffer[..n]);
            }
        }
    }

    fn wish(&mut self, wish: ToAttempt) {
        match wish {
            ToAttempt::Stop => {
                self.ended.cancelled = true;
                self.stop();
            }
            ToAttempt::Input(bytes) => self.input(&bytes),
            ToAttempt::Resize(columns, rows) => {
                if let Some(terminal) = &self.started.terminal {
                    let _ = tcsetwinsize(terminal, winsize((columns, rows)));
                }
            }
        }
    }

    /// Typed bytes go to the terminal; whole lines of them are masked wherever they come back.
    fn input(&mut self, bytes: &[u8]) {
        let Some(terminal) = &self.started.terminal else {
            return;
        };
        for byte in bytes {
            if matches!(byte, b'\r' | b'\n') {
                let line = String::from_utf8_lossy(&self.typed).into_owned();
                self.typed.clear();
                if line.chars().count() >= crate::domain::runbook::variable::SHORTEST_SECRET {
                    self.learned.push(line);
                }
            } else {
                self.typed.push(*byte);
            }
        }
        if !self.spec.no_redact && !self.learned.is_empty() {
            let known = self
                .spec
                .masked
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()));
            let typed = self.learned.iter().map(|line| ("typed", line.as_str()));
            let redactor = Arc::new(Redactor::new(known.chain(typed)));
            for output in &mut self.started.outputs {
                output.redacted.learn(redactor.clone());
            }
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::write(terminal, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
    }

    /// The ladder: INT, then TERM, then KILL, each to the whole process group.
    fn stop(&mut self) {
        if self.ladder.is_none() {
            self.signal(Signal::INT);
            self.ladder = Some((Signal::TERM, Instant::now() + self.spec.stop.int));
        }
    }

    fn next_rung(&mut self) {
        let Some((signal, _)) = self.ladder else {
            return;
        };
        self.signal(signal);
        self.ladder =
            (signal == Signal::TERM).then(|| (Signal::KILL, Instant::now() + self.spec.stop.term));
    }

    /// The child is not reaped before its end was seen, so its number is still its own.
    fn signal(&self, signal: Signal) {
        let pid = self
            .started
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn start(spec: &Spec, scope: &Scope, redactor: &Arc<Redactor>) -> Result<Started, String> {
    let (text, shell, tty, size) = match &spec.work {
        Work::Script {
            text,
            shell,
            tty,
            size,
        } => (text, shell, tty, size),
        Work::Native(words) => return native::start(spec, words, redactor),
        Work::Check(_) | Work::Nothing => return Err("there is nothing to run".to_owned()),
    };
    let written = private::open(Path::new(SCRIPT), Open::Truncate)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|e| format!("cannot write the script: {e}"))?;
    let file = std::env::current_dir()
        .map(|dir| dir.join(SCRIPT))
        .map_err(|e| format!("cannot find the script: {e}"))?;
    let (program, arguments) = shell.split_first().ok_or("`shell:` names no program")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(&file)
        .current_dir(&spec.workdir)
        .envs(spec.env.iter().map(|(k, v)| (k, v)))
        .kill_on_drop(false);
    // A script's own `env:` may still say otherwise.
    let kubeconfig = match spec.env.iter().any(|(name, _)| name == "KUBECONFIG") {
        true => None,
        false => scope.kubeconfig().map_err(|turned| turned.to_string())?,
    };
    if let Some(private) = &kubeconfig {
        private.give(&mut command);
    }
    for (system, file) in &spec.kubeconfigs_out {
        let name = match spec.kubeconfigs_out.len() {
            1 => "BLACKSTART_KUBECONFIG_OUT".to_owned(),
            _ => format!(
                "BLACKSTART_KUBECONFIG_OUT_{}",
                system.to_ascii_uppercase().replace('-', "_")
            ),
        };
        command.env(name, spec.dir.join(file));
    }
    let withheld = spec.capture.iter().any(|(_, _, secret)| *secret);
    let begun = if *tty {
        on_terminal(&mut command, *size, redactor)
    } else {
        on_pipes(&mut command, Stdio::null(), withheld, redactor)
    };
    begun.map_err(|e| {
        let what = match e.kind() {
            io::ErrorKind::NotFound if !spec.workdir.is_dir() => {
                format!("the folder {} is not there", spec.workdir.display())
            }
            io::ErrorKind::NotFound => format!("`{program}` is not installed here"),
            _ => e.to_string(),
        };
        format!("cannot start {program}: {what}")
    })
}

fn on_pipes(
    command: &mut Command,
    stdin: Stdio,
    withheld: bool,
    redactor: &Arc<Redactor>,
) -> io::Result<Started> {
    let pipe = || -> io::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // A larger pipe means fewer wake-ups; without the right to it the default will do.
        let _ = rustix::pipe::fcntl_setpipe_size(&read, PIPE);
        Ok((read, write))
    };
    let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
    command
        .stdin(stdin)
        .stdout(Stdio::from(out_end))
        .stderr(Stdio::from(err_end))
        .process_group(0);
    let child = command.spawn()?;
    // The command holds its own copies of the ends; ours must go, or there is never an end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Started {
        child,
        outputs: vec![
            Output::new(out, StreamName::Out, redactor.clone(), withheld)?,
            Output::new(err, StreamName::Err, redactor.clone(), withheld)?,
        ],
        terminal: None,
    })
}
