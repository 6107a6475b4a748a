//! The words of a shell command: which of them give a value to a name.

pub(super) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(super) fn is_whole_name(word: &str) -> bool {
    word.bytes().next().is_some_and(is_name_start) && word.bytes().all(is_name)
}

/// The name with which a word begins.
fn beginning(word: &str) -> &str {
    let end = word.bytes().position(|b| !is_name(b));
    word.get(..end.unwrap_or(word.len())).unwrap_or_default()
}

/// The name in `name=…`, `name+=…` and `name[…]=…`.
pub(super) fn assigned(word: &str) -> Option<&str> {
    let name = beginning(word);
    if !is_whole_name(name) {
        return None;
    }
    let rest = word.get(name.len()..).unwrap_or_default();
    let rest = match rest.strip_prefix('[') {
        Some(index) => index.split_once(']').map_or("", |(_, rest)| rest),
        None => rest,
    };
    (rest.starts_with('=') || rest.starts_with("+=")).then_some(name)
}

/// The name to which a command gives a value by this argument: `read x`, `for x`, `printf -v x`.
pub(super) fn named_by<'a>(command: &str, previous: &str, argument: &'a str) -> Option<&'a str> {
    let name = match command {
        "for" | "select" if previous.is_empty() => argument,
        "read" | "mapfile" | "readarray" | "getopts" => argument,
        "local" | "declare" | "typeset" | "export" | "readonly" | "let" => beginning(argument),
        "printf" if previous == "-v" => argument,
        "printf" => argument.strip_prefix("-v")?,
        _ => return None,
    };
    let name = name.trim_matches(['"', '\'']);
    is_whole_name(name).then_some(name)
}

/// Does arithmetic that goes on like this set the name before it?
pub(super) fn sets(rest: &str) -> bool {
    let signs = [
        "=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "^=", "|=", "++", "--",
    ];
    !rest.starts_with("==") && signs.iter().any(|sign| rest.starts_with(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_give_a_value_are_known() {
        for (word, name) in [
            ("a=1", Some("a")),
            ("a+=1", Some("a")),
            ("a[$i]=x", Some("a")),
            ("a[0]", None),
            ("--a=1", None),
            ("1a=1", None),
            ("=", None),
            ("a", None),
        ] {
            assert_eq!(assigned(word), name, "{word}");
        }
        for (command, previous, argument, name) in [
            ("read", "-r", "line", Some("line")),
            ("for", "", "x", Some("x")),
            ("for", "in", "x", None),
            ("printf", "-v", "code", Some("code")),
            ("printf", "", "code", None),
            ("local", "", "x=$1", Some("x")),
            ("echo", "", "x=1", None),
        ] {
            let shown = format!("{command} {argument}");
            assert_eq!(named_by(command, previous, argument), name, "{shown}");
        }
        assert!(sets("= 1") && sets("<<= 1") && sets("++"));
        assert!(!sets("== 1") && !sets("<= 1") && !sets("+ 1"));
    }
}
