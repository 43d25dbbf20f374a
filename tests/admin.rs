//! The admin pages over HTTP, and listeners that cannot be opened.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use periplus::program::StartError;

use crate::support::client::{ask, connect, http_get};
use crate::support::ports::wait_until_free;
use crate::support::server::{TestServer, free_port};
use crate::tcp_hostile::connect_from;

fn get(server: &mut TestServer, path: &str) -> String {
    let addresses = server.program().admin_addresses();
    let port = addresses.first().expect("an admin listener").1.port();
    http_get(port, path)
}

#[test]
fn pages_of_one_address_share_a_listener() {
    let mut server = TestServer::start(
        ".:PORT {\n    health 127.0.0.1:HTTP1\n    ready 127.0.0.1:HTTP1\n    prometheus 127.0.0.1:HTTP1\n    whoami\n}\n",
    );
    ask(server.address, "example.org", 1);
    assert!(get(&mut server, "/health").ends_with("\r\n\r\nOK"));
    assert!(get(&mut server, "/ready").ends_with("\r\n\r\nOK"));
    let metrics = get(&mut server, "/metrics");
    assert!(metrics.contains("\ncoredns_dns_requests_total{"), "{metrics}");
    assert!(get(&mut server, "/nothing").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_taken_port_stops_the_start_for_health_but_not_for_metrics() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket has an address").port();
    let with =
        |directive: &str| format!(".:PORT {{\n    {directive} 127.0.0.1:{port}\n    whoami\n}}\n");
    let error = TestServer::try_start(&with("health"), &[]).map(drop).expect_err("it is taken");
    let text = error.to_string();
    assert!(matches!(error, StartError::Admin(..)), "{text}");
    let expected = format!("/Corefile:2:5: Listen: 127.0.0.1:{port}: ");
    assert!(text.contains(&expected), "{text}");
    let server =
        TestServer::try_start(&with("prometheus"), &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ask(server.address, "example.org", 1).additionals.len(), 2);
}

/// One page of 127.0.0.1, and no other listener.
const HEALTH: &str = ".:PORT {\n    health 127.0.0.1:HTTP1\n    prometheus 127.0.0.1:HTTP1\n}\n";

fn admin_address(server: &mut TestServer) -> SocketAddr {
    server.program().admin_addresses().first().expect("an admin listener").1
}

#[test]
fn who_holds_all_places_and_comes_back_for_more_locks_nobody_out() {
    let mut server = TestServer::start(HEALTH);
    let address = admin_address(&mut server);
    // A page that does not come ends the test, but not the thread.
    let (done, begun) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let connect = |_| {
                let stream = connect_from(2, address);
                stream.set_nonblocking(true).expect("a socket can be made so");
                stream
            };
            let mut held: Vec<TcpStream> = (0..250).map(connect).collect();
            while !done.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
                for stream in &mut held {
                    let read = stream.read(&mut [0]);
                    if !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                        *stream = connect(0);
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let pages: Vec<String> = (0..20).map(|_| http_get(address.port(), "/health")).collect();
        done.store(true, Ordering::Relaxed);
        assert!(pages.iter().all(|page| page.ends_with("\r\n\r\nOK")), "{pages:?}");
    });
}

/// Asks for the metrics again and again, and takes none of them, until nothing more is accepted.
fn ask_and_take_nothing(host: u8, address: SocketAddr) -> TcpStream {
    let mut stream = connect_from(host, address);
    stream.set_write_timeout(Some(Duration::from_millis(20))).expect("a time-out can be set");
    let requests = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let written = (0..1000).try_for_each(|_| stream.write_all(requests.as_bytes()));
    assert!(written.is_err(), "everything was read");
    stream
}

#[test]
fn who_takes_no_answer_locks_nobody_out_and_is_cut_off() {
    let mut server = TestServer::start(HEALTH);
    let address = admin_address(&mut server);
    let mut stuck: Vec<TcpStream> =
        (0..64).map(|number| ask_and_take_nothing(2 + number % 4, address)).collect();
    assert!(http_get(address.port(), "/health").ends_with("\r\n\r\nOK"));
    // The one that came last is not told to go for others. It loses its connection all the same.
    let begun = Instant::now();
    let last = stuck.last_mut().expect("there are some");
    last.set_nonblocking(true).expect("a socket can be made so");
    while last.write(b"GET").map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is waited for");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let mut server = TestServer::start(HEALTH);
    let mut stream = connect(admin_address(&mut server));
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nOK") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the page goes on");
            answer.extend_from_slice(&byte);
        }
    }
}

/// A Corefile with these directives.
fn corefile(directives: &str) -> String {
    format!(".:PORT {{\n    whoami\n    {directives}\n}}\n")
}

#[test]
fn admin_addresses_may_overlap() {
    for directives in [
        "health localhost:HTTP1\n    ready 127.0.0.1:HTTP1\n    prometheus :HTTP1",
        "health :HTTP1\n    ready 0.0.0.0:HTTP1\n    prometheus localhost:HTTP1",
    ] {
        let mut server = TestServer::start(&corefile(directives));
        let port = admin_address(&mut server).port();
        for path in ["/health", "/ready", "/metrics"] {
            let page = http_get(port, path);
            assert!(page.starts_with("HTTP/1.1 200 "), "{directives}: {path}: {page}");
        }
    }
}

#[test]
fn a_reload_may_widen_and_narrow_an_address() {
    let port = free_port();
    for (directive, path) in
        [("health", "/health"), ("ready", "/ready"), ("prometheus", "/metrics")]
    {
        let with = |host: &str| corefile(&format!("{directive} {host}:{port}"));
        let mut server = TestServer::start(&with(""));
        for host in ["127.0.0.1", "", "localhost", "0.0.0.0", "127.0.0.1", "[::]"] {
            server.write_corefile(&with(host));
            server.program().reload().unwrap_or_else(|error| panic!("{host}: {error}"));
            let page = http_get(port, path);
            assert!(page.starts_with("HTTP/1.1 200 "), "{directive} {host}: {page}");
        }
        server.write_corefile(&with("127.0.0.1"));
        server.program().reload().expect("the address is open");
        let addresses = server.program().admin_addresses();
        assert_eq!(addresses.len(), 1, "what no wildcard includes is closed: {addresses:?}");
    }
}

#[test]
fn metrics_stay_where_they_were_until_their_new_address_can_be_opened() {
    let (old, new) = (free_port(), free_port());
    let taken = TcpListener::bind(("127.0.0.1", new)).expect("a free port");
    let with =
        |port: u16| corefile(&format!("health 127.0.0.1:{old}\n    prometheus localhost:{port}"));
    for started_with in [with(old), corefile(&format!("prometheus 127.0.0.1:{old}"))] {
        let mut server = TestServer::start(&started_with);
        server.write_corefile(&with(new));
        for _ in 0..2 {
            server.program().reload().expect("the server can do without");
            assert!(http_get(old, "/metrics").starts_with("HTTP/1.1 200 "));
            assert!(http_get(old, "/health").starts_with("HTTP/1.1 200 "));
        }
    }
    drop(taken);
    wait_until_free(new);
    let mut server = TestServer::start(&with(old));
    server.write_corefile(&with(new));
    server.program().reload().expect("the port is free again");
    assert!(http_get(new, "/metrics").starts_with("HTTP/1.1 200 "));
    assert!(http_get(old, "/metrics").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_second_server_can_start_while_the_first_still_runs() {
    let port = free_port();
    let text = corefile(&format!("health :{port}\n    ready 127.0.0.1:{port}"));
    let first = TestServer::start(&text);
    let _second = TestServer::start(&text);
    drop(first);
    assert!(http_get(port, "/ready").starts_with("HTTP/1.1 200 "));
}

#[test]
fn who_asked_before_a_listener_is_closed_gets_an_answer() {
    let port = free_port();
    let with = |host: &str| corefile(&format!("health {host}:{port}"));
    let mut server = TestServer::start(&with("0.0.0.0"));
    let ask = |host: u8| -> Vec<TcpStream> {
        let ask = |_| {
            let mut stream = connect(SocketAddr::from(([127, 0, 0, host], port)));
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").expect("the kernel takes it");
            stream
        };
        (0..10).map(ask).collect()
    };
    let answered = |streams: Vec<TcpStream>| {
        let mut text = String::new();
        let read = |mut stream: TcpStream| stream.read_to_string(&mut text).is_ok();
        assert!(streams.into_iter().all(read));
        text.matches("\r\n\r\nOK").count()
    };
    server.write_corefile(&with("127.0.0.1"));
    let asked = ask(2);
    server.program().reload().expect("the address is free");
    assert_eq!(answered(asked), 10);
    let asked = ask(1);
    server.program().close();
    assert_eq!(answered(asked), 10);
}
