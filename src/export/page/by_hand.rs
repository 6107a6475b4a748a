//! A check as a person does it with a shell: the command, and what must come out.

use crate::domain::{
    runbook::{
        Check, Runbook, System, SystemKind,
        kinds::{CheckKind, command},
    },
    units,
};
use indexmap::IndexMap;
use regex::Regex;
use std::sync::LazyLock;

/// `${db_host}` as a shell writes it: `$DB_HOST`, with braces where a letter follows.
pub(super) fn shell(text: &str) -> String {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(\$?)\$\{([a-z][a-z0-9_]*)\}").expect("a constant"));
    NAME.replace_all(text, |c: &regex::Captures<'_>| {
        let name = c[2].to_ascii_uppercase();
        let end = c.get(0).map_or(0, |m| m.end());
        let goes_on = text[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match (&c[1], goes_on) {
            ("", false) => format!("${name}"),
            ("", true) => format!("${{{name}}}"),
            _ => format!("${{{}}}", &c[2]),
        }
    })
    .into_owned()
}

fn quoted(text: &str) -> String {
    let text = shell(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    if text.contains('$') && !text.contains(['"', '`', '\\']) {
        return format!("\"{text}\"");
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What a person types to look for themselves, as one command or as several lines.
pub fn same(systems: &IndexMap<String, System>, check: &Check) -> Option<String> {
    line(systems, check).or_else(|| block(systems, check))
}

/// A command line; `None` where a person has to look with other means.
fn line(systems: &IndexMap<String, System>, check: &Check) -> Option<String> {
    let system = check.system().and_then(|n| systems.get(&n.text));
    let line = direct(system, check)?;
    let forward = system.and_then(|s| forward(systems, s));
    Some(match forward {
        Some(forward) => format!("{forward} & {line}"),
        None => line,
    })
}

/// The port-forward that a system inside a cluster needs.
fn forward(systems: &IndexMap<String, System>, system: &System) -> Option<String> {
    let via = system.via.as_ref()?;
    let text = |key: &str| match &via[key] {
        serde_json::Value::String(text) => Some(quoted(text)),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let cluster = systems.get(via["kubernetes"].as_str()?)?;
    let service = text("service").map(|s| format!("service/{s}"));
    let what = service.or_else(|| text("pod").map(|p| format!("pod/{p}")))?;
    let port = text("port").unwrap_or_default();
    Some(format!("{} port-forward {what} {port}", client(cluster)))
}

fn direct(system: Option<&System>, check: &Check) -> Option<String> {
    match &check.what {
        CheckKind::Postgres(words) => {
            let client = client(system?);
            let Some(query) = &words.query else {
                return Some(format!("{client} -c 'SELECT 1'"));
            };
            let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
            let in_line = words.params.is_empty() && !query.contains(['\'', '$']);
            in_line.then(|| format!("{client} -c {}", quoted(&query)))
        }
        CheckKind::Redis(words) => {
            let ping = vec!["PING".to_owned()];
            let command = if words.command.is_empty() {
                &ping
            } else {
                &words.command
            };
            let command: Vec<String> = command.iter().map(|w| quoted(w)).collect();
            Some(format!("{} {}", client(system?), command.join(" ")))
        }
        CheckKind::Http(words) => {
            let client = client(system?);
            let base = system?
                .fields
                .get("base")
                .map(|b| shell(b))
                .unwrap_or_default();
            Some(format!(
                "{client} \"{}{}\"",
                base.trim_end_matches('/'),
                shell(&words.get)
            ))
        }
        CheckKind::Kubernetes(words) => Some(kubectl(system?, &words.words)),
        CheckKind::Command(words) => match &words.run {
            command::Run::Arguments(arguments) => {
                let words: Vec<String> = arguments.iter().map(|a| quoted(a)).collect();
                Some(words.join(" "))
            }
            command::Run::Script { .. } => None,
        },
        CheckKind::Tcp(words) => {
            let (host, port) = shell_address(&words.address);
            Some(format!("nc -vz -w 10 {host} {port}"))
        }
        CheckKind::Tls(words) => {
            let at = words.connect_to.as_ref().unwrap_or(&words.address);
            let (host, _) = shell_address(&words.address);
            let ca = words
                .ca
                .as_ref()
                .map(|c| format!(" -CAfile {}", quoted(c)))
                .unwrap_or_default();
            Some(format!(
                "openssl s_client -connect {} -servername {host} -verify_hostname {host} -verify_return_error{ca} < /dev/null",
                quoted(at)
            ))
        }
        CheckKind::Dns(words) => {
            let server = words
                .resolver
                .as_ref()
                .map(|r| format!("@{} ", shell(r).split(':').next().unwrap_or_default()));
            Some(format!(
                "dig +short {}{}",
                server.unwrap_or_default(),
                quoted(&words.host)
            ))
        }
        CheckKind::File(words) => Some(format!("ls -l {}", quoted(&words.path))),
    }
}

fn shell_address(address: &str) -> (String, String) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (quoted(host), quoted(port))
}

/// A client with what it needs to reach a system.
fn client(system: &System) -> String {
    let field = |key: &str| {
        let written = system.fields.get(key).map(|t| shell(t));
        written.or_else(|| {
            // What is inside a cluster is at the end of a port-forward.
            let via = system.via.as_ref()?;
            match (key, &via["port"]) {
                ("host", _) => Some("127.0.0.1".to_owned()),
                ("port", serde_json::Value::String(port)) => Some(shell(port)),
                ("port", serde_json::Value::Number(port)) => Some(port.to_string()),
                (_, _) => None,
            }
        })
    };
    match system.kind {
        SystemKind::Postgres => {
            let mut words: Vec<String> = Vec::new();
            for (key, name) in [
                ("host", "host"),
                ("port", "port"),
                ("user", "user"),
                ("dbname", "dbname"),
            ] {
                words.extend(field(key).map(|v| format!("{name}={v}")));
            }
            words.push(format!(
                "sslmode={}",
                field("tls").unwrap_or_else(|| "verify-full".to_owned())
            ));
            words.extend(field("ca").map(|v| format!("sslrootcert={v}")));
            let password = field("password")
                .map(|p| format!("PGPASSWORD=\"{p}\" "))
                .unwrap_or_default();
            format!(
                "{password}psql -X -v ON_ERROR_STOP=1 -At \"{}\"",
                words.join(" ")
            )
        }
        SystemKind::Redis => {
            let mut words = vec!["redis-cli -e".to_owned()];
            words.extend(field("host").map(|v| format!("-h {}", quoted(&v))));
            words.extend(field("port").map(|v| format!("-p {}", quoted(&v))));
            words.extend(field("user").map(|v| format!("--user {}", quoted(&v))));
            if !matches!(
                system.fields.get("tls").map(String::as_str),
                Some("disable" | "false")
            ) {
                words.push("--tls".to_owned());
            }
            words.extend(field("ca").map(|v| format!("--cacert {}", quoted(&v))));
            let password = field("password")
                .map(|p| format!("REDISCLI_AUTH=\"{p}\" "))
                .unwrap_or_default();
            format!("{password}{}", words.join(" "))
        }
        SystemKind::Http => {
            let mut words = vec!["curl -sS --fail-with-body".to_owned()];
            words.extend(field("ca").map(|v| format!("--cacert {}", quoted(&v))));
            words.extend(field("cert").map(|v| format!("--cert {}", quoted(&v))));
            words.extend(field("key").map(|v| format!("--key {}", quoted(&v))));
            words.extend(field("connect_to").map(|v| format!("--connect-to \"::{v}\"")));
            // The token comes from stdin, not from the arguments.
            let bearer = field("bearer")
                .map(|b| format!("printf 'header = \"Authorization: Bearer %s\"\\n' \"{b}\" | "));
            let config = if bearer.is_some() { " --config -" } else { "" };
            format!("{}{}{config}", bearer.unwrap_or_default(), words.join(" "))
        }
        SystemKind::Kubernetes => {
            let mut words = vec!["kubectl --request-timeout=10s".to_owned()];
            words.extend(field("kubeconfig").map(|v| format!("--kubeconfig {}", quoted(&v))));
            words.extend(field("context").map(|v| format!("--context {}", quoted(&v))));
            words.extend(field("namespace").map(|v| format!("--namespace {}", quoted(&v))));
            words.join(" ")
        }
        SystemKind::Azure => format!(
            "az account show --subscription {} --query state --output tsv",
            field("subscription").map_or("NAME".to_owned(), |s| quoted(&s))
        ),
        SystemKind::Aws => "aws sts get-caller-identity".to_owned(),
    }
}

/// How one sees whether a system answers.
pub(super) fn answers(systems: &IndexMap<String, System>, system: &System) -> String {
    let asked = answers_directly(system);
    match forward(systems, system) {
        Some(forward) => format!("{forward} & {asked}"),
        None => asked,
    }
}

fn answers_directly(system: &System) -> String {
    match system.kind {
        SystemKind::Postgres => format!("{} -c 'SELECT 1'", client(system)),
        SystemKind::Redis => format!("{} PING", client(system)),
        SystemKind::Http => {
            let base = system
                .fields
                .get("base")
                .map(|b| shell(b))
                .unwrap_or_default();
            format!("{} \"{base}\"", client(system))
        }
        SystemKind::Kubernetes => format!("{} get --raw /readyz", client(system)),
        SystemKind::Azure | SystemKind::Aws => client(system),
    }
}

fn kubectl(system: &System, words: &serde_json::Map<String, serde_json::Value>) -> String {
    let client = client(system);
    let text = |key: &str| words.get(key).and_then(|v| v.as_str()).map(quoted);
    let all = [
        ("reachable", "get --raw /readyz".to_owned()),
        ("nodes", "get nodes".to_owned()),
        (
            "rollout",
            format!(
                "rollout status {} --timeout=10s",
                text("rollout").unwrap_or_default()
            ),
        ),
        (
            "pods",
            format!("get pods --selector {}", text("pods").unwrap_or_default()),
        ),
        (
            "pvc",
            format!("get pvc {}", text("pvc").unwrap_or_default()),
        ),
        (
            "secret",
            format!("describe secret {}", text("secret").unwrap_or_default()),
        ),
        (
            "job",
            format!("get job {}", text("job").unwrap_or_default()),
        ),
        (
            "certificate",
            format!(
                "get certificate {}",
                text("certificate").unwrap_or_default()
            ),
        ),
        (
            "ingress",
            format!("get ingress {}", text("ingress").unwrap_or_default()),
        ),
        (
            "image",
            format!("get {} --output wide", text("image").unwrap_or_default()),
        ),
        (
            "get",
            format!("get {} --output json", text("get").unwrap_or_default()),
        ),
        (
            "absent",
            format!("get {}", text("absent").unwrap_or_default()),
        ),
    ];
    if let Some(pod) = text("exec") {
        let command = words.get("command").and_then(|c| c.as_array());
        let command: Vec<String> = command
            .into_iter()
            .flatten()
            .filter_map(|w| w.as_str())
            .map(quoted)
            .collect();
        let container = text("container").map(|c| format!(" -c {c}"));
        let container = container.unwrap_or_default();
        return format!("{client} exec {pod}{container} -- {}", command.join(" "));
    }
    match all.into_iter().find(|(key, _)| words.contains_key(*key)) {
        Some((_, command)) => format!("{client} {command}"),
        None => client,
    }
}

/// The lines that a check takes where one is not enough.
fn block(systems: &IndexMap<String, System>, check: &Check) -> Option<String> {
    match &check.what {
        CheckKind::Command(command::Words {
            run: command::Run::Script { text, .. },
            ..
        }) => Some(text.clone()),
        CheckKind::Postgres(words) => {
            let client = client(systems.get(&words.system.text)?);
            let mut query = words.query.clone()?.trim().to_owned();
            let mut values = String::new();
            for i in (0..words.params.len()).rev() {
                query = query.replace(&format!("${}", i + 1), &format!(":'p{}'", i + 1));
            }
            for (i, param) in words.params.iter().enumerate() {
                values.push_str(&format!(" -v p{}={}", i + 1, quoted(param)));
            }
            // psql replaces its own variables on stdin only.
            Some(format!("{client}{values} <<'SQL'\n{query}\nSQL"))
        }
        CheckKind::Command(_)
        | CheckKind::Redis(_)
        | CheckKind::Http(_)
        | CheckKind::Kubernetes(_)
        | CheckKind::Tcp(_)
        | CheckKind::Tls(_)
        | CheckKind::Dns(_)
        | CheckKind::File(_) => None,
    }
}

/// What must come out of it.
fn expected(check: &Check) -> String {
    let wanted = check.expect.as_deref().map(shell);
    let base = match &check.what {
        CheckKind::Postgres(words) if !words.rows.is_empty() => {
            let rows: Vec<String> = words
                .rows
                .iter()
                .map(|(n, e)| format!("{n} {}", shell(e)))
                .collect();
            rows.join(", ")
        }
        CheckKind::Postgres(words) if words.query.is_some() => String::new(),
        CheckKind::Postgres(_) => "it connects".to_owned(),
        CheckKind::Redis(words) if words.command.is_empty() => "PONG".to_owned(),
        CheckKind::Command(words) if words.exit == 0 => String::new(),
        CheckKind::Kubernetes(words) => {
            let details = [
                "reachable",
                "nodes",
                "phase",
                "keys",
                "none",
                "json",
                "for",
                "ready",
            ];
            let found: Vec<String> = details
                .iter()
                .filter_map(|k| Some((k, words.words.get(*k)?)))
                .map(|(k, v)| format!("{k} {}", v.as_str().map_or_else(|| v.to_string(), shell)))
                .collect();
            match () {
                () if words.words.contains_key("absent") => "it is not there".to_owned(),
                () if found.is_empty() => "it succeeds".to_owned(),
                () => found.join(", "),
            }
        }
        CheckKind::Redis(_)
        | CheckKind::Http(_)
        | CheckKind::Command(_)
        | CheckKind::Tcp(_)
        | CheckKind::Tls(_)
        | CheckKind::Dns(_)
        | CheckKind::File(_) => shell(&check.what.expected()),
    };
    match wanted {
        Some(wanted) if wanted.trim().is_empty() => "prints nothing".to_owned(),
        Some(wanted) => format!("shows {}", super::code(&wanted)),
        None if base.is_empty() => "succeeds".to_owned(),
        None => format!("shows {}", super::code(&base)),
    }
}

/// One point of a list: what to type, and what must come out of it.
pub(super) fn point(
    runbook: &Runbook,
    check: &Check,
    pad: &str,
    lead: &str,
    out: &mut String,
) -> std::fmt::Result {
    use std::fmt::Write as _;
    let within = check
        .within
        .map(|d| format!(" within {}", units::short(d.as_secs())));
    let wanted = format!("{}{}", expected(check), within.unwrap_or_default());
    if let Some(line) = line(&runbook.systems, check) {
        return writeln!(out, "{pad}- {lead}{} {wanted}", super::code(&line));
    }
    let Some(block) = block(&runbook.systems, check) else {
        return writeln!(out, "{pad}- {lead}{} {wanted}", super::code(&check.label()));
    };
    writeln!(out, "{pad}- {lead}this {wanted}:\n")?;
    let mut fenced = String::new();
    super::fenced("bash", &block, &mut fenced)?;
    for line in fenced.trim_end().lines() {
        match line {
            "" => writeln!(out)?,
            line => writeln!(out, "{pad}  {line}")?,
        }
    }
    writeln!(out)
}
