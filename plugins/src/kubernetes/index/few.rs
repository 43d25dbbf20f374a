//! One value nearly always, several sometimes: what an address maps to.

use std::hash::Hash;

use smallvec::SmallVec;

use super::Map;

/// One or several values, in 16 bytes where a value is a pointer.
#[derive(Clone, Debug)]
pub(crate) enum Few<T> {
    One(T),
    Many(Box<[T]>),
}

impl<T> Few<T> {
    /// All of them, in the order in which they came.
    pub(crate) fn as_slice(&self) -> &[T] {
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

/// Puts `new` in the place of the value that `is_old` knows, adds it where there is none, or with `new` absent takes the old one
/// away. A key without values leaves the map.
pub(super) fn replace<K, T>(
    map: &Map<K, Few<T>>,
    key: K,
    is_old: impl Fn(&T) -> bool,
    mut new: Option<T>,
) where
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
