//! `after`: which steps it names, and whether steps wait for each other.

use super::{
    circles::circles,
    known::{Known, unknown},
};
use crate::domain::runbook::{
    NameError, full_name, names_step,
    reader::{Name, Reader},
    step::Step,
};
use std::{collections::HashMap, ops::Range};

/// The steps of one list: of a path, of `then`, of `recovered`, of `prepare`.
struct List<'a> {
    /// What stands before its steps in their full names.
    prefix: String,
    steps: &'a [Step],
    /// The number of its first step, counted through the whole file.
    first: usize,
    ids: HashMap<&'a str, usize>,
    /// For `then`: the steps of the paths before it.
    before: Range<usize>,
}

impl<'a> List<'a> {
    fn new(prefix: String, steps: &'a [Step], first: usize) -> Self {
        let ids = steps.iter().enumerate();
        Self {
            prefix,
            steps,
            first,
            ids: ids.map(|(i, s)| (s.id.text.as_str(), i)).collect(),
            before: 0..0,
        }
    }

    fn end(&self) -> usize {
        self.first + self.steps.len()
    }

    /// The steps that a name stands for: of this list, of the paths before it, of the whole file.
    fn resolve(&self, known: &Known<'_>, name: &str) -> Result<Vec<usize>, NameError> {
        let last = name.rsplit('/').next().unwrap_or(name);
        if let Some(i) = self.ids.get(last)
            && names_step(&format!("{}/{last}", self.prefix), name)
        {
            return Ok(vec![self.first + i]);
        }
        if let Some(number) = known.exact(name) {
            return Ok(vec![number]);
        }
        let mut outer = self.prefix.as_str();
        while let Some((around, _)) = outer.rsplit_once('/') {
            if let Some(number) = known.exact(&format!("{around}/{name}")) {
                return Ok(vec![number]);
            }
            outer = around;
        }
        let hits = known.matching(name);
        let from = hits.partition_point(|i| *i < self.before.start);
        let to = hits.partition_point(|i| *i < self.before.end);
        match hits.get(from..to) {
            // A step of the same name in each of many ways: one of them will be the way that was chosen.
            Some(of_paths) if !of_paths.is_empty() => {
                Ok(of_paths.iter().take(64).copied().collect())
            }
            Some(_) | None => known.the_step(name).map(|i| vec![i]),
        }
    }
}

/// All lists in the order of `Runbook::steps`, `prepare` last.
fn lists<'a>(known: &Known<'a>) -> Vec<List<'a>> {
    let runbook = known.runbook;
    let mut all: Vec<List<'a>> = Vec::new();
    let mut first = 0;
    for procedure in &runbook.procedures {
        let begin = first;
        for path in &procedure.paths {
            let prefix = match &path.id {
                Some(path) => full_name(&procedure.id.text, None, path),
                None => procedure.id.text.clone(),
            };
            let list = List::new(prefix, &path.steps, first);
            first = list.end();
            all.push(list);
        }
        let mut then = List::new(procedure.id.text.clone(), &procedure.then, first);
        then.before = begin..first;
        first = then.end();
        all.push(then);
    }
    for (prefix, steps) in [
        ("recovered", &runbook.recovered.steps),
        ("prepare", &runbook.prepare),
    ] {
        let list = List::new(prefix.to_owned(), steps, first);
        first = list.end();
        all.push(list);
    }
    all
}

/// Follows `after`, the step above where there is none: every name means a step, and no step waits
/// for itself.
pub(super) fn faults(r: &mut Reader, known: &Known<'_>) {
    let lists = lists(known);
    let mut next: Vec<Vec<usize>> = Vec::new();
    for list in &lists {
        for (i, step) in list.steps.iter().enumerate() {
            next.push(match &step.after {
                None => (i > 0).then(|| list.first + i - 1).into_iter().collect(),
                Some(names) => names
                    .iter()
                    .flat_map(|name| match list.resolve(known, &name.text) {
                        Ok(steps) => steps,
                        Err(e) => {
                            means_nothing(r, list, name, &e);
                            Vec::new()
                        }
                    })
                    .collect(),
            });
        }
    }
    for circle in circles(&next) {
        waits_for_itself(r, known, &lists, &circle);
    }
}

fn means_nothing(r: &mut Reader, list: &List<'_>, name: &Name, error: &NameError) {
    match error {
        NameError::Unknown(_) => {
            unknown(
                r,
                name,
                "step",
                list.steps.iter().map(|s| s.id.text.as_str()),
            );
        }
        NameError::Several(..) => r.error(
            "unknown-name",
            name.at,
            error.to_string(),
            "write more of its name: `procedure/step`",
        ),
    }
}

/// Says it at the first of them that names another one of them.
fn waits_for_itself(r: &mut Reader, known: &Known<'_>, lists: &[List<'_>], circle: &[usize]) {
    let mut found: Option<(usize, &Step, &Name)> = None;
    for (place, number) in circle.iter().enumerate() {
        let waits_for = circle[(place + 1) % circle.len()];
        let at = lists.partition_point(|list| list.end() <= *number);
        let Some(list) = lists.get(at) else {
            continue;
        };
        let Some(step) = list.steps.get(number - list.first) else {
            continue;
        };
        let name = step.after.iter().flatten().find(|name| {
            let steps = list.resolve(known, &name.text);
            steps.is_ok_and(|steps| steps.contains(&waits_for))
        });
        if let Some(name) = name
            && found.is_none_or(|(first, _, _)| *number < first)
        {
            found = Some((*number, step, name));
        }
    }
    if let Some((_, step, name)) = found {
        r.error(
            "cycle",
            name.at,
            format!("`{}` waits for itself", step.id),
            "one of the steps it waits for waits for it: change an `after`",
        );
    }
}
