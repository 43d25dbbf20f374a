//! One question to one upstream under way, and several of them side by side.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use periplus_core::codes::flags;
use periplus_core::exchange::{Exchange, Times};
use periplus_core::query::Transport;
use periplus_core::reply::Reply;
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::{Cause, ExchangeError, Step};
use super::message::{Asking, Expected, Mismatch};
use super::settings::{ENOUGH, LEAST_DIAL, Protocol};
use super::upstream::{Over, Upstream};

/// An attempt, which with `prefer_udp` may be two exchanges. Dropping it ends it, and whatever comes for it then is thrown away with its
/// socket.
pub(super) struct Attempt<'a> {
    upstream: &'a Upstream,
    asking: &'a Asking,
    /// When the exchange began.
    begun: Instant,
    /// When all must be over.
    end: Instant,
    /// How long to wait before saying that it is late.
    patience: Option<Duration>,
    /// Says so where the exchange does not.
    timer: Option<Pin<Box<Sleep>>>,
    retry_truncated: bool,
    way: Way<'a>,
}

enum Way<'a> {
    /// Driven by this thread.
    Here { exchange: Exchange, expected: Expected, other_case: bool },
    /// Driven by the runtime.
    Elsewhere(Pin<Box<dyn Future<Output = Result<Reply, ExchangeError>> + Send + 'a>>),
    /// It could not begin.
    Failed(Option<Box<ExchangeError>>),
}

/// What becomes of an attempt.
pub(super) enum Event {
    /// It takes long. This is told once per exchange; it goes on.
    Late,
    /// It is over.
    Over(Result<Reply, ExchangeError>),
}

impl<'a> Attempt<'a> {
    /// Asks the upstream at `now`.
    pub(super) fn begin(
        upstream: &'a Upstream,
        asking: &'a Asking,
        now: Instant,
        end: Instant,
        patience: Option<Duration>,
    ) -> Attempt<'a> {
        let (over, retry_truncated) = match upstream.settings.protocol {
            Protocol::Tcp => (Over::Tcp, false),
            Protocol::UdpFirst => (Over::Udp, true),
            Protocol::AsAsked if asking.query.transport == Transport::Udp => (Over::Udp, false),
            Protocol::AsAsked => (Over::Tcp, false),
        };
        let way = Way::Failed(None);
        let (begun, timer) = (now, None);
        let mut attempt =
            Attempt { upstream, asking, begun, end, patience, timer, retry_truncated, way };
        attempt.start(over, now);
        attempt
    }

    fn start(&mut self, over: Over, now: Instant) {
        let (upstream, asking, end) = (self.upstream, self.asking, self.end);
        self.begun = now;
        let patience = self.patience.map(|patience| now + patience);
        if over == Over::Udp {
            let deadline = end.min(now + upstream.settings.read_timeout).into_std();
            let times = Times { patience: patience.map(Instant::into_std), deadline };
            if let Some((expected, started)) = upstream.start_here(asking, times) {
                self.way = match started {
                    Ok(exchange) => Way::Here { exchange, expected, other_case: false },
                    Err(fault) => Way::Failed(Some(Box::new(upstream.faulty(fault, false)))),
                };
                return;
            }
        }
        self.timer = patience.map(|patience| Box::pin(sleep_until(patience)));
        self.way = Way::Elsewhere(match over {
            Over::Udp => Box::pin(upstream.over_udp(asking, now, end)),
            Over::Tcp => Box::pin(upstream.over_tcp(asking, end)),
        });
    }

    /// Whether the end of all attempts left the upstream less time than it has.
    fn is_cut_short(&self, step: Step) -> bool {
        let limit = match (step, self.upstream.settings.read_timeout) {
            (Step::Dial, read_timeout) => read_timeout.max(LEAST_DIAL),
            (_, read_timeout) => read_timeout,
        };
        self.end < self.begun + limit.min(ENOUGH)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let mut result = match &mut self.way {
                Way::Here { exchange, expected, other_case } => {
                    let query = &self.asking.query;
                    let mut accept = |message: &[u8]| match expected.read(message, query) {
                        Ok(reply) => Some(reply),
                        Err(mismatch) => {
                            *other_case |= mismatch == Mismatch::Case;
                            None
                        }
                    };
                    match ready!(exchange.poll(cx, &mut accept)) {
                        Ok(Some(reply)) => Ok(reply),
                        Ok(None) => return Poll::Ready(Event::Late),
                        Err(fault) => Err(self.upstream.faulty(fault, *other_case)),
                    }
                }
                Way::Elsewhere(future) => match future.as_mut().poll(cx) {
                    Poll::Ready(result) => result,
                    Poll::Pending => {
                        let Some(timer) = &mut self.timer else { return Poll::Pending };
                        ready!(timer.as_mut().poll(cx));
                        self.timer = None;
                        return Poll::Ready(Event::Late);
                    }
                },
                Way::Failed(error) => match error.take() {
                    Some(error) => Err(*error),
                    None => return Poll::Pending,
                },
            };
            if let Err(error) = &mut result
                && matches!(error.cause, Cause::Timeout)
                && self.is_cut_short(error.step)
            {
                error.cause = Cause::GivenUp;
            }
            if let Ok(reply) = &result {
                let took = self.begun.elapsed();
                self.upstream.answered(reply.rcode, took);
                if std::mem::take(&mut self.retry_truncated) && reply.has(flags::TC) {
                    self.start(Over::Tcp, Instant::now());
                    continue;
                }
            }
            return Poll::Ready(Event::Over(result));
        }
    }
}

/// Attempts for one question at the same time. Most often it is one, and nothing is allocated for it.
#[derive(Default)]
pub(super) struct Race<'a>(SmallVec<[(usize, Attempt<'a>); 1]>);

impl<'a> Race<'a> {
    /// One more attempt, with the upstream of this number.
    pub(super) fn join(&mut self, number: usize, attempt: Attempt<'a>) {
        self.0.push((number, attempt));
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the last of some upstreams was asked, of those that are under way. One that is asked again was asked when it was first.
    pub(super) fn asked_last(&self, is_meant: impl Fn(usize) -> bool) -> Option<Instant> {
        let attempts = self.0.iter().enumerate().filter(|(at, (number, _))| {
            is_meant(*number) && self.0[..*at].iter().all(|(other, _)| other != number)
        });
        attempts.map(|(_, (_, attempt))| attempt.begun).max()
    }

    /// What happens next, and with which upstream. What is over is taken out. Without any attempt this never ends.
    pub(super) async fn next(&mut self) -> (usize, Event) {
        std::future::poll_fn(|cx| {
            for index in 0..self.0.len() {
                let (number, attempt) = &mut self.0[index];
                let number = *number;
                if let Poll::Ready(event) = attempt.poll(cx) {
                    if matches!(event, Event::Over(_)) {
                        self.0.remove(index);
                    }
                    return Poll::Ready((number, event));
                }
            }
            Poll::Pending
        })
        .await
    }
}
