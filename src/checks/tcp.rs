//! The hands of a TCP check.

use super::{Seen, Trouble};
use crate::{domain::runbook::kinds::tcp::Words, systems::postgres::dial};

pub(super) async fn look(words: &Words) -> Result<Seen, Trouble> {
    let (host, port) = address(&words.address)?;
    dial(&host, port).await?;
    Ok(Seen::text("accepts a connection"))
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn address(text: &str) -> Result<(String, u16), Trouble> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?))
    });
    parsed.ok_or_else(|| {
        Trouble::cannot_tell(format!("`{text}` is not an address"), "write `host:port`")
    })
}
