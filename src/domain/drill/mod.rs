//! Drills: what is broken in one, how it was gone about, and what can be learnt from it.

mod debrief;
mod history;
mod scenario;

pub use debrief::{Debrief, Earlier, Timed, debrief, took};
pub use history::{History, QUARTER, StepHistory, Trend, history};
pub use scenario::{Expected, Fault, Move, Scenario, filled};
