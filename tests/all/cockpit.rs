//! The full-screen cockpit, in a real terminal.

use crate::harness::{PATIENCE, bin::Blackstart};

/// What was there before the cockpit and must be there after it.
const LEAVES_ALTERNATE_SCREEN: &[u8] = b"\x1b[?1049l";
const SHOWS_CURSOR: &[u8] = b"\x1b[?25h";

#[test]
fn home_draws_at_every_size_and_leaves_the_terminal_as_it_was() {
    for (cols, rows) in [(80, 24), (120, 40), (200, 60)] {
        let home = Blackstart::new();
        let mut terminal = home.terminal::<&str>(&[], cols, rows);
        let screen = terminal.wait_for_text("(?i)arbitex", PATIENCE);
        let widest = screen.lines().map(|l| l.chars().count()).max();
        assert!(
            widest <= Some(usize::from(cols)),
            "{cols}×{rows}:\n{screen}"
        );
        assert_eq!(terminal.modes(), (true, true), "full screen, no cursor");

        terminal.send("q");
        let ended = terminal.wait(PATIENCE);
        assert!(ended.success(), "{cols}×{rows}: {ended}\n{terminal}");
        terminal.drained();
        assert_eq!(terminal.modes(), (false, false), "{cols}×{rows}");
        let raw = terminal.raw();
        for sequence in [LEAVES_ALTERNATE_SCREEN, SHOWS_CURSOR] {
            let sent = raw.windows(sequence.len()).any(|w| w == sequence);
            assert!(
                sent,
                "{:?} at {cols}×{rows}",
                String::from_utf8_lossy(sequence)
            );
        }
    }
}

#[test]
fn home_draws_anew_when_the_terminal_is_resized() {
    let home = Blackstart::new();
    let terminal = home.terminal::<&str>(&[], 80, 24);
    terminal.wait_for_text("(?i)arbitex", PATIENCE);
    terminal.resize(120, 40);
    let before = terminal.raw().len();
    terminal.send("?");
    crate::harness::until(PATIENCE, format_args!("an answer\n{terminal}"), || {
        terminal.raw().len() > before
    });
    terminal.send("\u{1b}");
    terminal.wait_for_text("(?i)arbitex", PATIENCE);
}

#[test]
fn a_cockpit_that_is_hung_up_goes_by_itself() {
    let home = Blackstart::new();
    let mut terminal = home.terminal::<&str>(&[], 80, 24);
    terminal.wait_for_text("(?i)arbitex", PATIENCE);
    terminal.close();
    let ended = terminal.wait(PATIENCE);
    assert!(ended.signal().is_none(), "it ends in order: {ended}");
}
