//! What a `cache` directive says, and what holds where it says nothing.

use std::time::Duration;

use periplus_core::memory::Budget;
use periplus_core::name::NameRef;
use periplus_core::zone::Zones;

use super::side::Side;
use super::store::Bounds;

/// The longest TTL of positive answers in seconds (CoreDNS's `dnsutil.MaximumDefaultTTL`); half of it for negative ones.
const MAX_TTL: u32 = 3600;
/// The shortest TTL in seconds.
const MIN_TTL: u32 = 5;
/// Entries per side.
const CAPACITY: usize = 10_000;
/// CoreDNS has 256 shards of at least 4 entries.
const LEAST_CAPACITY: usize = 1024;
/// An entry of one address takes about 500 bytes here, one of a signed answer two to four thousand.
const BYTES_PER_ENTRY: usize = 1024;
/// A side may have one of so many parts of what the process's memory limit leaves.
const PARTS: u64 = 8;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Names outside of these pass by.
    pub(super) zones: Zones,
    pub(super) success: Limits,
    pub(super) denial: Limits,
    /// How long server errors are kept; zero: not at all.
    pub(super) servfail: Duration,
    pub(super) prefetch: Option<Prefetch>,
    pub(super) stale: Option<Stale>,
    /// What holds without `serve_stale`.
    pub(super) fallback: Option<Fallback>,
    /// `serve_stale_policy prefer_positive`.
    pub(super) prefer_positive: bool,
    /// Zones that one side keeps nothing of: success, denial.
    disabled: [Zones; 2],
    /// Zones in which both sides are disabled.
    never: Zones,
    pub(super) keep_ttl: bool,
}

/// The limits of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// `CAPACITY`, in entries.
    pub(super) capacity: usize,
    /// The longest TTL, in seconds.
    pub(super) max: u32,
    /// The shortest TTL, in seconds; a longest below it wins.
    pub(super) min: u32,
}

impl Limits {
    /// The TTL to use for one that was found.
    pub(super) fn clamp(self, ttl: u32) -> u32 {
        ttl.max(self.min).min(self.max)
    }

    /// CoreDNS's capacity counts entries, so that one name with a large answer weighs as much as one with a small one. Here the same
    /// number also bounds the memory: as many KiB as entries, and no more than an eighth of what the memory limit leaves.
    pub(super) fn bounds(self, budget: Budget) -> Bounds {
        let entries = self.capacity.max(LEAST_CAPACITY);
        let bytes = entries.saturating_mul(BYTES_PER_ENTRY);
        let least = LEAST_CAPACITY * BYTES_PER_ENTRY;
        Bounds { entries, bytes: budget.count(PARTS, 1, least, bytes) }
    }
}

/// Refreshing what is asked for often before it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefetch {
    /// This many hits make a name popular.
    pub(super) amount: u32,
    /// A gap longer than this starts the count anew.
    pub(super) window: Duration,
    /// The share of the TTL that is left when the refresh begins, in percent.
    pub(super) percentage: u32,
}

/// Answering from entries whose TTL is over (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stale {
    /// For how long after the end of the TTL.
    pub(super) window: Duration,
    pub(super) mode: StaleMode,
    /// The TTL of stale answers, in seconds.
    pub(super) ttl: u32,
    /// No new attempt for so long after a refresh has failed; zero: no limit.
    pub(super) recheck: Duration,
}

/// Answering from entries whose TTL is over when the source fails, and only then (RFC 8767).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fallback {
    /// For how long after the end of the TTL.
    pub(super) window: Duration,
    /// The TTL of such answers, in seconds.
    pub(super) ttl: u32,
    /// A client waits no longer than this for the source.
    pub(super) response_timer: Duration,
    /// After a failed attempt the source is left alone for so long.
    pub(super) recheck: Duration,
}

impl Fallback {
    /// The window is CoreDNS's for `serve_stale`; TTL and response timer are those that RFC 8767 sections 4 and 5 recommend. They recommend
    /// 30 seconds before the next attempt too, for the sake of servers that all the world asks. Here it is the cluster's own
    /// upstream, of whose return a client shall see something within five seconds. `forward` knows of it within three, and may have
    /// failed a question just before without asking anybody.
    const DEFAULT: Fallback = Fallback {
        window: Duration::from_secs(3600),
        ttl: 30,
        response_timer: Duration::from_millis(1800),
        recheck: Duration::from_millis(1500),
    };
}

/// What comes first: the stale answer or the attempt to get a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaleMode {
    /// Answer, then refresh in the background.
    Immediate,
    /// Ask inward first, at most for so long; zero: as long as that takes.
    Verify(Duration),
}

impl Settings {
    /// What `cache` alone means.
    pub(super) fn new(zones: Zones) -> Settings {
        let limits = |max| Limits { capacity: CAPACITY, max, min: MIN_TTL };
        Settings {
            zones,
            success: limits(MAX_TTL),
            denial: limits(MAX_TTL / 2),
            servfail: Duration::from_secs(u64::from(MIN_TTL)),
            prefetch: None,
            stale: None,
            fallback: Some(Fallback::DEFAULT),
            prefer_positive: false,
            disabled: Default::default(),
            never: Zones::default(),
            keep_ttl: false,
        }
    }

    /// Keeps nothing of these zones on one side, instead of what was said before.
    pub(super) fn disable(&mut self, side: Side, zones: Zones) {
        self.disabled[side as usize] = zones;
        self.never = intersection(&self.disabled[0], &self.disabled[1]);
    }

    /// Whether one side keeps nothing for a name.
    pub(super) fn disabled(&self, side: Side, name: NameRef<'_>) -> bool {
        self.disabled[side as usize].contains(name)
    }

    /// Whether nothing at all is kept for a name.
    pub(super) fn never_keeps(&self, name: NameRef<'_>) -> bool {
        self.never.contains(name)
    }

    /// What a side may hold.
    pub(super) fn bounds(&self, side: Side, budget: Budget) -> Bounds {
        self.limits(side).bounds(budget)
    }

    /// For how long entries stay usable after the end of their TTL.
    pub(super) fn stale_window(&self) -> Option<Duration> {
        self.stale.map(|stale| stale.window)
    }

    fn limits(&self, side: Side) -> Limits {
        match side {
            Side::Success => self.success,
            Side::Denial => self.denial,
        }
    }
}

/// The zones that lie in both lists: of each pair of which one contains the other, the longer.
fn intersection(one: &Zones, other: &Zones) -> Zones {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    Zones::new(pairs.filter_map(|(a, b)| {
        let longer = if a.as_ref().is_at_or_below(b.as_ref()) { a } else { b };
        let shorter = if longer == a { b } else { a };
        longer.as_ref().is_at_or_below(shorter.as_ref()).then(|| longer.clone())
    }))
}
