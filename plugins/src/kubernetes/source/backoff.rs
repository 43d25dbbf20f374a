//! How long to wait after a failure.

use std::time::Duration;

use super::failure::Failure;

/// The waits of one kind of object.
///
/// They grow from one failure to the next until a watch lasts, and are cut by chance, so that neither the kinds nor the
/// replicas of a Deployment come back as one. The longest is a part of the time in which data is current again after an outage: whoever
/// changes it reads what the README says about that.
pub(super) struct Backoff {
    outage: Steps,
    /// The first try at something else must not wait as long as an outage that is over has taught.
    turn: Steps,
}

/// A server that asks for more than this does not get it.
const ASKED_MOST: Duration = Duration::from_secs(24);

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Backoff {
        let steps = || Steps { first, most, next: first };
        Backoff { outage: steps(), turn: steps() }
    }

    /// The wait after one more failure. `turns`: what is asked for next is not what has failed.
    pub(super) fn after(&mut self, failure: &Failure, turns: bool) -> Duration {
        let own = if turns { self.turn.next() } else { self.outage.next() };
        // Not sooner than asked, and not all at once either.
        let asked = failure.asked_to_wait().unwrap_or_default().min(ASKED_MOST);
        own.max(asked.mul_f64(1.0 + 0.25 * fastrand::f64()))
    }

    /// The wait after a watch that ended at once, without saying why.
    pub(super) fn after_early_end(&mut self) -> Duration {
        self.outage.next()
    }

    /// All is well again.
    pub(super) fn reset(&mut self) {
        self.outage.next = self.outage.first;
        self.turn.next = self.turn.first;
    }
}

/// Each is twice the one before.
struct Steps {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Steps {
    /// Between half and all of the current step.
    fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        step.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}
