//! What may wait for ever, what holds only for one day, and SQL that is put together from strings.

use super::{
    Found,
    view::{Kind, View},
};
use crate::domain::{
    finding::Pos,
    runbook::{
        Action, Runbook,
        kinds::{CheckKind, postgres},
        scripts::commands::{Call, Word},
    },
};
use regex::Regex;
use std::sync::LazyLock;

pub(super) fn find(view: &View<'_>, found: &mut Found) {
    for call in &view.calls {
        if let Some((why, help)) = waits(call)
            && !call.limited
            && !view.is_limited()
        {
            found.call("may-hang", view, call.at, why, help);
        }
        if let Some((why, help)) = asks(call) {
            found.call("may-hang", view, call.at, why, help);
        }
        if ["helm", "helmfile"].contains(&call.name.as_str())
            && call.has(&["--atomic", "--rollback-on-failure"])
            && !call
                .args
                .iter()
                .any(|w| w.text == "--atomic=false" || w.text == "--rollback-on-failure=false")
            && !view.peace
        {
            found.call(
                "atomic-before-dependency",
                view,
                call.at,
                "--atomic takes the release away again when its pods are not ready in time, and they are not while what they depend on is still missing",
                "bring back what it depends on first, then `helm upgrade --install --wait --timeout …` without --atomic",
            );
        }
        sql(view, call, found);
    }
    loops(view, found);
    if view.kind != Kind::Manual {
        dates(view, found);
    }
}

/// `until pg_isready; do sleep 2; done`: nothing counts, and nothing ends it.
fn loops(view: &View<'_>, found: &mut Found) {
    if view.is_limited() || view.kind == Kind::Manual {
        return;
    }
    let ends = [
        "break", "exit", "return", "timeout", "((", "let", "read", "mapfile",
    ];
    for (from, to) in &view.commands.loops {
        let inside: Vec<&Call> = view
            .calls
            .iter()
            .filter(|c| c.at >= *from && c.at < *to)
            .collect();
        let sleeps = inside.iter().any(|c| c.name == "sleep");
        let text = view.text().get(*from..*to).unwrap_or_default();
        let counts = inside
            .iter()
            .any(|c| ends.contains(&c.name.as_str()) || c.limited)
            || ["SECONDS", "((", "-lt", "-gt", "-ge", "-le", "date +%s"]
                .iter()
                .any(|w| text.contains(w));
        if sleeps && !counts {
            found.call(
                "may-hang",
                view,
                *from,
                "this waits until it is so, and perhaps it never is",
                "use a check with `within: 5m`, or give the step a `timeout`",
            );
        }
    }
}

/// Without a limit this waits until somebody ends it.
fn waits(call: &Call) -> Option<(&'static str, &'static str)> {
    let says = |words: &[&str]| call.says(words);
    match call.name.as_str() {
        "kubectl" | "oc" => {
            let limited = call.has(&["--timeout", "--request-timeout"]);
            if says(&["rollout", "status"])
                && !limited
                && !call.has(&["--watch=false"])
                && !call.args.iter().any(|w| w.text == "-w=false")
            {
                return Some((
                    "`kubectl rollout status` waits without an end when the rollout never gets ready",
                    "add `--timeout=10m`",
                ));
            }
            let now = call.args.iter().any(|w| {
                matches!(
                    w.text.as_str(),
                    "--wait=false" | "--dry-run=client" | "--dry-run=server"
                )
            });
            if is_verb(call, "delete") && !limited && !now {
                return Some((
                    "`kubectl delete` waits without an end for a finalizer, after it has said `deleted`",
                    "add `--timeout=2m`, or `--wait=false` and look afterwards whether it is gone",
                ));
            }
            if is_verb(call, "drain") && !limited {
                return Some((
                    "`kubectl drain` waits without an end for a pod that may not be evicted",
                    "add `--timeout=5m`",
                ));
            }
            let follows = is_verb(call, "logs") && call.has(&["-f", "--follow"]);
            let watches = is_verb(call, "get") && call.has(&["-w", "--watch"]);
            (follows || watches).then_some((
                "this follows until somebody ends it",
                "leave the option out, or put `timeout 5m` before it",
            ))
        }
        "tail" => call.has(&["-f", "-F", "--follow"]).then_some((
            "`tail -f` never ends",
            "put `timeout 5m` before it, or look once",
        )),
        "watch" => Some(("`watch` never ends", "use a check with `within`")),
        "journalctl" => call
            .has(&["-f", "--follow"])
            .then_some(("`journalctl -f` never ends", "leave the option out")),
        _ => None,
    }
}

fn is_verb(call: &Call, verb: &str) -> bool {
    let takes = [
        "-n",
        "--namespace",
        "--context",
        "--kubeconfig",
        "--cluster",
        "--user",
        "-s",
        "--server",
    ];
    call.subcommand(&takes).first() == Some(&verb)
}

/// Commands of az that ask for a confirmation.
const ASKS: [&str; 13] = [
    "aks delete",
    "group delete",
    "disk delete",
    "vm delete",
    "vmss delete",
    "postgres flexible-server delete",
    "postgres flexible-server db delete",
    "postgres flexible-server firewall-rule delete",
    "network dns zone delete",
    "network dns record-set",
    "storage account delete",
    "redis delete",
    "dataprotection backup-instance delete",
];

/// This asks a question, and nobody is there to answer.
fn asks(call: &Call) -> Option<(&'static str, &'static str)> {
    let says = |words: &[&str]| call.says(words);
    match call.name.as_str() {
        "az" => {
            if says(&["aks", "get-credentials"]) && !call.has(&["--overwrite-existing"]) {
                return Some((
                    "a second time this asks whether to overwrite, and fails where nobody can answer; it also changes the current context",
                    "add `--overwrite-existing` and `--file` with a kubeconfig of its own",
                ));
            }
            let words = call
                .subcommand(&["--subscription", "--output", "-o", "--query"])
                .join(" ");
            let is_delete = words.split(' ').any(|w| w == "delete");
            let asked = is_delete && ASKS.iter().any(|command| words.starts_with(command));
            (asked && !call.has(&["--yes", "-y"])).then_some((
                "az asks for a confirmation here, and fails where nobody can answer",
                "add `--yes`; make the step `danger: destroy`, so that a person confirms",
            ))
        }
        "terraform" | "tofu" => ((says(&["apply"]) || says(&["destroy"]))
            && !call.has(&["-auto-approve", "--auto-approve"])
            && !call.plain().any(|w| w.text.ends_with("plan")))
        .then_some((
            "terraform asks for a confirmation here",
            "apply a saved plan, or add `-auto-approve -input=false`",
        )),
        "pulumi" => ((says(&["up"]) || says(&["destroy"])) && !call.has(&["--yes", "-y"]))
            .then_some(("pulumi asks for a confirmation here", "add `--yes`")),
        "gcloud" => (says(&["delete"]) && !call.has(&["--quiet", "-q"]))
            .then_some(("gcloud asks for a confirmation here", "add `--quiet`")),
        "apt-get" | "apt" | "dnf" | "yum" => (says(&["install"])
            && !call.has(&["-y", "--yes", "--assume-yes"]))
        .then_some(("this asks for a confirmation", "add `-y`")),
        "ssh" | "scp" => (!call.args.iter().any(|w| w.text.contains("BatchMode"))).then_some((
            "ssh asks for a password or for an unknown host's key",
            "add `-o BatchMode=yes -o ConnectTimeout=10`",
        )),
        "ssh-keygen" => (!call.has(&["-N", "-l", "-F", "-R", "-y", "-H"])).then_some((
            "ssh-keygen asks for a passphrase",
            "add `-N ''` and `-f FILE`",
        )),
        "read" => call.has(&["-p"]).then_some((
            "this asks a question, and stdin of a step is /dev/null",
            "make it a variable with `ask:`; for a decision use a `manual` step",
        )),
        "rm" | "cp" | "mv" => call.has(&["-i", "--interactive"]).then_some((
            "this asks before each file",
            "leave `-i` out; make the step `danger: destroy`",
        )),
        _ => None,
    }
}

/// SQL that is put together from strings: a quote in a value ends the statement.
fn sql(view: &View<'_>, call: &Call, found: &mut Found) {
    let options: &[&str] = match call.name.as_str() {
        "psql" => &["-c", "--command"],
        "mysql" | "mariadb" => &["-e", "--execute"],
        "sqlcmd" => &["-Q", "-q"],
        "sqlite3" => &[],
        _ => return,
    };
    // Texts of SQL with a value in them that the script keeps in a variable.
    let assigned = view
        .commands
        .pipelines
        .iter()
        .flat_map(|p| &p.commands)
        .flat_map(|c| &c.assigned);
    let kept: Vec<&str> = assigned
        .filter(|(_, word)| !word.names.is_empty() && is_sql(&word.text))
        .map(|(name, _)| name.as_str())
        .collect();
    let is_put_together = |w: &Word| {
        let filled = view.kind == Kind::Arguments && w.text.contains("${");
        ((!w.names.is_empty() || filled) && is_sql(&w.text))
            || w.names.iter().any(|n| kept.contains(&n.as_str()))
    };
    let argument = call
        .values(options)
        .into_iter()
        .find(|w| is_put_together(w));
    let here = |c: &Call| {
        c.redirects.iter().any(|r| match r.sign.as_str() {
            "<<" => !r.to.quoted && is_sql(&r.to.text) && has_name(&r.to.text),
            "<<<" => is_put_together(&r.to),
            _ => false,
        })
    };
    let own = here(call).then_some(call.at);
    let piped = view.before(call).find_map(|c| match c.name.as_str() {
        "cat" if here(c) => Some(c.at),
        "echo" => c.args.iter().find(|w| is_put_together(w)).map(|w| w.at),
        "printf" => {
            let format = c.args.iter().find(|w| !w.text.starts_with("-"))?;
            let fills = is_sql(&format.text) && c.args.iter().any(|w| !w.names.is_empty());
            (fills || is_put_together(format)).then_some(format.at)
        }
        _ => None,
    });
    if let Some(at) = argument.map(|w| w.at).or(own).or(piped) {
        found.call(
            "sql-by-string",
            view,
            at,
            "a value is put into SQL as text: a quote in it ends the statement",
            "use a check with `params: [\"${name}\"]`, or `psql -v name=\"$NAME\"` with `:'name'` in a script on stdin",
        );
    }
}

fn is_sql(text: &str) -> bool {
    static VERB: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\b(select|insert|update|delete|create|alter|drop|grant|truncate|with|copy)\b",
        )
        .expect("a constant")
    });
    VERB.is_match(text)
}

fn has_name(text: &str) -> bool {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\$\{?[A-Za-z_]").expect("a constant"));
    NAME.is_match(text)
}

static DATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^0-9A-Za-z.])(20[2-9]\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])|20[2-9]\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?:$|[^0-9])")
        .expect("a constant")
});

fn date_in(text: &str) -> Option<&str> {
    if text.to_ascii_lowercase().contains("version") {
        return None;
    }
    Some(DATE.captures(text)?.get(1)?.as_str())
}

fn say_date(place: &str, at: Pos, date: &str, found: &mut Found) {
    found.warn(
        "fixed-date",
        place,
        at,
        format!("`{date}` was right on one day only"),
        "make a variable of it; an `example:` shows its form",
    );
}

fn dates(view: &View<'_>, found: &mut Found) {
    let commands = view.commands.pipelines.iter().flat_map(|p| &p.commands);
    for command in commands {
        let mut before = "";
        for word in &command.words {
            let version = before.contains("version");
            before = &word.text;
            if let Some(date) = date_in(&word.text).filter(|_| !version) {
                say_date(&view.place, view.at(word.at), date, found);
            }
        }
        for redirect in &command.redirects {
            if let Some(date) = date_in(&redirect.to.text) {
                let at = if redirect.sign == "<<" {
                    command.at
                } else {
                    redirect.to.at
                };
                say_date(&view.place, view.at(at), date, found);
            }
        }
        for (name, word) in &command.assigned {
            if let Some(date) = date_in(&word.text)
                && !name.to_ascii_lowercase().contains("version")
            {
                say_date(&view.place, view.at(word.at), date, found);
            }
        }
    }
}

/// Dates and SQL in the fields of the runbook.
pub(super) fn dates_in_fields(runbook: &Runbook, found: &mut Found) {
    for variable in runbook.variables.values() {
        if let Some(date) = variable.default.as_deref().and_then(date_in) {
            say_date(&variable.name.text, variable.name.at, date, found);
        }
    }
    for (name, step) in runbook.steps() {
        for (key, value) in &step.set {
            if let Some(date) = date_in(value) {
                say_date(&name, key.at, date, found);
            }
        }
    }
    for (name, step) in runbook.steps() {
        for script in step.scripts() {
            for (key, value) in &script.env {
                if let Some(date) = date_in(value) {
                    say_date(&name, key.at, date, found);
                }
            }
        }
        if let Action::Kubernetes(words) = &step.action
            && let Some(date) = date_in(&words.to_string())
        {
            say_date(&name, step.at, date, found);
        }
    }
    for check in runbook.checks() {
        // Commands and scripts are read as such.
        if matches!(check.what, CheckKind::Command(_)) {
            continue;
        }
        let place = check.system().map_or("", |s| s.text.as_str());
        let mut texts: Vec<&str> = check
            .templates()
            .into_iter()
            .map(|(text, _)| text)
            .collect();
        if let CheckKind::Postgres(words) = &check.what {
            texts.extend(words.query.as_deref());
            if let Some(function) = words.query.as_deref().and_then(postgres::has_effects) {
                found.warn(
                    "write-in-check",
                    place,
                    check.at,
                    format!("a check only looks, and `{function}` does something"),
                    "do it in a step of its own; let the check read with a role that may only read",
                );
            }
        }
        if let Some(date) = texts.into_iter().find_map(date_in) {
            say_date(place, check.at, date, found);
        }
    }
}

/// A check's command that changes what it looks at.
pub(super) fn writes(view: &View<'_>, found: &mut Found) {
    if !matches!(view.kind, Kind::Check | Kind::Arguments) {
        return;
    }
    for call in &view.calls {
        let words = call.subcommand(&["-n", "--namespace", "--context", "--kubeconfig"]);
        let verb = words.first().copied().unwrap_or_default();
        let changes = match call.name.as_str() {
            "kubectl" | "oc" => {
                let dry = call.args.iter().any(|w| w.text.starts_with("--dry-run"));
                let verbs = [
                    "delete", "apply", "create", "scale", "patch", "annotate", "label", "cordon",
                    "drain", "replace", "edit", "set", "taint",
                ];
                !dry && (verbs.contains(&verb)
                    || words.starts_with(&["rollout", "restart"])
                    || words.starts_with(&["rollout", "undo"]))
            }
            "helm" => {
                ["install", "upgrade", "uninstall", "rollback"].contains(&verb)
                    && !call.has(&["--dry-run"])
            }
            "systemctl" => {
                ["start", "stop", "restart", "reload", "enable", "disable"].contains(&verb)
            }
            "dropdb" | "createdb" | "pg_restore" | "mkfs" | "terraform" => {
                call.name != "terraform" || ["apply", "destroy"].contains(&verb)
            }
            "rm" | "mv" | "dd" | "truncate" => view.kind == Kind::Arguments,
            _ => false,
        };
        if changes && !(call.name == "pg_restore" && call.has(&["-l", "--list", "-f", "--file"])) {
            found.call(
                "write-in-check",
                view,
                call.at,
                format!(
                    "a check only looks, and this `{}` changes something",
                    call.name
                ),
                "make a step of it; what it brings about is its `verify`",
            );
        }
    }
}
