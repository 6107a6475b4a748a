//! Who a system is, read by the edge.

use crate::{
    checks,
    domain::{
        decide::IdentityRead,
        event::{Identity, PinnedBy},
    },
    systems,
};
use std::time::Duration;

/// How long an identity may take to read.
pub(super) const IDENTITY: Duration = Duration::from_secs(3);

pub(super) fn first_contact(
    accepted: &[(String, String)],
    system: &str,
    identity: &Identity,
) -> PinnedBy {
    let named = accepted
        .iter()
        .any(|(s, fingerprint)| s == system && identity.is_accepted_as(fingerprint));
    if named {
        PinnedBy::Person
    } else {
        PinnedBy::FirstContact
    }
}

/// A new server may still be starting: asked a few times.
pub(super) async fn new_identity(scope: &checks::Scope, name: &str) -> Option<Identity> {
    for _ in 0..5 {
        match read_identity(scope, name).await? {
            IdentityRead::Is(identity) => return Some(identity),
            IdentityRead::NoAnswer(why, _) => tracing::info!(name, why, "the new target"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    None
}

/// `None`: this kind of system has no identity in this version.
pub(super) async fn read_identity(scope: &checks::Scope, name: &str) -> Option<IdentityRead> {
    let system = match checks::system(scope, name) {
        Ok(system) => system,
        Err(trouble) => return Some(IdentityRead::NoAnswer(trouble.to_string(), None)),
    };
    let read = async {
        let reached = checks::reached(scope, name, IDENTITY).await?;
        let read = systems::identity(&reached.system, IDENTITY).await;
        read.map_err(|trouble| reached.explain(trouble))
    };
    match tokio::time::timeout(IDENTITY, read).await {
        Ok(Ok(Some(identity))) => Some(IdentityRead::Is(identity)),
        Ok(Ok(None)) => None,
        Ok(Err(trouble)) => Some(IdentityRead::NoAnswer(
            trouble.to_string(),
            systems::endpoint(&system),
        )),
        Err(_) => Some(IdentityRead::NoAnswer(
            "no answer within 3 s".to_owned(),
            systems::endpoint(&system),
        )),
    }
}
