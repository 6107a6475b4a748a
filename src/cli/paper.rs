//! `blackstart plan`: the plan on paper. Nothing is run and nobody is asked; only the PATH is looked at.

use super::{
    Exit, Failure,
    headless::{missing_of, plan_failure},
    load::Found,
    pairs, say, say_json,
    settings::Settings,
    sites,
};
use crate::{
    clock,
    domain::{
        event::PlanStep,
        lint::critical_path,
        plan::{self, Chosen},
        runbook::{Action, Check, CheckKind, Runbook, Step, kinds::command},
        text::Clean,
        units,
    },
    engine::{Sources, Value, baseline_values, shown_command},
    values::Values,
};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// What the plan is made of.
pub(super) struct Wanted<'a> {
    pub runbook: &'a str,
    pub go: &'a [String],
    pub site: Option<&'a str>,
    pub set: &'a [String],
    pub json: bool,
}

pub(super) fn plan(settings: &Settings, wanted: &Wanted<'_>) -> Result<Exit, Failure> {
    let found = Found::read(wanted.runbook)?;
    let runbook = found.runbook()?;
    let place = wanted.site.map(|s| sites::find(settings, s)).transpose()?;
    if let Some(place) = &place {
        place.must_fit(&found, &runbook)?;
    }
    let site = place.as_ref().map(|p| &p.file.site);
    let go: Vec<Chosen> = wanted.go.iter().map(|g| Chosen::parse(g)).collect();
    let steps = plan::lay_out(&runbook, &go, &[]).map_err(|e| plan_failure(&e))?;
    let set = pairs("--set", wanted.set)?;
    let sources = Sources {
        set: &set,
        environment: &super::headless::environment,
        site,
        defaults: true,
    };
    let mut values = sources
        .resolve(&runbook)
        .map_err(|why| Failure::usage(why, "see `variables:` of the runbook"))?;
    let store = settings.store_to_look()?;
    let known = |name: &str| !values.iter().any(|v| v.name == name);
    let baselines = sites::baselines(&store, &runbook, site);
    let of_peace = baseline_values(&runbook, &baselines, clock::now(), known);
    values.extend(of_peace);
    let paper = Paper::of(&runbook, &go, steps, &values);
    if wanted.json {
        say_json(&paper.json(&runbook, site.map(|s| s.name.as_str())));
    } else {
        paper.say(&runbook, site.map(|s| s.name.as_str()));
    }
    Ok(Exit::Done)
}

/// A step on paper.
struct Row<'r> {
    plan: PlanStep,
    step: &'r Step,
    starts_s: u64,
    critical: bool,
    command: String,
    needs: Vec<String>,
    /// Filled in, secrets masked.
    verify: Vec<Check>,
}

struct Paper<'r> {
    go: Vec<String>,
    rows: Vec<Row<'r>>,
    total_s: u64,
    missing: Vec<String>,
}

impl<'r> Paper<'r> {
    fn of(runbook: &'r Runbook, go: &[Chosen], steps: Vec<PlanStep>, values: &[Value]) -> Self {
        let (critical, total) = critical_path(&steps);
        let names: Vec<&str> = steps.iter().map(|s| s.step.as_str()).collect();
        let mut missing = missing_of(runbook, &names, values);
        missing.extend(missing_tools(runbook, &steps));
        let mut shown = Values::default();
        for value in values {
            // A secret is shown as such; its text stays where it is.
            let (map, text) = match value.secret {
                true => (&mut shown.secrets, String::new()),
                false => (&mut shown.plain, value.value.clone()),
            };
            map.insert(value.name.clone(), text);
        }
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        let mut rows = Vec::new();
        for plan in steps {
            let Some(step) = runbook.step(&plan.step) else {
                continue;
            };
            let starts_s = plan
                .after
                .iter()
                .filter_map(|a| ends.get(a))
                .max()
                .copied()
                .unwrap_or(0);
            ends.insert(plan.step.clone(), starts_s + plan.budget_s.unwrap_or(0));
            let needs: Vec<String> = plan::needs(runbook, step)
                .into_iter()
                .filter(|n| !values.iter().any(|v| v.name == *n))
                .collect();
            rows.push(Row {
                starts_s,
                critical: critical.contains(&plan.step),
                command: Clean::new(&whole_command(runbook, &shown, step)).into_string(),
                needs,
                verify: step.verify.iter().map(|c| shown.masked_check(c)).collect(),
                step,
                plan,
            });
        }
        Self {
            go: go.iter().map(Chosen::name).collect(),
            rows,
            total_s: total.as_secs(),
            missing,
        }
    }

    fn say(&self, runbook: &Runbook, site: Option<&str>) {
        let at = site.map(|s| format!(" at {s}")).unwrap_or_default();
        say(&format!("{}: {}{at}\n", runbook.title, self.go.join(", ")));
        for goal in goals(runbook) {
            say(&goal.sentence(self.total_s));
        }
        for backup in runbook
            .backups
            .iter()
            .filter(|b| b.covers.or(b.every).is_some())
        {
            let covers = backup.covers.or(backup.every).unwrap_or_default().as_secs();
            let too_much: Vec<String> = goals(runbook)
                .into_iter()
                .filter(|g| g.rpo_s.is_some_and(|rpo| covers > rpo))
                .map(|g| format!("{} ({})", g.id, units::short(g.rpo_s.unwrap_or(0))))
                .collect();
            let verdict = match too_much[..] {
                [] => "within every RPO".to_owned(),
                _ => format!("TOO MUCH for {}", too_much.join(", ")),
            };
            say(&format!(
                "backup of {}: {} loses up to {}: {verdict}",
                backup.of,
                backup.method,
                units::short(covers)
            ));
        }
        say("");
        for row in &self.rows {
            self.say_row(row);
        }
        if self.missing.is_empty() {
            say("nothing is missing here and now");
        } else {
            say("missing here and now:");
            for line in &self.missing {
                say(Clean::new(&format!("  {line}")).as_str());
            }
        }
    }

    fn say_row(&self, row: &Row<'_>) {
        let budget = row
            .plan
            .budget_s
            .map_or("no budget".to_owned(), units::short);
        let mark = if row.critical { "*" } else { " " };
        let mut facts = vec![format!(
            "{} at +{}",
            budget,
            units::clock(row.starts_s as f64)
        )];
        facts.extend(row.plan.phase.clone());
        if row.plan.danger != "none" {
            facts.push(row.plan.danger.clone());
        }
        say(&format!(
            "{mark}{:>3}  {}  [{}]",
            row.plan.number,
            row.plan.title,
            facts.join(", ")
        ));
        say(&format!("      {}", row.plan.step));
        for line in row.command.lines() {
            say(&format!("      │ {line}"));
        }
        if !row.plan.after.is_empty() {
            say(&format!("      after {}", row.plan.after.join(", ")));
        }
        let list = |names: &[crate::domain::runbook::Name]| {
            names
                .iter()
                .map(|n| n.text.clone())
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !row.needs.is_empty() {
            say(&format!("      needs {}", row.needs.join(", ")));
        }
        if !row.step.capture.is_empty() {
            let names: Vec<&str> = row
                .step
                .capture
                .iter()
                .map(|(n, _)| n.text.as_str())
                .collect();
            say(&format!("      finds {}", names.join(", ")));
        }
        for check in &row.verify {
            say(Clean::new(&format!(
                "      green when {} — {}",
                check.label(),
                check.expected()
            ))
            .as_str());
        }
        if !row.step.replaces.is_empty() {
            say(&format!("      moves {}", list(&row.step.replaces)));
        }
        if !row.step.recovers.is_empty() {
            say(&format!("      recovers {}", list(&row.step.recovers)));
        }
        say("");
    }

    fn json(&self, runbook: &Runbook, site: Option<&str>) -> Json {
        let critical: Vec<&str> = self
            .rows
            .iter()
            .filter(|r| r.critical)
            .map(|r| r.plan.step.as_str())
            .collect();
        let steps: Vec<Json> = self
            .rows
            .iter()
            .map(|r| {
                json!({
                    "number": r.plan.number, "step": r.plan.step, "title": r.plan.title, "kind": r.plan.kind,
                    "danger": r.plan.danger, "phase": r.plan.phase, "budget_s": r.plan.budget_s,
                    "starts_s": r.starts_s, "critical": r.critical, "after": r.plan.after,
                    "command": r.command, "needs": r.needs,
                    "captures": r.step.capture.iter().map(|(n, _)| &n.text).collect::<Vec<_>>(),
                    "recovers": r.step.recovers.iter().map(|n| &n.text).collect::<Vec<_>>(),
                    "replaces": r.step.replaces.iter().map(|n| &n.text).collect::<Vec<_>>(),
                })
            })
            .collect();
        let severities: Vec<Json> = goals(runbook)
            .iter()
            .map(|g| {
                json!({
                    "id": g.id, "rto_s": g.rto_s, "fits": g.rto_s.map(|rto| self.total_s <= rto), "rpo_s": g.rpo_s,
                })
            })
            .collect();
        let backups: Vec<Json> = runbook
            .backups
            .iter()
            .map(|b| {
                let covers = b.covers.or(b.every).map(|d| d.as_secs());
                let missed: Vec<String> = goals(runbook)
                    .into_iter()
                    .filter(|g| matches!((covers, g.rpo_s), (Some(c), Some(rpo)) if c > rpo))
                    .map(|g| g.id)
                    .collect();
                json!({"of": b.of.text, "method": b.method, "covers_s": covers, "misses": missed})
            })
            .collect();
        json!({
            "runbook": runbook.id, "site": site, "go": self.go, "steps": steps,
            "critical_path": {"steps": critical, "seconds": self.total_s},
            "severities": severities, "backups": backups, "missing": self.missing,
        })
    }
}

/// What will run, the script of a check included.
fn whole_command(runbook: &Runbook, values: &Values, step: &Step) -> String {
    let shown = shown_command(runbook, values, step, false);
    let Action::Check(check) = &step.action else {
        return shown;
    };
    let CheckKind::Command(command::Words {
        run: command::Run::Script { text, .. },
        ..
    }) = &check.what
    else {
        return shown;
    };
    let expected = values.masked_check(check).expected();
    format!("{}\n# expected: {expected}", text.trim_end())
}

/// A severity's objectives; those of the runbook where there is none.
struct Goal {
    id: String,
    rto_s: Option<u64>,
    rpo_s: Option<u64>,
}

impl Goal {
    fn sentence(&self, total_s: u64) -> String {
        let way = units::short(total_s);
        let Some(rto) = self.rto_s else {
            return format!("{}: the longest way takes {way}; there is no RTO", self.id);
        };
        let spare = match rto.checked_sub(total_s) {
            Some(spare) => format!("{} spare", units::short(spare)),
            None => format!("{} TOO LONG", units::short(total_s - rto)),
        };
        format!(
            "{}: the longest way (*) takes {way} of the RTO of {}: {spare}",
            self.id,
            units::short(rto)
        )
    }
}

fn goals(runbook: &Runbook) -> Vec<Goal> {
    let own = runbook.objectives;
    let seconds = |d: Option<std::time::Duration>| d.map(|d| d.as_secs());
    let mut all: Vec<Goal> = runbook
        .severities
        .iter()
        .map(|s| Goal {
            id: s.id.text.clone(),
            rto_s: seconds(s.rto.or(own.rto)),
            rpo_s: seconds(s.rpo.or(own.rpo)),
        })
        .collect();
    if all.is_empty() {
        all.push(Goal {
            id: "objectives".to_owned(),
            rto_s: seconds(own.rto),
            rpo_s: seconds(own.rpo),
        });
    }
    all
}

/// Tools of the planned procedures that are not on the PATH.
fn missing_tools(runbook: &Runbook, steps: &[PlanStep]) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for planned in steps {
        if let Some(procedure) = runbook.procedure(&planned.procedure) {
            named.extend(procedure.needs.tools.iter().map(String::as_str));
        }
    }
    let here = |tool: &str| folders.iter().any(|f| is_program(&f.join(tool)));
    let gone = named.into_iter().filter(|t| !here(t));
    gone.map(|tool| format!("the tool `{tool}` is not on the PATH"))
        .collect()
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
