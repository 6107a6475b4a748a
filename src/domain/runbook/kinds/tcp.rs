//! `{ tcp: "host:port" }`

use crate::domain::runbook::reader::{Map, Reader};
use serde::{Deserialize, Serialize};

/// That something accepts a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub address: String,
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let node = map.required(r, "tcp")?;
        r.no_placeholder(node);
        let address = r.text(node, "tcp")?;
        needs_port(r, node, &address);
        Some(Self { address })
    }

    pub fn label(&self) -> String {
        format!("tcp {}", self.address)
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        vec![(&self.address, false)]
    }
}

pub(super) fn needs_port(r: &mut Reader, node: &crate::domain::yaml::Node, address: &str) {
    let port = address.rsplit_once(':').map(|(_, port)| port);
    let fits = port.is_some_and(|p| p.parse::<u16>().is_ok() || p.ends_with('}'))
        || address.ends_with('}');
    if !fits {
        r.wrong_type(node, "an address reads `host:port`");
    }
}
