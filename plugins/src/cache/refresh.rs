//! Getting a fresh reply for an entry that is about to be over, or already is (RFC 8767).

use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::{Rcode, flags};
use periplus_core::plugin::{Next, Outcome, OwnedNext};
use periplus_core::query::{Query, Transport};
use periplus_core::reply::{Answer, ExtendedError, Reply, ReplyKind};

use super::classify::judge;
use super::item::Item;
use super::keep::{Origin, hide_ad, normalise};
use super::settings::StaleMode;
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
                // Without a recheck time CoreDNS lets every query verify for itself.
                let ticket = Ticket::begin(self, &item, query, stale.recheck);
                if ticket.is_none() && !stale.recheck.is_zero() {
                    return self.stale_reply(&item, query, server).into();
                }
                if timeout.is_zero() {
                    self.verify(item, ticket, query, next, server)
                } else {
                    self.verify_within(timeout, item, ticket, query, next, server)
                }
            }
        }
    }

    /// Asks inward first; the stale reply is for when that brings nothing better.
    fn verify(
        self: &Arc<Self>,
        item: Arc<Item>,
        ticket: Option<Ticket>,
        query: &Query,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        next.authenticated().run(query).and_then(self, query, move |shared, query, mut answer| {
            match shared.accept(query, &mut answer, server, Accept::Refreshed) {
                Accepted::No => shared.stale_reply(&item, query, server).into(),
                Accepted::Kept(_) | Accepted::Passed => {
                    if let Some(ticket) = ticket {
                        ticket.refreshed();
                    }
                    hide_ad(query, &mut answer);
                    answer.into()
                }
            }
        })
    }

    /// The same, but the client waits no longer than `timeout`; the exchange goes on without it.
    fn verify_within(
        self: &Arc<Self>,
        timeout: Duration,
        item: Arc<Item>,
        ticket: Option<Ticket>,
        query: &Query,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        let (shared, query, next) = (Arc::clone(self), query.clone(), next.to_owned());
        Outcome::later(async move {
            let exchange = tokio::spawn({
                let (shared, query) = (Arc::clone(&shared), query.clone());
                async move {
                    let (accepted, answer) = shared.ask_again(&query, &next, server).await;
                    if !matches!(accepted, Accepted::No)
                        && let Some(ticket) = ticket
                    {
                        ticket.refreshed();
                    }
                    (accepted, answer)
                }
            });
            match tokio::time::timeout(timeout, exchange).await {
                Ok(Ok((Accepted::Kept(item), _))) => item.reply(&query, item.ttl).into(),
                Ok(Ok((Accepted::Passed, mut answer))) => {
                    hide_ad(&query, &mut answer);
                    answer
                }
                _ => shared.stale_reply(&item, &query, server).into(),
            }
        })
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
            Accepted::No => {}
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

/// The right to refresh an item. Dropping it ends the refresh as a failed one, whatever became of the task.
struct Ticket {
    shared: Arc<Shared>,
    item: Arc<Item>,
    recheck: Duration,
    refreshed: bool,
}

impl Ticket {
    fn begin(
        shared: &Arc<Shared>,
        item: &Arc<Item>,
        query: &Query,
        recheck: Duration,
    ) -> Option<Ticket> {
        item.begin_refresh(query.received, recheck).then(|| Ticket {
            shared: Arc::clone(shared),
            item: Arc::clone(item),
            recheck,
            refreshed: false,
        })
    }

    fn refreshed(mut self) {
        self.refreshed = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.item.end_refresh((self.shared.clock)(), self.recheck, self.refreshed);
    }
}

/// The client's question as the cache asks it: over TCP, so that nothing is cut, from nobody, AD set (CoreDNS `plugin/cache`).
fn background_query(query: &Query) -> Query {
    let nobody = Query::empty();
    let mut query = query.clone();
    query.flags |= flags::AD;
    query.transport = Transport::Tcp;
    query.peer = nobody.peer;
    query.received = nobody.received;
    query
}
