//! The cockpit's side: starting an attempt and speaking with it.

use super::spec::{FromAttempt, LOCK, SOCKET, Spec, ToAttempt};
use crate::private::{self, Open};
use rustix::fs::{Mode, OFlags};
use std::{
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("cannot make the folder of the attempt: {0}")]
    Folder(io::Error),
    #[error("cannot start the supervisor: {0}")]
    Spawn(io::Error),
    #[error("the supervisor ended before it began")]
    NotReady,
}

/// Starts the supervisor and waits until it says that it has begun. It leaves our session first of
/// all, reads its spec from a pipe, and is never waited for: its record tells how it ended.
pub fn launch(program: &Path, spec: &Spec, hidden: &[String]) -> Result<(), LaunchError> {
    private::create_dir(&spec.dir).map_err(LaunchError::Folder)?;
    // Taken before the supervisor exists and handed over as its stderr: from here on there is no
    // moment at which nobody holds it though the attempt is about to run.
    let lock = private::open(&spec.dir.join(LOCK), Open::Append).map_err(LaunchError::Folder)?;
    lock.lock().map_err(LaunchError::Folder)?;
    let mut command = Command::new(program);
    command
        .arg0("blackstart")
        .arg("__attempt")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(lock));
    for name in hidden {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(LaunchError::Spawn)?;
    // Our copy of the lock goes with it.
    drop(command);
    let mut bytes = serde_json::to_vec(spec).map_err(|e| LaunchError::Spawn(e.into()))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(&bytes).map_err(LaunchError::Spawn)?;
    }
    bytes.fill(0);
    let mut ready = [0; 6];
    let said = child
        .stdout
        .take()
        .map(|mut out| out.read_exact(&mut ready));
    // Reaped when it ends, so that it is never a zombie of ours; nothing is learned from it.
    std::thread::spawn(move || child.wait());
    match said {
        Some(Ok(())) if ready == *b"ready\n" => Ok(()),
        _ => Err(LaunchError::NotReady),
    }
}

/// A line to a running attempt.
pub struct Line {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Line {
    /// Connects to the attempt in `dir`; its path may be longer than a socket's name can be.
    pub async fn connect(dir: &Path) -> io::Result<Self> {
        let folder = rustix::fs::open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        let (read, write) = UnixStream::connect(path).await?.into_split();
        Ok(Self {
            lines: BufReader::new(read).lines(),
            write,
        })
    }

    pub async fn tell(&mut self, message: &ToAttempt) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.write.write_all(&line).await
    }

    /// The next message; `None` when the attempt has ended, or its supervisor is gone.
    pub async fn next(&mut self) -> Option<FromAttempt> {
        loop {
            match self.lines.next_line().await {
                Ok(Some(line)) => {
                    if let Ok(message) = serde_json::from_str(&line) {
                        return Some(message);
                    }
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }
}
