//! One kept reply, and the reply made from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use periplus_core::codes::{Rcode, flags};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, Section};
use periplus_core::reply::Reply;

use super::shape::Shape;

/// A reply as it was stored. What changes while it is kept is atomic: readers never wait.
pub(super) struct Item {
    pub(super) rcode: Rcode,
    /// RA and AD of the reply.
    flags: u16,
    sections: [Section; 3],
    /// The TTL of all its records when it was stored, in seconds.
    pub(super) ttl: u32,
    pub(super) stored: Instant,
    /// Whether it has a record of the type that was asked for.
    answering: bool,
    /// With `serve_stale_policy prefer_positive`: the answering reply that this one, which does not answer, took the place of.
    last_good: Option<Arc<Item>>,
    pub(super) popularity: Popularity,
    refresh: Refresh,
}

impl Item {
    /// Keeps the sections of a reply, whose TTLs have been set to `ttl`.
    pub(super) fn new(reply: &Reply, ttl: u32, answering: bool, stored: Instant) -> Item {
        Item {
            rcode: reply.rcode,
            flags: reply.flags & (flags::RA | flags::AD),
            sections: [reply.answer.clone(), reply.authority.clone(), reply.additional.clone()],
            ttl,
            stored,
            answering,
            last_good: None,
            popularity: Popularity::default(),
            refresh: Refresh::default(),
        }
    }

    /// Remembers the answer that `previous` holds, if this item has none.
    pub(super) fn remember_good(&mut self, previous: &Arc<Item>) {
        if !self.answering {
            self.last_good = previous.good().cloned();
        }
    }

    /// The answering reply: this one or the one it took the place of.
    pub(super) fn good(self: &Arc<Item>) -> Option<&Arc<Item>> {
        if self.answering { Some(self) } else { self.last_good.as_ref() }
    }

    /// Whether it is a server failure, which must not hide a good answer.
    pub(super) fn is_servfail(&self) -> bool {
        self.rcode == Rcode::SERVFAIL
    }

    /// Whole seconds until the TTL is over; negative when it is.
    pub(super) fn remaining(&self, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(self.stored).as_secs();
        i64::from(self.ttl) - i64::try_from(elapsed).unwrap_or(i64::MAX)
    }

    /// Whether it may be used: fresh, or overdue by less than `stale_for`.
    pub(super) fn is_usable(&self, now: Instant, stale_for: Option<Duration>) -> bool {
        let remaining = self.remaining(now);
        remaining > 0 || stale_for.is_some_and(|window| remaining.unsigned_abs() < window.as_secs())
    }

    /// Whether its TTL is over, by less than `window`, and it says something about the name.
    pub(super) fn may_fall_back(&self, now: Instant, window: Duration) -> bool {
        let remaining = self.remaining(now);
        remaining <= 0
            && remaining.unsigned_abs() < window.as_secs()
            && matches!(self.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
    }

    /// The reply to a query with every TTL set to `ttl`.
    ///
    /// AA is set whatever the original said: some stub resolvers throw away replies without it, and CoreDNS does
    /// the same for their sake. AD only comes back to who asked for it (RFC 6840 section 5.8).
    pub(super) fn reply(&self, query: &Query, ttl: u32) -> Reply {
        let mut reply = Reply::authoritative(query, "cache");
        reply.rcode = self.rcode;
        reply.flags |= self.flags;
        if !wants_ad(query) {
            reply.set(flags::AD, false);
        }
        let [answer, authority, additional] = &self.sections;
        reply.answer = aged(answer, ttl);
        reply.authority = aged(authority, ttl);
        reply.additional = aged(additional, ttl);
        reply
    }

    /// Memory the item holds, in bytes. A record set shared with others counts in full.
    pub(super) fn memory(&self) -> usize {
        let last_good = self.last_good.as_ref().map_or(0, |item| item.memory());
        size_of::<Item>() + self.sections.iter().map(section_memory).sum::<usize>() + last_good
    }

    /// Starts a refresh unless one is under way, or one has failed less than the recheck time ago.
    pub(super) fn begin_refresh(&self, now: Instant) -> bool {
        // It is asked for as most clients ask.
        !self.is_resting(now, Shape::Usual) && !self.refresh.running.swap(true, Relaxed)
    }

    /// Ends it.
    pub(super) fn end_refresh(&self) {
        self.refresh.running.store(false, Relaxed);
    }

    /// Whether the source is left alone by requests of this shape.
    pub(super) fn is_resting(&self, now: Instant, shape: Shape) -> bool {
        let rest = self.refresh.rest.load(Relaxed);
        let whose = rest as u16;
        self.since_stored(now) < rest >> 16 && (whose == EVERYBODY || whose == shape.tag())
    }

    /// After a failure the source is left alone for `recheck`, by everybody or by the requests of one shape.
    pub(super) fn rest(&self, now: Instant, recheck: Duration, by: By) {
        let whose = match by {
            By::Everybody => EVERYBODY,
            By::Shape(shape) => shape.tag(),
            By::Nobody => return,
        };
        if recheck.is_zero() || by != By::Everybody && self.is_resting_for_all(now) {
            return;
        }
        self.refresh.rest.store(self.since_stored(now + recheck) << 16 | u64::from(whose), Relaxed);
    }

    fn is_resting_for_all(&self, now: Instant) -> bool {
        let rest = self.refresh.rest.load(Relaxed);
        rest as u16 == EVERYBODY && self.since_stored(now) < rest >> 16
    }

    /// Milliseconds since the item was stored: its own time scale, which fits an atomic.
    pub(super) fn since_stored(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.stored).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether the client understands AD: it set DO or AD itself (RFC 6840 section 5.7).
pub(super) fn wants_ad(query: &Query) -> bool {
    query.has(flags::AD) || query.dnssec_ok()
}

fn aged(section: &Section, ttl: u32) -> Section {
    let aged = |entry: &Entry| Entry { ttl, ..entry.clone() };
    match section.as_slice() {
        [] => Section::new(),
        [only] => Section::from_buf([aged(only)]),
        all => all.iter().map(aged).collect(),
    }
}

fn section_memory(section: &Section) -> usize {
    let spilled = if section.spilled() { section.capacity() * size_of::<Entry>() } else { 0 };
    let held = |entry: &Entry| {
        let owner = match &entry.owner {
            Owner::Name(name) => 2 * size_of::<usize>() + name.as_wire().len(),
            _ => 0,
        };
        owner + entry.set.memory()
    };
    spilled + section.iter().map(held).sum::<usize>()
}

/// How often an item is asked for, for `prefetch`.
///
/// Two workers that count at once may lose one of the two counts: the worst case is a prefetch that begins one query later.
#[derive(Default)]
pub(super) struct Popularity {
    hits: AtomicU32,
    /// Time of the last hit on the item's own scale, plus one; 0 means never.
    last: AtomicU64,
}

impl Popularity {
    /// Counts a hit and gives the number of hits without a gap longer than `window`.
    pub(super) fn hit(&self, window: Duration, now: u64) -> u32 {
        let last = self.last.swap(now.saturating_add(1), Relaxed);
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let gap = last == 0 || (last - 1).saturating_add(window) < now;
        let hits = if gap { 1 } else { self.hits.load(Relaxed).saturating_add(1) };
        self.hits.store(hits, Relaxed);
        hits
    }

    /// Goes on counting where the item that was refreshed stopped.
    pub(super) fn take_over(&self, before: &Popularity, now: u64) {
        self.hits.store(before.hits.load(Relaxed), Relaxed);
        self.last.store(now.saturating_add(1), Relaxed);
    }
}

/// At most one refresh of an item runs at a time.
#[derive(Default)]
struct Refresh {
    running: AtomicBool,
    /// The source is left alone until this time on the item's own scale, 48 bits; whose requests do that, 16 bits.
    rest: AtomicU64,
}

/// In place of a shape's tag.
const EVERYBODY: u16 = 0;

/// Whose requests leave a source alone that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Everybody,
    Shape(Shape),
    Nobody,
}
