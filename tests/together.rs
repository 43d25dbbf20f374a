//! Ten thousand clients who ask the same at the same time, on two workers.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::client::{decode, question};
use crate::support::server::TestServer;

const CLIENTS: usize = 100;
const QUESTIONS: usize = 100;
/// So many datagrams fit every socket's buffer.
const AT_ONCE: usize = 100;
/// Nothing on loopback takes this long unless it is lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// A forwarded question is given up half a second after.
const TIME_OF_A_QUESTION: Duration = Duration::from_secs(4);
const DO: u8 = 0x80;
const CD: u8 = 0x10;

/// The question of one of them: each has another id or another port, its own spelling, and one of four EDNS sizes or none. One in four
/// sets DO, one in two CD.
fn asked(index: usize) -> Vec<u8> {
    let spell = |(at, letter): (usize, char)| match index >> (at % 14) & 1 {
        0 => letter,
        _ => letter.to_ascii_uppercase(),
    };
    let name: String = "a-name-to-ask.example.test".chars().enumerate().map(spell).collect();
    let edns = [None, Some(512), Some(1232), Some(4096)][index % 4];
    let id = (index / CLIENTS * 601) as u16;
    let mut message = question(id, &name, 1, edns);
    if index % 8 == 3 || index % 8 == 6 {
        let flags = message.len() - 4;
        message[flags] |= DO;
    }
    if index % 16 < 8 {
        message[3] |= CD;
    }
    message
}

/// The bits of a question that make it another one for the cache: DO and CD.
fn bits(message: &[u8]) -> (bool, bool) {
    let has_opt = message[11] == 1;
    (has_opt && message[message.len() - 4] & DO != 0, message[3] & CD != 0)
}

/// The answer of the upstream: one address.
fn answer(request: &[u8]) -> Vec<u8> {
    let end = 12 + request[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 5;
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    let mut answer = [&request[..end], &record].concat();
    answer[2] |= 0x80;
    answer[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    answer
}

fn waiting(server: &mut TestServer) -> usize {
    let page = server.program().metrics().expose();
    let line = page.lines().find_map(|line| line.strip_prefix("periplus_waiting_requests "));
    line.and_then(|value| value.parse::<f64>().ok()).expect("a gauge") as usize
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    socket
}

/// An upstream that says nothing yet, a server, and clients that all wait for it; `None`: the first ones had their time before the last ones
/// had asked.
fn all_wait() -> Option<(UdpSocket, TestServer, Vec<UdpSocket>)> {
    let upstream = socket();
    let address = upstream.local_addr().expect("a bound socket has an address");
    // One attempt: while the answer is withheld, nothing is sent again for a datagram that was lost.
    let mut server = TestServer::with_workers(
        &format!(
            ".:PORT {{\n    cache\n    forward . {address} {{\n        max_connect_attempts 1\n        read_timeout 5s\n    }}\n}}\n"
        ),
        2,
    );
    let clients: Vec<UdpSocket> = (0..CLIENTS).map(|_| socket()).collect();
    let to: SocketAddr = server.address;
    let total = CLIENTS * QUESTIONS;
    let begun = Instant::now();
    for first in (0..total).step_by(AT_ONCE) {
        // Neighbours come from different sockets.
        for index in first..first + AT_ONCE {
            clients[index % CLIENTS].send_to(&asked(index), to).expect("loopback takes it");
        }
        while waiting(&mut server) < first + AT_ONCE {
            if begun.elapsed() > TIME_OF_A_QUESTION {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    (begun.elapsed() < TIME_OF_A_QUESTION).then_some((upstream, server, clients))
}

#[test]
fn ten_thousand_same_questions_are_one_to_the_upstream_for_each_cache_key() {
    let (upstream, mut server, clients) =
        std::iter::repeat_with(all_wait).take(10).flatten().next().expect("all can wait at once");

    // All wait. Only now the upstream looks at what it was asked, which must be one question for each pair of bits.
    let mut buffer = [0; 4096];
    let mut requests = Vec::new();
    upstream.set_nonblocking(true).expect("a socket can be made so");
    while let Ok((length, from)) = upstream.recv_from(&mut buffer) {
        requests.push((buffer[..length].to_vec(), from));
    }
    let mut found: Vec<_> = requests.iter().map(|(request, _)| bits(request)).collect();
    found.sort_unstable();
    assert_eq!(found, [(false, false), (false, true), (true, false), (true, true)]);
    for (request, from) in &requests {
        upstream.send_to(&answer(request), from).expect("loopback takes it");
    }

    for (number, client) in clients.iter().enumerate() {
        let mut open: Vec<Vec<u8>> =
            (0..QUESTIONS).map(|index| asked(index * CLIENTS + number)).collect();
        for _ in 0..QUESTIONS {
            let length = client.recv(&mut buffer).expect("every question is answered");
            let response = &buffer[..length];
            let at = open.iter().position(|request| request[..2] == response[..2]);
            let request = open.swap_remove(at.expect("an id that was asked, once"));
            let end = 12 + request[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
            assert_eq!(response[12..end], request[12..end], "the question as it was spelled");
            let message = decode(response);
            let owner = message.queries[0].name();
            let [record] = message.answers.as_slice() else { panic!("{message}") };
            assert_eq!(record.to_string(), format!("{owner} 60 IN A 192.0.2.1"));
            assert_eq!(response[3] & CD, request[3] & CD);
            let opt = |message: &[u8]| message[end..].to_vec();
            match request[11] {
                0 => assert_eq!(response[11], 0, "no EDNS for who has none"),
                _ => assert!(response.ends_with(&opt(&request)), "size and DO as asked"),
            }
        }
        assert!(open.is_empty());
    }
    assert!(upstream.recv_from(&mut buffer).is_err(), "nothing was asked again");
    assert_eq!(waiting(&mut server), 0);
}
