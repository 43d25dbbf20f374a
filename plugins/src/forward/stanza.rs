//! One stanza: which upstream is asked, and what becomes of its answer.
//!
//! ```text
//! order by policy -> next upstream that is not down -> attempt -> error:            probe it, next upstream
//!        ^                                                     -> no answer yet:    next upstream as well
//!        |                                                     -> failover RCODE:   next upstream, if one is untried
//!        +------------------- again, while time and attempts last -> next RCODE:    next stanza
//!                                                              -> else:             the answer; all other attempts are dropped
//! ```
//!
//! When all upstreams are down the question fails at once, unless one of them is due to be probed: then it goes in the probe's place.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use periplus_core::codes::Rcode;
use periplus_core::reply::{Answer, ExtendedError, Failure, FailureKind, Reply};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Event, Race};
use super::error::{Cause, ExchangeError, OTHER_CASE};
use super::message::Asking;
use super::metrics::ForwardMetrics;
use super::probe::start_probing;
use super::settings::{ATTEMPTS_PER_UPSTREAM, Failover, MOST_AT_ONCE, PROBE_TIMEOUT, Settings};
use super::turns::Turns;
use super::upstream::Upstream;

/// The first pause between two rounds over all upstreams when attempts are not limited; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// A stanza with its upstreams.
pub(super) struct Stanza {
    /// What the Corefile says.
    pub(super) settings: Arc<Settings>,
    /// Who is asked, in the order of the Corefile. Changes once, when host names have been resolved.
    pub(super) upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    /// Questions that wait, if they are limited.
    pub(super) waiting: Arc<AtomicUsize>,
    /// Metrics of the plugin.
    pub(super) metrics: Arc<ForwardMetrics>,
    /// Ends the probing.
    pub(super) stop: CancellationToken,
}

/// What a stanza makes of a question.
pub(super) enum Verdict {
    /// This goes to the client.
    Answer(Answer),
    /// The next stanza shall answer.
    HandOn,
}

impl Stanza {
    /// A stanza.
    pub(super) fn new(
        settings: Arc<Settings>,
        upstreams: Vec<Arc<Upstream>>,
        metrics: Arc<ForwardMetrics>,
    ) -> Stanza {
        Stanza {
            settings,
            upstreams: ArcSwap::from_pointee(upstreams),
            waiting: Arc::default(),
            metrics,
            stop: CancellationToken::new(),
        }
    }

    /// Asks upstreams until one has an answer, or until `end`. `is_last`: no stanza follows to hand the question on to.
    pub(super) async fn ask(
        &self,
        asking: &Asking,
        now: Instant,
        end: Instant,
        is_last: bool,
    ) -> Verdict {
        match self.obtain(asking, now, end).await {
            Ok(reply) if !is_last && self.is_handed_on(&reply) => Verdict::HandOn,
            Ok(reply) => Verdict::Answer(reply.into()),
            Err(error) => Verdict::Answer(failure(error).into()),
        }
    }

    fn is_handed_on(&self, reply: &Reply) -> bool {
        let nodata = reply.rcode == Rcode::NOERROR && reply.answer.is_empty();
        self.settings.next.contains(&reply.rcode) || (self.settings.next_on_nodata && nodata)
    }

    /// The reply of the first upstream that has one; the error is that of the last attempt, if there was one.
    async fn obtain(
        &self,
        asking: &Asking,
        mut now: Instant,
        end: Instant,
    ) -> Result<Reply, Option<ExchangeError>> {
        let settings = &*self.settings;
        let upstreams = self.upstreams.load_full();
        let count = upstreams.len();
        let mut turns = Turns::new(settings, &upstreams);
        let Some(first) = turns.next() else {
            return Box::pin(self.all_are_down(&upstreams, &turns, asking, now, end)).await;
        };
        let most_attempts = settings.max_attempts.unwrap_or(ATTEMPTS_PER_UPSTREAM * count as u32);
        // Of attempts that failed and those under way.
        let left = |attempts: usize| most_attempts == 0 || attempts < most_attempts as usize;
        let (mut failed, mut rejected) = (0, 0);
        let mut race = Race::default();
        let mut pause = FIRST_PAUSE;
        let mut late: Option<usize> = None;
        let mut next = Some(first);
        // In a box because it seldom is any: the future is as large as what it may hold.
        let mut last: Option<Box<Result<Reply, ExchangeError>>> = None;
        let mut held: Option<HeldBack> = None;
        loop {
            if let Some(number) = next {
                let attempts = failed + race.len() + 1;
                let patience = match settings.hedge_after {
                    Some(_) if !left(attempts) => None,
                    Some(_) if turns.has_more() => Some(upstreams[number].patience.get()),
                    // Everybody was asked: what is sent again is for a datagram that was lost.
                    Some(_) if most_attempts != 0 => Some(settings.read_timeout / 2),
                    _ => None,
                };
                let attempt = Attempt::begin(&upstreams[number], asking, now, end, patience);
                race.join(number, attempt);
                if let Some(late) = late {
                    upstreams[late].metrics.hedged.add(1);
                }
            } else if race.len() == 0 && held.is_none() {
                break;
            }
            late = None;
            let (number, event) = match held.take() {
                None => race.next().await,
                Some(one) => {
                    let asked = race.asked_last(|other| turns.prefers(other, one.number));
                    let Some(asked) = asked else { return Ok(*one.reply) };
                    let until = asked + settings.head_start();
                    // In a box because it is seldom needed.
                    match Box::pin(timeout_at(until, race.next())).await {
                        Ok(next) => {
                            held = Some(one);
                            next
                        }
                        Err(_) => return Ok(*one.reply),
                    }
                }
            };
            match event {
                Event::Late => {
                    if upstreams[number].health.was_late() {
                        self.suspect(&upstreams[number]);
                    }
                    late = Some(number);
                }
                Event::Over(Ok(reply)) if !settings.fails_over(reply.rcode, count) => {
                    if race.asked_last(|other| turns.prefers(other, number)).is_none() {
                        return Ok(reply);
                    }
                    if held.as_ref().is_none_or(|one| turns.prefers(number, one.number)) {
                        held = Some(HeldBack { number, reply: Box::new(reply) });
                    }
                }
                Event::Over(Ok(reply)) => {
                    rejected += 1;
                    if rejected >= count {
                        return Ok(reply);
                    }
                    last = Some(Box::new(Ok(reply)));
                }
                Event::Over(Err(error)) => {
                    if error.blames_upstream() {
                        self.suspect(&upstreams[number]);
                    }
                    failed += 1;
                    // A reply that asked for failover is better than none.
                    if !matches!(last.as_deref(), Some(Ok(_))) {
                        last = Some(Box::new(Err(error)));
                    }
                }
            }
            now = Instant::now();
            next = None;
            if held.is_some()
                || now >= end
                || !left(failed + race.len())
                || race.len() >= MOST_AT_ONCE
            {
                continue;
            }
            next = turns.next();
            let has_reply = matches!(last.as_deref(), Some(Ok(_)));
            let is_enough = has_reply && settings.failover == Failover::Default;
            if next.is_none() && !is_enough && (most_attempts != 0 || race.len() == 0) {
                if most_attempts == 0 {
                    // Refusals come back at once; without a pause this would be a busy loop.
                    Box::pin(sleep_until(end.min(now + pause))).await;
                    pause *= 2;
                    now = Instant::now();
                }
                turns.start_over();
                next = turns.next();
            }
        }
        last.map_or(Err(None), |last| last.map_err(Some))
    }

    /// Nobody is asked, unless a probe is due: then the question goes in its place.
    async fn all_are_down(
        &self,
        upstreams: &[Arc<Upstream>],
        turns: &Turns<'_>,
        asking: &Asking,
        now: Instant,
        end: Instant,
    ) -> Result<Reply, Option<ExchangeError>> {
        if upstreams.is_empty() {
            return Err(None);
        }
        self.metrics.broken.add(1);
        if self.settings.failfast {
            return Err(None);
        }
        let number = turns.instead_of_probe().ok_or(None)?;
        let end = end.min(now + PROBE_TIMEOUT);
        let mut race = Race::default();
        race.join(number, Attempt::begin(&upstreams[number], asking, now, end, None));
        loop {
            if let (.., Event::Over(result)) = race.next().await {
                return result.map_err(Some);
            }
        }
    }

    fn suspect(&self, upstream: &Arc<Upstream>) {
        if self.settings.max_fails != 0 {
            start_probing(upstream, &self.stop);
        }
    }

    /// Closes idle connections that may not be used any more.
    pub(super) fn sweep(&self) {
        for upstream in self.upstreams.load().iter() {
            upstream.sweep();
        }
    }
}

/// The reply of an upstream that was asked because one that is preferred took its time: that one may know other names.
struct HeldBack {
    /// Whose it is.
    number: usize,
    reply: Box<Reply>,
}

impl Drop for Stanza {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn failure(error: Option<ExchangeError>) -> Failure {
    let told = match &error {
        Some(ExchangeError { cause: Cause::OtherCase, .. }) => OTHER_CASE,
        _ => "no upstream server answered",
    };
    let text = error.map_or_else(|| "no healthy proxies".to_owned(), |error| error.to_string());
    let extended = ExtendedError { code: ExtendedError::NO_REACHABLE_AUTHORITY, text: told.into() };
    Failure::servfail(super::NAME, text)
        .with_extended_error(extended)
        .of_kind(FailureKind::Resolution)
}
