//! One timer for all the waiting that a question needs.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that is set anew for each step and never runs past the end of the whole.
pub(super) struct Countdown<'a> {
    sleep: Pin<&'a mut Sleep>,
    end: Instant,
}

impl<'a> Countdown<'a> {
    /// `sleep` may have any deadline; it is set before it is used.
    pub(super) fn new(sleep: Pin<&'a mut Sleep>, end: Instant) -> Countdown<'a> {
        Countdown { sleep, end }
    }

    /// Whether there is time left at `now`.
    pub(super) fn is_running(&self, now: Instant) -> bool {
        now < self.end
    }

    /// The next waits may take until `limit` after `now` together.
    pub(super) fn allow(&mut self, now: Instant, limit: Duration) {
        let deadline = self.end.min(now + limit);
        self.sleep.as_mut().reset(deadline);
    }

    /// The future's output, or `None` when the time is up first.
    pub(super) async fn limit<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            self.sleep.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Waits, but not past the end of the whole.
    pub(super) async fn pause(&mut self, length: Duration) {
        self.allow(Instant::now(), length);
        self.sleep.as_mut().await;
    }
}
