//! The door of the node without machine through which an API server reaches its containers: logs, exec
//! and port-forward, over TLS on loopback.

use super::Node;
use crate::sandbox::world::door;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        Path, RawQuery, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, stream};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use std::{convert::Infallible, io, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
    sync::mpsc,
};

/// The subprotocol in which each message begins with the number of its channel.
const CHANNELS: &str = "v4.channel.k8s.io";

/// How often whoever follows a log is told what is new in it.
const FOLLOW: Duration = Duration::from_millis(200);

/// Opens the door on a free port of loopback, which is returned.
pub(super) async fn open(node: Arc<Node>) -> io::Result<u16> {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()])
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    crate::systems::tls::install();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = tcp.local_addr()?.port();
    let router = Router::new()
        .route("/exec/{namespace}/{pod}/{container}", get(exec))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs))
        .route("/portForward/{namespace}/{pod}", get(forward))
        .with_state(node);
    door::serve(tcp, Arc::new(tls), router);
    Ok(port)
}

/// Values of a query by their name, in order.
fn values(query: Option<&str>, name: &str) -> Vec<String> {
    let url = format!("https://node/?{}", query.unwrap_or_default());
    let Ok(url) = reqwest::Url::parse(&url) else {
        return Vec::new();
    };
    let pairs = url.query_pairs().filter(|(key, _)| key == name);
    pairs.map(|(_, value)| value.into_owned()).collect()
}

fn is_true(query: Option<&str>, name: &str) -> bool {
    let all = values(query, name);
    all.iter().any(|v| v == "1" || v == "true")
}

type Names = (String, String, String);

async fn logs(
    State(node): State<Arc<Node>>,
    Path((namespace, pod, name)): Path<Names>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.as_deref();
    let previous = is_true(query, "previous");
    let Some(text) = node.log(&namespace, &pod, &name, previous) else {
        let said = match previous {
            true => format!("previous terminated container \"{name}\" in pod \"{pod}\" not found"),
            false => format!("container \"{name}\" in pod \"{pod}\" is waiting to start"),
        };
        return (StatusCode::BAD_REQUEST, said).into_response();
    };
    let lines = values(query, "tailLines");
    let lines = lines.first().and_then(|n| n.parse::<usize>().ok());
    let last = lines.map_or(text.as_str(), |n| tail(&text, n)).to_owned();
    if previous || !is_true(query, "follow") {
        return last.into_response();
    }
    let seen = text.len();
    let begun = stream::once(async move { Ok::<Bytes, Infallible>(Bytes::from(last)) });
    let more = stream::unfold(
        (node, (namespace, pod, name), seen),
        |(node, names, seen)| async move {
            loop {
                // Asked for before the look, so that what it printed last is seen, too.
                let runs = node.runs(&names.0, &names.1, &names.2);
                let text = node.log(&names.0, &names.1, &names.2, false);
                let text = text.unwrap_or_default();
                // A shorter one is that of a container which was started anew: it is not the one that is followed.
                let new = text.get(seen..)?;
                if !new.is_empty() {
                    let new = Bytes::from(new.to_owned());
                    return Some((Ok(new), (node, names, text.len())));
                }
                if !runs {
                    return None;
                }
                tokio::time::sleep(FOLLOW).await;
            }
        },
    );
    Body::from_stream(begun.chain(more)).into_response()
}

/// The last lines of a text.
fn tail(text: &str, lines: usize) -> &str {
    if lines == 0 {
        return "";
    }
    let whole = text.strip_suffix('\n').unwrap_or(text);
    let start = whole.rmatch_indices('\n').nth(lines - 1);
    &text[start.map_or(0, |(at, _)| at + 1)..]
}

async fn exec(
    State(node): State<Arc<Node>>,
    Path((namespace, pod, name)): Path<Names>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    let query = query.as_deref();
    let words = values(query, "command");
    let input = is_true(query, "input") || is_true(query, "stdin");
    let Some(command) = node.command(&namespace, &pod, &name, &words) else {
        let said = format!("container not found (\"{name}\")");
        return (StatusCode::NOT_FOUND, said).into_response();
    };
    upgrade
        .protocols([CHANNELS])
        .on_upgrade(move |socket| run(socket, command, input, words))
}

/// A command, and its streams as channels: 0 in, 1 out, 2 err, 3 how it ended.
async fn run(mut socket: WebSocket, mut command: Command, input: bool, words: Vec<String>) {
    command
        .stdin(if input { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            let status = json!({ "metadata": {}, "status": "Failure", "reason": "InternalError", "message": format!("{e}") });
            let _ = socket.send(channel(3, status.to_string().as_bytes())).await;
            return;
        }
    };
    let mut stdin = child.stdin.take();
    let (tell, mut told) = mpsc::channel::<Message>(16);
    let out = pump(1, child.stdout.take(), tell.clone());
    let err = pump(2, child.stderr.take(), tell);
    let streams = async {
        tokio::join!(out, err);
    };
    tokio::pin!(streams);
    let (mut streaming, mut listening) = (true, true);
    while streaming {
        tokio::select! {
            () = &mut streams, if streaming => streaming = false,
            message = told.recv() => {
                if let Some(message) = message && socket.send(message).await.is_err() {
                    return;
                }
            }
            message = socket.recv(), if listening => match message {
                Some(Ok(Message::Binary(bytes))) if bytes.first() == Some(&0) => {
                    if let Some(stdin) = &mut stdin {
                        let _ = stdin.write_all(&bytes[1..]).await;
                    }
                }
                // The fifth protocol says so when there is no more to come.
                Some(Ok(Message::Binary(bytes))) if bytes[..] == [255, 0] => stdin = None,
                Some(Ok(Message::Close(_))) | None => {
                    // Whoever asked is gone: a kubelet leaves the command alone; so does this.
                    listening = false;
                    stdin = None;
                }
                Some(_) => {}
            }
        }
    }
    while let Ok(message) = told.try_recv() {
        let _ = socket.send(message).await;
    }
    drop(stdin);
    let status = match child.wait().await {
        Ok(status) if status.success() => json!({ "metadata": {}, "status": "Success" }),
        Ok(status) => {
            let code = status.code().unwrap_or(137);
            json!({ "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "message": format!("command terminated with non-zero exit code: {}", words.join(" ")),
                "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] } })
        }
        Err(e) => {
            json!({ "metadata": {}, "status": "Failure", "reason": "InternalError", "message": format!("{e}") })
        }
    };
    let _ = socket.send(channel(3, status.to_string().as_bytes())).await;
    let _ = socket.send(over()).await;
}

/// Recent clients take an end without a reason for a broken line.
fn over() -> Message {
    Message::Close(Some(CloseFrame {
        code: close_code::NORMAL,
        reason: "".into(),
    }))
}

fn channel(number: u8, bytes: &[u8]) -> Message {
    let mut all = vec![number];
    all.extend_from_slice(bytes);
    Message::Binary(all.into())
}

async fn pump<R: AsyncReadExt + Unpin>(number: u8, from: Option<R>, tell: mpsc::Sender<Message>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || tell.send(channel(number, &buffer[..n])).await.is_err() {
            return;
        }
    }
}

async fn forward(
    State(node): State<Arc<Node>>,
    Path((namespace, pod)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    let query = query.as_deref();
    let mut ports = values(query, "port");
    ports.extend(values(query, "ports"));
    let port = ports.first().and_then(|p| p.parse::<u16>().ok());
    let dial = port.and_then(|port| Some((port, node.dial(&namespace, &pod, port)?)));
    let Some((port, dial)) = dial else {
        let said = format!("pod \"{pod}\" has no process to connect to");
        return (StatusCode::NOT_FOUND, said).into_response();
    };
    upgrade
        .protocols([CHANNELS])
        .on_upgrade(move |socket| tunnel(socket, dial, port))
}

/// One port: channel 0 its bytes, channel 1 what went wrong; both begin with the number of the port.
async fn tunnel(mut socket: WebSocket, mut dial: Command, port: u16) {
    for number in [0, 1] {
        if socket
            .send(channel(number, &port.to_le_bytes()))
            .await
            .is_err()
        {
            return;
        }
    }
    dial.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let Ok(mut child) = dial.spawn() else {
        let _ = socket.send(channel(1, b"cannot connect")).await;
        return;
    };
    let mut stdin = child.stdin.take();
    let (tell, mut told) = mpsc::channel::<Message>(16);
    let out = tokio::spawn(pump(0, child.stdout.take(), tell.clone()));
    let mut err = child.stderr.take();
    let failed = tokio::spawn(async move {
        let mut said = String::new();
        if let Some(err) = &mut err {
            let _ = err.read_to_string(&mut said).await;
        }
        if !said.trim().is_empty() {
            let _ = tell.send(channel(1, said.as_bytes())).await;
        }
    });
    loop {
        tokio::select! {
            message = told.recv() => match message {
                Some(message) => if socket.send(message).await.is_err() { break },
                None => break,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(bytes))) if bytes.first() == Some(&0) => {
                    if let Some(stdin) = &mut stdin
                        && stdin.write_all(&bytes[1..]).await.is_err()
                    {
                        break;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            }
        }
    }
    drop(stdin);
    let _ = child.kill().await;
    out.abort();
    failed.abort();
    let _ = socket.send(over()).await;
}
