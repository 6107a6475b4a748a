//! What can be done to a cluster: the hands of the native actions. Each runs in a process of its own,
//! `blackstart __act`, under the supervisor of its attempt, and tells on its output what it does.
//!
//! ```text
//!  order on stdin ─► who is this cluster? ─► the change, sent once ─► its effect, waited for
//! ```

mod change;
mod differences;
mod effect;
mod manifests;
mod pod;
mod preview;

pub use preview::preview;

use crate::{
    domain::{
        event::Identity,
        native::{Native, Verb},
        runbook::System,
    },
    systems::{
        Trouble,
        kubernetes::{self, Cluster, refusal},
    },
    values::Values,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// How the line begins that says why an action failed.
pub const ERROR: &str = "error: ";

/// The file in an attempt's folder which says that nobody knows what came of the action.
pub const UNKNOWN: &str = "unknown";

/// How long a cluster may take to say who it is.
const REACH: Duration = Duration::from_secs(10);
/// How long an effect is waited for where nobody said how long.
const LIMIT: Duration = Duration::from_secs(600);

/// What is to be done. It comes through a pipe: it may hold secrets.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// Filled in.
    pub system: System,
    /// Filled in.
    pub words: Value,
    /// Whom the incident knows under this name.
    pub identity: Option<Identity>,
    pub values: Values,
    pub folder: PathBuf,
    /// Tells this attempt from every other one.
    pub attempt: String,
    /// The attempt's folder.
    pub dir: PathBuf,
}

/// Why it was not done, or not to its end.
struct Failed {
    said: String,
    help: Option<String>,
    /// It may have been done, or be going on: nobody knows.
    unknown: bool,
}

impl Failed {
    fn new(said: impl Into<String>) -> Self {
        Self {
            said: said.into(),
            help: None,
            unknown: false,
        }
    }

    fn helped(said: impl Into<String>, help: impl Into<String>) -> Self {
        let help = help.into();
        Self {
            said: said.into(),
            help: (!help.is_empty()).then_some(help),
            unknown: false,
        }
    }

    fn unknown(said: String, help: String) -> Self {
        Self {
            unknown: true,
            ..Self::helped(said, help)
        }
    }
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Down(why) => Self::new(why),
            Trouble::CannotTell { why, help } => Self::helped(why, help),
        }
    }
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        let said = refusal::of(&error);
        match error {
            // Sent, and the answer never came: the change may have been made.
            _ if refusal::is_unanswered(&error) => Self::unknown(
                format!("{}: nobody knows whether the change was made", said.what),
                "look at the object before you start it again".to_owned(),
            ),
            _ => Self::helped(said.what, said.help),
        }
    }
}

/// What is told, line by line; the same line is not told twice in a row.
#[derive(Default)]
struct Log {
    last: String,
    /// Kept here instead of being printed.
    kept: Option<Vec<String>>,
}

impl Log {
    fn say(&mut self, line: impl Into<String>) {
        let line = line.into();
        if line == self.last {
            return;
        }
        match &mut self.kept {
            Some(kept) => kept.push(line.clone()),
            None => {
                // Nobody reads it any more: then there is nobody to tell.
                let _ = writeln!(io::stdout(), "{line}");
            }
        }
        self.last = line;
    }
}

/// The hidden command `__act`: reads its order from stdin and carries it out.
pub fn main() -> ExitCode {
    let mut bytes = Vec::new();
    let read = io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string());
    let order =
        read.and_then(|_| serde_json::from_slice::<Order>(&bytes).map_err(|e| e.to_string()));
    bytes.fill(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string());
    let (done, dir) = match (order, runtime) {
        (Ok(order), Ok(runtime)) => (runtime.block_on(carry_out(&order)), Some(order.dir)),
        (Err(e), _) | (_, Err(e)) => (
            Err(Failed::new(format!("the order cannot be read: {e}"))),
            None,
        ),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            let mut err = io::stderr();
            let _ = writeln!(err, "{ERROR}{}", failed.said);
            if let Some(dir) = dir.filter(|_| failed.unknown) {
                // An exit status cannot say it: those are the pod's.
                let _ = crate::private::replace(&dir.join(UNKNOWN), b"");
            }
            if let Some(help) = failed.help {
                let _ = writeln!(err, "  {help}");
            }
            ExitCode::from(1)
        }
    }
}

async fn carry_out(order: &Order) -> Result<u8, Failed> {
    let native = Native::read(&order.words).map_err(|f| Failed::helped(f.what, f.help))?;
    let mut cluster = kubernetes::connect(&order.system, REACH).await?;
    if let Some(namespace) = &native.namespace {
        cluster.namespace.clone_from(namespace);
    }
    // Between the look before the start and now somebody may have turned the context.
    if let Some(pinned) = &order.identity {
        let seen = kubernetes::who(&cluster).await?;
        if !pinned.same(&seen) {
            return Err(Failed::helped(
                format!(
                    "this is another cluster: {} instead of {}; nothing was changed",
                    seen.fingerprint(),
                    pinned.fingerprint()
                ),
                "who turned the context? look at the target on the screen Ready?",
            ));
        }
        if pinned.as_another(&seen) {
            return Err(Failed::helped(
                format!(
                    "this is {} and not {}; nothing was changed",
                    seen.as_user(),
                    pinned.as_user()
                ),
                "who changed the login? a person has to confirm it",
            ));
        }
    }
    there_is_a_namespace(&cluster, &native.verb).await?;
    let mut hands = Hands {
        cluster,
        log: Log::default(),
        limit: native.timeout.unwrap_or(LIMIT),
        native,
    };
    hands.act(order).await
}

/// Is the namespace still there that everything is about?
async fn there_is_a_namespace(cluster: &Cluster, verb: &Verb) -> Result<(), Failed> {
    if matches!(verb, Verb::Namespace { .. } | Verb::Apply(_)) {
        // These may be what makes it.
        return Ok(());
    }
    let path = format!("/api/v1/namespaces/{}", cluster.namespace);
    match cluster.get(&path).await {
        Ok(Some(found)) if found["metadata"]["deletionTimestamp"].is_string() => {
            Err(Failed::helped(
                format!(
                    "the namespace {} is being deleted; nothing was changed",
                    cluster.namespace
                ),
                "who deletes it? is this the right cluster?",
            ))
        }
        Ok(None) => Err(Failed::helped(
            format!(
                "there is no namespace {}; nothing was changed",
                cluster.namespace
            ),
            "is this the right cluster, and `namespace:` of the system right?",
        )),
        // Whoever may not look at namespaces may still change what is in one.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

struct Hands {
    cluster: Cluster,
    native: Native,
    log: Log,
    limit: Duration,
}

impl Hands {
    /// The exit status; only a command in a pod has one of its own.
    async fn act(&mut self, order: &Order) -> Result<u8, Failed> {
        let verb = self.native.verb.clone();
        if let Verb::Exec {
            what,
            container,
            command,
        } = &verb
        {
            return self.exec(what, container.as_deref(), command).await;
        }
        self.change(&verb, order).await?;
        Ok(0)
    }

    async fn change(&mut self, verb: &Verb, order: &Order) -> Result<(), Failed> {
        match verb {
            Verb::Scale { what, replicas } => self.scale(what, replicas).await,
            Verb::Restart { what } => self.restart(what).await,
            Verb::SetEnv {
                what,
                container,
                env,
            } => self.set_env(what, container.as_deref(), env).await,
            Verb::SetImage { what, images } => self.set_image(what, images).await,
            Verb::Patch { what, how, body } => self.patch(what, *how, body).await,
            Verb::Secret { name, data, kind } => self.secret(name, data, kind.as_deref()).await,
            Verb::Namespace { name, labels } => self.namespace(name, labels).await,
            Verb::Apply(manifests) => self.apply(manifests, order).await,
            Verb::Delete { what, grace } => self.delete(what, *grace).await,
            Verb::Job { from, name } => self.job(from, name.as_deref(), &order.attempt).await,
            Verb::Wait { what, until } => self.wait(what, until).await,
            Verb::Copy {
                from,
                to,
                container,
            } => {
                self.copy(from, to, container.as_deref(), &order.folder)
                    .await
            }
            Verb::Exec { .. } => Ok(()),
        }
    }
}
