//! The way to the containers of a pod: logs, commands and port-forwards, which the node of the pod serves.

use super::{
    Inner,
    request::{Call, Query},
    status::Status,
    store::Key,
    tree::{list, text},
};
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
        UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long a node may take to answer a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How many bytes the head of an answer may have.
const HEAD: usize = 64 * 1024;

/// The fifth protocol only adds a word for the end of the input, which nodes of the fourth pass over.
const FIFTH: &str = "v5.channel.k8s.io";
const FOURTH: &str = "v4.channel.k8s.io";

/// A node, as seen from here.
struct Target {
    node: String,
    address: String,
    port: u16,
    path: String,
}

/// Where a request leads.
fn target(inner: &Inner, call: &Call) -> Result<Target, Status> {
    let store = inner.store();
    let pod = call.object(&store)?;
    let node = text(pod, "/spec/nodeName").to_owned();
    if node.is_empty() {
        let message = format!("pod {} does not have a host assigned", call.name);
        return Err(Status::bad_request(message));
    }
    let key = Key {
        stored: "nodes".to_owned(),
        namespace: String::new(),
        name: node.clone(),
    };
    let held = store
        .get(&key)
        .ok_or_else(|| Status::internal(format!("nodes \"{node}\" not found")))?;
    let addresses = list(held, "/status/addresses").iter();
    let address = addresses
        .filter(|a| a["type"] == "InternalIP")
        .find_map(|a| a["address"].as_str());
    let port = held.pointer("/status/daemonEndpoints/kubeletEndpoint/Port");
    let port = port.and_then(|p| u16::try_from(p.as_u64()?).ok());
    let (Some(address), Some(port)) = (address, port) else {
        return Err(Status::internal(format!(
            "no preferred addresses found for node \"{node}\""
        )));
    };
    let containers = list(pod, "/spec/containers");
    let container = match call.query.text("container") {
        "" => containers
            .first()
            .map(|c| text(c, "/name"))
            .unwrap_or_default(),
        named => {
            let init = list(pod, "/spec/initContainers").iter();
            if !containers.iter().chain(init).any(|c| c["name"] == named) {
                let message = format!("container {named} is not valid for pod {}", call.name);
                return Err(Status::bad_request(message));
            }
            named
        }
    };
    let (namespace, pod) = (&call.namespace, &call.name);
    let path = match call.subresource.as_deref() {
        Some("log") => format!("/containerLogs/{namespace}/{pod}/{container}"),
        Some("exec") => format!("/exec/{namespace}/{pod}/{container}"),
        _ => format!("/portForward/{namespace}/{pod}"),
    };
    let path = format!(
        "{path}?{}",
        query(&call.query, call.subresource.as_deref() == Some("exec"))
    );
    Ok(Target {
        node,
        address: address.to_owned(),
        port,
        path,
    })
}

/// The words of a query as a node knows them.
fn query(query: &Query, exec: bool) -> String {
    let renamed = |key: &str| {
        match (exec, key) {
            (true, "stdin") => "input",
            (true, "stdout") => "output",
            (true, "stderr") => "error",
            _ => return encoded(key),
        }
        .to_owned()
    };
    let pairs = query.0.iter().filter(|(key, _)| key != "container");
    let pairs: Vec<String> = pairs
        .map(|(key, value)| {
            let value = match (exec && key != "command", value.as_str()) {
                (true, "true") => "1".to_owned(),
                _ => encoded(value),
            };
            format!("{}={value}", renamed(key))
        })
        .collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// The head of a node's answer.
struct Head {
    code: u16,
    headers: HeaderMap,
}

type Stream = BufReader<TlsStream<TcpStream>>;

/// Sends a request to a node, and reads the head of its answer.
async fn ask(target: &Target, headers: &[(String, String)]) -> io::Result<(Head, Stream)> {
    let tcp = TcpStream::connect((target.address.as_str(), target.port)).await?;
    let name = ServerName::try_from(target.address.clone()).map_err(io::Error::other)?;
    let tls = TlsConnector::from(client()?).connect(name, tcp).await?;
    let mut stream = BufReader::new(tls);
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}:{}\r\n",
        target.path, target.address, target.port
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let first = line(&mut stream).await?;
    let code = first.split(' ').nth(1).and_then(|c| c.parse::<u16>().ok());
    let code = code.ok_or_else(|| io::Error::other(format!("the node says {first:?}")))?;
    let mut headers = HeaderMap::new();
    loop {
        let text = line(&mut stream).await?;
        if text.is_empty() {
            return Ok((Head { code, headers }, stream));
        }
        if let Some((name, value)) = text.split_once(':')
            && let (Ok(name), Ok(value)) = (
                name.parse::<HeaderName>(),
                value.trim().parse::<HeaderValue>(),
            )
        {
            headers.append(name, value);
        }
    }
}

async fn line(stream: &mut Stream) -> io::Result<String> {
    let mut bytes = Vec::new();
    // A line of a head is short; what is not, is none.
    let limit = u64::try_from(HEAD).unwrap_or(u64::MAX);
    stream.take(limit).read_until(b'\n', &mut bytes).await?;
    if bytes.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn asked(target: &Target, headers: &[(String, String)]) -> Result<(Head, Stream), Status> {
    let answer = tokio::time::timeout(CONNECT, ask(target, headers)).await;
    let why = match answer {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(e)) => e.to_string(),
        Err(_) => "i/o timeout".to_owned(),
    };
    let Target {
        node,
        address,
        port,
        path,
    } = target;
    Err(Status::internal(format!(
        "error dialing backend of node {node}: Get \"https://{address}:{port}{path}\": {why}"
    )))
}

/// The rest of an answer as text; how it is framed is seen to.
async fn rest(head: &Head, mut stream: Stream) -> String {
    let mut bytes = Vec::new();
    let length = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    let read = async {
        match length {
            Some(length) => stream
                .take(length)
                .read_to_end(&mut bytes)
                .await
                .map(|_| ()),
            None => {
                while let Some(more) = chunk(head, &mut stream).await {
                    bytes.extend_from_slice(&more);
                }
                Ok(())
            }
        }
    };
    let _ = tokio::time::timeout(CONNECT, read).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The next piece of an answer without a length; `None` at its end.
async fn chunk(head: &Head, stream: &mut Stream) -> Option<Vec<u8>> {
    let chunked = head
        .headers
        .get(TRANSFER_ENCODING)
        .is_some_and(|t| t.as_bytes().ends_with(b"chunked"));
    if !chunked {
        let mut bytes = vec![0; 16 * 1024];
        let n = stream.read(&mut bytes).await.ok()?;
        bytes.truncate(n);
        return (n > 0).then_some(bytes);
    }
    let size = line(stream).await.ok()?;
    let size = size.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16)
        .ok()
        .filter(|s| *s > 0 && *s < 1 << 26)?;
    let mut bytes = vec![0; size];
    stream.read_exact(&mut bytes).await.ok()?;
    line(stream).await.ok()?;
    Some(bytes)
}

/// A refusal of a node, as one of the API.
async fn refusal(head: Head, stream: Stream) -> Status {
    let said = rest(&head, stream).await;
    let said = said.trim().to_owned();
    match head.code {
        400 => Status::bad_request(said),
        404 => Status::new(404, "NotFound", said),
        _ => Status::internal(format!("the node answered {}: {said}", head.code)),
    }
}

/// What a container has printed, and with `follow` what it prints.
pub(super) async fn logs(inner: &Inner, call: &Call) -> Result<Response, Status> {
    let target = target(inner, call)?;
    let close = [("Connection".to_owned(), "close".to_owned())];
    let (head, stream) = asked(&target, &close).await?;
    if head.code != 200 {
        return Err(refusal(head, stream).await);
    }
    let length = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    let body = futures::stream::unfold(
        (head, stream, length),
        |(head, mut stream, left)| async move {
            let bytes = match left {
                Some(0) => return None,
                _ => chunk(&head, &mut stream).await?,
            };
            let left =
                left.map(|left| left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(left)));
            Some((
                Ok::<Bytes, Infallible>(Bytes::from(bytes)),
                (head, stream, left),
            ))
        },
    );
    let mut response = Response::new(Body::from_stream(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// Passes an upgraded connection through, as it is.
pub(super) async fn upgrade(
    inner: &Inner,
    call: &Call,
    headers: &HeaderMap,
    client: hyper::upgrade::OnUpgrade,
) -> Result<Response, Status> {
    if !headers.contains_key(UPGRADE) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let target = target(inner, call)?;
    let mut fifth = false;
    let mut passed = Vec::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        let mut value = value.to_owned();
        let kept =
            name == UPGRADE || name == CONNECTION || name.as_str().starts_with("sec-websocket-");
        // Without extensions: frames are passed through, not understood.
        if !kept || name == http::header::SEC_WEBSOCKET_EXTENSIONS {
            continue;
        }
        if name == SEC_WEBSOCKET_PROTOCOL && value.contains(FIFTH) && !value.contains(FOURTH) {
            fifth = true;
            value = value.replace(FIFTH, FOURTH);
        }
        passed.push((name.as_str().to_owned(), value));
    }
    let (head, mut node) = asked(&target, &passed).await?;
    if head.code != 101 {
        return Err(refusal(head, node).await);
    }
    let mut closed = inner.closed.subscribe();
    tokio::spawn(async move {
        if let Ok(upgraded) = client.await {
            let mut upgraded = TokioIo::new(upgraded);
            // Either side may end it, in any way; and so may we.
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut upgraded, &mut node) => {}
                _ = closed.changed() => {}
            }
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in &head.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    if fifth && response.headers().contains_key(SEC_WEBSOCKET_PROTOCOL) {
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(FIFTH));
    }
    Ok(response)
}

/// Nodes show a certificate that nobody has signed; they are on loopback.
fn client() -> io::Result<Arc<rustls::ClientConfig>> {
    crate::systems::tls::install();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider
        .signature_verification_algorithms
        .supported_schemes();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(schemes)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
