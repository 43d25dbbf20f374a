//! `whoami`: tells the client its own address, port and transport.

mod handler;
mod setup;
#[cfg(test)]
mod tests;

pub use handler::Whoami;
pub use setup::setup;
