//! A fifth of a CPU, as a Pod with `limits.cpu: 200m` has.

use std::time::Duration;

use crate::Length;
use crate::group::Limits;
use crate::load::{Names, Stream, clients, run as load};
use crate::server::{Launch, Server, names};

/// 200m in the kernel's usual period.
const CPU: (u64, u64) = (20_000, 100_000);

/// The tail of the latency at a rate that many clusters have.
pub(crate) fn run(length: Length) -> String {
    let (rate, duration) = match length {
        Length::Long => (2000.0, Duration::from_secs(60)),
        Length::Short => (200.0, Duration::from_secs(4)),
    };
    let server = Server::start(Launch {
        limits: Limits { cpu: Some(CPU), memory: None },
        block: "    errors\n    cache 30\n    loadbalance",
        ..Launch::default()
    });
    let mut streams = [Stream::new(&clients(1, 50), server.address, rate, Names::Known(names()))];
    load(&mut streams, duration, Duration::from_secs(2), |_| {});
    let [stream] = streams;
    let p99 = stream.tally.latency(0.99);
    let found = format!(
        "{} of {} questions lost at {rate}/s, p99 {:.2} ms",
        stream.tally.lost(),
        stream.tally.sent,
        p99.as_secs_f64() * 1e3
    );
    println!("{found}");
    assert_eq!(stream.tally.lost(), 0);
    if length == Length::Long {
        assert!(p99 <= Duration::from_millis(20), "{p99:?}");
    }
    found
}
