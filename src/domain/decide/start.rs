//! May a step be started, and with what it was seen to be aimed at?

use super::{IdentityRead, Refusal, Sight, Start, planned};
use crate::domain::{
    event::{AttemptKind, Event, Identity, PinnedBy},
    incident::{Incident, IncidentState, PlannedStep, StepState},
    plan,
    runbook::{Danger, Runbook, Step, Undo},
    site::Recorded,
    text::Clean,
};

/// May the step be started at all? Asked before the edge looks, and again with what it saw.
pub fn may_start<'i>(
    incident: &'i Incident,
    runbook: &Runbook,
    start: &Start,
) -> Result<&'i PlannedStep, Refusal> {
    if incident.state() == IncidentState::Closed {
        return Err(Refusal::Closed);
    }
    let planned = planned(incident, &start.step)?;
    let name = planned.plan.step.clone();
    if let Some(attempt) = planned.running() {
        return Err(if attempt.unsupervised {
            Refusal::Unsupervised(name)
        } else {
            Refusal::Running(name)
        });
    }
    let step = runbook
        .step(&name)
        .ok_or_else(|| Refusal::UnknownStep(name.clone()))?;
    if start.undo {
        return match &step.undo {
            None => Err(Refusal::NoUndo(name)),
            Some(Undo::Kubernetes(_) | Undo::Run(_)) => Ok(planned),
        };
    }
    let reasoned = start
        .reason
        .as_deref()
        .is_some_and(|r| !r.trim().is_empty());
    match planned.state() {
        StepState::Succeeded if !reasoned && !planned.fetch_again => {
            return Err(Refusal::Again(name));
        }
        StepState::Unknown if !reasoned => return Err(Refusal::EndUnknown(name)),
        StepState::Succeeded
        | StepState::Unknown
        | StepState::Pending
        | StepState::Running
        | StepState::Unverified
        | StepState::Failed
        | StepState::Skipped => {}
    }
    let waits = incident.waits_for(planned);
    if !waits.is_empty() && !reasoned {
        return Err(Refusal::OutOfOrder {
            step: name,
            for_: waits.join(", "),
        });
    }
    if step.is_manual() && start.saw.as_deref().is_none_or(|s| s.trim().is_empty()) {
        return Err(Refusal::Saw(name));
    }
    // What may be done already needs no more than the look at that.
    let all = step.unless.is_none() || start.anyway;
    let missing = missing_values(incident, runbook, step, all);
    if !missing.is_empty() {
        return Err(Refusal::MissingValues(missing.join(", ")));
    }
    Ok(planned)
}

/// The names of values that a step needs and that nobody has given: all of them, or those for the look
/// whether it is done already.
pub fn missing_values(
    incident: &Incident,
    runbook: &Runbook,
    step: &Step,
    all: bool,
) -> Vec<String> {
    let needed = match (&step.unless, all) {
        (Some(unless), false) => plan::check_needs(runbook, unless),
        (_, _) => plan::needs(runbook, step),
    };
    needed
        .into_iter()
        .filter(|name| !incident.values.contains_key(name))
        .collect()
}

/// A start, decided with what the edge saw: an attempt, a skip ("already done"), or a refusal with
/// the event that records it.
pub fn start(
    incident: &Incident,
    runbook: &Runbook,
    start: &Start,
    sight: &Sight,
) -> Result<Vec<Event>, (Refusal, Vec<Event>)> {
    let planned = may_start(incident, runbook, start).map_err(|r| (r, Vec::new()))?;
    let name = planned.plan.step.clone();
    let step = runbook
        .step(&name)
        .ok_or_else(|| (Refusal::UnknownStep(name.clone()), Vec::new()))?;
    let mut events = Vec::new();
    if let Some(unless) = &sight.unless
        && unless.passed
        && !start.anyway
        && !start.undo
    {
        events.push(Event::StepSkipped {
            step: name,
            reason: Clean::line(&format!(
                "already done: {} saw {}",
                unless.what, unless.seen
            )),
            checks: vec![unless.clone()],
        });
        return Ok(events);
    }
    if !start.undo {
        let missing = missing_values(incident, runbook, step, true);
        if !missing.is_empty() {
            return Err((Refusal::MissingValues(missing.join(", ")), Vec::new()));
        }
    }
    if step.danger != Danger::None || start.undo {
        events = right_target(incident, runbook, planned, step, sight)?;
    }
    if step.danger == Danger::Destroy && !start.undo {
        let wanted = sight.confirm.clone().unwrap_or_default();
        if start.typed.as_deref().map(str::trim) != Some(wanted.trim()) {
            return Err((Refusal::Confirm(wanted), Vec::new()));
        }
    }
    let n = planned.attempts.last().map_or(1, |a| a.n + 1);
    let waits = !incident.waits_for(planned).is_empty()
        || matches!(planned.state(), StepState::Succeeded | StepState::Unknown);
    let id = &planned.plan.id;
    events.push(Event::AttemptStarted {
        n,
        kind: if start.undo {
            AttemptKind::Undo
        } else {
            AttemptKind::Run
        },
        dir: format!("steps/{:02}-{id}-a{n}", planned.plan.number),
        command: Clean::new(&sight.command),
        confirmed: (step.danger == Danger::Destroy && !start.undo)
            .then(|| Clean::line(&sight.confirm.clone().unwrap_or_default())),
        out_of_order: start
            .reason
            .as_deref()
            .filter(|_| waits)
            .map(|r| Clean::new(r.trim())),
        saw: start.saw.as_deref().map(|s| Clean::new(s.trim())),
        tries_left: start.tries_left.unwrap_or(0),
        step: name,
    });
    Ok(events)
}

fn as_identity(recorded: &Recorded) -> Identity {
    Identity {
        endpoint: recorded.endpoint.clone().unwrap_or_default(),
        own: recorded.own.clone(),
        certificate: recorded.certificate.clone(),
        note: None,
        user: None,
    }
}

/// What is met is not what the site recorded in peace time.
pub(super) fn not_recorded(
    system: String,
    recorded: &Recorded,
    seen: Identity,
    step: String,
) -> (String, Event) {
    let reason = format!(
        "`{system}` is not the one that the site recorded: recorded {}, seen {}",
        recorded.fingerprint(),
        seen.fingerprint()
    );
    let event = Event::TargetRefused {
        system,
        pinned: as_identity(recorded),
        seen: Some(seen),
        step,
        reason: Clean::line(&reason),
    };
    (reason, event)
}

/// Every target of a change is the pinned one; what is met for the first time is pinned now.
fn right_target(
    incident: &Incident,
    runbook: &Runbook,
    planned: &PlannedStep,
    step: &Step,
    sight: &Sight,
) -> Result<Vec<Event>, (Refusal, Vec<Event>)> {
    let mut events = Vec::new();
    for (system, read) in &sight.identities {
        let pin = incident.pins.get(system);
        if let Some(pin) = pin
            && let (Some(pinned), Some((new, _)), IdentityRead::Is(seen)) =
                (&pin.identity, &pin.proposed, read)
            && pinned.as_another(new)
            && pinned.same(seen)
            && !pinned.as_another(seen)
        {
            // Somebody went back to the login that is pinned.
            events.push(Event::IdentityPinned {
                system: system.clone(),
                identity: pinned.clone(),
                by: pin.by,
            });
            continue;
        }
        if let Some((new, _)) = pin.and_then(|p| p.proposed.as_ref()) {
            let refusal = Refusal::UnconfirmedTarget {
                system: system.clone(),
                fingerprint: new.fingerprint(),
            };
            return Err((refusal, Vec::new()));
        }
        let pinned = pin.and_then(|p| p.identity.as_ref());
        match (pinned, read) {
            (Some(pinned), IdentityRead::Is(seen)) if !pinned.same(seen) => {
                let reason = format!(
                    "`{system}` is not the pinned one: pinned {}, seen {}",
                    pinned.fingerprint(),
                    seen.fingerprint()
                );
                let event = Event::TargetRefused {
                    system: system.clone(),
                    pinned: pinned.clone(),
                    seen: Some(seen.clone()),
                    step: planned.plan.step.clone(),
                    reason: Clean::line(&reason),
                };
                let system = system.clone();
                return Err((Refusal::WrongTarget { system, reason }, vec![event]));
            }
            (None, IdentityRead::NoAnswer(why, endpoint)) => {
                // Who was recorded in peace time is as good as pinned: who does not answer is not them.
                let moved = pin.is_some_and(|p| p.moved.is_some());
                let recorded = incident.recorded.get(system).filter(|_| !moved);
                let Some(recorded) = recorded else { continue };
                // That it is looked for elsewhere is known without an answer.
                if let (Some(here), Some(there)) = (endpoint, &recorded.endpoint)
                    && here != there
                {
                    let seen = Identity {
                        endpoint: here.clone(),
                        own: None,
                        certificate: None,
                        note: None,
                        user: None,
                    };
                    let step = planned.plan.step.clone();
                    let (reason, event) = not_recorded(system.clone(), recorded, seen, step);
                    let system = system.clone();
                    return Err((Refusal::WrongTarget { system, reason }, vec![event]));
                }
                if plan::expects_silence(runbook, &planned.plan.procedure, step, system) {
                    continue;
                }
                let reason = format!(
                    "`{system}` does not answer ({why}), so it cannot be known to be {}, which the site recorded; a step that brings it back says `recovers: [{system}]`",
                    recorded.fingerprint()
                );
                let event = Event::TargetRefused {
                    system: system.clone(),
                    pinned: as_identity(recorded),
                    seen: None,
                    step: planned.plan.step.clone(),
                    reason: Clean::line(&reason),
                };
                let system = system.clone();
                return Err((Refusal::NoAnswer { system, reason }, vec![event]));
            }
            (Some(pinned), IdentityRead::Is(seen)) if pinned.as_another(seen) => {
                let refusal = Refusal::UnconfirmedTarget {
                    system: system.clone(),
                    fingerprint: seen.as_user(),
                };
                let proposed = Event::IdentityProposed {
                    system: system.clone(),
                    old: Some(pinned.clone()),
                    new: seen.clone(),
                    step: planned.plan.step.clone(),
                };
                return Err((refusal, vec![proposed]));
            }
            (Some(_), IdentityRead::Is(_)) => {}
            (None, IdentityRead::Is(seen)) if pin.is_some_and(|p| p.moved.is_some()) => {
                let step = pin.and_then(|p| p.moved.clone()).unwrap_or_default();
                let proposed = Event::IdentityProposed {
                    system: system.clone(),
                    old: None,
                    new: seen.clone(),
                    step,
                };
                let refusal = Refusal::UnconfirmedTarget {
                    system: system.clone(),
                    fingerprint: seen.fingerprint(),
                };
                return Err((refusal, vec![proposed]));
            }
            (None, IdentityRead::Is(seen)) => match incident.recorded.get(system) {
                Some(recorded) if !recorded.is(seen) => {
                    let step = planned.plan.step.clone();
                    let (reason, event) =
                        not_recorded(system.clone(), recorded, seen.clone(), step);
                    let system = system.clone();
                    return Err((Refusal::WrongTarget { system, reason }, vec![event]));
                }
                recorded => events.push(Event::IdentityPinned {
                    system: system.clone(),
                    identity: seen.clone(),
                    by: recorded.map_or(PinnedBy::FirstContact, |_| PinnedBy::Site),
                }),
            },
            (Some(pinned), IdentityRead::NoAnswer(why, _)) => {
                if plan::expects_silence(runbook, &planned.plan.procedure, step, system) {
                    continue;
                }
                let reason = format!(
                    "`{system}` does not answer ({why}), so it cannot be known to be {}; a step that brings it back says `recovers: [{system}]`",
                    pinned.fingerprint()
                );
                let event = Event::TargetRefused {
                    system: system.clone(),
                    pinned: pinned.clone(),
                    seen: None,
                    step: planned.plan.step.clone(),
                    reason: Clean::line(&reason),
                };
                let system = system.clone();
                return Err((Refusal::NoAnswer { system, reason }, vec![event]));
            }
        }
    }
    Ok(events)
}
