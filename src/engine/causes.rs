//! Why did it fail: the log of an attempt against the failure tables, and the looks that tell causes apart.

use super::{Ask, Engine, sight};
use crate::{
    checks,
    domain::{
        decide::Report,
        event::{CheckPhase, Outcome, Verdict},
        failures::{Evidence, LookUp, library},
    },
    logs,
};

/// With this a probe's script says that it cannot tell: EX_TEMPFAIL.
const CANNOT_TELL: i32 = 75;

impl Engine {
    /// Which rows of the failure table match what the attempt left behind.
    pub(super) fn look_up(&mut self, step: &str, n: u32) {
        let (Some(attempt), Some(tell)) = (self.incident.attempt(step, n), self.tell.upgrade())
        else {
            return;
        };
        let Some(ending) = attempt.ending.clone().filter(|_| attempt.wants_look_up()) else {
            return;
        };
        let failed = ending.outcome != Outcome::Succeeded;
        let scripted = || {
            self.runbook
                .step(step)
                .is_some_and(|s| s.script().is_some())
        };
        if !failed && !scripted() {
            return;
        }
        let dir = self.dir.path.join(&attempt.dir);
        self.looking += 1;
        let (rules, step) = (self.rules.clone(), step.to_owned());
        let of = step.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut look_up = LookUp::new([&**rules, library::library()]);
            if let Err(e) = logs::each_block(&dir, |block| look_up.block(block)) {
                tracing::warn!(%e, "the log could not be read for the look-up");
            }
            for check in ending.checks.iter().filter(|c| !c.passed) {
                look_up.seen(&check.seen);
            }
            let causes = look_up.causes(&Evidence {
                step: &step,
                tool: None,
                exit_code: ending.exit_code,
                signal: ending.signal,
            });
            // A success of which no row speaks is one.
            (failed || !causes.is_empty()).then_some(causes)
        });
        tokio::spawn(async move {
            let causes = looked.await.ok().flatten();
            let _ = tell
                .send(Ask::LookedUp {
                    step: of,
                    n,
                    causes,
                })
                .await;
        });
    }

    pub(super) fn run_probe(&mut self, step: String, row: String) {
        let mut all = self.rules.rules().iter().chain(library::library().rules());
        let probe = all
            .find(|rule| rule.id == row)
            .and_then(|rule| rule.probe.clone());
        let (Some(check), Some(tell)) = (probe, self.tell.upgrade()) else {
            return;
        };
        let (mut scope, redactor) = (self.scope(), self.redactor.clone());
        scope.env = sight::probe_env(
            &self.runbook,
            &self.incident,
            &self.vault,
            &step,
            &self.dir.path,
        );
        tokio::spawn(async move {
            let mut check = checks::run(&check, CheckPhase::Probe, &scope, &redactor).await;
            let untold = format!("exit {CANNOT_TELL}");
            if check.seen.as_str().split(':').next() == Some(&untold) {
                check.verdict = Verdict::CannotTell;
            }
            let _ = tell
                .send(Ask::Report(Report::Probed { step, row, check }))
                .await;
        });
    }
}
