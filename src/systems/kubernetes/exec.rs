//! Commands in pods, over a websocket: in which pod, what they print, how they end.

use super::{
    Cluster, Trouble,
    kinds::Place,
    trouble,
    workloads::{self, items, name},
};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use serde_json::Value;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

/// How long it may take until the command has begun.
const BEGIN: Duration = Duration::from_secs(15);
/// How much is under way at once, in bytes.
const BUFFER: usize = 256 * 1024;

/// How a command in a pod ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    /// The connection ended first: whether the command did, nobody knows.
    Lost(String),
}

/// The pod in which `pod/x`, `deployment/x`, `statefulset/x` … is looked at: itself, or the ready pod of
/// the newest revision.
pub(crate) async fn pod_of(cluster: &Cluster, what: &str) -> Result<String, Trouble> {
    let place = Place::of(cluster, what).await?;
    if place.plural == "pods" {
        return Ok(place.name);
    }
    let found = cluster.get(&place.path(&cluster.namespace)).await?;
    let object = found.ok_or_else(|| Trouble::Down(format!("{what} is not there")))?;
    let Some(selector) = workloads::selector(&object) else {
        return Err(Trouble::cannot_tell(
            format!("{what} has no pods of its own"),
            "name a pod, a deployment, a stateful set, a daemon set or a job",
        ));
    };
    let pods = workloads::pods_of(cluster, &selector).await?;
    let ready: Vec<&Value> = pods
        .iter()
        .filter(|p| workloads::state(p) == "ready")
        .collect();
    let newest = newest_revision(cluster, &place.plural, &object).await?;
    let (label, wanted) = match &newest {
        Some((label, wanted)) => (*label, wanted.as_str()),
        None => ("", ""),
    };
    let of_newest = |pod: &&&Value| label.is_empty() || pod["metadata"]["labels"][label] == wanted;
    if let Some(pod) = ready.iter().find(of_newest) {
        return Ok(name(pod).to_owned());
    }
    let states: Vec<String> = pods
        .iter()
        .map(|p| format!("{}: {}", name(p), workloads::state(p)))
        .collect();
    Err(Trouble::Down(match (&states[..], &ready[..]) {
        ([], _) => format!("{what} has no pod"),
        (_, []) => format!("{what} has no ready pod: {}", states.join("; ")),
        _ => format!(
            "{what} has no ready pod of its newest revision yet: {}",
            states.join("; ")
        ),
    }))
}

/// The label that tells pods of the newest revision, and its value.
async fn newest_revision(
    cluster: &Cluster,
    plural: &str,
    object: &Value,
) -> Result<Option<(&'static str, String)>, Trouble> {
    match plural {
        "deployments" => {
            let path = format!("/apis/apps/v1/namespaces/{}/replicasets", cluster.namespace);
            let uid = &object["metadata"]["uid"];
            let sets = items(cluster.get(&path).await?);
            let own = sets.iter().filter(|s| {
                let owners = s["metadata"]["ownerReferences"].as_array();
                owners.into_iter().flatten().any(|o| o["uid"] == *uid)
            });
            let revision = |s: &&Value| {
                let all = &s["metadata"]["annotations"];
                let text = all["deployment.kubernetes.io/revision"].as_str();
                text.and_then(|t| t.parse::<u64>().ok()).unwrap_or(0)
            };
            let newest = own.max_by_key(revision);
            let hash = newest.and_then(|s| s["metadata"]["labels"]["pod-template-hash"].as_str());
            Ok(hash.map(|h| ("pod-template-hash", h.to_owned())))
        }
        "statefulsets" => {
            let newest = object["status"]["updateRevision"].as_str();
            Ok(newest.map(|r| ("controller-revision-hash", r.to_owned())))
        }
        _ => Ok(None),
    }
}

/// A command in a pod.
pub(crate) struct Call<'a> {
    pub pod: &'a str,
    pub container: Option<&'a str>,
    pub command: &'a [&'a str],
}

impl Call<'_> {
    /// Runs it to its end. What it reads begins when it has printed something, and is never closed for it:
    /// protocols before the fifth cannot; it has to know how much there is.
    pub(crate) async fn run(
        &self,
        cluster: &Cluster,
        input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
        out: &mut (dyn AsyncWrite + Send + Unpin),
        err: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<End, Trouble> {
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let mut how = AttachParams::default()
            .stdin(input.is_some())
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        how.container = self.container.map(str::to_owned);
        let words: Vec<String> = self.command.iter().map(|w| (*w).to_owned()).collect();
        let begun = tokio::time::timeout(BEGIN, api.exec(self.pod, words, &how)).await;
        let mut process = match begun {
            Ok(Ok(process)) => process,
            Ok(Err(e)) => return Err(self.refused(&e)),
            Err(_) => {
                return Err(Trouble::cannot_tell(
                    format!("pod/{}: the command did not begin in time", self.pod),
                    "does the API server reach the node of the pod? kubectl logs fails in the same way then",
                ));
            }
        };
        let status = process.take_status();
        let ended = async {
            match status {
                Some(status) => status.await,
                None => None,
            }
        };
        let (streamed, status) = stream(&mut process, input, out, err, ended).await;
        let Some(status) = status else {
            let why = match (streamed, process.join().await) {
                (Err(e), _) => e.to_string(),
                (Ok(()), Err(e)) => super::deepest(&e),
                (Ok(()), Ok(())) => "the connection ended".to_owned(),
            };
            return Ok(End::Lost(why));
        };
        self.end(&status)
    }

    /// What is printed, as one text each; and how it ended.
    pub(crate) async fn collect(
        &self,
        cluster: &Cluster,
    ) -> Result<(End, String, String), Trouble> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let end = self.run(cluster, None, &mut out, &mut err).await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((end, text(out), text(err)))
    }

    fn end(&self, status: &Status) -> Result<End, Trouble> {
        let good = status.status.as_ref().is_some_and(|s| s == "Success");
        if good {
            return Ok(End::Exit(0));
        }
        let details = status.details.as_ref();
        let causes = details
            .and_then(|d| d.causes.as_ref())
            .into_iter()
            .flatten();
        let mut codes = causes.filter(|c| c.reason.as_deref() == Some("ExitCode"));
        let code = codes.next().and_then(|c| c.message.as_ref()?.parse().ok());
        match code {
            Some(code) => Ok(End::Exit(code)),
            None => Err(Trouble::Down(format!(
                "pod/{}: {}",
                self.pod,
                status.message.as_deref().unwrap_or("refused")
            ))),
        }
    }

    fn refused(&self, error: &kube::Error) -> Trouble {
        match trouble(error) {
            Trouble::Down(why) => Trouble::Down(format!("pod/{}: {why}", self.pod)),
            other => other,
        }
    }
}

/// How long output may still come when the connection is gone.
const DRAIN: Duration = Duration::from_millis(300);

/// Streams until everything that was printed is written and it is known how it ended. What is read begins
/// to flow with the first byte that is printed: who refuses at once has then said so.
async fn stream(
    process: &mut AttachedProcess,
    input: Option<&mut (dyn AsyncRead + Send + Unpin)>,
    out: &mut (dyn AsyncWrite + Send + Unpin),
    err: &mut (dyn AsyncWrite + Send + Unpin),
    ended: impl Future<Output = Option<Status>>,
) -> (std::io::Result<()>, Option<Status>) {
    let mut stdin = process.stdin();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let printed = Notify::new();
    let feed = async {
        if let (Some(input), Some(stdin)) = (input, stdin.as_mut()) {
            printed.notified().await;
            // It may end before it has read everything; its status says why.
            let _ = tokio::io::copy(input, stdin).await;
            let _ = stdin.flush().await;
        }
        std::future::pending::<()>().await
    };
    let read = async {
        let (first, second) = tokio::join!(
            pass(stdout, out, || printed.notify_one()),
            pass(stderr, err, || {})
        );
        first.and(second)
    };
    // A connection that breaks ends without an end of its streams: its missing status tells.
    let ended = async {
        let status = ended.await;
        if status.is_none() {
            tokio::time::sleep(DRAIN).await;
        }
        status
    };
    tokio::pin!(feed, read, ended);
    let (mut streamed, mut status) = (None, None);
    loop {
        tokio::select! {
            () = &mut feed => {}
            done = &mut read, if streamed.is_none() => streamed = Some(done),
            known = &mut ended, if status.is_none() => {
                if known.is_none() {
                    return (streamed.unwrap_or(Ok(())), None);
                }
                status = Some(known);
            }
        }
        if let (Some(_), Some(_)) = (&streamed, &status) {
            return (streamed.unwrap_or(Ok(())), status.flatten());
        }
    }
}

async fn pass(
    from: Option<impl AsyncRead + Unpin>,
    to: &mut (dyn AsyncWrite + Send + Unpin),
    moved: impl Fn(),
) -> std::io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            n => {
                to.write_all(&buffer[..n]).await?;
                to.flush().await?;
                moved();
            }
        }
    }
}
