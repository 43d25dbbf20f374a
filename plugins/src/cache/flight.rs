//! One upstream exchange for all who ask the same thing at the same time.
//!
//! ```text
//!  first miss  -> asks inward, must wait -> leads the flight: stores, shares, answers
//!  later misses of the same question     -> join it: wait for what the leader shares
//! ```
//!
//! The leader's exchange is driven by the leader's own client, so that a miss spawns no task. When that client goes away, the
//! leader's end of the channel is dropped, and whoever waited asks inward itself. A failure is shared like an answer: 10,000
//! questions to a dead upstream are one question to it.
//!
//! Only questions that come straight from a client join. One that a plugin asks while it answers another (depth above 0) might
//! wait for its own outcome; leading is safe for it, because nobody whom the leader waits for waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use periplus_core::query::Query;
use periplus_core::reply::Answer;
use tokio::sync::watch;

use super::store::{OwnedQuestion, Precomputed, Question};

/// More flights than this at once are not kept track of: each further miss asks for itself.
const MOST_FLIGHTS: usize = 16 * 1024;

/// The exchanges under way.
#[derive(Default)]
pub(super) struct Flights {
    map: papaya::HashMap<OwnedQuestion, Waiter, Precomputed>,
    /// How many there are. Without any, a miss does not look further.
    count: AtomicUsize,
}

/// The leader's answer, before the client's own flags were applied; `None` until it is there.
pub(super) type Landing = Option<Arc<Shared>>;

/// What a leader shares.
pub(super) struct Shared {
    pub(super) answer: Answer,
    /// The largest response that the leader's client could take.
    pub(super) limit: usize,
}

/// Waits for a flight.
#[derive(Clone)]
pub(super) struct Waiter(watch::Receiver<Landing>);

impl Waiter {
    /// The leader's answer; `None` when the leader went away without one.
    pub(super) async fn landing(mut self) -> Landing {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// The one who asks for all. Dropping it lets the others ask for themselves.
pub(super) struct Leader {
    flights: Arc<Flights>,
    question: OwnedQuestion,
    sender: watch::Sender<Landing>,
    landed: bool,
}

impl Leader {
    /// Shares the answer, if anybody waits for it.
    pub(super) fn share(mut self, query: &Query, answer: &Answer) {
        self.flights.end(&self.question);
        self.landed = true;
        // Whoever joins after the count was read sees the sender go and asks for itself.
        if self.sender.receiver_count() > 0 {
            let shared = Shared { answer: answer.clone(), limit: query.response_limit() };
            let _ = self.sender.send(Some(Arc::new(shared)));
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // After landing, the question may already have another flight.
        if !self.landed {
            self.flights.end(&self.question);
        }
    }
}

impl Flights {
    /// The flight for a question, if there is one.
    pub(super) fn find(&self, question: Question<'_>) -> Option<Waiter> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        self.map.pin().get(&question).cloned()
    }

    /// Leads a new flight, or joins one that somebody else began in the meantime. `Err(None)`: there are too many.
    pub(super) fn lead(self: &Arc<Self>, question: Question<'_>) -> Result<Leader, Option<Waiter>> {
        if self.count.load(Relaxed) >= MOST_FLIGHTS {
            return Err(None);
        }
        let (sender, receiver) = watch::channel(None);
        let question = question.to_owned();
        let map = self.map.pin();
        match map.try_insert(question.clone(), Waiter(receiver)) {
            Ok(_) => {
                self.count.fetch_add(1, Relaxed);
                Ok(Leader { flights: Arc::clone(self), question, sender, landed: false })
            }
            Err(occupied) => Err(Some(occupied.current.clone())),
        }
    }

    fn end(&self, question: &OwnedQuestion) {
        if self.map.pin().remove(question).is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
    }
}
