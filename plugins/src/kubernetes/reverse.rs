//! From addresses to names.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::name::Name;
use periplus_core::query::Query;
use periplus_core::record::{RecordSet, RecordSetBuilder, address_of_reverse_name};

use super::finding::Finding;
use super::index::EndpointRef;
use super::shared::Shared;
use super::{names, srv};

/// The label between a service and the zone.
const SVC: &[u8] = b"\x03svc";

/// Looks up a name outside the service schema: a reverse name or none at all.
pub(super) fn find(shared: &Shared, query: &Query) -> Finding {
    let name = query.name();
    if !name.as_wire().ends_with(b"\x04arpa\0") {
        return Finding::NameError;
    }
    let Some(address) = address_of_reverse_name(name) else { return Finding::NameError };
    match (query.qtype, pointers(shared, address.to_canonical())) {
        (RecordType::PTR, Some(set)) => Finding::records(Some(set)),
        (RecordType::SOA, Some(_)) => Finding::NoData,
        // Other types are no such name, as in CoreDNS.
        _ => Finding::NameError,
    }
}

/// Looks up the PTR records of a zone's own name, which may be that of one address (`10.96.0.1/32`).
pub(super) fn find_apex(shared: &Shared, query: &Query) -> Finding {
    match address_of_reverse_name(query.name()) {
        Some(address) => {
            let set = pointers(shared, address.to_canonical());
            set.map_or(Finding::WronglyDenied, Finding::Records)
        }
        None => Finding::NoData,
    }
}

/// The PTR records of an address: of one service that has it as cluster IP, or else of all endpoints that have it.
fn pointers(shared: &Shared, address: IpAddr) -> Option<Arc<RecordSet>> {
    let ttl = shared.index.ttl();
    let of_service = shared.index.services_at(address, |services| {
        let key = services.iter().find(|key| is_answered(shared, key))?;
        let zone = shared.primary_zone.as_ref();
        let make = || {
            let target = srv::service_name(None, key, zone)?;
            Some(RecordSet::name(RecordType::PTR, ttl, target.as_ref()))
        };
        // In the target the zone stands behind the key and `svc`.
        let fits = |set: &RecordSet| {
            let target = set.rdata().next().unwrap_or_default();
            target.get(key.len() + SVC.len()..) == Some(zone.as_wire())
        };
        shared.index.service(key, |entry| entry?.pointer(fits, make))
    });
    if of_service.is_some() {
        return of_service;
    }
    let mut targets = Targets::default();
    shared.index.slices_at(address, |slices| {
        for slice in slices {
            let Some(key) = slice.service.as_ref().filter(|key| is_answered(shared, key)) else {
                continue;
            };
            for endpoint in slice.endpoints().filter(|endpoint| endpoint.address == address) {
                if targets.names.len() > srv::MOST_NAMES {
                    return;
                }
                if let Some(name) = endpoint_name(shared, &endpoint, key) {
                    targets.add(name);
                }
            }
        }
    });
    let mut set = RecordSetBuilder::new(RecordType::PTR, ttl);
    targets.names.iter().for_each(|target| set.push(target.as_wire()));
    if set.is_empty() { None } else { Some(set.finish()) }
}

/// Names without duplicates.
#[derive(Default)]
struct Targets {
    /// In the order in which they came.
    names: Vec<Name>,
    /// The same, once they are many.
    set: Option<HashSet<Name, RandomState>>,
}

/// So many names are compared one by one, which is all that nearly every address needs.
const FEW: usize = 16;

impl Targets {
    fn add(&mut self, name: Name) {
        let names = &self.names;
        let is_new = match names.len() < FEW {
            true => !names.contains(&name),
            false => {
                self.set.get_or_insert_with(|| names.iter().cloned().collect()).insert(name.clone())
            }
        };
        if is_new {
            self.names.push(name);
        }
    }
}

fn endpoint_name(shared: &Shared, endpoint: &EndpointRef<'_>, key: &[u8]) -> Option<Name> {
    endpoint.with_label(|label| srv::service_name(Some(label), key, shared.primary_zone.as_ref()))
}

/// Only the option `namespaces` hides PTR records; `namespace_labels` does not, as in CoreDNS.
fn is_answered(shared: &Shared, key: &[u8]) -> bool {
    !shared.has_namespace_list
        || names::key_labels(key).nth(1).is_some_and(|namespace| shared.index.is_exposed(namespace))
}
