use super::*;
use crate::domain::{event::Event, redact::Redactor};
use chrono::DateTime;
use proptest::prelude::*;

/// A disk that forgets what was not synced when the power goes; part of it may have reached the
/// platter all the same.
#[derive(Clone, Default)]
struct Platter {
    synced: Vec<u8>,
    cache: Vec<u8>,
    aside: Vec<Vec<u8>>,
    /// Doubles with a fault, to see that the test sees it.
    forgets_to_sync: bool,
    forgets_to_truncate: bool,
}

impl Platter {
    fn power_cut(&mut self, kept: usize) {
        let kept = kept.min(self.cache.len());
        self.synced.extend_from_slice(&self.cache[..kept]);
        self.cache.clear();
    }
}

impl Disk for Platter {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok([self.synced.clone(), self.cache.clone()].concat())
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.cache.extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        if !self.forgets_to_sync {
            self.synced.append(&mut self.cache);
        }
        Ok(())
    }
    fn keep_aside(&mut self, bytes: &[u8]) -> io::Result<String> {
        self.aside.push(bytes.to_vec());
        Ok("aside".to_owned())
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if self.forgets_to_truncate {
            return Ok(());
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.synced.append(&mut self.cache);
        self.synced.truncate(len);
        Ok(())
    }
    fn start_over(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Other.into())
    }
}

fn note(seq: u64, text: &str) -> Sealed {
    Redactor::none().seal(&Entry {
        v: 1,
        seq,
        at: DateTime::UNIX_EPOCH,
        boot_ms: 0,
        who: "jo@bastion".into(),
        event: Event::NoteAdded { text: text.into() },
    })
}

/// Writes entries with a power cut after each of `cuts` appends and reopens; what was acknowledged
/// must be there. `Err` says what was lost.
fn survives(mut platter: Platter, cuts: &[(usize, usize)]) -> Result<(), String> {
    let mut acknowledged = 0u64;
    for (writes, kept) in cuts {
        let (mut journal, contents, _) =
            Journal::open(platter.clone()).map_err(|e| format!("cannot be reopened: {e}"))?;
        let found = contents.entries.last().map_or(0, |e| e.seq);
        if found < acknowledged {
            return Err(format!("{acknowledged} acknowledged, {found} found"));
        }
        acknowledged = found;
        for _ in 0..*writes {
            let sealed = note(journal.next_seq(), "a note of some length");
            journal.append(&sealed).map_err(|e| e.to_string())?;
            acknowledged += 1;
        }
        // The power goes in the middle of the next append.
        let (line, _) = seal_line(
            journal.head(),
            note(journal.next_seq(), "never acknowledged").entry(),
        );
        let mut disk = journal.disk;
        disk.append(format!("{line}\n").as_bytes())
            .map_err(|e| e.to_string())?;
        disk.power_cut(*kept);
        platter = disk;
    }
    let (_, contents, _) =
        Journal::open(platter).map_err(|e| format!("cannot be reopened: {e}"))?;
    let found = contents.entries.last().map_or(0, |e| e.seq);
    if found < acknowledged {
        return Err(format!("{acknowledged} acknowledged, {found} found"));
    }
    Ok(())
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_in_power_cuts(cuts in prop::collection::vec((0usize..5, 0usize..300), 1..12)) {
        prop_assert_eq!(survives(Platter::default(), &cuts), Ok(()));
    }

    #[test]
    fn every_flipped_bit_is_noticed(which in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (mut journal, ..) = Journal::open(Platter::default()).expect("empty");
        for seq in 1..5 {
            journal.append(&note(seq, "as it was")).expect("written");
        }
        let mut bytes = journal.disk.synced.clone();
        let at = which.index(bytes.len());
        bytes[at] ^= 1 << bit;
        match read(&bytes) {
            Err(JournalError::Damaged { .. }) => {}
            // The last line break flipped: then the last entry counts as torn.
            Ok(contents) => prop_assert!(at == bytes.len() - 1 && contents.entries.len() == 3),
            Err(JournalError::Io(e)) => prop_assert!(false, "{}", e),
        }
    }
}

#[test]
fn a_disk_that_forgets_to_sync_is_caught() {
    let platter = Platter {
        forgets_to_sync: true,
        ..Platter::default()
    };
    assert!(survives(platter, &[(3, 0), (2, 0)]).is_err());
}

#[test]
fn a_disk_that_leaves_the_torn_tail_is_caught() {
    let platter = Platter {
        forgets_to_truncate: true,
        ..Platter::default()
    };
    assert!(survives(platter, &[(2, 40), (2, 0)]).is_err());
}

#[test]
fn the_chain_is_what_the_design_says() {
    let (mut journal, ..) = Journal::open(Platter::default()).expect("empty");
    let line = journal.append(&note(1, "x")).expect("written");
    let (before, rest) = line.split_once(",\"h\":\"").expect("sealed");
    assert_eq!(
        chain(FIRST, before.as_bytes()),
        rest.trim_end_matches("\"}")
    );
    assert!(before.starts_with("{\"v\":1,\"seq\":1,\"at\":\"1970-01-01T00:00:00Z\",\"boot_ms\":0,\"who\":\"jo@bastion\",\"event\":{\"type\":\"note-added\""));
}
