//! What strangers can make the process hold at once has a ceiling, and nobody gets all of it.
//!
//! The ceilings are shares of the memory limit (a control group's, see [`Budget`]). Once half of the places for waiting queries are taken, a
//! client may hold no more than its share of them; so one that asks for what is slow cannot keep the others from asking.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use periplus_core::memory::Budget;
use periplus_core::metrics::{Counter, Registry};

use super::turned_away::TurnedAway;

/// Queries that may wait for I/O at once where memory is no matter.
const MAX_WAITING: usize = 32 * 1024;
/// What a waiting query takes: its future with the request it sends, its place at the worker and in the book of the exchange.
const WAITING_SIZE: u64 = 2560;
/// TCP connections at once, likewise.
const MAX_CONNECTIONS: usize = 8192;
/// What an idle connection takes: the read buffer, the task, the compressor.
const CONNECTION_SIZE: u64 = 8192;
/// One peer may have one in so many of all connections: a node's cache, or a NAT gateway with many pods behind it, may have hundreds.
const PARTS_OF_PEER: usize = 4;
/// Maps with a lock each: workers seldom meet.
const PARTS: usize = 16;

/// Counters of what is held, and of what was turned away.
pub struct Limits {
    waiters: Arc<Waiters>,
    connections: Arc<Mutex<Connections>>,
    max_connections: usize,
    turned_away: Arc<TurnedAway>,
    no_place: Counter,
    no_connection: Counter,
}

/// Who waits for I/O.
struct Waiters {
    most: usize,
    total: AtomicUsize,
    clients: AtomicUsize,
    by_client: [Mutex<Counts>; PARTS],
    hasher: foldhash::fast::RandomState,
}

type Counts = HashMap<IpAddr, usize, foldhash::fast::RandomState>;

#[derive(Default)]
struct Connections {
    total: usize,
    by_peer: Counts,
}

impl Limits {
    /// Nothing held yet.
    pub fn new(metrics: &Arc<Registry>, budget: Budget) -> Limits {
        let turned_away = Arc::new(TurnedAway::new(metrics));
        let limits = Limits {
            waiters: Arc::new(Waiters {
                most: budget.count(4, WAITING_SIZE, 256, MAX_WAITING),
                total: AtomicUsize::new(0),
                clients: AtomicUsize::new(0),
                by_client: Default::default(),
                hasher: foldhash::fast::RandomState::default(),
            }),
            connections: Arc::default(),
            max_connections: budget.count(8, CONNECTION_SIZE, 64, MAX_CONNECTIONS),
            no_place: TurnedAway::counter(metrics, "waiting"),
            no_connection: TurnedAway::counter(metrics, "connections"),
            turned_away,
        };
        let waiters = Arc::clone(&limits.waiters);
        metrics.computed(
            "periplus_waiting_requests",
            "Requests that wait for I/O.",
            "gauge",
            &[],
            move || waiters.total.load(Relaxed) as f64,
        );
        limits
    }

    /// Who was turned away because it asks too much.
    pub(super) fn turned_away(&self) -> &Arc<TurnedAway> {
        &self.turned_away
    }

    /// Admits one more waiting query of a client, until the guard is dropped.
    pub fn wait(&self, client: IpAddr) -> Option<WaitingGuard> {
        match self.waiters.admit(client) {
            Ok(()) => Some(WaitingGuard { waiters: Arc::clone(&self.waiters), client }),
            Err(Full::ForAll) => {
                self.no_place.add(1);
                None
            }
            Err(Full::ForClient) => {
                self.turned_away.add(client, 1);
                None
            }
        }
    }

    /// Admits one more connection of a peer, until the guard is dropped.
    pub fn connect(&self, peer: IpAddr) -> Option<ConnectionGuard> {
        let mut connections = lock(&self.connections);
        let of_peer = connections.by_peer.get(&peer).copied().unwrap_or(0);
        let most = self.max_connections;
        if connections.total >= most || of_peer >= most / PARTS_OF_PEER {
            self.no_connection.add(1);
            return None;
        }
        connections.total += 1;
        connections.by_peer.insert(peer, of_peer + 1);
        Some(ConnectionGuard { connections: Arc::clone(&self.connections), peer })
    }
}

/// For whom there is no place.
enum Full {
    ForAll,
    ForClient,
}

impl Waiters {
    fn admit(&self, client: IpAddr) -> Result<(), Full> {
        let total = self.total.fetch_add(1, Relaxed);
        let admitted =
            if total >= self.most { Err(Full::ForAll) } else { self.count(client, total) };
        if admitted.is_err() {
            self.total.fetch_sub(1, Relaxed);
        }
        admitted
    }

    fn count(&self, client: IpAddr, total: usize) -> Result<(), Full> {
        let mut counts = self.part(client);
        let held = counts.entry(client).or_insert(0);
        // While half of the places are free, whoever comes may have one. After that each client has an equal share, so that there is one for
        // those who come next.
        if total >= self.most / 2 && *held >= self.most / self.clients.load(Relaxed).max(2) {
            return Err(Full::ForClient);
        }
        *held += 1;
        if *held == 1 {
            self.clients.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn leave(&self, client: IpAddr) {
        self.total.fetch_sub(1, Relaxed);
        let mut counts = self.part(client);
        if let Some(held) = counts.get_mut(&client) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                counts.remove(&client);
                self.clients.fetch_sub(1, Relaxed);
            }
        }
        if counts.is_empty() && counts.capacity() > 1024 {
            counts.shrink_to_fit();
        }
    }

    fn part(&self, client: IpAddr) -> MutexGuard<'_, Counts> {
        use std::hash::BuildHasher as _;
        lock(&self.by_client[self.hasher.hash_one(client) as usize % PARTS])
    }
}

/// One waiting query.
pub struct WaitingGuard {
    waiters: Arc<Waiters>,
    client: IpAddr,
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.waiters.leave(self.client);
    }
}

/// One open connection.
pub struct ConnectionGuard {
    connections: Arc<Mutex<Connections>>,
    peer: IpAddr,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut connections = lock(&self.connections);
        connections.total -= 1;
        if let Some(count) = connections.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                connections.by_peer.remove(&self.peer);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    fn limits() -> Limits {
        Limits::new(&Arc::new(Registry::new(1)), Budget::default())
    }

    #[test]
    fn one_peer_cannot_take_all_connections() {
        let limits = limits();
        let held: Vec<_> =
            std::iter::from_fn(|| limits.connect(peer(0))).take(MAX_CONNECTIONS).collect();
        assert_eq!(held.len(), MAX_CONNECTIONS / PARTS_OF_PEER);
        assert!(limits.connect(peer(1)).is_some());
        assert_eq!(limits.no_connection.value(), 1);
        drop(held);
        assert!(limits.connect(peer(0)).is_some());
    }

    #[test]
    fn connections_are_bounded_in_all_and_given_back() {
        let limits = limits();
        let held: Vec<_> = (0..MAX_CONNECTIONS + 5).map(|one| limits.connect(peer(one))).collect();
        assert_eq!(held.iter().flatten().count(), MAX_CONNECTIONS);
        assert!(limits.connect(peer(0)).is_none());
        drop(held);
        assert!(limits.connect(peer(0)).is_some());
        let connections = limits.connections.lock().unwrap();
        assert!(connections.total == 0 && connections.by_peer.is_empty(), "nothing is left");
    }

    #[test]
    fn waiting_queries_are_bounded_and_given_back() {
        let limits = limits();
        let held: Vec<_> = (0..MAX_WAITING + 5).map(|one| limits.wait(peer(one % 4096))).collect();
        assert_eq!(held.iter().flatten().count(), MAX_WAITING);
        assert_eq!(limits.no_place.value(), 5);
        drop(held);
        assert!(limits.wait(peer(0)).is_some());
        assert_eq!(limits.waiters.clients.load(Relaxed), 0, "the guard is gone already");
        assert!(limits.waiters.by_client.iter().all(|part| lock(part).is_empty()));
    }

    #[test]
    fn a_client_that_waits_for_much_leaves_places_for_the_others() {
        let limits = limits();
        let greedy: Vec<_> =
            std::iter::from_fn(|| limits.wait(peer(0))).take(MAX_WAITING).collect();
        assert_eq!(greedy.len(), MAX_WAITING / 2);
        // With 99 others that want a hundredth of the rest each, all are admitted, and the greedy one is not.
        let share = MAX_WAITING / 200;
        for round in 0..share {
            for other in 1..100 {
                let admitted = limits.wait(peer(other));
                assert!(admitted.is_some(), "client {other} in round {round}");
                std::mem::forget(admitted);
            }
            assert!(limits.wait(peer(0)).is_none());
        }
        assert_eq!(limits.no_place.value(), 0);
    }

    #[test]
    fn the_bounds_follow_the_memory_limit() {
        let limits = Limits::new(&Arc::new(Registry::new(1)), Budget::new(Some(64 << 20)));
        assert_eq!(limits.waiters.most, (16 << 20) / WAITING_SIZE as usize);
        assert_eq!(limits.max_connections, 1024);
    }
}
