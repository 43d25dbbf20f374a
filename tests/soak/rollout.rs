//! Servers that come and go while questions are asked.

use std::time::Duration;

use crate::Length;
use crate::load::{Names, Stream, Tally, clients, run as load};
use crate::server::{Launch, Server, names};
use crate::support::ports::free_port;

fn rate(length: Length) -> f64 {
    if length == Length::Long { 10_000.0 } else { 1000.0 }
}

fn ask(
    server: &Server,
    length: Length,
    duration: Duration,
    between: impl FnMut(Duration),
) -> Tally {
    let mut streams =
        [Stream::new(&clients(1, 20), server.address, rate(length), Names::Known(names()))];
    load(&mut streams, duration, Duration::from_secs(2), between);
    let [stream] = streams;
    stream.tally
}

/// Calls `act` once, after `at`.
fn once(at: Duration, mut act: impl FnMut()) -> impl FnMut(Duration) {
    let mut done = false;
    move |elapsed| {
        if !done && elapsed >= at {
            done = true;
            act();
        }
    }
}

/// A client goes on asking for some time after SIGTERM, as one does that has not heard of the new endpoints yet.
pub(crate) fn sigterm(length: Length) -> String {
    let stays = Duration::from_secs(if length == Length::Long { 30 } else { 3 });
    let mut server = Server::start(Launch { grace: Some(60), ..Launch::default() });
    let begin = Duration::from_secs(2);
    let tally = ask(&server, length, begin + stays, once(begin, || server.signal("TERM")));
    let ended = ends(&mut server);
    let found = format!(
        "{} of {} questions lost at {}/s, {} s after SIGTERM; ended by itself: {ended}",
        tally.lost(),
        tally.sent,
        rate(length),
        stays.as_secs()
    );
    println!("{found}");
    assert_eq!((tally.lost(), tally.answered[0]), (0, tally.sent));
    assert!(ended);
    found
}

/// A second server takes the port over: it listens beside the first, which then gets SIGTERM, and closes its sockets while questions come.
pub(crate) fn takeover(length: Length) -> String {
    let times = if length == Length::Long { 20 } else { 3 };
    let port = Some(free_port());
    let launch = Launch { port, grace: Some(1), ..Launch::default() };
    let (mut lost, mut sent) = (0, 0);
    let mut server = Server::start(launch);
    for _ in 0..times {
        let next = Server::start(launch);
        let (mut told, mut ended) = (false, false);
        let tally = ask(&next, length, Duration::from_secs(5), |elapsed| {
            if !told && elapsed >= Duration::from_secs(1) {
                told = true;
                server.signal("TERM");
            }
            ended = ended || told && !server.is_running();
        });
        assert!(ended, "the first one ends although questions come: {}", server.said());
        (lost, sent) = (lost + tally.lost(), sent + tally.sent);
        server = next;
    }
    let found =
        format!("{lost} of {sent} questions lost in {times} takeovers at {}/s", rate(length));
    println!("{found}");
    assert_eq!(lost, 0);
    found
}

/// One of two servers on a port is killed: a question that is lost with it is answered when it is asked again.
pub(crate) fn kill(length: Length) -> String {
    let port = Some(free_port());
    let launch = Launch { port, ..Launch::default() };
    let (first, second) = (Server::start(launch), Server::start(launch));
    let mut streams =
        [Stream::new(&clients(1, 20), first.address, rate(length), Names::Known(names()))];
    let kill = once(Duration::from_secs(2), || first.signal("KILL"));
    load(&mut streams, Duration::from_secs(4), Duration::from_secs(2), kill);
    let lost = streams[0].tally.lost();
    // Its time is over: each client asks again.
    streams[0].ask_again();
    load(&mut streams, Duration::ZERO, Duration::from_secs(2), |_| {});
    let [Stream { tally, .. }] = &streams;
    let again = ask(&second, length, Duration::from_secs(4), |_| {});
    let found = format!(
        "{lost} of {} questions lost with the server that was killed, {} of them when they were asked again, {} of {} asked afterwards",
        tally.sent,
        tally.lost(),
        again.lost(),
        again.sent
    );
    println!("{found}");
    // What was in the dead server's buffers: less than a tenth of a second's questions.
    assert!(lost as f64 <= rate(length) / 10.0, "{lost} lost");
    assert_eq!((tally.lost(), again.lost()), (0, 0));
    found
}

/// Whether it ends by itself in half a minute.
fn ends(server: &mut Server) -> bool {
    for _ in 0..300 {
        if !server.is_running() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}
