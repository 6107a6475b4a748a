//! `lint --tools`: the help of the installed tools says which options there are. Only tools that print
//! their help and do nothing else are asked, each with a deadline.

use crate::domain::{
    finding::Finding,
    lint::{Asked, asked, unknown_in},
    runbook::Runbook,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// What the installed tools said.
pub(super) struct Answers {
    pub findings: Vec<Finding>,
    /// Tools that a runbook calls and that are not here.
    pub missing: BTreeSet<String>,
}

pub(super) fn unknown_options(runbook: &Runbook) -> Answers {
    let mut helps: BTreeMap<(String, Vec<String>), Option<String>> = BTreeMap::new();
    let mut answers = Answers {
        findings: Vec::new(),
        missing: BTreeSet::new(),
    };
    for question in asked(runbook) {
        let command = command_of(&question);
        let key = (question.tool.clone(), command.clone());
        let help = helps
            .entry(key)
            .or_insert_with(|| help(&question.tool, &command));
        match help {
            Some(help) => answers.findings.extend(unknown_in(&question, help)),
            None => {
                answers.missing.insert(question.tool.clone());
            }
        }
    }
    answers
}

/// What the table had found already is not said twice.
pub(super) fn merge(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        let known = findings
            .iter()
            .any(|f| f.code == finding.code && f.at == finding.at);
        if !known {
            findings.push(finding);
        }
    }
    findings.sort_by_key(|f| f.at);
}

/// The words of the subcommand; what follows them are names and values.
fn command_of(question: &Asked) -> Vec<String> {
    let words = &question.command;
    let many = match question.tool.as_str() {
        "az" => words.iter().take_while(|w| is_word(w)).count().min(4),
        "aws" => words.len().min(2),
        "kubectl" => match words.first().map(String::as_str) {
            Some("rollout" | "set" | "config" | "auth" | "certificate" | "top") => 2,
            Some("create") => 1,
            _ => 1,
        },
        "pgbackrest" | "helm" | "alembic" => 1,
        _ => 0,
    };
    words.iter().take(many).cloned().collect()
}

fn is_word(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

fn help(tool: &str, command: &[String]) -> Option<String> {
    let own = |args: &[&str]| {
        let all: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        all
    };
    let mut asks: Vec<Vec<String>> = match tool {
        "pgbackrest" => vec![[own(&["help"]), command.to_vec()].concat()],
        "aws" => vec![[command.to_vec(), own(&["help"])].concat()],
        "curl" => vec![own(&["--help", "all"])],
        _ => vec![[command.to_vec(), own(&["--help"])].concat()],
    };
    if tool == "kubectl" {
        asks.push(own(&["options"]));
    }
    let mut all = String::new();
    for ask in asks {
        all.push_str(&said(tool, &ask)?);
    }
    Some(all)
}

/// What a tool prints within its deadline; `None` when it is not installed.
fn said(tool: &str, args: &[String]) -> Option<String> {
    const DEADLINE: Duration = Duration::from_secs(20);
    let mut child = Command::new(tool)
        .args(args)
        .env("AWS_PAGER", "")
        .env("PAGER", "cat")
        .env("MANPAGER", "cat")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let (send, receive) = mpsc::channel();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child
            .stdout
            .take()
            .map(|s| Box::new(s) as Box<dyn Read + Send>),
        child
            .stderr
            .take()
            .map(|s| Box::new(s) as Box<dyn Read + Send>),
    ];
    for mut stream in streams.into_iter().flatten() {
        let send = send.clone();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text);
            let _ = send.send(text);
        });
    }
    drop(send);
    let mut all = String::new();
    while let Ok(text) = receive.recv_timeout(DEADLINE) {
        all.push_str(&String::from_utf8_lossy(&text));
    }
    let _ = child.kill();
    let _ = child.wait();
    // A man page comes with letters struck twice.
    let mut plain = String::with_capacity(all.len());
    for c in all.chars() {
        if c == '\u{8}' {
            plain.pop();
        } else {
            plain.push(c);
        }
    }
    Some(plain)
}
