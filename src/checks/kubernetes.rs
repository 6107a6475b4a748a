//! The hands of a Kubernetes check: this version has none, and says so.

use super::{Seen, Trouble};
use crate::domain::runbook::kinds::kubernetes::Words;

pub(super) fn look(words: &Words) -> Result<Seen, Trouble> {
    Err(Trouble::cannot_tell(
        format!(
            "`{}`: this version of blackstart cannot reach clusters",
            words.system
        ),
        "look with `kubectl` in a `command` check",
    ))
}
