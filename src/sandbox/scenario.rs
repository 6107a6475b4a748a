//! The scenarios that come along.

pub(crate) use crate::domain::drill::{Fault, Scenario};

macro_rules! shipped {
    ($($id:literal),* $(,)?) => {
        /// Every scenario: its name, and its file.
        pub const SHIPPED: &[(&str, &[u8])] = &[
            $(($id, include_bytes!(concat!("../../assets/scenarios/", $id, ".yaml")))),*
        ];
    };
}

shipped![
    "postgres-migration",
    "postgres-gone",
    "dump-truncated",
    "redis-lost",
    "redis-shadowed",
    "volume-lost",
    "claim-held",
    "several-lost",
    "cluster-lost",
    "cluster-unsaved",
    "ampora-site-lost",
    "ampora-key-rotated",
    "ampora-agents-authority",
    "ampora-swept",
    "ampora-federation",
];

impl Scenario {
    /// The shipped one of that name.
    pub fn shipped(id: &str) -> Option<Self> {
        let (_, bytes) = SHIPPED.iter().find(|(name, _)| *name == id)?;
        Self::read(bytes).ok()
    }
}

/// Those of one runbook, in their order.
pub fn of_runbook(runbook: &str) -> Vec<Scenario> {
    let all = SHIPPED
        .iter()
        .filter_map(|(_, bytes)| Scenario::read(bytes).ok());
    all.filter(|s| s.runbook == runbook).collect()
}
