//! # blackstart
//!
//! A full-screen terminal cockpit for disaster recovery. An **incident is its journal**: people and
//! processes only propose; one engine decides, writes, then applies, then acts; screens draw what was
//! applied.
//!
//! ```text
//!  ask ──► decide ──► write ──► apply ──► act
//!   ▲      (pure)    (fsync)    (pure)   (edge)
//!   │                             │         │
//!  keys                         draw     reports ──► ask …
//! ```
//!
//! The rooms, from the ground up; imports only go down, and a test holds that:
//!
//! | room | what it owns |
//! |---|---|
//! | [`domain`] | pure: runbooks as written, what can happen, the fold, what should happen next |
//! | [`private`], [`clock`], [`trace`] | private files, the two clocks, the debug log |
//! | [`journal`], [`logs`], [`values`] | the record; an attempt's output; values and their masked twins |
//! | [`systems`], [`checks`] | named connections and their identity; what can be looked at |
//! | [`actions`] | what can be done to a cluster |
//! | [`sandbox`] | the small world of a drill: simulated cluster and cloud, real databases |
//! | [`supervisor`] | attempts: processes that outlive the cockpit |
//! | [`store`], [`export`] | the state folder; what is handed on |
//! | [`engine`] | sole owner of an incident |
//! | [`tui`] | the cockpit |
//! | [`cli`] | arguments to calls |

pub mod actions;
pub mod checks;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod engine;
pub mod export;
pub mod journal;
pub mod logs;
pub mod offered;
pub mod private;
pub mod sandbox;
pub mod store;
pub mod supervisor;
pub mod systems;
pub mod trace;
pub mod tui;
pub mod values;

/// Who acts: `user@host`, as the journal names people.
pub fn who() -> String {
    let user = std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| account());
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}

/// The account's name as this machine knows it, or its number.
fn account() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid{uid}"))
}
