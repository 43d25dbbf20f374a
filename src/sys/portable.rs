//! One datagram at a time, with what std offers.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;

use tokio::net::TcpStream;

use super::REQUEST_SIZE;

/// Where a request came from.
#[derive(Clone)]
pub struct ReturnPath(SocketAddr);

impl ReturnPath {
    /// Sends one response.
    pub fn send(&self, socket: &UdpSocket, response: &[u8]) -> io::Result<()> {
        socket.send_to(response, self.0).map(|_| ())
    }
}

/// Not available here: a response leaves from the address that the system chooses.
pub fn want_local_address(_socket: &UdpSocket, _v6: bool) -> io::Result<()> {
    Ok(())
}

/// Not known here.
pub fn dropped_datagrams(_socket: &UdpSocket) -> u32 {
    0
}

/// Not known here.
pub fn receive_buffer_filled(_socket: &UdpSocket) -> f32 {
    0.0
}

/// Not known here.
pub fn unacknowledged(_stream: &TcpStream) -> usize {
    0
}

/// A buffer for one datagram.
pub struct Batch {
    request: [u8; REQUEST_SIZE],
    length: usize,
    peer: SocketAddr,
    queued: Option<Range<usize>>,
}

impl Batch {
    /// An empty buffer.
    pub fn new() -> Batch {
        let nowhere = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
        Batch { request: [0; REQUEST_SIZE], length: 0, peer: nowhere, queued: None }
    }

    /// Waits for one datagram. The socket's read time-out ends the wait with `WouldBlock`.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        (self.length, self.peer) = socket.recv_from(&mut self.request)?;
        Ok(1)
    }

    /// Takes what is there without waiting.
    pub fn receive_now(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        socket.set_nonblocking(true)?;
        let received = self.receive(socket);
        socket.set_nonblocking(false)?;
        received
    }

    /// The request and who sent it.
    pub fn request(&self, _index: usize) -> (&[u8], Option<SocketAddr>, Option<IpAddr>) {
        let peer = SocketAddr::new(self.peer.ip().to_canonical(), self.peer.port());
        (&self.request[..self.length], Some(peer), None)
    }

    /// How to answer the request later.
    pub fn return_path(&self, _index: usize) -> ReturnPath {
        ReturnPath(self.peer)
    }

    /// Queues the response.
    pub fn queue(&mut self, _index: usize, response: Range<usize>) {
        self.queued = Some(response);
    }

    /// Sends what was queued; gives how many datagrams the system did not take.
    pub fn send(&mut self, socket: &UdpSocket, responses: &[u8]) -> usize {
        match self.queued.take() {
            Some(range) => usize::from(socket.send_to(&responses[range], self.peer).is_err()),
            None => 0,
        }
    }
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

/// A buffer for one datagram of a connected socket.
pub struct Inbox {
    buffer: Box<[u8]>,
    length: usize,
}

impl Inbox {
    /// Datagrams taken at once.
    pub const BATCH: usize = 1;

    /// An empty buffer.
    pub fn new() -> Inbox {
        Inbox { buffer: vec![0; usize::from(u16::MAX)].into(), length: 0 }
    }

    /// Takes a datagram without waiting; the socket must not block.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.length = socket.recv(&mut self.buffer)?;
        Ok(1)
    }

    /// The datagram.
    pub fn datagram(&self, _index: usize) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox::new()
    }
}

/// Sends over a connected socket that does not block. Gives how many went out, and why the next one did not.
pub fn send_connected<'a>(
    socket: &UdpSocket,
    datagrams: impl Iterator<Item = &'a [u8]>,
) -> (usize, Option<io::Error>) {
    let mut sent = 0;
    for datagram in datagrams {
        match socket.send(datagram) {
            Ok(_) => sent += 1,
            Err(error) => return (sent, Some(error)),
        }
    }
    (sent, None)
}

/// Answers requests of earlier batches. Gives how many datagrams the system did not take.
pub fn send_late(
    socket: &UdpSocket,
    answers: &mut [(ReturnPath, Range<usize>)],
    bytes: &[u8],
) -> usize {
    let sent = answers.iter().map(|(path, range)| path.send(socket, &bytes[range.clone()]));
    sent.filter(Result::is_err).count()
}
