//! How everyone else speaks to the engine: wishes in, the incident as it stands out.

use super::{Ask, Look, along::AllLive, sight};
use crate::{
    domain::{
        decide::{Command, Refusal, Start, may_start, missing_values},
        event::CheckResult,
        incident::Incident,
        plan,
        runbook::{Action, Danger, Runbook, find_step},
    },
    store::IncidentDir,
    supervisor::spec::ToAttempt,
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// What became of a wish to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The number of the attempt that runs now.
    Attempt(u32),
    /// `unless` holds: skipped, with what was seen.
    AlreadyDone,
}

/// A step ready to be started: what a person is shown before Enter.
#[derive(Clone, Debug)]
pub struct Armed {
    pub step: String,
    pub title: String,
    /// What exactly will run, secrets masked.
    pub command: String,
    /// The systems it changes, with their pinned identity.
    pub targets: Vec<(String, Option<String>)>,
    /// What green means: each `verify`, or that the command exits with 0.
    pub green: Vec<String>,
    pub danger: Danger,
    /// What has to be typed, for what destroys.
    pub confirm: Option<String>,
    pub manual: bool,
    /// A native action, of which can be asked what it would do.
    pub native: bool,
    pub attempts: u32,
    /// Names of values that are missing: for the look whether it is done already, where it has one.
    pub missing: Vec<String>,
    /// All that are missing to run it.
    pub missing_to_run: Vec<String>,
    /// Why it cannot be started as it is; a reason may help.
    pub refusal: Option<Refusal>,
}

/// A handle to the engine. While one is alive the engine serves.
#[derive(Clone)]
pub struct Handle {
    pub(super) tell: mpsc::Sender<Ask>,
    pub(super) view: watch::Receiver<Arc<Incident>>,
    pub(super) progress: watch::Receiver<Option<(String, CheckResult)>>,
    pub(super) live: watch::Receiver<AllLive>,
    pub(super) runbook: Arc<Runbook>,
    pub(super) dir: IncidentDir,
}

impl Handle {
    /// The incident as it stands.
    pub fn incident(&self) -> Arc<Incident> {
        self.view.borrow().clone()
    }

    /// A receiver that wakes whenever the incident has changed.
    pub fn watch(&self) -> watch::Receiver<Arc<Incident>> {
        self.view.clone()
    }

    /// What the output of running steps says so far.
    pub fn live(&self) -> AllLive {
        self.live.borrow().clone()
    }

    /// The newest `progress:` result of a running step, with the step's name.
    pub fn progress(&self) -> Option<(String, CheckResult)> {
        self.progress.borrow().clone()
    }

    pub fn runbook(&self) -> Arc<Runbook> {
        self.runbook.clone()
    }

    pub fn dir(&self) -> &IncidentDir {
        &self.dir
    }

    pub async fn wish(&self, command: Command) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        let asked = self.tell.send(Ask::Wish(command, reply)).await;
        asked.map_err(|_| Refusal::Gone)?;
        answer.await.unwrap_or(Err(Refusal::Gone))
    }

    /// Gives a secret: to the engine's memory, never to disk.
    pub async fn secret(&self, name: &str, value: String, source: &str) -> Result<(), Refusal> {
        let (done, answer) = oneshot::channel();
        let ask = Ask::Secret {
            name: name.to_owned(),
            value,
            source: source.to_owned(),
            done: Some(done),
        };
        self.tell.send(ask).await.map_err(|_| Refusal::Gone)?;
        answer.await.unwrap_or(Err(Refusal::Gone))
    }

    /// Gives a value for a declared variable: checked by its type, a secret kept as one. `Err` says
    /// in words why it is refused.
    pub async fn give(&self, name: &str, value: &str, source: &str) -> Result<(), String> {
        let variable = self.runbook.variable(name);
        let value = variable.accept(value)?;
        let given = if variable.is_secret() {
            self.secret(name, value, source).await
        } else {
            let (name, source) = (name.to_owned(), source.to_owned());
            self.wish(Command::SetValue {
                name,
                value,
                source,
            })
            .await
        };
        given.map_err(|refusal| refusal.to_string())
    }

    /// What a person is shown before a step is started. `name` may be a unique ending.
    pub fn arm(&self, name: &str, undo: bool) -> Result<Armed, Refusal> {
        let incident = self.incident();
        let names = incident.steps.iter().map(|s| s.plan.step.as_str());
        let full = find_step(names, name).map_err(|e| Refusal::UnknownStep(e.to_string()))?;
        let step = self
            .runbook
            .step(full)
            .ok_or_else(|| Refusal::UnknownStep(full.to_owned()))?;
        let procedure = incident
            .step(full)
            .map_or("", |s| s.plan.procedure.as_str());
        let values = sight::shown_values(&incident);
        let mut green: Vec<String> = match &step.action {
            Action::Check(_) if !undo => vec!["the check holds".to_owned()],
            Action::Manual(_) if !undo => vec!["you say what you saw".to_owned()],
            Action::Kubernetes(_) if step.verify.is_empty() || undo => {
                vec!["its effect is there".to_owned()]
            }
            Action::Run(_) if step.verify.is_empty() || undo => {
                vec!["exit 0, not verified".to_owned()]
            }
            Action::Check(_)
            | Action::Manual(_)
            | Action::Run(_)
            | Action::Kubernetes(_)
            | Action::Include(_) => Vec::new(),
        };
        if !undo {
            green.extend(step.verify.iter().map(|c| sight::shown_check(&values, c)));
        }
        let targets = plan::targets(&self.runbook, procedure, step)
            .into_iter()
            .map(|name| {
                let pinned = incident.pins.get(&name).and_then(|p| p.identity.as_ref());
                let fingerprint = pinned.map(|i| i.fingerprint());
                (name, fingerprint)
            })
            .collect();
        let start = Start {
            step: full.to_owned(),
            undo,
            saw: Some("…".to_owned()),
            ..Start::default()
        };
        Ok(Armed {
            step: full.to_owned(),
            title: step.title.clone(),
            command: sight::shown_command(&self.runbook, &values, step, undo),
            targets: if step.danger == Danger::None {
                Vec::new()
            } else {
                targets
            },
            green,
            danger: step.danger,
            confirm: step.confirm.as_deref().map(|c| values.masked(c)),
            manual: step.is_manual() && !undo,
            native: step.native(undo).is_some(),
            attempts: step.attempts,
            missing: missing_values(&incident, &self.runbook, step, step.unless.is_none()),
            missing_to_run: missing_values(&incident, &self.runbook, step, true),
            refusal: sight::sandbox_gone(&incident)
                .or_else(|| may_start(&incident, &self.runbook, &start).err()),
        })
    }

    /// Starts a step, after the edge has looked at its targets.
    pub async fn start(&self, start: Start) -> Result<Started, Refusal> {
        let (reply, answer) = oneshot::channel();
        let asked = self.tell.send(Ask::Start(start, reply)).await;
        asked.map_err(|_| Refusal::Gone)?;
        answer.await.unwrap_or(Err(Refusal::Gone))
    }

    /// Typed bytes for a step with a terminal.
    pub async fn input(&self, step: &str, bytes: Vec<u8>) {
        let ask = Ask::ToAttempt(step.to_owned(), ToAttempt::Input(bytes));
        let _ = self.tell.send(ask).await;
    }

    pub async fn resize(&self, step: &str, columns: u16, rows: u16) {
        let ask = Ask::ToAttempt(step.to_owned(), ToAttempt::Resize(columns, rows));
        let _ = self.tell.send(ask).await;
    }

    /// Looks at systems or checks, all at once, read-only; answers come as they are known.
    pub async fn look(&self, look: Look) -> mpsc::Receiver<CheckResult> {
        let (results, answers) = mpsc::channel(64);
        let _ = self.tell.send(Ask::Look(look, results)).await;
        answers
    }

    /// First contact with every target of the plan; returns when all have been tried.
    pub async fn pin_all(&self) {
        let (done, answer) = oneshot::channel();
        let _ = self.tell.send(Ask::PinAll(done)).await;
        let _ = answer.await;
    }

    /// Tries `recovered.when`; the answer is in the incident afterwards.
    pub async fn check_recovery(&self) {
        let (done, answer) = oneshot::channel();
        let _ = self.tell.send(Ask::CheckRecovery(done)).await;
        let _ = answer.await;
        self.settle().await;
    }

    /// Returns when everything that was asked and reported before has been taken in and the summary
    /// for the home screen is kept.
    pub async fn settle(&self) {
        let (done, answer) = oneshot::channel();
        let _ = self.tell.send(Ask::Settle(done)).await;
        let _ = answer.await;
    }

    /// Runs the probe of a failure row that matched.
    pub async fn run_probe(&self, step: &str, row: &str) {
        let (step, row) = (step.to_owned(), row.to_owned());
        let _ = self.tell.send(Ask::RunProbe { step, row }).await;
    }
}
