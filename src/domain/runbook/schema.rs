//! The format as a JSON Schema (draft 7), for editors that complete and check while one writes. The
//! lists of words come from the types; a test compares the keys with those that the readers ask for.

use super::{CheckKind, SystemKind, variable::TYPES};
use crate::domain::lint;
use serde_json::{Map, Value, json};

/// The schema of a runbook.
pub fn runbook() -> Value {
    let mut schema = closed(
        "A runbook: how a platform is recovered.",
        &["blackstart", "id", "title", "procedures", "recovered"],
        json!({
            "blackstart": {"description": "The version of the format.", "enum": [1, "1"]},
            "id": {"description": "Small letters, digits and dashes.", "type": "string", "pattern": "^[a-z0-9-]+$"},
            "title": text("What is recovered."),
            "summary": text("One paragraph for the home screen."),
            "objectives": refer("objectives"),
            "severities": list("How bad it is; each with its own objectives.", "severity"),
            "contacts": list("Whom to call.", "contact"),
            "updates": refer("updates"),
            "phases": list("In their order; steps name one.", "phase"),
            "backups": list("What there is to restore from.", "backup"),
            "on_hand": list("Ticked off at \"Ready?\".", "on-hand"),
            "prepare": list("Steps for peace time; never part of a plan.", "step"),
            "reference": list("What people should read, shown near a procedure or a step.", "reference"),
            "variables": each("Values; $NAME in scripts, ${name} in fields.", "variable"),
            "systems": each("What is reached, and how; checks and actions name it.", "system"),
            "triage": refer("question"),
            "procedures": list("What can be recovered.", "procedure"),
            "recovered": refer("recovered"),
            "failures": list("What may go wrong, how one knows it, and what to do.", "failure"),
            "words": {"description": "Terms and their meaning.", "type": "object", "additionalProperties": any_text()},
            "accept": list("Warnings that somebody has looked at.", "accepted"),
        }),
    );
    if let Value::Object(map) = &mut schema {
        map.insert(
            "$schema".to_owned(),
            json!("http://json-schema.org/draft-07/schema#"),
        );
        map.insert("title".to_owned(), json!("blackstart runbook, version 1"));
        map.insert("definitions".to_owned(), definitions());
    }
    schema
}

/// The schema of a site.
pub fn site() -> Value {
    let mut schema = closed(
        "A site: where, as whom, and how one knows that it is the right place.",
        &["site"],
        json!({
            "site": {"description": "Its name.", "type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
            "runbook": text("The id of its runbook, or a file beside this one."),
            "kind": words("A rehearsal site is a scratch place for drills.", &["live", "rehearsal"]),
            "variables": {"description": "Values of the runbook's variables.", "type": "object", "additionalProperties": any_text()},
            "identity": each("Who each system is; `blackstart site record` fills it in.", "identity"),
            "secrets": each("Where secrets come from, and their fingerprints.", "secret"),
            "rehearsal": refer("rehearsal"),
            "baseline": {
                "description": "Values of peace time, and when they were taken.",
                "type": "object", "required": ["at"],
                "properties": {"at": text("2026-03-01T00:00:00Z")},
                "additionalProperties": any_text(),
            },
        }),
    );
    if let Value::Object(map) = &mut schema {
        map.insert(
            "$schema".to_owned(),
            json!("http://json-schema.org/draft-07/schema#"),
        );
        map.insert("title".to_owned(), json!("blackstart site"));
        let mut definitions = definitions();
        let own = json!({
                "rehearsal": closed("How one knows that a scratch place is none of production's, and how it is removed.", &["proof", "tear-down"], json!({
                    "go": names("What is rehearsed when nobody says otherwise: `procedure` or `procedure/path`."),
                    "proof": list("Steps before anything else.", "step"), "tear-down": list("Steps after everything.", "step"),
                    "when": checks("What has to hold when only a part is rehearsed; else what the runbook says."),
                })),
                "identity": closed("Who a system is.", &[], json!({
                    "endpoint": text("As it is pinned."), "host": text("Its host."), "port": number("Its port."),
                    "server": text("The URL of an API server."), "tenant": text("An Entra tenant."), "account": text("An AWS account."),
                    "system_identifier": text("Of a PostgreSQL."), "kube_system_uid": text("The UID of kube-system."),
                    "subscription": text("An Azure subscription."), "region": text("An AWS region."),
                    "certificate_sha256": text("Of its certificate."), "ca_sha256": text("Of its authority."),
                })),
                "secret": closed("Where a secret comes from.", &[], json!({
                    "env": text("The environment variable."),
                    "sha256": {"description": "Its fingerprint: tells a wrong one before it is used.", "type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
                })),
        });
        if let (Value::Object(all), Value::Object(own)) = (&mut definitions, own) {
            all.extend(own);
        }
        map.insert("definitions".to_owned(), definitions);
    }
    schema
}

/// A mapping with these keys and no others but `x-…`.
fn closed(description: &str, required: &[&str], properties: Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "required": required,
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
    })
}

fn any_text() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": ["string", "number", "boolean"]})
}

fn number(description: &str) -> Value {
    json!({"description": description, "type": ["integer", "string"]})
}

fn truth(description: &str) -> Value {
    json!({"description": description, "type": "boolean"})
}

fn duration(description: &str) -> Value {
    json!({"description": format!("{description} 90s, 5m, 1h30m, 7d."), "type": "string", "pattern": "^\\s*([0-9]+ *[a-zA-Z]+ *)+\\s*$"})
}

fn words(description: &str, words: &[&str]) -> Value {
    json!({"description": description, "enum": words})
}

fn names(description: &str) -> Value {
    json!({"description": description, "oneOf": [any_text(), {"type": "array", "items": any_text()}]})
}

fn texts(description: &str) -> Value {
    json!({"description": description, "type": "array", "items": any_text()})
}

fn pairs(description: &str) -> Value {
    json!({"description": description, "type": "object", "additionalProperties": any_text()})
}

fn refer(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

fn list(description: &str, of: &str) -> Value {
    json!({"description": description, "type": "array", "items": refer(of)})
}

fn each(description: &str, of: &str) -> Value {
    json!({"description": description, "type": "object", "patternProperties": {"^x-": {}}, "additionalProperties": refer(of)})
}

fn checks(description: &str) -> Value {
    json!({"description": description, "oneOf": [refer("check"), {"type": "array", "items": refer("check")}]})
}

fn definitions() -> Value {
    let mut all = Map::new();
    for (name, value) in parts() {
        all.insert(name.to_owned(), value);
    }
    all.insert("variable".to_owned(), variable());
    all.insert("system".to_owned(), system());
    all.insert("step".to_owned(), step());
    all.insert("check".to_owned(), check());
    all.insert(
        "question".to_owned(),
        closed("One question at a time.", &["ask", "choices"], question()),
    );
    let mut choice = json!({
        "answer": text("What the person may say."),
        "suspect": names("Systems that this answer says are down: probed while the person reads."),
        "evidence": checks("More that speaks for it when one does not hold."),
        "go": names("Procedures, each perhaps with its path: `postgres/pitr`."),
        "pick": names("Those that are affected are ticked; they run in this order."),
    });
    if let (Value::Object(map), Value::Object(more)) = (&mut choice, question()) {
        map.extend(more);
    }
    all.insert(
        "choice".to_owned(),
        closed("An answer, and where it leads.", &["answer"], choice),
    );
    Value::Object(all)
}

fn question() -> Value {
    json!({
        "ask": text("The question."),
        "look": text("What to look at."),
        "unsure": text("What to choose when unsure."),
        "choices": list("The answers.", "choice"),
    })
}

fn parts() -> Vec<(&'static str, Value)> {
    let codes: Vec<&str> = lint::WARNINGS.to_vec();
    vec![
        (
            "objectives",
            closed(
                "How long it may be away, and how much data may be lost.",
                &[],
                json!({
                    "rto": duration("The recovery time."), "rpo": duration("The data that may be lost."),
                }),
            ),
        ),
        (
            "severity",
            closed(
                "How bad it is.",
                &["id"],
                json!({
                    "id": text("P0, P1 …"), "title": text("What it is called."), "when": text("When it applies."),
                    "rto": duration("Its recovery time."), "rpo": duration("The data that may be lost."), "escalate": text("Whom to page."),
                }),
            ),
        ),
        (
            "contact",
            closed(
                "Somebody to call.",
                &["who"],
                json!({
                    "who": text("Who."), "role": text("What they decide or do."), "channel": text("How they are reached."),
                }),
            ),
        ),
        (
            "updates",
            closed(
                "The clock for telling those who are not here.",
                &[],
                json!({
                    "every": duration("How often."), "template": text("Text to paste."),
                }),
            ),
        ),
        (
            "phase",
            closed(
                "A phase, with its budget.",
                &["id"],
                json!({
                    "id": text("Its id."), "title": text("Its title."), "budget": duration("How long it may take."),
                }),
            ),
        ),
        (
            "backup",
            closed(
                "Something to restore from.",
                &["of"],
                json!({
                    "of": text("The system."), "method": text("How it is made."), "every": duration("How often."),
                    "keep": text("How long it is kept: 7d."), "covers": duration("How much data is lost at most."),
                    "count": number("How many there are."), "where": text("Where they are."),
                }),
            ),
        ),
        (
            "on-hand",
            json!({"description": "A thing that has to be there, perhaps with a check.", "oneOf": [any_text(), closed("A thing that has to be there.", &["item"], json!({
                "item": text("What it is."), "check": refer("check"),
            }))]}),
        ),
        (
            "reference",
            closed(
                "What people should read.",
                &["title"],
                json!({
                    "title": text("Its title."), "near": text("The procedure, path, step or system beside which it is shown."), "text": text("The text."),
                }),
            ),
        ),
        (
            "procedure",
            closed(
                "What is done to bring something back: `steps`, or `paths` where there is more than one way.",
                &["id"],
                json!({
                    "id": text("Its id."), "title": text("Its title."), "section": text("As the written document numbers it: §1."),
                    "summary": text("One paragraph."), "needs": refer("needs"), "paths": list("Alternatives: the person chooses.", "path"),
                    "steps": list("Where there is one way.", "step"), "then": list("After whichever path.", "step"),
                    "recovers": names("The systems that it brings back."),
                }),
            ),
        ),
        (
            "needs",
            closed(
                "What has to be there before it can begin.",
                &[],
                json!({
                    "tools": names("Programs on the PATH."), "systems": names("Systems that have to answer."),
                }),
            ),
        ),
        (
            "path",
            closed(
                "One way through a procedure.",
                &["id", "steps"],
                json!({
                    "id": text("Its id."), "title": text("Its title."), "when": text("When to take it."), "steps": list("Its steps.", "step"),
                }),
            ),
        ),
        (
            "recovered",
            closed(
                "Once, after all chosen procedures.",
                &["when"],
                json!({
                    "steps": list("The validation.", "step"), "when": checks("The RTO clock stops when all of these hold in one pass."),
                }),
            ),
        ),
        (
            "failure",
            closed(
                "A failure, how one knows it, and what to do.",
                &["cause"],
                json!({
                    "id": text("Its id."), "symptom": text("What people see."), "cause": text("The likely cause, in one sentence."),
                    "fix": text("The next thing to try."), "match": refer("match"), "probe": refer("check"),
                    "go": text("The step or procedure to go to."), "source": text("Where it is described."),
                }),
            ),
        ),
        (
            "match",
            closed(
                "Any of these.",
                &[],
                json!({
                    "output": names("Regular expressions on a line of output."), "exit": names("Exit codes."), "step": names("Steps."),
                }),
            ),
        ),
        (
            "accepted",
            closed(
                "A warning that somebody has looked at.",
                &["code", "reason"],
                json!({
                    "code": words("The code of the warning.", &codes), "at": text("The procedure, path, step, system or severity."), "reason": text("Why it is all right."),
                }),
            ),
        ),
        (
            "include",
            closed(
                "Steps of another procedure.",
                &["of"],
                json!({
                    "of": text("The procedure."), "path": text("Its path."), "steps": names("Only these."),
                }),
            ),
        ),
        (
            "stop",
            closed(
                "The pauses of the stop ladder.",
                &[],
                json!({
                    "int": duration("After SIGINT."), "term": duration("After SIGTERM."),
                }),
            ),
        ),
        (
            "measures",
            closed(
                "The captured moment is the one that this store was recovered to.",
                &["rpo"],
                json!({
                    "rpo": text("The store."),
                }),
            ),
        ),
        (
            "capture",
            json!({"description": "How a value is cut out of what the step prints or sees.", "oneOf": [
                words("", &["last-line", "all", "seen"]),
                closed("The first group of an expression.", &["regex"], json!({"regex": text("(…)")})),
                closed("A JSON pointer.", &["json"], json!({"json": text("/SecretString"), "object": text("pvc/x")})),
            ]}),
        ),
    ]
}

fn variable() -> Value {
    let types: Vec<&str> = TYPES.iter().map(|(word, _)| *word).collect();
    let written = closed(
        "A value.",
        &[],
        json!({
            "type": words("Of which kind it is; text without it.", &types), "ask": text("The question."), "help": text("More about it."),
            "default": text("Where nobody says otherwise; may hold ${other}."), "env": text("The environment variable it is taken from."),
            "example": text("How one looks."), "pattern": text("A regular expression for the whole value."),
            "min": text("The least."), "max": text("The most."), "choices": texts("What there is to choose from."),
            "hint": checks("Shown beside the question."),
            "needed": words("Asked at \"Ready?\", or when its step comes.", &["plan", "step"]),
            "from": words("The last value recorded in peace time.", &["baseline"]),
        }),
    );
    json!({"oneOf": [{"type": "null"}, written]})
}

fn system() -> Value {
    let mut kinds: Vec<Value> = Vec::new();
    let mut keys = Map::new();
    for (word, kind) in SystemKind::ALL {
        let mut properties = Map::new();
        for (key, secret) in kind.keys() {
            let mut value = text(if *secret {
                "A secret may stand here: ${name}."
            } else {
                "May hold ${name}."
            });
            if *key == "tls" {
                let mut words = vec![json!("verify-full"), json!("verify-ca"), json!("disable")];
                if kind == SystemKind::Redis {
                    words.extend([json!(true), json!(false), json!("true"), json!("false")]);
                }
                // The words are offered; a variable may stand there as well.
                value = json!({
                    "description": "What is weaker than verify-full is shown as such.",
                    "anyOf": [{"enum": words}, {"type": "string", "pattern": "\\$\\{[a-z]"}],
                });
            }
            properties.insert((*key).to_owned(), value);
        }
        if kind == SystemKind::Http {
            properties.insert("headers".to_owned(), pairs("Headers of every request."));
        }
        properties.insert(
            "via".to_owned(),
            json!({"description": "Reached through a port-forward of ours.", "type": "object"}),
        );
        let nested = closed(word, &[], Value::Object(properties.clone()));
        keys.insert(word.to_owned(), nested);
        for name in ["kind", "type"] {
            properties.insert(name.to_owned(), words("What it is.", &[word]));
        }
        let mut one = closed(&format!("A {word} system."), &[], Value::Object(properties));
        one["anyOf"] = json!([{"required": ["kind"]}, {"required": ["type"]}]);
        kinds.push(one);
    }
    for (word, nested) in keys {
        kinds.push(closed(
            &format!("A {word} system."),
            &[word.as_str()],
            json!({ word.as_str(): nested }),
        ));
    }
    json!({"description": "How something is reached.", "anyOf": kinds})
}

fn step() -> Value {
    let mut step = closed(
        "One action or one check.",
        &["id", "title"],
        json!({
            "id": text("Unique in its list."), "title": text("What to do, as an order."), "phase": text("Which phase it counts to."),
            "budget": duration("How long it may take."), "why": text("Why this step exists."), "expect": text("What one should see."),
            "after": names("What must be done before it; the step above without it."),
            "run": text("A script: bash -Eeuo pipefail."), "shell": names("Another interpreter."), "tty": truth("It gets a terminal for prompts."),
            "workdir": text("Where it runs."), "env": pairs("Environment of this step only; secrets may stand here."),
            "kubernetes": {"description": "A native action.", "type": "object"}, "check": refer("check"),
            "manual": text("Something only a person can do."), "include": refer("include"),
            "verify": checks("What must hold afterwards: green only if all do."), "unless": refer("check"),
            "danger": words("none, change or destroy.", &["none", "change", "destroy"]), "confirm": text("What has to be typed before it destroys."),
            "undo": {"description": "What takes it back.", "oneOf": [any_text(), {"type": "object"}]},
            "capture": {"description": "Variables that it finds.", "type": "object", "additionalProperties": refer("capture")},
            "measures": refer("measures"), "replaces": names("The systems that it moves."), "set": pairs("Values from here on."),
            "fences": {"description": "It stops writers.", "type": ["boolean", "string", "array"]},
            "preserves": truth("It saves the broken state."), "progress": refer("check"), "every": duration("The pause between looks or tries."),
            "remote": truth("The work goes on elsewhere: `verify` decides."), "timeout": duration("A hard end."), "stop": refer("stop"),
            "attempts": number("How many tries one start may make."), "uses": names("Secrets that the script may read without naming them."),
            "recovers": names("The systems that it brings back."),
        }),
    );
    let actions = ["run", "kubernetes", "check", "manual", "include"];
    step["oneOf"] = actions.iter().map(|a| json!({"required": [a]})).collect();
    step
}

/// What every check may have.
fn around() -> Map<String, Value> {
    let all = json!({
        "expect": text("== != <= >= < >, between 3 5, within 5% of ${x}, /regex/, or a literal."),
        "within": duration("Tried until it holds or this is over."), "every": duration("The pause between tries."),
        "timeout": duration("How long one try may take."), "fails": text("What ends `within` at once."),
    });
    match all {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn check() -> Value {
    let of = |word: &str, properties: Value| {
        let mut all = around();
        if let Value::Object(map) = properties {
            all.extend(map);
        }
        closed(&format!("Looks: {word}."), &[word], Value::Object(all))
    };
    let loose = json!({});
    let kubernetes_keys = super::kinds::kubernetes::keys();
    let mut kubernetes: Map<String, Value> = kubernetes_keys
        .map(|k| (k.to_owned(), loose.clone()))
        .collect();
    kubernetes.insert("kubernetes".to_owned(), text("The cluster."));
    let kinds = CheckKind::NAMES.map(|word| match word {
        "postgres" => of(word, json!({
            "postgres": text("The system."), "query": text("One SELECT, WITH or VALUES; it connects without it."),
            "params": texts("$1, $2 … of the query."), "rows": pairs("The first column names the row."),
        })),
        "redis" => of(word, json!({"redis": text("The system."), "command": texts("A command that only reads; PING without it.")})),
        "http" => of(word, json!({
            "http": text("The system."), "get": text("The path."), "status": number("The status; any 2xx without it."),
            "json": pairs("JSON pointers and what must stand there."),
        })),
        "kubernetes" => of(word, Value::Object(kubernetes.clone())),
        "command" => of(word, json!({"command": texts("A program and its arguments, without a shell."), "exit": number("0 without it.")})),
        "script" => of(word, json!({"script": text("A script that only looks."), "exit": number("0 without it.")})),
        "tcp" => of(word, json!({"tcp": text("host:port")})),
        "tls" => of(word, json!({
            "tls": text("host:port"), "valid_for": duration("How long it must last."), "ca": text("A file of authorities."),
            "connect_to": text("Where to connect instead."),
        })),
        "dns" => of(word, json!({"dns": text("The name."), "is": text("What it resolves to."), "resolver": text("Whom to ask.")})),
        _ => of("file", json!({"file": text("The path."), "exists": truth("Must it be there?")})),
    });
    json!({"description": "A look without an effect: expected, seen, and how long it took.", "anyOf": kinds.to_vec()})
}

#[cfg(test)]
mod tests;
