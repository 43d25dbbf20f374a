use std::sync::Arc;

use periplus_core::codes::RecordType;
use periplus_core::encode::failure_reply;
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Failure, Reply};

use super::cname::follow;
use super::mend::mend;
use super::pass::{Mend, Pass, Passed};
use super::rule::{Action, Mode, Rule};
use super::shared::Shared;

/// Asks further in for something else than the client did, and turns the answer back.
pub struct Rewrite(Arc<Shared>);

impl Rewrite {
    pub(super) fn new(rules: Vec<Rule>, local_codes: Vec<u16>) -> Rewrite {
        Rewrite(Arc::new(Shared { rules, local_codes: local_codes.into() }))
    }
}

impl Plugin for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        let mut pass = Pass::new(query, &self.0.local_codes);
        let stopped = match self.0.apply(&mut pass) {
            Ok(stopped) => stopped,
            Err(failure) => return failure.into(),
        };
        if pass.is_untouched() {
            return next.run(query);
        }
        let passed = pass.finish(stopped);
        let outcome = next.run(passed.inner.as_ref().unwrap_or(query));
        match outcome {
            Outcome::Now(answer) => self.0.finish(query, passed, answer, next),
            Outcome::Later(future) => {
                let (shared, query, next) = (Arc::clone(&self.0), query.clone(), next.to_owned());
                Outcome::later(async move {
                    let answer = future.await;
                    shared.finish(&query, passed, answer, next.borrow()).wait().await
                })
            }
            Outcome::Shed => Outcome::Shed,
        }
    }
}

impl Shared {
    /// Tries the rules in order, and says whether one of them said stop.
    fn apply(&self, pass: &mut Pass<'_>) -> Result<bool, Failure> {
        for (number, rule) in self.rules.iter().enumerate() {
            let applied = rule.apply(number, pass).map_err(|name| {
                Failure::servfail("rewrite", format!("invalid name after rewrite: {}", name.0))
            })?;
            if applied && rule.mode == Mode::Stop {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes of the answer to the inner question one to the client's.
    fn finish(
        self: &Arc<Self>,
        query: &Query,
        passed: Passed,
        answer: Answer,
        next: Next<'_>,
    ) -> Outcome {
        let inner = passed.inner.as_ref().unwrap_or(query);
        let mut reply = match answer {
            Answer::Reply(reply) => reply,
            Answer::Failure(failure) if passed.answers_failures() => {
                reply_to_failure(inner, failure)
            }
            unwritten => return unwritten.into(),
        };
        let is_cname_rule = |mend: &Mend| matches!(self.rules[mend.rule].action, Action::Cname(_));
        if reply.answer.iter().any(|entry| entry.rtype() == RecordType::CNAME)
            && passed.mends.iter().any(is_cname_rule)
        {
            return follow(self, query, passed, reply, next);
        }
        mend(&self.rules, query, &passed, None, &mut reply);
        reply.into()
    }
}

impl Passed {
    /// Whether the response to a failure is more than its response code.
    fn answers_failures(&self) -> bool {
        self.stopped || self.edns_changed || !self.mends.is_empty()
    }
}

/// The reply that the server would have made, so that it can be mended. The cause stays with it for the operator.
fn reply_to_failure(inner: &Query, failure: Failure) -> Reply {
    let mut reply = failure_reply(inner, &failure);
    reply.source = failure.source;
    reply.cause = failure.cause;
    reply
}
