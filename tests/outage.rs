//! The only upstream goes away and comes back, behind the usual `cache`.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;

use crate::support::client::{answers, ask, decode, question, udp};
use crate::support::ports::wait_until_free;
use crate::support::server::{TestServer, free_port};

/// Between two questions of a client that tries again and again.
const PROBE: Duration = Duration::from_millis(1500);

/// An upstream that knows one address for every name, for a second.
struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    fn start(address: SocketAddr) -> Upstream {
        wait_until_free(address.port());
        let socket = UdpSocket::bind(address).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out can be set");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (asked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            move || {
                let mut buffer = [0; 512];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                    let name = buffer[12..length].iter().position(|byte| *byte == 0);
                    let end = 12 + name.expect("a name ends") + 5;
                    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1];
                    let mut answer = [&buffer[..end], &record].concat();
                    answer[2] |= 0x80;
                    answer[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
                    asked.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Upstream { address, asked, stop, thread: Some(thread) }
    }

    fn end(mut self) -> SocketAddr {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("no panic");
        self.address
    }
}

#[test]
fn known_names_go_on_resolving_and_the_end_of_the_outage_is_seen_within_five_seconds() {
    let upstream = Upstream::start(SocketAddr::from(([127, 0, 0, 1], free_port())));
    let server = TestServer::start(&format!(
        ".:PORT {{
    errors
    cache {{
        success 10000 3600 0
    }}
    forward . {}
}}
",
        upstream.address
    ));
    let fresh = |message: &hickory_proto::op::Message| {
        answers(message).first().is_some_and(|line| line.starts_with("known.test. 1 IN A "))
    };
    assert!(fresh(&ask(server.address, "known.test", 1)));
    let address = upstream.end();
    std::thread::sleep(Duration::from_millis(1100));

    let begun = Instant::now();
    for _ in 0..20 {
        let response = udp(server.address, &question(1, "known.test", 1, Some(1232)));
        let response = response.expect("an answer");
        assert_eq!(answers(&decode(&response)), ["known.test. 30 IN A 192.0.2.1"]);
        assert!(response.ends_with(&[0, 15, 0, 2, 0, 3]), "EDE 3: {response:02x?}");
        assert_eq!(ask(server.address, "unknown.test", 1).response_code, ResponseCode::ServFail);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody waits for a dead upstream");

    let upstream = Upstream::start(address);
    let begun = Instant::now();
    let mut waits = [None, None];
    while waits.iter().any(Option::is_none) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{waits:?}");
        for (name, wait) in ["known.test", "unknown.test"].into_iter().zip(&mut waits) {
            let message = ask(server.address, name, 1);
            let line = answers(&message).pop().unwrap_or_default();
            if line.contains(" 1 IN A ") && wait.is_none() {
                *wait = Some(begun.elapsed());
            }
        }
        std::thread::sleep(PROBE);
    }
    // Less than five seconds and a probe; a busy machine adds its own.
    assert!(waits.iter().flatten().all(|wait| *wait < Duration::from_secs(8)), "{waits:?}");
    assert!(upstream.asked.load(Ordering::Relaxed) >= 2);
    upstream.end();
}
