//! A native action as the command of an attempt: this program once more, with its order on stdin.

use super::{Started, on_pipes};
use crate::{actions::Order, domain::redact::Redactor, supervisor::spec::Spec};
use serde_json::Value;
use std::{path::Path, process::Stdio, sync::Arc};
use tokio::{io::AsyncWriteExt, process::Command};

pub(super) fn start(
    spec: &Spec,
    words: &Value,
    redactor: &Arc<Redactor>,
) -> Result<Started, String> {
    let words = spec.values.json(words).map_err(|e| e.to_string())?;
    let name = words["system"].as_str().unwrap_or_default();
    let system = spec
        .systems
        .get(name)
        .ok_or_else(|| format!("there is no system `{name}`"))?;
    let order = Order {
        system: spec.values.system(system).map_err(|e| e.to_string())?,
        identity: spec.pins.get(name).cloned(),
        words,
        values: spec.values.clone(),
        folder: spec.workdir.clone(),
        attempt: unique(&spec.dir),
        dir: spec.dir.clone(),
    };
    let mut bytes = serde_json::to_vec(&order).map_err(|e| e.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("blackstart")
        .arg("__act")
        .current_dir(&spec.workdir)
        .kill_on_drop(false);
    let withheld = spec.capture.iter().any(|(_, _, secret)| *secret);
    let mut started = on_pipes(&mut command, Stdio::piped(), withheld, redactor)
        .map_err(|e| format!("cannot start the action: {e}"))?;
    if let Some(mut pipe) = started.child.stdin.take() {
        tokio::spawn(async move {
            // It may have ended already; then its status says why.
            let _ = pipe.write_all(&bytes).await;
            bytes.fill(0);
        });
    }
    Ok(started)
}

/// Letters that stand for this attempt: its incident, step and number.
fn unique(dir: &Path) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let mut letters = crate::journal::hex(&digest);
    letters.truncate(8);
    letters
}
