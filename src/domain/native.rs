//! What a native action says once its values are filled in, and what it needs the right to do.

pub mod kubectl;
mod rights;

pub use rights::{Right, of_plan};

use serde_json::{Map, Value};
use std::time::Duration;

/// One verb, and how it is carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Native {
    pub system: String,
    pub namespace: Option<String>,
    pub verb: Verb,
    /// How long it waits for its effect.
    pub timeout: Option<Duration>,
    pub wait: bool,
    pub force: bool,
}

/// Objects are written `kind/name`.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    Scale {
        what: String,
        replicas: String,
    },
    Restart {
        what: String,
    },
    SetEnv {
        what: String,
        container: Option<String>,
        env: Vec<(String, String)>,
    },
    SetImage {
        what: String,
        /// Without a name: the only container.
        images: Vec<(Option<String>, String)>,
    },
    Patch {
        what: String,
        how: PatchKind,
        body: Value,
    },
    Secret {
        name: String,
        data: Vec<(String, String)>,
        kind: Option<String>,
    },
    Namespace {
        name: String,
        labels: Vec<(String, String)>,
    },
    Apply(Manifests),
    Delete {
        what: String,
        grace: Option<i64>,
    },
    Exec {
        what: String,
        container: Option<String>,
        command: Vec<String>,
    },
    Copy {
        from: String,
        to: String,
        container: Option<String>,
    },
    Job {
        from: String,
        name: Option<String>,
    },
    Wait {
        what: String,
        until: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    Merge,
    Json,
    Strategic,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Manifests {
    File(String),
    Inline(Vec<Value>),
    /// Written as one text.
    Text(String),
}

/// What is wrong with the words, and how it is written right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    pub code: &'static str,
    pub what: String,
    pub help: &'static str,
}

fn fault(code: &'static str, what: impl Into<String>, help: &'static str) -> Fault {
    Fault {
        code,
        what: what.into(),
        help,
    }
}

const VERBS: [&str; 13] = [
    "scale",
    "restart",
    "set_env",
    "set_image",
    "patch",
    "secret",
    "apply",
    "delete",
    "exec",
    "copy",
    "job",
    "wait",
    "namespace",
];

type Words = Map<String, Value>;

impl Native {
    /// Reads the words, filled in or with their placeholders.
    pub fn read(words: &Value) -> Result<Self, Fault> {
        let Some(words) = words.as_object() else {
            return Err(fault("wrong-type", "a native action is a mapping", ""));
        };
        let mut verbs: Vec<&str> = VERBS
            .into_iter()
            .filter(|v| words.contains_key(*v))
            .filter(|v| *v != "wait" || !is_yes_or_no(&words["wait"]))
            .collect();
        let own_namespace = verbs == ["namespace"];
        if !own_namespace {
            // Beside another verb it says where.
            verbs.retain(|v| *v != "namespace");
        }
        let verb = match verbs[..] {
            [verb] => verb,
            [] => {
                return Err(fault(
                    "missing-key",
                    "this does not say what to do in the cluster",
                    "`scale`, `restart`, `set_env`, `set_image`, `patch`, `secret`, `namespace`, `apply`, `delete`, `exec`, `copy`, `job` or `wait`",
                ));
            }
            [first, second, ..] => {
                return Err(fault(
                    "two-actions",
                    format!("this does both `{first}` and `{second}`"),
                    "make two steps of it",
                ));
            }
        };
        let timeout = match text(words, "timeout") {
            Some(t) if t.contains("${") => None,
            Some(t) => Some(humantime::parse_duration(&t).map_err(|_| {
                fault(
                    "wrong-type",
                    format!("`timeout: {t}` is not a duration"),
                    "90s, 5m, 1h30m",
                )
            })?),
            None => None,
        };
        Ok(Self {
            system: text(words, "system").unwrap_or_default(),
            namespace: text(words, "namespace").filter(|_| !own_namespace),
            verb: read_verb(verb, words)?,
            timeout,
            wait: words.get("wait").is_none_or(|w| !is_no(w)),
            force: words.get("force").is_some_and(|f| !is_no(f)),
        })
    }
}

fn is_no(value: &Value) -> bool {
    value == false || value == "false"
}

fn is_yes_or_no(value: &Value) -> bool {
    value.is_boolean() || value == "true" || value == "false"
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(words: &Words, key: &str) -> Option<String> {
    words.get(key).and_then(scalar)
}

fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    let map = value.and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(k, v)| Some((k.clone(), scalar(v)?)))
        .collect()
}

fn must(words: &Words, key: &str, verb: &str, help: &'static str) -> Result<String, Fault> {
    text(words, key).ok_or_else(|| {
        fault(
            "missing-key",
            format!("`{verb}` does not say its `{key}`"),
            help,
        )
    })
}

/// `kind/name`
fn object(words: &Words, verb: &str) -> Result<String, Fault> {
    let what = text(words, verb).unwrap_or_default();
    let good = what.split_once('/').is_some_and(|(kind, name)| {
        !kind.is_empty() && !name.is_empty() && !name.contains('/') || name.contains("${")
    });
    if good || what.starts_with("${") {
        return Ok(what);
    }
    Err(fault(
        "wrong-type",
        format!("`{verb}: {what}` names no object"),
        "write kind/name: deployment/x",
    ))
}

fn filled<T>(list: Vec<T>, verb: &str, key: &'static str) -> Result<Vec<T>, Fault> {
    if list.is_empty() {
        let help = "write a mapping: { NAME: value }";
        return Err(fault(
            "missing-key",
            format!("`{verb}` does not say its `{key}`"),
            help,
        ));
    }
    Ok(list)
}

fn read_verb(verb: &str, words: &Words) -> Result<Verb, Fault> {
    let container = text(words, "container");
    Ok(match verb {
        "scale" => {
            let replicas = must(words, "replicas", verb, "replicas: 3")?;
            if !replicas.contains("${") && replicas.parse::<u32>().is_err() {
                return Err(fault(
                    "wrong-type",
                    format!("`replicas: {replicas}` is not a number"),
                    "replicas: 3",
                ));
            }
            Verb::Scale {
                what: object(words, verb)?,
                replicas,
            }
        }
        "restart" => Verb::Restart {
            what: object(words, verb)?,
        },
        "set_env" => Verb::SetEnv {
            what: object(words, verb)?,
            container,
            env: filled(pairs(words.get("env")), verb, "env")?,
        },
        "set_image" => {
            let several = pairs(words.get("images")).into_iter();
            let mut images: Vec<_> = several.map(|(c, i)| (Some(c), i)).collect();
            images.extend(text(words, "image").map(|image| (container, image)));
            Verb::SetImage {
                what: object(words, verb)?,
                images: filled(images, verb, "image")?,
            }
        }
        "patch" => {
            let kinds = [
                ("merge", PatchKind::Merge),
                ("json", PatchKind::Json),
                ("strategic", PatchKind::Strategic),
            ];
            let mut found = kinds
                .into_iter()
                .filter_map(|(key, how)| Some((how, words.get(key)?.clone())));
            let (how, body) = found.next().ok_or_else(|| {
                fault(
                    "missing-key",
                    "`patch` does not say what changes",
                    "merge: { spec: { … } }, or json: [ … ], or strategic: { … }",
                )
            })?;
            Verb::Patch {
                what: object(words, verb)?,
                how,
                body,
            }
        }
        "secret" => {
            let mut data = pairs(words.get("data"));
            data.extend(pairs(words.get("string_data")));
            Verb::Secret {
                name: text(words, verb).unwrap_or_default(),
                data: filled(data, verb, "data")?,
                kind: text(words, "type"),
            }
        }
        "namespace" => Verb::Namespace {
            name: text(words, verb).unwrap_or_default(),
            labels: pairs(words.get("labels")),
        },
        "apply" => Verb::Apply(match &words["apply"] {
            Value::Array(list) => Manifests::Inline(list.clone()),
            one @ Value::Object(_) => Manifests::Inline(vec![one.clone()]),
            other => match scalar(other).unwrap_or_default() {
                text if text.contains('\n') || text.contains(": ") => Manifests::Text(text),
                file => Manifests::File(file),
            },
        }),
        "delete" => Verb::Delete {
            what: object(words, verb)?,
            grace: text(words, "grace").and_then(|g| g.parse().ok()),
        },
        "exec" => {
            let command = words.get("command").and_then(Value::as_array);
            let command: Vec<String> = command.into_iter().flatten().filter_map(scalar).collect();
            Verb::Exec {
                what: object(words, verb)?,
                container,
                command: match command.is_empty() {
                    false => command,
                    true => {
                        return Err(fault(
                            "missing-key",
                            "`exec` does not say its `command`",
                            "command: [redis-cli, ping]",
                        ));
                    }
                },
            }
        }
        "copy" => {
            let inner = words["copy"].as_object().unwrap_or(words);
            let (from, to) = (
                must(inner, "from", verb, "copy: { from: file, to: pod/x:/path }")?,
                must(inner, "to", verb, "copy: { from: file, to: pod/x:/path }")?,
            );
            let remote = |t: &str| t.split_once(':').is_some_and(|(pod, _)| pod.contains('/'));
            if !from.contains("${") && !to.contains("${") && remote(&from) == remote(&to) {
                return Err(fault(
                    "wrong-type",
                    "one side of a copy is a file here, the other one in a pod",
                    "copy: { from: file, to: pod/x:/path }",
                ));
            }
            Verb::Copy {
                from,
                to,
                container: container.or_else(|| text(inner, "container")),
            }
        }
        "job" => {
            let inner = words["job"].as_object().unwrap_or(words);
            Verb::Job {
                from: object(
                    &Words::from_iter([(
                        "from".to_owned(),
                        Value::String(must(inner, "from", verb, "job: { from: cronjob/x }")?),
                    )]),
                    "from",
                )?,
                name: text(inner, "name").or_else(|| text(words, "name")),
            }
        }
        _ => Verb::Wait {
            what: object(words, "wait")?,
            until: must(words, "for", "wait", "for: Ready")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_verb_needs_its_words() {
        for (words, code) in [
            (json!({"scale": "deployment/x"}), "missing-key"),
            (
                json!({"scale": "deployment/x", "replicas": "many"}),
                "wrong-type",
            ),
            (json!({"scale": "x", "replicas": 1}), "wrong-type"),
            (
                json!({"restart": "deployment/x", "delete": "pvc/x"}),
                "two-actions",
            ),
            (json!({"exec": "pod/x"}), "missing-key"),
            (json!({"copy": {"from": "a", "to": "b"}}), "wrong-type"),
            (json!({"patch": "pv/x"}), "missing-key"),
            (json!({"wait": "pod/x"}), "missing-key"),
            (
                json!({"namespace": "x", "replicas": 3, "scale": "a/b/c"}),
                "wrong-type",
            ),
            (json!({}), "missing-key"),
            (
                json!({"restart": "deployment/x", "timeout": "soon"}),
                "wrong-type",
            ),
        ] {
            assert_eq!(
                Native::read(&words).map_err(|f| f.code),
                Err(code),
                "{words}"
            );
        }
    }

    #[test]
    fn where_it_is_done_is_no_second_verb() {
        let words = json!({"system": "c", "delete": "pvc/x", "namespace": "shop", "wait": true});
        let read = Native::read(&words).expect("it is well written");
        assert_eq!(read.namespace.as_deref(), Some("shop"));
        assert!(matches!(read.verb, Verb::Delete { .. }) && read.wait);
        let words = json!({"system": "c", "namespace": "shop"});
        let read = Native::read(&words).expect("it is well written");
        assert!(matches!(read.verb, Verb::Namespace { .. }) && read.namespace.is_none());
    }
}
