//! Which listener gets what is sent to an address, and from which address it is answered.

use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;

use crate::support::client::{ask, question, tcp, udp};
use crate::support::server::TestServer;

/// Clients with ports of their own: the kernel chooses a socket by it where several may have the question.
const CLIENTS: usize = 20;

fn at(host: &str, server: &TestServer) -> SocketAddr {
    SocketAddr::new(host.parse().expect("an address"), server.address.port())
}

/// The response codes that a name has over UDP, asked by many clients.
fn codes(name: &str, address: SocketAddr) -> Vec<ResponseCode> {
    let code = |_| ask(address, name, 1).metadata.response_code;
    let mut codes: Vec<ResponseCode> = (0..CLIENTS).map(code).collect();
    codes.dedup();
    codes
}

const NOERROR: ResponseCode = ResponseCode::NoError;
const REFUSED: ResponseCode = ResponseCode::Refused;

#[test]
fn an_address_with_a_listener_of_its_own_is_not_the_wildcards() {
    let text = "a.test:PORT {\n    bind 127.0.0.1\n    whoami\n}\nb.test:PORT {\n    whoami\n}\n";
    let server = TestServer::start(text);
    assert_eq!(codes("x.a.test", at("127.0.0.1", &server)), [NOERROR]);
    assert_eq!(codes("x.b.test", at("127.0.0.1", &server)), [REFUSED]);
    assert_eq!(codes("x.b.test", at("127.0.0.5", &server)), [NOERROR]);
    assert_eq!(codes("x.a.test", at("127.0.0.5", &server)), [REFUSED]);
}

#[test]
fn a_reload_gives_an_address_its_own_listener_and_takes_it_away_again() {
    let wildcard = "b.test:PORT {\n    whoami\n}\n";
    let mut server = TestServer::start(wildcard);
    let address = at("127.0.0.1", &server);
    for round in 0..2 {
        assert_eq!(codes("x.b.test", address), [NOERROR], "{round}");
        server.write_corefile(&format!(
            "{wildcard}a.test:PORT {{\n    bind 127.0.0.1\n    whoami\n}}\n"
        ));
        server.program().reload().expect("the file is good");
        assert_eq!(codes("x.a.test", address), [NOERROR], "{round}");
        assert_eq!(codes("x.b.test", address), [REFUSED], "{round}");
        server.write_corefile(wildcard);
        server.program().reload().expect("the file is good");
    }
    assert_eq!(codes("x.b.test", address), [NOERROR]);
}

#[test]
fn another_process_with_an_address_of_its_own_keeps_what_is_sent_there() {
    let other = TestServer::start("a.test:PORT {\n    bind 127.0.0.1\n    whoami\n}\n");
    let port = other.address.port();
    let wildcard = TestServer::start(&format!("b.test:{port} {{\n    whoami\n}}\n"));
    assert_eq!(codes("x.a.test", SocketAddr::new(other.address.ip(), port)), [NOERROR]);
    assert_eq!(codes("x.b.test", SocketAddr::from(([127, 0, 0, 5], port))), [NOERROR]);
    drop(wildcard);
}

#[test]
fn the_unspecified_address_of_either_family_is_the_wildcard() {
    for host in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        let server = TestServer::start(&format!(".:PORT {{\n    bind {host}\n    whoami\n}}\n"));
        let mut hosts = vec!["127.0.0.1", "127.0.0.5"];
        if std::net::UdpSocket::bind("[::1]:0").is_ok() {
            hosts.push("::1");
        }
        for asked in hosts {
            let address = at(asked, &server);
            let message = question(1, "x.test", 1, None);
            // `udp` checks that the answer comes from there.
            let answer = udp_from_its_family(address, &message);
            assert!(answer.is_some(), "bind {host}, UDP to {asked}");
            assert!(tcp(address, &message).is_some(), "bind {host}, TCP to {asked}");
        }
    }
}

#[test]
fn blocks_on_the_wildcard_share_a_listener_however_they_say_it() {
    let block = |zone: &str, bind: &str| format!("{zone}:PORT {{\n{bind}    whoami\n}}\n");
    for bind in ["    bind 0.0.0.0\n", "    bind ::\n", "    bind 0.0.0.0 ::\n"] {
        let (a, b) = (block("a.test", bind), block("b.test", ""));
        for text in [format!("{a}{b}"), format!("{b}{a}")] {
            let server = TestServer::start(&text);
            for asked in ["127.0.0.1", "127.0.0.5"] {
                assert_eq!(codes("x.a.test", at(asked, &server)), [NOERROR], "{text}");
                assert_eq!(codes("x.b.test", at(asked, &server)), [NOERROR], "{text}");
            }
        }
        for other in ["", "    bind 0.0.0.0\n", "    bind ::\n"] {
            let text = format!("{}{}", block("a.test", bind), block("a.test", other));
            let error = TestServer::try_start(&text, &[]).err().expect("one hides the other");
            assert!(error.to_string().contains("cannot serve dns://a.test."), "{error}");
        }
    }
    let both = format!(
        "{}{}",
        block("a.test", "    bind 0.0.0.0\n"),
        block("a.test", "    bind 127.0.0.1\n")
    );
    let _server = TestServer::start(&both);
}

fn udp_from_its_family(address: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    if address.is_ipv4() {
        return udp(address, message);
    }
    let socket = std::net::UdpSocket::bind("[::1]:0").expect("a loopback socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("a time-out");
    socket.send_to(message, address).expect("loopback takes a datagram");
    let mut answer = vec![0; 512];
    let (length, from) = socket.recv_from(&mut answer).ok()?;
    (from == address).then(|| answer[..length].to_vec())
}
