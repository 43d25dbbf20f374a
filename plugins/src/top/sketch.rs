//! Counters for the loudest of many keys: Space-Saving (Metwally, Agrawal, El Abbadi 2005, "Efficient Computation of Frequent and Top-k
//! Elements in Data Streams"), divided into sets as a processor's cache is, so that a look-up is one pass over a few cache lines.
//!
//! ```text
//! hash -> set of 16 places: hash of the key | count, of which so many may be others' -> the key's bytes
//! ```
//!
//! A key that has a place is counted there. One without takes over the place with the smallest count of its set, and the count with it:
//! that is how many of the new key's may have gone uncounted before. So each count is never too small, it is too large by at most what
//! was taken over, and all counts together are exactly the number of queries. What is taken over is no more than a sixteenth of what the
//! set's quieter keys were asked for, all of them together: with `n` sets about `1 / 16n` of all.
//!
//! One thread writes, others read meanwhile. A key's bytes are read together with the hash that was stored, and are not used unless they
//! have that hash: a place that was being taken over has no key. A count beside the wrong key is off by no more than what was taken over.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Places of a set.
const WAYS: usize = 16;

/// Counts keys of bytes up to a length.
pub(super) struct Sketch {
    sets: Box<[Set]>,
    /// The bytes of the keys, so many words for each place.
    keys: Box<[AtomicU64]>,
    words: usize,
    /// Keys are written as soon as they have a place.
    writes_at_once: bool,
}

/// Longer keys are written the second time that they are counted: most of those that come in place of others are never seen again.
const SHORT: usize = 16;

/// Hashes and counts lie apart: looking for a hash reads two cache lines.
#[repr(align(64))]
#[derive(Default)]
struct Set {
    /// 0: the place is free.
    hashes: [AtomicU64; WAYS],
    counts: [AtomicU64; WAYS],
}

/// What a place says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: u64,
    /// How often it was counted, at least.
    pub(super) least: u32,
    /// How often it was counted, at most.
    pub(super) most: u32,
    /// Where its key is.
    pub(super) place: usize,
}

/// A count in the upper half and what was taken over in the lower half, so that the smallest is the smallest count. The longest window would
/// have to see seven million queries a second on one worker before it is full.
#[derive(Clone, Copy)]
struct Count(u64);

impl Count {
    fn most(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn taken_over(self) -> u32 {
        self.0 as u32
    }

    fn plus(self, weight: u32) -> Count {
        Count(self.0.wrapping_add(u64::from(weight) << 32))
    }

    fn own(self) -> u32 {
        self.most().saturating_sub(self.taken_over())
    }

    /// The same, taken over.
    fn hand_over(self) -> Count {
        Count(self.0 & !0xffff_ffff | u64::from(self.most()))
    }
}

impl Sketch {
    /// With so many sets, for keys of up to so many bytes.
    pub(super) fn new(sets: usize, longest_key: usize) -> Sketch {
        let words = longest_key.div_ceil(8);
        Sketch {
            sets: (0..sets).map(|_| Set::default()).collect(),
            keys: (0..sets * WAYS * words).map(|_| AtomicU64::new(0)).collect(),
            words,
            writes_at_once: longest_key <= SHORT,
        }
    }

    /// Counts a key, whose hash is not 0, as so many. Only one thread may be in here at a time.
    pub(super) fn count(&self, hash: u64, key: &[u8], weight: u32) {
        let at = (((hash >> 32) * self.sets.len() as u64) >> 32) as usize;
        let set = &self.sets[at];
        let Some(way) = set.hashes.iter().position(|known| known.load(Relaxed) == hash) else {
            return self.take_over(at, hash, key, weight);
        };
        let count = Count(set.counts[way].load(Relaxed));
        set.counts[way].store(count.plus(weight).0, Relaxed);
        // It was counted once before: as one, or as many as now.
        let is_second = count.own() == 1 || count.own() == weight;
        if is_second && count.taken_over() > 0 && !self.writes_at_once {
            self.write_key(at * WAYS + way, key);
        }
    }

    fn take_over(&self, at: usize, hash: u64, key: &[u8], weight: u32) {
        let set = &self.sets[at];
        let (mut way, mut quietest) = (0, u64::MAX);
        for (at, count) in set.counts.iter().enumerate() {
            let count = count.load(Relaxed);
            if count < quietest {
                (way, quietest) = (at, count);
            }
        }
        let count = Count(quietest).hand_over().plus(weight);
        set.hashes[way].store(hash, Relaxed);
        set.counts[way].store(count.0, Relaxed);
        if count.taken_over() == 0 || self.writes_at_once {
            self.write_key(at * WAYS + way, key);
        }
    }

    /// Longer keys are cut, and then never shown: they do not have the hash.
    fn write_key(&self, place: usize, key: &[u8]) {
        let slot = &self.keys[place * self.words..][..self.words];
        let (whole, rest) = key.as_chunks::<8>();
        for (word, bytes) in slot.iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        if let Some(last) = slot.get(whole.len()).filter(|_| !rest.is_empty()) {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            last.store(u64::from_le_bytes(bytes), Relaxed);
        }
    }

    /// The bytes at a place, which may be those of a key that was there before, or half of two, and what an earlier key left behind its end.
    pub(super) fn key(&self, place: usize) -> Vec<u8> {
        let slot = &self.keys[place * self.words..][..self.words];
        slot.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect()
    }

    /// All places that are taken.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.sets.iter().enumerate().flat_map(|(at, set)| {
            set.hashes.iter().zip(&set.counts).enumerate().filter_map(
                move |(way, (hash, count))| {
                    let (hash, count) = (hash.load(Relaxed), Count(count.load(Relaxed)));
                    let entry = Entry {
                        hash,
                        least: count.own(),
                        most: count.most(),
                        place: at * WAYS + way,
                    };
                    (hash != 0).then_some(entry)
                },
            )
        })
    }

    /// Forgets all. The bytes of the keys stay: nothing has their hashes any more.
    pub(super) fn clear(&self) {
        for set in &self.sets {
            set.hashes.iter().chain(&set.counts).for_each(|word| word.store(0, Relaxed));
        }
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.sets) + size_of_val(&*self.keys)
    }
}
