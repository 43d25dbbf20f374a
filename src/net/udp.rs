//! One worker: a loop over one UDP socket, and over what its queries wait for.
//!
//! ```text
//! receive a batch -> answer each -> send the batch
//!                         \-> must wait: a task of this worker, polled at once -> its questions to upstreams are sent with the batch
//! while anybody waits: events -> answers of upstreams, tasks that were woken -> poll those -> send what they answer in one batch
//! ```
//!
//! While nobody waits the worker sleeps in `recvmmsg`, which costs one system call less per wake-up than a readiness loop. While somebody waits
//! it is such a loop: then the same thread sends to upstreams, receives from them and answers, without a task on the runtime and
//! without waking another thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use periplus_core::encode::Compressor;
use periplus_core::exchange;
use periplus_core::metrics::claim_cell;
use periplus_core::query::{Query, Transport};
use periplus_core::reply::Answer;
use periplus_core::server::Response;

use super::exchange::{EventQueue, Exchanges};
use super::fairness::Gate;
use super::heartbeat::Beat;
use super::tasks::{Task, Tasks, Woken};
use super::{LOOK_UP, ListenerState, Shared};
use crate::sys::{BATCH, Batch, ReturnPath, SmallBlocks, receive_buffer_filled, send_late};

/// Tasks polled before the client socket is looked at again.
const RUN: usize = 2 * BATCH;
/// Bytes of responses that there is always room for.
const RESPONSES: usize = 64 * 1024;
/// How long queries may go on waiting after the worker was told to stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// One socket and what it takes to serve it.
pub(super) struct Worker {
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    /// Where requests are sent to, unless the kernel says it of each.
    local: SocketAddr,
    events: EventQueue,
    woken: Arc<Woken>,
    beat: Arc<Beat>,
    /// It is to answer what the socket holds, and to end.
    stop: Arc<AtomicBool>,
}

/// A socket, and the events its worker will wait for.
pub(super) struct WorkerSocket {
    socket: Arc<UdpSocket>,
    events: EventQueue,
    woken: Arc<Woken>,
}

impl WorkerSocket {
    /// Makes all that can fail to be made.
    pub(super) fn new(socket: UdpSocket) -> io::Result<WorkerSocket> {
        let events = EventQueue::new(&socket)?;
        let woken = Arc::new(Woken::new(events.waker()?));
        Ok(WorkerSocket { socket: Arc::new(socket), events, woken })
    }
}

/// What has to be sent.
struct Out {
    shared: Arc<Shared>,
    compressor: Compressor,
    /// The bytes of all responses of a round.
    responses: Vec<u8>,
    /// Those to requests of earlier rounds.
    late: Vec<(ReturnPath, Range<usize>)>,
}

impl Out {
    fn late(&mut self, task: Task, answer: &Answer) {
        let start = self.responses.len();
        if task.waiting.encode(answer, &mut self.compressor, &mut self.responses) {
            self.late.push((task.path, start..self.responses.len()));
        } else {
            self.shared.unanswered.add(1);
        }
    }

    /// Gives up what only a crowd needed.
    fn shrink(&mut self) {
        self.responses.shrink_to(RESPONSES);
        self.late.shrink_to(RUN);
    }

    fn send(&mut self, batch: &mut Batch, socket: &UdpSocket) {
        let failed = batch.send(socket, &self.responses)
            + send_late(socket, &mut self.late, &self.responses);
        if failed > 0 {
            self.shared.unsent.add(failed as u64);
        }
        self.late.clear();
        self.responses.clear();
    }
}

impl Worker {
    pub(super) fn new(
        listener: Arc<ListenerState>,
        shared: Arc<Shared>,
        socket: WorkerSocket,
        stop: Arc<AtomicBool>,
        beat: Arc<Beat>,
    ) -> Worker {
        let WorkerSocket { socket, events, woken } = socket;
        let local = socket.local_addr().unwrap_or(listener.local);
        Worker { listener, shared, socket, local, events, woken, beat, stop }
    }

    /// Serves until it is told to stop, the socket is empty and nobody waits.
    pub(super) fn run(self) {
        let (shared, beat) = (Arc::clone(&self.shared), Arc::clone(&self.beat));
        let _counted = shared.losses.open(&self.socket);
        if self.wait_for_first() {
            self.serve();
        }
        shared.heartbeats.close(&beat);
    }

    fn serve(self) {
        let _cell = claim_cell(&self.shared.cells);
        let _runtime = self.shared.runtime.enter();
        let Worker { listener, shared, socket, local, events, woken, beat, stop } = self;
        let exchanges = Rc::new(Exchanges::new(events));
        exchange::offer(Some(Rc::clone(&exchanges) as Rc<_>));
        let tasks = Tasks::new(Arc::clone(&woken));
        let mut small_blocks = SmallBlocks::default();
        let mut batch = Batch::new();
        let mut query = Query::empty();
        query.transport = Transport::Udp;
        let mut out = Out {
            shared: Arc::clone(&shared),
            compressor: Compressor::new(),
            responses: Vec::with_capacity(RESPONSES),
            late: Vec::with_capacity(RUN),
        };
        let mut round = Round { listener, shared, local, tasks, gate: Gate::new() };
        let mut stopped = None;
        loop {
            beat.beat();
            let waits = !round.tasks.is_empty();
            let received = if waits {
                let busy = exchanges.clients_wait() || round.tasks.has_ready();
                let sleeps = !busy && woken.fall_asleep();
                exchanges.wait(if sleeps { LOOK_UP } else { Duration::ZERO }, &woken);
                match exchanges.clients_wait() {
                    true => batch.receive_now(&socket),
                    false => Ok(0),
                }
            } else if stopped.is_some() {
                // Nothing new comes: what is not there now never will be.
                batch.receive_now(&socket)
            } else {
                exchanges.look_away();
                batch.receive(&socket)
            };
            let mut quiet = false;
            match received {
                Ok(0) => {}
                Ok(count) => {
                    query.received = Instant::now();
                    exchanges.clients_read(query.received, count < BATCH);
                    round.answer(&socket, count, &mut batch, &mut query, &mut out);
                }
                // Nothing is there, or nothing came within the read time-out.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    exchanges.clients_read(Instant::now(), true);
                    quiet = true;
                }
                // An ICMP error about an earlier answer, or a signal: neither concerns the next request.
                Err(_) => {}
            }
            let over = stopped
                .is_some_and(|since: Instant| quiet && !waits || since.elapsed() >= FAREWELL);
            match stopped {
                Some(_) => {}
                // What came just before that is still to be read, even if nothing was there a moment ago.
                None if stop.load(Ordering::Acquire) => {
                    take_no_more(&socket, local);
                    stopped = Some(Instant::now());
                }
                None => {}
            }
            // Where nobody waits, nobody can have been woken: the list and its lock stay untouched.
            if !round.tasks.is_empty() {
                round.tasks.run(RUN, &mut |task, answer| out.late(task, &answer));
            }
            let sweep = exchanges.flush();
            out.send(&mut batch, &socket);
            if sweep {
                exchanges.sweep();
                round.tasks.shrink();
                out.shrink();
                small_blocks.follow();
            }
            if over {
                break;
            }
        }
        drop(round);
        exchange::offer(None);
    }

    /// Waits for the first request, which stays in the socket; `false`: it was told to stop before that came. The wildcard has sockets that
    /// are never used, and buffers only for those that are.
    fn wait_for_first(&self) -> bool {
        loop {
            self.beat.beat();
            if self.socket.peek_from(&mut [0]).is_ok() {
                return true;
            }
            if self.stop.load(Ordering::Acquire) {
                take_no_more(&self.socket, self.local);
                return self.socket.peek_from(&mut [0]).is_ok();
            }
        }
    }
}

/// Leaves new requests to whoever else listens there, as a server does that takes over: they share the port, and what is in a socket's
/// buffer when it is closed is lost. A socket that is connected to itself gets nothing from others any more, but keeps what it has.
fn take_no_more(socket: &UdpSocket, local: SocketAddr) {
    let own = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // Where it fails, what arrives at the last moment is lost as it was before.
    let _ = socket.connect(SocketAddr::new(own, local.port()));
}

/// What answering takes beside buffers.
struct Round {
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
    local: SocketAddr,
    tasks: Tasks,
    gate: Gate,
}

impl Round {
    fn answer(
        &mut self,
        socket: &UdpSocket,
        count: usize,
        batch: &mut Batch,
        query: &mut Query,
        out: &mut Out,
    ) {
        self.shared.requests.fetch_add(count as u64, Ordering::Relaxed);
        let turned_away = self.shared.limits.turned_away();
        let filled = || receive_buffer_filled(socket);
        self.gate.received(count == BATCH, query.received, filled, |client, count| {
            turned_away.add(client, count);
        });
        let may_wait = !self.gate.is_overloaded();
        let server = self.listener.server.load();
        for index in 0..count {
            let (request, peer, local) = batch.request(index);
            let Some(peer) = peer else { continue };
            if !self.gate.is_open() && !self.gate.admits(peer.ip()) {
                continue;
            }
            query.peer = peer;
            query.local = match local {
                Some(address) => SocketAddr::new(address, self.local.port()),
                None => self.local,
            };
            let start = out.responses.len();
            let (compressor, responses) = (&mut out.compressor, &mut out.responses);
            match server.respond(request, query, may_wait, compressor, responses) {
                Response::Ready => batch.queue(index, start..out.responses.len()),
                Response::Silence => self.shared.unanswered.add(1),
                Response::Shed => self.shared.put_off.add(1),
                Response::Later(waiting) => {
                    if let Some(guard) = self.shared.limits.wait(query.peer.ip()) {
                        let task = Task { waiting, path: batch.return_path(index), _guard: guard };
                        self.tasks.begin(task, &mut |task, answer| out.late(task, &answer));
                    }
                }
            }
        }
    }
}
