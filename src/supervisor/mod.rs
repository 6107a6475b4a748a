//! Attempts: each runs in a process of its own, `blackstart __attempt`, which outlives the cockpit.
//!
//! ```text
//!  command ──two pipes──► __attempt (own session)
//!                            ├─ output.log, output.idx   bytes with secrets masked, and when they came
//!                            ├─ ctl.sock                 stop, typed input, resize; captured secrets
//!                            ├─ command.json             how the command ended, while `verify` runs
//!                            └─ exit.json                the record, last of all, synced
//! ```
//!
//! Two locks tell the truth afterwards: `lock` is held by the supervisor alone, `tree.lock` is
//! inherited by the command on purpose.

pub mod adopt;
mod attempt;
mod capture;
mod command;
mod control;
pub mod launch;
mod progress;
pub mod spec;

pub use adopt::{Fate, fate};
pub use attempt::main as attempt_main;
pub use launch::{LaunchError, launch};
