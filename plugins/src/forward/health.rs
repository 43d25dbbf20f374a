//! Whether an upstream can be used.
//!
//! ```text
//!            an exchange fails                 more than max_fails probes failed
//!   healthy -------------------> suspect ------------------------------------------> down
//!      ^                            |                                                  |
//!      +------ a probe succeeds ----+--------------------------------------------------+
//! ```
//!
//! What fails on this machine, and an answer that was waited for less long than the upstream may take, is no failure of an exchange, nor of
//! a probe. Nothing is probed while all is well. After a failed exchange, or several questions in a row whose time the upstream let pass, one task
//! per upstream probes it until a probe is answered, with anything at all; meanwhile the upstream is asked only after all others. An answer to
//! a client's question says as much as that to a probe.
//!
//! When all upstreams are down, no question is sent to them but in the place of every other probe: so one that has no answer for
//! probes is found alive too, and what is sent to servers in trouble is no more than the probes would be.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::settings::MOST_LATE;

/// What is known of an upstream's health.
#[derive(Default)]
pub(super) struct Health {
    /// Probes that failed one after another.
    pub(super) failures: AtomicU32,
    /// A task probes it.
    pub(super) probed: AtomicBool,
    /// Questions in a row whose time it let pass.
    late: AtomicU32,
    /// A question may go in the place of the next probe.
    pub(super) turn: AtomicBool,
}

impl Health {
    /// Whether too many probes failed; with `max_fails 0` never.
    pub(super) fn is_down(&self, max_fails: u32) -> bool {
        max_fails != 0 && self.failures.load(Ordering::Relaxed) > max_fails
    }

    /// Whether it failed and no probe has cleared it yet.
    pub(super) fn is_suspect(&self) -> bool {
        self.probed.load(Ordering::Relaxed)
    }

    /// It answered a question. Written only where something stands: all workers read this with every question.
    pub(super) fn answered(&self) {
        for count in [&self.failures, &self.late] {
            if count.load(Ordering::Relaxed) != 0 {
                count.store(0, Ordering::Relaxed);
            }
        }
    }

    /// It let the time of a question pass. Says whether that happened so often in a row that it should be probed.
    pub(super) fn was_late(&self) -> bool {
        self.late.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_LATE
    }

    /// Takes the place of the next probe, if it is to be had.
    pub(super) fn take_turn(&self) -> bool {
        self.turn.load(Ordering::Relaxed) && self.turn.swap(false, Ordering::Relaxed)
    }
}
