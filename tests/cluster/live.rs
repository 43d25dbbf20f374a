//! Changes while the server runs: the same steps with a real API server and with the one that tests use.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{decode, question, udp};
use crate::support::cluster::parse;
use crate::support::real_api_server::RealApiServer;
use crate::support::relay::Relay;
use crate::support::server::TestServer;
use crate::support::test_api_server::ScriptedApiServer;

/// No change takes this long to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nor does any take this long after whatever stood between.
pub(super) const RECOVERY: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(50);
const UPDATES: usize = 200;

/// What takes changes and hands them to the server.
pub trait Cluster {
    fn create(&self, object: &Value);
    /// Gives an object that is there other fields.
    fn change(&self, object: &Value);
    fn delete(&self, object: &Value);
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// How the `kubernetes` plugin reaches it at this port, and a file that this needs.
    fn source(&self, port: u16) -> (&'static str, String);
}

impl Cluster for Arc<RealApiServer> {
    fn create(&self, object: &Value) {
        self.api.create(object);
    }

    fn change(&self, object: &Value) {
        self.api.change(object, object);
    }

    fn delete(&self, object: &Value) {
        self.api.delete(object);
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn source(&self, port: u16) -> (&'static str, String) {
        ("kubeconfig DIR/source", self.kubeconfig_through(port))
    }
}

#[test]
fn a_change_is_in_the_next_answer() {
    each_cluster("changes from a real kube-apiserver", "live", |cluster, namespace| {
        let (server, _relay) = start(cluster);
        step_by_step(cluster, server.address, namespace);
    });
}

#[test]
fn many_changes_arrive_in_order_and_soon() {
    each_cluster("many changes from a real kube-apiserver", "busy", |cluster, namespace| {
        let (server, _relay) = start(cluster);
        follow(cluster, server.address, namespace);
    });
}

#[test]
fn what_changes_while_the_api_server_is_away_is_caught_up() {
    each_cluster("a real kube-apiserver that is away for a while", "away", |cluster, namespace| {
        let (server, relay) = start(cluster);
        catch_up(cluster, server.address, namespace, &relay);
    });
}

/// The watches of now pass nothing any more, and nobody says so; that is noticed without any sign from the network.
#[test]
fn connections_that_pass_nothing_are_given_up() {
    each_cluster("a real kube-apiserver behind a silent wire", "mute", |cluster, namespace| {
        let (server, relay) = start(cluster);
        for object in
            parse(&format!("namespace {namespace}\nservice {namespace}/old 10.96.9.1 http:80/TCP"))
        {
            cluster.create(&object);
        }
        let name = |service: &str| format!("{service}.{namespace}.svc.cluster.local.");
        becomes(server.address, &name("old"), 1, "NXDOMAIN", "10.96.9.1");
        relay.freeze();
        for object in parse(&format!("service {namespace}/new 10.96.9.2 http:80/TCP")) {
            cluster.create(&object);
        }
        let time =
            becomes_within(RECOVERY, server.address, &name("new"), 1, &["NXDOMAIN", "10.96.9.2"]);
        assert_eq!(ask(server.address, &name("old"), 1), "10.96.9.1");
        eprintln!("current {time:.1?} after all watches were muted");
    });
}

/// Runs a test with every kind of API server there is, each with a namespace of its own.
fn each_cluster(test: &str, namespace: &str, run: impl Fn(&dyn Cluster, &str)) {
    run(&ScriptedApiServer::start(), namespace);
    if let Some(server) = RealApiServer::shared(test) {
        run(&server, namespace);
    }
}

/// A server on the cluster, and the wire between them.
fn start(cluster: &dyn Cluster) -> (TestServer, Relay) {
    let relay = Relay::to(cluster.address());
    let (source, file) = cluster.source(relay.port);
    let corefile = format!(
        ".:PORT {{
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        {source}
        pods insecure
        ttl 30
    }}
    cache 30 {{
        disable success cluster.local
        disable denial cluster.local
    }}
    loadbalance
}}
"
    );
    let server = TestServer::with_files(&corefile, &[("source", &file)]);
    super::wait_until_synced(server.address);
    (server, relay)
}

/// The RCODE if it is not NOERROR, else the RDATA of the answers in order, or a hyphen.
pub(super) fn ask(server: SocketAddr, name: &str, qtype: u16) -> String {
    let message = decode(&udp(server, &question(11, name, qtype, Some(4096))).expect("an answer"));
    let rcode = u16::from(message.response_code);
    let records: BTreeSet<String> =
        message.answers.iter().map(|record| record.data.to_string()).collect();
    match (rcode, records.is_empty()) {
        (0, true) => "-".to_owned(),
        (0, false) => records.into_iter().collect::<Vec<_>>().join(" "),
        (3, _) => "NXDOMAIN".to_owned(),
        (rcode, _) => format!("RCODE{rcode}"),
    }
}

/// Waits for an answer; until it comes, only the one before may be given.
fn becomes(server: SocketAddr, name: &str, qtype: u16, before: &str, after: &str) -> Duration {
    becomes_within(PATIENCE, server, name, qtype, &[before, after])
}

/// The same, after something that takes long.
pub(super) fn becomes_within(
    patience: Duration,
    server: SocketAddr,
    name: &str,
    qtype: u16,
    &[before, after]: &[&str; 2],
) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask(server, name, qtype);
        if answer == after {
            return begun.elapsed();
        }
        assert_eq!(answer, before, "{name} TYPE{qtype} on its way to {after}");
        assert!(
            begun.elapsed() < patience,
            "{name} TYPE{qtype} stays {before} and does not become {after}"
        );
    }
}

fn step_by_step(cluster: &dyn Cluster, server: SocketAddr, namespace: &str) {
    let one = |text: &str| parse(&text.replace("NS", namespace)).remove(0);
    let becomes = |name: &str, qtype: u16, before: &str, after: &str| {
        becomes(server, &format!("{name}{namespace}.svc.cluster.local."), qtype, before, after);
    };
    cluster.create(&one("namespace NS"));
    becomes("", 1, "NXDOMAIN", "-");

    let mut service = one("service NS/web 10.96.7.1,fd00:10:96::701 http:80/TCP");
    cluster.create(&service);
    becomes("web.", 1, "NXDOMAIN", "10.96.7.1");
    assert_eq!(
        ask(server, "1.7.96.10.in-addr.arpa.", 12),
        format!("web.{namespace}.svc.cluster.local.")
    );
    service["spec"]["ports"] = json!([{ "name": "https", "port": 443, "protocol": "TCP" }]);
    cluster.change(&service);
    becomes("_https._tcp.web.", 1, "NXDOMAIN", "10.96.7.1");
    becomes("_http._tcp.web.", 1, "10.96.7.1", "NXDOMAIN");
    cluster.delete(&service);
    becomes("web.", 28, "fd00:10:96::701", "NXDOMAIN");

    let crew = one("headless NS/crew IPv4 http:80/TCP");
    let endpoints = |text: &str| one(&format!("slice NS/crew-1 crew IPv4 http:80/TCP {text}"));
    cluster.create(&crew);
    cluster.create(&endpoints("| 172.30.1.1 host=ann"));
    becomes("crew.", 1, "NXDOMAIN", "172.30.1.1");
    cluster.change(&endpoints("| 172.30.1.1 host=ann | 172.30.1.2 host=bob"));
    becomes("crew.", 1, "172.30.1.1", "172.30.1.1 172.30.1.2");
    becomes("bob.crew.", 1, "NXDOMAIN", "172.30.1.2");
    cluster.change(&endpoints("| 172.30.1.1 host=ann ready=false | 172.30.1.2 host=bob"));
    becomes("crew.", 1, "172.30.1.1 172.30.1.2", "172.30.1.2");
    becomes("ann.crew.", 1, "172.30.1.1", "NXDOMAIN");
    let second = one("slice NS/crew-2 crew IPv4 http:80/TCP | 172.30.1.3 host=cid");
    cluster.create(&second);
    becomes("crew.", 1, "172.30.1.2", "172.30.1.2 172.30.1.3");
    cluster.delete(&endpoints(""));
    becomes("crew.", 1, "172.30.1.2 172.30.1.3", "172.30.1.3");
    cluster.delete(&crew);
    becomes("crew.", 1, "172.30.1.3", "NXDOMAIN");

    let mut away = one("external NS/away one.example");
    cluster.create(&away);
    becomes("away.", 5, "NXDOMAIN", "one.example.");
    away["spec"]["externalName"] = json!("two.example");
    cluster.change(&away);
    becomes("away.", 5, "one.example.", "two.example.");
    cluster.delete(&away);
    becomes("away.", 5, "two.example.", "NXDOMAIN");
}

/// Changes a slice many times, as a rolling update does, and measures from the API server's answer to the first new one of the DNS
/// server. The first one that is new is the last change: nothing is skipped, repeated or lost between.
fn follow(cluster: &dyn Cluster, server: SocketAddr, namespace: &str) {
    let slice = |address: &str| {
        parse(&format!("slice {namespace}/moving-1 moving IPv4 http:80/TCP | {address} host=it"))
            .remove(0)
    };
    let name = format!("moving.{namespace}.svc.cluster.local.");
    for object in
        parse(&format!("namespace {namespace}\nheadless {namespace}/moving IPv4 http:80/TCP"))
    {
        cluster.create(&object);
    }
    let mut before = "172.31.0.0".to_owned();
    cluster.create(&slice(&before));
    becomes(server, &name, 1, "NXDOMAIN", &before);
    let mut latencies = Vec::new();
    let begun = Instant::now();
    for update in 0..UPDATES {
        std::thread::sleep(
            (PERIOD * u32::try_from(update).expect("few")).saturating_sub(begun.elapsed()),
        );
        let after = format!("172.31.{}.{}", 1 + update / 200, 1 + update % 200);
        cluster.change(&slice(&after));
        latencies.push(becomes(server, &name, 1, &before, &after));
        before = after;
    }
    latencies.sort();
    let at = |share: usize| latencies[UPDATES * share / 100 - 1];
    eprintln!(
        "{UPDATES} updates in {:.1?}: from the API's answer to the new DNS answer p50 {:.2?}, p99 {:.2?}, longest {:.2?}",
        begun.elapsed(),
        at(50),
        at(99),
        at(100)
    );
}

fn catch_up(cluster: &dyn Cluster, server: SocketAddr, namespace: &str, relay: &Relay) {
    let objects = parse(&format!(
        "namespace {namespace}
service {namespace}/stays 10.96.8.1 http:80/TCP
service {namespace}/goes 10.96.8.2 http:80/TCP
headless {namespace}/moves IPv4 http:80/TCP
slice {namespace}/moves-1 moves IPv4 http:80/TCP | 172.30.8.1"
    ));
    for object in &objects {
        cluster.create(object);
    }
    let name = |service: &str| format!("{service}.{namespace}.svc.cluster.local.");
    becomes(server, &name("stays"), 1, "NXDOMAIN", "10.96.8.1");
    becomes(server, &name("goes"), 1, "NXDOMAIN", "10.96.8.2");
    becomes(server, &name("moves"), 1, "NXDOMAIN", "172.30.8.1");

    relay.cut();
    cluster.delete(&objects[2]);
    let later = parse(&format!(
        "slice {namespace}/moves-1 moves IPv4 http:80/TCP | 172.30.8.2
service {namespace}/comes 10.96.8.3 http:80/TCP"
    ));
    cluster.change(&later[0]);
    cluster.create(&later[1]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        let answers =
            ["stays", "goes", "moves", "comes"].map(|service| ask(server, &name(service), 1));
        assert_eq!(
            answers,
            ["10.96.8.1", "10.96.8.2", "172.30.8.1", "NXDOMAIN"],
            "the last data is served"
        );
    }
    relay.mend();
    becomes(server, &name("goes"), 1, "10.96.8.2", "NXDOMAIN");
    becomes(server, &name("moves"), 1, "172.30.8.1", "172.30.8.2");
    becomes(server, &name("comes"), 1, "NXDOMAIN", "10.96.8.3");
    assert_eq!(ask(server, &name("stays"), 1), "10.96.8.1");
    // The new watch delivers too.
    cluster.delete(&later[1]);
    becomes(server, &name("comes"), 1, "10.96.8.3", "NXDOMAIN");
}
