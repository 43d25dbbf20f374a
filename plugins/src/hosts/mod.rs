//! `hosts`: answers from a hosts file and from entries in the Corefile.
//!
//! ```text
//! file   -> entries \
//!                     >- table: name -> record sets ready to send, address -> PTR set     swapped whole at each reload
//! inline -> entries /
//! query  -> one look-up for the name, one more for the wildcard above it
//! ```

mod entries;
mod file;
mod handler;
#[cfg(any(test, fuzzing))]
pub mod property;
mod setup;
mod table;
#[cfg(test)]
mod tests;

pub use setup::setup;
