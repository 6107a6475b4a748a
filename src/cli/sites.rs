//! Sites: finding them, and what they say for a runbook.

use super::{
    Exit, Failure,
    headless::environment,
    load::{Found, keep_trust, render_all},
    settings::Settings,
};
use crate::{
    checks::Scope,
    domain::{
        redact::Redactor,
        runbook::Runbook,
        site::{Baseline, Site},
        text::Clean,
    },
    engine::{SiteFile, Sources, Value},
    store::{Store, sha256},
    values::Values,
};
use std::{collections::HashMap, path::PathBuf};

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
    if !Site::is_one(&bytes) && crate::domain::runbook::Runbook::is_one(&bytes) {
        return Err(Failure::usage(
            format!("{shown} is a runbook, not a site"),
            "a site begins with `site: NAME`; see config/sites for examples",
        ));
    }
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

impl Place {
    /// What is done at this site: the runbook, and around it the proof and the tear-down of a rehearsal. Scripts
    /// of a site are trusted like those of a runbook.
    pub(super) fn around(&self, store: &Store, runbook: &mut Runbook) -> Result<(), Failure> {
        if self.file.site.rehearsal.is_none() {
            return Ok(());
        }
        if !store.is_trusted(&self.file.sha256) {
            let shown = self.path.display();
            return Err(Failure::new(
                Exit::PersonNeeded,
                format!("{shown} has steps and is not trusted: nothing in it was run"),
                format!("read it, then: blackstart trust {shown}"),
            ));
        }
        self.file.site.around(runbook);
        Ok(())
    }

    /// Remembers that a person trusts the steps of this site.
    pub(super) fn trust(&self, store: &Store) -> Result<(), Failure> {
        keep_trust(store, &self.file.sha256, &self.path.display().to_string())
    }
}

/// Is each secret that is held the one that the site recorded?
pub(super) fn secrets_fit(site: Option<&Site>, values: &[Value]) -> Result<(), Failure> {
    for value in values.iter().filter(|v| v.secret) {
        let recorded = site
            .and_then(|s| s.secrets.get(&value.name))
            .and_then(|s| s.sha256.as_ref());
        if recorded.is_some_and(|sha| *sha != sha256(value.value.as_bytes())) {
            return Err(Failure::new(
                Exit::WrongTarget,
                format!(
                    "the secret `{}` ({}) is not the one that the site recorded: its fingerprint is another one",
                    value.name, value.source
                ),
                "was it rotated? give the version of that time, or correct `sha256:` in the site's file",
            ));
        }
    }
    Ok(())
}

/// What was recorded in peace time, the site's own values among them.
pub(super) fn baselines(store: &Store, runbook: &Runbook, site: Option<&Site>) -> Vec<Baseline> {
    let mut all = store.baselines(&runbook.id, site.map(|s| s.name.as_str()));
    all.extend(site.and_then(|s| s.baseline.clone()));
    all
}

/// A site with its runbook and the values that are known without asking.
pub(super) struct Ready {
    pub place: Place,
    pub runbook: Runbook,
    pub scope: Scope,
    pub values: Vec<Value>,
}

pub(super) fn ready(settings: &Settings, name: &str) -> Result<Ready, Failure> {
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
        pins: HashMap::new(),
    };
    Ok((scope, values))
}

pub(super) fn redactor(values: &[Value]) -> Redactor {
    let secrets = values.iter().filter(|v| v.secret);
    Redactor::new(secrets.map(|v| (v.name.as_str(), v.value.as_str())))
}
