//! What comes too early: a system that is brought back only later, a change without a fence, a pod
//! that has just been stopped.

use super::{
    Found,
    view::{Kind, View},
};
use crate::domain::{
    plan::{Chosen, lay_out},
    runbook::{
        Action, Check, Procedure, Runbook, Step, SystemKind,
        reader::Name,
        scripts::commands::Call,
        triage::{Choice, Next},
    },
};
use std::collections::BTreeSet;

pub(super) fn find(runbook: &Runbook, views: &[View<'_>], found: &mut Found) {
    let uses = Uses::of(runbook, views);
    let choices = runbook.triage.iter().flat_map(|t| t.all_choices());
    for choice in choices {
        if let Next::Go(names) | Next::Pick(names) = &choice.next {
            procedures_in_order(runbook, &uses, names, found);
        }
    }
    for procedure in &runbook.procedures {
        for path in &procedure.paths {
            steps_in_order(procedure, path.id.as_deref(), &path.steps, found);
            stopped_pods(views, procedure, path.id.as_deref(), found);
        }
    }
    let mut said = BTreeSet::new();
    for names in ways(runbook) {
        fences(runbook, views, &names, &mut said, found);
    }
}

/// What procedures use and bring back, as far as it can be told.
struct Uses {
    /// `(procedure, system)`
    uses: BTreeSet<(String, String)>,
    recovers: BTreeSet<(String, String)>,
}

impl Uses {
    fn of(runbook: &Runbook, views: &[View<'_>]) -> Self {
        let mut all = Self {
            uses: BTreeSet::new(),
            recovers: BTreeSet::new(),
        };
        let clusters: Vec<&str> = runbook
            .systems
            .values()
            .filter(|s| s.kind == SystemKind::Kubernetes)
            .map(|s| s.name.text.as_str())
            .collect();
        for procedure in &runbook.procedures {
            let id = procedure.id.text.as_str();
            let pair = |system: &str| (id.to_owned(), system.to_owned());
            all.uses
                .extend(procedure.needs.systems.iter().map(|n| pair(&n.text)));
            all.recovers
                .extend(procedure.recovers.iter().map(|n| pair(&n.text)));
            let steps = procedure
                .paths
                .iter()
                .flat_map(|p| &p.steps)
                .chain(&procedure.then);
            for step in steps {
                all.recovers
                    .extend(step.recovers.iter().map(|n| pair(&n.text)));
                let looked_at = own_checks(step).filter_map(Check::system);
                all.uses.extend(looked_at.map(|n| pair(&n.text)));
            }
        }
        // What calls kubectl needs the cluster, where there is only one.
        if let [cluster] = clusters[..] {
            for view in views
                .iter()
                .filter(|v| v.step.is_some() && !v.peace && v.kind == Kind::Run)
            {
                if view
                    .calls
                    .iter()
                    .any(|c| ["kubectl", "helm"].contains(&c.name.as_str()))
                {
                    let procedure = view.place.split('/').next().unwrap_or_default();
                    all.uses.insert((procedure.to_owned(), cluster.to_owned()));
                }
            }
        }
        // An answer that suspects one system and leads to one procedure says what it is for.
        for choice in runbook.triage.iter().flat_map(|t| t.all_choices()) {
            if let (Choice { suspect, .. }, Next::Go(names)) = (choice, &choice.next)
                && let ([suspect], [name]) = (&suspect[..], &names[..])
            {
                let procedure = procedure_of(name);
                let known = all.recovers.iter().any(|(p, _)| p == procedure);
                if !known {
                    all.recovers
                        .insert((procedure.to_owned(), suspect.text.clone()));
                }
            }
        }
        all
    }

    fn uses(&self, procedure: &str) -> impl Iterator<Item = &str> {
        self.uses
            .iter()
            .filter(move |(p, _)| p == procedure)
            .map(|(_, s)| s.as_str())
    }

    fn recovers(&self, procedure: &str, system: &str) -> bool {
        self.recovers
            .contains(&(procedure.to_owned(), system.to_owned()))
    }
}

fn procedure_of(name: &Name) -> &str {
    name.text.split('/').next().unwrap_or_default()
}

/// What must answer for the step to succeed; `unless` may well find nothing.
fn own_checks(step: &Step) -> impl Iterator<Item = &Check> {
    let unless = step.unless.as_ref().map(|c| c.at);
    step.checks().filter(move |c| Some(c.at) != unless)
}

fn procedures_in_order(runbook: &Runbook, uses: &Uses, names: &[Name], found: &mut Found) {
    for (i, name) in names.iter().enumerate() {
        let id = procedure_of(name);
        for system in uses.uses(id) {
            let brings = |n: &&Name| uses.recovers(procedure_of(n), system);
            if uses.recovers(id, system) || names[..i].iter().any(|n| brings(&n)) {
                continue;
            }
            if let Some(later) = names[i + 1..].iter().find(brings) {
                let what = runbook.systems.get(system).map_or("", |s| s.kind.as_str());
                found.warn(
                    "order",
                    id,
                    name.at,
                    format!("`{id}` uses `{system}` ({what}), which `{later}` brings back only afterwards"),
                    &format!("put `{later}` before `{id}`"),
                );
            }
        }
    }
}

fn steps_in_order(procedure: &Procedure, path: Option<&str>, steps: &[Step], found: &mut Found) {
    for (i, step) in steps.iter().enumerate() {
        if step.preserves || step.fences {
            continue;
        }
        for system in own_checks(step).filter_map(Check::system) {
            let before = steps[..=i]
                .iter()
                .any(|s| s.recovers.contains(system) || s.replaces.contains(system));
            let later = steps[i + 1..].iter().find(|s| s.recovers.contains(system));
            if let Some(later) = later.filter(|_| !before) {
                let place =
                    crate::domain::runbook::full_name(&procedure.id.text, path, &step.id.text);
                found.warn(
                    "order",
                    &place,
                    step.at,
                    format!(
                        "`{}` looks at `{system}`, which `{}` brings back only later",
                        step.id, later.id
                    ),
                    &format!("put it behind `{}`", later.id),
                );
            }
        }
    }
}

/// A pod that was just scaled away cannot be copied into.
fn stopped_pods(views: &[View<'_>], procedure: &Procedure, path: Option<&str>, found: &mut Found) {
    let list = match path {
        Some(path) => format!("{}/{path}/", procedure.id),
        None => format!("{}/", procedure.id),
    };
    let mut stopped: Vec<String> = Vec::new();
    let steps = match path {
        Some(path) => procedure.path(Some(path)),
        None => procedure.paths.first(),
    };
    let native: Vec<(&str, String, bool)> = steps
        .into_iter()
        .flat_map(|p| &p.steps)
        .filter_map(|step| match &step.action {
            Action::Kubernetes(words) => {
                let name = words["scale"].as_str()?.split('/').next_back()?.to_owned();
                Some((step.id.text.as_str(), name, words["replicas"] == 0))
            }
            Action::Run(_) | Action::Check(_) | Action::Manual(_) | Action::Include(_) => None,
        })
        .collect();
    let order: Vec<&str> = steps
        .into_iter()
        .flat_map(|p| &p.steps)
        .map(|s| s.id.text.as_str())
        .collect();
    let place = |id: &str| order.iter().position(|o| *o == id);
    let of_list = views.iter().filter(|v| {
        matches!(v.kind, Kind::Run | Kind::Manual)
            && v.place
                .strip_prefix(&list)
                .is_some_and(|rest| !rest.contains('/'))
    });
    for view in of_list {
        let here = view.step.and_then(|s| place(&s.id.text));
        for (id, name, zero) in native.iter().filter(|(id, ..)| place(id) < here) {
            let _ = id;
            stopped.retain(|s| s != name);
            if *zero {
                stopped.push(name.clone());
            }
        }
        for call in view
            .calls
            .iter()
            .filter(|c| matches!(c.name.as_str(), "kubectl" | "oc") && !c.elsewhere)
        {
            let words: Vec<String> = call.args.iter().map(|w| plain(&w.text)).collect();
            let verb = |v: &str| words.iter().any(|w| w == v);
            let patched = call
                .value(&["-p", "--patch"])
                .map(|w| w.text.replace([' ', '\n'], ""));
            if let Some(patch) = patched.filter(|p| verb("patch") && p.contains("\"replicas\":")) {
                for target in targets(&words) {
                    stopped.retain(|s| *s != target);
                    let zero = patch
                        .split("\"replicas\":")
                        .nth(1)
                        .is_some_and(|r| r.starts_with('0'));
                    if zero {
                        stopped.push(target);
                    }
                }
            } else if verb("scale") {
                let zero = call
                    .value(&["--replicas"])
                    .is_some_and(|w| w.text.trim_start_matches("--replicas=") == "0");
                for target in targets(&words) {
                    stopped.retain(|s| *s != target);
                    if zero {
                        stopped.push(target);
                    }
                }
            } else if (verb("cp") || verb("exec") || verb("rsync"))
                && let Some(gone) = stopped
                    .iter()
                    .find(|s| words.iter().any(|w| is_pod_of(w, s)))
            {
                found.call(
                    "order",
                    view,
                    call.at,
                    format!("`{gone}` was scaled to 0 before: it has no pod to copy to or to run anything in"),
                    "use a helper pod that mounts the same volume, or do this before scaling down",
                );
            }
        }
    }
}

fn plain(text: &str) -> String {
    text.replace("${", "$").replace('}', "")
}

/// The workloads that `kubectl scale` names: `deployment/x`, `sts x`.
fn targets(words: &[String]) -> Vec<String> {
    const KINDS: [&str; 11] = [
        "deployment",
        "deployments",
        "deploy",
        "statefulset",
        "statefulsets",
        "sts",
        "replicaset",
        "rs",
        "deployment.apps",
        "statefulset.apps",
        "replicationcontroller",
    ];
    let mut out = Vec::new();
    for (i, word) in words.iter().enumerate() {
        match word.split_once('/') {
            Some((kind, name)) if KINDS.contains(&kind) => out.push(name.to_owned()),
            None if KINDS.contains(&word.as_str()) => out.extend(words.get(i + 1).cloned()),
            _ => {}
        }
    }
    out
}

/// `x-0`, `x-0:/data`, `namespace/x-0:/data`, `deploy/x`.
fn is_pod_of(word: &str, workload: &str) -> bool {
    let pod = word.split(':').next().unwrap_or_default();
    let pod = pod.rsplit('/').next().unwrap_or_default();
    pod == workload
        || pod
            .strip_prefix(workload)
            .is_some_and(|rest| rest.starts_with('-'))
}

/// Every list of procedures that the triage can make, and each procedure alone where there is none.
fn ways(runbook: &Runbook) -> Vec<Vec<Chosen>> {
    let mut lists: Vec<Vec<Chosen>> = Vec::new();
    let parse = |names: &[Name]| names.iter().map(|n| Chosen::parse(&n.text)).collect();
    for choice in runbook.triage.iter().flat_map(|t| t.all_choices()) {
        match &choice.next {
            Next::Go(names) => lists.push(parse(names)),
            // What is ticked is up to a person: each one alone has to hold.
            Next::Pick(names) => lists.extend(names.iter().map(|n| vec![Chosen::parse(&n.text)])),
            Next::Ask(_) => {}
        }
    }
    if runbook.triage.is_none() {
        let alone = runbook
            .procedures
            .iter()
            .map(|p| vec![Chosen::parse(&p.id.text)]);
        lists.extend(alone);
    }
    // A procedure with several paths: each of them.
    let mut out = Vec::new();
    for list in lists.into_iter().take(200) {
        let open = list.iter().position(|c| {
            c.path.is_none()
                && runbook
                    .procedure(&c.procedure)
                    .is_some_and(|p| p.paths.len() > 1)
        });
        match open.and_then(|i| Some((i, runbook.procedure(&list.get(i)?.procedure)?))) {
            None => out.push(list),
            Some((_, _)) => {
                let most = list
                    .iter()
                    .filter_map(|c| runbook.procedure(&c.procedure))
                    .map(|p| p.paths.len())
                    .max()
                    .unwrap_or(1);
                for n in 0..most {
                    let pick = |c: &Chosen| {
                        let paths = runbook
                            .procedure(&c.procedure)
                            .map(|p| p.paths.as_slice())
                            .unwrap_or_default();
                        let path = paths
                            .get(n.min(paths.len().saturating_sub(1)))
                            .and_then(|p| p.id.clone());
                        Chosen {
                            procedure: c.procedure.clone(),
                            path: c.path.clone().or(path),
                        }
                    };
                    out.push(list.iter().map(pick).collect());
                }
            }
        }
    }
    out
}

/// A change of where data lives, with nothing before it that stops writers or keeps the broken state.
fn fences(
    runbook: &Runbook,
    views: &[View<'_>],
    go: &[Chosen],
    said: &mut BTreeSet<(String, &'static str)>,
    found: &mut Found,
) {
    let Ok(plan) = lay_out(runbook, go, &[]) else {
        return;
    };
    let (mut fenced, mut preserved) = (false, false);
    for planned in &plan {
        let Some(step) = runbook.step(&planned.step) else {
            continue;
        };
        fenced |= step.fences;
        preserved |= step.preserves;
        let own = views
            .iter()
            .filter(|v| v.place == planned.step && v.kind == Kind::Run);
        let call = own
            .flat_map(|v| v.calls.iter().map(move |c| (v, c)))
            .find(|(_, c)| overwrites(c));
        let deletes = matches!(&step.action, Action::Kubernetes(words) if words["delete"].as_str().is_some_and(|d| {
            ["pvc/", "pv/", "persistentvolume"].iter().any(|p| d.starts_with(p))
        }));
        let at = match call {
            Some((view, call)) => view.at(call.at),
            None if !step.replaces.is_empty() || deletes => step.at,
            None => continue,
        };
        let restore = call.is_some_and(|(_, c)| c.name == "pgbackrest");
        if !fenced && said.insert((planned.step.clone(), "no-fence")) {
            let help = if restore {
                "stop the server and all that writes to it in a step with `fences: true`; restore as its own user, into an empty folder or with --delta"
            } else {
                "before it, stop all that writes (pods, jobs, agents, the old site) in a step with `fences: true`"
            };
            found.warn(
                "no-fence",
                &planned.step,
                at,
                format!(
                    "`{}` changes where data lives, and nothing before it stops the writers",
                    step.id
                ),
                help,
            );
        }
        if !preserved && said.insert((planned.step.clone(), "no-preserve")) {
            found.warn(
                "no-preserve",
                &planned.step,
                at,
                format!(
                    "`{}` changes where data lives, and nothing before it keeps the broken state",
                    step.id
                ),
                "before it, dump or snapshot what is left in a step with `preserves: true`",
            );
        }
    }
}

/// Does this put other data in the place of what is there?
fn overwrites(call: &Call) -> bool {
    let words = call.subcommand(&["-n", "--namespace", "--context", "--kubeconfig", "--stanza"]);
    let has = |word: &str| words.contains(&word);
    match call.name.as_str() {
        "pgbackrest" => has("restore"),
        "pg_restore" => call.has(&["-c", "--clean"]),
        "dropdb" => true,
        "wal-g" => has("backup-fetch"),
        "barman" => has("recover") || has("restore"),
        "kubectl" => {
            has("delete")
                && (has("pvc")
                    || has("pv")
                    || words.iter().any(|w| {
                        ["pvc/", "pv/", "persistentvolume"]
                            .iter()
                            .any(|p| w.starts_with(p))
                    }))
        }
        _ => false,
    }
}
