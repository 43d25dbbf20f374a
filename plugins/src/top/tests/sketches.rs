//! What a sketch says against what was counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::top::settings::Settings;
use crate::top::sketch::Sketch;
use crate::top::window::{Kind, Windows};

const CLIENTS: u64 = 10_000;
const QUERIES: u64 = 100_000;
/// The sketches as they are for names: the smaller ones.
const SETS: usize = 12;

/// As long as some names are.
const KEY: usize = 24;

/// A key that is told by its bytes: eight of them the number, the others follow from it.
fn key(number: u64) -> [u8; KEY] {
    let mut key = [0; KEY];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key[8..16].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    key[16..].copy_from_slice(&(!number).to_le_bytes());
    key
}

fn hash(seed: u64, key: &[u8]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
    hasher.write(key);
    hasher.finish().max(1)
}

/// A stream of keys: which one comes at a place.
type Stream = fn(u64, &mut fastrand::Rng) -> u64;

/// Zipf's law with exponent 1 over 10,000 keys, which is the density 1/x.
fn zipf(_: u64, random: &mut fastrand::Rng) -> u64 {
    (CLIENTS as f64).powf(random.f64()) as u64
}

fn streams() -> [(&'static str, Stream); 5] {
    [
        ("Zipf", zipf),
        ("uniform", |_, random| random.u64(..CLIENTS)),
        ("five loud ones of 2 % each among quiet ones", |_, random| match random.u8(..100) {
            part @ ..10 => u64::from(part / 2),
            _ => random.u64(..CLIENTS),
        }),
        ("a hundred of 0.5 % each among names that come once", |_, random| match random.bool() {
            true => random.u64(..100),
            false => random.u64(..),
        }),
        ("one after another", |at, _| at % CLIENTS),
    ]
}

#[test]
fn counts_are_right_within_one_percent_of_all() {
    for (name, stream) in streams() {
        for seed in 0..3 {
            let mut random = fastrand::Rng::with_seed(seed);
            let sketch = Sketch::new(SETS, KEY);
            let mut exact: HashMap<u64, u64> = HashMap::new();
            for at in 0..QUERIES {
                let number = stream(at, &mut random);
                *exact.entry(number).or_default() += 1;
                let key = key(number);
                sketch.count(hash(seed, &key), &key, 1);
            }
            let mut shown: HashMap<u64, u64> = HashMap::new();
            let mut total = 0;
            for entry in sketch.entries() {
                total += u64::from(entry.most);
                let bytes = sketch.key(entry.place);
                if hash(seed, &bytes) != entry.hash {
                    assert_eq!(entry.least, 1, "{name}: only a new key may have no bytes");
                    continue;
                }
                let number = u64::from_le_bytes(*bytes.first_chunk().unwrap());
                let exact = exact[&number];
                let range = u64::from(entry.least)..=u64::from(entry.most);
                assert!(range.contains(&exact), "{name}: {exact} is not in {range:?}");
                let error = exact - u64::from(entry.least);
                assert!(error * 100 <= QUERIES, "{name}: {error} of {exact} are missing");
                shown.insert(number, u64::from(entry.least));
            }
            assert_eq!(total, QUERIES, "{name}: every query is counted once");
            // Whoever has more than a hundredth of all is there, and what was said about it is within a hundredth of all.
            for (number, exact) in exact.iter().filter(|(_, exact)| **exact * 100 > QUERIES) {
                let shown = shown.get(number).unwrap_or_else(|| panic!("{name}: no {number}"));
                assert!((exact - shown) * 100 <= QUERIES, "{name}: {shown} of {exact}");
            }
        }
    }
}

#[test]
fn the_loudest_are_found_in_their_order() {
    let (name, stream) = streams()[0];
    let mut random = fastrand::Rng::with_seed(7);
    let sketch = Sketch::new(SETS, KEY);
    let mut exact: HashMap<u64, u64> = HashMap::new();
    for at in 0..QUERIES {
        let number = stream(at, &mut random);
        *exact.entry(number).or_default() += 1;
        sketch.count(hash(1, &key(number)), &key(number), 1);
    }
    let mut entries: Vec<_> = sketch.entries().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.least));
    let mut expected: Vec<_> = exact.into_iter().collect();
    expected.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let number = |place| u64::from_le_bytes(*sketch.key(place).first_chunk().unwrap());
    let found: Vec<u64> = entries.iter().take(10).map(|entry| number(entry.place)).collect();
    let expected: Vec<u64> = expected.iter().take(10).map(|(number, _)| *number).collect();
    assert_eq!(found, expected, "{name}");
}

#[test]
fn a_key_that_comes_late_pushes_out_a_quiet_one() {
    let sketch = Sketch::new(1, KEY);
    for number in 0..16 {
        for _ in 0..=number {
            sketch.count(hash(1, &key(number)), &key(number), 1);
        }
    }
    let find = |number: u64| {
        let found = sketch.entries().find(|entry| entry.hash == hash(1, &key(number)))?;
        Some((found.least, found.most, sketch.key(found.place) == key(number)))
    };
    assert_eq!((find(0), find(15)), (Some((1, 1, true)), Some((16, 16, true))));
    // The first time it has no more than a place.
    sketch.count(hash(1, &key(99)), &key(99), 1);
    assert_eq!((find(0), find(99)), (None, Some((1, 2, false))));
    sketch.count(hash(1, &key(99)), &key(99), 1);
    assert_eq!((find(1), find(99)), (Some((2, 2, true)), Some((2, 3, true))));
    sketch.clear();
    assert_eq!(sketch.entries().count(), 0);
}

#[test]
fn who_reads_while_keys_change_places_sees_only_keys_that_were_counted() {
    let sketch = Sketch::new(1, KEY);
    let done = AtomicBool::new(false);
    let mut seen = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..100_000 {
                // Twice, so that it gets its bytes.
                let key = key(round % 1_000);
                sketch.count(hash(1, &key), &key, 1);
                sketch.count(hash(1, &key), &key, 1);
            }
            done.store(true, Relaxed);
        });
        while !done.load(Relaxed) {
            for entry in sketch.entries() {
                let bytes = sketch.key(entry.place);
                if hash(1, &bytes) == entry.hash {
                    let number = u64::from_le_bytes(*bytes.first_chunk().unwrap());
                    assert_eq!(bytes, key(number));
                    seen += 1;
                }
            }
        }
    });
    assert!(seen > 0);
}

#[test]
fn windows_take_turns() {
    let settings = Settings {
        window: Duration::from_secs(1),
        clients: 1,
        names: 0,
        nxdomain: 0,
        namespaces: 0,
    };
    let windows = Windows::new(&settings, 1);
    let count = |now: u64, number: u64| {
        let clients = windows.at(now, 100).sketch(Kind::Clients).unwrap();
        clients.count(hash(1, &key(number)), &key(number), 1);
    };
    let counted = |window: u64| -> Option<u32> {
        let (_, entries) = windows.read(Kind::Clients, window)?;
        Some(entries.iter().map(|entry| entry.most).sum())
    };
    assert_eq!([0, 1].map(counted), [None, None]);
    (0..3).for_each(|at| count(at, at));
    count(99, 0);
    assert_eq!([0, 1].map(counted), [Some(4), None]);
    count(100, 0);
    // One that was long in coming.
    count(99, 0);
    assert_eq!([0, 1, 2].map(counted), [Some(4), Some(2), None]);
    count(250, 0);
    assert_eq!([0, 1, 2].map(counted), [None, Some(2), Some(1)]);
    // Idle for long: the half of window 5 begins anew, that of window 2 is past for everybody who asks for 4.
    count(599, 0);
    assert_eq!([2, 4, 5].map(counted), [Some(1), None, Some(1)]);
    assert!(windows.read(Kind::Names, 5).is_none());
}
