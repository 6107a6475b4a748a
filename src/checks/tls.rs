//! The hands of a TLS check: trusted, for this name, and for how long.

use super::{Seen, Trouble, tcp::address};
use crate::{
    domain::{runbook::kinds::tls::Words, units},
    systems::{
        postgres::dial,
        tls::{self, Material, Verify},
    },
};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

pub(super) async fn look(words: &Words) -> Result<Seen, Trouble> {
    let (host, port) = address(&words.address)?;
    let (to_host, to_port) = match &words.connect_to {
        Some(to) => address(to)?,
        None => (host.clone(), port),
    };
    let stream = dial(&to_host, to_port).await?;
    let material = Material {
        ca: words.ca.as_deref(),
        ..Material::default()
    };
    let (config, _) = tls::client(&material, Verify::Full)?;
    let name = ServerName::try_from(host)
        .map_err(|e| Trouble::cannot_tell(e.to_string(), "is the host a name or an address?"))?;
    let secured = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let secured = secured
        .map_err(|e| Trouble::Down(tls::fault(&e).unwrap_or_else(|| format!("no TLS: {e}"))))?;
    let (_, session) = secured.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let leaf = chain
        .first()
        .and_then(|der| x509_parser::parse_x509_certificate(der).ok());
    let Some((_, leaf)) = leaf else {
        return Err(Trouble::Down(
            "it showed no certificate that can be read".to_owned(),
        ));
    };
    let until = leaf.validity().not_after.timestamp();
    let left = u64::try_from(until - chrono::Utc::now().timestamp()).unwrap_or(0);
    let seen = format!("trusted, valid for {} more", units::short(left));
    let lasts = words
        .valid_for
        .is_none_or(|wanted| left >= wanted.as_secs());
    Ok(Seen::judged(seen, lasts))
}
