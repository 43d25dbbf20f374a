//! `prometheus`: counts queries and responses, and serves all metrics of the process at `/metrics`.
//!
//! ```text
//! query -> longest zone -> (server, zone) cells -> handle made once, then a plain add in the worker's own cell
//! /metrics <- Registry::expose sums the cells
//! ```
//!
//! Every label value comes from a closed set (servers, zones, types, response codes, plugins), so a handle is found by
//! index and nothing is hashed, locked or allocated for a query whose labels were seen before.

mod append_list;
mod handler;
mod metrics;
mod process;
mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
