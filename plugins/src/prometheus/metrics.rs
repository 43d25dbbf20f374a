use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::metrics::{Counter, DURATION_BUCKETS, Histogram, Registry, SIZE_BUCKETS};
use periplus_core::query::{HEADER, Query, Transport};
use periplus_core::reply::Answer;

use super::append_list::AppendList;

/// The types that are counted by name, the most asked first; all others are `other`.
const TYPES: [RecordType; 19] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::PTR,
    RecordType::HTTPS,
    RecordType::TXT,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::NS,
    RecordType::SOA,
    RecordType::DS,
    RecordType::DNSKEY,
    RecordType::SVCB,
    RecordType::RRSIG,
    RecordType::NSEC,
    RecordType::NSEC3,
    RecordType::ANY,
    RecordType::AXFR,
    RecordType::IXFR,
];

/// Response codes up to BADCOOKIE have a slot of their own; the few numbers beyond share the list's slow end.
const RCODES: usize = Rcode::BADCOOKIE.0 as usize + 1;

/// The metrics of one server and zone. Handles are made when their labels are first seen, so that `/metrics` shows only what
/// has happened.
pub(super) struct ZoneMetrics {
    registry: Arc<Registry>,
    server: Arc<str>,
    zone: String,
    /// By transport, address family and type.
    requests: [[[OnceLock<Counter>; TYPES.len() + 1]; 2]; 2],
    duration: OnceLock<Histogram>,
    /// By transport.
    request_size: [OnceLock<Histogram>; 2],
    /// By transport.
    response_size: [OnceLock<Histogram>; 2],
    do_requests: OnceLock<Counter>,
    responses: AppendList<Responses>,
}

/// The response counters of one plugin.
struct Responses {
    plugin: &'static str,
    by_rcode: [OnceLock<Counter>; RCODES],
    beyond: AppendList<(Rcode, Counter)>,
}

impl ZoneMetrics {
    pub(super) fn new(registry: &Arc<Registry>, server: &Arc<str>, zone: String) -> ZoneMetrics {
        ZoneMetrics {
            registry: Arc::clone(registry),
            server: Arc::clone(server),
            zone,
            requests: Default::default(),
            duration: OnceLock::new(),
            request_size: Default::default(),
            response_size: Default::default(),
            do_requests: OnceLock::new(),
            responses: AppendList::new(),
        }
    }

    /// Counts a query and its answer.
    pub(super) fn count(&self, query: &Query, answer: &Answer, response_size: usize, now: Instant) {
        let proto = usize::from(query.transport == Transport::Tcp);
        self.requests(query, proto).add(1);
        if query.dnssec_ok() {
            self.do_requests().add(1);
        }
        let duration = now.saturating_duration_since(query.received);
        self.duration().observe(duration.as_secs_f64());
        self.request_size(query, proto).observe(query.size as f64);
        self.response_size(query, proto).observe(response_size as f64);
        let (rcode, plugin) = match answer {
            Answer::Reply(reply) => (reply.rcode, reply.source),
            Answer::Failure(failure) => (failure.rcode, failure.source),
            // CoreDNS counts what was dropped on purpose as NOERROR of no plugin.
            Answer::Silence => (Rcode::NOERROR, ""),
        };
        self.count_response(rcode, plugin);
    }

    fn requests(&self, query: &Query, proto: usize) -> &Counter {
        let family = match query.peer {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(peer) => usize::from(peer.ip().to_ipv4_mapped().is_none()),
        };
        let kind = TYPES.iter().position(|&kind| kind == query.qtype);
        self.requests[proto][family][kind.unwrap_or(TYPES.len())].get_or_init(|| {
            let kind = kind.map_or_else(|| "other".to_owned(), |_| query.qtype.to_string());
            self.registry.counter(
                "coredns_dns_requests_total",
                "Counter of DNS requests made per zone, protocol and family.",
                &[
                    ("server", &self.server),
                    ("zone", &self.zone),
                    ("view", ""),
                    ("proto", query.transport.label()),
                    ("family", ["1", "2"][family]),
                    ("type", &kind),
                ],
            )
        })
    }

    fn do_requests(&self) -> &Counter {
        self.do_requests.get_or_init(|| {
            self.registry.counter(
                "coredns_dns_do_requests_total",
                "Counter of DNS requests with DO bit set per zone.",
                &[("server", &self.server), ("zone", &self.zone), ("view", "")],
            )
        })
    }

    fn duration(&self) -> &Histogram {
        self.duration.get_or_init(|| {
            self.registry.histogram(
                "coredns_dns_request_duration_seconds",
                "Histogram of the time (in seconds) each request took per zone.",
                &DURATION_BUCKETS,
                &[("server", &self.server), ("zone", &self.zone), ("view", "")],
            )
        })
    }

    fn request_size(&self, query: &Query, proto: usize) -> &Histogram {
        self.request_size[proto].get_or_init(|| {
            self.registry.histogram(
                "coredns_dns_request_size_bytes",
                "Size of the request in bytes per zone and protocol.",
                &SIZE_BUCKETS,
                &[
                    ("server", &self.server),
                    ("zone", &self.zone),
                    ("view", ""),
                    ("proto", query.transport.label()),
                ],
            )
        })
    }

    fn response_size(&self, query: &Query, proto: usize) -> &Histogram {
        self.response_size[proto].get_or_init(|| {
            self.registry.histogram(
                "coredns_dns_response_size_bytes",
                "Size of the returned response in bytes.",
                &SIZE_BUCKETS,
                &[
                    ("server", &self.server),
                    ("zone", &self.zone),
                    ("view", ""),
                    ("proto", query.transport.label()),
                ],
            )
        })
    }

    fn count_response(&self, rcode: Rcode, plugin: &'static str) {
        let of_plugin = self.responses.find_or_add(
            // The same text nearly always lies at the same place.
            |responses| std::ptr::eq(responses.plugin, plugin) || responses.plugin == plugin,
            || Responses { plugin, by_rcode: Default::default(), beyond: AppendList::new() },
        );
        match of_plugin.by_rcode.get(usize::from(rcode.0)) {
            Some(slot) => slot.get_or_init(|| self.response_counter(rcode, plugin)).add(1),
            None => {
                let beyond = of_plugin.beyond.find_or_add(
                    |(known, _)| *known == rcode,
                    || (rcode, self.response_counter(rcode, plugin)),
                );
                beyond.1.add(1);
            }
        }
    }

    fn response_counter(&self, rcode: Rcode, plugin: &str) -> Counter {
        self.registry.counter(
            "coredns_dns_responses_total",
            "Counter of response status codes.",
            &[
                ("server", &self.server),
                ("zone", &self.zone),
                ("view", ""),
                ("rcode", &rcode.to_string()),
                ("plugin", plugin),
            ],
        )
    }
}

/// The size that is counted for what a chain answered: without compression and without an OPT record that the server adds. An answer
/// that no plugin wrote counts as 0, as in CoreDNS.
pub(super) fn chain_response_size(query: &Query, answer: &Answer) -> usize {
    answer.reply().map_or(0, |reply| reply.uncompressed_length(query))
}

/// The size of the bare reply to a query that no chain saw.
pub(super) fn bare_response_size(query: &Query) -> usize {
    // A message without a question gets none back.
    if query.size == HEADER { HEADER } else { HEADER + query.spelled().len() + 4 }
}
