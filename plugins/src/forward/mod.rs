//! `forward` passes questions on to other servers.
//!
//! ```text
//! Corefile -> setup -> Settings, destinations -> Forward (one link) -> Stanza (one per directive) -> Upstream
//!                                                                                                   |  pool of UDP sockets
//!                                                                                                   |  pool of TCP connections
//!                                                                                                   |  health
//! ```
//!
//! A question that waits is one future. Over UDP it asks through the worker that polls it (`core::exchange`), which sends and receives for
//! all its questions at once. A future that is polled elsewhere, as that of a client over TCP is, has a socket from the pool, as
//! exchanges over TCP have a connection; it owns it for as long as the exchange takes, so that nothing is shared and nothing is
//! locked while it waits.

mod attempt;
mod countdown;
mod destination;
mod error;
mod handler;
mod health;
mod message;
mod metrics;
mod patience;
mod policy;
mod pool;
mod probe;
#[cfg(any(test, fuzzing))]
pub mod property;
mod resolv_conf;
mod resolve;
mod settings;
mod setup;
mod stanza;
mod tcp;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod turns;
mod udp;
mod upstream;

pub use setup::setup;

/// The plugin's name: in errors, in `Reply::source`, and as the metric label `proxy_name`.
const NAME: &str = "forward";
