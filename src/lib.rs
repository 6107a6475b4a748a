//! blackstart
pub mod checks;
pub mod clock;
pub mod domain;
pub mod journal;
pub mod logs;
pub mod private;
pub mod store;
pub mod supervisor;
pub mod systems;
pub mod values;

/// Who acts: `user@host`, as the journal names people.
pub fn who() -> String {
    let user = std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| format!("uid{}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}
pub mod cli;
pub mod engine;
pub mod export;
