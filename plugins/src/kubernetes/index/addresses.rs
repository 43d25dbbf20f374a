//! What addresses map to.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::{Map, make_roomy};

/// A map from addresses, apart for the two families: an entry with an IPv4 address takes 16 bytes less than one that has room for
/// both, and there are as many entries as endpoints.
pub(super) struct AddressMap<T> {
    v4: Map<Ipv4Addr, Few<T>>,
    v6: Map<Ipv6Addr, Few<T>>,
}

/// One value nearly always, several sometimes; 16 bytes where a value is a pointer.
#[derive(Clone, Debug)]
enum Few<T> {
    One(T),
    Many(Box<[T]>),
}

impl<T> Default for AddressMap<T> {
    fn default() -> AddressMap<T> {
        AddressMap { v4: Map::default(), v6: Map::default() }
    }
}

impl<T: Clone> AddressMap<T> {
    /// Looks at the values of an address, in the order in which they came.
    pub(super) fn at<R>(&self, address: IpAddr, read: impl FnOnce(&[T]) -> R) -> R {
        match address {
            IpAddr::V4(address) => read(self.v4.pin().get(&address).map_or(&[], Few::as_slice)),
            IpAddr::V6(address) => read(self.v6.pin().get(&address).map_or(&[], Few::as_slice)),
        }
    }

    /// Puts `new` in the place of the value that `is_old` knows, adds it where there is none, or with `new` absent takes the old one
    /// away. An address without values leaves the map.
    pub(super) fn replace(&self, address: IpAddr, is_old: impl Fn(&T) -> bool, new: Option<T>) {
        match address {
            IpAddr::V4(address) => replace(&self.v4, address, is_old, new),
            IpAddr::V6(address) => replace(&self.v6, address, is_old, new),
        }
    }

    /// See [`super::make_roomy`].
    pub(super) fn make_roomy(&self) {
        make_roomy(&self.v4);
        make_roomy(&self.v6);
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(IpAddr, Vec<T>)> {
        let (v4, v6) = (self.v4.pin(), self.v6.pin());
        let v4 = v4.iter().map(|(address, few)| (IpAddr::V4(*address), few.as_slice().to_vec()));
        v4.chain(v6.iter().map(|(address, few)| (IpAddr::V6(*address), few.as_slice().to_vec())))
            .collect()
    }
}

impl<T> Few<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Few::One(one) => std::slice::from_ref(one),
            Few::Many(many) => many,
        }
    }

    fn from(mut all: SmallVec<[T; 1]>) -> Option<Few<T>> {
        match all.len() {
            0 | 1 => all.pop().map(Few::One),
            _ => Some(Few::Many(all.into_vec().into_boxed_slice())),
        }
    }
}

fn replace<K, T>(map: &Map<K, Few<T>>, key: K, is_old: impl Fn(&T) -> bool, mut new: Option<T>)
where
    K: Hash + Eq,
    T: Clone,
{
    let map = map.pin();
    let old = map.get(&key).map_or(&[][..], Few::as_slice);
    let mut all: SmallVec<[T; 1]> = SmallVec::with_capacity(old.len() + 1);
    for value in old {
        if is_old(value) {
            all.extend(new.take());
        } else {
            all.push(value.clone());
        }
    }
    all.extend(new);
    match Few::from(all) {
        Some(few) => drop(map.insert(key, few)),
        None => drop(map.remove(&key)),
    }
}
