//! What may wait for ever, what holds only for one day, and SQL that is put together from strings.

use super::{
    Found,
    view::{Kind, View},
};
use crate::domain::{
    finding::Pos,
    runbook::{
        Runbook,
        kinds::CheckKind,
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
    if view.kind != Kind::Manual {
        dates(view, found);
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
            let asking = ["delete", "purge", "revoke", "failover", "deallocate"];
            let verb = call
                .plain()
                .take(5)
                .find(|w| asking.contains(&w.text.as_str()));
            let asked = verb.is_some_and(|v| v.text == "delete" || v.text == "purge");
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
    let is_put_together = |w: &Word| !w.names.is_empty() && is_sql(&w.text);
    let argument = call
        .values(options)
        .into_iter()
        .find(|w| is_put_together(w));
    let here = call.redirects.iter().find(|r| {
        r.sign.starts_with("<<") && !r.to.quoted && is_sql(&r.to.text) && has_name(&r.to.text)
    });
    let piped = view
        .before(call)
        .filter(|c| matches!(c.name.as_str(), "echo" | "printf"))
        .find_map(|c| c.args.iter().find(|w| is_put_together(w)));
    let at = argument
        .map(|w| w.at)
        .or(here.map(|_| call.at))
        .or(piped.map(|w| w.at));
    if let Some(at) = at {
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
    if text.contains("api-version") || text.contains("apiVersion") {
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
    for check in runbook.checks() {
        let CheckKind::Postgres(words) = &check.what else {
            continue;
        };
        let query = words.query.as_deref().unwrap_or_default();
        if query.contains("${") {
            found.warn(
                "sql-by-string",
                words.system.text.as_str(),
                check.at,
                "a value is put into SQL as text: a quote in it ends the statement",
                "write `$1` in the query and `params: [\"${name}\"]` beside it",
            );
        }
        let texts = [Some(query), check.expect.as_deref()];
        if let Some(date) = texts.into_iter().flatten().find_map(date_in) {
            say_date(words.system.text.as_str(), check.at, date, found);
        }
    }
}
