//! What all queries of the plugin share.

use std::net::IpAddr;
use std::sync::Arc;

use periplus_core::name::{Name, NameRef};
use periplus_core::query::Query;
use periplus_core::record::Entry;
use periplus_core::zone::Fallthrough;

use super::index::Index;
use super::names::Tree;
use super::zone::ServedZone;

/// All of it.
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

/// Which Pod names are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PodMode {
    /// None.
    #[default]
    Disabled,
    /// All that are an address, whether or not there is such a Pod.
    Insecure,
    /// Those of Pods that exist.
    Verified,
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
}
