//! `/health` fails when a worker is stuck, and only then.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Reply};
use periplus_core::setup::PluginKind;

use crate::support::client::{http_get, question, udp};
use crate::support::server::{TestServer, plugins_with};

const COREFILE: &str = ".:PORT {\n    health 127.0.0.1:HTTP1\n    whoami\n    trouble\n}\n";
/// The worker that was asked for `stuck.test` comes back when this is true.
static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

static PLUGINS: LazyLock<Vec<PluginKind>> = LazyLock::new(|| {
    plugins_with(PluginKind { name: "trouble", setup: |_| Ok(Some(Arc::new(Trouble))) })
});

/// Holds up its worker.
struct Trouble;

impl Plugin for Trouble {
    fn name(&self) -> &'static str {
        "trouble"
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        match query.name().to_string().as_str() {
            "stuck.test." => {
                let (released, change) = &RELEASED;
                let guard = released.lock().expect("nobody panics with it");
                let waited = change.wait_timeout_while(guard, Duration::from_secs(120), |it| !*it);
                drop(waited);
                Reply::authoritative(query, "trouble").into()
            }
            "slow.test." => {
                std::thread::sleep(Duration::from_millis(20));
                Reply::authoritative(query, "trouble").into()
            }
            "left.test." => {
                std::thread::sleep(Duration::from_secs(40));
                Reply::authoritative(query, "trouble").into()
            }
            "dies.test." => {
                let (bomb, reply) = (Bomb, Reply::authoritative(query, "trouble"));
                // Kept by a future that is done, until it is dropped.
                let mut answer = Some(Answer::from(reply));
                Outcome::later(std::future::poll_fn(move |_| {
                    let _ = &bomb;
                    answer.take().map_or(Poll::Pending, Poll::Ready)
                }))
            }
            _ => next.run(query),
        }
    }
}

/// Panics where no panic is expected.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

fn start(workers: usize) -> (TestServer, u16) {
    let mut server = TestServer::try_start_with(&PLUGINS, COREFILE, &[], workers)
        .unwrap_or_else(|error| panic!("{error}"));
    let port = server.program().admin_addresses()[0].1.port();
    (server, port)
}

fn is_healthy(port: u16) -> bool {
    http_get(port, "/health").starts_with("HTTP/1.1 200")
}

/// How long it takes until `/health` says so, at most a minute.
fn until(port: u16, healthy: bool) -> Duration {
    let begun = Instant::now();
    while is_healthy(port) != healthy {
        assert!(begun.elapsed() < Duration::from_secs(60), "healthy is never {healthy}");
        std::thread::sleep(Duration::from_millis(100));
    }
    begun.elapsed()
}

fn send(client: &UdpSocket, server: SocketAddr, name: &str) {
    client.send_to(&question(1, name, 1, None), server).expect("loopback takes a datagram");
}

#[test]
fn a_stuck_worker_fails_the_page_until_it_goes_on() {
    let (server, port) = start(1);
    assert!(is_healthy(port));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    send(&client, server.address, "stuck.test");
    until(port, false);
    let page = http_get(port, "/health");
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
    let name = format!("worker udp-{}-", server.address.port());
    assert!(page.contains(&name) && page.contains(" has made no progress for "), "{page}");
    *RELEASED.0.lock().expect("nobody panics with it") = true;
    RELEASED.1.notify_all();
    until(port, true);
    assert!(udp(server.address, &question(2, "example.org", 1, None)).is_some());
}

#[test]
fn a_stuck_worker_does_not_keep_the_process_from_ending() {
    let (server, _) = start(1);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    send(&client, server.address, "left.test");
    // The worker has it before it hears of the end.
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn the_clients_of_a_worker_that_died_get_to_others() {
    let (server, port) = start(4);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    send(&client, server.address, "dies.test");
    until(port, false);
    for _ in 0..40 {
        assert!(udp(server.address, &question(2, "example.org", 1, None)).is_some());
    }
}

#[test]
fn more_work_than_a_worker_can_do_is_no_reason() {
    let (mut server, port) = start(1);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    // A worker does 50 of these in a second, and gets ten times as many: its batches are always full.
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(9) {
        for _ in 0..100 {
            send(&client, server.address, "slow.test");
            sent += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(is_healthy(port), "after {:?}", begun.elapsed());
    }
    let metrics = server.program().metrics().expose();
    assert!(metrics.contains("\nperiplus_stuck_workers 0\n"), "{metrics}");
    client.set_nonblocking(true).expect("a socket can be made so");
    let answered =
        std::iter::repeat_with(|| client.recv(&mut [0; 512])).take_while(Result::is_ok).count();
    assert!(answered > 0 && sent > 2 * answered, "{answered} of {sent}: it was no overload");
}
