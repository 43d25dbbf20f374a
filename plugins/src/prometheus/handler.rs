use std::sync::Arc;
use std::time::Instant;

use periplus_core::metrics::Registry;
use periplus_core::name::{Name, NameRef};
use periplus_core::plugin::Filter;
use periplus_core::query::Query;
use periplus_core::reply::Answer;
use periplus_core::server::{ObserveDropped, Server};
use periplus_core::zone::Zones;

use super::append_list::AppendList;
use super::metrics::{ZoneMetrics, bare_response_size, chain_response_size};

/// Counts what passes through the chain of one server block.
pub(super) struct Prometheus {
    registry: Arc<Registry>,
    /// The block's zones, longest first.
    zones: Vec<Name>,
    servers: AppendList<ServerMetrics>,
}

impl Prometheus {
    pub(super) fn new(registry: &Arc<Registry>, zones: &Zones) -> Prometheus {
        let mut zones: Vec<Name> = zones.iter().cloned().collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.as_wire().len()));
        zones.dedup();
        // Names outside all zones are counted for the root.
        if zones.last().is_none_or(|zone| !zone.as_ref().is_root()) {
            zones.push(Name::root());
        }
        Prometheus { registry: Arc::clone(registry), zones, servers: AppendList::new() }
    }

    fn metrics_of(&self, server: &Arc<str>) -> &ServerMetrics {
        self.servers.find_or_add(
            |metrics| Arc::ptr_eq(&metrics.server, server) || metrics.server == *server,
            || ServerMetrics::new(&self.registry, server, &self.zones),
        )
    }
}

impl Filter for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn filter(&self, server: &Server, query: &Query, answer: &mut Answer) {
        let metrics = self.metrics_of(server.label()).zone_of(query.name());
        metrics.count(query, answer, chain_response_size(query, answer), Instant::now());
    }
}

/// The metrics of one block behind one server.
struct ServerMetrics {
    server: Arc<str>,
    /// Longest zone first; the root is the last one.
    zones: Vec<(Name, ZoneMetrics)>,
}

impl ServerMetrics {
    fn new(registry: &Arc<Registry>, server: &Arc<str>, zones: &[Name]) -> ServerMetrics {
        let metrics =
            |zone: &Name| (zone.clone(), ZoneMetrics::new(registry, server, zone.to_string()));
        ServerMetrics { server: Arc::clone(server), zones: zones.iter().map(metrics).collect() }
    }

    fn zone_of(&self, name: NameRef<'_>) -> &ZoneMetrics {
        let zone = self.zones.iter().find(|(zone, _)| name.is_at_or_below(zone.as_ref()));
        &zone.expect("every name lies in the root, which is always the last zone").1
    }
}

/// Counts queries that were answered without a chain, under the zone `dropped`.
pub(super) struct Dropped {
    registry: Arc<Registry>,
    servers: AppendList<(Arc<str>, ZoneMetrics)>,
}

impl Dropped {
    pub(super) fn new(registry: &Arc<Registry>) -> Dropped {
        Dropped { registry: Arc::clone(registry), servers: AppendList::new() }
    }
}

impl ObserveDropped for Dropped {
    fn dropped(&self, server: &Server, query: &Query, answer: &Answer) {
        let (_, metrics) = self.servers.find_or_add(
            |(label, _)| Arc::ptr_eq(label, server.label()) || label == server.label(),
            || {
                let label = server.label();
                // The zone has no final dot, so that no real zone can be mistaken for it.
                (Arc::clone(label), ZoneMetrics::new(&self.registry, label, "dropped".to_owned()))
            },
        );
        metrics.count(query, answer, bare_response_size(query), Instant::now());
    }
}
