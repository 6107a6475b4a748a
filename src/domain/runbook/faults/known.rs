//! Every name that may be used, and what is said about those that mean nothing.

use crate::domain::{
    finding::Pos,
    runbook::{
        NameError, Path, Procedure, Runbook, Script,
        check::Check,
        kinds::{CheckKind, command},
        reader::{Name, Reader},
        scripts,
        system::SystemKind,
    },
    template,
    text::Clean,
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The steps that an ending names; the one that it names in full.
#[derive(Default)]
struct Named {
    all: Vec<usize>,
    whole: Option<usize>,
}

/// Every name that may be used. Looking one up does not go through the file.
pub(super) struct Known<'a> {
    pub(super) runbook: &'a Runbook,
    values: BTreeSet<&'a str>,
    secrets: BTreeSet<&'a str>,
    phases: BTreeSet<&'a str>,
    procedures: HashMap<&'a str, usize>,
    paths: HashMap<(usize, &'a str), usize>,
    /// Which step stands in which procedure, and in which of its paths.
    parts: HashSet<(usize, Option<usize>, &'a str)>,
    /// Full names, in the order of `Runbook::steps`.
    steps: Vec<String>,
    /// Every ending of a full name.
    endings: HashMap<String, Named>,
}

impl<'a> Known<'a> {
    pub(super) fn of(runbook: &'a Runbook) -> Self {
        let mut values: BTreeSet<&str> = runbook.variables.keys().map(String::as_str).collect();
        let all_steps = runbook.steps().map(|(_, s)| s).chain(&runbook.prepare);
        for step in all_steps {
            values.extend(step.capture.iter().map(|(n, _)| n.text.as_str()));
        }
        let secrets = runbook
            .variables
            .values()
            .filter(|v| v.is_secret())
            .map(|v| v.name.text.as_str())
            .collect();
        let (mut procedures, mut paths) = (HashMap::new(), HashMap::new());
        let mut parts = HashSet::new();
        for (p, procedure) in runbook.procedures.iter().enumerate() {
            // Of two with the same id the first is meant; that there are two is said elsewhere.
            procedures.entry(procedure.id.text.as_str()).or_insert(p);
            for (q, path) in procedure.paths.iter().enumerate() {
                if let Some(id) = path.id.as_deref() {
                    paths.entry((p, id)).or_insert(q);
                }
                for step in &path.steps {
                    parts.insert((p, None, step.id.text.as_str()));
                    parts.insert((p, Some(q), step.id.text.as_str()));
                }
            }
        }
        let steps: Vec<String> = runbook.steps().map(|(name, _)| name).collect();
        let mut endings: HashMap<String, Named> = HashMap::new();
        for (i, full) in steps.iter().enumerate() {
            let mut from = Some(0);
            while let Some(at) = from {
                let ending = &full[at..];
                let named = endings.entry(ending.to_owned()).or_default();
                named.all.push(i);
                if at == 0 {
                    named.whole = Some(i);
                }
                from = ending.find('/').map(|slash| at + slash + 1);
            }
        }
        Self {
            runbook,
            values,
            secrets,
            phases: runbook.phases.iter().map(|p| p.id.text.as_str()).collect(),
            procedures,
            paths,
            parts,
            steps,
            endings,
        }
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(String::as_str)
    }

    pub(super) fn procedures(&self) -> impl Iterator<Item = &str> {
        self.runbook.procedures.iter().map(|p| p.id.text.as_str())
    }

    fn systems(&self) -> impl Iterator<Item = &str> {
        self.runbook.systems.keys().map(String::as_str)
    }

    /// The number of a procedure in the file, and itself.
    pub(super) fn find_procedure(&self, id: &str) -> Option<(usize, &'a Procedure)> {
        let number = *self.procedures.get(id)?;
        Some((number, self.runbook.procedures.get(number)?))
    }

    pub(super) fn find_path(&self, procedure: usize, id: &str) -> Option<(usize, &'a Path)> {
        let number = *self.paths.get(&(procedure, id))?;
        let path = self.runbook.procedures.get(procedure)?.paths.get(number)?;
        Some((number, path))
    }

    /// The numbers of the steps that an ending names.
    pub(super) fn matching(&self, ending: &str) -> &[usize] {
        match self.endings.get(ending) {
            Some(named) => named.all.as_slice(),
            None => &[],
        }
    }

    /// The number of the step with exactly this full name.
    pub(super) fn exact(&self, full: &str) -> Option<usize> {
        self.endings.get(full)?.whole
    }

    /// Is there such a step in a procedure, or in one of its paths?
    pub(super) fn has_step(&self, procedure: usize, path: Option<usize>, id: &str) -> bool {
        self.parts.contains(&(procedure, path, id))
    }

    /// The number of the one step that an ending names.
    pub(super) fn the_step(&self, ending: &str) -> Result<usize, NameError> {
        let shown = || Clean::line(ending).into_string();
        let Some(named) = self.endings.get(ending) else {
            return Err(NameError::Unknown(shown()));
        };
        match (&named.all[..], named.whole) {
            ([one], _) => Ok(*one),
            (_, Some(whole)) => Ok(whole),
            (several, None) => {
                let names = several.iter().take(8).filter_map(|i| self.steps.get(*i));
                let names: Vec<&str> = names.map(String::as_str).collect();
                Err(NameError::Several(shown(), names.join(", ")))
            }
        }
    }

    /// Is this a step, a procedure or one of its paths?
    pub(super) fn leads_somewhere(&self, name: &str) -> bool {
        let (id, path) = match name.split_once('/') {
            Some((id, path)) => (id, Some(path)),
            None => (name, None),
        };
        let procedure = self.find_procedure(id).map(|(number, _)| number);
        let is_procedure = match (procedure, path) {
            (Some(number), Some(path)) => self.find_path(number, path).is_some(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        is_procedure || !self.matching(name).is_empty()
    }

    pub(super) fn is_system(&self, name: &str) -> bool {
        self.runbook.systems.contains_key(name)
    }

    pub(super) fn system(&self, r: &mut Reader, name: &Name) {
        if !name.text.is_empty() && !self.is_system(&name.text) {
            unknown(r, name, "system", self.systems());
        }
    }

    pub(super) fn system_of_kind(&self, r: &mut Reader, name: &Name, wanted: SystemKind) {
        self.system(r, name);
        let Some(system) = self.runbook.systems.get(&name.text) else {
            return;
        };
        if system.kind != wanted {
            let (is, wanted) = (system.kind.as_str(), wanted.as_str());
            r.error(
                "wrong-type",
                name.at,
                format!("`{name}` is a {is} system, but a {wanted} one belongs here"),
                &format!("name a system of `kind: {wanted}`"),
            );
        }
    }

    pub(super) fn procedure(&self, r: &mut Reader, name: &Name) {
        let (id, path) = match name.text.split_once('/') {
            Some((id, path)) => (id, Some(path)),
            None => (name.text.as_str(), None),
        };
        match (self.find_procedure(id), path) {
            (None, _) => unknown(r, name, "procedure", self.procedures()),
            (Some((number, procedure)), Some(path)) => {
                if self.find_path(number, path).is_none() {
                    let paths = procedure.paths.iter().filter_map(|p| p.id.as_deref());
                    unknown(r, name, "path", paths);
                }
            }
            (Some(_), None) => {}
        }
    }

    pub(super) fn phase(&self, r: &mut Reader, phase: &Name) {
        if !self.phases.contains(phase.text.as_str()) {
            unknown(r, phase, "phase", self.phases.iter().copied());
        }
    }

    pub(super) fn value(&self, r: &mut Reader, name: &Name) {
        if !self.values.contains(name.text.as_str()) {
            unknown(r, name, "variable", self.values.iter().copied());
        }
    }

    pub(super) fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains(name)
    }

    pub(super) fn template(&self, r: &mut Reader, text: &str, secret_ok: bool, at: Pos) {
        let mut seen = HashSet::new();
        for name in template::names(text) {
            if !seen.insert(name) {
                continue;
            }
            if self.secrets.contains(name) && !secret_ok {
                r.error(
                    "secret-in-text",
                    at,
                    format!("`${{{name}}}` is a secret and would be written down here"),
                    "secrets may stand in password, bearer, headers, params, env and secret",
                );
            } else if !self.values.contains(name) && !r.is_full() {
                let help = r.suggest(name, self.values.iter().copied());
                let shown = Clean::line(name);
                r.error(
                    "unknown-name",
                    at,
                    format!("no variable is called `{shown}`"),
                    &help,
                );
            }
        }
    }

    pub(super) fn check(&self, r: &mut Reader, check: &Check) {
        if let Some(name) = check.system() {
            let wanted = match &check.what {
                CheckKind::Postgres(_) => Some("postgres"),
                CheckKind::Redis(_) => Some("redis"),
                CheckKind::Http(_) => Some("http"),
                CheckKind::Kubernetes(_) => Some("kubernetes"),
                CheckKind::Command(_)
                | CheckKind::Tcp(_)
                | CheckKind::Tls(_)
                | CheckKind::Dns(_)
                | CheckKind::File(_) => None,
            };
            self.system(r, name);
            let system = self.runbook.systems.get(&name.text);
            let kind = system.map(|s| s.kind.as_str());
            if let (Some(wanted), Some(kind)) = (wanted, kind)
                && wanted != kind
            {
                r.error(
                    "wrong-type",
                    name.at,
                    format!("`{name}` is a {kind} system, but this is a {wanted} check"),
                    &format!("use `{kind}: {name}`, or another system"),
                );
            }
        }
        for (text, secret_ok) in check.templates() {
            self.template(r, text, secret_ok, check.at);
        }
        if let CheckKind::Command(command::Words {
            run: command::Run::Script { text, at },
            ..
        }) = &check.what
        {
            self.script_text(r, text, *at, &[]);
        }
    }

    pub(super) fn script(&self, r: &mut Reader, script: &Script) {
        if script.shell_name().is_some() {
            self.script_text(r, &script.text, script.at, &script.env);
        }
    }

    /// Scripts get values through the environment only.
    fn script_text(&self, r: &mut Reader, text: &str, at: Pos, env: &[(Name, String)]) {
        let is_given = |name: &str| env.iter().any(|(given, _)| given.text == name);
        let is_value = |name: &str| {
            let stem = name.strip_suffix("_sql").or(name.strip_suffix("_epoch"));
            self.values.contains(name) || stem.is_some_and(|stem| self.values.contains(stem))
        };
        let wanted = |name: &str| is_value(name) && !is_given(name);
        for (inner, byte) in scripts::handed_on(text) {
            // One level: nobody nests more, and an inner text has no place of its own.
            let at = scripts::place(text, at, byte);
            if scripts::handed_on(&inner).is_empty() && inner.len() < text.len() {
                self.script_text(r, &inner, at, env);
            }
        }
        for reference in scripts::references(text, at, wanted) {
            let shown = if reference.braces {
                format!("${{{}}}", reference.name)
            } else {
                format!("${}", reference.name)
            };
            r.error(
                "lower-case-in-script",
                reference.at,
                format!(
                    "`{shown}` is empty here: scripts get variables by their upper-cased names"
                ),
                &format!("did you mean `${}`?", reference.name.to_ascii_uppercase()),
            );
        }
        for (text, at) in scripts::placeholders(text, at) {
            r.error(
                "placeholder",
                at,
                format!("`{text}` was never filled in; bash may read it as a redirection"),
                "make it a variable, or capture it in an earlier step",
            );
        }
    }
}

pub(super) fn unknown<'n>(
    r: &mut Reader,
    name: &Name,
    what: &str,
    names: impl IntoIterator<Item = &'n str>,
) {
    if r.is_full() {
        return;
    }
    let shown = Clean::line(&name.text);
    let help = r.suggest(&name.text, names);
    r.error(
        "unknown-name",
        name.at,
        format!("no {what} is called `{shown}`"),
        &help,
    );
}
