//! `bind`: which of the machine's addresses a server block listens on.

mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
