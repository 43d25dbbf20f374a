//! Upstreams that are slow, wrong or silent.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::fake::answers;

/// How often its thread looks whether it is over.
const TICK: Duration = Duration::from_millis(20);

/// An upstream that answers every question with an address, after a while. It ends when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    /// Answers after `delay`. After a second it is taken for dead.
    pub(crate) fn slow(delay: Duration) -> Upstream {
        Upstream::start(delay, delay)
    }

    /// The same, but shows at once that it lives: probes ask for the root.
    pub(crate) fn slow_but_alive(delay: Duration) -> Upstream {
        Upstream::start(delay, Duration::ZERO)
    }

    fn start(delay: Duration, of_probes: Duration) -> Upstream {
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
                    let answers = answers(&request[..length], client);
                    let delay = if request[12] == 0 { of_probes } else { delay };
                    if delay.is_zero() {
                        answers.iter().for_each(|answer| drop(socket.send_to(answer, client)));
                    // Nobody waits for what is later than all that.
                    } else if owed.len() < 100_000 {
                        let due = Instant::now() + delay;
                        owed.extend(answers.into_iter().map(|answer| (due, client, answer)));
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
