//! `debug`: debug lines in the log, and panics that end the process.

mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
