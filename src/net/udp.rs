//! One worker: a blocking loop over one UDP socket.
//!
//! ```text
//! receive a batch -> answer each -> send the batch
//!                         \-> must wait: a task on the runtime, which sends its one answer itself
//! ```
//!
//! A thread that sleeps in `recvmmsg` costs one system call less per wake-up than a readiness loop, which is why this is no
//! task on the runtime.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use periplus_core::encode::{Compressor, encode};
use periplus_core::metrics::claim_cell;
use periplus_core::query::{Query, Transport};
use periplus_core::server::{Response, Waiting};

use super::limits::WaitingGuard;
use super::{ListenerState, Shared};
use crate::sys::{Batch, ReturnPath};

/// One socket and what it takes to serve it.
pub(super) struct Worker {
    listener: Arc<ListenerState>,
    shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    /// Where requests are sent to, unless the kernel says it of each.
    local: SocketAddr,
}

impl Worker {
    pub(super) fn new(
        listener: Arc<ListenerState>,
        shared: Arc<Shared>,
        socket: UdpSocket,
    ) -> Worker {
        let local = socket.local_addr().unwrap_or(listener.local);
        Worker { listener, shared, socket: Arc::new(socket), local }
    }

    /// Serves until the listener stops and the socket is empty.
    pub(super) fn run(self) {
        if !self.wait_for_first() {
            return;
        }
        let _cell = claim_cell(&self.shared.cells);
        let _runtime = self.shared.runtime.enter();
        let mut batch = Batch::new();
        let mut query = Query::empty();
        query.transport = Transport::Udp;
        let mut compressor = Compressor::new();
        let mut responses = Vec::with_capacity(64 * 1024);
        loop {
            match batch.receive(&self.socket) {
                Ok(count) => {
                    self.answer(count, &mut batch, &mut query, &mut compressor, &mut responses);
                    batch.send(&self.socket, &responses);
                    responses.clear();
                }
                // Nothing came within the read time-out.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    if self.listener.stop.load(Ordering::Acquire) {
                        return;
                    }
                }
                // An ICMP error about an earlier answer, or a signal: neither concerns the next request.
                Err(_) => {}
            }
        }
    }

    /// Waits for the first request, which stays in the socket; `false`: the listener stopped before it came. The wildcard has sockets that
    /// are never used, and buffers only for those that are.
    fn wait_for_first(&self) -> bool {
        loop {
            if self.socket.peek_from(&mut [0]).is_ok() {
                return true;
            }
            if self.listener.stop.load(Ordering::Acquire) {
                return false;
            }
        }
    }

    fn answer(
        &self,
        count: usize,
        batch: &mut Batch,
        query: &mut Query,
        compressor: &mut Compressor,
        responses: &mut Vec<u8>,
    ) {
        self.shared.requests.fetch_add(count as u64, Ordering::Relaxed);
        let server = self.listener.server.load();
        query.received = Instant::now();
        for index in 0..count {
            let (request, peer, local) = batch.request(index);
            let Some(peer) = peer else { continue };
            query.peer = peer;
            query.local = match local {
                Some(address) => SocketAddr::new(address, self.local.port()),
                None => self.local,
            };
            let start = responses.len();
            match server.respond(request, query, compressor, responses) {
                Response::Ready => batch.queue(index, start..responses.len()),
                Response::Silence => {}
                Response::Later(waiting) => {
                    if let Some(guard) = self.shared.limits.wait() {
                        let socket = Arc::clone(&self.socket);
                        self.shared.runtime.spawn(finish(
                            waiting,
                            guard,
                            batch.return_path(index),
                            socket,
                        ));
                    }
                }
            }
        }
    }
}

thread_local! {
    /// What a runtime thread keeps for the answers it finishes.
    static SCRATCH: RefCell<(Compressor, Vec<u8>)> = RefCell::default();
}

async fn finish(
    waiting: Box<Waiting>,
    guard: WaitingGuard,
    path: ReturnPath,
    socket: Arc<UdpSocket>,
) {
    let (query, answer) = waiting.answer().await;
    SCRATCH.with_borrow_mut(|(compressor, response)| {
        response.clear();
        if encode(&query, &answer, compressor, response) {
            // A send error is normal for UDP: the client asks again.
            let _ = path.send(&socket, response);
        }
    });
    drop(guard);
}
