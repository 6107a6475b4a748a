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
    message: String,
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

    pub(super) fn forbidden(field: &str, why: &str) -> Self {
        let message = format!("Forbidden: {why}");
        Self {
            field: field.to_owned(),
            reason: "FieldValueForbidden",
            message,
        }
    }
}

fn details(kind: &Kind, called: &str, name: &str) -> Map<String, Value> {
    let mut all = Map::new();
    if !name.is_empty() {
        all.insert("name".to_owned(), json!(name));
    }
    if !kind.group.is_empty() {
        all.insert("group".to_owned(), json!(kind.group));
    }
    all.insert("kind".to_owned(), json!(called));
    all
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
            details: details(kind, &kind.plural, name),
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

    pub(super) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.resource();
        let message = match name {
            "" => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::of(403, "Forbidden", kind, name, message)
    }

    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let said: Vec<String> = causes
            .iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect();
        let said = match &said[..] {
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        let called = match kind.group.as_str() {
            "" => kind.kind.clone(),
            group => format!("{}.{group}", kind.kind),
        };
        let message = format!("{called} \"{name}\" is invalid: {said}");
        let causes: Vec<Value> = causes
            .iter()
            .map(|c| json!({ "reason": c.reason, "message": c.message, "field": c.field }))
            .collect();
        let mut details = details(kind, &kind.kind, name);
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
            "reason": self.reason,
        });
        if !self.details.is_empty() {
            all["details"] = Value::Object(self.details.clone());
        }
        all["code"] = json!(self.code);
        all
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
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
