use std::sync::Arc;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::record::Entry;
use periplus_core::reply::Failure;

use super::finding::{Finding, reply};
use super::shared::Shared;
use super::{NAME, answers, external_name};

/// Answers for services, pods and their addresses.
pub(super) struct Kubernetes(pub(super) Arc<Shared>);

impl Plugin for Kubernetes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        let shared = &self.0;
        let Some(place) = shared.place(query.name()) else { return next.run(query) };
        if matches!(query.qtype, RecordType::AXFR | RecordType::IXFR) {
            return Failure::silent(Rcode::REFUSED, NAME).into();
        }
        match answers::find(shared, query, place) {
            Finding::Records(set) => {
                let mut reply = reply(query);
                reply.answer.push(Entry::of_question(set));
                reply.into()
            }
            Finding::Reply(reply) => reply.into(),
            Finding::Alias(target) => external_name::answer(shared, query, place, target, next),
            Finding::NoData => shared.empty(query, place, Rcode::NOERROR).into(),
            Finding::NameError | Finding::WronglyDenied
                if shared.fallthrough.covers(query.name()) =>
            {
                next.run(query)
            }
            // What is not known now may be known soon.
            Finding::NameError | Finding::WronglyDenied if !shared.index.is_synced() => {
                shared.empty(query, place, Rcode::SERVFAIL).into()
            }
            Finding::NameError => shared.empty(query, place, Rcode::NXDOMAIN).into(),
            Finding::WronglyDenied => shared.empty(query, place, Rcode::NOERROR).into(),
        }
    }
}
