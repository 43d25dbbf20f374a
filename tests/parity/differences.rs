//! The differences from CoreDNS that are wanted, as DIFFERENCES.md tells them.

use super::questions::Question;
use crate::support::wire::Wire;

/// A wanted difference. A test fails when one no longer occurs, so that neither this list nor the page goes stale.
pub struct Known {
    /// Words of the page that tell the difference.
    pub told: &'static str,
    /// Whether a question and the two answers, CoreDNS's first, show it.
    pub shows: fn(&Question, Option<&Wire>, Option<&Wire>) -> bool,
}

pub const KNOWN: &[Known] = &[];
