//! SRV records with the addresses of their targets (CoreDNS's `plugin.SRV`).

use std::collections::HashSet;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::name::{Name, NameRef};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, RecordSetBuilder, srv_rdata};
use periplus_core::reply::Reply;

use super::finding::{Finding, reply};
use super::index::{AddressSets, EndpointQuery, EndpointRef, PortRef};
use super::shared::{Place, Shared};
use super::{dashed, names, zone};

/// More RDATA than fits any message is not worth making: the encoder cuts the answer either way.
const MOST_BYTES: usize = 65_535;

/// The same where RDATA is a name: such a record takes 12 bytes and a compression pointer at least.
pub(super) const MOST_NAMES: usize = MOST_BYTES / 14;

/// A reply to an SRV question while it is put together.
pub(super) struct SrvReply<'a> {
    reply: Reply,
    set: RecordSetBuilder,
    bytes: usize,
    weight: u16,
    ttl: u32,
    key: &'a [u8],
    zone: NameRef<'a>,
    ports: HashSet<(Id<'a>, u16), RandomState>,
    addresses: HashSet<(Id<'a>, IpAddr), RandomState>,
}

/// What tells one endpoint's name from another's, mostly without making the name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Id<'a> {
    /// It has a name that is not an address.
    Named(&'a [u8]),
    /// An address names it: its own, or that of another endpoint as its host name.
    Dashed(IpAddr),
}

impl<'a> Id<'a> {
    pub(super) fn of(endpoint: &EndpointRef<'a>) -> Id<'a> {
        if endpoint.name.is_empty() {
            return Id::Dashed(endpoint.address);
        }
        match EndpointQuery::named(endpoint.name) {
            EndpointQuery::Named { address: Some(address), .. } => Id::Dashed(address),
            _ => Id::Named(endpoint.name),
        }
    }

    /// Calls `then` with the label that names the endpoint.
    fn with_label<R>(self, then: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Id::Named(name) => then(name),
            Id::Dashed(address) => then(dashed::endpoint_label(address).as_bytes()),
        }
    }
}

impl<'a> SrvReply<'a> {
    /// For a service, with so many pairs of an address and a port; they share the weight 100, those without a number too, and each
    /// gets 1 at least.
    pub(super) fn new(
        shared: &Shared,
        query: &'a Query,
        place: Place<'_>,
        key: &'a [u8],
        candidates: usize,
    ) -> Self {
        let ttl = shared.index.ttl();
        SrvReply {
            reply: reply(query),
            set: RecordSetBuilder::new(RecordType::SRV, ttl),
            bytes: 0,
            weight: (100 / candidates.max(1)).max(1) as u16,
            ttl,
            key,
            zone: query.spelled().suffix(place.offset),
            ports: HashSet::default(),
            addresses: HashSet::default(),
        }
    }

    /// Adds the ports of a service with cluster IPs: the target is its own name.
    pub(super) fn add_cluster<'p>(
        &mut self,
        ports: impl Iterator<Item = PortRef<'p>>,
        sets: &AddressSets,
    ) {
        let Some(target) = self.target(None) else { return };
        if sets.both().next().is_none() {
            return;
        }
        let mut seen = HashSet::with_hasher(RandomState::default());
        for number in ports.filter_map(|port| port.number) {
            if seen.insert(number) {
                self.push(number, &target);
            }
            if self.bytes > MOST_BYTES {
                break;
            }
        }
        if !self.set.is_empty() {
            let entries =
                sets.both().map(|set| Entry::of(Owner::Name(target.clone()), set.clone()));
            self.reply.additional.extend(entries);
        }
    }

    /// Adds one port of an endpoint; `false` when the answer is as large as any message.
    pub(super) fn add(&mut self, id: Id<'a>, port: PortRef<'_>, address: IpAddr) -> bool {
        let Some(number) = port.number else { return true };
        let (new_port, new_address) =
            (self.ports.insert((id, number)), self.addresses.insert((id, address)));
        if !new_port && !new_address {
            return true;
        }
        let Some(target) = id.with_label(|label| self.target(Some(label))) else { return true };
        if new_port {
            self.push(number, &target);
        }
        if new_address && let Some(set) = RecordSet::addresses(self.ttl, [address]) {
            self.reply.additional.push(Entry::of(Owner::Name(target), set));
        }
        self.bytes <= MOST_BYTES
    }

    /// The reply, or NODATA when no port has a number.
    pub(super) fn finish(mut self) -> Finding {
        if self.set.is_empty() {
            return Finding::NoData;
        }
        self.reply.answer.push(Entry::of_question(self.set.finish()));
        Finding::Reply(self.reply)
    }

    fn push(&mut self, port: u16, target: &Name) {
        let rdata = srv_rdata(0, self.weight, port, target.as_ref());
        self.bytes += rdata.len();
        self.set.push(&rdata);
    }

    /// The name of the service or of one endpoint, the zone spelled as in the question.
    fn target(&self, endpoint: Option<&[u8]>) -> Option<Name> {
        service_name(endpoint, self.key, self.zone)
    }
}

/// `S.N.svc.ZONE` or `E.S.N.svc.ZONE`; `None` when that is too long for a name.
pub(super) fn service_name(endpoint: Option<&[u8]>, key: &[u8], zone: NameRef<'_>) -> Option<Name> {
    let labels = endpoint.into_iter().chain(names::key_labels(key)).chain([&b"svc"[..]]);
    Some(zone::below(labels, zone)?.to_name())
}
