//! A plan: what the choices made of the runbook. Procedures in their order, each one's `then` after
//! its path, then what proves recovery.

mod needs;

pub use needs::{check_needs, expects_silence, mentioned, needs, system_needs, targets};

use super::{
    event::PlanStep,
    runbook::{Action, Include, Procedure, Runbook, Step, find_step, full_name, names_step},
    site::{PROOF, TEAR_DOWN},
    text::Clean,
};
use std::collections::BTreeSet;

/// `procedure` or `procedure/path`, as `--go` and `go:` say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub procedure: String,
    pub path: Option<String>,
}

impl Chosen {
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((procedure, path)) => Self {
                procedure: procedure.to_owned(),
                path: Some(path.to_owned()),
            },
            None => Self {
                procedure: text.to_owned(),
                path: None,
            },
        }
    }

    /// What a plan goes by, with one procedure more, or with another way of one that it has.
    pub fn with(go: &[String], more: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut all: Vec<Self> = go.iter().map(|g| Self::parse(g)).collect();
        for chosen in more {
            match all.iter_mut().find(|g| g.procedure == chosen.procedure) {
                Some(other) => *other = chosen,
                None => all.push(chosen),
            }
        }
        all
    }

    /// Another way of the same procedure by which a plan goes.
    pub fn other_way(&self, go: &[String]) -> Option<Self> {
        let mut all = go.iter().map(|g| Self::parse(g));
        all.find(|g| g.procedure == self.procedure && self.path.is_some() && g.path != self.path)
    }

    pub fn name(&self) -> String {
        match &self.path {
            Some(path) => format!("{}/{path}", self.procedure),
            None => self.procedure.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("no procedure is called `{0}`; there are {1}")]
    UnknownProcedure(String, String),
    #[error("`{0}` has no path `{1}`; there are {2}")]
    UnknownPath(String, String, String),
    #[error("`{0}` has one way only, and no path `{1}`")]
    NoPaths(String, String),
    /// A person chooses: the procedure and its paths.
    #[error("`{0}` can be done in more than one way: {1}")]
    PathNeeded(String, String),
    #[error("`{0}` can be in a plan once: choose `{1}` or `{2}`")]
    Twice(String, String, String),
    #[error("`{0}` waits for `{1}`, which is not in this plan")]
    WaitsForNothing(String, String),
    #[error("`{0}` waits for itself: follow its `after`")]
    Circle(String),
    #[error("a plan needs at least one procedure")]
    Empty,
}

/// Lays the plan out. Steps that `before` already has keep their numbers.
pub fn lay_out(
    runbook: &Runbook,
    go: &[Chosen],
    before: &[PlanStep],
) -> Result<Vec<PlanStep>, PlanError> {
    if go.is_empty() {
        return Err(PlanError::Empty);
    }
    let mut layout = Layout {
        runbook,
        go,
        before,
        steps: Vec::new(),
        stands_for: Vec::new(),
        next: before.iter().map(|s| s.number).max().unwrap_or(0) + 1,
        depth: 0,
    };
    let mut previous: Vec<String> = Vec::new();
    let mut proof = Vec::new();
    if runbook.rehearsal {
        proof = layout.whole(PROOF, Waits::For(Vec::new()))?;
        previous.clone_from(&proof);
    }
    for (i, chosen) in go.iter().enumerate() {
        let earlier = go[..i].iter().find(|c| c.procedure == chosen.procedure);
        if let Some(earlier) = earlier {
            if earlier.path == chosen.path {
                continue;
            }
            return Err(PlanError::Twice(
                chosen.procedure.clone(),
                earlier.name(),
                chosen.name(),
            ));
        }
        let procedure = procedure(runbook, &chosen.procedure)?;
        let path = path(procedure, chosen.path.as_deref())?;
        let before = Waits::InOrder(previous.clone());
        let block = layout.block(procedure, path.id.as_deref(), &path.steps, before)?;
        let then_after = if block.is_empty() {
            previous.clone()
        } else {
            block
        };
        let before = Waits::For(then_after.clone());
        let then = layout.block(procedure, None, &procedure.then, before)?;
        previous = if then.is_empty() { then_after } else { then };
    }
    let all: Vec<String> = layout.steps.iter().map(|(s, _)| s.step.clone()).collect();
    layout.recovered(&all)?;
    if runbook.rehearsal {
        // Also when what was rehearsed has failed: it waits for the proof alone.
        layout.whole(TEAR_DOWN, Waits::For(proof))?;
    }
    layout.resolved()
}

fn procedure<'r>(runbook: &'r Runbook, id: &str) -> Result<&'r Procedure, PlanError> {
    runbook.procedure(id).ok_or_else(|| {
        let ids: Vec<&str> = runbook
            .procedures
            .iter()
            .map(|p| p.id.text.as_str())
            .collect();
        PlanError::UnknownProcedure(Clean::line(id).into_string(), ids.join(", "))
    })
}

fn path<'r>(
    procedure: &'r Procedure,
    id: Option<&str>,
) -> Result<&'r super::runbook::Path, PlanError> {
    procedure.path(id).ok_or_else(|| {
        let ids: Vec<String> = procedure
            .paths
            .iter()
            .filter_map(|p| p.id.as_ref())
            .map(|p| format!("{}/{p}", procedure.id))
            .collect();
        let name = procedure.id.text.clone();
        match id {
            Some(id) if ids.is_empty() => PlanError::NoPaths(name, Clean::line(id).into_string()),
            Some(id) => PlanError::UnknownPath(name, Clean::line(id).into_string(), ids.join(", ")),
            None => PlanError::PathNeeded(name, ids.join(" or ")),
        }
    })
}

/// What a step waits for: steps that are known, or a name as it was written.
#[derive(Clone)]
enum Waits {
    For(Vec<String>),
    Named(Vec<String>),
    /// The procedure before, in the order of the choice: given up where a step of that procedure
    /// says that it waits for this one.
    InOrder(Vec<String>),
}

struct Layout<'a> {
    runbook: &'a Runbook,
    go: &'a [Chosen],
    before: &'a [PlanStep],
    steps: Vec<(PlanStep, Waits)>,
    /// What an `include` stands for, so that others can wait for it by its id.
    stands_for: Vec<(String, Vec<String>)>,
    next: usize,
    /// How many `include`s are around.
    depth: usize,
}

impl Layout<'_> {
    /// Lays one list of steps out and returns their names.
    fn block(
        &mut self,
        procedure: &Procedure,
        path: Option<&str>,
        steps: &[Step],
        before: Waits,
    ) -> Result<Vec<String>, PlanError> {
        let mut names = Vec::new();
        let mut above = before;
        for step in steps {
            let placed = self.place(&procedure.id.text, path, step, &above)?;
            above = Waits::For(placed.clone());
            names.extend(placed);
        }
        Ok(names)
    }

    /// All steps of a procedure with one way only.
    fn whole(&mut self, id: &str, before: Waits) -> Result<Vec<String>, PlanError> {
        let procedure = procedure(self.runbook, id)?;
        let path = path(procedure, None)?;
        self.block(procedure, None, &path.steps, before)
    }

    /// Puts a step, or what it includes, into the plan; returns the names that now stand for it.
    fn place(
        &mut self,
        procedure: &str,
        path: Option<&str>,
        step: &Step,
        above: &Waits,
    ) -> Result<Vec<String>, PlanError> {
        let full = full_name(procedure, path, &step.id.text);
        let waits = match &step.after {
            None => above.clone(),
            Some(names) => Waits::Named(names.iter().map(|n| n.text.clone()).collect()),
        };
        let Action::Include(include) = &step.action else {
            self.push(procedure, path, step, waits);
            return Ok(vec![full]);
        };
        // One that includes itself, by whatever way.
        if self.depth > self.runbook.procedures.len() {
            return Err(PlanError::Circle(full));
        }
        self.depth += 1;
        let placed = self.include(include, &full, waits);
        self.depth -= 1;
        let placed = placed?;
        self.stands_for.push((full, placed.clone()));
        Ok(match above {
            Waits::For(names) | Waits::InOrder(names) if placed.is_empty() => names.clone(),
            Waits::For(_) | Waits::InOrder(_) | Waits::Named(_) => placed,
        })
    }

    /// The steps of another procedure, in the place of the `include`; those that are in the plan
    /// already stay where they are, and are waited for all the same.
    fn include(
        &mut self,
        include: &Include,
        from: &str,
        waits: Waits,
    ) -> Result<Vec<String>, PlanError> {
        let of = procedure(self.runbook, &include.of.text)?;
        let chosen = self
            .go
            .iter()
            .find(|c| c.procedure == include.of.text)
            .and_then(|c| c.path.as_deref());
        let wanted = include.path.as_ref().map(|p| p.text.as_str()).or(chosen);
        let path = path(of, wanted)?;
        // Names of the including list are resolved from there.
        let near = |end: &String| match from.rsplit_once('/') {
            Some((list, _)) if !end.contains('/') => format!("{list}/{end}"),
            _ => end.clone(),
        };
        let mut names = Vec::new();
        let mut above = match waits {
            Waits::Named(ends) => Waits::Named(ends.iter().map(near).collect()),
            Waits::For(_) | Waits::InOrder(_) => waits,
        };
        for step in &path.steps {
            if include.steps.is_empty() || include.steps.contains(&step.id) {
                let full = full_name(&of.id.text, path.id.as_deref(), &step.id.text);
                let planned = self.steps.iter().any(|(s, _)| s.step == full);
                let placed = if planned {
                    vec![full]
                } else {
                    self.place(&of.id.text, path.id.as_deref(), step, &above)?
                };
                above = Waits::For(placed.clone());
                names.extend(placed);
            }
        }
        Ok(names)
    }

    fn recovered(&mut self, all: &[String]) -> Result<(), PlanError> {
        let mut above = Waits::For(all.to_vec());
        let runbook = self.runbook;
        for step in &runbook.recovered.steps {
            above = Waits::For(self.place("recovered", None, step, &above)?);
        }
        Ok(())
    }

    fn push(&mut self, procedure: &str, path: Option<&str>, step: &Step, waits: Waits) {
        let full = full_name(procedure, path, &step.id.text);
        if self.steps.iter().any(|(s, _)| s.step == full) {
            return;
        }
        let kept = self
            .before
            .iter()
            .find(|s| s.step == full)
            .map(|s| s.number);
        let number = kept.unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let planned = PlanStep {
            number,
            id: step.id.text.clone(),
            procedure: procedure.to_owned(),
            path: path.map(str::to_owned),
            title: Clean::line(&step.title),
            phase: step.phase.as_ref().map(|p| p.text.clone()),
            budget_s: step.budget.map(|b| b.as_secs()),
            after: Vec::new(),
            kind: step.action.as_str().to_owned(),
            danger: step.danger.as_str().to_owned(),
            step: full,
        };
        self.steps.push((planned, waits));
    }

    /// Every name that is waited for becomes a step of this plan; a plan in which steps wait for what
    /// is not there, or for each other, is refused.
    fn resolved(self) -> Result<Vec<PlanStep>, PlanError> {
        let names: Vec<String> = self.steps.iter().map(|(s, _)| s.step.clone()).collect();
        let mut steps: Vec<PlanStep> = Vec::with_capacity(self.steps.len());
        let mut in_order: Vec<(usize, &[String])> = Vec::new();
        for (i, (step, waits)) in self.steps.iter().enumerate() {
            let mut step = step.clone();
            match waits {
                Waits::For(ends) | Waits::Named(ends) => {
                    for end in ends {
                        step.after.extend(self.find(&names, &step.step, end)?);
                    }
                }
                Waits::InOrder(before) => in_order.push((i, before)),
            }
            step.after.retain(|name| *name != step.step);
            step.after.dedup();
            steps.push(step);
        }
        for (i, before) in in_order {
            let own = steps[i].step.clone();
            let after = before.iter().filter(|b| !waits_for(&steps, b, &own));
            steps[i].after = after.cloned().collect();
        }
        in_no_circle(&steps)?;
        Ok(steps)
    }

    /// The steps that `end` names for the step `from`: of its own list, of its procedure, of the plan.
    fn find(&self, names: &[String], from: &str, end: &str) -> Result<Vec<String>, PlanError> {
        if names.iter().any(|n| n == end) {
            return Ok(vec![end.to_owned()]);
        }
        let mut list = from;
        while let Some((outer, _)) = list.rsplit_once('/') {
            let near = format!("{outer}/{end}");
            if names.contains(&near) {
                return Ok(vec![near]);
            }
            if let Some((_, placed)) = self.stands_for.iter().find(|(full, _)| *full == near) {
                return Ok(placed.clone());
            }
            list = outer;
        }
        if let Some((_, placed)) = self
            .stands_for
            .iter()
            .find(|(full, _)| names_step(full, end))
        {
            return Ok(placed.clone());
        }
        match find_step(names.iter().map(String::as_str), end) {
            Ok(full) => Ok(vec![full.to_owned()]),
            Err(_) => Err(PlanError::WaitsForNothing(from.to_owned(), end.to_owned())),
        }
    }
}

/// Does a step wait for another, by whatever way round?
fn waits_for(steps: &[PlanStep], step: &str, other: &str) -> bool {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut stack = vec![step];
    while let Some(name) = stack.pop() {
        if name == other {
            return true;
        }
        if seen.insert(name) {
            let found = steps.iter().find(|s| s.step == name);
            stack.extend(
                found
                    .into_iter()
                    .flat_map(|s| s.after.iter().map(String::as_str)),
            );
        }
    }
    false
}

/// No step waits for itself, by whatever way round.
fn in_no_circle(steps: &[PlanStep]) -> Result<(), PlanError> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ready: Vec<&str> = steps
            .iter()
            .filter(|s| !done.contains(s.step.as_str()))
            .filter(|s| s.after.iter().all(|a| done.contains(a.as_str())))
            .map(|s| s.step.as_str())
            .collect();
        if ready.is_empty() {
            break;
        }
        done.extend(ready);
    }
    match steps.iter().find(|s| !done.contains(s.step.as_str())) {
        Some(stuck) => Err(PlanError::Circle(stuck.step.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNBOOK: &str = "
blackstart: 1
id: x
title: X
procedures:
  - id: cut
    steps:
      - { id: stop, title: S, run: 'true' }
      - { id: switch, title: S, run: 'true', after: [restore/check] }
  - id: restore
    steps:
      - { id: do, title: D, run: 'true' }
      - { id: check, title: C, run: 'true' }
  - id: whole
    steps:
      - { id: parts, title: P, include: { of: restore } }
      - { id: last, title: L, run: 'true' }
recovered:
  steps: [ { id: proof, title: P, run: 'true' } ]
  when: [ { file: /, exists: true } ]
";

    fn plan(go: &[&str]) -> Result<Vec<(String, Vec<String>)>, PlanError> {
        let (runbook, _) = Runbook::read(RUNBOOK.as_bytes()).expect("valid");
        let go: Vec<Chosen> = go.iter().map(|g| Chosen::parse(g)).collect();
        let steps = lay_out(&runbook, &go, &[])?;
        Ok(steps.into_iter().map(|s| (s.step, s.after)).collect())
    }

    fn after<'p>(plan: &'p [(String, Vec<String>)], step: &str) -> Vec<&'p str> {
        let found = plan.iter().find(|(name, _)| name == step).expect(step);
        found.1.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_step_waits_for_a_later_procedure_when_it_says_so() {
        let plan = plan(&["cut", "restore"]).expect("a plan");
        assert_eq!(after(&plan, "cut/switch"), ["restore/check"]);
        assert_eq!(after(&plan, "restore/do"), ["cut/stop"]);
        assert_eq!(
            plan.last().map(|(name, _)| name.as_str()),
            Some("recovered/proof")
        );
    }

    #[test]
    fn what_is_waited_for_and_is_not_in_the_plan_is_refused() {
        assert_eq!(
            plan(&["cut"]),
            Err(PlanError::WaitsForNothing(
                "cut/switch".into(),
                "restore/check".into()
            ))
        );
    }

    #[test]
    fn an_include_stands_for_steps_that_are_there_already() {
        let plan = plan(&["restore", "whole"]).expect("a plan");
        assert_eq!(after(&plan, "whole/last"), ["restore/do", "restore/check"]);
        assert_eq!(
            plan.iter()
                .filter(|(n, _)| n.starts_with("restore/"))
                .count(),
            2
        );
    }
}
