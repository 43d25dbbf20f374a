//! One socket, and what arrives at it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Weak;
use std::time::{Duration, Instant};

use periplus_core::exchange::{Endpoint, Fault, FaultKind};
use socket2::{Domain, Protocol, Socket, Type};

/// Questions that a socket carries in its life.
pub(super) const MOST_USES: u16 = 100;
/// How old a socket gets when its server's settings do not say less. Without a limit sixteen sockets that are used now and then would live
/// for minutes: a port to guess, and behind a virtual address a choice of backend that never sees the new ones.
const MOST_AGE: Duration = Duration::from_secs(30);
/// Bytes that a buffer keeps for the next answer.
const KEPT: usize = 512;

/// A socket connected to a server.
pub(super) struct Carrier {
    pub(super) socket: UdpSocket,
    /// Which server's.
    pub(super) endpoint: Weak<Endpoint>,
    /// Questions that were sent: id and slot.
    pub(super) carried: Vec<(u16, u32)>,
    /// Questions that are to be sent with the batch: id, slot, and where the bytes stand.
    pub(super) queued: Vec<(u16, u32, Range<usize>)>,
    /// Questions so far.
    pub(super) uses: u16,
    /// Datagrams so far that no question waited for.
    pub(super) foreign: u16,
    /// Carries no further question.
    pub(super) retired: bool,
    made: Instant,
    /// When the last question was queued.
    pub(super) used: Instant,
}

impl Carrier {
    /// A socket that has not been used yet.
    pub(super) fn new(socket: UdpSocket, endpoint: Weak<Endpoint>, now: Instant) -> Carrier {
        Carrier {
            socket,
            endpoint,
            carried: Vec::new(),
            queued: Vec::new(),
            uses: 0,
            foreign: 0,
            retired: false,
            made: now,
            used: now,
        }
    }

    /// Whether it can carry one more question, under this id.
    pub(super) fn takes(&self, id: u16) -> bool {
        !self.retired
            && self.uses < MOST_USES
            && self.carried.iter().all(|(carried, _)| *carried != id)
            && self.queued.iter().all(|(queued, ..)| *queued != id)
    }

    /// Whether the server's settings let it be used.
    pub(super) fn is_fresh(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let age = |since: Instant| now.saturating_duration_since(since);
        age(self.used) <= endpoint.expire
            && age(self.made) <= endpoint.max_age.map_or(MOST_AGE, |most| most.min(MOST_AGE))
    }
}

/// A socket that only the server's datagrams reach, at a free port that the system chose at random.
pub(super) fn connected(endpoint: &Endpoint) -> Result<UdpSocket, Fault> {
    let Endpoint { remote, source, .. } = *endpoint;
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, Some(Protocol::UDP))
        .map_err(FaultKind::Open)?;
    socket.set_nonblocking(true).map_err(FaultKind::Open)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(FaultKind::Open)?;
    }
    // Binds to a random free port as well. That there is none is no fault of the server's.
    socket.connect(&remote.into()).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => FaultKind::Open(error),
        _ => FaultKind::Connect(error),
    })?;
    Ok(socket.into())
}

/// Datagrams, each with its length before it.
#[derive(Default)]
pub(super) struct Arrived(Vec<u8>);

impl Arrived {
    /// Adds one.
    pub(super) fn push(&mut self, datagram: &[u8]) {
        self.0.extend_from_slice(&(datagram.len() as u32).to_ne_bytes());
        self.0.extend_from_slice(datagram);
    }

    /// In the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk()?;
            let (datagram, tail) = tail.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
            rest = tail;
            Some(datagram)
        })
    }

    /// How much room it has.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Forgets them, and keeps some room for others.
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEPT);
    }
}
