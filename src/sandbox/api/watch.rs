//! Collections: lists, page by page, and watches, which tell of every change from a version on.

use super::{
    Inner,
    request::{Call, Shape},
    status::{Status, answer},
    store::{Change, Key, Store, Told},
    table,
};
use axum::{body::Body, body::Bytes, response::Response};
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{
        GeneralPurpose,
        general_purpose::{NO_PAD, URL_SAFE_NO_PAD},
    },
};
use http::{HeaderValue, header::CONTENT_TYPE};
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::Instant,
};

/// How often a watch that wants to know is told up to which version it has seen everything.
const BOOKMARK: Duration = Duration::from_secs(15);
/// How long a watch lasts that does not say it.
const LONGEST: u64 = 1800;

fn within(call: &Call) -> Option<&str> {
    let one = call.kind.namespaced && !call.namespace.is_empty();
    one.then_some(call.namespace.as_str())
}

/// A list, or a page of it.
pub(super) fn list(store: &Store, call: &Call) -> Result<Value, Status> {
    let limit = call
        .query
        .get("limit")
        .and_then(|l| l.parse::<usize>().ok())
        .filter(|l| *l > 0);
    let start = match call.query.text("continue") {
        "" => None,
        token => Some(begin(store, call, token)?),
    };
    let version = start
        .as_ref()
        .map_or(store.version(), |(version, _)| *version);
    let all = store.of(&call.kind.stored, within(call));
    let later = all.filter(|(key, _)| start.as_ref().is_none_or(|(_, last)| *key > last));
    let fitting = later.filter(|(_, object)| call.selector.matches(object));
    let mut found: Vec<(&Key, &Value)> = fitting.collect();
    let mut meta = json!({ "resourceVersion": version.to_string() });
    if let Some(limit) = limit.filter(|l| *l < found.len()) {
        let left = found.len() - limit;
        found.truncate(limit);
        if let Some((key, _)) = found.last() {
            let token = json!([version, key.namespace, key.name]).to_string();
            meta["continue"] = json!(URL_SAFE_NO_PAD.encode(token));
            if call.selector.is_empty() {
                meta["remainingItemCount"] = json!(left);
            }
        }
    }
    let objects: Vec<&Value> = found.into_iter().map(|(_, object)| object).collect();
    Ok(match call.shape {
        Shape::Table => table::table(&call.kind, &objects, meta, true),
        Shape::Metadata => {
            let items: Vec<Value> = objects.iter().map(|o| table::metadata(o)).collect();
            json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items })
        }
        Shape::Whole => {
            let items: Vec<Value> = objects
                .iter()
                .map(|o| {
                    let mut shown = call.kind.shown(o);
                    // Items of a list of a built-in kind do not say again what they are.
                    if !call.kind.custom {
                        super::tree::take(&mut shown, "kind");
                        super::tree::take(&mut shown, "apiVersion");
                    }
                    shown
                })
                .collect();
            json!({ "kind": format!("{}List", call.kind.kind), "apiVersion": call.kind.api_version(), "metadata": meta, "items": items })
        }
    })
}

/// Where the next page begins: its version, and the last object of the page before.
fn begin(store: &Store, call: &Call, token: &str) -> Result<(u64, Key), Status> {
    let no_key = |why: String| {
        let message = format!("invalid continue token: continue key is not valid: {why}");
        Status::bad_request(message)
    };
    // As lenient as the decoder of a real server.
    let lenient = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    let bytes = lenient.decode(token);
    let bytes = bytes.map_err(|wrong| no_key(wrong.to_string()))?;
    let read = serde_json::from_slice::<(u64, String, String)>(&bytes);
    let (version, namespace, name) =
        read.map_err(|wrong| no_key(super::request::said(&bytes, &wrong)))?;
    if version < store.floor() {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";
        return Err(Status::new(410, "Expired", message));
    }
    let stored = call.kind.stored.clone();
    Ok((
        version,
        Key {
            stored,
            namespace,
            name,
        },
    ))
}

/// What a watch has to tell, and where it is.
struct Watcher {
    call: Call,
    /// Everything up to here was told.
    seen: u64,
    with_columns: bool,
    out: mpsc::Sender<Bytes>,
}

impl Watcher {
    async fn event(&mut self, word: &str, object: &Value) -> Result<(), ()> {
        let shown = match word {
            "BOOKMARK" | "ERROR" => object.clone(),
            _ => {
                let shown = table::one(&self.call.kind, object, self.call.shape, self.with_columns);
                self.with_columns = false;
                shown
            }
        };
        let line = format!("{}\n", json!({ "type": word, "object": shown }));
        self.out.send(Bytes::from(line)).await.map_err(|_| ())
    }

    async fn tell(&mut self, change: &Change) -> Result<(), ()> {
        if change.version <= self.seen {
            return Ok(());
        }
        self.seen = change.version;
        let inside = within(&self.call).is_none_or(|n| n == change.namespace);
        if change.stored != self.call.kind.stored || !inside {
            return Ok(());
        }
        let fits = |object: &Option<Value>| {
            object
                .as_ref()
                .filter(|o| self.call.selector.matches(o))
                .cloned()
        };
        let (was, is) = (fits(&change.before), fits(&change.after));
        match (was, is) {
            (Some(_), Some(is)) => self.event("MODIFIED", &is).await,
            (None, Some(is)) => self.event("ADDED", &is).await,
            (Some(mut was), None) => {
                let version = json!(change.version.to_string());
                *super::tree::at(&mut was, &["metadata", "resourceVersion"]) = version;
                self.event("DELETED", &was).await
            }
            (None, None) => Ok(()),
        }
    }

    /// Up to which version everything was told.
    async fn bookmark(&mut self, first: bool) -> Result<(), ()> {
        let mut meta =
            json!({ "resourceVersion": self.seen.to_string(), "creationTimestamp": null });
        if first {
            meta["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let kind = &self.call.kind;
        let mark = json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": meta });
        self.event("BOOKMARK", &mark).await
    }
}

/// A watch: it begins with what is there, or after a version.
pub(super) fn watch(inner: &Arc<Inner>, call: Call) -> Response {
    let (out, lines) = mpsc::channel::<Bytes>(64);
    let body = futures::stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((Ok::<Bytes, Infallible>(line), lines))
    });
    let asked = call
        .query
        .text("resourceVersion")
        .parse::<u64>()
        .unwrap_or(0);
    let initial = call.query.is_true("sendInitialEvents");
    let (heard, first, later, version, refused) = {
        let store = inner.store();
        let heard = store.listen();
        let refused = (asked > 0 && !initial && (asked < store.floor() || asked > store.version()))
            .then(|| Status::expired(asked, store.floor()));
        let whole = asked == 0 || initial;
        let first: Vec<Value> = match whole {
            true => {
                let all = store.of(&call.kind.stored, within(&call));
                all.filter(|(_, o)| call.selector.matches(o))
                    .map(|(_, o)| o.clone())
                    .collect()
            }
            false => Vec::new(),
        };
        let later = if whole {
            Vec::new()
        } else {
            store.since(asked)
        };
        (heard, first, later, store.version(), refused)
    };
    let seen = if asked == 0 || initial {
        version
    } else {
        asked
    };
    let lasts = call
        .query
        .get("timeoutSeconds")
        .and_then(|t| t.parse::<u64>().ok())
        .filter(|t| *t > 0);
    let ends = Instant::now() + Duration::from_secs(lasts.unwrap_or(LONGEST));
    let marks = call.query.is_true("allowWatchBookmarks");
    let mut watcher = Watcher {
        call,
        seen,
        with_columns: true,
        out,
    };
    tokio::spawn(async move {
        let told = async {
            if let Some(refused) = refused {
                return watcher.event("ERROR", &refused.value()).await;
            }
            for object in &first {
                watcher.event("ADDED", object).await?;
            }
            if initial {
                watcher.bookmark(true).await?;
            }
            for change in &later {
                watcher.tell(change).await?;
            }
            follow(&mut watcher, heard, ends, marks).await
        };
        // An error: nobody listens any more.
        let _ = told.await;
    });
    let mut response = Response::new(Body::from_stream(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn follow(
    watcher: &mut Watcher,
    mut heard: tokio::sync::broadcast::Receiver<Told>,
    ends: Instant,
    marks: bool,
) -> Result<(), ()> {
    let mut mark = Instant::now() + BOOKMARK;
    let gone = watcher.out.clone();
    loop {
        tokio::select! {
            () = gone.closed() => return Err(()),
            () = tokio::time::sleep_until(ends) => {
                return if marks { watcher.bookmark(false).await } else { Ok(()) };
            }
            () = tokio::time::sleep_until(mark), if marks => {
                watcher.bookmark(false).await?;
                mark = Instant::now() + BOOKMARK;
            }
            told = heard.recv() => match told {
                Ok(Told::Change(change)) => watcher.tell(&change).await?,
                Ok(Told::Reset) | Err(RecvError::Lagged(_)) => {
                    let expired = Status::expired(watcher.seen, watcher.seen + 1);
                    return watcher.event("ERROR", &expired.value()).await;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

/// One object, in the shape that is wanted.
pub(super) fn get(store: &Store, call: &Call) -> Result<Response, Status> {
    let object = call.object(store)?;
    Ok(answer(
        200,
        &table::one(&call.kind, object, call.shape, true),
    ))
}

/// Deletes everything that is selected.
pub(super) fn delete_all(store: &mut Store, call: &Call) -> Result<Value, Status> {
    let whole = Call {
        shape: Shape::Whole,
        ..call.clone()
    };
    let list = list(store, &whole)?;
    let all = store.of(&call.kind.stored, within(call));
    let fitting = all.filter(|(_, object)| call.selector.matches(object));
    let keys: Vec<Key> = fitting.map(|(key, _)| key.clone()).collect();
    for key in keys {
        super::removal::remove(store, &call.kind, &key, &call.options(), call.is_dry())?;
    }
    Ok(list)
}
