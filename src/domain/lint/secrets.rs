//! Secrets where others can read them: in arguments, in addresses, on the screen.

use super::{
    Found,
    view::{Kind, View},
};
use crate::domain::{
    finding::Pos,
    runbook::{
        Runbook, Variable,
        scripts::{
            commands::{Call, Use, Word},
            is_secret_name,
        },
    },
};
use regex::Regex;
use std::sync::LazyLock;

pub(super) fn find(runbook: &Runbook, view: &View<'_>, found: &mut Found) {
    for call in &view.calls {
        let unwrapped = !view.calls.iter().any(|c| {
            // The innermost call of a command speaks for it.
            c.pipeline == call.pipeline
                && c.command == call.command
                && c.args.len() < call.args.len()
                && c.name != call.name
                && call.args.ends_with(&c.args)
        });
        if unwrapped {
            arguments(runbook, view, call, found);
            printed(runbook, view, call, found);
        }
        if matches!(call.name.as_str(), "sudo" | "doas") {
            wrapped_environment(runbook, view, call, found);
        }
        weak_tls(view, call, found);
    }
    weak_tls_assigned(view, found);
    for command in view.commands.pipelines.iter().flat_map(|p| &p.commands) {
        for (_, word) in &command.assigned {
            if let Some(at) = url_at(word) {
                in_url(view, at, found);
            }
        }
        for redirect in command
            .redirects
            .iter()
            .filter(|_| view.kind != Kind::Manual)
        {
            if let Some(at) = url_at(&redirect.to) {
                in_url(view, at, found);
            }
        }
    }
}

/// `scheme://user:password@host`, with a password that is there.
static LOGIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:([^\s/@]+|\$\{[^}]*\}|\$\([^)]*\)|`[^`]*`)@")
        .expect("a constant")
});

fn url_at(word: &Word) -> Option<usize> {
    LOGIN.is_match(&word.text).then_some(word.at)
}

fn in_url(view: &View<'_>, at: usize, found: &mut Found) {
    found.call(
        "password-in-url",
        view,
        at,
        "a password stands in this address: a character such as @ or # in it breaks the address, and every log shows it",
        "give the password on its own (a Secret, PGPASSFILE, an environment variable), or percent-encode it where an address has to be made",
    );
}

/// Commands of the shell itself: their arguments are no process's arguments.
const BUILTINS: [&str; 24] = [
    "echo", "printf", "read", "test", "[", "[[", "export", "local", "declare", "readonly",
    "typeset", "set", "unset", ":", "true", "false", "case", "eval", "return", "exit", "cd", "let",
    "mapfile", "trap",
];

fn arguments(runbook: &Runbook, view: &View<'_>, call: &Call, found: &mut Found) {
    if call.args.iter().any(|w| url_at(w).is_some()) {
        let at = call.args.iter().find_map(url_at).unwrap_or(call.at);
        in_url(view, at, found);
    }
    // `export X=…` and `local X=…` are no arguments of a process.
    if BUILTINS.contains(&call.name.as_str()) || view.commands.functions.contains(&call.name) {
        return;
    }
    if let Some(word) = token(view, call) {
        found.call(
            "token-argument",
            view,
            word.at,
            "a token stands among the arguments, where every user of this machine can read it",
            "hand it over by a file or by stdin: `curl --header @FILE` or `curl --config -`",
        );
        return;
    }
    let secret = call.args.iter().find_map(|w| {
        let name = w.names.iter().find(|n| is_secret(runbook, n));
        name.map(|n| (w, n.clone()))
            .or_else(|| literal(call, w).map(|n| (w, n)))
    });
    if let Some((word, name)) = secret {
        let code = if is_token(&name) {
            "token-argument"
        } else {
            "secret-argument"
        };
        found.call(
            code,
            view,
            word.at,
            format!("`{name}` stands among the arguments of `{}`, where every user of this machine can read it", call.name),
            "hand it over by stdin, by a file that only its owner can read, or by an environment variable of this one call",
        );
    }
}

/// Is it a secret by its declaration, or by its name where nobody declared it?
fn is_secret(runbook: &Runbook, name: &str) -> bool {
    let declared = runbook.variables.get(&name.to_ascii_lowercase());
    match declared {
        Some(variable) => Variable::is_secret(variable),
        None => is_secret_name(name),
    }
}

fn is_token(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "jwt", "bearer"].iter().any(|w| name.contains(w))
}

/// `sudo PGPASSWORD=… psql`: an argument of sudo.
fn wrapped_environment(runbook: &Runbook, view: &View<'_>, call: &Call, found: &mut Found) {
    let set = call.args.iter().find(|w| {
        let name = w.text.split_once('=').map(|(name, _)| name);
        name.is_some_and(|n| {
            n.bytes()
                .all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit())
        }) && w.names.iter().any(|n| is_secret(runbook, n))
    });
    if let Some(word) = set {
        found.call(
            "secret-argument",
            view,
            word.at,
            format!("what stands between `{}` and the command is an argument, which every user of this machine can read", call.name),
            "set it in the environment and let it through: `sudo --preserve-env=PGPASSWORD …`",
        );
    }
}

static LITERAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^--?(?:[a-z-]*)(password|passwd|passphrase|secret|account-key|api-key)=([^$@/{<*\s][^$\s]*)$").expect("a constant")
});

/// A password that is written out: `--password=hunter2`, `-a hunter2`.
fn literal(call: &Call, word: &Word) -> Option<String> {
    if let Some(found) = LITERAL.captures(&word.text) {
        return Some(format!("--{}", &found[1]));
    }
    // `--from-literal=password=hunter2`
    let rest = word
        .text
        .strip_prefix("--from-literal=")
        .unwrap_or(&word.text);
    let of_literal = word.text.starts_with("--from-literal=")
        || call
            .value(&["--from-literal"])
            .is_some_and(|w| w.at == word.at);
    if of_literal
        && let Some((key, value)) = rest.split_once('=')
        && !value.is_empty()
        && is_secret_name(key)
    {
        return Some(key.to_owned());
    }
    let option: &[&str] = match call.name.as_str() {
        "redis-cli" => &["-a", "--pass"],
        "sshpass" => &["-p"],
        "az" => &["--password", "--admin-password"],
        _ => return None,
    };
    let value = call.value(option)?;
    (value.at == word.at && !value.text.is_empty()).then(|| option[0].to_owned())
}

/// A token among the arguments of a client: a header, an option, a query.
fn token<'c>(view: &View<'_>, call: &'c Call) -> Option<&'c Word> {
    static HEADER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)(authorization\s*:|(x-)?[a-z-]*(token|api-key|apikey|auth)\s*:)\s*\S")
            .expect("a constant")
    });
    static QUERY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)[?&](access_token|token|api_key|apikey|key|sig)=\S").expect("a constant")
    });
    let clients = ["curl", "wget", "http", "https", "xh", "grpcurl", "websocat"];
    if clients.contains(&call.name.as_str()) {
        let in_variable: Vec<&str> = view
            .commands
            .pipelines
            .iter()
            .flat_map(|p| &p.commands)
            .flat_map(|c| &c.assigned)
            .filter(|(_, word)| HEADER.is_match(&word.text))
            .map(|(name, _)| name.as_str())
            .collect();
        let is_header = |w: &Word| HEADER.is_match(&w.text) && !w.text.contains('@');
        let header = call
            .args
            .iter()
            .find(|w| is_header(w) || w.names.iter().any(|n| in_variable.contains(&n.as_str())));
        let query = || {
            call.args
                .iter()
                .find(|w| w.text.contains("://") && QUERY.is_match(&w.text))
        };
        let bearer = || call.value(&["--oauth2-bearer"]);
        let user = || {
            call.value(&["-u", "--user"])
                .filter(|w| w.text.contains(':') && !w.text.ends_with(':'))
        };
        return header.or_else(query).or_else(bearer).or_else(user);
    }
    let options = [
        "--token",
        "--access-token",
        "--auth-token",
        "--bearer-token",
        "--api-token",
    ];
    call.value(&options).filter(|w| {
        !w.text
            .trim_start_matches("--token=")
            .starts_with(['/', '@'])
    })
}

/// A secret on the screen: fetched without `capture`, or printed.
fn printed(runbook: &Runbook, view: &View<'_>, call: &Call, found: &mut Found) {
    if matches!(view.kind, Kind::Check | Kind::Arguments) {
        // What a check sees is compared; only a script's own pipe may still show it.
        if view.kind == Kind::Arguments && fetches(call) {
            say_printed(view, call, found);
        }
        return;
    }
    let shown = matches!(view.usage(call), Use::Statement | Use::Condition);
    let withheld = view.step.is_some_and(|s| {
        s.capture
            .iter()
            .any(|(name, _)| is_secret(runbook, &name.text))
    });
    if !shown || withheld {
        return;
    }
    let kept = |c: &Call| c.redirects.iter().any(|r| r.is_output());
    let out_of_sight = kept(call) || view.behind(call).any(kept) || view.behind(call).any(swallows);
    if out_of_sight {
        return;
    }
    let fetched = fetched_into(view);
    let is_known = |n: &String| is_secret(runbook, n) || fetched.contains(&n.as_str());
    let shows = match call.name.as_str() {
        "echo" | "printf" => {
            let into_variable =
                call.name == "printf" && call.args.first().is_some_and(|w| w.text == "-v");
            !into_variable && call.args.iter().any(|w| w.names.iter().any(is_known))
        }
        "printenv" => call.plain().any(|w| is_secret(runbook, &w.text)),
        // What these get on stdin they print.
        "cat" | "base64" | "tr" | "xxd" | "od" | "rev" | "tee" | "cut" | "sed" | "head" => {
            let here = call.redirects.iter().filter(|r| r.sign == "<<<");
            here.flat_map(|r| &r.to.names).any(is_known)
        }
        _ => fetches(call),
    };
    if shows {
        say_printed(view, call, found);
    }
}

/// Variables of the script that hold what was fetched from where secrets are kept.
fn fetched_into<'v>(view: &'v View<'_>) -> Vec<&'v str> {
    let fetching = view.calls.iter().filter(|c| fetches(c));
    fetching
        .filter_map(|c| match &view.pipeline(c)?.usage {
            Use::Assigned(name) => Some(name.as_str()),
            Use::Statement | Use::Condition | Use::Argument => None,
        })
        .collect()
}

fn say_printed(view: &View<'_>, call: &Call, found: &mut Found) {
    found.call(
        "secret-printed",
        view,
        call.at,
        "this prints a secret: it stays in the scrollback and in every log",
        "take it in a step of its own with `capture: { name: … }` into a variable of `type: secret`, or pipe it straight to where it belongs",
    );
}

/// Does this fetch a secret from where secrets are kept?
fn fetches(call: &Call) -> bool {
    // Asked for its version or its id only.
    let query = call
        .value(&["--query"])
        .map(|w| w.text.to_ascii_lowercase());
    if query.is_some_and(|q| {
        let asked = q.trim_start_matches("--query=");
        !["secret", "value", "token", "plaintext", "key"]
            .iter()
            .any(|w| asked.contains(w))
            && asked != "@"
    }) {
        return false;
    }
    let words: Vec<&str> = call.plain().map(|w| w.text.as_str()).collect();
    let has = |all: &[&str]| all.iter().all(|w| words.contains(w));
    match call.name.as_str() {
        "aws" => {
            has(&["secretsmanager", "get-secret-value"])
                || (has(&["ssm"]) && call.has(&["--with-decryption"]))
                || has(&["kms", "decrypt"])
        }
        "az" => {
            has(&["keyvault", "secret", "show"])
                || has(&["keyvault", "secret", "download"])
                || has(&["get-access-token"])
                || (has(&["keys", "list"]) && !call.has(&["--query"]))
        }
        "gcloud" => has(&["secrets", "versions", "access"]) || has(&["print-access-token"]),
        "kubectl" | "oc" => {
            let secret = words.iter().any(|w| {
                *w == "secret"
                    || *w == "secrets"
                    || w.starts_with("secret/")
                    || w.starts_with("secrets/")
            });
            let output = call.value(&["-o", "--output"]).map(|w| {
                w.text
                    .trim_start_matches("--output=")
                    .trim_start_matches("-o")
                    .trim_start_matches('=')
                    .to_owned()
            });
            let template = call.value(&["--template"]).map(|w| w.text.clone());
            let whole = output.as_deref().is_some_and(|o| {
                ["yaml", "json"].contains(&o)
                    || ((o.starts_with("jsonpath") || o.starts_with("go-template"))
                        && shows_data(o))
            });
            has(&["get"]) && secret && (whole || template.is_some_and(|t| shows_data(&t)))
        }
        "vault" => (has(&["kv", "get"]) || has(&["read"])) && !words.contains(&"help"),
        "op" => has(&["read"]) || has(&["item", "get"]),
        "pass" => has(&["show"]),
        "sops" => call.has(&["-d", "--decrypt"]) || has(&["decrypt"]),
        "openssl" => has(&["rsa"]) && !call.has(&["-noout", "-out"]),
        _ => false,
    }
}

/// A template that prints values, not only their names or how many there are.
fn shows_data(template: &str) -> bool {
    let t = template.replace(' ', "");
    t.contains("data")
        && !t.contains("lendata")
        && !t.contains("len.data")
        && !t.contains("$k,$_")
        && !t.contains("metadata")
}

/// Does what is piped into this stay unseen?
fn swallows(call: &Call) -> bool {
    let words: Vec<&str> = call.args.iter().map(|w| w.text.as_str()).collect();
    match call.name.as_str() {
        "kubectl" | "oc" => words
            .iter()
            .any(|w| ["create", "apply", "replace", "patch"].contains(w)),
        "sha256sum" | "sha512sum" | "shasum" | "wc" | "cmp" | "psql" | "redis-cli" | "gpg"
        | "vault" | "read" | "mapfile" | "docker" | "podman" => true,
        "openssl" => words.iter().any(|w| ["dgst", "sha256", "enc"].contains(w)),
        "grep" => call.has(&["-q", "--quiet", "--silent"]),
        "jq" => words
            .iter()
            .any(|w| ["keys", "length", "has("].iter().any(|k| w.contains(k))),
        "python" | "python3" | "perl" | "node" => false,
        _ => false,
    }
}

/// `sslmode=require` and the like: encrypted perhaps, and whoever answers is believed.
static MODE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\bsslmode\s*=\s*'?(disable|allow|prefer|require)\b").expect("a constant")
});

fn is_weak(mode: &str) -> bool {
    ["disable", "allow", "prefer", "require"].contains(&mode)
}

fn is_weak_mode(text: &str) -> bool {
    text.strip_prefix("PGSSLMODE=").is_some_and(is_weak)
}

/// The same in what a script assigns, and in the environment of its step.
fn weak_tls_assigned(view: &View<'_>, found: &mut Found) {
    let commands = view.commands.pipelines.iter().flat_map(|p| &p.commands);
    for command in commands {
        for (name, word) in &command.assigned {
            if MODE.is_match(&word.text)
                || (name == "PGSSLMODE" && is_weak(&word.text) && command.words.is_empty())
            {
                say_weak(view, word.at, found);
            }
        }
    }
    let env = view
        .step
        .into_iter()
        .filter(|_| view.kind == Kind::Run)
        .flat_map(|s| s.scripts());
    for (name, value) in env.take(1).flat_map(|s| &s.env) {
        if (name.text == "PGSSLMODE" && is_weak(value)) || MODE.is_match(value) {
            found.warn("weak-tls", &view.place, name.at, WEAK, VERIFY);
        }
    }
}

const WEAK: &str = "this sslmode does not verify the server: whoever answers gets the password";
const VERIFY: &str =
    "verify it (sslmode=verify-full), with the authority's certificate where it is a private one";

fn say_weak(view: &View<'_>, at: usize, found: &mut Found) {
    found.call("weak-tls", view, at, WEAK, VERIFY);
}

/// TLS that is switched off by an option.
fn weak_tls(view: &View<'_>, call: &Call, found: &mut Found) {
    let option: Option<(&str, &Word)> = match call.name.as_str() {
        "curl" => call
            .args
            .iter()
            .find(|_| call.has(&["-k", "--insecure"]))
            .map(|w| ("--insecure", w)),
        "wget" => call
            .args
            .iter()
            .find(|w| w.text == "--no-check-certificate")
            .map(|w| ("--no-check-certificate", w)),
        "kubectl" | "helm" | "oc" => call
            .args
            .iter()
            .find(|w| {
                matches!(
                    w.text.as_str(),
                    "--insecure-skip-tls-verify" | "--insecure-skip-tls-verify=true"
                )
            })
            .map(|w| ("--insecure-skip-tls-verify", w)),
        "redis-cli" => call
            .args
            .iter()
            .find(|w| w.text == "--insecure")
            .map(|w| ("--insecure", w)),
        "aws" => call
            .args
            .iter()
            .find(|w| w.text == "--no-verify-ssl")
            .map(|w| ("--no-verify-ssl", w)),
        "ssh" | "scp" | "rsync" => call
            .args
            .iter()
            .find(|w| {
                w.text
                    .replace(' ', "=")
                    .contains("StrictHostKeyChecking=no")
            })
            .map(|w| ("StrictHostKeyChecking=no", w)),
        _ => None,
    };
    let own = call.env.iter().find(|(name, value)| {
        name == "PGSSLMODE" && is_weak(value.text.trim_start_matches("PGSSLMODE="))
    });
    let speaks = [
        "echo", "printf", "grep", "egrep", "sed", "awk", "logger", "test", "[", "[[",
    ];
    let mode = call
        .args
        .iter()
        .filter(|_| !speaks.contains(&call.name.as_str()))
        .find(|w| MODE.is_match(&w.text) || is_weak_mode(&w.text))
        .map(|w| ("sslmode", w));
    let found_it = option.or(mode).or(own.map(|(_, w)| ("PGSSLMODE", w)));
    if let Some((what, word)) = found_it {
        let message = if what == "sslmode" || what == "PGSSLMODE" {
            "this sslmode does not verify the server: whoever answers gets the password".to_owned()
        } else {
            format!("`{what}` turns the verification of the other side off")
        };
        let at = if word.at == 0 { call.at } else { word.at };
        found.call("weak-tls", view, at, message, "verify it (sslmode=verify-full), with the authority's certificate where it is a private one");
    }
}

/// Addresses in the fields of the runbook.
pub(super) fn in_fields(runbook: &Runbook, found: &mut Found) {
    let mut say = |place: &str, at: Pos, text: &str| {
        if LOGIN.is_match(text) {
            found.warn(
                "password-in-url",
                place,
                at,
                format!("a password stands in the address of `{place}`"),
                "give it by its own key, with a variable of `type: secret`",
            );
        }
    };
    for system in runbook.systems.values() {
        for text in system.fields.values() {
            say(&system.name.text, system.name.at, text);
        }
    }
    for variable in runbook.variables.values() {
        say(
            &variable.name.text,
            variable.name.at,
            variable.default.as_deref().unwrap_or_default(),
        );
    }
    let steps = runbook
        .steps()
        .chain(runbook.prepare.iter().map(|s| (s.id.text.clone(), s)));
    for (name, step) in steps {
        for script in step.scripts() {
            for (key, value) in &script.env {
                say(&name, key.at, value);
            }
        }
        if let crate::domain::runbook::Action::Kubernetes(words) = &step.action {
            say(&name, step.at, &words.to_string());
        }
    }
}
