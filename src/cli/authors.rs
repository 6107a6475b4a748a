//! For authors: the page of a runbook, its JSON Schema, the plan on paper, runbook tests.

use super::{Exit, Failure, load::Found};
use crate::export::page::page;

/// The Markdown page, on stdout.
pub(super) fn render(name: &str) -> Result<Exit, Failure> {
    let found = Found::read(name)?;
    let runbook = found.runbook()?;
    super::print(&page(&runbook));
    Ok(Exit::Done)
}
