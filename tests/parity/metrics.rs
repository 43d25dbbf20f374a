//! What both servers say at `/metrics` after the same questions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use super::Server;
use super::variants::measured;
use crate::support::client::{question, tcp, udp};
use crate::support::peer::coredns;
use crate::support::real_api_server::RealApiServer;
use crate::support::server::free_port;
use crate::support::upstream::Upstream;

/// No names of reverse zones: their answers are kept by CoreDNS only (row 20 of DIFFERENCES.md).
const NAMES: &[&str] = &[
    "till.shop.svc.cluster.local.",
    "_http._tcp.h-dual.shop.svc.cluster.local.",
    "missing.shop.svc.cluster.local.",
    "cluster.local.",
    "www.example.com.",
    "www.upstream.test.",
    "alias2.upstream.test.",
    "nx.upstream.test.",
    "x.servfail.test.",
    "x.refused.test.",
    "company.example.",
    "x.upstream.company.example.",
    ".",
];
const TYPES: &[u16] = &[1, 28, 33, 12, 16, 6, 255, 64, 65280];

/// Families of CoreDNS's that are not there, and why.
const MISSING: &[(&str, &str)] = &[
    ("go_", "no Go runtime"),
    ("promhttp_", "no Go library"),
    ("process_network_", "of the network namespace, not of the process"),
    ("coredns_local_", "of a plugin that is not in the Corefile"),
];

/// Families that are there from the start, with CoreDNS only when something was counted.
const EARLIER: &[&str] = &[
    "coredns_cache_drops_total counter",
    "coredns_cache_evictions_total counter",
    "coredns_cache_prefetch_total counter",
    "coredns_cache_served_stale_total counter",
    "coredns_kubernetes_dns_programming_duration_seconds histogram",
    "coredns_proxy_healthcheck_failures_total counter",
    "coredns_reload_version_info gauge",
];

/// By name and labels, as they are written.
type Page = BTreeMap<String, f64>;

struct Measured {
    server: Server,
    port: u16,
}

impl Measured {
    fn start(binary: &Path, kubeconfig: &str, upstream: SocketAddr) -> Measured {
        let port = free_port();
        Measured { server: Server::start(binary, &measured(port), kubeconfig, upstream), port }
    }

    fn text(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        // With HTTP/1.1 the page comes in chunks.
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("the server reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the server writes text");
        text
    }

    /// All series, with `PORT` for the port that DNS listens on.
    fn page(&self) -> Page {
        let text =
            self.text().replace(&format!(":{}\"", self.server.peer.address.port()), ":PORT\"");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                Some((series.to_owned(), value.trim().parse().ok()?))
            })
            .collect()
    }

    /// `TYPE` lines: the names of families, and what they are.
    fn families(&self) -> BTreeSet<String> {
        lines_after("# TYPE ", &self.text()).collect()
    }

    /// `HELP` lines by the names of families.
    fn helps(&self) -> BTreeMap<String, String> {
        let text = self.text();
        let lines = lines_after("# HELP ", &text).filter_map(|line| {
            line.split_once(' ').map(|(name, help)| (name.to_owned(), help.to_owned()))
        });
        lines.collect()
    }

    fn ask(&self) {
        for name in NAMES {
            for (index, qtype) in TYPES.iter().enumerate() {
                let mut message = question(1, name, *qtype, (index % 3 != 0).then_some(1232));
                if index % 3 == 2 {
                    let flags = message.len() - 4;
                    message[flags] |= 0x80;
                }
                assert!(udp(self.server.peer.address, &message).is_some(), "{name} {qtype}");
                assert!(tcp(self.server.peer.address, &message).is_some(), "{name} {qtype}");
            }
        }
    }
}

fn lines_after<'t>(start: &'t str, text: &'t str) -> impl Iterator<Item = String> + 't {
    text.lines().filter_map(move |line| line.strip_prefix(start).map(str::to_owned))
}

/// What the questions changed, of families in which both must count alike; without the label that differs (`prometheus`' README).
fn counted(before: &Page, after: &Page) -> Page {
    const ALIKE: &[&str] = &[
        "coredns_dns_requests_total",
        "coredns_dns_do_requests_total",
        "coredns_dns_request_duration_seconds_count",
        "coredns_dns_request_size_bytes",
        "coredns_dns_response_size_bytes",
        "coredns_dns_responses_total",
        "coredns_cache_hits_total",
        "coredns_cache_misses_total",
        "coredns_cache_requests_total",
        "coredns_cache_entries",
        "coredns_forward_",
        "coredns_proxy_request_duration_seconds_count",
        "coredns_plugin_enabled",
        "coredns_panics_total",
        "coredns_hosts_entries",
    ];
    let mut counted = Page::new();
    for (series, value) in after {
        if !ALIKE.iter().any(|name| series.starts_with(name)) {
            continue;
        }
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").map(|label| label.trim_matches('"'));
        let mut labels: Vec<&str> = labels.filter(|label| !label.starts_with("plugin=")).collect();
        labels.sort_unstable();
        let is_gauge = name.ends_with("_entries") || name.ends_with("_enabled");
        let base = if is_gauge { 0.0 } else { before.get(series).copied().unwrap_or(0.0) };
        *counted.entry(format!("{name} {}", labels.join(" "))).or_default() += value - base;
    }
    counted.retain(|_, value| *value != 0.0);
    counted
}

#[test]
fn the_metrics_are_those_of_coredns_or_it_is_skipped() {
    let Some(binary) = coredns("the comparison of metrics with CoreDNS") else { return };
    let Some(api) = RealApiServer::shared("the comparison of metrics with CoreDNS") else { return };
    api.fill();
    let ours = Path::new(env!("CARGO_BIN_EXE_periplus"));
    let upstream = Upstream::start();
    let servers = [binary.as_path(), ours]
        .map(|binary| Measured::start(binary, &api.kubeconfig, upstream.address));
    let counts = servers.each_ref().map(|server| {
        let before = server.page();
        server.ask();
        counted(&before, &server.page())
    });
    let [theirs, ours] = servers.each_ref().map(Measured::families);
    let is_missing = |family: &&String| !MISSING.iter().any(|(name, _)| family.starts_with(name));
    let missing: Vec<&String> = theirs.difference(&ours).filter(is_missing).collect();
    let is_added =
        |family: &&String| !family.starts_with("periplus_") && !EARLIER.contains(&family.as_str());
    let added: Vec<&String> = ours.difference(&theirs).filter(is_added).collect();
    let [help, own_help] = servers.each_ref().map(Measured::helps);
    let other_help: Vec<_> = help
        .iter()
        .filter(|(name, help)| own_help.get(*name).is_some_and(|own| own != *help))
        // CoreDNS says that it is the size of the client's buffer; counted is the size of the request.
        .filter(|(name, _)| *name != "coredns_dns_request_size_bytes")
        .collect();
    let [theirs, ours] = &counts;
    let differ = |series: &&String| theirs.get(*series) != ours.get(*series);
    let all: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let differences: Vec<String> = all
        .into_iter()
        .filter(differ)
        .map(|series| format!("{series}: {:?}, {:?}", theirs.get(series), ours.get(series)))
        .collect();
    eprintln!("{} series compared", theirs.len());
    assert!(theirs.len() > 100, "{theirs:#?}");
    assert!(other_help.is_empty(), "CoreDNS's words: {other_help:#?}");
    assert!(
        missing.is_empty() && added.is_empty() && differences.is_empty(),
        "missing: {missing:#?}\nadded: {added:#?}\nCoreDNS, Periplus: {differences:#?}"
    );
}
