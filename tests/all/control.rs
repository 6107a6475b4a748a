//! What comes from outside is text: no payload reaches a terminal or an export as control.

use crate::harness::bin::{Blackstart, attempts};
use serde_json::Value;

/// What could drive a terminal, each with a mark of its own before and behind it.
fn payloads() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut add = |bytes: &[u8]| all.push(bytes.to_vec());
    // OSC: title, palette, hyperlink, working folder, notification, clipboard, and their ends.
    for body in [
        "0;owned",
        "1;owned",
        "2;owned",
        "4;1;rgb:ff/00/00",
        "7;file:///owned",
        "8;;http://owned.example/",
        "9;owned",
        "52;c;b3duZWQ=",
        "52;p;?",
        "777;notify;owned;owned",
        "1337;File=inline=1:b3duZWQ=",
    ] {
        for end in ["\u{7}", "\u{1b}\\", "\u{9c}", ""] {
            add(format!("\u{1b}]{body}{end}").as_bytes());
            add(format!("\u{9d}{body}{end}").as_bytes());
        }
    }
    // CSI: cursor, erasing, scrolling, modes, colours, reports, and one that never ends.
    for body in [
        "2J", "H", "1;1H", "3J", "?1049h", "?1049l", "?25l", "?1000h", "?2004h", "31m", "8m", "6n",
        "c", ">c", "!p", "5i", "4i", "20t", "21t", "1;999r", "999A", "999D", "0K", "?47h",
        "38;5;1", "",
    ] {
        add(format!("\u{1b}[{body}").as_bytes());
        add(format!("\u{9b}{body}").as_bytes());
    }
    // DCS, SOS, PM, APC and screen's title, with and without their ends.
    for (seven, eight) in [
        ("P", '\u{90}'),
        ("X", '\u{98}'),
        ("^", '\u{9e}'),
        ("_", '\u{9f}'),
        ("k", '\u{9b}'),
    ] {
        for body in ["q#0;2;0;0;0", "$q\"p", "+q544e", "Gf=100;owned", "owned"] {
            add(format!("\u{1b}{seven}{body}\u{1b}\\").as_bytes());
            add(format!("{eight}{body}\u{9c}").as_bytes());
            add(format!("\u{1b}{seven}{body}").as_bytes());
        }
    }
    // Two-character sequences: reset, character sets, save and restore, keypad, index.
    for one in [
        "c", "7", "8", "D", "E", "H", "M", "N", "O", "Z", "=", ">", "(0", ")0", "#8", "%G", " F",
    ] {
        add(format!("\u{1b}{one}").as_bytes());
    }
    // Every C0 byte, DEL, and every C1 as a raw byte and as UTF-8.
    for byte in (0x00..0x20).chain([0x7f]).filter(|b| !b"\n\t".contains(b)) {
        add(&[byte]);
    }
    for code in 0x80..=0x9f_u8 {
        add(&[code]);
        add(char::from(code).to_string().as_bytes());
    }
    // What turns the direction of text.
    for code in BIDI {
        add(format!("{code}dlrow").as_bytes());
    }
    // Overwriting, and UTF-8 that is none.
    for odd in [
        &b"fine\rowned"[..],
        b"ok\x08\x08no",
        b"\xc2\x1b[2J",
        b"\xf0\x9f\x1b]0;owned\x07",
        b"\xff\xfe\x1bc",
    ] {
        add(odd);
    }
    all.iter()
        .enumerate()
        .map(|(i, payload)| [format!("<{i}:").as_bytes(), payload, b":>"].concat())
        .collect()
}

const BIDI: [char; 12] = [
    '\u{061c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}',
    '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// The first character that could drive a terminal, with what stands around it.
fn control_in(text: &str) -> Option<String> {
    let drives = |c: char| (c.is_control() && c != '\n' && c != '\t') || BIDI.contains(&c);
    let (at, found) = text.char_indices().find(|(_, c)| drives(*c))?;
    let (before, behind) = (&text[..at], &text[at..]);
    let start = before.char_indices().rev().nth(40).map_or(0, |(i, _)| i);
    let around: String = text[start..at]
        .chars()
        .chain(behind.chars().take(20))
        .collect();
    Some(format!("{found:?} in {around:?}"))
}

/// The first thing in the bytes to a terminal that is neither text nor what draws a frame: cursor,
/// colours, erasing, modes.
fn driven(drawn: &[u8]) -> Option<String> {
    let frame = regex::bytes::Regex::new(
        "\x1b\\[[0-9;]*[HJKmABCDGd]|\x1b\\[\\?(25|1049|2004|2026|1000|1002|1003|1006|1015|7)[hl]|\x1b\\[[0-9]* q|[\r\n\x08]",
    );
    let text = frame.unwrap().replace_all(drawn, &b""[..]);
    let text = String::from_utf8_lossy(&text).into_owned();
    control_in(&text)
}

#[track_caller]
fn assert_clean(place: &str, text: &str) {
    assert_eq!(control_in(text), None, "{place}");
}

/// Every text of a JSON value, and every name in it.
fn assert_clean_json(place: &str, value: &Value) {
    match value {
        Value::String(text) => assert_clean(place, text),
        Value::Array(items) => items.iter().for_each(|v| assert_clean_json(place, v)),
        Value::Object(map) => {
            for (name, inner) in map {
                assert_clean(place, name);
                assert_clean_json(&format!("{place}.{name}"), inner);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A double-quoted YAML text; whatever is not plain ASCII is written as an escape.
fn yaml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    out + "\""
}

/// The payloads that an argument or a YAML text can hold, a few together.
fn in_words() -> Vec<String> {
    let texts: Vec<String> = payloads()
        .into_iter()
        .filter_map(|payload| String::from_utf8(payload).ok())
        .filter(|text| !text.contains('\0'))
        .collect();
    texts.chunks(12).map(|few| few.join(" ")).collect()
}

/// Steps whose titles are payloads, one that prints them all, and a check that sees them all.
fn runbook() -> String {
    let mut text = String::from(
        r#"blackstart: 1
id: control
title: Text that would rather be control
objectives: { rto: 1h }
variables:
  payloads: { type: path }
procedures:
  - id: all
    title: All of it
    steps:
"#,
    );
    for (number, title) in in_words().iter().enumerate() {
        let title = yaml(&format!("Title {number} {title}"));
        text += &format!(
            "      - {{ id: t{number}, title: {title}, why: {title}, check: {{ file: /, exists: true }} }}\n"
        );
    }
    text + r#"      - id: print
        title: Print them
        run: |
          cat "$PAYLOADS"
          dd if="$PAYLOADS" bs=3 status=none >&2
        capture: { printed: last-line }
      - id: see
        title: See them
        check: { command: [cat, "${payloads}"], expect: "nothing of the kind" }
recovered:
  when:
    - { file: /, exists: true }
failures:
  - { id: known, symptom: Payloads, cause: They were printed, fix: Clean them, match: { output: ["<1:", "owned"] }, source: here }
"#
}

#[test]
fn no_payload_drives_a_terminal_or_an_export() {
    let home = Blackstart::new();
    let payloads = payloads();
    assert!(payloads.len() >= 200, "{} payloads", payloads.len());
    let file = home.write("payloads", [payloads.join(&b'\n'), b"\n".to_vec()].concat());
    let runbook = home.write("control.yaml", runbook());
    let set = format!("payloads={file}");
    let args = ["run", &runbook, "--trust", "--go", "all", "--set", &set];

    let run = home.output(&args).exits(1);
    assert_clean("run", &run.both());
    let incident = home.incident();
    let notes = in_words();
    for (number, note) in notes.iter().enumerate() {
        let note = format!("Note {number} {note}");
        let done = home.output(&["note", &incident, &note]).exits(0);
        assert_clean("note", &done.both());
    }

    // It was all there, and is told.
    let shown = home.show_json(&incident);
    let print = &attempts(&shown, "print")[0];
    assert_eq!(print["outcome"], "succeeded", "{print:#}");
    let seen = &attempts(&shown, "see")[0]["checks"][0]["seen"];
    assert!(
        seen.as_str().is_some_and(|text| text.contains("<0:")),
        "{seen}"
    );
    assert_eq!(shown["notes"].as_array().map(Vec::len), Some(notes.len()));

    assert_clean_json("show --json", &shown);
    for entry in home.journal(&incident) {
        assert_clean_json("journal", &entry);
    }
    for entry in home.list_json() {
        assert_clean_json("list --json", &entry);
    }
    let json: Value = serde_json::from_str(&home.export(&incident, "json")).unwrap();
    assert_clean_json("export json", &json);
    let markdown = home.export(&incident, "markdown");
    assert_clean("export markdown", &markdown);
    for told in ["Title 0 ", "Note 0 ", "See them"] {
        assert!(markdown.contains(told), "`{told}` is told:\n{markdown}");
    }
    for args in [
        vec!["show", &incident],
        vec!["list"],
        vec!["verify", &incident],
    ] {
        let said = home.output(&args).exits(0);
        assert_clean(&args.join(" "), &said.both());
    }
    for (cols, rows) in [(80, 24), (120, 40)] {
        let drawn = crate::by_hand::looks_through(&home, &incident, cols, rows);
        assert_eq!(driven(&drawn), None, "the cockpit at {cols}×{rows}");
    }
    let json = home.run(&args[1..]).exits(1);
    for entry in json.journal.iter().chain([&json.summary]) {
        assert_clean_json("run --json", entry);
    }
    // Refusals quote what was typed.
    for word in in_words() {
        let refused = home.output(&["show", &word]).exits(2);
        assert_clean("a refusal", &refused.both());
    }
}

#[test]
fn the_search_for_control_finds_each_payload() {
    for payload in payloads() {
        let text = String::from_utf8_lossy(&payload).into_owned();
        let broken = text.contains('\u{fffd}');
        assert!(control_in(&text).is_some() || broken, "{text:?}");
    }
}
