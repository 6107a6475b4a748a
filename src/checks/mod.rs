//! What can be looked at: the hands of each kind of check. Its words are in
//! `domain::runbook::kinds`, one file for each of these.

pub mod command;
mod dns;
mod file;
mod http;
mod kubernetes;
mod postgres;
mod redis;
pub mod rights;
mod tcp;
mod tls;

pub use crate::systems::Trouble;

use crate::{
    domain::{
        event::{CheckPhase, CheckResult, Identity, Verdict},
        expect::{Comparison, Expect},
        redact::Redactor,
        runbook::{Check, System, SystemKind, kinds::CheckKind},
        text::Clean,
    },
    systems::kubernetes::{
        self as kubernetes_system,
        forward::{Forward, Way},
        kubeconfig::{Private, Turned},
        watch::Watch,
    },
    values::Values,
};
use indexmap::IndexMap;
use std::{collections::HashMap, path::PathBuf, time::Duration};
use tokio::time::Instant;

/// Where a check looks: systems as written, the values they are filled with, and for commands the
/// folder and the environment.
#[derive(Clone, Default)]
pub struct Scope {
    pub systems: IndexMap<String, System>,
    pub values: Values,
    pub workdir: PathBuf,
    /// What a check's command finds in its environment beside that of this process.
    pub env: Vec<(String, String)>,
    /// Names that a check's command must not inherit: secrets came from them.
    pub hidden: Vec<String>,
    /// Who the systems are, as the incident knows them.
    pub pins: HashMap<String, Identity>,
}

impl Scope {
    /// The kubeconfig for commands: of the clusters of the runbook, and no others. `None` where there are
    /// none; an error where a context leads elsewhere by now.
    pub fn kubeconfig(&self) -> Result<Option<Private>, Turned> {
        let filled: Vec<System> = self
            .systems
            .values()
            .filter(|s| s.kind == SystemKind::Kubernetes)
            .filter_map(|s| self.values.system(s).ok())
            .collect();
        let with_pins = filled.iter().map(|s| (s, self.pins.get(&s.name.text)));
        Private::of(with_pins)
    }
}

/// What a hand saw. `holds` is its own judgement where the kind has one (rows, JSON, a status).
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    /// What `expect` is compared with.
    pub text: String,
    pub holds: Option<bool>,
    /// What people are shown when there is no text.
    pub otherwise: Option<String>,
}

impl Seen {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    pub fn judged(text: impl Into<String>, holds: bool) -> Self {
        Self {
            text: text.into(),
            holds: Some(holds),
            otherwise: None,
        }
    }

    #[must_use]
    pub fn or_shown(mut self, otherwise: impl Into<String>) -> Self {
        self.otherwise = Some(otherwise.into());
        self
    }
}

/// How much of *seen* is kept.
const LONGEST_SEEN: usize = 4096;

/// Runs a check until it holds, `fails` matches, or its `within` is over; each try has its own
/// deadline. Never fails: what goes wrong is what was seen. The result holds no secret.
pub async fn run(
    check: &Check,
    phase: CheckPhase,
    scope: &Scope,
    redactor: &Redactor,
) -> CheckResult {
    run_telling(check, phase, scope, redactor, &mut |_| {}).await
}

/// The same, and tells what it sees meanwhile, each time that it is something else.
pub async fn run_telling(
    check: &Check,
    phase: CheckPhase,
    scope: &Scope,
    redactor: &Redactor,
    tell: &mut (dyn FnMut(&str) + Send),
) -> CheckResult {
    let started = Instant::now();
    let until = check.within.map(|within| started + within);
    let every = check.every.unwrap_or(Check::EVERY);
    let mut watch = None;
    let mut told = String::new();
    loop {
        let (verdict, seen, help, ended) = once(check, scope).await;
        let now = Instant::now();
        let over = until.is_none_or(|until| now >= until);
        if verdict == Verdict::Holds || ended || over {
            let shown = scope.values.masked_check(check);
            let text = |t: &str| Clean::new(&redactor.text(t));
            return CheckResult {
                what: Clean::line(&redactor.text(&shown.label())),
                phase,
                verdict,
                expected: text(&shown.expected()),
                seen: text(&shorten(&seen)),
                passed: verdict == Verdict::Holds,
                elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                system: check.system().map(|n| n.text.clone()),
                help: help.map(|h| text(&h)),
            };
        }
        let shown = redactor.text(&shorten(&seen));
        if shown != told {
            let said = match verdict {
                Verdict::CannotTell => format!("cannot tell: {shown}"),
                Verdict::Holds | Verdict::DoesNotHold => shown.clone(),
            };
            tell(&said);
            told = shown;
        }
        // The last try is at the end of the time.
        let next = (now + every).min(until.unwrap_or(now));
        if watch.is_none() && verdict == Verdict::DoesNotHold {
            watch = watch_of(check, scope).await;
        }
        match &mut watch {
            Some(watch) => watch.changed(next).await,
            None => tokio::time::sleep_until(next).await,
        }
    }
}

/// Where it can be watched instead of being asked again and again.
async fn watch_of(check: &Check, scope: &Scope) -> Option<Watch> {
    let filled = scope.values.check(check).ok()?;
    match &filled.what {
        CheckKind::Kubernetes(words) => {
            let system = system(scope, &words.system.text).ok()?;
            kubernetes::watch(words, &system).await
        }
        CheckKind::Postgres(_)
        | CheckKind::Redis(_)
        | CheckKind::Http(_)
        | CheckKind::Command(_)
        | CheckKind::Tcp(_)
        | CheckKind::Tls(_)
        | CheckKind::Dns(_)
        | CheckKind::File(_) => None,
    }
}

type Judged = (Verdict, String, Option<String>, bool);

/// One try: its verdict, what was seen, help, and whether `fails` ends the tries.
async fn once(check: &Check, scope: &Scope) -> Judged {
    let filled = match scope.values.check(check) {
        Ok(filled) => filled,
        Err(missing) => {
            let help = format!("give it: {}", missing.0);
            return (Verdict::CannotTell, missing.to_string(), Some(help), true);
        }
    };
    let timeout = check.timeout.unwrap_or(Check::TIMEOUT);
    let looked = match tokio::time::timeout(timeout, look(&filled, scope, timeout)).await {
        Ok(looked) => looked,
        Err(_) => Err(Trouble::cannot_tell(
            format!("no answer within {}", humantime::format_duration(timeout)),
            "is there a route (VPN, firewall, security group)? a longer `timeout:` if it is only slow",
        )),
    };
    match looked {
        Ok(seen) => judge(&filled, seen),
        Err(Trouble::Down(why)) => {
            let ended = matches(filled.fails.as_deref(), &why);
            (Verdict::DoesNotHold, why, None, ended)
        }
        Err(Trouble::CannotTell { why, help }) => {
            let ended = matches(filled.fails.as_deref(), &why);
            (Verdict::CannotTell, why, Some(help), ended)
        }
    }
}

fn judge(check: &Check, seen: Seen) -> Judged {
    let ended = matches(check.fails.as_deref(), &seen.text);
    let own = seen.holds.unwrap_or(true);
    let shown = match (&seen.otherwise, seen.text.trim().is_empty()) {
        (Some(otherwise), true) => otherwise.clone(),
        _ => seen.text.clone(),
    };
    let (verdict, text) = match check.expect.as_deref().map(Expect::parse) {
        None => (own, shown),
        Some(Ok(expect)) => match expect.judge(&seen.text) {
            Comparison::Holds => (own, shown),
            Comparison::Fails => (false, shown),
            Comparison::CannotCompare => {
                let shown = seen.text.trim();
                let shown = if shown.is_empty() { "nothing" } else { shown };
                (false, format!("cannot compare: {shown}"))
            }
        },
        Some(Err(e)) => (false, format!("cannot compare: {e}")),
    };
    let verdict = if verdict {
        Verdict::Holds
    } else {
        Verdict::DoesNotHold
    };
    (verdict, text, None, ended)
}

fn matches(fails: Option<&str>, seen: &str) -> bool {
    fails
        .and_then(|f| Expect::parse(f).ok())
        .is_some_and(|f| f.judge(seen) == Comparison::Holds)
}

fn shorten(seen: &str) -> String {
    let trimmed = seen.trim_end();
    match trimmed.char_indices().nth(LONGEST_SEEN) {
        Some((at, _)) => format!("{} … ({} bytes in all)", &trimmed[..at], trimmed.len()),
        None => trimmed.to_owned(),
    }
}

/// The hands. `check` is filled in; its system is filled in here.
async fn look(check: &Check, scope: &Scope, timeout: Duration) -> Result<Seen, Trouble> {
    let reached = match check.system() {
        Some(name) => Some(reached(scope, &name.text, timeout).await?),
        None => None,
    };
    let looked = look_at(check, reached.as_ref().map(|r| &r.system), scope, timeout).await;
    match (looked, &reached) {
        (Err(trouble), Some(reached)) => Err(reached.explain(trouble)),
        (looked, _) => looked,
    }
}

async fn look_at(
    check: &Check,
    system: Option<&System>,
    scope: &Scope,
    timeout: Duration,
) -> Result<Seen, Trouble> {
    match (&check.what, system) {
        (CheckKind::Postgres(words), Some(system)) => postgres::look(words, system, timeout).await,
        (CheckKind::Redis(words), Some(system)) => redis::look(words, system, timeout).await,
        (CheckKind::Http(words), Some(system)) => http::look(words, system, timeout).await,
        (CheckKind::Kubernetes(words), Some(system)) => {
            kubernetes::look(words, system, timeout).await
        }
        (CheckKind::Command(words), _) => command::look(words, scope).await,
        (CheckKind::Tcp(words), _) => tcp::look(words).await,
        (CheckKind::Tls(words), _) => tls::look(words).await,
        (CheckKind::Dns(words), _) => dns::look(words).await,
        (CheckKind::File(words), _) => file::look(words, scope, check.expect.is_some()),
        (
            CheckKind::Postgres(_)
            | CheckKind::Redis(_)
            | CheckKind::Http(_)
            | CheckKind::Kubernetes(_),
            None,
        ) => Err(Trouble::cannot_tell("no system is named", "")),
    }
}

/// A system as it can be reached: with its values in place, and with a port-forward where it needs one,
/// which is closed when this goes.
pub struct Reached {
    pub system: System,
    forward: Option<Forward>,
}

impl Reached {
    /// What the far end of a port-forward said goes before what the near end saw.
    pub fn explain(&self, seen: Trouble) -> Trouble {
        match &self.forward {
            Some(forward) => forward.explain(seen),
            None => seen,
        }
    }
}

/// Opens the way to a system.
pub async fn reached(scope: &Scope, name: &str, deadline: Duration) -> Result<Reached, Trouble> {
    let mut found = system(scope, name)?;
    let Some(way) = found.via.as_ref().and_then(Way::of) else {
        return Ok(Reached {
            system: found,
            forward: None,
        });
    };
    let beyond = |trouble: Trouble| match trouble {
        Trouble::Down(why) => Trouble::Down(format!("through `{}`: {why}", way.cluster)),
        Trouble::CannotTell { why, help } => {
            Trouble::cannot_tell(format!("through `{}`: {why}", way.cluster), help)
        }
    };
    let cluster = system(scope, &way.cluster)?;
    let opened = async {
        let cluster = kubernetes_system::connect(&cluster, deadline).await?;
        let host = way.host(&cluster.namespace);
        Ok((host, Forward::open(cluster, &way).await?))
    };
    let (host, forward) = match opened.await {
        Ok(opened) => opened,
        Err(trouble) => return Err(beyond(trouble)),
    };
    found.fields.entry("host".to_owned()).or_insert(host);
    if !way.port.is_empty() {
        let port = way.port.clone();
        found.fields.entry("port".to_owned()).or_insert(port);
    }
    found.through = Some(forward.at.to_string());
    Ok(Reached {
        system: found,
        forward: Some(forward),
    })
}

/// A system with its values in place, or which value is missing.
pub fn system(scope: &Scope, name: &str) -> Result<System, Trouble> {
    let written = scope.systems.get(name).ok_or_else(|| {
        Trouble::cannot_tell(format!("no system is called `{name}`"), "see `systems:`")
    })?;
    scope.values.system(written).map_err(|missing| {
        Trouble::cannot_tell(
            format!("not probed: needs {}", missing.0),
            format!("give a value for `{}`", missing.0),
        )
    })
}

/// Is the system there at all? What triage asks of each suspect.
pub async fn probe(name: &str, scope: &Scope, redactor: &Redactor) -> CheckResult {
    let started = Instant::now();
    let deadline = Duration::from_secs(3);
    let look = async {
        let reached = reached(scope, name, deadline).await?;
        let looked = crate::systems::reach(&reached.system, deadline).await;
        looked.map_err(|trouble| reached.explain(trouble))
    };
    let looked = match tokio::time::timeout(deadline, look).await {
        Ok(looked) => looked,
        Err(_) => Err(Trouble::cannot_tell(
            "no answer within 3 s",
            "is there a route (VPN, firewall, security group)?",
        )),
    };
    let (verdict, seen, help) = match looked {
        Ok(seen) => (Verdict::Holds, seen, None),
        Err(Trouble::Down(why)) => (Verdict::DoesNotHold, why, None),
        Err(Trouble::CannotTell { why, help }) => (Verdict::CannotTell, why, Some(help)),
    };
    CheckResult {
        what: Clean::line(name),
        phase: CheckPhase::Probe,
        verdict,
        expected: "answers".into(),
        seen: Clean::line(&redactor.text(&shorten(&seen))),
        passed: verdict == Verdict::Holds,
        elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        system: Some(name.to_owned()),
        help: help.map(|h| Clean::line(&redactor.text(&h))),
    }
}
