//! A hundred reloads leave nothing behind: no thread, descriptor, task or series, and no memory.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::client::{answers, ask, http_get, wait_for_page};
use crate::support::peer::Peer;
use crate::support::ports::free_port;

/// Reloads that may still fill what is filled once: the allocator's arenas, metric series, tables of the runtime.
const WARM_UP: usize = 20;
const RELOADS: usize = 100;
/// What the allocator may hold more or less of at any moment, whatever is done, in kB.
const ALLOCATOR_SLACK: u64 = 256;

/// Threads of the runtime that read files come and go; one that a reload leaves behind would make it a hundred.
const FILE_THREADS: usize = 3;

/// Every second configuration has another block, port, cache and page.
fn corefile(number: usize, port: u16, other: u16, pages: u16, more_pages: u16) -> String {
    let hosts = format!(
        "hosts {{\n        192.0.2.{} name.test\n        ttl 60\n        fallthrough\n    }}",
        number % 250
    );
    let common = format!(
        ".:{port} {{
    bind 127.0.0.1
    errors
    health 127.0.0.1:{pages}
    ready 127.0.0.1:{pages}
    prometheus 127.0.0.1:{pages}
    {hosts}
    kubernetes cluster.local {{
        snapshot DIR/cluster.yaml
    }}
    forward . 127.0.0.1:9
    cache 30
    loadbalance
}}
"
    );
    if number.is_multiple_of(2) {
        return common;
    }
    format!(
        "{common}example.org:{port} example.org:{other} {{
    bind 127.0.0.1
    prometheus 127.0.0.1:{pages}
    health 127.0.0.1:{more_pages}
    rewrite name regex (.*)\\.old\\.example\\.org {{1}}.example.org
    cache {{
        success 5000
    }}
    whoami
}}
"
    )
}

/// What a process holds.
#[derive(Debug)]
struct Held {
    threads: usize,
    descriptors: usize,
    series: usize,
}

impl Held {
    fn is_at_most(&self, other: &Held) -> bool {
        self.threads <= other.threads + FILE_THREADS
            && self.descriptors <= other.descriptors
            && self.series <= other.series
    }
}

fn held(peer: &Peer, pages: u16) -> (Held, u64) {
    let directory = Path::new("/proc").join(peer.id().to_string());
    let count = |name: &str| {
        let entries = std::fs::read_dir(directory.join(name)).expect("the process runs");
        entries.count()
    };
    let metrics = http_get(pages, "/metrics");
    // A series appears with the first query that it counts.
    let series = metrics.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
    let series = series.count();
    let status = std::fs::read_to_string(directory.join("status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let held = Held { threads: count("task"), descriptors: count("fd"), series };
    (held, kilobytes.expect("a number"))
}

#[test]
#[cfg(target_os = "linux")]
fn a_hundred_reloads_leave_nothing_behind() {
    let (port, pages) = (free_port(), free_port());
    // Opened again and again: meanwhile nobody else may get them from the system.
    let (other, more_pages) = (reserved_port(22_000), reserved_port(23_000));
    let peer = Peer::start(
        Path::new(env!("CARGO_BIN_EXE_periplus")),
        &corefile(0, port, other, pages, more_pages),
        &[("cluster.yaml", include_str!("../examples/demo/cluster.yaml"))],
    );
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for_page(pages, "/health");
    let mut number = 0;
    let mut reload = || {
        number += 1;
        let text = corefile(number, port, other, pages, more_pages);
        peer.write_corefile(&text);
        let status = Command::new("kill").args(["-USR1", &peer.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
        let expected = format!(" IN A 192.0.2.{}", number % 250);
        let begun = Instant::now();
        while !answers(&ask(server, "name.test", 1)).concat().ends_with(&expected) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "no {expected}:\n{}",
                peer.last_words()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        // The caches and their tasks come into use.
        for name in ["example.org", "x.old.example.org", "no.cluster.local", "reverse.test"] {
            ask(server, name, 1);
        }
    };
    (0..WARM_UP).for_each(|_| reload());
    // What was in force before ends a moment after it was replaced.
    std::thread::sleep(Duration::from_secs(5));
    let before = held(&peer, pages);
    let mut on_the_way = Vec::new();
    for _ in 0..RELOADS / 20 {
        (0..20).for_each(|_| reload());
        on_the_way.push(held(&peer, pages).1);
    }
    // Threads and sockets that are not needed are kept for some seconds, and freed memory is given back now and then.
    let most = before.1 + before.1 / 100 + ALLOCATOR_SLACK;
    let begun = Instant::now();
    let mut after = held(&peer, pages);
    while !after.0.is_at_most(&before.0) || after.1 > most {
        let text = format!("before {before:?}, on the way {on_the_way:?} kB, after {after:?}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{text}");
        std::thread::sleep(Duration::from_secs(1));
        after = held(&peer, pages);
    }
    println!("before {before:?}, on the way {on_the_way:?} kB, after {after:?}");
}

/// A port on loopback that the system gives to nobody who asks for any.
fn reserved_port(from: u16) -> u16 {
    let start = from + (std::process::id() % 500) as u16;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (start..start + 500).find(is_free).expect("a free port")
}
