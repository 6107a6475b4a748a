//! Files and folders that only their owner can read, under any umask, never through a symlink.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Makes the folder and those above it that are missing, 0700. A folder that was there already stays
/// as it is, and is refused where others could exchange what lies in it.
pub fn create_dir(path: &Path) -> io::Result<()> {
    // `link/` and `link/.` mean what the link points to; what is asked about is the link.
    let path: PathBuf = path.components().collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)?;
    let meta = std::fs::symlink_metadata(&path)?;
    let refuse = |why: &str| {
        let text = format!("{} {why}", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    };
    if meta.file_type().is_symlink() {
        return refuse("is a symbolic link");
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us && meta.uid() != 0 {
        return refuse("belongs to another user");
    }
    let (shared, sticky) = (meta.mode() & 0o022 != 0, meta.mode() & 0o1000 != 0);
    if shared && !sticky {
        return refuse("can be written by others: chmod go-w it, or choose another");
    }
    Ok(())
}

/// How a private file is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// For reading and appending, made if it is missing.
    Append,
    /// Made anew; refused if it is there.
    New,
    /// Made or emptied.
    Truncate,
}

/// Opens a file, 0600, close-on-exec, refusing symlinks.
pub fn open(path: &Path, how: Open) -> io::Result<File> {
    let flags = OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::CREATE
        | match how {
            Open::Append => OFlags::APPEND | OFlags::RDWR,
            Open::New => OFlags::EXCL | OFlags::RDWR,
            Open::Truncate => OFlags::TRUNC | OFlags::RDWR,
        };
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(fd))
}

/// Replaces a file whole or not at all: written beside it, synced, renamed, and the folder synced.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_beside(path, bytes, true)
}

/// The same without waiting for the disk: for what can be derived again.
pub fn replace_lazily(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_beside(path, bytes, false)
}

fn write_beside(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let beside = path.with_extension(format!("tmp{}", std::process::id()));
    let written = open(&beside, Open::Truncate).and_then(|mut file| {
        file.write_all(bytes)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    if let Err(e) = written.and_then(|()| std::fs::rename(&beside, path)) {
        let _ = std::fs::remove_file(&beside);
        return Err(e);
    }
    if durable { sync_dir_of(path) } else { Ok(()) }
}

/// Makes a name durable: the folder that holds it is synced.
pub fn sync_dir_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}

/// Makes a file that a program of a step wrote readable by its owner alone; a symlink is refused.
pub fn only_ours(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    Ok(())
}
