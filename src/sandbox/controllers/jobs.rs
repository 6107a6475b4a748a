//! Jobs: pods until one of them has succeeded, or too many have not.

use super::{
    Seen,
    hand::Hand,
    objects::{
        JOB, POD, active, conditions, count, created, going, is_true, name, namespace, now, number,
        pod, ready, seconds_since, set, text, uid,
    },
};
use serde_json::{Map, Value};

/// The pause after the first pod that failed; a real cluster waits ten times as long.
const PAUSE: i64 = 1;
const LONGEST_PAUSE: i64 = 30;

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    for job in &seen.jobs {
        if !going(job) {
            tend(hand, seen, job).await;
        }
    }
}

/// How the pods of a job are.
struct Tally<'s> {
    active: Vec<&'s Value>,
    succeeded: i64,
    failed: i64,
    restarts: i64,
    /// When one failed last.
    last: String,
}

impl<'s> Tally<'s> {
    fn of(pods: &[&'s Value], status: &Value) -> Self {
        let of = |phase: &str| -> Vec<&'s Value> {
            let all = pods.iter().copied();
            all.filter(|p| text(p, "/status/phase") == phase).collect()
        };
        let failed = of("Failed");
        let last = failed.iter().map(|p| ended(p)).max().unwrap_or_default();
        let active: Vec<&'s Value> = pods.iter().copied().filter(|p| active(p)).collect();
        // Pods that somebody deleted after they ended still count.
        Self {
            succeeded: count(of("Succeeded").len()).max(number(&status["succeeded"], 0)),
            failed: count(failed.len()).max(number(&status["failed"], 0)),
            restarts: active.iter().map(|p| restarts(p)).sum(),
            active,
            last,
        }
    }
}

fn restarts(pod: &Value) -> i64 {
    let all = pod["status"]["containerStatuses"].as_array();
    let all = all.into_iter().flatten();
    all.map(|c| number(&c["restartCount"], 0)).sum()
}

/// When a pod ended, as far as it says it.
fn ended(pod: &Value) -> String {
    let all = pod["status"]["containerStatuses"].as_array();
    let all = all.into_iter().flatten();
    let last = all.map(|c| text(c, "/state/terminated/finishedAt")).max();
    match last {
        Some(at) if !at.is_empty() => at.to_owned(),
        _ => created(pod).to_owned(),
    }
}

/// Seconds between a pod that failed and the next one.
fn pause(failed: i64) -> i64 {
    let doubled = u32::try_from(failed - 1).ok();
    let doubled = doubled.and_then(|n| PAUSE.checked_shl(n.min(16)));
    match failed {
        0 => 0,
        _ => doubled.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE),
    }
}

/// Why a job has failed.
fn hopeless(object: &Value, tally: &Tally<'_>) -> Option<(&'static str, &'static str)> {
    let spec = &object["spec"];
    let since = seconds_since(text(object, "/status/startTime"));
    let limit = spec["activeDeadlineSeconds"].as_i64();
    if let (Some(limit), Some(since)) = (limit, since)
        && since >= limit
    {
        let said = "Job was active longer than specified deadline";
        return Some(("DeadlineExceeded", said));
    }
    let limit = number(&spec["backoffLimit"], 6);
    let again = spec["template"]["spec"]["restartPolicy"] == "OnFailure";
    let restarts = tally.restarts;
    let restarted = again && restarts > 0 && restarts >= limit;
    (tally.failed > limit || restarted).then_some((
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    ))
}

async fn tend(hand: &Hand, seen: &Seen, object: &Value) {
    let spec = &object["spec"];
    if is_true(object, "Complete") || is_true(object, "Failed") {
        let limit = spec["ttlSecondsAfterFinished"].as_i64();
        let ended = match text(object, "/status/completionTime") {
            "" => conditions(object)
                .iter()
                .map(|c| text(c, "/lastTransitionTime").to_owned())
                .max()
                .unwrap_or_default(),
            at => at.to_owned(),
        };
        if limit.is_some_and(|l| seconds_since(&ended).is_some_and(|s| s >= l)) {
            hand.delete(&JOB, object).await;
        }
        return;
    }
    let pods = seen.pods_of(uid(object));
    let mut tally = Tally::of(&pods, &object["status"]);
    let mut all = conditions(object);
    if spec["suspend"] == true {
        clear(hand, object, &mut tally).await;
        set(
            &mut all,
            "Suspended",
            "True",
            "JobSuspended",
            "Job suspended",
        );
        status(hand, object, &tally, all, None).await;
        return;
    }
    if is_true(object, "Suspended") {
        set(&mut all, "Suspended", "False", "JobResumed", "Job resumed");
    }
    let parallel = number(&spec["parallelism"], 1).max(0);
    let wanted = spec["completions"].as_i64();
    let complete = match wanted {
        Some(wanted) => tally.succeeded >= wanted,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    if complete {
        clear(hand, object, &mut tally).await;
        let said = "Reached expected number of succeeded pods";
        set(&mut all, "Complete", "True", "CompletionsReached", said);
        status(hand, object, &tally, all, Some(now())).await;
        hand.tell(&JOB, object, "Completed", "Job completed").await;
        return;
    }
    if let Some((reason, said)) = hopeless(object, &tally) {
        clear(hand, object, &mut tally).await;
        set(&mut all, "Failed", "True", reason, said);
        status(hand, object, &tally, all, None).await;
        hand.warn(&JOB, object, reason, said).await;
        return;
    }
    let open = match wanted {
        Some(wanted) => parallel.min(wanted - tally.succeeded),
        // One that succeeded is enough: no new ones after it.
        None if tally.succeeded > 0 => 0,
        None => parallel,
    };
    let waited = seconds_since(&tally.last).is_none_or(|s| s >= pause(tally.failed));
    let missing = (open - count(tally.active.len())).max(0);
    let mut made = 0;
    if waited {
        for _ in 0..missing {
            if !make(hand, object).await {
                break;
            }
            made += 1;
        }
    }
    let more = count(tally.active.len()) + made;
    let wanted = fields(object, &tally, all, None, more);
    hand.status(&JOB, object, Value::Object(wanted)).await;
}

/// Deletes the pods that still run.
async fn clear(hand: &Hand, object: &Value, tally: &mut Tally<'_>) {
    for pod in std::mem::take(&mut tally.active) {
        if hand.delete(&POD, pod).await {
            let said = format!("Deleted pod: {}", name(pod));
            hand.tell(&JOB, object, "SuccessfulDelete", &said).await;
        }
    }
}

async fn make(hand: &Hand, object: &Value) -> bool {
    let template = &object["spec"]["template"];
    let mut body = pod(template, &JOB.owner_reference(object));
    body["metadata"]["generateName"] = format!("{}-", name(object)).into();
    let labels = &mut body["metadata"]["labels"];
    for (key, value) in [("job-name", name(object)), ("controller-uid", uid(object))] {
        labels[key] = value.into();
        labels[format!("batch.kubernetes.io/{key}")] = value.into();
    }
    match hand.create(&POD, namespace(object), body).await {
        Ok(made) => {
            let said = format!("Created pod: {}", name(&made));
            hand.tell(&JOB, object, "SuccessfulCreate", &said).await;
            true
        }
        Err(refusal) => {
            if !refusal.ends() {
                let said = format!("Error creating: {}", refusal.message);
                hand.warn(&JOB, object, "FailedCreate", &said).await;
            }
            false
        }
    }
}

fn fields(
    object: &Value,
    tally: &Tally<'_>,
    all: Vec<Value>,
    completed: Option<String>,
    active: i64,
) -> Map<String, Value> {
    let serving = tally.active.iter().filter(|p| ready(p)).count();
    let mut wanted = Map::new();
    let mut put = |key: &str, value: Value| wanted.insert(key.to_owned(), value);
    put("active", active.into());
    put("ready", count(serving).into());
    put("succeeded", tally.succeeded.into());
    put("failed", tally.failed.into());
    put("conditions", all.into());
    let suspended = object["spec"]["suspend"] == true;
    if !object["status"]["startTime"].is_string() && !suspended {
        put("startTime", now().into());
    }
    if let Some(at) = completed {
        put("completionTime", at.into());
    }
    wanted
}

async fn status(
    hand: &Hand,
    object: &Value,
    tally: &Tally<'_>,
    all: Vec<Value>,
    completed: Option<String>,
) {
    let active = count(tally.active.len());
    let wanted = fields(object, tally, all, completed, active);
    hand.status(&JOB, object, Value::Object(wanted)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pauses_double() {
        assert_eq!(pause(0), 0);
        assert_eq!(pause(1), 1);
        assert_eq!(pause(3), 4);
        assert_eq!(pause(60), LONGEST_PAUSE);
    }

    #[test]
    fn too_many_have_failed() {
        let job = json!({ "spec": { "backoffLimit": 1 } });
        let failed = json!({ "status": { "phase": "Failed" } });
        let one = Tally::of(&[&failed], &json!({}));
        assert!(hopeless(&job, &one).is_none());
        let two = Tally::of(&[&failed, &failed], &json!({}));
        assert_eq!(
            hopeless(&job, &two).map(|h| h.0),
            Some("BackoffLimitExceeded")
        );
    }
}
