//! `root`: where relative file names of other plugins begin.

mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
