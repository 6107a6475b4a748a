//! The hands of a command check: a program's exit status and output.

use super::{Scope, Seen, Trouble};
use crate::{
    domain::runbook::{
        kinds::command::{Run, Words},
        scripts,
    },
    systems::program::{Group, to_its_end},
};
use std::process::Stdio;
use tokio::process::Command;

pub(super) async fn look(words: &Words, scope: &Scope) -> Result<Seen, Trouble> {
    let arguments: Vec<String> = match &words.run {
        Run::Arguments(arguments) => arguments.clone(),
        Run::Script { text, .. } => ["bash", "-Eeuo", "pipefail", "-c", text.as_str()]
            .map(str::to_owned)
            .to_vec(),
    };
    let Some((program, rest)) = arguments.split_first() else {
        return Err(Trouble::cannot_tell(
            "no program is named",
            "see `command:`",
        ));
    };
    let mut command = Command::new(program);
    command
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .envs(scope.env.iter().map(|(k, v)| (k, v)))
        .process_group(0)
        .kill_on_drop(true);
    if scope.workdir.is_dir() {
        command.current_dir(&scope.workdir);
    }
    if let Run::Script { text, .. } = &words.run {
        // A script finds the secrets that it names, and no others.
        for (name, value) in &scope.values.secrets {
            if scripts::mentions(text, name) {
                command.env(name.to_ascii_uppercase(), value);
            }
        }
    }
    for name in &scope.hidden {
        if !matches!(&words.run, Run::Script { text, .. } if scripts::mentions(text, &name.to_ascii_lowercase()))
        {
            command.env_remove(name);
        }
    }
    match scope.kubeconfig() {
        Ok(Some(private)) => private.give(&mut command),
        Ok(None) => {}
        Err(turned) => {
            return Err(Trouble::cannot_tell(
                turned.to_string(),
                "who turned the context? look at the target on the screen Ready?",
            ));
        }
    }
    let child = command.spawn().map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            Trouble::cannot_tell(
                format!("`{program}` is not installed here"),
                format!("install it, or put it on the PATH: {program}"),
            )
        } else {
            Trouble::cannot_tell(format!("cannot run {program}: {e}"), "may you run it?")
        }
    })?;
    let (code, out, err) = to_its_end(Group(child)).await;
    let out = String::from_utf8_lossy(&out);
    let err = String::from_utf8_lossy(&err);
    if code == Some(words.exit) {
        return Ok(Seen::text(out).or_shown(format!("exit {}", words.exit)));
    }
    let status = match code {
        Some(127) if matches!(words.run, Run::Script { .. }) => {
            "exit 127 (command not found)".to_owned()
        }
        Some(code) => format!("exit {code}"),
        None => "killed by a signal".to_owned(),
    };
    let said = if err.trim().is_empty() { out } else { err };
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Ok(Seen::judged(
        format!("{status}: {}", last.join("\n")).trim_end_matches([':', ' ']),
        false,
    ))
}
