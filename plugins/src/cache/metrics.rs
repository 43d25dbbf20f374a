//! What the cache counts, under CoreDNS's names.

use periplus_core::metrics::{Counter, Gauge};
use periplus_core::server::Server;
use periplus_core::setup::Setup;

use super::side::Side;

/// The metrics of each listener that the server block has, in the order of its keys.
pub(super) struct Metrics(Vec<(String, ServerMetrics)>);

/// The metrics with one `server` label.
pub(super) struct ServerMetrics {
    pub(super) requests: Counter,
    pub(super) misses: Counter,
    pub(super) prefetches: Counter,
    pub(super) drops: Counter,
    pub(super) served_stale: Counter,
    sides: [SideMetrics; 2],
}

/// The metrics with one `type` label.
pub(super) struct SideMetrics {
    pub(super) entries: Gauge,
    pub(super) hits: Counter,
    pub(super) evictions: Counter,
}

impl Metrics {
    /// Registers them for the block's listeners.
    pub(super) fn new(setup: &Setup<'_>, zones: &str) -> Metrics {
        let listeners = setup.block.listeners();
        Metrics(
            listeners
                .iter()
                .map(|listener| {
                    let server = listener.to_string();
                    let metrics = ServerMetrics::new(setup, &server, zones);
                    (server, metrics)
                })
                .collect(),
        )
    }

    /// Which entry belongs to a server.
    pub(super) fn index(&self, server: &Server) -> usize {
        if self.0.len() == 1 {
            return 0;
        }
        let label: &str = server.label();
        self.0.iter().position(|(server, _)| server == label).unwrap_or(0)
    }

    /// The metrics of all servers.
    pub(super) fn all(&self) -> impl Iterator<Item = &ServerMetrics> {
        self.0.iter().map(|(_, metrics)| metrics)
    }

    /// The metrics of a server, by [`Metrics::index`].
    pub(super) fn at(&self, index: usize) -> &ServerMetrics {
        &self.0[index].1
    }
}

impl ServerMetrics {
    fn new(setup: &Setup<'_>, server: &str, zones: &str) -> ServerMetrics {
        let registry = &setup.instance.metrics;
        let labels = [("server", server), ("zones", zones), ("view", "")];
        let counter = |name, help| registry.counter(name, help, &labels);
        ServerMetrics {
            requests: counter("coredns_cache_requests_total", "The count of cache requests."),
            misses: counter(
                "coredns_cache_misses_total",
                "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
            ),
            prefetches: counter(
                "coredns_cache_prefetch_total",
                "The number of times the cache has prefetched a cached item.",
            ),
            drops: counter(
                "coredns_cache_drops_total",
                "The number responses that are not cached, because the reply is malformed.",
            ),
            served_stale: counter(
                "coredns_cache_served_stale_total",
                "The number of requests served from stale cache entries.",
            ),
            sides: Side::BOTH.map(|side| {
                let labels =
                    [("server", server), ("type", side.label()), ("zones", zones), ("view", "")];
                SideMetrics {
                    entries: registry.gauge(
                        "coredns_cache_entries",
                        "The number of elements in the cache.",
                        &labels,
                    ),
                    hits: registry.counter(
                        "coredns_cache_hits_total",
                        "The count of cache hits.",
                        &labels,
                    ),
                    evictions: registry.counter(
                        "coredns_cache_evictions_total",
                        "The count of cache evictions.",
                        &labels,
                    ),
                }
            }),
        }
    }

    /// The metrics of one side.
    pub(super) fn side(&self, side: Side) -> &SideMetrics {
        &self.sides[side as usize]
    }
}
