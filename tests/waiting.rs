//! Questions whose answer has to be waited for: many at once, over both transports, and when the server stops meanwhile.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::Answer;
use periplus_core::setup::PluginKind;

use crate::support::client::{
    answers, ask, connect, decode, question, read, udp, udp_silence, write,
};
use crate::support::server::{TestServer, free_port, plugins_with};
use crate::support::upstream::Upstream;

/// Nothing on loopback takes this long unless it is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks everything at once from one socket and collects the response codes by id.
fn ask_all(server: SocketAddr, names: &[String]) -> HashMap<u16, u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    for (id, name) in (0..).zip(names) {
        socket.send_to(&question(id, name, 1, None), server).expect("loopback takes a datagram");
    }
    let mut buffer = [0; 512];
    let mut codes = HashMap::new();
    while codes.len() < names.len() {
        let length = socket.recv(&mut buffer).expect("every question is answered");
        let message = decode(&buffer[..length]);
        codes.insert(message.id, buffer[3] & 0x0f);
    }
    codes
}

fn names(count: usize) -> Vec<String> {
    // Each for the first time; the upstream does not know the other half.
    let name = |index| match index % 2 {
        0 => "www.upstream.test.".to_owned(),
        _ => format!("nobody-{index}.upstream.test."),
    };
    (0..count).map(name).collect()
}

#[test]
fn all_questions_of_a_burst_are_answered() {
    let upstream = Upstream::start();
    for options in ["", " {\n        force_tcp\n    }", " {\n        max_concurrent 10000\n    }"] {
        for cache in ["", "    cache 30\n"] {
            let forward = format!("forward . {}{options}", upstream.address);
            let server = TestServer::start(&format!(".:PORT {{\n{cache}    {forward}\n}}\n"));
            for _ in 0..3 {
                for (id, code) in ask_all(server.address, &names(200)) {
                    assert_eq!(code, if id % 2 == 0 { 0 } else { 3 }, "{id} with {forward}");
                }
            }
        }
    }
}

#[test]
fn what_changes_the_answer_sees_one_that_was_waited_for() {
    let upstream = Upstream::start();
    let server = TestServer::start(&format!(
        ".:PORT {{
    prometheus 127.0.0.1:HTTP0
    errors
    loadbalance
    rewrite name other.test www.upstream.test
    cache 30
    forward . {}
}}
",
        upstream.address
    ));
    let message = ask(server.address, "other.test", 1);
    assert_eq!(answers(&message), ["other.test. 30 IN A 192.0.2.80"]);
    assert_eq!(ask(server.address, "multi.upstream.test", 1).answers.len(), 4);
}

#[test]
fn an_upstream_that_is_not_there_is_a_failure_at_once() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = TestServer::start(&format!(".:PORT {{\n    forward . {address}\n}}\n"));
    let begun = Instant::now();
    for code in ask_all(server.address, &names(50)).into_values() {
        assert_eq!(code, 2);
    }
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_slow_upstream_holds_nobody_else_up_and_its_answers_come_while_the_server_stops() {
    let slow = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    slow.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    let address = slow.local_addr().expect("a bound socket has an address");
    let mut server = TestServer::start(&format!(
        ".:PORT {{\n    hosts {{\n        192.0.2.1 here.test\n        fallthrough\n    }}\n    forward . {address}\n}}\n"
    ));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    client.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    client
        .send_to(&question(7, "slow.test", 1, None), server.address)
        .expect("loopback takes a datagram");
    let mut request = [0; 512];
    let (length, from) = slow.recv_from(&mut request).expect("the question is passed on");
    for id in 0..20 {
        assert!(udp(server.address, &question(id, "here.test", 1, None)).is_some());
    }
    let upstream = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        request[2] |= 0x80;
        slow.send_to(&request[..length], from).expect("loopback takes a datagram");
    });
    server.program().close();
    upstream.join().expect("no panic");
    let mut answer = [0; 512];
    let length = client.recv(&mut answer).expect("the answer comes");
    assert_eq!(decode(&answer[..length]).id, 7);
}

/// Gives no answer, once it was waited for.
struct Silent;

impl Plugin for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        match query.name().to_string().as_str() {
            "silent.test." => Outcome::later(async { Answer::Silence }),
            _ => next.run(query),
        }
    }
}

static PLUGINS: LazyLock<Vec<PluginKind>> = LazyLock::new(|| {
    plugins_with(PluginKind { name: "silent", setup: |_| Ok(Some(Arc::new(Silent))) })
});

#[test]
fn silence_that_was_waited_for_is_counted() {
    let corefile = ".:PORT {\n    silent\n    whoami\n}\n";
    let server = TestServer::try_start_with(&PLUGINS, corefile, &[], 1);
    let mut server = server.unwrap_or_else(|error| panic!("{error}"));
    let silent = question(1, "silent.test", 1, None);
    let mut stream = connect(server.address);
    write(&mut stream, &silent);
    write(&mut stream, &question(2, "test", 1, None));
    assert_eq!(read(&mut stream).expect("the connection goes on")[..2], [0, 2]);
    assert_eq!(udp_silence(server.address, &silent), None);
    let line = "periplus_dropped_requests_total{reason=\"no_answer_due\"} 2\n";
    let begun = Instant::now();
    while !server.program().metrics().expose().contains(line) {
        assert!(begun.elapsed() < PATIENCE, "{}", server.program().metrics().expose());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn behind_a_cache_upstreams_are_asked_whether_their_data_is_authenticated() {
    for (cache, ad) in [("", 0), ("    cache 30\n", 0x20)] {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        upstream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        let address = upstream.local_addr().expect("a bound socket has an address");
        let server = TestServer::start(&format!(".:PORT {{\n{cache}    forward . {address}\n}}\n"));
        let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        client
            .send_to(&question(7, "www.test", 1, None), server.address)
            .expect("loopback takes a datagram");
        let mut request = [0; 512];
        let (length, from) = upstream.recv_from(&mut request).expect("the question is passed on");
        assert_eq!(request[2..4], [0x01, ad]);
        request[2] |= 0x80;
        upstream.send_to(&request[..length], from).expect("loopback takes a datagram");
        client.recv(&mut request).expect("the answer comes");
    }
}

#[test]
fn a_burst_larger_than_a_batch_is_passed_on_at_once_while_the_upstream_is_silent() {
    let upstream = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    upstream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    let address = upstream.local_addr().expect("a bound socket has an address");
    let server = TestServer::start(&format!(".:PORT {{\n    forward . {address}\n}}\n"));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    let mut requests = Vec::new();
    let mut buffer = [0; 512];
    let begun = Instant::now();
    // Several times, because the worker may keep up with a client that sends one by one.
    for round in 0..20 {
        for id in 0..100 {
            let name = format!("n{round}-{id}.test");
            client
                .send_to(&question(id, &name, 1, None), server.address)
                .expect("loopback takes a datagram");
        }
        for _ in 0..100 {
            let (length, from) = upstream.recv_from(&mut buffer).expect("each is passed on");
            buffer[2] |= 0x80;
            requests.push((buffer[..length].to_vec(), from));
        }
    }
    // A worker that forgets what is left in its socket wakes after a quarter of a second: 5 s in all.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    for (request, from) in requests {
        upstream.send_to(&request, from).expect("loopback takes a datagram");
    }
}
