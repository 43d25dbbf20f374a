//! Listeners: what brings requests to a [`Server`] and takes its responses away.
//!
//! ```text
//! Listeners -- one Listener per listen address -- N UDP sockets, a blocking worker thread each   (udp)
//!                      |                      \-- 1 TCP socket, tasks on the runtime             (tcp)
//!                      +-- the Server it asks: swapped at a reload, sockets stay
//! ```
//!
//! The wildcard has N UDP sockets for IPv4 and N for IPv6: on a socket for both, each IPv4 datagram costs the kernel about 700
//! cycles more (packet information and addresses go through their IPv6 forms). It also has N for each of a few addresses that the
//! machine has when the listener opens: on a socket with an address of its own, a datagram needs no packet information, which
//! saves another 600. Those of the wildcard receive whatever is sent to any other address, also to one that comes later. TCP has one
//! socket for all.

mod connections;
mod exchange;
mod fairness;
mod heartbeat;
mod limits;
mod losses;
mod tasks;
mod tcp;
mod turned_away;
mod udp;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use periplus_core::interfaces::interface_addresses;
use periplus_core::liveness::Liveness;
use periplus_core::memory::Budget;
use periplus_core::metrics::{CellPool, Counter, Registry};
use periplus_core::server::Server;
use periplus_core::setup::{BindAddress, ListenAddress};
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;

use heartbeat::Heartbeats;
pub use limits::Limits;
use losses::Losses;
use turned_away::TurnedAway;

/// How long a UDP worker sleeps in the kernel before it looks whether it is to stop.
const LOOK_UP: Duration = Duration::from_millis(250);
/// Receive buffer asked for each UDP socket: bursts wait here. The kernel gives at most `net.core.rmem_max`, and takes it from the memory
/// of the control group.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The least that is asked for, whatever the memory limit: some hundred requests.
const LEAST_RECEIVE_BUFFER: usize = 128 << 10;
/// UDP sockets of one worker on the wildcard: two families, and three addresses.
const SOCKETS_OF_WORKER: u64 = 5;
/// What the kernel may hold of a connection's requests, which are small. It counts twice as much, for its own data about them. Left alone,
/// it goes up to several megabytes.
const TCP_RECEIVE_BUFFER: usize = 16 << 10;
/// What the kernel may hold of answers that a peer does not take: the longest fits.
const TCP_SEND_BUFFER: usize = 64 << 10;
/// A peer that does not acknowledge for so long is gone (RFC 5482). It bounds the time that the kernel keeps unsent answers, also of connections
/// that are closed already.
#[cfg(target_os = "linux")]
const TCP_UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Workers that have not ended by then never will: they give up on what waits after 5 s.
const LAST_LOOK: Duration = Duration::from_secs(8);
/// Connections that may wait to be accepted.
const TCP_BACKLOG: usize = 1024;

/// All sockets of the process.
pub struct Listeners {
    shared: Arc<Shared>,
    open: BTreeMap<ListenAddress, Listener>,
}

/// What all workers and connections share.
struct Shared {
    workers: usize,
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
    receive_buffer: usize,
    runtime: tokio::runtime::Handle,
    /// Requests received so far, for telling when traffic has gone quiet.
    requests: AtomicU64,
}

struct Listener {
    inner: Arc<ListenerState>,
    tcp_stop: CancellationToken,
    tcp: tokio::task::JoinHandle<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// What the threads and tasks of one listener see.
struct ListenerState {
    local: SocketAddr,
    server: ArcSwap<Server>,
    stop: AtomicBool,
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
            workers,
            cells: CellPool::new(metrics.workers()),
            limits: Limits::new(metrics, budget),
            losses: Losses::new(metrics),
            heartbeats: Heartbeats::new(metrics),
            unanswered: TurnedAway::counter(metrics, "no_answer_due"),
            put_off: TurnedAway::counter(metrics, "overload"),
            unsent: TurnedAway::counter(metrics, "not_sent"),
            receive_buffer: budget.count(
                8 * SOCKETS_OF_WORKER * workers as u64,
                1,
                LEAST_RECEIVE_BUFFER,
                RECEIVE_BUFFER,
            ),
            runtime,
            requests: AtomicU64::new(0),
        };
        Listeners { shared: Arc::new(shared), open: BTreeMap::new() }
    }

    /// Makes the open listeners those of `servers`: new ones are opened first, and only if all can be opened, those that stay get their
    /// new server and those that are gone are closed. On an error nothing changes.
    pub fn apply(
        &mut self,
        servers: BTreeMap<ListenAddress, Arc<Server>>,
    ) -> Result<(), ListenError> {
        let mut fresh = BTreeMap::new();
        for (address, server) in &servers {
            if !self.open.contains_key(address) {
                fresh.insert(*address, Sockets::open(*address, &self.shared, server)?);
            }
        }
        for (address, server) in &servers {
            if let Some(listener) = self.open.get(address) {
                listener.inner.server.store(Arc::clone(server));
            }
        }
        for (address, sockets) in fresh {
            self.open.insert(address, sockets.serve(&self.shared));
        }
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

/// Stops all before it waits for the first: each may still owe answers.
fn close_all(listeners: Vec<Listener>) {
    for listener in &listeners {
        listener.stop();
    }
    for listener in listeners {
        listener.close();
    }
}

impl Listener {
    fn stop(&self) {
        self.inner.stop.store(true, Ordering::Release);
        self.tcp_stop.cancel();
    }

    fn close(self) {
        self.stop();
        let begun = Instant::now();
        let wait_until = |is_finished: &dyn Fn() -> bool| {
            while !is_finished() && begun.elapsed() < LAST_LOOK {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        wait_until(&|| self.tcp.is_finished());
        for thread in self.threads {
            // A worker ends when its socket has been empty for one look-up interval and nobody waits. One that is stuck must not
            // keep the process from ending.
            wait_until(&|| thread.is_finished());
            if thread.is_finished() {
                let _ = thread.join();
            } else {
                tracing::error!(
                    "{} is stuck and is left behind",
                    thread.thread().name().unwrap_or_default()
                );
            }
        }
    }
}

/// The bound sockets of one address, before anything serves them.
struct Sockets {
    local: SocketAddr,
    udp: Vec<udp::WorkerSocket>,
    tcp: TcpListener,
    server: Arc<Server>,
}

impl Sockets {
    fn open(
        address: ListenAddress,
        shared: &Shared,
        server: &Arc<Server>,
    ) -> Result<Sockets, ListenError> {
        let wildcard = address.host == BindAddress::Wildcard;
        match Sockets::open_at(address.socket_address(), shared, wildcard, server) {
            // No IPv6 on this machine: the wildcard is IPv4's.
            Err(ListenError { error, .. })
                if wildcard && error.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
            {
                let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port);
                Sockets::open_at(any, shared, wildcard, server)
            }
            result => result,
        }
    }

    fn open_at(
        mut address: SocketAddr,
        shared: &Shared,
        wildcard: bool,
        server: &Arc<Server>,
    ) -> Result<Sockets, ListenError> {
        let failed = |step| move |error| ListenError { step, address, error };
        let tcp = tcp_socket(address).map_err(failed("Listen"))?;
        // With port 0 the system chose one; UDP must have the same.
        address = tcp.local_addr().map_err(failed("Listen"))?;
        let failed = |error| ListenError { step: "ListenPacket", address, error };
        let mut addresses = vec![address];
        if wildcard && address.is_ipv6() {
            addresses.push(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()));
        }
        let each = |address| std::iter::repeat_n(address, shared.workers);
        let open = |address, wildcard| {
            udp_socket(address, shared.receive_buffer, wildcard).and_then(udp::WorkerSocket::new)
        };
        let mut udp: Vec<_> = addresses
            .into_iter()
            .flat_map(each)
            .map(|address| open(address, wildcard))
            .collect::<io::Result<_>>()
            .map_err(failed)?;
        if wildcard {
            let own = own_addresses(address.is_ipv6());
            let own = own.into_iter().map(|ip| SocketAddr::new(ip, address.port())).flat_map(each);
            // Where one cannot be bound, the wildcard's sockets serve it.
            udp.extend(own.filter_map(|address| open(address, false).ok()));
        }
        Ok(Sockets { local: address, udp, tcp, server: Arc::clone(server) })
    }

    fn serve(self, shared: &Arc<Shared>) -> Listener {
        let inner = Arc::new(ListenerState {
            local: self.local,
            server: ArcSwap::new(self.server),
            stop: AtomicBool::new(false),
        });
        let threads = self
            .udp
            .into_iter()
            .enumerate()
            .filter_map(|(index, socket)| {
                let name = format!("udp-{}-{index}", self.local.port());
                let (inner, shared) = (Arc::clone(&inner), Arc::clone(shared));
                let worker = udp::Worker::new(inner, shared, socket, &name);
                let thread = std::thread::Builder::new().name(name).spawn(move || worker.run());
                // `/health` says so as well: such a worker shows no sign of life.
                thread.map_err(|error| tracing::error!("no thread for a UDP socket: {error}")).ok()
            })
            .collect();
        let tcp_stop = CancellationToken::new();
        let tcp = tcp::serve(Arc::clone(&inner), Arc::clone(shared), self.tcp, tcp_stop.clone());
        let tcp = shared.runtime.spawn(tcp);
        Listener { inner, tcp_stop, tcp, threads }
    }
}

/// The addresses whose UDP sockets are worth having beside the wildcard's: the IPv4 loopback, and the first other address of each family,
/// which in a Pod are all there are.
fn own_addresses(v6: bool) -> Vec<IpAddr> {
    let all: Vec<IpAddr> = interface_addresses()
        .map(|found| found.into_iter().map(|entry| entry.address).collect())
        .unwrap_or_default();
    let is_global = |address: &&IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let first = |v4| all.iter().filter(is_global).find(move |address| address.is_ipv4() == v4);
    let loopback = all.iter().find(|address| **address == IpAddr::from(Ipv4Addr::LOCALHOST));
    loopback.into_iter().chain(first(true)).chain(first(false).filter(|_| v6)).copied().collect()
}

fn udp_socket(address: SocketAddr, buffer: usize, wildcard: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Less than asked for is fine, and so is a refusal.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    socket.bind(&address.into())?;
    socket.set_read_timeout(Some(LOOK_UP))?;
    let socket = UdpSocket::from(socket);
    if wildcard {
        crate::sys::want_local_address(&socket, address.is_ipv6())?;
    }
    Ok(socket)
}

fn tcp_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED))?;
    }
    // Connections inherit these. Refused: the system's own bounds are larger, but bounds.
    let _ = socket.set_recv_buffer_size(TCP_RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(TCP_SEND_BUFFER);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(TCP_UNACKNOWLEDGED));
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG as i32)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
