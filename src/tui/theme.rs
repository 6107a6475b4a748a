//! How things look. Only the sixteen palette colours and the terminal's own foreground and
//! background, so that dark and light terminals both work; no colour is ever the only sign.

use ratatui::{
    style::{Color, Modifier, Style},
    symbols::border,
};

/// The chosen look. `mono` sends no colour at all: with `NO_COLOR` crossterm would send a reset after
/// the modifiers, and bold and reverse would vanish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Theme {
    pub(crate) mono: bool,
    pub(crate) ascii: bool,
}

/// What a piece of text is, from which its style follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Warn,
    Busy,
    Chosen,
    Found,
    Live,
    Drill,
}

/// A sign of one cell that says what colour alone must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Bad,
    Running,
    Pending,
    Skipped,
    Unknown,
    Unverified,
    Danger,
    Here,
    Ticked,
    Unticked,
}

impl Mark {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 11] = [
        Self::Good,
        Self::Bad,
        Self::Running,
        Self::Pending,
        Self::Skipped,
        Self::Unknown,
        Self::Unverified,
        Self::Danger,
        Self::Here,
        Self::Ticked,
        Self::Unticked,
    ];

    fn role(self) -> Role {
        match self {
            Self::Good | Self::Ticked => Role::Good,
            Self::Bad => Role::Bad,
            Self::Running => Role::Busy,
            Self::Pending | Self::Skipped | Self::Unticked => Role::Faint,
            Self::Unknown | Self::Unverified | Self::Danger => Role::Warn,
            Self::Here => Role::Strong,
        }
    }
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    /// The style of a role. In mono it is made of bold, underline and reverse only.
    pub(crate) fn style(self, role: Role) -> Style {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let coloured = |style: Style, colour: Color| {
            if self.mono { style } else { style.fg(colour) }
        };
        match role {
            Role::Plain => plain,
            Role::Strong => bold,
            Role::Faint if self.mono => plain,
            Role::Faint => plain.add_modifier(Modifier::DIM),
            Role::Good => coloured(plain, Color::Green),
            Role::Bad => coloured(bold, Color::Red),
            Role::Warn => coloured(bold, Color::Yellow),
            Role::Busy => coloured(bold, Color::Cyan),
            Role::Chosen => plain.add_modifier(Modifier::REVERSED),
            Role::Found => plain.add_modifier(Modifier::REVERSED.union(Modifier::BOLD)),
            Role::Live => coloured(
                plain.add_modifier(Modifier::REVERSED.union(Modifier::BOLD)),
                Color::Red,
            ),
            Role::Drill => coloured(bold.add_modifier(Modifier::UNDERLINED), Color::Cyan),
        }
    }

    /// The sign of a mark, one cell wide.
    pub(crate) fn sign(self, mark: Mark) -> &'static str {
        match (mark, self.ascii) {
            (Mark::Good, false) => "✓",
            (Mark::Good, true) => "+",
            (Mark::Bad, false) => "✗",
            (Mark::Bad, true) => "x",
            (Mark::Running, false) => "▶",
            (Mark::Running, true) => ">",
            (Mark::Pending, false) => "○",
            (Mark::Pending, true) => "o",
            (Mark::Skipped, false) => "–",
            (Mark::Skipped, true) => "-",
            (Mark::Unknown, _) => "?",
            (Mark::Unverified, _) => "~",
            (Mark::Danger, _) => "!",
            (Mark::Here, false) => "▸",
            (Mark::Here, true) => ">",
            (Mark::Ticked, false) => "■",
            (Mark::Ticked, true) => "#",
            (Mark::Unticked, false) => "□",
            (Mark::Unticked, true) => ".",
        }
    }

    /// The style that goes with a mark.
    pub(crate) fn mark(self, mark: Mark) -> Style {
        self.style(mark.role())
    }

    pub(crate) fn border(self) -> border::Set<'static> {
        if self.ascii {
            ASCII_BORDER
        } else {
            border::ROUNDED
        }
    }

    /// The upright line between the parts of a row.
    pub(crate) fn upright(self) -> &'static str {
        if self.ascii { "|" } else { "│" }
    }

    /// The line that separates rows.
    pub(crate) fn rule(self) -> &'static str {
        if self.ascii { "-" } else { "─" }
    }

    /// Says that text was cut.
    pub(crate) fn cut(self) -> &'static str {
        if self.ascii { "~" } else { "…" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn every_sign_is_one_cell_wide_and_its_twin_is_ascii() {
        let (fine, plain) = (
            Theme::default(),
            Theme {
                mono: true,
                ascii: true,
            },
        );
        for mark in Mark::ALL {
            assert_eq!(fine.sign(mark).width(), 1, "{mark:?}");
            assert!(plain.sign(mark).is_ascii(), "{mark:?}");
        }
    }

    #[test]
    fn mono_has_no_colour_at_all() {
        let mono = Theme {
            mono: true,
            ascii: false,
        };
        for role in [
            Role::Plain,
            Role::Strong,
            Role::Faint,
            Role::Good,
            Role::Bad,
            Role::Warn,
            Role::Busy,
            Role::Chosen,
            Role::Found,
            Role::Live,
            Role::Drill,
        ] {
            let style = mono.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
    }
}
