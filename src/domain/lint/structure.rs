//! What the parts of a runbook lack: a way to them, a proof, a budget, a tool that nobody looks for.

use super::{
    Found,
    view::{Kind, View},
};
use crate::domain::runbook::{Action, Runbook, Step, SystemKind, names_step, triage::Next};
use std::collections::BTreeSet;

pub(super) fn find(runbook: &Runbook, views: &[View<'_>], found: &mut Found) {
    unreachable(runbook, found);
    for (name, step) in runbook.steps() {
        steps(&name, step, found);
    }
    systems(runbook, found);
    tools(runbook, views, found);
}

/// A procedure to which no answer, no `include` and no failure row leads.
fn unreachable(runbook: &Runbook, found: &mut Found) {
    let Some(triage) = &runbook.triage else {
        return;
    };
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    for choice in triage.all_choices() {
        if let Next::Go(names) | Next::Pick(names) = &choice.next {
            reached.extend(
                names
                    .iter()
                    .map(|n| n.text.split('/').next().unwrap_or_default()),
            );
        }
    }
    for go in runbook.failures.iter().filter_map(|row| row.go.as_ref()) {
        reached.insert(go.text.split('/').next().unwrap_or_default());
        // A step: its procedure is appended when a person agrees.
        let steps = runbook
            .steps()
            .filter(|(name, _)| names_step(name, &go.text));
        let of: Vec<String> = steps.map(|(name, _)| name).collect();
        let procedures = runbook.procedures.iter().map(|p| p.id.text.as_str());
        reached
            .extend(procedures.filter(|p| of.iter().any(|name| name.split('/').next() == Some(p))));
    }
    reached.insert("recovered");
    // What is reached brings what it includes, and that what it includes.
    loop {
        let before = reached.len();
        for (name, step) in runbook.steps() {
            if let Action::Include(include) = &step.action
                && name.split('/').next().is_some_and(|p| reached.contains(p))
            {
                reached.insert(&include.of.text);
            }
        }
        if reached.len() == before {
            break;
        }
    }
    for procedure in &runbook.procedures {
        if !reached.contains(procedure.id.text.as_str()) {
            found.warn(
                "unreachable",
                &procedure.id.text,
                procedure.id.at,
                format!("no answer of the triage leads to `{}`", procedure.id),
                "add a choice with `go`, include it, or remove it",
            );
        }
    }
}

fn steps(name: &str, step: &Step, found: &mut Found) {
    let acts = matches!(step.action, Action::Run(_) | Action::Kubernetes(_));
    let says = step.expect.as_deref().is_some_and(|e| !e.trim().is_empty());
    if acts && step.verify.is_empty() && !says {
        found.warn(
            "no-verify",
            name,
            step.at,
            format!("nothing says what `{}` has to bring about", step.id),
            "add `verify: [ a check ]`, or at least `expect:` with what one should see",
        );
    }
    if step.budget.is_none() && !matches!(step.action, Action::Include(_)) {
        found.warn(
            "no-budget",
            name,
            step.at,
            format!(
                "`{}` has no budget: nobody can say whether the plan fits the RTO",
                step.id
            ),
            "add `budget: 5m`, from the last drill or by estimate",
        );
    }
}

fn systems(runbook: &Runbook, found: &mut Found) {
    for system in runbook.systems.values() {
        let tls = system.fields.get("tls").map(String::as_str);
        let plain_http = system.kind == SystemKind::Http
            && system
                .fields
                .get("base")
                .is_some_and(|b| b.starts_with("http://") && !is_local(b));
        let why = match tls {
            Some("disable" | "false") => {
                "is reached without TLS: whoever is in between reads and changes everything"
            }
            Some("verify-ca") => {
                "does not check the host name: any certificate of that authority passes"
            }
            _ if plain_http => {
                "is reached over plain http: tokens and answers can be read and changed on the way"
            }
            _ => continue,
        };
        found.warn(
            "weak-tls",
            &system.name.text,
            system.name.at,
            format!("`{}` {why}", system.name),
            "verify-full is the default; or `accept` it with the reason",
        );
    }
}

fn is_local(base: &str) -> bool {
    let host = base.trim_start_matches("http://");
    ["127.", "localhost", "[::1]"]
        .iter()
        .any(|l| host.starts_with(l))
}

/// What a shell and every system have.
const EVERYWHERE: &[&str] = &[
    "for",
    "select",
    "case",
    "until",
    "while",
    "!",
    ".",
    ":",
    "[",
    "[[",
    "((",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "cd",
    "command",
    "compgen",
    "complete",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "echo",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
    "arch",
    "b2sum",
    "base32",
    "base64",
    "basename",
    "basenc",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cksum",
    "comm",
    "cp",
    "csplit",
    "cut",
    "date",
    "dd",
    "df",
    "dir",
    "dircolors",
    "dirname",
    "du",
    "env",
    "expand",
    "expr",
    "factor",
    "fmt",
    "fold",
    "groups",
    "head",
    "hostid",
    "id",
    "install",
    "join",
    "link",
    "ln",
    "logname",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mv",
    "nice",
    "nl",
    "nohup",
    "nproc",
    "numfmt",
    "od",
    "paste",
    "pathchk",
    "pr",
    "printenv",
    "ptx",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "runcon",
    "seq",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "shred",
    "shuf",
    "sleep",
    "sort",
    "split",
    "stat",
    "stdbuf",
    "stty",
    "sum",
    "sync",
    "tac",
    "tail",
    "tee",
    "timeout",
    "touch",
    "tr",
    "truncate",
    "tsort",
    "tty",
    "uname",
    "unexpand",
    "uniq",
    "unlink",
    "uptime",
    "users",
    "vdir",
    "wc",
];
const BASE: &[&str] = &[
    "who", "whoami", "yes", "bash", "sh", "grep", "egrep", "fgrep", "sed", "awk", "find", "xargs",
    "tar", "gzip", "gunzip", "zcat", "ps", "diff", "cmp", "hostname", "mount", "umount",
];

/// Programs that a procedure calls and that "Ready?" does not look for.
fn tools(runbook: &Runbook, views: &[View<'_>], found: &mut Found) {
    let anywhere: BTreeSet<&str> = runbook
        .procedures
        .iter()
        .flat_map(|p| p.needs.tools.iter().map(String::as_str))
        .collect();
    let mut said: BTreeSet<(String, String)> = BTreeSet::new();
    for view in views
        .iter()
        .filter(|v| !v.peace && v.step.is_some() && v.kind != Kind::Manual)
    {
        let of = view.place.split('/').next().unwrap_or_default();
        let procedure = runbook.procedure(of);
        for call in view.calls.iter().filter(|c| !c.elsewhere) {
            let listed = match procedure {
                Some(procedure) => procedure.needs.tools.contains(&call.name),
                None => anywhere.contains(call.name.as_str()),
            };
            let known =
                EVERYWHERE.contains(&call.name.as_str()) || BASE.contains(&call.name.as_str());
            let by_path = call.raw.contains('/') || call.raw.contains('$');
            if listed || known || by_path || view.commands.functions.contains(&call.name) {
                continue;
            }
            if said.insert((of.to_owned(), call.name.clone())) {
                let at = view.at(call.at);
                found.warn(
                    "tool-not-listed",
                    &view.place,
                    at,
                    format!("`{}` is called here and is not among the tools of `{of}`", call.name),
                    &format!("add it to `needs: {{ tools: [{}] }}`: then it is looked for before it is missed", call.name),
                );
            }
        }
    }
}
