//! What is cut out of a step's output.

use super::spec::{Spec, Work};
use crate::{
    actions,
    checks::{self, Scope},
    domain::{
        native::Native,
        runbook::{Capture, SystemKind},
    },
    systems::kubernetes::{self, kinds::Place},
};
use regex::Regex;
use std::{collections::HashMap, path::Path, time::Duration};

/// How long an object may take to read.
const READ: Duration = Duration::from_secs(15);

/// What stands in the objects of a cluster that captures name, by the name of the capture.
pub(super) async fn objects(spec: &Spec, scope: &Scope) -> Result<HashMap<String, String>, String> {
    let mut all = HashMap::new();
    for (name, how, _) in &spec.capture {
        if let Capture::Object { object: what, json } = how {
            let fill = |text: &str| scope.values.fill(text).map_err(|m| m.to_string());
            let read = object(spec, scope, &fill(what)?, &fill(json)?).await;
            let read = read.map_err(|why| format!("nothing to capture into `{name}`: {why}"))?;
            all.insert(name.clone(), read);
        }
    }
    Ok(all)
}

/// What stands at a pointer in an object of the cluster that the step speaks to, or the only one there is.
async fn object(spec: &Spec, scope: &Scope, what: &str, pointer: &str) -> Result<String, String> {
    let clusters = || {
        let all = scope.systems.values();
        all.filter(|s| s.kind == SystemKind::Kubernetes)
    };
    let of_step = match &spec.work {
        Work::Native(words) => words["system"].as_str(),
        Work::Check(check) => check
            .system()
            .map(|n| n.text.as_str())
            .filter(|name| clusters().any(|s| s.name.text == **name)),
        Work::Script { .. } | Work::Nothing => None,
    };
    let name = match (of_step, clusters().count()) {
        (Some(name), _) => name.to_owned(),
        (None, 1) => clusters().map(|s| s.name.text.clone()).collect(),
        (None, n) => {
            return Err(format!("{what} is an object of which of {n} clusters?"));
        }
    };
    let system = checks::system(scope, &name).map_err(|t| t.to_string())?;
    let read = async {
        let mut cluster = kubernetes::connect(&system, READ).await?;
        if let Work::Native(words) = &spec.work
            && let Some(namespace) = Native::read(words).ok().and_then(|n| n.namespace)
            && let Ok(namespace) = scope.values.fill(&namespace)
        {
            cluster.namespace = namespace;
        }
        let place = Place::of(&cluster, what).await?;
        cluster.get(&place.path(&cluster.namespace)).await
    };
    let found = read.await.map_err(|t| t.to_string())?;
    let found = found.ok_or_else(|| format!("{what} is not there"))?;
    match found.pointer(pointer) {
        None | Some(serde_json::Value::Null) => {
            Err(format!("nothing stands at {pointer} of {what}"))
        }
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        Some(other) => Ok(other.to_string()),
    }
}

/// The captured text, or why there is none.
pub(super) fn cut(how: &Capture, stdout: &[u8], seen: Option<&str>) -> Result<String, String> {
    let text = String::from_utf8_lossy(stdout);
    match how {
        Capture::All => Ok(text.into_owned()),
        Capture::LastLine => text
            .lines()
            .rev()
            .find(|l| !l.trim().is_empty())
            .map(|l| l.trim().to_owned())
            .ok_or_else(|| "it printed nothing".to_owned()),
        Capture::Regex(pattern) => {
            let regex = Regex::new(&format!("(?m){pattern}")).map_err(|e| e.to_string())?;
            regex
                .captures(&text)
                .and_then(|c| c.get(1))
                .map(|m| m.as_str().to_owned())
                .ok_or_else(|| format!("nothing it printed matches /{pattern}/"))
        }
        Capture::Json(pointer) => {
            let json: serde_json::Value = serde_json::from_str(text.trim())
                .or_else(|_| serde_json::from_str(text.lines().last().unwrap_or("")))
                .map_err(|_| "what it printed is not JSON".to_owned())?;
            match json.pointer(pointer) {
                None | Some(serde_json::Value::Null) => {
                    Err(format!("nothing stands at {pointer} of what it printed"))
                }
                Some(serde_json::Value::String(text)) => Ok(text.clone()),
                Some(other) => Ok(other.to_string()),
            }
        }
        Capture::Object { object, .. } => Err(format!("{object} was not looked at")),
        Capture::Seen => seen
            .map(str::to_owned)
            .ok_or_else(|| "no check has looked".to_owned()),
    }
}

/// The last error that a native action told, as the log has it: with secrets masked.
pub(super) fn last_error() -> Option<String> {
    let lines = crate::logs::LogReader::new(Path::new(".")).tail(40);
    let mut last = lines.iter().rev();
    let found = last.find_map(|l| l.text.as_str().strip_prefix(actions::ERROR))?;
    Some(found.to_owned())
}

/// A fetched secret: one trailing line break is not part of it; empty and `None` are failures that
/// look like success.
pub(super) fn secret(found: &str) -> Result<String, String> {
    let value = found.strip_suffix('\n').unwrap_or(found);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err("it is empty".to_owned());
    }
    if value == "None" || value == "null" {
        return Err(format!(
            "the tool printed `{value}`: there is no text under that name"
        ));
    }
    let shortest = crate::domain::runbook::variable::SHORTEST_SECRET;
    if value.chars().count() < shortest {
        return Err(format!(
            "it has fewer than {shortest} characters and could not be masked"
        ));
    }
    Ok(value.to_owned())
}

/// Is it the secret of which the site recorded the fingerprint?
pub(super) fn is_recorded(recorded: Option<&String>, value: &str) -> Result<(), String> {
    use sha2::{Digest, Sha256};
    let seen = crate::journal::hex(&Sha256::digest(value.as_bytes()));
    match recorded {
        Some(recorded) if *recorded != seen => Err(
            "its fingerprint is not the one that the site recorded; was it rotated? fetch the version of that time".to_owned(),
        ),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_capturing_cuts_its_part() {
        let out = b"one\nport=5433 \n{\"a\":{\"b\":7}}\n\n";
        let cut = |how| cut(&how, out, Some("412"));
        assert_eq!(cut(Capture::LastLine).as_deref(), Ok("{\"a\":{\"b\":7}}"));
        assert_eq!(
            cut(Capture::Regex("^port=(\\d+)".into())).as_deref(),
            Ok("5433")
        );
        assert_eq!(cut(Capture::Seen).as_deref(), Ok("412"));
        assert!(cut(Capture::Regex("^host=(.*)".into())).is_err());
        assert_eq!(
            super::cut(&Capture::Json("/a/b".into()), b"{\"a\":{\"b\":7}}", None).as_deref(),
            Ok("7")
        );
        assert!(super::cut(&Capture::Json("/a/c".into()), b"{\"a\":{\"b\":7}}", None).is_err());
    }

    #[test]
    fn a_secret_that_is_none_was_not_fetched() {
        assert_eq!(secret("hunter2\n").as_deref(), Ok("hunter2"));
        for bad in ["", "\n", "None\n", "short"] {
            assert!(secret(bad).is_err(), "{bad:?}");
        }
    }
}
