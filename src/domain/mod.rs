//! The pure heart: what a runbook says, what can happen, and what should happen next. Nothing here
//! reads a clock, a file, the environment or a socket.

pub mod budget;
pub mod decide;
pub mod drill;
pub mod event;
pub mod expect;
pub mod failures;
pub mod finding;
pub mod incident;
pub mod lint;
pub mod native;
pub mod plan;
pub mod redact;
pub mod runbook;
#[cfg(test)]
mod simulation;
pub mod site;
pub mod template;
pub mod text;
pub mod trial;
pub mod units;
pub mod yaml;
