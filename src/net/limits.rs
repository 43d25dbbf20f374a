//! What strangers can make the process hold at once has a ceiling.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use periplus_core::metrics::{Counter, Registry};

/// Queries that may wait for I/O at once: about 2 kB each, so 64 MB at the most.
const MAX_WAITING: usize = 32 * 1024;
/// TCP connections at once.
const MAX_CONNECTIONS: usize = 8192;
/// TCP connections of one peer at once: a node's cache, or a NAT gateway with many pods behind it, may have hundreds.
const MAX_CONNECTIONS_OF_PEER: usize = 2048;

/// Counters of what is held, and of what was turned away.
pub struct Limits {
    waiting: Arc<AtomicUsize>,
    waiting_rejected: Counter,
    connections: Arc<Mutex<Connections>>,
    connections_rejected: Counter,
}

#[derive(Default)]
struct Connections {
    total: usize,
    by_peer: HashMap<IpAddr, usize, foldhash::fast::RandomState>,
}

impl Limits {
    /// Nothing held yet.
    pub fn new(metrics: &Registry) -> Limits {
        let rejected = |reason| {
            metrics.counter(
                "periplus_dropped_requests_total",
                "Counter of requests and connections that were turned away, by reason.",
                &[("reason", reason)],
            )
        };
        let limits = Limits {
            waiting: Arc::default(),
            waiting_rejected: rejected("waiting"),
            connections: Arc::default(),
            connections_rejected: rejected("connections"),
        };
        let waiting = Arc::clone(&limits.waiting);
        metrics.computed(
            "periplus_waiting_requests",
            "Requests that wait for I/O.",
            "gauge",
            &[],
            move || waiting.load(Relaxed) as f64,
        );
        limits
    }

    /// Admits one more waiting query, until the guard is dropped.
    pub fn wait(&self) -> Option<WaitingGuard> {
        if self.waiting.fetch_add(1, Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Relaxed);
            self.waiting_rejected.add(1);
            return None;
        }
        Some(WaitingGuard(Arc::clone(&self.waiting)))
    }

    /// Admits one more connection of a peer, until the guard is dropped.
    pub fn connect(&self, peer: IpAddr) -> Option<ConnectionGuard> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = connections.by_peer.get(&peer).copied().unwrap_or(0);
        if connections.total >= MAX_CONNECTIONS || of_peer >= MAX_CONNECTIONS_OF_PEER {
            self.connections_rejected.add(1);
            return None;
        }
        connections.total += 1;
        connections.by_peer.insert(peer, of_peer + 1);
        Some(ConnectionGuard { connections: Arc::clone(&self.connections), peer })
    }
}

/// One waiting query.
pub struct WaitingGuard(Arc<AtomicUsize>);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One open connection.
pub struct ConnectionGuard {
    connections: Arc<Mutex<Connections>>,
    peer: IpAddr,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.total -= 1;
        if let Some(count) = connections.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                connections.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    #[test]
    fn one_peer_cannot_take_all_connections() {
        let registry = Registry::new(1);
        let limits = Limits::new(&registry);
        let held: Vec<_> =
            std::iter::from_fn(|| limits.connect(peer(0))).take(MAX_CONNECTIONS).collect();
        assert_eq!(held.len(), MAX_CONNECTIONS_OF_PEER);
        assert!(limits.connect(peer(1)).is_some());
        assert_eq!(limits.connections_rejected.value(), 1);
        drop(held);
        assert!(limits.connect(peer(0)).is_some());
    }

    #[test]
    fn connections_are_bounded_in_all_and_given_back() {
        let registry = Registry::new(1);
        let limits = Limits::new(&registry);
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
        let registry = Registry::new(1);
        let limits = Limits::new(&registry);
        let held: Vec<_> = (0..MAX_WAITING + 5).map(|_| limits.wait()).collect();
        assert_eq!(held.iter().flatten().count(), MAX_WAITING);
        assert_eq!(limits.waiting_rejected.value(), 5);
        drop(held);
        assert!(limits.wait().is_some());
    }
}
