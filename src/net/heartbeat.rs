//! Whether the workers make progress.
//!
//! ```text
//! worker:   each turn of its loop -> Beat: a number that only it writes
//! watchdog: each second -> the same number as a second ago? -> STUCK times in a row: the process says that it is not alive
//! ```
//!
//! A worker that has nothing to do turns four times a second, and one that has too much turns once per batch. So only one that never comes
//! back from a batch stands still; how much is asked, and how much is turned away, makes no difference. The watchdog counts its
//! own ticks and looks at no clock: after the machine or the process was paused, time has passed but no tick has.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use periplus_core::liveness::Liveness;
use periplus_core::metrics::Registry;

/// The time between two looks.
const TICK: Duration = Duration::from_secs(1);
/// A worker that did not move between so many looks is stuck. A batch of 32 requests of 150 ms each is no reason yet.
const STUCK: u32 = 5;

/// What a worker writes. On a cache line of its own: nobody else's writes slow it down.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Beat(AtomicU32);

impl Beat {
    /// Says that the worker goes on. Only one thread may call this.
    #[inline]
    pub(super) fn beat(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// The beats of all workers.
pub(super) struct Heartbeats {
    workers: Mutex<Vec<Watched>>,
    stuck: Arc<AtomicUsize>,
}

struct Watched {
    name: String,
    beat: Arc<Beat>,
    seen: u32,
    /// Looks since it last moved.
    still: u32,
}

impl Heartbeats {
    /// No worker yet.
    pub(super) fn new(metrics: &Registry) -> Heartbeats {
        let stuck = Arc::new(AtomicUsize::new(0));
        let value = Arc::clone(&stuck);
        metrics.computed(
            "periplus_stuck_workers",
            "Worker threads that have made no progress for five seconds or more.",
            "gauge",
            &[],
            move || value.load(Relaxed) as f64,
        );
        Heartbeats { workers: Mutex::default(), stuck }
    }

    /// A new worker, watched from now on.
    pub(super) fn open(&self, name: String) -> Arc<Beat> {
        let beat = Arc::new(Beat::default());
        self.lock().push(Watched { name, beat: Arc::clone(&beat), seen: 0, still: 0 });
        beat
    }

    /// The worker ends as it should. One that ends otherwise leaves a socket that nobody reads, and counts as stuck.
    pub(super) fn close(&self, beat: &Arc<Beat>) {
        self.lock().retain(|worker| !Arc::ptr_eq(&worker.beat, beat));
    }

    /// Looks for ever.
    pub(super) async fn watch(&self, liveness: &Liveness) {
        loop {
            tokio::time::sleep(TICK).await;
            liveness.set_troubles(self.look());
        }
    }

    /// One look: who is stuck.
    fn look(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        for worker in self.lock().iter_mut() {
            let seen = worker.beat.0.load(Relaxed);
            let seconds = u64::from(worker.still) * TICK.as_secs();
            if std::mem::replace(&mut worker.seen, seen) != seen {
                if worker.still >= STUCK {
                    tracing::warn!("{} goes on after {seconds}s", worker.name);
                }
                worker.still = 0;
                continue;
            }
            worker.still = worker.still.saturating_add(1);
            if worker.still >= STUCK {
                let seconds = seconds + TICK.as_secs();
                let trouble = format!("{} has made no progress for {seconds}s", worker.name);
                if worker.still == STUCK {
                    tracing::error!("{trouble}");
                }
                troubles.push(trouble);
            }
        }
        self.stuck.store(troubles.len(), Relaxed);
        troubles
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_stands_still_is_named() {
        assert!(TICK * (STUCK + 1) < Duration::from_secs(10), "the page says so by then");
        let metrics = Registry::new(1);
        let workers = Heartbeats::new(&metrics);
        let (moving, stuck) = (workers.open("one".into()), workers.open("two".into()));
        for look in 1..20 {
            moving.beat();
            let expected = match look {
                ..STUCK => vec![],
                _ => vec![format!("two has made no progress for {look}s")],
            };
            assert_eq!(workers.look(), expected);
        }
        assert!(metrics.expose().contains("periplus_stuck_workers 1\n"));
        stuck.beat();
        moving.beat();
        assert!(workers.look().is_empty(), "it goes on");
        assert!(metrics.expose().contains("periplus_stuck_workers 0\n"));
    }

    #[test]
    fn slow_is_not_stuck() {
        let workers = Heartbeats::new(&Registry::new(1));
        let slow = workers.open("slow".into());
        for look in 0..100 {
            if look % (STUCK - 1) == 0 {
                slow.beat();
            }
            assert!(workers.look().is_empty());
        }
    }

    #[test]
    fn who_has_ended_is_not_stuck() {
        let workers = Heartbeats::new(&Registry::new(1));
        let beat = workers.open("one".into());
        workers.close(&beat);
        assert!((0..2 * STUCK).all(|_| workers.look().is_empty()));
    }
}
