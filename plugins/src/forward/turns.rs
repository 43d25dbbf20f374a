//! Whose turn it is to be asked.

use std::sync::Arc;

use super::policy::{Order, Policy};
use super::settings::Settings;
use super::upstream::Upstream;

/// The upstreams in the order in which one question reaches them, round after round.
pub(super) struct Turns<'a> {
    upstreams: &'a [Arc<Upstream>],
    max_fails: u32,
    order: Order,
    at: usize,
    /// Upstreams that come first are preferred.
    ranked: bool,
}

impl<'a> Turns<'a> {
    /// The order for the next question.
    pub(super) fn new(settings: &Settings, upstreams: &'a [Arc<Upstream>]) -> Turns<'a> {
        let is_suspect = |index: usize| upstreams[index].health.is_suspect();
        let order = settings.policy.order(upstreams.len(), is_suspect);
        let ranked = matches!(settings.policy, Policy::Sequential);
        Turns { upstreams, max_fails: settings.max_fails, order, at: 0, ranked }
    }

    /// The next one of this round that is not down.
    pub(super) fn next(&mut self) -> Option<usize> {
        while let Some(index) = self.order.get(self.at).copied().map(usize::from) {
            self.at += 1;
            if !self.upstreams[index].health.is_down(self.max_fails) {
                return Some(index);
            }
        }
        None
    }

    /// Whether somebody is left in this round.
    pub(super) fn has_more(&self) -> bool {
        let is_up =
            |index: &u16| !self.upstreams[usize::from(*index)].health.is_down(self.max_fails);
        self.order[self.at..].iter().any(is_up)
    }

    /// Whether `one` should have its say before `other`. Nobody waits for a suspect, and its own answer waits for nobody.
    pub(super) fn prefers(&self, one: usize, other: usize) -> bool {
        let mut order = self.order.iter().copied().map(usize::from);
        self.ranked && one < other && order.find(|index| [one, other].contains(index)) == Some(one)
    }

    /// Begins another round.
    pub(super) fn start_over(&mut self) {
        self.at = 0;
    }

    /// One that is down and may be asked in the place of its next probe.
    pub(super) fn instead_of_probe(&self) -> Option<usize> {
        let mut order = self.order.iter().copied().map(usize::from);
        order.find(|index| self.upstreams[*index].health.take_turn())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_preferred_that_comes_first_in_the_corefile_and_now() {
        // The first one is a suspect.
        let order = Order::from_slice(&[1, 2, 0]);
        let mut turns = Turns { upstreams: &[], max_fails: 2, order, at: 0, ranked: true };
        let preferred = |turns: &Turns<'_>| {
            let all = (0..3).flat_map(|one| (0..3).map(move |other| (one, other)));
            all.filter(|(one, other)| turns.prefers(*one, *other)).collect::<Vec<_>>()
        };
        assert_eq!(preferred(&turns), [(1, 2)]);
        turns.order.sort_unstable();
        assert_eq!(preferred(&turns), [(0, 1), (0, 2), (1, 2)]);
        turns.ranked = false;
        assert_eq!(preferred(&turns), []);
    }
}
