//! The incident as JSON: `show --json`, the summary of `run --json`, and the JSON export.

use super::Source;
use crate::domain::{
    drill::debrief,
    event::{CheckResult, Mode},
    incident::{Attempt, Incident, PlannedStep},
};
use serde_json::{Value, json};
use std::path::Path;

/// The export: the summary, and every entry of the journal.
pub fn write(source: &Source<'_>) -> String {
    let mut summary = summary(source.incident(), source.dir, &source.loaded.head);
    if let Value::Object(map) = &mut summary {
        map.insert("milestones".to_owned(), milestones(source));
        map.insert("decisions".to_owned(), decisions(source.incident()));
        map.insert("timeline".to_owned(), timeline(source));
        if source.incident().mode == Mode::Drill {
            let debrief = debrief(source.incident(), &source.loaded.entries, source.earlier);
            map.insert("debrief".to_owned(), json!(debrief));
        }
    }
    serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n"
}

fn milestones(source: &Source<'_>) -> Value {
    super::timeline::milestones(source.incident())
        .into_iter()
        .map(|(what, at)| json!({"what": what, "at": at}))
        .collect()
}

fn decisions(incident: &Incident) -> Value {
    incident
        .answers
        .iter()
        .map(|a| json!({"at": a.at, "question": a.question, "answer": a.answer, "evidence": a.evidence}))
        .collect()
}

fn timeline(source: &Source<'_>) -> Value {
    source
        .loaded
        .entries
        .iter()
        .map(|e| {
            json!({"seq": e.seq, "at": e.at, "who": e.who, "what": super::timeline::describe(&e.event), "event": e.event})
        })
        .collect()
}

/// The object that others may rely on.
pub fn summary(incident: &Incident, dir: &Path, head: &str) -> Value {
    let objectives = incident.objectives();
    let rto = incident.rto_actual_s();
    let rpo = incident.rpo_measured_s();
    let met = |target: Option<u64>, actual: Option<u64>| Some(actual? <= target?);
    json!({
        "id": incident.id,
        "mode": incident.mode,
        "runbook": {"id": incident.runbook.id, "title": incident.runbook.title, "sha256": incident.runbook.sha256},
        "severity": incident.severity.as_ref().map(|(id, ..)| id),
        "state": incident.state(),
        "opened_at": incident.opened_at,
        "began_at": incident.began(),
        "recovered_at": incident.recovered_at,
        "objectives": {
            "rto": {"target_s": objectives.rto_s, "actual_s": rto, "met": met(objectives.rto_s, rto)},
            "rpo": {"target_s": objectives.rpo_s, "measured_s": rpo, "met": met(objectives.rpo_s, rpo), "stores": incident.losses()},
        },
        "site": incident.site.as_ref().map(|s| json!({"name": s.name, "kind": s.kind, "sha256": s.sha256})),
        "updates": incident.updates.iter().map(|(at, text)| json!({"at": at, "text": text})).collect::<Vec<_>>(),
        "on_hand": incident.on_hand.iter().map(|(item, have)| json!({"item": item, "have": have})).collect::<Vec<_>>(),
        "plan": incident.go,
        "steps": incident.steps.iter().map(step).collect::<Vec<_>>(),
        "dir": dir.to_string_lossy(),
        "world": incident.world,
        "variables": incident.values.iter().map(|(name, held)| json!({
            "name": name, "value": held.value, "secret": held.secret, "source": held.source,
        })).collect::<Vec<_>>(),
        "identities": incident.pins.iter().map(|(system, pin)| json!({
            "system": system,
            "pinned": pin.identity.as_ref().map(|i| i.fingerprint()),
            "by": pin.by,
            "proposed": pin.proposed.as_ref().map(|(i, _)| i.fingerprint()),
        })).collect::<Vec<_>>(),
        "recovery": incident.recovery.as_ref().map(|(at, checks, holds)| json!({
            "at": at, "holds": holds, "checks": checks.iter().map(check).collect::<Vec<_>>(),
        })),
        "notes": incident.notes.iter().map(|n| json!({"at": n.at, "who": n.who, "text": n.text})).collect::<Vec<_>>(),
        "journal_head": head,
    })
}

fn step(step: &PlannedStep) -> Value {
    let skipped = step.skipped.as_ref().map(|(_, checks)| checks);
    json!({
        "number": step.plan.number,
        "name": step.plan.step,
        "id": step.plan.id,
        "title": step.plan.title,
        "procedure": step.plan.procedure,
        "path": step.plan.path,
        "phase": step.plan.phase,
        "kind": step.plan.kind,
        "budget_s": step.plan.budget_s,
        "after": step.plan.after,
        "state": step.state(),
        "reason": step.reason(),
        "skipped_with": skipped.map(|c| c.iter().map(check).collect::<Vec<_>>()),
        "attempts": step.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    let ending = attempt.ending.as_ref();
    json!({
        "n": attempt.n,
        "kind": attempt.kind,
        "leaky": ending.is_some_and(|e| e.leaky),
        "outcome": ending.map(|e| e.outcome),
        "reason": ending.and_then(|e| e.reason.as_ref()),
        "verified": ending.map(|e| e.verified),
        "exit_code": ending.and_then(|e| e.exit_code),
        "signal": ending.and_then(|e| e.signal),
        "started_at": attempt.started_at,
        "ended_at": ending.and_then(|e| e.ended_at),
        "elapsed_s": ending.map(|e| e.elapsed_s),
        "log": format!("{}/{}", attempt.dir, crate::logs::LOG),
        "lost_bytes": ending.map_or(0, |e| e.lost_bytes),
        "command": attempt.command,
        "saw": attempt.saw,
        "confirmed": attempt.confirmed,
        "out_of_order": attempt.out_of_order,
        "unsupervised": attempt.unsupervised && ending.is_none(),
        "captured": ending.map(|e| &e.captured),
        "checks": ending.map_or(&[][..], |e| &e.checks).iter().map(check).collect::<Vec<_>>(),
        "causes": attempt.causes.iter().flatten().map(|c| json!({
            "cause": c.cause, "source": c.source, "line": c.line, "text": c.text, "fix": c.fix,
            "row": c.row, "go": c.go, "probe": c.probe, "score": c.score,
        })).collect::<Vec<_>>(),
        "looked_up": attempt.causes.is_some(),
    })
}

fn check(result: &CheckResult) -> Value {
    json!({
        "what": result.what,
        "phase": result.phase,
        "verdict": result.verdict,
        "expected": result.expected,
        "seen": result.seen,
        "passed": result.passed,
        "elapsed_ms": result.elapsed_ms,
        "system": result.system,
        "help": result.help,
    })
}
