//! The two clocks of a machine: what people read, and what goes on while it sleeps.

use chrono::{DateTime, SubsecRound, Utc};
use rustix::time::{ClockId, clock_gettime};

/// Now, to the millisecond: what the journal can hold.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

/// Milliseconds since the machine started, sleep included; never steps back.
pub fn boot_ms() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1000 + u64::try_from(t.tv_nsec).unwrap_or(0) / 1_000_000
}
