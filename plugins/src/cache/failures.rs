//! Failures to resolve a question, remembered for a moment (RFC 9520).
//!
//! A dead upstream costs each client its whole patience. While that is so, the same question asked again in the same shape, by another
//! client or by one that tries again, is answered at once with what is known: that there was no answer a moment ago.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use periplus_core::reply::{Failure, FailureKind};

use super::question::Precomputed;
use super::shape::{Asked, OwnedAsked};

/// For how long the first failure of a question is remembered: RFC 9520 section 3.2 asks for a second at least.
const FIRST: Duration = Duration::from_secs(1);
/// For how long one is that follows another. The section asks for longer ones up to five minutes, which is right for servers that ask
/// authorities all over the world. An upstream of a cluster is back in seconds, and a client shall see that within five, of which
/// `forward` may need three.
const LONGEST: Duration = Duration::from_millis(1500);
/// For how long after a failure a source counts as failing.
const RECENT: Duration = Duration::from_secs(30);
/// Parts with a lock each.
const PARTS: usize = 16;
/// Failures in each part: 4096 of about 500 bytes in all. Of more the oldest go.
const MOST: usize = 256;

/// The questions that failed lately.
pub(super) struct Failures {
    /// None is remembered for longer; zero: none is at all.
    limit: Duration,
    parts: [Part; PARTS],
    /// When time began here, and in milliseconds from then until when the source counts as failing.
    begin: Instant,
    recent: AtomicU64,
}

#[derive(Default)]
struct Part {
    /// How many there are, for those who only want to know that there is none: while all is well no miss takes a lock.
    count: AtomicUsize,
    failed: Mutex<Failed>,
}

/// By the question's hash, which is keyed.
type Failed = HashMap<u64, Remembered, Precomputed>;

struct Remembered {
    asked: OwnedAsked,
    failure: Failure,
    /// For how long.
    span: Duration,
    until: Instant,
}

impl Remembered {
    /// Whether a failure at this time follows this one.
    fn counts(&self, now: Instant) -> bool {
        now < self.until + LONGEST
    }
}

impl Failures {
    pub(super) fn new(limit: Duration, now: Instant) -> Failures {
        Failures { limit, parts: Default::default(), begin: now, recent: AtomicU64::new(0) }
    }

    /// Takes note that the source failed, whatever else becomes of it.
    pub(super) fn note(&self, now: Instant) {
        self.recent.store(self.since_begin(now + RECENT), Ordering::Relaxed);
    }

    /// Whether the source failed lately.
    pub(super) fn are_recent(&self, now: Instant) -> bool {
        self.since_begin(now) < self.recent.load(Ordering::Relaxed)
    }

    fn since_begin(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_millis() as u64
    }

    /// The failure to tell again, if the question failed a moment ago.
    pub(super) fn find(&self, asked: Asked<'_>, now: Instant) -> Option<Failure> {
        let part = self.part(asked.hash());
        if part.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let failed = lock(&part.failed);
        let found = failed.get(&asked.hash())?;
        (now < found.until && found.asked.is(asked)).then(|| found.failure.clone())
    }

    /// Remembers a failure, if it is one of resolution.
    pub(super) fn keep(&self, asked: Asked<'_>, failure: &Failure, now: Instant) {
        if failure.kind != FailureKind::Resolution {
            return;
        }
        self.note(now);
        if self.limit.is_zero() {
            return;
        }
        let part = self.part(asked.hash());
        let mut failed = lock(&part.failed);
        let before = failed.get(&asked.hash()).filter(|before| before.counts(now));
        let span = before.map_or(FIRST, |before| LONGEST.min(before.span * 2)).min(self.limit);
        if failed.len() >= MOST && !failed.contains_key(&asked.hash()) {
            let oldest = failed.iter().min_by_key(|(_, one)| one.until).map(|(hash, _)| *hash);
            failed.remove(&oldest.unwrap_or_default());
        }
        let failure = failure.clone().of_kind(FailureKind::Cached);
        let asked = asked.to_owned();
        let hash = asked.hash();
        failed.insert(hash, Remembered { asked, failure, span, until: now + span });
        part.count.store(failed.len(), Ordering::Release);
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, now: Instant) {
        for part in &self.parts {
            if part.count.load(Ordering::Acquire) == 0 {
                continue;
            }
            let mut failed = lock(&part.failed);
            failed.retain(|_, one| one.counts(now));
            if failed.len() < failed.capacity() / 4 {
                failed.shrink_to_fit();
            }
            part.count.store(failed.len(), Ordering::Release);
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.parts.iter().map(|part| lock(&part.failed).len()).sum()
    }

    fn part(&self, hash: u64) -> &Part {
        // The map itself uses both ends of the hash.
        &self.parts[(hash >> 32) as usize % PARTS]
    }
}

fn lock(failed: &Mutex<Failed>) -> MutexGuard<'_, Failed> {
    failed.lock().unwrap_or_else(PoisonError::into_inner)
}
