//! Memory that is needed no more goes back to the system.
//!
//! The allocator keeps what was freed for the next time. After a flood or a relist that may be several times what the process needs, and a memory
//! limit does not tell the one from the other.

use std::time::Duration;

use crate::sys::give_back_memory;

/// How often to look.
const PERIOD: Duration = Duration::from_secs(5);
/// Pages that are not worth the work.
const SLACK: u64 = 128;

/// Looks now and then, for as long as the process runs.
pub(crate) async fn keep_memory_small() {
    let mut level = Level::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(pages) = resident_pages() else { return };
        if level.is_worth_it(pages) {
            give_back_memory();
            level.given_back(resident_pages().unwrap_or(pages));
        }
    }
}

/// How often memory is given back after a flood: what a flood leaves behind is freed over half a minute.
const TIMES: u32 = 8;

/// What was resident when it was looked at last, and the least since memory was given back.
#[derive(Default)]
struct Level {
    last: u64,
    least: u64,
    /// How often it is worth it anyway.
    again: u32,
}

impl Level {
    /// Whether more is resident than what was needed before, and it no longer grows.
    fn is_worth_it(&mut self, pages: u64) -> bool {
        let grows = pages > self.last;
        self.last = pages;
        self.least = self.least.min(pages);
        if !grows && pages > self.least + self.least / 32 + SLACK {
            self.again = TIMES;
        }
        !grows && self.again > 0
    }

    fn given_back(&mut self, pages: u64) {
        *self = Level { last: pages, least: pages, again: self.again.saturating_sub(1) };
    }
}

/// The second number of `/proc/self/statm`.
fn resident_pages() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which looks memory is given back, which leaves as many pages as the second number says.
    fn given_back(looks: &[(u64, u64)]) -> Vec<usize> {
        let mut level = Level { last: 3000, least: 3000, again: 0 };
        let mut found = Vec::new();
        for (at, (pages, after)) in looks.iter().enumerate() {
            if level.is_worth_it(*pages) {
                found.push(at);
                level.given_back(*after);
            }
        }
        found
    }

    #[test]
    fn memory_is_given_back_after_it_has_grown() {
        let flood = [(3000, 0), (9000, 0), (9100, 0), (9100, 5000), (5000, 4000), (4000, 3050)];
        let calm = [(3050, 3050); 20];
        let found = given_back(&[&flood[..], &calm[..]].concat());
        // Not while it grows; then some times, for what is freed late; then no more.
        assert_eq!(found, (3..3 + TIMES as usize).collect::<Vec<_>>());
        assert_eq!(
            given_back(&[(3000, 0), (3060, 0), (3050, 0), (3000, 0)]),
            [],
            "a little is no reason"
        );
    }

    #[test]
    fn what_is_resident_is_known_here() {
        if cfg!(target_os = "linux") {
            assert!(resident_pages().is_some_and(|pages| pages > 100));
        }
    }
}
