//! Refreshing what is popular before it is over.

use std::net::{IpAddr, Ipv4Addr};

use periplus_core::codes::{RecordType, edns_option, flags};
use periplus_core::query::Transport;

use super::{OTHER, POSITIVE, World, changed, with_option};

const FRESH: &[&str] = &["NOERROR qr aa rd ra", "answer: example.org. 300 IN A 192.0.2.2"];

#[test]
fn a_popular_name_is_refreshed_near_the_end_of_its_ttl() {
    let world = World::replying("cache {\nprefetch 3\n}", POSITIVE);
    world.ask("example.org.");
    world.reply_with(OTHER);
    for (seconds, refreshes) in [
        (240, 0), // First hit.
        (20, 0),  // Second hit.
        (9, 0),   // Third hit: popular, but 31 of 300 seconds are left, more than a tenth.
        (1, 1),   // 30 seconds are left.
    ] {
        world.pass(seconds);
        world.ask("example.org.");
        world.after_asked(1 + refreshes);
        assert_eq!(world.asked(), 1 + refreshes, "after {seconds} more seconds");
    }
    assert_eq!(world.ask("example.org."), FRESH);
    assert_eq!(world.metric("coredns_cache_prefetch_total", None), 1.0);
}

#[test]
fn a_gap_starts_the_count_anew() {
    for (gap, refreshes) in [(10, 1), (11, 0)] {
        let world = World::replying("cache {\nprefetch 2 10s 90%\n}", POSITIVE);
        world.ask("example.org.");
        world.pass(100);
        world.ask("example.org.");
        world.pass(gap);
        world.ask("example.org.");
        world.after_asked(1 + refreshes);
        assert_eq!(world.asked(), 1 + refreshes, "after a gap of {gap} seconds");
    }
}

#[test]
fn popularity_survives_the_refresh() {
    let world = World::replying("cache {\nprefetch 3 1h 90%\n}", POSITIVE);
    for _ in 0..3 {
        world.ask("example.org.");
    }
    for refreshes in 1..3 {
        world.pass(31);
        world.ask("example.org.");
        world.after_asked(1 + refreshes);
        assert_eq!(world.asked(), 1 + refreshes);
    }
}

#[test]
fn the_refresh_asks_over_tcp_for_nobody_with_ad_set() {
    let world = World::replying("cache {\nprefetch 1 1m 90%\n}", POSITIVE);
    world.ask("example.org.");
    world.pass(31);
    let query = world.query("example.org.", RecordType::A);
    let query = with_option(query, edns_option::COOKIE, b"12345678");
    world.answer(&changed(query, |query| query.flags = 0));
    world.after_asked(2);
    let query = world.last_asked();
    assert!(query.edns.as_ref().is_some_and(|edns| edns.options.is_empty()));
    assert_eq!(query.transport, Transport::Tcp);
    assert_eq!(query.peer.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    assert!(query.has(flags::AD) && query.has(flags::RD));
}

#[test]
fn one_refresh_runs_at_a_time() {
    let world = World::replying("cache {\nprefetch 1 1m 90%\n}", POSITIVE);
    world.ask("example.org.");
    world.pass(31);
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    world.script({
        let gate = std::sync::Arc::clone(&gate);
        move |query| {
            let (gate, query) = (std::sync::Arc::clone(&gate), query.clone());
            periplus_core::plugin::Outcome::later(async move {
                let _ = gate.acquire().await;
                crate::testing::replies::reply(&query, OTHER).into()
            })
        }
    });
    for _ in 0..10 {
        world.ask("example.org.");
    }
    world.after_asked(2);
    assert_eq!(world.asked(), 2);
    gate.add_permits(1);
    crate::testing::eventually("the new answer is served", || world.ask("example.org.") == FRESH);
    assert_eq!(world.metric("coredns_cache_prefetch_total", None), 1.0);
}
