//! The ConfigMap that holds the Corefile changes while questions are asked, as the kubelet swaps it.

use std::time::{Duration, Instant};

use crate::Length;
use crate::load::{Names, Stream, clients, run as load};
use crate::server::{Launch, Server, names};
use crate::support::client::{question, udp_within};

/// Far longer than a change may take to be in force.
const INTERVAL: &str = "reload 60s 1s";
/// The bound of the long form.
const MOST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);

/// Swaps, one after the other is in force.
pub(crate) fn run(length: Length) -> String {
    let (rate, swaps) = if length == Length::Long { (10_000.0, 20) } else { (1000.0, 3) };
    let block = |version: u8| {
        format!(
            "    {INTERVAL}\n    hosts {{\n        192.0.2.{version} version.test\n        fallthrough\n    }}"
        )
    };
    let server = Server::start(Launch { block: &block(0), ..Launch::default() });
    let version = || {
        let question = question(1, "version.test", 1, None);
        udp_within(server.address, &question, PATIENCE).and_then(|answer| answer.last().copied())
    };
    let mut streams = [Stream::new(&clients(1, 20), server.address, rate, Names::Known(names()))];
    let mut times = Vec::new();
    for swap in 1..=swaps {
        let begun = Instant::now();
        server.configure(&block(swap));
        let mut took = None;
        while took.is_none() {
            assert!(begun.elapsed() < PATIENCE, "change {swap} is not in force");
            load(&mut streams, Duration::from_millis(300), Duration::from_secs(2), |_| {
                if took.is_none() && version() == Some(swap) {
                    took = Some(begun.elapsed());
                }
            });
        }
        times.extend(took);
    }
    let [Stream { tally, .. }] = &streams;
    let slowest = times.into_iter().max().unwrap_or_default();
    let found = format!(
        "{} of {} questions lost in {swaps} swaps at {rate}/s; each in force after {:.1} s at most",
        tally.lost(),
        tally.sent,
        slowest.as_secs_f64()
    );
    println!("{found}");
    assert_eq!((tally.lost(), tally.answered[0]), (0, tally.sent));
    if length == Length::Long {
        assert!(slowest <= MOST, "{slowest:?}");
    }
    found
}
