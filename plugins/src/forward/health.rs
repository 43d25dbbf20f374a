//! Whether an upstream can be used.
//!
//! ```text
//!            an exchange fails                 more than max_fails probes failed
//!   healthy -------------------> suspect ------------------------------------------> down
//!      ^                            |                                                  |
//!      +------ a probe succeeds ----+--------------------------------------------------+
//! ```
//!
//! Nothing is probed while all is well. After a failed exchange, or several questions in a row whose time the upstream let pass, one task
//! per upstream probes it until a probe is answered, with anything at all; meanwhile the upstream is asked only after all others. An answer to
//! a client's question says as much as that to a probe.
//!
//! When all upstreams are down, no question is sent to them but in the place of every other probe: so one that has no answer for
//! probes is found alive too, and what is sent to servers in trouble is no more than the probes would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use periplus_core::codes::{RecordType, flags};
use periplus_core::query::Query;
use tokio_util::sync::CancellationToken;

use super::error::ExchangeError;
use super::message::{Request, is_alive};
use super::settings::{LEAST_PROBE_INTERVAL, MOST_LATE, PROBE_TIMEOUT, Protocol};
use super::upstream::{Over, Upstream, exchange_once};

/// What is known of an upstream's health.
#[derive(Default)]
pub(super) struct Health {
    /// Probes that failed one after another.
    failures: AtomicU32,
    /// A task probes it.
    probed: AtomicBool,
    /// Questions in a row whose time it let pass.
    late: AtomicU32,
    /// A question may go in the place of the next probe.
    turn: AtomicBool,
}

impl Health {
    /// Whether too many probes failed; with `max_fails 0` never.
    pub(super) fn is_down(&self, max_fails: u32) -> bool {
        max_fails != 0 && self.failures.load(Ordering::Relaxed) > max_fails
    }

    /// Whether it failed and no probe has cleared it yet.
    pub(super) fn is_suspect(&self) -> bool {
        self.probed.load(Ordering::Relaxed)
    }

    /// It answered a question. Written only where something stands: all workers read this with every question.
    pub(super) fn answered(&self) {
        for count in [&self.failures, &self.late] {
            if count.load(Ordering::Relaxed) != 0 {
                count.store(0, Ordering::Relaxed);
            }
        }
    }

    /// It let the time of a question pass. Says whether that happened so often in a row that it should be probed.
    pub(super) fn was_late(&self) -> bool {
        self.late.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_LATE
    }

    /// Takes the place of the next probe, if it is to be had.
    pub(super) fn take_turn(&self) -> bool {
        self.turn.load(Ordering::Relaxed) && self.turn.swap(false, Ordering::Relaxed)
    }
}

/// Probes the upstream until it answers, unless that is being done already. Ends with `stop`.
pub(super) fn start_probing(upstream: &Arc<Upstream>, stop: &CancellationToken) {
    if stop.is_cancelled() || upstream.health.probed.swap(true, Ordering::AcqRel) {
        return;
    }
    let (upstream, stop) = (Arc::clone(upstream), stop.clone());
    tokio::spawn(async move { stop.run_until_cancelled(probe_until_alive(&upstream)).await });
}

async fn probe_until_alive(upstream: &Upstream) {
    let max_fails = upstream.settings.max_fails;
    let health = &upstream.health;
    let pause = upstream.settings.probe.interval.max(LEAST_PROBE_INTERVAL);
    let mut was_down = false;
    loop {
        let Err(error) = probe(upstream).await else { break };
        let failures = health.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        upstream.metrics.probe_failures.add(1);
        if Some(failures) == max_fails.checked_add(1) {
            was_down = true;
            tracing::warn!("plugin/forward: upstream {} is down: {error}", upstream.address);
        }
        if health.is_down(max_fails) {
            health.turn.store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(pause).await;
        if health.is_down(max_fails) && !health.turn.swap(false, Ordering::Relaxed) {
            // A question has gone in the place of the next probe; it has as much time.
            tokio::time::sleep(PROBE_TIMEOUT + pause).await;
        }
        if health.failures.load(Ordering::Relaxed) == 0 {
            // A question was answered meanwhile.
            break;
        }
    }
    if was_down {
        tracing::info!("plugin/forward: upstream {} is up again", upstream.address);
    }
    health.turn.store(false, Ordering::Relaxed);
    health.answered();
    health.probed.store(false, Ordering::Release);
}

async fn probe(upstream: &Upstream) -> Result<(), ExchangeError> {
    let settings = &upstream.settings;
    let mut query = Query::internal(settings.probe.domain.as_ref(), RecordType::NS);
    if !settings.probe.recursion {
        query.flags &= !flags::RD;
    }
    let request = Request::new(&query);
    let over = if settings.protocol == Protocol::Tcp { Over::Tcp } else { Over::Udp };
    let id = request.id();
    let accept = |message: &[u8]| is_alive(message, id);
    exchange_once(upstream.address, settings.source, &request, over, PROBE_TIMEOUT, accept).await
}
