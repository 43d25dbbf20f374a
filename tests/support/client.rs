//! A DNS client that shows exactly what came back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;

/// Nothing on loopback takes this long unless it is lost, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait when no answer is expected.
const SILENCE: Duration = Duration::from_millis(300);

/// A question message: header, question, and an OPT record if a size is given.
pub(crate) fn question(id: u16, name: &str, qtype: u16, edns: Option<u16>) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("tests use short labels"));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&qtype.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    if let Some(size) = edns {
        message.extend_from_slice(&[0, 0, 41]);
        message.extend_from_slice(&size.to_be_bytes());
        message.extend_from_slice(&[0; 6]);
    }
    message
}

/// Sends a datagram and waits for the answer; `None` if none comes.
pub(crate) fn udp(server: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    udp_within(server, message, PATIENCE)
}

/// Sends a datagram that should not be answered.
pub(crate) fn udp_silence(server: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    udp_within(server, message, SILENCE)
}

/// Sends a datagram and waits for the answer as long as it is told.
pub fn udp_within(server: SocketAddr, message: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    socket.set_read_timeout(Some(patience)).expect("a time-out can be set");
    socket.send_to(message, server).expect("loopback takes a datagram");
    let mut answer = vec![0; 65535];
    let (length, from) = socket.recv_from(&mut answer).ok()?;
    assert_eq!(from, server, "the answer comes from the address that was asked");
    answer.truncate(length);
    Some(answer)
}

/// Gets a page from loopback: head and body.
pub fn http_get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("the server reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server writes text");
    text
}

/// Waits until a page on loopback says 200.
pub fn wait_for_page(port: u16, path: &str) {
    let begun = Instant::now();
    loop {
        let status = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream
                .write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
            let mut head = [0; 12];
            stream.read_exact(&mut head).map(|()| head)
        });
        if status.is_ok_and(|head| head.ends_with(b" 200")) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{path} does not say 200");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Opens a connection.
pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    stream
}

/// Writes a message with its length.
pub(crate) fn write(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("tests send short messages");
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).expect("the server reads");
}

/// Reads one message; `None` when the server closed the connection.
pub(crate) fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

/// Asks over a connection of its own.
pub(crate) fn tcp(server: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    let mut stream = connect(server);
    write(&mut stream, message);
    read(&mut stream)
}

/// What an independent decoder makes of a message.
pub(crate) fn decode(message: &[u8]) -> Message {
    Message::from_vec(message).unwrap_or_else(|error| panic!("{error}: {message:02x?}"))
}

/// Asks over UDP and gives the message as decoded.
pub(crate) fn ask(server: SocketAddr, name: &str, qtype: u16) -> Message {
    let answer = udp(server, &question(4711, name, qtype, Some(4096))).expect("an answer");
    decode(&answer)
}

/// The answer section as text, one record a line.
pub(crate) fn answers(message: &Message) -> Vec<String> {
    message.answers.iter().map(ToString::to_string).collect()
}
