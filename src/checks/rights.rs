//! May we do what the plan needs? A look like any other: what was expected, what was seen.

use super::{Scope, Trouble, shorten, system};
use crate::{
    domain::{
        event::{CheckPhase, CheckResult, Verdict},
        native::Right,
        redact::Redactor,
        text::Clean,
    },
    systems::kubernetes::{self, rights},
};
use std::time::Duration;
use tokio::time::Instant;

/// How long an API server may take to answer all of it.
const DEADLINE: Duration = Duration::from_secs(8);
/// Between the missing rights in what was seen.
pub const BETWEEN: &str = "; ";

/// Whether a cluster allows all of these; those that it does not are named, one by one.
pub async fn allowed(
    name: &str,
    wanted: &[Right],
    scope: &Scope,
    redactor: &Redactor,
) -> CheckResult {
    let started = Instant::now();
    let asked = async {
        let cluster = kubernetes::connect(&system(scope, name)?, DEADLINE).await?;
        rights::missing(&cluster, wanted).await
    };
    let asked = match tokio::time::timeout(DEADLINE, asked).await {
        Ok(asked) => asked,
        Err(_) => Err(Trouble::cannot_tell("no answer in time", "")),
    };
    let (verdict, seen, help) = match asked {
        Ok(missing) if missing.is_empty() => (
            Verdict::Holds,
            format!("all {} that the plan needs", wanted.len()),
            None,
        ),
        Ok(missing) => (
            Verdict::DoesNotHold,
            missing.join(BETWEEN),
            Some("ask for these rights, or use another account".to_owned()),
        ),
        Err(Trouble::Down(why)) => (Verdict::CannotTell, why, None),
        Err(Trouble::CannotTell { why, help }) => (Verdict::CannotTell, why, Some(help)),
    };
    let clean = |text: &str| Clean::line(&redactor.text(text));
    CheckResult {
        what: clean(&format!("rights in {name}")),
        phase: CheckPhase::Probe,
        verdict,
        expected: "all that the plan needs".into(),
        seen: clean(&shorten(&seen)),
        passed: verdict == Verdict::Holds,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        system: Some(name.to_owned()),
        help: help.filter(|h| !h.is_empty()).map(|h| clean(&h)),
    }
}
