//! The journal as people read it: one line an event, in the past tense.

use crate::domain::{
    event::{AttemptKind, CheckResult, Ending, Event, Outcome, PinnedBy, Verdict},
    incident::Incident,
    units,
};
use chrono::{DateTime, Utc};

/// One event in words.
pub fn describe(event: &Event) -> String {
    match event {
        Event::Opened { runbook, mode, .. } => {
            let mode = match mode {
                crate::domain::event::Mode::Live => "live incident",
                crate::domain::event::Mode::Drill => "DRILL",
            };
            format!("opened: {mode}, {} ({})", runbook.title, runbook.id)
        }
        Event::TlsWeakened { system, mode } => {
            format!("{system} is reached with `tls: {mode}`, as the runbook says")
        }
        Event::SeverityDeclared {
            severity,
            title,
            escalate,
            ..
        } => match escalate {
            Some(escalate) => format!("severity {severity} ({title}): {escalate}"),
            None => format!("severity {severity} ({title})"),
        },
        Event::BeganAtSet { began_at, source } => {
            format!(
                "began at {} ({source})",
                began_at.format("%Y-%m-%d %H:%M:%SZ")
            )
        }
        Event::ValueSet {
            name,
            value,
            source,
            ..
        } => match value {
            Some(value) => format!("{name} = {value} ({source})"),
            None => format!("{name} held, a secret ({source})"),
        },
        Event::Answered {
            question, answer, ..
        } => format!("{question} — {answer}"),
        Event::Planned { go, steps } => format!("plan: {} ({} steps)", go.join(", "), steps.len()),
        Event::IdentityPinned {
            system,
            identity,
            by,
        } => {
            let by = match by {
                PinnedBy::FirstContact => "at first contact, not verified",
                PinnedBy::Person => "accepted by a person",
                PinnedBy::Site => "as the site recorded it",
            };
            format!("{system} pinned to {} ({by})", identity.fingerprint())
        }
        Event::SiteChosen {
            site,
            kind,
            recorded,
            ..
        } => format!(
            "site {site} ({}), identities recorded for {}",
            kind.as_str(),
            match recorded.len() {
                0 => "nothing".to_owned(),
                _ => recorded.keys().cloned().collect::<Vec<_>>().join(", "),
            }
        ),
        Event::UpdateSent { text } => match text.as_str() {
            "" => "update sent to those who are not here".to_owned(),
            text => format!("update sent: {text}"),
        },
        Event::OnHandTicked { item, have } => {
            let state = if *have { "on hand" } else { "MISSING" };
            format!("{item}: {state}")
        }
        Event::AcceptedBeforehand {
            system,
            fingerprint,
        } => format!("{system} is accepted beforehand as {fingerprint}"),
        Event::TargetMoved { system, step } => {
            format!("{system} was moved by {step} to where nothing answers yet")
        }
        Event::IdentityProposed {
            system, old, new, ..
        } => {
            let old = old
                .as_ref()
                .map_or("nothing".to_owned(), |i| i.fingerprint());
            format!(
                "{system} has moved from {old} to {}: to be confirmed",
                new.fingerprint()
            )
        }
        Event::TargetRefused { step, reason, .. } => format!("{step} refused: {reason}"),
        Event::AttemptStarted {
            step,
            n,
            kind,
            out_of_order,
            confirmed,
            saw,
            ..
        } => {
            let what = match kind {
                AttemptKind::Run => "started",
                AttemptKind::Undo => "undo started",
            };
            let mut line = format!("{step} {what} (attempt {n})");
            if let Some(reason) = out_of_order {
                line.push_str(&format!(", before its turn or once more: {reason}"));
            }
            if let Some(name) = confirmed {
                line.push_str(&format!(", confirmed by typing `{name}`"));
            }
            if let Some(saw) = saw {
                line.push_str(&format!(", seen: {saw}"));
            }
            line
        }
        Event::AttemptStopAsked { step, n } => format!("{step} asked to stop (attempt {n})"),
        Event::AttemptUnsupervised { step, n } => {
            format!("{step} runs without its supervisor (attempt {n})")
        }
        Event::AttemptEnded {
            step, n, ending, ..
        } => {
            format!(
                "{step} {} (attempt {n}, {})",
                ended(ending),
                units::clock(ending.elapsed_s)
            )
        }
        Event::CausesFound { step, causes, .. } => match causes.first() {
            Some(best) => match (&best.text, best.line) {
                (Some(text), Some(line)) => {
                    format!("{step}: likely cause: {} (line {line}: {text})", best.cause)
                }
                _ => format!("{step}: likely cause: {}", best.cause),
            },
            None => format!("{step}: no row of the failure table matches; one should be written"),
        },
        Event::ProbeRan { step, row, check } => format!("{step}: probe of {row}: {}", saw(check)),
        Event::CauseJudged {
            step, row, right, ..
        } => match right {
            true => format!("{step}: the cause was {row}"),
            false => format!("{step}: the cause was not {row}"),
        },
        Event::StepSkipped { step, reason, .. } => format!("{step} skipped: {reason}"),
        Event::MomentMeasured { store, at, .. } => {
            format!("{store} recovered to {}", at.format("%Y-%m-%d %H:%M:%SZ"))
        }
        Event::AlarmGiven { text } => format!("the alarm: {text}"),
        Event::DrillRevealed(revealed) => {
            format!("the drill is over; what was broken: {}", revealed.title)
        }
        Event::NoteAdded { text } => format!("note: {text}"),
        Event::RecoveryChecked { checks, holds } => {
            let passed = checks.iter().filter(|c| c.passed).count();
            let verdict = if *holds { "holds" } else { "does not hold" };
            format!(
                "recovery checked: {passed} of {} checks, {verdict}",
                checks.len()
            )
        }
        Event::Recovered { .. } => "RECOVERED".to_owned(),
        Event::Closed { reason } if reason.as_str().is_empty() => "closed".to_owned(),
        Event::Closed { reason } => format!("closed: {reason}"),
        Event::ControlTaken { how } => how.to_string(),
        Event::JournalRepaired { bytes, kept } => {
            format!(
                "a torn last line of {bytes} bytes, never acknowledged, was set aside in {kept}"
            )
        }
        Event::Unknown => "an entry of a newer version".to_owned(),
    }
}

fn ended(ending: &Ending) -> String {
    let outcome = match ending.outcome {
        Outcome::Succeeded if !ending.verified => "ended with exit 0, unverified",
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "FAILED",
        Outcome::TimedOut => "TIMED OUT",
        Outcome::Cancelled => "was stopped",
        Outcome::Unknown => "ended in a way that is not known",
    };
    match &ending.reason {
        Some(reason) => format!("{outcome}: {reason}"),
        None => outcome.to_owned(),
    }
}

/// What a check expected and saw, in words.
pub fn saw(check: &CheckResult) -> String {
    let verdict = match check.verdict {
        Verdict::Holds => "holds",
        Verdict::DoesNotHold => "does not hold",
        Verdict::CannotTell => "cannot tell",
    };
    format!(
        "{}: {verdict}: expected {}, saw {}",
        check.what, check.expected, check.seen
    )
}

/// The moments that people ask for afterwards.
pub fn milestones(incident: &Incident) -> Vec<(&'static str, DateTime<Utc>)> {
    let first = incident
        .steps
        .iter()
        .flat_map(|s| s.attempts.first())
        .map(|a| a.started_at)
        .min();
    let all = [
        ("began", Some(incident.began())),
        ("opened", Some(incident.opened_at)),
        ("triaged", incident.answers.last().map(|a| a.at)),
        ("planned", incident.planned_at),
        ("first step started", first),
        ("recovered", incident.recovered_at),
        ("closed", incident.closed.as_ref().map(|(at, _)| *at)),
    ];
    all.into_iter()
        .filter_map(|(what, at)| Some((what, at?)))
        .collect()
}
