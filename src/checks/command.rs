//! The hands of a command check: a program's exit status and output.

use super::{Scope, Seen, Trouble};
use crate::domain::runbook::{
    kinds::command::{Run, Words},
    scripts,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::Instant,
};

pub(super) async fn look(words: &Words, scope: &Scope) -> Result<Seen, Trouble> {
    let arguments: Vec<String> = match &words.run {
        Run::Arguments(arguments) => arguments.clone(),
        Run::Script { text, .. } => ["bash", "-Eeuo", "pipefail", "-c", text.as_str()]
            .map(str::to_owned)
            .to_vec(),
    };
    let Some((program, rest)) = arguments.split_first() else {
        return Err(Trouble::cannot_tell(
            "no program is named",
            "see `command:`",
        ));
    };
    let mut command = Command::new(program);
    command
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .envs(scope.env.iter().map(|(k, v)| (k, v)))
        .process_group(0)
        .kill_on_drop(true);
    if scope.workdir.is_dir() {
        command.current_dir(&scope.workdir);
    }
    if let Run::Script { text, .. } = &words.run {
        // A script finds the secrets that it names, and no others.
        for (name, value) in &scope.values.secrets {
            if scripts::mentions(text, name) {
                command.env(name.to_ascii_uppercase(), value);
            }
        }
    }
    for name in &scope.hidden {
        if !matches!(&words.run, Run::Script { text, .. } if scripts::mentions(text, &name.to_ascii_lowercase()))
        {
            command.env_remove(name);
        }
    }
    let child = command.spawn().map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            Trouble::cannot_tell(
                format!("`{program}` is not installed here"),
                format!("install it, or put it on the PATH: {program}"),
            )
        } else {
            Trouble::cannot_tell(format!("cannot run {program}: {e}"), "may you run it?")
        }
    })?;
    let (code, out, err) = to_its_end(Group(child)).await;
    let out = String::from_utf8_lossy(&out);
    let err = String::from_utf8_lossy(&err);
    if code == Some(words.exit) {
        return Ok(Seen::text(out).or_shown(format!("exit {}", words.exit)));
    }
    let status = match code {
        Some(127) if matches!(words.run, Run::Script { .. }) => {
            "exit 127 (command not found)".to_owned()
        }
        Some(code) => format!("exit {code}"),
        None => "killed by a signal".to_owned(),
    };
    let said = if err.trim().is_empty() { out } else { err };
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Ok(Seen::judged(
        format!("{status}: {}", last.join("\n")).trim_end_matches([':', ' ']),
        false,
    ))
}

/// How much of a program's output is kept: its end.
const KEPT: usize = 1 << 20;
/// How long its pipes may stay open after it has ended.
const DRAIN: Duration = Duration::from_millis(200);

/// A program and all that it started: when this goes, they go.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Not reaped yet, so its number is still its own; once reaped there is nothing to stop.
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Waits for the program, not for what it may have left in the background.
async fn to_its_end(mut group: Group) -> (Option<i64>, Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (group.0.stdout.take(), group.0.stderr.take());
    let (mut said_out, mut said_err) = (Vec::new(), Vec::new());
    let mut code = None;
    let mut over: Option<Instant> = None;
    let (mut a, mut b) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    while over.is_none() || out.is_some() || err.is_some() {
        let drained = async {
            match over {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            n = read(&mut out, &mut a), if out.is_some() => keep(&mut out, &mut said_out, &a, n),
            n = read(&mut err, &mut b), if err.is_some() => keep(&mut err, &mut said_err, &b, n),
            status = group.0.wait(), if over.is_none() => {
                code = status.ok().and_then(|s| s.code()).map(i64::from);
                over = Some(Instant::now() + DRAIN);
            }
            () = drained => break,
        }
    }
    (code, said_out, said_err)
}

async fn read<R: AsyncRead + Unpin>(from: &mut Option<R>, buffer: &mut [u8]) -> usize {
    match from {
        Some(from) => from.read(buffer).await.unwrap_or(0),
        None => 0,
    }
}

fn keep<R>(from: &mut Option<R>, said: &mut Vec<u8>, buffer: &[u8], n: usize) {
    if n == 0 {
        *from = None;
        return;
    }
    said.extend_from_slice(&buffer[..n]);
    let over = said.len().saturating_sub(KEPT);
    said.drain(..over);
}
