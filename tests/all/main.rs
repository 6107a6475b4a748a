//! Black-box tests: the real binary against real PostgreSQL, pgBackRest, Redis, sshd and terminals.
//!
//! One binary. `harness` is what the tests stand on; every other module is a promise and its tests,
//! whose names read as sentences. `tests/setup.sh` installs the servers; a test whose server is
//! missing fails and says which package has it. `BLACKSTART_TORTURE=1` makes the loops long.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod actions;
mod ampora;
mod arbitex;
mod authors;
mod by_hand;
mod clients;
mod cluster;
mod cockpit;
mod control;
mod differential;
mod doubts;
mod drills;
mod explain;
mod harbor;
mod harness;
mod house;
mod interruptions;
mod kills;
mod lint;
mod lint_rules;
mod looking;
mod panel;
mod platform;
mod pods;
mod recovery;
mod rehearsal;
mod schema;
mod secrets;
mod seeds;
mod sites;
mod survival;
mod targets;
mod usage;
