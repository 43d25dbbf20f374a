//! Metrics under CoreDNS's names.

use std::sync::{Arc, OnceLock};

use periplus_core::codes::Rcode;
use periplus_core::metrics::{Counter, DURATION_BUCKETS, Histogram, Registry};

/// Response codes whose histogram is found without a look-up; beyond this lie unassigned ones.
const COMMON: usize = 24;

/// Counters of all stanzas together.
pub(super) struct ForwardMetrics {
    /// Every upstream was down.
    pub(super) broken: Counter,
    /// `max_concurrent` was reached.
    pub(super) rejected: Counter,
}

impl ForwardMetrics {
    /// Registers them.
    pub(super) fn new(registry: &Registry) -> ForwardMetrics {
        ForwardMetrics {
            broken: registry.counter(
                "coredns_forward_healthcheck_broken_total",
                "Counter of the number of complete failures of the healthchecks.",
                &[],
            ),
            rejected: registry.counter(
                "coredns_forward_max_concurrent_rejects_total",
                "Counter of the number of queries rejected because the concurrent queries were at maximum.",
                &[],
            ),
        }
    }
}

/// Metrics of one upstream.
pub(super) struct UpstreamMetrics {
    registry: Arc<Registry>,
    to: String,
    durations: [OnceLock<Histogram>; COMMON],
    /// Questions that somebody else was asked as well, because no answer came in time.
    pub(super) hedged: Counter,
    /// Probes that failed.
    pub(super) probe_failures: Counter,
    /// UDP sockets reused and opened.
    pub(super) udp: PoolMetrics,
    /// TCP connections reused and opened.
    pub(super) tcp: PoolMetrics,
}

/// Connections of one protocol.
pub(super) struct PoolMetrics {
    /// Taken from the pool.
    pub(super) hits: Counter,
    /// Newly opened.
    pub(super) misses: Counter,
}

impl UpstreamMetrics {
    /// Registers them for the upstream `to`, an address with its port.
    pub(super) fn new(registry: Arc<Registry>, to: String) -> UpstreamMetrics {
        let pool = |proto| PoolMetrics {
            hits: registry.counter(
                "coredns_proxy_conn_cache_hits_total",
                "Counter of connection cache hits per upstream and protocol.",
                &[("proxy_name", super::NAME), ("to", &to), ("proto", proto)],
            ),
            misses: registry.counter(
                "coredns_proxy_conn_cache_misses_total",
                "Counter of connection cache misses per upstream and protocol.",
                &[("proxy_name", super::NAME), ("to", &to), ("proto", proto)],
            ),
        };
        let (udp, tcp) = (pool("udp"), pool("tcp"));
        let probe_failures = registry.counter(
            "coredns_proxy_healthcheck_failures_total",
            "Counter of the number of failed healthchecks.",
            &[("proxy_name", super::NAME), ("to", &to)],
        );
        let hedged = registry.counter(
            "periplus_forward_hedged_requests_total",
            "Counter of questions that were sent once more because this upstream had not answered in time.",
            &[("to", &to)],
        );
        UpstreamMetrics {
            hedged,
            durations: [const { OnceLock::new() }; COMMON],
            registry,
            to,
            probe_failures,
            udp,
            tcp,
        }
    }

    /// Counts an exchange that ended in an answer.
    pub(super) fn observe(&self, rcode: Rcode, seconds: f64) {
        match self.durations.get(usize::from(rcode.0)) {
            Some(cell) => cell.get_or_init(|| self.duration(rcode)).observe(seconds),
            None => self.duration(rcode).observe(seconds),
        }
    }

    fn duration(&self, rcode: Rcode) -> Histogram {
        let label = rcode.mnemonic().map_or_else(|| rcode.0.to_string(), str::to_owned);
        self.registry.histogram(
            "coredns_proxy_request_duration_seconds",
            "Histogram of the time each request took.",
            &DURATION_BUCKETS,
            &[("proxy_name", super::NAME), ("to", &self.to), ("rcode", &label)],
        )
    }
}
