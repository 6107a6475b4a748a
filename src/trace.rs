//! The debug log: a private file for whoever mends the program; never the record of an incident.

use std::path::Path;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Starts the debug log in `<state>/debug.log`; kept as long as the guard. It is asked for by
/// `BLACKSTART_LOG` (as in `BLACKSTART_LOG=debug`), and nothing is written without it.
pub fn start(state: &Path) -> Option<WorkerGuard> {
    let wanted = std::env::var("BLACKSTART_LOG")
        .ok()
        .filter(|w| !w.is_empty())?;
    let file = crate::private::open(&state.join("debug.log"), crate::private::Open::Append).ok()?;
    let (writer, guard) = tracing_appender::non_blocking(file);
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("blackstart={wanted}")))
        .with_writer(writer)
        .with_ansi(false)
        .try_init()
        .ok()?;
    Some(guard)
}
