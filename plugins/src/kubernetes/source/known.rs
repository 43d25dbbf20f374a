//! What a source has reported so far, so that only differences are reported.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::decode::{Decoded, Meaning, gone};
use crate::kubernetes::objects::{Change, ObjectKey, Resource};

/// The objects of one kind that were reported: their names, and a hash of what was said of each.
///
/// A list is compared with it while it is read: an object that is as before is passed over, and what no list has named is gone once
/// the list has ended. Nothing is gone when a list is cut short. The objects themselves are in the index only.
pub(super) struct Known {
    resource: Resource,
    /// By `namespace/name`.
    objects: HashMap<Box<str>, Entry, RandomState>,
    hasher: RandomState,
    /// Number of the list that is being read, or was read last.
    list: u32,
    /// The key being looked up; kept so that a look-up allocates nothing.
    text: String,
}

struct Entry {
    /// Hash of the change that was reported. A change is overlooked once in 2^64.
    hash: u64,
    /// The last list that named it.
    list: u32,
}

impl Known {
    pub(super) fn new(resource: Resource) -> Known {
        Known {
            resource,
            objects: HashMap::default(),
            hasher: RandomState::default(),
            list: 0,
            text: String::new(),
        }
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// A list begins: from here on, what is seen counts as named by it.
    pub(super) fn list_begins(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// An object is there. Returns what there is to report.
    pub(super) fn seen(&mut self, decoded: Decoded) -> Option<Change> {
        match decoded.meaning {
            Meaning::Present(change) => self.present(&decoded.key, change),
            Meaning::Nameless => self.gone(decoded.key),
            Meaning::Unchanged => {
                self.write_key(&decoded.key);
                if let Some(entry) = self.objects.get_mut(self.text.as_str()) {
                    entry.list = self.list;
                }
                None
            }
        }
    }

    fn present(&mut self, key: &ObjectKey, change: Change) -> Option<Change> {
        self.write_key(key);
        let hash = self.hasher.hash_one(&change);
        let list = self.list;
        match self.objects.get_mut(self.text.as_str()) {
            Some(entry) => {
                entry.list = list;
                let old = std::mem::replace(&mut entry.hash, hash);
                (old != hash).then_some(change)
            }
            None => {
                self.objects.insert(self.text.as_str().into(), Entry { hash, list });
                Some(change)
            }
        }
    }

    /// An object is gone. Returns what there is to report: nothing if it was not known.
    pub(super) fn gone(&mut self, key: ObjectKey) -> Option<Change> {
        self.write_key(&key);
        self.objects.remove(self.text.as_str()).map(|_| gone(self.resource, key))
    }

    /// The list is complete: what it did not name is gone.
    pub(super) fn list_ended(&mut self) -> Vec<Change> {
        let unnamed = self.objects.extract_if(|_, entry| entry.list != self.list);
        unnamed.map(|(text, _)| gone(self.resource, key_of(&text))).collect()
    }

    fn write_key(&mut self, key: &ObjectKey) {
        self.text.clear();
        self.text.push_str(&key.namespace);
        self.text.push('/');
        self.text.push_str(&key.name);
    }
}

fn key_of(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }
}
