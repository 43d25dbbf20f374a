//! `loop` finds out whether what is forwarded comes back, and stops it.
//!
//! ```text
//! probe task --HINFO <random>.<random>.ZONE--> own listen address -> ... -> loop (seen: 1) -> forward -> upstream
//!                                                    ^                                                      |
//!                                                    +------------------ if it comes back (seen: 2, 3) -----+
//! ```
//!
//! The third sighting means a loop: CoreDNS ends its process then, and with it the cluster names that are served well. Here the
//! probe is answered, which ends its way, and from then on everything that would be forwarded gets SERVFAIL until a
//! later probe is seen only once.

mod handler;
mod metrics;
mod probe;
mod setup;
mod state;
#[cfg(test)]
mod tests;

pub use setup::setup;

/// The plugin's name.
const NAME: &str = "loop";
