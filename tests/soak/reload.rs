//! A hundred reloads near full load, each of another Corefile than the one in force.

use std::time::{Duration, Instant};

use crate::Length;
use crate::load::{Names, Stream, clients, run as load};
use crate::ramp::{Ramp, ramp};
use crate::server::{Launch, Server, names};
use crate::support::ports::free_port;

const RELOADS: usize = 100;
/// Reloads after which everything has been used once. As of the others, so many that the first Corefile is in force again.
const WARM: usize = 20;
/// Pages that the allocator may hold more by chance, in bytes.
const SLACK: u64 = 64 << 10;
/// How much of what can be answered is asked: while a Corefile is read, questions wait for the CPU, and are to be caught up with.
const SHARE: f64 = 0.8;

/// The usual block; another cache and other TTLs; one plugin more; one server block more.
fn blocks(port: u16) -> [String; 4] {
    let usual = "    errors\n    cache 30\n    loadbalance\n    hosts /etc/hosts {\n        fallthrough\n    }";
    [
        usual.to_owned(),
        "    errors\n    cache {\n        success 5000 60\n        denial 2000 10\n    }\n    hosts {\n        192.0.2.1 one.test\n        ttl 60\n        fallthrough\n    }".to_owned(),
        format!("{usual}\n    rewrite name exact old.test new.test"),
        format!("{usual}\n}}\nother.test:{port} {{\n    cache\n    whoami"),
    ]
}

/// Nothing is lost, and nothing is left behind.
pub(crate) fn run(length: Length) -> String {
    let port = free_port();
    let blocks = blocks(port);
    let server = Server::start(Launch {
        pinned: true,
        port: Some(port),
        block: &blocks[0],
        ..Launch::default()
    });
    let rate = match length {
        Length::Short => 1000.0,
        Length::Long => SHARE * peak(&server),
    };
    reload(&server, &blocks, rate, WARM);
    let before = settled(&server);
    let (lost, sent) = reload(&server, &blocks, rate, RELOADS);
    let after = settled(&server);
    let growth = (after as f64 / before as f64 - 1.0) * 100.0;
    let found = format!(
        "{lost} of {sent} questions lost in {RELOADS} reloads of {} Corefiles at {rate:.0}/s; resident {:.2} MB before, {growth:+.2} % after",
        blocks.len(),
        before as f64 / f64::from(1 << 20),
    );
    println!("{found}");
    assert_eq!(lost, 0);
    assert!(after <= before + before / 100 + SLACK, "{before} bytes before, {after} after");
    found
}

/// Clients enough for the kernel to hold their answers while this process is kept from its CPU.
fn stream(server: &Server, rate: f64) -> [Stream; 1] {
    [Stream::new(&clients(1, 100), server.address, rate, Names::Known(names()))]
}

/// The most questions that are answered in a second.
fn peak(server: &Server) -> f64 {
    let step = Duration::from_secs(2);
    let Ramp { peak, .. } = ramp(|rate| {
        let mut streams = stream(server, rate);
        load(&mut streams, step, Duration::from_secs(1), |_| {});
        (streams[0].tally.answered[0] as f64 / step.as_secs_f64(), rate)
    });
    peak
}

/// Reloads while questions are asked, one after the other; gives how many of how many questions were lost.
fn reload(server: &Server, blocks: &[String], rate: f64, times: usize) -> (u64, u64) {
    let (first, mut asked_for) = (server.reloads(), 0);
    let mut streams = stream(server, rate);
    // More time than it takes; the stream ends when all is done.
    let begun = Instant::now();
    while server.reloads() - first < times {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{} of {times} reloads: {}",
            server.reloads() - first,
            server.said()
        );
        load(&mut streams, Duration::from_secs(1), Duration::from_secs(2), |_| {
            if asked_for < times && server.reloads() - first == asked_for {
                asked_for += 1;
                server.configure(&blocks[asked_for % blocks.len()]);
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
