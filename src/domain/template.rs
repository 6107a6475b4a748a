//! `${name}` in structured fields: replaced once, never in what was put in.

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// The pieces of a text; `$${` stands for a literal `${`.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push(Piece::Text(&rest[..at - 1]));
            out.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        let Some(end) = rest[at..].find('}') else {
            break;
        };
        if at > 0 {
            out.push(Piece::Text(&rest[..at]));
        }
        out.push(Piece::Name(rest[at + 2..at + end].trim()));
        rest = &rest[at + end + 1..];
    }
    if !rest.is_empty() {
        out.push(Piece::Text(rest));
    }
    out
}

/// The names that a text needs.
pub fn names(text: &str) -> Vec<&str> {
    pieces(text)
        .into_iter()
        .filter_map(|p| match p {
            Piece::Name(name) => Some(name),
            Piece::Text(_) => None,
        })
        .collect()
}

/// The text with its values in place; `Err` names the first one that is missing.
pub fn fill(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> Result<String, &str> {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Name(name) => out.push_str(&value(name).ok_or(name)?),
        }
    }
    Ok(out)
}

/// The text with a number for every name: enough to see whether it would parse.
pub fn with_samples(text: &str) -> String {
    fill(text, |_| Some("1".to_owned())).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_once_and_a_doubled_dollar_is_literal() {
        let fill = |text| fill(text, |n| (n == "a").then(|| "${b}".to_owned()));
        assert_eq!(fill("x${a}y").as_deref(), Ok("x${b}y"));
        assert_eq!(fill("$${a} ${a}").as_deref(), Ok("${a} ${b}"));
        assert_eq!(fill("${c}"), Err("c"));
        assert_eq!(fill("$5 ${a").as_deref(), Ok("$5 ${a"));
    }
}
