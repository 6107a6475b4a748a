//! The search: many signatures in a log of any size, block by block, in memory that does not grow.

use super::{rules::RuleSet, signature::Signature};
use crate::domain::text::Clean;
use regex::Regex;
use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

/// How many lines of a signature are kept, first and last ones apart.
const KEPT: usize = 4;
/// How many line numbers of a signature are kept, for what has to stand near something else.
const NUMBERS: usize = 64;
/// From here on the lines of one block are counted without asking the expression again.
const ASKED: u32 = 48;
/// A line of this length may have been broken by a terminal.
const BROKEN_AT: usize = 60;
/// What is larger never went through a terminal.
const TERMINAL: usize = 256 * 1024;

/// What one signature has found.
#[derive(Clone, Default)]
pub struct Hit {
    pub count: u64,
    /// The first and the last lines, each with its number from one.
    pub first: Vec<(u64, Clean)>,
    pub last: Vec<(u64, Clean)>,
    pub numbers: Vec<u64>,
    /// Characters of the longest match.
    pub longest: usize,
}

impl Hit {
    fn add(&mut self, line: u64, text: Clean, length: usize) {
        self.count += 1;
        self.longest = self.longest.max(length);
        self.keep(line, text);
        self.number(line);
    }

    fn keep(&mut self, line: u64, text: Clean) {
        if self.first.len() < KEPT {
            self.first.push((line, text));
        } else {
            if self.last.len() == KEPT {
                self.last.remove(0);
            }
            self.last.push((line, text));
        }
    }

    fn number(&mut self, line: u64) {
        if self.numbers.len() == NUMBERS {
            // The first half is where it began, the other half is where it ended.
            self.numbers.remove(NUMBERS / 2);
        }
        self.numbers.push(line);
    }

    pub fn lines(&self) -> impl Iterator<Item = &(u64, Clean)> {
        self.first.iter().chain(&self.last)
    }

    fn merge(&mut self, later: Self, above: u64) {
        let counted = later.count;
        for (line, text) in later.first.into_iter().chain(later.last) {
            self.keep(line + above, text);
        }
        for line in later.numbers {
            self.number(line + above);
        }
        self.count += counted;
        self.longest = self.longest.max(later.longest);
    }
}

/// What all signatures of a set have found, by their number.
#[derive(Clone, Default)]
pub struct Hits {
    found: BTreeMap<usize, Hit>,
    pub lines: u64,
}

impl Hits {
    pub fn get(&self, signature: usize) -> Option<&Hit> {
        self.found.get(&signature)
    }

    /// What was found in a text that is no part of the log: it counts, and has no line number.
    pub fn beside(&mut self, found: Self, line: &Clean) {
        for (signature, hit) in found.found {
            let known = self.found.entry(signature).or_default();
            known.count += 1;
            known.longest = known.longest.max(hit.longest);
            if known.first.is_empty() {
                known.first.push((0, line.clone()));
            }
        }
    }

    /// What was found in the text that follows.
    pub fn merge(&mut self, later: Self) {
        for (signature, hit) in later.found {
            self.found
                .entry(signature)
                .or_default()
                .merge(hit, self.lines);
        }
        self.lines += later.lines;
    }
}

/// Searches whole lines.
pub fn scan(set: &RuleSet, block: &[u8]) -> Hits {
    let block = plain(block);
    let block: &[u8] = &block;
    let folded: Vec<u8> = block.iter().map(|&b| fold(b)).collect();
    let mut state = Block {
        set,
        block,
        folded: &folded,
        hits: Hits::default(),
        asked: vec![NOT_ASKED; set.signatures()],
        line: (0, 0),
        at: 0,
        number: 1,
    };
    for found in set.finder().find_overlapping_iter(&folded) {
        for &signature in set.of_needle(found.pattern().as_usize()) {
            state.candidate(signature, found.start(), found.end());
        }
    }
    for &signature in set.always() {
        let mut start = 0;
        while start < block.len() {
            state.candidate(signature, start, start);
            start = state.end_of(start) + 1;
        }
    }
    state.finish();
    let mut hits = state.hits;
    hits.lines = newlines(block) + u64::from(!block.is_empty() && !block.ends_with(b"\n"));
    hits
}

/// Small letters, and one kind of blank: a text that a terminal has broken is found all the same.
fn fold(byte: u8) -> u8 {
    match byte {
        b'\n' | b'\r' | b'\t' => b' ',
        _ => byte | (u8::from(byte.is_ascii_uppercase()) << 5),
    }
}

/// Without escape sequences.
fn plain(block: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0x1b, block).is_none() {
        return Cow::Borrowed(block);
    }
    let mut out = Vec::with_capacity(block.len());
    for line in block.split_inclusive(|&b| b == b'\n') {
        if memchr::memchr(0x1b, line).is_none() {
            out.extend_from_slice(line);
            continue;
        }
        out.extend_from_slice(Clean::of_output(line).as_str().as_bytes());
        if line.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
    Cow::Owned(out)
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[derive(Clone, Copy)]
struct Asked {
    /// Where the line began that was asked last.
    line: usize,
    times: u32,
    /// A line that was counted without being asked.
    unasked: Option<usize>,
}

const NOT_ASKED: Asked = Asked {
    line: usize::MAX,
    times: 0,
    unasked: None,
};

struct Block<'a> {
    set: &'a RuleSet,
    block: &'a [u8],
    folded: &'a [u8],
    hits: Hits,
    /// By the number of the signature.
    asked: Vec<Asked>,
    /// The line that the last candidate stood on.
    line: (usize, usize),
    /// A place, and the number of its line.
    at: usize,
    number: u64,
}

impl Block<'_> {
    fn start_of(&self, at: usize) -> usize {
        memchr::memrchr(b'\n', &self.block[..at]).map_or(0, |n| n + 1)
    }

    fn end_of(&self, at: usize) -> usize {
        memchr::memchr(b'\n', &self.block[at..]).map_or(self.block.len(), |n| at + n)
    }

    fn number_of(&mut self, start: usize) -> u64 {
        if start >= self.at {
            self.number += newlines(&self.block[self.at..start]);
        } else {
            self.number -= newlines(&self.block[start..self.at]);
        }
        self.at = start;
        self.number
    }

    fn candidate(&mut self, signature: usize, from: usize, to: usize) {
        // Candidates come in the order of their ends: mostly on the same line, or on the next one.
        if from < self.line.0 || from >= self.line.1 {
            let start = self.start_of(from);
            self.line = (start, self.end_of(from) + 1);
        }
        let start = self.line.0;
        let asked = &mut self.asked[signature];
        if asked.line == start {
            return;
        }
        asked.line = start;
        if asked.times >= ASKED {
            asked.unasked = Some(start);
            if let Some(hit) = self.hits.found.get_mut(&signature) {
                hit.count += 1;
            }
            return;
        }
        self.ask(signature, start, to);
    }

    /// The last line that was only counted is asked after all: where a failure ended counts.
    fn finish(&mut self) {
        let left: Vec<(usize, usize)> = self
            .asked
            .iter()
            .enumerate()
            .filter_map(|(signature, asked)| Some((signature, asked.unasked?)))
            .collect();
        for (signature, start) in left {
            if let Some(hit) = self.hits.found.get_mut(&signature) {
                hit.count -= 1;
            }
            self.ask(signature, start, start);
        }
    }

    fn ask(&mut self, signature: usize, start: usize, to: usize) {
        let Some((text, length)) = self.matched(self.set.signature(signature), start, to) else {
            return;
        };
        let number = self.number_of(start);
        self.hits
            .found
            .entry(signature)
            .or_default()
            .add(number, text, length);
        self.asked[signature].times += 1;
    }

    /// The line, alone or with the one that a terminal has broken off it. What was searched for ends at `to`.
    fn matched(&self, signature: &Signature, start: usize, to: usize) -> Option<(Clean, usize)> {
        let end = self.end_of(start);
        if to <= end && signature.may_match(&self.folded[start..end]) {
            let line = &self.block[start..end];
            // Most lines need no cleaning to say that they do not match.
            if line.is_ascii()
                && !line.iter().any(u8::is_ascii_control)
                && let Ok(text) = std::str::from_utf8(line)
            {
                if let Some(length) = length(signature, text) {
                    return Some((Clean::of_output(line), length));
                }
                return self.broken(signature, start, end, to);
            }
            let text = Clean::of_output(line);
            if let Some(length) = length(signature, text.as_str()) {
                return Some((text, length));
            }
            if memchr::memchr(b'\r', line).is_some() {
                let whole = Clean::line(&String::from_utf8_lossy(line));
                if let Some(length) = length(signature, whole.as_str()) {
                    return Some((whole, length));
                }
            }
        }
        self.broken(signature, start, end, to)
    }

    fn broken(
        &self,
        signature: &Signature,
        start: usize,
        end: usize,
        to: usize,
    ) -> Option<(Clean, usize)> {
        if self.block.len() > TERMINAL {
            return None;
        }
        let after = (end < self.block.len())
            .then(|| (start, end, self.end_of(end + 1)))
            .filter(|(start, end, _)| to > *end || end - start >= BROKEN_AT);
        let before = (start > 0)
            .then(|| (self.start_of(start - 1), start - 1, end))
            .filter(|(start, end, _)| end - start >= BROKEN_AT);
        [after, before]
            .into_iter()
            .flatten()
            .find_map(|pair| self.joined(signature, pair))
    }

    /// Two lines as one: from the first's beginning over its end to the second's.
    fn joined(
        &self,
        signature: &Signature,
        (start, middle, end): (usize, usize, usize),
    ) -> Option<(Clean, usize)> {
        if !signature.may_match(&self.folded[start..end]) {
            return None;
        }
        let one = Clean::of_output(&self.block[start..middle]);
        let other = Clean::of_output(&self.block[middle + 1..end]);
        // A break is mended for what neither of them says alone.
        let alone = |line: &Clean| length(signature, line.as_str()).is_some();
        if alone(&one) || alone(&other) {
            return None;
        }
        ["", " "].into_iter().find_map(|between| {
            let joined = format!("{one}{between}{}", other.as_str().trim_start());
            Some((Clean::line(&joined), length(signature, &joined)?))
        })
    }
}

fn length(signature: &Signature, text: &str) -> Option<usize> {
    let found = signature.regex().find(text)?;
    (!only_tells(text)).then_some(found.len())
}

/// Comments of a configuration, the options of a help text, what was skipped on purpose, the names of tests,
/// the rows of a table and the heads of commits tell of failures that are none.
fn only_tells(line: &str) -> bool {
    static TELLS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"^( [^|\s:][^|:]{0,118} \| |\s*(#\s|#[a-z_.-]+\s*=|;\s",
            r"|(-\w,?\s+)?--[a-z][\w-]*(=\S+|\s[A-Z]+)?(\s{2,}|\s+:\s)",
            r"|-+\+[-+]+|\d+ +\| |.{0,20}\berrors?: 0(\s*[,;)]|\s*$)",
            r"|test_\w+ \([\w.]+\) \.\.\. |\S+::test_\w+(\[.*\])? PASSED",
            r"|[0-9a-f]{7,12} (build|chore|ci|docs|feat|fix|perf|refactor|revert|style|test)(\([\w-]+\))?!?: ))",
            r"|NOTICE: .{1,400}, skipping"
        ))
        .expect("a valid expression")
    });
    TELLS.is_match(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(signatures: &[&str]) -> RuleSet {
        let rows = signatures.iter().map(|text| {
            let yaml = format!(
                "tool: x\nfailures:\n  - {{ id: x, symptom: x, cause: x, fix: x, source: x, sure: certain, match: {{ output: ['{text}'] }} }}\n"
            );
            let mut rows = crate::domain::failures::library::read(yaml.as_bytes()).expect("a row");
            rows.remove(0)
        });
        RuleSet::new(rows.collect())
    }

    #[test]
    fn lines_are_counted_over_blocks_as_in_one() {
        let set = set(&["no space left", "refused"]);
        let text = "one\nNo space left on device\nthree\nconnection refused\nrefused again\n";
        let whole = scan(&set, text.as_bytes());
        for cut in text.match_indices('\n').map(|(at, _)| at + 1) {
            let mut parts = scan(&set, &text.as_bytes()[..cut]);
            parts.merge(scan(&set, &text.as_bytes()[cut..]));
            assert_eq!(parts.lines, whole.lines);
            for signature in [0, 1] {
                let (one, other) = (whole.get(signature), parts.get(signature));
                let numbers = |hit: Option<&Hit>| hit.map(|h| h.numbers.clone());
                assert_eq!(numbers(one), numbers(other), "cut at {cut}");
            }
        }
        assert_eq!(whole.get(1).map(|h| h.count), Some(2));
    }

    #[test]
    fn a_flood_is_counted_and_only_its_ends_are_kept() {
        let set = set(&["refused"]);
        let flood = "connection refused\n".repeat(10_000);
        let found = scan(&set, flood.as_bytes());
        let hit = found.get(0).expect("it was found");
        assert_eq!(hit.count, 10_000);
        assert!(hit.lines().count() <= 2 * KEPT);
        assert_eq!(hit.last.last().map(|(n, _)| *n), Some(10_000));
    }

    #[test]
    fn what_only_tells_of_a_failure_is_none() {
        let set = set(&["max clients reached"]);
        for line in [
            "# error max clients reached",
            "#timeout = max clients reached",
            "  --limit=N    what to do when max clients reached",
            "NOTICE:  table \"max clients reached\" does not exist, skipping",
            "test_max_clients_reached (all.Limits) ... max clients reached",
            "  3 | max clients reached",
            " max clients reached |       4 |             0",
            "errors: 0, warnings: max clients reached",
            "590ee65 docs: what to do when max clients reached",
        ] {
            assert!(scan(&set, line.as_bytes()).get(0).is_none(), "{line}");
        }
        for line in [
            "#12 ERROR: max clients reached",
            "    | redis.exceptions.ConnectionError: max clients reached",
            "  Warning  Unhealthy  12s  kubelet  redis-cli ping | grep PONG: max clients reached",
            "error: 0/3 nodes are ready: max clients reached",
            "ERR max clients reached",
            "--- max clients reached",
        ] {
            assert!(scan(&set, line.as_bytes()).get(0).is_some(), "{line}");
        }
    }
}
