//! What the end-to-end tests share and this needs.
#![allow(dead_code, reason = "the end-to-end tests use the rest")]

#[path = "../support/client.rs"]
pub mod client;
#[path = "../support/cluster.rs"]
pub mod cluster;
#[path = "../support/fake.rs"]
pub mod fake;
#[path = "../support/ports.rs"]
pub mod ports;
#[path = "../support/process.rs"]
pub mod process;
