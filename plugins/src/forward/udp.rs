//! One question and its answer over UDP.
//!
//! Each socket is connected, has a port the system chose at random, and carries one question at a time. The id is new for each question and
//! comes from a secure generator, so a stranger has to guess port and id together (RFC 5452). What is not the answer is passed over while
//! waiting: one forged datagram must not end the wait for the right one (CVE-2023-28452).

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::error::{Cause, Step};

/// How many questions a socket carries before it is replaced, so that on a quiet server too the port to guess does not stay the same.
const MOST_USES: u16 = 100;
/// Datagrams that are not the answer before the socket is given up. Guesses against 65,536 ids come in greater numbers; the next
/// attempt has another port.
const MOST_FOREIGN: u16 = 100;

thread_local! {
    /// Where datagrams are received: decoding copies what is kept.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; usize::from(u16::MAX)].into());
}

/// A connected socket.
pub(super) struct UdpConnection {
    socket: UdpSocket,
    uses: u16,
    foreign: u16,
}

impl UdpConnection {
    /// Opens a socket and sends the first question. Sending before the runtime knows the socket saves a wait for it to become
    /// writable.
    pub(super) fn open(
        remote: SocketAddr,
        source: Option<IpAddr>,
        datagram: &[u8],
    ) -> Result<UdpConnection, (Step, Cause)> {
        let at = |step| move |error| (step, Cause::Io(error));
        let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, Some(Protocol::UDP))
            .map_err(at(Step::Open))?;
        socket.set_nonblocking(true).map_err(at(Step::Open))?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into()).map_err(at(Step::Open))?;
        }
        // Binds to a random free port as well.
        socket.connect(&remote.into()).map_err(at(Step::Dial))?;
        send(|| socket.send(datagram)).map_err(at(Step::Write))?;
        let socket = UdpSocket::from_std(socket.into()).map_err(at(Step::Open))?;
        Ok(UdpConnection { socket, uses: 1, foreign: 0 })
    }

    /// Sends another question. `false`: the socket is not fit for it, because something has arrived that nobody asked for, or it reports an
    /// error of the past.
    pub(super) fn reuse(&mut self, datagram: &[u8]) -> bool {
        let quiet = BUFFER.with_borrow_mut(|buffer| self.socket.try_recv(buffer));
        if !matches!(quiet, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            return false;
        }
        self.uses += 1;
        send(|| self.socket.try_send(datagram)).is_ok()
    }

    /// Waits for the datagram that `accept` takes.
    pub(super) async fn receive<T>(
        &mut self,
        mut accept: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Cause> {
        loop {
            // An ICMP error alone does not make a socket readable.
            let interest = Interest::READABLE | Interest::ERROR;
            let ready = self.socket.ready(interest).await.map_err(Cause::Io)?;
            if ready.is_error()
                && let Some(error) = self.pending_error()
            {
                return Err(Cause::Io(error));
            }
            let received = BUFFER.with_borrow_mut(|buffer| {
                self.socket.try_recv(buffer).map(|length| accept(&buffer[..length]))
            });
            match received {
                Ok(Some(response)) => return Ok(response),
                Ok(None) if self.foreign + 1 >= MOST_FOREIGN => {
                    return Err(Cause::ManyWrongAnswers);
                }
                Ok(None) => self.foreign += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Cause::Io(error)),
            }
        }
    }

    /// What the system has to say against the socket. Without an error the readiness was of the past and is cleared.
    fn pending_error(&self) -> Option<io::Error> {
        let found = self.socket.try_io(Interest::ERROR, || match self.socket.take_error()? {
            Some(error) => Ok(error),
            None => Err(ErrorKind::WouldBlock.into()),
        });
        found.ok()
    }

    /// Whether another question may use the socket.
    pub(super) fn is_reusable(&self) -> bool {
        self.uses < MOST_USES && self.foreign == 0
    }

    /// Our end.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}

/// Sends a datagram. A full send buffer loses it, as a full queue further on would: the timeout covers both.
fn send(mut send: impl FnMut() -> io::Result<usize>) -> io::Result<()> {
    match send() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
