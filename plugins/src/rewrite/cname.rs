//! `cname` rules: a CNAME of the response points elsewhere, and what it points to is looked up.

use std::sync::Arc;

use periplus_core::codes::{RecordType, flags};
use periplus_core::name::{NameBuf, NameRef};
use periplus_core::plugin::{Next, Outcome};
use periplus_core::query::{MAX_DEPTH, Query};
use periplus_core::record::RecordSet;
use periplus_core::reply::{Answer, Reply};

use super::mend::{Followed, mend, renamed};
use super::pass::{Mend, Passed};
use super::pattern::LazyText;
use super::rule::{Action, Part};
use super::shared::Shared;

/// Follows what `cname` rules say and mends the reply then.
pub(super) fn follow(
    shared: &Arc<Shared>,
    outer: &Query,
    passed: Passed,
    reply: Reply,
    next: Next<'_>,
) -> Outcome {
    let mends_left = passed.mends.len();
    Follower {
        shared: Arc::clone(shared),
        passed,
        reply,
        entry: 0,
        mends_left,
        redirected: false,
        lookups: 0,
    }
    .run(outer, next)
}

/// A reply while its CNAMEs are looked at.
struct Follower {
    shared: Arc<Shared>,
    passed: Passed,
    reply: Reply,
    /// The entry of the answer section to look at.
    entry: usize,
    /// How many mends of its target are still to be looked at.
    mends_left: usize,
    /// Whether it was pointed elsewhere: the entries after it are then the lookup's.
    redirected: bool,
    /// How many names were looked up for it.
    lookups: u8,
}

/// A CNAME that a rule points elsewhere.
struct Redirection {
    /// Index of the mend whose rule it is.
    mend: usize,
    to: NameBuf,
}

impl Follower {
    fn run(mut self, outer: &Query, next: Next<'_>) -> Outcome {
        while let Some(redirection) = self.redirection() {
            let inner = self.passed.inner.as_ref().unwrap_or(outer);
            // Those for one reply count as if each came from the one before: all that come from one question are 256 at most, however many
            // rules there are. Bounded in depth alone they would be a power of the rules.
            let lookup =
                inner.follow(redirection.to.as_ref(), inner.qtype).and_then(|mut lookup| {
                    lookup.depth += self.lookups;
                    (lookup.depth <= MAX_DEPTH).then_some(lookup)
                });
            let Some(lookup) = lookup else {
                tracing::error!("plugin/rewrite: too many lookups for {}", outer.name());
                break;
            };
            self.lookups += 1;
            match next.resolve(&lookup) {
                Outcome::Now(found) => self.redirect(redirection, &lookup, found),
                Outcome::Later(future) => {
                    let (outer, next) = (outer.clone(), next.to_owned());
                    return Outcome::later(async move {
                        self.redirect(redirection, &lookup, future.await);
                        self.run(&outer, next.borrow()).wait().await
                    });
                }
                Outcome::Shed => return Outcome::Shed,
            }
        }
        let followed =
            self.redirected.then_some(Followed { entry: self.entry, mends_left: self.mends_left });
        mend(&self.shared.rules, outer, &self.passed, followed, &mut self.reply);
        self.reply.into()
    }

    /// The next CNAME that a rule means. As all response rules, those of one record are tried in reverse order, and renaming
    /// rules in between have their say about the target.
    fn redirection(&mut self) -> Option<Redirection> {
        while let Some(entry) = self.reply.answer.get(self.entry) {
            let target = entry
                .set
                .rdata()
                .next()
                .and_then(NameRef::from_wire)
                .filter(|_| entry.rtype() == RecordType::CNAME);
            if let Some(target) = target {
                let found = self.shared.redirection(&self.passed.mends[..self.mends_left], target);
                if found.is_some() {
                    return found;
                }
            }
            if self.redirected {
                return None;
            }
            self.entry += 1;
            self.mends_left = self.passed.mends.len();
        }
        None
    }

    /// Keeps the CNAMEs up to the one that is pointed elsewhere, and adds what was found there.
    fn redirect(&mut self, redirection: Redirection, lookup: &Query, found: Answer) {
        let Redirection { mend, to } = redirection;
        self.mends_left = mend;
        // A failed lookup is an empty one here: the server would have answered so.
        let (found, truncated) = match found {
            Answer::Reply(mut reply) => {
                reply.detach(lookup);
                (reply.answer, reply.flags & flags::TC != 0)
            }
            Answer::Failure(_) => Default::default(),
            Answer::Silence => {
                tracing::error!(
                    "plugin/rewrite: no answer for {to:?}, to which a CNAME rule points"
                );
                return;
            }
        };
        let answer = &mut self.reply.answer;
        answer.truncate(self.entry + 1);
        if let Some(entry) = answer.last_mut() {
            entry.set = RecordSet::name(RecordType::CNAME, entry.set.ttl(), to.as_ref());
            entry.first = 0;
        }
        answer.retain(|entry| entry.rtype() == RecordType::CNAME);
        self.entry = answer.len() - 1;
        answer.extend(found);
        self.reply.set(flags::TC, truncated);
        self.redirected = true;
    }
}

impl Shared {
    /// Which of the mends, tried in reverse order, points a CNAME elsewhere.
    fn redirection(&self, mends: &[Mend], target: NameRef<'_>) -> Option<Redirection> {
        let mut current: Option<NameBuf> = None;
        for (index, mend) in mends.iter().enumerate().rev() {
            let name = current.as_ref().map_or(target, NameBuf::as_ref);
            match &self.rules[mend.rule].action {
                Action::Cname(rewriter) => {
                    let mut lower = NameBuf::ROOT;
                    lower.set_lower(name);
                    let to = rewriter.rewrite(lower.as_ref(), &mut LazyText::default());
                    match to {
                        Some(Ok(to)) => return Some(Redirection { mend: index, to }),
                        Some(Err(text)) => tracing::error!(
                            "plugin/rewrite: invalid CNAME target after rewrite: {}",
                            text.0
                        ),
                        None => {}
                    }
                }
                _ => {
                    current = renamed(&self.rules, std::slice::from_ref(mend), Part::Value, name)
                        .or(current)
                }
            }
        }
        None
    }
}
