//! What the end-to-end tests share.

pub(crate) mod client;
pub(crate) mod server;
