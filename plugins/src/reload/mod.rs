//! `reload`: how often the program looks for a changed Corefile. Looking, and what follows from it, is the program's.

mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
