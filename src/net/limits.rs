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

use super::connections::Connections;
use super::turned_away::TurnedAway;

/// Queries that may wait for I/O at once where memory is no matter.
const MAX_WAITING: usize = 32 * 1024;
/// What a waiting query takes: its future with the request it sends, its place at the worker and in the book of the exchange.
const WAITING_SIZE: u64 = 2560;
/// TCP connections at once, likewise.
const MAX_CONNECTIONS: usize = 8192;
/// What a connection takes: the read buffer and the task, and as much of the kernel.
const CONNECTION_SIZE: u64 = 16_384;
/// Maps with a lock each: workers seldom meet.
const PARTS: usize = 16;

/// Counters of what is held, and of what was turned away.
pub struct Limits {
    waiters: Arc<Waiters>,
    connections: Arc<Connections>,
    turned_away: Arc<TurnedAway>,
    no_place: Counter,
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

impl Limits {
    /// Nothing held yet; the process may open so many files.
    pub fn new(metrics: &Arc<Registry>, budget: Budget, open_files: usize) -> Limits {
        let turned_away = Arc::new(TurnedAway::new(metrics));
        let limits = Limits {
            waiters: Arc::new(Waiters {
                most: budget.count(6, WAITING_SIZE, 256, MAX_WAITING),
                total: AtomicUsize::new(0),
                clients: AtomicUsize::new(0),
                by_client: Default::default(),
                hasher: foldhash::fast::RandomState::default(),
            }),
            connections: Arc::new(Connections::new(
                // Half of the files are for what clients cannot be without: sockets, upstreams, the API server.
                budget.count(8, CONNECTION_SIZE, 64, MAX_CONNECTIONS).min(open_files / 2),
                TurnedAway::counter(metrics, "connections"),
            )),
            no_place: TurnedAway::counter(metrics, "waiting"),
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
        let admitted = self.admits(client, 1);
        admitted.then(|| WaitingGuard { waiters: Arc::clone(&self.waiters), client, places: 1 })
    }

    /// Takes as many places more as a message needs that is held meanwhile: it may be much larger than what is usual.
    pub(super) fn hold(&self, waiting: &mut WaitingGuard, bytes: usize) -> bool {
        let places = bytes / WAITING_SIZE as usize;
        let admitted = places == 0 || self.admits(waiting.client, places);
        if admitted {
            waiting.places += places;
        }
        admitted
    }

    fn admits(&self, client: IpAddr, places: usize) -> bool {
        let admitted = self.waiters.admit(client, places);
        match admitted {
            Ok(()) => {}
            Err(Full::ForAll) => self.no_place.add(1),
            Err(Full::ForClient) => self.turned_away.add(client, 1),
        }
        admitted.is_ok()
    }

    /// Who is connected.
    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }
}

/// For whom there is no place.
enum Full {
    ForAll,
    ForClient,
}

impl Waiters {
    fn admit(&self, client: IpAddr, places: usize) -> Result<(), Full> {
        let total = self.total.fetch_add(places, Relaxed) + places;
        let admitted =
            if total > self.most { Err(Full::ForAll) } else { self.count(client, places, total) };
        if admitted.is_err() {
            self.total.fetch_sub(places, Relaxed);
        }
        admitted
    }

    fn count(&self, client: IpAddr, places: usize, total: usize) -> Result<(), Full> {
        let mut counts = self.part(client);
        let held = counts.entry(client).or_insert(0);
        // While half of the places are free, whoever comes may have one. After that each client has an equal share, so that there is one for
        // those who come next.
        let share = self.most / self.clients.load(Relaxed).max(2);
        if total > self.most / 2 && *held + places > share {
            return Err(Full::ForClient);
        }
        if *held == 0 {
            self.clients.fetch_add(1, Relaxed);
        }
        *held += places;
        Ok(())
    }

    fn leave(&self, client: IpAddr, places: usize) {
        self.total.fetch_sub(places, Relaxed);
        let mut counts = self.part(client);
        if let Some(held) = counts.get_mut(&client) {
            *held = held.saturating_sub(places);
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

/// The places of one waiting query, mostly one.
pub struct WaitingGuard {
    waiters: Arc<Waiters>,
    client: IpAddr,
    places: usize,
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.waiters.leave(self.client, self.places);
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
        Limits::new(&Arc::new(Registry::new(1)), Budget::default(), usize::MAX)
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
    fn an_answer_that_cannot_be_sent_takes_places_for_its_size() {
        let limits = limits();
        let total = || limits.waiters.total.load(Relaxed);
        let mut small = limits.wait(peer(0)).expect("nobody else is here");
        assert!(limits.hold(&mut small, 512));
        assert_eq!(total(), 1);
        let mut large = limits.wait(peer(1)).expect("there are places");
        assert!(limits.hold(&mut large, 10 * WAITING_SIZE as usize));
        assert_eq!(total(), 12);
        drop(large);
        assert_eq!(total(), 1);
        let mut too_large = limits.wait(peer(1)).expect("there are places");
        assert!(!limits.hold(&mut too_large, MAX_WAITING * WAITING_SIZE as usize));
        drop((small, too_large));
        assert_eq!(total(), 0);
    }

    #[test]
    fn the_bounds_follow_the_memory_limit() {
        let limits =
            |files| Limits::new(&Arc::new(Registry::new(1)), Budget::new(Some(64 << 20)), files);
        assert_eq!(limits(usize::MAX).waiters.most, (8 << 20) / WAITING_SIZE as usize);
        assert_eq!(limits(usize::MAX).connections.most(), 384);
        assert_eq!(limits(512).connections.most(), 256);
    }
}
