//! Commands that are offered as the next one: they look where the present one looked.

use regex::Regex;
use std::{borrow::Cow, path::Path, sync::LazyLock, sync::OnceLock};

/// `--state-dir` as it was given, ready for a shell.
static STATE_DIR: OnceLock<String> = OnceLock::new();

/// Notes it; what the environment says the next command finds by itself.
pub fn remember(state_dir: Option<&Path>) {
    let of_environment = std::env::var_os("BLACKSTART_STATE_DIR");
    let given = state_dir.filter(|dir| Some(dir.as_os_str()) != of_environment.as_deref());
    // It is typed in whatever folder somebody is in then.
    if let Some(dir) = given.and_then(|dir| std::path::absolute(dir).ok()) {
        let _ = STATE_DIR.set(shell_words::quote(&dir.to_string_lossy()).into_owned());
    }
}

/// The text, with the place in each command of this program that needs it.
pub fn in_place(text: &str) -> Cow<'_, str> {
    match STATE_DIR.get() {
        Some(dir) => with(text, dir),
        None => Cow::Borrowed(text),
    }
}

fn with<'t>(text: &'t str, dir: &str) -> Cow<'t, str> {
    static OFFERED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\bblackstart (close|drill|export|history|list|note|open|resume|run|show|trust|verify)\b")
            .expect("a valid expression")
    });
    OFFERED.replace_all(text, |found: &regex::Captures<'_>| {
        format!("{} --state-dir {dir}", &found[0])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_names_the_place() {
        let offered = |text: &str| with(text, "'/tmp/my state'").into_owned();
        assert_eq!(
            offered("blackstart show X, or blackstart resume X --headless"),
            "blackstart show --state-dir '/tmp/my state' X, or blackstart resume --state-dir '/tmp/my state' X --headless"
        );
        assert_eq!(offered("blackstart lint x"), "blackstart lint x");
    }
}
