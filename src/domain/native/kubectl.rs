//! The command that does the same with kubectl: to learn it, and to copy it.

use super::{Manifests, Native, PatchKind, Verb};
use crate::domain::runbook::System;

/// Words that a shell takes as they are.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,$".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let bare: String = word.replace("${", "").replace('}', "");
    if word.contains("${") && bare.chars().all(plain) {
        return format!("\"{word}\"");
    }
    let mut out = String::from("'");
    let mut rest = word;
    // What is not filled in yet must stand outside of single quotes, or no shell puts it in.
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else {
            break;
        };
        out.push_str(&before.replace('\'', "'\\''"));
        out.push_str(&format!("'\"${{{name}}}\"'"));
        rest = behind;
    }
    out.push_str(&rest.replace('\'', "'\\''"));
    out.push('\'');
    out
}

/// A text for stdin; a shell puts in what is not filled in yet, and nothing else.
fn here(text: &str) -> String {
    if !text.contains("${") {
        return format!(" <<'END'\n{text}\nEND");
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(&before.replace('\\', "\\\\").replace('`', "\\`"));
        out.push_str(if after.starts_with('{') { "$" } else { "\\$" });
        rest = after;
    }
    out.push_str(&rest.replace('\\', "\\\\").replace('`', "\\`"));
    format!(" <<END\n{out}\nEND")
}

/// Where kubectl must look, of a system whose values are filled in.
pub fn aim(system: Option<&System>, namespace: Option<&str>) -> String {
    let field = |key: &str| {
        let fields = system.map(|s| &s.fields)?;
        fields.get(key).filter(|v| !v.is_empty()).cloned()
    };
    let mut out = "kubectl".to_owned();
    for (option, value) in [
        ("--kubeconfig", field("kubeconfig")),
        ("--context", field("context")),
        (
            "-n",
            namespace.map(str::to_owned).or_else(|| field("namespace")),
        ),
    ] {
        if let Some(value) = value {
            out.push_str(&format!(" {option} {}", quoted(&value)));
        }
    }
    out
}

impl Native {
    /// The words are shown as they stand: secrets by their names.
    pub fn kubectl(&self, system: Option<&System>) -> String {
        let aim = aim(system, self.namespace.as_deref());
        let rollout = |what: &str| match self.wait {
            true => format!("\n{aim} rollout status {}", quoted(what)),
            false => String::new(),
        };
        let pairs = |list: &[(String, String)]| -> String {
            list.iter()
                .map(|(k, v)| format!(" {}", quoted(&format!("{k}={v}"))))
                .collect()
        };
        let within = |container: &Option<String>| match container {
            Some(name) => format!(" -c {}", quoted(name)),
            None => String::new(),
        };
        match &self.verb {
            Verb::Scale { what, replicas } => {
                let wait = rollout(what);
                format!("{aim} scale {} --replicas={replicas}{wait}", quoted(what))
            }
            Verb::Restart { what } => {
                format!("{aim} rollout restart {}{}", quoted(what), rollout(what))
            }
            Verb::SetEnv {
                what,
                container,
                env,
            } => format!(
                "{aim} set env {}{}{}{}",
                quoted(what),
                within(container),
                pairs(env),
                rollout(what)
            ),
            Verb::SetImage { what, images } => {
                let images: String = images
                    .iter()
                    .map(|(c, image)| {
                        let name = c.as_deref().unwrap_or("*");
                        format!(" {}", quoted(&format!("{name}={image}")))
                    })
                    .collect();
                format!("{aim} set image {}{images}{}", quoted(what), rollout(what))
            }
            Verb::Patch { what, how, body } => {
                let kind = match how {
                    PatchKind::Merge => "merge",
                    PatchKind::Json => "json",
                    PatchKind::Strategic => "strategic",
                };
                format!(
                    "{aim} patch {} --type={kind} -p {}",
                    quoted(what),
                    quoted(&body.to_string())
                )
            }
            Verb::Secret { name, data, .. } => {
                let data: String = data
                    .iter()
                    // What is printed by the shell itself stands in no list of processes.
                    .map(|(k, v)| format!(" --from-file={}=<(printf %s {})", quoted(k), quoted(v)))
                    .collect();
                format!(
                    "{aim} create secret generic {}{data} --dry-run=client -o yaml | {aim} apply -f -",
                    quoted(name)
                )
            }
            Verb::Namespace { name, .. } => format!("{aim} create namespace {}", quoted(name)),
            Verb::Apply(manifests) => {
                let force = if self.force { " --force-conflicts" } else { "" };
                let file = match manifests {
                    Manifests::File(file) => quoted(file),
                    Manifests::Inline(_) | Manifests::Text(_) => "-".to_owned(),
                };
                let body = match manifests {
                    Manifests::File(_) => String::new(),
                    Manifests::Text(text) => here(text.trim_end()),
                    Manifests::Inline(all) => {
                        let all: Vec<String> = all
                            .iter()
                            .map(|o| serde_json::to_string_pretty(o).unwrap_or_default())
                            .collect();
                        here(&all.join("\n---\n"))
                    }
                };
                format!("{aim} apply --server-side{force} -f {file}{body}")
            }
            Verb::Delete { what, grace } => {
                let grace = grace
                    .map(|g| format!(" --grace-period={g}"))
                    .unwrap_or_default();
                let wait = if self.wait { "" } else { " --wait=false" };
                format!("{aim} delete {}{grace}{wait}", quoted(what))
            }
            Verb::Exec {
                what,
                container,
                command,
            } => {
                let words: Vec<String> = command.iter().map(|w| quoted(w)).collect();
                format!(
                    "{aim} exec {}{} -- {}",
                    quoted(what),
                    within(container),
                    words.join(" ")
                )
            }
            Verb::Copy {
                from,
                to,
                container,
            } => {
                let side = |text: &str| quoted(text.strip_prefix("pod/").unwrap_or(text));
                format!("{aim} cp {} {}{}", side(from), side(to), within(container))
            }
            Verb::Job { from, name } => {
                let base = from.split('/').next_back().unwrap_or(from);
                let own = format!("{base}-manual");
                let name = name.as_deref().unwrap_or(&own);
                format!("{aim} create job {} --from={}", quoted(name), quoted(from))
            }
            Verb::Wait { what, until } => {
                let until = match until.strip_prefix('/') {
                    Some(path) => {
                        let (path, value) = path.split_once('=').unwrap_or((path, ""));
                        format!("jsonpath={{.{}}}={value}", path.replace('/', "."))
                    }
                    None if until == "delete" || until.starts_with("condition=") => until.clone(),
                    None => format!("condition={until}"),
                };
                format!("{aim} wait {} --for={}", quoted(what), quoted(&until))
            }
        }
    }
}
