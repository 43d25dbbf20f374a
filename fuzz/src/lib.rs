//! What several targets share: records in a form in which two readers can be compared, and a server without sockets.

mod machine;
mod records;

pub use machine::{Machine, cluster, surroundings};
pub use records::{Record, comparable, labels, records, their_records};
