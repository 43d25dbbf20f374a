//! Connections: pipelining, limits, and peers that misbehave.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::client::{connect, question, read, tcp, udp, write};
use crate::support::server::TestServer;

const COREFILE: &str = ".:PORT {\n    whoami\n}\n";

#[test]
fn many_questions_in_one_segment_are_all_answered() {
    let server = TestServer::start(COREFILE);
    let mut stream = connect(server.address);
    let mut segment = Vec::new();
    for id in 0..100_u16 {
        let message = question(id, "example.org", 1, None);
        segment.extend_from_slice(&(message.len() as u16).to_be_bytes());
        segment.extend_from_slice(&message);
    }
    stream.write_all(&segment).expect("the server reads");
    let mut seen: Vec<u16> = (0..100)
        .map(|_| {
            let answer = read(&mut stream).expect("an answer");
            u16::from_be_bytes([answer[0], answer[1]])
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_message_in_single_bytes_is_answered() {
    let server = TestServer::start(COREFILE);
    let mut stream = connect(server.address);
    let message = question(9, "example.org", 1, None);
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(&message);
    for byte in bytes {
        stream.write_all(&[byte]).expect("the server reads");
        stream.flush().expect("a socket flushes");
    }
    assert!(read(&mut stream).is_some());
}

#[test]
fn a_frame_too_short_for_a_message_closes_the_connection() {
    let server = TestServer::start(COREFILE);
    for frame in [&[0_u8, 0][..], &[0, 5, 1, 2, 3, 4, 5]] {
        let mut stream = connect(server.address);
        // An idle connection is closed after ten seconds.
        stream.set_read_timeout(Some(Duration::from_secs(8))).expect("a time-out can be set");
        stream.write_all(frame).expect("the server reads");
        let mut rest = Vec::new();
        let closed = stream.read_to_end(&mut rest);
        assert!(
            rest.is_empty()
                && !matches!(&closed, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock),
            "{closed:?}"
        );
    }
    assert!(
        tcp(server.address, &question(1, "example.org", 1, None)).is_some(),
        "others are served"
    );
}

#[test]
fn answers_come_after_the_peer_has_finished_asking() {
    let server = TestServer::start(COREFILE);
    let mut stream = connect(server.address);
    write(&mut stream, &question(3, "example.org", 1, None));
    stream.shutdown(std::net::Shutdown::Write).expect("half a connection can be closed");
    assert!(read(&mut stream).is_some());
    assert!(read(&mut stream).is_none(), "then the server closes too");
}

#[test]
fn idle_connections_hold_up_nobody() {
    let server = TestServer::start(COREFILE);
    let mut idle: Vec<_> = (0..100).map(|_| connect(server.address)).collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        // Some say nothing, some begin a message and leave it at that.
        stream.write_all(&[0, 40, 1, 2, 3, 4][..number % 6]).expect("the server reads");
    }
    assert!(tcp(server.address, &question(1, "example.org", 1, None)).is_some());
    assert!(udp(server.address, &question(2, "example.org", 1, None)).is_some());
    let mut last = idle.pop().expect("there are a hundred");
    last.write_all(&[0]).expect("the connection is still there");
}
