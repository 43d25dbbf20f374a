//! The workers of one UDP address: threads with a socket each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use periplus_core::setup::ListenAddress;

use super::sockets::{Size, UdpAddress};
use super::udp::{Worker, WorkerSocket};
use super::{ListenError, ListenerState, Shared};

/// Workers that have not ended by then never will: they give up on what waits after 5 s.
pub(super) const LAST_LOOK: Duration = Duration::from_secs(8);

/// As many as were asked for last.
pub(super) struct Workers {
    address: UdpAddress,
    running: Vec<Running>,
}

/// A worker that serves.
pub(super) struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// A worker for each socket.
    pub(super) fn start(
        (address, sockets): (UdpAddress, Vec<WorkerSocket>),
        listener: &Arc<ListenerState>,
        shared: &Arc<Shared>,
    ) -> Workers {
        let mut workers = Workers { address, running: Vec::new() };
        workers.add(sockets, listener, shared);
        workers
    }

    fn add(
        &mut self,
        sockets: Vec<WorkerSocket>,
        listener: &Arc<ListenerState>,
        shared: &Arc<Shared>,
    ) {
        let heartbeats = &shared.heartbeats;
        for socket in sockets {
            let name = format!("udp-{}-{}", listener.local.port(), self.running.len());
            let stop = Arc::new(AtomicBool::new(false));
            let (state, shared) = (Arc::clone(listener), Arc::clone(shared));
            let beat = heartbeats.open(format!("worker {name} on {}", self.address.address()));
            let worker = Worker::new(state, shared, socket, Arc::clone(&stop), Arc::clone(&beat));
            match std::thread::Builder::new().name(name).spawn(move || worker.run()) {
                Ok(thread) => self.running.push(Running { stop, thread }),
                // Its socket is closed with it. If the address has no other worker, `/health` says so: this one shows no sign of life.
                Err(error) => {
                    tracing::error!("no thread for a UDP socket: {error}");
                    if !self.running.is_empty() {
                        heartbeats.close(&beat);
                    }
                }
            }
        }
    }

    /// Starts those that are missing, as far as sockets can be opened, and takes out those that are too many: the caller stops them.
    pub(super) fn resize(
        &mut self,
        size: Size,
        listener: &Arc<ListenerState>,
        shared: &Arc<Shared>,
    ) -> Result<Vec<Running>, ListenError> {
        for _ in self.running.len()..size.workers {
            // One by one: the kernel sends requests to a socket from when it is bound.
            self.add(self.address.open(1, size)?, listener, shared);
        }
        Ok(self.running.split_off(size.workers.min(self.running.len())))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Whether they have to leave an address to its own listener.
    pub(super) fn are_in_the_way_of(&self, listeners: &[ListenAddress]) -> bool {
        listeners.iter().any(|listener| self.address.is_in_the_way_of(listener))
    }

    /// All of them, to be stopped.
    pub(super) fn into_running(self) -> Vec<Running> {
        self.running
    }
}

/// Lets workers answer what their sockets hold, and ends them. All are told before the first is waited for.
pub(super) fn stop_all(workers: Vec<Running>) {
    for worker in &workers {
        worker.stop.store(true, Ordering::Release);
    }
    let begun = Instant::now();
    for Running { thread, .. } in workers {
        // A worker ends when its socket has been empty for one look-up interval and nobody waits. One that is stuck must not keep the
        // process from ending.
        while !thread.is_finished() && begun.elapsed() < LAST_LOOK {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else {
            let name = thread.thread().name().unwrap_or_default();
            tracing::error!("{name} is stuck and is left behind");
        }
    }
}
