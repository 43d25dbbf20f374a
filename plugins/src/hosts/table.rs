use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::name::{Name, NameRef};
use periplus_core::record::{RecordSet, RecordSetBuilder};

use super::entries::{Addresses, Entries};

/// What queries are answered from: all sources merged, record sets ready to send. Strangers choose the names that are looked up, so
/// the maps hash with a seed of the process's own.
#[derive(Default)]
pub(super) struct Table {
    exact: HashMap<Name, Records, RandomState>,
    /// By the name below which the wildcard stands.
    wildcards: HashMap<Name, Records, RandomState>,
    reverse: HashMap<IpAddr, Arc<RecordSet>, RandomState>,
}

/// The record sets of one name; at least one of them is there.
#[derive(Clone)]
pub(super) struct Records {
    pub(super) a: Option<Arc<RecordSet>>,
    pub(super) aaaa: Option<Arc<RecordSet>>,
}

impl Table {
    /// Merges sources; the records of the first one come first. Records that are in both are kept twice, as in CoreDNS.
    pub(super) fn merge(sources: &[&Entries], ttl: u32) -> Table {
        let mut sets = Interned::default();
        let mut exact = HashMap::default();
        for name in keys_of(sources.iter().map(|source| &source.exact)) {
            let parent = covering_wildcard(name.as_ref());
            let found = sources.iter().map(|source| {
                let wildcard = parent.and_then(|parent| source.wildcards.get(parent.as_wire()));
                (source.exact.get(name), wildcard)
            });
            exact.insert(name.clone(), sets.records(found, ttl));
        }
        let mut wildcards = HashMap::default();
        for parent in keys_of(sources.iter().map(|source| &source.wildcards)) {
            let found = sources.iter().map(|source| (None, source.wildcards.get(parent)));
            wildcards.insert(parent.clone(), sets.records(found, ttl));
        }
        let mut reverse = HashMap::default();
        for address in keys_of(sources.iter().map(|source| &source.reverse)) {
            let names = sources.iter().filter_map(|source| source.reverse.get(address)).flatten();
            let mut set = RecordSetBuilder::new(RecordType::PTR, ttl);
            names.for_each(|name| set.push(name.as_wire()));
            reverse.insert(*address, set.finish());
        }
        Table { exact, wildcards, reverse }
    }

    /// The records of a name in lower case.
    pub(super) fn records(&self, name: NameRef<'_>) -> Option<&Records> {
        self.exact.get(name.as_wire()).or_else(|| {
            // Nearly always there is no wildcard at all.
            if self.wildcards.is_empty() {
                return None;
            }
            self.wildcards.get(covering_wildcard(name)?.as_wire())
        })
    }

    /// The PTR records of an address.
    pub(super) fn names(&self, address: IpAddr) -> Option<&Arc<RecordSet>> {
        self.reverse.get(&address.to_canonical())
    }
}

/// Below which name a wildcard would have to stand to cover this one: exactly one label higher, and not at the root, where CoreDNS
/// never looks.
fn covering_wildcard(name: NameRef<'_>) -> Option<NameRef<'_>> {
    name.parent().filter(|parent| !parent.is_root())
}

/// Equal sets share their memory: a list of blocked names has one address for all of them.
#[derive(Default)]
struct Interned(HashSet<Arc<RecordSet>, RandomState>);

impl Interned {
    /// The records of a name, given what each source has for it and for the wildcard that covers it.
    fn records<'a>(
        &mut self,
        found: impl Iterator<Item = (Option<&'a Addresses>, Option<&'a Addresses>)>,
        ttl: u32,
    ) -> Records {
        let mut v4: Vec<&[Ipv4Addr]> = Vec::new();
        let mut v6: Vec<&[Ipv6Addr]> = Vec::new();
        for (exact, wildcard) in found {
            let both = [exact, wildcard].into_iter().flatten();
            v4.extend(
                both.clone().map(|a| a.v4.as_slice()).find(|addresses| !addresses.is_empty()),
            );
            v6.extend(both.map(|a| a.v6.as_slice()).find(|addresses| !addresses.is_empty()));
        }
        let v4 = v4.concat().into_iter().map(IpAddr::V4);
        let v6 = v6.concat().into_iter().map(IpAddr::V6);
        Records { a: self.set(v4, ttl), aaaa: self.set(v6, ttl) }
    }

    fn set(&mut self, addresses: impl Iterator<Item = IpAddr>, ttl: u32) -> Option<Arc<RecordSet>> {
        let set = RecordSet::addresses(ttl, addresses)?;
        if let Some(known) = self.0.get(&set) {
            return Some(Arc::clone(known));
        }
        self.0.insert(Arc::clone(&set));
        Some(set)
    }
}

/// All keys of several maps, each once.
fn keys_of<'a, K: Eq + Hash, V: 'a>(
    maps: impl Iterator<Item = &'a HashMap<K, V, RandomState>>,
) -> HashSet<&'a K, RandomState> {
    maps.flat_map(HashMap::keys).collect()
}
