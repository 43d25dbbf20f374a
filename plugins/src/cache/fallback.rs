//! Old answers for when the source fails, where nothing is said about `serve_stale` (RFC 8767).
//!
//! ```text
//!  miss, and there is an entry whose TTL is over
//!    failed a moment ago ----------------------------> the old answer, nobody is asked
//!    ask inward -- an answer ------------------------> that
//!               -- a failure ------------------------> the old answer; nobody asks for the recheck time, or nobody
//!                                                         who asks like this client, if that may be the reason
//!               -- nothing within the response timer -> the same, and another attempt in the background
//! ```
//!
//! While the source answers, an entry whose TTL is over is a miss like any other.

use std::sync::Arc;
use std::time::Instant;

use periplus_core::codes::{Rcode, flags};
use periplus_core::plugin::{Later, Next, Outcome, OwnedNext};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, FailureKind, Reply};

use super::item::{By, Item};
use super::question::Question;
use super::settings::Fallback;
use super::shape::{Shape, as_usual, faults_request};
use super::shared::Shared;
use super::side::Side;
use super::store::{View, Worth};

/// An entry to fall back on, and how.
#[derive(Clone)]
pub(super) struct Spare {
    item: Arc<Item>,
    how: Fallback,
}

impl Shared {
    /// What an item is still good for.
    pub(super) fn worth(&self, item: &Arc<Item>, now: Instant) -> Worth {
        let stale = self.settings.stale_window();
        let usable = |item: &Arc<Item>| item.is_usable(now, stale);
        if usable(item) || item.good().is_some_and(usable) {
            return Worth::Used;
        }
        match self.settings.fallback {
            Some(how) if item.may_fall_back(now, how.window) => {
                if self.failures.are_recent(now) {
                    Worth::Needed
                } else {
                    Worth::Spare
                }
            }
            _ => Worth::Over,
        }
    }

    /// The newest of the entries whose TTL is over, if it may be fallen back on.
    pub(super) fn spare(
        &self,
        view: &View<'_>,
        question: Question<'_>,
        now: Instant,
    ) -> Option<Spare> {
        let how = self.settings.fallback?;
        let found = Side::BOTH.into_iter().filter_map(|side| view.find(question, side));
        let spare = found.filter(|item| item.may_fall_back(now, how.window));
        let item = spare.max_by_key(|item| item.stored)?;
        Some(Spare { item: Arc::clone(item), how })
    }

    /// Gives the old answer in place of one that is a failure. Says whether it did.
    pub(super) fn fall_back(
        &self,
        spare: &Spare,
        query: &Query,
        shape: Shape,
        answer: &mut Answer,
        now: Instant,
        server: usize,
    ) -> bool {
        let failed = is_failure(answer);
        if failed {
            self.failures.note(now);
            spare.rest(now, concerned(shape, answer));
            let mut reply = self.spare_reply(spare, query, server);
            // The operator is to hear of it although the client has an answer.
            reply.cause = match answer {
                Answer::Failure(failure) => failure.cause.take(),
                Answer::Reply(failed) => failed.cause.take(),
                Answer::Silence => None,
            };
            *answer = reply.into();
        }
        failed
    }

    /// The old answer as a reply.
    pub(super) fn spare_reply(&self, spare: &Spare, query: &Query, server: usize) -> Reply {
        self.marked_stale(&spare.item, query, spare.how.ttl, server)
    }

    /// Lets the client wait no longer than the response timer, for the source or for others who ask it.
    pub(super) fn within_timer(
        self: &Arc<Self>,
        spare: Spare,
        mut later: Later,
        query: &Query,
        shape: Shape,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        let (shared, query, next) = (Arc::clone(self), query.clone(), next.to_owned());
        let by = concerned(shape, &Answer::Silence);
        Outcome::later(async move {
            match tokio::time::timeout(spare.how.response_timer, &mut later).await {
                Ok(answer) => answer,
                Err(_) => {
                    let now = (shared.clock)();
                    shared.failures.note(now);
                    // First, because those who wait for this exchange ask again when it is given up, and shall find this.
                    spare.rest(now, by);
                    drop(later);
                    shared.try_on(&spare, &query, next, server);
                    shared.spare_reply(&spare, &query, server).into()
                }
            }
        })
    }

    /// Asks once more, for the next client, unless somebody does so already. The first exchange cannot go on without its client: it belongs
    /// to the thread that received the query.
    pub(super) fn try_on(
        self: &Arc<Self>,
        spare: &Spare,
        query: &Query,
        next: OwnedNext,
        server: usize,
    ) {
        let mut query = as_usual(query);
        // It has as much time as any other.
        query.received = (self.clock)();
        let Ok(permit) = Arc::clone(&self.attempts).try_acquire_owned() else { return };
        let Ok(leader) = self.flights.lead(self.store.asked(&query)) else { return };
        self.metrics.at(server).prefetches.add(1);
        let (shared, spare) = (Arc::clone(self), spare.clone());
        tokio::spawn(async move {
            let (accepted, answer) = shared.ask_again(&query, &next, server).await;
            if accepted.is_good() {
                leader.share(&query, &answer);
            } else {
                // Whoever waits has the old answer, and finds it.
                if is_failure(&answer) {
                    spare.rest((shared.clock)(), concerned(leader.asked().shape, &answer));
                }
                drop(leader);
            }
            drop(permit);
        });
    }
}

impl Spare {
    /// Whether the source failed so lately that it is not asked again.
    pub(super) fn is_resting(&self, now: Instant, shape: Shape) -> bool {
        self.item.is_resting(now, shape)
    }

    fn rest(&self, now: Instant, by: By) {
        self.item.rest(now, self.how.recheck, by);
    }
}

/// Whom a failure concerns: everybody, unless it may be due to how this client asked.
pub(super) fn concerned(shape: Shape, answer: &Answer) -> By {
    match shape {
        Shape::Usual if faults_request(answer) => By::Nobody,
        Shape::Usual => By::Everybody,
        shape => By::Shape(shape),
    }
}

/// Whether the source failed: it gave no answer, or one that says nothing about the name. Only NOERROR and NXDOMAIN do (RFC 8767
/// section 4).
fn is_failure(answer: &Answer) -> bool {
    match answer {
        Answer::Failure(failure) => failure.kind != FailureKind::Other,
        Answer::Reply(reply) => {
            let says_something = matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
            !says_something && !reply.live && !reply.has(flags::TC)
        }
        Answer::Silence => false,
    }
}
