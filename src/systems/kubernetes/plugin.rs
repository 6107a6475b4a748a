//! Credentials from a program that the kubeconfig names (az, kubelogin, aws …).
//!
//! It gets no terminal: none to read our keys from, none to draw on. It is ended at the deadline, with
//! all that it started, and what it gave is kept in memory until shortly before it ends.

use super::Trouble;
use crate::systems::program::{Group, to_its_end};
use chrono::{DateTime, TimeDelta, Utc};
use kube::config::{AuthInfo, ExecConfig};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io,
    process::Stdio,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::process::Command;

/// What a plugin said.
struct Given {
    until: DateTime<Utc>,
    status: Value,
}

/// By how the plugin was called.
static GIVEN: LazyLock<Mutex<HashMap<String, Given>>> = LazyLock::new(Mutex::default);

const HELP: &str = "sign in again (az login, kubelogin, aws sso login …), then look again";

/// Puts what the plugin gives in the place of the plugin.
pub(super) async fn resolve(auth: &mut AuthInfo, deadline: Duration) -> Result<(), Trouble> {
    let Some(exec) = auth.exec.take() else {
        return Ok(());
    };
    let status = given(&exec, deadline).await?;
    let text = |key: &str| status[key].as_str().map(str::to_owned);
    if let (Some(certificate), Some(key)) = (text("clientCertificateData"), text("clientKeyData")) {
        use base64::Engine;
        let base64 = |pem: String| base64::engine::general_purpose::STANDARD.encode(pem);
        auth.client_certificate_data = Some(base64(certificate));
        auth.client_key_data = Some(SecretString::from(base64(key)));
    } else if text("token").is_none() {
        return Err(Trouble::cannot_tell(
            format!("the credential plugin `{}` gave no token", program(&exec)),
            HELP,
        ));
    }
    auth.token = text("token").map(SecretString::from);
    Ok(())
}

/// Lets a plugin sign somebody in, on the terminal that we have: before a cockpit draws on it. What it
/// gives is not kept; it remembers its login itself.
pub(super) fn sign_in(exec: &ExecConfig) -> io::Result<bool> {
    let asked = json!({
        "apiVersion": exec.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1"),
        "kind": "ExecCredential",
        "spec": { "interactive": true },
    });
    let mut command = std::process::Command::new(program(exec));
    command
        .args(exec.args.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", asked.to_string())
        .stdout(Stdio::null());
    for pair in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
            command.env(name, value);
        }
    }
    Ok(command.status()?.success())
}

fn program(exec: &ExecConfig) -> &str {
    exec.command.as_deref().unwrap_or_default()
}

async fn given(exec: &ExecConfig, deadline: Duration) -> Result<Value, Trouble> {
    let key = serde_json::to_string(exec).unwrap_or_default();
    if let Some(status) = held(&key) {
        return Ok(status);
    }
    let status = ask(exec, deadline).await?;
    let until = status["expirationTimestamp"].as_str();
    let until = until.and_then(|t| DateTime::parse_from_rfc3339(t).ok());
    if let Some(until) = until {
        let until = until.to_utc() - TimeDelta::seconds(30);
        let mut held = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        let status = status.clone();
        held.insert(key, Given { until, status });
    }
    Ok(status)
}

fn held(key: &str) -> Option<Value> {
    let all = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = all.get(key)?;
    (given.until > Utc::now()).then(|| given.status.clone())
}

async fn ask(exec: &ExecConfig, deadline: Duration) -> Result<Value, Trouble> {
    let name = program(exec);
    let version = exec.api_version.as_deref();
    let asked = json!({
        "apiVersion": version.unwrap_or("client.authentication.k8s.io/v1"),
        "kind": "ExecCredential",
        "spec": { "interactive": false },
    });
    // A session of its own has no terminal to open.
    let mut command = Command::new("setsid");
    command
        .arg(name)
        .args(exec.args.iter().flatten())
        .env("KUBERNETES_EXEC_INFO", asked.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for pair in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
            command.env(name, value);
        }
    }
    let child = command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Trouble::cannot_tell(
            "`setsid` is not installed here",
            "install it: apt install util-linux",
        ),
        _ => Trouble::cannot_tell(format!("cannot run {name}: {e}"), HELP),
    })?;
    let ended = tokio::time::timeout(deadline, to_its_end(Group(child))).await;
    let Ok((code, out, err)) = ended else {
        return Err(Trouble::cannot_tell(
            format!("the credential plugin `{name}` does not come back, and was ended"),
            "run `kubectl get --raw /readyz` once in another terminal: does it ask for a login?",
        ));
    };
    let err = String::from_utf8_lossy(&err);
    let last = err.lines().rev().find(|l| !l.trim().is_empty());
    let last = last.unwrap_or("it said nothing").trim();
    if code == Some(127) || last.contains("failed to execute") {
        let hint = exec.install_hint.as_deref();
        return Err(Trouble::cannot_tell(
            format!("the credential plugin `{name}` is not installed here"),
            hint.unwrap_or("install it, or put it on the PATH"),
        ));
    }
    if code != Some(0) {
        let code = code.map_or_else(|| "a signal".to_owned(), |c| format!("exit {c}"));
        return Err(Trouble::cannot_tell(
            format!("the credential plugin `{name}` failed ({code}): {last}"),
            HELP,
        ));
    }
    let mut said: Value = serde_json::from_slice(&out).map_err(|e| {
        Trouble::cannot_tell(
            format!("the credential plugin `{name}` did not answer in JSON: {e}"),
            HELP,
        )
    })?;
    Ok(said["status"].take())
}
