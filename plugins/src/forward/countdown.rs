//! One timer for all the waiting that a question needs.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is set anew for each step and never runs past the end of the whole.
pub(super) struct Countdown {
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Instant,
    end: Instant,
}

impl Countdown {
    /// All has to be over by `end`.
    pub(super) fn new(end: Instant) -> Countdown {
        Countdown { sleep: None, deadline: end, end }
    }

    /// The next waits may take until `limit` after `now` together.
    pub(super) fn allow(&mut self, now: Instant, limit: Duration) {
        self.deadline = self.end.min(now + limit);
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(self.deadline);
        }
    }

    fn sleep(&mut self) -> Pin<&mut Sleep> {
        let deadline = self.deadline;
        self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut()
    }

    /// The future's output, or `None` when the time is up first.
    pub(super) async fn limit<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            self.sleep().poll(cx).map(|()| None)
        })
        .await
    }
}
