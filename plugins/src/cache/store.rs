//! The kept replies: one map that readers never wait for, bounded in entries and in bytes.
//!
//! ```text
//!  find -----> papaya map: (hash, name, type, class, DO, CD, side) -> Arc<Node> --> Item
//!                ^                                                     |  ^
//!                | insert, remove                          sets `seen` |  |
//!  insert --> Mutex<Ring>, one per side: slots of nodes, a hand, entries and bytes
//! ```
//!
//! Both sides (success and denial) lie in one map, so that looking a name up in both hashes it once and pins the map once. Only
//! storing takes the side's lock, which no query that is answered from here ever does. What has to go is chosen as a clock with one hand
//! does: a node that was asked for since the hand last passed stays for another round. Each store also looks at two other nodes
//! and drops them if they are of no more use, and a task does the same for all nodes every few seconds, so that dead entries go
//! whether others come or not. Replies that are only kept for a failure of the source (see [`Worth::Spare`]) stay while there is room,
//! for nobody knows when it fails; but those of a flood go (see [`FLOOD_TIME`]).
//!
//! Why not moka, which bounds by weight and expires by entry too: its `get` notes every hit in a shared buffer and
//! tends its queues on the caller's thread. Measured on two shared cores (release build, 23-byte names, random order, per `get`
//! with hashing; the clock alone takes 50 ns there):
//!
//! | | 100 names, 1 thread | 100 names, 2 threads | 10,000 names, 1 thread | 10,000 names, 2 threads |
//! |---|---|---|---|---|
//! | moka 0.12, hit | 284 ns | 796 ns | 1340 ns | 3943 ns |
//! | moka 0.12, miss | 158 ns | 441 ns | 450 ns | 979 ns |
//! | quick_cache 0.6, hit (takes a read lock) | 65 ns | 112 ns | 235 ns | 383 ns |
//! | papaya 0.2, hit | 64 ns | 108 ns | 236 ns | 699 ns |
//! | papaya 0.2, miss | 56 ns | 97 ns | 55 ns | 183 ns |
//!
//! A hit in moka alone would cost more than the rest of a cached answer. papaya's readers write nothing that another core reads.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use periplus_core::query::Query;

use super::item::Item;
use super::question::{Key, Lookup, Precomputed, Question};
use super::shape::{Asked, Shape};
use super::side::Side;

/// What one side may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// What an item is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It answers queries.
    Used,
    /// Its TTL is over; it answers when the source fails.
    Spare,
    /// The same, and the source failed a moment ago.
    Needed,
    /// Nothing.
    Over,
}

/// Both sides.
pub(super) struct Store {
    map: papaya::HashMap<Key, Arc<Node>, Precomputed>,
    rings: [Mutex<Ring>; 2],
    /// Strangers choose the names: the seed is this process's own.
    seed: foldhash::quality::RandomState,
}

impl Store {
    pub(super) fn new(bounds: [Bounds; 2]) -> Store {
        Store {
            map: papaya::HashMap::builder().hasher(Precomputed).build(),
            rings: bounds.map(|bounds| Mutex::new(Ring::new(bounds))),
            seed: foldhash::quality::RandomState::default(),
        }
    }

    /// What a query is looked up by. Borrows the name: looking up allocates nothing.
    pub(super) fn question<'a>(&self, query: &'a Query) -> Question<'a> {
        Question::of(query, &self.seed)
    }

    /// The shape in which a query asks it.
    pub(super) fn shape(&self, query: &Query) -> Shape {
        Shape::of(query, &self.seed)
    }

    /// Both.
    pub(super) fn asked<'a>(&self, query: &'a Query) -> Asked<'a> {
        Asked { question: self.question(query), shape: self.shape(query) }
    }

    /// A view to look into; it holds back the freeing of replaced entries, so it must be short-lived.
    pub(super) fn view(&self) -> View<'_> {
        View(self.map.pin())
    }

    /// Keeps an item in place of what was there for the question, and says how many others had to go for it that were still in use.
    pub(super) fn insert(
        &self,
        question: Question<'_>,
        side: Side,
        item: Arc<Item>,
        worth: impl Fn(&Arc<Item>) -> Worth,
    ) -> u64 {
        let map = self.map.pin();
        let mut ring = self.ring(side);
        let key = Lookup { question, side };
        let bytes = NODE_BYTES + question.name_length() + item.memory();
        let now = item.stored;
        if bytes > ring.bounds.bytes {
            // An older item for the question would be wrong from now on.
            if let Some(node) = map.remove(&key) {
                ring.give_up(node);
            }
            return 0;
        }
        let mut evicted = 0;
        // Who is asked for again after its TTL is worth more than who was asked for once.
        let (slot, again) = match map.get(&key) {
            Some(old) => (old.slot, true),
            None => (ring.free_slot(), false),
        };
        let key = question.key(side);
        let node =
            Arc::new(Node { key: key.clone(), slot, bytes, seen: AtomicBool::new(again), item });
        ring.put(&node);
        map.insert(key, node);
        if ring.is_over_bounds() {
            ring.overflows(now);
        }
        for _ in 0..SWEEP {
            let Some(node) = ring.next_to_sweep() else { continue };
            if node.slot != slot && ring.may_drop(&node, worth(&node.item)) {
                map.remove(&node.key);
                ring.give_up(&node);
            }
        }
        while ring.is_over_bounds() {
            let victim = ring.victim(slot);
            map.remove(&victim.key);
            ring.give_up(&victim);
            evicted += u64::from(worth(&victim.item) == Worth::Used);
        }
        evicted
    }

    /// Looks at some nodes of a side, from a place in its ring on, and drops those that are of no more use. Gives the place to go on
    /// from; `None` at the end. Readers wait for nothing, and who stores something as long as a part takes: some microseconds.
    pub(super) fn sweep(
        &self,
        side: Side,
        from: usize,
        worth: impl Fn(&Arc<Item>) -> Worth,
    ) -> Option<usize> {
        let map = self.map.pin();
        // Freed after the lock is given back.
        let mut dropped = Vec::new();
        let mut ring = self.ring(side);
        let end = ring.slots.len().min(from.saturating_add(PART));
        for slot in from..end {
            let Some(node) = &ring.slots[slot] else { continue };
            if ring.may_drop(node, worth(&node.item)) {
                let node = Arc::clone(node);
                map.remove(&node.key);
                ring.give_up(&node);
                dropped.push(node);
            }
        }
        let next = (end < ring.slots.len()).then_some(end);
        if next.is_none() {
            ring.trim();
        }
        next
    }

    /// Forgets what one side has for the question.
    pub(super) fn remove(&self, question: Question<'_>, side: Side) {
        let map = self.map.pin();
        let mut ring = self.ring(side);
        if let Some(node) = map.remove(&Lookup { question, side }) {
            ring.give_up(node);
        }
    }

    /// How many entries a side holds.
    pub(super) fn entries(&self, side: Side) -> usize {
        self.ring(side).entries
    }

    /// How many bytes a side holds, the cost of its nodes included.
    #[cfg(test)]
    pub(super) fn bytes(&self, side: Side) -> usize {
        self.ring(side).bytes
    }

    fn ring(&self, side: Side) -> MutexGuard<'_, Ring> {
        self.rings[side as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nodes that each insertion looks at beyond its own, to drop what is over; a full store drops nodes in that order anyway.
const SWEEP: usize = 2;
/// Nodes that are looked at under one lock by [`Store::sweep`].
const PART: usize = 128;
/// A flood: within this time ...
const FLOOD_TIME: Duration = Duration::from_secs(10);
/// ... one in this many of a side's entries had to make room. What came until then leaves when its TTL is over, unless it was asked for again.
const FLOOD_PART: usize = 4;
/// Nodes that are looked at for one eviction: a store where all were asked for lately must not be walked to its end.
const MOST_SECOND_CHANCES: usize = 64;
/// What an entry costs beside its item and its name: node, key in the map, slots in map and ring, counts of references.
const NODE_BYTES: usize = size_of::<Node>() + size_of::<Key>() + 64;

/// A pinned store.
pub(super) struct View<'a>(
    papaya::HashMapRef<'a, Key, Arc<Node>, Precomputed, papaya::LocalGuard<'a>>,
);

impl View<'_> {
    /// The item of one side.
    pub(super) fn find(&self, question: Question<'_>, side: Side) -> Option<&Arc<Item>> {
        let node = self.0.get(&Lookup { question, side })?;
        // Written once per round of the hand, so that hits on many cores do not pass one cache line around.
        if !node.seen.load(Relaxed) {
            node.seen.store(true, Relaxed);
        }
        Some(&node.item)
    }
}

/// One entry of the map.
struct Node {
    key: Key,
    /// Its place in the ring.
    slot: usize,
    bytes: usize,
    /// Asked for since the hand last passed.
    seen: AtomicBool,
    item: Arc<Item>,
}

/// The order in which one side's nodes are looked at for eviction.
struct Ring {
    slots: Vec<Option<Arc<Node>>>,
    free: Vec<usize>,
    /// Where eviction goes on. It moves for nothing else, so that what came first goes first.
    hand: usize,
    /// Where stores look for what is of no more use.
    broom: usize,
    entries: usize,
    bytes: usize,
    bounds: Bounds,
    overflow: Overflow,
}

/// How often there was no room.
#[derive(Default)]
struct Overflow {
    /// When counting began.
    since: Option<Instant>,
    count: usize,
    /// When that last was a flood.
    flooded: Option<Instant>,
}

impl Ring {
    fn new(bounds: Bounds) -> Ring {
        Ring {
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            broom: 0,
            entries: 0,
            bytes: 0,
            bounds,
            overflow: Overflow::default(),
        }
    }

    fn free_slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    /// Puts a node into its slot, in place of the one that was there.
    fn put(&mut self, node: &Arc<Node>) {
        match self.slots[node.slot].replace(Arc::clone(node)) {
            Some(old) => self.bytes -= old.bytes,
            None => self.entries += 1,
        }
        self.bytes += node.bytes;
    }

    /// Empties the slot of a node that left the map.
    fn give_up(&mut self, node: &Node) {
        if self.slots[node.slot].take().is_some() {
            self.entries -= 1;
            self.bytes -= node.bytes;
            self.free.push(node.slot);
        }
    }

    /// Whether a node may go before others. Of the spare ones, those that were asked for again stay.
    fn may_drop(&self, node: &Node, worth: Worth) -> bool {
        let flooded = self.overflow.flooded.is_some_and(|end| node.item.stored <= end);
        match worth {
            Worth::Used => false,
            Worth::Over => true,
            Worth::Spare if flooded => !node.seen.load(Relaxed),
            Worth::Spare | Worth::Needed => self.is_over_bounds() && !node.seen.load(Relaxed),
        }
    }

    /// Takes note that somebody has to make room.
    fn overflows(&mut self, now: Instant) {
        let Overflow { since, count, flooded } = &mut self.overflow;
        if since.is_none_or(|since| now.saturating_duration_since(since) > FLOOD_TIME) {
            (*since, *count) = (Some(now), 0);
        }
        *count += 1;
        if *count > self.entries / FLOOD_PART {
            *flooded = Some(now);
        }
    }

    /// Gives back the room of empty slots at the end.
    fn trim(&mut self) {
        let used = self.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        if used < self.slots.len() / 2 {
            self.slots.truncate(used);
            self.slots.shrink_to(2 * used);
            self.free.retain(|slot| *slot < used);
            self.free.shrink_to(2 * used);
        }
    }

    fn is_over_bounds(&self) -> bool {
        self.entries > self.bounds.entries || self.bytes > self.bounds.bytes
    }

    fn next_to_sweep(&mut self) -> Option<Arc<Node>> {
        advance(&self.slots, &mut self.broom)
    }

    /// The node to evict: the next one that was not asked for since the hand last passed; never the one in slot `keep`.
    fn victim(&mut self, keep: usize) -> Arc<Node> {
        let mut chances = MOST_SECOND_CHANCES;
        loop {
            let node = advance(&self.slots, &mut self.hand);
            let Some(node) = node.filter(|node| node.slot != keep) else { continue };
            if chances == 0 || !node.seen.swap(false, Relaxed) {
                return node;
            }
            chances -= 1;
        }
    }
}

/// Moves a hand one slot on and gives the node it passes.
fn advance(slots: &[Option<Arc<Node>>], hand: &mut usize) -> Option<Arc<Node>> {
    let slot = *hand;
    *hand = (slot + 1) % slots.len().max(1);
    slots.get(slot)?.clone()
}
