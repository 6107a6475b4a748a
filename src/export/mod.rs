//! What is handed on: one format, one file, one line in the list below. Everything comes from the
//! journal, so a closed incident, an open one and one that crashed are exported alike.

pub mod drill;
pub mod json;
pub mod markdown;
pub mod page;
pub mod timeline;

use crate::{
    domain::{drill::Earlier, incident::Incident},
    store::Loaded,
};
use chrono::{DateTime, Utc};
use std::path::Path;

/// What an export is made from.
pub struct Source<'a> {
    pub loaded: &'a Loaded,
    pub dir: &'a Path,
    pub now: DateTime<Utc>,
    /// Other drills, which a drill is compared with.
    pub earlier: &'a [Earlier],
}

impl Source<'_> {
    pub fn incident(&self) -> &Incident {
        &self.loaded.incident
    }
}

type Write = fn(&Source<'_>) -> String;

/// Every format, by the name that `--format` takes.
pub const FORMATS: [(&str, Write); 2] = [("markdown", markdown::write), ("json", json::write)];

/// The writer of a format.
pub fn format(name: &str) -> Option<Write> {
    FORMATS.iter().find(|(n, _)| *n == name).map(|(_, w)| *w)
}
