//! What screens are made of: text that fits, lists, fields, popups, the header and the footer.

pub(crate) mod evidence;
pub(crate) mod field;
pub(crate) mod footer;
pub(crate) mod header;
pub(crate) mod list;
pub(crate) mod pane;
pub(crate) mod tail;
pub(crate) mod text;
