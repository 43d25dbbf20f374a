//! `ready`: a page that says whether queries can be sent here.

mod page;
mod setup;
#[cfg(test)]
mod tests;

pub use setup::setup;
