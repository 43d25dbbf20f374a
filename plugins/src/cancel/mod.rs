//! `cancel`: no query waits longer than this.

mod handler;
mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
