//! Exchanges with other servers over UDP, driven by the worker that waits for them.
//!
//! ```text
//! Exchange::start -> Book: a socket of the server's pool, a slot -> queued
//! end of the batch -> flush: one sendmmsg per socket
//! wait: epoll -> recvmmsg per readable socket -> Book: (socket, id) -> slot: datagram kept, waker called
//! ```
//!
//! A worker that nobody waits on sleeps in its client socket and looks at none of these. So before the first question after that, whatever
//! has arrived meanwhile is read and thrown away: an answer sent before its question is a guess.

mod book;
mod carrier;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use periplus_core::exchange::{Endpoint, Event, Exchanger, Fault, FaultKind, Ticket, Times};

use self::book::Book;
use super::tasks::Woken;
use crate::sys::Inbox;

const CLIENTS: Token = Token(0);
const WAKER: Token = Token(1);
/// Sockets of exchanges come after those.
const FIRST_SOCKET: usize = 2;
/// Events taken at once.
const EVENTS: usize = 64;
/// How often to look for what is not needed any more.
const SWEEP: Duration = Duration::from_secs(1);

/// The exchanges of one worker.
pub(super) struct Exchanges {
    number: u64,
    state: RefCell<State>,
}

struct State {
    events: EventQueue,
    inbox: Inbox,
    book: Book,
    now: Instant,
    swept: Instant,
}

/// What a worker waits for when it does not sleep in its client socket.
pub(super) struct EventQueue {
    poll: mio::Poll,
    events: Events,
    /// The client socket may have something to read.
    clients: bool,
    /// The worker slept elsewhere since it last looked here.
    unwatched: bool,
}

impl EventQueue {
    /// A queue for a worker that reads from `clients`.
    pub(super) fn new(clients: &UdpSocket) -> io::Result<EventQueue> {
        let poll = mio::Poll::new()?;
        let descriptor = clients.as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), CLIENTS, Interest::READABLE)?;
        let events = Events::with_capacity(EVENTS);
        Ok(EventQueue { poll, events, clients: true, unwatched: true })
    }

    /// What ends a wait from any thread.
    pub(super) fn waker(&self) -> io::Result<mio::Waker> {
        mio::Waker::new(self.poll.registry(), WAKER)
    }
}

impl Exchanges {
    /// None yet.
    pub(super) fn new(events: EventQueue) -> Exchanges {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let now = Instant::now();
        let (inbox, book) = (Inbox::new(), Book::default());
        Exchanges {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            state: RefCell::new(State { events, inbox, book, now, swept: now }),
        }
    }

    /// Tells the time, and that the worker has read its client socket: `drained`, when nothing was left in it.
    pub(super) fn clients_read(&self, now: Instant, drained: bool) {
        let state = &mut *self.state.borrow_mut();
        state.now = now;
        state.events.clients = !drained;
    }

    /// Whether the client socket may have something to read.
    pub(super) fn clients_wait(&self) -> bool {
        self.state.borrow().events.clients
    }

    /// The worker is about to sleep in its client socket.
    pub(super) fn look_away(&self) {
        self.state.borrow_mut().events.unwatched = true;
    }

    /// Waits for events, at most as long as given and until the next deadline, and handles those of exchanges.
    pub(super) fn wait(&self, most: Duration, woken: &Woken) {
        let state = &mut *self.state.borrow_mut();
        let until = state.book.next_deadline();
        let most = until.map_or(most, |until| most.min(until.saturating_duration_since(state.now)));
        state.look(most, || woken.get_up());
        state.now = Instant::now();
        state.book.expire(state.now);
    }

    /// Sends what was queued. Says whether it is time to sweep.
    pub(super) fn flush(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.book.flush();
        state.now.saturating_duration_since(state.swept) >= SWEEP
    }

    /// Gives up what is not needed any more.
    pub(super) fn sweep(&self) {
        let state = &mut *self.state.borrow_mut();
        state.swept = state.now;
        state.book.sweep(state.now);
    }
}

impl State {
    /// `awake` is called when the wait is over: who is woken from here on need not end it.
    fn look(&mut self, most: Duration, awake: impl FnOnce()) {
        let State { events: EventQueue { poll, events, clients, unwatched }, inbox, book, .. } =
            self;
        *unwatched = false;
        let polled = poll.poll(events, Some(most));
        awake();
        if polled.is_err() {
            return;
        }
        for event in events.iter() {
            match event.token() {
                CLIENTS => *clients = true,
                WAKER => {}
                Token(socket) => book.receive(socket - FIRST_SOCKET, event.is_error(), inbox),
            }
        }
    }
}

impl Exchanger for Exchanges {
    fn start(
        &self,
        endpoint: &Arc<Endpoint>,
        datagram: &[u8],
        times: Times,
    ) -> Result<(Ticket, bool), Fault> {
        let state = &mut *self.state.borrow_mut();
        if state.events.unwatched {
            state.look(Duration::ZERO, || ());
        }
        let State { events, book, now, .. } = state;
        let watch = |socket: &UdpSocket, number: usize| {
            let descriptor = socket.as_raw_fd();
            let token = Token(FIRST_SOCKET + number);
            let registry = events.poll.registry();
            registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)
        };
        let (slot, generation, reused) = book.start(endpoint, datagram, times, *now, watch)?;
        Ok((Ticket { exchanger: self.number, slot, generation }, reused))
    }

    fn poll(
        &self,
        ticket: Ticket,
        waker: &Waker,
        accept: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Poll<Result<Event, Fault>> {
        if ticket.exchanger != self.number {
            return Poll::Ready(Err(FaultKind::Moved.into()));
        }
        // Whoever reads a datagram must find this free: reading is the plugin's code.
        let Some(arrived) = self.state.borrow_mut().book.take_arrived(ticket) else {
            return Poll::Ready(Err(FaultKind::TimedOut.into()));
        };
        let mut refused = 0;
        let mut accepted = false;
        for datagram in arrived.iter() {
            accepted = accept(datagram);
            if accepted {
                break;
            }
            refused += 1;
        }
        let book = &mut self.state.borrow_mut().book;
        book.give_back(ticket, arrived, refused);
        if accepted {
            book.end(ticket);
            return Poll::Ready(Ok(Event::Answered));
        }
        match book.fault(ticket) {
            Some(fault) => Poll::Ready(Err(fault)),
            None if book.keep_waker(ticket, waker) => Poll::Ready(Ok(Event::Late)),
            None => Poll::Pending,
        }
    }

    fn end(&self, ticket: Ticket) {
        if ticket.exchanger == self.number {
            self.state.borrow_mut().book.abandon(ticket);
        }
    }
}
