//! From a request to what answers it: who asks, what the path means, and whether they may.

use super::{
    Inner, discovery,
    kinds::REVIEWS,
    parts, proxy, removal,
    request::{self, Call, Place, User, place},
    status::{Status, answer as json_answer, raw},
    verbs, watch,
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, Request, header, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use std::sync::Arc;

/// The largest body that is read, in bytes.
const LARGEST: usize = 16 << 20;
/// With a dot where clients ask with an @, which is no media type by the letter: recent ones refuse it.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers a request.
pub(super) async fn answer(inner: &Arc<Inner>, mut request: Request<Incoming>) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(Body::new(body), LARGEST).await else {
        let message = format!("Request entity too large: limit is {LARGEST}");
        return Status::new(413, "RequestEntityTooLarge", message).into_response();
    };
    let answered = routed(inner, &parts, body.to_vec(), upgrade).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// Whose token it is; nobody's without one.
fn user(inner: &Inner, headers: &HeaderMap) -> Result<User, Status> {
    let held = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    let Some(held) = held else {
        let groups = vec!["system:unauthenticated".to_owned()];
        return Ok(User {
            name: "system:anonymous".to_owned(),
            groups,
        });
    };
    let token = held.strip_prefix("Bearer ").unwrap_or_default();
    let mut user = inner.user(token.trim()).ok_or_else(Status::unauthorized)?;
    if !user.groups.iter().any(|g| g == "system:authenticated") {
        user.groups.push("system:authenticated".to_owned());
    }
    Ok(user)
}

async fn routed(
    inner: &Arc<Inner>,
    parts: &Parts,
    body: Vec<u8>,
    upgrade: OnUpgrade,
) -> Result<Response, Status> {
    let user = user(inner, &parts.headers)?;
    let path = parts.uri.path().trim_end_matches('/');
    let first = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    match first {
        "healthz" | "livez" | "readyz" => {
            return Ok(raw(200, "text/plain; charset=utf-8", b"ok".to_vec()));
        }
        "version" => return Ok(json_answer(200, &discovery::version(&inner.version))),
        _ => {}
    }
    let place = place(path);
    if let Some(Place::Objects {
        group,
        version,
        plural,
        namespace,
        name,
        subresource,
    }) = place
    {
        if let Some(kind) = review(&group, &version, &plural) {
            return reviewed(kind, &format!("{group}/{version}"), parts, &user, &body);
        }
        let kind = {
            let store = inner.store();
            let mut all = store.kinds().iter();
            all.find(|k| k.group == group && k.version == version && k.plural == plural)
                .cloned()
        };
        // Who may nothing is told so before anything else.
        let kind =
            kind.ok_or_else(
                || match user.groups.iter().any(|g| g == "system:unauthenticated") {
                    true => stranger(&user, path),
                    false if served(inner, &group) => Status::nowhere(),
                    false => Status::no_page(),
                },
            )?;
        if kind.namespaced == namespace.is_empty() && !(kind.namespaced && name.is_empty()) {
            return Err(Status::nowhere());
        }
        let call = Call::new(parts, user, kind, (namespace, name, subresource), body)?;
        call.allow()?;
        return called(inner, call, &parts.headers, upgrade).await;
    }
    if user.groups.iter().any(|g| g == "system:unauthenticated") {
        return Err(stranger(&user, path));
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(Status::method_not_allowed());
    }
    described(inner, path, place.as_ref(), &parts.headers)
}

/// Does the server know the group at all?
fn served(inner: &Inner, group: &str) -> bool {
    let store = inner.store();
    REVIEWS.iter().any(|(of, ..)| *of == group) || store.kinds().iter().any(|k| k.group == group)
}

fn stranger(user: &User, path: &str) -> Status {
    let message = format!(
        "forbidden: User \"{}\" cannot get path \"{path}\"",
        user.name
    );
    Status::new(403, "Forbidden", message)
}

/// What the server says of itself.
fn described(
    inner: &Inner,
    path: &str,
    place: Option<&Place>,
    headers: &HeaderMap,
) -> Result<Response, Status> {
    let store = inner.store();
    let found = match (path, place) {
        ("/api", _) => Some(discovery::core(&inner.address.to_string())),
        ("/apis", _) => Some(discovery::groups(&store)),
        ("/openapi/v2", _) => {
            let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
            if accept.is_some_and(|a| a.contains("protobuf")) {
                return Ok(raw(200, PROTOBUF, discovery::schema(&inner.version)));
            }
            Some(discovery::schema_json(&inner.version))
        }
        (_, Some(Place::Resources(group, version))) => discovery::resources(&store, group, version),
        (path, _) => path
            .strip_prefix("/apis/")
            .and_then(|group| discovery::group(&store, group)),
    };
    found
        .map(|found| json_answer(200, &found))
        .ok_or_else(Status::nowhere)
}

fn review(group: &str, version: &str, plural: &str) -> Option<&'static str> {
    let found = REVIEWS
        .iter()
        .find(|(g, v, p, _)| (*g, *v, *p) == (group, version, plural));
    found.map(|(.., kind)| *kind)
}

fn reviewed(
    kind: &str,
    version: &str,
    parts: &Parts,
    user: &User,
    body: &[u8],
) -> Result<Response, Status> {
    if parts.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    if user.groups.iter().any(|g| g == "system:unauthenticated") {
        return Err(stranger(user, parts.uri.path()));
    }
    let content = parts.headers.get(header::CONTENT_TYPE);
    let content = content.and_then(|c| c.to_str().ok()).unwrap_or_default();
    let body = request::parsed(body, content, kind)?;
    if kind == "SelfSubjectAccessReview" {
        parts::one_question(&body)?;
    }
    Ok(json_answer(201, &parts::review(kind, version, user, &body)))
}

async fn called(
    inner: &Arc<Inner>,
    call: Call,
    headers: &HeaderMap,
    upgrade: OnUpgrade,
) -> Result<Response, Status> {
    if call.subresource.is_none() && call.method == Method::GET && call.query.is_true("watch") {
        return Ok(watch::watch(inner, call));
    }
    let pods = call.kind.stored == "pods";
    match (call.subresource.as_deref(), call.method.as_str()) {
        (Some("log"), "GET") if pods => return proxy::logs(inner, &call).await,
        (Some("exec" | "portforward"), "GET" | "POST") if pods => {
            return proxy::upgrade(inner, &call, headers, upgrade).await;
        }
        (Some("log" | "exec" | "portforward" | "attach"), _) if pods => {
            return Err(Status::method_not_allowed());
        }
        _ => {}
    }
    let mut store = inner.store();
    if let Some(part) = call.subresource.clone() {
        return below(&mut store, &call, &part);
    }
    let whole = call.name.is_empty();
    match (call.method.as_str(), whole) {
        ("GET" | "HEAD", true) => Ok(json_answer(200, &watch::list(&store, &call)?)),
        ("GET" | "HEAD", false) => watch::get(&store, &call),
        ("POST", true) if call.kind.namespaced == call.namespace.is_empty() => {
            Err(Status::method_not_allowed())
        }
        ("POST", true) => Ok(json_answer(201, &verbs::create(&mut store, &call)?)),
        ("PUT", false) => Ok(json_answer(200, &verbs::update(&mut store, &call)?)),
        ("PATCH", false) => {
            let (made, object) = verbs::patch(&mut store, &call)?;
            Ok(json_answer(if made { 201 } else { 200 }, &object))
        }
        ("DELETE", true) => Ok(json_answer(200, &watch::delete_all(&mut store, &call)?)),
        ("DELETE", false) => {
            call.trial("DeleteOptions")?;
            let (options, dry) = (call.options(), call.is_dry());
            let answer = removal::remove(&mut store, &call.kind, &call.key(), &options, dry)?;
            Ok(json_answer(200, &answer))
        }
        (_, _) => Err(Status::method_not_allowed()),
    }
}

/// A part of an object, as a resource of its own.
fn below(store: &mut super::store::Store, call: &Call, part: &str) -> Result<Response, Status> {
    let pods = call.kind.stored == "pods";
    match (part, call.method.as_str()) {
        ("scale", _) => Ok(json_answer(200, &parts::scale(store, call)?)),
        ("binding", "POST") if pods => Ok(json_answer(201, &parts::bind(store, call)?)),
        ("eviction", "POST") if pods => Ok(json_answer(201, &parts::evict(store, call)?)),
        ("binding" | "eviction", _) if pods => Err(Status::method_not_allowed()),
        ("status", _) if !call.kind.status => Err(Status::nowhere()),
        ("finalize", _) if call.kind.stored != "namespaces" => Err(Status::nowhere()),
        ("status" | "finalize", "GET") => watch::get(store, call),
        ("status" | "finalize", "PUT") => Ok(json_answer(200, &verbs::update(store, call)?)),
        ("status", "PATCH") => Ok(json_answer(200, &verbs::patch(store, call)?.1)),
        ("status" | "finalize", _) => Err(Status::method_not_allowed()),
        (_, _) => Err(Status::nowhere()),
    }
}
