//! Questions at a given rate, whether they are answered or not, from many clients with addresses of their own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::support::client::question;

/// Ids of one client in use at the same time; an answer that comes after its id was used again is not counted.
const IDS: usize = 16_384;
/// Questions of one stream sent before answers are looked at again.
const BURST: usize = 128;
/// Time before the next question that is worth a sleep.
const NAP: Duration = Duration::from_micros(50);

/// Some clients that ask the same kind of question.
pub(crate) struct Stream {
    clients: Vec<Client>,
    names: Names,
    interval: Duration,
    due: Instant,
    /// Answers are left to the kernel, as a client does that only floods.
    deaf: bool,
    /// An extended error (RFC 8914) to look for in the answers; then the questions have EDNS.
    expected: Option<u8>,
    asked: u64,
    pub(crate) tally: Tally,
}

/// What is asked for.
pub(crate) enum Names {
    /// These names, one after the other, for A records.
    Known(Vec<String>),
    /// Each time another name below this one.
    Fresh(&'static str),
}

/// What came of it.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    /// By response code.
    pub(crate) answered: [u64; 16],
    /// With the extended error that is looked for.
    pub(crate) explained: u64,
    latencies: Vec<u32>,
}

struct Client {
    socket: UdpSocket,
    /// When a question was sent, and which of the stream's it was.
    pending: Vec<Option<(Instant, u64)>>,
    next: u16,
}

impl Stream {
    /// `rate` questions a second in all, from a client on each address.
    pub(crate) fn new(clients: &[IpAddr], server: SocketAddr, rate: f64, names: Names) -> Stream {
        let clients = clients.iter().map(|address| Client::open(*address, server)).collect();
        Stream {
            clients,
            names,
            interval: Duration::from_secs_f64(1.0 / rate),
            due: Instant::now(),
            deaf: false,
            expected: None,
            asked: 0,
            tally: Tally::default(),
        }
    }

    /// The same, not interested in answers.
    pub(crate) fn deaf(mut self) -> Stream {
        self.deaf = true;
        self
    }

    /// The same, with EDNS; answers with an extended error are counted.
    pub(crate) fn expecting(mut self, error: u8) -> Stream {
        self.expected = Some(error);
        self
    }

    fn send_due(&mut self, now: Instant) {
        for _ in 0..BURST {
            if self.due > now {
                return;
            }
            self.due += self.interval;
            let index = self.asked as usize % self.clients.len();
            let name = self.names.at(self.asked);
            let edns = self.expected.map(|_| 1232);
            let client = &mut self.clients[index];
            let id = client.next;
            client.next = (id + 1) % IDS as u16;
            client.send(&question(id, &name, 1, edns));
            if !self.deaf {
                client.pending[usize::from(id)] = Some((now, self.asked));
            }
            self.asked += 1;
            self.tally.sent += 1;
        }
        // A sender that cannot keep up sends as fast as it can, and does not make up for it later.
        self.due = self.due.max(now - Duration::from_millis(5));
    }

    /// Each client asks once more what it has no answer to.
    pub(crate) fn ask_again(&mut self) {
        for client in &mut self.clients {
            for (id, pending) in client.pending.iter().enumerate() {
                if let Some((_, asked)) = pending {
                    client.send(&question(id as u16, &self.names.at(*asked), 1, None));
                }
            }
        }
    }
}

impl Names {
    fn at(&self, asked: u64) -> String {
        match self {
            Names::Known(names) => names[asked as usize % names.len()].clone(),
            Names::Fresh(zone) => format!("n{:x}.{zone}", fastrand::u64(..)),
        }
    }
}

impl Client {
    fn open(address: IpAddr, server: SocketAddr) -> Client {
        let socket = std::net::UdpSocket::bind((address, 0)).expect("a loopback address");
        socket.connect(server).expect("a loopback address can be connected to");
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        Client { socket: UdpSocket::from_std(socket), pending: vec![None; IDS], next: 0 }
    }

    fn send(&self, question: &[u8]) {
        // A refusal is what a server that is gone looks like: the question is lost.
        let _ = self.socket.send(question);
    }

    fn receive(&mut self, expected: Option<u8>, tally: &mut Tally) {
        let mut answer = [0; 512];
        loop {
            match self.socket.recv(&mut answer) {
                Ok(length) if length >= 12 => {
                    let id = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
                    let Some((sent, _)) = self.pending.get_mut(id).and_then(Option::take) else {
                        continue;
                    };
                    tally.answered[usize::from(answer[3] & 15)] += 1;
                    let explained = expected.is_some_and(|error| says(&answer[..length], error));
                    tally.explained += u64::from(explained);
                    tally.latencies.push(sent.elapsed().as_micros() as u32);
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // The ICMP message of a question before.
                Err(_) => {}
            }
        }
    }
}

impl Tally {
    /// All answers.
    pub(crate) fn all_answered(&self) -> u64 {
        self.answered.iter().sum()
    }

    /// Questions without an answer.
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.all_answered()
    }

    /// The latency that `share` of the answers did not exceed.
    pub(crate) fn latency(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        Duration::from_micros(sorted.get(at).copied().unwrap_or(0).into())
    }
}

/// Whether an answer has an extended error with this code.
fn says(answer: &[u8], error: u8) -> bool {
    answer.windows(6).any(|bytes| bytes[..2] == [0, 15] && bytes[4..] == [0, error])
}

/// Sends for `duration`, calls `between` about every 100 ms, and then waits for answers for up to `patience`.
pub(crate) fn run(
    streams: &mut [Stream],
    duration: Duration,
    patience: Duration,
    mut between: impl FnMut(Duration),
) {
    let mut poll = Poll::new().expect("an event queue");
    let mut owners = Vec::new();
    for (at, stream) in streams.iter_mut().enumerate() {
        if stream.deaf {
            continue;
        }
        for (index, client) in stream.clients.iter_mut().enumerate() {
            let registry = poll.registry();
            registry
                .register(&mut client.socket, Token(owners.len()), Interest::READABLE)
                .expect("a socket can be watched");
            owners.push((at, index));
        }
    }
    let mut events = Events::with_capacity(256);
    let begun = Instant::now();
    let mut called = begun;
    for stream in streams.iter_mut() {
        stream.due = begun;
    }
    loop {
        let now = Instant::now();
        let sending = now - begun < duration;
        let answered = |streams: &[Stream]| {
            streams.iter().all(|stream| stream.deaf || stream.tally.lost() == 0)
        };
        if !sending && (now - begun >= duration + patience || answered(streams)) {
            break;
        }
        if now - called >= Duration::from_millis(100) {
            called = now;
            between(now - begun);
        }
        let mut nap = Duration::from_millis(20);
        if sending {
            for stream in streams.iter_mut() {
                stream.send_due(now);
                nap = nap.min(stream.due.saturating_duration_since(now));
            }
        }
        let nap = if nap < NAP { Duration::ZERO } else { nap };
        if poll.poll(&mut events, Some(nap)).is_err() {
            continue;
        }
        for event in &events {
            let (stream, client) = owners[event.token().0];
            let Stream { clients, expected, tally, .. } = &mut streams[stream];
            clients[client].receive(*expected, tally);
        }
    }
    for (stream, client) in owners {
        let _ = poll.registry().deregister(&mut streams[stream].clients[client].socket);
    }
}

/// Addresses of `count` clients on the loopback network, from 127.`net`.0.1 on.
pub(crate) fn clients(net: u8, count: u16) -> Vec<IpAddr> {
    (1..=count).map(|host| IpAddr::from([127, net, (host >> 8) as u8, host as u8])).collect()
}
