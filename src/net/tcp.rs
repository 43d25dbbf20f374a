//! DNS over TCP (RFC 7766): connections as tasks, answers as they are ready.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use periplus_core::encode::{Compressor, encode};
use periplus_core::query::{HEADER, Query, Transport};
use periplus_core::reply::Answer;
use periplus_core::server::{Response, Waiting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::limits::WaitingGuard;
use super::{ListenerState, Shared};

/// The first message must be there by then (CoreDNS's read time-out).
const FIRST_MESSAGE: Duration = Duration::from_secs(3);
/// A connection on which nothing is asked and nothing is owed is closed after this (RFC 7766 section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// A peer that does not take its answers is cut off after this.
const WRITE: Duration = Duration::from_secs(5);
/// Answers one connection may be owed at once; until one is paid, nothing more is read from it.
const MAX_OWED: usize = 64;
/// Bytes read ahead.
const READ_AHEAD: usize = 4096;
/// How long open connections may go on after the listener stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// Accepts until told to stop; then gives the open connections a moment to get their answers.
pub(super) async fn serve(
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
    socket: std::net::TcpListener,
    stop: CancellationToken,
) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!("TCP on {} is not served: {error}", listener.local);
            return;
        }
    };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stop.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                if let Some(guard) = shared.limits.connect(peer.ip()) {
                    let connection = Connection::new(&listener, &shared, &stream, peer);
                    let stop = stop.clone();
                    connections.spawn(async move {
                        // How a connection ends concerns nobody but its peer.
                        let _ = connection.run(stream, stop).await;
                        drop(guard);
                    });
                }
            }
            // Out of descriptors, or a connection that is already gone: the next one may be fine.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    drop(socket);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all).await;
}

struct Connection {
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
    query: Query,
    compressor: Box<Compressor>,
    response: Vec<u8>,
    /// Answers that have to be waited for.
    owed: JoinSet<(Arc<Query>, Answer, WaitingGuard)>,
}

impl Connection {
    fn new(
        listener: &Arc<ListenerState>,
        shared: &Arc<Shared>,
        stream: &TcpStream,
        peer: SocketAddr,
    ) -> Connection {
        let mut query = Query::empty();
        query.transport = Transport::Tcp;
        query.peer = peer;
        let local = stream.local_addr().unwrap_or(listener.local);
        query.local = SocketAddr::new(local.ip().to_canonical(), local.port());
        Connection {
            listener: Arc::clone(listener),
            shared: Arc::clone(shared),
            query,
            compressor: Box::default(),
            response: Vec::new(),
            owed: JoinSet::new(),
        }
    }

    async fn run(mut self, mut stream: TcpStream, stop: CancellationToken) -> io::Result<()> {
        let _ = stream.set_nodelay(true);
        let mut received = Vec::with_capacity(READ_AHEAD);
        let mut patience = FIRST_MESSAGE;
        let mut open = true;
        while open || !self.owed.is_empty() {
            let may_read = open && self.owed.len() < MAX_OWED;
            let idle = tokio::time::sleep(patience);
            tokio::select! {
                read = stream.read_buf(&mut received), if may_read => {
                    if read? == 0 {
                        // The peer sends no more, but may still read.
                        open = false;
                        continue;
                    }
                    if self.take_messages(&mut received, &mut stream).await? {
                        patience = IDLE;
                    }
                }
                Some(done) = self.owed.join_next(), if !self.owed.is_empty() => {
                    if let Ok((query, answer, _guard)) = done {
                        self.response.clear();
                        self.response.extend_from_slice(&[0, 0]);
                        if encode(&query, &answer, &mut self.compressor, &mut self.response) {
                            self.write(&mut stream).await?;
                        }
                    }
                }
                () = idle, if self.owed.is_empty() => return Ok(()),
                () = stop.cancelled(), if open => open = false,
            }
        }
        Ok(())
    }

    /// Answers all whole messages in the buffer; says whether there was one. What can be answered at once is written in one go.
    async fn take_messages(
        &mut self,
        received: &mut Vec<u8>,
        stream: &mut TcpStream,
    ) -> io::Result<bool> {
        let mut at = 0;
        while let Some(length) = received.get(at..at + 2) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            if length < HEADER {
                // No message can be this short: the stream is not DNS, or out of step.
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(message) = received.get(at + 2..at + 2 + length) else { break };
            self.response.clear();
            self.response.extend_from_slice(&[0, 0]);
            self.query.received = Instant::now();
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            let server = self.listener.server.load_full();
            match server.respond(message, &mut self.query, &mut self.compressor, &mut self.response)
            {
                Response::Ready => self.write(stream).await?,
                Response::Silence => {}
                Response::Later(waiting) => self.owe(waiting),
            }
            at += 2 + length;
        }
        received.drain(..at);
        Ok(at > 0)
    }

    fn owe(&mut self, waiting: Waiting) {
        if let Some(guard) = self.shared.limits.wait(self.query.peer.ip()) {
            self.owed.spawn_on(
                async move {
                    let (query, answer) = waiting.answer().await;
                    (query, answer, guard)
                },
                &self.shared.runtime,
            );
        }
    }

    /// Writes the response with its length in front, for which two bytes were left.
    async fn write(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let length =
            u16::try_from(self.response.len() - 2).map_err(|_| io::ErrorKind::InvalidData)?;
        self.response[..2].copy_from_slice(&length.to_be_bytes());
        tokio::time::timeout(WRITE, stream.write_all(&self.response)).await?
    }
}
