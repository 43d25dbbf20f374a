//! Ports for servers under test.

use std::net::{TcpListener, UdpSocket};

/// A port that is free for UDP and TCP on all loopback addresses at the moment.
pub fn free_port() -> u16 {
    for _ in 0..100 {
        let Ok(tcp) = TcpListener::bind("127.0.0.1:0") else { continue };
        let port = tcp.local_addr().expect("a bound socket has an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in 100 tries");
}

/// Puts a port, a directory and free ports for HTTP into a Corefile.
pub fn fill_in(corefile: &str, port: u16, directory: &str) -> String {
    let mut text = corefile.replace("PORT", &port.to_string()).replace("DIR", directory);
    for index in 0..10 {
        let name = format!("HTTP{index}");
        if text.contains(&name) {
            text = text.replace(&name, &free_port().to_string());
        }
    }
    text
}
