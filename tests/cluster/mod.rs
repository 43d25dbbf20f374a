//! The names of a cluster: the same questions and answers for every source of the `kubernetes` plugin, and for CoreDNS.

pub mod live;
mod outages;
pub mod rows;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use live::Cluster;
use rows::{Section, Who};

use crate::support::client::{question, udp, wait_for_page};
use crate::support::cluster::{built_in_namespaces, manifest, objects};
use crate::support::peer::{Peer, coredns};
use crate::support::real_api_server::RealApiServer;
use crate::support::server::{TestServer, free_port};
use crate::support::test_api_server::ScriptedApiServer;
use crate::support::upstream::Upstream;

const TABLES: &[(&str, &str)] = &[
    ("services", include_str!("../data/cluster/services.txt")),
    ("headless", include_str!("../data/cluster/headless.txt")),
    ("external", include_str!("../data/cluster/external.txt")),
    ("structure", include_str!("../data/cluster/structure.txt")),
    ("pods", include_str!("../data/cluster/pods.txt")),
    ("reverse", include_str!("../data/cluster/reverse.txt")),
    ("options", include_str!("../data/cluster/options.txt")),
];

/// `bind` leaves the server without an address of its own: NS is NODATA everywhere, whatever this machine's addresses are.
const COREFILE: &str = ".:PORT {
    bind 127.0.0.1
    errors
    ready 127.0.0.1:READY
    kubernetes ZONES {
        SOURCE
        OPTIONS
    }
    forward . UPSTREAM
}
";

/// The plugin's own zones where the options name none.
const ZONES: &str = "cluster.local in-addr.arpa ip6.arpa";

fn corefile(section: &Section, source: &str, upstream: SocketAddr, ready: u16) -> String {
    let zones = section.options.iter().find_map(|option| option.strip_prefix("zones "));
    let options: Vec<&str> = section
        .options
        .iter()
        .map(String::as_str)
        .filter(|option| !option.starts_with("zones "))
        .collect();
    COREFILE
        .replace("ZONES", zones.unwrap_or(ZONES))
        .replace("SOURCE", source)
        .replace("OPTIONS", &options.join("\n        "))
        .replace("UPSTREAM", &upstream.to_string())
        .replace("READY", &ready.to_string())
}

/// Asks all rows; `start` starts a server and hands its address on.
fn check(who: Who, mut start: impl FnMut(&str, &mut dyn FnMut(SocketAddr)), source: &str) {
    let upstream = Upstream::start();
    let (mut asked, mut wrong) = (0, Vec::new());
    for (table, text) in TABLES {
        for section in rows::parse(text) {
            let ready = free_port();
            start(&corefile(&section, source, upstream.address, ready), &mut |address| {
                // Until the cluster is known, what is missing may fall through.
                wait_for_page(ready, "/ready");
                let differences = section.differences(address, who);
                wrong.extend(
                    differences
                        .iter()
                        .map(|row| format!("{table} [{}]\n    {row}", section.options.join("; "))),
                );
                asked += section.rows.len();
            });
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    eprintln!("{asked} rows");
}

/// Waits until the cluster is known: until then an unknown name is SERVFAIL.
fn wait_until_synced(server: SocketAddr) {
    let begun = Instant::now();
    loop {
        let answer =
            udp(server, &question(1, "synced.invalid.cluster.local", 1, None)).expect("an answer");
        if answer[3] & 15 != 2 {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the cluster is not known after a minute"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_folder_of_manifests_answers_every_row() {
    let manifest = manifest(&[built_in_namespaces(), objects()].concat());
    let start = |corefile: &str, ask: &mut dyn FnMut(SocketAddr)| {
        let server = TestServer::with_files(corefile, &[("cluster.json", &manifest)]);
        ask(server.address);
    };
    check(Who::Periplus, start, "snapshot DIR/cluster.json");
}

#[test]
fn the_test_api_server_answers_every_row() {
    let api = ScriptedApiServer::start();
    for object in [built_in_namespaces(), objects()].concat() {
        api.create(&object);
    }
    let start = |corefile: &str, ask: &mut dyn FnMut(SocketAddr)| {
        let server = TestServer::start(&corefile.replace("URL", &api.url()));
        ask(server.address);
    };
    check(Who::Periplus, start, "endpoint URL");
}

#[test]
fn a_real_api_server_answers_every_row_or_is_skipped() {
    let Some(server) = RealApiServer::shared("the cluster suite against a real kube-apiserver")
    else {
        return;
    };
    server.fill();
    let start = |corefile: &str, ask: &mut dyn FnMut(SocketAddr)| {
        let server = TestServer::with_files(corefile, &[("kubeconfig", &server.kubeconfig)]);
        ask(server.address);
    };
    check(Who::Periplus, start, "kubeconfig DIR/kubeconfig");
}

/// CoreDNS must give the same answers: the rows say what is right, not what this program does.
#[test]
fn coredns_answers_every_row_or_is_skipped() {
    let Some(binary) = coredns("the cluster suite against CoreDNS") else { return };
    let Some(server) = RealApiServer::shared("the cluster suite against CoreDNS") else { return };
    server.fill();
    let start = |corefile: &str, ask: &mut dyn FnMut(SocketAddr)| {
        let mut peer = Peer::start(&binary, corefile, &[("kubeconfig", &server.kubeconfig)]);
        peer.wait_for("synced.invalid.cluster.local", &[0, 3]);
        ask(peer.address);
    };
    check(Who::CoreDns, start, "kubeconfig DIR/kubeconfig");
}
