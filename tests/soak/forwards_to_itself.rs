//! A server whose upstream is itself: the node's `resolv.conf` names the cluster's DNS.

use std::time::{Duration, Instant};

use crate::Length;
use crate::load::{Names, Stream, clients, run as load};
use crate::server::{Launch, Server, names};
use crate::support::ports::free_port;

/// No Reachable Authority (RFC 8914).
const NO_AUTHORITY: u8 = 22;
const SERVFAIL: usize = 2;

/// Names of the cluster and others, after the loop was found.
pub(crate) fn run(length: Length) -> String {
    let (rate, duration) = match length {
        Length::Long => (5000.0, Duration::from_secs(60)),
        Length::Short => (500.0, Duration::from_secs(3)),
    };
    let port = free_port();
    let block = format!("    errors\n    cache 30\n    loop\n    forward . 127.0.0.1:{port}");
    let mut server = Server::start(Launch { port: Some(port), block: &block, ..Launch::default() });
    let begun = Instant::now();
    while server.metric("periplus_loop_detected") == 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the loop is not found");
        std::thread::sleep(Duration::from_millis(50));
    }
    let known = Stream::new(&clients(1, 20), server.address, rate, Names::Known(names()));
    let others = Stream::new(&clients(2, 20), server.address, rate, Names::Fresh("example.net."));
    let mut streams = [known, others.expecting(NO_AUTHORITY)];
    load(&mut streams, duration, Duration::from_secs(2), |_| {});
    let [known, others] = streams.map(|stream| stream.tally);
    let p99 = others.latency(0.99);
    let found = format!(
        "{} of {} questions for cluster names answered, SERVFAIL with extended error {NO_AUTHORITY} to {} of {} for others; p99 {:.2} ms and {:.2} ms",
        known.answered[0],
        known.sent,
        others.explained,
        others.sent,
        known.latency(0.99).as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
    );
    println!("{found}");
    assert!(server.is_running(), "it did not end: {}", server.said());
    assert_eq!(known.answered[0], known.sent);
    assert_eq!((others.answered[SERVFAIL], others.explained), (others.sent, others.sent));
    if length == Length::Long {
        assert!(p99 <= Duration::from_millis(100), "{p99:?}");
    }
    found
}
