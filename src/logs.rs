//! An attempt's output: appended by its supervisor, followed and searched by everyone else. It never
//! passes through the engine.
//!
//! `output.log` holds the command's bytes with secrets masked, otherwise unchanged. `output.idx`
//! beside it says when they came: a line `offset milliseconds stream` for each 64 KiB or 10 ms.

use crate::{
    domain::text::Clean,
    private::{self, Open},
};
use regex::Regex;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub const LOG: &str = "output.log";
pub const INDEX: &str = "output.idx";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    Out,
    Err,
}

/// Appends output. A full disk loses bytes and counts them; it never stops the command.
pub struct LogWriter {
    log: File,
    index: File,
    len: u64,
    indexed: u64,
    begun: Instant,
    last_mark: Option<(Instant, StreamName)>,
    pub lost: u64,
}

impl LogWriter {
    pub fn create(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            log: private::open(&dir.join(LOG), Open::New)?,
            index: private::open(&dir.join(INDEX), Open::New)?,
            len: 0,
            indexed: 0,
            begun: Instant::now(),
            last_mark: None,
            lost: 0,
        })
    }

    pub fn append(&mut self, stream: StreamName, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.mark(stream);
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.log.write(rest) {
                Ok(0) => break,
                Ok(n) => {
                    self.len += n as u64;
                    rest = &rest[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.lost += rest.len() as u64;
    }

    fn mark(&mut self, stream: StreamName) {
        let now = Instant::now();
        let due = match self.last_mark {
            None => true,
            Some((at, last)) => {
                last != stream
                    || now - at >= Duration::from_millis(10)
                    || self.len - self.indexed >= 64 * 1024
            }
        };
        if due {
            let ms = (now - self.begun).as_millis();
            let name = match stream {
                StreamName::Out => "out",
                StreamName::Err => "err",
            };
            // A time that is missing costs less than a line of output.
            let mark = format!("{} {ms} {name}\n", self.len);
            let _ = self.index.write_all(mark.as_bytes());
            self.last_mark = Some((now, stream));
            self.indexed = self.len;
        }
    }
}

/// Reads a log of any size through a window; nothing but the window is in memory.
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
}

/// One line of a log, cleaned, and the byte where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub offset: u64,
    pub text: Clean,
}

/// Lines longer than this are shown in pieces.
const LONGEST_LINE: u64 = 16 * 1024;

impl LogReader {
    pub fn new(attempt_dir: &Path) -> Self {
        Self {
            path: attempt_dir.join(LOG),
            file: None,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&mut self) -> Option<&File> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        self.file.as_ref()
    }

    /// Bytes so far.
    pub fn len(&mut self) -> u64 {
        self.file()
            .and_then(|f| f.metadata().ok())
            .map_or(0, |m| m.len())
    }

    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    fn read(&mut self, from: u64, n: u64) -> Vec<u8> {
        let mut buffer = vec![0; usize::try_from(n).unwrap_or(0)];
        let Some(file) = self.file() else {
            return Vec::new();
        };
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], from + filled as u64) {
                Ok(0) | Err(_) => break,
                Ok(n) => filled += n,
            }
        }
        buffer.truncate(filled);
        buffer
    }

    /// Up to `n` lines from a byte offset, which is the beginning of a line.
    pub fn lines_from(&mut self, offset: u64, n: usize) -> Vec<LogLine> {
        let mut out = Vec::with_capacity(n);
        let mut at = offset;
        let len = self.len();
        while out.len() < n && at < len {
            let chunk = self.read(at, (n as u64 * 256).clamp(4096, 1 << 20).max(LONGEST_LINE));
            if chunk.is_empty() {
                break;
            }
            let whole = at + chunk.len() as u64 >= len;
            let mut used = 0;
            while out.len() < n && used < chunk.len() {
                let rest = &chunk[used..];
                let (line, step) = match rest.iter().position(|b| *b == b'\n') {
                    Some(end) => (&rest[..end], end + 1),
                    None if whole || rest.len() as u64 >= LONGEST_LINE => (rest, rest.len()),
                    None => break,
                };
                out.push(LogLine {
                    offset: at + used as u64,
                    text: Clean::of_output(line),
                });
                used += step;
            }
            if used == 0 {
                break;
            }
            at += used as u64;
        }
        out
    }

    /// The offset `n` lines above an offset. Each piece of the file is read once.
    pub fn back(&mut self, offset: u64, n: usize) -> u64 {
        if n == 0 {
            return offset;
        }
        let (mut end, mut left, mut own) = (offset, n, true);
        while end > 0 {
            let from = end.saturating_sub(64 * 1024);
            let chunk = self.read(from, end - from);
            if chunk.is_empty() {
                return from;
            }
            // The line break right above the offset ends the line above it.
            let stop = chunk.len() - usize::from(own && chunk.last() == Some(&b'\n'));
            own = false;
            for i in (0..stop).rev().filter(|i| chunk[*i] == b'\n') {
                left -= 1;
                if left == 0 {
                    return from + i as u64 + 1;
                }
            }
            end = from;
        }
        0
    }

    /// The last `n` lines.
    pub fn tail(&mut self, n: usize) -> Vec<LogLine> {
        let len = self.len();
        let from = self.back(len, n);
        self.lines_from(from, n)
    }

    /// The next line below (or above) an offset that matches.
    pub fn find(&mut self, from: u64, regex: &Regex, forward: bool) -> Option<u64> {
        if forward {
            let mut at = from;
            loop {
                let lines = self.lines_from(at, 4096);
                let last = lines.last()?.offset;
                if let Some(hit) = lines
                    .iter()
                    .find(|l| l.offset > from && regex.is_match(l.text.as_str()))
                {
                    return Some(hit.offset);
                }
                let next = self.lines_from(last, 2);
                at = next.get(1)?.offset;
            }
        }
        let mut end = from;
        while end > 0 {
            let start = self.back(end, 2048);
            let lines = self.lines_from(start, 2048);
            if let Some(hit) = lines
                .iter()
                .rev()
                .find(|l| l.offset < end && regex.is_match(l.text.as_str()))
            {
                return Some(hit.offset);
            }
            end = start;
        }
        None
    }
}

/// How much of a log is handed over at once.
const BLOCK: usize = 2 * 1024 * 1024;

/// A log from its beginning, in blocks of whole lines; for look-ups.
pub fn each_block(attempt_dir: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let file = match File::open(attempt_dir.join(LOG)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    blocks(file, |block| take(&block))
}

/// Blocks of whole lines; only a line that is longer than a block is cut.
pub fn blocks(mut from: impl Read, mut take: impl FnMut(Vec<u8>)) -> io::Result<()> {
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let mut block = Vec::with_capacity(BLOCK + rest.len());
        block.append(&mut rest);
        let room = (BLOCK.saturating_sub(block.len())).max(BLOCK / 2) as u64;
        let n = from.by_ref().take(room).read_to_end(&mut block)?;
        if n == 0 {
            if !block.is_empty() {
                take(block);
            }
            return Ok(());
        }
        match memchr::memrchr(b'\n', &block) {
            Some(end) => rest.extend_from_slice(&block[end + 1..]),
            None if block.len() < 2 * BLOCK => {
                rest = block;
                continue;
            }
            None => {}
        }
        block.truncate(block.len() - rest.len());
        take(block);
    }
}

/// Where in time a byte of the log came, in milliseconds after the attempt began.
pub fn time_of(attempt_dir: &Path, offsets: &[u64]) -> Vec<Option<u64>> {
    let Ok(mut file) = File::open(attempt_dir.join(INDEX)) else {
        return vec![None; offsets.len()];
    };
    let mut text = String::new();
    if file.seek(SeekFrom::Start(0)).is_err() || file.read_to_string(&mut text).is_err() {
        return vec![None; offsets.len()];
    }
    let marks: Vec<(u64, u64)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .collect();
    offsets
        .iter()
        .map(|offset| {
            let after = marks.partition_point(|(at, _)| at <= offset);
            after.checked_sub(1).map(|i| marks[i].1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> (tempfile::TempDir, LogReader) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = LogWriter::create(dir.path()).expect("new");
        writer.append(StreamName::Out, text.as_bytes());
        let reader = LogReader::new(dir.path());
        (dir, reader)
    }

    #[test]
    fn a_window_moves_by_lines_in_both_directions() {
        let text: String = (0..10_000).map(|i| format!("line {i}\n")).collect();
        let (_dir, mut reader) = log(&text);
        let tail = reader.tail(3);
        let shown: Vec<&str> = tail.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(shown, ["line 9997", "line 9998", "line 9999"]);
        let up = reader.back(tail[0].offset, 5000);
        assert_eq!(reader.lines_from(up, 1)[0].text.as_str(), "line 4997");
        assert_eq!(reader.back(up, 100_000), 0);
    }

    #[test]
    fn search_finds_in_both_directions_and_ends() {
        let text: String = (0..5000)
            .map(|i| {
                if i % 1000 == 7 {
                    format!("needle {i}\n")
                } else {
                    "hay\n".into()
                }
            })
            .collect();
        let (_dir, mut reader) = log(&text);
        let regex = Regex::new("needle").expect("valid");
        let first = reader.find(0, &regex, true).expect("found");
        let second = reader.find(first, &regex, true).expect("found");
        assert_eq!(reader.lines_from(second, 1)[0].text.as_str(), "needle 1007");
        assert_eq!(reader.find(second, &regex, false), Some(first));
        let len = reader.len();
        let last = reader.find(len, &regex, false).expect("found");
        assert_eq!(reader.find(last, &regex, true), None);
    }

    #[test]
    fn a_line_without_end_and_a_torn_last_line_are_shown() {
        let (_dir, mut reader) = log(&format!("{}\nlast", "x".repeat(100_000)));
        assert_eq!(reader.tail(1)[0].text.as_str(), "last");
        assert!(reader.lines_from(0, 3)[0].text.as_str().len() >= 16 * 1024);
    }
}
