//! Memory that is needed no more goes back to the system.
//!
//! The allocator keeps what was freed for the next time, and for the thread that used it. After a flood or a relist that may be several times
//! what the process needs, and a memory limit does not tell the one from the other. While memory grows it is left alone, but only up
//! to a third of the limit: a flood that goes from worker to worker may leave at each what all waiting queries take.

use std::time::Duration;

use periplus_core::memory::Budget;

use crate::sys::{give_back_memory, keep_little};

/// How often to look whether too much is in use.
const GLANCE: Duration = Duration::from_millis(500);
/// One in so many looks tells whether memory still grows.
const GLANCES: u32 = 10;
/// Kilobytes that are not worth the work.
const SLACK: u64 = 128;

/// Looks now and then, for as long as the process runs.
pub(crate) async fn keep_memory_small(budget: Budget) {
    keep_little();
    let much = budget.limit().map_or(u64::MAX, |limit| limit / 3 / 1024);
    let mut level = Level::default();
    for number in 1_u32.. {
        tokio::time::sleep(GLANCE).await;
        let Some(resident) = resident() else { return };
        let is_too_much = resident > much && level.has_grown(resident);
        if is_too_much || number.is_multiple_of(GLANCES) && level.is_worth_it(resident) {
            give_back_memory();
            level.given_back(self::resident().unwrap_or(resident));
        }
    }
}

/// How often memory is given back after a flood: what a flood leaves behind is freed over half a minute.
const TIMES: u32 = 8;
/// Looks between two attempts while more is resident than once was enough: what was in use when memory was given back in the middle of a flood
/// is free when that ends, and nothing grows then. With nothing to give back an attempt costs microseconds.
const PAUSE: u32 = 3;

/// What was resident when it was looked at last, the least since memory was given back, and the least after that was ever done.
#[derive(Default)]
struct Level {
    last: u64,
    least: u64,
    floor: Option<u64>,
    /// How often it is worth it anyway.
    again: u32,
    /// Looks since memory was given back.
    looks: u32,
}

impl Level {
    fn has_grown(&self, resident: u64) -> bool {
        exceeds(resident, self.least)
    }

    /// Whether more is resident than what was needed before, and it no longer grows.
    fn is_worth_it(&mut self, resident: u64) -> bool {
        let grows = resident > self.last;
        self.last = resident;
        self.least = self.least.min(resident);
        self.looks += 1;
        if !grows && self.has_grown(resident) {
            self.again = TIMES;
        }
        let is_above = self.floor.is_some_and(|floor| exceeds(resident, floor));
        !grows && (self.again > 0 || is_above && self.looks >= PAUSE)
    }

    fn given_back(&mut self, resident: u64) {
        *self = Level {
            last: resident,
            least: resident,
            floor: Some(self.floor.map_or(resident, |floor| floor.min(resident))),
            again: self.again.saturating_sub(1),
            looks: 0,
        };
    }
}

fn exceeds(resident: u64, level: u64) -> bool {
    resident > level + level / 32 + SLACK
}

/// Resident memory in kilobytes.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which looks memory is given back, which leaves as many kilobytes as the second number says.
    fn given_back(looks: &[(u64, u64)]) -> Vec<usize> {
        let mut level = Level::default();
        level.given_back(30_000);
        let mut found = Vec::new();
        for (at, (resident, after)) in looks.iter().enumerate() {
            if level.is_worth_it(*resident) {
                found.push(at);
                level.given_back(*after);
            }
        }
        found
    }

    #[test]
    fn memory_is_given_back_after_it_has_grown() {
        let flood = [
            (30_000, 0),
            (90_000, 0),
            (91_000, 0),
            (91_000, 50_000),
            (50_000, 40_000),
            (40_000, 30_500),
        ];
        let calm = [(30_500, 30_500); 20];
        let found = given_back(&[&flood[..], &calm[..]].concat());
        // Not while it grows; then some times, for what is freed late; then no more.
        assert_eq!(found, (3..3 + TIMES as usize).collect::<Vec<_>>());
        assert_eq!(
            given_back(&[(30_000, 0), (30_600, 0), (30_500, 0), (30_000, 0)]),
            [],
            "a little is no reason"
        );
    }

    #[test]
    fn what_a_flood_used_until_its_end_is_given_back_though_nothing_grows() {
        let flood = [&[(40_000, 0)][..], &[(40_000, 40_000); 40]].concat();
        let found = given_back(&flood);
        let late: Vec<_> = found.iter().skip(TIMES as usize).copied().collect();
        assert_eq!(late[..3], [11, 14, 17]);
        let calm = [&flood[..found[12]], &[(40_000, 30_900)], &[(30_900, 30_900); 20]].concat();
        assert_eq!(given_back(&calm), found[..13]);
    }

    #[test]
    fn what_is_resident_is_known_here() {
        if cfg!(target_os = "linux") {
            assert!(resident().is_some_and(|kilobytes| kilobytes > 1000));
        }
    }
}
