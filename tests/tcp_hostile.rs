//! Connections that would hold the server up: slow ones, idle ones, broken ones, and very many.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use periplus::configuration::{self, Surroundings};
use periplus::net::Listeners;
use periplus::source::Source;
use periplus_core::memory::Budget;
use periplus_core::metrics::Registry;
use periplus_core::output::Output;
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::Reply;
use periplus_core::setup::PluginKind;
use socket2::{Domain, Socket, Type};

use crate::support::client::{connect, question, read, tcp, udp, write};
use crate::support::fake::{Fake, answers};
use crate::support::peer::Peer;
use crate::support::server::{TestServer, plugins_with};
use crate::support::skip::skipped;

/// Idle connections.
const MANY: usize = 10_000;
const COREFILE: &str = ".:PORT {\n    whoami\n}\n";

/// DNS over sockets alone, with a memory limit.
struct Small {
    listeners: Listeners,
    metrics: Arc<Registry>,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Small {
    /// `whoami` where 64 connections have a place, 16 of each peer.
    fn start() -> Small {
        Small::with("whoami")
    }

    /// The same with something else in the server block; 256 queries may wait.
    fn with(body: &str) -> Small {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
        let metrics = Arc::new(Registry::new(1));
        let surroundings = Surroundings::new(
            &PLUGINS,
            0,
            ".".into(),
            Arc::clone(&metrics),
            Output::new(std::io::sink()),
        );
        let text = format!(".:0 {{\n    bind 127.0.0.1\n    {body}\n}}\n");
        let source = Source::Text { name: "Corefile".into(), text };
        let (_, configuration) =
            configuration::load(&source, &surroundings).unwrap_or_else(|error| panic!("{error}"));
        let budget = Budget::new(Some(1));
        let mut listeners = Listeners::new(1, &metrics, budget, runtime.handle().clone());
        listeners.apply(configuration.servers).expect("the system chooses a free port");
        let address = listeners.local_addresses()[0].1;
        Small { listeners, metrics, address, _runtime: runtime }
    }

    fn told_to_go(&self) -> u64 {
        self.dropped("connections")
    }

    /// What was turned away for a reason.
    fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!("periplus_dropped_requests_total{{reason=\"{reason}\"}}"))
    }

    fn waiting(&self) -> u64 {
        self.metric("periplus_waiting_requests")
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.expose();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).expect("the metric is there")
    }

    /// Waits until nobody waits.
    fn wait_for_calm(&self) {
        let begun = Instant::now();
        while self.waiting() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} wait", self.waiting());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Answers after a moment.
struct Slow;

impl Plugin for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn handle(&self, query: &Query, _next: Next<'_>) -> Outcome {
        let reply = Reply::authoritative(query, "slow");
        Outcome::later(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            reply.into()
        })
    }
}

static PLUGINS: LazyLock<Vec<PluginKind>> = LazyLock::new(|| {
    plugins_with(PluginKind { name: "slow", setup: |_| Ok(Some(Arc::new(Slow))) })
});

/// A question with one option of so many bytes.
fn padded(id: u16, name: &str, size: usize) -> Vec<u8> {
    let mut message = question(id, name, 1, Some(4096));
    let option = [&65_001_u16.to_be_bytes()[..], &(size as u16).to_be_bytes(), &vec![7; size]];
    let option = option.concat();
    let at = message.len() - 2;
    message[at..].copy_from_slice(&(option.len() as u16).to_be_bytes());
    message.extend_from_slice(&option);
    message
}

impl Drop for Small {
    fn drop(&mut self) {
        self.listeners.close();
    }
}

/// A connection from 127.0.0.`host`.
pub(crate) fn connect_from(host: u8, server: SocketAddr) -> TcpStream {
    connect_from_port(host, 0, server)
}

fn connect_from_port(host: u8, port: u16, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket can be made so");
    let own = |port| SocketAddr::new(IpAddr::from([127, 0, 0, host]), port).into();
    let bound = socket.bind(&own(port)).or_else(|_| socket.bind(&own(0)));
    bound.expect("all of 127/8 is loopback's");
    socket.connect(&server.into()).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out can be set");
    stream
}

fn asks(stream: &mut TcpStream) -> bool {
    let message = question(1, "example.org", 1, None);
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    stream.write_all(&frame).is_ok() && read(stream).is_some()
}

#[test]
fn a_newcomer_takes_the_place_of_the_one_that_is_idle_longest() {
    let server = Small::start();
    let mut held: Vec<(u8, TcpStream)> = Vec::new();
    for host in 2..=6 {
        for _ in 0..if host == 6 { 4 } else { 15 } {
            let mut stream = connect_from(host, server.address);
            assert!(asks(&mut stream));
            held.push((host, stream));
        }
    }
    assert_eq!((held.len(), server.told_to_go()), (64, 0));
    // All but the second of those that share the largest number; the order of hosts must not matter.
    for (_, stream) in held.iter_mut().enumerate().filter(|(index, _)| *index != 31) {
        assert!(asks(&mut stream.1));
    }
    assert!(asks(&mut connect_from(9, server.address)), "a newcomer is not locked out");
    assert_eq!(server.told_to_go(), 1);
    let gone: Vec<usize> = (0..64).filter(|index| !asks(&mut held[*index].1)).collect();
    assert_eq!(gone, [31]);
}

#[test]
fn one_peer_has_no_more_than_its_share_and_gets_new_connections_all_the_same() {
    let server = Small::start();
    let mut other = connect_from(3, server.address);
    assert!(asks(&mut other));
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = connect_from(2, server.address);
        assert!(asks(&mut stream));
        held.push(stream);
    }
    assert_eq!(server.told_to_go(), 100 - 16);
    let alive: Vec<usize> = (0..100).filter(|index| asks(&mut held[*index])).collect();
    assert_eq!(alive, (84..100).collect::<Vec<_>>());
    assert!(asks(&mut other));
}

#[test]
fn only_a_few_connections_may_send_long_messages_at_once() {
    let server = Small::start();
    let begin = |host| {
        let mut stream = connect_from(host, server.address);
        // 20 of 64 kB; the rest never comes.
        stream.write_all(&[&[0xff, 0xff][..], &[0x55; 20_000]].concat()).map(|()| stream)
    };
    let long: Vec<TcpStream> = (0..40).filter_map(|number| begin(2 + number % 4).ok()).collect();
    assert!(asks(&mut connect_from(9, server.address)));
    let short = Duration::from_millis(100);
    let open = long.into_iter().filter_map(|mut stream| {
        stream.set_read_timeout(Some(short)).expect("a time-out can be set");
        let read = stream.read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock).then_some(stream)
    });
    let open = open.collect::<Vec<_>>().len();
    assert!((1..=16).contains(&open), "{open} are open");
    assert_eq!(server.dropped("long_message"), 40 - open as u64);
}

#[test]
fn a_message_to_which_no_answer_is_due_is_counted() {
    let server = Small::start();
    let mut stream = connect_from(2, server.address);
    let mut response = question(1, "example.org", 1, None);
    response[2] |= 0x80;
    write(&mut stream, &response);
    assert!(asks(&mut stream), "the connection goes on");
    assert_eq!(server.dropped("no_answer_due"), 1);
}

#[test]
fn a_message_of_the_largest_size_is_answered_and_its_room_given_back() {
    let server = Small::start();
    let mut stream = connect_from(2, server.address);
    for _ in 0..40 {
        let mut message = question(7, "example.org", 1, None);
        message.resize(65535, 0);
        write(&mut stream, &message);
        let answer = read(&mut stream).expect("an answer");
        assert_eq!(answer[..2], [0, 7]);
        assert!(asks(&mut stream), "the same connection goes on");
    }
}

#[test]
fn a_waiting_query_takes_places_for_its_request() {
    let server = Small::with("slow");
    let mut streams: Vec<TcpStream> =
        (2..8).map(|host| connect_from(host, server.address)).collect();
    // 3 copies of 60 kB are 70 of 256 places.
    for stream in &mut streams {
        write(stream, &padded(1, "example.org", 60_000));
    }
    let begun = Instant::now();
    while server.dropped("waiting") + server.dropped("client_share") < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "all found a place");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!((140..=256).contains(&server.waiting()), "{} wait", server.waiting());
    server.wait_for_calm();
    assert!(asks(&mut streams[0]), "the connection goes on");
}

#[test]
fn no_more_is_taken_from_a_connection_than_it_may_be_owed() {
    let server = Small::with("slow");
    let mut stream = connect_from(2, server.address);
    let message = question(1, "example.org", 1, None);
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    // Two reads bring all of them.
    stream.write_all(&frame.repeat(200)).expect("the server reads");
    while server.waiting() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The first answer comes later.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.waiting(), 64);
    for answered in 0..200 {
        assert!(read(&mut stream).is_some(), "{answered} came");
    }
}

/// A block of `hosts` with a name whose answer has 4 kB.
fn large() -> String {
    let lines = (0..250).map(|host| format!("192.0.2.{host} large.test\n")).collect::<String>();
    format!("hosts {{\n{lines}}}")
}

#[test]
fn answers_that_a_peer_does_not_take_have_places_in_the_kernel_too() {
    let server = Small::with(&large());
    let message = question(7, "large.test", 1, None);
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    let count = 100;
    let mut streams: Vec<TcpStream> = (0..12)
        .map(|number| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            // What the peer's kernel has taken is no burden for this one.
            socket.set_recv_buffer_size(2048).expect("a socket can be made so");
            let host = SocketAddr::from(([127, 0, 0, 2 + number % 4], 0));
            socket.bind(&host.into()).expect("all of 127/8 is loopback's");
            socket.connect(&server.address.into()).expect("the server listens");
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out can be set");
            stream.write_all(&frame.repeat(count)).expect("the server reads");
            stream
        })
        .collect();
    let begun = Instant::now();
    while server.dropped("waiting") + server.dropped("client_share") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(3), "all found a place");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!((100..=256).contains(&server.waiting()), "{} wait", server.waiting());
    let answered = |stream: &mut TcpStream| (0..count).all(|_| read(stream).is_some());
    let served = streams.iter_mut().filter_map(|stream| answered(stream).then_some(())).count();
    assert!((1..12).contains(&served), "{served} got all answers");
    server.wait_for_calm();
    assert!(asks(&mut connect_from(9, server.address)));
}

#[test]
fn who_asked_before_the_server_ends_gets_an_answer() {
    let is_slow = |name: &[u8]| name.windows(4).any(|part| part == b"slow");
    let upstream = Fake::start(move |request, from| {
        if is_slow(request) {
            std::thread::sleep(Duration::from_millis(300));
        }
        answers(request, from)
    });
    let corefile = format!(
        ".:PORT {{\n    forward . {} {{\n        prefer_udp\n    }}\n}}\n",
        upstream.address
    );
    let mut server = TestServer::start(&corefile);
    let mut owed = connect(server.address);
    write(&mut owed, &question(1, "slow.example.org", 1, None));
    while !upstream.asked().iter().any(|asked| is_slow(&asked.name)) {
        std::thread::sleep(Duration::from_millis(10));
    }
    // These have only just come, and some were not even accepted.
    let mut new: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(server.address);
            write(&mut stream, &question(2, "example.org", 1, None));
            stream
        })
        .collect();
    server.program().close();
    let is_answer = |message: &Vec<u8>| message[3] & 0x0f == 0;
    assert!(read(&mut owed).is_some_and(|answer| is_answer(&answer)));
    let answered = new.iter_mut().filter_map(read).filter(is_answer).count();
    assert_eq!(answered, 50);
}

#[test]
fn a_message_that_dribbles_in_is_waited_for_only_so_long() {
    let server = TestServer::start(COREFILE);
    let mut patient = connect(server.address);
    let message = question(9, "example.org", 1, None);
    patient.write_all(&[0, message.len() as u8]).expect("the server reads");
    let (begun, mut rest) = (Instant::now(), Some(message));
    let mut dribbler = connect(server.address);
    dribbler.set_nonblocking(true).expect("a socket can be made so");
    let closed = loop {
        // One byte at a time of a message that would take minutes.
        let _ = dribbler.write(&[1]);
        match dribbler.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break begun.elapsed(),
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it holds the connection for ever");
        if begun.elapsed() > Duration::from_secs(5)
            && let Some(rest) = rest.take()
        {
            patient.write_all(&rest).expect("the server reads");
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(closed > Duration::from_secs(8), "closed after {closed:?}");
    assert!(read(&mut patient).is_some(), "slow is fine within the bound");
}

#[test]
fn a_peer_that_does_not_take_its_answers_is_cut_off() {
    let addresses: String = (0..250).map(|host| format!("192.0.2.{host} large.test\n")).collect();
    let server =
        TestServer::with_files(".:PORT {\n    hosts DIR/hosts\n}\n", &[("hosts", &addresses)]);
    let mut stream = connect(server.address);
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time-out can be set");
    let message = question(7, "large.test", 1, None);
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    // Answers of 4 kB, 40 MB in all: more than the kernel holds.
    let wanted = 10_000;
    let begun = Instant::now();
    for _ in 0..wanted {
        if stream.write_all(&frame).is_err() {
            break;
        }
    }
    while begun.elapsed() < Duration::from_secs(12) {
        assert!(tcp(server.address, &question(1, "large.test", 1, None)).is_some());
        assert!(udp(server.address, &question(1, "large.test", 28, None)).is_some());
        std::thread::sleep(Duration::from_millis(500));
    }
    let mut answers = 0;
    let mut rest = vec![0; 1 << 20];
    let ended = loop {
        match stream.read(&mut rest) {
            Ok(0) => break None,
            Ok(length) => answers += length,
            Err(error) => break Some(error.kind()),
        }
    };
    assert_ne!(ended, Some(ErrorKind::WouldBlock), "the server still waits");
    assert!(answers < wanted * 1000, "{answers} bytes came");
}

#[test]
#[cfg(target_os = "linux")]
fn peers_that_ask_and_do_not_read_take_bounded_memory() {
    // Answers of 64 kB, as long as they may be.
    let addresses: String =
        (0..4000).map(|host| format!("10.0.{}.{} large.test\n", host / 250, host % 250)).collect();
    let corefile = ".:PORT {\n    hosts DIR/hosts\n}\n";
    let binary = Path::new(env!("CARGO_BIN_EXE_periplus"));
    let mut peer = Peer::start(binary, corefile, &[("hosts", &addresses)]);
    peer.wait_for("large.test", &[0]);
    let message = question(1, "large.test", 1, None);
    assert!(tcp(peer.address, &message).is_some_and(|answer| answer.len() > 60_000));
    let (before, _) = resources(&peer);
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    let mut most = 0;
    let held: Vec<TcpStream> = (0..60)
        .map(|host| {
            let mut stream = connect_from(2 + host, peer.address);
            // Far more than the kernel holds of them.
            stream.write_all(&frame.repeat(64)).expect("the server reads");
            most = most.max(resources(&peer).0);
            stream
        })
        .collect();
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(100));
        most = most.max(resources(&peer).0);
        assert!(udp(peer.address, &question(1, "large.test", 28, None)).is_some());
    }
    let each = most.saturating_sub(before) / held.len() as u64;
    println!("{before} kB before, {most} kB at the most, {each} for each connection");
    // The answer that is being written, and what an idle connection takes.
    assert!(each < 64 + 3 * 12, "{each} kB for each connection");
}

/// What `/proc` says of a process: resident memory in kB and open descriptors.
fn resources(peer: &Peer) -> (u64, usize) {
    let directory = Path::new("/proc").join(peer.id().to_string());
    let status = std::fs::read_to_string(directory.join("status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let descriptors = std::fs::read_dir(directory.join("fd")).expect("the process runs").count();
    (kilobytes.expect("a number"), descriptors)
}

/// Descriptors that this process may have.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_connection_keeps_nothing_of_a_long_question() {
    let mut peer = Peer::start(Path::new(env!("CARGO_BIN_EXE_periplus")), COREFILE, &[]);
    peer.wait_for("example.org", &[0]);
    let ask = || {
        let mut stream = connect_from(2, peer.address);
        write(&mut stream, &padded(1, "example.org", 65_000));
        assert!(read(&mut stream).is_some());
        stream
    };
    drop(ask());
    let (memory, _) = resources(&peer);
    let held: Vec<TcpStream> = (0..200).map(|_| ask()).collect();
    let each = resources(&peer).0.saturating_sub(memory) / held.len() as u64;
    assert!(each < 20, "{each} kB for each");
}

#[test]
#[cfg(target_os = "linux")]
fn ten_thousand_idle_connections_take_bounded_memory_and_lock_nobody_out() {
    // Where this process may have fewer, as many as it may.
    let wanted = MANY.min(descriptors().saturating_sub(2_000) / 2 * 2);
    if wanted < MANY {
        skipped(&format!("{} of {MANY} idle connections: too few descriptors", MANY - wanted));
    }
    let mut peer = Peer::start(Path::new(env!("CARGO_BIN_EXE_periplus")), COREFILE, &[]);
    peer.wait_for("example.org", &[0]);
    let server = peer.address;
    let (memory, before) = resources(&peer);
    let message = question(1, "example.org", 1, None);
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    let begun = Instant::now();
    let mut held = Vec::with_capacity(wanted);
    let mut most = (0, 0);
    for number in 0..wanted {
        // From ports that the system chooses for nobody: those are for the servers of other tests.
        let (host, port) = (2 + (number % 10) as u8, 21_000 + (number / 10) as u16);
        let mut stream = connect_from_port(host, port, server);
        match number % 4 {
            // In the middle of a message, or ended at once: most ask, and then say no more.
            0 => stream.write_all(&frame[..9]).expect("the server reads"),
            1 if number % 16 == 1 => {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                continue;
            }
            _ => stream.write_all(&frame).expect("the server reads"),
        }
        held.push(stream);
        if number % 1000 == 999 {
            most = resources(&peer).max(most);
            assert!(tcp(server, &message).is_some() && udp(server, &message).is_some());
        }
    }
    println!(
        "{} in {:?}: {most:?} kB and descriptors, before {memory} and {before}",
        held.len(),
        begun.elapsed()
    );
    assert!(most.1 < before + 8192 + 100, "{} descriptors", most.1);
    // 8 kB each is what the bounds are made of.
    let each = (most.0 - memory) * 1024 / (most.1.saturating_sub(before) as u64).max(1);
    assert!(each < 12 * 1024, "{each} bytes for each of {} connections", most.1 - before);
    drop(held);
    let begun = Instant::now();
    while resources(&peer).1 > before + 5 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?} are left", resources(&peer));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(tcp(server, &message).is_some());
}
