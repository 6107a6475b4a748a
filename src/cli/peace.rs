//! What is done in peace time: recording who is there, comparing, and taking values to compare with later.

use super::{
    Exit, Failure,
    load::{Found, render_all},
    runtime, say, say_json,
    settings::Settings,
    sites::{baselines, find, ready, redactor, scope},
};
use crate::{
    checks::{self, Scope},
    domain::{
        event::{CheckPhase, Identity, Mode},
        incident::IncidentState,
        runbook::SystemKind,
        site::{Site, identity_block, with_identity},
        text::Clean,
    },
    engine::age_of,
    store::{Store, sha256},
    systems::{self, Trouble},
};
use indexmap::IndexMap;
use serde_json::json;
use std::time::Duration;

/// What was met where a system should be.
enum Met {
    Is(Identity),
    /// This version cannot tell who systems of this kind are.
    Nameless,
    No(String, String),
}

async fn meet(scope: &Scope, name: &str) -> Met {
    const DEADLINE: Duration = Duration::from_secs(5);
    let asked = async {
        let reached = checks::reached(scope, name, DEADLINE).await?;
        let read = systems::identity(&reached.system, DEADLINE).await;
        read.map_err(|trouble| reached.explain(trouble))
    };
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(Ok(Some(identity))) => Met::Is(identity),
        Ok(Ok(None)) => Met::Nameless,
        Ok(Err(trouble)) => trouble_met(trouble),
        Err(_) => Met::No("no answer within 5 s".to_owned(), String::new()),
    }
}

fn trouble_met(trouble: Trouble) -> Met {
    match trouble {
        Trouble::Down(why) => Met::No(why, String::new()),
        Trouble::CannotTell { why, help } => Met::No(why, help),
    }
}

/// Has an incident of this runbook begun? Then nothing of peace time can be measured.
fn in_peace(store: &Store, runbook: &str, what: &str) -> Result<(), Failure> {
    let open =
        store.summaries().into_iter().flatten().find(|s| {
            s.state == IncidentState::Open && s.mode == Mode::Live && s.runbook == runbook
        });
    match open {
        None => Ok(()),
        Some(open) => Err(Failure::new(
            Exit::PersonNeeded,
            format!(
                "{what} is a thing of peace time, and the incident {} is open",
                open.id
            ),
            format!("when it is over: blackstart close {}", open.id),
        )),
    }
}

/// `site record NAME`: looks who is there and writes it into the site's file.
pub(super) fn record(
    settings: &Settings,
    name: &str,
    fingerprints: &[String],
    replace_others: bool,
) -> Result<Exit, Failure> {
    let ready = ready(settings, name)?;
    in_peace(
        &settings.store()?,
        &ready.runbook.id,
        "recording identities",
    )?;
    let mut found: IndexMap<String, (SystemKind, Identity)> = IndexMap::new();
    let mut missed = 0;
    runtime()?.block_on(async {
        for (system, written) in &ready.runbook.systems {
            match meet(&ready.scope, system).await {
                Met::Is(identity) => {
                    say(&format!("{system}: {}", identity.fingerprint()));
                    found.insert(system.clone(), (written.kind, identity));
                }
                Met::Nameless => say(&format!(
                    "{system}: who a {} system is cannot be told in this version, and is not compared",
                    written.kind.as_str()
                )),
                Met::No(why, help) => {
                    missed += 1;
                    say(Clean::new(&format!("{system}: not recorded: {why}")).as_str());
                    if !help.is_empty() {
                        say(Clean::new(&format!("  → {help}")).as_str());
                    }
                }
            }
        }
    });
    for name in fingerprints {
        if !ready.runbook.is_secret(name) {
            let names = ready.runbook.variables.values().filter(|v| v.is_secret());
            let help =
                crate::domain::finding::did_you_mean(name, names.map(|v| v.name.text.as_str()));
            return Err(Failure::usage(
                format!(
                    "--fingerprint {}: this is no secret of the runbook",
                    Clean::line(name)
                ),
                help,
            ));
        }
        let Some(value) = ready.values.iter().find(|v| v.name == *name && v.secret) else {
            return Err(Failure::usage(
                format!(
                    "--fingerprint {}: no such secret is in the environment",
                    Clean::line(name)
                ),
                "set the environment variable that `env:` names",
            ));
        };
        say(&format!(
            "under `secrets:` write  {name}: {{ sha256: {} }}",
            sha256(value.value.as_bytes())
        ));
    }
    if found.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            "nothing was recorded: no system answered",
            format!("blackstart site check {name}"),
        ));
    }
    let others: Vec<String> = found
        .iter()
        .filter_map(|(system, (_, seen))| {
            let was = ready
                .place
                .file
                .site
                .identity
                .get(system)
                .filter(|r| !r.is(seen))?;
            Some(format!(
                "{system}: was {}, is {}",
                was.fingerprint(),
                seen.fingerprint()
            ))
        })
        .collect();
    if !others.is_empty() && !replace_others {
        return Err(Failure::new(
            Exit::WrongTarget,
            format!(
                "nothing was recorded: somebody else is recorded already\n  {}",
                others.join("\n  ")
            ),
            format!("if the new one is right: blackstart site record {name} --replace"),
        ));
    }
    // What did not answer keeps what was recorded of it before.
    let text = String::from_utf8_lossy(&ready.place.file.bytes).into_owned();
    let mut block = identity_block(&found);
    for (system, recorded) in &ready.place.file.site.identity {
        if !found.contains_key(system) {
            let parts = [
                ("endpoint", &recorded.endpoint),
                ("system_identifier", &recorded.own),
                ("certificate_sha256", &recorded.certificate),
            ];
            block.push_str(&format!("  {system}:\n"));
            for (key, value) in parts {
                if let Some(value) = value {
                    block.push_str(&format!("    {key}: \"{value}\"\n"));
                }
            }
        }
    }
    let new = with_identity(&text, &block);
    if let Err(findings) = Site::read(new.as_bytes()) {
        let shown = ready.place.path.display().to_string();
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "the identities cannot be put into {shown}:\n{}",
                render_all(&findings, &shown, &new)
            ),
            format!("put them in by hand:\n{block}"),
        ));
    }
    replace(&ready.place.path, new.as_bytes())?;
    say(&format!("recorded in {}", ready.place.path.display()));
    Ok(if missed > 0 { Exit::Failed } else { Exit::Done })
}

/// Atomically, with the rights that the file had.
fn replace(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    let rights = std::fs::metadata(path).map(|m| m.permissions());
    let written = crate::private::replace(path, bytes)
        .and_then(|()| rights.and_then(|r| std::fs::set_permissions(path, r)));
    written.map_err(|e| {
        Failure::new(
            Exit::Failed,
            format!("{}: {e}", path.display()),
            "is it yours to write?",
        )
    })
}

/// `site check NAME`: is everybody who was recorded still there, and every secret the right one?
pub(super) fn check(settings: &Settings, name: &str, as_json: bool) -> Result<Exit, Failure> {
    let ready = ready(settings, name)?;
    let site = &ready.place.file.site;
    let mut rows: Vec<(String, &'static str, String)> = Vec::new();
    let mut worst = Exit::Done;
    runtime()?.block_on(async {
        for system in ready.runbook.systems.keys() {
            let recorded = site.identity.get(system);
            let (state, what) = match (meet(&ready.scope, system).await, recorded) {
                (Met::Is(seen), Some(recorded)) if recorded.is(&seen) => {
                    ("verified", seen.fingerprint())
                }
                (Met::Is(seen), Some(recorded)) => {
                    worst = Exit::WrongTarget;
                    let what = format!(
                        "recorded {}, seen {}",
                        recorded.fingerprint(),
                        seen.fingerprint()
                    );
                    ("another", what)
                }
                (Met::Is(seen), None) => ("not-recorded", seen.fingerprint()),
                (Met::Nameless, _) => ("no-identity", "not in this version".to_owned()),
                (Met::No(why, help), _) => {
                    if worst == Exit::Done {
                        worst = Exit::Failed;
                    }
                    let help = if help.is_empty() {
                        help
                    } else {
                        format!(" → {help}")
                    };
                    ("no-answer", format!("{why}{help}"))
                }
            };
            rows.push((system.clone(), state, Clean::line(&what).into_string()));
        }
    });
    for (name, source) in &site.secrets {
        let held = ready.values.iter().find(|v| v.name == *name);
        let (state, what) = match (held, &source.sha256) {
            (Some(value), Some(sha)) if sha256(value.value.as_bytes()) == *sha => {
                ("verified", "its fingerprint fits".to_owned())
            }
            (Some(_), Some(_)) => {
                worst = Exit::WrongTarget;
                (
                    "another",
                    "its fingerprint is not the recorded one".to_owned(),
                )
            }
            (Some(_), None) => ("held", "no fingerprint is recorded".to_owned()),
            (None, sha) => {
                let env = source
                    .env
                    .as_deref()
                    .map_or(String::new(), |e| format!("{e} is not set; "));
                let print = if sha.is_some() {
                    "it will be compared when it is fetched"
                } else {
                    "no fingerprint is recorded"
                };
                ("not-held", format!("{env}{print}"))
            }
        };
        rows.push((name.clone(), state, what));
    }
    if let Some(last) = baselines(&settings.store()?, &ready.runbook, Some(site))
        .into_iter()
        .max_by_key(|b| b.at)
    {
        let age = (crate::clock::now() - last.at).num_seconds().unsigned_abs();
        let values: Vec<String> = last
            .values
            .iter()
            .map(|(n, v)| format!("{n} {v}"))
            .collect();
        rows.push((
            "baseline".to_owned(),
            "held",
            format!("{}, {} old", values.join(", "), age_of(age)),
        ));
    }
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(n, s, w)| json!({"name": n, "state": s, "what": w}))
            .collect();
        say_json(
            &json!({"site": site.name, "kind": site.kind, "runbook": ready.runbook.id, "checks": rows}),
        );
    } else {
        let wide = rows.iter().map(|(n, ..)| n.len()).max().unwrap_or(0);
        for (name, state, what) in &rows {
            say(&format!("{name:<wide$}  {state:<12}  {what}"));
        }
    }
    Ok(worst)
}

/// `baseline RUNBOOK`: looks at what each variable `from: baseline` has as its first hint, and keeps it.
pub(super) fn baseline(
    settings: &Settings,
    runbook: &str,
    site: Option<&str>,
    set: &[String],
    as_json: bool,
) -> Result<Exit, Failure> {
    let place = site.map(|s| find(settings, s)).transpose()?;
    let found = Found::read(runbook)?;
    let runbook = found.runbook()?;
    let store = settings.store()?;
    found.must_be_trusted(&store)?;
    if let Some(place) = &place {
        place.must_fit(&found, &runbook)?;
    }
    in_peace(&store, &runbook.id, "a baseline")?;
    let site = place.as_ref().map(|p| &p.file.site);
    let (scope, values) = scope(&runbook, site, &super::pairs("--set", set)?)?;
    let redactor = redactor(&values);
    let wanted: Vec<_> = runbook
        .variables
        .values()
        .filter(|v| v.from_baseline)
        .collect();
    if wanted.is_empty() {
        return Err(Failure::usage(
            format!("no variable of `{}` is `from: baseline`", runbook.id),
            "there is nothing to record",
        ));
    }
    let mut taken: IndexMap<String, String> = IndexMap::new();
    let mut missed: Vec<String> = Vec::new();
    runtime()?.block_on(async {
        for variable in wanted {
            let name = &variable.name.text;
            let Some(check) = variable.hint.first() else {
                missed.push(format!("{name}: it has no `hint:` that could be looked at"));
                continue;
            };
            let result = checks::run(check, CheckPhase::Probe, &scope, &redactor).await;
            match (result.passed, variable.accept(result.seen.as_str().trim())) {
                (true, Ok(value)) => {
                    taken.insert(name.clone(), value);
                }
                (true, Err(why)) => missed.push(format!("{name}: {why}")),
                (false, _) => {
                    missed.push(format!("{name}: {} — seen: {}", check.label(), result.seen))
                }
            }
        }
    });
    let at = match taken.is_empty() {
        true => None,
        false => Some(
            store
                .keep_baseline(&runbook.id, site.map(|s| s.name.as_str()), &taken)
                .map_err(|e| {
                    Failure::new(
                        Exit::Failed,
                        format!("the baseline cannot be kept: {e}"),
                        "another place: --state-dir DIR",
                    )
                })?,
        ),
    };
    if as_json {
        say_json(
            &json!({"runbook": runbook.id, "site": site.map(|s| &s.name), "at": at, "values": taken, "missed": missed}),
        );
    } else {
        for (name, value) in &taken {
            say(&format!("{name} = {value}"));
        }
        for line in &missed {
            say(Clean::new(&format!("not taken: {line}")).as_str());
        }
    }
    Ok(if missed.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}
