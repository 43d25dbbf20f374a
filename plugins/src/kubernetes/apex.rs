//! The zone's own name servers: NS records at the apex and the addresses of `ns.dns`.
//!
//! The addresses of this machine lead to its endpoints, these to their services: usually the cluster IP of `kube-dns`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::ControlFlow;

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::name::{Name, NameRef};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, RecordSetBuilder};

use super::finding::{Finding, reply};
use super::index::{EndpointRef, Kind, Slice};
use super::shared::{Place, Shared};
use super::srv::{MOST_NAMES, service_name};
use super::zone;

/// The NS records of a zone, with addresses.
pub(super) fn name_servers(shared: &Shared, query: &Query, place: Place<'_>) -> Finding {
    let (ttl, zone) = (shared.index.ttl(), query.spelled().suffix(place.offset));
    let mut set = RecordSetBuilder::new(RecordType::NS, ttl);
    let mut reply = reply(query);
    let mut names = HashSet::with_hasher(RandomState::default());
    // Without duplicates (RFC 2181 section 5).
    let mut seen = HashSet::with_hasher(RandomState::default());
    let _ = each_server(shared, |server, address| {
        let Some(name) = server.name(zone) else { return ControlFlow::Continue(()) };
        if names.insert(name.clone()) {
            set.push(name.as_wire());
        }
        if reply.additional.len() <= MOST_NAMES && seen.insert((name.clone(), address)) {
            let addresses = RecordSet::addresses(ttl, [address]);
            reply.additional.extend(addresses.map(|set| Entry::of(Owner::Name(name), set)));
        }
        if names.len() > MOST_NAMES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if set.is_empty() {
        return Finding::NoData;
    }
    reply.answer.push(Entry::of_question(set.finish()));
    Finding::Reply(reply)
}

/// The addresses of `ns.dns`.
pub(super) fn name_server_address(shared: &Shared, query: &Query) -> Finding {
    let v4 = match query.qtype {
        RecordType::A => true,
        RecordType::AAAA => false,
        _ => return Finding::NoData,
    };
    let mut seen = HashSet::with_hasher(RandomState::default());
    let mut addresses = Vec::new();
    let _ = each_server(shared, |_, address| {
        if address.is_ipv4() == v4 && seen.insert(address) {
            addresses.push(address);
        }
        ControlFlow::Continue(())
    });
    Finding::records(RecordSet::addresses(shared.index.ttl(), addresses))
}

/// What is a name server of the zones.
enum Server<'a> {
    /// A service with cluster IPs.
    Service(&'a [u8]),
    /// An endpoint of a headless one.
    Endpoint(&'a [u8], EndpointRef<'a>),
    /// This machine, where no service is known to lead to it.
    Machine,
}

impl Server<'_> {
    fn name(&self, zone: NameRef<'_>) -> Option<Name> {
        match self {
            Server::Service(key) => service_name(None, key, zone),
            Server::Endpoint(key, endpoint) => {
                endpoint.with_label(|label| service_name(Some(label), key, zone))
            }
            Server::Machine => zone::below(["ns", "dns"], zone).map(|name| name.to_name()),
        }
    }
}

/// Goes through the servers and their addresses (CoreDNS's `nsAddrs`), as long as `each` wants more.
fn each_server(
    shared: &Shared,
    mut each: impl FnMut(Server<'_>, IpAddr) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut is_endpoint = false;
    for address in &shared.local_addresses {
        shared.index.slices_at(*address, |slices| {
            is_endpoint |= !slices.is_empty();
            slices.iter().try_for_each(|slice| each_server_of(shared, slice, &mut each))
        })?;
    }
    if is_endpoint {
        return ControlFlow::Continue(());
    }
    shared.local_addresses.iter().try_for_each(|address| each(Server::Machine, *address))
}

/// The service that a slice belongs to: its cluster IPs, or the slice's endpoints if it is headless.
fn each_server_of(
    shared: &Shared,
    slice: &Slice,
    each: &mut impl FnMut(Server<'_>, IpAddr) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(key) = &slice.service else { return ControlFlow::Continue(()) };
    shared.index.service(key, |entry| match entry.map(|entry| (&entry.kind, entry)) {
        Some((Kind::Cluster, entry)) => {
            let mut addresses = entry.address_sets(shared.index.ttl()).addresses();
            addresses.try_for_each(|address| each(Server::Service(key), address))
        }
        Some((Kind::Headless, _)) => slice
            .endpoints()
            .try_for_each(|endpoint| each(Server::Endpoint(key, endpoint), endpoint.address)),
        _ => ControlFlow::Continue(()),
    })
}
