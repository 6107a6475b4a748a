//! Drills through the cockpit, by keys.
