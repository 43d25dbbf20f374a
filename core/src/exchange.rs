//! Questions to other servers over UDP, asked from the thread that received the client's question.
//!
//! ```text
//! plugin's future -- first poll --> Exchange::start --> Exchanger of this thread: queues the datagram, sends it with its batch
//!                 <-- waker ------------------------------- datagrams that arrive under the id
//!                 -- next poll ---> Exchange::poll: accept(datagram) -> the answer, or wait on
//! ```
//!
//! Who may want to ask somebody else as well says how long it is patient: the exchange tells when that time is over, once, and goes on. The
//! time stands in the same book as the deadline, so that it costs no timer.
//!
//! A worker that drives futures itself offers an [`Exchanger`]: it owns the sockets, so that many questions and answers share a system call
//! and nothing is handed to another thread. Elsewhere (connections, tasks) there is none, and a plugin asks with sockets of its own.
//!
//! Whatever drives it, an exchange is safe against strangers: the caller's id comes from [`crate::random`], the socket's port was
//! chosen by the system at random and is given up after some questions, and what `accept` refuses ends no wait, up to a bound.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A server that questions go to, and what its sockets may be used for. Sockets are shared by all who hold the same `Arc`, and closed
/// when nobody does.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub remote: SocketAddr,
    /// The address to ask from.
    pub source: Option<IpAddr>,
    /// Longest time a socket may lie unused.
    pub expire: Duration,
    /// Longest life of a socket.
    pub max_age: Option<Duration>,
    /// Most sockets kept.
    pub max_idle: Option<usize>,
}

/// Why an exchange failed.
#[derive(Debug)]
pub struct Fault {
    /// What was being done.
    pub kind: FaultKind,
    /// Our end, once there was one.
    pub local: Option<SocketAddr>,
}

/// The kinds of faults.
#[derive(Debug)]
pub enum FaultKind {
    /// No socket could be made.
    Open(io::Error),
    /// The system has no way to the server.
    Connect(io::Error),
    /// The question could not be sent.
    Send(io::Error),
    /// The server, or something on the way to it, refused the question.
    Receive(io::Error),
    /// No answer in time.
    TimedOut,
    /// So many datagrams that are not the answer that somebody must be guessing.
    ManyWrongAnswers,
    /// The future was moved to another thread while it waited.
    Moved,
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Fault {
        Fault { kind, local: None }
    }
}

/// Names one exchange to its [`Exchanger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which exchanger: unique in the process.
    pub exchanger: u64,
    /// Its place.
    pub slot: u32,
    /// Tells it from others that had the place before.
    pub generation: u32,
}

/// How long an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When [`Event::Late`] is told, if at all.
    pub patience: Option<Instant>,
    /// When it ends without an answer.
    pub deadline: Instant,
}

/// What may happen to an exchange but a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A datagram was accepted, which ends the exchange.
    Answered,
    /// The patience is over. This is told once; the exchange goes on.
    Late,
}

/// What a thread that drives exchanges offers to the futures it polls.
pub trait Exchanger {
    /// Queues a question, whose id is its first two bytes. Says also whether a socket that was open already carries it.
    fn start(
        &self,
        endpoint: &Arc<Endpoint>,
        datagram: &[u8],
        times: Times,
    ) -> Result<(Ticket, bool), Fault>;

    /// Shows `accept` each datagram that has arrived under the id, until it takes one, which ends the exchange. Otherwise the waker is kept.
    fn poll(
        &self,
        ticket: Ticket,
        waker: &Waker,
        accept: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Poll<Result<Event, Fault>>;

    /// Nobody waits any more.
    fn end(&self, ticket: Ticket);
}

thread_local! {
    static HERE: RefCell<Option<Rc<dyn Exchanger>>> = const { RefCell::new(None) };
}

/// Offers an exchanger to all futures polled on this thread, or with `None` takes it away.
pub fn offer(exchanger: Option<Rc<dyn Exchanger>>) {
    HERE.set(exchanger);
}

fn here() -> Option<Rc<dyn Exchanger>> {
    HERE.with_borrow(Option::clone)
}

/// An exchange under way. Dropping it ends it.
#[derive(Debug)]
pub struct Exchange {
    ticket: Ticket,
    ended: bool,
    /// Whether the socket had carried a question before.
    pub reused: bool,
}

impl Exchange {
    /// Starts an exchange if this thread has an exchanger. The times are kept to some milliseconds.
    pub fn start(
        endpoint: &Arc<Endpoint>,
        datagram: &[u8],
        times: Times,
    ) -> Option<Result<Exchange, Fault>> {
        let started = here()?.start(endpoint, datagram, times);
        Some(started.map(|(ticket, reused)| Exchange { ticket, ended: false, reused }))
    }

    /// Waits for the datagram that `accept` takes, however late. It is shown only datagrams with the question's id.
    pub async fn receive<T>(
        mut self,
        mut accept: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Fault> {
        std::future::poll_fn(|cx| {
            loop {
                match std::task::ready!(self.poll(cx, &mut accept)) {
                    Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                    Ok(None) => {}
                    Err(fault) => return Poll::Ready(Err(fault)),
                }
            }
        })
        .await
    }

    /// What `accept` took, or `None` once when the patience is over. To be polled until it gives something or fails.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        accept: &mut impl FnMut(&[u8]) -> Option<T>,
    ) -> Poll<Result<Option<T>, Fault>> {
        let Some(exchanger) = here() else {
            return Poll::Ready(Err(FaultKind::Moved.into()));
        };
        let mut taken = None;
        let mut take = |datagram: &[u8]| {
            taken = accept(datagram);
            taken.is_some()
        };
        let polled = exchanger.poll(self.ticket, cx.waker(), &mut take);
        self.ended = matches!(polled, Poll::Ready(Ok(Event::Answered) | Err(_)));
        polled.map(|result| match result? {
            Event::Late => Ok(None),
            Event::Answered => taken.map(Some).ok_or(FaultKind::Moved.into()),
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // On another thread nothing can be done: the exchanger forgets the question some time after its deadline.
        if !self.ended
            && let Some(exchanger) = HERE.try_with(|here| here.borrow().clone()).ok().flatten()
        {
            exchanger.end(self.ticket);
        }
    }
}
