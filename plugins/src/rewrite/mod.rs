//! `rewrite`: asks for something else than the client did, and answers as if it had not.
//!
//! ```text
//! client's query -> rules in order -> inner query --------> inner plugins
//!                      |  what to undo                          |
//! client's reply <- mend, in reverse order <- follow CNAMEs <- reply or failure
//! ```

mod cname;
mod edns;
mod handler;
mod mend;
mod pass;
mod pattern;
mod rule;
mod setup;
mod shared;
#[cfg(test)]
mod tests;

pub use handler::Rewrite;
pub use setup::setup;
