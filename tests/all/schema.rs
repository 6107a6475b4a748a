//! The schema in an editor: the real yaml-language-server completes with it, and says what is wrong.

use crate::harness::{PATIENCE, bin::Blackstart, need, test_tools};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// The server as an editor speaks with it: JSON-RPC over its stdin and stdout.
struct Editor {
    server: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    next: u64,
    settings: Value,
}

impl Editor {
    /// An editor in which every `*.yaml` is a runbook, and every `*.site.yaml` a site.
    fn open(home: &Blackstart) -> Self {
        let runbook = home.write(
            "runbook.schema.json",
            home.output(&["schema"]).exits(0).stdout,
        );
        let site = home.write(
            "site.schema.json",
            home.output(&["schema", "site"]).exits(0).stdout,
        );
        let program =
            test_tools().join("npm/node_modules/yaml-language-server/bin/yaml-language-server");
        assert!(
            program.is_file(),
            "{}: tests/setup.sh installs it",
            program.display()
        );
        let mut server = Command::new(need("node", "nodejs"))
            .arg(program)
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, stdout) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        let (send, from) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            while let Some(message) = message(&mut lines) {
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut editor = Self {
            server,
            to,
            from,
            next: 0,
            settings: Value::Null,
        };
        editor.settings = json!({"yaml": {
            "validate": true, "completion": true, "hover": true, "schemaStore": {"enable": false},
            "schemas": {format!("file://{runbook}"): ["*.book.yaml"], format!("file://{site}"): ["*.site.yaml"]},
        }});
        editor.ask("initialize", json!({"processId": null, "rootUri": null, "capabilities": {"workspace": {"configuration": true}}}));
        editor.tell("initialized", json!({}));
        let settings = editor.settings.clone();
        editor.tell(
            "workspace/didChangeConfiguration",
            json!({"settings": settings}),
        );
        editor
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        self.to.flush().unwrap();
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        self.wait(|m| m["id"] == id && m["method"].is_null())["result"].clone()
    }

    /// The message that is meant. What the server asks in between is answered as an editor would.
    fn wait(&mut self, is_meant: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self
                .from
                .recv_timeout(PATIENCE)
                .expect("the language server answers");
            if is_meant(&message) {
                return message;
            }
            if !message["method"].is_null() && !message["id"].is_null() {
                let items = message["params"]["items"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let of = |item: &Value| match item["section"].as_str() {
                    Some(section) => self.settings[section].clone(),
                    None => Value::Null,
                };
                let answers: Vec<Value> = items.iter().map(of).collect();
                self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": answers}));
            }
        }
    }

    fn show(&mut self, name: &str, text: &str) -> String {
        let uri = format!("file:///nowhere/{name}");
        self.tell(
            "textDocument/didOpen",
            json!({"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}}),
        );
        uri
    }

    /// What the editor underlines: line, counted from one, and message.
    fn underlined(&mut self, name: &str, text: &str) -> Vec<(u64, String)> {
        let uri = self.show(name, text);
        let said = self.wait(|m| {
            m["method"] == "textDocument/publishDiagnostics" && m["params"]["uri"] == uri.as_str()
        });
        let list = said["params"]["diagnostics"].as_array().unwrap().clone();
        let of = |d: &Value| {
            let line = d["range"]["start"]["line"].as_u64().unwrap() + 1;
            (line, d["message"].as_str().unwrap().to_owned())
        };
        list.iter().map(of).collect()
    }

    fn offered(&mut self, name: &str, text: &str, line: u64, column: u64) -> Vec<String> {
        // Once it underlines, it has the schema.
        self.underlined(name, text);
        let uri = format!("file:///nowhere/{name}");
        let params = json!({"textDocument": {"uri": uri}, "position": {"line": line - 1, "character": column - 1}});
        let answer = self.ask("textDocument/completion", params);
        let items = answer["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|i| i["label"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn message(from: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            header => {
                if let Some(value) = header.strip_prefix("Content-Length: ") {
                    length = value.parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

const HEAD: &str =
    "blackstart: 1\nid: a\ntitle: A\nrecovered: { when: { file: /, exists: true } }\n";

#[test]
fn what_is_valid_is_left_alone_by_the_editor() {
    let home = Blackstart::new();
    let mut editor = Editor::open(&home);
    let root = concat!(env!("CARGO_MANIFEST_DIR"));
    for (file, name) in [
        ("assets/runbooks/arbitex.yaml", "arbitex.book.yaml"),
        ("assets/runbooks/ampora.yaml", "ampora.book.yaml"),
        ("tests/fixtures/runbooks/every-key.yaml", "every.book.yaml"),
        (
            "tests/fixtures/runbooks/stranger.yaml",
            "stranger.book.yaml",
        ),
        (
            "tests/fixtures/runbooks/harbor-books.yaml",
            "harbor.book.yaml",
        ),
        ("config/sites/arbitex-prod.yaml", "arbitex.site.yaml"),
        ("config/sites/ampora-prod.yaml", "ampora.site.yaml"),
    ] {
        let text = std::fs::read_to_string(format!("{root}/{file}")).unwrap();
        let found = editor.underlined(name, &text);
        assert!(found.is_empty(), "{file}: {found:#?}");
    }
}

#[test]
fn slips_are_underlined_while_one_writes() {
    let home = Blackstart::new();
    let mut editor = Editor::open(&home);
    for (n, (line, expected, rest)) in [
        (7, "bugdet", "procedures:\n  - id: p\n    steps: [ { id: a, title: A, run: 'true', bugdet: 5m } ]\n"),
        (5, "", "phases: [ { id: a, budget: soon } ]\nprocedures: []\n"),
        (5, "", "variables: { x: { type: txt } }\nprocedures: []\n"),
        (5, "", "variables: { x: { needed: always } }\nprocedures: []\n"),
        (6, "", "procedures:\n  - { id: p, steps: [ { id: a, title: A, run: 'true', manual: look } ] }\n"),
        (6, "", "procedures:\n  - { id: p, steps: [ { id: a, title: A, danger: much, run: 'true' } ] }\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let found = editor.underlined(&format!("{n}.book.yaml"), &format!("{HEAD}{rest}"));
        let hit = found.iter().any(|(at, message)| *at == line && message.contains(expected));
        assert!(hit, "{rest}\n{found:#?}");
    }
    let found = editor.underlined("bad.site.yaml", "site: prod\nkind: production\n");
    assert!(found.iter().any(|(at, _)| *at == 2), "{found:#?}");
}

#[test]
fn keys_and_words_are_offered() {
    let home = Blackstart::new();
    let mut editor = Editor::open(&home);
    let text = format!(
        "{HEAD}procedures:\n  - id: p\n    steps:\n      - id: a\n        title: A\n        bu\n"
    );
    let offered = editor.offered("keys.book.yaml", &text, 10, 11);
    for key in ["budget", "run", "verify", "danger"] {
        assert!(offered.iter().any(|o| o == key), "{key}: {offered:?}");
    }
    let text = format!("{HEAD}variables:\n  x:\n    type: \n");
    let offered = editor.offered("words.book.yaml", &text, 7, 11);
    for word in ["timestamp", "secret", "duration"] {
        assert!(offered.iter().any(|o| o == word), "{word}: {offered:?}");
    }
}
