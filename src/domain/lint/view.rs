//! Every script and command of a runbook, read once: where it stands, and what it calls.

use crate::domain::{
    finding::Pos,
    runbook::{
        Action, Check, Runbook, Step,
        kinds::{CheckKind, command},
        scripts::{
            self,
            commands::{self, Call, Commands, Pipeline, Use, Word},
        },
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What a step runs.
    Run,
    Undo,
    /// A check's `script:`.
    Check,
    /// A check's `command:`: arguments without a shell.
    Arguments,
    /// The text of a manual step: what people may copy from it.
    Manual,
}

pub(super) struct View<'a> {
    /// The step's full name, or what else it belongs to.
    pub(super) place: String,
    pub(super) kind: Kind,
    pub(super) step: Option<&'a Step>,
    pub(super) check: Option<&'a Check>,
    /// Of `prepare`: never part of a plan.
    pub(super) peace: bool,
    start: Pos,
    text: &'a str,
    pub(super) commands: Commands,
    pub(super) calls: Vec<Call>,
}

impl View<'_> {
    /// The place of a byte of the script in the file.
    pub(super) fn at(&self, byte: usize) -> Pos {
        match self.kind {
            Kind::Arguments => self.start,
            Kind::Run | Kind::Undo | Kind::Check | Kind::Manual => {
                scripts::place(self.text, self.start, byte)
            }
        }
    }

    pub(super) fn pipeline(&self, call: &Call) -> Option<&Pipeline> {
        self.commands.pipelines.get(call.pipeline)
    }

    /// Is it the last command of its pipeline, so that its exit code and output are the pipeline's?
    pub(super) fn is_last(&self, call: &Call) -> bool {
        self.pipeline(call)
            .is_some_and(|p| p.commands.len() == call.command + 1)
    }

    /// Does it read from a pipe?
    pub(super) fn reads_a_pipe(&self, call: &Call) -> bool {
        call.command > 0
    }

    /// The calls further down the same pipe.
    pub(super) fn behind<'v>(&'v self, call: &'v Call) -> impl Iterator<Item = &'v Call> {
        self.calls
            .iter()
            .filter(move |c| c.pipeline == call.pipeline && c.command > call.command)
    }

    /// The calls further up the same pipe.
    pub(super) fn before<'v>(&'v self, call: &'v Call) -> impl Iterator<Item = &'v Call> {
        self.calls
            .iter()
            .filter(move |c| c.pipeline == call.pipeline && c.command < call.command)
    }

    pub(super) fn usage(&self, call: &Call) -> Use {
        self.pipeline(call)
            .map_or(Use::Statement, |p| p.usage.clone())
    }

    pub(super) fn text(&self) -> &str {
        self.text
    }

    /// Has the step a hard end?
    pub(super) fn is_limited(&self) -> bool {
        let of_step = self.step.is_some_and(|s| s.timeout.is_some());
        of_step || matches!(self.kind, Kind::Check | Kind::Arguments)
    }
}

pub(super) fn all(runbook: &Runbook) -> Vec<View<'_>> {
    let mut views = Vec::new();
    let prepared = runbook
        .prepare
        .iter()
        .map(|s| (format!("prepare/{}", s.id), s, true));
    let steps = runbook.steps().map(|(name, s)| (name, s, false));
    for (place, step, peace) in steps.chain(prepared) {
        let own = step.script().filter(|s| s.shell_name().is_some());
        views.extend(own.and_then(|s| of_text(&place, Kind::Run, &s.text, s.at, step, peace)));
        for script in step.scripts().skip(usize::from(step.script().is_some())) {
            if script.shell_name().is_some() {
                views.extend(of_text(
                    &place,
                    Kind::Undo,
                    &script.text,
                    script.at,
                    step,
                    peace,
                ));
            }
        }
        if let Action::Manual(text) = &step.action {
            views.extend(of_text(
                &place,
                Kind::Manual,
                text,
                step.text_at,
                step,
                peace,
            ));
        }
        for check in step.checks() {
            views.extend(of_check(&place, check).map(|view| View {
                step: Some(step),
                peace,
                ..view
            }));
        }
    }
    let choices = runbook.triage.iter().flat_map(|t| t.all_choices());
    views.extend(of("recovered".to_owned(), runbook.recovered.when.iter()));
    for choice in choices {
        views.extend(of("triage".to_owned(), choice.evidence.iter()));
    }
    for variable in runbook.variables.values() {
        let place = format!("variables/{}", variable.name);
        views.extend(of(place, variable.hint.iter()));
    }
    views.extend(of(
        "on_hand".to_owned(),
        runbook.on_hand.iter().filter_map(|i| i.check.as_ref()),
    ));
    for row in &runbook.failures {
        views.extend(of(format!("failures/{}", row.id), row.probe.iter()));
    }
    views
}

fn of<'a>(place: String, checks: impl IntoIterator<Item = &'a Check>) -> Vec<View<'a>> {
    checks
        .into_iter()
        .filter_map(|c| of_check(&place, c))
        .collect()
}

fn of_text<'a>(
    place: &str,
    kind: Kind,
    text: &'a str,
    start: Pos,
    step: &'a Step,
    peace: bool,
) -> Option<View<'a>> {
    let commands = commands::read(text);
    let mut calls = commands::calls(&commands);
    if kind == Kind::Manual {
        calls.retain(is_meant);
    }
    Some(View {
        place: place.to_owned(),
        kind,
        step: Some(step),
        check: None,
        peace,
        start,
        text,
        commands,
        calls,
    })
}

/// Is this a command that people are meant to copy, or the beginning of a sentence?
fn is_meant(call: &Call) -> bool {
    const TOOLS: [&str; 22] = [
        "kubectl",
        "helm",
        "az",
        "aws",
        "gcloud",
        "psql",
        "pg_dump",
        "pg_dumpall",
        "pg_restore",
        "pgbackrest",
        "redis-cli",
        "curl",
        "gunzip",
        "jq",
        "alembic",
        "python",
        "python3",
        "pytest",
        "mysqldump",
        "mysql",
        "docker",
        "terraform",
    ];
    TOOLS.contains(&call.name.as_str())
        && (call.args.iter().any(|w| w.text.starts_with('-')) || !call.redirects.is_empty())
}

fn of_check<'a>(place: &str, check: &'a Check) -> Option<View<'a>> {
    let (kind, text, start, commands) = match &check.what {
        CheckKind::Command(words) => match &words.run {
            command::Run::Script { text, at } => {
                (Kind::Check, text.as_str(), *at, commands::read(text))
            }
            command::Run::Arguments(arguments) => {
                (Kind::Arguments, "", check.at, of_arguments(arguments))
            }
        },
        CheckKind::Kubernetes(words) => {
            let arguments = words.words.get("command")?.as_array()?;
            let arguments: Vec<String> = arguments
                .iter()
                .filter_map(|a| a.as_str().map(str::to_owned))
                .collect();
            (Kind::Arguments, "", check.at, of_arguments(&arguments))
        }
        CheckKind::Redis(_)
        | CheckKind::Postgres(_)
        | CheckKind::Http(_)
        | CheckKind::Tcp(_)
        | CheckKind::Tls(_)
        | CheckKind::Dns(_)
        | CheckKind::File(_) => return None,
    };
    let mut calls = commands::calls(&commands);
    for call in &mut calls {
        // Programs in a pod are not this machine's.
        call.elsewhere |= matches!(check.what, CheckKind::Kubernetes(_));
    }
    Some(View {
        place: place.to_owned(),
        kind,
        step: None,
        check: Some(check),
        peace: false,
        start,
        text,
        commands,
        calls,
    })
}

/// Arguments as they stand, without a shell that would replace anything.
fn of_arguments(arguments: &[String]) -> Commands {
    let words = arguments.iter().map(|text| Word {
        text: text.clone(),
        quoted: true,
        ..Word::default()
    });
    let command = commands::Command {
        words: words.collect(),
        ..commands::Command::default()
    };
    Commands {
        pipelines: vec![Pipeline {
            commands: vec![command],
            usage: Use::Statement,
            guarded: false,
            at: 0,
        }],
        ..Commands::default()
    }
}
