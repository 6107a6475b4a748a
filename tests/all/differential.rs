//! The simulated API server is held honest: the same operations go to it and to a real
//! kube-apiserver with its etcd, and what they answer is compared.
//!
//! What may differ stands in `tests/fixtures/cluster/differences.txt`, with its reason.

mod operations;

use crate::harness::{
    control_plane::ControlPlane, free_port, must, need, private_dir, process::Daemon,
};
use operations::{APPLY, Body, Operation};
use regex::Regex;
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const REAL_TOKEN: &str = "admin-token-of-the-test";
const SIMULATED_TOKEN: &str = "sandbox-token";
/// How long it is asked again for what takes a moment, as a new kind.
const MOMENT: Duration = Duration::from_secs(30);
/// More exceptions than this are no exceptions any more.
const MOST_TOLERATED: usize = 20;

/// A server and what it has answered so far.
struct Server {
    port: u16,
    token: &'static str,
    /// By path: the first and the last answer that had a version.
    seen: HashMap<String, (Value, Value)>,
}

impl Server {
    fn new(port: u16, token: &'static str) -> Self {
        Self {
            port,
            token,
            seen: HashMap::new(),
        }
    }

    /// One operation; the status code and the body, as they came.
    #[track_caller]
    fn ask(&mut self, operation: &Operation) -> (u64, Value) {
        let bare = place(&operation.path);
        let path = self.filled(&operation.path, &bare);
        let body = match &operation.body {
            Body::Nothing => None,
            Body::Text(text) => Some((*text).to_owned()),
            Body::Whole(value) => Some(self.filled(&value.to_string(), &bare)),
            Body::Changed(merge) => {
                let mut last = match self.seen.get(&bare) {
                    Some((_, last)) => last.clone(),
                    None => json!({}),
                };
                merged(&mut last, merge);
                Some(self.filled(&last.to_string(), &bare))
            }
        };
        let end = Instant::now() + MOMENT;
        let (code, answer) = loop {
            let (code, answer) = self.send(operation, &path, body.as_deref());
            if !operation.patient || code < 400 || Instant::now() > end {
                break (code, answer);
            }
            crate::harness::pause(Duration::from_millis(50));
        };
        self.remember(operation, bare, code, &answer);
        (code, answer)
    }

    fn send(&self, operation: &Operation, path: &str, body: Option<&str>) -> (u64, Value) {
        let token = if operation.known {
            self.token
        } else {
            "a-token-that-nobody-knows"
        };
        let mut curl = Command::new(need("curl", "curl"));
        curl.args(["-gksS", "--http1.1", "-X", operation.method])
            .args(["-H", &format!("Authorization: Bearer {token}")])
            .args(["-H", &format!("Content-Type: {}", operation.content)])
            .args(["-H", "Accept: application/json", "-A", "curl/8"])
            .args(["-w", "\n%{http_code}"]);
        if let Some(body) = body {
            curl.args(["--data-binary", body]);
        }
        curl.arg(format!("https://127.0.0.1:{}{path}", self.port));
        let said = must(&mut curl);
        let (text, code) = said.rsplit_once('\n').unwrap_or(("", said.as_str()));
        let answer = serde_json::from_str(text).unwrap_or_else(|_| json!(text.trim()));
        (code.parse().unwrap(), answer)
    }

    /// What this server itself has said before, in the place of the words that stand for it.
    fn filled(&self, text: &str, bare: &str) -> String {
        let held = self.seen.get(bare);
        let said = |first: bool, pointer: &str| {
            let answer = held.map(|(one, last)| if first { one } else { last });
            let found = answer.and_then(|a| a.pointer(pointer));
            let found = found.and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        text.replace("$first", &said(true, "/metadata/resourceVersion"))
            .replace("$rv", &said(false, "/metadata/resourceVersion"))
            .replace("$uid", &said(false, "/metadata/uid"))
            .replace("$continue", &said(false, "/metadata/continue"))
    }

    fn remember(&mut self, operation: &Operation, bare: String, code: u64, answer: &Value) {
        let version = answer.pointer("/metadata/resourceVersion");
        // What is only tried has no version that anybody will see again.
        let tried = operation.path.contains("dryRun");
        if code >= 300 || tried || version.is_none() {
            return;
        }
        let name = answer.pointer("/metadata/name").and_then(Value::as_str);
        let key = match (operation.method, name) {
            ("POST", Some(name)) => format!("{bare}/{name}"),
            _ => bare,
        };
        // A size is an object of its own: of it only the version is that of the workload.
        if answer["kind"] == "Scale" {
            if let Some((_, last)) = self.seen.get_mut(&key) {
                last["metadata"]["resourceVersion"] = answer["metadata"]["resourceVersion"].clone();
            }
            return;
        }
        match self.seen.get_mut(&key) {
            Some((first, last)) => {
                // An object of the same name that was made anew is another one.
                if operation.method == "POST" {
                    *first = answer.clone();
                }
                *last = answer.clone();
            }
            None => {
                self.seen.insert(key, (answer.clone(), answer.clone()));
            }
        }
    }
}

/// The path of the object itself, without a question and without a part of it.
fn place(path: &str) -> String {
    let bare = path.split('?').next().unwrap_or_default();
    let parts = ["/status", "/scale", "/binding"];
    let end = parts.iter().find_map(|part| bare.strip_suffix(part));
    end.unwrap_or(bare).to_owned()
}

/// A merge patch, as RFC 7386 has it.
fn merged(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(all) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            all.shift_remove(key);
        } else {
            merged(all.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// What stands for values that no two servers share.
struct Normal {
    texts: [(Regex, &'static str); 5],
}

impl Normal {
    fn new() -> Self {
        let pattern = |text: &str| Regex::new(text).unwrap();
        Self {
            texts: [
                (
                    pattern("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
                    "UID",
                ),
                // Servers of then also say when a manager wrote.
                (pattern(r" at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), ""),
                (
                    pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
                    "TIME",
                ),
                (pattern(r"\b10\.0\.0\.\d{1,3}\b"), "ADDRESS"),
                (
                    pattern(
                        r"the ResourceVersion in the precondition \(\d+\) does not match the ResourceVersion in record \(\d+\)",
                    ),
                    "the ResourceVersion in the precondition (OLD) does not match the ResourceVersion in record (NEW)",
                ),
            ],
        }
    }

    fn text(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (pattern, with) in &self.texts {
            out = pattern.replace_all(&out, *with).into_owned();
        }
        out
    }

    /// An answer without what no two servers share.
    fn answer(&self, answer: &Value, with_managers: bool) -> Value {
        if answer["kind"] == "Status" && answer["apiVersion"] == "v1" {
            return self.status(answer);
        }
        let mut out = answer.clone();
        self.clean(&mut out, with_managers);
        out
    }

    fn status(&self, answer: &Value) -> Value {
        let causes = answer.pointer("/details/causes").and_then(Value::as_array);
        let mut causes: Vec<String> = causes
            .into_iter()
            .flatten()
            .map(|c| {
                let word = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
                format!("{} {}", word("field"), word("reason"))
            })
            .collect();
        causes.sort();
        json!({
            "kind": "Status",
            "status": answer["status"],
            "reason": answer["reason"],
            "code": answer["code"],
            "message": self.text(answer["message"].as_str().unwrap_or_default()),
            "details": { "causes": causes },
        })
    }

    fn clean(&self, value: &mut Value, with_managers: bool) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(all) => all
                .iter_mut()
                .for_each(|one| self.clean(one, with_managers)),
            Value::Object(all) => {
                if let Some(Value::Object(meta)) = all.get_mut("metadata") {
                    metadata(meta, with_managers);
                }
                for key in [
                    "clusterIP",
                    "clusterIPs",
                    "ipFamily",
                    "ipFamilies",
                    "ipFamilyPolicy",
                    "nodePort",
                ] {
                    all.shift_remove(key);
                }
                // A field that is null is one that is not there.
                all.retain(|_, value| !value.is_null());
                all.values_mut()
                    .for_each(|one| self.clean(one, with_managers));
            }
            _ => {}
        }
    }
}

fn metadata(meta: &mut Map<String, Value>, with_managers: bool) {
    for key in ["uid", "resourceVersion", "creationTimestamp", "selfLink"] {
        meta.shift_remove(key);
    }
    for key in ["deletionTimestamp", "continue"] {
        if let Some(value) = meta.get_mut(key) {
            let there = value.as_str().is_some_and(|text| !text.is_empty());
            *value = if there { json!("PRESENT") } else { Value::Null };
        }
    }
    if let Some(start) = meta.get("generateName").and_then(Value::as_str) {
        let long = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            name.len() > start.len() && name.starts_with(start)
        };
        if meta.get("name").is_some_and(long) {
            let name = json!(format!("{start}*"));
            meta.insert("name".to_owned(), name);
        }
    }
    if let Some(managers) = meta.shift_remove("managedFields").filter(|_| with_managers) {
        let word = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let all: BTreeSet<String> = managers
            .as_array()
            .into_iter()
            .flatten()
            .map(|m| format!("{} {}", word(m, "manager"), word(m, "operation")))
            .collect();
        meta.insert("managedFields".to_owned(), json!(all));
    }
}

/// One place in which the servers do not agree.
struct Difference {
    operation: String,
    pointer: String,
    real: Option<Value>,
    simulated: Option<Value>,
}

/// Every place below `at` in which two values are not the same.
fn differences(
    real: Option<&Value>,
    simulated: Option<&Value>,
    at: &str,
    found: &mut Vec<(String, Option<Value>, Option<Value>)>,
) {
    match (real, simulated) {
        (Some(Value::Object(one)), Some(Value::Object(two))) => {
            let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
            for key in keys {
                let step = key.replace('~', "~0").replace('/', "~1");
                differences(one.get(key), two.get(key), &format!("{at}/{step}"), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(two))) => {
            for i in 0..one.len().max(two.len()) {
                differences(one.get(i), two.get(i), &format!("{at}/{i}"), found);
            }
        }
        (one, two) if one == two => {}
        (one, two) => found.push((at.to_owned(), one.cloned(), two.cloned())),
    }
}

/// A line of the list of what may differ.
struct Tolerated {
    line: String,
    operation: Regex,
    pointer: Regex,
    used: bool,
}

#[track_caller]
fn tolerated() -> Vec<Tolerated> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cluster/differences.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|l| !l.is_empty() && !l.starts_with('#'));
    let whole = |pattern: &str| {
        let anchored = format!("^(?:{})$", pattern.trim());
        Regex::new(&anchored).unwrap_or_else(|e| panic!("{pattern}: {e}"))
    };
    lines
        .map(|line| {
            let (patterns, why) = line
                .split_once("  # ")
                .unwrap_or_else(|| panic!("a line says why: {line}"));
            assert!(!why.trim().is_empty(), "a line says why: {line}");
            let (operation, pointer) = patterns
                .trim()
                .rsplit_once(' ')
                .unwrap_or_else(|| panic!("an operation and a pointer: {line}"));
            Tolerated {
                line: line.to_owned(),
                operation: whole(operation),
                pointer: whole(pointer),
                used: false,
            }
        })
        .collect()
}

/// The server that is simulated, on a port of its own.
fn simulated(folder: &Path) -> (Daemon, u16) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_blackstart"));
    command
        .arg("__api")
        .arg(folder.join("kubeconfig"))
        .arg(port.to_string());
    let mut daemon = Daemon::start(&mut command, folder.join("api.log"), Signal::KILL);
    daemon.ready(|| {
        let mut curl = Command::new(need("curl", "curl"));
        curl.args(["-ksSf", "-H"])
            .arg(format!("Authorization: Bearer {SIMULATED_TOKEN}"))
            .arg(format!("https://127.0.0.1:{port}/readyz"));
        let done = curl.stdin(Stdio::null()).output();
        done.is_ok_and(|done| done.status.success())
    });
    (daemon, port)
}

fn compared(all: &[Operation], real: &mut Server, copy: &mut Server) -> Vec<Difference> {
    let normal = Normal::new();
    let mut out = Vec::new();
    for operation in all {
        let (real_code, real_body) = real.ask(operation);
        let (copy_code, copy_body) = copy.ask(operation);
        let mut found = Vec::new();
        if real_code != copy_code {
            let codes = (Some(json!(real_code)), Some(json!(copy_code)));
            found.push(("(code)".to_owned(), codes.0, codes.1));
        }
        // Both have refused, or both have not: only then the bodies are alike at all.
        let alike = (real_code < 400) == (copy_code < 400);
        let with_managers = operation.content == APPLY;
        let one = normal.answer(&real_body, with_managers);
        let two = normal.answer(&copy_body, with_managers);
        if alike {
            differences(Some(&one), Some(&two), "", &mut found);
        } else {
            found.push(("(answer)".to_owned(), Some(one), Some(two)));
        }
        let named = found
            .into_iter()
            .map(|(pointer, real, simulated)| Difference {
                operation: operation.name.clone(),
                pointer,
                real,
                simulated,
            });
        out.extend(named);
    }
    out
}

#[test]
fn five_hundred_operations_are_answered_as_by_a_real_server_but_for_what_is_tolerated() {
    let all = operations::all();
    assert!(all.len() >= 300, "only {} operations", all.len());
    let names: BTreeSet<&str> = all.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "operations have names of their own");
    let mut tolerated = tolerated();
    assert!(
        tolerated.len() <= MOST_TOLERATED,
        "{} lines of differences, {MOST_TOLERATED} at most",
        tolerated.len()
    );
    let plane = ControlPlane::start();
    let folder = private_dir();
    let (_daemon, port) = simulated(folder.path());
    let mut real = Server::new(plane.port(), REAL_TOKEN);
    let mut copy = Server::new(port, SIMULATED_TOKEN);
    let mut wrong = compared(&all, &mut real, &mut copy);
    wrong.retain(|difference| {
        let mut allowed = false;
        for line in &mut tolerated {
            let fits = line.operation.is_match(&difference.operation)
                && line.pointer.is_match(&difference.pointer);
            line.used |= fits;
            allowed |= fits;
        }
        !allowed
    });
    let mut told = String::new();
    for difference in &wrong {
        let side = |value: &Option<Value>| match value {
            Some(value) => value.to_string(),
            None => "(nothing)".to_owned(),
        };
        writeln!(
            told,
            "{} {}\n    real:      {}\n    simulated: {}",
            difference.operation,
            difference.pointer,
            side(&difference.real),
            side(&difference.simulated)
        )
        .unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{} differences in {} operations:\n{told}",
        wrong.len(),
        all.len()
    );
    let idle = tolerated.iter().filter(|t| !t.used);
    let idle: Vec<&str> = idle.map(|t| t.line.as_str()).collect();
    assert!(idle.is_empty(), "nothing differs as these say: {idle:#?}");
}
