//! Whether an upstream can be used.
//!
//! ```text
//!            an exchange fails                 more than max_fails probes failed
//!   healthy -------------------> suspect ------------------------------------------> down
//!      ^                            |                                                  |
//!      +------ a probe succeeds ----+--------------------------------------------------+
//! ```
//!
//! Nothing is probed while all is well. After a failed exchange one task per upstream probes it until a probe is answered, with anything
//! at all; meanwhile the upstream is asked only after all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use periplus_core::codes::{RecordType, flags};
use periplus_core::query::Query;
use tokio_util::sync::CancellationToken;

use super::error::ExchangeError;
use super::message::{Request, is_alive};
use super::settings::{LEAST_PROBE_INTERVAL, PROBE_TIMEOUT, Protocol};
use super::upstream::{Over, Upstream, exchange_once};

/// What is known of an upstream's health.
#[derive(Default)]
pub(super) struct Health {
    /// Probes that failed one after another.
    failures: AtomicU32,
    /// A task probes it.
    probed: AtomicBool,
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
    while let Err(error) = probe(upstream).await {
        let failures = health.failures.load(Ordering::Relaxed).saturating_add(1);
        health.failures.store(failures, Ordering::Relaxed);
        upstream.metrics.probe_failures.add(1);
        if Some(failures) == max_fails.checked_add(1) {
            tracing::warn!("plugin/forward: upstream {} is down: {error}", upstream.address);
        }
        tokio::time::sleep(upstream.settings.probe.interval.max(LEAST_PROBE_INTERVAL)).await;
    }
    if health.is_down(max_fails) {
        tracing::info!("plugin/forward: upstream {} is up again", upstream.address);
    }
    health.failures.store(0, Ordering::Relaxed);
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
