use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use periplus_core::setup::{PageContent, Readiness};

/// What `/ready` says.
pub(super) struct ReadyPage {
    readiness: Arc<Readiness>,
    /// Checks, by their place, that said yes once: without continuous monitoring they count as ready for ever.
    were_ready: Mutex<BTreeSet<usize>>,
}

impl ReadyPage {
    pub(super) fn new(readiness: Arc<Readiness>) -> ReadyPage {
        ReadyPage { readiness, were_ready: Mutex::default() }
    }

    /// Asks the plugins. `OK`, and what ready plugins remark about themselves in further lines; otherwise the names of those that are
    /// not ready.
    pub(super) fn content(&self) -> PageContent {
        if self.readiness.is_stopping() {
            return PageContent::text(503, "Shutting down");
        }
        let mut unready = BTreeSet::new();
        let mut body = "OK".to_owned();
        let mut were_ready = self.were_ready.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, (plugin, check)) in self.readiness.checks().into_iter().enumerate() {
            let state = check();
            if state.ready {
                were_ready.insert(place);
            }
            let counts_as_ready = !self.readiness.is_continuous() && were_ready.contains(&place);
            if !state.ready && !counts_as_ready {
                unready.insert(plugin);
            }
            for remark in state.remarks {
                body.push('\n');
                body.push_str(&remark);
            }
        }
        if unready.is_empty() {
            return PageContent::text(200, body);
        }
        let names = Vec::from_iter(unready).join(",");
        tracing::info!("plugin/ready: Plugins not ready: \"{names}\"");
        PageContent::text(503, names)
    }
}
