//! `cache`: replies are kept and given again until their TTL is over.
//!
//! ```text
//!                    +-- zone whose replies are never kept --> inward, nothing looked up
//!  query -- question +
//!                    +-- look up --+-- fresh ---------------> reply (and perhaps a prefetch in the background)
//!                                  +-- stale, immediate ----> stale reply, refresh in the background
//!                                  +-- stale, verify -------> inward first, stale reply when that fails
//!                                  +-- miss ----------------> join the same question under way, or ask inward
//!
//!  reply from inward --> judge: kind, TTL, side --> all TTLs set --> kept, unless it is live
//! ```
//!
//! A *live* reply, one from the cluster index, is passed on with the same visible changes as any other but never kept: what the
//! watch has delivered is what the next query gets.
//!
//! Time is the query's time of arrival where the answer is there at once, and the clock's where it had to be waited for. Tests own both.

mod classify;
mod flight;
mod handler;
mod item;
mod metrics;
mod refresh;
mod setup;
mod store;
#[cfg(test)]
mod tests;

pub use setup::setup;
