//! A runbook as written: typed, with places, checked. See the runbook format for what each key means.

pub mod check;
mod faults;
pub mod kinds;
pub mod parts;
pub mod reader;
pub mod schema;
pub mod scripts;
pub mod step;
pub mod system;
pub mod triage;
pub mod variable;

pub use check::Check;
pub use kinds::CheckKind;
pub use parts::{
    Accepted, Backup, Contact, FailureRow, Match, Needs, Objectives, OnHand, Path, Phase,
    Procedure, Recovered, Reference, SeverityRow, Updates,
};
pub use reader::Name;
pub use step::{Action, Capture, Danger, Include, Script, Step, StopLadder, Undo};
pub use system::{System, SystemKind};
pub use triage::{Choice, Next, Question};
pub use variable::{Needed, VarType, Variable};

use crate::domain::{
    finding::{Finding, Severity},
    text::Clean,
    yaml,
};
use indexmap::IndexMap;
use reader::Reader;

/// A whole runbook. Only `Runbook::read` makes one, and only without errors is it returned.
#[derive(Clone, Debug)]
pub struct Runbook {
    pub id: String,
    pub title: String,
    pub summary: String,
    pub objectives: Objectives,
    pub severities: Vec<SeverityRow>,
    pub contacts: Vec<Contact>,
    pub updates: Option<Updates>,
    pub phases: Vec<Phase>,
    pub backups: Vec<Backup>,
    pub on_hand: Vec<OnHand>,
    pub prepare: Vec<Step>,
    pub reference: Vec<Reference>,
    pub variables: IndexMap<String, Variable>,
    pub systems: IndexMap<String, System>,
    pub triage: Option<Question>,
    pub procedures: Vec<Procedure>,
    pub recovered: Recovered,
    pub failures: Vec<FailureRow>,
    pub words: Vec<(Name, String)>,
    pub accept: Vec<Accepted>,
    /// Has a rehearsal site put its proof and its tear-down around it?
    pub rehearsal: bool,
}

impl Runbook {
    /// Reads and checks a file. `Err` holds every finding when one of them is an error.
    pub fn read(bytes: &[u8]) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        match Self::examine(bytes) {
            (Some(runbook), findings)
                if !findings.iter().any(|f| f.severity == Severity::Error) =>
            {
                Ok((runbook, findings))
            }
            (_, findings) => Err(findings),
        }
    }

    /// The same for who looks at it only: what could be read of a runbook although it has errors.
    pub fn examine(bytes: &[u8]) -> (Option<Self>, Vec<Finding>) {
        let root = match yaml::read(bytes) {
            Ok(root) => root,
            Err(finding) => return (None, vec![finding]),
        };
        let mut r = Reader::default();
        let runbook = parts::read_runbook(&mut r, &root);
        if let Some(runbook) = &runbook {
            faults::find(&mut r, runbook);
        }
        (runbook, r.into_findings())
    }

    /// What shows only when all of it is known, with what was read elsewhere and is judged by it.
    pub fn faults_with(&self, later: &[reader::Later]) -> Vec<Finding> {
        let mut r = Reader::default();
        for later in later {
            r.remember(later.clone());
        }
        faults::find(&mut r, self);
        r.into_findings()
    }

    /// Is this file meant as a runbook?
    pub fn is_one(bytes: &[u8]) -> bool {
        yaml::read(bytes).is_ok_and(|root| root.get("blackstart").is_some())
    }

    pub fn procedure(&self, id: &str) -> Option<&Procedure> {
        self.procedures.iter().find(|p| p.id.text == id)
    }

    pub fn severity(&self, id: &str) -> Option<&SeverityRow> {
        self.severities.iter().find(|s| s.id.text == id)
    }

    /// The step of a full name: `procedure/step`, `procedure/path/step`, `recovered/step`.
    pub fn step(&self, full: &str) -> Option<&Step> {
        self.steps()
            .find(|(name, _)| name == full)
            .map(|(_, step)| step)
    }

    /// Every step of every plan there can be, with its full name.
    pub fn steps(&self) -> impl Iterator<Item = (String, &Step)> {
        let of_procedures = self.procedures.iter().flat_map(|p| {
            let paths = p.paths.iter().flat_map(move |path| {
                path.steps
                    .iter()
                    .map(move |s| (full_name(&p.id.text, path.id.as_deref(), &s.id.text), s))
            });
            let then = p
                .then
                .iter()
                .map(move |s| (full_name(&p.id.text, None, &s.id.text), s));
            paths.chain(then)
        });
        let recovered = self
            .recovered
            .steps
            .iter()
            .map(|s| (full_name("recovered", None, &s.id.text), s));
        of_procedures.chain(recovered)
    }

    /// Every check, wherever it stands.
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        let of_steps = self.steps().map(|(_, step)| step).chain(&self.prepare);
        let of_choices = self.triage.iter().flat_map(Question::all_choices);
        of_steps
            .flat_map(|step| step.checks())
            .chain(&self.recovered.when)
            .chain(of_choices.flat_map(|choice| &choice.evidence))
            .chain(self.variables.values().flat_map(|v| &v.hint))
            .chain(self.on_hand.iter().filter_map(|i| i.check.as_ref()))
            .chain(self.failures.iter().filter_map(|row| row.probe.as_ref()))
    }

    /// The declared variable, or a plain text for a captured name.
    pub fn variable(&self, name: &str) -> Variable {
        self.variables
            .get(name)
            .cloned()
            .unwrap_or_else(|| Variable::text(Name::new(name)))
    }

    pub fn is_secret(&self, name: &str) -> bool {
        self.variables.get(name).is_some_and(Variable::is_secret)
    }
}

/// A step's full name.
pub fn full_name(procedure: &str, path: Option<&str>, step: &str) -> String {
    match path {
        Some(path) => format!("{procedure}/{path}/{step}"),
        None => format!("{procedure}/{step}"),
    }
}

/// Is `ending` a way to name `full`? Whole segments only: `pitr/restore`, never `store`.
pub fn names_step(full: &str, ending: &str) -> bool {
    full == ending
        || full
            .strip_suffix(ending)
            .is_some_and(|rest| rest.ends_with('/'))
}

/// Finds the one that `ending` names among full names.
pub fn find_step<'a>(
    names: impl IntoIterator<Item = &'a str>,
    ending: &str,
) -> Result<&'a str, NameError> {
    let hits: Vec<&str> = names
        .into_iter()
        .filter(|full| names_step(full, ending))
        .collect();
    match hits[..] {
        [one] => Ok(one),
        [] => Err(NameError::Unknown(Clean::line(ending).into_string())),
        _ => match hits.iter().find(|h| **h == ending) {
            Some(exact) => Ok(exact),
            None => Err(NameError::Several(
                Clean::line(ending).into_string(),
                hits.join(", "),
            )),
        },
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("no step is called `{0}`")]
    Unknown(String),
    #[error("`{0}` could be {1}")]
    Several(String, String),
}
