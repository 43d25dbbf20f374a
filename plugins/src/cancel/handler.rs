use std::time::Duration;

use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Failure};

/// Gives up on answers that take too long.
pub(super) struct Cancel {
    pub(super) after: Duration,
}

impl Plugin for Cancel {
    fn name(&self) -> &'static str {
        "cancel"
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        let future = match next.run(query) {
            Outcome::Later(future) => future,
            now => return now,
        };
        let (after, name) = (self.after, self.name());
        Outcome::later(async move {
            // Dropping the future ends what it was waiting for.
            let answer = tokio::time::timeout(after, future).await;
            answer.unwrap_or_else(|_| {
                Answer::Failure(Failure::servfail(name, "context deadline exceeded"))
            })
        })
    }
}
