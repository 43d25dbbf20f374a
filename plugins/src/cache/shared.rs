//! What all queries of a cache share.

use std::sync::Arc;
use std::time::Instant;

use periplus_core::memory::Budget;
use periplus_core::setup::Setup;
use tokio::sync::Semaphore;

use super::failures::Failures;
use super::flight::Flights;
use super::metrics::Metrics;
use super::settings::Settings;
use super::side::Side;
use super::store::Store;

/// Attempts in the background at once: refreshes, and exchanges that go on without their client. Beyond that old answers are given
/// and the next client has to try.
pub(super) const MOST_ATTEMPTS: usize = 1024;

/// All of it.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) failures: Failures,
    /// The right to ask in the background.
    pub(super) attempts: Arc<Semaphore>,
    pub(super) flights: Arc<Flights>,
}

/// Tells the time after something was waited for.
pub(super) type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

impl Shared {
    pub(super) fn new(settings: Settings, setup: &mut Setup<'_>, clock: Clock) -> Shared {
        let budget = Budget::of_process();
        Shared {
            metrics: Metrics::new(setup, &settings.zones.joined()),
            store: Store::new(Side::BOTH.map(|side| settings.bounds(side, budget))),
            failures: Failures::new(settings.servfail, clock()),
            attempts: Arc::new(Semaphore::new(MOST_ATTEMPTS)),
            flights: Arc::default(),
            settings,
            clock,
        }
    }
}
