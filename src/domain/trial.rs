//! A runbook test: simulated answers of systems and commands, and what the runbook makes of them: which
//! answers the evidence supports, which steps the plan has, which cause is named first.
//!
//! ```yaml
//! runbook: arbitex
//! tests:
//!   - name: PostgreSQL is gone
//!     systems: { database: down }
//!     answer: [A data store is unavailable, PostgreSQL]
//!     path: { postgres: pitr }
//!     expect: { supported: [PostgreSQL], go: [postgres/pitr], steps: [stop-writers, restore-server] }
//!   - name: The password is wrong
//!     step: verify-data
//!     output: "FATAL:  password authentication failed"
//!     expect: { cause: pg-password-wrong }
//! ```

mod reading;

use super::{
    event::{PlanStep, Verdict},
    expect::{Comparison, Expect},
    failures::{Evidence, LookUp, rules::RuleSet},
    finding::{Finding, Pos},
    plan::{Chosen, lay_out},
    runbook::{
        Check, Choice, Name, Question, Runbook, find_step,
        kinds::{CheckKind, command},
        names_step,
        reader::Reader,
        triage::Next,
    },
    template,
    text::Clean,
    yaml,
};
use std::collections::BTreeSet;

/// A file of tests.
#[derive(Clone, Debug)]
pub struct Trials {
    /// An id, or a file beside this one.
    pub runbook: String,
    pub tests: Vec<Trial>,
}

#[derive(Clone, Debug, Default)]
pub struct Trial {
    pub at: Pos,
    pub name: String,
    systems: Vec<(Name, String)>,
    checks: Vec<Simulated>,
    set: Vec<(Name, String)>,
    answer: Vec<String>,
    pick: Vec<String>,
    path: Vec<(Name, String)>,
    step: Option<String>,
    output: Option<String>,
    exit: Option<i64>,
    expect: Expected,
}

/// What a check sees, by a part of what it looks at.
#[derive(Clone, Debug)]
struct Simulated {
    of: String,
    seen: Option<String>,
    verdict: Option<Verdict>,
}

#[derive(Clone, Debug, Default)]
struct Expected {
    supported: Option<Vec<String>>,
    go: Option<Vec<String>>,
    steps: Vec<String>,
    without: Vec<String>,
    cause: Option<String>,
    causes: Vec<String>,
    none: bool,
}

/// What became of a test: nothing, or why it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub name: String,
    pub line: usize,
    pub failures: Vec<String>,
}

impl Trials {
    /// Reads a file of tests. `Err` holds every finding.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<Finding>> {
        let root = yaml::read(bytes).map_err(|finding| vec![finding])?;
        let mut r = Reader::default();
        let read = reading::read_trials(&mut r, &root);
        let findings = r.into_findings();
        match read {
            Some(trials) if findings.is_empty() => Ok(trials),
            _ => Err(findings),
        }
    }

    /// Every test, and at the end what no test has walked.
    pub fn run(&self, runbook: &Runbook) -> Vec<Judged> {
        let mut walked: BTreeSet<String> = BTreeSet::new();
        let mut out: Vec<Judged> = self
            .tests
            .iter()
            .map(|test| Judged {
                name: test.name.clone(),
                line: test.at.line,
                failures: test.run(runbook, &mut walked),
            })
            .collect();
        out.push(Judged {
            name: "every branch of the tree leads to a plan".to_owned(),
            line: 0,
            failures: unplannable(runbook),
        });
        let all = leaves(runbook);
        let missed = all.iter().filter(|leaf| !walked.contains(*leaf));
        out.push(Judged {
            name: "every branch of the tree is walked by a test".to_owned(),
            line: 0,
            failures: missed
                .map(|leaf| format!("no test answers {leaf}"))
                .collect(),
        });
        out
    }
}

/// Every answer that leads to procedures, and every way through those that have several.
fn leaves(runbook: &Runbook) -> Vec<String> {
    let mut out = Vec::new();
    let Some(triage) = &runbook.triage else {
        return out;
    };
    for (way, choice) in ways(triage) {
        let shown = shown_way(&way);
        match &choice.next {
            Next::Ask(_) => {}
            Next::Pick(_) => out.push(shown),
            Next::Go(names) => {
                let go: Vec<Chosen> = names.iter().map(|n| Chosen::parse(&n.text)).collect();
                out.extend(complete(runbook, &go).iter().map(|go| leaf(&shown, go)));
            }
        }
    }
    out
}

fn leaf(way: &str, go: &[Chosen]) -> String {
    let names: Vec<String> = go.iter().map(Chosen::name).collect();
    format!("{way} → {}", names.join(", "))
}

fn shown_way(way: &[String]) -> String {
    let quoted: Vec<String> = way.iter().map(|a| format!("“{a}”")).collect();
    quoted.join(" ▸ ")
}

/// Every answer of the tree with the answers that lead to it.
fn ways(question: &Question) -> Vec<(Vec<String>, &Choice)> {
    let mut out = Vec::new();
    for choice in &question.choices {
        out.push((vec![choice.answer.clone()], choice));
        if let Next::Ask(next) = &choice.next {
            for (mut way, below) in ways(next) {
                way.insert(0, choice.answer.clone());
                out.push((way, below));
            }
        }
    }
    out
}

/// The list with each way through the procedures that have several.
fn complete(runbook: &Runbook, go: &[Chosen]) -> Vec<Vec<Chosen>> {
    const MOST: usize = 64;
    let mut out: Vec<Vec<Chosen>> = vec![Vec::new()];
    for chosen in go {
        let paths: Vec<Option<String>> = match (&chosen.path, runbook.procedure(&chosen.procedure))
        {
            (None, Some(procedure)) if procedure.paths.len() > 1 => {
                procedure.paths.iter().map(|p| p.id.clone()).collect()
            }
            (path, _) => vec![path.clone()],
        };
        out = out
            .iter()
            .flat_map(|before| {
                paths.iter().map(|path| {
                    let mut all = before.clone();
                    all.push(Chosen {
                        procedure: chosen.procedure.clone(),
                        path: path.clone(),
                    });
                    all
                })
            })
            .take(MOST)
            .collect();
    }
    out
}

/// Answers whose plan cannot be laid out, whatever path is taken.
fn unplannable(runbook: &Runbook) -> Vec<String> {
    let mut out = Vec::new();
    for (way, choice) in runbook.triage.iter().flat_map(ways) {
        let lists: Vec<Vec<Chosen>> = match &choice.next {
            Next::Ask(_) => Vec::new(),
            Next::Go(names) => vec![names.iter().map(|n| Chosen::parse(&n.text)).collect()],
            Next::Pick(names) => {
                let all: Vec<Chosen> = names.iter().map(|n| Chosen::parse(&n.text)).collect();
                let alone = all.iter().map(|c| vec![c.clone()]);
                alone.chain([all.clone()]).collect()
            }
        };
        for go in lists.iter().flat_map(|list| complete(runbook, list)) {
            if let Err(why) = lay_out(runbook, &go, &[]) {
                out.push(format!("{}: {why}", leaf(&shown_way(&way), &go)));
            }
        }
    }
    out
}

impl Trial {
    fn run(&self, runbook: &Runbook, walked: &mut BTreeSet<String>) -> Vec<String> {
        let mut failures = Vec::new();
        for (name, _) in &self.systems {
            if !runbook.systems.contains_key(&name.text) {
                failures.push(format!("there is no system `{}`", Clean::line(&name.text)));
            }
        }
        for (name, value) in &self.set {
            let shown = Clean::line(&name.text);
            match runbook.variables.get(&name.text).map(|v| v.accept(value)) {
                Some(Ok(_)) => {}
                Some(Err(why)) => failures.push(format!("`{shown}`: {why}")),
                None => failures.push(format!("no variable is called `{shown}`")),
            }
        }
        for (name, path) in &self.path {
            let procedure = runbook.procedure(&name.text);
            if procedure.is_none_or(|p| p.path(Some(path)).is_none()) {
                failures.push(format!(
                    "there is no path `{}/{}`",
                    Clean::line(&name.text),
                    Clean::line(path)
                ));
            }
        }
        for simulated in &self.checks {
            let meant: Vec<&Check> = runbook
                .checks()
                .filter(|c| looks_at(c, &simulated.of))
                .collect();
            let shown = Clean::line(&simulated.of);
            if meant.is_empty() {
                failures.push(format!("no check looks at `{shown}`"));
            } else if simulated.seen.is_some() && meant.iter().all(|c| c.expect.is_none()) {
                failures.push(format!(
                    "`{shown}` has no `expect` to compare with what is seen: say its `verdict`"
                ));
            }
        }
        if !self.answer.is_empty() || self.expect.supported.is_some() {
            self.triage(runbook, walked, &mut failures);
        }
        if self.step.is_some() || self.output.is_some() || self.exit.is_some() {
            self.failure(runbook, &mut failures);
        }
        failures
    }

    fn triage(&self, runbook: &Runbook, walked: &mut BTreeSet<String>, failures: &mut Vec<String>) {
        let Some(triage) = &runbook.triage else {
            failures.push("the runbook has no triage".to_owned());
            return;
        };
        let (mut question, mut way, mut leads) = (triage, Vec::new(), None);
        let mut offered: Vec<&Choice> = question.choices.iter().collect();
        for answer in &self.answer {
            if leads.is_some() {
                failures.push(format!(
                    "nothing is asked any more when `{}` is answered",
                    Clean::line(answer)
                ));
                return;
            }
            let Some(choice) = chosen(question, answer) else {
                let names: Vec<&str> = question.choices.iter().map(|c| c.answer.as_str()).collect();
                failures.push(format!(
                    "`{}` is no answer to “{}”; there are: {}",
                    Clean::line(answer),
                    question.ask,
                    names.join(", ")
                ));
                return;
            };
            way.push(choice.answer.clone());
            match &choice.next {
                Next::Ask(next) => {
                    question = next;
                    offered.extend(&next.choices);
                }
                next => leads = Some(next),
            }
        }
        if let Some(wanted) = &self.expect.supported {
            self.supported(&offered, wanted, failures);
        }
        let (go, picked) = match leads {
            Some(Next::Go(names)) => (
                names
                    .iter()
                    .map(|n| Chosen::parse(&n.text))
                    .collect::<Vec<_>>(),
                false,
            ),
            Some(Next::Pick(names)) => (self.picked(names, failures), true),
            Some(Next::Ask(_)) | None => {
                let asked = self.expect.go.is_some() || !self.expect.steps.is_empty();
                if asked {
                    failures.push("the answers lead to no procedure yet".to_owned());
                }
                return;
            }
        };
        let go: Vec<Chosen> = go.into_iter().map(|c| self.with_path(c)).collect();
        match picked {
            true => walked.insert(shown_way(&way)),
            false => walked.insert(leaf(&shown_way(&way), &go)),
        };
        let names: Vec<String> = go.iter().map(Chosen::name).collect();
        if let Some(wanted) = self.expect.go.as_ref().filter(|wanted| **wanted != names) {
            failures.push(format!(
                "expected to go to {}, goes to {}",
                wanted.join(", "),
                names.join(", ")
            ));
        }
        match lay_out(runbook, &go, &[]) {
            Ok(steps) => self.plan(runbook, &steps, failures),
            Err(why) => failures.push(format!("{}: {why}", names.join(", "))),
        }
    }

    fn with_path(&self, chosen: Chosen) -> Chosen {
        let named = self.path.iter().find(|(p, _)| p.text == chosen.procedure);
        Chosen {
            path: chosen.path.or_else(|| named.map(|(_, path)| path.clone())),
            procedure: chosen.procedure,
        }
    }

    /// What is ticked, in the runbook's order.
    fn picked(&self, names: &[Name], failures: &mut Vec<String>) -> Vec<Chosen> {
        for wanted in &self.pick {
            if !names.iter().any(|n| n.text == *wanted) {
                failures.push(format!("`{}` cannot be ticked here", Clean::line(wanted)));
            }
        }
        if self.pick.is_empty() {
            failures.push("nothing is ticked: `pick: […]`".to_owned());
        }
        let ticked = names.iter().filter(|n| self.pick.contains(&n.text));
        ticked.map(|n| Chosen::parse(&n.text)).collect()
    }

    fn supported(&self, offered: &[&Choice], wanted: &[String], failures: &mut Vec<String>) {
        for name in wanted {
            if !offered.iter().any(|c| c.answer == *name) {
                failures.push(format!(
                    "`{}` is no answer of the questions on the way",
                    Clean::line(name)
                ));
            }
        }
        for choice in offered {
            let is = self.supports(choice);
            // What stands above a supported answer is supported by it; naming it is up to the test.
            let above = matches!(choice.next, Next::Ask(_));
            match (is, wanted.contains(&choice.answer)) {
                (true, false) if !above => {
                    failures.push(format!("the evidence supports “{}”, too", choice.answer))
                }
                (false, true) => {
                    failures.push(format!("the evidence does not support “{}”", choice.answer))
                }
                _ => {}
            }
        }
    }

    /// Does what is simulated speak for this answer, or for one below it?
    fn supports(&self, choice: &Choice) -> bool {
        let down = choice
            .suspect
            .iter()
            .any(|s| self.system(&s.text) == Verdict::DoesNotHold);
        let seen = || {
            choice
                .evidence
                .iter()
                .any(|c| self.verdict(c) == Verdict::DoesNotHold)
        };
        let below = || match &choice.next {
            Next::Ask(next) => next.choices.iter().any(|c| self.supports(c)),
            Next::Go(_) | Next::Pick(_) => false,
        };
        down || seen() || below()
    }

    fn system(&self, name: &str) -> Verdict {
        match self
            .systems
            .iter()
            .find(|(n, _)| n.text == name)
            .map(|(_, s)| s.as_str())
        {
            Some("down") => Verdict::DoesNotHold,
            Some("cannot-tell") => Verdict::CannotTell,
            Some(_) | None => Verdict::Holds,
        }
    }

    fn verdict(&self, check: &Check) -> Verdict {
        let simulated = self.checks.iter().find(|s| looks_at(check, &s.of));
        let of_system = check
            .system()
            .map_or(Verdict::Holds, |s| self.system(&s.text));
        match simulated {
            None => of_system,
            Some(Simulated {
                verdict: Some(verdict),
                ..
            }) => *verdict,
            Some(simulated) => {
                let seen = simulated.seen.as_deref().unwrap_or_default();
                let Some(expect) = &check.expect else {
                    return Verdict::Holds;
                };
                let filled = template::fill(expect, |name| {
                    let set = self.set.iter().find(|(n, _)| n.text == name);
                    set.map(|(_, v)| v.clone())
                });
                let expect = filled.ok().and_then(|text| Expect::parse(&text).ok());
                match expect.map(|e| e.judge(seen)) {
                    Some(Comparison::Holds) => Verdict::Holds,
                    Some(Comparison::Fails | Comparison::CannotCompare) | None => {
                        Verdict::DoesNotHold
                    }
                }
            }
        }
    }

    fn plan(&self, runbook: &Runbook, steps: &[PlanStep], failures: &mut Vec<String>) {
        let names: Vec<&str> = steps.iter().map(|s| s.step.as_str()).collect();
        let mut from = 0;
        for wanted in &self.expect.steps {
            let found = match find_step(names.iter().copied(), wanted) {
                Ok(full) => names.iter().position(|n| *n == full),
                Err(why) => {
                    failures.push(format!("in the plan {why}"));
                    continue;
                }
            };
            match found {
                Some(at) if at >= from => from = at,
                Some(_) => failures.push(format!("`{wanted}` comes earlier than it should")),
                None => {}
            }
        }
        for unwanted in &self.expect.without {
            if !runbook.steps().any(|(full, _)| names_step(&full, unwanted)) {
                failures.push(format!("no step is called `{}`", Clean::line(unwanted)));
            }
            if find_step(names.iter().copied(), unwanted).is_ok() {
                failures.push(format!("`{unwanted}` is in the plan"));
            }
        }
    }

    /// A step that fails, as the failure table sees it.
    fn failure(&self, runbook: &Runbook, failures: &mut Vec<String>) {
        let all: Vec<String> = runbook.steps().map(|(name, _)| name).collect();
        let step = match &self.step {
            None => String::new(),
            Some(named) => match find_step(all.iter().map(String::as_str), named) {
                Ok(full) => full.to_owned(),
                Err(why) => {
                    failures.push(why.to_string());
                    return;
                }
            },
        };
        let rules = RuleSet::of_runbook(&runbook.failures);
        let mut look_up = LookUp::new([&rules]);
        for line in self.output.as_deref().unwrap_or_default().lines() {
            look_up.line(&Clean::line(line));
        }
        let causes = look_up.causes(&Evidence {
            step: &step,
            exit_code: Some(self.exit.and_then(|e| i32::try_from(e).ok()).unwrap_or(1)),
            ..Evidence::default()
        });
        let found: Vec<&str> = causes.iter().map(|c| c.row.as_str()).collect();
        let shown = match found[..] {
            [] => "none".to_owned(),
            _ => found.iter().take(5).copied().collect::<Vec<_>>().join(", "),
        };
        let known = |row: &str| runbook.failures.iter().any(|f| f.id.text == row);
        for row in self
            .expect
            .cause
            .iter()
            .chain(&self.expect.causes)
            .filter(|r| !known(r))
        {
            failures.push(format!("no failure row is called `{}`", Clean::line(row)));
        }
        if let Some(wanted) = &self.expect.cause
            && found.first() != Some(&wanted.as_str())
        {
            failures.push(format!("expected the cause {wanted} first, found {shown}"));
        }
        for wanted in &self.expect.causes {
            if !found.iter().take(3).any(|row| row == wanted) {
                failures.push(format!(
                    "expected {wanted} among the first three, found {shown}"
                ));
            }
        }
        if self.expect.none && !found.is_empty() {
            failures.push(format!("expected no cause, found {shown}"));
        }
    }
}

/// The answer that is meant: its whole text, or a beginning that only it has.
fn chosen<'q>(question: &'q Question, answer: &str) -> Option<&'q Choice> {
    let exact = question.choices.iter().find(|c| c.answer == answer);
    exact.or_else(|| {
        let mut begin = question
            .choices
            .iter()
            .filter(|c| c.answer.starts_with(answer));
        match (begin.next(), begin.next()) {
            (Some(one), None) if !answer.is_empty() => Some(one),
            _ => None,
        }
    })
}

/// Is `text` a part of what the check looks at?
fn looks_at(check: &Check, text: &str) -> bool {
    let script = match &check.what {
        CheckKind::Command(command::Words {
            run: command::Run::Script { text, .. },
            ..
        }) => text.as_str(),
        CheckKind::Command(_)
        | CheckKind::Postgres(_)
        | CheckKind::Redis(_)
        | CheckKind::Http(_)
        | CheckKind::Kubernetes(_)
        | CheckKind::Tcp(_)
        | CheckKind::Tls(_)
        | CheckKind::Dns(_)
        | CheckKind::File(_) => "",
    };
    // Where it looks, what must hold there, or what it runs.
    let looks = format!("{}, {}", check.label(), check.expected());
    !text.is_empty() && (looks.contains(text) || script.contains(text))
}

#[cfg(test)]
mod tests;
