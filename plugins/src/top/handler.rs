use std::sync::Arc;

use periplus_core::codes::Rcode;
use periplus_core::plugin::Filter;
use periplus_core::query::Query;
use periplus_core::reply::Answer;
use periplus_core::server::Server;

use super::talkers::Talkers;

/// Counts the clients that ask and the names they ask for.
pub(super) struct Top(pub(super) Arc<Talkers>);

impl Filter for Top {
    fn name(&self) -> &'static str {
        "top"
    }

    fn filter(&self, _: &Server, query: &Query, answer: &mut Answer) {
        // What the server asks itself, such as the target of a CNAME, no client asked.
        if query.depth == 0 {
            self.0.count(query, answer.rcode() == Some(Rcode::NXDOMAIN));
        }
    }
}
