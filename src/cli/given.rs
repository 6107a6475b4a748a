//! What `run`, `resume` and `drill` are told on the command line.

use clap::Args;
use std::ffi::OsString;

#[derive(Args)]
pub(super) struct ResumeArgs {
    /// The incident; not needed where only one is open
    pub incident: Option<String>,
    /// Without the cockpit: adopt what runs and wait for it
    #[arg(long)]
    pub headless: bool,
    /// Go on with the plan afterwards
    #[arg(long = "continue", requires = "headless")]
    pub go_on: bool,
    /// Recover this, too, or by this path instead
    #[arg(long = "go", value_name = "PROCEDURE[/PATH]", requires = "headless")]
    pub go: Vec<String>,
    /// Run a step once more
    #[arg(long, value_name = "STEP", requires = "headless")]
    pub retry: Vec<String>,
    /// Leave a step out
    #[arg(long, value_name = "STEP=REASON", requires = "headless")]
    pub skip: Vec<String>,
    #[command(flatten)]
    pub given: GivenArgs,
}

#[derive(Args)]
pub(super) struct RunArgs {
    /// A shipped runbook, or a file
    pub runbook: String,
    /// What to recover, in this order
    #[arg(long = "go", value_name = "PROCEDURE[/PATH]", required = true)]
    pub go: Vec<String>,
    #[arg(long, value_name = "ID")]
    pub severity: Option<String>,
    /// Where: a name in the config folder, or a file
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// When it began: RFC 3339, `25m` ago, or now
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Leave a step out
    #[arg(long, value_name = "STEP=REASON")]
    pub skip: Vec<String>,
    /// Trust the runbook's bytes
    #[arg(long)]
    pub trust: bool,
    /// A rehearsal that fails is removed all the same.
    #[arg(skip)]
    pub tear_down: bool,
    #[command(flatten)]
    pub given: GivenArgs,
}

#[derive(Args, Clone, Default)]
pub(super) struct GivenArgs {
    /// A value; never a secret
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Approve what destroys, by the name that would be typed
    #[arg(long, value_name = "STEP=NAME")]
    pub approve: Vec<String>,
    /// A manual step is done
    #[arg(long, value_name = "STEP")]
    pub confirm: Vec<String>,
    /// Whom a system may turn out to be: HOST:PORT, its own identifier, or both
    #[arg(long, value_name = "SYSTEM=FP")]
    pub accept_identity: Vec<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone)]
pub(super) struct DrillArgs {
    /// A shipped runbook
    pub runbook: Option<String>,
    /// What is broken; without it, the seed decides
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// At a rehearsal site, with real backups, instead of in a sandbox
    #[arg(long, value_name = "NAME", conflicts_with_all = ["scenario", "seed", "detour", "clean"])]
    pub site: Option<String>,
    /// At a rehearsal site: what to rehearse, in this order
    #[arg(long = "go", value_name = "PROCEDURE[/PATH]", requires = "site")]
    pub go: Vec<String>,
    /// Approve what destroys, by the name that would be typed
    #[arg(long, value_name = "STEP=NAME", requires = "site")]
    pub approve: Vec<String>,
    /// A manual step is done
    #[arg(long, value_name = "STEP", requires = "site")]
    pub confirm: Vec<String>,
    /// Whom a system may turn out to be: HOST:PORT, its own identifier, or both
    #[arg(long, value_name = "SYSTEM=FP", requires = "site")]
    pub accept_identity: Vec<String>,
    /// The same seed makes the same sandbox
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// A value for the cockpit, as of `open`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Without the cockpit, by the scenario's own good way: for CI and cron
    #[arg(long)]
    pub headless: bool,
    /// Headless, and astray first
    #[arg(long, requires = "headless")]
    pub detour: bool,
    /// What answers for clusters; a real one is that of KUBEBUILDER_ASSETS
    #[arg(long, default_value = "simulated", value_parser = ["simulated", "real"])]
    pub control_plane: String,
    /// Leave the sandbox, or the scratch place of a rehearsal, up afterwards
    #[arg(long)]
    pub keep: bool,
    /// A shell in the sandbox that is up, or in a new one, instead of the cockpit
    #[arg(long, conflicts_with_all = ["headless", "site", "clean"])]
    pub shell: bool,
    /// A command instead of the shell
    #[arg(last = true, value_name = "COMMAND", requires = "shell")]
    pub command: Vec<OsString>,
    /// End and remove every sandbox that is left
    #[arg(long, conflicts_with_all = ["runbook", "scenario", "seed", "headless"])]
    pub clean: bool,
    #[arg(long, requires = "headless")]
    pub json: bool,
}
