//! A fifth of a CPU, as a Pod with `limits.cpu: 200m` has, and more of it while the server runs.

use std::time::{Duration, Instant};

use crate::Length;
use crate::group::Limits;
use crate::load::{Names, Stream, clients, run as load};
use crate::server::{Launch, Server, names};

/// 200m in the kernel's usual period.
const CPU: (u64, u64) = (20_000, 100_000);
/// 2 in the same.
const TWO_CPUS: (u64, u64) = (200_000, 100_000);
/// The server looks every 5 s.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Another limit while questions are asked, as when a Pod is resized in place.
pub(crate) fn resize(length: Length) -> String {
    let (rate, times) = if length == Length::Long { (2000.0, 4) } else { (200.0, 1) };
    let server = Server::start(Launch {
        limits: Limits { cpu: Some(CPU), memory: None },
        block: "    errors\n    cache 30\n    loadbalance",
        ..Launch::default()
    });
    let most = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    let one = server.workers();
    let mut streams = [Stream::new(&clients(1, 50), server.address, rate, Names::Known(names()))];
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        for (cpu, workers) in [(TWO_CPUS, one * most), (CPU, one)] {
            let begun = Instant::now();
            server.limit_cpu(cpu);
            while server.workers() != workers {
                assert!(begun.elapsed() < PATIENCE, "{} of {workers} workers", server.workers());
                let step = Duration::from_millis(200);
                load(&mut streams, step, Duration::from_secs(2), |_| {});
            }
            slowest = slowest.max(begun.elapsed());
            load(&mut streams, Duration::from_secs(1), Duration::from_secs(2), |_| {});
        }
    }
    let [stream] = streams;
    let found = format!(
        "{} of {} questions lost at {rate}/s, {times} x workers for {most} CPUs and then for 1 again, after {:.1} s at most",
        stream.tally.lost(),
        stream.tally.sent,
        slowest.as_secs_f64()
    );
    println!("{found}");
    assert_eq!(stream.tally.lost(), 0);
    found
}
