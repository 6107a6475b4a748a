//! Masking of secrets, in text at once and in a stream across any border.

use super::event::{Entry, Event};
use aho_corasick::{AhoCorasick, MatchKind};
use std::{collections::BTreeSet, sync::Arc};

/// A searcher slows down sharply beyond this many patterns.
const PER_SEARCHER: usize = 64;

/// Knows the secrets of an incident in all forms in which they could be printed.
pub struct Redactor {
    patterns: Vec<(Vec<u8>, usize)>,
    searchers: Vec<(AhoCorasick, usize)>,
    masks: Vec<Vec<u8>>,
    first: [bool; 256],
    longest: usize,
}

impl Redactor {
    /// `secrets` are name and value. Values shorter than six characters are never accepted as secrets.
    pub fn new<'s>(secrets: impl IntoIterator<Item = (&'s str, &'s str)>) -> Self {
        let mut patterns: Vec<(Vec<u8>, usize)> = Vec::new();
        let mut masks = Vec::new();
        for (name, value) in secrets {
            let mask = masks.len();
            masks.push(format!("[masked:{name}]").into_bytes());
            for form in forms(value) {
                if !patterns.iter().any(|(p, _)| *p == form) {
                    patterns.push((form, mask));
                }
            }
        }
        // Longest first, so that series of searchers mask the longest form.
        patterns.sort_by_key(|(p, _)| std::cmp::Reverse(p.len()));
        let mut first = [false; 256];
        for (pattern, _) in &patterns {
            first[usize::from(pattern[0])] = true;
        }
        let searchers = patterns
            .chunks(PER_SEARCHER)
            .enumerate()
            .filter_map(|(i, chunk)| {
                let built = AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .build(chunk.iter().map(|(p, _)| p))
                    .ok()?;
                Some((built, i * PER_SEARCHER))
            })
            .collect();
        Self {
            longest: patterns.first().map_or(0, |(p, _)| p.len()),
            patterns,
            searchers,
            masks,
            first,
        }
    }

    pub fn none() -> Self {
        Self::new([])
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The text with every secret masked.
    pub fn text(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let mut out = Vec::with_capacity(text.len());
        self.mask(text.as_bytes(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Does any form of a secret stand here?
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.searchers.iter().any(|(s, _)| s.is_match(bytes))
    }

    /// An entry with every secret masked: the only thing that a journal takes.
    pub fn seal(&self, entry: &Entry) -> Sealed {
        if self.is_empty() {
            return Sealed(entry.clone());
        }
        let masked = serde_json::to_value(entry)
            .map(|mut value| {
                self.mask_values(&mut value);
                value
            })
            .and_then(serde_json::from_value);
        // Masking keeps the shape, so it reads back; were it not so, the entry would say nothing.
        Sealed(masked.unwrap_or_else(|_| Entry {
            event: Event::Unknown,
            ..entry.clone()
        }))
    }

    /// Masks every text but the names that the runbook gave: those are in the runbook already.
    fn mask_values(&self, value: &mut serde_json::Value) {
        use serde_json::Value as Json;
        const NAMES: [&str; 24] = [
            "type",
            "id",
            "step",
            "procedure",
            "path",
            "phase",
            "system",
            "store",
            "name",
            "kind",
            "danger",
            "after",
            "go",
            "severity",
            "mode",
            "world",
            "outcome",
            "verdict",
            "by",
            "at",
            "dir",
            "row",
            "sha256",
            "fingerprint",
        ];
        match value {
            Json::String(text) => {
                if self.finds(text.as_bytes()) {
                    *text = self.text(text);
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|v| self.mask_values(v)),
            Json::Object(map) => {
                for (key, value) in map.iter_mut() {
                    if !NAMES.contains(&key.as_str()) || value.is_object() {
                        self.mask_values(value);
                    }
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn mask(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let hits = self.hits(bytes);
        let mut at = 0;
        for (start, end, mask) in hits {
            if start < at {
                at = at.max(end);
                continue;
            }
            out.extend_from_slice(&bytes[at..start]);
            out.extend_from_slice(&self.masks[mask]);
            at = end;
        }
        out.extend_from_slice(&bytes[at.min(bytes.len())..]);
    }

    /// Every place to mask, in order; where searchers overlap, the earlier and then the longer.
    fn hits(&self, bytes: &[u8]) -> Vec<(usize, usize, usize)> {
        let mut hits: Vec<(usize, usize, usize)> = Vec::new();
        for (searcher, base) in &self.searchers {
            hits.extend(searcher.find_iter(bytes).map(|m| {
                let mask = self.patterns[base + m.pattern().as_usize()].1;
                (m.start(), m.end(), mask)
            }));
        }
        if self.searchers.len() > 1 {
            hits.sort_by_key(|(start, end, _)| (*start, std::cmp::Reverse(*end)));
        }
        hits
    }

    /// Where the longest tail begins that could still become a secret.
    fn tail(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        for at in from..bytes.len() {
            if !self.first[usize::from(bytes[at])] {
                continue;
            }
            let rest = &bytes[at..];
            if self
                .patterns
                .iter()
                .any(|(p, _)| p.len() > rest.len() && p.starts_with(rest))
            {
                return at;
            }
        }
        bytes.len()
    }
}

/// An entry without secrets; only a redactor makes one.
#[derive(Clone, Debug)]
pub struct Sealed(Entry);

impl Sealed {
    pub fn entry(&self) -> &Entry {
        &self.0
    }
}

/// One stream through a redactor: holds back only what could be the beginning of a secret.
pub struct Stream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
}

impl Stream {
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            redactor,
            held: Vec::new(),
        }
    }

    /// From here on another redactor, which knows what the old one knew.
    pub fn learn(&mut self, redactor: Arc<Redactor>) {
        self.redactor = redactor;
    }

    /// Takes bytes in, appends to `out` what can be shown.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.redactor.is_empty() {
            out.extend_from_slice(bytes);
            return;
        }
        if self.held.is_empty() {
            let keep = self.emit(bytes, out);
            self.held.extend_from_slice(&bytes[keep..]);
            return;
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(bytes);
        let keep = self.emit(&whole, out);
        self.held.extend_from_slice(&whole[keep..]);
    }

    /// Masks and emits what is certain; returns where what is held back begins.
    fn emit(&self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let tail = self.redactor.tail(bytes);
        let mut at = 0;
        for (start, end, mask) in self.redactor.hits(bytes) {
            if start < at {
                // Overlaps what is masked already: its rest goes too.
                at = at.max(end);
                continue;
            }
            if start >= tail {
                break;
            }
            out.extend_from_slice(&bytes[at..start]);
            out.extend_from_slice(&self.redactor.masks[mask]);
            at = end;
        }
        if at < tail {
            out.extend_from_slice(&bytes[at..tail]);
        }
        at.max(tail)
    }

    /// The stream has ended: what was held back is shown, masked where it is a secret.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        self.redactor.mask(&held, out);
    }
}

/// A secret in every form in which tools print it: raw, base64 at three shifts, URL, JSON, shell,
/// hex; several lines also line by line.
fn forms(value: &str) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    let mut parts: Vec<&str> = vec![value];
    if value.contains('\n') {
        parts.extend(value.lines().map(str::trim_end));
        parts.push(value.trim_end());
    }
    for part in parts {
        if part.chars().count() < super::runbook::variable::SHORTEST_SECRET {
            continue;
        }
        encodings(part, &mut all);
    }
    all
}

fn encodings(value: &str, all: &mut BTreeSet<Vec<u8>>) {
    use base64::{Engine as _, engine::general_purpose as engines};
    let bytes = value.as_bytes();
    all.insert(bytes.to_vec());
    for engine in [&engines::STANDARD_NO_PAD, &engines::URL_SAFE_NO_PAD] {
        for shift in 0..3 {
            let mut shifted = vec![0u8; shift];
            shifted.extend_from_slice(bytes);
            let encoded = engine.encode(&shifted);
            // Characters that also carry bits of the neighbours are left out.
            let from = [0, 2, 3][shift];
            let whole = shifted.len() * 8 / 6;
            if let Some(inner) = encoded.as_bytes().get(from..whole)
                && inner.len() >= 6
            {
                all.insert(inner.to_vec());
            }
        }
    }
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let padded = engines::STANDARD.encode(bytes);
    for (text, width) in [(&padded, 76), (&padded, 64), (&hex, 60)] {
        all.extend(wrapped(text, width).map(|line| line.as_bytes().to_vec()));
    }
    all.insert(hex.to_ascii_uppercase().into_bytes());
    all.insert(hex.into_bytes());
    for keep in ["-_.~", "-_.~/", "-_.!~*'()"] {
        let (upper, lower) = (percent(value, keep, false), percent(value, keep, true));
        all.insert(upper.replace("%20", "+").into_bytes());
        all.insert(upper.into_bytes());
        all.insert(lower.into_bytes());
    }
    if let Ok(json) = serde_json::to_string(value) {
        let inner = json[1..json.len() - 1].to_owned();
        all.insert(inner.replace('/', "\\/").into_bytes());
        for (ascii, html) in [(true, false), (false, true), (true, true)] {
            let escaped = escaped_json(value, ascii, html);
            all.insert(escaped.replace('/', "\\/").into_bytes());
            all.insert(escaped.replace("\\u0027", "'").into_bytes());
            all.insert(escaped.into_bytes());
        }
        all.insert(inner.into_bytes());
    }
    all.insert(value.replace('\'', "'\\''").into_bytes());
    all.insert(value.replace('\'', "'\"'\"'").into_bytes());
    for plain in ["-_./:=@%+,", "-_./:=@%+", "-_./", "-_.:/=@%+,^~"] {
        all.insert(backslashed(value, plain).into_bytes());
    }
    all.insert(double_quoted(value).into_bytes());
}

fn percent(value: &str, keep: &str, lower: bool) -> String {
    value
        .bytes()
        .map(|b| {
            let c = char::from(b);
            if c.is_ascii_alphanumeric() || keep.contains(c) {
                c.to_string()
            } else if lower {
                format!("%{b:02x}")
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// JSON as encoders write it that keep to ASCII, or that keep HTML out.
fn escaped_json(value: &str, ascii: bool, html: bool) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii() && !c.is_control() && !(html && "<>&'".contains(c)) => out.push(c),
            c if !ascii && !c.is_ascii() => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

/// As `printf %q` writes it: shells differ in what they leave alone.
fn backslashed(value: &str, plain: &str) -> String {
    value
        .chars()
        .flat_map(|c| {
            let bare = c.is_ascii_alphanumeric() || !c.is_ascii() || plain.contains(c);
            (!bare).then_some('\\').into_iter().chain([c])
        })
        .collect()
}

/// As encoders wrap long output: whole lines of it, counted from the secret's own beginning.
fn wrapped(text: &str, width: usize) -> impl Iterator<Item = &str> {
    let whole = text.len() / width;
    let rest = text
        .get(whole * width..)
        .filter(|r| r.len() >= 16 && whole > 0);
    (0..whole)
        .filter_map(move |i| text.get(i * width..(i + 1) * width))
        .chain(rest)
}

fn double_quoted(value: &str) -> String {
    value
        .chars()
        .flat_map(|c| "\"\\$`".contains(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use proptest::prelude::*;

    const SECRET: &str = "s3cr3t/with \"quote\" & 'apostrophe' €";

    fn stream(redactor: Redactor, chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stream = Stream::new(Arc::new(redactor));
        for chunk in chunks {
            stream.push(chunk, &mut out);
        }
        stream.finish(&mut out);
        out
    }

    #[test]
    fn every_encoding_is_masked_at_every_split() {
        let redactor = || Redactor::new([("db", SECRET)]);
        let b64 = |prefix: &str| {
            base64::engine::general_purpose::STANDARD.encode(format!("{prefix}{SECRET}tail"))
        };
        let hex: String = SECRET.bytes().map(|b| format!("{b:02x}")).collect();
        for shown in [
            SECRET.to_owned(),
            b64(""),
            b64("a"),
            b64("ab"),
            percent(SECRET, "-_.~", false),
            serde_json::to_string(SECRET).expect("a text"),
            format!("'{}'", SECRET.replace('\'', "'\\''")),
            hex,
        ] {
            let line = format!("before {shown} after");
            for split in 0..line.len() {
                let (a, b) = line.as_bytes().split_at(split);
                let out = stream(redactor(), &[a, b]);
                let out = String::from_utf8_lossy(&out);
                assert!(out.contains("[masked:db]"), "{shown} at {split}: {out}");
                assert!(
                    out.starts_with("before ") && out.ends_with(" after"),
                    "{out}"
                );
            }
        }
    }

    #[test]
    fn a_secret_that_begins_another_hides_no_less_of_it() {
        let redactor = || Redactor::new([("a", "abcdef"), ("b", "abcdefghijkl")]);
        for split in 0..14 {
            let line = b"x abcdefghijkl";
            let out = stream(redactor(), &[&line[..split], &line[split..]]);
            assert_eq!(out, b"x [masked:b]", "at {split}");
        }
    }

    #[test]
    fn lines_of_a_key_are_masked_one_by_one() {
        let redactor = Redactor::new([("key", "-----BEGIN-----\nMIIEvQIBADAN\nshort\n")]);
        assert_eq!(redactor.text("> MIIEvQIBADAN <"), "> [masked:key] <");
    }

    #[test]
    fn a_prompt_is_not_held_back() {
        let redactor = Redactor::new([("db", "hunter2hunter2")]);
        let mut out = Vec::new();
        Stream::new(Arc::new(redactor)).push(b"Password: ", &mut out);
        assert_eq!(out, b"Password: ");
    }

    proptest! {
        #[test]
        fn bytes_without_secrets_pass_unchanged(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let redactor = Redactor::new([("db", "zq0zq1zq2zq3")]);
            let refs: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(stream(redactor, &refs), chunks.concat());
        }

        #[test]
        fn no_secret_is_left_wherever_it_is_cut(cuts in prop::collection::vec(1usize..9, 1..40)) {
            let redactor = || Redactor::new([("db", "abababac"), ("other", "bacabab!")]);
            let text = b"..abababac..ababababac..bacabab!abababacabab".repeat(3);
            let mut chunks: Vec<&[u8]> = Vec::new();
            let mut rest = text.as_slice();
            for cut in cuts.iter().cycle().take(200) {
                let (a, b) = rest.split_at((*cut).min(rest.len()));
                chunks.push(a);
                rest = b;
            }
            chunks.push(rest);
            let out = stream(redactor(), &chunks);
            prop_assert!(!redactor().finds(&out));
        }
    }
}
