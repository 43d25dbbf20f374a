//! The sockets of a listen address, and what is asked of the kernel for them.
//!
//! The wildcard has UDP sockets for IPv4 and for IPv6: on a socket for both, each IPv4 datagram costs the kernel about 700 cycles more
//! (packet information and addresses go through their IPv6 forms). It also has some for each of a few addresses that the machine has when
//! the listener opens: on a socket with an address of its own, a datagram needs no packet information, which saves another 600. It has none
//! where another listener or process is, which would have to share what comes. Those of the wildcard receive whatever is sent to any other
//! address, also to one that comes later. TCP has one socket for all.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use periplus_core::interfaces::interface_addresses;
use periplus_core::memory::Budget;
use periplus_core::setup::ListenAddress;
use socket2::{Domain, Protocol, Socket, Type};

use super::udp::WorkerSocket;
use super::{LOOK_UP, ListenError};

/// Receive buffer asked for each UDP socket: bursts wait here. The kernel gives at most `net.core.rmem_max`, and takes it from the memory
/// of the control group.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The least that is asked for, whatever the memory limit: some hundred requests.
const LEAST_RECEIVE_BUFFER: usize = 128 << 10;
/// UDP sockets of one worker on the wildcard: two families, and three addresses.
const SOCKETS_OF_WORKER: u64 = 5;
/// What the kernel may hold of a connection's requests, which are small. It counts twice as much, for its own data about them. Left alone,
/// it goes up to several megabytes.
const TCP_RECEIVE_BUFFER: usize = 8 << 10;
/// What the kernel may hold of answers that a peer does not take, and of as much data about them: the longest fits. `tcp` takes places for it.
const TCP_SEND_BUFFER: usize = 64 << 10;
/// A peer that does not acknowledge for so long is gone (RFC 5482). It bounds the time that the kernel keeps unsent answers, also of connections
/// that are closed already.
#[cfg(target_os = "linux")]
const TCP_UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted, where memory is no matter: what each has sent already is in its buffer.
pub(crate) const TCP_BACKLOG: usize = 1024;

/// The bound sockets of one address, before anything serves them.
pub(super) struct Sockets {
    /// Where TCP listens; tells the port when 0 was asked for.
    pub(super) local: SocketAddr,
    /// Nobody can connect before [`Sockets::listen`].
    pub(super) tcp: Socket,
    /// One socket for each worker.
    pub(super) udp: Vec<(UdpAddress, Vec<WorkerSocket>)>,
}

/// How many UDP sockets to open, and how large.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) workers: usize,
    receive_buffer: usize,
    backlog: usize,
}

impl Size {
    /// For so many workers: all buffers together may hold an eighth of what the limit leaves, and those of who waits to be accepted a quarter of that.
    pub(super) fn new(workers: usize, budget: Budget) -> Size {
        let parts = 8 * SOCKETS_OF_WORKER * workers as u64;
        let receive_buffer = budget.count(parts, 1, LEAST_RECEIVE_BUFFER, RECEIVE_BUFFER);
        let backlog = budget.count(8 * 4, 2 * TCP_RECEIVE_BUFFER as u64, 64, TCP_BACKLOG);
        Size { workers, receive_buffer, backlog }
    }
}

impl Sockets {
    /// `others` are all listen addresses of the configuration.
    pub(super) fn open(
        address: ListenAddress,
        size: Size,
        others: &[ListenAddress],
    ) -> Result<Sockets, ListenError> {
        let port = address.port;
        if !address.is_wildcard() {
            return Sockets::open_at(address.socket_address(), size, None);
        }
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        match Sockets::open_at(any, size, Some(others)) {
            // No IPv6 on this machine: the wildcard is IPv4's.
            Err(ListenError { error, .. }) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
                Sockets::open_at(any, size, Some(others))
            }
            result => result,
        }
    }

    fn open_at(
        mut address: SocketAddr,
        size: Size,
        wildcard: Option<&[ListenAddress]>,
    ) -> Result<Sockets, ListenError> {
        let not_bound = |error| ListenError { step: "Listen", address, error };
        let tcp = bind_tcp(address).map_err(not_bound)?;
        // With port 0 the system chose one; UDP must have the same.
        let local = tcp.local_addr().map_err(not_bound)?;
        address = local.as_socket().unwrap_or(address);
        let port = address.port();
        let open = |address: UdpAddress| Ok((address, address.open(size.workers, size)?));
        let Some(others) = wildcard else {
            let udp = vec![open(UdpAddress { address, wildcard: false })?];
            return Ok(Sockets { local: address, tcp, udp });
        };
        // Before the wildcard's sockets are there: they would be in the way of a look at who else is.
        let own = own_addresses(address.is_ipv6()).into_iter();
        let own = own.map(|ip| SocketAddr::new(ip, port)).filter(|own| is_free(*own, others));
        let own: Vec<_> = own.map(|address| UdpAddress { address, wildcard: false }).collect();
        let any = UdpAddress { address, wildcard: true };
        let any_v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let any_v4 = UdpAddress { address: any_v4, wildcard: true };
        let families = [any, any_v4].into_iter().take(if address.is_ipv6() { 2 } else { 1 });
        let mut udp: Vec<_> = families.map(open).collect::<Result<_, ListenError>>()?;
        // Where one cannot be bound, the wildcard's sockets serve it.
        udp.extend(own.into_iter().filter_map(|address| open(address).ok()));
        Ok(Sockets { local: address, tcp, udp })
    }

    /// Lets peers connect. Not before all is there that a configuration needs: who is connected is owed an answer.
    pub(super) fn listen(&self, size: Size) -> Result<(), ListenError> {
        let listen = self.tcp.listen(size.backlog as i32);
        listen.map_err(|error| ListenError { step: "Listen", address: self.local, error })
    }
}

/// Where UDP sockets are bound, one for each worker.
#[derive(Clone, Copy)]
pub(super) struct UdpAddress {
    address: SocketAddr,
    wildcard: bool,
}

impl UdpAddress {
    pub(super) fn address(self) -> SocketAddr {
        self.address
    }

    /// Whether it is one that the wildcard has for speed, and that another listen address is in charge of.
    pub(super) fn is_in_the_way_of(self, other: &ListenAddress) -> bool {
        !self.wildcard && is_at(other, self.address)
    }

    /// So many sockets more. Which one the kernel chooses for a client may change for all of them.
    pub(super) fn open(self, count: usize, size: Size) -> Result<Vec<WorkerSocket>, ListenError> {
        let address = self.address;
        let open = || WorkerSocket::new(udp_socket(address, size.receive_buffer, self.wildcard)?);
        std::iter::repeat_with(open)
            .take(count)
            .collect::<io::Result<_>>()
            .map_err(|error| ListenError { step: "ListenPacket", address, error })
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

/// Whether nobody else is in charge of an address: not another listen address, and not another process. Sockets at one address share what
/// comes for it.
fn is_free(address: SocketAddr, others: &[ListenAddress]) -> bool {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    };
    !others.iter().any(|other| is_at(other, address)) && bind().is_ok()
}

fn is_at(listener: &ListenAddress, address: SocketAddr) -> bool {
    let listener = listener.socket_address();
    listener.ip() == address.ip() && listener.port() == address.port()
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

/// A bound socket that does not listen yet: nobody can connect.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<Socket> {
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
    socket.set_nonblocking(true)?;
    Ok(socket)
}
