//! What the server says when it refuses: a Status in the shape and the words of a real one.

use super::kinds::Kind;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};

/// A refusal.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Map<String, Value>,
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub field: String,
    reason: &'static str,
    pub message: String,
}

impl Cause {
    /// The value of a field is not taken; `shown` is how it is printed.
    pub(super) fn invalid(field: &str, shown: &str, why: &str) -> Self {
        let message = format!("Invalid value: {shown}: {why}");
        Self {
            field: field.to_owned(),
            reason: "FieldValueInvalid",
            message,
        }
    }

    pub(super) fn required(field: &str, why: &str) -> Self {
        let message = match why {
            "" => "Required value".to_owned(),
            _ => format!("Required value: {why}"),
        };
        Self {
            field: field.to_owned(),
            reason: "FieldValueRequired",
            message,
        }
    }

    /// What a field names is not there.
    pub(super) fn missing(field: &str, shown: &str) -> Self {
        let message = format!("Not found: {shown}");
        Self {
            field: field.to_owned(),
            reason: "FieldValueNotFound",
            message,
        }
    }

    /// The value is none of those that there are; both are given as they are printed.
    pub(super) fn unsupported(field: &str, shown: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: {shown}: supported values: {supported}");
        Self {
            field: field.to_owned(),
            reason: "FieldValueNotSupported",
            message,
        }
    }

    pub(super) fn duplicate(field: &str, shown: &str) -> Self {
        Self {
            field: field.to_owned(),
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {shown}"),
        }
    }

    pub(super) fn forbidden(field: &str, why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        Self {
            field: field.to_owned(),
            reason: "FieldValueForbidden",
            message,
        }
    }
}

fn details(group: &str, called: &str, name: &str) -> Map<String, Value> {
    let mut all = Map::new();
    if !name.is_empty() {
        all.insert("name".to_owned(), json!(name));
    }
    if !group.is_empty() {
        all.insert("group".to_owned(), json!(group));
    }
    all.insert("kind".to_owned(), json!(called));
    all
}

/// Marks what is answered as plain text.
const NO_PAGE: &str = "no page";

fn qualified(called: &str, group: &str) -> String {
    match group {
        "" => called.to_owned(),
        group => format!("{called}.{group}"),
    }
}

impl Status {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
        }
    }

    fn of(code: u16, reason: &'static str, kind: &Kind, name: &str, message: String) -> Self {
        Self {
            details: details(&kind.group, &kind.plural, name),
            ..Self::new(code, reason, message)
        }
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::of(404, "NotFound", kind, name, message)
    }

    /// A path that leads nowhere.
    pub(super) fn nowhere() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// A path in a group or a version that the server does not serve at all: this is not even a Status.
    pub(super) fn no_page() -> Self {
        Self::new(404, NO_PAGE, "404 page not found")
    }

    pub(super) fn namespace_not_found(name: &str) -> Self {
        let mut status = Self::new(404, "NotFound", format!("namespaces \"{name}\" not found"));
        status.details.insert("name".to_owned(), json!(name));
        status
            .details
            .insert("kind".to_owned(), json!("namespaces"));
        status
    }

    pub(super) fn exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::of(409, "AlreadyExists", kind, name, message)
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.resource();
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::of(409, "Conflict", kind, name, message)
    }

    /// The object is not the one, or not in the version, that a deletion is meant for.
    pub(super) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let called = qualified(&kind.kind, &kind.group);
        let message = format!("Operation cannot be fulfilled on {called} \"{name}\": {why}");
        Self {
            details: details(&kind.group, &kind.kind, name),
            ..Self::new(409, "Conflict", message)
        }
    }

    pub(super) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.resource();
        let message = match name {
            "" => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::of(403, "Forbidden", kind, name, message)
    }

    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        Self::refused(&kind.kind, &kind.group, name, causes)
    }

    /// The options of a request are none.
    pub(super) fn options(called: &str, cause: Cause) -> Self {
        Self::refused(called, "meta.k8s.io", "", &[cause])
    }

    /// Something is invalid that is called so in its group.
    pub(super) fn refused(called: &str, group: &str, name: &str, causes: &[Cause]) -> Self {
        let said: Vec<String> = causes
            .iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect();
        let said = match &said[..] {
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {said}", qualified(called, group));
        let causes: Vec<Value> = causes
            .iter()
            .map(|c| json!({ "reason": c.reason, "message": c.message, "field": c.field }))
            .collect();
        let mut details = details(group, called, name);
        details.insert("causes".to_owned(), Value::Array(causes));
        Self {
            details,
            ..Self::new(422, "Invalid", message)
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let mut status = Self::new(500, "InternalError", "");
        let causes = json!([{ "message": message }]);
        status.details.insert("causes".to_owned(), causes);
        status.message = format!("Internal error occurred: {message}");
        status
    }

    pub(super) fn value(&self) -> Value {
        let mut all = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            all["reason"] = json!(self.reason);
        }
        if !self.details.is_empty() {
            all["details"] = Value::Object(self.details.clone());
        }
        all["code"] = json!(self.code);
        all
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        if self.reason == NO_PAGE {
            let text = format!("{}\n", self.message);
            return raw(self.code, "text/plain; charset=utf-8", text.into_bytes());
        }
        answer(self.code, &self.value())
    }
}

/// An answer in JSON.
pub(super) fn answer(code: u16, value: &Value) -> Response {
    raw(code, "application/json", value.to_string().into_bytes())
}

/// An answer of any type.
pub(super) fn raw(code: u16, kind: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
