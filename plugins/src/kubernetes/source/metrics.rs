//! Metrics of a source.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use periplus_core::metrics::{Counter, Histogram, Registry};

use super::failure::Failure;
use super::state::{ResourceState, SourceState};
use crate::kubernetes::objects::Resource;

/// Prometheus's default buckets, in seconds, as client-go's metrics have them in CoreDNS.
const REQUEST_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The only HTTP method there is: lists and watches.
const METHOD: &str = "GET";

/// CoreDNS's metrics of the client's requests.
pub(super) struct RequestMetrics {
    registry: Arc<Registry>,
    host: String,
    duration: Histogram,
    limited: Histogram,
}

impl RequestMetrics {
    pub(super) fn new(registry: Arc<Registry>, host: &str) -> RequestMetrics {
        let labels = [("verb", METHOD), ("host", host)];
        RequestMetrics {
            duration: registry.histogram(
                "coredns_kubernetes_rest_client_request_duration_seconds",
                "Request latency in seconds. Broken down by verb and host.",
                &REQUEST_BUCKETS,
                &labels,
            ),
            limited: registry.histogram(
                "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
                "Client side rate limiter latency in seconds. Broken down by verb and host.",
                &REQUEST_BUCKETS,
                &labels,
            ),
            host: host.to_owned(),
            registry,
        }
    }

    /// The rate limiter held a request back for this long.
    pub(super) fn limited(&self, time: Duration) {
        self.limited.observe(time.as_secs_f64());
    }

    /// A request was answered after this long; no code: there was no answer.
    pub(super) fn answered(&self, time: Duration, code: Option<u16>) {
        self.duration.observe(time.as_secs_f64());
        // client-go writes `<error>` where there is no code.
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        let labels = [("code", code.as_str()), ("method", METHOD), ("host", self.host.as_str())];
        let help = "Number of HTTP requests, partitioned by status code, method, and host.";
        self.registry
            .counter("coredns_kubernetes_rest_client_requests_total", help, &labels)
            .add(1);
    }
}

/// Counters of one kind of object.
pub(super) struct WatchMetrics {
    lists: Counter,
    failures: [(&'static str, Counter); Failure::REASONS.len()],
}

impl WatchMetrics {
    pub(super) fn new(registry: &Registry, resource: Resource, origin: &str) -> WatchMetrics {
        let name = resource.name();
        let failure = |reason| {
            let labels = [("resource", name), ("reason", reason), ("origin", origin)];
            let help = "Lists and watches that failed, by reason.";
            (reason, registry.counter("periplus_kubernetes_watch_failures_total", help, &labels))
        };
        WatchMetrics {
            lists: registry.counter(
                "periplus_kubernetes_lists_total",
                "Complete lists that were read.",
                &[("resource", name), ("origin", origin)],
            ),
            failures: Failure::REASONS.map(failure),
        }
    }

    /// A list was read to its end.
    pub(super) fn listed(&self) {
        self.lists.add(1);
    }

    /// A list or watch failed.
    pub(super) fn failed(&self, failure: &Failure) {
        let reason = failure.reason();
        if let Some((_, counter)) = self.failures.iter().find(|(known, _)| *known == reason) {
            counter.add(1);
        }
    }
}

/// Registers what is computed when somebody scrapes, once for each source. Sources with the same origin, of several blocks, have their series in
/// common: these tell the worst of those that there are, and go with the last one.
pub fn register_state(registry: &Registry, state: &Arc<SourceState>) {
    if state.is_shown.swap(true, Relaxed) {
        return;
    }
    for resource in state.resources() {
        let labels = [("resource", resource.resource().name()), ("origin", state.origin())];
        let value = |read: fn(&ResourceState) -> f64| {
            let (state, resource): (Weak<SourceState>, _) =
                (Arc::downgrade(state), resource.resource());
            move || state.upgrade()?.of(resource).map(read)
        };
        registry.computed_of_all(
            "periplus_kubernetes_watch_age_seconds",
            "Time since the last list, event or bookmark.",
            "gauge",
            &labels,
            f64::max,
            value(|state| state.age().map_or(f64::NAN, |age| age.as_secs_f64())),
        );
        registry.computed_of_all(
            "periplus_kubernetes_synced",
            "Whether a complete list was read (1) since the start.",
            "gauge",
            &labels,
            f64::min,
            value(|state| f64::from(u8::from(state.synced()))),
        );
        registry.computed_of_all(
            "periplus_kubernetes_failing",
            "Whether the last list or watch failed (1).",
            "gauge",
            &labels,
            f64::max,
            value(|state| f64::from(u8::from(state.failure().is_some()))),
        );
    }
}
