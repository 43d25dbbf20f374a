//! How long an upstream is waited for before somebody else is asked too.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// No upstream is waited for longer than this.
const MOST: Duration = Duration::from_secs(1);

/// The patience with one upstream. It begins as configured; an answer that took longer raises it, so that an upstream that is far away
/// or under load does not get each question's twin as well, and answers in time bring it back. As long as all is well
/// nothing is written: an estimate of the round trip (RFC 6298) would have to be, by all workers, with each answer.
pub(super) struct Patience {
    least: u32,
    /// Microseconds.
    now: AtomicU32,
}

impl Patience {
    /// As long as configured.
    pub(super) fn new(least: Duration) -> Patience {
        let least = micros(least);
        Patience { least, now: AtomicU32::new(least) }
    }

    /// How long to wait.
    pub(super) fn get(&self) -> Duration {
        Duration::from_micros(self.now.load(Ordering::Relaxed).into())
    }

    /// Learns from an answer. Answers at the same time may overwrite each other's lesson.
    pub(super) fn learn(&self, took: Duration) {
        let now = self.now.load(Ordering::Relaxed);
        let took = micros(took);
        if took > now {
            let raised = took.saturating_add(took / 2).min(micros(MOST)).max(self.least);
            self.now.store(raised, Ordering::Relaxed);
        } else if now > self.least && took < self.least {
            self.now.store(now - (now - self.least).div_ceil(8), Ordering::Relaxed);
        }
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn late_answers_raise_it_and_answers_in_time_bring_it_back() {
        let patience = Patience::new(millis(150));
        for took in [0, 1, 149, 150] {
            patience.learn(millis(took));
            assert_eq!(patience.get(), millis(150));
        }
        patience.learn(millis(300));
        assert_eq!(patience.get(), millis(450));
        // As long as most answers take: neither late nor early.
        patience.learn(millis(300));
        assert_eq!(patience.get(), millis(450));
        for _ in 0..40 {
            patience.learn(millis(1));
        }
        assert!(patience.get() < millis(152), "{:?}", patience.get());
        for _ in 0..100 {
            patience.learn(millis(1));
        }
        assert_eq!(patience.get(), millis(150));
        patience.learn(millis(1900));
        assert_eq!(patience.get(), MOST);
    }

    #[test]
    fn a_longer_one_than_the_most_stays_as_configured() {
        let patience = Patience::new(millis(5000));
        patience.learn(millis(6000));
        assert_eq!(patience.get(), millis(5000));
    }
}
