//! All that strangers can make the process hold at once, in little memory: waiting questions, kept answers of both kinds, and connections
//! that ask for the longest answers and do not read them.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::Length;
use crate::group::Limits;
use crate::load::{Names, Stream, Tally, clients, run as load};
use crate::server::{Launch, Server, names};
use crate::support::client::question;
use crate::support::fake::{Fake, question_end};
use crate::upstream::Upstream;

/// Bytes.
const MEMORY: u64 = 64 << 20;
/// What there are places for with that much memory.
const CONNECTIONS: usize = 768;
/// Each of them asks so often: answers of 64 kB, far more than the kernel holds.
const QUESTIONS: usize = 16;
/// A peer that does not read is cut off after five seconds, and another one comes.
const ROUND: Duration = Duration::from_secs(6);
/// The TTL of what is kept.
const TTL: u32 = 30;

pub(crate) fn run(length: Length) -> String {
    let slow = Upstream::slow_but_alive(Duration::from_secs(5));
    let quick = Fake::start(many_or_none);
    let large: String = (0..4000)
        .map(|at| format!("        10.9.{}.{} large.test\n", at / 250, at % 250))
        .collect();
    let block = format!(
        "    errors
    hosts {{
{large}        fallthrough
    }}
    cache
    forward slow.net {}
    forward . {}",
        slow.address, quick.address
    );
    let limits = Limits { memory: Some(MEMORY), cpu: None };
    let mut server = Server::start(Launch { limits, block: &block, ..Launch::default() });
    let (rate, flood) = match length {
        Length::Long => (4000.0, Duration::from_secs(60)),
        Length::Short => (2000.0, Duration::from_secs(6)),
    };
    offer(&server, 100.0, Duration::from_secs(1), |_| {});
    if length == Length::Long {
        std::thread::sleep(Duration::from_secs(7));
    }
    let idle = server.memory().resident;

    // The waiting places last: who finds none does not get into the cache either.
    let mut names = fresh(&server, rate);
    load(&mut names, flood / 2, Duration::from_secs(2), |_| {});
    let mut waiting = 0.0;
    let ((others, connected), looks, bad) = server.watched(|| {
        std::thread::scope(|scope| {
            // Gone when it is done, and when it panics.
            let (running, over) = mpsc::channel::<()>();
            let address = server.address;
            let held = scope.spawn(move || {
                let mut most = 0;
                loop {
                    let held: Vec<_> = (0..CONNECTIONS).filter_map(|at| ask(at, address)).collect();
                    most = most.max(held.len());
                    if over.recv_timeout(ROUND) == Err(RecvTimeoutError::Disconnected) {
                        return most;
                    }
                }
            });
            let others = offer(&server, rate, flood, |elapsed| {
                if waiting == 0.0 && elapsed >= flood / 2 {
                    waiting = server.metric("periplus_waiting_requests");
                }
            });
            drop(running);
            (others, held.join().expect("it does not panic"))
        })
    });
    let flooded = server.memory();
    let share = others.answered[0] as f64 / others.sent as f64;
    let kept = server.metric("coredns_cache_entries");

    // What is kept goes when it is over; of the rest nothing is left.
    let until = Instant::now() + Duration::from_secs(u64::from(TTL) + 30);
    let mut calm = flooded.resident;
    while length == Length::Long && calm > idle + idle / 10 && Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        calm = server.memory().resident;
    }
    let mb = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let found = format!(
        "{connected} connections that do not read, {waiting:.0} questions waiting, {kept:.0} answers kept; {} of {} questions for cluster names answered; resident {:.1} MB idle, {:.1} at the most, {:.1} after; in health {} times of {looks}",
        others.answered[0],
        others.sent,
        mb(idle),
        mb(flooded.peak),
        mb(calm),
        looks - bad.len(),
    );
    println!("{found}");
    assert!(server.is_running(), "it did not end: {}", server.said());
    assert!(bad.is_empty(), "it is in health all the time, not {bad:?} in {looks} looks");
    // A debug build itself takes nearly ten megabytes more, which the bounds do not know.
    if length == Length::Long {
        assert!(flooded.peak <= MEMORY * 8 / 10, "{:.1} MB resident", mb(flooded.peak));
    }
    let least = if length == Length::Long { 0.999 } else { 0.5 };
    assert!(share >= least, "{share}");
    found
}

/// New names that exist, and that do not.
fn fresh(server: &Server, rate: f64) -> [Stream; 2] {
    [(4, "many.example.org."), (5, "none.example.org.")]
        .map(|(net, zone)| Stream::new(&clients(net, 50), server.address, rate, Names::Fresh(zone)))
}

/// The same, names that take an upstream five seconds, and names of the cluster; gives what became of those.
fn offer(server: &Server, rate: f64, duration: Duration, between: impl FnMut(Duration)) -> Tally {
    let stream = |net, names| Stream::new(&clients(net, 50), server.address, rate, names);
    let [many, none] = fresh(server, rate);
    let slow = stream(2, Names::Fresh("slow.net."));
    let mut streams = [stream(1, Names::Known(names())), slow, many, none];
    // A slow question is given up after three seconds.
    load(&mut streams, duration, Duration::from_secs(4), between);
    let [others, ..] = streams;
    others.tally
}

/// Connects from an address of its own for a few, and asks.
fn ask(number: usize, server: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    let own = IpAddr::from([127, 3, (number >> 8) as u8, (number / 4) as u8]);
    socket.bind(&SocketAddr::new(own, 0).into()).ok()?;
    socket.set_recv_buffer_size(4096).ok()?;
    socket.connect(&server.into()).ok()?;
    let mut stream = TcpStream::from(socket);
    let message = question(1, "large.test", 1, None);
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    stream.write_all(&frame.repeat(QUESTIONS)).ok()?;
    Some(stream)
}

/// Twenty addresses, or that there is no such name.
fn many_or_none(request: &[u8], _from: SocketAddr) -> Vec<Vec<u8>> {
    let Some(end) = question_end(request) else { return Vec::new() };
    let ttl = TTL.to_be_bytes();
    let mut answer = request[..end].to_vec();
    answer[2] |= 0x80;
    if request.windows(4).any(|bytes| bytes == b"none") {
        answer[3] = 3;
        answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        answer.extend([&[0, 0, 6, 0, 1][..], &ttl, &[0, 22], &[0; 22]].concat());
    } else {
        answer[4..12].copy_from_slice(&[0, 1, 0, 20, 0, 0, 0, 0]);
        for host in 0..20 {
            answer.extend([&[0xc0, 12, 0, 1, 0, 1][..], &ttl, &[0, 4, 192, 0, 2, host]].concat());
        }
    }
    vec![answer]
}
