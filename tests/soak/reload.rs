//! A hundred reloads while questions are asked.

use std::time::{Duration, Instant};

use crate::Length;
use crate::load::{Names, Stream, clients, run as load};
use crate::server::{Launch, Server, names};

const RELOADS: usize = 100;
/// Reloads after which everything has been used once.
const WARM: usize = 20;
/// Pages that the allocator may hold more by chance, in bytes.
const SLACK: u64 = 64 << 10;

/// Nothing is lost, and nothing is left behind.
pub(crate) fn run(length: Length) -> String {
    let rate = if length == Length::Long { 30_000.0 } else { 1000.0 };
    let block = "    errors\n    cache 30\n    loadbalance\n    hosts /etc/hosts {\n        fallthrough\n    }";
    let server = Server::start(Launch { block, ..Launch::default() });
    reload(&server, rate, WARM);
    let before = settled(&server);
    let (lost, sent) = reload(&server, rate, RELOADS);
    let after = settled(&server);
    let growth = (after as f64 / before as f64 - 1.0) * 100.0;
    let found = format!(
        "{lost} of {sent} questions lost in {RELOADS} reloads at {rate}/s; resident {:.2} MB before, {:+.2} % after",
        before as f64 / f64::from(1 << 20),
        growth
    );
    println!("{found}");
    assert_eq!(lost, 0);
    assert!(after <= before + before / 100 + SLACK, "{before} bytes before, {after} after");
    found
}

/// Reloads while questions are asked, one after the other; gives how many of how many questions were lost.
fn reload(server: &Server, rate: f64, times: usize) -> (u64, u64) {
    let (first, mut asked_for) = (server.reloads(), 0);
    let mut streams = [Stream::new(&clients(1, 20), server.address, rate, Names::Known(names()))];
    // More time than it takes; the stream ends when all is done.
    let begun = Instant::now();
    while server.reloads() - first < times {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{} of {times} reloads",
            server.reloads() - first
        );
        load(&mut streams, Duration::from_secs(1), Duration::from_secs(2), |_| {
            if asked_for < times && server.reloads() - first == asked_for {
                asked_for += 1;
                server.signal("USR1");
            }
        });
    }
    let [stream] = streams;
    assert_eq!(stream.tally.answered[0], stream.tally.all_answered(), "all answers are good");
    (stream.tally.lost(), stream.tally.sent)
}

/// What is resident once memory was given back.
fn settled(server: &Server) -> u64 {
    std::thread::sleep(Duration::from_secs(12));
    server.memory().resident
}
