//! What the end-to-end tests share.

pub mod api;
pub mod client;
pub mod cluster;
pub mod done;
pub mod fake;
pub mod peer;
pub mod ports;
pub mod process;
pub mod real_api_server;
pub mod relay;
pub mod server;
pub mod skip;
pub mod test_api_server;
pub mod upstream;
pub mod wire;
