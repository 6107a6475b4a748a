//! What screens ask of the engine and of the disk: each in a task of its own, so that no key ever
//! waits; the answer comes back as news.

use super::screens::{Ask, News, Told, tell};
use crate::{domain::decide::Command, engine::Handle, logs::LogReader};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::mpsc::{self, UnboundedSender};

/// News with the number of the session it is for.
pub(crate) type Post = UnboundedSender<(u64, News)>;

/// Sends asks of one session off.
pub(crate) struct Desk {
    session: u64,
    handle: Handle,
    post: Post,
    /// Typed keys for steps, in their order.
    keys: UnboundedSender<(String, Vec<u8>)>,
}

impl Desk {
    pub(crate) fn new(session: u64, handle: Handle, post: Post) -> Self {
        let (keys, mut typed) = mpsc::unbounded_channel::<(String, Vec<u8>)>();
        let to = handle.clone();
        tokio::spawn(async move {
            while let Some((step, bytes)) = typed.recv().await {
                to.input(&step, bytes).await;
            }
        });
        Self {
            session,
            handle,
            post,
            keys,
        }
    }

    /// Asks; returns at once.
    pub(crate) fn ask(&self, ask: Ask) {
        let (handle, post, session) = (self.handle.clone(), self.post.clone(), self.session);
        // Nobody listens once the cockpit ends.
        let send = move |news: News| {
            let _ = post.send((session, news));
        };
        match ask {
            Ask::Wish { token, command } => {
                tokio::spawn(async move {
                    let result = handle.wish(command).await;
                    send(News::Wished { token, result });
                });
            }
            Ask::Give { token, name, value } => {
                tokio::spawn(async move {
                    let result = handle.give(&name, &value, "asked").await;
                    send(News::Given { token, result });
                });
            }
            Ask::Start(start) => {
                tokio::spawn(async move {
                    let step = start.step.clone();
                    let result = handle.start(start).await;
                    send(News::Started { step, result });
                });
            }
            Ask::Look { token, look } => {
                tokio::spawn(async move {
                    let mut answers = handle.look(look).await;
                    while let Some(result) = answers.recv().await {
                        send(News::Looked { token, result });
                    }
                });
            }
            Ask::PinAll => {
                tokio::spawn(async move {
                    handle.pin_all().await;
                    send(News::Pinned);
                });
            }
            Ask::CheckRecovery => {
                tokio::spawn(async move {
                    // What the last step printed may say that it failed all the same.
                    handle.settle().await;
                    handle.check_recovery().await;
                    send(News::RecoveryChecked);
                });
            }
            Ask::JudgeCause {
                step,
                n,
                row,
                right,
            } => {
                let wish = Command::JudgeCause {
                    step,
                    n,
                    row,
                    right,
                };
                tokio::spawn(async move {
                    if let Err(refusal) = handle.wish(wish).await {
                        tracing::warn!(%refusal, "a judgement of a cause was refused");
                    }
                });
            }
            Ask::Probe { step, row } => {
                tokio::spawn(async move { handle.run_probe(&step, &row).await });
            }
            Ask::Input { step, bytes } => {
                let _ = self.keys.send((step, bytes));
            }
            Ask::Resize {
                step,
                columns,
                rows,
            } => {
                tokio::spawn(async move { handle.resize(&step, columns, rows).await });
            }
            Ask::Find {
                token,
                dir,
                from,
                regex,
                forward,
            } => {
                tokio::task::spawn_blocking(move || {
                    let offset = find(dir, from, &regex, forward);
                    send(News::Found { token, offset });
                });
            }
            Ask::Journal { token } => {
                tokio::task::spawn_blocking(move || {
                    let told = Arc::new(journal(&handle));
                    send(News::Journal { token, told });
                });
            }
        }
    }
}

fn find(dir: PathBuf, from: u64, regex: &regex::Regex, forward: bool) -> Option<u64> {
    LogReader::new(&dir).find(from, regex, forward)
}

/// Every entry in words; what cannot be read is told in the place of them.
fn journal(handle: &Handle) -> Vec<Told> {
    match handle.dir().load() {
        Ok(loaded) => loaded.entries.iter().map(tell).collect(),
        Err(why) => vec![Told {
            at: crate::clock::now(),
            who: String::new(),
            what: why.to_string(),
        }],
    }
}
