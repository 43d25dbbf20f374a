//! In which order the upstreams are tried for one question.

use std::sync::atomic::{AtomicU32, Ordering};

use smallvec::SmallVec;

/// `policy`.
#[derive(Debug)]
pub(super) enum Policy {
    /// Any order, each as likely.
    Random,
    /// A different one first each time, then the others as configured.
    RoundRobin(AtomicU32),
    /// As configured.
    Sequential,
}

/// Indices of upstreams, the one to try first first.
pub(super) type Order = SmallVec<[u16; 16]>;

impl Policy {
    /// The order of `count` upstreams for the next question. Those that `is_suspect` names come after all others, in the same order: they
    /// failed lately and no probe has cleared them yet.
    pub(super) fn order(&self, count: usize, is_suspect: impl Fn(usize) -> bool) -> Order {
        let mut order: Order = (0..count as u16).collect();
        match self {
            Policy::Random => fastrand::shuffle(&mut order),
            Policy::RoundRobin(turn) if count > 0 => {
                let first = turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1) as usize % count;
                order[..=first].rotate_right(1);
            }
            Policy::RoundRobin(_) | Policy::Sequential => {}
        }
        if count > 1 {
            // Stable, and no comparison is done when nobody is suspect.
            order.sort_by_key(|index| is_suspect(usize::from(*index)));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(policy: &Policy, count: usize, questions: usize) -> Vec<Vec<u16>> {
        (0..questions).map(|_| policy.order(count, |_| false).to_vec()).collect()
    }

    #[test]
    fn sequential_keeps_the_order_of_the_corefile() {
        assert_eq!(orders(&Policy::Sequential, 3, 2), [[0, 1, 2], [0, 1, 2]]);
    }

    #[test]
    fn round_robin_puts_the_next_one_first_and_keeps_the_others_in_order() {
        let policy = Policy::RoundRobin(AtomicU32::new(0));
        assert_eq!(
            orders(&policy, 4, 5),
            [[1, 0, 2, 3], [2, 0, 1, 3], [3, 0, 1, 2], [0, 1, 2, 3], [1, 0, 2, 3]]
        );
    }

    #[test]
    fn round_robin_survives_the_end_of_its_counter() {
        let policy = Policy::RoundRobin(AtomicU32::new(u32::MAX));
        assert_eq!(orders(&policy, 2, 1), [[0, 1]]);
    }

    #[test]
    fn random_tries_each_upstream_once_and_each_one_first_at_times() {
        let mut first = [0; 3];
        for mut order in orders(&Policy::Random, 3, 3000) {
            first[usize::from(order[0])] += 1;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
        assert!(first.iter().all(|count| *count > 700), "{first:?}");
    }

    #[test]
    fn suspects_come_last_in_their_own_order() {
        let order = Policy::Sequential.order(4, |index| index % 2 == 0);
        assert_eq!(order.as_slice(), [1, 3, 0, 2]);
        let all = Policy::Sequential.order(3, |_| true);
        assert_eq!(all.as_slice(), [0, 1, 2]);
    }

    #[test]
    fn no_upstream_is_no_order() {
        for policy in [Policy::Random, Policy::RoundRobin(AtomicU32::new(0)), Policy::Sequential] {
            assert!(policy.order(0, |_| false).is_empty());
        }
    }
}
