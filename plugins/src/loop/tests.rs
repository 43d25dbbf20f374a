//! A server over a real socket whose end either forwards to the server itself or answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::decode::decode;
use periplus_core::edns::Edns;
use periplus_core::encode::Compressor;
use periplus_core::metrics::{Gauge, Registry};
use periplus_core::plugin::{Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Failure, Reply};
use periplus_core::request::encode_request;
use periplus_core::server::{Response, Server};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::handler::Loop;
use super::probe::{Pace, watch};
use super::state::{Sighting, State};
use crate::testing::{
    RUNTIME, ask, configure, eventually, lines, name, query, refused, scripted, server,
};

const PACE: Pace = Pace {
    answer: Duration::from_secs(5),
    retry: Duration::from_millis(20),
    round: Duration::from_secs(10),
    grace: Duration::from_millis(50),
    recheck: Duration::from_millis(50),
};

/// A server on a port of the loopback, with `loop` in front of a forwarder to that port.
struct Fixture {
    state: Arc<State>,
    gauge: Gauge,
    server: Arc<Server>,
    /// Whether the forwarder asks the server itself; otherwise it says NXDOMAIN.
    looping: Arc<AtomicBool>,
    /// How many HINFO queries were forwarded.
    forwarded: Arc<AtomicUsize>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Fixture {
    fn new(looping: bool) -> Fixture {
        let socket =
            RUNTIME.block_on(UdpSocket::bind("127.0.0.1:0")).expect("the loopback has free ports");
        let address = socket.local_addr().expect("a bound socket has an address");
        let gauge = Gauge::default();
        let state = Arc::new(State::new(name("."), address.to_string(), gauge.clone()));
        let looping = Arc::new(AtomicBool::new(looping));
        let forwarded = Arc::new(AtomicUsize::new(0));
        let (loops, count) = (Arc::clone(&looping), Arc::clone(&forwarded));
        let forwarder = scripted(move |query| {
            count.fetch_add(usize::from(query.qtype == RecordType::HINFO), Ordering::Relaxed);
            if loops.load(Ordering::Relaxed) {
                return forward(query.clone(), address);
            }
            let mut reply = Reply::to(query, "upstream");
            reply.rcode = Rcode::NXDOMAIN;
            reply.into()
        });
        let plugin: Arc<dyn Plugin> = Arc::new(Loop(Arc::clone(&state)));
        let server = server(vec![plugin, forwarder]);
        let serving = RUNTIME.spawn(serve(Arc::new(socket), Arc::clone(&server)));
        Fixture { state, gauge, server, looping, forwarded, address, tasks: vec![serving] }
    }

    fn probe(&mut self) {
        self.tasks.push(RUNTIME.spawn(watch(Arc::clone(&self.state), self.address, PACE)));
    }

    fn first_line(&self, name: &str) -> String {
        let query = query(name, RecordType::A);
        lines(&query, &ask(&self.server, &query)).swap_remove(0)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(socket: Arc<UdpSocket>, server: Arc<Server>) {
    let mut buffer = [0; 1500];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let (mut query, mut compressor, mut out) = (Query::empty(), Compressor::new(), Vec::new());
        query.peer = peer;
        match server.respond(&buffer[..length], &mut query, true, &mut compressor, &mut out) {
            Response::Ready => drop(socket.send_to(&out, peer).await),
            Response::Silence | Response::Shed => {}
            Response::Later(mut waiting) => {
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    let answer = waiting.answer().await;
                    if waiting.encode(&answer, &mut Compressor::new(), &mut out) {
                        let _ = socket.send_to(&out, peer).await;
                    }
                });
            }
        }
    }
}

fn forward(query: Query, address: SocketAddr) -> Outcome {
    Outcome::later(async move {
        let exchange = async {
            let socket = UdpSocket::bind("127.0.0.1:0").await?;
            socket.connect(address).await?;
            let mut message = Vec::new();
            encode_request(&query, query.spelled(), &mut message);
            socket.send(&message).await?;
            let mut response = [0; 1500];
            let length = socket.recv(&mut response).await?;
            std::io::Result::Ok(response[..length].to_vec())
        };
        match exchange.await.ok().and_then(|message| decode(&message, &query, "upstream").ok()) {
            Some(response) => Answer::Reply(response.reply),
            None => Failure::servfail("upstream", "no answer").into(),
        }
    })
}

#[test]
fn without_a_loop_nothing_happens() {
    let mut fixture = Fixture::new(false);
    fixture.probe();
    eventually("the probe has passed", || fixture.forwarded.load(Ordering::Relaxed) >= 1);
    assert_eq!(fixture.first_line("example.org."), "NXDOMAIN qr rd");
    let task = fixture.tasks.pop().expect("the probing task");
    RUNTIME
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), task).await })
        .expect("probing ends once a probe was answered")
        .expect("the task does not panic");
    assert_eq!(fixture.gauge.value(), 0.0);
    assert_eq!(fixture.forwarded.load(Ordering::Relaxed), 1);
}

#[test]
fn a_loop_stops_forwarding_until_it_is_gone() {
    let mut fixture = Fixture::new(true);
    fixture.probe();
    eventually("the loop is found", || fixture.state.is_looping());
    assert_eq!(fixture.gauge.value(), 1.0);

    let mut asked = query("example.org.", RecordType::A);
    asked.edns = Some(Edns { udp_size: 1232, ..Edns::default() });
    let answer = ask(&fixture.server, &asked);
    let Answer::Failure(failure) = answer else { panic!("{answer:?}") };
    assert_eq!(failure.rcode, Rcode::SERVFAIL);
    let cause = failure.cause.expect("a cause");
    assert_eq!(cause.to_string(), "forwarding loop detected");
    let extended = cause.extended.expect("an extended error");
    assert_eq!((extended.code, extended.text.as_str()), (22, "forwarding loop detected"));

    fixture.looping.store(false, Ordering::Relaxed);
    eventually("the end of the loop is noticed", || !fixture.state.is_looping());
    assert_eq!(fixture.gauge.value(), 0.0);
    assert_eq!(fixture.first_line("example.org."), "NXDOMAIN qr rd");
}

#[test]
fn a_probe_goes_round_twice_and_no_more() {
    let fixture = Fixture::new(true);
    let probe = fixture.state.begin(name("1.2."));
    let asked = query("1.2.", RecordType::HINFO);
    let answer = ask(&fixture.server, &asked);
    assert_eq!(answer.rcode(), Some(Rcode::SERVFAIL));
    assert!(probe.is_loop());
    assert_eq!(fixture.forwarded.load(Ordering::Relaxed), 2);
}

#[test]
fn only_the_probe_itself_is_counted() {
    let state = State::new(name("."), ":53".into(), Gauge::default());
    let peer = "127.0.0.1:1".parse().expect("an address");
    let probe_name = name("1.2.");
    assert_eq!(state.saw(probe_name.as_ref(), peer), Sighting::None);
    let probe = state.begin(probe_name.clone());
    assert_eq!(state.saw(name("3.4.").as_ref(), peer), Sighting::None);
    assert!(!probe.has_arrived());
    assert_eq!(state.saw(probe_name.as_ref(), peer), Sighting::Early);
    assert_eq!(state.saw(probe_name.as_ref(), peer), Sighting::Early);
    assert!(!state.is_looping());
    assert_eq!(state.saw(probe_name.as_ref(), peer), Sighting::Loop);
    assert!(state.is_looping());
    // While a loop is known a new probe still gets through.
    state.begin(name("5.6."));
    assert_eq!(state.saw(name("5.6.").as_ref(), peer), Sighting::Early);
    state.end();
    assert_eq!(state.saw(name("5.6.").as_ref(), peer), Sighting::None);
}

#[test]
fn other_types_with_the_name_of_the_probe_are_not_counted() {
    let fixture = Fixture::new(false);
    let probe = fixture.state.begin(name("1.2."));
    for _ in 0..5 {
        fixture.first_line("1.2.");
    }
    assert!(!probe.has_arrived());
}

#[test]
fn a_probe_that_nobody_answers_is_tried_again_and_changes_nothing() {
    let silent =
        RUNTIME.block_on(UdpSocket::bind("127.0.0.1:0")).expect("the loopback has free ports");
    let address = silent.local_addr().expect("a bound socket has an address");
    let state = Arc::new(State::new(name("."), ":53".into(), Gauge::default()));
    let pace = Pace { answer: Duration::from_millis(10), round: Duration::from_secs(2), ..PACE };
    let probing = watch(Arc::clone(&state), address, pace);
    RUNTIME
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), probing).await })
        .expect("a round without an answer ends");
    let mut names = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length) = silent.try_recv(&mut buffer) {
        names.push(buffer[12..length].to_vec());
    }
    assert!(names.len() >= 2, "{} attempts", names.len());
    assert!(names.iter().all(|name| *name == names[0]), "one name for the whole round");
    assert!(!state.is_looping());
}

#[test]
fn the_directive_takes_no_argument_and_may_stand_once() {
    assert!(configure(".", "loop").is_ok_and(|configured| configured.plugin.is_some()));
    refused(
        ".",
        "loop now",
        "Corefile:2:6: Wrong argument count or unexpected line ending after 'now' (nothing may follow 'loop' here)",
    );
    refused(
        ".",
        "loop {\nx\n}",
        "Corefile:2:6: Unexpected token '{' after 'loop' ('loop' takes no block)",
    );
    refused(".", "loop\nloop", "Corefile:3:1: this plugin can only be used once per Server Block");
}

#[test]
fn the_metric_names_the_first_zone_and_the_server_stays_ready() {
    let configured =
        configure("example.org example.net", "loop").unwrap_or_else(|error| panic!("{error}"));
    let metrics: &Registry = &configured.instance.metrics;
    let line = "periplus_loop_detected{zone=\"example.org.\"} 0\n";
    assert!(metrics.expose().contains(line), "{}", metrics.expose());
    let checks = configured.instance.readiness.checks();
    assert_eq!(checks.len(), 1);
    let state = checks[0].1();
    assert!(state.ready && state.remarks.is_empty());
    assert_eq!(configured.instance.tasks.len(), 1);
}
