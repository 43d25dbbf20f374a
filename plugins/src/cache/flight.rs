//! One upstream exchange for all who ask the same thing at the same time.
//!
//! ```text
//!  first miss  -> asks inward, must wait -> leads the flight: stores, shares, answers
//!  later misses of the same question     -> join it, if asked in the same shape: wait for what the leader shares
//! ```
//!
//! The leader's exchange is driven by the leader's own client, so that a miss spawns no task. When that client goes away, the
//! leader is dropped, and of those who waited one leads the others. A failure is shared like an answer: 10,000
//! questions to a dead upstream are one question to it.
//!
//! Only questions that come straight from a client join. One that a plugin asks while it answers another (depth above 0) might
//! wait for its own outcome; leading is safe for it, because nobody whom the leader waits for waits for it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use periplus_core::edns::Edns;
use periplus_core::query::Query;
use periplus_core::reply::Answer;

use super::question::Precomputed;
use super::shape::{Asked, OwnedAsked, faults_request};

/// More flights than this at once, in each of the parts, are not kept track of: each further miss asks for itself.
const MOST_FLIGHTS: usize = 1024;
/// Parts with a lock each. A lock is held for one look-up, so that workers seldom meet.
const PARTS: usize = 16;

/// The exchanges under way. Every miss adds one and takes it away again, which a map with locks does for less than one whose readers
/// never wait.
#[derive(Default)]
pub(super) struct Flights {
    parts: [Part; PARTS],
}

#[derive(Default)]
struct Part {
    /// How many there are, for those who only want to know that there is none: the cluster's own answers take no lock.
    count: AtomicUsize,
    flights: Mutex<PartFlights>,
}

/// By the question's hash, which is keyed: two questions with the same one do not occur, and would only not wait for each other.
type PartFlights = HashMap<u64, Arc<Flight>, Precomputed>;

struct Flight {
    asked: OwnedAsked,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The leader has shared its answer, or went away without one.
    over: bool,
    landing: Landing,
    /// Who is to be woken then.
    waiters: Vec<Waker>,
}

/// The leader's answer, before the client's own flags were applied; `None` when it went away without one.
pub(super) type Landing = Option<Arc<Shared>>;

/// What a leader shares.
pub(super) struct Shared {
    pub(super) answer: Answer,
    /// The largest response that the leader's client could take.
    pub(super) limit: usize,
    /// The leader's EDNS, if the answer faults it. Others may have none, or other options of the same length.
    pub(super) faulted: Option<Edns>,
}

/// Waits for a flight.
pub(super) struct Waiter {
    flight: Arc<Flight>,
    /// Its place among the waiters.
    place: Option<usize>,
}

impl Waiter {
    fn new(flight: &Arc<Flight>) -> Waiter {
        Waiter { flight: Arc::clone(flight), place: None }
    }

    /// The leader's answer; `None` when the leader went away without one.
    pub(super) async fn landing(mut self) -> Landing {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Landing> {
        let mut progress = lock(&self.flight.progress);
        if progress.over {
            self.place = None;
            return Poll::Ready(progress.landing.clone());
        }
        match self.place {
            Some(place) => progress.waiters[place].clone_from(cx.waker()),
            None => {
                self.place = Some(progress.waiters.len());
                progress.waiters.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // The client may be gone long before the flight lands.
        if let Some(place) = self.place
            && let Some(waker) = lock(&self.flight.progress).waiters.get_mut(place)
        {
            waker.clone_from(Waker::noop());
        }
    }
}

/// The one who asks for all. Dropping it lets the others ask for themselves.
pub(super) struct Leader {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    landed: bool,
}

impl Leader {
    /// What it asks.
    pub(super) fn asked(&self) -> Asked<'_> {
        self.flight.asked.borrow()
    }

    /// Waits with the others.
    pub(super) fn waiter(&self) -> Waiter {
        Waiter::new(&self.flight)
    }

    /// Shares the answer, if anybody waits for it.
    pub(super) fn share(mut self, query: &Query, answer: &Answer) {
        self.landed = true;
        self.flights.end(&self.flight);
        // Nobody finds the flight any more: whoever holds it besides us waits for it.
        if Arc::strong_count(&self.flight) > 1 {
            let faulted = query.edns.clone().filter(|_| faults_request(answer));
            let limit = query.response_limit();
            self.flight.end(Some(Arc::new(Shared { answer: answer.clone(), limit, faulted })));
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.landed {
            self.flights.end(&self.flight);
            self.flight.end(None);
        }
    }
}

impl Flight {
    fn end(&self, landing: Landing) {
        let mut progress = lock(&self.progress);
        progress.over = true;
        progress.landing = landing;
        let waiters = std::mem::take(&mut progress.waiters);
        drop(progress);
        for waiter in waiters {
            waiter.wake();
        }
    }
}

impl Flights {
    /// The flight for a question, if there is one.
    pub(super) fn find(&self, asked: Asked<'_>) -> Option<Waiter> {
        let part = self.part(asked.hash());
        // Who misses a flight that begins just now finds it when trying to lead one.
        if part.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let flights = lock(&part.flights);
        let flight = flights.get(&asked.hash()).filter(|flight| flight.asked.is(asked))?;
        Some(Waiter::new(flight))
    }

    /// Leads a new flight, or joins one that somebody else began in the meantime. `Err(None)`: there are too many.
    pub(super) fn lead(self: &Arc<Self>, asked: Asked<'_>) -> Result<Leader, Option<Waiter>> {
        let part = self.part(asked.hash());
        let mut flights = lock(&part.flights);
        if let Some(flight) = flights.get(&asked.hash()) {
            return Err(flight.asked.is(asked).then(|| Waiter::new(flight)));
        }
        if flights.len() >= MOST_FLIGHTS {
            return Err(None);
        }
        let flight = Arc::new(Flight { asked: asked.to_owned(), progress: Mutex::default() });
        flights.insert(asked.hash(), Arc::clone(&flight));
        part.count.store(flights.len(), Ordering::Release);
        drop(flights);
        Ok(Leader { flights: Arc::clone(self), flight, landed: false })
    }

    fn end(&self, flight: &Flight) {
        let hash = flight.asked.hash();
        let part = self.part(hash);
        let mut flights = lock(&part.flights);
        let gone = flights.remove(&hash);
        part.count.store(flights.len(), Ordering::Release);
        // Not freed under the lock.
        drop(flights);
        drop(gone);
    }

    fn part(&self, hash: u64) -> &Part {
        // The map itself uses both ends of the hash.
        &self.parts[(hash >> 32) as usize % PARTS]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
