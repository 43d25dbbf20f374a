//! Asking an upstream in trouble whether it is back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use periplus_core::codes::{RecordType, flags};
use periplus_core::query::Query;
use tokio_util::sync::CancellationToken;

use super::error::ExchangeError;
use super::message::{Request, is_alive};
use super::settings::{LEAST_PROBE_INTERVAL, PROBE_TIMEOUT, Protocol};
use super::upstream::{Over, Upstream, exchange_once};

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
        // What went wrong on this machine says nothing about the upstream.
        let counts = error.blames_upstream();
        if counts {
            let failures = health.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            upstream.metrics.probe_failures.add(1);
            if Some(failures) == max_fails.checked_add(1) {
                was_down = true;
                tracing::warn!("plugin/forward: upstream {} is down: {error}", upstream.address);
            }
        }
        if health.is_down(max_fails) {
            health.turn.store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(pause).await;
        if health.is_down(max_fails) && !health.turn.swap(false, Ordering::Relaxed) {
            // A question has gone in the place of the next probe; it has as much time.
            tokio::time::sleep(PROBE_TIMEOUT + pause).await;
        }
        if counts && health.failures.load(Ordering::Relaxed) == 0 {
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
