//! Periplus as a library: everything but the list of plugins, so that a binary with one more plugin is a short `main`.
//!
//! ```text
//! cli -> source (Corefile) -> configuration (plugins set up) -> program (sockets, tasks) -> signals
//!                                                                  |-- net:   DNS over UDP and TCP
//!                                                                  \-- admin: /health, /ready, /metrics
//! ```

pub mod admin;
pub mod cli;
pub mod configuration;
pub mod demo;
pub mod events;
mod housekeeping;
pub mod net;
pub mod program;
pub mod signals;
pub mod source;
pub mod sys;
mod watch;
