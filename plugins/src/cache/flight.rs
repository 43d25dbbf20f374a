//! One upstream exchange for all who ask the same thing at the same time.
//!
//! ```text
//!  first miss  -> asks inward, must wait -> leads the flight: stores, shares, answers
//!  later misses of the same question     -> join it, if asked in the same shape: wait for what the leader shares
//!                                           else lead another one, or if there are enough, ask in the usual shape
//! ```
//!
//! The leader's exchange is driven by the leader's own client, so that a miss spawns no task. When that client goes away, the
//! leader is dropped, and of those who waited one leads the others. A failure is shared like an answer: 10,000
//! questions to a dead upstream are one question to it.
//!
//! Only questions that come straight from a client join. One that a plugin asks while it answers another (depth above 0) might
//! wait for its own outcome; leading is safe for it, because nobody whom the leader waits for waits for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use periplus_core::edns::Edns;
use periplus_core::query::Query;
use periplus_core::reply::Answer;
use smallvec::SmallVec;

use super::question::Precomputed;
use super::shape::{Asked, OwnedAsked, Shape, faults_request};

/// Flights of one question beside those in the usual shape, one over UDP and one over TCP.
const MOST_ODD: usize = 2;
/// Parts with a lock each. A lock is held for one look-up, so that workers seldom meet.
const PARTS: usize = 16;
/// A part that had room for more flights gives it back when there is none.
const MOST_ROOM: usize = 16;

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

/// By the question's hash, which is keyed: two questions with the same one do not occur, and would only share their places. There are no
/// more than queries that may wait.
type PartFlights = HashMap<u64, SmallVec<[Arc<Flight>; 1]>, Precomputed>;

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
    /// Whether a flight may begin, see [`Busy`].
    pub(super) fn check(&self, asked: Asked<'_>) -> Result<(), Busy> {
        let hash = asked.question.hash();
        let part = self.part(hash);
        // Who misses a flight that begins just now finds it when trying to lead one.
        if part.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        lock(&part.flights).get(&hash).map_or(Ok(()), |flights| check(flights, asked))
    }

    /// Leads a new flight, unless somebody else began one in the meantime.
    pub(super) fn lead(self: &Arc<Self>, asked: Asked<'_>) -> Result<Leader, Busy> {
        let hash = asked.question.hash();
        let part = self.part(hash);
        let mut all = lock(&part.flights);
        let flights = all.entry(hash).or_default();
        check(flights, asked)?;
        let flight = Arc::new(Flight { asked: asked.to_owned(), progress: Mutex::default() });
        flights.push(Arc::clone(&flight));
        part.count.store(all.len(), Ordering::Release);
        drop(all);
        Ok(Leader { flights: Arc::clone(self), flight, landed: false })
    }

    fn end(&self, flight: &Arc<Flight>) {
        let hash = flight.asked.borrow().question.hash();
        let part = self.part(hash);
        let mut all = lock(&part.flights);
        let Entry::Occupied(mut flights) = all.entry(hash) else { return };
        flights.get_mut().retain(|other| !Arc::ptr_eq(other, flight));
        if flights.get().is_empty() {
            flights.remove();
        }
        if all.is_empty() && all.capacity() > MOST_ROOM {
            all.shrink_to_fit();
        }
        part.count.store(all.len(), Ordering::Release);
    }

    fn part(&self, hash: u64) -> &Part {
        // The map itself uses both ends of the hash.
        &self.parts[(hash >> 32) as usize % PARTS]
    }
}

/// Why no flight may begin.
pub(super) enum Busy {
    /// There is one for the question in this shape.
    Joining(Waiter),
    /// There are enough in other shapes.
    Crowded,
}

fn check(flights: &[Arc<Flight>], asked: Asked<'_>) -> Result<(), Busy> {
    if let Some(flight) = flights.iter().find(|flight| flight.asked.is(asked)) {
        return Err(Busy::Joining(Waiter::new(flight)));
    }
    let is_odd = |shape| matches!(shape, Shape::Odd(_));
    let odd = flights.iter().filter(|flight| is_odd(flight.asked.borrow().shape)).count();
    if is_odd(asked.shape) && odd >= MOST_ODD { Err(Busy::Crowded) } else { Ok(()) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
