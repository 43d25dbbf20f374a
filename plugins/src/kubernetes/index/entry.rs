//! A service with its endpoints: the unit that changes at once.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::record::{self, RecordSet};
use smallvec::SmallVec;

use super::namespace::Namespace;
use super::ports::Ports;
use super::slice::Slice;

/// All that is known under one service name. Never changed: an event puts a new one in its place.
#[derive(Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) kind: Kind,
    /// Ports of the Service.
    pub(crate) ports: Ports,
    /// Its EndpointSlices, which may be there before the Service is.
    pub(crate) slices: Slices,
    /// The cluster IPs; for a headless service all its endpoints, made when first asked for.
    pub(super) addresses: OnceLock<AddressSets>,
    /// What its cluster IPs point back to, made when first asked for, for the zone of whoever asked first.
    pub(super) pointer: OnceLock<Arc<RecordSet>>,
}

/// Nearly every service has one slice, or one for each family: no memory of their own for those.
pub(super) type Slices = SmallVec<[Arc<Slice>; 2]>;

/// What a Service answers with.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Only slices have been seen.
    Absent,
    /// With cluster IPs.
    Cluster,
    /// With its endpoints.
    Headless,
    /// With a name elsewhere.
    External(Target),
}

/// Where an ExternalName Service leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To another name, by a CNAME.
    Name(Arc<RecordSet>),
    /// To an IP address.
    Address,
    /// To a text that is no name and cannot be sent: the API server takes labels of more than 63 bytes.
    Unsendable,
}

/// Addresses as record sets, ready to send.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressSets {
    v4: Option<Arc<RecordSet>>,
    v6: Option<Arc<RecordSet>>,
}

impl ServiceEntry {
    /// Whether the name is answered at all.
    pub(crate) fn is_exposed(&self) -> bool {
        self.namespace.is_exposed()
    }

    /// The addresses that the service's own name has: cluster IPs, or the endpoints of a headless service.
    pub(crate) fn address_sets(&self, ttl: u32) -> &AddressSets {
        if let Some(sets) = self.addresses.get() {
            return sets;
        }
        let sets = AddressSets::of_endpoints(&self.slices, ttl);
        // Two readers may both come here first; the loser throws its work away rather than wait.
        let _ = self.addresses.set(sets);
        self.addresses.get().expect("it has just been set, here or by another reader")
    }

    /// The PTR record of its cluster IPs: the one that is kept if it is what `fits`, or else what `make` makes. Blocks with other zones
    /// share the entry, and so do those before and after a reload; whoever comes second makes its own each time.
    pub(crate) fn pointer(
        &self,
        fits: impl FnOnce(&RecordSet) -> bool,
        make: impl FnOnce() -> Option<Arc<RecordSet>>,
    ) -> Option<Arc<RecordSet>> {
        match self.pointer.get() {
            Some(known) if fits(known) => Some(Arc::clone(known)),
            Some(_) => make(),
            None => {
                let made = make()?;
                // Of two readers that both come here first, the second one keeps its own.
                let _ = self.pointer.set(Arc::clone(&made));
                Some(made)
            }
        }
    }

    /// Whether any endpoint is ready.
    pub(crate) fn has_endpoints(&self) -> bool {
        self.slices.iter().any(|slice| !slice.is_empty())
    }
}

impl AddressSets {
    pub(super) fn new(addresses: &[IpAddr], ttl: u32) -> AddressSets {
        let family =
            |v4| addresses.iter().copied().filter(move |address: &IpAddr| address.is_ipv4() == v4);
        AddressSets {
            v4: RecordSet::addresses(ttl, family(true)),
            v6: RecordSet::addresses(ttl, family(false)),
        }
    }

    fn of_endpoints(slices: &[Arc<Slice>], ttl: u32) -> AddressSets {
        let mut seen = HashSet::with_hasher(RandomState::default());
        let all = slices.iter().flat_map(|slice| slice.addresses());
        let distinct: Vec<IpAddr> = all.filter(|address| seen.insert(*address)).collect();
        AddressSets::new(&distinct, ttl)
    }

    /// The set for a question type; `None` for other types too.
    pub(crate) fn of_type(&self, rtype: RecordType) -> Option<&Arc<RecordSet>> {
        match rtype {
            RecordType::A => self.v4.as_ref(),
            RecordType::AAAA => self.v6.as_ref(),
            _ => None,
        }
    }

    /// The sets of both families that are there.
    pub(crate) fn both(&self) -> impl Iterator<Item = &Arc<RecordSet>> {
        self.v4.iter().chain(&self.v6)
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.both()
            .flat_map(|set| set.rdata().filter_map(|rdata| record::address(set.rtype(), rdata)))
    }
}
