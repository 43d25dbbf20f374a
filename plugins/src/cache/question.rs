//! What replies are found by: all of the question, and its hash brought along.

use std::hash::{BuildHasher, Hash, Hasher};

use papaya::Equivalent;
use periplus_core::codes::{Class, RecordType, flags};
use periplus_core::name::{Name, NameRef};
use periplus_core::query::Query;

use super::side::Side;

/// Type, class and the two bits that change what an upstream answers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Details {
    qtype: RecordType,
    class: Class,
    dnssec_ok: bool,
    checking_disabled: bool,
}

impl Details {
    fn packed(self) -> u64 {
        u64::from(self.qtype.0) << 32
            | u64::from(self.class.0) << 16
            | u64::from(self.dnssec_ok) << 1
            | u64::from(self.checking_disabled)
    }
}

/// A question as it is compared: all of it, hash and content, so that no two questions share an answer by accident.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    hash: u64,
    /// In lower case.
    name: NameRef<'a>,
    /// The same, if somebody owns it already.
    owned: Option<&'a Name>,
    details: Details,
}

impl<'a> Question<'a> {
    /// The question of a query.
    pub(super) fn of(query: &'a Query, seed: &foldhash::quality::RandomState) -> Question<'a> {
        let details = Details {
            qtype: query.qtype,
            class: query.class,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: query.has(flags::CD),
        };
        let mut hasher = seed.build_hasher();
        hasher.write(query.name().as_wire());
        hasher.write_u64(details.packed());
        Question { hash: hasher.finish(), name: query.name(), owned: None, details }
    }

    /// How long its name is on the wire.
    pub(super) fn name_length(self) -> usize {
        self.name.len()
    }

    /// The same on one side, to be kept.
    pub(super) fn key(self, side: Side) -> Key {
        let hash = Lookup { question: self, side }.hash();
        Key { hash, name: self.to_name(), details: self.details, side }
    }
    /// A copy that owns its name.
    pub(super) fn to_owned(self) -> OwnedQuestion {
        OwnedQuestion { hash: self.hash, name: self.to_name(), details: self.details }
    }

    fn to_name(self) -> Name {
        self.owned.cloned().unwrap_or_else(|| self.name.to_name())
    }

    /// Its hash.
    pub(super) fn hash(self) -> u64 {
        self.hash
    }
}

/// A question that owns its name.
pub(super) struct OwnedQuestion {
    hash: u64,
    name: Name,
    details: Details,
}

impl OwnedQuestion {
    /// Borrows it; a copy of that shares the name.
    pub(super) fn borrow(&self) -> Question<'_> {
        let OwnedQuestion { hash, ref name, details } = *self;
        Question { hash, name: name.as_ref(), owned: Some(name), details }
    }

    /// Whether both are the same question.
    pub(super) fn is(&self, other: Question<'_>) -> bool {
        self.hash == other.hash && self.details == other.details && self.name.as_ref() == other.name
    }
}

/// A question on one side.
pub(super) struct Lookup<'a> {
    pub(super) question: Question<'a>,
    pub(super) side: Side,
}

impl Lookup<'_> {
    fn hash(&self) -> u64 {
        // The two sides of one question begin their search in different places.
        self.question.hash ^ (self.side as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Lookup::hash(self));
    }
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.side == key.side
            && self.question.details == key.details
            && self.question.name == key.name.as_ref()
    }
}

/// A question on one side as the map holds it. `hash` includes the side.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    hash: u64,
    name: Name,
    details: Details,
    side: Side,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The hasher of maps whose keys bring their hash along.
#[derive(Clone, Copy, Default)]
pub(super) struct Precomputed;

impl BuildHasher for Precomputed {
    type Hasher = Given;

    fn build_hasher(&self) -> Given {
        Given(0)
    }
}

/// Passes on the one number it is given.
pub(super) struct Given(u64);

impl Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
