//! A query's way through the cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus_core::codes::{RecordType, flags, opcode};
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, ExtendedError, Failure, FailureKind, Reply};
use periplus_core::setup::Setup;

use super::fallback::Spare;
use super::flight::{Busy, Landing, Waiter};
use super::item::Item;
use super::keep::hide_ad;
use super::question::Question;
use super::settings::Settings;
use super::shape::{Asked, as_usual};
use super::shared::{Clock, Shared};
use super::side::Side;
use super::store::View;
use super::sweep::sweep;

/// The plugin.
pub(super) struct Cache(Arc<Shared>);

/// How long a query that waits for others has from when it was received, with all that it asks itself when they go away: stub resolvers
/// give up after five seconds. `forward` ends before that, so that what it says of a failure is heard.
const PATIENCE: Duration = Duration::from_millis(4750);

impl Cache {
    pub(super) fn new(settings: Settings, setup: &mut Setup<'_>) -> Cache {
        Cache::with_clock(settings, setup, Box::new(Instant::now))
    }

    pub(super) fn with_clock(settings: Settings, setup: &mut Setup<'_>, clock: Clock) -> Cache {
        let shared = Arc::new(Shared::new(settings, setup, clock));
        let swept = Arc::clone(&shared);
        setup.instance.spawn("cache", move |stop| sweep(swept, stop));
        Cache(shared)
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Plugin for Cache {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        let shared = &self.0;
        if !shared.settings.zones.contains(query.name()) {
            return next.run(query);
        }
        let server = shared.metrics.index(next.server());
        let metrics = shared.metrics.at(server);
        metrics.requests.add(1);
        if shared.keeps_nothing_for(query) {
            metrics.misses.add(1);
            let mut outcome = next.run(query);
            outcome.then(shared, query, |shared, query, answer| shared.pass(query, answer));
            return outcome;
        }
        let now = query.received;
        let question = shared.store.question(query);
        let mut spare = None;
        let stale = {
            let view = shared.store.view();
            match shared.find(&view, question, now) {
                Found::Nothing => None,
                Found::Over => {
                    spare = shared.spare(&view, question, now);
                    None
                }
                Found::Usable(item, side) => {
                    metrics.side(side).hits.add(1);
                    let remaining = u32::try_from(item.remaining(now)).unwrap_or(0);
                    if remaining > 0 {
                        shared.prefetch_if_popular(item, query, next, server);
                        return item.reply(query, shared.ttl_to_send(item, remaining)).into();
                    }
                    Some(Arc::clone(item))
                }
            }
        };
        match stale {
            Some(item) => shared.answer_stale(item, query, next, server),
            None => {
                let asked = Asked { question, shape: shared.store.shape(query) };
                if let Some(failure) = shared.failures.find(asked, now) {
                    metrics.side(Side::Denial).hits.add(1);
                    return failure.into();
                }
                metrics.misses.add(1);
                match spare {
                    Some(spare) if spare.is_resting(now, asked.shape) => {
                        shared.spare_reply(&spare, query, server).into()
                    }
                    spare => shared.miss(query, asked, spare, next, server),
                }
            }
        }
    }
}

impl Shared {
    /// Whether looking up is idle: both sides are disabled for the name, or replies of this kind are never kept.
    fn keeps_nothing_for(&self, query: &Query) -> bool {
        query.opcode() != opcode::QUERY
            || matches!(query.qtype, RecordType::AXFR | RecordType::IXFR)
            || self.settings.never_keeps(query.name())
    }

    /// The item to answer from, in CoreDNS's order: a denial before a success, except that a kept server error does
    /// not hide a good answer; with `prefer_positive` an answer before everything.
    fn find<'a>(&self, view: &'a View<'_>, question: Question<'_>, now: Instant) -> Found<'a> {
        let stale = self.settings.stale_window();
        let usable = |item: &Arc<Item>| item.is_usable(now, stale);
        if self.settings.prefer_positive && stale.is_some_and(|window| !window.is_zero()) {
            let good = view.find(question, Side::Success).and_then(Item::good);
            if let Some(item) = good.filter(|item| usable(item)) {
                return Found::Usable(item, Side::Success);
            }
        }
        let denial = view.find(question, Side::Denial);
        let usable_denial = denial.filter(|item| usable(item));
        if let Some(item) = usable_denial.filter(|item| !item.is_servfail()) {
            return Found::Usable(item, Side::Denial);
        }
        let success = view.find(question, Side::Success);
        match (success.filter(|item| usable(item)), usable_denial) {
            (Some(item), _) => Found::Usable(item, Side::Success),
            (None, Some(item)) => Found::Usable(item, Side::Denial),
            (None, None) if success.is_some() || denial.is_some() => Found::Over,
            (None, None) => Found::Nothing,
        }
    }

    /// Asks inward, or waits with others for what they asked.
    fn miss(
        self: &Arc<Self>,
        query: &Query,
        asked: Asked<'_>,
        spare: Option<Spare>,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        let outcome = match self.lead(query, asked, spare.as_ref(), next, server) {
            Ok(outcome) => outcome,
            Err(_) if !next.may_wait() => Outcome::Shed,
            Err(waiter) => self.join(waiter, query, next, server),
        };
        let Some(spare) = spare else { return outcome };
        match outcome {
            Outcome::Now(_) => outcome,
            Outcome::Later(later) => {
                self.within_timer(spare, later, query, asked.shape, next, server)
            }
            Outcome::Shed => {
                self.try_on(&spare, query, next.to_owned(), server);
                self.spare_reply(&spare, query, server).into()
            }
        }
    }

    /// Asks inward, unless another query asks the same already.
    fn lead(
        self: &Arc<Self>,
        query: &Query,
        asked: Asked<'_>,
        spare: Option<&Spare>,
        next: Next<'_>,
        server: usize,
    ) -> Result<Outcome, Waiter> {
        let may_join = may_join(query);
        if may_join {
            match self.flights.check(asked) {
                Ok(()) => {}
                Err(Busy::Joining(waiter)) => return Err(waiter),
                Err(Busy::Crowded) => return self.lead_as_usual(query, spare, next, server),
            }
        }
        // An upstream shall say whether its data is authenticated, whoever asks here (RFC 6840 section 5.7).
        let mut outcome = next.authenticated().run(query);
        match &mut outcome {
            Outcome::Now(answer) => {
                self.settle(query, asked, spare, answer, query.received, server);
                hide_ad(query, answer);
            }
            Outcome::Later(later) => {
                let leader = match self.flights.lead(asked) {
                    Ok(leader) => Some(leader),
                    Err(_) if !may_join => None,
                    Err(Busy::Joining(waiter)) => return Err(waiter),
                    Err(Busy::Crowded) => return self.lead_as_usual(query, spare, next, server),
                };
                let (shared, spare) = (Arc::clone(self), spare.cloned());
                later.then(query, move |query, answer| {
                    let asked = match &leader {
                        Some(leader) => leader.asked(),
                        None => shared.store.asked(query),
                    };
                    let now = (shared.clock)();
                    let settled = shared.settle(query, asked, spare.as_ref(), answer, now, server);
                    // An old answer is marked for this client's EDNS; the others make their own from what they find now.
                    if let Some(leader) = leader.filter(|_| settled == Settled::New) {
                        leader.share(query, answer);
                    }
                    hide_ad(query, answer);
                });
            }
            Outcome::Shed => {}
        }
        Ok(outcome)
    }

    /// The same for a query whose question is under way in enough odd shapes: it is asked, or joined, as most clients ask it. What they are
    /// told is kept for all, so that this client would be told no other thing a moment later.
    fn lead_as_usual(
        self: &Arc<Self>,
        query: &Query,
        spare: Option<&Spare>,
        next: Next<'_>,
        server: usize,
    ) -> Result<Outcome, Waiter> {
        let (usual, now) = (as_usual(query), (self.clock)());
        let asked = self.store.asked(&usual);
        if let Some(failure) = self.failures.find(asked, now) {
            return Ok(failure.into());
        }
        let mut outcome = match spare {
            Some(spare) if spare.is_resting(now, asked.shape) => {
                self.spare_reply(spare, query, server).into()
            }
            spare => self.lead(&usual, asked, spare, next, server)?,
        };
        outcome.then(self, query, |_, query, answer| {
            if let Answer::Reply(reply) = answer {
                reply.set(flags::RD, query.has(flags::RD));
            }
        });
        Ok(outcome)
    }

    /// Waits for the answer that another query is getting, and asks if that one goes away without.
    fn join(
        self: &Arc<Self>,
        mut waiter: Waiter,
        query: &Query,
        next: Next<'_>,
        server: usize,
    ) -> Outcome {
        let (shared, query, next) = (Arc::clone(self), query.clone(), next.to_owned());
        let time_left = self.time_left(&query);
        let joined = async move {
            loop {
                if let Some(answer) = fit(waiter.landing().await, &query) {
                    return answer;
                }
                // Somebody else who waited may have asked and been answered already.
                let asked = shared.store.asked(&query);
                let spare = match shared.look_again(&query, asked, server) {
                    Ok(reply) => return reply.into(),
                    Err(spare) => spare,
                };
                match shared.lead(&query, asked, spare.as_ref(), next.borrow(), server) {
                    Ok(outcome) => return outcome.wait().await,
                    Err(other) => waiter = other,
                }
            }
        };
        Outcome::later(async move {
            tokio::time::timeout(time_left, joined).await.unwrap_or_else(|_| late().into())
        })
    }

    /// For how long a query may still wait.
    pub(super) fn time_left(&self, query: &Query) -> Duration {
        (query.received + PATIENCE).saturating_duration_since((self.clock)())
    }

    /// The reply from what is kept after something was waited for, or else what to fall back on.
    pub(super) fn look_again(
        &self,
        query: &Query,
        asked: Asked<'_>,
        server: usize,
    ) -> Result<Reply, Option<Spare>> {
        let now = (self.clock)();
        let view = self.store.view();
        match self.find(&view, asked.question, now) {
            Found::Usable(item, _) => match u32::try_from(item.remaining(now)) {
                Ok(remaining) if remaining > 0 => {
                    Ok(item.reply(query, self.ttl_to_send(item, remaining)))
                }
                _ => Err(None),
            },
            Found::Over => match self.spare(&view, asked.question, now) {
                Some(spare) if spare.is_resting(now, asked.shape) => {
                    Ok(self.spare_reply(&spare, query, server))
                }
                spare => Err(spare),
            },
            Found::Nothing => Err(None),
        }
    }

    /// Falls back on an old answer if the new one is a failure, and else absorbs it.
    fn settle(
        &self,
        query: &Query,
        asked: Asked<'_>,
        spare: Option<&Spare>,
        answer: &mut Answer,
        now: Instant,
        server: usize,
    ) -> Settled {
        if let Some(spare) = spare
            && self.fall_back(spare, query, asked.shape, answer, now, server)
        {
            return Settled::Old;
        }
        self.absorb(query, asked, answer, now, server);
        Settled::New
    }

    /// The TTL to send for a fresh item.
    fn ttl_to_send(&self, item: &Item, remaining: u32) -> u32 {
        if self.settings.keep_ttl { item.ttl } else { remaining }
    }
}

/// Whether a query may wait for others that ask the same.
pub(super) fn may_join(query: &Query) -> bool {
    // A HINFO question may be the probe of `loop`, which is found out by coming in again while its first copy still waits.
    query.depth == 0 && query.qtype != RecordType::HINFO
}

/// What is kept for a question.
enum Found<'a> {
    /// This can be used.
    Usable(&'a Arc<Item>, Side),
    /// What there is, is over.
    Over,
    Nothing,
}

/// What a client that missed is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// What came from inward.
    New,
    /// What was kept.
    Old,
}

/// What is told to who waited for others until there was no time left.
fn late() -> Failure {
    let extended = ExtendedError {
        code: ExtendedError::NO_REACHABLE_AUTHORITY,
        text: "no answer in time".into(),
    };
    Failure::servfail("cache", "no answer in time")
        .with_extended_error(extended)
        .of_kind(FailureKind::Resolution)
}

/// Another client's answer as this client's own. `None`: there is none, it was cut for a client that could take less, or it faults EDNS
/// that this client has not.
pub(super) fn fit(landing: Landing, query: &Query) -> Option<Answer> {
    let landing = landing?;
    if landing.faulted.is_some() && landing.faulted != query.edns {
        return None;
    }
    let mut answer = landing.answer.clone();
    if let Answer::Reply(reply) = &mut answer {
        if reply.has(flags::TC) && query.response_limit() > landing.limit {
            return None;
        }
        reply.set(flags::RD, query.has(flags::RD));
    }
    hide_ad(query, &mut answer);
    Some(answer)
}
