//! Connections that wait for their next use.
//!
//! A connection belongs to one question at a time: it is taken out, used, and given back only after a clean exchange. So an answer that comes too late
//! finds its socket closed, and never the next question.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long connections are kept, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest time unused.
    pub(super) expire: Duration,
    /// Longest life. A connection lives between three quarters of it and all of it: those made together do not go together.
    pub(super) max_age: Option<Duration>,
    /// Most connections kept.
    pub(super) max_idle: Option<usize>,
}

/// The idle connections to one upstream over one protocol.
pub(super) struct Pool<C> {
    limits: Limits,
    idle: Mutex<VecDeque<Idle<C>>>,
}

struct Idle<C> {
    connection: Made<C>,
    used: Instant,
}

/// A connection and how long it may be used.
pub(super) struct Made<C> {
    /// The connection.
    pub(super) connection: C,
    until: Option<Instant>,
}

impl<C> Pool<C> {
    /// An empty pool.
    pub(super) fn new(limits: Limits) -> Pool<C> {
        Pool { limits, idle: Mutex::default() }
    }

    /// A connection that was made just now.
    pub(super) fn made(&self, connection: C, now: Instant) -> Made<C> {
        let age = self.limits.max_age.map(|most| most - most.mul_f64(fastrand::f64() / 4.0));
        Made { connection, until: age.and_then(|age| now.checked_add(age)) }
    }

    /// Takes out the connection that has waited longest, as CoreDNS does: all source ports stay in use. What may not be used any more
    /// is closed on the way.
    pub(super) fn take(&self, now: Instant) -> Option<Made<C>> {
        loop {
            // The guard lives for this statement only: closing a connection is a system call.
            let idle = self.lock().pop_front()?;
            if self.limits.allow(&idle, now) {
                return Some(idle.connection);
            }
        }
    }

    /// Gives a connection back after a clean exchange.
    pub(super) fn give(&self, connection: Made<C>, now: Instant) {
        let mut idle = self.lock();
        if self.limits.max_idle.is_none_or(|most| idle.len() < most) {
            idle.push_back(Idle { connection, used: now });
        }
    }

    /// Closes what may not be used any more.
    pub(super) fn sweep(&self, now: Instant) {
        let mut kept = VecDeque::new();
        let mut closed = Vec::new();
        let mut idle = self.lock();
        for one in idle.drain(..) {
            if self.limits.allow(&one, now) {
                kept.push_back(one);
            } else {
                closed.push(one);
            }
        }
        *idle = kept;
        drop(idle);
        drop(closed);
    }

    /// How many connections wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// The same, with no connection older than this.
    pub(super) fn of_age(self, most: Duration) -> Limits {
        Limits { max_age: Some(self.max_age.map_or(most, |age| age.min(most))), ..self }
    }

    fn allow<C>(&self, idle: &Idle<C>, now: Instant) -> bool {
        now.saturating_duration_since(idle.used) <= self.expire
            && idle.connection.until.is_none_or(|until| now <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool(expire: u32, max_age: Option<u32>, max_idle: Option<usize>) -> Pool<u8> {
        Pool::new(Limits {
            expire: SECOND * expire,
            max_age: max_age.map(|age| SECOND * age),
            max_idle,
        })
    }

    fn taken(pool: &Pool<u8>, now: Instant) -> Option<u8> {
        pool.take(now).map(|made| made.connection)
    }

    #[test]
    fn the_connection_that_waited_longest_is_used_first() {
        let (pool, start) = (pool(10, None, None), Instant::now());
        pool.give(pool.made(1, start), start);
        pool.give(pool.made(2, start), start + SECOND);
        assert_eq!(taken(&pool, start + SECOND), Some(1));
        assert_eq!(taken(&pool, start + SECOND), Some(2));
        assert_eq!(taken(&pool, start + SECOND), None);
    }

    #[test]
    fn a_connection_idle_for_longer_than_expire_is_closed() {
        let (pool, start) = (pool(10, None, None), Instant::now());
        pool.give(pool.made(1, start), start);
        pool.give(pool.made(2, start), start + SECOND);
        assert_eq!(taken(&pool, start + SECOND * 11), Some(2));
        pool.give(pool.made(3, start), start);
        pool.give(pool.made(4, start), start + SECOND * 5);
        pool.sweep(start + SECOND * 12);
        assert_eq!(pool.len(), 1);
        assert_eq!(taken(&pool, start + SECOND * 12), Some(4));
    }

    #[test]
    fn a_connection_older_than_max_age_is_closed_however_busy_it_was() {
        let (pool, start) = (pool(10, Some(20), None), Instant::now());
        pool.give(pool.made(1, start), start + SECOND * 20);
        pool.give(pool.made(2, start + SECOND * 15), start + SECOND * 20);
        assert_eq!(taken(&pool, start + SECOND * 21), Some(2));
        pool.give(pool.made(3, start), start + SECOND * 20);
        pool.sweep(start + SECOND * 21);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn connections_that_were_made_together_do_not_go_together() {
        let (pool, start) = (pool(100, Some(40), None), Instant::now());
        (0..100).for_each(|number| pool.give(pool.made(number, start), start));
        let left = [29, 35, 41].map(|age| {
            pool.sweep(start + SECOND * age);
            pool.len()
        });
        assert!(left[0] == 100 && (20..80).contains(&left[1]) && left[2] == 0, "{left:?}");
    }

    #[test]
    fn an_age_may_be_the_most_that_any_setting_allows() {
        for (max_age, most) in [(None, 30), (Some(20), 20), (Some(40), 30)] {
            let start = Instant::now();
            let pool: Pool<u8> = Pool::new(pool(10, max_age, None).limits.of_age(SECOND * 30));
            for (age, expected) in [(most * 7 / 10, Some(1)), (most + 1, None)] {
                let now = start + SECOND * age;
                pool.give(pool.made(1, start), now);
                assert_eq!(taken(&pool, now), expected, "{max_age:?}");
            }
        }
    }

    #[test]
    fn no_more_than_max_idle_connections_are_kept() {
        let (pool, start) = (pool(10, None, Some(1)), Instant::now());
        pool.give(pool.made(1, start), start);
        pool.give(pool.made(2, start), start);
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn with_expire_0_a_connection_is_used_once() {
        let (pool, start) = (pool(0, None, None), Instant::now());
        pool.give(pool.made(1, start), start);
        assert_eq!(taken(&pool, start + Duration::from_nanos(1)), None);
    }
}
