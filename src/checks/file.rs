//! The hands of a file check.

use super::{Scope, Seen, Trouble};
use crate::domain::runbook::kinds::file::Words;
use std::io::{ErrorKind, Read};

/// How much of a file is looked at.
const READ: u64 = 64 * 1024;

/// Looks at the file; at what stands in it only where something is expected of that.
pub(super) fn look(words: &Words, scope: &Scope, content: bool) -> Result<Seen, Trouble> {
    let path = scope.workdir.join(&words.path);
    match std::fs::metadata(&path) {
        Ok(_) if !words.exists => Ok(Seen::judged("it exists", false)),
        Ok(meta) if meta.is_file() && !content => {
            Ok(Seen::text(format!("exists, {} bytes", meta.len())))
        }
        Ok(meta) if meta.is_file() => {
            let mut text = Vec::new();
            let file = std::fs::File::open(&path);
            match file.and_then(|f| f.take(READ).read_to_end(&mut text)) {
                Ok(_) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    Ok(Seen::text(text))
                }
                Err(e) => Err(Trouble::cannot_tell(
                    format!("it cannot be read: {e}"),
                    "may you read this file?",
                )),
            }
        }
        Ok(_) => Ok(Seen::text("it exists")),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Ok(Seen::judged("it is not there", !words.exists))
        }
        Err(e) => Err(Trouble::cannot_tell(
            format!("{}: {e}", path.display()),
            "may you read this folder?",
        )),
    }
}
