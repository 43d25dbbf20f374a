//! Ports for servers under test.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where systems take the ports of clients from is above; so no connection of another test takes one that was found free. Some tests have
/// ports of their own from 21,000 on.
const PORTS: std::ops::Range<u16> = 10_000..21_000;

/// Ports that were given out. Listeners share a port with whoever asks for it: two tests that found the same one free would get each other's
/// questions.
static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that nobody has for UDP or TCP at the moment. Nobody else in this process gets it.
pub fn free_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if is_free(port) && taken.insert(port) {
            return port;
        }
    }
    panic!("no free port in 1000 tries");
}

/// Waits until nobody has a port that was given back. A child process that another test is just starting has a copy of each socket for a moment.
pub fn wait_until_free(port: u16) {
    let begun = Instant::now();
    while !is_free(port) {
        assert!(begun.elapsed() < Duration::from_secs(60), "somebody keeps port {port}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether nobody has a port. It is not bound to find out: such a child would keep it from whoever is given it.
#[cfg(target_os = "linux")]
fn is_free(port: u16) -> bool {
    let local = format!(":{port:04X}");
    ["tcp", "tcp6", "udp", "udp6"].iter().all(|table| {
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}"));
        let table = table.unwrap_or_default();
        let mut addresses = table.lines().filter_map(|line| line.split_whitespace().nth(1));
        !addresses.any(|address| address.ends_with(&local))
    })
}

/// Whether nobody has a port.
#[cfg(not(target_os = "linux"))]
fn is_free(port: u16) -> bool {
    use std::net::{TcpListener, UdpSocket};
    let (any, own) = (("::", port), ("127.0.0.1", port));
    TcpListener::bind(any).is_ok()
        && UdpSocket::bind(any).is_ok()
        && TcpListener::bind(own).is_ok()
        && UdpSocket::bind(own).is_ok()
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
