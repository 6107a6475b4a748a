//! Circles: what comes back to where it began, among steps, includes and defaults.

use super::known::Known;
use crate::domain::{
    runbook::{
        Runbook,
        reader::Reader,
        step::{Action, Include},
    },
    template::{self, Piece},
};
use std::collections::{BTreeSet, HashMap};

/// How many circles are told; whoever opens the first of them often opens the others.
const MOST: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    New,
    Open,
    Done,
}

/// Circles of a graph, each with its members in order: at least one where there is any. One walk in
/// depth, so that thousands of steps take no time.
pub(super) fn circles(next: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut colours = vec![Colour::New; next.len()];
    let mut told: BTreeSet<usize> = BTreeSet::new();
    let mut found: Vec<Vec<usize>> = Vec::new();
    for (root, _) in next.iter().enumerate() {
        if colours[root] != Colour::New {
            continue;
        }
        colours[root] = Colour::Open;
        let mut walk: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some(&(node, edge)) = walk.last() {
            let Some(&to) = next[node].get(edge) else {
                colours[node] = Colour::Done;
                walk.pop();
                continue;
            };
            if let Some(top) = walk.last_mut() {
                top.1 += 1;
            }
            match colours[to] {
                Colour::New => {
                    colours[to] = Colour::Open;
                    walk.push((to, 0));
                }
                Colour::Open => {
                    if found.len() < MOST && told.insert(node) {
                        let from = walk.iter().position(|(n, _)| *n == to).unwrap_or(0);
                        let circle: Vec<usize> = walk[from..].iter().map(|(n, _)| *n).collect();
                        told.extend(&circle);
                        found.push(circle);
                    }
                }
                Colour::Done => {}
            }
        }
    }
    found
}

/// What includes may lead to: a path or all of them, and of it one step or all.
type Part<'a> = (usize, Option<usize>, Option<&'a str>);

/// An `include` among what it includes would go on for ever. Only the steps that are named and the
/// path that is named are followed; `then` is never included.
pub(super) fn of_includes(r: &mut Reader, known: &Known<'_>) {
    let mut includes: Vec<(String, &Include)> = Vec::new();
    let mut parts: HashMap<Part<'_>, Vec<usize>> = HashMap::new();
    for (p, procedure) in known.runbook.procedures.iter().enumerate() {
        for (q, path) in procedure.paths.iter().enumerate() {
            for step in &path.steps {
                let Action::Include(include) = &step.action else {
                    continue;
                };
                let id = step.id.text.as_str();
                for part in [
                    (p, None, None),
                    (p, Some(q), None),
                    (p, None, Some(id)),
                    (p, Some(q), Some(id)),
                ] {
                    parts.entry(part).or_default().push(includes.len());
                }
                includes.push((format!("{}/{id}", procedure.id), include));
            }
        }
    }
    // First the includes themselves, then the parts that they may name.
    let numbers: HashMap<Part<'_>, usize> = parts.keys().copied().zip(includes.len()..).collect();
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); includes.len() + parts.len()];
    for (part, members) in parts {
        if let Some(number) = numbers.get(&part) {
            next[*number] = members;
        }
    }
    for (i, (_, include)) in includes.iter().enumerate() {
        let Some((of, _)) = known.find_procedure(&include.of.text) else {
            continue;
        };
        let path = match &include.path {
            Some(name) => match known.find_path(of, &name.text) {
                Some((number, _)) => Some(number),
                None => continue,
            },
            None => None,
        };
        if include.steps.is_empty() {
            next[i].extend(numbers.get(&(of, path, None)));
        }
        for name in &include.steps {
            next[i].extend(numbers.get(&(of, path, Some(name.text.as_str()))));
        }
    }
    for circle in circles(&next) {
        let first = circle.iter().copied().filter(|n| *n < includes.len()).min();
        if let Some((name, include)) = first.and_then(|n| includes.get(n)) {
            r.error(
                "cycle",
                include.at,
                format!("`{name}` includes itself"),
                "include the steps you need by name, from a procedure that does not include this one",
            );
        }
    }
}

/// A default that needs itself has no value, and one that grows without end has too much of one.
pub(super) fn of_defaults(r: &mut Reader, runbook: &Runbook) {
    const LONGEST: usize = 1 << 16;
    let variables: Vec<_> = runbook.variables.values().collect();
    let numbers: HashMap<&str, usize> = variables
        .iter()
        .map(|v| v.name.text.as_str())
        .zip(0..)
        .collect();
    let text = |i: usize| variables[i].default.as_deref().unwrap_or_default();
    let next: Vec<Vec<usize>> = (0..variables.len())
        .map(|i| {
            let names = template::names(text(i));
            names
                .iter()
                .filter_map(|n| numbers.get(n).copied())
                .collect()
        })
        .collect();
    for circle in circles(&next) {
        if let Some(variable) = circle.iter().min().and_then(|i| variables.get(*i)) {
            r.error(
                "cycle",
                variable.name.at,
                format!("the default of `{}` needs itself", variable.name),
                "write one of them without the other",
            );
        }
    }
    // Defaults are filled in in this order, each with what stands above it.
    let mut lengths: Vec<usize> = Vec::with_capacity(variables.len());
    for (i, variable) in variables.iter().enumerate() {
        let mut length: usize = 0;
        for piece in template::pieces(text(i)) {
            length = length.saturating_add(match piece {
                Piece::Text(text) => text.len(),
                Piece::Name(name) => {
                    let above = numbers.get(name).and_then(|n| lengths.get(*n));
                    above.copied().unwrap_or(0)
                }
            });
        }
        if length > LONGEST {
            r.error(
                "wrong-type",
                variable.name.at,
                format!("the default of `{}` grows to {length} bytes", variable.name),
                "write the value out",
            );
            length = 0;
        }
        lengths.push(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_nothing_else() {
        let found = |next: &[&[usize]]| {
            let next: Vec<Vec<usize>> = next.iter().map(|n| n.to_vec()).collect();
            circles(&next)
        };
        assert!(found(&[&[1, 2], &[2], &[]]).is_empty());
        assert_eq!(found(&[&[0]]), [[0]]);
        assert_eq!(found(&[&[1], &[2], &[1]]), [[1, 2]]);
        assert_eq!(found(&[&[], &[2], &[3], &[1]]), [[1, 2, 3]]);
    }

    #[test]
    fn long_chains_and_dense_graphs_take_no_time() {
        let chain: Vec<Vec<usize>> = (0..100_000).map(|i| vec![i + 1]).collect();
        let chain = [chain, vec![Vec::new()]].concat();
        assert!(circles(&chain).is_empty());
        let dense: Vec<Vec<usize>> = (0..1_000)
            .map(|i| (0..1_000).filter(|j| *j != i).collect())
            .collect();
        assert!(!circles(&dense).is_empty());
    }
}
