//! The hands of a Redis check: one command, and only one that the server says is a look.

use super::{Seen, Trouble};
use crate::{
    domain::runbook::{System, kinds::redis::Words},
    systems::redis::{command, connect},
};
use std::time::Duration;

/// Looks at the server itself, which it does not flag `readonly`.
const LOOKS: [&str; 9] = [
    "PING", "INFO", "LASTSAVE", "ROLE", "TIME", "ECHO", "LOLWUT", "COMMAND", "HELLO",
];
/// Commands of which some subcommands are looks.
const PARTLY: [(&str, &[&str]); 6] = [
    ("CONFIG", &["GET"]),
    ("CLIENT", &["LIST", "INFO", "ID", "GETNAME"]),
    ("MEMORY", &["USAGE", "STATS", "DOCTOR"]),
    ("SLOWLOG", &["GET", "LEN"]),
    ("LATENCY", &["LATEST", "HISTORY", "DOCTOR"]),
    ("ACL", &["WHOAMI", "LIST", "USERS", "GETUSER"]),
];

pub(super) async fn look(
    words: &Words,
    system: &System,
    timeout: Duration,
) -> Result<Seen, Trouble> {
    let mut connection = connect(system, timeout).await?;
    if words.command.is_empty() {
        let answer = command(&mut connection, &["PING".to_owned()]).await?;
        let holds = answer == "PONG";
        return Ok(Seen::judged(answer, holds));
    }
    let name = words.command[0].to_ascii_uppercase();
    let sub = words.command.get(1).map(|s| s.to_ascii_uppercase());
    let is_look = LOOKS.contains(&name.as_str())
        || PARTLY
            .iter()
            .any(|(c, subs)| *c == name && sub.as_deref().is_some_and(|s| subs.contains(&s)));
    if !is_look {
        let asked = ["COMMAND", "INFO", name.as_str()].map(str::to_owned);
        let flags = command(&mut connection, &asked).await?;
        if !flags.lines().any(|l| l == "readonly") {
            return Err(Trouble::Down(format!(
                "{name} is not a read-only command, so it was not sent"
            )));
        }
    }
    Ok(Seen::text(command(&mut connection, &words.command).await?))
}
