//! A step's `progress:` check, polled while its command runs.

use super::spec::Spec;
use crate::{
    checks::{self, Scope},
    domain::{
        event::{CheckPhase, CheckResult},
        redact::Redactor,
    },
};
use std::sync::Arc;

/// `progress:` polled beside the command; stops when dropped.
pub(super) struct Progress(Option<tokio::task::JoinHandle<()>>);

impl Progress {
    pub(super) fn begin(
        spec: &Spec,
        redactor: Arc<Redactor>,
    ) -> (Self, tokio::sync::mpsc::Receiver<CheckResult>) {
        let (tell, seen) = tokio::sync::mpsc::channel(4);
        let Some(check) = spec.progress.clone() else {
            // The sender is kept by nobody, and `recv` on a closed channel is `None`: never selected.
            return (Self(None), seen);
        };
        let scope = Scope {
            systems: spec.systems.clone(),
            values: spec.values.clone(),
            workdir: spec.workdir.clone(),
            env: spec.check_env.clone(),
            hidden: Vec::new(),
            pins: spec.pins.clone(),
        };
        let every = spec.every;
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let result = checks::run(&check, CheckPhase::Probe, &scope, &redactor).await;
                if tell.send(result).await.is_err() {
                    return;
                }
            }
        });
        (Self(Some(task)), seen)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
