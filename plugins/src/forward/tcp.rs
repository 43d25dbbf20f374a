//! One question and its answer over TCP (RFC 7766).

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use periplus_core::decode::message_id;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::error::{Cause, Step};

/// Bytes of buffer that an idle connection keeps.
const KEPT: usize = 4096;

/// A connection.
pub(super) struct TcpConnection {
    stream: TcpStream,
    /// What was received of the next message, its length first.
    received: Vec<u8>,
}

impl TcpConnection {
    /// Connects.
    pub(super) async fn open(
        remote: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<TcpConnection, (Step, Cause)> {
        let at = |step| move |error| (step, Cause::Io(error));
        let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(at(Step::Open))?;
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0)).map_err(at(Step::Open))?;
        }
        let stream = socket.connect(remote).await.map_err(at(Step::Dial))?;
        // A question is one write; waiting to fill a segment would only delay it.
        stream.set_nodelay(true).map_err(at(Step::Dial))?;
        Ok(TcpConnection { stream, received: Vec::new() })
    }

    /// Whether the connection is still open and nothing has arrived that nobody asked for.
    pub(super) fn is_quiet(&self) -> bool {
        let found = self.stream.try_read(&mut [0]);
        matches!(found, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a message, length bytes included, and waits for the answer that `accept` takes. Messages with another id are passed over.
    pub(super) async fn exchange<T>(
        &mut self,
        framed: &[u8],
        id: u16,
        mut accept: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, (Step, Cause)> {
        self.stream.write_all(framed).await.map_err(|error| (Step::Write, Cause::Io(error)))?;
        loop {
            let message = self.read_message().await.map_err(|cause| (Step::Read, cause))?;
            if message_id(message) == Some(id) {
                let response = accept(message).ok_or((Step::Read, Cause::WrongAnswer))?;
                self.received.clear();
                self.received.shrink_to(KEPT);
                return Ok(response);
            }
        }
    }

    async fn read_message(&mut self) -> Result<&[u8], Cause> {
        self.received.clear();
        let length = usize::from(self.stream.read_u16().await.map_err(cause)?);
        let mut limited = (&mut self.stream).take(length as u64);
        limited.read_to_end(&mut self.received).await.map_err(cause)?;
        if self.received.len() < length {
            return Err(Cause::Closed);
        }
        Ok(&self.received)
    }

    /// Our end.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }
}

fn cause(error: std::io::Error) -> Cause {
    if error.kind() == ErrorKind::UnexpectedEof { Cause::Closed } else { Cause::Io(error) }
}

/// Whether the failure is what a peer causes that had closed an idle connection.
pub(super) fn is_closed(cause: &Cause) -> bool {
    match cause {
        Cause::Closed => true,
        Cause::Io(error) => {
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
            )
        }
        _ => false,
    }
}
