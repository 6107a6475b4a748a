//! What has become of an attempt: told by its record and its locks, never by a bare pid.

use super::spec::{COMMAND, EXIT, Exit, LOCK, PIDS, Pids, TREE_LOCK};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use std::{fs::File, io, path::Path};

/// The fate of an attempt.
#[derive(Debug)]
pub enum Fate {
    /// `exit.json` is there.
    Ended(Box<Exit>),
    /// Its supervisor holds `lock`.
    Running,
    /// Only `tree.lock` is held: the command, or a child of it, runs without supervisor.
    Unsupervised,
    /// Nobody is left and nothing was recorded; why, as far as the folder tells.
    Lost(&'static str),
}

/// Looks; never writes.
pub fn fate(dir: &Path) -> Fate {
    if let Some(exit) = read_exit(dir) {
        return Fate::Ended(Box::new(exit));
    }
    if is_held(&dir.join(LOCK)) {
        return Fate::Running;
    }
    // It may have ended between the two looks.
    if let Some(exit) = read_exit(dir) {
        return Fate::Ended(Box::new(exit));
    }
    if is_held(&dir.join(TREE_LOCK)) {
        return Fate::Unsupervised;
    }
    Fate::Lost(if dir.join(COMMAND).exists() {
        "its command had ended; its supervisor died while it was verified"
    } else if dir.join(LOCK).exists() {
        "its supervisor died and left no record"
    } else {
        "its supervisor never began"
    })
}

fn read_exit(dir: &Path) -> Option<Exit> {
    let bytes = std::fs::read(dir.join(EXIT)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Is a lock held by anyone? Taking it for a moment is the only way to know.
fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    match file.try_lock_shared() {
        Ok(()) => false,
        Err(std::fs::TryLockError::WouldBlock) => true,
        Err(std::fs::TryLockError::Error(_)) => false,
    }
}

/// Stops a command that has no supervisor: its number is used only when its start time and the boot
/// are still those that were recorded.
pub fn stop_unsupervised(dir: &Path, signal: Signal) -> io::Result<()> {
    let pids: Pids = serde_json::from_slice(&std::fs::read(dir.join(PIDS))?)?;
    let gone = || io::Error::new(io::ErrorKind::NotFound, "the command itself has ended");
    let id = pids.command.ok_or_else(gone)?;
    let pid = i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(gone)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    let same = pids.boot_id == super::attempt::boot_id()
        && pids.command_start.is_some()
        && super::attempt::start_time(id) == pids.command_start;
    if !same {
        return Err(gone());
    }
    pidfd_send_signal(&handle, signal)?;
    // The leader is certain to be ours, so its group is.
    let _ = kill_process_group(pid, signal);
    Ok(())
}
