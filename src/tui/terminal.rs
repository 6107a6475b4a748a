//! The terminal: entered once, given back exactly once on every way out, drawn to in whole frames.
//! Together with `events` the only place that knows crossterm's terminal.

use super::theme::Theme;
use crossterm::{
    clipboard::CopyToClipboard,
    cursor,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    queue,
    style::{Attribute, SetAttribute},
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend, layout::Rect};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::BorrowedFd,
    io::Errno,
    process::{Signal, getpid, kill_process},
    stdio,
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr},
};
use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

/// Whether the terminal is ours now. The guard, the panic hook and a suspension all give it back; the
/// first of them does it, the others find it done.
pub(crate) struct Taken(AtomicBool);

impl Taken {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn now(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn take(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Gives it back if it is still taken.
    fn give_back(&self, undo: impl FnOnce()) {
        if self.0.swap(false, Ordering::SeqCst) {
            undo();
        }
    }
}

static TAKEN: Taken = Taken::new();

/// Gives the terminal back when it is dropped.
struct Entered;

impl Entered {
    fn new() -> io::Result<Self> {
        enter()?;
        Ok(Self)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        TAKEN.give_back(leave);
    }
}

/// What a frame is written into: it leaves in one piece, once it is whole.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Vec<u8>>>);

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The screen. While it lives the terminal is raw and shows the alternate screen; dropped, everything
/// is as it was.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Wire>>,
    wire: Wire,
    _entered: Entered,
}

impl Screen {
    /// Takes the terminal. On an error it is given back already.
    pub(crate) fn open() -> io::Result<Self> {
        restore_on_panic();
        let entered = Entered::new()?;
        let wire = Wire::default();
        let terminal = Terminal::new(CrosstermBackend::new(wire.clone()))?;
        Ok(Self {
            terminal,
            wire,
            _entered: entered,
        })
    }

    /// Draws a frame. Sends nothing when no cell has changed, else one synchronized update.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if !TAKEN.now() {
            return Ok(());
        }
        self.terminal.draw(draw)?;
        let frame = std::mem::take(&mut *self.wire.0.borrow_mut());
        if !has_content(&frame) {
            return Ok(());
        }
        let mut out = Vec::with_capacity(frame.len() + 16);
        queue!(out, BeginSynchronizedUpdate)?;
        out.extend_from_slice(&frame);
        queue!(out, EndSynchronizedUpdate)?;
        send(&out)
    }

    /// Hands text to the terminal's clipboard. Whether it takes it, nobody can know.
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        let mut out = Vec::new();
        queue!(out, CopyToClipboard::to_clipboard_from(text))?;
        send(&out)
    }

    /// Gives the terminal back and stops this process until it is continued. What runs goes on.
    pub(crate) fn suspend(&mut self) {
        TAKEN.give_back(leave);
        let _ = kill_process(getpid(), Signal::STOP);
    }

    /// After SIGCONT, whoever stopped us: the shell may have changed the terminal, so it is taken anew
    /// and drawn whole with the next frame.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        TAKEN.give_back(leave);
        enter()?;
        self.repaint()
    }

    /// The next frame is sent whole.
    pub(crate) fn repaint(&mut self) -> io::Result<()> {
        // Not `Terminal::clear`: it asks the terminal where its cursor is, and a late answer would be
        // read as typed text.
        let size = self.terminal.size()?;
        self.terminal
            .resize(Rect::new(0, 0, size.width, size.height))
    }
}

/// A frame without content only repeats resets: 25 bytes that need not be sent. Content always begins
/// with a move, clearing ends in a `J`.
fn has_content(frame: &[u8]) -> bool {
    frame.iter().any(|b| matches!(b, b'H' | b'J'))
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.take();
    let mut out = Vec::new();
    queue!(
        out,
        EnterAlternateScreen,
        EnableBracketedPaste,
        cursor::Hide,
        Clear(ClearType::All)
    )?;
    send(&out)
}

/// Undoes `enter`. Every error is ignored: the terminal may be gone.
fn leave() {
    let mut out = Vec::new();
    let _ = queue!(
        out,
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        SetAttribute(Attribute::Reset),
        cursor::Show,
        LeaveAlternateScreen
    );
    // A terminal that stands still must not keep us from ending.
    if is_ready(stdio::stdout(), PollFlags::OUT, 1) {
        let _ = send(&out);
    }
    let _ = disable_raw_mode();
}

/// A terminal as it was before another process took it.
pub(crate) struct Before(Option<Termios>);

impl Before {
    pub(crate) fn now() -> Self {
        let both = isatty(stdio::stdin()) && isatty(stdio::stdout());
        Self(both.then(|| tcgetattr(stdio::stdin()).ok()).flatten())
    }

    /// That process died without giving the terminal back.
    pub(crate) fn give_back(&self) {
        if let Some(modes) = &self.0 {
            leave();
            let _ = tcsetattr(stdio::stdin(), OptionalActions::Now, modes);
        }
    }
}

/// Writes all of it. Not through `std::io::stdout`, whose panics and line buffer do not belong here.
fn send(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stdio::stdout(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                is_ready(stdio::stdout(), PollFlags::OUT, 1);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Is the descriptor ready within some seconds, and not hung up?
fn is_ready(fd: BorrowedFd<'_>, wanted: PollFlags, seconds: i64) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
    let timeout = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let _ = poll(&mut fds, Some(&timeout));
    let seen = fds[0].revents();
    !is_gone(seen) && seen.contains(wanted)
}

fn is_gone(seen: PollFlags) -> bool {
    seen.intersects(PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL))
}

/// Waits, without any processor time, until the terminal is gone. Call it in a thread of its own.
///
/// A terminal can go away without SIGHUP, and then crossterm reads its end for ever at full speed.
/// `poll` with no event asked for reports hang-ups and nothing else.
pub(crate) fn wait_for_hang_up() {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(stdio::stdin(), PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if is_gone(fds[0].revents()) => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// A panic gives the terminal back before it is told. Installed once; it calls what was installed
/// before, so `color_eyre::install` has to come first.
fn restore_on_panic() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let cockpit = std::thread::current().id();
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() != cockpit && TAKEN.now() {
                // A task: the cockpit goes on, and says that the engine has ended. Printing now would
                // only spoil its screen.
                tracing::error!(%info, "a task panicked");
                return;
            }
            TAKEN.give_back(leave);
            // Printing to a terminal that is gone would panic within the hook.
            if is_ready(stdio::stderr(), PollFlags::empty(), 0) {
                previous(info);
            }
        }));
    });
}

/// Does this terminal have room for anything? Below it a message is all that is drawn.
pub(crate) const SMALLEST: (u16, u16) = (60, 15);

/// Cells whose symbol could drive a terminal are blanked: the last door, after everything that is
/// text from outside was cleaned where it came in.
pub(crate) fn disarm(buffer: &mut ratatui::buffer::Buffer, theme: Theme) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        if symbol.len() == 1 && !symbol.as_bytes()[0].is_ascii_control() {
            continue;
        }
        let clean = crate::domain::text::Clean::line(symbol);
        if clean.as_str() != symbol {
            cell.set_symbol(" ");
        } else if theme.ascii && !symbol.is_ascii() {
            let twin = match symbol {
                "…" => "~",
                "·" | "—" | "–" => "-",
                "§" => "#",
                _ => "?",
            };
            cell.set_symbol(twin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_terminal_is_given_back_exactly_once() {
        let (taken, undone) = (Taken::new(), Cell::new(0));
        let undo = || undone.set(undone.get() + 1);
        taken.give_back(undo);
        assert_eq!(undone.get(), 0, "it was never taken");
        taken.take();
        taken.give_back(undo);
        taken.give_back(undo);
        assert_eq!(undone.get(), 1);
    }

    #[test]
    fn it_can_be_taken_again_after_a_suspension() {
        let (taken, undone) = (Taken::new(), Cell::new(0));
        for _ in 0..2 {
            taken.take();
            assert!(taken.now());
            taken.give_back(|| undone.set(undone.get() + 1));
        }
        assert_eq!(undone.get(), 2);
    }

    #[test]
    fn a_frame_without_content_is_not_sent() {
        let wire = Wire::default();
        let options = ratatui::TerminalOptions {
            viewport: ratatui::Viewport::Fixed(Rect::new(0, 0, 10, 2)),
        };
        let mut terminal = Terminal::with_options(CrosstermBackend::new(wire.clone()), options)
            .expect("nothing is asked of a terminal");
        let mut draw = |text: &'static str| {
            terminal
                .draw(|frame| frame.render_widget(text, frame.area()))
                .expect("memory takes everything");
            std::mem::take(&mut *wire.0.borrow_mut())
        };
        assert!(has_content(&draw("one")));
        assert!(!has_content(&draw("one")));
        assert!(has_content(&draw("two")));
    }

    #[test]
    fn no_cell_can_drive_the_terminal() {
        let mut buffer = ratatui::buffer::Buffer::empty(Rect::new(0, 0, 4, 1));
        for (x, symbol) in ["a", "\u{1b}", "\u{202e}b", "✓"].into_iter().enumerate() {
            buffer.content[x].set_symbol(symbol);
        }
        disarm(&mut buffer, Theme::default());
        let drawn: String = buffer.content.iter().map(|c| c.symbol()).collect();
        assert_eq!(drawn, "a  ✓");
    }
}
