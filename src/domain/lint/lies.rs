//! Exit codes that lie, and dumps that look whole: what says 0 and has failed all the same.

use super::{
    Found,
    view::{Kind, View},
};
use crate::domain::runbook::scripts::commands::{Call, Use, Word};

const CODE: &str = "exit-code-lies";

pub(super) fn find(all: &[View<'_>], view: &View<'_>, found: &mut Found) {
    for call in &view.calls {
        match call.name.as_str() {
            "psql" => psql(all, view, call, found),
            "jq" | "gojq" | "jaq" => jq(view, call, found),
            "grep" | "egrep" | "fgrep" | "rg" => grep(view, call, found),
            "alembic" => alembic(view, call, found),
            "python" | "python3" if call.value(&["-m"]).is_some_and(|w| w.text == "alembic") => {
                alembic(view, call, found);
            }
            "redis-cli" | "valkey-cli" => redis(view, call, found),
            "kubectl" | "oc" => lookup(view, call, found),
            "pgbackrest" => pgbackrest(view, call, found),
            "curl" => curl(view, call, found),
            "pg_dump" | "pg_dumpall" | "mysqldump" | "mariadb-dump" | "mongodump"
            | "pg_basebackup" => {
                dump(view, call, found);
            }
            _ => {}
        }
    }
}

/// Does the script look at the outcome in another way?
fn is_judged(view: &View<'_>) -> bool {
    view.check.is_some_and(|c| c.expect.is_some())
}

fn psql(all: &[View<'_>], view: &View<'_>, call: &Call, found: &mut Found) {
    if call.has(&["--version", "-V", "--help", "-l", "--list"]) {
        return;
    }
    let custom = || all.iter().any(|v| v.calls.iter().any(is_custom_dump));
    let unpacked = view.before(call).find(|c| {
        matches!(
            c.name.as_str(),
            "gunzip"
                | "zcat"
                | "gzip"
                | "pigz"
                | "zstd"
                | "zstdcat"
                | "xz"
                | "xzcat"
                | "bzcat"
                | "cat"
        )
    });
    let stops = stops_on_error(view, call);
    if let Some(unpack) = unpacked.filter(|c| c.name != "cat")
        && (!stops || custom())
    {
        let why = if custom() {
            "the dumps of this runbook are made with `pg_dump -Fc`: gunzip cannot read them, psql gets nothing, and the exit code is 0"
        } else {
            "of a custom-format dump (`pg_dump -Fc`) this restores nothing with exit code 0, and of a plain one it goes on after every error"
        };
        found.call(
            CODE,
            view,
            unpack.at,
            why,
            "`pg_restore --exit-on-error --no-owner -d DB FILE`; for a plain dump `gunzip -c FILE | psql -X -v ON_ERROR_STOP=1 --single-transaction`",
        );
    }
    if !stops {
        found.call(
            CODE,
            view,
            call.at,
            "psql without ON_ERROR_STOP ends with 0 although statements failed",
            "add `-X -v ON_ERROR_STOP=1`",
        );
    }
}

fn is_custom_dump(call: &Call) -> bool {
    call.name == "pg_dump"
        && call.value(&["-F", "--format"]).is_some_and(|w| {
            let value = w
                .text
                .trim_start_matches("--format=")
                .trim_start_matches("-F");
            matches!(value, "c" | "custom")
        })
}

fn stops_on_error(view: &View<'_>, call: &Call) -> bool {
    let says = |w: &Word| {
        let mut parts = w.text.split("ON_ERROR_STOP").skip(1);
        parts.any(|rest| {
            let value = rest
                .trim_start_matches(['=', ' '])
                .split(['\n', ' '])
                .next()
                .unwrap_or_default();
            !matches!(value, "0" | "off" | "false" | "no")
        })
    };
    let of_call = call.args.iter().any(says) || call.redirects.iter().any(|r| says(&r.to));
    let piped = view.before(call).any(|c| c.args.iter().any(says));
    of_call || piped
}

fn jq(view: &View<'_>, call: &Call, found: &mut Found) {
    let makes = call.has(&["-n", "--null-input"]);
    let piped = view.reads_a_pipe(call) || call.redirects.iter().any(|r| r.sign.starts_with('<'));
    let guarded = call.has(&["-e", "--exit-status"]);
    if guarded || makes || is_judged(view) {
        return;
    }
    let shown = call.plain().any(|w| !w.text.is_empty());
    let counts = matches!(view.usage(call), Use::Statement | Use::Condition);
    // What is kept in a variable and then compared is looked at.
    if let Use::Assigned(name) = view.usage(call)
        && looks_at(view, &name)
    {
        return;
    }
    if view.is_last(call) && (piped || (counts && shown)) {
        found.call(
            CODE,
            view,
            call.at,
            "jq without -e ends with 0 for `false`, for `null`, and when nothing comes in at all",
            "`jq -e \'.field == true\'`: then the exit code is the answer",
        );
    }
}

fn grep(view: &View<'_>, call: &Call, found: &mut Found) {
    // Of a whole object, as text: names of fields are found wherever they stand.
    let of_object = view.before(call).any(|c| {
        let output = c
            .value(&["-o", "--output"])
            .map(|w| w.text.as_str())
            .unwrap_or_default();
        matches!(c.name.as_str(), "kubectl" | "oc")
            && ["yaml", "json"].iter().any(|f| output.ends_with(f))
    });
    let counts = matches!(view.usage(call), Use::Statement | Use::Condition) || of_object;
    let pattern = call
        .args
        .iter()
        .position(|w| w.text == "-e" || w.text == "-f");
    let taken = pattern
        .and_then(|i| call.args.get(i + 1))
        .is_some_and(|w| w.text == "-c");
    if call.has(&["-c", "--count"]) && !taken && counts && view.is_last(call) && !is_judged(view) {
        found.call(
            CODE,
            view,
            call.at,
            "`grep -c` counts lines with that text anywhere, and any number above 0 passes: `data:` is in `metadata:` too",
            "ask for the thing itself and compare it, with a template or `jq -e`",
        );
    }
}

fn alembic(view: &View<'_>, call: &Call, found: &mut Found) {
    if call.says(&["current"]) && !call.has(&["--check-heads"]) && !is_judged(view) {
        found.call(
            CODE,
            view,
            call.at,
            "`alembic current` ends with 0 also when the database is behind the code",
            "`alembic current --check-heads`",
        );
    }
}

fn redis(view: &View<'_>, call: &Call, found: &mut Found) {
    if call.has(&["--version", "-v", "--help", "--rdb", "--pipe"]) || is_judged(view) {
        return;
    }
    if !call.args.iter().any(|w| w.text == "-e") {
        found.call(
            CODE,
            view,
            call.at,
            "redis-cli without -e prints an error of the server, NOAUTH for instance, and ends with 0",
            "add `-e`",
        );
    }
}

/// `X=$(kubectl get … -o jsonpath=…)`: what is not there is an empty text, and exit code 0.
fn lookup(view: &View<'_>, call: &Call, found: &mut Found) {
    let output = call
        .value(&["-o", "--output"])
        .map(|w| w.text.as_str())
        .unwrap_or_default();
    let template = ["jsonpath", "go-template", "custom-columns"]
        .iter()
        .any(|t| output.contains(t));
    let assigned = matches!(view.usage(call), Use::Assigned(_));
    if !(template || call.has(&["--template"]))
        || !call.says(&["get"])
        || !(view.is_last(call) || assigned)
    {
        return;
    }
    // A list of names or states is shown; one field of one object is looked up.
    let lists = [
        "range ", "items[", ".items", "{{range", "{{ range", "{{len", "{{ len",
    ]
    .iter()
    .any(|w| output.contains(w));
    let name = match view.usage(call) {
        Use::Assigned(name) => name,
        Use::Argument if !lists => "it".to_owned(),
        Use::Statement if !lists && template && view.kind == Kind::Run => {
            let captures = view
                .step
                .is_some_and(|s| !s.capture.is_empty() || !s.verify.is_empty());
            if captures || view.reads_a_pipe(call) || call.redirects.iter().any(|r| r.is_output()) {
                return;
            }
            "it".to_owned()
        }
        Use::Argument | Use::Statement | Use::Condition => return,
    };
    if looks_at(view, &name) {
        return;
    }
    found.call(
        CODE,
        view,
        call.at,
        format!("a field that is not there gives an empty text and exit code 0, and nothing looks whether `{name}` is empty"),
        &format!("`: \"${{{name}:?nothing was found}}\"` on the next line"),
    );
}

/// Does the script look whether the variable is empty?
fn looks_at(view: &View<'_>, name: &str) -> bool {
    let text = view.text();
    let demanded = [":?", "?", ":-", ":+"]
        .iter()
        .any(|sign| text.contains(&format!("${{{name}{sign}")));
    let tested = view.calls.iter().any(|c| {
        matches!(c.name.as_str(), "[" | "[[" | "test" | "case" | "grep")
            && c.args.iter().any(|w| w.names.iter().any(|n| n == name))
    });
    let cased =
        text.contains(&format!("case ${name} ")) || text.contains(&format!("case \"${name}\" "));
    demanded
        || tested
        || cased
        || text.contains(&format!("<<<\"${name}\""))
        || text.contains(&format!("<<< \"${name}\""))
}

fn pgbackrest(view: &View<'_>, call: &Call, found: &mut Found) {
    let looks = call
        .args
        .iter()
        .any(|w| matches!(w.text.as_str(), "info" | "verify"));
    let piped = view.behind(call).next().is_some();
    let captured = !matches!(view.usage(call), Use::Statement | Use::Condition);
    let captures = view
        .step
        .is_some_and(|s| !s.capture.is_empty() && view.kind == Kind::Run);
    if looks && !piped && !captured && !captures && !is_judged(view) {
        found.call(
            CODE,
            view,
            call.at,
            "`pgbackrest info` and `verify` end with 0 also when the status they print is an error",
            "look for the text: `expect: \"/status: ok/\"`",
        );
    }
}

fn curl(view: &View<'_>, call: &Call, found: &mut Found) {
    let fails = call.has(&["-f", "--fail", "--fail-with-body", "--fail-early"]);
    let written = call.has(&["-w", "--write-out", "-I", "--head", "--version"]);
    if !fails && !written && !is_judged(view) && call.plain().next().is_some() {
        found.call(
            CODE,
            view,
            call.at,
            "curl without --fail ends with 0 also when the answer is 401 or 503",
            "add `--fail-with-body`, and `-sS` for a quiet one that still says errors",
        );
    }
}

fn plain(text: &str) -> String {
    text.replace("${", "$").replace('}', "")
}

/// A dump that is written under its final name looks whole when it is not.
fn dump(view: &View<'_>, call: &Call, found: &mut Found) {
    let targets: Vec<String> = std::iter::once(call)
        .chain(view.behind(call))
        .flat_map(|c| {
            let outputs = c.redirects.iter().filter(|r| r.is_output());
            outputs.map(|r| r.to.text.clone())
        })
        .chain(
            call.value(&["-f", "--file", "-r", "--result-file"])
                .map(|w| {
                    let text = w
                        .text
                        .split_once('=')
                        .map_or(w.text.as_str(), |(_, value)| value);
                    text.to_owned()
                }),
        )
        .map(|t| plain(&t))
        .collect();
    let is_target = |w: &Word| targets.iter().any(|t| plain(&w.text) == *t);
    let moved = view
        .calls
        .iter()
        .filter(|c| c.at > call.at && matches!(c.name.as_str(), "mv" | "rename" | "ln"))
        .any(|c| c.args.iter().any(is_target));
    let named = call
        .value(&[
            "-f",
            "--file",
            "-r",
            "--result-file",
            "-D",
            "--pgdata",
            "--archive",
        ])
        .is_some();
    let written = std::iter::once(call).chain(view.behind(call)).any(|c| {
        c.redirects
            .iter()
            .any(|r| r.is_output() && r.to.text != "/dev/null")
    });
    let teed = view.behind(call).any(|c| c.name == "tee");
    let in_place = call.name == "pg_basebackup";
    if (named || written || teed) && !moved && !in_place {
        found.call(
            "dump-not-atomic",
            view,
            call.at,
            "the file has its final name while it is still being written: cut short, it looks like a dump",
            "write to `$file.tmp`, read it through (`pg_restore --file=/dev/null`), then `mv` it",
        );
    }
}
