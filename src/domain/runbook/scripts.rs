//! What a script says about variables: which it names, and the slips that bash would not notice.

use crate::domain::finding::Pos;
use regex::Regex;
use std::sync::LazyLock;

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\$(?:\{[#!]?([A-Za-z_][A-Za-z0-9_]*)|([A-Za-z_][A-Za-z0-9_]*))")
        .expect("a constant")
});

static NAMED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b[A-Z_][A-Z0-9_]*\b").expect("a constant"));

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"<(?:[a-z][a-z0-9]*(?:[-_ ][a-z0-9]+)+|your[a-z0-9_-]*|name|id|host|password|token|value)>")
        .expect("a constant")
});

/// A name in a script and where it stands.
pub struct Reference<'a> {
    pub name: &'a str,
    pub at: Pos,
    pub braces: bool,
}

/// Every `$NAME` and `${NAME…}`, places counted from where the script begins in its file. Comments
/// and single quotes are not looked into for `$`.
pub fn references(text: &str, start: Pos) -> Vec<Reference<'_>> {
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        for hit in REFERENCE.captures_iter(line) {
            let whole = hit.get(0).expect("group 0 is the match");
            if is_escaped(line, whole.start()) {
                continue;
            }
            let (name, braces) = match (hit.get(1), hit.get(2)) {
                (Some(name), _) => (name.as_str(), true),
                (None, Some(name)) => (name.as_str(), false),
                (None, None) => continue,
            };
            out.push(Reference {
                name,
                at: place(start, number, line, whole.start()),
                braces,
            });
        }
    }
    out
}

/// Does a script name the variable, in whatever way (`$NAME`, `printenv NAME`, `os.environ["NAME"]`)?
pub fn mentions(text: &str, variable: &str) -> bool {
    let upper = variable.to_ascii_uppercase();
    NAMED.find_iter(text).any(|m| {
        let name = m.as_str();
        name == upper
            || name
                .strip_prefix(upper.as_str())
                .is_some_and(|rest| rest == "_SQL" || rest == "_EPOCH")
    })
}

/// Things such as `<pv-name>` that somebody was meant to fill in.
pub fn placeholders(text: &str, start: Pos) -> Vec<(String, Pos)> {
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        for hit in PLACEHOLDER.find_iter(line) {
            out.push((
                hit.as_str().to_owned(),
                place(start, number, line, hit.start()),
            ));
        }
    }
    out
}

fn is_escaped(line: &str, at: usize) -> bool {
    let slashes = line[..at].bytes().rev().take_while(|b| *b == b'\\').count();
    let quotes = line[..at].bytes().filter(|b| *b == b'\'').count();
    let doubles = line[..at].bytes().filter(|b| *b == b'"').count();
    slashes % 2 == 1 || (quotes % 2 == 1 && doubles % 2 == 0)
}

fn place(start: Pos, line_index: usize, line: &str, byte: usize) -> Pos {
    let column = line[..byte].chars().count();
    if line_index == 0 {
        Pos::new(start.line, start.column + column)
    } else {
        Pos::new(start.line + line_index, start.column + column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_where_bash_would_expand_them() {
        let script = "echo \"$TARGET\" ${dump_dir}/x '$not' \\$not\n# $not\ncat ${#LIST}\n";
        let names: Vec<&str> = references(script, Pos::new(5, 9))
            .iter()
            .map(|r| r.name)
            .collect();
        assert_eq!(names, ["TARGET", "dump_dir", "LIST"]);
        assert_eq!(references(script, Pos::new(5, 9))[1].at, Pos::new(5, 24));
    }

    #[test]
    fn placeholders_are_told_from_redirections() {
        let found = placeholders(
            "kubectl delete pv <old-pv-name>\ncat <file >out\n",
            Pos::new(1, 1),
        );
        assert_eq!(found.len(), 1);
    }
}
