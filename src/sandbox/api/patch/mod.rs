//! The ways of changing a part of an object: JSON patch, merge patch and strategic merge patch.

pub(super) mod json;
pub(super) mod merge;
pub(super) mod strategic;
