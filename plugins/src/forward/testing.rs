//! A scripted upstream: a DNS server over UDP and TCP on a free port of the loopback that does exactly what a test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use periplus_core::codes::{Rcode, flags};
use periplus_core::encode::{Compressor, encode};
use periplus_core::name::Name;
use periplus_core::query::{Admission, Query, Transport, admit};
use periplus_core::record::{Entry, RecordSet};
use periplus_core::reply::{Answer, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::testing::RUNTIME;

/// The upstream. Its sockets are closed when it is dropped.
pub(crate) struct ScriptedUpstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Arc<Script>>,
    asked: Mutex<Vec<Asked>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

/// What is done with a request.
type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends a message.
    Send(Vec<u8>),
    /// Sends bytes as they are, over TCP without a length.
    Raw(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Closes the connection; over UDP nothing.
    Close,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The message.
    pub(crate) message: Vec<u8>,
    /// The message as the server under test would read it.
    pub(crate) query: Query,
    /// Where it came from.
    pub(crate) from: SocketAddr,
}

impl Asked {
    /// The name in the asked spelling.
    pub(crate) fn name(&self) -> String {
        self.query.spelled().to_string()
    }

    /// Whether it came over TCP.
    pub(crate) fn over_tcp(&self) -> bool {
        self.query.transport == Transport::Tcp
    }

    /// A response with this code and no record.
    pub(crate) fn response(&self, rcode: Rcode) -> Vec<u8> {
        self.response_with(|reply| reply.rcode = rcode)
    }

    /// The address 192.0.2.N for the question's name.
    pub(crate) fn address(&self, last: u8) -> Vec<u8> {
        self.response_with(|reply| reply.answer.push(address_record(last)))
    }

    /// A response that `change` makes out of an empty one with RA set.
    pub(crate) fn response_with(&self, change: impl FnOnce(&mut Reply)) -> Vec<u8> {
        response_to(&self.query, change)
    }

    /// A response to something else: `change` alters the question first.
    pub(crate) fn lie(&self, change: impl FnOnce(&mut Query)) -> Vec<u8> {
        let mut query = self.query.clone();
        change(&mut query);
        response_to(&query, |reply| reply.answer.push(address_record(66)))
    }
}

fn address_record(last: u8) -> Entry {
    Entry::of_question(RecordSet::addresses(60, [[192, 0, 2, last].into()]).expect("an address"))
}

fn response_to(query: &Query, change: impl FnOnce(&mut Reply)) -> Vec<u8> {
    let mut query = query.clone();
    // The script decides about truncation, not the encoder.
    query.transport = Transport::Tcp;
    let mut reply = Reply::to(&query, "upstream");
    reply.set(flags::RA, true);
    change(&mut reply);
    let mut message = Vec::new();
    encode(&query, &Answer::Reply(reply), &mut Compressor::new(), &mut message);
    message
}

impl ScriptedUpstream {
    /// Starts an upstream on a free port.
    pub(crate) fn new(
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> ScriptedUpstream {
        let (udp, tcp) = RUNTIME.block_on(free_port());
        let address = udp.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            asked: Mutex::default(),
            connections: Mutex::default(),
        });
        let tasks = vec![
            RUNTIME.spawn(serve_udp(Arc::new(udp), Arc::clone(&shared))),
            RUNTIME.spawn(serve_tcp(tcp, Arc::clone(&shared))),
        ];
        ScriptedUpstream { address, shared, tasks }
    }

    /// One that answers everything with the address 192.0.2.N.
    pub(crate) fn answering(last: u8) -> ScriptedUpstream {
        ScriptedUpstream::new(move |asked| vec![Step::Send(asked.address(last))])
    }

    /// One that answers everything with a response code.
    pub(crate) fn failing(rcode: Rcode) -> ScriptedUpstream {
        ScriptedUpstream::new(move |asked| vec![Step::Send(asked.response(rcode))])
    }

    /// One that never answers.
    pub(crate) fn silent() -> ScriptedUpstream {
        ScriptedUpstream::new(|_| Vec::new())
    }

    /// Changes what is done from now on.
    pub(crate) fn becomes(&self, script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How many requests came for a name.
    pub(crate) fn count(&self, name: &str) -> usize {
        lock(&self.shared.asked).iter().filter(|asked| asked.name() == name).count()
    }

    /// Closes all TCP connections from this side.
    pub(crate) fn hang_up(&self) {
        for connection in lock(&self.shared.connections).drain(..) {
            connection.abort();
            let _ = RUNTIME.block_on(connection);
        }
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.tasks.iter().chain(lock(&self.shared.connections).iter()).for_each(JoinHandle::abort);
    }
}

impl Shared {
    /// Remembers a request and says what to do with it.
    fn steps(&self, message: &[u8], from: SocketAddr, transport: Transport) -> Vec<Step> {
        let mut query = Query::empty();
        query.transport = transport;
        if admit(message, &mut query) != Admission::Query {
            return Vec::new();
        }
        let asked = Asked { message: message.to_vec(), query, from };
        lock(&self.asked).push(asked.clone());
        let script = Arc::clone(&lock(&self.script));
        script(&asked)
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; 65535];
    loop {
        // A client that has closed its socket makes the next call fail; that is its own affair.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let steps = shared.steps(&buffer[..length], from, Transport::Udp);
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            for step in steps {
                match step {
                    Step::Send(bytes) | Step::Raw(bytes) => {
                        drop(socket.send_to(&bytes, from).await)
                    }
                    Step::Wait(time) => tokio::time::sleep(time).await,
                    Step::Close => {}
                }
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, from)) = listener.accept().await {
        let connection = tokio::spawn(serve_connection(stream, from, Arc::clone(&shared)));
        lock(&shared.connections).push(connection);
    }
}

async fn serve_connection(mut stream: TcpStream, from: SocketAddr, shared: Arc<Shared>) {
    while let Ok(length) = stream.read_u16().await {
        let mut message = vec![0; usize::from(length)];
        if stream.read_exact(&mut message).await.is_err() {
            return;
        }
        for step in shared.steps(&message, from, Transport::Tcp) {
            let bytes = match step {
                Step::Send(message) => {
                    [&(message.len() as u16).to_be_bytes(), &message[..]].concat()
                }
                Step::Raw(bytes) => bytes,
                Step::Wait(time) => {
                    tokio::time::sleep(time).await;
                    continue;
                }
                Step::Close => return,
            };
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

/// A UDP socket and a TCP listener with the same port.
async fn free_port() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let address = tcp.local_addr().expect("a bound socket has an address");
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

/// A port of the loopback that refuses UDP and TCP for as long as this lives.
pub(crate) struct Refusing {
    /// The address.
    pub(crate) address: SocketAddr,
    /// Connected elsewhere, so that nobody else can have the port and nothing is received.
    _udp: UdpSocket,
    /// Bound but not listening.
    _tcp: tokio::net::TcpSocket,
}

impl Refusing {
    /// Takes a port.
    pub(crate) fn new() -> Refusing {
        RUNTIME.block_on(async {
            for _ in 0..100 {
                let udp =
                    UdpSocket::bind("127.0.0.1:0").await.expect("the loopback has free ports");
                let address = udp.local_addr().expect("a bound socket has an address");
                let tcp = tokio::net::TcpSocket::new_v4().expect("a socket");
                if tcp.bind(address).is_ok() && udp.connect("127.0.0.1:1").await.is_ok() {
                    return Refusing { address, _udp: udp, _tcp: tcp };
                }
            }
            panic!("no port is free for both UDP and TCP");
        })
    }
}

/// The SOA record of a zone.
pub(crate) fn soa(zone: &str) -> Entry {
    let zone = Name::parse(zone).expect("tests write valid names");
    let soa = periplus_core::record::Soa {
        mname: zone.as_ref(),
        rname: zone.as_ref(),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 5,
    };
    let set = RecordSet::one(periplus_core::codes::RecordType::SOA, 300, &soa.rdata());
    Entry::of(periplus_core::record::Owner::Name(zone.clone()), set)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
