//! What becomes of an answer from inward: what clients see of it, and whether it is kept.

use std::sync::Arc;
use std::time::Instant;

use periplus_core::codes::{RecordType, flags};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Reply};

use super::classify::{Verdict, judge, passing_ttl};
use super::item::{Item, wants_ad};
use super::question::Question;
use super::shape::Asked;
use super::shared::Shared;
use super::side::Side;

impl Shared {
    /// What becomes of an answer that is only passed on.
    pub(super) fn pass(&self, query: &Query, answer: &mut Answer) {
        if let Answer::Reply(reply) = answer {
            normalise(reply, passing_ttl(&self.settings, query, reply));
        }
        hide_ad(query, answer);
    }

    /// Makes an answer from inward what clients see, and keeps it if it may be kept.
    pub(super) fn absorb(
        &self,
        query: &Query,
        asked: Asked<'_>,
        answer: &mut Answer,
        now: Instant,
        server: usize,
    ) {
        let reply = match answer {
            Answer::Reply(reply) => reply,
            Answer::Failure(failure) => {
                // `loop` must see its probe each time.
                if query.qtype != RecordType::HINFO
                    && !self.settings.disabled(Side::Denial, query.name())
                {
                    self.failures.keep(asked, failure, now);
                }
                return;
            }
            Answer::Silence => return,
        };
        if reply.live {
            normalise(reply, passing_ttl(&self.settings, query, reply));
            return;
        }
        let verdict = judge(&self.settings, query, reply);
        normalise(reply, verdict.ttl);
        self.keep(asked.question, reply, &verdict, now, server, Origin::Client);
    }

    /// Keeps a reply.
    pub(super) fn keep(
        &self,
        question: Question<'_>,
        reply: &Reply,
        verdict: &Verdict,
        now: Instant,
        server: usize,
        origin: Origin,
    ) -> Option<Arc<Item>> {
        let metrics = self.metrics.at(server);
        if reply.live {
            // Only a refresh can bring this: the name was not live when its entry was made; now it has a better source.
            for side in Side::BOTH {
                self.store.remove(question, side);
            }
            return None;
        }
        let side = verdict.side?;
        if !reply.has(flags::QR) {
            metrics.drops.add(1);
            return None;
        }
        let mut item = Item::new(reply, verdict.ttl, verdict.answering, now);
        if self.settings.prefer_positive
            && side == Side::Success
            && let Some(previous) = self.store.view().find(question, side)
        {
            item.remember_good(previous);
        }
        let item = Arc::new(item);
        let worth = |old: &Arc<Item>| self.worth(old, now);
        let evicted = self.store.insert(question, side, Arc::clone(&item), worth);
        metrics.side(side).evictions.add(evicted);

        // A refreshed answer is the newest word on the question. CoreDNS leaves an older denial in front of an answer that was not
        // fetched for a refresh: there cannot be one, or it would have been given.
        let newest = match self.settings.prefer_positive {
            true => verdict.answering,
            false => origin == Origin::Refresh,
        };
        if side == Side::Success && newest {
            self.store.remove(question, Side::Denial);
        }
        for side in Side::BOTH {
            metrics.side(side).entries.set(self.store.entries(side) as f64);
        }
        Some(item)
    }
}

/// Who asked for a reply that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client that waits for it.
    Client,
    /// The cache itself.
    Refresh,
}

/// Takes AD out of an answer for a client that did not ask for it (RFC 6840 section 5.8).
pub(super) fn hide_ad(query: &Query, answer: &mut Answer) {
    if let Answer::Reply(reply) = answer
        && !wants_ad(query)
    {
        reply.set(flags::AD, false);
    }
}

/// Gives all records the TTL for which the reply would be kept, so that the TTL a client sees does not jump between a miss
/// and a hit, and drops the OPT record, which holds for one hop only (RFC 6891 section 6.1.1).
pub(super) fn normalise(reply: &mut Reply, ttl: u32) {
    for section in [&mut reply.answer, &mut reply.authority, &mut reply.additional] {
        for entry in section {
            entry.ttl = ttl;
        }
    }
    reply.opt = None;
}
