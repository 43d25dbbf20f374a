//! DNS over TCP (RFC 7766): connections as tasks, answers as they are ready.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use periplus_core::encode::Compressor;
use periplus_core::query::{HEADER, Query, Transport};
use periplus_core::server::{Response, Waiting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use super::connections::{ConnectionGuard, LongMessage};
use super::limits::WaitingGuard;
use super::{ListenerState, Shared};
use crate::sys::unacknowledged;

/// The first message must have begun by then (CoreDNS's read time-out).
const FIRST_MESSAGE: Duration = Duration::from_secs(3);
/// A message must be whole this long after its first byte, however it dribbles in.
const MESSAGE: Duration = Duration::from_secs(10);
/// A connection on which nothing is asked and nothing is owed is closed after this (RFC 7766 section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// A peer that does not take an answer is cut off after this.
const WRITE: Duration = Duration::from_secs(5);
/// Answers one connection may be owed at once; until one is paid, nothing more is read from it.
const MAX_OWED: usize = 64;
/// Bytes read ahead. Longer messages take more for as long as they last, and only a few connections may have such at once.
const READ_AHEAD: usize = 4096;
/// How often a request may be there while it waits: for whoever answers it, for whoever waits with it, and as it is passed on.
const REQUEST_COPIES: usize = 3;
/// What the kernel may hold for a peer that has not acknowledged it; more takes places, as waiting queries do.
const UNACKNOWLEDGED: usize = 8192;
/// How often to look whether a slow peer has acknowledged more.
const LOOK: Duration = Duration::from_millis(100);
/// A response buffer larger than this is not kept.
const RESPONSE: usize = 4096;
/// After the listener stops, what peers had asked before they could know is read for so long.
const LAST_MESSAGE: Duration = Duration::from_millis(200);
/// How long open connections may go on after the listener stops, until they have their answers.
const FAREWELL: Duration = Duration::from_secs(5);

thread_local! {
    /// One for each thread of the runtime: it is larger than all else that a connection needs.
    static COMPRESSOR: RefCell<Compressor> = RefCell::default();
}

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
    let places = Arc::clone(shared.limits.connections());
    let converse = |stream: TcpStream, peer, place| {
        let connection = Connection::new(&listener, &shared, &stream, peer);
        connection.run_to_end(stream, stop.clone(), place)
    };
    accept(socket, places, stop.clone(), FAREWELL, converse).await;
}

struct Connection {
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
    query: Query,
    /// What is written next, with room for its length in front.
    response: Vec<u8>,
    /// The places of what the peer is slow to take.
    slow: Option<WaitingGuard>,
    /// Responses that have to be waited for, like `response`.
    owed: JoinSet<Option<(Vec<u8>, WaitingGuard)>>,
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
            response: Vec::new(),
            slow: None,
            owed: JoinSet::new(),
        }
    }

    async fn run_to_end(
        mut self,
        mut stream: TcpStream,
        stop: CancellationToken,
        place: ConnectionGuard,
    ) {
        let ended = tokio::select! {
            ended = self.run(&mut stream, stop, &place) => ended,
            () = place.must_go() => Err(io::ErrorKind::TimedOut.into()),
        };
        // How a connection ends concerns nobody but its peer. What that has not taken is not left to the kernel, where nothing bounds it.
        if ended.is_err() {
            let _ = stream.set_zero_linger();
        }
    }

    async fn run(
        &mut self,
        stream: &mut TcpStream,
        stop: CancellationToken,
        place: &ConnectionGuard,
    ) -> io::Result<()> {
        let _ = stream.set_nodelay(true);
        let mut received = Received::new();
        let (mut open, mut stopping) = (true, false);
        let patience = tokio::time::sleep(FIRST_MESSAGE);
        tokio::pin!(patience);
        while open || !self.owed.is_empty() {
            let may_read = open && self.owed.len() < MAX_OWED;
            let was_partial = received.is_partial();
            let impatient = open && (stopping || self.owed.is_empty() || may_read && was_partial);
            tokio::select! {
                // Patience ends only where nothing else is ready: whoever asked in time gets an answer, however late we look.
                biased;
                () = stop.cancelled(), if open && !stopping => {
                    stopping = true;
                    patience.as_mut().reset(tokio::time::Instant::now() + LAST_MESSAGE);
                }
                Some(done) = self.owed.join_next(), if !self.owed.is_empty() => {
                    place.used(Instant::now());
                    if let Ok(Some((response, _guard))) = done {
                        self.response = response;
                        self.write(stream).await?;
                    }
                    self.take_messages(&mut received, stream, place).await?;
                    // While nothing was read, the rest of a message could not come.
                    if !stopping && (!may_read || !was_partial) {
                        patience.as_mut().reset(received.deadline());
                    }
                }
                read = stream.read_buf(&mut received.bytes), if may_read => {
                    if read? == 0 {
                        // The peer sends no more, but may still read.
                        open = false;
                        continue;
                    }
                    let whole = self.take_messages(&mut received, stream, place).await?;
                    if !stopping && (whole || !was_partial) {
                        patience.as_mut().reset(received.deadline());
                    }
                }
                () = async { tokio::time::sleep(LOOK).await }, if self.slow.is_some() => {
                    self.take_places(unacknowledged(stream))?;
                }
                () = &mut patience, if impatient => open = false,
            }
        }
        let begun = Instant::now();
        while unacknowledged(stream) > 0 {
            if begun.elapsed() > WRITE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Answers the whole messages in the buffer, up to one that the peer may not be owed yet; says whether there was one.
    async fn take_messages(
        &mut self,
        received: &mut Received,
        stream: &mut TcpStream,
        place: &ConnectionGuard,
    ) -> io::Result<bool> {
        let mut at = 0;
        while self.owed.len() < MAX_OWED
            && let Some(length) = received.bytes.get(at..at + 2)
        {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            if length < HEADER {
                // No message can be this short: the stream is not DNS, or out of step.
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(message) = received.bytes.get(at + 2..at + 2 + length) else { break };
            self.response.clear();
            self.response.extend_from_slice(&[0, 0]);
            self.query.received = Instant::now();
            // Before the answer: whoever has it may connect again, and this one must not be taken for idle then.
            place.used(self.query.received);
            self.shared.requests.fetch_add(1, Ordering::Relaxed);
            let server = self.listener.server.load_full();
            let response = COMPRESSOR.with_borrow_mut(|compressor| {
                server.respond(message, &mut self.query, true, compressor, &mut self.response)
            });
            // Who waits has a copy, and the next message may be long in coming.
            self.query.edns = None;
            match response {
                Response::Ready => self.write(stream).await?,
                Response::Silence => self.shared.unanswered.add(1),
                Response::Later(waiting) => self.owe(waiting),
                Response::Shed => self.shared.put_off.add(1),
            }
            at += 2 + length;
        }
        received.bytes.drain(..at);
        received.make_room(place, &self.shared)?;
        Ok(at > 0)
    }

    fn owe(&mut self, mut waiting: Waiting) {
        let limits = &self.shared.limits;
        if let Some(mut guard) = limits.wait(self.query.peer.ip())
            && limits.hold(&mut guard, REQUEST_COPIES * self.query.size)
        {
            let shared = Arc::clone(&self.shared);
            self.owed.spawn_on(
                async move {
                    let answer = waiting.answer().await;
                    let mut response = vec![0, 0];
                    if !COMPRESSOR.with_borrow_mut(|compressor| {
                        waiting.encode(&answer, compressor, &mut response)
                    }) {
                        shared.unanswered.add(1);
                        return None;
                    }
                    // The peer may be slow to take those before it.
                    shared.limits.hold(&mut guard, response.len()).then_some((response, guard))
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
        let written = match stream.try_write(&self.response) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            written => written?,
        };
        self.take_places(unacknowledged(stream) + self.response.len() - written)?;
        let rest = &self.response[written..];
        if !rest.is_empty() {
            tokio::time::timeout(WRITE, stream.write_all(rest)).await??;
        }
        if self.response.capacity() > RESPONSE {
            self.response = Vec::new();
        }
        Ok(())
    }

    /// Has places for so many bytes that the peer has not acknowledged, if that is more than any connection may have.
    fn take_places(&mut self, bytes: usize) -> io::Result<()> {
        self.slow = None;
        if bytes > UNACKNOWLEDGED {
            let limits = &self.shared.limits;
            let mut guard = limits.wait(self.query.peer.ip()).ok_or(io::ErrorKind::TimedOut)?;
            if !limits.hold(&mut guard, bytes) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.slow = Some(guard);
        }
        Ok(())
    }
}

/// What was read and not answered yet.
struct Received {
    bytes: Vec<u8>,
    /// Held while the bytes need more room than is read ahead.
    long: Option<LongMessage>,
}

impl Received {
    fn new() -> Received {
        Received { bytes: Vec::with_capacity(READ_AHEAD), long: None }
    }

    /// A message has begun and is not whole.
    fn is_partial(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// When the peer must have gone on.
    fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + if self.is_partial() { MESSAGE } else { IDLE }
    }

    /// Room for more of a long message, or none any more for one that is done.
    fn make_room(&mut self, place: &ConnectionGuard, shared: &Shared) -> io::Result<()> {
        if self.bytes.len() < READ_AHEAD {
            self.bytes.shrink_to(READ_AHEAD);
            self.long = None;
        } else if self.long.is_none() {
            self.long = place.long_message();
            if self.long.is_none() {
                shared.too_long.add(1);
                return Err(io::ErrorKind::OutOfMemory.into());
            }
        }
        Ok(())
    }
}
