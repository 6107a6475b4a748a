//! The command line: arguments to calls. Flags over environment over the config file.

mod authors;
mod cockpit;
mod drill;
mod explain;
mod given;
mod headless;
mod history;
mod incidents;
mod lint;
mod load;
mod paper;
mod peace;
mod rehearsal;
mod settings;
mod sites;

use clap::{Parser, Subcommand};
use given::{DrillArgs, ResumeArgs, RunArgs};
use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

/// Exit codes are stable; see the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    PersonNeeded,
    OutsideRto,
    WrongTarget,
    /// That of a command which ran for somebody.
    Other(u8),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::PersonNeeded => 3,
            Self::OutsideRto => 4,
            Self::WrongTarget => 5,
            Self::Other(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What went wrong, whose fault it is, and the next command to try.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub what: String,
    pub next: String,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            next: next.into(),
        }
    }

    pub fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, next)
    }
}

#[derive(Parser)]
#[command(
    name = "blackstart",
    version,
    about = "A cockpit for disaster recovery: from what is broken to what runs again, with a timeline",
    after_help = "Exit codes: 0 done · 1 a step failed, or the answer is no · 2 usage, not found, invalid runbook · \
                  3 a person is needed · 4 recovered, but outside the RTO · 5 the target is not the pinned one"
)]
struct Cli {
    /// Where incidents are kept [default: $XDG_STATE_HOME/blackstart]
    #[arg(long, global = true, env = "BLACKSTART_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The config file
    #[arg(long, global = true, env = "BLACKSTART_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Open a live incident in the cockpit
    Open {
        /// A shipped runbook, or a file
        runbook: Option<String>,
        /// Where: a name in the config folder, or a file
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
    },
    /// Rehearse in a sandbox in which something is broken
    Drill(Box<DrillArgs>),
    /// What the output of a failed command means: likely causes, best first
    Explain {
        /// Logs; standard input without any, or for `-`
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Whose output it is, where that is known: psql, pgbackrest, kubectl, az…
        #[arg(long, value_name = "NAME")]
        tool: Option<String>,
        /// The exit code of the command
        #[arg(long, value_name = "N")]
        exit: Option<i32>,
        /// With what each score is made of
        #[arg(long)]
        why: bool,
        #[arg(long)]
        json: bool,
    },
    /// Step times over all drills; exits with 1 when one is overdue
    History {
        /// A shipped runbook, or a file
        runbook: Option<String>,
        /// How often each runbook is to be rehearsed [default: 13 weeks]
        #[arg(long, value_name = "DURATION")]
        every: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Go back into an open incident
    Resume(ResumeArgs),
    /// Recover without a terminal: for CI, cron and scheduled drills
    Run(RunArgs),
    /// Incidents and drills, newest first
    List {
        #[arg(long)]
        json: bool,
    },
    /// One incident: what ran, what runs, what failed and why
    Show {
        incident: String,
        #[arg(long)]
        json: bool,
    },
    /// Add a note to the timeline
    Note {
        incident: String,
        #[arg(required = true)]
        text: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Close an incident
    Close {
        incident: String,
        #[arg(long, default_value = "")]
        reason: String,
        #[arg(long)]
        json: bool,
    },
    /// The timeline, of an open incident too
    Export {
        incident: String,
        #[arg(long, default_value = "markdown", value_name = "markdown|json")]
        format: String,
    },
    /// Is the journal whole and unaltered?
    Verify {
        incident: String,
        #[arg(long)]
        json: bool,
    },
    /// Find the faults of runbooks
    Lint {
        #[arg(required = true)]
        files: Vec<String>,
        #[arg(long)]
        json: bool,
        /// Warnings count as errors
        #[arg(long)]
        strict: bool,
        /// Ask the installed tools which options they have
        #[arg(long)]
        tools: bool,
    },
    /// Values of peace time: looked at and kept, for cron
    Baseline {
        /// A shipped runbook, or a file
        runbook: String,
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Where, as whom, and how one knows that it is the right place
    #[command(subcommand)]
    Site(SiteCommand),
    /// The plan on paper: steps, commands, budgets, what is missing; nothing is run
    Plan {
        /// A shipped runbook, or a file
        runbook: String,
        /// What to recover, in this order
        #[arg(long = "go", value_name = "PROCEDURE[/PATH]", required = true)]
        go: Vec<String>,
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        #[arg(long = "set", value_name = "NAME=VALUE")]
        set: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// The runbook as a page for the wiki, in Markdown
    Render {
        /// A shipped runbook, or a file
        runbook: String,
    },
    /// Run the tests of a runbook: simulated answers, and what it makes of them
    Test {
        /// x.test.yaml, or the runbook beside which it stands
        file: String,
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema, for editors that complete and check
    Schema {
        #[arg(default_value = "runbook", value_name = "runbook|site")]
        of: String,
    },
    /// Trust a runbook's bytes: it may run and probe from now on
    Trust {
        file: String,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum SiteCommand {
    /// Look who is there, in peace time, and write it into the site's file
    Record {
        /// A name in the config folder, or a file
        site: String,
        /// Print the fingerprint of a secret that is in the environment
        #[arg(long, value_name = "SECRET")]
        fingerprint: Vec<String>,
        /// Write down who is there now although somebody else is recorded
        #[arg(long)]
        replace: bool,
    },
    /// Is everybody who was recorded still there?
    Check {
        /// A name in the config folder, or a file
        site: String,
        #[arg(long)]
        json: bool,
    },
}

/// Runs the program; everything below returns what to exit with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            let failed = e.use_stderr();
            return if failed {
                Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match dispatch(cli) {
        // What did not reach its reader is not done, whatever it was.
        Ok(_) if UNWRITTEN.load(Ordering::Relaxed) => {
            complain(&Failure::new(
                Exit::Failed,
                "what was asked for could not be written to stdout",
                "is the disk full?",
            ));
            Exit::Failed.into()
        }
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure);
            failure.exit.into()
        }
    }
}

/// Says what went wrong; a terminal that is gone is no reason to fail differently.
fn complain(failure: &Failure) {
    let what = crate::domain::text::Clean::new(&failure.what);
    let mut text = format!("blackstart: {what}\n");
    if !failure.next.is_empty() {
        text.push_str(&format!(
            "  → {}\n",
            crate::domain::text::Clean::new(&failure.next)
        ));
    }
    let _ = std::io::stderr().write_all(crate::offered::in_place(&text).as_bytes());
}

/// Something could not be written to stdout, and not because its reader had enough.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Prints a line to stdout; a closed pipe is no error.
fn say(text: &str) {
    print(&format!("{text}\n"));
}

/// Prints a text as it is; a closed pipe is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if written.is_err_and(|e| e.kind() != std::io::ErrorKind::BrokenPipe) {
        UNWRITTEN.store(true, Ordering::Relaxed);
    }
}

fn say_json(value: &serde_json::Value) {
    say(&serde_json::to_string_pretty(value).unwrap_or_default());
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    crate::offered::remember(cli.state_dir.as_deref());
    let settings = settings::Settings::read(cli.config.as_deref(), cli.state_dir)?;
    match cli.command {
        None => cockpit::home(&settings),
        Some(Command::Open { runbook, site, set }) => {
            cockpit::open(&settings, runbook.as_deref(), site.as_deref(), &set)
        }
        Some(Command::History {
            runbook,
            every,
            json,
        }) => history::history(&settings, runbook.as_deref(), every.as_deref(), json),
        Some(Command::Explain {
            files,
            tool,
            exit,
            why,
            json,
        }) => explain::explain(&explain::Wanted {
            files: &files,
            tool: tool.as_deref(),
            exit,
            why,
            json,
        }),
        Some(Command::Drill(args)) => drill::go(&settings, *args),
        Some(Command::Resume(args)) => match drill::resume(&settings, args.incident.as_deref())? {
            Some(exit) => Ok(exit),
            None if args.headless => headless::resume(&settings, &args),
            None => cockpit::resume(&settings, &args),
        },
        Some(Command::Run(args)) => headless::run(&settings, &args),
        Some(Command::List { json }) => incidents::list(&settings, json),
        Some(Command::Show { incident, json }) => incidents::show(&settings, &incident, json),
        Some(Command::Note {
            incident,
            text,
            json,
        }) => incidents::note(&settings, &incident, &text.join(" "), json),
        Some(Command::Close {
            incident,
            reason,
            json,
        }) => incidents::close(&settings, &incident, &reason, json),
        Some(Command::Export { incident, format }) => {
            incidents::export(&settings, &incident, &format)
        }
        Some(Command::Verify { incident, json }) => incidents::verify(&settings, &incident, json),
        Some(Command::Lint {
            files,
            json,
            strict,
            tools,
        }) => lint::lint(
            &files,
            lint::Wanted {
                json,
                strict,
                tools,
            },
        ),
        Some(Command::Baseline {
            runbook,
            site,
            set,
            json,
        }) => peace::baseline(&settings, &runbook, site.as_deref(), &set, json),
        Some(Command::Site(SiteCommand::Record {
            site,
            fingerprint,
            replace,
        })) => peace::record(&settings, &site, &fingerprint, replace),
        Some(Command::Site(SiteCommand::Check { site, json })) => {
            peace::check(&settings, &site, json)
        }
        Some(Command::Plan {
            runbook,
            go,
            site,
            set,
            json,
        }) => paper::plan(
            &settings,
            &paper::Wanted {
                runbook: &runbook,
                go: &go,
                site: site.as_deref(),
                set: &set,
                json,
            },
        ),
        Some(Command::Render { runbook }) => authors::render(&runbook),
        Some(Command::Test { file, json }) => authors::test(&file, json),
        Some(Command::Schema { of }) => authors::schema(&of),
        Some(Command::Trust { file, json }) => load::trust(&settings, &file, json),
    }
}

/// `NAME=VALUE` pairs.
fn pairs(option: &str, texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(Failure::usage(
                format!("{option} {text}: this is not NAME=VALUE"),
                format!("{option} name=value"),
            )),
        })
        .collect()
}

/// A runtime for whatever speaks with engines.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("no threads can be started: {e}"), ""))
}

pub(crate) use load::open_error;
