//! What happens to a reply on its way out.

use std::sync::Arc;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::plugin::Filter;
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Reply};
use periplus_core::server::Server;

use super::order::round_robin;
use super::prefer::{Subnet, prefer};
use super::weighted::Weights;

/// The plugin.
pub(super) struct LoadBalance(pub(super) Settings);

/// What the directives say.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    /// Networks in the order of preference.
    pub(super) prefer: Vec<Subnet>,
}

/// How the first address is chosen.
#[derive(Default)]
pub(super) enum Policy {
    /// Each as often as any other.
    #[default]
    RoundRobin,
    /// In proportion to the weights of a file.
    Weighted(Arc<Weights>),
}

impl Filter for LoadBalance {
    fn name(&self) -> &'static str {
        "loadbalance"
    }

    fn filter(&self, _: &Server, query: &Query, answer: &mut Answer) {
        if let Answer::Reply(reply) = answer
            && reply.rcode == Rcode::NOERROR
            && !matches!(query.qtype, RecordType::AXFR | RecordType::IXFR)
        {
            self.0.arrange(query, reply);
        }
    }
}

impl Settings {
    fn arrange(&self, query: &Query, reply: &mut Reply) {
        match &self.policy {
            Policy::RoundRobin => {
                round_robin(&mut reply.answer);
                round_robin(&mut reply.authority);
                round_robin(&mut reply.additional);
            }
            Policy::Weighted(weights) => {
                if matches!(query.qtype, RecordType::A | RecordType::AAAA | RecordType::SRV) {
                    weights.arrange(query, &mut reply.answer);
                    weights.arrange(query, &mut reply.additional);
                }
            }
        }
        if !self.prefer.is_empty() {
            let shuffled = matches!(self.policy, Policy::RoundRobin);
            prefer(&self.prefer, shuffled, &mut reply.answer);
            prefer(&self.prefer, shuffled, &mut reply.additional);
        }
    }
}
