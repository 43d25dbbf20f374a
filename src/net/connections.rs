//! Who is connected over TCP, and who has to go when there is no place left.
//!
//! A newcomer is never locked out: it takes the place of the connection that has been idle longest, of the peer that has the most. Whoever
//! holds many connections loses them first, and one that is used is the last to go. A peer that has its share of all places gets a new one
//! only for one of its own.
//!
//! When a connection was last used is a number that only the connection writes. The table keeps what it knew last, and looks again only when
//! a connection's turn to go has come; so a message costs the table nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use periplus_core::metrics::Counter;
use tokio::sync::Notify;

/// One peer may have one in so many of all connections: a node's cache, or a NAT gateway with many pods behind it, may have hundreds.
const PARTS_OF_PEER: usize = 4;
/// Connections may hold more than their first buffer for a long message: one in so many.
const PARTS_LONG: usize = 16;
/// Connections that were told to go and have not gone yet, beside those that have a place.
const MAX_LEAVING: usize = 64;
/// Peers with equally many connections that are compared.
const MAX_COMPARED: usize = 64;

/// The table of all connections.
pub(crate) struct Connections {
    most: usize,
    begun: Instant,
    state: Mutex<State>,
    told_to_go: Counter,
}

#[derive(Default)]
struct State {
    total: usize,
    leaving: usize,
    long: usize,
    /// By when each was last used, as far as the table knows. Strangers choose the keys.
    by_peer: HashMap<IpAddr, BTreeMap<Key, Arc<Place>>, foldhash::fast::RandomState>,
    by_count: BTreeSet<(usize, IpAddr)>,
    next: u64,
}

/// When it was last used, as far as the table knows, and a number that no other connection has.
type Key = (u64, u64);

struct Place {
    peer: IpAddr,
    number: u64,
    /// When it was last used, in microseconds since the table was made.
    used: AtomicU64,
    /// What `used` was when the table looked last; written under its lock.
    known: AtomicU64,
    go: Notify,
}

impl Connections {
    /// No connection yet, and `most` at once.
    pub(crate) fn new(most: usize, told_to_go: Counter) -> Connections {
        Connections { most, begun: Instant::now(), state: Mutex::default(), told_to_go }
    }

    /// How many have a place at once.
    #[cfg(test)]
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// A place for one more connection of a peer, until the guard is dropped. Another one may be told to go for it.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr, now: Instant) -> ConnectionGuard {
        let mut state = self.lock();
        let of_peer = state.by_peer.get(&peer).map_or(0, BTreeMap::len);
        if of_peer >= (self.most / PARTS_OF_PEER).max(1) {
            self.tell_to_go(&mut state, peer);
        } else if state.total >= self.most {
            let victim = state.loudest(Some((peer, of_peer)));
            victim.into_iter().for_each(|victim| self.tell_to_go(&mut state, victim));
        }
        let (number, used) = (state.next, self.micros(now));
        state.next += 1;
        let place = Arc::new(Place {
            peer,
            number,
            used: AtomicU64::new(used),
            known: AtomicU64::new(used),
            go: Notify::new(),
        });
        state.insert(&place);
        ConnectionGuard { connections: Arc::clone(self), place }
    }

    /// Tells one connection to go, as when there were no place: the process has no descriptor left.
    pub(crate) fn make_room(&self) {
        let mut state = self.lock();
        let victim = state.loudest(None);
        victim.into_iter().for_each(|victim| self.tell_to_go(&mut state, victim));
    }

    /// Whether no more may enter before some have gone that were told to.
    pub(crate) fn must_pause(&self) -> bool {
        self.lock().leaving >= MAX_LEAVING
    }

    fn tell_to_go(&self, state: &mut State, peer: IpAddr) {
        let Some(key) = state.longest_idle(peer) else { return };
        if let Some(place) = state.remove(peer, key) {
            state.leaving += 1;
            place.go.notify_one();
            self.told_to_go.add(1);
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_micros() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, place: &Arc<Place>) {
        let key = (place.known.load(Relaxed), place.number);
        let connections = self.by_peer.entry(place.peer).or_default();
        self.by_count.remove(&(connections.len(), place.peer));
        connections.insert(key, Arc::clone(place));
        self.by_count.insert((connections.len(), place.peer));
        self.total += 1;
    }

    fn remove(&mut self, peer: IpAddr, key: Key) -> Option<Arc<Place>> {
        let connections = self.by_peer.get_mut(&peer)?;
        let place = connections.remove(&key)?;
        self.by_count.remove(&(connections.len() + 1, peer));
        if connections.is_empty() {
            self.by_peer.remove(&peer);
        } else {
            self.by_count.insert((connections.len(), peer));
        }
        self.total -= 1;
        if self.by_peer.is_empty() {
            self.by_peer.shrink_to_fit();
        }
        Some(place)
    }

    /// The peer with the most connections: the newcomer itself if nobody has more, otherwise the one with the connection that has been idle
    /// longest of some that have as many.
    fn loudest(&mut self, newcomer: Option<(IpAddr, usize)>) -> Option<IpAddr> {
        let most = self.by_count.last()?.0;
        if let Some((peer, of_peer)) = newcomer
            && of_peer >= most
        {
            return Some(peer);
        }
        let loudest = self.by_count.iter().rev().take_while(|(count, _)| *count == most);
        let loudest: Vec<IpAddr> = loudest.take(MAX_COMPARED).map(|(_, peer)| *peer).collect();
        loudest.into_iter().min_by_key(|peer| self.longest_idle(*peer))
    }

    /// The connection of a peer that was not used for the longest time.
    fn longest_idle(&mut self, peer: IpAddr) -> Option<Key> {
        let connections = self.by_peer.get_mut(&peer)?;
        loop {
            let (key, place) = connections.first_key_value()?;
            let used = place.used.load(Relaxed);
            if used == key.0 {
                return Some(*key);
            }
            let (_, place) = connections.pop_first()?;
            place.known.store(used, Relaxed);
            connections.insert((used, place.number), place);
        }
    }
}

/// The place of one connection.
pub(crate) struct ConnectionGuard {
    connections: Arc<Connections>,
    place: Arc<Place>,
}

impl ConnectionGuard {
    /// The connection was used.
    pub(crate) fn used(&self, now: Instant) {
        self.place.used.store(self.connections.micros(now), Relaxed);
    }

    /// Waits until the connection is told to go.
    pub(crate) async fn must_go(&self) {
        self.place.go.notified().await;
    }

    /// Room for a long message, until the guard is dropped; `None`: too many are under way.
    pub(crate) fn long_message(&self) -> Option<LongMessage> {
        let mut state = self.connections.lock();
        if state.long >= (self.connections.most / PARTS_LONG).max(PARTS_LONG) {
            return None;
        }
        state.long += 1;
        Some(LongMessage(Arc::clone(&self.connections)))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        let key = (self.place.known.load(Relaxed), self.place.number);
        if state.remove(self.place.peer, key).is_none() {
            // It was told to go, and goes.
            state.leaving -= 1;
        }
    }
}

/// Room for one long message.
pub(crate) struct LongMessage(Arc<Connections>);

impl Drop for LongMessage {
    fn drop(&mut self) {
        self.0.lock().long -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::time::Duration;

    use super::*;

    const MOST: usize = 64;

    fn peer(number: usize) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    /// A table, and a clock that goes on with each connection.
    struct Table(Arc<Connections>, Instant);

    impl Table {
        fn new() -> Table {
            let table = Connections::new(MOST, Counter::detached());
            let begun = table.begun;
            Table(Arc::new(table), begun)
        }

        fn now(&mut self) -> Instant {
            self.1 += Duration::from_millis(1);
            self.1
        }

        fn enter(&mut self, number: usize) -> ConnectionGuard {
            let now = self.now();
            self.0.enter(peer(number), now)
        }

        fn told_to_go(&self) -> u64 {
            self.0.told_to_go.value()
        }
    }

    fn has_to_go(guard: &ConnectionGuard) -> bool {
        let mut waits = Box::pin(guard.must_go());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        waits.as_mut().poll(&mut context).is_ready()
    }

    fn gone(guards: &[ConnectionGuard]) -> Vec<usize> {
        (0..guards.len()).filter(|index| has_to_go(&guards[*index])).collect()
    }

    #[test]
    fn a_peer_at_its_bound_loses_the_connection_that_it_did_not_use_for_longest() {
        let mut table = Table::new();
        let bound = MOST / PARTS_OF_PEER;
        let mut held: Vec<_> = (0..bound).map(|_| table.enter(0)).collect();
        let now = table.now();
        held[0].used(now);
        held.push(table.enter(0));
        let _other = table.enter(1);
        assert_eq!(gone(&held), [1]);
        assert_eq!((table.told_to_go(), table.0.lock().total), (1, bound + 1));
    }

    #[test]
    fn when_the_table_is_full_the_peer_with_the_most_makes_room() {
        let mut table = Table::new();
        let quiet: Vec<_> = (1..=MOST - 10).map(|number| table.enter(number)).collect();
        let mut loud: Vec<_> = (0..10).map(|_| table.enter(0)).collect();
        for index in [0, 1, 2] {
            let now = table.now();
            loud[index].used(now);
        }
        let _new: Vec<_> = (100..104).map(|number| table.enter(number)).collect();
        assert!(gone(&quiet).is_empty());
        assert_eq!(gone(&loud), [3, 4, 5, 6]);
        // A newcomer that has the most takes none from others.
        loud.push(table.enter(0));
        assert_eq!(gone(&loud), [7]);
        assert!(gone(&quiet).is_empty());
        assert_eq!(table.0.lock().total, MOST);
    }

    #[test]
    fn of_equals_the_one_that_is_idle_longest_makes_room() {
        let mut table = Table::new();
        let held: Vec<_> = (0..MOST).map(|number| table.enter(number)).collect();
        for (index, guard) in held.iter().enumerate().filter(|(index, _)| *index != 17) {
            let now = table.now();
            if index != 20 {
                guard.used(now);
            }
        }
        let _new = table.enter(200);
        assert_eq!(gone(&held), [17]);
        table.0.make_room();
        assert_eq!(gone(&held), [20]);
    }

    #[test]
    fn nothing_is_left_when_all_are_gone() {
        let mut table = Table::new();
        let held: Vec<_> = (0..3 * MOST).map(|number| table.enter(number % 7)).collect();
        assert!(table.0.must_pause(), "none that was told to go has gone");
        let long: Vec<_> = held.iter().map(ConnectionGuard::long_message).collect();
        assert_eq!(long.iter().flatten().count(), PARTS_LONG);
        drop((held, long));
        let state = table.0.lock();
        assert_eq!((state.total, state.leaving, state.long), (0, 0, 0));
        assert!(state.by_peer.is_empty() && state.by_count.is_empty());
    }
}
