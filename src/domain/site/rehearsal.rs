//! A rehearsal: real backups restored into a scratch place. Its site says how one knows that the place is
//! none of production's, and how it is removed again; both are steps like any other, recorded like any other.

use crate::domain::{
    finding::{Finding, Pos},
    runbook::{
        Check, Name, Path, Procedure, Runbook, Step,
        reader::{Later, Reader},
    },
    yaml::Node,
};

/// The procedure that comes before all others at a rehearsal site.
pub const PROOF: &str = "rehearsal";
/// The one after everything, the proof of recovery included.
pub const TEAR_DOWN: &str = "tear-down";

#[derive(Clone, Debug)]
pub struct Rehearsal {
    at: Pos,
    /// What is rehearsed when nobody says otherwise: `procedure` or `procedure/path`.
    pub go: Vec<Name>,
    pub proof: Vec<Step>,
    pub tear_down: Vec<Step>,
    /// What has to hold here, when only a part of the platform is rehearsed; else what the runbook says.
    pub when: Vec<Check>,
    /// Its texts and systems, which only the runbook can judge.
    later: Vec<Later>,
}

impl Rehearsal {
    pub fn read(r: &mut Reader, node: &Node) -> Option<Self> {
        let mut map = r.map(node, "`rehearsal`")?;
        let go = map.names(r, "go");
        let proof = Step::read_list(r, map.get("proof"));
        let tear_down = Step::read_list(r, map.get("tear-down"));
        let when = Check::read_list(r, map.get("when"));
        for (steps, key, why) in [
            (
                &proof,
                "proof",
                "nothing says that this place is none of production's: archiving off, credentials that only read",
            ),
            (
                &tear_down,
                "tear-down",
                "nothing says how the scratch place is removed",
            ),
        ] {
            if steps.is_empty() {
                r.error(
                    "missing-key",
                    node.at,
                    format!("`rehearsal` has no `{key}`: {why}"),
                    &format!("add `{key}:` with a list of steps, as in a runbook"),
                );
            }
        }
        map.done(r);
        Some(Self {
            at: node.at,
            go,
            proof,
            tear_down,
            when,
            later: r.remembered(),
        })
    }

    /// The runbook with what the site puts around it.
    pub fn around(&self, runbook: &mut Runbook) {
        let procedure = |id: &str, title: &str, summary: &str, steps: &[Step]| Procedure {
            at: self.at,
            id: Name::new(id),
            title: title.to_owned(),
            section: None,
            summary: Some(summary.to_owned()),
            needs: Default::default(),
            paths: vec![Path {
                id: None,
                at: self.at,
                title: String::new(),
                when: None,
                steps: steps.to_vec(),
            }],
            then: Vec::new(),
            recovers: Vec::new(),
        };
        runbook.rehearsal = true;
        runbook.procedures.push(procedure(
            PROOF,
            "Prove that this is a scratch place",
            "Nothing of a rehearsal may reach production: before anything else, that is proved.",
            &self.proof,
        ));
        runbook.procedures.push(procedure(
            TEAR_DOWN,
            "Remove the scratch place",
            "What was restored holds real data; a rehearsal ends when it is gone.",
            &self.tear_down,
        ));
        if !self.when.is_empty() {
            runbook.recovered.when.clone_from(&self.when);
            runbook.recovered.steps.clear();
        }
    }

    /// What is wrong with it in this runbook.
    pub fn against(&self, runbook: &Runbook) -> Vec<Finding> {
        let mut out = Vec::new();
        for id in [PROOF, TEAR_DOWN] {
            if runbook.procedure(id).is_some() {
                out.push(Finding::error(
                    "duplicate-id",
                    self.at,
                    format!("the runbook has a procedure `{id}` already: it cannot be rehearsed"),
                ));
            }
        }
        let mut whole = runbook.clone();
        self.around(&mut whole);
        // Rows and references go on naming the steps that are left out here.
        whole.recovered.steps.clone_from(&runbook.recovered.steps);
        let known = runbook.faults_with(&[]);
        out.extend(
            whole
                .faults_with(&self.later)
                .into_iter()
                .filter(|f| !known.contains(f)),
        );
        let go: Vec<_> = self.go.iter().map(|n| (n, n.text.as_str())).collect();
        for (name, text) in go {
            let chosen = crate::domain::plan::Chosen::parse(text);
            let found = runbook
                .procedure(&chosen.procedure)
                .and_then(|p| p.path(chosen.path.as_deref()));
            if found.is_none() {
                out.push(
                    Finding::error("unknown-name", name.at, format!("`{name}` is no way to go"))
                        .help("`procedure`, or `procedure/path` where there are several"),
                );
            }
        }
        out
    }
}
