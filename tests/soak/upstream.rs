//! Upstreams that are slow, wrong or silent.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often its thread looks whether it is over.
const TICK: Duration = Duration::from_millis(20);

/// An upstream that answers every question with an address, after a while. It ends when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    /// Answers after `delay`.
    pub(crate) fn slow(delay: Duration) -> Upstream {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        socket.set_read_timeout(Some(TICK)).expect("a time-out can be set");
        let upstream = Upstream {
            address: socket.local_addr().expect("a bound socket has an address"),
            stop: Arc::default(),
        };
        let stop = Arc::clone(&upstream.stop);
        std::thread::spawn(move || {
            let mut owed: VecDeque<(Instant, SocketAddr, Vec<u8>)> = VecDeque::new();
            let mut request = [0; 1024];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, client)) = socket.recv_from(&mut request) {
                    // Nobody waits for what is later than all that.
                    if owed.len() < 100_000 {
                        owed.push_back((
                            Instant::now() + delay,
                            client,
                            answer(&request[..length]),
                        ));
                    }
                }
                while owed.front().is_some_and(|(due, ..)| *due <= Instant::now()) {
                    if let Some((_, client, answer)) = owed.pop_front() {
                        let _ = socket.send_to(&answer, client);
                    }
                }
            }
        });
        upstream
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The request as a response with one A record.
fn answer(request: &[u8]) -> Vec<u8> {
    let mut at = 12;
    while request.get(at).is_some_and(|length| *length > 0) {
        at += 1 + usize::from(request[at]);
    }
    let mut message = request[..(at + 5).min(request.len())].to_vec();
    if message.len() > 12 {
        message[2] |= 0x80;
        message[3] = 0x80;
        message[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    message
}
