//! What the plugin does with a query.

use std::sync::Arc;

use periplus_core::codes::RecordType;
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::{ExtendedError, Failure};

use super::state::{Sighting, State};

/// A link of the chain, before the plugins that forward.
pub(super) struct Loop(pub(super) Arc<State>);

impl Plugin for Loop {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        if query.qtype == RecordType::HINFO {
            match self.0.saw(query.name(), query.peer) {
                Sighting::None => {}
                // Not stopped even while a loop is known: only so can its end be seen.
                Sighting::Early => return next.run(query),
                Sighting::Loop => return refusal().into(),
            }
        }
        if self.0.is_looping() { refusal().into() } else { next.run(query) }
    }
}

fn refusal() -> Failure {
    let text = "forwarding loop detected";
    let extended = ExtendedError { code: ExtendedError::NO_REACHABLE_AUTHORITY, text: text.into() };
    Failure::servfail(super::NAME, text).with_extended_error(extended)
}
