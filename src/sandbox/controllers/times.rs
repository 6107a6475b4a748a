//! What only time brings about: cron jobs that are due, and pods that ran longer than they may.

use super::{
    Seen,
    cron::Schedule,
    hand::Hand,
    objects::{
        CRON_JOB, JOB, POD, active, conditions, count, created, going, is_true, name, namespace,
        number, owned_by, seconds_since, set, stamp, text, time, uid,
    },
};
use crate::clock;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    for pod in &seen.pods {
        if active(pod) {
            end(hand, pod).await;
        }
    }
    for object in &seen.cronjobs {
        if !going(object) {
            tend(hand, seen, object).await;
        }
    }
}

/// Ends a pod that has run for longer than its deadline.
async fn end(hand: &Hand, pod: &Value) {
    let Some(limit) = pod["spec"]["activeDeadlineSeconds"].as_i64() else {
        return;
    };
    let since = seconds_since(text(pod, "/status/startTime"));
    if since.is_none_or(|s| s < limit) {
        return;
    }
    let mut all = conditions(pod);
    for kind in ["Ready", "ContainersReady"] {
        set(&mut all, kind, "False", "PodFailed", "");
    }
    let message = "Pod was active on the node longer than the specified deadline";
    let wanted = json!({
        "phase": "Failed",
        "reason": "DeadlineExceeded",
        "message": message,
        "conditions": all,
    });
    hand.status(&POD, pod, wanted).await;
    hand.warn(&POD, pod, "DeadlineExceeded", message).await;
}

fn done(job: &Value) -> bool {
    is_true(job, "Complete") || is_true(job, "Failed")
}

async fn tend(hand: &Hand, seen: &Seen, object: &Value) {
    let own: Vec<&Value> = seen
        .jobs
        .iter()
        .filter(|j| owned_by(j, uid(object)) && !going(j))
        .collect();
    forget(hand, object, &own).await;
    let running: Vec<&Value> = own.iter().copied().filter(|j| !done(j)).collect();
    let mut last = text(object, "/status/lastScheduleTime").to_owned();
    let mut active: Vec<Value> = running.iter().map(|j| reference(j)).collect();
    if let Some(at) = due(hand, object).await {
        let policy = text(object, "/spec/concurrencyPolicy");
        if policy == "Forbid" && !running.is_empty() {
            let said = "Not starting job because prior execution is running and concurrency policy is Forbid";
            hand.tell(&CRON_JOB, object, "JobAlreadyActive", said).await;
        } else {
            if policy == "Replace" {
                for job in &running {
                    if hand.delete(&JOB, job).await {
                        let said = format!("Deleted job {}", name(job));
                        hand.tell(&CRON_JOB, object, "SuccessfulDelete", &said)
                            .await;
                    }
                }
                active.clear();
            }
            match make(hand, object, at).await {
                Some(Ok(made)) => {
                    active.push(made);
                    last = stamp(at);
                }
                // It is there already: only the time was not noted.
                Some(Err(())) => last = stamp(at),
                None => {}
            }
        }
    }
    let ended = own.iter().filter(|j| is_true(j, "Complete"));
    let ended = ended.map(|j| text(j, "/status/completionTime")).max();
    let mut wanted = Map::new();
    wanted.insert("active".to_owned(), active.into());
    if !last.is_empty() {
        wanted.insert("lastScheduleTime".to_owned(), last.into());
    }
    let known = text(object, "/status/lastSuccessfulTime");
    if let Some(ended) = ended.filter(|e| *e > known) {
        wanted.insert("lastSuccessfulTime".to_owned(), ended.into());
    }
    hand.status(&CRON_JOB, object, Value::Object(wanted)).await;
}

fn reference(job: &Value) -> Value {
    json!({
        "apiVersion": JOB.api,
        "kind": JOB.kind,
        "name": name(job),
        "namespace": namespace(job),
        "uid": uid(job),
    })
}

/// The time for which a job must be made now.
async fn due(hand: &Hand, object: &Value) -> Option<DateTime<Utc>> {
    let spec = &object["spec"];
    if spec["suspend"] == true {
        return None;
    }
    let written = text(object, "/spec/schedule");
    let Some(schedule) = Schedule::read(written) else {
        let said = format!("unparseable schedule: \"{written}\"");
        hand.warn(&CRON_JOB, object, "UnparseableSchedule", &said)
            .await;
        return None;
    };
    let last = time(text(object, "/status/lastScheduleTime"));
    let after = last.or_else(|| time(created(object)))?;
    let now = clock::now();
    let at = schedule.due(after, now)?;
    let late = (now - at).num_seconds();
    let limit = spec["startingDeadlineSeconds"].as_i64();
    if limit.is_some_and(|limit| late > limit) {
        let said = format!("Missed scheduled time to start a job: {}", stamp(at));
        hand.warn(&CRON_JOB, object, "MissSchedule", &said).await;
        return None;
    }
    Some(at)
}

/// Makes the job of a time; `Err` where it is there already, nothing where it was refused.
async fn make(hand: &Hand, object: &Value, at: DateTime<Utc>) -> Option<Result<Value, ()>> {
    let template = &object["spec"]["jobTemplate"];
    let own = format!("{}-{}", name(object), at.timestamp() / 60);
    let mut metadata = json!({
        "name": own,
        "ownerReferences": [CRON_JOB.owner_reference(object)],
    });
    for key in ["labels", "annotations"] {
        if template["metadata"][key].is_object() {
            metadata[key] = template["metadata"][key].clone();
        }
    }
    metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] = stamp(at).into();
    let body = json!({ "metadata": metadata, "spec": template["spec"] });
    match hand.create(&JOB, namespace(object), body).await {
        Ok(made) => {
            let said = format!("Created job {own}");
            hand.tell(&CRON_JOB, object, "SuccessfulCreate", &said)
                .await;
            Some(Ok(reference(&made)))
        }
        Err(refusal) if refusal.code == 409 => Some(Err(())),
        Err(refusal) => {
            if !refusal.ends() {
                let said = format!("Error creating job: {}", refusal.message);
                hand.warn(&CRON_JOB, object, "FailedCreate", &said).await;
            }
            None
        }
    }
}

/// Deletes the oldest of the jobs that ended.
async fn forget(hand: &Hand, object: &Value, own: &[&Value]) {
    for (kind, key, usual) in [
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ] {
        let limit = number(&object["spec"][key], usual).max(0);
        let mut ended: Vec<&Value> = own.iter().copied().filter(|j| is_true(j, kind)).collect();
        ended.sort_by_key(|j| (created(j).to_owned(), name(j).to_owned()));
        let more = (count(ended.len()) - limit).max(0);
        for job in ended.iter().take(usize::try_from(more).unwrap_or(0)) {
            hand.delete(&JOB, job).await;
        }
    }
}
