//! The lists as gauges: made at each scrape, so that who has become quiet is gone from them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use periplus_core::identity::{Holder, Identities};
use periplus_core::metrics::Collected;

use super::loudest::Tally;
use super::talkers::Talkers;
use super::window::Kind;

type Series = Vec<(Vec<(&'static str, String)>, f64)>;

/// Shows what was counted by `now`.
pub(super) fn collect(
    talkers: &Talkers,
    identities: &Identities,
    now: Instant,
    collected: &mut Collected,
) {
    let tally = |kind| talkers.tally(kind, now);
    let clients = tally(Kind::Clients);
    if let Some(clients) = &clients {
        show_clients(talkers, identities, clients, collected);
    }
    let names = tally(Kind::Names);
    if let Some(names) = &names {
        collected.family(
            "periplus_top_names",
            "Queries for the names that were asked for most, within the window.",
            "gauge",
            name_series(talkers, names, talkers.settings.names),
        );
    }
    if let Some(all) = clients.or(names) {
        collected.family(
            "periplus_top_queries",
            "All queries within the window.",
            "gauge",
            [(Vec::new(), all.total().round())],
        );
    }
    if let Some(nxdomain) = tally(Kind::Nxdomain) {
        collected.family(
            "periplus_top_nxdomain_names",
            "Queries for the names that were asked for most and do not exist, within the window.",
            "gauge",
            name_series(talkers, &nxdomain, talkers.settings.nxdomain),
        );
        collected.family(
            "periplus_top_nxdomain_queries",
            "All queries that were answered NXDOMAIN, within the window.",
            "gauge",
            [(Vec::new(), nxdomain.total().round())],
        );
    }
}

/// The loudest clients, each with its namespace, and the loudest namespaces.
fn show_clients(
    talkers: &Talkers,
    identities: &Identities,
    tally: &Tally<'_>,
    collected: &mut Collected,
) {
    let address = |key: Vec<u8>, hash| talkers.client(&key, hash);
    let loudest: Vec<(IpAddr, f64)> = tally
        .loudest()
        .into_iter()
        .filter_map(|found| Some((address(found.key(), found.hash)?, found.least.round())))
        .take(talkers.settings.clients)
        .collect();
    // Small clients add up to a large namespace: all that are known count for theirs, and what their counters took over with them, as
    // that was asked by clients like them.
    let all: HashMap<IpAddr, f64, RandomState> = match talkers.settings.namespaces {
        0 => HashMap::default(),
        _ => tally
            .all()
            .filter_map(|found| Some((address(found.key(), found.hash)?, found.most)))
            .collect(),
    };
    let loud = loudest.iter().map(|(address, _)| *address);
    let holders = identities.holders(all.keys().copied().chain(loud));
    let namespace = |address| holders.get(address).and_then(Holder::namespace);
    let clients: Series = loudest
        .iter()
        .map(|(address, count)| {
            let mut labels = vec![("client", address.to_string())];
            labels.extend(namespace(address).map(|name| ("namespace", name.to_string())));
            (labels, *count)
        })
        .collect();
    collected.family(
        "periplus_top_clients",
        "Queries of the clients that asked most, within the window.",
        "gauge",
        clients,
    );
    let mut namespaces: BTreeMap<&Arc<str>, f64> = BTreeMap::new();
    for (address, count) in &all {
        if let Some(name) = namespace(address) {
            *namespaces.entry(name).or_default() += count;
        }
    }
    let mut namespaces: Vec<_> = namespaces.into_iter().collect();
    namespaces.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let namespaces = namespaces.into_iter().take(talkers.settings.namespaces);
    collected.family(
        "periplus_top_namespaces",
        "Queries of the Kubernetes namespaces whose Pods asked most, within the window; an estimate.",
        "gauge",
        namespaces.map(|(name, count)| (vec![("namespace", name.to_string())], count.round())),
    );
}

/// The loudest names. A name's text holds no byte beyond printable ASCII, whatever its labels hold.
fn name_series(talkers: &Talkers, tally: &Tally<'_>, count: usize) -> Series {
    let series = tally.loudest().into_iter().filter_map(|found| {
        let key = found.key();
        let name = talkers.name(&key, found.hash)?;
        Some((vec![("name", name.to_string())], found.least.round()))
    });
    series.take(count).collect()
}
