//! `{ tls: "host:443", valid_for: 24h, ca: file, connect_to: "10.0.0.1:443" }`

use crate::domain::{
    runbook::reader::{Map, Reader},
    units,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// That the certificate is trusted, names the host, and lasts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub address: String,
    pub valid_for: Option<Duration>,
    /// A PEM file of authorities; without it, those of this machine.
    pub ca: Option<String>,
    /// Where to connect instead, to look at a site before the cut-over.
    pub connect_to: Option<String>,
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let node = map.required(r, "tls")?;
        r.no_placeholder(node);
        let address = r.text(node, "tls")?;
        super::tcp::needs_port(r, node, &address);
        Some(Self {
            address,
            valid_for: map.duration(r, "valid_for"),
            ca: map.text(r, "ca"),
            connect_to: map.text(r, "connect_to"),
        })
    }

    pub fn label(&self) -> String {
        match &self.connect_to {
            Some(to) => format!("tls {} at {to}", self.address),
            None => format!("tls {}", self.address),
        }
    }

    pub fn expected(&self) -> String {
        match self.valid_for {
            Some(d) => format!("trusted, valid for {} more", units::short(d.as_secs())),
            None => "trusted and valid".to_owned(),
        }
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all = vec![(self.address.as_str(), false)];
        all.extend(self.ca.as_deref().map(|t| (t, false)));
        all.extend(self.connect_to.as_deref().map(|t| (t, false)));
        all
    }
}
