//! Name compression (RFC 1035 section 4.1.4).
//!
//! ```text
//!  name -> compare with the question's tail -> few names, nothing else in common: written at once
//!                                           -> otherwise: hash all suffixes, find the longest one known
//! ```
//!
//! Most messages hold no name but the question's, or one or two that end like it (an SOA record's, a PTR target), which need no
//! table. Both ways write the same bytes.

use crate::name::{NameBuf, NameRef};
use crate::query::HEADER;

/// Offset of the question's name in every message.
pub(crate) const QUESTION: usize = HEADER;
/// Most labels of a name, the root not counted: each takes two bytes at least.
const MAX_LABELS: usize = 127;
/// The largest offset a compression pointer can hold (RFC 1035 section 4.1.4).
const MAX_POINTER: usize = 0x3fff;
/// Names that are written without the table. More of them are nearly always of one zone and share more than the question.
const MOST_FEW: usize = 4;

/// A compression pointer.
pub(crate) fn pointer(offset: usize) -> [u8; 2] {
    (0xc000 | offset as u16).to_be_bytes()
}

/// Remembers where names stand in the message being written.
///
/// The first few names are only compared with the question's. The rest use an open table of (hash of a suffix, offset), emptied in
/// O(1) by counting messages.
pub struct Compressor {
    few: [Written; MOST_FEW],
    few_used: usize,
    /// Whether the table is in use for this message.
    hashing: bool,
    slots: Box<[Slot; Compressor::SLOTS]>,
    message: u32,
    used: usize,
    /// The suffixes of the name at hand, longest first: where each begins and its hash.
    suffixes: Box<[(u8, u32); MAX_LABELS]>,
}

/// A name that was written before the table came into use.
#[derive(Clone, Copy, Default)]
struct Written {
    /// Offset in the message.
    at: u16,
    /// Bytes written out, without a root label.
    head: u8,
    /// Where the last label written out begins, counted from `at`.
    last: u8,
    /// Where the rest begins in the question's name, at whose end the root stands.
    shared: u8,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    message: u32,
    hash: u32,
    offset: u16,
}

impl Compressor {
    const SLOTS: usize = 1024;
    /// Past this the table stops learning; names after it are compressed less, never wrongly.
    const MOST: usize = 768;

    /// An empty one, to be kept by a worker.
    pub fn new() -> Compressor {
        Compressor {
            few: [Written::default(); MOST_FEW],
            few_used: 0,
            hashing: false,
            slots: Box::new([Slot::default(); Compressor::SLOTS]),
            message: 0,
            used: 0,
            suffixes: Box::new([(0, 0); MAX_LABELS]),
        }
    }

    /// Forgets the message before.
    pub(crate) fn begin(&mut self) {
        self.few_used = 0;
        self.hashing = false;
        self.used = 0;
        self.message = self.message.wrapping_add(1);
        if self.message == 0 {
            // After 2^32 messages an old slot could look new.
            self.slots.fill(Slot::default());
            self.message = 1;
        }
    }

    /// Appends `name` to the message that starts at `start`, sharing the longest tail already there.
    pub(crate) fn write(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        question: NameRef<'_>,
        name: NameRef<'_>,
    ) {
        if !self.hashing {
            if self.write_as_one_of_few(out, start, question, name) {
                return;
            }
            self.begin_hashing(out, start, question);
        }
        self.write_hashed(out, start, name);
    }

    /// Appends a name whose longest known tail is the question's; `false` if another name may know a longer one.
    fn write_as_one_of_few(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        question: NameRef<'_>,
        name: NameRef<'_>,
    ) -> bool {
        let (head, last, shared) = divide(name.as_wire(), question.as_wire());
        let wire = &name.as_wire()[..head];
        if head > 0 {
            let at = out.len() - start;
            if self.few_used == MOST_FEW || at > MAX_POINTER {
                return false;
            }
            // Names that leave the question at the same label and agree in the label before it share more than the question has.
            let shares_more = |one: &Written| {
                let written = &out[start + usize::from(one.at)..][..usize::from(one.head)];
                usize::from(one.shared) == shared
                    && written[usize::from(one.last)..] == wire[last..]
            };
            if self.few[..self.few_used].iter().any(shares_more) {
                return false;
            }
            // A name has at most 255 bytes, and `at` fits a pointer.
            self.few[self.few_used] =
                Written { at: at as u16, head: head as u8, last: last as u8, shared: shared as u8 };
            self.few_used += 1;
            out.extend_from_slice(wire);
        }
        if shared + 1 < question.len() {
            out.extend_from_slice(&pointer(QUESTION + shared));
        } else {
            out.push(0);
        }
        true
    }

    /// Puts the names written so far into the table.
    fn begin_hashing(&mut self, out: &[u8], start: usize, question: NameRef<'_>) {
        self.hashing = true;
        let labels = self.hash_suffixes(question);
        self.learn(labels, QUESTION);
        for index in 0..self.few_used {
            let Written { at, head, shared, .. } = self.few[index];
            let at = usize::from(at);
            let head = &out[start + at..][..usize::from(head)];
            let mut name = NameBuf::ROOT;
            for label in labels_of(head) {
                // It was a name before it was written.
                let _ = name.push_label(label);
            }
            let _ = name.push_name(question.suffix(usize::from(shared)));
            self.hash_suffixes(name.as_ref());
            self.learn(labels_of(head).count(), at);
        }
    }

    fn write_hashed(&mut self, out: &mut Vec<u8>, start: usize, name: NameRef<'_>) {
        let labels = self.hash_suffixes(name);
        let mut fresh = 0;
        let found = loop {
            if fresh == labels {
                break None;
            }
            let (begin, hash) = self.suffixes[fresh];
            if let Some(offset) = self.find(out, start, name.suffix(usize::from(begin)), hash) {
                break Some(offset);
            }
            fresh += 1;
        };
        let at = out.len() - start;
        match found {
            Some(offset) => {
                let head = usize::from(self.suffixes[fresh].0);
                out.extend_from_slice(&name.as_wire()[..head]);
                out.extend_from_slice(&(0xc000 | offset).to_be_bytes());
            }
            None => out.extend_from_slice(name.as_wire()),
        }
        self.learn(fresh, at);
    }

    /// Fills `suffixes` from a name and says how many there are, the root not counted. One pass from the last label to the
    /// first gives all hashes, spelling included. Strangers choose these names, but a table lives for one message and
    /// stops growing, so that collisions cost at most its length.
    fn hash_suffixes(&mut self, name: NameRef<'_>) -> usize {
        let wire = name.as_wire();
        let mut labels = 0;
        let mut at = 0;
        while let Some(&length) = wire.get(at).filter(|length| **length != 0) {
            // A name has at most 255 bytes.
            self.suffixes[labels].0 = at as u8;
            labels += 1;
            at += 1 + usize::from(length);
        }
        let mut hash = 0;
        for (begin, slot) in self.suffixes[..labels].iter_mut().rev() {
            let begin = usize::from(*begin);
            hash = mix(hash, &wire[begin..at]);
            at = begin;
            *slot = (hash >> 32) as u32;
        }
        labels
    }

    /// Adds the `count` longest of `suffixes`, whose name stands at `at`.
    fn learn(&mut self, count: usize, at: usize) {
        for &(begin, hash) in &self.suffixes[..count] {
            let offset = at + usize::from(begin);
            if offset > MAX_POINTER || self.used >= Compressor::MOST {
                return;
            }
            let mut index = hash as usize % Compressor::SLOTS;
            while self.slots[index].message == self.message {
                index = (index + 1) % Compressor::SLOTS;
            }
            self.slots[index] = Slot { message: self.message, hash, offset: offset as u16 };
            self.used += 1;
        }
    }

    fn find(&self, out: &[u8], start: usize, name: NameRef<'_>, hash: u32) -> Option<u16> {
        let mut index = hash as usize % Compressor::SLOTS;
        while self.slots[index].message == self.message {
            let slot = self.slots[index];
            if slot.hash == hash && name_at(&out[start..], usize::from(slot.offset), name) {
                return Some(slot.offset);
            }
            index = (index + 1) % Compressor::SLOTS;
        }
        None
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor::new()
    }
}

/// Adds a label with its length byte to the hash of what follows it, eight bytes at a time.
fn mix(hash: u64, label: &[u8]) -> u64 {
    // The odd number nearest to 2^64 divided by the golden ratio; the shift brings high bits down again.
    let step = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ product >> 32
    };
    let (words, rest) = label.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let last = rest.iter().rev().fold(0, |last, &byte| last << 8 | u64::from(byte));
    step(hash, last)
}

/// Whether the (possibly compressed) name at `at` is `name`, byte for byte.
fn name_at(message: &[u8], mut at: usize, name: NameRef<'_>) -> bool {
    let mut rest = name.as_wire();
    loop {
        let Some(&length) = message.get(at) else { return false };
        if length >= 0xc0 {
            let Some(&low) = message.get(at + 1) else { return false };
            let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
            // This writer only points backwards.
            if target >= at {
                return false;
            }
            at = target;
            continue;
        }
        let size = 1 + usize::from(length);
        let (Some(have), Some(want)) = (message.get(at..at + size), rest.get(..size)) else {
            return false;
        };
        if have != want {
            return false;
        }
        if length == 0 {
            return true;
        }
        at += size;
        rest = &rest[size..];
    }
}

/// Divides a name into what it has of its own and the longest tail of whole labels that it shares with the question: length of its
/// own part, where the last label of that begins, and where the tail begins in the question.
fn divide(name: &[u8], question: &[u8]) -> (usize, usize, usize) {
    let equal = equal_at_end(name, question);
    let (mut at, mut last, mut within) = (0, 0, 0);
    loop {
        let rest = name.len() - at;
        if rest <= equal {
            // Equal bytes are an equal tail only where a label begins in both.
            let there = question.len() - rest;
            while within < there {
                within += 1 + usize::from(question[within]);
            }
            if within == there {
                return (at, last, there);
            }
        }
        last = at;
        at += 1 + usize::from(name[at]);
    }
}

/// How many bytes are equal, counted from the end.
fn equal_at_end(mut one: &[u8], mut other: &[u8]) -> usize {
    let mut equal = 0;
    while let (Some((left, a)), Some((right, b))) =
        (one.split_last_chunk::<8>(), other.split_last_chunk::<8>())
    {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return equal + differing.leading_zeros() as usize / 8;
        }
        equal += 8;
        (one, other) = (left, right);
    }
    let tails = one.iter().rev().zip(other.iter().rev());
    equal + tails.take_while(|(a, b)| a == b).count()
}

/// The labels of a name's beginning.
fn labels_of(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&length, rest) = wire.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        wire = rest;
        Some(label)
    })
}

#[cfg(test)]
mod tests;
