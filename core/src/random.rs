//! Numbers that nobody outside can guess: message ids and probe names.
//!
//! A predictable id lets a stranger answer in an upstream's place (RFC 5452 section 4.3; CVE-2019-19794 was that in CoreDNS). The
//! system's generator is asked for many numbers at a time, so that an id costs no system call of its own.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};

/// Bytes fetched at once: small enough that little is wasted in threads that seldom ask.
const BATCH: usize = 256;

thread_local! {
    static UNUSED: RefCell<Unused> = const { RefCell::new(Unused { bytes: [0; BATCH], at: BATCH }) };
}

struct Unused {
    bytes: [u8; BATCH],
    /// Everything before this was given out.
    at: usize,
}

/// A message id.
pub fn message_id() -> u16 {
    u16::from_ne_bytes(bytes())
}

/// A number of 64 random bits.
pub fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}

/// Bytes that are given out once.
fn bytes<const N: usize>() -> [u8; N] {
    UNUSED.with_borrow_mut(|unused| {
        if unused.at + N > BATCH {
            if getrandom::fill(&mut unused.bytes).is_err() {
                return keyed_bytes();
            }
            unused.at = 0;
        }
        let taken = &mut unused.bytes[unused.at..unused.at + N];
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        // What was used must not be found in memory later.
        taken.fill(0);
        unused.at += N;
        bytes
    })
}

/// What is left when the system refuses: a keyed hash whose key comes from the standard library's own seed.
fn keyed_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u8(0);
        chunk.copy_from_slice(&hasher.finish().to_ne_bytes()[..chunk.len()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_spread_over_the_whole_range_and_across_batches() {
        let ids: std::collections::HashSet<u16> = (0..2000).map(|_| message_id()).collect();
        // 2000 draws from 65,536 give about 1970 different ones; fewer than 1800 means a broken generator.
        assert!(ids.len() > 1800, "{} different ids", ids.len());
        assert!(ids.iter().any(|id| *id > 0xc000) && ids.iter().any(|id| *id < 0x4000));
    }

    #[test]
    fn numbers_of_two_threads_differ() {
        let here: Vec<u64> = (0..100).map(|_| number()).collect();
        let there =
            std::thread::spawn(|| (0..100).map(|_| number()).collect::<Vec<_>>()).join().unwrap();
        assert!(here.iter().all(|number| !there.contains(number)));
    }

    #[test]
    fn the_fallback_does_not_repeat_itself() {
        let [first, second] = [keyed_bytes::<8>(), keyed_bytes::<8>()];
        assert_ne!(first, second);
    }
}
