//! The zone's own name servers: NS records at the apex and the addresses of `ns.dns`.
//!
//! The addresses of this machine lead to its endpoints, these to their services: usually the cluster IP of `kube-dns`.

use std::collections::HashSet;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::name::{Name, NameRef};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, RecordSetBuilder};

use super::finding::{Finding, reply};
use super::index::{Kind, Slice};
use super::shared::{Place, Shared};
use super::{srv, zone};

/// The NS records of a zone, with addresses.
pub(super) fn name_servers(shared: &Shared, query: &Query, place: Place<'_>) -> Finding {
    let ttl = shared.index.ttl();
    let servers = servers(shared, query.spelled().suffix(place.offset));
    let mut set = RecordSetBuilder::new(RecordType::NS, ttl);
    let mut reply = reply(query);
    let mut seen = HashSet::with_hasher(RandomState::default());
    for (name, address) in &servers {
        if seen.insert(name) {
            set.push(name.as_wire());
        }
        let addresses = RecordSet::addresses(ttl, [*address]);
        reply.additional.extend(addresses.map(|set| Entry::of(Owner::Name(name.clone()), set)));
    }
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
    let addresses = servers(shared, NameRef::ROOT).into_iter().map(|(_, address)| address);
    let addresses = addresses.filter(|address| address.is_ipv4() == v4 && seen.insert(*address));
    Finding::records(RecordSet::addresses(shared.index.ttl(), addresses))
}

/// Names and addresses of the servers (CoreDNS's `nsAddrs`), without duplicates (RFC 2181 section 5).
fn servers(shared: &Shared, zone: NameRef<'_>) -> Vec<(Name, IpAddr)> {
    let mut servers = Vec::new();
    let mut is_endpoint = false;
    for address in &shared.local_addresses {
        shared.index.slices_at(*address, |slices| {
            is_endpoint |= !slices.is_empty();
            for slice in slices {
                servers_of(shared, slice, zone, &mut servers);
            }
        });
    }
    if !is_endpoint {
        let name = zone::below(["ns", "dns"], zone).map(|name| name.to_name());
        let own = |name: &Name| {
            shared.local_addresses.iter().map(|address| (name.clone(), *address)).collect()
        };
        servers = name.as_ref().map_or_else(Vec::new, own);
    }
    let mut seen = HashSet::with_hasher(RandomState::default());
    servers.retain(|server| seen.insert(server.clone()));
    servers
}

/// The service that a slice belongs to: its cluster IPs, or the slice's endpoints if it is headless.
fn servers_of(
    shared: &Shared,
    slice: &Slice,
    zone: NameRef<'_>,
    servers: &mut Vec<(Name, IpAddr)>,
) {
    let Some(key) = &slice.service else { return };
    shared.index.service(key, |entry| match entry.map(|entry| (&entry.kind, entry)) {
        Some((Kind::Cluster, entry)) => {
            let Some(name) = srv::service_name(None, key, zone) else { return };
            servers.extend(
                entry
                    .address_sets(shared.index.ttl())
                    .addresses()
                    .map(|address| (name.clone(), address)),
            );
        }
        Some((Kind::Headless, _)) => {
            for endpoint in slice.endpoints() {
                let name = endpoint.with_label(|label| srv::service_name(Some(label), key, zone));
                servers.extend(name.map(|name| (name, endpoint.address)));
            }
        }
        _ => {}
    });
}
