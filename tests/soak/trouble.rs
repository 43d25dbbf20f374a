//! Upstreams that fall silent and come back, and more of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Length;
use crate::load::{Names, Stream, Tally, clients, run as load};
use crate::server::{Launch, Server};
use crate::support::fake::{Fake, answers, says_nothing};

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
const SERVFAIL: usize = 2;
/// Stale Answer (RFC 8914).
const STALE: u8 = 3;
/// What *forward* has as `health_check`, so that no upstream is probed more often.
const PROBE: Duration = Duration::from_millis(500);
/// Three probes of a second must fail before an upstream is down; until then each name is tried again every three seconds.
const SETTLED: Duration = Duration::from_secs(6);
/// Longer than an old answer is given without asking again.
const REST: Duration = Duration::from_secs(4);

fn forward_to(upstreams: &[Fake], others: &str) -> String {
    let all: Vec<String> = upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
    format!("    errors\n{others}    forward . {}", all.join(" "))
}

/// One of three is a black hole from the middle on.
pub(crate) fn dead(length: Length) -> String {
    let (rate, duration) = match length {
        Length::Long => (2000.0, Duration::from_secs(60)),
        Length::Short => (300.0, Duration::from_secs(3)),
    };
    let upstreams = [(); 3].map(|()| Fake::answering());
    let server = Server::start(Launch { block: &forward_to(&upstreams, ""), ..Launch::default() });
    let ask = |duration| {
        let names = Names::Fresh("example.net.");
        let mut streams = [Stream::new(&clients(1, 20), server.address, rate, names)];
        load(&mut streams, duration, PATIENCE, |_| {});
        let [stream] = streams;
        stream.tally
    };
    let calm = ask(duration / 2);
    upstreams[0].becomes(says_nothing);
    upstreams[0].asked();
    let troubled = ask(duration);
    let (before, after) = (calm.latency(0.99), troubled.latency(0.99));
    let found = format!(
        "{} of {} questions answered, {} with SERVFAIL; p99 {:.2} ms with all three, {:.2} ms with two; the silent one was sent {}",
        troubled.all_answered(),
        troubled.sent,
        troubled.answered[SERVFAIL],
        before.as_secs_f64() * 1e3,
        after.as_secs_f64() * 1e3,
        upstreams[0].asked().len(),
    );
    println!("{found}");
    let all_good = |tally: &Tally| tally.answered[0] == tally.sent;
    assert!(all_good(&calm) && all_good(&troubled), "{:?}", troubled.answered);
    if length == Length::Long {
        assert!(after <= before + Duration::from_millis(300), "{before:?}, then {after:?}");
    }
    found
}

/// All are silent while names are asked for that are past their TTL.
pub(crate) fn outage(length: Length) -> String {
    let (count, rate, duration) = match length {
        Length::Long => (3000, 1000.0, Duration::from_secs(60)),
        Length::Short => (100, 100.0, Duration::from_secs(2)),
    };
    let upstreams = [(); 2].map(|()| Fake::answering());
    let block = forward_to(&upstreams, "    cache 3\n");
    let server = Server::start(Launch { block: &block, ..Launch::default() });
    let names: Vec<String> = (0..count).map(|index| format!("warm-{index}.example.net.")).collect();
    let stream = |rate| {
        let names = Names::Known(names.clone());
        [Stream::new(&clients(1, 20), server.address, rate, names).expecting(STALE)]
    };
    // Each twice within its TTL, which is over when the outage begins.
    let mut warm = stream(f64::from(count));
    load(&mut warm, Duration::from_millis(2500), PATIENCE, |_| {});
    assert_eq!(warm[0].tally.answered[0], warm[0].tally.sent, "all is well");
    std::thread::sleep(Duration::from_millis(3500));

    upstreams.iter().for_each(|upstream| upstream.becomes(says_nothing));
    let mut streams = stream(rate);
    load(&mut streams, SETTLED, PATIENCE, |_| {});
    upstreams.iter().for_each(|upstream| drop(upstream.asked()));
    let begun = Instant::now();
    load(&mut streams, duration, PATIENCE, |_| {});
    let took = begun.elapsed();
    let asked = upstreams.each_ref().map(|upstream| upstream.asked().len());
    let [Stream { tally: dark, .. }] = &streams;

    upstreams.iter().for_each(|upstream| upstream.becomes(answers));
    let mut streams = stream(rate);
    let (begun, mut last_stale) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < (last_stale + REST).min(5 * REST) {
        let before = streams[0].tally.explained;
        load(&mut streams, Duration::from_millis(200), PATIENCE, |_| {});
        if streams[0].tally.explained > before {
            last_stale = begun.elapsed();
        }
    }
    let [Stream { tally: light, .. }] = &streams;
    let most = took.as_secs_f64() / PROBE.as_secs_f64() + 1.0;
    let found = format!(
        "{} of {} questions for {count} names answered from what was kept, {} with SERVFAIL, {} lost; meanwhile {asked:?} sent to the upstreams in {:.0} s, probes may be {most:.0} each; after their return the last old answer was given after {:.1} s",
        dark.explained,
        dark.sent,
        dark.answered[SERVFAIL],
        dark.lost(),
        took.as_secs_f64(),
        last_stale.as_secs_f64(),
    );
    println!("{found}");
    assert_eq!((dark.answered[0], dark.explained), (dark.sent, dark.sent), "{:?}", dark.answered);
    assert_eq!(light.answered[0], light.sent, "{:?}", light.answered);
    assert!(asked.iter().all(|asked| *asked as f64 <= most), "{asked:?} in {took:?}");
    if length == Length::Long {
        assert!(last_stale <= Duration::from_secs(5), "{last_stale:?}");
    }
    found
}

/// Two more are named in the Corefile.
pub(crate) fn scale(length: Length) -> String {
    let upstreams = [(); 4].map(|()| Fake::answering());
    let block = forward_to(&upstreams[..2], "");
    let server = Server::start(Launch { block: &block, ..Launch::default() });
    added(
        length,
        &server,
        || {
            server.configure(&forward_to(&upstreams, ""));
            server.signal("USR1");
            let begun = Instant::now();
            while server.reloads() == 0 {
                assert!(begun.elapsed() < PATIENCE, "no reload: {}", server.said());
                std::thread::sleep(Duration::from_millis(10));
            }
        },
        || upstreams.each_ref().map(|upstream| upstream.asked().len()),
    )
}

/// Servers behind a virtual address; which one gets a flow is settled with its first question, as kube-proxy does it with IPVS.
#[derive(Default)]
struct Virtual {
    servers: usize,
    flows: HashMap<u16, usize>,
    counts: [usize; 4],
}

/// Two more stand behind the address that the Corefile names.
pub(crate) fn scale_virtual(length: Length) -> String {
    let virtual_address = Arc::new(Mutex::new(Virtual { servers: 2, ..Virtual::default() }));
    let own = Arc::clone(&virtual_address);
    let upstream = [Fake::start(move |request, from| {
        let mut behind = own.lock().expect("no panic");
        let next = behind.flows.len() % behind.servers;
        let server = *behind.flows.entry(from.port()).or_insert(next);
        behind.counts[server] += 1;
        answers(request, from)
    })];
    let server = Server::start(Launch { block: &forward_to(&upstream, ""), ..Launch::default() });
    let behind = || virtual_address.lock().expect("no panic");
    added(length, &server, || behind().servers = 4, || std::mem::take(&mut behind().counts))
}

/// Asks, adds upstreams, and looks what each of the four got from then on; `counts` gives that since it was called last.
fn added(
    length: Length,
    server: &Server,
    add: impl FnOnce(),
    counts: impl Fn() -> [usize; 4],
) -> String {
    let (rate, duration) = match length {
        Length::Long => (2000.0, Duration::from_secs(60)),
        Length::Short => (2000.0, Duration::from_secs(3)),
    };
    let names = Names::Fresh("example.net.");
    let mut streams = [Stream::new(&clients(1, 20), server.address, rate, names)];
    load(&mut streams, duration / 6, PATIENCE, |_| {});
    assert_eq!(counts()[2..], [0, 0], "they are not there yet");
    add();
    counts();
    load(&mut streams, duration, PATIENCE, |_| {});
    let [Stream { tally, .. }] = &streams;
    let counts = counts();
    let share = counts.iter().sum::<usize>() as f64 / 4.0;
    let off = counts.map(|count| (count as f64 / share - 1.0) * 100.0);
    let worst = off.into_iter().fold(0.0_f64, |worst, off| worst.max(off.abs()));
    let found = format!(
        "{} of {} questions lost; the four got {counts:?} in {} s after two were added, {worst:.1} % off at most",
        tally.lost(),
        tally.sent,
        duration.as_secs(),
    );
    println!("{found}");
    assert_eq!(tally.answered[0], tally.sent);
    // In seconds the sockets that were there before are not worn out yet.
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    if length == Length::Long {
        assert!(worst <= 10.0, "{counts:?}");
    }
    found
}
