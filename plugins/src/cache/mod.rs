//! `cache`: replies are kept and given again until their TTL is over.
//!
//! ```text
//!                    +-- zone whose replies are never kept --> inward, nothing looked up
//!  query -- question +
//!                    +-- look up --+-- fresh ---------------> reply (and perhaps a prefetch in the background)
//!                                  +-- stale, immediate ----> stale reply, refresh in the background
//!                                  +-- stale, verify -------> inward first, stale reply when that fails
//!                                  +-- failed just now -----> the failure again (RFC 9520)
//!                                  +-- miss ----------------> join the same question under way, or ask inward;
//!                                                             what is over is the answer if that fails (RFC 8767)
//!
//!  reply from inward --> judge: kind, TTL, side --> all TTLs set --> kept, unless it is live
//! ```
//!
//! A *live* reply, one from the cluster index, is passed on with the same visible changes as any other but never kept: what the
//! watch has delivered is what the next query gets.
//!
//! Time is the query's time of arrival where the answer is there at once, and the clock's where it had to be waited for. Tests own both.

mod classify;
mod failures;
mod fallback;
mod flight;
mod handler;
mod item;
mod keep;
mod metrics;
mod question;
mod refresh;
mod settings;
mod setup;
mod shape;
mod shared;
mod side;
mod store;
mod sweep;
#[cfg(test)]
mod tests;

pub use setup::setup;
