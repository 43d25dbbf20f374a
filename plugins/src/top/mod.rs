//! `top`: who asks most, and for what.
//!
//! ```text
//! query -> answer -> the worker's half of this window -> sample -> three sketches: clients, names, names that do not exist
//!                                                                |
//! /metrics <- the loudest of all workers <- this window and the rest of the one before
//! ```
//!
//! A sketch counts the loud ones and lets the quiet ones share what room is left, so that its memory does not depend on how many clients
//! and names there are. Each worker writes its own with plain loads and stores; whoever scrapes reads them while they change and can tell
//! what was torn.

mod handler;
mod loudest;
mod metrics;
mod sample;
mod settings;
mod setup;
mod sketch;
mod talkers;
#[cfg(test)]
mod tests;
mod window;

pub use setup::setup;
