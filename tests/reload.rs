//! A new configuration is built beside the old one and swapped in, or changes nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use periplus::program::StartError;

use crate::support::client::{answers, ask, question, udp};
use crate::support::done::Done;
use crate::support::peer::Peer;
use crate::support::server::TestServer;

fn with_address(address: &str) -> String {
    format!(".:PORT {{\n    hosts {{\n        {address} name.test\n        ttl 60\n    }}\n}}\n")
}

#[test]
fn a_changed_file_is_in_force_after_a_reload() {
    let mut server = TestServer::start(&with_address("192.0.2.1"));
    let address = server.address;
    assert_eq!(answers(&ask(address, "name.test", 1)), ["name.test. 60 IN A 192.0.2.1"]);
    server.write_corefile(&with_address("192.0.2.2"));
    server.program().reload().expect("the file is good");
    assert_eq!(answers(&ask(address, "name.test", 1)), ["name.test. 60 IN A 192.0.2.2"]);
}

#[test]
fn a_bad_file_changes_nothing_and_says_where() {
    let mut server = TestServer::start(&with_address("192.0.2.1"));
    let address = server.address;
    server.write_corefile(".:PORT {\n    hozts\n}\n");
    let error = server.program().reload().expect_err("the file is bad");
    assert!(matches!(error, StartError::Configuration(_)));
    let text = error.to_string();
    assert!(text.contains("Corefile:2:5") && text.contains("did you mean 'hosts'?"), "{text}");
    assert_eq!(answers(&ask(address, "name.test", 1)), ["name.test. 60 IN A 192.0.2.1"]);
    let metrics = server.program().metrics().expose();
    assert!(metrics.contains("coredns_reload_failed_total 1\n"), "{metrics}");
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let mut server = TestServer::start(&with_address("192.0.2.1"));
    let address = server.address;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound socket has an address").port();
    server.write_corefile(&format!(".:{port} {{\n    bind 127.0.0.1\n    whoami\n}}\n"));
    let error = server.program().reload().expect_err("the port is taken");
    assert!(matches!(error, StartError::Listen(..)), "{error}");
    let text = error.to_string();
    let expected = format!("/Corefile:1:1: Listen: 127.0.0.1:{port}: ");
    assert!(text.contains(&expected), "{text}");
    assert_eq!(answers(&ask(address, "name.test", 1)), ["name.test. 60 IN A 192.0.2.1"]);
}

#[test]
fn no_query_is_lost_while_reloading() {
    let mut server = TestServer::start(&with_address("192.0.2.1"));
    let address = server.address;
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert!(
                        udp(address, &question(1, "name.test", 1, None)).is_some(),
                        "a query was lost"
                    );
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _stop = Done(&done);
        for round in 0..10 {
            server.write_corefile(&with_address(&format!("192.0.2.{round}")));
            server.program().reload().expect("the file is good");
        }
    });
    assert!(asked.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_listener_that_is_gone_is_closed_and_a_new_one_is_opened() {
    let mut server = TestServer::start(&with_address("192.0.2.1"));
    let old = server.address;
    let port = crate::support::server::free_port();
    server.write_corefile(&format!(
        ".:{port} {{\n    hosts {{\n        192.0.2.9 name.test\n    }}\n}}\n"
    ));
    server.program().reload().expect("the file is good");
    let new = std::net::SocketAddr::new(old.ip(), port);
    assert_eq!(answers(&ask(new, "name.test", 1)), ["name.test. 3600 IN A 192.0.2.9"]);
    assert!(std::net::TcpStream::connect(old).is_err(), "nobody listens there any more");
}

/// How long it takes until the first address of a name is this one, at most a minute.
fn until_answered(server: std::net::SocketAddr, address: &str) -> Duration {
    let begun = Instant::now();
    let expected = format!("name.test. 60 IN A {address}");
    while answers(&ask(server, "name.test", 1)) != [expected.as_str()] {
        assert!(begun.elapsed() < Duration::from_secs(60), "{address} is never in force");
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

#[test]
fn a_config_map_that_changes_is_in_force_long_before_the_interval_is_over() {
    let mount = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| mount.path().join(name);
    // As the kubelet does it: a folder of its own for each version, and one link that is swapped.
    let publish = |version: &str, text: &str| {
        std::fs::create_dir(path(version)).expect("a folder can be made");
        std::fs::write(path(version).join("hosts.conf"), text).expect("a file can be written");
        std::os::unix::fs::symlink(version, path("..data_tmp")).expect("a link can be made");
        std::fs::rename(path("..data_tmp"), path("..data")).expect("a link can be swapped");
    };
    let hosts = |address: &str| format!("hosts {{\n    {address} name.test\n    ttl 60\n}}\n");
    publish("..2026_01", &hosts("192.0.2.1"));
    std::os::unix::fs::symlink("..data/hosts.conf", path("hosts.conf")).expect("a link");
    let corefile =
        format!(".:PORT {{\n    reload 40s 1s\n    import {}\n}}\n", path("hosts.conf").display());
    let mut peer = Peer::start(Path::new(env!("CARGO_BIN_EXE_periplus")), &corefile, &[]);
    peer.wait_for("name.test", &[0]);
    let mut times = Vec::new();
    for version in 2..=5 {
        // The third is wrong, and hides neither what was before nor what comes after.
        if version == 3 {
            publish("..2026_03", "hozts\n");
            std::thread::sleep(Duration::from_millis(1500));
            let message = ask(peer.address, "name.test", 1);
            assert_eq!(answers(&message), ["name.test. 60 IN A 192.0.2.2"]);
            continue;
        }
        let address = format!("192.0.2.{version}");
        publish(&format!("..2026_0{version}"), &hosts(&address));
        times.push(until_answered(peer.address, &address));
    }
    println!("in force after {times:?}");
    // Two looks, half a second apart, and what a busy machine adds; without them it is forty seconds.
    assert!(times.iter().all(|time| *time < Duration::from_secs(10)), "{times:?}");
}
