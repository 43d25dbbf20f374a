//! Giving back the memory of what is over, whether queries come or not.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::side::Side;

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_secs(2);
/// Parts of a side that are looked at in one round: 16,384 entries, less than a millisecond. A larger side takes several rounds.
const PARTS: usize = 128;

/// Looks through the store until the instance stops.
pub(super) async fn sweep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut places = [0; Side::BOTH.len()];
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
        shared.failures.sweep((shared.clock)());
        for (side, place) in Side::BOTH.into_iter().zip(&mut places) {
            for _ in 0..PARTS {
                let next = shared.sweep(side, *place);
                *place = next.unwrap_or(0);
                if next.is_none() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        shared.show_entries();
    }
}

impl Shared {
    /// Looks through one part of a side.
    pub(super) fn sweep(&self, side: Side, place: usize) -> Option<usize> {
        let now = (self.clock)();
        self.store.sweep(side, place, |item| self.worth(item, now))
    }

    /// Brings the gauges of those up to date that have shown something.
    fn show_entries(&self) {
        for metrics in self.metrics.all() {
            for side in Side::BOTH {
                let gauge = &metrics.side(side).entries;
                if gauge.value() > 0.0 {
                    gauge.set(self.store.entries(side) as f64);
                }
            }
        }
    }
}
