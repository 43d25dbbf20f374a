//! One client asks twenty times as much as 99 others together.

use std::time::Duration;

use crate::Length;
use crate::load::{Names, Stream, Tally, clients, run as load};
use crate::ramp::{Ramp, ramp};
use crate::server::{Launch, Server, names};
use crate::upstream::Upstream;

/// Rules that no question matches: they make a question cost so much that one client can flood the server.
const RULES: usize = 400;
/// How the offender's questions relate to those of all others together.
const TIMES: f64 = 20.0;
/// Bytes that the server has while questions wait.
const MEMORY: u64 = 64 << 20;

/// The flood is more than one CPU can answer.
pub(crate) fn run(length: Length) -> String {
    let rules: String = (0..RULES)
        .map(|at| format!("    rewrite name regex ^never-{at}[.]example[.]org$ none.example.org\n"))
        .collect();
    let server = Server::start(Launch {
        workers: Some(1),
        pinned: true,
        block: &rules,
        ..Launch::default()
    });
    let (step, duration) = match length {
        Length::Long => (Duration::from_secs(3), Duration::from_secs(90)),
        Length::Short => (Duration::from_secs(1), Duration::from_secs(6)),
    };
    let Ramp { peak, .. } = ramp(|rate| {
        let mut streams =
            [Stream::new(&clients(1, 99), server.address, rate, Names::Known(names()))];
        load(&mut streams, step, Duration::from_secs(1), |_| {});
        (streams[0].tally.answered[0] as f64 / step.as_secs_f64(), rate)
    });
    // Together a third more than what can be answered.
    let rate = 1.33 * peak / (TIMES + 1.0);
    let others = || Stream::new(&clients(1, 99), server.address, rate, Names::Known(names()));
    let mut alone = [others()];
    load(&mut alone, duration / 2, Duration::from_secs(2), |_| {});
    let [alone] = alone;
    let offender = clients(2, 1);
    let mut flooded = [
        others(),
        Stream::new(&offender, server.address, rate * TIMES, Names::Known(names())).deaf(),
    ];
    load(&mut flooded, duration, Duration::from_secs(2), |_| {});
    let [others, flood] = flooded;
    judge(length, &server, &alone.tally, &others.tally, &flood.tally)
}

/// The flood is of names that take an upstream half a second, more than may wait at a time.
pub(crate) fn waiting(length: Length) -> String {
    let upstream = Upstream::slow(Duration::from_millis(500));
    let block = format!("    errors\n    forward . {}\n    cache 30", upstream.address);
    let limits = crate::group::Limits { memory: Some(MEMORY), cpu: None };
    let server = Server::start(Launch {
        limits,
        workers: Some(1),
        pinned: true,
        block: &block,
        ..Launch::default()
    });
    let duration = Duration::from_secs(if length == Length::Long { 90 } else { 6 });
    let rate = 1000.0;
    let others =
        || Stream::new(&clients(1, 99), server.address, rate, Names::Fresh("example.net."));
    let mut alone = [others()];
    load(&mut alone, duration / 2, Duration::from_secs(2), |_| {});
    let [alone] = alone;
    let flood =
        Stream::new(&clients(2, 1), server.address, rate * TIMES, Names::Fresh("example.org."));
    let mut flooded = [others(), flood.deaf()];
    load(&mut flooded, duration, Duration::from_secs(2), |_| {});
    let [others, flood] = flooded;
    let found = judge(length, &server, &alone.tally, &others.tally, &flood.tally);
    let peak = server.memory().peak;
    assert!(peak <= MEMORY * 8 / 10, "{peak} bytes resident");
    format!("{found}; resident at most {:.1} MB", peak as f64 / f64::from(1 << 20))
}

fn judge(length: Length, server: &Server, alone: &Tally, others: &Tally, flood: &Tally) -> String {
    let share = others.answered[0] as f64 / others.sent as f64;
    let (idle, busy) = (alone.latency(0.99), others.latency(0.99));
    let turned_away = server.metric("periplus_client_share_exceeded_total{client=\"127.2.0.1\"}");
    let named = server.metric("periplus_client_share_exceeded_total");
    let lines = server.said().lines().filter(|line| line.contains("127.2.0.1")).count();
    let found = format!(
        "{} of {} questions of the others answered, {:.4} %; their p99 {:.2} ms alone, {:.2} ms in the flood; {:.0} of the offender's {} turned away, named in {lines} line",
        others.answered[0],
        others.sent,
        share * 100.0,
        idle.as_secs_f64() * 1e3,
        busy.as_secs_f64() * 1e3,
        turned_away,
        flood.sent,
    );
    println!("{found}");
    assert_eq!(alone.lost(), 0, "nothing is lost without a flood");
    let least = if length == Length::Long { 0.999 } else { 0.5 };
    assert!(share >= least, "{share}");
    assert!(turned_away > 0.0 && turned_away == named, "only the offender is turned away");
    assert_eq!(lines, 1, "the offender is named once: {}", server.said());
    if length == Length::Long {
        assert!(busy <= idle * 2, "p99 {busy:?}, without the flood {idle:?}");
    }
    found
}
