//! Sites: finding them, recording who is there in peace time, comparing; and baselines.

use super::{
    Exit, Failure,
    headless::environment,
    load::{Found, render_all},
    runtime, say, say_json,
    settings::Settings,
};
use crate::{
    checks::{self, Scope},
    domain::{
        event::{CheckPhase, Identity, Mode},
        incident::IncidentState,
        redact::Redactor,
        runbook::{Runbook, SystemKind},
        site::{Baseline, Site, identity_block, with_identity},
        text::Clean,
    },
    engine::{SiteFile, Sources, Value, age_of},
    store::{Store, sha256},
    systems::{self, Trouble},
    values::Values,
};
use indexmap::IndexMap;
use serde_json::json;
use std::{path::PathBuf, time::Duration};

/// A site as it was found on disk.
pub(super) struct Place {
    pub file: SiteFile,
    pub path: PathBuf,
}

/// `prod` is `sites/prod.yaml` in the config folder; anything with a slash or an ending is a file.
pub(super) fn find(settings: &Settings, name: &str) -> Result<Place, Failure> {
    let is_file = name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml");
    let path = if is_file {
        PathBuf::from(name)
    } else {
        let folder = settings.config_dir.as_ref().map(|d| d.join("sites"));
        folder.unwrap_or_default().join(format!("{name}.yaml"))
    };
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(|e| {
        let known = names(settings);
        let known = match known[..] {
            [] => "there is none yet; a file can be given as well: --site ./prod.yaml".to_owned(),
            _ => format!("there are: {}", known.join(", ")),
        };
        Failure::usage(
            format!("the site {}: {shown}: {e}", Clean::line(name)),
            known,
        )
    })?;
    let site = Site::read(&bytes).map_err(|findings| {
        let source = String::from_utf8_lossy(&bytes);
        Failure::usage(
            format!(
                "the site {shown}:\n\n{}",
                render_all(&findings, &shown, &source)
            ),
            format!("mend it, then: blackstart lint {shown}"),
        )
    })?;
    Ok(Place {
        file: SiteFile {
            site,
            sha256: sha256(&bytes),
            bytes,
        },
        path,
    })
}

fn names(settings: &Settings) -> Vec<String> {
    let folder = settings.config_dir.as_ref().map(|d| d.join("sites"));
    let entries = folder.and_then(|f| std::fs::read_dir(f).ok());
    let files = entries.into_iter().flatten().flatten().map(|e| e.path());
    let mut names: Vec<String> = files
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .filter_map(|p| Some(p.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

impl Place {
    /// The runbook that the site is for, as its file names it: an id, or a file beside it.
    pub(super) fn runbook_name(&self) -> Option<String> {
        let name = self.file.site.runbook.as_deref()?;
        if !name.contains(['/', '.']) {
            return Some(name.to_owned());
        }
        let beside = self.path.parent().map(|folder| folder.join(name));
        Some(beside.map_or_else(|| name.to_owned(), |p| p.display().to_string()))
    }

    /// Does the site fit the runbook?
    pub(super) fn must_fit(&self, found: &Found, runbook: &Runbook) -> Result<(), Failure> {
        let own = self.runbook_name().filter(|n| n.contains(['/', '.']));
        if let Some(own) = own {
            let same = std::fs::canonicalize(&own).ok() == found.file;
            if !same {
                return Err(Failure::usage(
                    format!(
                        "the site {} is for the runbook {}, not for {}",
                        self.path.display(),
                        Clean::line(&own),
                        found.shown
                    ),
                    format!(
                        "--site of a site for `{}`, or correct `runbook:` in its file",
                        runbook.id
                    ),
                ));
            }
        }
        let findings = self.file.site.against(runbook);
        if findings.is_empty() {
            return Ok(());
        }
        let (shown, source) = (
            self.path.display().to_string(),
            String::from_utf8_lossy(&self.file.bytes),
        );
        Err(Failure::usage(
            format!(
                "the site {shown} does not fit the runbook `{}`:\n\n{}",
                runbook.id,
                render_all(&findings, &shown, &source)
            ),
            "mend the site's file",
        ))
    }
}

/// What was recorded in peace time, the site's own values among them.
pub(super) fn baselines(store: &Store, runbook: &Runbook, site: Option<&Site>) -> Vec<Baseline> {
    let mut all = store.baselines(&runbook.id, site.map(|s| s.name.as_str()));
    all.extend(site.and_then(|s| s.baseline.clone()));
    all
}

/// A site with its runbook and the values that are known without asking.
struct Ready {
    place: Place,
    runbook: Runbook,
    scope: Scope,
    values: Vec<Value>,
}

fn ready(settings: &Settings, name: &str) -> Result<Ready, Failure> {
    let place = find(settings, name)?;
    let Some(runbook) = place.runbook_name() else {
        return Err(Failure::usage(
            format!("the site {name} does not say for which runbook it is"),
            "add `runbook: ID` to its file",
        ));
    };
    let found = Found::read(&runbook)?;
    let runbook = found.runbook()?;
    place.must_fit(&found, &runbook)?;
    // What is looked at comes from the runbook: it has to be trusted as for an incident.
    found.must_be_trusted(&settings.store()?)?;
    let (scope, values) = scope(&runbook, Some(&place.file.site), &[])?;
    Ok(Ready {
        place,
        runbook,
        scope,
        values,
    })
}

/// Where checks look, with what can be known without asking anyone.
pub(super) fn scope(
    runbook: &Runbook,
    site: Option<&Site>,
    set: &[(String, String)],
) -> Result<(Scope, Vec<Value>), Failure> {
    let sources = Sources {
        set,
        environment: &environment,
        site,
        defaults: true,
    };
    let values = sources
        .resolve(runbook)
        .map_err(|why| Failure::usage(why, "see `variables:` of the runbook and of the site"))?;
    let mut held = Values::default();
    for value in &values {
        let map = if value.secret {
            &mut held.secrets
        } else {
            &mut held.plain
        };
        map.insert(value.name.clone(), value.value.clone());
    }
    let env = values.iter().filter(|v| !v.secret).flat_map(|v| {
        let variable = runbook.variable(&v.name);
        variable.exports(&v.value)
    });
    let hidden = runbook.variables.values().filter(|v| v.is_secret());
    let hidden = hidden.flat_map(|v| {
        v.env
            .iter()
            .cloned()
            .chain([v.name.text.to_ascii_uppercase()])
    });
    let of_site = site
        .into_iter()
        .flat_map(|s| s.secrets.values().filter_map(|s| s.env.clone()));
    let scope = Scope {
        systems: runbook.systems.clone(),
        env: env.collect(),
        hidden: hidden.chain(of_site).collect(),
        workdir: std::env::current_dir().unwrap_or_default(),
        values: held,
    };
    Ok((scope, values))
}

pub(super) fn redactor(values: &[Value]) -> Redactor {
    let secrets = values.iter().filter(|v| v.secret);
    Redactor::new(secrets.map(|v| (v.name.as_str(), v.value.as_str())))
}

/// What was met where a system should be.
enum Met {
    Is(Identity),
    /// This version cannot tell who systems of this kind are.
    Nameless,
    No(String, String),
}

async fn meet(scope: &Scope, name: &str) -> Met {
    const DEADLINE: Duration = Duration::from_secs(5);
    let system = match checks::system(scope, name) {
        Ok(system) => system,
        Err(trouble) => return trouble_met(trouble),
    };
    let asked = systems::identity(&system, DEADLINE);
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
                    "{system}: a {} system has no identity in this version; write it by hand",
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
