//! Requests that the kernel dropped before anybody read them.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use periplus_core::metrics::Registry;

use super::turned_away::TurnedAway;
use crate::sys::dropped_datagrams;

/// The sockets whose losses are counted.
#[derive(Default)]
pub(super) struct Losses {
    open: Mutex<Vec<Arc<UdpSocket>>>,
    /// Of sockets that are closed.
    before: AtomicU64,
}

impl Losses {
    /// No socket yet; the metric asks the kernel when it is asked itself.
    pub(super) fn new(metrics: &Registry) -> Arc<Losses> {
        let losses = Arc::new(Losses::default());
        let counted = Arc::clone(&losses);
        TurnedAway::computed(metrics, "socket_buffer", move || counted.total() as f64);
        losses
    }

    /// Counts what this socket loses, until it is about to be closed and the guard is dropped.
    pub(super) fn open(self: &Arc<Self>, socket: &Arc<UdpSocket>) -> Counted {
        self.lock().push(Arc::clone(socket));
        Counted { losses: Arc::clone(self), socket: Arc::clone(socket) }
    }

    fn total(&self) -> u64 {
        let open = self.lock();
        let now: u64 = open.iter().map(|socket| u64::from(dropped_datagrams(socket))).sum();
        now + self.before.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<UdpSocket>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket whose losses are counted. Also where its worker ends by a panic it must not stay: nobody would read what it gets.
pub(super) struct Counted {
    losses: Arc<Losses>,
    socket: Arc<UdpSocket>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.losses.lock();
        open.retain(|known| !Arc::ptr_eq(known, &self.socket));
        self.losses.before.fetch_add(dropped_datagrams(&self.socket).into(), Relaxed);
    }
}
