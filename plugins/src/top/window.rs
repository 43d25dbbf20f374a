//! One worker's sketches of this window and of the one before.
//!
//! ```text
//!   half 0    | window 4          |                   | window 6 ...
//!   half 1    |                   | window 5          |
//!                                         ^ now: all of window 5, and of window 4 the share that is still within one length of now
//! ```
//!
//! The halves take turns. Which window a half is about changes only when a query comes, so that an idle worker's may be long past: readers
//! ask for a window by its number.

use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use periplus_core::name::MAX_NAME;

use super::sample::Sample;
use super::settings::Settings;
use super::sketch::{Entry, Sketch};

/// Sets of 16 places for clients, and of each kind of names.
const CLIENT_SETS: usize = 64;
const NAME_SETS: usize = 12;
/// Bytes of an address; one of IPv4 is mapped into IPv6.
pub(super) const ADDRESS: usize = 16;
/// The half is about no window.
const NONE: u64 = u64::MAX;

/// Both halves.
pub(super) struct Windows {
    /// When the current window ends, in nanoseconds since the start.
    end: AtomicU64,
    current: AtomicUsize,
    halves: [Half; 2],
}

/// The sketches of one window.
pub(super) struct Half {
    window: AtomicU64,
    sample: Sample,
    sketches: [Option<Sketch>; 3],
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Clients,
    Names,
    /// Names that do not exist.
    Nxdomain,
}

impl Windows {
    /// The seed is nobody else's.
    pub(super) fn new(settings: &Settings, seed: u64) -> Windows {
        Windows {
            end: AtomicU64::new(0),
            current: AtomicUsize::new(0),
            halves: [Half::new(settings, seed), Half::new(settings, seed)],
        }
    }

    /// The half to write for a query that came at `now`, nanoseconds since the start; `length` is a window's. An answer that was long in
    /// coming counts into the current window.
    #[inline]
    pub(super) fn at(&self, now: u64, length: u64) -> &Half {
        if now >= self.end.load(Relaxed) {
            self.turn(now / length, length);
        }
        &self.halves[self.current.load(Relaxed) & 1]
    }

    #[cold]
    fn turn(&self, window: u64, length: u64) {
        let current = (window & 1) as usize;
        self.halves[current].begin(window);
        self.current.store(current, Relaxed);
        self.end.store((window + 1).saturating_mul(length), Relaxed);
    }

    /// The sketch that counted a window, and its entries. None if the half begins another window just now: then this one has only just
    /// begun as well, or is past.
    pub(super) fn read(&self, kind: Kind, window: u64) -> Option<(&Sketch, Vec<Entry>)> {
        let half = &self.halves[(window & 1) as usize];
        let sketch = half.sketch(kind)?;
        if half.window.load(Acquire) != window {
            return None;
        }
        let entries = sketch.entries().collect();
        fence(Acquire);
        (half.window.load(Relaxed) == window).then_some((sketch, entries))
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let sketches = self.halves.iter().flat_map(|half| half.sketches.iter().flatten());
        size_of::<Windows>() + sketches.map(Sketch::memory).sum::<usize>()
    }
}

impl Half {
    fn new(settings: &Settings, seed: u64) -> Half {
        let names = |wanted| (wanted > 0).then(|| Sketch::new(NAME_SETS, MAX_NAME));
        let clients = settings.clients + settings.namespaces > 0;
        Half {
            window: AtomicU64::new(NONE),
            sample: Sample::new(seed.max(1)),
            sketches: [
                clients.then(|| Sketch::new(CLIENT_SETS, ADDRESS)),
                names(settings.names),
                names(settings.nxdomain),
            ],
        }
    }

    /// As how many the next query counts in all sketches.
    #[inline]
    pub(super) fn weight(&self) -> u32 {
        self.sample.weight()
    }

    /// What counts this kind, if it is wanted.
    #[inline]
    pub(super) fn sketch(&self, kind: Kind) -> Option<&Sketch> {
        self.sketches[kind as usize].as_ref()
    }

    /// Nobody who sees one of the new counts still sees the old number.
    fn begin(&self, window: u64) {
        self.window.store(NONE, Relaxed);
        fence(Release);
        self.sketches.iter().flatten().for_each(Sketch::clear);
        self.sample.begin();
        self.window.store(window, Release);
    }
}
