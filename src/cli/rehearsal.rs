//! `blackstart drill --site`: the drill that auditors ask for, with real backups in a scratch place.

use super::{
    Exit, Failure, cockpit,
    given::{DrillArgs, GivenArgs, RunArgs},
    headless,
    load::SHIPPED,
    settings::Settings,
    sites,
};
use crate::domain::site::SiteKind;

pub(super) fn rehearse(settings: &Settings, wanted: DrillArgs) -> Result<Exit, Failure> {
    let name = wanted.site.unwrap_or_default();
    if wanted.keep && !wanted.headless {
        return Err(Failure::usage(
            "in the cockpit, what was rehearsed stays up until its removal is started",
            format!("blackstart drill --site {name}, without --keep"),
        ));
    }
    let place = sites::find(settings, &name)?;
    let site = &place.file.site;
    let shown = place.path.display();
    if site.kind != SiteKind::Rehearsal {
        return Err(Failure::usage(
            format!(
                "{} is a {} site: a drill runs only in a sandbox or at a rehearsal site",
                site.name,
                site.kind.as_str()
            ),
            format!("blackstart drill, or `kind: rehearsal` in {shown} if it is a scratch place"),
        ));
    }
    let Some(rehearsal) = &site.rehearsal else {
        return Err(Failure::usage(
            format!(
                "{shown} does not say how one knows that it is none of production's, nor how it is removed"
            ),
            "add `rehearsal:` with `proof:` and `tear-down:`; config/sites/ampora-rehearsal.yaml is an example",
        ));
    };
    let Some(runbook) = wanted.runbook.or_else(|| place.runbook_name()) else {
        let shipped: Vec<&str> = SHIPPED.iter().map(|(id, _)| *id).collect();
        return Err(Failure::usage(
            format!("{shown} does not say for which runbook it is"),
            format!("name a file, or one of: {}", shipped.join(", ")),
        ));
    };
    if !wanted.headless {
        return cockpit::open(settings, Some(&runbook), Some(&name), &wanted.set);
    }
    let go = match wanted.go.is_empty() {
        true => rehearsal.go.iter().map(|n| n.text.clone()).collect(),
        false => wanted.go,
    };
    if go.is_empty() {
        return Err(Failure::usage(
            "nobody said what is to be rehearsed",
            format!("--go PROCEDURE[/PATH], or `go:` under `rehearsal:` in {shown}"),
        ));
    }
    headless::run(
        settings,
        &RunArgs {
            runbook,
            go,
            severity: None,
            site: Some(name),
            since: Some("now".to_owned()),
            skip: Vec::new(),
            trust: false,
            tear_down: !wanted.keep,
            given: GivenArgs {
                set: wanted.set,
                approve: wanted.approve,
                confirm: wanted.confirm,
                accept_identity: wanted.accept_identity,
                json: wanted.json,
            },
        },
    )
}
