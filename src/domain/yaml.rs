//! YAML as a tree in which everything has its place, within a tight budget.

use super::finding::{Finding, Pos};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::{HashMap, HashSet};

/// The largest file that is read, in bytes: five times the longest runbook we know.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 48;
const MAX_NODES: usize = 200_000;
/// Text in all, in bytes, aliases counted as often as they are used.
const MAX_TEXT: usize = 16 << 20;
/// A mapping has no more keys than this.
const MAX_KEYS: usize = 5_000;

/// A YAML value and where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: Pos,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    /// The text as written; `plain` when it stood without quotes and may be a number or a truth value.
    Scalar {
        text: String,
        plain: bool,
        block: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub text: String,
    pub at: Pos,
}

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null"))
    }

    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(pairs) => pairs.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Where its text begins: behind the quote, or on the first line of a block.
    pub fn text_at(&self) -> Pos {
        match &self.value {
            Value::Scalar {
                plain: false,
                block: false,
                ..
            } => Pos::new(self.at.line, self.at.column + 1),
            Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => self.at,
        }
    }

    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The same value as JSON, for what is handed on whole (a native action, say).
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Scalar { text, plain, .. } => {
                if !plain {
                    return Json::String(text.clone());
                }
                match text.as_str() {
                    "" | "~" | "null" => Json::Null,
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    _ => text
                        .parse::<i64>()
                        .map(Json::from)
                        .ok()
                        .or_else(|| {
                            let looks = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
                            text.parse::<f64>().ok().filter(|_| looks).map(Json::from)
                        })
                        .unwrap_or_else(|| Json::String(text.clone())),
                }
            }
            Value::Sequence(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Mapping(pairs) => Json::Object(
                pairs
                    .iter()
                    .map(|(k, v)| (k.text.clone(), v.to_json()))
                    .collect(),
            ),
        }
    }
}

/// Reads one document. Every way of being wrong is a finding with a place; none of them takes long.
pub fn read(bytes: &[u8]) -> Result<Node, Finding> {
    if bytes.len() > MAX_BYTES {
        return Err(Finding::error(
            "syntax",
            Pos::NONE,
            format!(
                "the file has more than {MAX_BYTES} bytes, which is the most a runbook may have"
            ),
        )
        .help("is this the right file? split a runbook that is really this large"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(e) => {
            let before = &bytes[..e.valid_up_to()];
            return Err(
                Finding::error("syntax", place_of(before), "this is not UTF-8 text")
                    .help("a runbook is a YAML file in UTF-8; is this the right file?"),
            );
        }
    };
    if let Some(at) = text.bytes().position(|b| b == 0) {
        return Err(Finding::error(
            "syntax",
            place_of(&bytes[..at]),
            "a NUL byte: this is a binary file",
        )
        .help("a runbook is a YAML file in UTF-8; is this the right file?"));
    }
    depth_is_bearable(text)?;
    Builder::default().read(text)
}

/// Flow brackets nested deeper than any runbook are refused before the parser sees them: its cost
/// grows with the square of the depth.
fn depth_is_bearable(text: &str) -> Result<(), Finding> {
    let (mut depth, mut line, mut column) = (0usize, 1, 0);
    for c in text.chars() {
        column += 1;
        match c {
            '\n' => {
                line += 1;
                column = 0;
            }
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > 2_000 {
            return Err(too_deep(Pos::new(line, column)));
        }
    }
    Ok(())
}

fn too_deep(at: Pos) -> Finding {
    Finding::error(
        "syntax",
        at,
        format!("nested more than {MAX_DEPTH} levels deep"),
    )
    .help("a runbook needs about ten")
}

fn place_of(before: &[u8]) -> Pos {
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |i| i + 1);
    Pos::new(
        line,
        String::from_utf8_lossy(&before[start..]).chars().count() + 1,
    )
}

/// Nodes under construction: an open mapping waits for a key or for a value.
enum Open {
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>, Option<Key>, HashSet<String>),
}

/// What a value costs: values and bytes of text.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text: usize,
}

#[derive(Default)]
struct Builder {
    open: Vec<(Pos, usize, Open)>,
    anchors: HashMap<usize, (Node, Size)>,
    root: Option<Node>,
    size: Size,
    documents: usize,
}

impl Builder {
    fn read(mut self, text: &str) -> Result<Node, Finding> {
        let mut parser = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|e| syntax(text, &e))?;
            self.take(event, span)?;
        }
        self.root.ok_or_else(|| {
            Finding::error("syntax", Pos::NONE, "the file is empty")
                .help("start with `blackstart: 1`")
        })
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Finding> {
        let at = Pos::new(span.start.line(), span.start.col() + 1);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                // The parser points at the first line of a block that is not empty.
                let empty = if block {
                    text.bytes().take_while(|b| *b == b'\n').count()
                } else {
                    0
                };
                let at = Pos::new(at.line.saturating_sub(empty).max(1), at.column);
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain,
                    block,
                };
                let text = match &value {
                    Value::Scalar { text, .. } => text.len(),
                    Value::Sequence(_) | Value::Mapping(_) => 0,
                };
                self.place(Node { at, value }, anchor, Size { nodes: 1, text })
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, Open::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(at, anchor, Open::Mapping(Vec::new(), None, HashSet::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((at, anchor, open)) = self.open.pop() else {
                    return Ok(());
                };
                let value = match open {
                    Open::Sequence(items) => Value::Sequence(items),
                    Open::Mapping(pairs, ..) => Value::Mapping(pairs),
                };
                self.place(Node { at, value }, anchor, Size { nodes: 1, text: 0 })
            }
            Event::Alias(id) => {
                let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
                    return Err(Finding::error(
                        "syntax",
                        at,
                        "an alias to an anchor that is not finished yet",
                    ));
                };
                // Counted before it is copied.
                self.spend(at, size)?;
                let node = self.anchors.get(&id).map(|(node, _)| node.clone());
                match node {
                    Some(node) => self.place(node, 0, Size::default()),
                    None => Ok(()),
                }
            }
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Finding::error(
                        "syntax",
                        at,
                        "a second document begins here; a runbook is one document",
                    )
                    .help("remove the `---` or put it into a file of its own"));
                }
                Ok(())
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => Ok(()),
        }
    }

    fn begin(&mut self, at: Pos, anchor: usize, open: Open) -> Result<(), Finding> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.open.push((at, anchor, open));
        Ok(())
    }

    fn spend(&mut self, at: Pos, size: Size) -> Result<(), Finding> {
        self.size.nodes += size.nodes;
        self.size.text += size.text;
        let most = if self.size.nodes > MAX_NODES {
            format!("more than {MAX_NODES} values")
        } else if self.size.text > MAX_TEXT {
            format!("more than {MAX_TEXT} bytes of text")
        } else {
            return Ok(());
        };
        let what = format!("{most}, aliases counted as often as they are used");
        Err(Finding::error("syntax", at, what)
            .help("write out what is needed instead of aliases of aliases"))
    }

    fn place(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), Finding> {
        self.spend(node.at, size)?;
        if anchor > 0 {
            // What an anchor keeps is a copy, and counts as one.
            let size = count(&node);
            self.spend(node.at, size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((_, _, Open::Sequence(items))) => items.push(node),
            Some((_, _, Open::Mapping(pairs, key, known))) => match key.take() {
                Some(key) => pairs.push((key, node)),
                None => {
                    let Some(text) = node.scalar() else {
                        return Err(Finding::error(
                            "syntax",
                            node.at,
                            format!("{} cannot be a key", node.kind()),
                        )
                        .help("a value that begins with `{` or `[` needs quotes"));
                    };
                    if !known.insert(text.to_owned()) {
                        return Err(Finding::error(
                            "syntax",
                            node.at,
                            format!("the key `{text}` stands here a second time"),
                        )
                        .help("keep one of them"));
                    }
                    if known.len() > MAX_KEYS {
                        let what = format!("a mapping with more than {MAX_KEYS} keys");
                        return Err(
                            Finding::error("syntax", node.at, what).help("is this the right file?")
                        );
                    }
                    *key = Some(Key {
                        text: text.to_owned(),
                        at: node.at,
                    });
                }
            },
        }
        Ok(())
    }
}

fn count(node: &Node) -> Size {
    let mut size = Size { nodes: 1, text: 0 };
    let mut add = |inner: Size| {
        size.nodes += inner.nodes;
        size.text += inner.text;
    };
    match &node.value {
        Value::Scalar { text, .. } => add(Size {
            nodes: 0,
            text: text.len(),
        }),
        Value::Sequence(items) => items.iter().for_each(|item| add(count(item))),
        Value::Mapping(pairs) => {
            for (key, value) in pairs {
                add(Size {
                    nodes: 1,
                    text: key.text.len(),
                });
                add(count(value));
            }
        }
    }
    size
}

fn syntax(text: &str, error: &saphyr_parser::ScanError) -> Finding {
    let mark = error.marker();
    let at = Pos::new(mark.line().max(1), mark.col() + 1);
    let line = text.lines().nth(at.line - 1).unwrap_or("");
    let help = if line.trim_start().starts_with('\t') || line.contains('\t') {
        "YAML is indented with spaces, never with tabs"
    } else if line.contains(": ") && line.matches(": ").count() > 1 {
        "a text that holds `: ` needs quotes"
    } else {
        "check the indentation and the quotes here and on the line above"
    };
    Finding::error("syntax", at, format!("not YAML: {}", error.info())).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_an_editor() {
        let node = read(b"a: 1\nb:\n  - c: x\n").expect("valid");
        let Some(b) = node.get("b") else { panic!("b") };
        let Value::Sequence(items) = &b.value else {
            panic!("a list")
        };
        let c = items[0].get("c").expect("c");
        assert_eq!(c.at, Pos::new(3, 8));
    }

    #[test]
    fn a_text_has_its_place() {
        let lines = "a: |\n  one\nb: |\n\n\n  two\nc: \"three\"\nd: four\n";
        let node = read(lines.as_bytes()).expect("valid");
        for (key, line, column) in [("a", 2, 3), ("b", 4, 3), ("c", 7, 5), ("d", 8, 4)] {
            let value = node.get(key).expect(key);
            assert_eq!(value.text_at(), Pos::new(line, column), "{key}");
        }
    }

    #[test]
    fn what_aliases_hide_is_counted() {
        let text = "x".repeat(500_000);
        for one in ["*t, ", "{ *t : 1 }, "] {
            let file = |times| format!("a: &t {text}\nb: [{}]\n", one.repeat(times));
            assert!(read(file(20).as_bytes()).is_ok(), "{one}");
            let finding = read(file(20_000).as_bytes()).expect_err(one);
            assert!(finding.message.contains("bytes of text"), "{finding:?}");
        }
        // Each anchor keeps a copy of what is below it.
        let open: String = (0..40).map(|i| format!("&n{i} [")).collect();
        let nested = format!("a: &t {text}\nb: {open}*t, *t{}\n", "]".repeat(40));
        assert!(read(nested.as_bytes()).is_err());
    }

    #[test]
    fn hostile_files_are_refused() {
        let bomb = (1..20).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |s, i| {
            let p = format!("*a{}", i - 1);
            format!("{s}a{i}: &a{i} [{}]\n", vec![p; 9].join(","))
        });
        let long = format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(500_000),
            vec!["*a"; 20_000].join(",")
        );
        let keys: String = (0..60_000).map(|i| format!("k{i}: 1\n")).collect();
        let deep = "[".repeat(100_000);
        let block_deep: String = (0..900).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        for (name, bytes) in [
            ("bomb", bomb.into_bytes()),
            ("long", long.into_bytes()),
            ("keys", keys.into_bytes()),
            ("deep", deep.into_bytes()),
            ("maps", "{a: ".repeat(60_000).into_bytes()),
            ("block", block_deep.into_bytes()),
            ("binary", vec![0x7f, b'E', b'L', b'F', 0, 1, 2]),
            ("latin", vec![b'a', b':', b' ', 0xe9]),
            ("large", vec![b'a'; MAX_BYTES + 1]),
            ("empty", vec![]),
            ("twice", b"a: 1\na: 2\n".to_vec()),
            ("open", b"a: [1, 2\nb: {".to_vec()),
            ("unknown alias", b"a: *b".to_vec()),
        ] {
            let finding = read(&bytes).expect_err(name);
            assert_eq!(finding.code, "syntax", "{name}");
        }
    }
}
