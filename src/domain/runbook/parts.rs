//! The parts of a runbook beside its steps: objectives, severities, phases, procedures, failure rows.

use super::{
    Runbook,
    check::Check,
    reader::{Map, Name, Reader},
    step::Step,
    system::System,
    triage::Question,
    variable::Variable,
};
use crate::domain::{
    finding::Pos,
    yaml::{Node, Value},
};
use indexmap::IndexMap;
use regex::Regex;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub struct Objectives {
    pub rto: Option<Duration>,
    pub rpo: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct SeverityRow {
    pub id: Name,
    pub title: String,
    pub when: String,
    pub rto: Option<Duration>,
    pub rpo: Option<Duration>,
    pub escalate: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Contact {
    pub who: String,
    pub role: String,
    pub channel: String,
}

#[derive(Clone, Debug)]
pub struct Updates {
    pub every: Option<Duration>,
    pub template: String,
}

#[derive(Clone, Debug)]
pub struct Phase {
    pub id: Name,
    pub title: String,
    pub budget: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Backup {
    pub of: Name,
    pub method: String,
    pub every: Option<Duration>,
    pub keep: Option<String>,
    pub covers: Option<Duration>,
    pub count: Option<i64>,
    pub where_: Option<String>,
}

#[derive(Clone, Debug)]
pub struct OnHand {
    pub item: String,
    pub check: Option<Check>,
}

#[derive(Clone, Debug)]
pub struct Reference {
    pub at: Pos,
    pub title: String,
    pub near: Option<Name>,
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct Needs {
    pub tools: Vec<String>,
    pub systems: Vec<Name>,
}

/// One way through a procedure; a procedure with `steps:` has one path without an id.
#[derive(Clone, Debug)]
pub struct Path {
    pub id: Option<String>,
    pub at: Pos,
    pub title: String,
    pub when: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Procedure {
    pub at: Pos,
    pub id: Name,
    pub title: String,
    pub section: Option<String>,
    pub summary: Option<String>,
    pub needs: Needs,
    pub paths: Vec<Path>,
    pub then: Vec<Step>,
    pub recovers: Vec<Name>,
}

impl Procedure {
    /// Its steps when it is one of several ways, or the only one.
    pub fn path(&self, id: Option<&str>) -> Option<&Path> {
        match id {
            None if self.paths.len() == 1 => self.paths.first(),
            None => None,
            Some(id) => self.paths.iter().find(|p| p.id.as_deref() == Some(id)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Recovered {
    pub steps: Vec<Step>,
    pub when: Vec<Check>,
}

/// What a known failure looks like.
#[derive(Clone, Debug, Default)]
pub struct Match {
    pub output: Vec<Regex>,
    pub exit: Vec<i64>,
    pub step: Vec<Name>,
}

#[derive(Clone, Debug)]
pub struct FailureRow {
    pub id: Name,
    pub symptom: String,
    pub cause: String,
    pub fix: String,
    pub matches: Match,
    pub probe: Option<Check>,
    pub go: Option<Name>,
    pub source: String,
}

/// A warning that somebody has looked at.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub code: String,
    pub at: String,
    pub reason: String,
}

pub(super) fn read_runbook(r: &mut Reader, root: &Node) -> Option<Runbook> {
    let mut map = r.map(root, "a runbook")?;
    if let Some(node) = map.required(r, "blackstart")
        && node.scalar() != Some("1")
    {
        r.error(
            "version",
            node.at,
            format!(
                "this is format `{}`; this version of blackstart reads format 1",
                node.scalar().unwrap_or(node.kind())
            ),
            "write `blackstart: 1`, or use a newer blackstart",
        );
    }
    let id = map.id(r, "id");
    if id.text.chars().any(|c| c.is_ascii_uppercase() || c == '_') {
        r.error(
            "wrong-type",
            id.at,
            format!("`{id}` cannot be the id of a runbook"),
            "a runbook's id has small letters, digits and dashes",
        );
    }
    let title = map.required_text(r, "title");
    let summary = map.prose(r, "summary").unwrap_or_default();
    let objectives = map.get("objectives").map(|n| read_objectives(r, n));
    let severities = each(r, &mut map, "severities", read_severity);
    let contacts = each(r, &mut map, "contacts", read_contact);
    let updates = map.get("updates").and_then(|n| read_updates(r, n));
    let phases = each(r, &mut map, "phases", read_phase);
    let backups = each(r, &mut map, "backups", read_backup);
    let on_hand = each(r, &mut map, "on_hand", read_on_hand);
    let prepare = Step::read_list(r, map.get("prepare"));
    let reference = each(r, &mut map, "reference", read_reference);
    let mut variables = IndexMap::new();
    for (name, node) in named(r, &mut map, "variables") {
        if let Some(variable) = Variable::read(r, name, node) {
            variables.insert(variable.name.text.clone(), variable);
        }
    }
    let mut systems = IndexMap::new();
    for (name, node) in named(r, &mut map, "systems") {
        if let Some(system) = System::read(r, name, node) {
            systems.insert(system.name.text.clone(), system);
        }
    }
    let triage = map.get("triage").and_then(|n| Question::read(r, n));
    if let Some(node) = map.required(r, "procedures") {
        not_empty(r, node, "there is no procedure: no choice leads anywhere");
    }
    let procedures = each(r, &mut map, "procedures", read_procedure);
    let recovered = match map.get("recovered") {
        Some(node) => read_recovered(r, node),
        None => {
            r.error(
                "no-recovered",
                map.at,
                "the runbook does not say when the platform has recovered",
                "add `recovered: { when: [check…] }`: the RTO clock stops when they hold",
            );
            None
        }
    };
    let failures = each(r, &mut map, "failures", FailureRow::read);
    let words = map.pairs_of(r, "words");
    let accept = each(r, &mut map, "accept", read_accepted);
    map.done(r);
    Some(Runbook {
        id: id.text,
        title,
        summary,
        objectives: objectives.unwrap_or_default(),
        severities,
        contacts,
        updates,
        phases,
        backups,
        on_hand,
        prepare,
        reference,
        variables,
        systems,
        triage,
        procedures,
        recovered: recovered.unwrap_or(Recovered {
            steps: Vec::new(),
            when: Vec::new(),
        }),
        failures,
        words,
        accept,
        rehearsal: false,
    })
}

fn not_empty(r: &mut Reader, node: &Node, message: &str) {
    if matches!(&node.value, Value::Sequence(items) if items.is_empty()) {
        r.error("dead-end", node.at, message, "add at least one");
    }
}

fn each<T>(
    r: &mut Reader,
    map: &mut Map<'_>,
    key: &'static str,
    read: impl Fn(&mut Reader, &Node) -> Option<T>,
) -> Vec<T> {
    let Some(node) = map.get(key) else {
        return Vec::new();
    };
    let items = r.list(node, &format!("`{key}`"));
    items.iter().filter_map(|n| read(r, n)).collect()
}

fn named<'a>(r: &mut Reader, map: &mut Map<'a>, key: &'static str) -> Vec<(Name, &'a Node)> {
    let Some(node) = map.get(key) else {
        return Vec::new();
    };
    let Some(inner) = r.map(node, "this") else {
        return Vec::new();
    };
    inner
        .pairs
        .iter()
        .filter(|(k, _)| !k.text.starts_with("x-"))
        .map(|(k, v)| {
            let name = Name {
                text: crate::domain::text::Clean::line(&k.text).into_string(),
                at: k.at,
            };
            (name, v)
        })
        .collect()
}

fn read_objectives(r: &mut Reader, node: &Node) -> Objectives {
    let Some(mut map) = r.map(node, "`objectives`") else {
        return Objectives::default();
    };
    let objectives = Objectives {
        rto: map.duration(r, "rto"),
        rpo: map.duration(r, "rpo"),
    };
    map.done(r);
    objectives
}

fn read_severity(r: &mut Reader, node: &Node) -> Option<SeverityRow> {
    let mut map = r.map(node, "a severity")?;
    let row = SeverityRow {
        id: map.id(r, "id"),
        title: map.prose(r, "title").unwrap_or_default(),
        when: map.prose(r, "when").unwrap_or_default(),
        rto: map.duration(r, "rto"),
        rpo: map.duration(r, "rpo"),
        escalate: map.prose(r, "escalate"),
    };
    map.done(r);
    Some(row)
}

fn read_contact(r: &mut Reader, node: &Node) -> Option<Contact> {
    let mut map = r.map(node, "a contact")?;
    let contact = Contact {
        who: map.required_text(r, "who"),
        role: map.prose(r, "role").unwrap_or_default(),
        channel: map.prose(r, "channel").unwrap_or_default(),
    };
    map.done(r);
    Some(contact)
}

fn read_updates(r: &mut Reader, node: &Node) -> Option<Updates> {
    let mut map = r.map(node, "`updates`")?;
    let updates = Updates {
        every: map.duration(r, "every"),
        template: map.prose(r, "template").unwrap_or_default(),
    };
    map.done(r);
    Some(updates)
}

fn read_phase(r: &mut Reader, node: &Node) -> Option<Phase> {
    let mut map = r.map(node, "a phase")?;
    let id = map.id(r, "id");
    let phase = Phase {
        title: map.prose(r, "title").unwrap_or_else(|| id.text.clone()),
        budget: map.duration(r, "budget"),
        id,
    };
    map.done(r);
    Some(phase)
}

fn read_backup(r: &mut Reader, node: &Node) -> Option<Backup> {
    let mut map = r.map(node, "a backup")?;
    let backup = Backup {
        of: map
            .required(r, "of")
            .and_then(|n| r.name(n, "of"))
            .unwrap_or_default(),
        method: map.prose(r, "method").unwrap_or_default(),
        every: map.duration(r, "every"),
        keep: map.prose(r, "keep"),
        covers: map.duration(r, "covers"),
        count: map.integer(r, "count"),
        where_: map.prose(r, "where"),
    };
    map.done(r);
    Some(backup)
}

fn read_on_hand(r: &mut Reader, node: &Node) -> Option<OnHand> {
    if let Some(text) = node.scalar() {
        let item = crate::domain::text::Clean::new(text).into_string();
        return Some(OnHand { item, check: None });
    }
    let mut map = r.map(node, "an item on hand")?;
    let on_hand = OnHand {
        item: map.required_text(r, "item"),
        check: map.get("check").and_then(|n| Check::read(r, n)),
    };
    map.done(r);
    Some(on_hand)
}

fn read_reference(r: &mut Reader, node: &Node) -> Option<Reference> {
    let mut map = r.map(node, "a reference")?;
    let reference = Reference {
        at: node.at,
        title: map.required_text(r, "title"),
        near: map.get("near").and_then(|n| r.name(n, "near")),
        text: map.prose(r, "text").unwrap_or_default(),
    };
    map.done(r);
    Some(reference)
}

fn read_procedure(r: &mut Reader, node: &Node) -> Option<Procedure> {
    let mut map = r.map(node, "a procedure")?;
    let id = map.id(r, "id");
    if id.text == "recovered" {
        r.error(
            "duplicate-id",
            id.at,
            "`recovered` is the name of what comes after all procedures",
            "give the procedure another id",
        );
    }
    let needs = map
        .get("needs")
        .map(|n| read_needs(r, n))
        .unwrap_or_default();
    let paths_node = map.get("paths");
    let steps_node = map.get("steps");
    let paths = match (paths_node, steps_node) {
        (Some(n), None) => {
            not_empty(r, n, &format!("`{id}` has no path"));
            let items = r.list(n, "`paths`");
            items.iter().filter_map(|n| read_path(r, n)).collect()
        }
        (None, Some(n)) => vec![Path {
            id: None,
            at: n.at,
            title: String::new(),
            when: None,
            steps: Step::read_list(r, Some(n)),
        }],
        (Some(_), Some(n)) => {
            r.error(
                "two-actions",
                n.at,
                format!("`{id}` has both `paths` and `steps`"),
                "put what follows every path under `then:`",
            );
            Vec::new()
        }
        (None, None) => {
            r.error(
                "missing-key",
                node.at,
                format!("the procedure `{id}` has no steps"),
                "add `steps:` or, where there are alternatives, `paths:`",
            );
            Vec::new()
        }
    };
    let procedure = Procedure {
        at: node.at,
        title: map.prose(r, "title").unwrap_or_else(|| id.text.clone()),
        section: map.prose(r, "section"),
        summary: map.prose(r, "summary"),
        needs,
        paths,
        then: Step::read_list(r, map.get("then")),
        recovers: map.names(r, "recovers"),
        id,
    };
    map.done(r);
    Some(procedure)
}

fn read_needs(r: &mut Reader, node: &Node) -> Needs {
    let Some(mut map) = r.map(node, "`needs`") else {
        return Needs::default();
    };
    let needs = Needs {
        tools: map.names(r, "tools").into_iter().map(|n| n.text).collect(),
        systems: map.names(r, "systems"),
    };
    map.done(r);
    needs
}

fn read_path(r: &mut Reader, node: &Node) -> Option<Path> {
    let mut map = r.map(node, "a path")?;
    let id = map.id(r, "id");
    map.required(r, "steps");
    let path = Path {
        at: node.at,
        title: map.prose(r, "title").unwrap_or_else(|| id.text.clone()),
        when: map.prose(r, "when"),
        steps: Step::read_list(r, map.get("steps")),
        id: Some(id.text),
    };
    map.done(r);
    Some(path)
}

fn read_recovered(r: &mut Reader, node: &Node) -> Option<Recovered> {
    let mut map = r.map(node, "`recovered`")?;
    let recovered = Recovered {
        steps: Step::read_list(r, map.get("steps")),
        when: Check::read_list(r, map.get("when")),
    };
    map.done(r);
    if recovered.when.is_empty() {
        r.error(
            "no-recovered",
            node.at,
            "`recovered` has no `when`: nothing says that the platform is back",
            "add `when: [check…]`; the RTO clock stops when all of them hold",
        );
    }
    Some(recovered)
}

impl FailureRow {
    pub fn read(r: &mut Reader, node: &Node) -> Option<Self> {
        let mut map = r.map(node, "a failure row")?;
        let id = match map.get("id") {
            Some(_) => map.id(r, "id"),
            None => Name::default(),
        };
        let matches = map
            .get("match")
            .map(|n| read_match(r, n))
            .unwrap_or_default();
        let row = Self {
            symptom: map.prose(r, "symptom").unwrap_or_default(),
            cause: map.required_text(r, "cause"),
            fix: map.prose(r, "fix").unwrap_or_default(),
            probe: map.get("probe").and_then(|n| Check::read(r, n)),
            go: map.get("go").and_then(|n| r.name(n, "go")),
            source: map.prose(r, "source").unwrap_or_default(),
            matches,
            id,
        };
        map.done(r);
        Some(row)
    }
}

fn read_match(r: &mut Reader, node: &Node) -> Match {
    let Some(mut map) = r.map(node, "`match`") else {
        return Match::default();
    };
    let mut found = Match {
        step: map.names(r, "step"),
        ..Match::default()
    };
    for name in map.names(r, "output") {
        match Regex::new(&name.text) {
            Ok(regex) if regex.is_match("") => r.error(
                "bad-regex",
                name.at,
                format!("`{name}` matches every output"),
                "a signature holds words that only this failure prints",
            ),
            Ok(regex) => found.output.push(regex),
            Err(_) => r.error(
                "bad-regex",
                name.at,
                format!("`{name}` is not a regular expression"),
                "the syntax is that of the Rust regex crate: no look-around",
            ),
        }
    }
    found.exit = map.codes(r, "exit");
    map.done(r);
    found
}

fn read_accepted(r: &mut Reader, node: &Node) -> Option<Accepted> {
    let mut map = r.map(node, "an accepted finding")?;
    if let Some(node) = map.get("code")
        && let Some(code) = node.scalar()
        && !crate::domain::lint::WARNINGS.contains(&code)
        && code != "write-in-check"
    {
        let help = r.suggest(code, crate::domain::lint::WARNINGS);
        r.error(
            "unknown-name",
            node.at,
            format!("no warning has the code `{code}`"),
            &help,
        );
    }
    let accepted = Accepted {
        code: map.required_text(r, "code"),
        at: map.prose(r, "at").unwrap_or_default(),
        reason: map.required_text(r, "reason"),
    };
    map.done(r);
    Some(accepted)
}
