//! Every fact of the two documents that the runbooks come from has its place in the rendered pages.

use crate::harness::bin::Blackstart;
use blackstart::domain::yaml;
use regex::Regex;
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

const DOCUMENTS: [&str; 2] = ["arbitex", "ampora"];

/// `tests/seed_rows.yaml`, whose head says what its keys mean.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    furniture: BTreeMap<String, Vec<String>>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    doc: String,
    says: String,
    place: String,
    shows: Shows,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shows {
    One(String),
    All(Vec<String>),
}

impl Shows {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::All(texts) => texts,
        }
    }
}

#[test]
fn every_word_of_the_documents_is_mapped() {
    let map = map();
    let mut left = Vec::new();
    for doc in DOCUMENTS {
        let remaining = take_out(&map, doc).remaining;
        left.extend(remaining.iter().enumerate().filter_map(|(i, words)| {
            let words = words.trim();
            let mapped = !words.contains(char::is_alphanumeric);
            (!mapped).then(|| format!("{doc}.txt, line {}: {words}", i + 1))
        }));
    }
    none(&left, "words that no row of seed_rows.yaml covers");
}

#[test]
fn every_row_speaks_of_something_in_its_document() {
    let map = map();
    let mut wrong = Vec::new();
    for row in &map.rows {
        let known = DOCUMENTS.contains(&row.doc.as_str());
        if !known || !document(&row.doc).lines().any(|l| l.contains(&row.says)) {
            wrong.push(format!("{}: {}", row.doc, row.says));
        }
    }
    for (doc, lines) in &map.furniture {
        let text = document(doc);
        let gone = lines.iter().filter(|f| !text.lines().any(|l| l == *f));
        wrong.extend(gone.map(|f| format!("{doc}, furniture: {f}")));
    }
    none(&wrong, "texts that no line of the document holds");
}

/// Otherwise one row would cover the same line of two commands, and one of the two could be lost.
#[test]
fn a_text_that_stands_in_several_places_has_a_row_for_each() {
    let map = map();
    let mut wrong = Vec::new();
    for doc in DOCUMENTS {
        for (says, places) in take_out(&map, doc).places {
            let rows = rows_of(&map, doc).filter(|r| r.says == says).count();
            if places > rows {
                wrong.push(format!("{doc}: {places} places, {rows} rows: {says}"));
            }
        }
    }
    none(&wrong, "texts with fewer rows than places");
}

#[test]
fn every_row_has_its_place_in_the_rendered_page() {
    let map = map();
    let mut wrong = Vec::new();
    for doc in DOCUMENTS {
        let page = rendered(doc);
        let sections = sections(&page);
        for row in rows_of(&map, doc) {
            let found: Vec<&Section> = sections.iter().filter(|s| s.is(&row.place)).collect();
            let [section] = found[..] else {
                let count = found.len();
                wrong.push(format!("{doc}: {count} headings `{}`", row.place));
                continue;
            };
            for text in row.shows.texts() {
                if !section.text.contains(&in_one_line(text)) {
                    wrong.push(format!(
                        "{doc}: `{}` has no place: under `{}` there is no `{text}`",
                        row.says, row.place
                    ));
                }
            }
        }
    }
    none(&wrong, "facts that a rendered page does not carry");
}

#[test]
fn no_row_is_true_of_any_page() {
    let weak = |text: &String| text.chars().filter(|c| c.is_alphanumeric()).count() < 3;
    let map = map();
    let rows = map.rows.iter().filter(|row| {
        let texts = row.shows.texts();
        texts.is_empty() || texts.iter().any(weak)
    });
    let wrong: Vec<String> = rows.map(|r| format!("{}: {}", r.doc, r.says)).collect();
    none(&wrong, "rows whose `shows` is shorter than three letters");
}

#[track_caller]
fn none(wrong: &[String], what: &str) {
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} {what}:\n{}", wrong.join("\n"));
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn document(doc: &str) -> String {
    file(&format!("tests/fixtures/seeds/{doc}.txt"))
}

fn map() -> Map {
    let text = file("tests/seed_rows.yaml");
    let tree = yaml::read(text.as_bytes()).unwrap_or_else(|f| panic!("seed_rows.yaml: {f:?}"));
    serde_json::from_value(tree.to_json()).unwrap()
}

fn rows_of<'m>(map: &'m Map, doc: &'m str) -> impl Iterator<Item = &'m Row> {
    map.rows.iter().filter(move |row| row.doc == doc)
}

/// A document without what the map knows of it.
struct Rest {
    /// By line.
    remaining: Vec<String>,
    /// How often each text stood there, outside of longer ones.
    places: Vec<(String, usize)>,
}

/// The longest text goes first, so that a short one cannot cover a part of another fact.
fn take_out(map: &Map, doc: &str) -> Rest {
    let furniture = &map.furniture[doc];
    let text = document(doc);
    let lines = text.lines().map(|line| {
        let bare = furniture.iter().any(|f| f == line);
        if bare { String::new() } else { line.to_owned() }
    });
    let mut remaining: Vec<String> = lines.collect();
    let mut texts: Vec<&str> = rows_of(map, doc).map(|r| r.says.as_str()).collect();
    texts.sort_by_key(|t| (std::cmp::Reverse(t.chars().count()), *t));
    texts.dedup();
    let mut places = Vec::new();
    for says in texts {
        let mut count = 0;
        for line in &mut remaining {
            count += line.matches(says).count();
            *line = line.replace(says, " … ");
        }
        places.push((says.to_owned(), count));
    }
    Rest { remaining, places }
}

fn rendered(doc: &str) -> String {
    let runbook = format!("assets/runbooks/{doc}.yaml");
    let runbook = Path::new(env!("CARGO_MANIFEST_DIR")).join(runbook);
    let home = Blackstart::new();
    let args = ["render", runbook.to_str().unwrap()];
    home.output(&args).exits(0).stdout
}

/// A heading of a page, without the number of a step, and what stands under it.
struct Section {
    heading: String,
    /// The headings that it belongs to, the outermost first.
    above: Vec<String>,
    /// In one line, with what stands under its sub-headings; of the title only what stands above
    /// the first section, or it would be the whole page.
    text: String,
}

impl Section {
    fn is(&self, place: &str) -> bool {
        let (parents, heading) = place.rsplit_once(" > ").unwrap_or(("", place));
        let mut above = self.above.iter();
        let mut names = parents.split(" > ").filter(|name| !name.is_empty());
        heading == self.heading && names.all(|name| above.any(|a| a == name))
    }
}

struct Heading {
    line: usize,
    level: usize,
    text: String,
}

fn sections(page: &str) -> Vec<Section> {
    let lines: Vec<&str> = page.lines().collect();
    let headings = headings(&lines);
    let section = |(i, heading): (usize, &Heading)| {
        let end = headings[i + 1..]
            .iter()
            .find(|h| h.level <= heading.level || heading.level == 1)
            .map_or(lines.len(), |h| h.line);
        let (mut above, mut level) = (Vec::new(), heading.level);
        for h in headings[..i].iter().rev() {
            if h.level < level {
                above.push(h.text.clone());
                level = h.level;
            }
        }
        above.reverse();
        Section {
            heading: heading.text.clone(),
            above,
            text: in_one_line(&lines[heading.line..end].join("\n")),
        }
    };
    headings.iter().enumerate().map(section).collect()
}

/// A `#` inside a block of code is a comment and no heading.
fn headings(lines: &[&str]) -> Vec<Heading> {
    let heading = Regex::new(r"^(#{1,6}) (?:\d+\. )?(.+)$").unwrap();
    let mut found = Vec::new();
    let mut fence = 0;
    for (line, text) in lines.iter().enumerate() {
        let ticks = text.trim_start().chars().take_while(|c| *c == '`').count();
        let bare = text.trim().chars().all(|c| c == '`');
        if fence > 0 {
            if bare && ticks >= fence {
                fence = 0;
            }
        } else if ticks >= 3 {
            fence = ticks;
        } else if let Some(parts) = heading.captures(text) {
            found.push(Heading {
                line,
                level: parts[1].len(),
                text: parts[2].to_owned(),
            });
        }
    }
    found
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
