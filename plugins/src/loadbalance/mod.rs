//! `loadbalance`: the order of addresses in a reply, new for every query.
//!
//! ```text
//!  reply from inward --> NOERROR, no transfer --> policy: round_robin or weighted --> prefer: nearest networks first
//! ```
//!
//! Clients mostly take the first address. Turning a set costs one number beside it ([`Entry::first`]): no record is copied
//! unless `prefer` has to divide a set.
//!
//! [`Entry::first`]: periplus_core::record::Entry::first

mod handler;
mod order;
mod prefer;
mod setup;
#[cfg(test)]
mod tests;
mod weighted;

pub use setup::setup;
