//! Which queries of a window are counted, and as how many.
//!
//! ```text
//! the first 65,536:  each, as one
//! from then on:      of each eight in a row one, drawn by lot, as eight
//! ```
//!
//! What is worth a list by then shows in a sample as well. With `n` queries after the first 65,536, a key with the share `p` of them is off by
//! `sqrt(7 p (1 - p) n)` (standard error, a little less because the lots are drawn in rows): 0.26 % of all queries at the worst, which
//! is `p` = 1/2 and `n` = 65,536.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Queries of a window that are counted one by one.
pub(super) const EXACT: u64 = 1 << 16;
/// Then one of so many is counted.
pub(super) const ROW: u64 = 8;

/// Draws the lots. One thread writes.
pub(super) struct Sample {
    /// Queries in this window.
    seen: AtomicU64,
    /// Its lowest bits say which of the row is counted; strangers must not know.
    random: AtomicU64,
}

impl Sample {
    /// The seed is not 0.
    pub(super) fn new(seed: u64) -> Sample {
        Sample { seen: AtomicU64::new(0), random: AtomicU64::new(seed) }
    }

    /// A new window begins.
    pub(super) fn begin(&self) {
        self.seen.store(0, Relaxed);
    }

    /// As how many the next query counts.
    #[inline]
    pub(super) fn weight(&self) -> u32 {
        let seen = self.seen.load(Relaxed);
        self.seen.store(seen + 1, Relaxed);
        if seen < EXACT {
            return 1;
        }
        let random = self.random.load(Relaxed);
        if seen % ROW == ROW - 1 {
            self.random.store(next(random), Relaxed);
        }
        if seen % ROW == random % ROW { ROW as u32 } else { 0 }
    }
}

/// xorshift64 (Marsaglia 2003, "Xorshift RNGs").
fn next(mut random: u64) -> u64 {
    random ^= random << 13;
    random ^= random >> 7;
    random ^ random << 17
}
