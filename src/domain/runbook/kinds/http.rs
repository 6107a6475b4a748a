//! `{ http: api, get: /health, status: 200, json: { /chain_valid: "true" } }`

use crate::domain::runbook::reader::{Map, Name, Reader};
use serde::{Deserialize, Serialize};

/// A GET under a system's base; redirects are not followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub system: Name,
    pub get: String,
    /// Without it any 2xx.
    pub status: Option<String>,
    /// JSON pointer (`*` is every element) to what must stand there.
    pub json: Vec<(Name, String)>,
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let system = map.required(r, "http")?;
        if let Some(node) = map.get("get") {
            r.no_placeholder(node);
        }
        let status_node = map.get("status");
        let status = status_node.and_then(|n| r.text(n, "status"));
        if let (Some(status), Some(node)) = (&status, status_node) {
            let is_code = status.parse::<u16>().is_ok_and(|c| (100..600).contains(&c));
            if !is_code && !status.contains("${") {
                r.wrong_type(node, "`status` is a number such as 200");
            }
        }
        let json = map.pairs_of(r, "json");
        for (pointer, _) in &json {
            if !pointer.text.is_empty() && !pointer.text.starts_with('/') {
                r.error(
                    "wrong-type",
                    pointer.at,
                    format!("`{pointer}` is not a JSON pointer"),
                    &format!("did you mean `/{}`?", pointer.text.replace('.', "/")),
                );
            }
        }
        Some(Self {
            system: r.name(system, "http")?,
            get: map.text(r, "get").unwrap_or_else(|| "/".to_owned()),
            status,
            json,
        })
    }

    pub fn label(&self) -> String {
        format!("{}: GET {}", self.system, self.get)
    }

    pub fn expected(&self) -> String {
        let mut all = vec![self.status.clone().unwrap_or_else(|| "2xx".to_owned())];
        all.extend(self.json.iter().map(|(p, e)| format!("{p} {e}")));
        all.join(", ")
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        let mut all = vec![(self.get.as_str(), false)];
        all.extend(self.status.as_deref().map(|s| (s, false)));
        all.extend(self.json.iter().map(|(_, e)| (e.as_str(), false)));
        all
    }
}
