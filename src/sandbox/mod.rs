//! A small world to rehearse in: real PostgreSQL and Redis, a simulated cluster and cloud, in a network of
//! its own.

pub(crate) mod api;
mod authority;
pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod controllers;
pub mod folder;
pub mod launch;
mod names;
pub mod node;
mod owner;
pub mod scenario;
pub mod standalone;
pub mod tools;
pub mod world;
