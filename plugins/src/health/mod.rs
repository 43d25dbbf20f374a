//! `health`: a page that says that the process lives, a check of that page from within, and the time to go on after SIGTERM.

mod self_check;
mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
