//! `errors`: tells the operator why queries failed, one line each or consolidated.
//!
//! ```text
//! answer with a cause -> first pattern that matches? -- none --> line at once; after some alike, counted until the minute ends
//!                                        \-> count; the first of a period wakes the task
//! task: sleeps until a period ends (or the instance) -> "N errors like ... occurred in last D"
//! ```

mod consolidate;
mod handler;
mod setup;
mod summary;
#[cfg(test)]
mod tests;

pub use setup::setup;
