//! A key with its modifiers, as crossterm reports it and as the config file writes it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// One key with its modifiers, in a normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) struct Chord {
    code: KeyCode,
    ctrl: bool,
    alt: bool,
}

impl Chord {
    /// What was pressed. Shift is part of the character.
    pub(crate) fn of(key: KeyEvent) -> Self {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let code = match key.code {
            // Terminals send ctrl-] as a byte that crossterm names ctrl-5.
            KeyCode::Char('5') if ctrl => KeyCode::Char(']'),
            KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
            code => code,
        };
        Self {
            code,
            ctrl,
            alt: key.modifiers.contains(KeyModifiers::ALT),
        }
    }

    /// `r`, `G`, `ctrl-u`, `alt-x`, `enter`, `pgdn`, `f1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut rest, mut ctrl, mut alt) = (text, false, false);
        loop {
            if let Some(key) = rest.strip_prefix("ctrl-") {
                (rest, ctrl) = (key, true);
            } else if let Some(key) = rest.strip_prefix("alt-") {
                (rest, alt) = (key, true);
            } else {
                break;
            }
        }
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) => KeyCode::Char(c),
            _ => named(&rest.to_ascii_lowercase())?,
        };
        Some(Self { code, ctrl, alt })
    }
}

fn named(name: &str) -> Option<KeyCode> {
    Some(match name {
        "enter" | "return" => KeyCode::Enter,
        "esc" | "escape" => KeyCode::Esc,
        "space" => KeyCode::Char(' '),
        "tab" => KeyCode::Tab,
        "backtab" => KeyCode::BackTab,
        "backspace" => KeyCode::Backspace,
        "delete" => KeyCode::Delete,
        "insert" => KeyCode::Insert,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "pgup" | "pageup" => KeyCode::PageUp,
        "pgdn" | "pagedown" => KeyCode::PageDown,
        _ => {
            let number: u8 = name.strip_prefix('f')?.parse().ok()?;
            KeyCode::F(Some(number).filter(|n| (1..=12).contains(n))?)
        }
    })
}

/// How a key is written for people: `Enter`, `PgDn`, `F1`, and letters as they are.
pub(crate) fn shown(key: &str) -> String {
    match key {
        "pgup" => "PgUp".to_owned(),
        "pgdn" => "PgDn".to_owned(),
        _ if key.chars().count() == 1 || key.contains('-') => key.to_owned(),
        _ => {
            let mut chars = key.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(chars).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_people_write_them() {
        for (key, people) in [
            ("enter", "Enter"),
            ("pgdn", "PgDn"),
            ("f1", "F1"),
            ("G", "G"),
        ] {
            assert_eq!(shown(key), people);
        }
    }

    #[test]
    fn a_key_that_nobody_has_is_refused() {
        for text in ["", "hyper-x", "f13", "f0", "enterr"] {
            assert_eq!(Chord::parse(text), None, "{text}");
        }
    }
}
