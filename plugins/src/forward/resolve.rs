//! Host names among the TO words, looked up once when the server starts.
//!
//! CoreDNS looks them up while it reads the Corefile and does not start without an answer, which a cluster's DNS server may be the
//! only one to give. Here the server starts, asks with the upstreams it has, and goes on trying.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::RecordType;
use periplus_core::metrics::Registry;
use periplus_core::name::NameBuf;
use periplus_core::query::Query;
use periplus_core::record;

use super::destination::{Destination, Host};
use super::error::ExchangeError;
use super::message::Request;
use super::settings::Settings;
use super::stanza::Stanza;
use super::upstream::{Over, Upstream, exchange_once};

/// How long one question to a `resolver` waits (CoreDNS).
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after the first failure; it doubles up to the last one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Makes the upstreams of a stanza, without those of host names that are not resolved yet. An address that stands there twice
/// counts once; upstreams that are known keep their connections.
pub(super) fn upstreams(
    destinations: &[Destination],
    known: &[Arc<Upstream>],
    settings: &Arc<Settings>,
    registry: &Arc<Registry>,
) -> Vec<Arc<Upstream>> {
    let mut found: Vec<Arc<Upstream>> = Vec::new();
    for destination in destinations {
        let Destination::Addresses(addresses) = destination else { continue };
        for address in addresses {
            if found.iter().any(|upstream| upstream.address == *address) {
                continue;
            }
            let known = known.iter().find(|upstream| upstream.address == *address);
            found.push(known.cloned().unwrap_or_else(|| {
                Arc::new(Upstream::new(*address, Arc::clone(settings), registry))
            }));
        }
    }
    found
}

/// Looks up the host names of a stanza until all have addresses.
pub(super) async fn resolve(
    stanza: Arc<Stanza>,
    mut destinations: Vec<Destination>,
    registry: Arc<Registry>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut missing = false;
        for destination in &mut destinations {
            let Destination::Host(host) = destination else { continue };
            match look_up(host, &stanza.settings).await {
                Ok(addresses) => {
                    tracing::info!("plugin/forward: {} is {addresses:?}", host.name);
                    *destination = Destination::Addresses(addresses);
                }
                Err(error) => {
                    tracing::warn!("plugin/forward: failed to resolve \"{}\": {error}", host.name);
                    missing = true;
                }
            }
        }
        let known = stanza.upstreams.load_full();
        stanza.upstreams.store(Arc::new(upstreams(
            &destinations,
            &known,
            &stanza.settings,
            &registry,
        )));
        if !missing {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = LAST_PAUSE.min(pause * 2);
    }
}

async fn look_up(host: &Host, settings: &Settings) -> Result<Vec<SocketAddr>, String> {
    let found = if settings.resolver.is_empty() {
        let found = tokio::net::lookup_host((host.name.as_str(), host.port)).await;
        found.map_err(|error| error.to_string())?.collect()
    } else {
        ask_resolvers(host, settings).await?
    };
    if found.is_empty() {
        Err(format!("no addresses found for \"{}\"", host.name))
    } else {
        Ok(found)
    }
}

/// The addresses from the first resolver that has any, A before AAAA.
async fn ask_resolvers(host: &Host, settings: &Settings) -> Result<Vec<SocketAddr>, String> {
    let mut last = None;
    for resolver in &settings.resolver {
        let mut found = Vec::new();
        for rtype in [RecordType::A, RecordType::AAAA] {
            match ask_resolver(*resolver, host, rtype, settings).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => last = Some(error.to_string()),
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    last.map_or(Ok(Vec::new()), Err)
}

async fn ask_resolver(
    resolver: SocketAddr,
    host: &Host,
    rtype: RecordType,
    settings: &Settings,
) -> Result<Vec<SocketAddr>, ExchangeError> {
    // Setup made sure that it is a name.
    let name = NameBuf::parse(&host.name).unwrap_or_default();
    let query = Query::internal(name.as_ref(), rtype);
    let request = Request::new(&query);
    let accept = |message: &[u8]| request.expected().read(message, &query).ok();
    let reply =
        exchange_once(resolver, settings.source, &request, Over::Udp, TIMEOUT, accept).await?;
    let entries = reply.answer.iter().filter(|entry| entry.rtype() == rtype);
    let addresses = entries
        .flat_map(|entry| entry.set.rdata().filter_map(|rdata| record::address(rtype, rdata)));
    Ok(addresses.map(|address| SocketAddr::new(address, host.port)).collect())
}
