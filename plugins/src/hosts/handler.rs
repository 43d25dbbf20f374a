use std::sync::Arc;

use arc_swap::ArcSwap;
use periplus_core::codes::{Rcode, RecordType};
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, address_of_reverse_name};
use periplus_core::reply::{Failure, Reply};
use periplus_core::zone::{Fallthrough, Zones};

use super::table::Table;

/// Answers for the names of the table.
pub(super) struct Hosts {
    pub(super) zones: Zones,
    pub(super) fallthrough: Fallthrough,
    /// Other types than A, AAAA and PTR are passed on where `fallthrough` covers the name.
    pub(super) pass_other_types: bool,
    pub(super) table: Arc<ArcSwap<Table>>,
}

/// What becomes of a query.
enum Found {
    /// These records are the answer.
    Records(Arc<RecordSet>),
    /// The name exists, but not with this type.
    OtherTypes,
    /// The name does not exist here.
    Nothing,
    /// Somebody else must answer, whatever `fallthrough` says.
    NotOurs,
}

impl Plugin for Hosts {
    fn name(&self) -> &'static str {
        "hosts"
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        let mut reply = Reply::authoritative(query, self.name());
        match self.find(query) {
            Found::Records(set) => reply.answer.push(Entry::of(owner(query), set)),
            // Without a SOA record: a hosts file has none.
            Found::OtherTypes => {}
            Found::Nothing if !self.fallthrough.covers(query.name()) => {
                // An NXDOMAIN would need a SOA record, so CoreDNS makes it SERVFAIL.
                return Failure::silent(Rcode::SERVFAIL, self.name()).into();
            }
            Found::Nothing | Found::NotOurs => return next.run(query),
        }
        reply.into()
    }
}

impl Hosts {
    fn find(&self, query: &Query) -> Found {
        let name = query.name();
        if query.qtype == RecordType::PTR {
            // Addresses are known whatever the zones are; the name of one that is not may be somebody else's.
            let address = address_of_reverse_name(name);
            let set = address.and_then(|address| self.table.load().names(address).cloned());
            return set.map_or(Found::NotOurs, Found::Records);
        }
        if !self.zones.contains(name) {
            return Found::NotOurs;
        }
        let table = self.table.load();
        let set = match query.qtype {
            RecordType::A => table.records(name).map(|records| &records.a),
            RecordType::AAAA => table.records(name).map(|records| &records.aaaa),
            _ if self.pass_other_types && self.fallthrough.covers(name) => return Found::NotOurs,
            _ => table.records(name).map(|_| &None),
        };
        match set {
            Some(Some(set)) => Found::Records(Arc::clone(set)),
            Some(None) => Found::OtherTypes,
            None => Found::Nothing,
        }
    }
}

/// CoreDNS answers with the name in lower case, however it was asked.
fn owner(query: &Query) -> Owner {
    if query.spelled().is_lower() { Owner::Question } else { Owner::Name(query.name().to_name()) }
}
