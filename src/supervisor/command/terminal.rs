//! A terminal for steps whose programs ask.

use super::{Output, Started};
use crate::{domain::redact::Redactor, logs::StreamName};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};
use std::{fs::File, io, os::unix::ffi::OsStrExt, path::Path, process::Stdio, sync::Arc};
use tokio::process::Command;

/// A terminal of its own, so that programs can ask; echo is off, so that what is typed is not output.
pub(super) fn on_terminal(
    command: &mut Command,
    size: (u16, u16),
    redactor: &Arc<Redactor>,
) -> io::Result<Started> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags_noctty()
        .open(path)?;
    let mut modes = tcgetattr(&slave)?;
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    tcsetwinsize(&master, winsize(size))?;
    command
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave))
        .env("TERM", "xterm");
    own_terminal(command);
    let child = command.spawn()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let keyboard = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
    Ok(Started {
        child,
        outputs: vec![Output::new(
            master,
            StreamName::Out,
            redactor.clone(),
            false,
        )?],
        terminal: Some(keyboard),
    })
}

#[expect(
    unsafe_code,
    reason = "a controlling terminal can only be taken between fork and exec"
)]
fn own_terminal(command: &mut Command) {
    // SAFETY: both calls are async-signal-safe system calls and touch no memory of ours.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
}

pub(super) fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

trait NoControllingTerminal {
    fn custom_flags_noctty(&mut self) -> &mut Self;
}

impl NoControllingTerminal for std::fs::OpenOptions {
    fn custom_flags_noctty(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOCTTY.bits();
        self.custom_flags(i32::try_from(flags).unwrap_or(0))
    }
}
