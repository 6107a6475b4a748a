//! `{ file: path, exists: true }`

use crate::domain::runbook::reader::{Map, Reader};
use serde::{Deserialize, Serialize};

/// That a file is there, or is not; with `expect`, what stands in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Words {
    pub path: String,
    pub exists: bool,
}

impl Words {
    pub fn read(r: &mut Reader, map: &mut Map<'_>) -> Option<Self> {
        let node = map.required(r, "file")?;
        r.no_placeholder(node);
        let absent = map.get("exists").is_some() && !map.boolean(r, "exists");
        Some(Self {
            path: r.text(node, "file")?,
            exists: !absent,
        })
    }

    pub fn label(&self) -> String {
        format!("file {}", self.path)
    }

    pub fn expected(&self) -> String {
        if self.exists { "exists" } else { "is absent" }.to_owned()
    }

    pub fn templates(&self) -> Vec<(&str, bool)> {
        vec![(&self.path, false)]
    }
}
