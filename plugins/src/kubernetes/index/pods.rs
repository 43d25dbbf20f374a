//! Which Pod addresses are there, for `pods verified`.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::Map;

/// What queries ask: is there a Pod with this address in this namespace? Pods on the host's network share an address, hence the
/// count.
#[derive(Default)]
pub(super) struct Pods(Map<(IpAddr, u32), u32>);

impl Pods {
    pub(super) fn contains(&self, namespace: u32, address: IpAddr) -> bool {
        self.0.pin().contains_key(&(address, namespace))
    }

    pub(super) fn add(&self, namespace: u32, address: IpAddr) {
        self.0.pin().update_or_insert((address, namespace), |count| count + 1, 1);
    }

    pub(super) fn take(&self, namespace: u32, address: IpAddr) {
        let pods = self.0.pin();
        match pods.get(&(address, namespace)) {
            Some(1) => drop(pods.remove(&(address, namespace))),
            Some(count) => drop(pods.insert((address, namespace), count - 1)),
            None => {}
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(IpAddr, u32)> {
        self.0.pin().keys().copied().collect()
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
