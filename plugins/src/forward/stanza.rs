//! One stanza: which upstream is asked, and what becomes of its answer.
//!
//! ```text
//! order by policy -> next upstream that is not down -> exchange -> error:            probe it, next upstream
//!        ^                 (all down: any)                         -> failover RCODE:  next upstream, if one is untried
//!        +------------------- again, while time and attempts last  -> next RCODE:      next stanza
//!                                                                  -> else:            the answer
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use periplus_core::codes::{Rcode, flags};
use periplus_core::query::Transport;
use periplus_core::reply::{Answer, ExtendedError, Failure, FailureKind, Reply};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::countdown::Countdown;
use super::error::ExchangeError;
use super::health::start_probing;
use super::message::Asking;
use super::metrics::ForwardMetrics;
use super::settings::{ATTEMPTS_PER_UPSTREAM, Protocol, Settings};
use super::upstream::{Over, Upstream};

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

    /// Asks upstreams until one has an answer. `is_last`: no stanza follows to hand the question on to.
    pub(super) async fn ask(
        &self,
        asking: &Asking,
        now: Instant,
        countdown: &mut Countdown,
        is_last: bool,
    ) -> Verdict {
        match self.obtain(asking, now, countdown).await {
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
        countdown: &mut Countdown,
    ) -> Result<Reply, Option<ExchangeError>> {
        let settings = &*self.settings;
        let upstreams = self.upstreams.load_full();
        let count = upstreams.len();
        let order = settings.policy.order(count, |index| upstreams[index].health.is_suspect());
        let most_attempts = settings.max_attempts.unwrap_or(ATTEMPTS_PER_UPSTREAM * count as u32);
        let mut pause = FIRST_PAUSE;
        let (mut attempts, mut rejected, mut down, mut at) = (0, 0, 0, 0);
        // In a box because it seldom is any: the future is as large as what it may hold.
        let mut last: Option<Box<Result<Reply, ExchangeError>>> = None;

        while count > 0
            && countdown.is_running(now)
            && (most_attempts == 0 || attempts < most_attempts)
        {
            if at == count {
                (at, down) = (0, 0);
                if most_attempts == 0 {
                    // Refusals come back at once; without a pause this would be a busy loop.
                    countdown.pause(pause).await;
                    pause *= 2;
                    now = Instant::now();
                }
            }
            let mut upstream = &upstreams[usize::from(order[at])];
            at += 1;
            if upstream.health.is_down(settings.max_fails) {
                down += 1;
                if down < count {
                    continue;
                }
                self.metrics.broken.add(1);
                if settings.failfast {
                    break;
                }
                // All are down: probing itself may be what is broken.
                upstream = &upstreams[fastrand::usize(..count)];
            }
            match ask_upstream(upstream, asking, now, countdown).await {
                Ok(reply) => {
                    rejected += usize::from(settings.failover.contains(&reply.rcode));
                    if !settings.failover.contains(&reply.rcode) || rejected >= count {
                        return Ok(reply);
                    }
                    last = Some(Box::new(Ok(reply)));
                }
                Err(error) => {
                    if settings.max_fails != 0 && error.blames_upstream() {
                        start_probing(upstream, &self.stop);
                    }
                    attempts += 1;
                    // A reply that asked for failover is better than none.
                    if !matches!(last.as_deref(), Some(Ok(_))) {
                        last = Some(Box::new(Err(error)));
                    }
                    if down >= count {
                        break;
                    }
                }
            }
            now = Instant::now();
        }
        last.map_or(Err(None), |last| last.map_err(Some))
    }

    /// Closes idle connections that may not be used any more.
    pub(super) fn sweep(&self) {
        for upstream in self.upstreams.load().iter() {
            upstream.sweep();
        }
    }
}

impl Drop for Stanza {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One attempt, which with `prefer_udp` may be two exchanges.
async fn ask_upstream(
    upstream: &Upstream,
    asking: &Asking,
    now: Instant,
    countdown: &mut Countdown,
) -> Result<Reply, ExchangeError> {
    let (over, retry_truncated) = match upstream.settings.protocol {
        Protocol::Tcp => (Over::Tcp, false),
        Protocol::UdpFirst => (Over::Udp, true),
        Protocol::AsAsked if asking.query.transport == Transport::Udp => (Over::Udp, false),
        Protocol::AsAsked => (Over::Tcp, false),
    };
    let reply = timed(upstream, asking, over, now, countdown).await?;
    if retry_truncated && reply.has(flags::TC) {
        let now = Instant::now();
        return Box::pin(timed(upstream, asking, Over::Tcp, now, countdown)).await;
    }
    Ok(reply)
}

async fn timed(
    upstream: &Upstream,
    asking: &Asking,
    over: Over,
    now: Instant,
    countdown: &mut Countdown,
) -> Result<Reply, ExchangeError> {
    let reply = upstream.exchange(asking, over, now, countdown).await?;
    upstream.metrics.observe(reply.rcode, now.elapsed().as_secs_f64());
    Ok(reply)
}

fn failure(error: Option<ExchangeError>) -> Failure {
    let text = error.map_or_else(|| "no healthy proxies".to_owned(), |error| error.to_string());
    let extended = ExtendedError {
        code: ExtendedError::NO_REACHABLE_AUTHORITY,
        text: "no upstream server answered".into(),
    };
    Failure::servfail(super::NAME, text)
        .with_extended_error(extended)
        .of_kind(FailureKind::Resolution)
}
