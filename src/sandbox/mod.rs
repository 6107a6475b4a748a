//! Parts of a small world in which recoveries are rehearsed. They are clients like any other: what they
//! serve also works with the real thing on the other side.

pub mod node;
