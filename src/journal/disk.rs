//! What a journal needs of a disk; a trait, so that power cuts can be simulated.

use crate::private::{self, Open};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// An append-only file. Nothing counts as kept before `sync` has returned.
pub trait Disk {
    fn read(&mut self) -> io::Result<Vec<u8>>;
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    /// Keeps a torn tail beside the journal; returns where.
    fn keep_aside(&mut self, bytes: &[u8]) -> io::Result<String>;
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// After an error of the disk: the first `whole` bytes and `last`, in a new file, synced.
    fn start_over(&mut self, whole: u64, last: &[u8]) -> io::Result<()>;
}

/// The journal's file.
pub struct FileDisk {
    path: PathBuf,
    file: File,
}

impl FileDisk {
    pub fn open(path: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let file = private::open(path, Open::Append)?;
        if is_new {
            file.sync_all()?;
            private::sync_dir_of(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }
}

impl Disk for FileDisk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn keep_aside(&mut self, bytes: &[u8]) -> io::Result<String> {
        let aside = (1..)
            .map(|n| self.path.with_extension(format!("torn{n}")))
            .find(|p| !p.exists())
            .expect("one of endless names is free");
        let mut file = private::open(&aside, Open::New)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        private::sync_dir_of(&aside)?;
        let name = aside.file_name().unwrap_or_default();
        Ok(name.to_string_lossy().into_owned())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn start_over(&mut self, whole: u64, last: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        File::open(&self.path)?
            .take(whole)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 != whole {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(last);
        private::replace(&self.path, &bytes)?;
        self.file = private::open(&self.path, Open::Append)?;
        Ok(())
    }
}
