//! Keys as the bytes that a terminal would send.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Turns keys into bytes; Esc twice ends it.
#[derive(Default)]
pub(super) struct Input {
    escaped: bool,
}

impl Input {
    /// The bytes of a key; `None`: it was the second Esc, and typing is over.
    pub(super) fn take(&mut self, key: KeyEvent) -> Option<Vec<u8>> {
        if key.code == KeyCode::Esc {
            if self.escaped {
                return None;
            }
            // Held back until it is known not to be the first of two.
            self.escaped = true;
            return Some(Vec::new());
        }
        let mut bytes = Vec::new();
        if std::mem::take(&mut self.escaped) {
            bytes.push(0x1b);
        }
        if key.modifiers.contains(KeyModifiers::ALT) {
            bytes.push(0x1b);
        }
        bytes.extend(plain(key));
        Some(bytes)
    }
}

fn plain(key: KeyEvent) -> Vec<u8> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char(c) if ctrl => control(c).into_iter().collect(),
        KeyCode::Char(c) => c.to_string().into_bytes(),
        KeyCode::Enter => b"\r".to_vec(),
        KeyCode::Backspace => vec![0x7f],
        KeyCode::Tab => b"\t".to_vec(),
        KeyCode::BackTab => b"\x1b[Z".to_vec(),
        KeyCode::Up => b"\x1b[A".to_vec(),
        KeyCode::Down => b"\x1b[B".to_vec(),
        KeyCode::Right => b"\x1b[C".to_vec(),
        KeyCode::Left => b"\x1b[D".to_vec(),
        KeyCode::Home => b"\x1b[H".to_vec(),
        KeyCode::End => b"\x1b[F".to_vec(),
        KeyCode::Delete => b"\x1b[3~".to_vec(),
        KeyCode::Insert => b"\x1b[2~".to_vec(),
        KeyCode::PageUp => b"\x1b[5~".to_vec(),
        KeyCode::PageDown => b"\x1b[6~".to_vec(),
        // What crossterm reports beside these has no place in a step's terminal.
        _ => Vec::new(),
    }
}

fn control(c: char) -> Option<u8> {
    match c {
        ' ' => Some(0),
        'a'..='z' | 'A'..='Z' => Some(c.to_ascii_lowercase() as u8 & 0x1f),
        // As crossterm names ctrl-\ to ctrl-_.
        '4'..='7' => Some(c as u8 - b'4' + 0x1c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn keys_are_sent_as_a_terminal_would() {
        let mut input = Input::default();
        for (code, modifiers, bytes) in [
            (KeyCode::Char('é'), KeyModifiers::NONE, "é".as_bytes()),
            (KeyCode::Enter, KeyModifiers::NONE, &b"\r"[..]),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, &b"\x03"[..]),
            (KeyCode::Char('b'), KeyModifiers::ALT, &b"\x1bb"[..]),
            (KeyCode::Backspace, KeyModifiers::NONE, &b"\x7f"[..]),
        ] {
            assert_eq!(
                input.take(key(code, modifiers)).as_deref(),
                Some(bytes),
                "{code:?}"
            );
        }
    }

    #[test]
    fn esc_is_sent_with_the_next_key_and_twice_it_ends() {
        let mut input = Input::default();
        let esc = key(KeyCode::Esc, KeyModifiers::NONE);
        assert_eq!(input.take(esc), Some(Vec::new()));
        let next = key(KeyCode::Char('j'), KeyModifiers::NONE);
        assert_eq!(input.take(next).as_deref(), Some(&b"\x1bj"[..]));
        assert_eq!(input.take(esc), Some(Vec::new()));
        assert_eq!(input.take(esc), None);
    }
}
