//! Events alike: the first few of a minute are told in full, the others are counted.
//!
//! ```text
//! event -> what does not vary of its text -> place in a small table -> among the first? -- yes --> told
//!                                                                         \-- no --> only counted
//! end of the minute -> one line for each place that has counted more -> counts begin anew
//! ```
//!
//! A dead upstream makes an error of each query, and a log of all of them buries what the operator looks for, and costs more than the
//! queries. The cost of an event that is not told is that of reading its text once; nothing grows with the number of events.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Events alike that are told in full each minute. Together with the line that counts the others they make less than ten.
pub const IN_FULL: u64 = 8;
/// Events that are told apart. Those that find no place count as one: strangers may have a part in the texts.
const PLACES: usize = 64;
/// Places that are looked at for one event.
const TRIES: usize = 8;
/// Bytes of a text that count, and that are kept to be shown.
const LONGEST: usize = 256;

/// Counts events alike.
pub(crate) struct Limiter {
    seed: foldhash::quality::RandomState,
    places: [Place; PLACES],
    /// For all that find no place.
    others: Place,
    /// A minute runs: something was counted since the last one ended.
    running: AtomicBool,
}

#[derive(Default)]
struct Place {
    /// Who has it; 0 is nobody.
    key: AtomicU64,
    count: AtomicU64,
    /// The first one of the minute.
    like: Mutex<Option<Like>>,
}

/// What an event was like.
struct Like {
    head: &'static str,
    text: String,
}

/// Events that were only counted.
pub(crate) struct Counted<'a> {
    /// What stands before the text in the log.
    pub(crate) head: &'static str,
    pub(crate) count: u64,
    /// The text of the first one.
    pub(crate) like: &'a str,
    /// They are of many kinds.
    pub(crate) mixed: bool,
}

impl Limiter {
    pub(crate) fn new() -> Limiter {
        Limiter {
            seed: foldhash::quality::RandomState::default(),
            places: std::array::from_fn(|_| Place::default()),
            others: Place::default(),
            running: AtomicBool::new(false),
        }
    }

    /// Counts an event, and says whether it is to be told.
    pub(crate) fn admit(&self, head: &'static str, text: &str) -> bool {
        let end = (0..=text.len().min(LONGEST)).rev().find(|end| text.is_char_boundary(*end));
        let text = &text[..end.unwrap_or(0)];
        let before = self.place(self.key(head, text)).count(head, text);
        if before == 0 && !self.running.load(Relaxed) {
            self.running.store(true, Relaxed);
        }
        before < IN_FULL
    }

    /// Whether a minute runs.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }

    /// Ends the minute. An event that is counted meanwhile may be told once too often, or be missing in the sum.
    pub(crate) fn end_minute(&self, mut tell: impl FnMut(Counted<'_>)) {
        self.running.store(false, Relaxed);
        let all = self.places.iter().map(|place| (place, false)).chain([(&self.others, true)]);
        for (place, mixed) in all {
            let count = place.count.swap(0, Relaxed);
            let like = place.like().take();
            match like {
                Some(Like { head, text }) if count > IN_FULL => {
                    tell(Counted { head, count: count - IN_FULL, like: &text, mixed });
                }
                _ => {}
            }
            // Who was not heard of for a minute makes room.
            if count == 0 {
                place.key.store(0, Relaxed);
            }
        }
    }

    fn place(&self, key: u64) -> &Place {
        for step in 0..TRIES as u64 {
            let place = &self.places[(key.wrapping_add(step) % PLACES as u64) as usize];
            let there = place.key.load(Relaxed);
            let taken = there == key
                || there == 0
                    && match place.key.compare_exchange(0, key, Relaxed, Relaxed) {
                        Ok(_) => true,
                        Err(there) => there == key,
                    };
            if taken {
                return place;
            }
        }
        &self.others
    }

    /// Two events are alike if their texts are without what changes from query to query: the port a question was asked from,
    /// names, numbers.
    fn key(&self, head: &str, text: &str) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(head.as_bytes());
        for word in text.split_ascii_whitespace() {
            // `10.1.2.3:40000->10.0.0.10:53:`: who was asked stays.
            let word = word.rsplit_once("->").map_or(word, |(_, remote)| remote);
            let inner = word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '.');
            let is_name = inner.len() > 1 && inner.ends_with('.');
            let is_number = inner.bytes().all(|byte| byte.is_ascii_digit());
            if !is_name && !is_number {
                hasher.write(word.as_bytes());
                hasher.write_u8(b' ');
            }
        }
        hasher.finish().max(1)
    }
}

impl Place {
    /// How many there were before.
    fn count(&self, head: &'static str, text: &str) -> u64 {
        let before = self.count.fetch_add(1, Relaxed);
        if before == 0 {
            *self.like() = Some(Like { head, text: text.to_owned() });
        }
        before
    }

    fn like(&self) -> MutexGuard<'_, Option<Like>> {
        self.like.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these are told, and what is said of the others.
    fn told(events: impl IntoIterator<Item = String>) -> (usize, Vec<String>) {
        let limiter = Limiter::new();
        let told = events.into_iter().filter(|text| limiter.admit("[ERROR] ", text)).count();
        let mut lines = Vec::new();
        limiter.end_minute(|counted| {
            lines.push(format!("{}{} {}", counted.head, counted.count, counted.like));
        });
        (told, lines)
    }

    #[test]
    fn a_million_errors_alike_are_told_as_nine() {
        let timeout = |port| format!("read udp 10.1.2.3:{port}->192.0.2.53:53: i/o timeout");
        let (count, lines) = told((0..1_000_000).map(|index| timeout(index % 60_000)));
        assert_eq!(count, 8);
        assert_eq!(lines, ["[ERROR] 999992 read udp 10.1.2.3:0->192.0.2.53:53: i/o timeout"]);
    }

    #[test]
    fn what_varies_from_query_to_query_tells_nothing_apart() {
        let cases: &[(&str, &str, bool)] = &[
            (
                "read udp 10.1.2.3:1->192.0.2.53:53: EOF",
                "read udp 10.1.2.3:2->192.0.2.53:53: EOF",
                true,
            ),
            (
                "read udp 10.1.2.3:1->192.0.2.53:53: EOF",
                "read udp 10.1.2.3:1->192.0.2.54:53: EOF",
                false,
            ),
            ("dial tcp 192.0.2.53:53: EOF", "dial tcp 192.0.2.54:53: EOF", false),
            ("too many lookups for a.example.org.", "too many lookups for b.example.", true),
            ("no answer for \"a.example.\", that", "no answer for \"b.\", that", true),
            ("the len is 3 but the index is 7", "the len is 12 but the index is 12", true),
            ("i/o timeout", "connection refused", false),
        ];
        let limiter = Limiter::new();
        for (one, other, alike) in cases {
            assert_eq!(limiter.key("", one) == limiter.key("", other), *alike, "{one} {other}");
        }
        assert_ne!(limiter.key("[ERROR] ", "x"), limiter.key("[WARNING] ", "x"));
    }

    #[test]
    fn the_number_of_kinds_is_bounded_and_nothing_is_lost_from_the_count() {
        let kind = |index: u32| {
            let letter = |shift: u32| char::from(b'a' + (index >> shift & 15) as u8);
            format!("{}{}{}{}", letter(0), letter(4), letter(8), letter(12))
        };
        let (count, lines) = told((0..100_000).map(|index| kind(index % 10_000)));
        let most = (PLACES + 1) * IN_FULL as usize;
        assert!(count <= most && lines.len() <= PLACES + 1, "{count} and {}", lines.len());
        let counted = lines.iter().filter_map(|line| line.split(' ').nth(1)?.parse::<usize>().ok());
        assert_eq!(count + counted.sum::<usize>(), 100_000);
    }

    #[test]
    fn each_minute_begins_anew_and_forgets_who_is_silent() {
        let limiter = Limiter::new();
        for _ in 0..2 {
            assert!(!limiter.is_running());
            assert_eq!((0..20).filter(|_| limiter.admit("", "same")).count(), 8);
            assert!(limiter.is_running());
            let mut sums = Vec::new();
            limiter.end_minute(|counted| sums.push(counted.count));
            assert_eq!(sums, [12]);
        }
        limiter.end_minute(|_| panic!("nothing was counted"));
        assert!(limiter.places.iter().all(|place| place.key.load(Relaxed) == 0));
    }

    #[test]
    fn threads_share_the_count() {
        let limiter = Limiter::new();
        let one = || (0..10_000).filter(|_| limiter.admit("", "same")).count();
        let told: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(told, 8);
    }
}
