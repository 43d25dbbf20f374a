//! Listeners: what brings requests to a [`Server`] and takes its responses away.
//!
//! ```text
//! Listeners -- one Listener per listen address -- N UDP sockets per address, a blocking worker thread each   (workers, udp)
//!                      |                      \-- 1 TCP socket, tasks on the runtime                         (tcp)
//!                      +-- the Server it asks: swapped at a reload, sockets stay
//! ```

mod accept;
mod connections;
mod exchange;
mod fairness;
mod heartbeat;
mod limits;
mod losses;
mod sockets;
mod tasks;
mod tcp;
mod turned_away;
mod udp;
mod workers;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use periplus_core::liveness::Liveness;
use periplus_core::memory::Budget;
use periplus_core::metrics::{CellPool, Counter, Registry};
use periplus_core::server::Server;
use periplus_core::setup::ListenAddress;
use tokio_util::sync::CancellationToken;

use crate::sys::raise_open_files;
pub(crate) use accept::accept;
pub(crate) use connections::{ConnectionGuard, Connections};
use heartbeat::Heartbeats;
pub use limits::Limits;
use losses::Losses;
use sockets::{Size, Sockets};
pub(crate) use sockets::{TCP_BACKLOG, bind_tcp};
use turned_away::TurnedAway;
use workers::{LAST_LOOK, Workers, stop_all};

/// How long a UDP worker sleeps in the kernel before it looks whether it is to stop.
const LOOK_UP: Duration = Duration::from_millis(250);

/// All sockets of the process.
pub struct Listeners {
    shared: Arc<Shared>,
    open: BTreeMap<ListenAddress, Listener>,
    budget: Budget,
    size: Size,
}

/// What all workers and connections share.
struct Shared {
    cells: Arc<CellPool>,
    limits: Limits,
    losses: Arc<Losses>,
    heartbeats: Heartbeats,
    /// Requests that get no answer because none is due: messages that are no queries, and what a plugin keeps silent about.
    unanswered: Counter,
    /// Requests that would have to wait, while there was no time for them.
    put_off: Counter,
    /// Answers that the kernel did not take.
    unsent: Counter,
    /// Connections closed because there was no room for another long message.
    too_long: Counter,
    runtime: tokio::runtime::Handle,
    /// Requests received so far, for telling when traffic has gone quiet.
    requests: AtomicU64,
}

struct Listener {
    inner: Arc<ListenerState>,
    tcp_stop: CancellationToken,
    tcp: tokio::task::JoinHandle<()>,
    /// One for each address that UDP is received at.
    udp: Vec<Workers>,
}

/// What the threads and tasks of one listener see.
struct ListenerState {
    local: SocketAddr,
    server: ArcSwap<Server>,
}

/// A socket that could not be opened.
#[derive(Debug)]
pub struct ListenError {
    /// CoreDNS's word for the step: `Listen` (TCP) or `ListenPacket` (UDP).
    pub step: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.step, self.address, self.error)?;
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => write!(
                f,
                " (ports below 1024 need root or the capability NET_BIND_SERVICE; -dns.port chooses another)"
            ),
            io::ErrorKind::AddrInUse => {
                write!(f, " (another process listens there without SO_REUSEPORT)")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ListenError {}

impl Listeners {
    /// None open yet. `workers` threads will serve each UDP address.
    pub fn new(
        workers: usize,
        metrics: &Arc<Registry>,
        budget: Budget,
        runtime: tokio::runtime::Handle,
    ) -> Listeners {
        let shared = Shared {
            cells: CellPool::new(metrics.workers()),
            limits: Limits::new(metrics, budget, raise_open_files()),
            losses: Losses::new(metrics),
            heartbeats: Heartbeats::new(metrics),
            unanswered: TurnedAway::counter(metrics, "no_answer_due"),
            put_off: TurnedAway::counter(metrics, "overload"),
            unsent: TurnedAway::counter(metrics, "not_sent"),
            too_long: TurnedAway::counter(metrics, "long_message"),
            runtime,
            requests: AtomicU64::new(0),
        };
        let size = Size::new(workers, budget);
        Listeners { shared: Arc::new(shared), open: BTreeMap::new(), budget, size }
    }

    /// How many threads serve each UDP address, and if some have fewer than others, the fewest.
    pub fn workers(&self) -> usize {
        let counts = self.open.values().flat_map(|listener| &listener.udp).map(Workers::count);
        counts.min().unwrap_or(self.size.workers)
    }

    /// Serves each UDP address with so many threads from now on, and loses nothing over it. Where a socket cannot be opened, an
    /// address has fewer.
    pub fn set_workers(&mut self, workers: usize) -> Result<(), ListenError> {
        self.size = Size::new(workers, self.budget);
        let (mut surplus, mut result) = (Vec::new(), Ok(()));
        for listener in self.open.values_mut() {
            for workers in &mut listener.udp {
                match workers.resize(self.size, &listener.inner, &self.shared) {
                    Ok(too_many) => surplus.extend(too_many),
                    Err(error) => result = Err(error),
                }
            }
        }
        stop_all(surplus);
        result
    }

    /// Makes the open listeners those of `servers`: new ones are opened first, and only if all can be opened, those that stay get their
    /// new server and those that are gone are closed. On an error, which says what could not be opened, nothing changes.
    pub fn apply(
        &mut self,
        servers: BTreeMap<ListenAddress, Arc<Server>>,
    ) -> Result<(), (ListenAddress, ListenError)> {
        let addresses: Vec<_> = servers.keys().copied().collect();
        let mut fresh = BTreeMap::new();
        for address in servers.keys() {
            if !self.open.contains_key(address) {
                let sockets = Sockets::open(*address, self.size, &addresses);
                fresh.insert(*address, sockets.map_err(|error| (*address, error))?);
            }
        }
        for (address, sockets) in &fresh {
            sockets.listen(self.size).map_err(|error| (*address, error))?;
        }
        for (address, server) in &servers {
            if let Some(listener) = self.open.get(address) {
                listener.inner.server.store(Arc::clone(server));
            }
        }
        for (address, sockets) in fresh {
            let server = Arc::clone(&servers[&address]);
            self.open.insert(address, Listener::start(sockets, server, &self.shared));
        }
        // An address may have a listener of its own now that the wildcard was in charge of.
        let mut surplus = Vec::new();
        for (_, wildcard) in self.open.iter_mut().filter(|(address, _)| address.is_wildcard()) {
            let given_up = wildcard.udp.extract_if(.., |own| own.are_in_the_way_of(&addresses));
            surplus.extend(given_up.flat_map(Workers::into_running));
        }
        stop_all(surplus);
        let gone: Vec<_> =
            self.open.keys().filter(|address| !servers.contains_key(address)).copied().collect();
        let gone: Vec<Listener> =
            gone.into_iter().filter_map(|address| self.open.remove(&address)).collect();
        close_all(gone);
        Ok(())
    }

    /// Tells `liveness` of workers that are stuck, from now on.
    pub fn watch(&self, liveness: Arc<Liveness>) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move { shared.heartbeats.watch(&liveness).await });
    }

    /// Where each listener listens; tells the port when 0 was asked for.
    pub fn local_addresses(&self) -> Vec<(ListenAddress, SocketAddr)> {
        self.open.iter().map(|(address, listener)| (*address, listener.inner.local)).collect()
    }

    /// Requests received so far over all transports.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Answers what the kernel still holds, then closes all sockets.
    pub fn close(&mut self) {
        close_all(std::mem::take(&mut self.open).into_values().collect());
    }
}

/// Tells all before it waits for the first: each may still owe answers.
fn close_all(listeners: Vec<Listener>) {
    for listener in &listeners {
        listener.tcp_stop.cancel();
    }
    let begun = Instant::now();
    let (tcp, udp): (Vec<_>, Vec<_>) =
        listeners.into_iter().map(|listener| (listener.tcp, listener.udp)).unzip();
    stop_all(udp.into_iter().flatten().flat_map(Workers::into_running).collect());
    for task in tcp {
        while !task.is_finished() && begun.elapsed() < LAST_LOOK {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Listener {
    fn start(sockets: Sockets, server: Arc<Server>, shared: &Arc<Shared>) -> Listener {
        let Sockets { local, tcp, udp } = sockets;
        let inner = Arc::new(ListenerState { local, server: ArcSwap::new(server) });
        let udp = udp.into_iter().map(|at| Workers::start(at, &inner, shared)).collect();
        let tcp_stop = CancellationToken::new();
        let tcp = tcp::serve(Arc::clone(&inner), Arc::clone(shared), tcp.into(), tcp_stop.clone());
        Listener { inner, tcp_stop, tcp: shared.runtime.spawn(tcp), udp }
    }
}
