//! A query's way through the stanzas of a server block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use periplus_core::codes::Rcode;
use periplus_core::plugin::{Later, Next, Outcome, OwnedNext, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, ExtendedError, Failure, FailureKind};
use tokio::time::Instant;

use super::message::Asking;
use super::settings::{LEAST_TIME, TOTAL};
use super::stanza::{Stanza, Verdict};

/// All stanzas of one server block, a link of its chain.
pub(super) struct Forward(pub(super) Arc<[Arc<Stanza>]>);

impl Plugin for Forward {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        let Some(first) = stanza_for(&self.0, 0, query) else { return next.run(query) };
        let stanza = &self.0[first];
        let Some(permit) = Permit::of(stanza) else { return rejected(stanza).into() };
        if !next.may_wait() {
            return Outcome::Shed;
        }
        let stanzas = Arc::clone(&self.0);
        let query = Arc::new(query.clone());
        let asking = Asking { query: Arc::clone(&query), authenticated: next.is_authenticated() };
        let next = stanza.settings.hands_on().then(|| next.to_owned());
        Outcome::Later(Later::about(query, async move {
            forward(&stanzas, first, permit, &asking, next).await
        }))
    }
}

/// The first stanza from `from` on that the question belongs to.
fn stanza_for(stanzas: &[Arc<Stanza>], from: usize, query: &Query) -> Option<usize> {
    (from..stanzas.len()).find(|index| stanzas[*index].settings.covers(query.name()))
}

async fn forward(
    stanzas: &[Arc<Stanza>],
    first: usize,
    permit: Permit,
    asking: &Asking,
    next: Option<OwnedNext>,
) -> Answer {
    let query = &*asking.query;
    let mut now = Instant::now();
    let end = Instant::from_std(query.received + TOTAL);
    // As in CoreDNS, a question that is handed on counts for each stanza it has passed.
    let mut permits: smallvec::SmallVec<[Permit; 1]> = smallvec::smallvec![permit];
    let mut index = first;
    loop {
        if now + LEAST_TIME > end {
            return out_of_time();
        }
        let is_last = index + 1 == stanzas.len();
        match stanzas[index].ask(asking, now, end, is_last).await {
            Verdict::Answer(answer) => return answer,
            Verdict::HandOn => {}
        }
        match (stanza_for(stanzas, index + 1, query), &next) {
            (Some(following), _) => match Permit::of(&stanzas[following]) {
                Some(permit) => {
                    permits.push(permit);
                    index = following;
                    now = Instant::now();
                }
                None => return rejected(&stanzas[following]),
            },
            (None, Some(next)) => return Box::pin(next.run(query).wait()).await,
            (None, None) => return Failure::servfail(super::NAME, "no next plugin found").into(),
        }
    }
}

fn rejected(stanza: &Stanza) -> Answer {
    stanza.metrics.rejected.add(1);
    let cause = format!("concurrent queries exceeded maximum {}", stanza.settings.max_concurrent);
    let failure = Failure::servfail(super::NAME, cause).of_kind(FailureKind::Rejected);
    Failure { rcode: Rcode::REFUSED, ..failure }.into()
}

fn out_of_time() -> Answer {
    let text = "no time is left to ask an upstream server";
    let extended = ExtendedError { code: ExtendedError::NO_REACHABLE_AUTHORITY, text: text.into() };
    Failure::servfail(super::NAME, text)
        .with_extended_error(extended)
        .of_kind(FailureKind::Rejected)
        .into()
}

/// The right to wait for an answer: one of `max_concurrent`. Given back when dropped, however the question ends.
struct Permit(Option<Arc<AtomicUsize>>);

impl Permit {
    /// A permit, or `None` when all are given out. Without a limit nothing is counted.
    fn of(stanza: &Stanza) -> Option<Permit> {
        let most = stanza.settings.max_concurrent;
        if most == 0 {
            return Some(Permit(None));
        }
        let permit = Permit(Some(Arc::clone(&stanza.waiting)));
        (stanza.waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(waiting) = &self.0 {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
