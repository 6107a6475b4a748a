//! The commands of a shell script: words without their quotes, pipelines, redirections, and where each
//! stands. It reads what a shell would read and runs nothing; what it cannot read it leaves out.
//!
//! ```text
//!  LATEST=$(kubectl get pvc x -o name) ; pg_dump x | gzip > "$f" || exit 1
//!           └ Use::Assigned("LATEST")    └── one pipeline, `guarded` ──┘
//! ```

mod lexer;
mod unwrap;

pub use unwrap::{Call, calls};

use std::collections::BTreeSet;

/// What becomes of what a pipeline prints, and who looks at its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// A command of its own: its exit code is the script's.
    Statement,
    /// Of `if`, `while` or `until`.
    Condition,
    /// `NAME=$(…)`
    Assigned(String),
    /// Within an argument of another command, or in a here-document.
    Argument,
}

/// A word as the command gets it: quotes are gone, `$name` and `$(…)` still stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    /// Where it begins in the script, in bytes.
    pub at: usize,
    /// The variables that the shell replaces in it.
    pub names: Vec<String>,
    /// It holds the output of another command.
    pub substituted: bool,
    pub quoted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `>`, `>>`, `<`, `<<<`, `<<`, `>&` …
    pub sign: String,
    pub from: Option<u32>,
    /// The file, or the text of a here-document.
    pub to: Word,
}

impl Redirect {
    /// Does what is printed go into a file?
    pub fn is_output(&self) -> bool {
        matches!(self.sign.as_str(), ">" | ">>" | ">|" | "&>" | "&>>")
            && self.from.is_none_or(|n| n == 1)
            && !self.to.text.starts_with("/dev/std")
            && !self.to.text.starts_with("/dev/tty")
    }
}

/// A simple command: `A=b name argument… >file`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub assigned: Vec<(String, Word)>,
    pub words: Vec<Word>,
    pub redirects: Vec<Redirect>,
    pub at: usize,
    /// It is a group, `{ … }` or `( … )`, whose commands stand in pipelines of their own.
    pub group: bool,
}

impl Command {
    pub fn name(&self) -> &str {
        self.words.first().map_or("", |w| w.text.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    pub commands: Vec<Command>,
    pub usage: Use,
    /// `!` before it, `||` after it: another exit code than 0 is expected.
    pub guarded: bool,
    /// Where it begins, in bytes.
    pub at: usize,
}

/// A script, read.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// In the order in which they begin.
    pub pipelines: Vec<Pipeline>,
    /// The functions that the script defines.
    pub functions: BTreeSet<String>,
    /// Where each `while` and `until` begins and ends, in bytes.
    pub loops: Vec<(usize, usize)>,
}

/// Longer scripts are not read: nobody writes them by hand.
const LONGEST: usize = 256 * 1024;

/// Reads a script for bash or another shell of its family.
pub fn read(text: &str) -> Commands {
    if text.len() > LONGEST {
        return Commands::default();
    }
    let mut commands = lexer::Lexer::new(text).read();
    commands.pipelines.sort_by_key(|p| p.at);
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a b | c` for each pipeline, with how it is used.
    fn shown(text: &str) -> Vec<String> {
        let commands = read(text);
        let one = |c: &Command| {
            let words: Vec<String> = c.words.iter().map(|w| w.text.replace(' ', "_")).collect();
            let to: Vec<String> = c
                .redirects
                .iter()
                .map(|r| {
                    format!(
                        "{}{}",
                        r.sign,
                        r.to.text.trim_end().replace(['\n', ' '], "_")
                    )
                })
                .collect();
            let group = if c.group {
                vec!["{}".to_owned()]
            } else {
                Vec::new()
            };
            [group, words, to].concat().join(" ")
        };
        commands
            .pipelines
            .iter()
            .map(|p| {
                let line: Vec<String> = p.commands.iter().map(one).collect();
                let usage = match &p.usage {
                    Use::Statement => String::new(),
                    Use::Condition => "?".to_owned(),
                    Use::Assigned(name) => format!("{name}="),
                    Use::Argument => "()".to_owned(),
                };
                let guarded = if p.guarded { "!" } else { "" };
                format!("{usage}{guarded}{}", line.join(" | "))
            })
            .collect()
    }

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        for (text, expected) in [
            ("a b 'c d' \"e $f\"", vec!["a b c_d e_$f"]),
            ("a \\\n  --x=\"1\"y 'z'w # no\nb", vec!["a --x=1y zw", "b"]),
            ("a | b || c && ! d; e &", vec!["!a | b", "c", "!d", "e"]),
            ("X=$(a | b) Y=2 c $X", vec!["c $X", "X=a | b"]),
            ("X=\"$(a)\"", vec!["", "X=a"]),
            ("local x; x=`a b`", vec!["local x", "", "x=a b"]),
            ("export X=$(a)", vec!["export X=$(a)", "X=a"]),
            (
                "c \"$(a \"$(b)\")\" d",
                vec!["c $(a_\"$(b)\") d", "()a $(b)", "()b"],
            ),
            (
                "if a; then b; elif c; then d; else e; fi | f",
                vec!["{} | f", "?a", "b", "?c", "d", "e"],
            ),
            (
                "while read -r x; do a $x; done < f",
                vec!["{} <f", "?read -r x", "a $x"],
            ),
            (
                "for x in 1 $(a); do b; done",
                vec!["{} for x in 1 $(a)", "()a", "b"],
            ),
            ("case $x in a|b) c d;; *) e ;; esac", vec!["{}", "c d", "e"]),
            ("f() { a; }\nf x", vec!["{}", "a", "f x"]),
            ("{ a; b; } 2>&1 | c", vec!["{} >&1 | c", "a", "b"]),
            ("(cd x && a) > out", vec!["{} >out", "cd x >out", "a >out"]),
            (
                "[[ $x < 3 && -n $y ]] && a",
                vec!["[[ $x < 3 && -n $y ]]", "a"],
            ),
            ("(( x < 3 )) || a >> \"$b\"", vec!["!{} ((", "a >>$b"]),
            ("a <<X | b\n$(no) | y\nX\nc", vec!["a <<$(no)_|_y | b", "c"]),
            ("a <<-'X' >out\n\ttext\n\tX\nb", vec!["a <<text >out", "b"]),
            ("a <<< \"$b\" 2>/dev/null", vec!["a <<<$b >/dev/null"]),
            ("diff <(a b) <(c)", vec!["diff <(a_b) <(c)", "()a b", "()c"]),
            ("a=(1 2 $(b)); c", vec!["", "()b", "c"]),
            (
                "a $((1 + $(b))) ${c:-$(d)} x",
                vec!["a $((1_+_$(b))) ${c:-$(d)} x", "()b", "()d"],
            ),
            ("time a; command b; ! c", vec!["a", "command b", "!c"]),
            ("until a; do b; done", vec!["{}", "?a", "b"]),
            ("a '<x>' \"<y>\" \\<z", vec!["a <x> <y> <z"]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn names_that_a_shell_replaces_are_known() {
        let commands = read("a \"$B\"'$C' ${D:-x} \\$E \"\\$F\" $1 x${G}y");
        let words = &commands.pipelines[0].commands[0].words;
        let names: Vec<&str> = words
            .iter()
            .flat_map(|w| w.names.iter().map(String::as_str))
            .collect();
        assert_eq!(names, ["B", "D", "1", "G"]);
        assert_eq!(words[1].text, "$B$C");
    }

    #[test]
    fn whatever_stands_there_reading_comes_to_an_end() {
        for piece in [
            "$(",
            "`",
            "\"$(",
            "${x:-",
            "((",
            "$((",
            "<<A $(\n",
            "case x in a) ",
            "if ",
            "( ",
            "{ ",
            "a=( ",
            "<(",
            "'",
            "\\",
            "| ",
            "> ",
            "[[ ",
            "f() { ",
            "for x in ",
        ] {
            let text = piece.repeat(LONGEST / piece.len());
            let _ = read(&text);
            let _ = read(&format!("{text}\n)}}`\"'"));
        }
    }
}
