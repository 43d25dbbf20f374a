//! What every Periplus plugin stands on: the DNS data model, the Corefile language, the plugin contract, and what several
//! plugins share. No plugin is known here.
//!
//! The way of a query through these modules:
//!
//! ```text
//! bytes -> query::admit -> server::Server::respond -> plugin::Plugin::handle ... -> reply::Answer -> encode::encode -> bytes
//! ```

pub mod codes;
mod compress;
pub mod corefile;
pub mod decode;
pub mod edns;
pub mod encode;
pub mod exchange;
pub mod identity;
pub mod interfaces;
pub mod lasting;
pub mod limit;
pub mod liveness;
pub mod memory;
pub mod metrics;
pub mod name;
pub mod output;
pub mod plugin;
pub mod query;
pub mod random;
pub mod record;
pub mod reply;
pub mod request;
pub mod server;
pub mod setup;
pub mod spelling;
#[cfg(test)]
mod tests;
pub mod zone;
