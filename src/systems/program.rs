//! A program that answers a question: run to its end, and ended with all that it started.

use rustix::process::{Pid, Signal, kill_process_group};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
    time::Instant,
};

/// How much of a program's output is kept: its end.
const KEPT: usize = 1 << 20;
/// How long its pipes may stay open after it has ended.
const DRAIN: Duration = Duration::from_millis(200);

/// A program and all that it started: when this goes, they go.
pub(crate) struct Group(pub(crate) Child);

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
pub(crate) async fn to_its_end(mut group: Group) -> (Option<i64>, Vec<u8>, Vec<u8>) {
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
