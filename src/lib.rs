//! blackstart
pub mod domain;
pub mod clock;
pub mod journal;
pub mod private;
