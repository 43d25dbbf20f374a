use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::metrics::Registry;
use periplus_core::setup::HttpAddress;
use tokio_util::sync::CancellationToken;

use super::self_check::SelfCheck;
use crate::testing::{RUNTIME, configure, eventually, refused};

#[test]
fn the_page_says_ok() {
    let configured = configure(".", "health").unwrap();
    assert!(configured.plugin.is_none());
    let page = &configured.instance.pages[0];
    assert_eq!((page.address.to_string().as_str(), page.path), (":8080", "/health"));
    let content = (page.content)();
    assert_eq!((content.status, content.body.as_str()), (200, "OK"));
}

#[test]
fn the_page_says_what_is_wrong_for_as_long_as_it_is() {
    let instance = configure(".", "health").unwrap().instance;
    let content = || (instance.pages[0].content)();
    instance.liveness.set_troubles(vec!["worker one is stuck".into(), "so is two".into()]);
    assert_eq!(
        (content().status, content().body.as_str()),
        (503, "worker one is stuck\nso is two")
    );
    instance.liveness.set_troubles(Vec::new());
    assert_eq!((content().status, content().body.as_str()), (200, "OK"));
}

#[test]
fn the_longest_lameduck_counts_and_each_address_has_one_page() {
    let directives = "health {\nlameduck 3s\n}\nhealth :8080 {\nlameduck 5s\n}\nhealth localhost:0";
    let instance = configure(".", directives).unwrap().instance;
    assert_eq!(instance.lameduck, Duration::from_secs(5));
    let addresses: Vec<String> =
        instance.pages.iter().map(|page| page.address.to_string()).collect();
    assert_eq!(addresses, [":8080", "localhost:0"]);
    assert_eq!(instance.tasks.len(), 1);
}

/// The number of checks and of failures among them, once there was one of the latter or two of the former, when the page is
/// answered in this way.
fn checked(response: &'static [u8]) -> (bool, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 256];
            let Ok(length @ 1..) = stream.read(&mut request) else { continue };
            assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\nHost: :"));
            // The check may be gone already.
            let _ = stream.write_all(response);
        }
    });
    observed(&HttpAddress { host: String::new(), port })
}

fn observed(address: &HttpAddress) -> (bool, bool) {
    let registry = Arc::new(Registry::new(1));
    let mut check = SelfCheck::new(address, &registry);
    check.period = Duration::from_millis(5);
    let stop = CancellationToken::new();
    let task = RUNTIME.spawn(check.run(stop.clone()));
    let value = |name: &str| -> u64 {
        let text = registry.expose();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let checks = || value("coredns_health_request_duration_seconds_count");
    let failures = || value("coredns_health_request_failures_total");
    eventually("there were two checks", || checks() >= 2);
    stop.cancel();
    RUNTIME.block_on(task).unwrap();
    (checks() >= 2, failures() >= 1)
}

#[test]
fn the_page_is_asked_for_from_within() {
    assert_eq!(checked(b"HTTP/1.1 200 OK\r\n\r\nOK"), (true, false));
    assert_eq!(checked(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), (true, true));
    assert_eq!(checked(b""), (true, true));
}

#[test]
fn a_page_that_nobody_serves_is_a_failure() {
    // The port was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(observed(&HttpAddress { host: "127.0.0.1".into(), port }), (true, true));
}

#[test]
fn the_directive_is_read_or_refused() {
    let cases = [
        (
            "health bla",
            "Corefile:2:8: 'bla' is not an address to listen on (write host:port, [v6]:port or :port; the host is an IP address or localhost)",
        ),
        (
            "health :1 :2",
            "Corefile:2:11: Wrong argument count or unexpected line ending after ':2' (nothing may follow ':1' here)",
        ),
        (
            "health {\nlameduck 5\nlamedudk 4s\n}",
            "Corefile:3:10: time: missing unit in duration \"5\" (a duration needs a unit: '5s' for seconds, '5m' for minutes)\n\
             Corefile:4:1: unknown property 'lamedudk' (did you mean 'lameduck'?)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
