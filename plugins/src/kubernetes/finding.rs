//! What there is to say to a question.

use std::sync::Arc;

use periplus_core::codes::Rcode;
use periplus_core::query::Query;
use periplus_core::record::RecordSet;
use periplus_core::reply::Reply;

use super::NAME;
use super::shared::{Place, Shared};

/// What the index has for a question.
#[derive(Debug)]
pub(super) enum Finding {
    /// Records of the question's own name.
    Records(Arc<RecordSet>),
    /// A reply with more to it.
    Reply(Reply),
    /// The name stands for another one, which has to be looked up.
    Alias(Arc<RecordSet>),
    /// The name exists, the type does not.
    NoData,
    /// There is no such name.
    NameError,
    /// The name exists without the type, and CoreDNS says by accident that there is no such name. Where CoreDNS would pass the
    /// query on, so does Periplus; a final answer is NODATA (RFC 2308 section 2.2).
    WronglyDenied,
}

impl Finding {
    /// Records of the question's own name, or NODATA without any.
    pub(super) fn records(set: Option<Arc<RecordSet>>) -> Finding {
        set.map_or(Finding::NoData, Finding::Records)
    }
}

/// An empty reply of this plugin.
pub(super) fn reply(query: &Query) -> Reply {
    let mut reply = Reply::authoritative(query, NAME);
    reply.live = true;
    reply
}

impl Shared {
    /// A reply that holds nothing but the SOA record.
    pub(super) fn empty(&self, query: &Query, place: Place<'_>, rcode: Rcode) -> Reply {
        let mut reply = reply(query);
        reply.rcode = rcode;
        reply.authority.push(place.soa(query, self.index.serial()));
        reply
    }
}
