use std::sync::Arc;

use super::rule::Rule;

/// What all queries share.
pub(super) struct Shared {
    pub(super) rules: Vec<Rule>,
    /// Codes of the local options that rules write.
    pub(super) local_codes: Arc<[u16]>,
}
