//! Objects in, question, reply: what CoreDNS's plugin answers, row by row.

mod cluster;
mod external_names;
mod headless;
mod name_servers;
mod names;
mod pods;
mod reverse;
mod services;
mod setup;
mod structure;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::plugin::Plugin;
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Reply};
use periplus_core::server::Server;

use super::handler::Kubernetes;
use super::index::Index;
use super::objects::{Change, Resource};
use super::setup::Options;
use crate::testing::{ask, lines, name, passed_on, query, server};

/// A server with the plugin in front of one that shows what it is given.
struct Cluster {
    server: Arc<Server>,
    index: Arc<Index>,
    clock: Arc<AtomicU64>,
}

/// Unix time in seconds at which all objects of a test arrive.
const NOW: u64 = 1_700_000_000;

impl Cluster {
    fn new(options: Options, objects: impl IntoIterator<Item = Change>) -> Cluster {
        Cluster::with_next(options, objects, passed_on())
    }

    fn with_next(
        options: Options,
        objects: impl IntoIterator<Item = Change>,
        next: Arc<dyn Plugin>,
    ) -> Cluster {
        Cluster::with_local_addresses(options, objects, next, &[])
    }

    fn with_local_addresses(
        options: Options,
        objects: impl IntoIterator<Item = Change>,
        next: Arc<dyn Plugin>,
        local: &[&str],
    ) -> Cluster {
        let clock = Arc::new(AtomicU64::new(NOW));
        let mut settings = options.index_settings();
        let now = Arc::clone(&clock);
        settings.clock = Arc::new(move || Duration::from_secs(now.load(Ordering::Relaxed)));
        let index = Arc::new(Index::new(settings));
        objects.into_iter().for_each(|change| index.apply(change));
        for resource in
            [Resource::Services, Resource::EndpointSlices, Resource::Namespaces, Resource::Pods]
        {
            index.synced(resource);
        }
        let local: Vec<IpAddr> =
            local.iter().map(|address| address.parse().expect("an address")).collect();
        let plugin = Kubernetes(Arc::new(options.shared(Arc::clone(&index), local)));
        Cluster { server: server(vec![Arc::new(plugin), next]), index, clock }
    }

    /// Another block with the same data, or this one after a reload.
    fn beside(&self, options: Options) -> Cluster {
        let (index, clock) = (Arc::clone(&self.index), Arc::clone(&self.clock));
        let plugin = Kubernetes(Arc::new(options.shared(Arc::clone(&index), Vec::new())));
        Cluster { server: server(vec![Arc::new(plugin), passed_on()]), index, clock }
    }

    /// Asks every question of a table and compares.
    #[track_caller]
    fn answers(&self, table: &[(&str, &str)]) {
        let mut wrong = String::new();
        for (question, expected) in table {
            let expected: Vec<&str> = expected.split('/').map(str::trim).collect();
            let expected = expected.join(" / ");
            let found = self.answer(question);
            if found != expected {
                wrong += &format!("{question}\n  expected {expected}\n  found    {found}\n");
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }

    /// The answer to `name TYPE` in one line: records with their section, `NODATA`, `NXDOMAIN` or `SERVFAIL` with the zone of the SOA
    /// record, a bare response code, or `next` when the query was passed on.
    fn answer(&self, question: &str) -> String {
        let query = query_of(question);
        match ask(&self.server, &query) {
            Answer::Failure(failure) if failure.source == "next" => "next".to_owned(),
            Answer::Failure(failure) => failure.rcode.to_string(),
            Answer::Silence => "silence".to_owned(),
            Answer::Reply(reply) => shown(&query, reply),
        }
    }

    /// The reply to `name TYPE`, before it is cut to what may be sent.
    fn reply(&self, question: &str) -> Reply {
        match ask(&self.server, &query_of(question)) {
            Answer::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }
}

fn query_of(question: &str) -> Query {
    let (text, rtype) = question.split_once(' ').expect("a name and a type");
    query(text, rtype_of(rtype))
}

fn rtype_of(text: &str) -> RecordType {
    RecordType::from_mnemonic(text).expect("a type")
}

fn shown(query: &Query, reply: Reply) -> String {
    let (rcode, source, live) = (reply.rcode, reply.source, reply.live);
    let lines = lines(query, &Answer::Reply(reply));
    if source != "kubernetes" {
        return lines.join(" / ");
    }
    assert!(live, "what comes from the index is live");
    let flags = lines[0].split_once(' ').expect("flags").1;
    let records: Vec<String> = lines[1..].iter().map(|line| short(line)).collect();
    let soa_of =
        |line: &str| line.strip_prefix("! ")?.split_once(" SOA ").map(|(zone, _)| zone.to_owned());
    if let [line] = &records[..]
        && let Some(zone) = soa_of(line)
    {
        assert_eq!(flags, "qr aa rd", "{records:?}");
        let word = if rcode == Rcode::NOERROR { "NODATA".to_owned() } else { rcode.to_string() };
        return format!("{word} {}", zone.split_once(' ').expect("a TTL").0);
    }
    assert_eq!(rcode, Rcode::NOERROR, "{records:?}");
    let mark = match flags {
        "qr aa rd" => "",
        "qr aa tc rd" => "truncated / ",
        other => panic!("flags {other}"),
    };
    format!("{mark}{}", records.join(" / "))
}

/// `answer: a. 5 IN A 192.0.2.1` as `a. 5 A 192.0.2.1`; authority records begin with `!`, additional ones with `+`.
fn short(line: &str) -> String {
    let (section, record) = line.split_once(": ").expect("a section");
    let mark = match section {
        "answer" => "",
        "authority" => "! ",
        _ => "+ ",
    };
    format!("{mark}{}", record.replacen(" IN ", " ", 1).replace(r"\-", "-"))
}

/// The options of `kubernetes cluster.local in-addr.arpa ip6.arpa`.
fn options() -> Options {
    let zones = ["cluster.local.", "in-addr.arpa.", "ip6.arpa."];
    Options::new(zones.map(name).to_vec(), name("cluster.local."))
}
