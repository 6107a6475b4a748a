//! Names, asked of this machine's own resolver.

use hickory_resolver::TokioResolver;
use std::time::Duration;

/// How long the resolver may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Whether a name exists; `None` where nobody can say.
pub(crate) async fn exists(host: &str) -> Option<bool> {
    let resolver = TokioResolver::builder_tokio().ok()?.build();
    match tokio::time::timeout(DEADLINE, resolver.lookup_ip(host))
        .await
        .ok()?
    {
        Ok(_) => Some(true),
        Err(e) if e.is_nx_domain() => Some(false),
        Err(_) => None,
    }
}
