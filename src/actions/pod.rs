//! In pods: a command is run, a file is copied. While nothing comes back, it is asked whether the API
//! server and the pod are still there, and said when they are not.

use super::{Failed, Hands};
use crate::systems::kubernetes::{
    Cluster,
    exec::{Call, End, pod_of},
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::Instant,
};

/// How often it is asked whether everything is still there.
const ASK: Duration = Duration::from_secs(5);

/// Writes a file of exactly so many bytes beside its place, then moves it there.
const TAKE: &str = r#"if [ -d "$2" ]; then echo "$2 is a folder: name the file" >&2; exit 21; fi
: >"$2.part" || exit 22
echo ready
head -c "$1" >"$2.part" && [ "$(wc -c <"$2.part")" -eq "$1" ] && mv -f "$2.part" "$2""#;
const SIZE: &str = r#"if [ -d "$1" ]; then echo "$1 is a folder: make one file of it with tar" >&2; exit 21; fi; wc -c <"$1""#;
const SUM: &str = r#"command -v sha256sum >/dev/null || exit 0; sha256sum "$1""#;

impl Hands {
    /// Its exit status, as the container gave it.
    pub(super) async fn exec(
        &mut self,
        what: &str,
        container: Option<&str>,
        command: &[String],
    ) -> Result<u8, Failed> {
        let pod = pod_of(&self.cluster, what).await?;
        self.note(&format!("in pod/{pod}"));
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let call = Call {
            pod: &pod,
            container,
            command: &words,
        };
        let moved = Arc::new(AtomicU64::new(0));
        let mut out = Counted(tokio::io::stdout(), moved.clone());
        let mut err = Counted(tokio::io::stderr(), moved.clone());
        let cluster = self.cluster.clone();
        let run = call.run(&cluster, None, &mut out, &mut err);
        let end = self.beside(run, &pod, &moved, None).await??;
        match end {
            End::Exit(code) => Ok(u8::try_from(code.clamp(0, 255)).unwrap_or(1)),
            End::Lost(why) => Err(lost(&pod, &why)),
        }
    }

    pub(super) async fn copy(
        &mut self,
        from: &str,
        to: &str,
        container: Option<&str>,
        folder: &Path,
    ) -> Result<(), Failed> {
        match (place(from), place(to)) {
            (None, Some((pod, path))) => self.bring(&folder.join(from), pod, path, container).await,
            (Some((pod, path)), None) => self.fetch(pod, path, &folder.join(to), container).await,
            (Some(_), Some(_)) | (None, None) => Err(Failed::helped(
                "one side of a copy is a file here, the other one in a pod",
                "copy: { from: file, to: pod/x:/path }",
            )),
        }
    }

    async fn bring(
        &mut self,
        file: &Path,
        pod: &str,
        path: &str,
        container: Option<&str>,
    ) -> Result<(), Failed> {
        let shown = file.display();
        let mut opened = File::open(file).map_err(|e| {
            Failed::helped(
                format!("{shown}: {e}"),
                "the path is seen from the folder of the runbook",
            )
        })?;
        let about = opened
            .metadata()
            .map_err(|e| Failed::new(format!("{shown}: {e}")))?;
        if !about.is_file() {
            return Err(Failed::helped(
                format!("{shown} is not a file"),
                "make one file of a folder with tar",
            ));
        }
        let sum = checksum(&mut opened).map_err(|e| Failed::new(format!("{shown}: {e}")))?;
        let size = about.len();
        let pod = pod_of(&self.cluster, pod).await?;
        let moved = Arc::new(AtomicU64::new(0));
        let opened = tokio::fs::File::open(file).await;
        let opened = opened.map_err(|e| Failed::new(format!("{shown}: {e}")))?;
        // Never more than was counted, should the file grow meanwhile.
        let mut input = Counted(opened.take(size), moved.clone());
        let words = ["sh", "-c", TAKE, "sh", &size.to_string(), path];
        let call = Call {
            pod: &pod,
            container,
            command: &words,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let cluster = self.cluster.clone();
        let run = call.run(&cluster, Some(&mut input), &mut out, &mut err);
        let end = self.beside(run, &pod, &moved, Some(size)).await??;
        let lost_it = match end {
            End::Lost(why) => {
                // Under its own name there is all of it or nothing of it: what is there tells.
                self.note(&format!(
                    "the connection was lost ({why}); looking what arrived"
                ));
                Some(why)
            }
            End::Exit(_) => {
                done(&pod, end, &err)?;
                None
            }
        };
        let compared = self.same(&pod, container, path, &sum).await?;
        if let Some(why) = lost_it.filter(|_| !compared) {
            return Err(lost(&pod, &why));
        }
        self.log
            .say(format!("{shown} → pod/{pod}:{path}, {size} bytes"));
        Ok(())
    }

    async fn fetch(
        &mut self,
        pod: &str,
        path: &str,
        file: &Path,
        container: Option<&str>,
    ) -> Result<(), Failed> {
        let pod = pod_of(&self.cluster, pod).await?;
        let cluster = self.cluster.clone();
        let words = ["sh", "-c", SIZE, "sh", path];
        let asked = Call {
            pod: &pod,
            container,
            command: &words,
        };
        let (end, out, err) = asked.collect(&cluster).await?;
        done(&pod, end, err.as_bytes())?;
        let size: u64 = out
            .trim()
            .parse()
            .map_err(|_| Failed::new(format!("pod/{pod}:{path}: its size is `{}`?", out.trim())))?;
        let file = match file.is_dir() {
            true => file.join(path.rsplit('/').next().unwrap_or("copy")),
            false => file.to_owned(),
        };
        let shown = file.display().to_string();
        let part = beside(&file);
        let wrong = |e: io::Error| Failed::new(format!("{shown}: {e}"));
        let opened = crate::private::open(&part, crate::private::Open::Truncate).map_err(wrong)?;
        let moved = Arc::new(AtomicU64::new(0));
        let mut out = Counted(tokio::fs::File::from_std(opened), moved.clone());
        let mut err = Vec::new();
        let words = ["cat", path];
        let call = Call {
            pod: &pod,
            container,
            command: &words,
        };
        let run = call.run(&cluster, None, &mut out, &mut err);
        let end = self.beside(run, &pod, &moved, Some(size)).await??;
        done(&pod, end, &err)?;
        let written = out.0.into_std().await;
        written.sync_all().map_err(wrong)?;
        let got = written.metadata().map_err(wrong)?.len();
        if got != size {
            return Err(Failed::helped(
                format!(
                    "{got} of {size} bytes arrived; they stand in {}",
                    part.display()
                ),
                "does something still write to it? copy a file that stands still",
            ));
        }
        let mut again = File::open(&part).map_err(wrong)?;
        let sum = checksum(&mut again).map_err(wrong)?;
        self.same(&pod, container, path, &sum).await?;
        std::fs::rename(&part, &file).map_err(wrong)?;
        self.log
            .say(format!("pod/{pod}:{path} → {shown}, {size} bytes"));
        Ok(())
    }

    /// Compares checksums, where the container can make one; says whether it could.
    async fn same(
        &mut self,
        pod: &str,
        container: Option<&str>,
        path: &str,
        sum: &str,
    ) -> Result<bool, Failed> {
        let words = ["sh", "-c", SUM, "sh", path];
        let call = Call {
            pod,
            container,
            command: &words,
        };
        let (end, out, err) = call.collect(&self.cluster.clone()).await?;
        done(pod, end, err.as_bytes())?;
        match out.split_whitespace().next() {
            None => {
                self.log
                    .say("the container has no sha256sum: only the size was compared");
                Ok(false)
            }
            Some(there) if there == sum => {
                self.log.say("the checksums agree");
                Ok(true)
            }
            Some(there) => Err(Failed::helped(
                format!("the checksums differ: {sum} here, {there} in pod/{pod}"),
                "does something write to it meanwhile? copy it again",
            )),
        }
    }

    /// Runs it, and says from time to time how far it is, or that nobody answers.
    async fn beside<T>(
        &mut self,
        run: impl Future<Output = T>,
        pod: &str,
        moved: &AtomicU64,
        size: Option<u64>,
    ) -> Result<T, Failed> {
        tokio::pin!(run);
        let end = self.native.timeout.map(|limit| Instant::now() + limit);
        let (mut before, mut troubled) = (0, false);
        loop {
            let limit = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                done = &mut run => return Ok(done),
                () = limit => {
                    return Err(Failed::unknown(
                        format!("not ended after {}", humantime::format_duration(self.limit)),
                        format!("the command may still run in pod/{pod}: look there before you start it again"),
                    ));
                }
                () = tokio::time::sleep(ASK) => {}
            }
            let now = moved.load(Ordering::Relaxed);
            if let Some(size) = size.filter(|s| *s > 0) {
                let percent = now.min(size) * 100 / size;
                self.note(&format!("{now} of {size} bytes ({percent} %)"));
            }
            if now != before {
                before = now;
                continue;
            }
            match still_there(&self.cluster, pod).await {
                Ok(()) if troubled => {
                    troubled = false;
                    self.note("the API server answers again");
                }
                Ok(()) => {}
                Err(Absent { what, why }) => {
                    troubled = true;
                    self.note(&format!(
                        "{what}; the command in pod/{pod} may go on, waiting{why}"
                    ));
                }
            }
        }
    }

    /// Beside the output of a command, not in it.
    fn note(&self, line: &str) {
        use std::io::Write;
        // Nobody reads it any more: then there is nobody to tell.
        let _ = writeln!(io::stderr(), "blackstart: {line}");
    }
}

/// What is not there, and what was said about it.
struct Absent {
    what: String,
    why: String,
}

async fn still_there(cluster: &Cluster, pod: &str) -> Result<(), Absent> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}", cluster.namespace);
    let asked = tokio::time::timeout(ASK, cluster.get(&path)).await;
    let (what, why) = match asked {
        Ok(Ok(Some(_))) => return Ok(()),
        Ok(Ok(None)) => (format!("pod/{pod} is not there any more"), String::new()),
        Ok(Err(trouble)) => (
            "the API server does not answer".to_owned(),
            format!(" ({trouble})"),
        ),
        Err(_) => ("the API server does not answer".to_owned(), String::new()),
    };
    Err(Absent { what, why })
}

fn lost(pod: &str, why: &str) -> Failed {
    Failed::unknown(
        format!(
            "the connection to pod/{pod} was lost ({why}): nobody knows whether the command ended"
        ),
        "look in the pod what it did before you start it again".to_owned(),
    )
}

/// Did the helper in the pod end well?
fn done(pod: &str, end: End, err: &[u8]) -> Result<(), Failed> {
    match end {
        End::Exit(0) => Ok(()),
        End::Exit(code) => {
            let said = String::from_utf8_lossy(err);
            let said = said.trim();
            let said = if said.is_empty() {
                "it said nothing"
            } else {
                said
            };
            Err(Failed::new(format!("pod/{pod}: exit {code}: {said}")))
        }
        End::Lost(why) => Err(lost(pod, &why)),
    }
}

/// `pod/x:/path`, and not a file that is called so.
fn place(text: &str) -> Option<(&str, &str)> {
    let (pod, path) = text.split_once(':')?;
    (pod.contains('/') && !pod.starts_with(['/', '.'])).then_some((pod, path))
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn checksum(file: &mut File) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(crate::journal::hex(&digest.finalize())),
            n => digest.update(&buffer[..n]),
        }
    }
}

/// Counts what goes through.
struct Counted<T>(T, Arc<AtomicU64>);

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        let n = buf.filled().len() - before;
        self.1
            .fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.0).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = polled {
            self.1
                .fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
