//! The journal: one JSON entry a line, each synced before it is acknowledged, each chained to the one
//! before. It shows damage; a tail that was torn while it was written was never acknowledged.
//!
//! ```text
//! append:  line ─► write ─► fdatasync ─► acknowledged
//! open:    read ─► verify the chain ─► torn tail? copy aside, truncate, sync
//! ```

mod disk;

pub use disk::{Disk, FileDisk};

use crate::domain::{event::Entry, redact::Sealed, text::Clean};
use sha2::{Digest, Sha256};
use std::{io, path::Path};

const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const SEAL: &str = ",\"h\":\"";

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("the journal is damaged at line {line}: {what}")]
    Damaged { line: usize, what: String },
}

/// What was found when a journal was read.
#[derive(Debug, Default)]
pub struct Contents {
    pub entries: Vec<Entry>,
    /// The raw lines, without line breaks, as long as they were whole.
    pub head: String,
    /// Length in bytes of what is whole.
    pub whole: u64,
    /// Bytes after it that were never acknowledged.
    pub torn: Vec<u8>,
}

/// An open journal; there is at most one per incident, held by whoever holds the incident's lock.
pub struct Journal<D: Disk = FileDisk> {
    disk: D,
    head: String,
    seq: u64,
    len: u64,
}

impl Journal<FileDisk> {
    /// Opens the file, repairing a torn tail; what was cut off is kept beside it.
    pub fn open_file(path: &Path) -> Result<(Self, Contents, Option<String>), JournalError> {
        Self::open(FileDisk::open(path)?)
    }
}

impl<D: Disk> Journal<D> {
    pub fn open(mut disk: D) -> Result<(Self, Contents, Option<String>), JournalError> {
        let contents = read(&disk.read()?)?;
        let mut kept = None;
        if !contents.torn.is_empty() {
            kept = Some(disk.keep_aside(&contents.torn)?);
            disk.truncate(contents.whole)?;
            disk.sync()?;
        }
        let journal = Self {
            disk,
            head: contents.head.clone(),
            seq: contents.entries.last().map_or(0, |e| e.seq),
            len: contents.whole,
        };
        Ok((journal, contents, kept))
    }

    pub fn next_seq(&self) -> u64 {
        self.seq + 1
    }

    /// The hash that stands for everything so far.
    pub fn head(&self) -> &str {
        &self.head
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes an entry; see `append_all`.
    pub fn append(&mut self, sealed: &Sealed) -> Result<String, JournalError> {
        let mut lines = self.append_all(std::slice::from_ref(sealed))?;
        Ok(lines.remove(0))
    }

    /// Writes entries together. When this returns `Ok`, they survive `kill -9` and power loss; the
    /// lines are returned as they stand in the file. An error of the disk gives the descriptor up:
    /// what is known to be whole is written to a new file, once.
    pub fn append_all(&mut self, sealed: &[Sealed]) -> Result<Vec<String>, JournalError> {
        let mut head = self.head.clone();
        let mut lines = Vec::with_capacity(sealed.len());
        let mut bytes = Vec::new();
        for entry in sealed {
            let (line, hash) = seal_line(&head, entry.entry());
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
            head = hash;
            lines.push(line);
        }
        let Some(last) = sealed.last() else {
            return Ok(lines);
        };
        let written = self.disk.append(&bytes).and_then(|()| self.disk.sync());
        if let Err(first) = written {
            self.disk.start_over(self.len, &bytes).map_err(|_| first)?;
        }
        self.len += bytes.len() as u64;
        self.head = head;
        self.seq = last.entry().seq;
        Ok(lines)
    }
}

fn seal_line(head: &str, entry: &Entry) -> (String, String) {
    let mut line = serde_json::to_string(entry).expect("entries have text keys only");
    line.pop();
    let hash = chain(head, line.as_bytes());
    line.push_str(SEAL);
    line.push_str(&hash);
    line.push_str("\"}");
    (line, hash)
}

fn chain(head: &str, bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(head.as_bytes());
    hasher.update(bytes);
    hex(&hasher.finalize())
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Reads and verifies; damage names its line. A last line without its line break was torn.
pub fn read(bytes: &[u8]) -> Result<Contents, JournalError> {
    let mut contents = Contents {
        head: FIRST.to_owned(),
        ..Contents::default()
    };
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    contents.torn = bytes[whole..].to_vec();
    contents.whole = whole as u64;
    let damaged = |line: usize, what: &str| JournalError::Damaged {
        line,
        what: what.to_owned(),
    };
    if whole == 0 {
        return Ok(contents);
    }
    for (i, line) in bytes[..whole - 1].split(|b| *b == b'\n').enumerate() {
        let number = i + 1;
        let at = find_seal(line).ok_or_else(|| damaged(number, "no hash stands at its end"))?;
        let hash = chain(&contents.head, &line[..at]);
        let stated = &line[at + SEAL.len()..line.len() - 2];
        if stated != hash.as_bytes() {
            return Err(damaged(number, "its hash does not match what stands there"));
        }
        let entry: Entry = serde_json::from_slice(line)
            .map_err(|e| damaged(number, &Clean::line(&e.to_string()).into_string()))?;
        contents.entries.push(entry);
        contents.head = hash;
    }
    Ok(contents)
}

/// Where the seal begins, when the line ends in a whole one.
fn find_seal(line: &[u8]) -> Option<usize> {
    let at = line.len().checked_sub(SEAL.len() + 64 + 2)?;
    let fits = line[at..].starts_with(SEAL.as_bytes()) && line.ends_with(b"\"}");
    fits.then_some(at)
}

#[cfg(test)]
mod tests;
