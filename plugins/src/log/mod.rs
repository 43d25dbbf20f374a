//! `log`: one line per query on standard output.
//!
//! ```text
//! setup:  FORMAT -> segments            (once)
//! query:  first rule whose names cover it -> inner chain -> class wanted? -> segments written into the output's buffer
//! ```
//!
//! The line is written into the buffer of [`Output`](periplus_core::output::Output) itself, which a thread of its own empties: nothing is
//! formatted twice, and a reader of standard output that stands still costs log lines, never answers.

mod format;
mod handler;
#[cfg(any(test, fuzzing))]
pub mod property;
mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
