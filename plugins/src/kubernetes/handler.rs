use std::net::IpAddr;
use std::sync::Arc;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::name::{Name, NameRef};
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::record::Entry;
use periplus_core::reply::{Failure, Reply};
use periplus_core::zone::Fallthrough;

use super::answers::{self, Finding};
use super::index::Index;
use super::names::Tree;
use super::pods::PodMode;
use super::zone::ServedZone;
use super::{NAME, external_name};

/// Answers for services, pods and their addresses.
pub(super) struct Kubernetes(pub(super) Arc<Shared>);

/// What all queries share.
pub(super) struct Shared {
    pub(super) index: Arc<Index>,
    /// The plugin's zones.
    pub(super) zones: Vec<ServedZone>,
    /// The zone that PTR records point into.
    pub(super) primary_zone: Name,
    pub(super) pods: PodMode,
    /// Whether services without ready endpoints are denied.
    pub(super) ignore_empty_service: bool,
    /// Whether the option `namespaces` is there.
    pub(super) has_namespace_list: bool,
    /// Addresses of this machine, loopback left out.
    pub(super) local_addresses: Vec<IpAddr>,
    pub(super) fallthrough: Fallthrough,
}

/// Where a name lies.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The zone it is in.
    pub(super) zone: &'a ServedZone,
    /// At which byte of the name the zone begins.
    pub(super) offset: usize,
}

impl Place<'_> {
    pub(super) fn soa(self, query: &Query, serial: u32) -> Entry {
        self.zone.soa(query, self.offset, serial)
    }
}

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
                let mut reply = answers::reply(query);
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

impl Shared {
    /// The longest zone that a name in lower case lies in.
    pub(super) fn place(&self, name: NameRef<'_>) -> Option<Place<'_>> {
        let places = self
            .zones
            .iter()
            .filter_map(|zone| Some(Place { zone, offset: name.zone_offset(zone.name.as_ref())? }));
        places.min_by_key(|place| place.offset)
    }

    /// Whether there are names below a namespace in one half of the schema.
    pub(super) fn has(&self, tree: Tree, namespace: &[u8]) -> bool {
        (tree == Tree::Svc || self.pods != PodMode::Disabled) && self.index.is_exposed(namespace)
    }

    /// A reply that holds nothing but the SOA record.
    pub(super) fn empty(&self, query: &Query, place: Place<'_>, rcode: Rcode) -> Reply {
        let mut reply = answers::reply(query);
        reply.rcode = rcode;
        reply.authority.push(place.soa(query, self.index.serial()));
        reply
    }
}
