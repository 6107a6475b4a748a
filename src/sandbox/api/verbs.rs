//! Making and changing objects: create, update and the patches, with everything that a real server does
//! on the way.

use super::{
    admission,
    apply::{self, Manager},
    defaults,
    kinds::Kind,
    patch::{json as json_patch, merge, strategic},
    removal,
    request::Call,
    schema,
    status::{Cause, Status},
    store::Store,
    tree::{self, at, list, map, take, text},
    validate,
};
use serde_json::{Value, json};

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// Metadata that belong to the server.
const KEPT: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

/// Makes an object.
pub(super) fn create(store: &mut Store, call: &Call) -> Result<Value, Status> {
    let object = call.sent()?;
    call.fits(&object)?;
    readable(call, &object)?;
    call.trial("CreateOptions")?;
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Status::new(500, "", why));
    }
    made(store, call, object, None)
}

/// Refuses an object in which a value is of another type than its field.
fn readable(call: &Call, object: &Value) -> Result<(), Status> {
    let Kind { kind, version, .. } = &*call.kind;
    match schema::mistyped(&call.kind, object) {
        None => Ok(()),
        Some(why) => Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        ))),
    }
}

/// What the definition of a custom kind takes away, and what it does not take at all.
fn as_defined(store: &Store, kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let Some(schema) = schema::of(store, kind) else {
        return Ok(());
    };
    schema::prune(&schema, object);
    schema::complete(&schema, object);
    let mut causes = Vec::new();
    schema::check(&schema, object, "", &mut causes);
    validate::refuse(kind, object, &causes)
}

fn made(
    store: &mut Store,
    call: &Call,
    mut object: Value,
    applied: Option<&Manager>,
) -> Result<Value, Status> {
    let kind = &call.kind;
    tree::without_nulls(&mut object);
    kind.to_store(&mut object);
    let meta = at(&mut object, &["metadata"]);
    for key in KEPT
        .iter()
        .filter(|k| !["name", "generateName"].contains(k))
    {
        take(meta, key);
    }
    if applied.is_none() {
        take(meta, "managedFields");
    }
    let start = text(meta, "/generateName").to_owned();
    if text(meta, "/name").is_empty() && !start.is_empty() {
        map(meta).insert(
            "name".to_owned(),
            json!(format!("{start}{}", tree::suffix())),
        );
    }
    let name = text(meta, "/name").to_owned();
    let all = map(meta);
    if kind.namespaced {
        all.insert("namespace".to_owned(), json!(call.namespace));
    }
    all.insert("uid".to_owned(), json!(tree::uid()));
    all.insert("creationTimestamp".to_owned(), json!(tree::now()));
    if defaults::has_generation(kind) {
        all.insert("generation".to_owned(), json!(1));
    }
    if kind.namespaced {
        room(store, call, &name)?;
    }
    defaults::fill(kind, &mut object);
    defaults::begin(kind, &mut object, store);
    validate::new(kind, &object)?;
    as_defined(store, kind, &mut object)?;
    if kind.namespaced {
        admission::quota(store, kind, &call.namespace, &name)?;
    }
    let key = super::store::Key::new(kind, &call.namespace, &name);
    if let Some(held) = store.get(&key) {
        let mut status = Status::exists(kind, &name);
        if removal::is_terminating(held) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        return Err(status);
    }
    match applied {
        Some(_) => apply::settle(&mut object),
        None => call.manager().note(None, &mut object),
    }
    let stored = if call.is_dry() {
        object
    } else {
        store.put(key, object)
    };
    Ok(kind.shown(&stored))
}

/// Refuses what would stand in a namespace that is not there, or goes.
fn room(store: &Store, call: &Call, name: &str) -> Result<(), Status> {
    let namespace = &call.namespace;
    let held = store.get(&defaults::namespace_key(namespace));
    let held = held.ok_or_else(|| Status::namespace_not_found(namespace))?;
    if !removal::is_terminating(held) {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut status = Status::forbidden(&call.kind, name, &why);
    let cause = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    status.details.insert("causes".to_owned(), cause);
    Err(status)
}

/// Puts an object in the place of the one that is there.
pub(super) fn update(store: &mut Store, call: &Call) -> Result<Value, Status> {
    let object = call.sent()?;
    call.fits(&object)?;
    readable(call, &object)?;
    call.trial("UpdateOptions")?;
    let old = call.object(store)?.clone();
    seen(call, &old, &object)?;
    changed(store, call, &old, object, None)
}

/// Refuses a change of another version, or another object, than whoever asks has seen.
fn seen(call: &Call, old: &Value, new: &Value) -> Result<(), Status> {
    let (was, is) = (text(old, "/metadata/uid"), text(new, "/metadata/uid"));
    if !is.is_empty() && was != is {
        let place = store_path(call);
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {is}, UID in object meta: {was}"
        );
        return Err(Status::conflict(&call.kind, &call.name, &why));
    }
    let version = text(new, "/metadata/resourceVersion");
    let stale = !version.is_empty() && version != text(old, "/metadata/resourceVersion");
    match stale {
        true => Err(Status::conflict(&call.kind, &call.name, MODIFIED)),
        false => Ok(()),
    }
}

/// Where a real server would have the object in its own store.
fn store_path(call: &Call) -> String {
    let Kind { group, plural, .. } = &*call.kind;
    let mut path = "/registry".to_owned();
    let custom = call.kind.custom.then_some(group.as_str());
    let parts = [
        custom,
        Some(plural),
        Some(&call.namespace),
        Some(&call.name),
    ];
    for part in parts.into_iter().flatten().filter(|p| !p.is_empty()) {
        path.push('/');
        path.push_str(part);
    }
    path
}

/// Writes a changed object. With `applied`, the notes about managers are in it already.
pub(super) fn changed(
    store: &mut Store,
    call: &Call,
    old: &Value,
    mut new: Value,
    applied: Option<&Manager>,
) -> Result<Value, Status> {
    let kind = &call.kind;
    let key = call.key();
    tree::without_nulls(&mut new);
    kind.to_store(&mut new);
    let part = call.subresource.as_deref();
    let mut new = match part {
        Some("status") => {
            let mut new = only(old, new, &["status"]);
            as_defined(store, kind, &mut new)?;
            new
        }
        Some("finalize") => only(old, new, &["spec", "finalizers"]),
        _ => new,
    };
    let meta = map(at(&mut new, &["metadata"]));
    for key in KEPT {
        match old["metadata"].get(key) {
            Some(value) => meta.insert(key.to_owned(), value.clone()),
            None => meta.shift_remove(key),
        };
    }
    if list(&new, "/metadata/finalizers").is_empty() {
        take(at(&mut new, &["metadata"]), "finalizers");
    }
    if !matches!(part, Some("status" | "finalize")) {
        if kind.status {
            match old.get("status") {
                Some(status) => *at(&mut new, &["status"]) = status.clone(),
                None => {
                    take(&mut new, "status");
                }
            }
        }
        inherit(call, old, &mut new);
        defaults::fill(kind, &mut new);
        validate::change(kind, old, &new)?;
        as_defined(store, kind, &mut new)?;
        no_new_finalizers(call, old, &new)?;
        let noted = kind.stored == "deployments.apps" && notes(old) != notes(&new);
        if defaults::has_generation(kind) && (wish(old) != wish(&new) || noted) {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
            *at(&mut new, &["metadata", "generation"]) = json!(generation + 1);
        }
    }
    match applied {
        Some(_) => apply::settle(&mut new),
        None => call.manager().note(Some(old), &mut new),
    }
    if call.is_dry() {
        return Ok(kind.shown(&new));
    }
    if removal::is_over(kind, &new) {
        store.remove(&key);
        return Ok(kind.shown(&new));
    }
    Ok(kind.shown(&store.put(key, new)))
}

/// The old object with one part of the new one, and its notes about managers.
fn only(old: &Value, mut new: Value, path: &[&str]) -> Value {
    let mut out = old.clone();
    let value = at(&mut new, path).take();
    *at(&mut out, path) = value;
    let managers = at(&mut new, &["metadata", "managedFields"]).take();
    if managers.is_array() {
        *at(&mut out, &["metadata", "managedFields"]) = managers;
    }
    tree::without_nulls(&mut out);
    out
}

/// What a change that does not speak of it leaves as it is.
fn inherit(call: &Call, old: &Value, new: &mut Value) {
    if call.kind.stored == "services" && new["spec"]["type"] != "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if let Some(held) = old["spec"].get(field) {
                tree::absent(at(new, &["spec"]), field, held.clone());
            }
        }
    }
    if call.kind.stored == "namespaces" || call.kind.stored == "jobs.batch" {
        for field in ["finalizers", "selector"] {
            if let Some(held) = old["spec"].get(field) {
                tree::absent(at(new, &["spec"]), field, held.clone());
            }
        }
    }
}

/// The annotations of people: what the controller notes beside the status is no wish.
fn notes(object: &Value) -> Vec<(&String, &Value)> {
    let all = object["metadata"]["annotations"].as_object();
    let of_people = |key: &str| !key.starts_with("deployment.kubernetes.io/");
    let mut all: Vec<_> = all
        .into_iter()
        .flatten()
        .filter(|(k, _)| of_people(k))
        .collect();
    all.sort_by_key(|(key, _)| key.as_str());
    all
}

/// The part of an object whose changes its generation counts.
fn wish(object: &Value) -> Value {
    let mut out = object.clone();
    for key in ["metadata", "status", "kind", "apiVersion"] {
        take(&mut out, key);
    }
    out
}

fn no_new_finalizers(call: &Call, old: &Value, new: &Value) -> Result<(), Status> {
    let held = list(old, "/metadata/finalizers");
    let added = list(new, "/metadata/finalizers")
        .iter()
        .filter(|f| !held.contains(f));
    let added: Vec<String> = added.map(Value::to_string).collect();
    if added.is_empty() || !removal::is_terminating(old) {
        return Ok(());
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    let cause = Cause::forbidden("metadata.finalizers", &why);
    Err(Status::invalid(&call.kind, &call.name, &[cause]))
}

/// Changes a part of an object; with an apply patch, makes it when it is not there. Says whether it did.
pub(super) fn patch(store: &mut Store, call: &Call) -> Result<(bool, Value), Status> {
    if call.content == "application/apply-patch+yaml" {
        return applied(store, call);
    }
    call.trial("PatchOptions")?;
    let old = call.object(store)?.clone();
    let new = patched(call, &call.kind.shown(&old))?;
    call.fits(&new)?;
    if let Some(why) = schema::mistyped(&call.kind, &new) {
        let shown = format!("{:?}", new.to_string());
        let cause = Cause::invalid("patch", &shown, &why);
        return Err(Status::refused("", "", "", &[cause]));
    }
    seen(call, &old, &new)?;
    Ok((false, changed(store, call, &old, new, None)?))
}

/// An object with the patch of a request in it.
pub(super) fn patched(call: &Call, object: &Value) -> Result<Value, Status> {
    let merge = call.content == "application/merge-patch+json";
    let patch = call.parsed().map_err(|status| match merge {
        true => Status::new(500, "", "Invalid JSON Patch"),
        false => status,
    })?;
    let mut out = object.clone();
    match call.content.as_str() {
        "application/json-patch+json" => {
            // A real server does not say either which step it was.
            out = json_patch::apply(object, &patch).map_err(|_| {
                let said = "the server rejected our request due to an error in our request";
                Status::new(422, "Invalid", said)
            })?;
        }
        "application/merge-patch+json" => merge::apply(&mut out, &patch),
        "application/strategic-merge-patch+json" if !call.kind.custom => {
            strategic::apply(&mut out, &patch);
        }
        content if !content.ends_with("patch+json") => {
            let said = "415: Unsupported Media Type";
            return Err(Status::new(415, "UnsupportedMediaType", said));
        }
        _ => {
            let said = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Err(Status::new(415, "UnsupportedMediaType", said));
        }
    }
    match out.is_object() && (out["metadata"].is_object() || out["metadata"].is_null()) {
        true => Ok(out),
        false => Err(Status::bad_request(
            "after the patch it is not an object any more",
        )),
    }
}

fn applied(store: &mut Store, call: &Call) -> Result<(bool, Value), Status> {
    if call.query.text("fieldManager").is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(Status::options("PatchOptions", cause));
    }
    call.trial("PatchOptions")?;
    let mut config = call.sent()?;
    call.fits(&config)?;
    readable(call, &config)?;
    tree::without_nulls(&mut config);
    if !list(&config, "/metadata/managedFields").is_empty() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    *at(&mut config, &["metadata", "name"]) = json!(call.name);
    let manager = call.manager();
    let force = call.query.is_true("force");
    let old = store.get(&call.key()).cloned();
    let Some(old) = old else {
        if call.subresource.is_some() || !text(&config, "/metadata/uid").is_empty() {
            return Err(Status::not_found(&call.kind, &call.name));
        }
        // Nobody owns anything yet.
        let new = manager.apply(None, &config, force).unwrap_or(config);
        return Ok((true, made(store, call, new, Some(&manager))?));
    };
    seen(call, &old, &config)?;
    let new = manager.apply(Some(&old), &config, force).map_err(|conflicts| {
        let causes: Vec<Value> = conflicts
            .iter()
            .flat_map(|c| c.fields.iter().map(|f| (c.manager.clone(), f.clone())))
            .map(|(manager, field)| json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": field }))
            .collect();
        let mut status = Status::new(409, "Conflict", apply::told(&conflicts));
        status.details.insert("causes".to_owned(), Value::Array(causes));
        status
    })?;
    Ok((false, changed(store, call, &old, new, Some(&manager))?))
}
