//! Which objects are meant: selectors of labels and of fields.

use super::{kinds::Kind, status::Status};
use serde_json::Value;

/// By what some kinds are selected beside their name and namespace.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("nodes", &["spec.unschedulable"]),
    ("namespaces", &["status.phase"]),
    ("secrets", &["type"]),
    ("services", &["spec.clusterIP", "spec.type"]),
    ("replicationcontrollers", &["status.replicas"]),
    ("replicasets.apps", &["status.replicas"]),
    ("jobs.batch", &["status.successful"]),
];

/// What a request selects; without conditions, everything.
#[derive(Debug, Default, Clone)]
pub(super) struct Selector {
    labels: Vec<Condition>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    pub(super) fn parse(labels: &str, fields: &str) -> Result<Self, Status> {
        let mut out = Self::default();
        for part in split(labels) {
            let condition = condition(&part).map_err(Status::bad_request)?;
            out.labels.push(condition);
        }
        for part in fields.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let found = part.split_once("!=").map(|(k, v)| (k, false, v));
            let found = found.or_else(|| part.split_once("==").map(|(k, v)| (k, true, v)));
            let found = found.or_else(|| part.split_once('=').map(|(k, v)| (k, true, v)));
            let (key, is, value) = found.ok_or_else(|| {
                Status::bad_request(format!(
                    "invalid selector: '{part}'; can't understand '{part}'"
                ))
            })?;
            out.fields.push((key.to_owned(), is, value.to_owned()));
        }
        Ok(out)
    }

    /// Are all fields any by which the server selects objects of this kind?
    pub(super) fn is_known(&self, kind: &Kind) -> Result<(), Status> {
        let own = FIELDS.iter().find(|(stored, _)| *stored == kind.stored);
        let own = own.map_or(&[][..], |(_, fields)| fields);
        for (field, ..) in &self.fields {
            let common = ["metadata.name", "metadata.namespace"];
            if common.contains(&&**field) || own.contains(&&**field) {
                continue;
            }
            return Err(Status::bad_request(match own.is_empty() {
                true => format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                ),
                false => format!("field label not supported: {field}"),
            }));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|c| c.holds(labels))
            && self
                .fields
                .iter()
                .all(|(key, is, value)| (field(object, key) == *value) == *is)
    }
}

impl Condition {
    fn holds(&self, labels: &Value) -> bool {
        let has = |key: &str| labels.get(key).and_then(Value::as_str);
        match self {
            Self::In(key, values) => has(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(key, values) => !has(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::Exists(key) => has(key).is_some(),
            Self::Absent(key) => has(key).is_none(),
        }
    }
}

/// A field as text; what is not there is an empty text.
fn field(object: &Value, path: &str) -> String {
    let mut now = object;
    for key in path.split('.') {
        now = &now[key];
    }
    match now {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The parts between commas that stand outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match (c, parts.last_mut()) {
            (',', _) if depth == 0 => parts.push(String::new()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    let parts = parts.into_iter().map(|p| p.trim().to_owned());
    parts.filter(|p| !p.is_empty()).collect()
}

fn condition(part: &str) -> Result<Condition, String> {
    let wrong = |what: String| Err(format!("unable to parse requirement: {what}"));
    let operators = "in, notin, =, ==, !=, gt, lt";
    if let Some((head, values)) = part.strip_suffix(')').and_then(|p| p.split_once('(')) {
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        let words: Vec<&str> = head.split_whitespace().collect();
        return match words[..] {
            [key, "in"] => Ok(Condition::In(key.to_owned(), values)),
            [key, "notin"] => Ok(Condition::NotIn(key.to_owned(), values)),
            [_, other, ..] => wrong(format!("found '{other}', expected: {operators}")),
            _ => wrong(format!("found '(', expected: {operators}")),
        };
    }
    let one = |v: &str| match v.split_whitespace().nth(1) {
        Some(more) => Err(format!("found '{more}', expected: ',' or 'end of string'")),
        None => Ok(vec![v.trim().to_owned()]),
    };
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Condition::NotIn(key.trim().to_owned(), one(value)?));
    }
    let equals = part.split_once("==").or_else(|| part.split_once('='));
    if let Some((key, value)) = equals {
        return Ok(Condition::In(key.trim().to_owned(), one(value)?));
    }
    let words: Vec<&str> = part.split_whitespace().collect();
    if let [_, operator, rest @ ..] = &words[..] {
        return match *operator {
            "in" | "notin" => {
                let found = rest.first().unwrap_or(&"");
                wrong(format!("found '{found}' expected: '('"))
            }
            other => wrong(format!("found '{other}', expected: {operators}")),
        };
    }
    Ok(match part.strip_prefix('!') {
        Some(key) => Condition::Absent(key.trim().to_owned()),
        None => Condition::Exists(part.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_choose_by_labels_and_fields() {
        let pod = json!({
            "metadata": { "name": "a", "labels": { "app": "web", "tier": "front" } },
            "spec": { "nodeName": "n1" },
            "status": { "phase": "Running" },
        });
        for (labels, fields, meant) in [
            ("", "", true),
            ("app=web", "", true),
            ("app==web,tier!=back", "", true),
            ("app in (web, api),tier notin (back)", "", true),
            ("app in (api)", "", false),
            ("app,!other", "", true),
            ("!app", "", false),
            ("missing!=x", "", true),
            ("", "metadata.name=a,spec.nodeName=n1", true),
            ("", "status.phase!=Running", false),
            ("", "spec.schedulerName=", true),
        ] {
            let selector = Selector::parse(labels, fields).expect("parses");
            assert_eq!(selector.matches(&pod), meant, "{labels} {fields}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for labels in ["a in b", "a isnt (b)", "a b"] {
            assert!(Selector::parse(labels, "").is_err(), "{labels}");
        }
        assert!(Selector::parse("", "name").is_err());
    }
}
