//! `{ dns: host, is: "${ingress_ip}", resolver: "8.8.8.8:53" }`

use crate::domain::runbook::reader::{Map, Reader};
use serde::{Deserialize, Serialize};

/// That a name resolves, and to what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub host: String,
    pub is: Option<String>,
    /// Which server to ask; without it, as this machine resolves names.
    pub resolver: Option<String>,
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let node = map.required(r, "dns")?;
        r.no_placeholder(node);
        Some(Self {
            host: r.text(node, "dns")?,
            is: map.text(r, "is"),
            resolver: map.text(r, "resolver"),
        })
    }

    pub fn label(&self) -> String {
        format!("dns {}", self.host)
    }

    pub fn expected(&self) -> String {
        match &self.is {
            Some(is) => format!("resolves to {is}"),
            None => "resolves".to_owned(),
        }
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all = vec![(self.host.as_str(), false)];
        all.extend(self.is.as_deref().map(|t| (t, false)));
        all.extend(self.resolver.as_deref().map(|t| (t, false)));
        all
    }
}
