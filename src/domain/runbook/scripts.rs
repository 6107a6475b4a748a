//! What a script says about variables: which it names, and the slips that bash would not notice.

pub mod commands;
mod shell;
mod words;

use crate::domain::finding::Pos;
use regex::Regex;
use shell::Place;
use std::sync::LazyLock;

static NAMED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b[A-Z_][A-Z0-9_]*\b").expect("a constant"));

/// `<pv-name>`, `<resource group>`, `<HOST>`, `<pvName>`, and single words that nobody means.
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)<(?:
            [a-z][a-z0-9]*(?:[-_\x20][a-z0-9]+)+
          | [A-Z][A-Z0-9]+(?:[-_\x20][A-Z0-9]+)*
          | [a-z][a-z0-9]*(?:[A-Z][a-z0-9]*)+
          | your[A-Za-z0-9_-]*
          | name | id | host | password | token | value | namespace | user | username | region | cluster
          | server | url | path | db | database | table | version | date | pod | node | bucket | key
          | secret | ip | address | port | image | tag | pvc | pv | snapshot | account | stanza
        )>",
    )
    .expect("a constant")
});

/// A name by which one knows that a secret is meant: `DB_PASSWORD`, `api-key`, never `TOKEN_FILE`.
static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?xi)(?:
            (?:password|passwd|passphrase)
          | (?:^|_)(?:pwd|secret|token|pat|jwt|bearer|credentials?)
          | (?:^|_)[a-z]*(?:api|master|private|secret|access|account|encryption|storage|signing)_?key
          | ^REDISCLI_AUTH
        )$",
    )
    .expect("a constant")
});

/// Does a name say that a secret is meant?
pub fn is_secret_name(name: &str) -> bool {
    SECRET_NAME.is_match(&name.replace(['-', '.'], "_"))
}

/// The texts that a script hands to another shell (`bash -c '…'`), and where they begin.
pub fn handed_on(text: &str) -> Vec<(String, usize)> {
    let found = commands::read(text);
    let words = found
        .pipelines
        .iter()
        .flat_map(|p| &p.commands)
        .filter_map(|c| {
            let shell = c.name().rsplit('/').next().unwrap_or_default();
            let flag = c
                .words
                .iter()
                .position(|w| w.text.starts_with('-') && w.text.contains('c'))?;
            let is_shell = ["bash", "sh", "dash", "zsh", "ksh"].contains(&shell);
            c.words
                .get(flag + 1)
                .filter(|w| is_shell && w.names.is_empty())
        });
    words.map(|w| (w.text.clone(), w.at)).collect()
}

/// Words in capitals that stand for what they are.
const NO_PLACEHOLDER: [&str; 9] = [
    "<EOF>", "<CR>", "<LF>", "<CRLF>", "<TAB>", "<ESC>", "<NUL>", "<NULL>", "<NONE>",
];

/// How many of one sort are looked for in one text.
const MOST: usize = 50;

/// A name in a script and where it stands.
pub struct Reference<'a> {
    pub name: &'a str,
    pub at: Pos,
    pub braces: bool,
}

/// Every `$NAME` and `${NAME…}` that a shell replaces, of those that `wanted` asks for and that the
/// script does not set itself. Places are counted from where the script begins in its file.
pub fn references<'a>(
    text: &'a str,
    start: Pos,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Reference<'a>> {
    let look = shell::look(text);
    if look.evaluates {
        return Vec::new();
    }
    look.references
        .iter()
        .filter(|(_, name, _)| wanted(name) && !look.own.contains(name))
        .take(MOST)
        .map(|&(byte, name, braces)| Reference {
            name,
            at: place(text, start, byte),
            braces,
        })
        .collect()
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

/// Things such as `<pv-name>` in a script that somebody was meant to fill in.
pub fn placeholders(text: &str, start: Pos) -> Vec<(String, Pos)> {
    if !PLACEHOLDER.is_match(text) {
        return Vec::new();
    }
    let look = shell::look(text);
    candidates(text)
        .filter(|hit| {
            let place = look
                .openings
                .binary_search_by_key(&hit.from, |(at, _)| *at)
                .ok()
                .and_then(|i| look.openings.get(i))
                .map(|(_, place)| *place);
            match place {
                // A word after `>` that is attached to it is where the output goes, unless something
                // is attached before `<` as well: `https://<HOST>/x`.
                Some(Place::Code) => {
                    hit.after.is_none_or(|c| !is_word(c))
                        || hit.before.is_some_and(|c| "/=:@.,".contains(c))
                }
                Some(Place::Double) => {
                    let is_prose = hit.text.contains(" and ") || hit.text.contains(" or ");
                    !is_prose && !hit.line(text).to_ascii_lowercase().contains("usage")
                }
                Some(Place::Single) => hit.before == Some('\'') && hit.after == Some('\''),
                None => false,
            }
        })
        .map(|hit| (hit.text.to_owned(), place(text, start, hit.from)))
        .collect()
}

/// The same for a text that is no script, an argument or an address for instance: the first one.
pub fn unfilled(text: &str, start: Pos) -> Option<(&str, Pos)> {
    candidates(text)
        .find(|hit| !hit.text.contains(' ') || hit.text == text.trim())
        .map(|hit| (hit.text, place(text, start, hit.from)))
}

/// Something in angle brackets that may be meant as a placeholder.
struct Candidate<'a> {
    text: &'a str,
    from: usize,
    before: Option<char>,
    after: Option<char>,
}

impl Candidate<'_> {
    fn line<'a>(&self, text: &'a str) -> &'a str {
        let (before, rest) = text.split_at(self.from);
        let from = before.rfind('\n').map_or(0, |at| at + 1);
        let to = rest.find('\n').map_or(text.len(), |at| self.from + at);
        &text[from..to]
    }
}

fn candidates(text: &str) -> impl Iterator<Item = Candidate<'_>> {
    let hits = PLACEHOLDER.find_iter(text).take(MOST);
    hits.filter_map(move |hit| {
        let found = Candidate {
            text: hit.as_str(),
            from: hit.start(),
            before: text[..hit.start()].chars().next_back(),
            after: text[hit.end()..].chars().next(),
        };
        // `(?<name>…)`, `(?P<name>…)`, `List<HOST>`, and what is closed as a tag.
        let named = found
            .before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '?' | '\\'));
        let is_tag = || text.contains(&found.text.replacen('<', "</", 1));
        let is_one = !named && !NO_PLACEHOLDER.contains(&found.text) && !is_tag();
        is_one.then_some(found)
    })
}

fn is_word(c: char) -> bool {
    !c.is_whitespace() && !";|&()<>\"'`".contains(c)
}

/// Where a byte of a text stands in the file.
pub fn place(text: &str, start: Pos, byte: usize) -> Pos {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count();
    let from = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(from..).unwrap_or_default().chars().count();
    Pos::new(start.line + line, start.column + column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(script: &str) -> Vec<&str> {
        references(script, Pos::new(1, 1), |_| true)
            .iter()
            .map(|r| r.name)
            .collect()
    }

    #[test]
    fn references_are_found_where_bash_would_expand_them() {
        for (script, expected) in [
            (
                "echo \"$TARGET\" ${dump_dir}/x '$not' \\$not\n# $not\ncat ${#LIST}\n",
                vec!["TARGET", "dump_dir", "LIST"],
            ),
            ("true # uses $not", vec![]),
            ("echo a#$is", vec!["is"]),
            ("cat <<'X'\n$not\nX\necho $is", vec!["is"]),
            ("cat <<X\n$is '$too' \\$not\nX\n", vec!["is", "too"]),
            ("cat <<-\"X\" <<Y\n$not\n\tX\n$is\nY\n", vec!["is"]),
            ("x=$(cat <<'X'\n$not )\nX\n) && echo $is", vec!["is"]),
            ("awk -v host=x '\n  {print $not}\n' f $is", vec!["is"]),
            ("echo \"$(awk '{print $not}' \"$is\")\"", vec!["is"]),
            ("echo \"it's $is\" don\\'t $too", vec!["is", "too"]),
            ("echo ${x:-'$not'} \"${y:-'$is'}\"", vec!["x", "y", "is"]),
            ("echo $'a\\'$not' $$not `echo $is`", vec!["is"]),
            (
                "echo $((16#ff << is)) $(( $is << 2 ))\necho $is",
                vec!["is", "is"],
            ),
            (
                "case $a in b) echo $c ;; (d|e) f=1;; esac; echo $g",
                vec!["a", "c", "g"],
            ),
            (
                "x=$(case $a in b) echo $c;; esac) ; echo '$not'",
                vec!["a", "c"],
            ),
        ] {
            assert_eq!(names(script), expected, "{script}");
        }
        let script = "true\necho é ${dump_dir}";
        let found = references(script, Pos::new(5, 9), |n| n == "dump_dir");
        assert_eq!(found[0].at, Pos::new(6, 16));
    }

    #[test]
    fn what_a_script_sets_itself_is_its_own() {
        for script in [
            "own=1; echo $own",
            "true; own=1; echo $own",
            "if true; then own=$(x \"$Y\"); fi; echo $own",
            "for i in 1; do own=1; done; echo $own",
            "a && own=1 || own=2\necho $own",
            "while IFS= read -r own; do echo \"$own\"; done < /dev/null",
            "k | while read -r a own; do echo $own; done",
            "for own in a b; do echo $own; done",
            "for own; do echo $own; done",
            "f() { local own=$1; echo $own; }",
            "f() { own=1; echo $own; }",
            "function f { own=1; }; echo $own",
            "printf -v own '%s' x; echo $own",
            "mapfile -t own < f; echo ${own[0]}",
            "declare -A own; own[x]=1; echo ${own[x]}",
            "own+=1; echo $own",
            "((own = 1)); echo $own",
            "for ((own = 0; own < 3; own++)); do echo $own; done",
            ": \"${own:=1}\"; echo $own",
            "exec {own}>f; echo $own",
            "(own=1; echo $own)",
            "x=$(own=1; echo $own)",
            "case a in a) own=1 ;; esac; echo $own",
            "case a in\n  a | b) own=1 ;;\nesac\necho $own",
            "own=(a 'b c' $(x)); echo ${own[0]}",
            "getopts ab own; echo $own",
            "source ./names; echo $own",
            "eval \"$(names)\"; echo $own",
        ] {
            let own = references(script, Pos::new(1, 1), |n| n == "own");
            assert!(own.is_empty(), "{script}");
        }
        for script in [
            "echo own=1 $own",
            "kubectl set env x own=$own",
            "# own=1\necho $own",
            "echo 'own=1' $own",
            "cat <<X\nown=1\nX\necho $own",
            "[ own = x ] && echo $own",
            "test $((own + 1)) -gt $own",
            "cat <own; echo $own",
        ] {
            let own = references(script, Pos::new(1, 1), |n| n == "own");
            assert_eq!(own.len(), 1, "{script}");
        }
    }

    #[test]
    fn placeholders_are_told_from_redirections() {
        for (script, expected) in [
            ("kubectl delete pv <old-pv-name>", Some(19)),
            ("true\nkubectl delete pv <pvName>\n", Some(19)),
            ("echo <NAME> x", Some(6)),
            ("curl https://<HOST>/x", Some(14)),
            ("az x --name=<resource group>", Some(13)),
            ("echo \"<pv-name>\"", Some(7)),
            ("echo '<pv-name>'", Some(7)),
            ("psql -h <host> -U x", Some(9)),
            ("cat <file >out", None),
            ("xmllint <in-file>out", None),
            ("xmllint <IN>out", None),
            ("cat << X\n<name>a</name>\n<pv-name>\nX", None),
            ("cat <<'EOF'\n<html-tag>\nEOF", None),
            ("echo '<a-b> and <c-d>'", None),
            ("echo \"<my-name>x</my-name>\"", None),
            ("echo \"<div>\" <(a) <(b)", None),
            ("[[ 1 < 2 ]]; [[ a-b > c ]]", None),
            ("grep -P '(?<pv-name>x)' \"(?P<pv-name>y)\"", None),
            ("true # <pv-name>", None),
            ("echo \"Usage: $0 <dump-file>\" >&2", None),
        ] {
            let found = placeholders(script, Pos::new(1, 1));
            let column = found.first().map(|(_, at)| at.column);
            assert_eq!(column, expected, "{script}");
        }
    }

    #[test]
    fn placeholders_are_found_in_other_texts() {
        for (text, expected) in [
            ("<redis-host>", Some("<redis-host>")),
            ("https://<HOST>/x", Some("<HOST>")),
            ("SELECT count(*) FROM <table-name>", Some("<table-name>")),
            ("<resource group>", Some("<resource group>")),
            ("a <b and c> d", None),
            ("a < b", None),
            ("(?<name>x)", None),
            ("${host}", None),
        ] {
            let found = unfilled(text, Pos::new(1, 1)).map(|(text, _)| text);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_hostile_script_takes_no_time() {
        for piece in [
            "$x ",
            "\"$(",
            "${x:-",
            "<<A $(\n",
            "((",
            "`",
            "'",
            "<a-b> ",
            "case x in a) ",
        ] {
            let script = piece.repeat(500_000 / piece.len());
            let _ = references(&script, Pos::new(1, 1), |_| false);
            let _ = placeholders(&script[..20_000], Pos::new(1, 1));
        }
    }
}
