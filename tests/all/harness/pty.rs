//! A real terminal: a pty with a reader that keeps both the bytes and the screen they draw.

use super::{eventually, process::send};
use portable_pty::{CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use regex::Regex;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::Signal,
};
use std::{
    ffi::OsString,
    fmt,
    io::{PipeReader, PipeWriter},
    num::NonZeroU16,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

/// A program in a terminal of its own. Dropped, it is hung up and killed.
pub(crate) struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    /// `None` once it was hung up.
    line: Option<Line>,
    seen: Arc<Mutex<Seen>>,
}

/// Our end of the pty: while any of it is open, the program has a terminal.
struct Line {
    master: Box<dyn MasterPty + Send>,
    keys: OwnedFd,
    closing: PipeWriter,
    reader: JoinHandle<()>,
}

struct Seen {
    screen: vt100::Parser,
    raw: Vec<u8>,
}

impl Terminal {
    pub(crate) fn start(
        argv: Vec<OsString>,
        environment: Vec<(String, OsString)>,
        folder: &Path,
        cols: u16,
        rows: u16,
    ) -> Self {
        let pair = native_pty_system().openpty(size(cols, rows)).unwrap();
        let mut command = CommandBuilder::from_argv(argv);
        command.env_clear();
        for (name, value) in environment {
            command.env(name, value);
        }
        command.cwd(folder);
        let child = pair.slave.spawn_command(command).unwrap();
        // Only the program may hold the other end, or it would never be hung up.
        drop(pair.slave);
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(cells(rows), cells(cols), 0),
            raw: Vec::new(),
        }));
        let (until, closing) = std::io::pipe().unwrap();
        let keys = own(pair.master.as_ref());
        let reader = std::thread::spawn({
            let (line, seen) = (keys.try_clone().unwrap(), Arc::clone(&seen));
            move || read(&line, &until, &seen)
        });
        Self {
            child,
            line: Some(Line {
                master: pair.master,
                keys,
                closing,
                reader,
            }),
            seen,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.process_id().expect("it was started")
    }

    /// Types.
    #[track_caller]
    pub(crate) fn send(&self, keys: &str) {
        let line = self.line.as_ref().expect("a terminal that is open");
        let mut rest = keys.as_bytes();
        while !rest.is_empty() {
            let written = rustix::io::write(&line.keys, rest).unwrap();
            rest = &rest[written..];
        }
    }

    pub(crate) fn resize(&self, cols: u16, rows: u16) {
        let line = self.line.as_ref().expect("a terminal that is open");
        line.master.resize(size(cols, rows)).unwrap();
        let mut seen = self.seen.lock().unwrap();
        seen.screen.set_size(cells(rows), cells(cols));
    }

    /// What stands on the screen now.
    pub(crate) fn screen(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// The first row below the header that stands in reverse: what is chosen in a list.
    pub(crate) fn chosen(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        let (rows, cols) = screen.size();
        let (rows, cols) = (rows.get(), cols.get());
        let reversed = |row: &u16| {
            let cells = (0..cols).filter_map(|col| screen.cell(*row, col));
            cells.filter(|cell| cell.inverse()).count() > 8
        };
        let row = (3..rows).find(reversed);
        row.map_or_else(String::new, |row| {
            screen.contents_between(row, 0, row, cols)
        })
    }

    /// Every byte that came, in order.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.seen.lock().unwrap().raw.clone()
    }

    /// Is the alternate screen shown? Is the cursor hidden?
    pub(crate) fn modes(&self) -> (bool, bool) {
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        (screen.alternate_screen(), screen.hide_cursor())
    }

    /// Waits until the screen holds it, and returns that screen.
    #[track_caller]
    pub(crate) fn wait_for_text(&self, expression: &str, deadline: Duration) -> String {
        let regex = Regex::new(expression).unwrap();
        let look = || {
            let screen = self.screen();
            regex.is_match(&screen).then_some(screen)
        };
        eventually(
            deadline,
            format_args!("/{expression}/ on the screen\n{self}"),
            look,
        )
    }

    /// Waits for the program's end.
    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let (child, shown) = (&mut self.child, Shown(&self.seen));
        eventually(
            deadline,
            format_args!("the end of what runs here\n{shown}"),
            || child.try_wait().unwrap(),
        )
    }

    /// Waits until everything that was written has been read: after the program's end.
    #[track_caller]
    pub(crate) fn drained(&self) {
        let line = self.line.as_ref().expect("a terminal that is open");
        eventually(Duration::from_secs(10), "the last of the output", || {
            line.reader.is_finished().then_some(())
        });
    }

    /// Hangs up: every end of ours is closed, as when a connection is lost.
    pub(crate) fn close(&mut self) {
        let Some(line) = self.line.take() else { return };
        drop(line.closing);
        let _ = line.reader.join();
        drop(line.keys);
        drop(line.master);
    }

    /// `kill -9`.
    pub(crate) fn kill9(&mut self) {
        send(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.close();
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill9();
        }
    }
}

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.seen).fmt(f)
    }
}

/// The screen as it is when it is printed.
struct Shown<'a>(&'a Mutex<Seen>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.0.lock().unwrap();
        write!(f, "┌────\n{}\n└────", seen.screen.screen().contents())
    }
}

fn size(cols: u16, rows: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a terminal has cells")
}

/// A descriptor of ours for the pty. The writer of portable-pty types Enter and Ctrl-D when it is
/// dropped, and its reader cannot be told to stop, so neither could hang up.
#[expect(
    unsafe_code,
    reason = "portable-pty hands out its descriptor as a number"
)]
fn own(master: &dyn MasterPty) -> OwnedFd {
    let raw = master.as_raw_fd().expect("a pty has a descriptor");
    // SAFETY: `master` keeps the descriptor open while it is copied.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    borrowed.try_clone_to_owned().unwrap()
}

fn read(line: &OwnedFd, until: &PipeReader, seen: &Mutex<Seen>) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let mut ready = [
            PollFd::new(line, PollFlags::IN),
            PollFd::new(until, PollFlags::IN),
        ];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        if !ready[1].revents().is_empty() {
            return;
        }
        match rustix::io::read(line, chunk.as_mut_slice()) {
            Ok(n @ 1..) => {
                let mut seen = seen.lock().unwrap();
                seen.screen.process(&chunk[..n]);
                seen.raw.extend_from_slice(&chunk[..n]);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO: the program and all who had its terminal are gone.
            Ok(0) | Err(_) => return,
        }
    }
}
