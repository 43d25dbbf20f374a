//! Which Pod addresses are there, for `pods verified`.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;

use super::Map;

/// What queries ask: is there a Pod with this address in this namespace? Apart for the two families, as an entry with an IPv4 address
/// takes a third less memory so.
#[derive(Default)]
pub(super) struct Pods {
    v4: Counts<Ipv4Addr>,
    v6: Counts<Ipv6Addr>,
}

/// By address and number of the namespace. Pods on the host's network share an address, hence the count.
type Counts<A> = Map<(A, u32), u32>;

impl Pods {
    pub(super) fn contains(&self, namespace: u32, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.pin().contains_key(&(address, namespace)),
            IpAddr::V6(address) => self.v6.pin().contains_key(&(address, namespace)),
        }
    }

    pub(super) fn add(&self, namespace: u32, address: IpAddr) {
        match address {
            IpAddr::V4(address) => add(&self.v4, (address, namespace)),
            IpAddr::V6(address) => add(&self.v6, (address, namespace)),
        }
    }

    pub(super) fn take(&self, namespace: u32, address: IpAddr) {
        match address {
            IpAddr::V4(address) => take(&self.v4, (address, namespace)),
            IpAddr::V6(address) => take(&self.v6, (address, namespace)),
        }
    }

    /// Walks through all addresses with the numbers of their namespaces.
    pub(super) fn each(&self, mut visit: impl FnMut(IpAddr, u32)) {
        self.v4.pin().keys().for_each(|(address, namespace)| visit((*address).into(), *namespace));
        self.v6.pin().keys().for_each(|(address, namespace)| visit((*address).into(), *namespace));
    }
}

fn add<A: Copy + Eq + Hash>(counts: &Counts<A>, key: (A, u32)) {
    counts.pin().update_or_insert(key, |count| count + 1, 1);
}

fn take<A: Copy + Eq + Hash>(counts: &Counts<A>, key: (A, u32)) {
    let counts = counts.pin();
    match counts.get(&key) {
        Some(1) => drop(counts.remove(&key)),
        Some(count) => drop(counts.insert(key, count - 1)),
        None => {}
    }
}

/// Address of each Pod, by number of the namespace and name in one piece of memory; the writer's alone.
#[derive(Default)]
pub(super) struct PodAddresses(HashMap<Box<[u8]>, IpAddr, RandomState>);

impl PodAddresses {
    /// Notes a Pod's address and gives back the one it had.
    pub(super) fn set(&mut self, namespace: u32, name: &str, address: IpAddr) -> Option<IpAddr> {
        self.0.insert(key(namespace, name), address)
    }

    /// Forgets a Pod and gives back the address it had.
    pub(super) fn remove(&mut self, namespace: u32, name: &str) -> Option<IpAddr> {
        self.0.remove(&key(namespace, name))
    }
}

fn key(namespace: u32, name: &str) -> Box<[u8]> {
    [&namespace.to_be_bytes(), name.as_bytes()].concat().into()
}
