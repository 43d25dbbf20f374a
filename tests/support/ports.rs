//! Ports for servers under test.

use std::collections::HashSet;
use std::net::{TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Where systems take the ports of clients from is above; so no connection of another test takes one that was found free. Some tests have
/// ports of their own from 21,000 on.
const PORTS: std::ops::Range<u16> = 10_000..21_000;

/// Ports that were given out. Listeners share a port with whoever asks for it: two tests that found the same one free would get each other's
/// questions.
static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that is free for UDP and TCP on all loopback addresses at the moment. Nobody else in this process gets it.
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        let (any, own) = (("::", port), ("127.0.0.1", port));
        let is_free = TcpListener::bind(any).is_ok()
            && UdpSocket::bind(any).is_ok()
            && TcpListener::bind(own).is_ok()
            && UdpSocket::bind(own).is_ok();
        if is_free && taken.insert(port) {
            return port;
        }
    }
    panic!("no free port in 1000 tries");
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
