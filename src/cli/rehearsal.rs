//! `blackstart drill --site`: the drill that auditors ask for, with real backups in a scratch place.

use super::{
    Exit, Failure, GivenArgs, RunArgs, cockpit, headless, load::SHIPPED, settings::Settings, sites,
};
use crate::domain::site::SiteKind;

pub(super) struct Wanted {
    pub runbook: Option<String>,
    pub site: String,
    pub go: Vec<String>,
    pub headless: bool,
    pub keep: bool,
    pub given: GivenArgs,
}

pub(super) fn rehearse(settings: &Settings, wanted: &Wanted) -> Result<Exit, Failure> {
    let place = sites::find(settings, &wanted.site)?;
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
    let Some(runbook) = wanted.runbook.clone().or_else(|| place.runbook_name()) else {
        let shipped: Vec<&str> = SHIPPED.iter().map(|(id, _)| *id).collect();
        return Err(Failure::usage(
            format!("{shown} does not say for which runbook it is"),
            format!("name a file, or one of: {}", shipped.join(", ")),
        ));
    };
    if !wanted.headless {
        return cockpit::open(
            settings,
            Some(&runbook),
            Some(&wanted.site),
            &wanted.given.set,
        );
    }
    let go = match wanted.go.is_empty() {
        true => rehearsal.go.iter().map(|n| n.text.clone()).collect(),
        false => wanted.go.clone(),
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
            site: Some(wanted.site.clone()),
            since: Some("now".to_owned()),
            trust: false,
            tear_down: !wanted.keep,
            given: wanted.given.clone(),
        },
    )
}
