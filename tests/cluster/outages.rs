//! A real API server that hangs, is killed, gets another certificate, and comes back with older data, while clients go on asking.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::live::{RECOVERY, ask, becomes_within};
use crate::support::cluster::parse;
use crate::support::real_api_server::RealApiServer;
use crate::support::server::TestServer;

/// How long each outage lasts at least; starting the API server takes longer.
const OUTAGE: Duration = Duration::from_secs(10);

const COREFILE: &str = ".:PORT {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig DIR/source
    }
}
";

const OBJECTS: &str = "namespace shop
service shop/stays 10.96.10.1,fd00:10:96::a01 http:80/TCP
headless shop/crew IPv4 http:80/TCP
slice shop/crew-1 crew IPv4 http:80/TCP | 172.30.10.1 host=ann
external shop/away one.example
service shop/goes 10.96.10.2 http:80/TCP
headless shop/moves IPv4 http:80/TCP
slice shop/moves-1 moves IPv4 http:80/TCP | 172.30.10.2";

/// What is there all the time, and what is never there.
const ALWAYS: &[(&str, u16, &str)] = &[
    ("stays.shop.svc.cluster.local.", 1, "10.96.10.1"),
    ("stays.shop.svc.cluster.local.", 28, "fd00:10:96::a01"),
    ("1.10.96.10.in-addr.arpa.", 12, "stays.shop.svc.cluster.local."),
    ("crew.shop.svc.cluster.local.", 1, "172.30.10.1"),
    ("ann.crew.shop.svc.cluster.local.", 1, "172.30.10.1"),
    ("away.shop.svc.cluster.local.", 5, "one.example."),
    ("shop.svc.cluster.local.", 1, "-"),
    ("never.shop.svc.cluster.local.", 1, "NXDOMAIN"),
];

#[test]
fn names_outlive_every_outage_of_a_real_api_server_or_it_is_skipped() {
    let Some(mut cluster) = RealApiServer::own("outages of a real kube-apiserver") else { return };
    for object in parse(OBJECTS) {
        cluster.api.create(&object);
    }
    let server = TestServer::with_files(COREFILE, &[("source", &cluster.kubeconfig)]);
    super::wait_until_synced(server.address);
    let client = Client::start(server.address);
    let one = |text: &str| parse(text).remove(0);
    let name = |service: &str| format!("{service}.shop.svc.cluster.local.");
    let becomes = |what: &str, service: &str, before: &str, after: &str| {
        let time = becomes_within(RECOVERY, server.address, &name(service), 1, &[before, after]);
        client.check(what);
        eprintln!("{what}: {service} is {after} after {time:.1?}");
    };
    // A change that is made as soon as the server is back.
    let mut number = 0;
    let mut change = |cluster: &RealApiServer, what: &str| {
        number += 1;
        let address = format!("10.96.11.{number}");
        let service = format!("new{number}");
        cluster.api.create(&one(&format!("service shop/{service} {address} http:80/TCP")));
        becomes(what, &service, "NXDOMAIN", &address);
    };

    cluster.set_frozen(true);
    std::thread::sleep(OUTAGE);
    cluster.set_frozen(false);
    change(&cluster, "frozen");

    cluster.kill();
    std::thread::sleep(OUTAGE);
    cluster.restart();
    change(&cluster, "killed");

    cluster.kill();
    cluster.forget_certificate();
    cluster.restart();
    // The new authority comes later.
    std::thread::sleep(OUTAGE);
    std::fs::write(server.directory.path().join("source"), &cluster.kubeconfig)
        .expect("the directory can be written");
    change(&cluster, "another certificate");

    cluster.kill_all();
    cluster.back_up();
    cluster.restart();
    change(&cluster, "etcd was away");

    let later = |text: &str| -> Value { one(text) };
    cluster.api.delete(&one("service shop/goes 10.96.10.2 http:80/TCP"));
    let moved = later("slice shop/moves-1 moves IPv4 http:80/TCP | 172.30.10.3");
    cluster.api.change(&moved, &moved);
    cluster.api.create(&later("service shop/lost 10.96.10.4 http:80/TCP"));
    becomes("changed", "goes", "10.96.10.2", "NXDOMAIN");
    becomes("changed", "moves", "172.30.10.2", "172.30.10.3");
    becomes("changed", "lost", "NXDOMAIN", "10.96.10.4");
    cluster.kill_all();
    cluster.restore();
    std::thread::sleep(OUTAGE);
    assert_eq!(ask(server.address, &name("lost"), 1), "10.96.10.4", "the last data is served");
    cluster.restart();
    becomes("restored", "goes", "NXDOMAIN", "10.96.10.2");
    becomes("restored", "moves", "172.30.10.3", "172.30.10.2");
    becomes("restored", "lost", "10.96.10.4", "NXDOMAIN");
    becomes("restored", "new4", "10.96.11.4", "NXDOMAIN");
    change(&cluster, "restored");
    eprintln!("{} questions on the way", client.stop());
}

/// Asks all that is there in a loop.
struct Client {
    stop: Arc<AtomicBool>,
    wrong: Arc<std::sync::Mutex<Vec<String>>>,
    thread: JoinHandle<usize>,
}

impl Client {
    fn start(server: SocketAddr) -> Client {
        let stop = Arc::new(AtomicBool::new(false));
        let wrong = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (told, found) = (Arc::clone(&stop), Arc::clone(&wrong));
        let thread = std::thread::spawn(move || {
            let (begun, mut count) = (Instant::now(), 0);
            while !told.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(1200) {
                for (name, qtype, expected) in ALWAYS {
                    let answer = ask(server, name, *qtype);
                    count += 1;
                    if answer != *expected {
                        let mut found = found.lock().expect("no thread panics with the list");
                        found.push(format!("{name} TYPE{qtype}: {answer}, not {expected}"));
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            count
        });
        Client { stop, wrong, thread }
    }

    fn check(&self, what: &str) {
        let wrong = self.wrong.lock().expect("no thread panics with the list");
        let some: Vec<_> = wrong.iter().take(10).collect();
        assert!(wrong.is_empty(), "{what}: {} wrong answers: {some:#?}", wrong.len());
        assert!(!self.thread.is_finished(), "{what}: the client has ended");
    }

    /// How many questions were asked.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every question was answered")
    }
}
