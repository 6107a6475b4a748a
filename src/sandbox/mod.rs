//! Parts of a small world to rehearse in. This version has the node of a cluster, which plays its pods or
//! runs them for real.

mod container;
mod kubelet;
pub mod node;
mod slot;
mod volumes;
