//! Where bytes become text: `Clean` is the only string that screens, exports and the journal take.

use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};

/// Text that cannot drive a terminal: no control character but `\n` and `\t`, no escape sequence nor
/// its body, no bidirectional override.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Clean(String);

impl Clean {
    /// Everything readable of `text`, lines kept.
    pub fn new(text: &str) -> Self {
        Self(scrub(text).into_owned())
    }

    /// The same on one line: line breaks become spaces.
    pub fn line(text: &str) -> Self {
        let clean = scrub(text);
        Self(clean.replace(['\n', '\t'], " "))
    }

    /// What a terminal would have left of one line of output: `\r` starts over, sequences are gone.
    pub fn of_output(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        let last = text
            .rsplit('\r')
            .find(|part| !part.is_empty())
            .unwrap_or("");
        Self(scrub(last).replace('\t', "    "))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Clean {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Clean {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

/// Reading a file of ours that somebody may have edited cleans it again.
impl<'de> Deserialize<'de> for Clean {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(from)?))
    }
}

fn scrub(text: &str) -> Cow<'_, str> {
    if text
        .bytes()
        .all(|b| (0x20..0x7f).contains(&b) || b == b'\n')
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    skip_csi(&mut chars);
                }
                Some(']' | 'P' | 'X' | '^' | '_' | 'k') => {
                    chars.next();
                    skip_string(&mut chars);
                }
                Some(' '..='/') => {
                    while matches!(chars.peek(), Some(' '..='/')) {
                        chars.next();
                    }
                    chars.next();
                }
                Some('0'..='~') => {
                    chars.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_csi(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() || drives_direction(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_csi(chars: &mut Chars<'_>) {
    while let Some(&c) = chars.peek() {
        match c {
            ' '..='?' => {
                chars.next();
            }
            '@'..='~' => {
                chars.next();
                return;
            }
            _ => return,
        }
    }
}

/// The body of OSC, DCS, SOS, PM or APC: up to BEL, ST or the end of the line.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(&c) = chars.peek() {
        match c {
            '\u{7}' | '\u{9c}' => {
                chars.next();
                return;
            }
            '\u{1b}' => {
                chars.next();
                if chars.peek() == Some(&'\\') {
                    chars.next();
                }
                return;
            }
            '\n' => return,
            _ => {
                chars.next();
            }
        }
    }
}

fn drives_direction(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequences_go_with_their_bodies() {
        for (dirty, clean) in [
            ("a\u{1b}[31mred\u{1b}[0m", "ared"),
            ("\u{1b}]0;owned\u{7}b", "b"),
            ("\u{1b}]52;c;aGk=\u{1b}\\b", "b"),
            ("\u{1b}P1;2q#0\u{1b}\\x", "x"),
            ("\u{9b}2Jx", "x"),
            ("\u{9d}0;t\u{9c}y", "y"),
            ("a\u{202e}b\u{2066}c", "abc"),
            ("\u{1b}(0q", "q"),
            ("\u{1b}cq", "q"),
            ("tab\tand\nline", "tab\tand\nline"),
        ] {
            assert_eq!(Clean::new(dirty).as_str(), clean, "{dirty:?}");
        }
    }

    #[test]
    fn a_carriage_return_starts_the_line_over() {
        assert_eq!(Clean::of_output(b"10%\r20%\r100%\r\n").as_str(), "100%");
    }

    proptest! {
        #[test]
        fn no_control_is_left_of_any_text(text in any::<String>()) {
            let clean = Clean::new(&text);
            prop_assert!(!clean.as_str().chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || drives_direction(c)));
            prop_assert_eq!(Clean::new(clean.as_str()), clean);
        }
    }
}
