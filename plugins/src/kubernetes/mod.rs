//! `kubernetes`: answers for the services and pods of a cluster.
//!
//! ```text
//!  source (watches, manifests) --Change--> index <--lookups-- answers <-- handler <-- queries
//! ```
//!
//! Sources know no DNS, the index knows no client, and the answers are made of what lies ready in the index.

mod answers;
mod apex;
mod dashed;
mod external_name;
mod finding;
mod handler;
pub mod index;
mod metrics;
mod names;
pub mod objects;
mod pods;
mod reverse;
mod services;
mod setup;
mod shared;
pub mod source;
mod srv;
#[cfg(test)]
mod tests;
mod zone;

pub use metrics::Metrics;
pub use setup::setup;

/// The directive's name.
const NAME: &str = "kubernetes";
