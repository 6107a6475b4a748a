//! A request as it was meant: the kind and the name in its path, the words of its query, who asks.

use super::{
    apply::Manager,
    kinds::{Kind, built_in},
    protobuf,
    select::Selector,
    status::{Cause, Status},
    store::{Key, Store},
    tree::{decoded, text},
};
use http::{HeaderMap, Method, header, request::Parts};
use serde_json::{Value, json};
use std::sync::Arc;

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct User {
    pub name: String,
    pub groups: Vec<String>,
}

impl User {
    /// May they do it? Masters may do everything, viewers may look.
    pub(super) fn may(&self, verb: &str) -> bool {
        let is = |group: &str| self.groups.iter().any(|g| g == group);
        is("system:masters") || (is("viewers") && ["get", "list", "watch"].contains(&verb))
    }
}

/// The words of a query.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(pub Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|p| !p.is_empty());
        let word = |text: &str| decoded(&text.replace('+', " "));
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (word(key), word(value))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter().filter(|(key, _)| key == name);
        all.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "True"))
    }
}

/// In which shape the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Table,
    Metadata,
}

/// A request for objects of one kind.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: Method,
    pub kind: Arc<Kind>,
    pub namespace: String,
    /// Empty for the whole collection.
    pub name: String,
    pub subresource: Option<String>,
    pub query: Query,
    pub selector: Selector,
    pub shape: Shape,
    pub user: User,
    pub(super) agent: String,
    pub content: String,
    pub body: Vec<u8>,
}

/// What a path leads to.
pub(super) enum Place {
    /// A list of resources: group and version.
    Resources(String, String),
    Objects {
        group: String,
        version: String,
        plural: String,
        namespace: String,
        name: String,
        subresource: Option<String>,
    },
}

/// Reads a path below `/api` or `/apis`.
pub(super) fn place(path: &str) -> Option<Place> {
    let parts: Vec<String> = path
        .split('/')
        .filter(|p| !p.is_empty())
        .map(decoded)
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts[..] {
        ["api", version, ref rest @ ..] => ("", version, rest),
        ["apis", group, version, ref rest @ ..] => (group, version, rest),
        _ => return None,
    };
    let (group, version) = (group.to_owned(), version.to_owned());
    let (namespace, rest) = match *rest {
        [] => return Some(Place::Resources(group, version)),
        ["namespaces", _, "status" | "finalize", ..] => ("", rest),
        ["namespaces", namespace, ref inner @ ..] if !inner.is_empty() => (namespace, inner),
        _ => ("", rest),
    };
    let (plural, name, subresource) = match *rest {
        [plural] => (plural, "", None),
        [plural, name] => (plural, name, None),
        [plural, name, subresource] => (plural, name, Some(subresource.to_owned())),
        _ => return None,
    };
    Some(Place::Objects {
        group,
        version,
        plural: plural.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource,
    })
}

fn header_of(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

impl Call {
    pub(super) fn new(
        parts: &Parts,
        user: User,
        kind: Arc<Kind>,
        (namespace, name, subresource): (String, String, Option<String>),
        body: Vec<u8>,
    ) -> Result<Self, Status> {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let mut selector = query.text("fieldSelector").to_owned();
        // Watches of one object by its path are old, but asked for.
        if parts.method == Method::GET && query.is_true("watch") && !name.is_empty() {
            selector = format!("metadata.name={name}");
        }
        let selector = Selector::parse(query.text("labelSelector"), &selector)?;
        selector.is_known(&kind)?;
        let accept = header_of(&parts.headers, header::ACCEPT);
        let first = accept
            .split(',')
            .find(|a| a.contains("json") || a.contains("*/*"));
        let shape = match first.unwrap_or_default() {
            a if a.contains("as=Table") => Shape::Table,
            a if a.contains("as=PartialObjectMetadata") => Shape::Metadata,
            _ => Shape::Whole,
        };
        let content = header_of(&parts.headers, header::CONTENT_TYPE);
        let content = content
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        Ok(Self {
            method: parts.method.clone(),
            kind,
            namespace,
            name,
            subresource,
            query,
            selector,
            shape,
            user,
            agent: header_of(&parts.headers, header::USER_AGENT),
            content,
            body,
        })
    }

    /// The word for what is done, as rights name it.
    pub(super) fn verb(&self) -> &'static str {
        let whole = self.name.is_empty();
        match self.method.as_str() {
            "GET" | "HEAD" if self.query.is_true("watch") => "watch",
            "GET" | "HEAD" if whole => "list",
            "GET" | "HEAD"
                if matches!(
                    self.subresource.as_deref(),
                    Some("exec" | "attach" | "portforward")
                ) =>
            {
                "create"
            }
            "GET" | "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if whole => "deletecollection",
            _ => "delete",
        }
    }

    /// Refuses what whoever asks may not do.
    pub(super) fn allow(&self) -> Result<(), Status> {
        let verb = self.verb();
        if self.user.may(verb) {
            return Ok(());
        }
        let Kind {
            plural,
            group,
            namespaced,
            ..
        } = &*self.kind;
        let resource = match &self.subresource {
            Some(subresource) => format!("{plural}/{subresource}"),
            None => plural.clone(),
        };
        // A namespace stands in itself, by the rules of rights.
        let within = match (*namespaced, self.kind.stored == "namespaces") {
            (true, _) => self.namespace.as_str(),
            (false, true) => self.name.as_str(),
            (false, false) => "",
        };
        let scope = match within {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let user = &self.user.name;
        let why = format!(
            "User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
        );
        Err(Status::forbidden(&self.kind, &self.name, &why))
    }

    /// The part of a kind that is asked for, as the server calls it.
    pub(super) fn part(&self) -> Kind {
        let plural = match &self.subresource {
            Some(part) => format!("{}/{part}", self.kind.plural),
            None => self.kind.plural.clone(),
        };
        Kind {
            plural,
            ..(*self.kind).clone()
        }
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.kind, &self.namespace, &self.name)
    }

    /// The object that is meant; a refusal where there is none.
    pub(super) fn object<'s>(&self, store: &'s Store) -> Result<&'s Value, Status> {
        let found = store.get(&self.key());
        found.ok_or_else(|| Status::not_found(&self.kind, &self.name))
    }

    /// Nothing is to be stored.
    pub(super) fn is_dry(&self) -> bool {
        self.query.get("dryRun").is_some_and(|d| !d.is_empty())
            || self.options()["dryRun"]
                .as_array()
                .is_some_and(|d| !d.is_empty())
    }

    /// The options of a deletion, from its body or its query.
    pub(super) fn options(&self) -> Value {
        if self.method != Method::DELETE {
            return Value::Null;
        }
        let mut out = serde_json::from_slice::<Value>(&self.body).unwrap_or(Value::Null);
        if !out.is_object() {
            out = json!({});
        }
        if let Some(policy) = self.query.get("propagationPolicy") {
            out["propagationPolicy"] = json!(policy);
        }
        let grace = self
            .query
            .get("gracePeriodSeconds")
            .and_then(|g| g.parse::<u64>().ok());
        if let Some(grace) = grace {
            out["gracePeriodSeconds"] = json!(grace);
        }
        out
    }

    /// The body as an object, which has to be of the kind that the path names where it says one.
    pub(super) fn sent(&self) -> Result<Value, Status> {
        let object = self.parsed()?;
        if !object.is_object() {
            return Err(Status::bad_request(
                "the object provided is unrecognized (must be of type Object)",
            ));
        }
        if !object["metadata"].is_object() && !object["metadata"].is_null() {
            return Err(Status::bad_request("metadata has to be a mapping"));
        }
        Ok(object)
    }

    /// The body, whatever it is written in.
    pub(super) fn parsed(&self) -> Result<Value, Status> {
        parsed(&self.body, &self.content, &self.kind.kind)
    }

    /// Is a trial asked for in a way that there is?
    pub(super) fn trial(&self, options: &str) -> Result<(), Status> {
        let mut asked = self.query.0.iter().filter(|(key, _)| key == "dryRun");
        match asked.find(|(_, how)| !how.is_empty() && how != "All") {
            None => Ok(()),
            Some((_, how)) => {
                let shown = format!("[]string{{{how:?}}}");
                let cause = Cause::unsupported("dryRun", &shown, "\"All\"");
                Err(Status::options(options, cause))
            }
        }
    }

    /// Whether what was sent is of the kind that the path names.
    pub(super) fn fits(&self, object: &Value) -> Result<(), Status> {
        let (kind, version) = (text(object, "/kind"), text(object, "/apiVersion"));
        let wanted = self.kind.api_version();
        let is_other = !kind.is_empty() && kind != self.kind.kind;
        if is_other || (!version.is_empty() && version != wanted) {
            let (group, number) = version.split_once('/').unwrap_or(("", version));
            let known = built_in()
                .iter()
                .any(|k| k.kind == kind && k.group == group && k.version == number);
            let why = match known {
                true => format!(
                    "converting ({number}.{kind}) to ({}.{}): unknown conversion",
                    internal(&self.kind.group),
                    self.kind.kind
                ),
                false => format!(
                    "no kind {kind:?} is registered for version {version:?} in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""
                ),
            };
            return Err(Status::bad_request(format!(
                "{kind} in version {number:?} cannot be handled as a {}: {why}",
                self.kind.kind
            )));
        }
        let namespace = text(object, "/metadata/namespace");
        if self.kind.namespaced && !namespace.is_empty() && namespace != self.namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let name = text(object, "/metadata/name");
        if !self.name.is_empty() && !name.is_empty() && name != self.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.name
            )));
        }
        Ok(())
    }

    /// Whose fields these will be.
    pub(super) fn manager(&self) -> Manager {
        let agent = self.agent.split(['/', ' ']).next().unwrap_or_default();
        let name = match (self.query.get("fieldManager"), agent) {
            (Some(name), _) if !name.is_empty() => name,
            (_, "") => "unknown",
            (_, agent) => agent,
        };
        Manager {
            name: name.to_owned(),
            api_version: self.kind.api_version(),
            subresource: self.subresource.clone(),
        }
    }
}

/// How the server calls a group within itself.
fn internal(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    }
}

/// A body in JSON, in YAML, or in kubectl's binary form.
pub(super) fn parsed(body: &[u8], content: &str, kind: &str) -> Result<Value, Status> {
    let wrong = match serde_json::from_slice::<Value>(body) {
        Ok(value) => return Ok(value),
        Err(wrong) => wrong,
    };
    if protobuf::is_one(body) {
        return protobuf::read(body).ok_or_else(|| {
            Status::bad_request("the sandbox reads this kind as JSON only: give a manifest")
        });
    }
    if content.ends_with("yaml") {
        let read = crate::domain::yaml::read(body).map_err(|finding| {
            Status::bad_request(format!("error decoding YAML: {}", finding.message))
        })?;
        return Ok(read.to_json());
    }
    let (said, shown) = (said(body, &wrong), begins(body));
    Err(Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {said} ({shown})"
    )))
}

/// What is wrong with a body, in the words of Go's decoder.
pub(super) fn said(body: &[u8], wrong: &serde_json::Error) -> String {
    if wrong.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let lines = body
        .split(|b| *b == b'\n')
        .take(wrong.line().saturating_sub(1));
    let before: usize = lines.map(|line| line.len() + 1).sum();
    let at = body.get(before + wrong.column().saturating_sub(1));
    let sign = match at {
        Some(b) if b.is_ascii_graphic() || *b == b' ' => char::from(*b).to_string(),
        Some(b) => format!("\\u{b:04x}"),
        None => "?".to_owned(),
    };
    let text = wrong.to_string();
    let place = match text.split(" at line").next().unwrap_or_default() {
        "key must be a string" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        _ => "looking for beginning of value",
    };
    format!("invalid character '{sign}' {place}")
}

/// The beginning of a body, as it is shown to whoever sent it.
fn begins(body: &[u8]) -> String {
    const MOST: usize = 30;
    let text = String::from_utf8_lossy(body);
    let start: String = text.chars().take(MOST).collect();
    match (start.is_empty(), start.len() < text.len()) {
        (true, _) => "<empty>".to_owned(),
        (false, true) => format!("{start} ..."),
        (false, false) => start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_objects() {
        for (path, wanted) in [
            ("/api/v1/namespaces/a", "//v1/namespaces//a/"),
            ("/api/v1/namespaces/a/status", "//v1/namespaces//a/status"),
            ("/api/v1/namespaces/a/pods", "//v1/pods/a//"),
            (
                "/apis/apps/v1/namespaces/a/deployments/x/scale",
                "/apps/v1/deployments/a/x/scale",
            ),
            ("/apis/apps/v1/deployments", "/apps/v1/deployments///"),
            (
                "/apis/r/v1/clusterroles/system%3Anode",
                "/r/v1/clusterroles//system:node/",
            ),
        ] {
            let Some(Place::Objects {
                group,
                version,
                plural,
                namespace,
                name,
                subresource,
            }) = place(path)
            else {
                panic!("{path}")
            };
            let subresource = subresource.unwrap_or_default();
            let said = format!("/{group}/{version}/{plural}/{namespace}/{name}/{subresource}");
            assert_eq!(said, wanted, "{path}");
        }
    }
}
