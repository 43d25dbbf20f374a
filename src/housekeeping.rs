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

/// What was resident when it was looked at last, and the least since memory was given back.
#[derive(Default)]
struct Level {
    last: u64,
    least: u64,
}

impl Level {
    /// Whether more is resident than what was needed before, and it no longer grows.
    fn is_worth_it(&mut self, pages: u64) -> bool {
        let grows = pages > self.last;
        self.last = pages;
        self.least = self.least.min(pages);
        !grows && pages > self.least + self.least / 32 + SLACK
    }

    fn given_back(&mut self, pages: u64) {
        *self = Level { last: pages, least: pages };
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

    #[test]
    fn memory_is_given_back_once_after_it_has_grown() {
        let mut level = Level::default();
        let mut given_back = Vec::new();
        for (at, pages) in
            [3000, 3000, 9000, 9100, 9100, 3050, 3050, 3060, 3050].into_iter().enumerate()
        {
            if level.is_worth_it(pages) {
                given_back.push(at);
                level.given_back(if at == 1 { 3000 } else { 3050 });
            }
        }
        // Once after the start, once after the flood; not while it grows, and not for a little.
        assert_eq!(given_back, [1, 4]);
    }

    #[test]
    fn what_is_resident_is_known_here() {
        if cfg!(target_os = "linux") {
            assert!(resident_pages().is_some_and(|pages| pages > 100));
        }
    }
}
