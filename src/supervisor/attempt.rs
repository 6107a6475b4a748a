//! The supervisor's side: one attempt from its start to its record.
//!
//! Order of writes: locks ─► script ─► (command runs) ─► command.json ─► (verify) ─► exit.json.

use super::{
    capture,
    command::{self, Ended},
    control::Control,
    spec::{BALLAST, COMMAND, EXIT, Exit, FromAttempt, Pids, Spec, TREE_LOCK, Work},
};
use crate::{
    actions,
    checks::{self, Scope},
    clock,
    domain::{
        event::{CheckPhase, CheckResult, Ending, Outcome},
        redact::Redactor,
        runbook::variable,
        text::Clean,
    },
    logs::LogWriter,
    private::{self, Open},
    systems::kubernetes::kubeconfig,
    values,
};
use indexmap::IndexMap;
use rustix::fd::OwnedFd;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

/// The longest value that a script's environment should have to carry.
const LONGEST_CAPTURE: usize = 64 * 1024;

/// The hidden command `__attempt`: reads its spec from stdin, says `ready` on stdout, supervises.
pub fn main() -> ExitCode {
    // A hang-up of the terminal that started us is not ours. This fails only for a process that
    // already leads its group, which then is not ours to worry about either.
    let _ = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut bytes = Vec::new();
    if io::stdin().read_to_end(&mut bytes).is_err() {
        return ExitCode::from(2);
    }
    let Ok(spec) = serde_json::from_slice::<Spec>(&bytes) else {
        return ExitCode::from(2);
    };
    bytes.fill(0);
    drop(bytes);
    let Ok((ready, lock)) = detach() else {
        return ExitCode::from(2);
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return ExitCode::from(2);
    };
    match runtime.block_on(supervise(spec, ready, lock)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

/// Lets go of the terminal: stdin, stdout and stderr become /dev/null. What stood there is returned:
/// the pipe that waits for `ready`, and the attempt's lock, which is ours from the first moment.
fn detach() -> io::Result<(OwnedFd, OwnedFd)> {
    let ready = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let lock = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok((ready, lock))
}

/// Both locks, held as long as this process lives; `tree.lock` also by whoever inherits it.
struct Locks {
    _own: OwnedFd,
    _tree: File,
}

impl Locks {
    fn take(own: OwnedFd, dir: &Path) -> io::Result<Self> {
        let tree = private::open(&dir.join(TREE_LOCK), Open::Append)?;
        // Waits: somebody who looks holds it for a moment.
        tree.lock()?;
        rustix::io::fcntl_setfd(&tree, rustix::io::FdFlags::empty())?;
        Ok(Self {
            _own: own,
            _tree: tree,
        })
    }
}

async fn supervise(spec: Spec, ready: OwnedFd, lock: OwnedFd) -> io::Result<()> {
    let begun = Instant::now();
    let started_at = clock::now();
    std::env::set_current_dir(&spec.dir)?;
    let dir = Path::new(".");
    let _locks = Locks::take(lock, dir)?;
    let mut ballast = private::open(Path::new(BALLAST), Open::Truncate)?;
    // Room for the record when the disk is full; if there is none now, the record will have to try.
    let _ = ballast.write_all(&[0; 16 * 1024]);
    drop(ballast);
    let masked = spec.masked.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let redactor = Arc::new(if spec.no_redact {
        Redactor::none()
    } else {
        Redactor::new(masked)
    });
    let mut log = LogWriter::create(dir)?;
    let mut control = Control::listen()?;
    let mut attempt = Attempt {
        scope: Scope {
            systems: spec.systems.clone(),
            values: spec.values.clone(),
            workdir: spec.workdir.clone(),
            env: spec.check_env.clone(),
            // This process was started without them.
            hidden: Vec::new(),
            pins: spec.pins.clone(),
        },
        redactor,
        checks: Vec::new(),
        captured: IndexMap::new(),
        captured_secrets: Vec::new(),
        set: Vec::new(),
        reason: None,
    };
    let mut leftover = None;
    let ended = match &spec.work {
        Work::Script { .. } | Work::Native(_) => {
            let (ended, left) = command::run(
                &spec,
                &attempt.scope,
                &mut log,
                &mut control,
                attempt.redactor.clone(),
                ready,
            )
            .await;
            leftover = left;
            attempt.checks.extend(ended.progress.clone());
            ended
        }
        Work::Check(check) => {
            say_ready(ready);
            let scope = &attempt.scope;
            let mut tell = |seen: &str| {
                log.append(
                    crate::logs::StreamName::Out,
                    format!("saw {seen}; waiting\n").as_bytes(),
                );
            };
            let look = checks::run_telling(
                check,
                CheckPhase::Check,
                scope,
                &attempt.redactor,
                &mut tell,
            );
            let (result, ended) = interruptible(look, &mut control, spec.timeout).await;
            if let Some(result) = result {
                log.append(crate::logs::StreamName::Out, describe(&result).as_bytes());
                attempt.checks.push(result);
            }
            ended
        }
        Work::Nothing => {
            say_ready(ready);
            Ended::nothing()
        }
    };
    let (outcome, verified) = attempt
        .conclude(&spec, &ended, &mut control, &mut log)
        .await;
    if !attempt.captured_secrets.is_empty() {
        control.wait_for_a_cockpit().await;
    }
    control
        .deliver(
            attempt
                .captured_secrets
                .iter()
                .map(|(name, value)| FromAttempt::Secret {
                    name: name.clone(),
                    value: value.clone(),
                }),
        )
        .await;
    let exit = Exit {
        v: 1,
        wait_status: ended.status,
        ended_boot_ms: clock::boot_ms(),
        set: attempt.set,
        ending: Ending {
            outcome,
            exit_code: ended.exit_code(),
            signal: ended.signal(),
            verified,
            started_at: Some(started_at),
            ended_at: Some(clock::now()),
            elapsed_s: round(begun.elapsed()),
            checks: attempt.checks,
            captured: attempt.captured,
            captured_secrets: attempt
                .captured_secrets
                .iter()
                .map(|(n, _)| n.clone())
                .collect(),
            leaky: ended.leaky,
            lost_bytes: log.lost,
            reason: attempt
                .reason
                .map(|r| Clean::new(&attempt.redactor.text(&r))),
        },
    };
    record(&exit)?;
    control.close();
    if let Some(left) = leftover {
        // A daemon that still writes must not die of a closed pipe.
        left.drain_to_nowhere().await;
    }
    Ok(())
}

pub(super) fn say_ready(ready: OwnedFd) {
    // Whoever started us may be gone; that is no reason to stop.
    let _ = File::from(ready).write_all(b"ready\n");
}

fn round(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

/// The record, whatever the disk says: first with what room there is, then with the ballast's.
fn record(exit: &Exit) -> io::Result<()> {
    let bytes = serde_json::to_vec(exit).map_err(io::Error::other)?;
    let path = Path::new(EXIT);
    let first = private::replace(&Path::new(".").join(path), &bytes);
    let _ = std::fs::remove_file(BALLAST);
    if first.is_err() {
        private::replace(&Path::new(".").join(path), &bytes)?;
    }
    let _ = std::fs::remove_file(COMMAND);
    Ok(())
}

/// Runs a look that a stop or a deadline can end.
async fn interruptible<T>(
    look: impl Future<Output = T>,
    control: &mut Control,
    timeout: Option<Duration>,
) -> (Option<T>, Ended) {
    let mut ended = Ended::nothing();
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = look => (Some(result), ended),
        () = control.stopped() => {
            ended.cancelled = true;
            (None, ended)
        }
        () = deadline => {
            ended.timed_out = true;
            (None, ended)
        }
    }
}

fn describe(result: &CheckResult) -> String {
    format!("expected {}, saw {}\n", result.expected, result.seen)
}

struct Attempt {
    scope: Scope,
    redactor: Arc<Redactor>,
    checks: Vec<CheckResult>,
    captured: IndexMap<String, Clean>,
    captured_secrets: Vec<(String, String)>,
    set: Vec<(String, String)>,
    reason: Option<String>,
}

impl Attempt {
    /// The outcome: timed-out and cancelled first; then the exit status; then `verify`, which alone
    /// decides when the work goes on elsewhere.
    async fn conclude(
        &mut self,
        spec: &Spec,
        ended: &Ended,
        control: &mut Control,
        log: &mut LogWriter,
    ) -> (Outcome, bool) {
        if ended.timed_out || ended.cancelled || !ended.success() {
            // No secret was cut out; what stderr said is all there is to see.
            self.show_held(ended, log);
        }
        if ended.timed_out {
            let limit = spec.timeout.unwrap_or_default();
            self.reason = Some(format!(
                "stopped after its time limit of {}",
                humantime::format_duration(limit)
            ));
            return (Outcome::TimedOut, false);
        }
        if ended.cancelled {
            self.reason = Some("stopped by a person".to_owned());
            return (Outcome::Cancelled, false);
        }
        if let Some(why) = &ended.not_started {
            self.reason = Some(why.clone());
            return (Outcome::Failed, false);
        }
        if let Some(failed) = self
            .checks
            .iter()
            .find(|c| c.phase == CheckPhase::Check && !c.passed)
        {
            self.reason = Some(said(failed));
            return (Outcome::Failed, true);
        }
        if matches!(spec.work, Work::Native(_)) && Path::new(actions::UNKNOWN).exists() {
            self.reason = capture::last_error();
            return (Outcome::Unknown, false);
        }
        if !ended.success() && !spec.remote {
            let native = matches!(spec.work, Work::Native(_));
            let said = capture::last_error().filter(|_| native);
            self.reason = Some(match (ended.exit_code(), ended.signal()) {
                (Some(1), _) if said.is_some() => said.unwrap_or_default(),
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "ended without a status".to_owned(),
            });
            return (Outcome::Failed, false);
        }
        let captured = match capture::objects(spec, &self.scope).await {
            Ok(objects) => self.capture(spec, ended, &objects),
            Err(why) => Err(why),
        };
        self.show_held(ended, log);
        if let Err(why) = captured {
            self.reason = Some(why);
            return (Outcome::Failed, false);
        }
        if let Err(why) = self.take_effect(spec) {
            self.reason = Some(why);
            return (Outcome::Failed, false);
        }
        if spec.verify.is_empty() {
            if matches!(spec.work, Work::Script { .. }) {
                self.reason = Some("exit 0, not verified".to_owned());
            }
            return (Outcome::Succeeded, true);
        }
        self.verify(spec, ended, control, log).await
    }

    async fn verify(
        &mut self,
        spec: &Spec,
        ended: &Ended,
        control: &mut Control,
        log: &mut LogWriter,
    ) -> (Outcome, bool) {
        // Should we die now, this says that the command had ended and `verify` had not.
        let so_far = serde_json::to_vec(&ended.status).unwrap_or_default();
        let _ = private::replace_lazily(&Path::new(".").join(COMMAND), &so_far);
        let mut failed = None;
        for check in &spec.verify {
            let mut tell = |seen: &str| {
                let line = format!("not yet: {seen}\n");
                log.append(crate::logs::StreamName::Err, line.as_bytes());
            };
            let look = checks::run_telling(
                check,
                CheckPhase::Verify,
                &self.scope,
                &self.redactor,
                &mut tell,
            );
            let (result, interrupted) = interruptible(look, control, None).await;
            let Some(result) = result else {
                self.reason = Some("stopped by a person while it was verified".to_owned());
                debug_assert!(interrupted.cancelled);
                return (Outcome::Cancelled, false);
            };
            if !result.passed {
                failed.get_or_insert_with(|| said(&result));
            }
            let word = if result.passed {
                "verified"
            } else {
                "not verified"
            };
            let line = format!("{word}: {}: {}", result.what, describe(&result));
            log.append(crate::logs::StreamName::Err, line.as_bytes());
            self.checks.push(result);
        }
        match failed {
            Some(why) => {
                self.reason = Some(why);
                (Outcome::Failed, true)
            }
            None => match self.capture_seen(spec) {
                Ok(()) => (Outcome::Succeeded, true),
                Err(why) => {
                    self.reason = Some(why);
                    (Outcome::Failed, true)
                }
            },
        }
    }

    /// What `verify` saw, where that is to be captured.
    fn capture_seen(&mut self, spec: &Spec) -> Result<(), String> {
        for (name, how, _) in &spec.capture {
            if matches!(how, crate::domain::runbook::Capture::Seen)
                && !self.captured.contains_key(name)
                && !spec.fixed.contains(name)
            {
                let seen = self
                    .checks
                    .iter()
                    .rev()
                    .find(|c| c.phase == CheckPhase::Verify);
                let seen = seen.ok_or_else(|| format!("nothing was seen for `{name}`"))?;
                self.captured.insert(name.clone(), seen.seen.clone());
            }
        }
        Ok(())
    }

    /// Captures into values and secrets; from here on later texts may name them.
    fn capture(
        &mut self,
        spec: &Spec,
        ended: &Ended,
        objects: &HashMap<String, String>,
    ) -> Result<(), String> {
        for (name, how, secret) in &spec.capture {
            let seen = self
                .checks
                .iter()
                .rev()
                .find(|c| c.phase == CheckPhase::Check);
            let seen = seen.or_else(|| self.checks.last()).map(|c| c.seen.as_str());
            if matches!(how, crate::domain::runbook::Capture::Seen) && seen.is_none() {
                // What `verify` will see is captured after it has looked.
                continue;
            }
            let found = match objects.get(name) {
                Some(read) => read.clone(),
                None => capture::cut(how, &ended.stdout, seen)
                    .map_err(|why| format!("nothing to capture into `{name}`: {why}"))?,
            };
            if *secret {
                let value = capture::secret(&found)
                    .map_err(|why| format!("the secret `{name}` was not fetched: {why}"))?;
                capture::is_recorded(spec.recorded_secrets.get(name), &value)
                    .map_err(|why| format!("`{name}` was fetched and is refused: {why}"))?;
                self.scope
                    .values
                    .secrets
                    .insert(name.clone(), value.clone());
                self.learn(spec);
                self.captured_secrets.push((name.clone(), value));
            } else {
                let text = self.redactor.text(&found);
                // Colours and the like are how a tool prints a value, not part of it.
                let text = Clean::new(text.trim_end_matches(['\n', '\r']));
                if text.as_str().len() > LONGEST_CAPTURE {
                    return Err(format!(
                        "`{name}` would be longer than {LONGEST_CAPTURE} bytes"
                    ));
                }
                if spec.fixed.contains(name) {
                    // What a person or the environment gave goes before what a step finds.
                    continue;
                }
                self.scope
                    .values
                    .plain
                    .insert(name.clone(), text.to_string());
                let exported = variable::exports(name, variable::VarType::Text, text.as_str());
                self.scope.env.extend(exported);
                self.captured.insert(name.clone(), text);
            }
        }
        Ok(())
    }

    /// What a step that fetches a secret said on stderr: shown once the secret is known, and masked.
    fn show_held(&self, ended: &Ended, log: &mut LogWriter) {
        let mut shown = Vec::new();
        let mut stream = crate::domain::redact::Stream::new(self.redactor.clone());
        stream.push(&ended.held, &mut shown);
        stream.finish(&mut shown);
        log.append(crate::logs::StreamName::Err, &shown);
    }

    /// A secret that was fetched just now is masked from now on.
    fn learn(&mut self, spec: &Spec) {
        if spec.no_redact {
            return;
        }
        let fetched = &self.scope.values.secrets;
        let all = spec.masked.iter().chain(fetched.iter());
        self.redactor = Arc::new(Redactor::new(all.map(|(n, v)| (n.as_str(), v.as_str()))));
    }

    /// `set:` holds for `verify` already: what is verified is the new target.
    fn take_effect(&mut self, spec: &Spec) -> Result<(), String> {
        for (name, text) in &spec.set {
            let value = self.scope.values.fill(text).map_err(|m| m.to_string())?;
            self.set.push((name.clone(), value));
        }
        self.new_kubeconfigs(spec)?;
        for (name, value) in &self.set {
            self.scope.values.plain.insert(name.clone(), value.clone());
            let exported = variable::exports(name, variable::VarType::Text, value);
            self.scope.env.extend(exported);
        }
        Ok(())
    }

    /// A kubeconfig that the step wrote for the cluster that takes the place of another one.
    fn new_kubeconfigs(&mut self, spec: &Spec) -> Result<(), String> {
        for (system, file) in &spec.kubeconfigs_out {
            let file = spec.dir.join(file);
            if !file.exists() {
                continue;
            }
            private::only_ours(&file)
                .map_err(|e| format!("{} cannot be made private: {e}", file.display()))?;
            let wanted = spec.systems.get(system).and_then(|written| {
                let mut values = self.scope.values.clone();
                values.plain.extend(self.set.iter().cloned());
                let filled = values.system(written).ok()?;
                filled.fields.get("context").cloned()
            });
            let context = kubeconfig::context_in(&file, wanted.as_deref())
                .map_err(|why| format!("the kubeconfig of the new `{system}`: {why}"))?;
            let file = file.display().to_string();
            self.set.push((values::kubeconfig_of(system), file));
            self.set.push((values::context_of(system), context));
        }
        // Whom the new one is compared with comes after a person has seen it.
        for (system, _) in &spec.kubeconfigs_out {
            self.scope.pins.remove(system);
        }
        Ok(())
    }
}

fn said(check: &CheckResult) -> String {
    format!(
        "{}: expected {}, saw {}",
        check.what, check.expected, check.seen
    )
}

/// The start time of a process as the kernel counts it.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, spaces and parentheses too.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

pub(super) fn note_pids(command: Option<u32>) {
    let pids = Pids {
        boot_id: boot_id(),
        supervisor: std::process::id(),
        command,
        command_start: command.and_then(start_time),
    };
    if let Ok(bytes) = serde_json::to_vec(&pids) {
        let _ = private::replace_lazily(&Path::new(".").join(super::spec::PIDS), &bytes);
    }
}
