//! The sketches of all workers put together.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::sketch::{Entry, Sketch};

/// What is known of each key, by its hash.
#[derive(Default)]
pub(super) struct Tally<'a>(HashMap<u64, Found<'a>, RandomState>);

/// What is known of a key.
pub(super) struct Found<'a> {
    pub(super) hash: u64,
    /// How often it was counted, at least.
    pub(super) least: f64,
    /// How often it was counted, at most, in the sketches that have it.
    pub(super) most: f64,
    /// Where its bytes are, and how often it was counted there.
    sketch: &'a Sketch,
    place: usize,
    there: u32,
}

impl Found<'_> {
    /// Its bytes, if they are still there.
    pub(super) fn key(&self) -> Vec<u8> {
        self.sketch.key(self.place)
    }
}

impl<'a> Tally<'a> {
    /// Adds the entries of a sketch, each with this share of its counts.
    pub(super) fn add(&mut self, sketch: &'a Sketch, entries: &[Entry], share: f64) {
        for &Entry { hash, least, most, place } in entries {
            let found = self.0.entry(hash).or_insert(Found {
                hash,
                least: 0.0,
                most: 0.0,
                sketch,
                place,
                there: least,
            });
            found.least += f64::from(least) * share;
            found.most += f64::from(most) * share;
            // A key that has just come to a sketch has no bytes there yet.
            if least > found.there {
                *found = Found { sketch, place, there: least, ..*found };
            }
        }
    }

    /// How many were counted in all: each once in every sketch, by itself or as one of a row.
    pub(super) fn total(&self) -> f64 {
        self.0.values().fold(0.0, |sum, found| sum + found.most)
    }

    /// All keys, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Found<'a>> {
        self.0.values()
    }

    /// The keys that were counted most often for sure, loudest first.
    pub(super) fn loudest(&self) -> Vec<&Found<'a>> {
        let mut all: Vec<_> = self.0.values().filter(|found| found.least >= 0.5).collect();
        all.sort_unstable_by(|one, other| {
            other.least.total_cmp(&one.least).then(one.hash.cmp(&other.hash))
        });
        all
    }
}
