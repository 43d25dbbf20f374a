//! Getting a fresh reply for an entry that is about to be over, or already is (RFC 8767).

use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::{Rcode, flags};
use periplus_core::plugin::{Next, Outcome, OwnedNext};
use periplus_core::query::{Query, Transport};
use periplus_core::reply::{Answer, ExtendedError, Reply, ReplyKind};
use tokio::sync::OwnedSemaphorePermit;

use super::classify::judge;
use super::fallback::concerned;
use super::flight::{Busy, Leader, Waiter};
use super::handler::{fit, may_join};
use super::item::{By, Item};
use super::keep::{Origin, hide_ad, normalise};
use super::settings::StaleMode;
use super::shape::{Asked, Shape, as_usual};
use super::shared::Shared;

impl Shared {
    /// Counts a hit on a fresh item, and refreshes it in the background if it is asked for often and nearly over.
    pub(super) fn prefetch_if_popular(
        self: &Arc<Self>,
        item: &Arc<Item>,
        query: &Query,
        next: Next<'_>,
        server: usize,
    ) {
        let Some(prefetch) = self.settings.prefetch else { return };
        let now = query.received;
        let hits = item.popularity.hit(prefetch.window, item.since_stored(now));
        let threshold = (u64::from(item.ttl) * u64::from(prefetch.percentage)).div_ceil(100);
        if hits >= prefetch.amount
            && item.remaining(now) <= i64::try_from(threshold).unwrap_or(i64::MAX)
            && let Some(ticket) = Ticket::begin(self, item, query, Duration::ZERO)
        {
            self.refresh_in_background(ticket, query, next, server, Accept::Everything);
        }
    }

    /// Answers from an item whose TTL is over.
    pub(super) fn answer_stale(
        self: &Arc<Self>,
        item: Arc<Item>,
        query: &Query,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        let Some(stale) = self.settings.stale else {
            return self.stale_reply(&item, query, server).into();
        };
        match stale.mode {
            StaleMode::Immediate => {
                if let Some(ticket) = Ticket::begin(self, &item, query, stale.recheck) {
                    self.refresh_in_background(ticket, query, next, server, Accept::Refreshed);
                }
                self.stale_reply(&item, query, server).into()
            }
            StaleMode::Verify(timeout) => {
                let asked = self.store.asked(query);
                // Without a recheck time CoreDNS lets every query verify for itself; here they wait for one.
                let leaves_alone = !stale.recheck.is_zero()
                    && (item.is_resting(query.received, asked.shape)
                        || self.flights.check(asked).is_err());
                if leaves_alone {
                    self.stale_reply(&item, query, server).into()
                } else if timeout.is_zero() {
                    self.verify(item, query, asked, next, server)
                } else {
                    self.verify_within(timeout, item, query, asked, next, server)
                }
            }
        }
    }

    /// Asks inward first, or waits with others for what they asked; the stale reply is for when that brings nothing better.
    fn verify(
        self: &Arc<Self>,
        item: Arc<Item>,
        query: &Query,
        asked: Asked<'_>,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        match self.lead_verify(&item, query, asked, next, server) {
            Ok(outcome) => outcome,
            Err(_) if !next.may_wait() => self.stale_reply(&item, query, server).into(),
            Err(waiter) => self.join_verify(waiter, item, query, next, server),
        }
    }

    /// Asks inward, unless another query asks the same already.
    fn lead_verify(
        self: &Arc<Self>,
        item: &Arc<Item>,
        query: &Query,
        asked: Asked<'_>,
        next: Next<'_>,
        server: usize,
    ) -> Result<Outcome, Waiter> {
        let may_join = may_join(query);
        let crowded = || Ok(self.stale_reply(item, query, server).into());
        if may_join {
            match self.flights.check(asked) {
                Ok(()) => {}
                Err(Busy::Joining(waiter)) => return Err(waiter),
                Err(Busy::Crowded) => return crowded(),
            }
        }
        match next.authenticated().run(query) {
            Outcome::Now(mut answer) => {
                self.verified(item, query, asked.shape, &mut answer, None, server);
                Ok(answer.into())
            }
            Outcome::Later(mut later) => {
                let leader = match self.flights.lead(asked) {
                    Ok(leader) => Some(leader),
                    Err(_) if !may_join => None,
                    Err(Busy::Joining(waiter)) => return Err(waiter),
                    Err(Busy::Crowded) => return crowded(),
                };
                let (shared, item, shape) = (Arc::clone(self), Arc::clone(item), asked.shape);
                later.then(query, move |query, answer| {
                    shared.verified(&item, query, shape, answer, leader, server);
                });
                Ok(Outcome::Later(later))
            }
            Outcome::Shed => {
                let recheck = self.settings.stale.map_or(Duration::ZERO, |stale| stale.recheck);
                if let Some(ticket) = Ticket::begin(self, item, query, recheck) {
                    self.refresh_in_background(ticket, query, next, server, Accept::Refreshed);
                }
                Ok(self.stale_reply(item, query, server).into())
            }
        }
    }

    /// Keeps and shares what was brought by asking inward, or puts the stale reply in its place.
    fn verified(
        &self,
        item: &Item,
        query: &Query,
        shape: Shape,
        answer: &mut Answer,
        leader: Option<Leader>,
        server: usize,
    ) {
        let accepted = self.accept(query, answer, server, Accept::Refreshed);
        self.rest_unless(&accepted, item, shape, answer);
        if let Some(leader) = leader {
            leader.share(query, answer);
        }
        match accepted {
            Accepted::No => *answer = self.stale_reply(item, query, server).into(),
            Accepted::Kept(_) | Accepted::Passed => hide_ad(query, answer),
        }
    }

    /// Leaves the source alone after a failure.
    fn rest_unless(&self, accepted: &Accepted, item: &Item, shape: Shape, answer: &Answer) {
        if let (Accepted::No, Some(stale)) = (accepted, self.settings.stale) {
            item.rest((self.clock)(), stale.recheck, concerned(shape, answer));
        }
    }

    /// Waits for the answer that another query is getting, and asks if that one goes away without.
    fn join_verify(
        self: &Arc<Self>,
        mut waiter: Waiter,
        item: Arc<Item>,
        query: &Query,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        let (shared, query, next) = (Arc::clone(self), query.clone(), next.to_owned());
        let time_left = self.time_left(&query);
        Outcome::later(async move {
            let joined = async {
                loop {
                    if let Some(answer) = fit(waiter.landing().await, &query) {
                        return shared.unless_worse(answer, &item, &query, server);
                    }
                    let asked = shared.store.asked(&query);
                    if let Ok(reply) = shared.look_again(&query, asked, server) {
                        return reply.into();
                    }
                    match shared.lead_verify(&item, &query, asked, next.borrow(), server) {
                        Ok(outcome) => return outcome.wait().await,
                        Err(other) => waiter = other,
                    }
                }
            };
            match tokio::time::timeout(time_left, joined).await {
                Ok(answer) => answer,
                Err(_) => shared.stale_reply(&item, &query, server).into(),
            }
        })
    }

    /// The same as `verify`, but the client waits no longer than `timeout`; the exchange goes on without it.
    fn verify_within(
        self: &Arc<Self>,
        timeout: Duration,
        item: Arc<Item>,
        query: &Query,
        asked: Asked<'_>,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        let Some(waiter) = self.exchange(&item, query, asked, next, server) else {
            return self.stale_reply(&item, query, server).into();
        };
        if !next.may_wait() {
            return self.stale_reply(&item, query, server).into();
        }
        let timeout = timeout.min(self.time_left(query));
        let (shared, query) = (Arc::clone(self), query.clone());
        Outcome::later(async move {
            let Ok(landing) = tokio::time::timeout(timeout, waiter.landing()).await else {
                return shared.stale_reply(&item, &query, server).into();
            };
            match shared.look_again(&query, shared.store.asked(&query), server) {
                Ok(reply) => reply.into(),
                Err(_) => match fit(landing, &query) {
                    Some(answer) => shared.unless_worse(answer, &item, &query, server),
                    None => shared.stale_reply(&item, &query, server).into(),
                },
            }
        })
    }

    /// Joins the exchange under way, or begins one that needs no client. `None`: too many are under way.
    fn exchange(
        self: &Arc<Self>,
        item: &Arc<Item>,
        query: &Query,
        asked: Asked<'_>,
        next: Next<'_>,
        server: usize,
    ) -> Option<Waiter> {
        let leader = match self.flights.lead(asked) {
            Ok(leader) => leader,
            Err(Busy::Joining(waiter)) => return Some(waiter),
            Err(Busy::Crowded) => return None,
        };
        let permit = Arc::clone(&self.attempts).try_acquire_owned().ok()?;
        let waiter = leader.waiter();
        let (shared, item, query) = (Arc::clone(self), Arc::clone(item), query.clone());
        let (next, shape) = (next.to_owned(), asked.shape);
        tokio::spawn(async move {
            let (accepted, answer) = shared.ask_again(&query, &next, server).await;
            shared.rest_unless(&accepted, &item, shape, &answer);
            leader.share(&query, &answer);
            drop(permit);
        });
        Some(waiter)
    }

    /// The answer to another client's attempt, or the stale reply if that is better.
    fn unless_worse(&self, answer: Answer, item: &Item, query: &Query, server: usize) -> Answer {
        let is_better = answer.reply().is_some_and(|reply| {
            judge(&self.settings, query, reply).refreshes(&self.settings, reply)
        });
        if is_better { answer } else { self.stale_reply(item, query, server).into() }
    }

    /// Asks inward in a client's place, and keeps what may take the place of a stale entry.
    pub(super) async fn ask_again(
        &self,
        query: &Query,
        next: &OwnedNext,
        server: usize,
    ) -> (Accepted, Answer) {
        let mut answer = next.borrow().authenticated().run(query).wait().await;
        let accepted = self.accept(query, &mut answer, server, Accept::Refreshed);
        (accepted, answer)
    }

    fn refresh_in_background(
        self: &Arc<Self>,
        ticket: Ticket,
        query: &Query,
        next: Next<'_>,
        server: usize,
        accept: Accept,
    ) {
        self.metrics.at(server).prefetches.add(1);
        let query = background_query(query);
        tokio::spawn(Arc::clone(self).refresh(ticket, query, next.to_owned(), server, accept));
    }

    async fn refresh(
        self: Arc<Self>,
        ticket: Ticket,
        query: Query,
        next: OwnedNext,
        server: usize,
        accept: Accept,
    ) {
        let mut answer = next.run(&query).wait().await;
        match self.accept(&query, &mut answer, server, accept) {
            Accepted::No => ticket.failed(&answer),
            Accepted::Passed => ticket.refreshed(),
            Accepted::Kept(fresh) => {
                let now = fresh.since_stored((self.clock)());
                fresh.popularity.take_over(&ticket.item.popularity, now);
                ticket.refreshed();
            }
        }
    }

    /// Keeps the answer to a refresh, if it is good enough.
    fn accept(
        &self,
        query: &Query,
        answer: &mut Answer,
        server: usize,
        accept: Accept,
    ) -> Accepted {
        let Answer::Reply(reply) = answer else { return Accepted::No };
        let verdict = judge(&self.settings, query, reply);
        // A server error must not stand before the answer that it would be kept beside, once that is over.
        if self.settings.fallback.is_some() && verdict.kind == ReplyKind::ServerError {
            return Accepted::No;
        }
        let refreshes = accept == Accept::Everything || verdict.refreshes(&self.settings, reply);
        let keeps = refreshes || self.settings.prefer_positive && !reply.has(flags::TC);
        if !keeps {
            return Accepted::No;
        }
        normalise(reply, verdict.ttl);
        let question = self.store.question(query);
        let kept = self.keep(question, reply, &verdict, (self.clock)(), server, Origin::Refresh);
        match kept {
            _ if !refreshes => Accepted::No,
            Some(item) => Accepted::Kept(item),
            None => Accepted::Passed,
        }
    }

    /// The reply from an item whose TTL is over, marked as such for clients that can read it (RFC 8914 sections 4.4 and 4.20).
    fn stale_reply(&self, item: &Item, query: &Query, server: usize) -> Reply {
        let ttl = match self.settings.stale {
            Some(stale) if stale.ttl > 0 => stale.ttl,
            _ if self.settings.keep_ttl => item.ttl,
            _ => 0,
        };
        self.marked_stale(item, query, ttl, server)
    }

    /// The same with this TTL.
    pub(super) fn marked_stale(
        &self,
        item: &Item,
        query: &Query,
        ttl: u32,
        server: usize,
    ) -> Reply {
        self.metrics.at(server).served_stale.add(1);
        let mut reply = item.reply(query, ttl);
        let code = match item.rcode {
            Rcode::NXDOMAIN => ExtendedError::STALE_NXDOMAIN_ANSWER,
            _ => ExtendedError::STALE_ANSWER,
        };
        reply.set_extended_error(query, ExtendedError { code, text: String::new() });
        reply
    }
}

/// Which answers to a refresh are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    /// What would be kept for a client too: the entry is not over yet.
    Everything,
    /// What may take the place of a stale entry.
    Refreshed,
}

/// What became of the answer to a refresh.
pub(super) enum Accepted {
    /// It is no better than the stale entry.
    No,
    /// It is good but not kept.
    Passed,
    /// It is good and kept.
    Kept(Arc<Item>),
}

impl Accepted {
    /// Whether it may take the place of the stale entry.
    pub(super) fn is_good(&self) -> bool {
        !matches!(self, Accepted::No)
    }
}

/// The right to refresh an item in the background. Dropping it ends the refresh as a failed one, whatever became of the task.
struct Ticket {
    shared: Arc<Shared>,
    item: Arc<Item>,
    recheck: Duration,
    /// Who leaves the source alone afterwards.
    rests: Option<By>,
    _permit: OwnedSemaphorePermit,
}

impl Ticket {
    fn begin(
        shared: &Arc<Shared>,
        item: &Arc<Item>,
        query: &Query,
        recheck: Duration,
    ) -> Option<Ticket> {
        if !item.begin_refresh(query.received) {
            return None;
        }
        let Ok(permit) = Arc::clone(&shared.attempts).try_acquire_owned() else {
            item.end_refresh();
            return None;
        };
        let (shared, item) = (Arc::clone(shared), Arc::clone(item));
        Some(Ticket { shared, item, recheck, rests: Some(By::Everybody), _permit: permit })
    }

    fn refreshed(mut self) {
        self.rests = None;
    }

    fn failed(mut self, answer: &Answer) {
        self.rests = Some(concerned(Shape::Usual, answer));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(by) = self.rests {
            self.item.rest((self.shared.clock)(), self.recheck, by);
        }
        self.item.end_refresh();
    }
}

/// The question as the cache asks it for all: over TCP, so that nothing is cut, from nobody, AD set (CoreDNS `plugin/cache`). It has as much
/// time as any other.
fn background_query(query: &Query) -> Query {
    let mut query = as_usual(query);
    query.flags |= flags::AD;
    query.transport = Transport::Tcp;
    let nobody = Query::empty();
    query.peer = nobody.peer;
    query.received = nobody.received;
    query
}
