//! The library of failures that come with the program: what the tools of a recovery say when they fail.

use super::{
    rules::{Rule, RuleSet, Sure},
    signature::Signature,
};
use crate::domain::{
    finding::Finding,
    runbook::{
        Check,
        reader::{Map, Reader},
    },
    yaml::{self, Node},
};
use std::sync::LazyLock;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Every file of `assets/failures`; a test compares the list with the folder.
        pub const FILES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../assets/failures/", $name, ".yaml")))),*
        ];
    };
}

files![
    "acme",
    "alembic",
    "aws",
    "az",
    "az-services",
    "bash",
    "disk",
    "dns",
    "files",
    "helm",
    "http",
    "java",
    "kubectl",
    "kubectl-admission",
    "kubectl-status",
    "kubectl-use",
    "kubernetes-cluster",
    "kubernetes-images",
    "kubernetes-pods",
    "kubernetes-scheduling",
    "kubernetes-storage",
    "oidc",
    "pg-physical",
    "pg-tools",
    "pgbackrest",
    "pgbackrest-archive",
    "pgbackrest-repo",
    "postgres",
    "postgres-recovery",
    "psql",
    "psql-server",
    "psql-sql",
    "psql-sql-limits",
    "python",
    "redis",
    "redis-server",
    "ssh",
    "system",
    "tls",
    // The last one, behind all that know more.
    "said",
];

static LIBRARY: LazyLock<RuleSet> = LazyLock::new(|| {
    let rows = FILES.iter().flat_map(|(name, text)| {
        read(text.as_bytes())
            .unwrap_or_else(|findings| panic!("the failure library {name} is broken: {findings:?}"))
    });
    RuleSet::new(rows.collect())
});

/// Made ready when it is first asked.
pub fn library() -> &'static RuleSet {
    &LIBRARY
}

/// Does this row only repeat what the tool said? Screens and exports ask it, so it reads that one file.
pub fn only_repeats(row: &str) -> bool {
    static SAID: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let (_, text) = FILES.last().expect("there are files");
        read(text.as_bytes()).unwrap_or_default()
    });
    SAID.iter().any(|rule| rule.id == row)
}

/// Reads one file. `Err` holds every finding.
pub fn read(bytes: &[u8]) -> Result<Vec<Rule>, Vec<Finding>> {
    let root = yaml::read(bytes).map_err(|finding| vec![finding])?;
    let mut r = Reader::default();
    let rules = read_file(&mut r, &root);
    let findings = r.into_findings();
    match findings.is_empty() {
        true => Ok(rules.unwrap_or_default()),
        false => Err(findings),
    }
}

fn read_file(r: &mut Reader, root: &Node) -> Option<Vec<Rule>> {
    let mut map = r.map(root, "a file of failures")?;
    let tool = map.required_text(r, "tool");
    let rows = map.required(r, "failures")?;
    let rows = r.list(rows, "`failures`");
    let rules = rows.iter().filter_map(|n| read_row(r, n, &tool)).collect();
    map.done(r);
    Some(rules)
}

fn read_row(r: &mut Reader, node: &Node, tool: &str) -> Option<Rule> {
    let mut map = r.map(node, "a failure row")?;
    let tools = match map.has("tool") {
        true => map.texts(r, "tool"),
        false => vec![tool.to_owned()],
    };
    let id = map.id(r, "id");
    let mut rule = Rule {
        symptom: map.required_text(r, "symptom"),
        cause: map.required_text(r, "cause"),
        fix: map.required_text(r, "fix"),
        source: map.required_text(r, "source"),
        sure: map.word(r, "sure", &Sure::WORDS).unwrap_or(Sure::Possible),
        probe: map.get("probe").and_then(|n| Check::read(r, n)),
        id: id.text,
        tools,
        output: Vec::new(),
        all: Vec::new(),
        unless: Vec::new(),
        healed: Vec::new(),
        exit: Vec::new(),
        step: Vec::new(),
        go: None,
        own: false,
    };
    let matches = map.required(r, "match");
    if let Some(mut matches) = matches.and_then(|n| r.map(n, "`match` of the library")) {
        rule.output = signatures(r, &mut matches, "output");
        rule.all = signatures(r, &mut matches, "all");
        rule.unless = signatures(r, &mut matches, "unless");
        rule.healed = signatures(r, &mut matches, "healed");
        rule.exit = matches.codes(r, "exit");
        matches.done(r);
    }
    map.done(r);
    Some(rule)
}

fn signatures(r: &mut Reader, map: &mut Map<'_>, key: &'static str) -> Vec<Signature> {
    let mut found = Vec::new();
    for name in map.names(r, key) {
        match Signature::new(&name.text) {
            Ok(signature) => found.push(signature),
            Err(why) => r.error(
                "bad-regex",
                name.at,
                format!("`{name}` is not a regular expression: {why}"),
                "the syntax is that of the Rust regex crate: no look-around",
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    #[test]
    fn every_file_of_the_folder_is_in_the_library() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/failures");
        let there: BTreeSet<String> = fs::read_dir(folder)
            .expect("the folder of the library")
            .flatten()
            .filter_map(|e| Some(e.path().file_stem()?.to_str()?.to_owned()))
            .collect();
        let known: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(there, known);
    }

    #[test]
    fn rows_that_repeat_what_was_said_stand_last_and_say_it() {
        let rules = library().rules();
        let first = rules.iter().position(|rule| rule.sure == Sure::Said);
        let said = &rules[first.expect("some rows")..];
        for rule in said {
            assert_eq!(rule.sure, Sure::Said, "{} stands behind them", rule.id);
            let mut signatures = rule.output.iter().chain(&rule.all);
            let group = |s: &Signature| s.regex().capture_names().flatten().any(|n| n == "said");
            assert!(signatures.any(group), "{} has no group `said`", rule.id);
            assert!(rule.cause.contains("${said}"), "{}", rule.id);
            assert!(only_repeats(&rule.id));
        }
        assert!(!only_repeats(&rules[0].id) && !only_repeats("no-such-row"));
    }

    #[test]
    fn every_row_can_be_searched_for_and_has_a_name_of_its_own() {
        let library = library();
        assert!(library.rules().len() >= 150);
        let mut ids = BTreeSet::new();
        for rule in library.rules() {
            assert!(
                ids.insert(rule.id.as_str()),
                "{} stands there twice",
                rule.id
            );
            let all = rule.output.iter().chain(&rule.all).chain(&rule.unless);
            for signature in all.chain(&rule.healed) {
                let why = format!(
                    "{}: {} has no text to search for",
                    rule.id,
                    signature.as_str()
                );
                assert!(signature.needles.is_some(), "{why}");
                assert!(
                    !signature.regex().is_match(""),
                    "{} matches nothing at all",
                    rule.id
                );
            }
            let some = !rule.output.is_empty() || !rule.all.is_empty() || !rule.exit.is_empty();
            assert!(some, "{} can never match", rule.id);
        }
    }
}
