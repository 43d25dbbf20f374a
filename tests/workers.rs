//! Another number of workers while the server runs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{question, udp};
use crate::support::done::Done;
use crate::support::process::threads;
use crate::support::server::TestServer;

/// Waits until that many threads of this process serve a port: a thread has its name a moment after it was started.
#[cfg(target_os = "linux")]
fn wait_for_workers(port: u16, count: usize) {
    let begun = Instant::now();
    while workers(port) != count {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} of {count} workers", workers(port));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The UDP threads of this process that serve a port.
#[cfg(target_os = "linux")]
fn workers(port: u16) -> usize {
    let start = format!("udp-{port}-");
    threads(std::process::id()).iter().filter(|name| name.starts_with(&start)).count()
}

/// Asks from a new port each time, so that each worker gets some, until `done`; gives how often it asked.
fn ask_until(done: &AtomicBool, server: SocketAddr) -> usize {
    let mut asked = 0;
    while !done.load(Ordering::Relaxed) {
        let answer = udp(server, &question(1, "name.test", 1, None));
        assert!(answer.is_some(), "question {asked} was lost");
        asked += 1;
    }
    asked
}

#[test]
#[cfg(target_os = "linux")]
fn their_number_changes_and_nothing_is_lost() {
    let corefile = ".:PORT {\n    bind 127.0.0.1\n    hosts {\n        192.0.2.1 name.test\n    }\n    prometheus 127.0.0.1:HTTP0\n}\n";
    let mut server = TestServer::with_workers(corefile, 1);
    let address = server.address;
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| asked.fetch_add(ask_until(&done, address), Ordering::Relaxed));
        }
        let _stop = Done(&done);
        for count in [4, 2, 1, 3, 1] {
            server.program().set_workers(count);
            wait_for_workers(address.port(), count);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked > 10);
    // Those that came later count as well, although there is no cell for each.
    let metrics = server.program().metrics().expose();
    let requests = metrics.lines().filter(|line| line.starts_with("coredns_dns_requests_total{"));
    let sum: usize =
        requests.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum();
    assert_eq!(sum, asked, "{metrics}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_listener_that_a_reload_opens_has_as_many_as_the_others() {
    let block = |port: &str| format!(".:{port} {{\n    bind 127.0.0.1\n    whoami\n}}\n");
    let mut server = TestServer::with_workers(&block("PORT"), 1);
    server.program().set_workers(3);
    let port = crate::support::server::free_port();
    server.write_corefile(&format!("{}{}", block("PORT"), block(&port.to_string())));
    server.program().reload().expect("the file is good");
    wait_for_workers(server.address.port(), 3);
    wait_for_workers(port, 3);
}
