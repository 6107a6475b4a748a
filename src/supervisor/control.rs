//! `ctl.sock`: how a cockpit speaks to a running attempt. One line of JSON a message.

use super::spec::{FromAttempt, SOCKET, ToAttempt};
use std::{io, path::Path};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
};

pub(super) struct Control {
    wishes: mpsc::Receiver<ToAttempt>,
    joined: mpsc::Receiver<OwnedWriteHalf>,
    cockpits: Vec<OwnedWriteHalf>,
}

impl Control {
    /// Listens in the current folder.
    pub(super) fn listen() -> io::Result<Self> {
        let _ = std::fs::remove_file(SOCKET);
        let listener = UnixListener::bind(SOCKET)?;
        let (wish, wishes) = mpsc::channel(64);
        let (join, joined) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let ours = rustix::process::getuid().as_raw();
                if stream.peer_cred().is_ok_and(|c| c.uid() == ours) {
                    serve(stream, wish.clone(), &join).await;
                }
            }
        });
        Ok(Self {
            wishes,
            joined,
            cockpits: Vec::new(),
        })
    }

    /// The next wish.
    pub(super) async fn wish(&mut self) -> ToAttempt {
        loop {
            tokio::select! {
                wish = self.wishes.recv() => match wish {
                    Some(wish) => return wish,
                    None => std::future::pending().await,
                },
                Some(cockpit) = self.joined.recv() => self.cockpits.push(cockpit),
            }
        }
    }

    /// Returns when a person asks for a stop; other wishes have no meaning without a command.
    pub(super) async fn stopped(&mut self) {
        while !matches!(self.wish().await, ToAttempt::Stop) {}
    }

    /// A quick step may be over before the cockpit that started it has connected; a fetched secret
    /// must not be lost to that. One that never comes is not waited for long.
    pub(super) async fn wait_for_a_cockpit(&mut self) {
        if !self.cockpits.is_empty() {
            return;
        }
        let patience = std::time::Duration::from_secs(3);
        if let Ok(Some(cockpit)) = tokio::time::timeout(patience, self.joined.recv()).await {
            self.cockpits.push(cockpit);
        }
    }

    /// Tells every cockpit that listens. One that is gone, or that does not read, is no reason to wait.
    pub(super) async fn deliver(&mut self, messages: impl Iterator<Item = FromAttempt>) {
        while let Ok(cockpit) = self.joined.try_recv() {
            self.cockpits.push(cockpit);
        }
        for message in messages {
            let Ok(mut line) = serde_json::to_vec(&message) else {
                continue;
            };
            line.push(b'\n');
            for cockpit in &mut self.cockpits {
                let patience = std::time::Duration::from_secs(1);
                let _ = tokio::time::timeout(patience, cockpit.write_all(&line)).await;
            }
        }
    }

    /// Nobody can reach the attempt any more; whoever listens sees the end of the stream.
    pub(super) fn close(&mut self) {
        self.wishes.close();
        self.cockpits.clear();
        let _ = std::fs::remove_file(Path::new(SOCKET));
    }
}

async fn serve(
    stream: UnixStream,
    wish: mpsc::Sender<ToAttempt>,
    join: &mpsc::Sender<OwnedWriteHalf>,
) {
    let (read, write) = stream.into_split();
    if join.send(write).await.is_err() {
        return;
    }
    tokio::spawn(async move {
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let Ok(message) = serde_json::from_str(&line) else {
                continue;
            };
            if wish.send(message).await.is_err() {
                return;
            }
        }
    });
}
