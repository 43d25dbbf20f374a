//! The admin pages over HTTP, and listeners that cannot be opened.

use std::net::TcpListener;

use periplus::program::StartError;

use crate::support::client::{ask, http_get};
use crate::support::server::TestServer;

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
    let health = TestServer::try_start(&with("health"), &[]).map(drop);
    assert!(matches!(health, Err(StartError::Admin(..))), "{health:?}");
    let server =
        TestServer::try_start(&with("prometheus"), &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ask(server.address, "example.org", 1).additionals.len(), 2);
}
