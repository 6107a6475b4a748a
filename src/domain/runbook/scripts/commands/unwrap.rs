//! What is really called: behind `sudo`, `timeout` and their like, in a container, on another host.

use super::{Command, Commands, Redirect, Word, read};

/// A program with its arguments, wherever it stands in a script.
#[derive(Clone, Debug)]
pub struct Call {
    /// Without its folder: `psql` of `/usr/bin/psql`.
    pub name: String,
    /// The same as written.
    pub raw: String,
    pub args: Vec<Word>,
    pub redirects: Vec<Redirect>,
    /// Variables set for this call only.
    pub env: Vec<(String, Word)>,
    /// Where the command begins, in bytes of the script.
    pub at: usize,
    /// Something ends it after a while: `timeout 10m …`.
    pub limited: bool,
    /// It runs elsewhere: in a container or on another host.
    pub elsewhere: bool,
    /// Which command of which pipeline it is.
    pub pipeline: usize,
    pub command: usize,
}

impl Call {
    /// Is one of these options there, as `--x`, `--x=…`, `-x` or among `-axe`?
    pub fn has(&self, options: &[&str]) -> bool {
        self.args
            .iter()
            .any(|w| options.iter().any(|o| is_option(&w.text, o)))
    }

    /// The word that holds the value of an option: `v` of `--x v` and `-x v`, else `--x=v` or `-xv`.
    pub fn value(&self, options: &[&str]) -> Option<&Word> {
        self.values(options).into_iter().next()
    }

    /// The same of an option that may stand there several times.
    pub fn values(&self, options: &[&str]) -> Vec<&Word> {
        let of = |i: usize, word: &str| {
            options.iter().find_map(|o| {
                let rest = match word.strip_prefix(o) {
                    Some(rest) => rest,
                    None if among(word, o) => "",
                    None => return None,
                };
                if rest.is_empty() || among(word, o) {
                    Some(i + 1)
                } else {
                    let joined = rest.starts_with('=') || (o.len() == 2 && !o.starts_with("--"));
                    joined.then_some(i)
                }
            })
        };
        let places = self
            .args
            .iter()
            .enumerate()
            .filter_map(|(i, w)| of(i, &w.text));
        places.filter_map(|i| self.args.get(i)).collect()
    }

    /// The words that are no options. Values behind options count: nobody knows which take one.
    pub fn plain(&self) -> impl Iterator<Item = &Word> {
        self.args.iter().filter(|w| !w.text.starts_with('-'))
    }

    /// Do these words stand in this order among those that are no options (`get secret`)?
    pub fn says(&self, words: &[&str]) -> bool {
        let mut wanted = words.iter().peekable();
        for word in self.plain() {
            if wanted.peek().is_some_and(|w| **w == word.text) {
                wanted.next();
            }
        }
        wanted.peek().is_none()
    }

    /// Is this the subcommand: the first words that are no options and no values of `takes`?
    pub fn subcommand(&self, takes: &[&str]) -> Vec<&str> {
        let mut out = Vec::new();
        let mut skip = false;
        for word in &self.args {
            if std::mem::take(&mut skip) {
                continue;
            }
            if word.text.starts_with('-') {
                skip = !word.text.contains('=') && takes.contains(&word.text.as_str());
                continue;
            }
            out.push(word.text.as_str());
        }
        out
    }
}

/// `-c` as the last of `-XAtc`: the next word is its value.
fn among(word: &str, option: &str) -> bool {
    let short = option.strip_prefix('-').filter(|s| s.len() == 1);
    let letters = word
        .strip_prefix('-')
        .filter(|w| !w.starts_with('-') && w.len() > 1);
    match (short, letters) {
        (Some(short), Some(letters)) => {
            letters.bytes().all(|b| b.is_ascii_alphabetic())
                && letters.len() <= 6
                && letters.ends_with(short)
        }
        _ => false,
    }
}

fn is_option(word: &str, option: &str) -> bool {
    if let Some(rest) = word.strip_prefix(option)
        && (rest.is_empty() || rest.starts_with('='))
    {
        return true;
    }
    // `-e` among `-xeu`, of a word of single letters.
    let short = option.strip_prefix('-').filter(|s| s.len() == 1);
    let letters = word.strip_prefix('-').filter(|w| !w.starts_with('-'));
    match (short, letters) {
        (Some(short), Some(letters)) => {
            letters.bytes().all(|b| b.is_ascii_alphabetic())
                && letters.len() <= 6
                && letters.contains(short)
        }
        _ => false,
    }
}

/// Every call of a script, in order; a wrapper counts as well as what it calls.
pub fn calls(commands: &Commands) -> Vec<Call> {
    let mut out = Vec::new();
    for (p, pipeline) in commands.pipelines.iter().enumerate() {
        for (c, command) in pipeline.commands.iter().enumerate() {
            if !command.words.is_empty() && command.name() != "((" {
                unwrap(command, (p, c), &mut out);
            }
        }
    }
    out
}

fn unwrap(command: &Command, (pipeline, number): (usize, usize), out: &mut Vec<Call>) {
    let mut words = command.words.as_slice();
    let (mut limited, mut elsewhere) = (false, false);
    let mut env = command.assigned.clone();
    for _ in 0..8 {
        let Some((first, rest)) = words.split_first() else {
            return;
        };
        let name = first.text.rsplit('/').next().unwrap_or_default().to_owned();
        out.push(Call {
            name: name.clone(),
            raw: first.text.clone(),
            args: rest.to_vec(),
            redirects: command.redirects.clone(),
            env: env.clone(),
            at: if first.at >= command.at {
                first.at
            } else {
                command.at
            },
            limited,
            elsewhere,
            pipeline,
            command: number,
        });
        let call = out.last().map(|c| c.args.clone()).unwrap_or_default();
        match inner(&name, rest, &mut env) {
            Inner::None => return,
            Inner::Words(skip) => words = rest.get(skip..).unwrap_or_default(),
            Inner::Elsewhere(skip) => {
                elsewhere = true;
                words = rest.get(skip..).unwrap_or_default();
                // `ssh host 'a; b'` and `… sh -c` hand over one text.
                if let [only] = words
                    && only.text.contains(' ')
                {
                    return script(only, (pipeline, number), (limited, true), out);
                }
            }
            Inner::Script(at) => {
                if let Some(text) = call.get(at) {
                    script(text, (pipeline, number), (limited, elsewhere), out);
                }
                return;
            }
        }
        limited |= name == "timeout";
    }
}

/// The calls of a text that another shell reads.
fn script(
    Word { text, at, .. }: &Word,
    (pipeline, number): (usize, usize),
    (limited, elsewhere): (bool, bool),
    out: &mut Vec<Call>,
) {
    let (inner, at) = (read(text), *at);
    for one in &inner.pipelines {
        for command_inside in &one.commands {
            let from = out.len();
            if command_inside.words.is_empty() || out.len() > 2_000 {
                continue;
            }
            unwrap(command_inside, (pipeline, number), out);
            let later = one
                .commands
                .iter()
                .skip_while(|c| *c != command_inside)
                .skip(1);
            let later: Vec<Redirect> = later.flat_map(|c| c.redirects.clone()).collect();
            for call in out.iter_mut().skip(from) {
                call.at = at;
                for word in &mut call.args {
                    word.at = at;
                }
                call.redirects.extend(later.iter().cloned());
                call.limited |= limited;
                call.elsewhere |= elsewhere;
            }
        }
    }
}

enum Inner {
    None,
    /// The command begins behind so many words.
    Words(usize),
    Elsewhere(usize),
    /// This word is a script.
    Script(usize),
}

fn inner(name: &str, args: &[Word], env: &mut Vec<(String, Word)>) -> Inner {
    let text = |i: usize| args.get(i).map_or("", |w| w.text.as_str());
    let after_dashes = || args.iter().position(|w| w.text == "--").map(|i| i + 1);
    match name {
        "command" | "exec" | "builtin" | "nohup" | "setsid" | "chronic" | "eatmydata" => {
            Inner::Words(options(args, &["-a"]))
        }
        "time" | "stdbuf" | "nice" | "ionice" | "chrt" => {
            Inner::Words(options(args, &["-n", "-c", "-p", "-o", "-f", "-i", "-e"]))
        }
        "sudo" | "doas" => Inner::Words(assignments(
            args,
            options(args, &["-u", "-g", "-h", "-C", "-p", "--user", "--group"]),
            env,
        )),
        "env" => Inner::Words(assignments(args, options(args, &["-u", "-C", "-S"]), env)),
        "timeout" => {
            let skip = options(args, &["-s", "-k", "--signal", "--kill-after"]);
            Inner::Words(skip + 1)
        }
        "xargs" => Inner::Words(options(
            args,
            &["-n", "-I", "-P", "-d", "-L", "-s", "-a", "-E"],
        )),
        "runuser" | "su" | "gosu" | "chroot" | "setpriv" | "unshare" | "flock" => {
            if let Some(i) = args
                .iter()
                .position(|w| matches!(w.text.as_str(), "-c" | "--command"))
            {
                return Inner::Script(i + 1);
            }
            match after_dashes() {
                Some(skip) => Inner::Words(skip),
                None => {
                    let skip = options(args, &["-u", "-g", "-l", "-s", "-w"]);
                    let own = usize::from(matches!(name, "gosu" | "chroot" | "flock"));
                    Inner::Words(skip + own)
                }
            }
        }
        "bash" | "sh" | "dash" | "zsh" | "ksh" => {
            let flag = args.iter().position(|w| {
                w.text.starts_with('-') && !w.text.starts_with("--") && w.text.contains('c')
            });
            flag.map_or(Inner::None, |i| Inner::Script(i + 1))
        }
        // `poetry run alembic …`, `bundle exec …`: what they call is theirs.
        "poetry" | "uv" | "pipenv" | "pdm" | "hatch" | "bundle" => {
            let verb = args
                .iter()
                .position(|w| matches!(w.text.as_str(), "run" | "exec"));
            verb.map_or(Inner::None, |v| {
                let rest = args.get(v + 1..).unwrap_or_default();
                Inner::Words(
                    v + 1 + options(rest, &["-C", "--project", "--with", "--env-file", "-e"]),
                )
            })
        }
        "npx" | "uvx" | "pipx" => Inner::Words(options(args, &["-p", "--package", "--from"])),
        "kubectl" | "oc" => match args
            .iter()
            .position(|w| matches!(w.text.as_str(), "exec" | "run" | "debug"))
        {
            Some(_) => after_dashes().map_or(Inner::None, Inner::Elsewhere),
            None => Inner::None,
        },
        "docker" | "podman" | "nerdctl" | "crictl" => {
            let Some(verb) = args
                .iter()
                .position(|w| matches!(w.text.as_str(), "exec" | "run"))
            else {
                return Inner::None;
            };
            let takes = [
                "-e",
                "--env",
                "-u",
                "--user",
                "-w",
                "--workdir",
                "-v",
                "--volume",
                "--name",
                "-p",
                "--network",
                "--entrypoint",
            ];
            let skip = options(args.get(verb + 1..).unwrap_or_default(), &takes);
            Inner::Elsewhere(verb + 1 + skip + 1)
        }
        "ssh" => {
            let takes = [
                "-i", "-p", "-l", "-o", "-F", "-J", "-L", "-R", "-D", "-b", "-c", "-E", "-W",
            ];
            let skip = options(args, &takes);
            if text(skip).is_empty() {
                Inner::None
            } else {
                Inner::Elsewhere(skip + 1)
            }
        }
        _ => Inner::None,
    }
}

/// How many words at the beginning are options, with the values of those that take one.
fn options(args: &[Word], takes: &[&str]) -> usize {
    let mut i = 0;
    while let Some(word) = args.get(i) {
        if word.text == "--" {
            return i + 1;
        }
        if !word.text.starts_with('-') {
            return i;
        }
        let takes_one = takes
            .iter()
            .any(|t| *t == word.text || among(&word.text, t));
        i += 1 + usize::from(takes_one);
    }
    i
}

/// Over `A=b` words from there on.
fn assignments(args: &[Word], from: usize, env: &mut Vec<(String, Word)>) -> usize {
    let mut i = from;
    while let Some(word) = args.get(i)
        && let Some((name, _)) = word.text.split_once('=')
        && super::super::words::is_whole_name(name)
    {
        env.push((name.to_owned(), word.clone()));
        i += 1;
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let shown = |c: &Call| {
            let first = c.args.first().map_or("", |w| w.text.as_str());
            let limited = if c.limited { "~" } else { "" };
            let elsewhere = if c.elsewhere { "@" } else { "" };
            format!("{limited}{elsewhere}{} {first}", c.name)
                .trim_end()
                .to_owned()
        };
        calls(&read(text)).iter().map(shown).collect()
    }

    #[test]
    fn what_is_called_is_found_behind_wrappers() {
        for (text, expected) in [
            (
                "sudo -u postgres /usr/bin/pg_dump -Fc x",
                vec!["sudo -u", "pg_dump -Fc"],
            ),
            (
                "timeout -k 5s 10m kubectl delete pvc x",
                vec!["timeout -k", "~kubectl delete"],
            ),
            ("A=1 env -u B C=2 psql -c x", vec!["env -u", "psql -c"]),
            (
                "kubectl -n x exec deploy/y -c z -- python -m alembic current",
                vec!["kubectl -n", "@python -m"],
            ),
            (
                "docker exec -it -e A=b c redis-cli PING",
                vec!["docker exec", "@redis-cli PING"],
            ),
            (
                "ssh -o X=y host 'a b; c d | e'",
                vec!["ssh -o", "@a b", "@c d", "@e"],
            ),
            (
                "bash -ec 'alembic current'",
                vec!["bash -ec", "alembic current"],
            ),
            (
                "runuser -u postgres -- pgbackrest restore",
                vec!["runuser -u", "pgbackrest restore"],
            ),
            (
                "su - postgres -c \"pgbackrest restore\"",
                vec!["su -", "pgbackrest restore"],
            ),
            (
                "ls | xargs -n1 -I{} rm {}",
                vec!["ls", "xargs -n1", "rm {}"],
            ),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn options_are_found_however_they_are_written() {
        let one = |text: &str| calls(&read(text)).remove(0);
        assert!(one("curl -sSf x").has(&["-f", "--fail"]));
        assert!(one("curl --fail x").has(&["-f", "--fail"]));
        assert!(!one("curl -s x").has(&["-f", "--fail"]));
        assert!(one("kubectl rollout status --timeout=5m x").has(&["--timeout"]));
        let value = |text: &str| {
            one(text)
                .value(&["-c", "--command"])
                .map(|w| w.text.clone())
        };
        assert_eq!(value("psql -c 'SELECT 1'"), Some("SELECT 1".into()));
        assert_eq!(
            value("psql --command='SELECT 1'"),
            Some("--command=SELECT 1".into())
        );
        assert!(one("kubectl -n x get secret y").says(&["get", "secret"]));
        assert_eq!(one("kubectl -n x get y").subcommand(&["-n"]), ["get", "y"]);
    }
}
