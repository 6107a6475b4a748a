//! Type-ahead must not start the next step: keys that act are taken only by a person who has seen what
//! they act upon.

use std::time::{Duration, Instant};

/// How long a changed screen must have stood before a key may act on it.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);

/// What has become of the last change of what keys act upon: another screen, another focus, something
/// armed, a step that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing has changed for long.
    #[default]
    Quiet,
    /// Changed, and no frame shows it yet.
    Undrawn,
    /// Changed, and shown since then.
    Shown(Instant),
}

impl Guard {
    /// What keys act upon has changed.
    pub(crate) fn changed(&mut self) {
        *self = Self::Undrawn;
    }

    /// A frame has reached the terminal. Only the first one after a change counts.
    pub(crate) fn drawn(&mut self, now: Instant) {
        match self {
            Self::Undrawn => *self = Self::Shown(now),
            Self::Shown(at) if now >= *at + PAUSE => *self = Self::Quiet,
            Self::Shown(_) | Self::Quiet => {}
        }
    }

    /// May a key that was read at this moment act? Keys that do not act always pass.
    pub(crate) fn admits(self, acts: bool, read_at: Instant) -> bool {
        if !acts {
            return true;
        }
        match self {
            Self::Quiet => true,
            Self::Undrawn => false,
            Self::Shown(at) => read_at >= at + PAUSE,
        }
    }

    /// When keys that act will be taken again, if that lies ahead.
    pub(crate) fn opens_at(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Shown(at) if at + PAUSE > now => Some(at + PAUSE),
            Self::Shown(_) | Self::Quiet | Self::Undrawn => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn nothing_acts_before_the_frame_that_shows_the_change() {
        let mut guard = Guard::default();
        let start = Instant::now();
        assert!(guard.admits(true, start));
        guard.changed();
        assert!(!guard.admits(true, start + ms(10_000)));
        assert!(guard.admits(false, start), "moving is always allowed");
    }

    #[test]
    fn nothing_acts_for_a_while_after_that_frame() {
        let mut guard = Guard::default();
        let start = Instant::now();
        guard.changed();
        guard.drawn(start + ms(50));
        assert!(!guard.admits(true, start + ms(20)), "read before the frame");
        assert!(!guard.admits(true, start + ms(349)));
        assert!(guard.admits(true, start + ms(350)));
        assert_eq!(guard.opens_at(start + ms(60)), Some(start + ms(350)));
        assert_eq!(guard.opens_at(start + ms(350)), None);
    }

    #[test]
    fn a_second_frame_does_not_begin_the_pause_anew() {
        let mut guard = Guard::default();
        let start = Instant::now();
        guard.changed();
        guard.drawn(start);
        guard.drawn(start + ms(200));
        assert!(guard.admits(true, start + ms(300)));
        guard.drawn(start + ms(300));
        assert_eq!(guard, Guard::Quiet);
    }

    /// "rrrr⏎", all read before the first answer was on the screen, starts nothing at all.
    #[test]
    fn a_burst_typed_into_a_stalled_terminal_only_arms() {
        let mut guard = Guard::default();
        let start = Instant::now();
        let (mut armed, mut started) = (0, 0);
        for (n, key) in "rrrr\n".chars().enumerate() {
            let read_at = start + ms(n as u64);
            if !guard.admits(true, read_at) {
                continue;
            }
            match key {
                'r' => armed += 1,
                _ => started += 1,
            }
            guard.changed();
        }
        guard.drawn(start + ms(5_000));
        assert_eq!((armed, started), (1, 0));
        assert!(
            !guard.admits(true, start + ms(4_999)),
            "typed while the terminal stood still"
        );
    }
}
